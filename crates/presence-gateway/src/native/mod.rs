//! The native dialect: `presence.v1.json` and `presence.v1.postcard`.

mod closing;
mod commands;
pub(crate) mod events;
mod lists;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use presence_core::explain::ClientOrigin;
use presence_core::{Event, META_BYTES_MAX, Timestamp};
use presence_hub::Delivery;
use presence_protocol::event;
use presence_protocol::{self as wire, Command, ErrorCode};

use self::closing::code_of;
use self::events::{event_of, own_of, session_of, target_of};
use crate::app::App;
use crate::authorized::Authorized;
use crate::closing::{Closing, Farewell, Why};
use crate::dialect::{Agreed, Dialect, Frame, Handshake, Next, Slot};
use crate::dialect_name::DialectName;
use crate::frame::{BINARY, TEXT, frame};
use crate::http::{self, Answer};
use crate::identity::Identity;
use crate::out::Out;
use crate::rates::Buckets;
use crate::request::Refused;
use crate::unanswered::Unanswered;

/// The native side of one connection.
pub(crate) struct Native {
    encoding: Encoding,
    authorized: Authorized,
    unanswered: Unanswered<wire::Ref>,
    buckets: Buckets,
}

/// What a client says in its handshake.
pub(crate) struct Hello {
    encoding: Encoding,
    identity: Result<Identity, Refused>,
    resume: Option<String>,
}

/// The encoding of the frames of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Postcard,
}

impl Dialect for Native {
    type Hello = Hello;

    const NAME: DialectName = DialectName::Native;

    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Hello>, Box<Answer>> {
        let encoding_of = |name: &str| Encoding::ALL.into_iter().find(|(it, _)| *it == name);
        let mut offered = handshake.offered.iter();
        let chosen = offered.find_map(|name| encoding_of(name));
        if chosen.is_none() && !handshake.offered.is_empty() {
            let message = format!("offer {} or {}", wire::JSON, wire::POSTCARD);
            let why = Refused::new(ErrorCode::Malformed, message);
            return Err(Box::new(http::error(StatusCode::BAD_REQUEST, &why)));
        }
        let bearer = handshake.offered_after(wire::BEARER).map(str::to_owned);
        let query = &handshake.query;
        let token = bearer.or_else(|| http::bearer(handshake.headers, query));
        Ok(Agreed {
            protocol: chosen.map(|(name, _)| name.to_owned()),
            hello: Hello {
                encoding: chosen.map_or(Encoding::Json, |(_, encoding)| encoding),
                identity: http::identify(app, token.as_deref(), query),
                resume: query.get("resume").map(str::to_owned),
            },
        })
    }

    async fn enter(
        app: Arc<App>,
        hello: Hello,
        origin: Arc<ClientOrigin>,
        out: &mut Out,
    ) -> Result<Self, Farewell> {
        let Hello {
            encoding,
            identity,
            resume,
        } = hello;
        let entered = match identity {
            Ok(identity) => {
                Authorized::enter(app.clone(), identity, resume.as_deref(), Some(origin)).await
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
                app.metrics.refused(why.code);
                let closing = Closing::at_the_door(&why);
                out.push(encoding.error(why, None));
                Err(encoding.farewell(&closing, out))
            }
        }
    }

    fn sessions(&self) -> &[Authorized] {
        std::slice::from_ref(&self.authorized)
    }

    fn sessions_mut(&mut self) -> &mut [Authorized] {
        std::slice::from_mut(&mut self.authorized)
    }

    fn into_sessions(self) -> Vec<Authorized> {
        vec![self.authorized]
    }

    fn deliver(&mut self, _: usize, delivery: Delivery, out: &mut Out) {
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
                out.push(shared.encoded(slot as usize, encode).clone());
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

    async fn take(&mut self, frame: Frame, out: &mut Out) -> Next {
        let command = match (frame, self.encoding) {
            (Frame::Text(text), Encoding::Json) => Command::from_json(text.as_str()),
            (Frame::Binary(bytes), Encoding::Postcard) => Command::from_postcard(&bytes),
            _ => return Next::Close(Why::WrongType.into()),
        };
        self.obey(command, out).await
    }

    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell {
        self.encoding.farewell(closing, out)
    }

    fn expiring(&mut self, at: Timestamp, out: &mut Out) {
        let token_expires_at = at.as_millis();
        let event = wire::Event::Expiring(event::Expiring { token_expires_at });
        out.push(self.encoding.encode(&event));
    }
}

impl Native {
    pub(crate) fn new(encoding: Encoding, authorized: Authorized) -> Self {
        Native {
            encoding,
            authorized,
            unanswered: Unanswered::default(),
            buckets: Buckets::full(),
        }
    }

    /// The first frame of a connection, `presence:hello` or `presence:restored`.
    pub(crate) fn hello(&self) -> Bytes {
        let (app, session) = (self.authorized.app(), self.authorized.session());
        let identity = self.authorized.identity();
        let settings = app.hub.settings();
        let limits = &app.config.socket;
        let hello = event::Hello {
            session: session_of(session.alias()),
            resume: self.authorized.resume_token().into(),
            user_id: identity.user.text(),
            device_id: self.authorized.device().text(),
            workspaces: identity.workspaces.iter().map(|it| it.text()).collect(),
            now: app.now().as_millis(),
            heartbeat_interval: millis(settings.timing.heartbeat()),
            presence_ttl: millis(settings.timing.ttl()),
            typing_ttl: millis(settings.timing.typing()),
            grace: millis(settings.timing.grace()),
            token_expires_at: identity.expires_at.map(Timestamp::as_millis),
            limits: event::Limits {
                frame_bytes_max: limits.frame_bytes_max as u64,
                meta_bytes_max: META_BYTES_MAX as u64,
                channels_max: settings.limits.channels_max as u64,
                watches_max: limits.watches_max as u64,
                listed_max: settings.limits.listed_max as u64,
            },
        };
        self.encoding.encode(&match session.is_restored() {
            true => wire::Event::Restored(hello),
            false => wire::Event::Hello(hello),
        })
    }

    /// Sends `presence:removed` for each thing that the token no longer allows.
    fn tell_lost(&mut self, out: &mut Out) {
        for lost in self.authorized.take_lost() {
            let target = target_of(&lost);
            let removed = wire::Event::Removed(event::Removed { target });
            out.push(self.encoding.encode(&removed));
        }
    }

    /// Counts a refusal in the metrics.
    fn count(&self, why: &Refused) {
        self.authorized.app().metrics.refused(why.code);
    }
}

impl Encoding {
    /// The subprotocols, each with its encoding.
    const ALL: [(&'static str, Encoding); 2] = [
        (wire::JSON, Encoding::Json),
        (wire::POSTCARD, Encoding::Postcard),
    ];

    fn slot(self) -> Slot {
        match self {
            Encoding::Json => Slot::NativeJson,
            Encoding::Postcard => Slot::NativePostcard,
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
    fn farewell(self, closing: &Closing, out: &mut Out) -> Farewell {
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
