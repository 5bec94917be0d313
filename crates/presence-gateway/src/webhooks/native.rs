//! Webhooks in our own format, which `docs/webhooks.md` describes.

use hmac::{Hmac, Mac};
use hyper::header::{HeaderName, HeaderValue};
use presence_core::hooks::HookEvent;
use presence_core::ports::NumberedEvent;
use presence_core::{Look, Timestamp};
use serde::Serialize;
use sha2::Sha256;

use super::post::Letter;
use crate::config::Secret;

const TIMESTAMP: HeaderName = HeaderName::from_static("presence-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("presence-signature");

#[derive(Serialize)]
struct Body<'a> {
    /// The id of this attempt; each attempt has a new one.
    id: String,
    created_at: u64,
    events: Vec<Event<'a>>,
}

#[derive(Default, Serialize)]
struct Event<'a> {
    /// The id of the event; it is the same in each attempt.
    id: String,
    /// The number of the event. It grows from one event of a user or a channel to the next.
    seq: u64,
    r#type: &'static str,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
}

/// Makes the request body with `events`, signed with each of `secrets`.
pub(super) fn letter(
    now: Timestamp,
    id: u64,
    events: &[NumberedEvent],
    secrets: &[Secret],
) -> Letter {
    let body = Body {
        id: format!("{id:016x}"),
        created_at: now.as_millis(),
        events: events.iter().map(Event::of).collect(),
    };
    let body = serde_json::to_vec(&body).expect("what we send can be written");
    let timestamp = now.as_millis().to_string();
    let signed = secrets.iter().map(|it| signature(it, &timestamp, &body));
    let signed = signed.collect::<Vec<_>>().join(",");
    let header = |text: &str| HeaderValue::from_str(text).expect("it is made of digits");
    Letter {
        headers: vec![
            (TIMESTAMP, header(&timestamp)),
            (SIGNATURE, header(&signed)),
        ],
        body: body.into(),
    }
}

fn signature(secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    let text = [timestamp.as_bytes(), b".", body];
    format!("v1={}", hmac_hex(secret, &text))
}

/// The HMAC-SHA256 of the concatenated `parts`, in hexadecimal digits.
pub(super) fn hmac_hex(secret: &Secret, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("any key would do");
    parts.iter().for_each(|part| mac.update(part));
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<'a> Event<'a> {
    fn of(numbered: &'a NumberedEvent) -> Self {
        let event = Event {
            id: format!("{}-{}", numbered.number, numbered.partition),
            seq: numbered.number,
            r#type: numbered.event.kind().as_str(),
            at: numbered.at().as_millis(),
            ..Event::default()
        };
        match &numbered.event {
            HookEvent::UserOnline { user, look } | HookEvent::UserChanged { user, look } => Event {
                user_id: Some(user.as_str()),
                ..event.looking(look)
            },
            HookEvent::UserOffline { user, last_seen } => Event {
                user_id: Some(user.as_str()),
                status: Some("offline"),
                last_seen: last_seen.map(Timestamp::as_millis),
                ..event
            },
            HookEvent::ChannelJoined { channel, user }
            | HookEvent::ChannelLeft { channel, user } => Event {
                channel_id: Some(channel.as_str()),
                user_id: Some(user.as_str()),
                ..event
            },
            HookEvent::ChannelOccupied { channel } | HookEvent::ChannelVacated { channel } => {
                Event {
                    channel_id: Some(channel.as_str()),
                    ..event
                }
            }
        }
    }

    fn looking(self, look: &'a Look) -> Self {
        Event {
            status: Some(look.status.as_str()),
            custom_message: look.message.as_deref(),
            emoji: look.emoji.as_deref(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use presence_core::{ChannelId, UserId, Visible};

    use super::*;

    /// What `docs/webhooks.md` shows.
    #[test]
    fn a_letter_is_these_bytes_and_signed() {
        let user = UserId::new("ann").unwrap();
        let channel = ChannelId::new("room:42").unwrap();
        let look = Look {
            status: Visible::Busy,
            message: Some("Deep work".into()),
            emoji: Some("🎯".into()),
        };
        let events = [
            HookEvent::UserOnline {
                user: user.clone(),
                look,
            },
            HookEvent::UserOffline {
                user: user.clone(),
                last_seen: Some(Timestamp::from_millis(1_763_800_000_000)),
            },
            HookEvent::ChannelJoined {
                channel: channel.clone(),
                user,
            },
            HookEvent::ChannelVacated { channel },
        ];
        let numbered = (0..).zip(events).map(|(n, event)| NumberedEvent {
            partition: 241,
            number: 1_763_800_000_123_000 + n,
            event,
        });
        let numbered: Vec<NumberedEvent> = numbered.collect();
        let now = Timestamp::from_millis(1_763_800_000_500);
        let secrets = ["new", "old"].map(Secret::new);
        let letter = letter(now, 255, &numbered, &secrets);
        let body = std::str::from_utf8(&letter.body).unwrap();
        assert_eq!(
            body,
            concat!(
                r#"{"id":"00000000000000ff","created_at":1763800000500,"events":["#,
                r#"{"id":"1763800000123000-241","seq":1763800000123000,"type":"user.online","at":1763800000123,"#,
                r#""user_id":"ann","status":"busy","custom_message":"Deep work","emoji":"🎯"},"#,
                r#"{"id":"1763800000123001-241","seq":1763800000123001,"type":"user.offline","at":1763800000123,"#,
                r#""user_id":"ann","status":"offline","last_seen":1763800000000},"#,
                r#"{"id":"1763800000123002-241","seq":1763800000123002,"type":"channel.joined","at":1763800000123,"#,
                r#""channel_id":"room:42","user_id":"ann"},"#,
                r#"{"id":"1763800000123003-241","seq":1763800000123003,"type":"channel.vacated","at":1763800000123,"#,
                r#""channel_id":"room:42"}]}"#,
            )
        );
        let [(_, timestamp), (_, signature)] = &letter.headers[..] else {
            panic!("{:?}", letter.headers);
        };
        assert_eq!(timestamp, "1763800000500");
        let signature = signature.to_str().unwrap();
        let (new, old) = signature.split_once(',').unwrap();
        assert!(new.starts_with("v1=") && old.starts_with("v1=") && new != old);
    }

    /// The second test vector of RFC 4231.
    #[test]
    fn the_digest_is_that_of_the_standard() {
        let digest = hmac_hex(
            &Secret::new("Jefe"),
            &[b"what do ya want ", b"for nothing?"],
        );
        assert_eq!(
            digest,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
