//! Webhooks in Pusher's format, so that its server libraries read and verify them: one POST for each application.

use hyper::header::{HeaderName, HeaderValue};
use presence_core::hooks::HookEvent;
use presence_core::ports::NumberedEvent;
use presence_core::{ChannelId, Timestamp, UserId};
use serde::Serialize;

use super::native::hmac_hex;
use super::post::Letter;
use crate::config::PusherApp;
use crate::pusher_names as names;

const KEY: HeaderName = HeaderName::from_static("x-pusher-key");
const SIGNATURE: HeaderName = HeaderName::from_static("x-pusher-signature");

#[derive(Serialize)]
struct Body<'a> {
    time_ms: u64,
    events: Vec<Event<'a>>,
}

#[derive(Serialize)]
struct Event<'a> {
    name: &'static str,
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

/// Makes the request body with those of `events` that belong to `app`, if there are any.
pub(super) fn letter(app: &PusherApp, now: Timestamp, events: &[NumberedEvent]) -> Option<Letter> {
    let events = events.iter().filter_map(|it| event_of(app, &it.event));
    let events: Vec<Event<'_>> = events.collect();
    if events.is_empty() {
        return None;
    }
    let time_ms = now.as_millis();
    let body = Body { time_ms, events };
    let body = serde_json::to_vec(&body).expect("what we send can be written");
    let signature = hmac_hex(&app.secret, &[&body]);
    let header = |text: &str| HeaderValue::from_str(text).expect("keys and digits are plain");
    Some(Letter {
        headers: vec![(KEY, header(&app.key)), (SIGNATURE, header(&signature))],
        body: body.into(),
    })
}

fn event_of<'a>(app: &PusherApp, event: &'a HookEvent) -> Option<Event<'a>> {
    let (name, channel, user): (_, &ChannelId, Option<&UserId>) = match event {
        HookEvent::ChannelOccupied { channel } => ("channel_occupied", channel, None),
        HookEvent::ChannelJoined { channel, user } => ("member_added", channel, Some(user)),
        HookEvent::ChannelLeft { channel, user } => ("member_removed", channel, Some(user)),
        HookEvent::ChannelVacated { channel } => ("channel_vacated", channel, None),
        HookEvent::UserOnline { .. }
        | HookEvent::UserChanged { .. }
        | HookEvent::UserOffline { .. } => return None,
    };
    let (its_name, has_people) = names::name_of(channel);
    // Others see who is in a presence channel, and in no other channel.
    let is_told = names::is_of(app, channel) && (user.is_none() || has_people);
    is_told.then(|| Event {
        name,
        channel: its_name.into_owned(),
        user_id: user.map(names::id_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn app(id: &str, meets_others: bool) -> PusherApp {
        PusherApp {
            id: id.into(),
            key: format!("key-{id}"),
            secret: Secret::new("a secret"),
            meets_others,
        }
    }

    #[test]
    fn each_application_is_told_what_is_its_own_in_its_own_names() {
        let user = |id| UserId::new(id).unwrap();
        let channel = |id| ChannelId::new(id).unwrap();
        let events = [
            HookEvent::ChannelOccupied {
                channel: channel("room:42"),
            },
            HookEvent::ChannelJoined {
                channel: channel("room:42"),
                user: user("ann"),
            },
            HookEvent::ChannelLeft {
                channel: channel("pusher/two/presence-lobby"),
                user: user("pusher/two/bob"),
            },
            HookEvent::ChannelVacated {
                channel: channel("pusher/two/presence-lobby"),
            },
            HookEvent::UserOffline {
                user: user("ann"),
                last_seen: None,
            },
        ];
        let numbered = (1..).zip(events).map(|(number, event)| NumberedEvent {
            partition: 1,
            number,
            event,
        });
        let numbered: Vec<NumberedEvent> = numbered.collect();
        let now = Timestamp::from_millis(1_763_800_000_500);
        let text = |app: &PusherApp| {
            let letter = letter(app, now, &numbered).unwrap();
            String::from_utf8(letter.body.to_vec()).unwrap()
        };
        assert_eq!(
            text(&app("one", true)),
            concat!(
                r#"{"time_ms":1763800000500,"events":["#,
                r#"{"name":"channel_occupied","channel":"presence-room;42"},"#,
                r#"{"name":"member_added","channel":"presence-room;42","user_id":"ann"}]}"#,
            )
        );
        assert_eq!(
            text(&app("two", false)),
            concat!(
                r#"{"time_ms":1763800000500,"events":["#,
                r#"{"name":"member_removed","channel":"presence-lobby","user_id":"bob"},"#,
                r#"{"name":"channel_vacated","channel":"presence-lobby"}]}"#,
            )
        );
        assert_eq!(letter(&app("three", false), now, &numbered), None);
    }
}
