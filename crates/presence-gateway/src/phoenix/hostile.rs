//! Decodes what a stranger sends, without a connection: see [`crate::hostile`].

use super::handshake::Params;
use super::topics::PhoenixTopic;
use super::wire::Message;

/// Decodes a frame, text or binary.
pub(crate) fn frame(bytes: &[u8]) {
    let text = str::from_utf8(bytes).ok().map(Message::of_text);
    for message in text.into_iter().chain([Message::of_bytes(bytes)]).flatten() {
        let _ = PhoenixTopic::parse(&message.topic);
        let _ = message.answer_head();
        if let Ok(params) = Params::read(message.payload) {
            let _ = params.meta();
        }
    }
}
