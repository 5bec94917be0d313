//! The dialect of Pusher's protocol 7, and the HTTP API of its server libraries.

pub(crate) mod api;
mod closing;
mod commands;
mod events;
mod hiding;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;
mod roster;
mod signature;
mod signed;
mod signing_in;
mod subscribing;
mod subscriptions;
mod watchlist;
mod words;

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use presence_core::explain::ClientOrigin;
use presence_core::{Event, Timestamp, Topic, UserId};
use presence_hub::{Budget, Delivery, Reference, SharedEvent};
use presence_protocol::ErrorCode;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::closing::{NO_APPLICATION, NO_VERSION, NOT_A_VERSION, OTHER_VERSION, code_of};
use self::events::{Frames, frames_of};
use self::hiding::Hiding;
use self::roster::{Everyone, everyone_of};
use self::signed::Signed;
use self::subscriptions::{Subscription, Subscriptions};
use self::watchlist::Watchlist;
use self::words::{escaped, json_of};
use crate::app::App;
use crate::authorized::Authorized;
use crate::closing::Farewell;
use crate::closing::{CloseReason, Closing};
use crate::config::PusherApp;
use crate::dialect::{Agreed, Dialect, Frame, Handshake, Next, Slot};
use crate::dialect_name::DialectName;
use crate::frame::TEXT;
use crate::http::{self, Answer};
use crate::out::Out;
use crate::pusher_names::{Kind, SocketId, id_of};
use crate::rates::Buckets;
use crate::request::Refused;

/// The prefix of the path; the key of the application follows it.
pub(crate) const PATH: &str = "/app/";
/// The supported versions of the protocol: 7, and older ones whose clients understand it.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;

/// The Pusher side of one connection.
pub(crate) struct Pusher {
    app: Arc<App>,
    /// The index of its application in the configuration.
    application: usize,
    /// Where the connection comes from.
    origin: Arc<ClientOrigin>,
    socket: SocketId,
    since: Timestamp,
    /// The users that signatures have named, and an anonymous one for channels on which nobody is shown.
    sessions: Vec<Authorized>,
    /// The id of the anonymous one.
    nobody: Option<UserId>,
    hiding: Hiding,
    signed_in: Option<Signed>,
    subscriptions: Subscriptions,
    /// How many commands have asked for subscriptions.
    commands: u64,
    watchlist: Option<Box<Watchlist>>,
    buckets: Buckets,
    /// What its sessions may spend on whole states: unsubscribing ends a session, and the next one goes on with this.
    budget: Option<Budget>,
}

impl Dialect for Pusher {
    /// The index of the application, or how to close a client that names none.
    type Hello = Result<usize, Farewell>;

    const NAME: DialectName = DialectName::Pusher;

    /// A page sends nothing by itself as long as it hears something; in a busy room that is for ever.
    const PONGS_COUNT: bool = true;

    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Self::Hello>, Box<Answer>> {
        let key = handshake.path.strip_prefix(PATH).unwrap_or_default();
        let mut apps = app.config.pusher.apps.iter();
        let refused = |code, reason| Err(Farewell { code, reason });
        let version = handshake.query.get("protocol");
        let hello = match (
            apps.position(|it| it.key == key),
            version.map(str::parse::<u32>),
        ) {
            (None, _) => refused(NO_APPLICATION, "there is no application of that key"),
            (_, None) => refused(NO_VERSION, "no version of the protocol is given"),
            (_, Some(Err(_))) => refused(NOT_A_VERSION, "the version of the protocol is no number"),
            (_, Some(Ok(version))) if !VERSIONS.contains(&version) => refused(
                OTHER_VERSION,
                "this version of the protocol is not spoken here",
            ),
            (Some(application), _) => Ok(application),
        };
        Ok(Agreed {
            protocol: None,
            hello,
        })
    }

    fn not_upgraded(status: StatusCode, why: &Refused) -> Answer {
        match status {
            StatusCode::UPGRADE_REQUIRED => {
                let why = Refused::new(ErrorCode::UnknownCommand, "there is only a WebSocket here");
                http::error(StatusCode::NOT_FOUND, &why)
            }
            status => http::not_upgraded(status, why),
        }
    }

