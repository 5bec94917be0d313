//! Performs what pages send.

use std::borrow::Cow;

use presence_core::rosters::TYPING_EVENT;
use presence_core::{Event, Pointer};
use presence_protocol::{ErrorCode, mend};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::closing::TOO_MANY_EVENTS;
use super::{Pusher, words};
use crate::closing::{CloseReason, Closing};
use crate::dialect::Next;
use crate::out::Out;
use crate::pusher_names::Kind;
use crate::rates::CommandClass;
use crate::request::Refused;

/// The prefix of the events that pages send to each other.
const CLIENT: &str = "client-";
/// The longest data of a page's event, in bytes.
const DATA_BYTES_MAX: usize = 10 * 1024;

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Subscribe {
    pub(super) channel: String,
    pub(super) auth: Option<String>,
    pub(super) channel_data: Option<String>,
}

#[derive(Deserialize)]
struct Unsubscribe {
    channel: String,
}

#[derive(Deserialize)]
pub(super) struct SignIn {
    pub(super) auth: String,
    pub(super) user_data: String,
}

/// `client-typing` with exactly these fields counts as typing in every dialect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typing {
    typing: bool,
}

/// The `whisper('typing', …)` of Laravel Echo, with any fields. It counts as typing too, and its data is sent to
/// the other pages.
#[derive(Deserialize)]
struct Whisper {
    #[serde(default = "yes")]
    typing: bool,
}

/// Whether a broadcast says in a page's own words that its user types, or has stopped.
pub(super) fn is_typing(event: &Event) -> bool {
    matches!(event, Event::Broadcast { event, .. } if **event == *TYPING_EVENT)
}

/// `client-cursor` with these fields moves the cursor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    x: f64,
    y: f64,
    #[serde(default = "yes")]
    visible: bool,
}

/// `client-selection` with these fields sets the selection.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    start: Option<u64>,
    end: Option<u64>,
}

fn yes() -> bool {
    true
}

/// The effect of a page's event.
pub(super) enum Act {
    Type(bool),
    /// The user types or has stopped, and the data is sent to other pages.
    Whisper(bool),
    Point(Pointer),
    Select(Option<u64>, Option<u64>),
    Say,
}

