//! The options of a connection, and the request that opens it.

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::ConnectError;
use crate::wire;

/// How the URL of an encrypted connection begins.
const SECURE: &str = "wss://";

/// The encoding of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Frames are JSON texts.
    Json,
    /// Frames are postcard, which is smaller.
    #[default]
    Binary,
}

impl Protocol {
    fn subprotocol(self) -> &'static str {
        match self {
            Protocol::Json => wire::JSON,
            Protocol::Binary => wire::POSTCARD,
        }
    }
}

/// The address of a gateway, the identity to connect with, and the sizes of buffers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address: `ws://host:port/ws`, or `wss://host:port/ws` for TLS, which needs the feature `tls`.
    pub url: String,
    /// The encoding of the frames.
    pub protocol: Protocol,
    /// Your user id, for a gateway without a key.
    pub user_id: Option<String>,
    /// Your display name, for a gateway without a key.
    pub name: Option<String>,
    /// The id of your workspace, for a gateway without a key.
    pub workspace_id: Option<String>,
    /// The id of your device: `web:…`, `mobile:…`, `desktop:…`.
    pub device_id: Option<String>,
    /// The token that says who you are, for a gateway with a key.
    pub token: Option<String>,
    /// The resume token of the last hello, to continue that session.
    pub resume: Option<String>,
    /// The certificates to trust instead of those of the machine, in PEM; `None` trusts those of the machine.
    #[cfg(feature = "tls")]
    pub root_certificates: Option<String>,
    /// The size of the read buffer, in bytes: the memory that an idle connection needs.
    pub read_buffer_bytes: usize,
    /// The longest frame to accept, in bytes.
    pub frame_bytes_max: usize,
}

impl Options {
    /// Options to connect to `url` without a user id.
    pub fn new(url: &str) -> Self {
        Options {
            url: url.to_owned(),
            protocol: Protocol::default(),
            user_id: None,
            name: None,
            workspace_id: None,
            device_id: None,
            token: None,
            resume: None,
            #[cfg(feature = "tls")]
            root_certificates: None,
            read_buffer_bytes: 4096,
            frame_bytes_max: 16 << 20,
        }
    }

    /// Options to connect to `url` as `user_id`.
    pub fn user(url: &str, user_id: &str) -> Self {
        Options {
            user_id: Some(user_id.to_owned()),
            ..Options::new(url)
        }
    }

    /// The host and port of the URL.
    pub(crate) fn address(&self) -> Result<String, ConnectError> {
        let plain = self.url.strip_prefix("ws://").map(|rest| (rest, 80));
        let either = plain.or_else(|| Some((self.url.strip_prefix(SECURE)?, 443)));
        let (rest, port) = either.ok_or_else(|| ConnectError::Url(self.url.clone()))?;
        let address = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(match has_port {
            true => address.to_owned(),
            false => format!("{address}:{port}"),
        })
    }

    /// Whether the connection is to be encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.url.starts_with(SECURE)
    }

    /// The request that opens the WebSocket.
    pub(crate) fn request(&self) -> Result<Request, ConnectError> {
        let mut url = self.url.clone();
        let query = [
            ("user_id", &self.user_id),
            ("name", &self.name),
            ("workspace_id", &self.workspace_id),
            ("device_id", &self.device_id),
            ("resume", &self.resume),
        ];
        for (key, value) in query {
            let Some(value) = value else { continue };
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(key);
            url.push('=');
            percent_encode(value, &mut url);
        }
        let mut protocols = self.protocol.subprotocol().to_owned();
        if let Some(token) = &self.token {
            protocols = format!("{protocols}, {}{token}", wire::BEARER);
        }
        let wrong = |_| ConnectError::Url(self.url.clone());
        let mut request = url.into_client_request().map_err(wrong)?;
        let protocols = HeaderValue::from_str(&protocols).map_err(|_| ConnectError::Token)?;
        request
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, protocols);
        Ok(request)
    }

    /// The WebSocket's configuration. The buffers are small: the defaults are 128 KiB a connection, zeroed
    /// at every read.
    pub(crate) fn socket(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(1024)
            .max_write_buffer_size(1 << 20)
            .max_message_size(Some(self.frame_bytes_max))
            .max_frame_size(Some(self.frame_bytes_max))
    }
}

/// Appends `text` to `out`, percent-encoded as a value of a query.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_you_are_stands_in_the_query() {
        let options = Options {
            name: Some("Ann & Bob é".into()),
            ..Options::user("ws://127.0.0.1:4001/ws", "auth0|5")
        };
        let request = options.request().unwrap();
        assert_eq!(
            request.uri().to_string(),
            "ws://127.0.0.1:4001/ws?user_id=auth0%7C5&name=Ann%20%26%20Bob%20%C3%A9"
        );
        assert_eq!(
            request.headers()[SEC_WEBSOCKET_PROTOCOL],
            "presence.v1.postcard"
        );
    }

    #[test]
    fn the_token_stands_beside_the_protocol() {
        let options = Options {
            token: Some("a.b.c".into()),
            protocol: Protocol::Json,
            ..Options::new("ws://localhost/ws?x=1")
        };
        assert_eq!(
            options.request().unwrap().headers()[SEC_WEBSOCKET_PROTOCOL],
            "presence.v1.json, presence.bearer.a.b.c"
        );
        assert_eq!(options.address().unwrap(), "localhost:80");
    }

    #[test]
    fn only_websockets_are_spoken() {
        assert!(Options::new("https://localhost/ws").address().is_err());
        let secure = Options::new("wss://localhost/ws");
        assert_eq!(secure.address().unwrap(), "localhost:443");
        assert_eq!(
            Options::new("ws://[::1]:7/ws").address().unwrap(),
            "[::1]:7"
        );
    }
}
