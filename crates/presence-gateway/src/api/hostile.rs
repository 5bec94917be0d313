//! Decodes what a stranger sends, without a connection: see [`crate::hostile`].

use presence_core::Timestamp;

use super::body::parse;
use super::channels::{BroadcastBody, JoinBody, UserBody};
use super::crowds::{JoinAllBody, UsersBody};
use super::users::{BulkBody, StatusBody};
use crate::request;

/// Decodes a body in the way of each call.
pub(crate) fn body(bytes: &[u8]) {
    if let Ok(status) = parse::<StatusBody>(bytes) {
        let _ = status
            .request()
            .checked(Timestamp::from_millis(1_764_000_000_000));
    }
    if let Ok(it) = parse::<BulkBody>(bytes) {
        let _ = request::users("user_ids", &it.user_ids);
    }
    if let Ok(it) = parse::<BroadcastBody>(bytes) {
        let _ = request::event_name(&it.event);
    }
    if let Ok(it) = parse::<JoinBody>(bytes) {
        let identity = crate::identity::hostile::somebody();
        let _ = request::meta(it.meta.map(presence_protocol::Json::into_text), &identity);
    }
    if let Ok(it) = parse::<JoinAllBody>(bytes) {
        let identity = crate::identity::hostile::somebody();
        for it in it.users {
            let _ = request::meta(it.meta.map(presence_protocol::Json::into_text), &identity);
        }
    }
    let _ = parse::<UsersBody>(bytes);
    let _ = parse::<UserBody>(bytes);
}
