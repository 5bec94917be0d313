//! The native dialect: `presence.v1.json` and `presence.v1.postcard`. Its frames are those of `presence-native`.

pub(crate) mod lists;

use std::sync::Arc;

use hyper::StatusCode;
use presence_core::Timestamp;
use presence_core::explain::ClientOrigin;
use presence_hub::Delivery;
pub(crate) use presence_native::connection::{Encoding, events};
use presence_native::connection::{Hello, Payload};
use presence_protocol as wire;

use crate::app::App;
use crate::authorized::Authorized;
use crate::closing::{Closing, Farewell};
use crate::dialect::{Agreed, Dialect, Frame, Handshake, Next, Slot};
use crate::dialect_name::DialectName;
use crate::http::{self, Answer};
use crate::out::Out;

/// The native side of one connection.
pub(crate) type Native = presence_native::connection::Native<App>;

const _: () = assert!(Slot::NativeJson as usize == Encoding::Json.slot());
const _: () = assert!(Slot::NativePostcard as usize == Encoding::Postcard.slot());

impl Dialect for Native {
    type Hello = Hello;

    const NAME: DialectName = DialectName::Native;

    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Hello>, Box<Answer>> {
        let chosen = Encoding::offered(&handshake.offered);
        let chosen = chosen.map_err(|why| Box::new(http::error(StatusCode::BAD_REQUEST, &why)))?;
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
        Native::enter(app, hello, Some(origin), out).await
    }

    fn sessions(&self) -> &[Authorized] {
        std::slice::from_ref(self.authorized())
    }

    fn sessions_mut(&mut self) -> &mut [Authorized] {
        std::slice::from_mut(self.authorized_mut())
    }

    fn into_sessions(self) -> Vec<Authorized> {
        vec![self.into_authorized()]
    }

    fn deliver(&mut self, _: usize, delivery: Delivery, out: &mut Out) {
        self.deliver(delivery, out);
    }

    async fn take(&mut self, frame: Frame, out: &mut Out) -> Next {
        let payload = match &frame {
            Frame::Text(text) => Payload::Text(text),
            Frame::Binary(bytes) => Payload::Binary(bytes),
        };
        self.take(payload, out).await
    }

    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell {
        self.farewell(closing, out)
    }

    fn expiring(&mut self, at: Timestamp, out: &mut Out) {
        self.expiring(at, out);
    }
}
