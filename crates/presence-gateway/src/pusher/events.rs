//! Encodes the events of the core as frames that all connections share.

use bytes::{Buf, Bytes};
use presence_core::{Change, Cursor, Event, Move, Person, Sender, Topic, UserId};
use serde_json::{Value, json};

use super::roster::info_of;
use super::words::{Message, data_of, json_of};
use crate::pusher_names::{id_of, name_of};

/// The frames of an event, and an index of those that are not for the user they are about.
pub(super) struct Frames {
    shared: Bytes,
}

/// The length of an index entry, in bytes: the part of the event that the frame is about, and the frame's
/// start and end.
const ENTRY: usize = 12;

impl Frames {
    /// Decodes what [`frames_of`] has encoded.
    pub(super) fn of(shared: Bytes) -> Self {
        Frames { shared }
    }

    /// The frames for `user`: without those that tell what became of themselves.
    pub(super) fn without(self, event: &Event, user: &UserId) -> [Bytes; 2] {
        let mut shared = self.shared;
        let count = shared.get_u32() as usize;
        let mut spared = shared.split_to(count * ENTRY);
        // In the order of the users, which are looked up in the event.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = (&spared[middle * ENTRY..]).get_u32() as usize;
            match about(event, at).cmp(&Some(user)) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    spared.advance(middle * ENTRY + 4);
                    let (start, end) = (spared.get_u32() as usize, spared.get_u32() as usize);
                    let after = shared.slice(end..);
                    shared.truncate(start);
                    return [shared, after];
                }
            }
        }
        [shared, Bytes::new()]
    }

    /// The frames without those about users for whom `is_spared` holds.
    pub(super) fn without_those(
        self,
        event: &Event,
        is_spared: impl Fn(&UserId) -> bool,
    ) -> Vec<Bytes> {
        let mut shared = self.shared;
        let count = shared.get_u32() as usize;
        let mut entries = shared.split_to(count * ENTRY);
        let mut spared = Vec::new();
        while entries.has_remaining() {
            let [at, start, end] = [(); 3].map(|()| entries.get_u32() as usize);
            if about(event, at).is_some_and(&is_spared) {
                spared.push((start, end));
            }
        }
        spared.sort_unstable();
        let mut parts = Vec::with_capacity(spared.len() + 1);
        let mut from = 0;
        for (start, end) in spared {
            parts.push(shared.slice(from..start));
            from = end;
        }
        parts.push(shared.slice(from..));
        parts
    }
}

/// The user that a part of the event is about.
fn about(event: &Event, at: usize) -> Option<&UserId> {
    match event {
        Event::Changes { changes, .. } => changes.get(at).map(|change| match change {
            Change::Joined(person) | Change::Updated { to: person, .. } => &person.user,
            Change::Left { person, .. } => &person.user,
        }),
        Event::Typing {
            started, stopped, ..
        } => started.iter().chain(stopped).nth(at),
        _ => None,
    }
}

/// Encodes the frames of `event`, for [`Frames`].
pub(super) fn frames_of(event: &Event) -> Bytes {
    let mut frames = Vec::new();
    let mut spared: Vec<[u32; 3]> = Vec::new();
    let Some((name, is_presence)) = channel_of(event) else {
        return shared(&frames, &[]);
    };
    let place = ChannelName {
        name: &name,
        is_presence,
    };
    match event {
        Event::Changes { changes, .. } if is_presence => {
            for (at, change) in changes.iter().enumerate() {
                let start = frames.len();
                let spares = place.change(change, &mut frames);
                if spares {
                    spared.push([at, start, frames.len()].map(small));
                }
            }
        }
        Event::Typing {
            typing,
            started,
            stopped,
            ..
        } if is_presence => {
            let changed = started.iter().map(|user| (user, true));
            let changed = changed.chain(stopped.iter().map(|user| (user, false)));
            for (at, (user, typing)) in changed.enumerate() {
                let start = frames.len();
                place.typing(user, typing, &mut frames);
                spared.push([at, start, frames.len()].map(small));
            }
            if started.is_empty() && stopped.is_empty() {
                typing
                    .iter()
                    .for_each(|it| place.typing(it, true, &mut frames));
            }
        }
        Event::Cursors {
            cursors,
            moves,
            gone,
            ..
        } if is_presence => {
            for (cursor, it) in cursors.iter().zip(moves) {
                let Move {
                    pointed, selected, ..
                } = *it;
                place.cursor(cursor, pointed, selected, &mut frames);
            }
            for session in gone {
                let data = json!({ "visible": false, "session": session.to_string() });
                place.client("client-cursor", &data, None, &mut frames);
            }
        }
        Event::Unchanged {
            typing, cursors, ..
        } if is_presence => place.fleeting(typing, cursors, &mut frames),
        Event::Broadcast {
            event,
            payload,
            user,
            sender,
            ..
        } => {
            let payload = data_of(payload.json());
            place.broadcast(event, &payload, user, *sender, &mut frames);
        }
        Event::Summary { count, .. } if !is_presence => {
            let data = json!({ "subscription_count": count });
            let event = "pusher_internal:subscription_count";
            place.say(event, &json_of(&data), None, &mut frames);
        }
        _ => {}
    }
    spared.sort_by_key(|&[at, ..]| about(event, at as usize));
    shared(&frames, &spared)
}

