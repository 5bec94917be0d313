//! The address of a gateway, and the protocol to speak to it.

use std::str::FromStr;

use clap::ValueEnum;
use hmac::{Hmac, Mac};
use presence_client::Protocol;
use sha2::Sha256;

/// The size of a read buffer, in bytes. It is enough for the frames of a run, and each connection has one.
pub(crate) const READ_BUFFER_BYTES: usize = 2048;

/// The address of the gateway, and the dialect to speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The URL where native clients connect: `ws://host:port/ws`.
    pub(crate) url: String,
    pub(crate) dialect: Dialect,
    /// The application that Pusher clients belong to.
    pub(crate) app: Option<App>,
}

impl Endpoint {
    /// The encoding for clients that are in a room without watching it, which only the native protocol has.
    pub(crate) fn native(&self) -> Protocol {
        match self.dialect {
            Dialect::Binary => Protocol::Binary,
            _ => Protocol::Json,
        }
    }
}

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// The native protocol, as JSON texts
    Json,
    /// The native protocol, as postcard
    Binary,
    /// The protocol of Phoenix Channels
    Phoenix,
    /// The protocol of Action Cable
    Cable,
    /// The protocol of Pusher
    Pusher,
}

impl Dialect {
    /// Whether it is an encoding of the native protocol.
    pub(crate) fn is_native(self) -> bool {
        matches!(self, Dialect::Json | Dialect::Binary)
    }

    /// The encoding that the bare server uses in its place: the cost of a frame is that of its bytes.
    pub(crate) fn bare(self) -> Dialect {
        match self {
            Dialect::Binary => Dialect::Binary,
            _ => Dialect::Json,
        }
    }
}

/// A Pusher application. This program also plays its server, which signs subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) key: String,
    secret: String,
}

impl FromStr for App {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, secret) = text.split_once(':').ok_or("not KEY:SECRET")?;
        Ok(App {
            key: key.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl App {
    /// The signature that the application's server gives a page for a subscription.
    pub(crate) fn sign(&self, socket: &str, channel: &str, data: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("any key would do");
        mac.update(format!("{socket}:{channel}:{data}").as_bytes());
        let bytes = mac.finalize().into_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{hex}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_signed_as_pushers_documentation_has_it() {
        let app: App = "278d425bdf160c739803:7ad3773142a6692b25b8".parse().unwrap();
        let data = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
        assert_eq!(
            app.sign("1234.1234", "presence-foobar", data),
            "278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
        );
    }
}
