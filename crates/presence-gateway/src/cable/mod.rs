//! The dialect of Action Cable, which Rails pages speak, and of AnyCable's extension.

mod actions;
mod classes;
mod closing;
mod commands;
mod cursors;
mod handshake;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;
mod messages;
mod presence;
mod roster;
mod sharing;
mod subscribing;
mod subscriptions;
mod tails;

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use presence_core::explain::ClientOrigin;
use presence_core::{Event, Topic, UserId};
use presence_hub::{Delivery, Reference, SharedEvent};
use serde_json::json;
use tokio::time::Instant;

use self::classes::{Kind, Subject};
use self::handshake::Hello;
use self::subscribing::ToRelease;
use self::subscriptions::{State, Subscription, Subscriptions};
use self::tails::{For, Tails};
use crate::app::App;
use crate::authorized::Authorized;
use crate::closing::{CloseReason, Closing, Farewell};
use crate::dialect::{Agreed, Dialect, Frame, Handshake, Next, Slot};
use crate::dialect_name::DialectName;
use crate::frame::TEXT;
use crate::http::{self, Answer};
use crate::lost_subscriptions::KeptSubscription;
use crate::out::Out;
use crate::rates::Buckets;
use crate::request::Refused;
use crate::unanswered::Unanswered;

/// How often a client is pinged, whatever else it is sent: some clients count only pings, and leave after two missing ones.
const PING_EVERY: Duration = Duration::from_secs(3);
/// How long a restored session stays in channels to which nobody has subscribed again.
const STRAYS_AFTER: Duration = Duration::from_secs(10);

/// The Action Cable side of one connection.
pub(crate) struct Cable {
    authorized: Authorized,
    is_extended: bool,
    subscriptions: Subscriptions,
    buckets: Buckets,
    /// The last event about its own user, for a later subscription to it.
    own: Option<Arc<Event>>,
    unanswered: Unanswered<Asked>,
    /// What has to be released once the hub is less busy.
    to_release: Vec<ToRelease>,
    pings_at: Instant,
    /// When to try again what the hub was too busy for.
    tries_at: Option<Instant>,
    /// When to leave channels to which nobody has subscribed again.
    strays_at: Option<Instant>,
    /// When to write the subscriptions to the store, where other gateways find them.
    shares_at: Option<Instant>,
}

impl Dialect for Cable {
    type Hello = Hello;

    const NAME: DialectName = DialectName::Cable;

    // Rails pages send nothing by themselves.
    const PONGS_COUNT: bool = true;

    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Hello>, Box<Answer>> {
        handshake::read(app, handshake)
    }

    fn not_upgraded(status: StatusCode, why: &Refused) -> Answer {
        match status {
            StatusCode::SERVICE_UNAVAILABLE => http::not_upgraded(status, why),
            // Rails also answers that there is no such page.
            _ => http::error(StatusCode::NOT_FOUND, why),
        }
    }

