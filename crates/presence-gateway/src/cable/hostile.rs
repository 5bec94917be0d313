//! Decodes what a stranger sends, without a connection: see [`crate::hostile`].

use super::classes::Identifier;
use super::commands::Command;
use super::subscriptions::head_of;

/// Decodes a frame, and what it carries.
pub(crate) fn frame(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(command) = serde_json::from_str::<Command<'_>>(text) {
        if let Some(identifier) = &command.identifier {
            let _ = head_of(identifier);
            let _ = Identifier::of(identifier);
        }
        for data in [command.data, command.presence, command.history]
            .into_iter()
            .flatten()
        {
            let _ = presence_protocol::Json::new(data.get());
        }
    }
    let _ = Identifier::of(text);
}
