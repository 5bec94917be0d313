//! A WebSocket that carries JSON texts, for the dialects of other servers' clients.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A WebSocket that carries JSON texts.
pub(super) struct Socket {
    stream: WebSocketStream<TcpStream>,
    ending: Option<String>,
}

impl Socket {
    /// Connects to a path of a gateway.
    pub(super) async fn open(address: &str, path: &str) -> Result<Socket, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|it| it.to_string())?;
        stream.set_nodelay(true).map_err(|it| it.to_string())?;
        let opened = client_async(format!("ws://{address}{path}"), stream).await;
        let (stream, _) = opened.map_err(|it| it.to_string())?;
        Ok(Socket {
            stream,
            ending: None,
        })
    }

    pub(super) async fn say(&mut self, frame: &Value) -> Result<(), ()> {
        let message = Message::text(frame.to_string());
        self.stream.send(message).await.map_err(drop)
    }

    /// The next frame; `None` once the connection has ended. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            let ending = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(frame) => return Some(frame),
                    Err(error) => format!("garbled: {error}"),
                },
                Some(Ok(Message::Close(frame))) => match frame {
                    Some(frame) => format!("closed with {} {}", frame.code, frame.reason),
                    None => "closed".to_owned(),
                },
                Some(Ok(_)) => continue,
                Some(Err(error)) => error.to_string(),
                None => "lost".to_owned(),
            };
            self.ending.get_or_insert(ending);
            return None;
        }
    }

    pub(super) fn ending(&self) -> String {
        self.ending.clone().unwrap_or_else(|| "lost".to_owned())
    }

    /// Closes with 1000, and waits until the other side has, too.
    pub(super) async fn goodbye(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::from_static(""),
        };
        // It may have ended already.
        let _ = self.stream.close(Some(frame)).await;
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}