    async fn enter(
        app: Arc<App>,
        hello: Self::Hello,
        origin: Arc<ClientOrigin>,
        out: &mut Out,
    ) -> Result<Self, Farewell> {
        let application = hello.inspect_err(|farewell| {
            app.metrics.refused(ErrorCode::Unauthorized);
            out.push(words::error(farewell.reason, Some(farewell.code)));
        })?;
        let pusher = Pusher::new(app, application, origin);
        // A page that hears nothing for so long asks whether we are there. A short time: a page whose network is gone
        // should not show people for minutes as if it knew.
        let activity = pusher.app.config.timing.heartbeat().as_secs().clamp(1, 30);
        out.push(words::established(&pusher.socket.to_string(), activity));
        Ok(pusher)
    }

    fn sessions(&self) -> &[Authorized] {
        &self.sessions
    }

    fn sessions_mut(&mut self) -> &mut [Authorized] {
        &mut self.sessions
    }

    fn into_sessions(self) -> Vec<Authorized> {
        self.sessions
    }

    fn deliver(&mut self, authorized: usize, delivery: Delivery, out: &mut Out) {
        match delivery {
            Delivery::Event(shared) => self.tell(authorized, &shared, out),
            Delivery::Granted(reference) => self.granted(reference, out),
            Delivery::Refused(Some(reference), why) => self.refused(reference, &why.into(), out),
            Delivery::Refused(None, why) => self.refuse(&why.into(), out),
            Delivery::Ended(_) => {}
        }
    }

    async fn take(&mut self, frame: Frame, out: &mut Out) -> Next {
        self.hide_with_them();
        match frame {
            Frame::Text(text) => self.obey(text.as_str(), out).await,
            Frame::Binary(_) => Next::Close(CloseReason::WrongType.into()),
        }
    }

    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell {
        let code = code_of(closing.why);
        if code >= 4000 {
            out.push(words::error(closing.why.reason(), Some(code)));
        }
        Farewell::new(code, closing.why)
    }

    /// `disconnect()` of a page closes without a code; a page that is closed or reloaded sends 1001.
    fn is_goodbye(close: Option<&CloseFrame>) -> bool {
        close.is_none_or(|it| matches!(it.code, CloseCode::Normal | CloseCode::Status))
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.watchlist.as_ref()?.due()
    }

    fn expire(&mut self, now: Instant, out: &mut Out) {
        let news = self.watchlist.as_mut().and_then(|it| it.tell(now));
        if let Some(frame) = news {
            out.push(frame);
        }
    }
}

impl Pusher {
    fn new(app: Arc<App>, application: usize, origin: Arc<ClientOrigin>) -> Self {
        Pusher {
            since: app.now(),
            app,
            application,
            origin,
            socket: SocketId::random(),
            sessions: Vec::new(),
            nobody: None,
            hiding: Hiding::default(),
            signed_in: None,
            subscriptions: Subscriptions::default(),
            commands: 0,
            watchlist: None,
            buckets: Buckets::full(),
            budget: None,
        }
    }

    fn application(&self) -> &PusherApp {
        &self.app.config.pusher.apps[self.application]
    }

    fn refuse(&self, why: &Refused, out: &mut Out) {
        self.app.metrics.refused(why.code);
        out.push(words::refused(why));
    }

    fn refuse_subscription(&self, name: &str, why: &Refused, out: &mut Out) {
        self.app.metrics.refused(why.code);
        out.push(words::subscription_error(name, why));
    }

    /// Confirms the subscription to a channel that has no roster to wait for.
    fn granted(&mut self, reference: Reference, out: &mut Out) {
        if let Some(it) = self.subscriptions.asked_mut(reference)
            && it.kind != Kind::Presence
            && !it.is_on
        {
            it.is_on = true;
            out.push(words::subscribed(&it.name));
        }
    }

    /// Ends the subscription that the hub has refused, unless the page has given it up already.
    fn refused(&mut self, reference: Reference, why: &Refused, out: &mut Out) {
        let Some(it) = self.subscriptions.asked_mut(reference) else {
            return self.app.metrics.refused(why.code);
        };
        let (name, is_on) = (it.name.clone(), it.is_on);
        if !is_on {
            self.subscriptions.remove(&name);
        }
        self.refuse_subscription(&name, why, out);
    }

    fn next_reference(&mut self) -> Reference {
        self.commands += 1;
        Reference(self.commands)
    }

