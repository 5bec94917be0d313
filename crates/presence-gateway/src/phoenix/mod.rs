//! Phoenix Channels V2, as npm `phoenix` speaks it: channels with `presence_state` and `presence_diff`, the service topic
//! `presence:{user_id}`, and `user:{id}` and `workspace:{id}` to watch. `docs/phoenix.md` is what it promises.

mod door;
mod wire;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;

mod joining;
mod topics;

mod commands;

mod telling;

mod events;
mod presences;
mod service;

use std::sync::Arc;

use presence_client::wire::{ErrorCode, mend};
use presence_hub::{Delivery, Told};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::commands::class_of;
use self::door::Door;
use self::service::Service;
use self::topics::{Place, Topics};
use self::wire::{Denied, Message, deny, reply};
use crate::app::App;
use crate::closing::{Closing, Why};
use crate::dialect::{Agreed, Dialect, Farewell, Frame, Handshake, Next};
use crate::guest::Guest;
use crate::http::Answer;
use crate::out::Out;
use crate::rates::{Buckets, Class};
use crate::request::Refused;

/// The topic of heartbeats, and of what belongs to no other.
const TRANSPORT: &str = "phoenix";

/// The Phoenix side of one connection.
pub(crate) struct Phoenix {
    app: Arc<App>,
    /// What it said in its handshake, until it has joined something.
    door: Option<Box<Door>>,
    guest: Option<Guest>,
    topics: Topics,
    /// There while its service topic is joined.
    service: Option<Box<Service>>,
    /// What its user was last told of themselves.
    own: Option<Arc<Told>>,
    buckets: Buckets,
}

impl Dialect for Phoenix {
    type Hello = Box<Door>;

    /// The stock client beats every 30 s, and less often in a tab in the background.
    const PONGS_COUNT: bool = true;

    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Box<Door>>, Box<Answer>> {
        let hello = Box::new(Door::read(app, handshake)?);
        let protocol = handshake.offered.contains(&door::PROTOCOL);
        let protocol = protocol.then(|| door::PROTOCOL.to_owned());
        Ok(Agreed { protocol, hello })
    }

    async fn enter(app: Arc<App>, hello: Box<Door>, _: &mut Out) -> Result<Self, Farewell> {
        Ok(Phoenix::new(app, hello))
    }

    fn guests(&self) -> &[Guest] {
        self.guest.as_slice()
    }

    fn guests_mut(&mut self) -> &mut [Guest] {
        self.guest.as_mut_slice()
    }

    fn into_guests(self) -> Vec<Guest> {
        self.guest.into_iter().collect()
    }

    fn deliver(&mut self, _: usize, delivery: Delivery, out: &mut Out) {
        match delivery {
            Delivery::Told(told) => self.tell(told, out),
            Delivery::Granted(reference) => self.granted(&reference, out),
            Delivery::Refused(reference, why) => self.refused(reference, Refused::from(why), out),
            Delivery::Ended(_) => {}
        }
    }

    async fn take(&mut self, frame: Frame, out: &mut Out) -> Next {
        let mended;
        let message = match &frame {
            Frame::Text(text) => {
                mended = mend(text.as_str());
                Message::of_text(&mended)
            }
            Frame::Binary(bytes) => Message::of_bytes(bytes),
        };
        match message {
            Ok(message) => self.obey(&message, out).await,
            Err(why) => self.malformed(why, out),
        }
    }

    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell {
        if matches!(closing.why, Why::Kicked | Why::Forbidden | Why::Left) {
            // So that the client, which always comes back, does not join again what it was thrown out of.
            for joined in self.topics.iter() {
                wire::send(out, &joined.close_head(), "{}");
            }
        }
        Farewell::new(code_of(closing.why), closing.why)
    }

    fn is_goodbye(close: Option<&CloseFrame>) -> bool {
        // A page that is left or reloaded closes without a code; who has not heard a heartbeat answered comes back.
        close.is_some_and(|it| it.code == CloseCode::Normal && it.reason != "heartbeat timeout")
    }
}

