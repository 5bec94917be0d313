//! Whether a connection is encrypted, and how it is opened.

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::{ConnectError, Options};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Whether a connection is encrypted.
pub(crate) enum Security {
    Plain,
    #[cfg(feature = "tls")]
    Tls(std::sync::Arc<rustls::ClientConfig>),
}

impl Security {
    /// What the URL asks for.
    pub(crate) fn of(options: &Options) -> Result<Self, ConnectError> {
        if !options.is_secure() {
            return Ok(Security::Plain);
        }
        #[cfg(feature = "tls")]
        let tls = crate::tls::config(options.root_certificates.as_deref()).map(Security::Tls);
        #[cfg(not(feature = "tls"))]
        let tls = Err(ConnectError::Tls(
            "wss:// needs the feature `tls` of presence-client".to_owned(),
        ));
        tls
    }

    /// Opens a WebSocket on `stream`.
    pub(crate) async fn open(
        self,
        request: Request,
        stream: TcpStream,
        config: WebSocketConfig,
    ) -> Result<Socket, tungstenite::Error> {
        let config = Some(config);
        let (socket, _) = match self {
            Security::Plain => {
                let stream = MaybeTlsStream::Plain(stream);
                tokio_tungstenite::client_async_with_config(request, stream, config).await?
            }
            #[cfg(feature = "tls")]
            Security::Tls(tls) => {
                let connector = Some(tokio_tungstenite::Connector::Rustls(tls));
                tokio_tungstenite::client_async_tls_with_config(request, stream, config, connector)
                    .await?
            }
        };
        Ok(socket)
    }
}