    fn tell(&mut self, authorized: usize, shared: &SharedEvent, out: &mut Out) {
        let topic = match &*shared.event {
            Event::Everyone { topic, .. }
            | Event::Unchanged { topic, .. }
            | Event::EpochStarted { topic, .. }
            | Event::Changes { topic, .. }
            | Event::Summary { topic, .. }
            | Event::Typing { topic, .. }
            | Event::Cursors { topic, .. }
            | Event::Broadcast { topic, .. } => topic,
            Event::PublicView(public_view) => {
                if let Some(watchlist) = &mut self.watchlist {
                    watchlist.note(Instant::now(), public_view);
                }
                return;
            }
            Event::OwnView(own_view) => return self.note_own(authorized, own_view),
            Event::StoreAway { .. } | Event::Window { .. } | Event::WindowChanges { .. } => return,
        };
        let Topic::Channel(channel) = topic else {
            return;
        };
        let Some(subscription) = self.subscriptions.get_mut(channel) else {
            return;
        };
        let session = self.sessions[authorized].session();
        if let Event::Broadcast { user, sender, .. } = &*shared.event
            && commands::is_typing(&shared.event)
            && sender.session().is_some()
        {
            subscription.heard_whisper(user);
        }
        match &*shared.event {
            Event::Everyone { people, .. } if subscription.kind == Kind::Presence => {
                let is_there = people.iter().any(|it| it.user == *session.user());
                let count = people.len() + usize::from(!is_there);
                subscription.is_on = true;
                succeed(subscription, session, shared, (is_there, count), out);
            }
            Event::Summary { sample, count, .. } if subscription.kind == Kind::Presence => {
                let is_there = sample.iter().any(|it| it.user == *session.user());
                subscription.is_on = true;
                succeed(subscription, session, shared, (is_there, *count), out);
            }
            _ if !subscription.is_on => {}
            // How many listen to what is for one user is nobody's business.
            Event::Summary { .. } if subscription.kind == Kind::ToUser => {}
            Event::Broadcast { sender, .. }
                if sender.session() == Some(session.connection().session)
                    || sender.outsider() == Some(SocketId::outsider(Some(self.socket))) => {}
            event @ Event::Typing { stopped, .. } if !subscription.whisperers.is_empty() => {
                let encoded = shared.encoded(Slot::Pusher as usize, frames_of).clone();
                let whisperers = &mut subscription.whisperers;
                let is_spared = |user: &UserId| user == session.user() || whisperers.contains(user);
                let parts = Frames::of(encoded).without_those(event, is_spared);
                whisperers.retain(|it| !stopped.contains(it));
                for part in parts.into_iter().filter(|it| !it.is_empty()) {
                    out.push(part);
                }
            }
            event => {
                let encoded = shared.encoded(Slot::Pusher as usize, frames_of).clone();
                let parts = Frames::of(encoded).without(event, session.user());
                for part in parts.into_iter().filter(|it| !it.is_empty()) {
                    out.push(part);
                }
            }
        }
    }
}

/// Sends who is on a presence channel, the own user included. Only the beginning of the frame
/// differs between connections.
fn succeed(
    subscription: &Subscription,
    session: &presence_hub::Session,
    shared: &SharedEvent,
    (is_there, count): (bool, usize),
    out: &mut Out,
) {
    let encoded = shared.encoded(Slot::Pusher as usize, everyone_of).clone();
    let Everyone { ids, hash, frames } = Everyone::of(encoded);
    let (mut id, mut member) = (String::new(), String::new());
    if !is_there {
        let own = json_of(&id_of(session.user()));
        let info = subscription.info.as_deref().unwrap_or("{}");
        member = escaped(&format!("{own}:{info}"));
        id = escaped(&own);
        if !ids.is_empty() {
            id.push(',');
            member.push(',');
        }
    }
    let begin = format!(
        r#"{{"event":"pusher_internal:subscription_succeeded","channel":{},"data":"{{\"presence\":{{\"count\":{count},\"ids\":[{id}"#,
        json_of(&subscription.name),
    );
    let middle = format!(r#"],\"hash\":{{{member}"#);
    let end = r#"}}}"}"#;
    out.push_pieces(
        TEXT,
        [
            begin.into(),
            ids,
            middle.into(),
            hash,
            Bytes::from_static(end.as_bytes()),
        ],
    );
    if !frames.is_empty() {
        out.push(frames);
    }
}

#[cfg(test)]
mod tests;
