//! The native dialect: `presence.v1.json` and `presence.v1.postcard`.

mod commands;
pub(crate) mod events;
mod rates;

use bytes::Bytes;
use presence_client::wire;
use presence_client::wire::event;
use presence_core::Reason;
use presence_hub::{Delivery, Ended, Reference};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

pub(crate) use self::commands::{Native, Next, confine};
use self::events::event_of;
use crate::closing::Closing;
use crate::frame::frame;
use crate::request::Refused;

/// How its frames are written. The number is its slot in [`presence_hub::Told`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json = 0,
    Postcard = 1,
}

impl Encoding {
    /// The subprotocols it goes by.
    pub(crate) const ALL: [(&'static str, Encoding); 2] = [
        (wire::JSON, Encoding::Json),
        (wire::POSTCARD, Encoding::Postcard),
    ];

    /// A whole WebSocket frame of `event`.
    fn encode(self, event: &wire::Event) -> Bytes {
        let mut payload = Vec::with_capacity(256);
        match self {
            Encoding::Json => {
                event.encode_json(&mut payload);
                frame(OpCode::Data(Data::Text), &payload)
            }
            Encoding::Postcard => {
                event.encode_postcard(&mut payload);
                frame(OpCode::Data(Data::Binary), &payload)
            }
        }
    }
}

impl Native {
    /// What a delivery is on the wire: nothing, for what only this process needs to know.
    pub(crate) fn frame_of(&self, delivery: &Delivery) -> Option<Bytes> {
        match delivery {
            Delivery::Told(told) => {
                let encode = |event: &_| self.encoding.encode(&event_of(event));
                Some(told.encoded(self.encoding as usize, encode).clone())
            }
            Delivery::Granted(reference) => Some(self.encoding.encode(&ok(reference, None))),
            Delivery::Refused(reference, why) => {
                let why = Refused::from(why.clone());
                self.count(&why);
                let ref_ = reference.as_ref().and_then(reference_of);
                Some(self.encoding.error(why, ref_))
            }
            Delivery::Ended(_) => None,
        }
    }
}

impl Encoding {
    /// An error frame.
    pub(crate) fn error(self, why: Refused, ref_: Option<wire::Ref>) -> Bytes {
        self.encode(&wire::Event::Error(event::Error {
            ref_,
            code: why.code,
            message: why.message,
            field: why.field,
            retry_after: why
                .retry_after
                .map(|span| u64::try_from(span.as_millis().max(1)).unwrap_or(u64::MAX)),
        }))
    }

    /// The frame that comes before a close frame.
    pub(crate) fn closing(self, closing: &Closing) -> Bytes {
        self.encode(&wire::Event::Closing(event::Closing {
            code: closing.code,
            reason: closing.reason.into(),
            reconnect: closing.reconnect,
            retry_after: closing
                .retry_after
                .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        }))
    }
}

fn ok(reference: &Reference, result: Option<event::Answer>) -> wire::Event {
    wire::Event::Ok(event::Ok {
        ref_: reference_of(reference),
        result,
    })
}

fn reference_of(reference: &Reference) -> Option<wire::Ref> {
    wire::Ref::from_json(reference).ok()
}

/// How a connection is closed whose session has ended.
pub(crate) fn closing_of(ended: Ended) -> Closing {
    match ended {
        Ended::Closed(Reason::TimedOut | Reason::Lost) => Closing::TIMED_OUT,
        Ended::Closed(Reason::Replaced) => Closing::REPLACED,
        Ended::Closed(Reason::Kicked) => Closing::KICKED,
        Ended::Closed(Reason::Left) => Closing::BYE,
        Ended::Closed(Reason::NodeLost) | Ended::Stopped => Closing::RESTARTING,
        Ended::TooSlow => Closing::TOO_SLOW,
    }
}
