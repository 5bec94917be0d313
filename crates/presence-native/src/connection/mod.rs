//! The native dialect: `presence.v1.json` and `presence.v1.postcard`.

mod closing;
mod commands;
pub mod events;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use presence_core::explain::ClientOrigin;
use presence_core::{Event, META_BYTES_MAX, Timestamp};
use presence_hub::Delivery;
use presence_protocol::event;
use presence_protocol::{self as wire, Command, ErrorCode};

use self::closing::code_of;
use self::events::{event_of, own_of, session_of, target_of};
use crate::authorized::Authorized;
use crate::closing::{CloseReason, Closing, Farewell};
use crate::frame::{BINARY, Frames, TEXT, frame};
use crate::host::Host;
use crate::identity::Identity;
use crate::rates::Buckets;
use crate::request::Refused;
use crate::unanswered::Unanswered;

/// The native side of one connection.
pub struct Native<H> {
    encoding: Encoding,
    authorized: Authorized<H>,
    unanswered: Unanswered<wire::Ref>,
    buckets: Buckets,
}

/// What a client says in its handshake.
#[derive(Debug)]
pub struct Hello {
    /// The encoding of the frames.
    pub encoding: Encoding,
    /// Who the client is, or why it is refused.
    pub identity: Result<Identity, Refused>,
    /// The token of the session that it continues, if it has one.
    pub resume: Option<String>,
}

/// The encoding of the frames of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// JSON in text frames: `presence.v1.json`.
    #[default]
    Json,
    /// Postcard in binary frames: `presence.v1.postcard`.
    Postcard,
}

/// What a client sent in one frame.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// The payload of a text frame.
    Text(&'a str),
    /// The payload of a binary frame.
    Binary(&'a [u8]),
}

/// What a connection does after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The connection goes on.
    Continue,
    /// The client left: its sessions end.
    Leave,
    /// The server closes the connection.
    Close(Closing),
}

impl<H: Host> Native<H> {
    /// Lets the client in, or refuses it. The first frames go to `out`.
    ///
    /// # Errors
    ///
    /// The close of a refused client, to be sent after what is in `out`.
    pub async fn enter(
        host: Arc<H>,
        hello: Hello,
        origin: Option<Arc<ClientOrigin>>,
        out: &mut impl Frames,
    ) -> Result<Self, Farewell> {
        let Hello {
            encoding,
            identity,
            resume,
        } = hello;
        let entered = match identity {
            Ok(identity) => {
                Authorized::enter(host.clone(), identity, resume.as_deref(), origin).await
            }
            Err(why) => Err(why),
        };
        match entered {
            Ok(authorized) => {
                let mut native = Native::new(encoding, authorized);
                out.push(native.hello());
                native.tell_lost(out);
                Ok(native)
            }
            Err(why) => {
                host.refused(why.code);
                let closing = Closing::of_refused(&why);
                out.push(encoding.error(why, None));
                Err(encoding.farewell(&closing, out))
            }
        }
    }

    /// The session of the connection.
    pub fn authorized(&self) -> &Authorized<H> {
        &self.authorized
    }

    /// The session of the connection, to wait for its deliveries.
    pub fn authorized_mut(&mut self) -> &mut Authorized<H> {
        &mut self.authorized
    }

    /// The session of the connection, to end it.
    pub fn into_authorized(self) -> Authorized<H> {
        self.authorized
    }

    /// Turns a delivery of the hub into frames; into none if the client need not know.
    pub fn deliver(&mut self, delivery: Delivery, out: &mut impl Frames) {
        match delivery {
            Delivery::Event(shared) => {
                if let Event::OwnView(own_view) = &*shared.event {
                    // Each session is told what it is called.
                    let own = own_of(
                        own_view,
                        Some(self.authorized.session().connection().session),
                    );
                    return out.push(self.encoding.encode(&wire::Event::Own(own)));
                }
                let encode = |event: &_| self.encoding.encode(&event_of(event));
                let slot = self.encoding.slot();
                out.push(shared.encoded(slot, encode).clone());
            }
            Delivery::Granted(reference) => {
                let ref_ = self.unanswered.answered(reference);
                let ok = event::Ok { ref_, result: None };
                out.push(self.encoding.encode(&wire::Event::Ok(ok)));
            }
            Delivery::Refused(reference, why) => {
                let why = Refused::from(why);
                self.count(&why);
                let ref_ = reference.and_then(|it| self.unanswered.answered(it));
                out.push(self.encoding.error(why, ref_));
            }
            Delivery::Ended(_) => {}
        }
    }

    /// Does what a frame asks for. Answers that are ready at once go to `out`.
    pub async fn take(&mut self, payload: Payload<'_>, out: &mut impl Frames) -> Next {
        let command = match (payload, self.encoding) {
            (Payload::Text(text), Encoding::Json) => Command::from_json(text),
            (Payload::Binary(bytes), Encoding::Postcard) => Command::from_postcard(bytes),
            _ => return Next::Close(CloseReason::WrongType.into()),
        };
        self.obey(command, out).await
    }