impl Pusher {
    /// Does what a frame asks for. Answers that are ready at once go to `out`.
    pub(super) async fn obey(&mut self, text: &str, out: &mut Out) -> Next {
        let now = self.app.now();
        let text = &*mend(text);
        let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
            return self.malformed("a message is an object with an event", out);
        };
        let event = &*message.event;
        let data = message.data;
        let is_client_event = event.starts_with(CLIENT);
        let act = match is_client_event {
            true => act_of(event, data),
            false => Act::Say,
        };
        let class = match event {
            "pusher:subscribe" | "pusher:unsubscribe" | "pusher:signin" => CommandClass::Join,
            _ if is_client_event => match act {
                Act::Type(_) => CommandClass::Typing,
                Act::Point(_) | Act::Select(..) => CommandClass::Cursor,
                Act::Say | Act::Whisper(_) => CommandClass::Broadcast,
            },
            _ => CommandClass::Other,
        };
        if let Err(why) = self.buckets.take(now, class, &self.app.config.rates) {
            let subscribe = (event == "pusher:subscribe").then_some(data).flatten();
            match subscribe.and_then(read::<Subscribe>) {
                Some(it) => self.refuse_subscription(&it.channel, &why, out),
                None => {
                    self.app.metrics.refused(why.code);
                    out.push(words::error(&why.message, Some(TOO_MANY_EVENTS)));
                }
            }
            return match self.buckets.strike(now) {
                true => Next::Close(Closing::flooding()),
                false => Next::Continue,
            };
        }
        match event {
            "pusher:ping" => {
                self.app.metrics.heartbeat();
                out.push(words::pong());
            }
            "pusher:pong" => {}
            "pusher:subscribe" => match data.and_then(read) {
                Some(it) => return Box::pin(self.subscribe(it, out)).await,
                None => return self.malformed("pusher:subscribe needs a channel", out),
            },
            "pusher:unsubscribe" => match data.and_then(read::<Unsubscribe>) {
                Some(it) => Box::pin(self.unsubscribe(&it.channel, out)).await,
                None => return self.malformed("pusher:unsubscribe needs a channel", out),
            },
            "pusher:signin" => match data.and_then(read) {
                Some(it) => return Box::pin(self.sign_in(it, out)).await,
                None => return self.malformed("pusher:signin needs auth and user_data", out),
            },
            _ if is_client_event => {
                let channel = message.channel.as_deref().unwrap_or_default();
                if let Err(why) = self.client_event(event, channel, data, act) {
                    self.refuse(&why, out);
                }
            }
            event => {
                let shown: String = event.chars().take(64).collect();
                let message =
                    format!("{shown:?} is none of a page's events; its own begin with client-");
                let why = Refused::new(ErrorCode::UnknownCommand, message);
                self.refuse(&why, out);
                if self.buckets.strike(now) {
                    return Next::Close(Closing::flooding());
                }
            }
        }
        Next::Continue
    }

    fn malformed(&mut self, what: &str, out: &mut Out) -> Next {
        let why = Refused::new(ErrorCode::Malformed, what);
        self.refuse(&why, out);
        match self.buckets.malformed(self.app.now()) {
            true => Next::Close(CloseReason::Malformed.into()),
            false => Next::Continue,
        }
    }

    fn client_event(
        &mut self,
        event: &str,
        channel: &str,
        data: Option<&RawValue>,
        act: Act,
    ) -> Result<(), Refused> {
        if !self.app.config.pusher.client_events {
            let message = "client events are not enabled";
            return Err(Refused::new(ErrorCode::Forbidden, message));
        }
        let subscription = self.subscriptions.named_mut(channel);
        let Some(it) = subscription.filter(|it| it.is_on) else {
            let message = "client events need a channel that is subscribed to";
            return Err(Refused::new(ErrorCode::NotJoined, message));
        };
        if !matches!(it.kind, Kind::Private | Kind::Presence) || channel.starts_with(ENCRYPTED) {
            let message = "client events are for private and presence channels";
            return Err(Refused::new(ErrorCode::Forbidden, message));
        }
        let authorized = &mut self.sessions[it.authorized];
        let place = it.channel.clone();
        let act = match act {
            Act::Type(typing) if it.whispers => Act::Whisper(typing),
            act => act,
        };
        match act {
            Act::Type(typing) if it.kind == Kind::Presence => {
                authorized.typing(place, typing, None)
            }
            Act::Point(pointer) if it.kind == Kind::Presence => {
                authorized.point(place, pointer, None)
            }
            Act::Select(start, end) if it.kind == Kind::Presence => {
                authorized.select(place, (start, end), None)
            }
            _ => {
                let payload = match data {
                    None => String::new(),
                    Some(data) if data.get().len() > DATA_BYTES_MAX => {
                        let message =
                            format!("the data of an event are at most {DATA_BYTES_MAX} bytes");
                        return Err(Refused::new(ErrorCode::TooLarge, message));
                    }
                    Some(data) => words::payload_of_json(data)?,
                };
                let event = event.strip_prefix(CLIENT).unwrap_or(event);
                authorized.say(place.clone(), event, payload.into(), None)?;
                match act {
                    Act::Whisper(typing) if it.kind == Kind::Presence => {
                        it.whispers = true;
                        authorized.typing(place, typing, None)
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The prefix of channels on which only the server sends.
const ENCRYPTED: &str = "private-encrypted-";

pub(super) fn act_of(event: &str, data: Option<&RawValue>) -> Act {
    let act = match (event, data) {
        ("client-typing", data) => Some(match data.and_then(read::<Typing>) {
            Some(it) => Act::Type(it.typing),
            None => {
                let words = data.and_then(read::<Whisper>);
                Act::Whisper(words.is_none_or(|it| it.typing))
            }
        }),
        ("client-cursor", Some(data)) => read(data).map(|it: Cursor| {
            let Cursor { x, y, visible } = it;
            Act::Point(Pointer { x, y, visible })
        }),
        ("client-selection", Some(data)) => {
            read(data).map(|it: Selection| Act::Select(it.start, it.end))
        }
        _ => None,
    };
    act.unwrap_or(Act::Say)
}

/// Decodes data, which is JSON or JSON in a string: clients do both.
pub(super) fn read<T: DeserializeOwned>(data: &RawValue) -> Option<T> {
    match serde_json::from_str::<Cow<'_, str>>(data.get()) {
        Ok(text) => serde_json::from_str(&mend(&text)).ok(),
        Err(_) => serde_json::from_str(data.get()).ok(),
    }
}
