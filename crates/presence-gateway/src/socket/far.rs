//! The client side of a connection, for tests of sockets and dialects: without a network, and in paused time.

use std::sync::Arc;

use futures_util::SinkExt;
use presence_core::DeviceId;
use presence_hub::{ConnectRequest, Session};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Socket, websocket_config};
use crate::app::App;
use crate::cli::Cli;
use crate::config::Config;
use crate::dialect::Dialect;
use crate::identity::{Asked, Identity};
use crate::out::Out;

/// The client side of a connection.
pub(crate) struct Far {
    pub(crate) client: WebSocketStream<DuplexStream>,
    pub(crate) running: JoinHandle<()>,
}

impl Far {
    /// Sends a text frame to the gateway.
    pub(crate) async fn text(&mut self, text: &str) {
        self.client.send(Message::text(text)).await.unwrap();
    }
}

/// The state that a gateway's connections share, from settings by their names in the environment.
pub(crate) fn app(settings: &[(&str, &str)]) -> Arc<App> {
    let cli = Cli {
        data_dir: Some(":memory:".into()),
        ..Cli::default()
    };
    let env = settings
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Arc::new(App::alone(Config::load(&cli, env).unwrap()).unwrap())
}

/// Runs a connection in the dialect, which sends `out` first. `buffer` bytes may be on the way in each direction.
pub(crate) async fn serve<D: Dialect>(app: &Arc<App>, dialect: D, out: Out, buffer: usize) -> Far {
    let (near, far) = tokio::io::duplex(buffer);
    let config = Some(websocket_config(app.config.socket.frame_bytes_max));
    let near = WebSocketStream::from_raw_socket(near, Role::Server, config).await;
    let socket = Socket::new(app.clone(), near, dialect, out);
    Far {
        client: WebSocketStream::from_raw_socket(far, Role::Client, None).await,
        running: tokio::spawn(Box::new(socket).run()),
    }
}

/// The identity of `user` on a gateway without tokens.
pub(crate) fn identity(app: &App, user: &str) -> Identity {
    let asked = Asked {
        user_id: Some(user),
        device_id: Some("web:1"),
        ..Asked::default()
    };
    app.gate.admit(None, asked, app.now()).unwrap()
}

/// A session of `user` that has no connection.
pub(crate) async fn session(app: &App, user: &str) -> Session {
    let request = ConnectRequest {
        user: user.parse().unwrap(),
        device: DeviceId::new("web:1").unwrap(),
        workspaces: Vec::new(),
        card: Arc::default(),
        resume: None,
        origin: None,
    };
    app.hub.connect(request).await.unwrap()
}
