//! Decodes what a stranger sends, without a connection: see [`crate::hostile`].

use super::commands::{Message, Subscribe, act_of, read};
use super::signature::is_for_channel;
use super::signed::Signed;
use super::words;
use crate::config::{PusherApp, Secret};
use crate::pusher_names::{SocketId, channel_of, name_of};

/// Decodes a frame, what is signed in it, and the name of a channel.
pub(crate) fn frame(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let app = PusherApp {
        id: "3".into(),
        key: "key".into(),
        secret: Secret::new("secret"),
        meets_others: true,
    };
    if let Ok(message) = serde_json::from_str::<Message<'_>>(text) {
        let _ = act_of(&message.event, message.data);
        if let Some(data) = message.data {
            let _ = words::payload_of_json(data);
            if let Some(it) = read::<Subscribe>(data) {
                let auth = it.auth.as_deref().unwrap_or_default();
                let signed = it.channel_data.as_deref();
                let _ = is_for_channel(&app, auth, SocketId::random(), &it.channel, signed);
            }
        }
    }
    if let Ok(channel) = channel_of(&app, text) {
        // Each name has one meaning and each channel one name.
        assert_eq!(name_of(&channel).0, text);
    }
    let _ = SocketId::parse(text);
    let _ = Signed::for_channel(&app, text);
    let _ = Signed::for_user(&app, text);
}
