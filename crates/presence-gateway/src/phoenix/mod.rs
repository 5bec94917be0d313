//! The dialect of Phoenix Channels V2, as npm `phoenix` speaks it: channels with `presence_state` and `presence_diff`,
//! the service topic `presence:{user_id}`, and `user:{id}` and `workspace:{id}` to watch. `docs/phoenix.md` describes it.

mod handshake;
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

use presence_core::explain::ClientOrigin;
use presence_hub::{Delivery, SharedEvent};
use presence_protocol::{ErrorCode, mend};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::commands::class_of;
use self::handshake::Newcomer;
use self::joining::Asked;
use self::service::Service;
use self::topics::{PhoenixTopic, Topics};
use self::wire::{Denied, Message, deny, reply};
use crate::app::App;
use crate::authorized::Authorized;
use crate::closing::{CloseReason, Closing, Farewell};
use crate::dialect::{Agreed, Dialect, Frame, Handshake, Next};
use crate::dialect_name::DialectName;
use crate::http::Answer;
use crate::out::Out;
use crate::rates::{Buckets, CommandClass};
use crate::request::Refused;
use crate::unanswered::Unanswered;

/// The topic of heartbeats, and of messages that belong to no other topic.
const TRANSPORT: &str = "phoenix";

/// The Phoenix side of one connection.
pub(crate) struct Phoenix {
    app: Arc<App>,
    /// What the client said in its handshake, until it has joined a topic.
    newcomer: Option<Box<Newcomer>>,
    authorized: Option<Authorized>,
    topics: Topics,
    /// `Some` while the client has joined its service topic.
    service: Option<Box<Service>>,
    /// The last event about its own user.
    own: Option<Arc<SharedEvent>>,
    unanswered: Unanswered<Asked>,
    buckets: Buckets,
}

impl Dialect for Phoenix {
    type Hello = Box<Newcomer>;

    const NAME: DialectName = DialectName::Phoenix;

    /// The stock client sends a heartbeat every 30 s, and less often in a background tab.
    const PONGS_COUNT: bool = true;

    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Box<Newcomer>>, Box<Answer>> {
        let hello = Box::new(Newcomer::read(app, handshake)?);
        let protocol = handshake.offered.contains(&handshake::PROTOCOL);
        let protocol = protocol.then(|| handshake::PROTOCOL.to_owned());
        Ok(Agreed { protocol, hello })
    }

    async fn enter(
        app: Arc<App>,
        mut hello: Box<Newcomer>,
        origin: Arc<ClientOrigin>,
        _: &mut Out,
    ) -> Result<Self, Farewell> {
        hello.comes_from(origin);
        Ok(Phoenix::new(app, hello))
    }

    fn sessions(&self) -> &[Authorized] {
        self.authorized.as_slice()
    }

    fn sessions_mut(&mut self) -> &mut [Authorized] {
        self.authorized.as_mut_slice()
    }

    fn into_sessions(self) -> Vec<Authorized> {
        self.authorized.into_iter().collect()
    }

    fn deliver(&mut self, _: usize, delivery: Delivery, out: &mut Out) {
        match delivery {
            Delivery::Event(shared) => self.tell(shared, out),
            Delivery::Granted(reference) => self.granted(reference, out),
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
        if matches!(
            closing.why,
            CloseReason::Kicked | CloseReason::Forbidden | CloseReason::Left
        ) {
            // Close each topic: otherwise the client, which always reconnects, would join them again.
            for joined in self.topics.iter() {
                wire::send(out, &joined.close_head(), "{}");
            }
        }
        Farewell::new(code_of(closing.why), closing.why)
    }

    fn is_goodbye(close: Option<&CloseFrame>) -> bool {
        // A page that is closed or reloaded closes without a code. A client that misses the answer to a
        // heartbeat comes back.
        close.is_some_and(|it| it.code == CloseCode::Normal && it.reason != "heartbeat timeout")
    }
}

impl Phoenix {
    fn new(app: Arc<App>, newcomer: Box<Newcomer>) -> Self {
        Phoenix {
            app,
            newcomer: Some(newcomer),
            authorized: None,
            topics: Topics::default(),
            service: None,
            own: None,
            unanswered: Unanswered::default(),
            buckets: Buckets::full(),
        }
    }

    /// The authorized session, which exists once the client has joined a topic.
    fn authorized(&mut self) -> Result<&mut Authorized, Denied> {
        self.authorized.as_mut().ok_or(Denied::UNMATCHED_TOPIC)
    }

    async fn obey(&mut self, message: &Message<'_>, out: &mut Out) -> Next {
        let place = PhoenixTopic::parse(&message.topic);
        let class = match (&*message.event, &place) {
            ("phx_join", _) => CommandClass::Join,
            // Leaving a joined topic does not count against the rates; leaving another topic does.
            ("phx_leave", Some(place)) if self.topics.get(place).is_some() => {
                self.leave(message, out).await;
                return Next::Continue;
            }
            (event, Some(place)) => class_of(place, event),
            (_, None) => CommandClass::Other,
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
                if message.topic == TRANSPORT {
                    self.app.metrics.heartbeat();
                }
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
                // A push of an earlier join is ignored: the client no longer waits for its answer.
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

    /// Answers a frame that is not a message, on the transport topic and without a reference.
    fn malformed(&mut self, why: String, out: &mut Out) -> Next {
        let head = wire::head(None, None, TRANSPORT, "phx_reply");
        let why = Refused::new(ErrorCode::Malformed, why);
        self.deny(Some(head), why.into(), out);
        match self.buckets.malformed(self.app.now()) {
            true => Next::Close(CloseReason::Malformed.into()),
            false => Next::Continue,
        }
    }

    /// Reports and counts that a request was refused.
    fn deny(&self, head: Option<String>, denied: Denied, out: &mut Out) {
        self.app.metrics.refused(denied.code);
        if let Some(head) = head {
            deny(out, &head, &denied);
        }
    }
}

/// The close code for a reason: the code of the reference server where it has one. Clients before version 1.8 do not
/// come back after 1000.
fn code_of(why: CloseReason) -> u16 {
    match why {
        CloseReason::Left | CloseReason::Kicked => 1001,
        CloseReason::NotWebSocket => 1002,
        CloseReason::WrongType => 1003,
        CloseReason::NotUtf8 => 1007,
        CloseReason::FrameTooLarge => 1009,
        CloseReason::Restarting => 1012,
        CloseReason::Full => 1013,
        CloseReason::Malformed => 4400,
        CloseReason::NoToken | CloseReason::Unauthorized | CloseReason::Expired => 4401,
        CloseReason::Forbidden => 4403,
        CloseReason::TimedOut => 4408,
        CloseReason::Replaced => 4409,
        CloseReason::TooSlow => 4413,
        CloseReason::Flooding => 4429,
    }
}

#[cfg(test)]
mod tests;