impl Phoenix {
    fn new(app: Arc<App>, door: Box<Door>) -> Self {
        Phoenix {
            app,
            door: Some(door),
            guest: None,
            topics: Topics::default(),
            service: None,
            own: None,
            buckets: Buckets::full(),
        }
    }

    /// Who was let in: there is somebody once anything has been joined.
    fn guest(&mut self) -> Result<&mut Guest, Denied> {
        self.guest.as_mut().ok_or(Denied::UNMATCHED_TOPIC)
    }

    async fn obey(&mut self, message: &Message<'_>, out: &mut Out) -> Next {
        let place = Place::parse(&message.topic);
        let class = match (&*message.event, &place) {
            ("phx_join", _) => Class::Join,
            // A goodbye is never too much; one to what was never joined is.
            ("phx_leave", Some(place)) if self.topics.get(place).is_some() => {
                self.leave(message, out).await;
                return Next::Continue;
            }
            (event, Some(place)) => class_of(place, event),
            (_, None) => Class::Other,
        };
        let taken = self
            .buckets
            .take(self.app.now(), class, &self.app.config.rates);
        if let Err(why) = taken {
            self.deny(message.answer_head(), why.into(), out);
            return match self.buckets.strike(self.app.now()) {
                true => Next::Close(Closing::flooding()),
                false => Next::Continue,
            };
        }
        match (&*message.topic, &*message.event) {
            (TRANSPORT, "heartbeat") | (_, "phx_leave") => {
                if let Some(head) = message.answer_head() {
                    reply(out, &head, "{}");
                }
                Next::Continue
            }
            (_, "phx_join") => {
                let Some(head) = message.answer_head() else {
                    return self.malformed("a join has a ref".to_owned(), out);
                };
                match Box::pin(self.join(message, &head, out)).await {
                    Ok(next) => next,
                    Err(denied) => {
                        self.deny(Some(head), denied, out);
                        Next::Continue
                    }
                }
            }
            _ => {
                let joined = place.as_ref().and_then(|it| self.topics.get(it));
                let Some(joined) = joined else {
                    let ref_ = message.ref_.as_ref();
                    let head =
                        ref_.map(|it| wire::head(None, Some(it), &message.topic, "phx_reply"));
                    self.deny(head, Denied::UNMATCHED_TOPIC, out);
                    return Next::Continue;
                };
                // Of a join that is over: whoever said that does not wait for an answer any more.
                if message.is_for(&joined.join_ref) {
                    let place = joined.place.clone();
                    if let Err(denied) = Box::pin(self.push(place, message, out)).await {
                        self.deny(message.answer_head(), denied, out);
                    }
                }
                Next::Continue
            }
        }
    }

    /// Answers what is no message, on the topic that is always there, to nobody's question.
    fn malformed(&mut self, why: String, out: &mut Out) -> Next {
        let head = wire::head(None, None, TRANSPORT, "phx_reply");
        let why = Refused::new(ErrorCode::Malformed, why);
        self.deny(Some(head), why.into(), out);
        match self.buckets.malformed(self.app.now()) {
            true => Next::Close(Why::Malformed.into()),
            false => Next::Continue,
        }
    }

    /// Says and counts that something was not done.
    fn deny(&self, head: Option<String>, denied: Denied, out: &mut Out) {
        self.app.metrics.refused(denied.code);
        if let Some(head) = head {
            deny(out, &head, &denied);
        }
    }
}

/// The close code that says why: those of the reference server where it has one. Clients before 1.8 do not come back
/// after 1000.
fn code_of(why: Why) -> u16 {
    match why {
        Why::Left | Why::Kicked => 1001,
        Why::NotWebSocket => 1002,
        Why::WrongType => 1003,
        Why::NotUtf8 => 1007,
        Why::FrameTooLarge => 1009,
        Why::Restarting => 1012,
        Why::Full => 1013,
        Why::Malformed => 4400,
        Why::NoToken | Why::Unauthorized | Why::Expired => 4401,
        Why::Forbidden => 4403,
        Why::TimedOut => 4408,
        Why::Replaced => 4409,
        Why::TooSlow => 4413,
        Why::Flooding => 4429,
    }
}

#[cfg(test)]
mod tests;
