//! WebSocket messages, whichever library they come from.

use bytes::Bytes;

/// The close code of a goodbye.
const NORMAL: u16 = 1000;

/// A WebSocket message, whichever library it comes from and goes to.
///
/// [`Server::serve`](crate::Server::serve) takes every socket whose messages can be turned into this and back. With the
/// feature `axum` or `tungstenite` those of the library can be; for another library, map its stream and its sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The payload of a text message, which is UTF-8.
    Text(Bytes),
    /// The payload of a binary message.
    Binary(Bytes),
    /// A ping. The library has to answer those of the client.
    Ping(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// The close of the connection, with a code and a reason in words, if it has them.
    Close(Option<(u16, String)>),
}

impl Message {
    /// Whether a client that closes with this is not coming back.
    pub(crate) fn is_goodbye(close: Option<&(u16, String)>) -> bool {
        close.is_some_and(|(code, _)| *code == NORMAL)
    }
}

/// Turns the messages of a library into ours and back. Their names are the same; `$other` is a message that ours has not.
#[cfg(any(feature = "axum", feature = "tungstenite"))]
macro_rules! convert {
    ($theirs:ident, $close:ident, $text:ident $(, $other:pat => $ours:expr)?) => {
        impl From<$theirs> for Message {
            fn from(message: $theirs) -> Self {
                match message {
                    $theirs::Text(text) => Message::Text(text.into()),
                    $theirs::Binary(bytes) => Message::Binary(bytes),
                    $theirs::Ping(bytes) => Message::Ping(bytes),
                    $theirs::Pong(bytes) => Message::Pong(bytes),
                    $theirs::Close(close) => Message::Close(
                        close.map(|it| (it.code.into(), it.reason.as_str().to_owned())),
                    ),
                    $($other => $ours,)?
                }
            }
        }

        impl From<Message> for $theirs {
            fn from(message: Message) -> Self {
                match message {
                    Message::Text(bytes) => match $text::try_from(bytes.clone()) {
                        Ok(text) => $theirs::Text(text),
                        Err(_) => $theirs::Binary(bytes),
                    },
                    Message::Binary(bytes) => $theirs::Binary(bytes),
                    Message::Ping(bytes) => $theirs::Ping(bytes),
                    Message::Pong(bytes) => $theirs::Pong(bytes),
                    Message::Close(close) => $theirs::Close(close.map(|(code, reason)| $close {
                        code: code.into(),
                        reason: reason.into(),
                    })),
                }
            }
        }
    };
}

/// The messages of axum 0.8.
#[cfg(feature = "axum")]
mod of_axum {
    use axum::extract::ws::{CloseFrame, Message as Theirs, Utf8Bytes};

    use super::Message;

    convert!(Theirs, CloseFrame, Utf8Bytes);
}

/// The messages of tungstenite 0.30, which hyper, tokio and many other servers are used with.
#[cfg(feature = "tungstenite")]
mod of_tungstenite {
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::tungstenite::{Message as Theirs, Utf8Bytes};

    use super::Message;

    // Nobody reads a bare frame: it is for those who write half a message.
    convert!(
        Theirs, CloseFrame, Utf8Bytes,
        Theirs::Frame(frame) => Message::Binary(frame.into_payload())
    );
}
