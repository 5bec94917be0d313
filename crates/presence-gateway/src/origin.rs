//! Where a connection comes from, in the form in which it may be told to an administrator.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use presence_core::explain::ClientOrigin;

use crate::app::App;
use crate::dialect::Speech;

/// The address from which a connection was accepted: that of the last proxy, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// How the addresses of clients are kept for explanations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// As a hash, which is the same for the same address on all gateways of a cluster.
    #[default]
    Hashed,
    /// As they are.
    Full,
    /// Not at all.
    Off,
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hashed" => Ok(Addresses::Hashed),
            "full" => Ok(Addresses::Full),
            "off" => Ok(Addresses::Off),
            _ => Err("hashed, full or off would do".into()),
        }
    }
}

/// Where a connection of a test comes from.
#[cfg(test)]
pub(crate) fn of_a_test() -> Arc<ClientOrigin> {
    Arc::new(ClientOrigin {
        dialect: "test".into(),
        address: None,
    })
}

/// Where a connection of this dialect comes from.
pub(crate) fn of(app: &App, dialect: Speech, address: Option<PeerAddress>) -> Arc<ClientOrigin> {
    let address = address.map(|it| it.0.to_canonical());
    let address = match app.config.addresses {
        Addresses::Hashed => address.map(|it| app.resume.hash_of(it)),
        Addresses::Full => address.map(|it| it.to_string()),
        Addresses::Off => None,
    };
    Arc::new(ClientOrigin {
        dialect: dialect.name().into(),
        address: address.map(Arc::from),
    })
}
