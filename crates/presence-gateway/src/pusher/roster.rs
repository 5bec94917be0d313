//! Encodes everyone on a presence channel, and how each of them is shown.

use bytes::{Buf, Bytes};
use presence_core::{Event, Look, Person, Visible};
use serde_json::{Map, Value, json};

use super::events::{ChannelName, channel_of, small};
use super::words::{escaped, json_of};
use crate::pusher_names::id_of;

/// Everyone on a presence channel, as parts of a `subscription_succeeded`, which is JSON in a string.
pub(super) struct Everyone {
    /// The ids, with commas between.
    pub(super) ids: Bytes,
    /// The members of the hash, with commas between.
    pub(super) hash: Bytes,
    /// The frames that follow it.
    pub(super) frames: Bytes,
}

impl Everyone {
    /// Decodes what [`everyone_of`] has encoded.
    pub(super) fn of(mut shared: Bytes) -> Self {
        let (ids, hash) = (shared.get_u32() as usize, shared.get_u32() as usize);
        Everyone {
            ids: shared.split_to(ids),
            hash: shared.split_to(hash),
            frames: shared,
        }
    }
}

/// Encodes a roster, for [`Everyone`].
pub(super) fn everyone_of(event: &Event) -> Bytes {
    let (people, typing, cursors) = match event {
        Event::Everyone {
            people,
            typing,
            cursors,
            ..
        } => (people, &typing[..], &cursors[..]),
        Event::Summary { sample, .. } => (sample, &[][..], &[][..]),
        _ => return Bytes::new(),
    };
    let (mut ids, mut hash) = (String::new(), String::new());
    for person in people {
        if !ids.is_empty() {
            ids.push(',');
            hash.push(',');
        }
        let id = json_of(&id_of(&person.user));
        let member = format!("{id}:{}", info_of(person));
        ids.push_str(&escaped(&id));
        hash.push_str(&escaped(&member));
    }
    let mut frames = Vec::new();
    if let Some((name, is_presence)) = channel_of(event) {
        let name = &name;
        ChannelName { name, is_presence }.fleeting(typing, cursors, &mut frames);
    }
    let lengths = [small(ids.len()), small(hash.len())].map(u32::to_be_bytes);
    [
        &lengths.concat()[..],
        ids.as_bytes(),
        hash.as_bytes(),
        &frames,
    ]
    .concat()
    .into()
}

/// The `user_info` of a person: what they signed for, unchanged if that is all. The name is the one that others see; the
/// status is added if it is not plain online.
pub(super) fn info_of(person: &Person) -> String {
    let metas = person.members.iter().rev().map(|it| &**it.meta.json());
    let json = metas.into_iter().find(|it| !it.is_empty()).unwrap_or("{}");
    let name = person.newest(|meta| meta.name());
    let Look {
        status,
        message,
        emoji,
    } = person.look();
    let is_plain = *status == Visible::Online && message.is_none() && emoji.is_none();
    let said: Option<Named> = serde_json::from_str(json).ok();
    let said = said.and_then(|it| it.name);
    let is_named = name.is_none_or(|it| said.as_ref().and_then(Value::as_str) == Some(it));
    if is_plain && is_named {
        return json.to_owned();
    }
    let mut info: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    if let Some(name) = name.filter(|_| !is_named) {
        info.insert("name".to_owned(), json!(**name));
    }
    if !is_plain {
        let status = status.as_str();
        let presence = json!({ "status": status, "custom_message": message.as_deref(), "emoji": emoji.as_deref() });
        info.entry("presence").or_insert(presence);
    }
    json_of(&info)
}

#[derive(serde::Deserialize)]
struct Named {
    name: Option<Value>,
}