fn shared(frames: &[u8], spared: &[[u32; 3]]) -> Bytes {
    let mut bytes = Vec::with_capacity(4 + spared.len() * ENTRY + frames.len());
    bytes.extend(small(spared.len()).to_be_bytes());
    bytes.extend(spared.iter().flatten().flat_map(|it| it.to_be_bytes()));
    bytes.extend(frames);
    bytes.into()
}

pub(super) fn small(number: usize) -> u32 {
    u32::try_from(number).expect("an event has less than 4 GB of frames")
}

pub(super) fn channel_of(event: &Event) -> Option<(String, bool)> {
    match event {
        Event::Everyone { topic, .. }
        | Event::Unchanged { topic, .. }
        | Event::EpochStarted { topic, .. }
        | Event::Changes { topic, .. }
        | Event::Summary { topic, .. }
        | Event::Typing { topic, .. }
        | Event::Cursors { topic, .. }
        | Event::Broadcast { topic, .. } => match topic {
            Topic::Channel(channel) => {
                let (name, is_presence) = name_of(channel);
                Some((name.into_owned(), is_presence))
            }
            Topic::Workspace(_) => None,
        },
        Event::PublicView(_)
        | Event::OwnView(_)
        | Event::StoreAway { .. }
        | Event::Window { .. }
        | Event::WindowChanges { .. } => None,
    }
}

/// The name of a channel in frames, and whether it is a presence channel.
pub(super) struct ChannelName<'a> {
    pub(super) name: &'a str,
    pub(super) is_presence: bool,
}

impl ChannelName<'_> {
    fn say(&self, event: &str, data: &str, user_id: Option<&str>, frames: &mut Vec<u8>) {
        let message = Message {
            event,
            channel: Some(self.name),
            data,
            user_id: user_id.filter(|_| self.is_presence),
        };
        frames.extend_from_slice(&message.frame());
    }

    fn client(&self, event: &str, data: &Value, user: Option<&UserId>, frames: &mut Vec<u8>) {
        self.say(event, &json_of(data), user.map(id_of), frames);
    }

    /// Adds the frame of a broadcast. What a server says has the name that it gave; what a page says is known by its name.
    fn broadcast(
        &self,
        event: &str,
        payload: &str,
        user: &UserId,
        sender: Sender,
        frames: &mut Vec<u8>,
    ) {
        match sender {
            Sender::Service { .. } => self.say(event, payload, None, frames),
            Sender::Session { .. } => {
                let event = format!("client-{event}");
                self.say(&event, payload, Some(id_of(user)), frames);
            }
        }
    }

    /// Adds the frames of a change. Returns whether they are not for the user that they are about.
    fn change(&self, change: &Change, frames: &mut Vec<u8>) -> bool {
        match change {
            Change::Joined(person) => {
                self.member_added(person, &info_of(person), frames);
                true
            }
            Change::Updated { from, to } => {
                let info = info_of(to);
                if info != info_of(from) {
                    self.member_added(to, &info, frames);
                }
                false
            }
            Change::Left { person, .. } => {
                let data = json!({ "user_id": id_of(&person.user) });
                let event = "pusher_internal:member_removed";
                self.say(event, &json_of(&data), None, frames);
                true
            }
        }
    }

    fn member_added(&self, person: &Person, info: &str, frames: &mut Vec<u8>) {
        let id = json_of(&id_of(&person.user));
        let data = format!(r#"{{"user_id":{id},"user_info":{info}}}"#);
        self.say("pusher_internal:member_added", &data, None, frames);
    }

    fn typing(&self, user: &UserId, typing: bool, frames: &mut Vec<u8>) {
        let data = json!({ "typing": typing });
        self.client("client-typing", &data, Some(user), frames);
    }

    fn cursor(&self, it: &Cursor, pointed: bool, selected: bool, frames: &mut Vec<u8>) {
        let session = it.alias.to_string();
        if let (Some(at), true) = (it.pointer, pointed) {
            let data = json!({ "x": at.x, "y": at.y, "visible": at.visible, "session": session });
            self.client("client-cursor", &data, Some(&it.user), frames);
        }
        if selected {
            let data = match it.selection {
                Some(it) => json!({ "start": it.start, "end": it.end, "session": session }),
                None => json!({ "session": session }),
            };
            self.client("client-selection", &data, Some(&it.user), frames);
        }
    }

    /// Adds the frames about typing and cursors, which have no version, for a client that has just joined.
    pub(super) fn fleeting(&self, typing: &[UserId], cursors: &[Cursor], frames: &mut Vec<u8>) {
        typing.iter().for_each(|it| self.typing(it, true, frames));
        for cursor in cursors {
            self.cursor(cursor, true, cursor.selection.is_some(), frames);
        }
    }
}

#[cfg(test)]
mod tests;