    async fn enter(
        app: Arc<App>,
        hello: Hello,
        origin: Arc<ClientOrigin>,
        out: &mut Out,
    ) -> Result<Self, Farewell> {
        let Hello {
            is_extended,
            identity,
            resume,
        } = hello;
        let entered = match identity {
            Ok(identity) if is_extended => {
                Authorized::enter(app.clone(), identity, resume.as_deref(), Some(origin)).await
            }
            Ok(identity) => {
                Authorized::enter_by_fingerprint(app.clone(), identity, None, Some(origin)).await
            }
            Err(why) => Err(why),
        };
        match entered {
            Ok(authorized) => {
                let mut cable = Cable::new(authorized, is_extended);
                let kept = cable.kept_before().await;
                cable.welcome(kept, out);
                Ok(cable)
            }
            Err(why) => {
                app.metrics.refused(why.code);
                let closing = Closing::of_refused(&why);
                // The same token would be refused again.
                let is_final = closing.why == CloseReason::Expired;
                let reconnect = !is_final && closing::reconnect(closing.why, is_extended);
                Err(goodbye(closing.why, reconnect, out))
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
        self.keep();
        vec![self.authorized]
    }

    fn deliver(&mut self, _: usize, delivery: Delivery, out: &mut Out) {
        match delivery {
            Delivery::Event(shared) => {
                if matches!(*shared.event, Event::OwnView(_)) {
                    self.own = Some(shared.event.clone());
                }
                self.tell(&shared, out);
            }
            Delivery::Granted(reference) => self.granted(reference, out),
            Delivery::Refused(reference, why) => {
                let why = Refused::from(why);
                self.count(why.code);
                if let Some(reference) = reference {
                    self.refused(reference, &why, out);
                }
            }
            Delivery::Ended(_) => {}
        }
    }

    async fn take(&mut self, frame: Frame, out: &mut Out) -> Next {
        match frame {
            Frame::Text(text) => self.obey(text.as_str(), out).await,
            Frame::Binary(_) => Next::Close(CloseReason::WrongType.into()),
        }
    }

    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell {
        let reconnect = closing::reconnect(closing.why, self.is_extended);
        goodbye(closing.why, reconnect, out)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let others = [self.tries_at, self.strays_at, self.shares_at];
        let others = others.into_iter().flatten();
        others.chain([self.pings_at]).min()
    }

    fn expire(&mut self, now: Instant, out: &mut Out) {
        if self.pings_at <= now {
            // A client that could not be written to for a while does not get the pings of that time.
            while self.pings_at <= now {
                self.pings_at += PING_EVERY;
            }
            let seconds = self.authorized.host().now().as_millis() / 1000;
            let ping = format!("{{\"type\":\"ping\",\"message\":{seconds}}}");
            out.push_payload(TEXT, ping.as_bytes());
        }
        if self.tries_at.is_some_and(|at| at <= now) {
            self.try_again(out);
        }
        if self.strays_at.is_some_and(|at| at <= now) {
            self.leave_strays();
        }
        if self.shares_at.is_some_and(|at| at <= now) {
            self.share(now);
        }
    }
}

impl Cable {
    fn new(authorized: Authorized, is_extended: bool) -> Self {
        Cable {
            authorized,
            is_extended,
            subscriptions: Subscriptions::default(),
            buckets: Buckets::full(),
            own: None,
            unanswered: Unanswered::default(),
            to_release: Vec::new(),
            pings_at: Instant::now() + PING_EVERY,
            tries_at: None,
            strays_at: None,
            shares_at: None,
        }
    }

    /// Sends the first frame, with the subscriptions that continue from a lost connection.
    fn welcome(&mut self, kept: Vec<KeptSubscription>, out: &mut Out) {
        let mut welcome = json!({ "type": "welcome" });
        if self.is_extended {
            welcome["sid"] = json!(self.authorized.resume_token());
        }
        if self.authorized.session().is_restored() {
            self.strays_at = Some(Instant::now() + STRAYS_AFTER);
            welcome["restored"] = json!(true);
            welcome["restored_ids"] = json!(self.go_on(kept));
            self.changed();
        }
        out.push_payload(TEXT, welcome.to_string().as_bytes());
    }

    fn tell(&mut self, shared: &Arc<SharedEvent>, out: &mut Out) {
        let Cable {
            authorized,
            is_extended,
            subscriptions,
            ..
        } = self;
        let me = authorized.session().connection().session;
        let confirmed = |it: &&mut Subscription| it.state == State::Confirmed;
        let all = subscriptions.iter_mut().filter(confirmed);
        for it in all.filter(|it| it.shows(&shared.event)) {
            if let Event::OwnView(own_view) = &*shared.event {
                let own = messages::own_of(own_view, own_view.alias_of(me));
                out.push_shared(TEXT, it.head.as_bytes(), own.into());
                continue;
            }
            let encoded = shared.encoded(Slot::Cable as usize, messages::tails_of);
            for tail in Tails::of(encoded).filter(|tail| tail.but != Some(me)) {
                let wanted = match tail.whom {
                    For::All | For::Each => true,
                    For::Curious => it.wish.is_curious,
                    For::Lost => it.has_begun,
                };
                match tail.whom {
                    _ if !wanted => {}
                    For::Each => {
                        let own = own_words(&shared.event, &authorized.identity().user);
                        let own = own.filter(|_| !it.has_begun && it.is_present);
                        let own = own.unwrap_or_default();
                        let head = format!("{},\"message\":{{{own}", it.head);
                        out.push_shared(TEXT, head.as_bytes(), tail.text);
                    }
                    _ => out.push_shared(TEXT, it.head.as_bytes(), tail.text),
                }
            }
            if *is_extended {
                let encoded = shared.encoded(Slot::CableExtended as usize, presence::tails_of);
                for tail in Tails::of(encoded) {
                    if tail.whom == For::All || it.has_begun {
                        out.push_shared(TEXT, it.head.as_bytes(), tail.text);
                    }
                }
            }
            it.has_begun |= matches!(
                *shared.event,
                Event::Everyone { .. } | Event::Summary { .. }
            );
        }
    }

    fn granted(&mut self, reference: Reference, out: &mut Out) {
        let Some(Asked::Subscription(ticket)) = self.unanswered.answered(reference) else {
            return;
        };
        self.confirm(ticket, out);
        let it = self.subscriptions.of_ticket(ticket);
        let is_own = it.is_some_and(|it| matches!(it.wish.subject, Subject::Statuses(_)));
        let me = self.authorized.session().alias();
        if let (true, Some(Event::OwnView(own))) = (is_own, self.own.as_deref())
            && let Some(it) = self.subscriptions.of_ticket(ticket)
        {
            let own = messages::own_of(own, me);
            out.push_shared(TEXT, it.head.as_bytes(), own.into());
        }
    }

    fn refused(&mut self, reference: Reference, why: &Refused, out: &mut Out) {
        match self.unanswered.answered(reference) {
            Some(Asked::Subscription(ticket)) => self.reject(ticket, out),
            Some(Asked::Join(ticket)) => {
                self.mark_absent(ticket);
                self.refuse_presence(ticket, out);
            }
            Some(Asked::Update(ticket)) => self.refuse_presence(ticket, out),
            Some(Asked::Action(ticket, action)) => {
                let it = self.subscriptions.of_ticket(ticket);
                if it.is_some_and(|it| it.wish.is_curious)
                    && let Some(head) = self.head_of(ticket)
                {
                    self.say(&head, &actions::refusal(&action, why), out);
                }
            }
            None => {}
        }
    }

    fn refuse_presence(&mut self, ticket: u32, out: &mut Out) {
        if let Some(head) = self.head_of(ticket) {
            self.presence_refused(&head, out);
        }
    }

    fn head_of(&mut self, ticket: u32) -> Option<Box<str>> {
        let it = self.subscriptions.of_ticket(ticket)?;
        Some(it.head.clone())
    }
}

/// What a command was about that the hub has not answered yet. Subscriptions are named by their tickets.
#[derive(Debug)]
enum Asked {
    Subscription(u32),
    /// Joining the channel of a subscription.
    Join(u32),
    /// Changing the meta in the channel of a subscription.
    Update(u32),
    /// An action of a subscription, by its name.
    Action(u32, Box<str>),
}

/// The beginning of a room's state that tells the user of this connection that they have joined, as others are told.
fn own_words(event: &Event, user: &UserId) -> Option<String> {
    let Event::Everyone { topic, people, .. } = event else {
        return None;
    };
    let is_room = matches!(topic, Topic::Channel(_)) && Kind::of(topic) == Some(Kind::Room);
    let own = people.iter().find(|it| it.user == *user);
    own.filter(|_| is_room).map(|it| roster::joined(it))
}

fn goodbye(why: CloseReason, reconnect: bool, out: &mut Out) -> Farewell {
    let disconnect = closing::disconnect(closing::reason_of(why), reconnect);
    out.push_payload(TEXT, disconnect.as_bytes());
    Farewell::new(closing::code_of(why), why)
}