    /// Says why the connection ends, and returns the close frame to follow that.
    pub fn farewell(&mut self, closing: &Closing, out: &mut impl Frames) -> Farewell {
        self.encoding.farewell(closing, out)
    }

    /// Asks the client for a fresh token: its token ends at `at`.
    pub fn expiring(&mut self, at: Timestamp, out: &mut impl Frames) {
        let token_expires_at = at.as_millis();
        let event = wire::Event::Expiring(event::Expiring { token_expires_at });
        out.push(self.encoding.encode(&event));
    }

    /// The connection of a client that was let in.
    pub fn new(encoding: Encoding, authorized: Authorized<H>) -> Self {
        Native {
            encoding,
            authorized,
            unanswered: Unanswered::default(),
            buckets: Buckets::full(),
        }
    }

    /// The first frame of a connection, `presence:hello` or `presence:restored`.
    pub fn hello(&self) -> Bytes {
        let (host, session) = (self.authorized.host(), self.authorized.session());
        let identity = self.authorized.identity();
        let settings = host.hub().settings();
        let hello = event::Hello {
            session: session_of(session.alias()),
            resume: self.authorized.resume_token().into(),
            user_id: identity.user.text(),
            device_id: self.authorized.device().text(),
            workspaces: identity.workspaces.iter().map(|it| it.text()).collect(),
            now: host.now().as_millis(),
            heartbeat_interval: millis(settings.timing.heartbeat()),
            presence_ttl: millis(settings.timing.ttl()),
            typing_ttl: millis(settings.timing.typing()),
            grace: millis(settings.timing.grace()),
            token_expires_at: identity.expires_at.map(Timestamp::as_millis),
            limits: event::Limits {
                frame_bytes_max: host.frame_bytes_max() as u64,
                meta_bytes_max: META_BYTES_MAX as u64,
                channels_max: settings.limits.channels_max as u64,
                watches_max: host.watches_max() as u64,
                listed_max: settings.limits.listed_max as u64,
            },
        };
        self.encoding.encode(&match session.is_restored() {
            true => wire::Event::Restored(hello),
            false => wire::Event::Hello(hello),
        })
    }

    /// Sends `presence:removed` for each thing that the token no longer allows.
    fn tell_lost(&mut self, out: &mut impl Frames) {
        for lost in self.authorized.take_lost() {
            let target = target_of(&lost);
            let removed = wire::Event::Removed(event::Removed { target });
            out.push(self.encoding.encode(&removed));
        }
    }

    /// Counts a refusal in the metrics.
    fn count(&self, why: &Refused) {
        self.authorized.host().refused(why.code);
    }
}

impl Encoding {
    /// The subprotocols, each with its encoding.
    const ALL: [(&'static str, Encoding); 2] = [
        (wire::JSON, Encoding::Json),
        (wire::POSTCARD, Encoding::Postcard),
    ];

    /// The encoding of the first of these subprotocols that is one of ours, with its name. `None` if there are no
    /// subprotocols at all.
    ///
    /// # Errors
    ///
    /// Fails if none of them is ours.
    pub fn offered(offered: &[&str]) -> Result<Option<(&'static str, Encoding)>, Refused> {
        let ours = |name: &&str| Encoding::ALL.into_iter().find(|(it, _)| it == name);
        match offered.iter().find_map(ours) {
            None if !offered.is_empty() => {
                let message = format!("offer {} or {}", wire::JSON, wire::POSTCARD);
                Err(Refused::new(ErrorCode::Malformed, message))
            }
            chosen => Ok(chosen),
        }
    }

    /// The number of this encoding in a [`SharedEvent`](presence_hub::SharedEvent). A server that encodes events in
    /// other ways, too, uses other numbers for them.
    pub const fn slot(self) -> usize {
        match self {
            Encoding::Json => 0,
            Encoding::Postcard => 1,
        }
    }

    /// Encodes `event` as a whole WebSocket frame.
    fn encode(self, event: &wire::Event) -> Bytes {
        let mut payload = Vec::with_capacity(256);
        match self {
            Encoding::Json => {
                event.encode_json(&mut payload);
                frame(TEXT, &payload)
            }
            Encoding::Postcard => {
                event.encode_postcard(&mut payload);
                frame(BINARY, &payload)
            }
        }
    }

    /// Encodes a refusal as an error frame.
    fn error(self, why: Refused, ref_: Option<wire::Ref>) -> Bytes {
        self.encode(&wire::Event::Error(event::Error {
            ref_,
            code: why.code,
            message: why.message,
            field: why.field,
            retry_after: why.retry_after.map(|span| millis(span.max(MILLI))),
        }))
    }

    /// Sends `presence:closing`, and returns the close frame to follow it.
    fn farewell(self, closing: &Closing, out: &mut impl Frames) -> Farewell {
        let Closing { why, retry_after } = *closing;
        let code = code_of(why);
        out.push(self.encode(&wire::Event::Closing(event::Closing {
            code,
            reason: why.reason().into(),
            reconnect: why.reconnect(),
            retry_after: retry_after.map(millis),
        })));
        Farewell::new(code, why)
    }
}

const MILLI: Duration = Duration::from_millis(1);

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
