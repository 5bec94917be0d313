//! What should be true, computed the slow and obvious way.

use std::collections::BTreeMap;
use std::time::Duration;

use presence_core::users::{Activity, Connection};
use presence_core::{Chosen, DeviceId, Limits, SessionId, Timestamp, Timing, Topic, Visible};

#[derive(Default)]
pub(super) struct Naive {
    pub(super) users: BTreeMap<String, User>,
    /// Until when.
    pub(super) typing: BTreeMap<(Topic, SessionId), Timestamp>,
    /// Where, until when.
    pub(super) cursors: BTreeMap<(Topic, SessionId), (u64, Timestamp)>,
}

#[derive(Default)]
pub(super) struct User {
    pub(super) sessions: Vec<Session>,
    chosen: Chosen,
    message: Option<String>,
    ends: Option<Timestamp>,
    /// While hiding: the words that others last saw, and when they end.
    public_status: Option<(Option<String>, Option<Timestamp>)>,
    was_shown: bool,
}

pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) gone_until: Option<Timestamp>,
    pub(super) by_service: bool,
    pub(super) places: Vec<NaiveTopic>,
    device: DeviceId,
    activity: Activity,
    heard_at: Timestamp,
    hidden_since: Timestamp,
}

pub(super) struct NaiveTopic {
    pub(super) topic: Topic,
    joined_at: Timestamp,
    meta: String,
}

impl Naive {
    pub(super) fn user(&mut self, user: &str) -> &mut User {
        self.users.entry(user.to_owned()).or_default()
    }

    /// Who is in `topic` and how they look, in order, as text.
    pub(super) fn list(&self, now: Timestamp, topic: &Topic) -> Vec<String> {
        let mut people = Vec::new();
        for (id, user) in self.users.iter().filter(|(_, user)| user.is_shown()) {
            let mut members = Vec::new();
            for session in &user.sessions {
                for place in session.places.iter().filter(|it| it.topic == *topic) {
                    let id = session.connection.session;
                    members.push((place.joined_at, id, session.device.kind(), &place.meta));
                }
            }
            members.sort();
            if let Some(first) = members.first() {
                let look = (user.look(now), &user.message);
                people.push((first.0, id, format!("{id} {look:?} {members:?}")));
            }
        }
        people.sort();
        people.into_iter().map(|it| it.2).collect()
    }

    /// Whose session that is, if it is seen in `topic`.
    pub(super) fn seen_in(&self, topic: &Topic, session: SessionId) -> Option<&String> {
        let is_it = |it: &Session| {
            it.connection.session == session && it.places.iter().any(|it| it.topic == *topic)
        };
        let mut shown = self.users.iter().filter(|(_, user)| user.is_shown());
        let user = shown.find(|(_, user)| user.sessions.iter().any(is_it));
        user.map(|(id, _)| id)
    }

    /// Who types in `topic`.
    pub(super) fn typing(&self, topic: &Topic) -> Vec<String> {
        let here = self.typing.keys().filter(|it| it.0 == *topic);
        let users = here.filter_map(|it| self.seen_in(topic, it.1).cloned());
        let mut users: Vec<_> = users.collect();
        users.sort();
        users.dedup();
        users
    }

    /// When something ends next.
    pub(super) fn next_end(&self, timing: &Timing) -> Option<Timestamp> {
        let users = self.users.values().flat_map(|user| {
            let sessions = user.sessions.iter().map(|it| it.ends(timing));
            let idle = user
                .sessions
                .iter()
                .filter(|it| it.activity == Activity::Hidden);
            let idle = idle.map(|it| it.hidden_since + Timing::HIDDEN_IDLE_AFTER);
            let public_status = user.public_status.as_ref().and_then(|it| it.1);
            let words = user.ends.into_iter().chain(public_status);
            sessions.chain(idle).chain(words).collect::<Vec<_>>()
        });
        let fleeting = self.typing.values().copied();
        let fleeting = fleeting.chain(self.cursors.values().map(|it| it.1));
        users.chain(fleeting).min()
    }

    /// Time has come to `now`, not further than to the next end.
    pub(super) fn pass(&mut self, now: Timestamp, timing: &Timing) {
        for user in self.users.values_mut() {
            user.pass(now, timing);
        }
        self.typing.retain(|_, until| *until > now);
        self.cursors.retain(|_, (_, until)| *until > now);
        self.reconcile(now);
    }

    /// After everything that happened: whoever came out of hiding has just come, and who is not seen does nothing.
    pub(super) fn reconcile(&mut self, now: Timestamp) {
        for user in self.users.values_mut() {
            let shown = user.is_shown();
            if std::mem::replace(&mut user.was_shown, shown) != shown {
                let places = user.sessions.iter_mut().flat_map(|it| &mut it.places);
                places.for_each(|it| it.joined_at = now);
            }
        }
        let doing = self.typing.keys().chain(self.cursors.keys()).cloned();
        for key in doing.collect::<Vec<_>>() {
            let (topic, session) = &key;
            let seen = self.seen_in(topic, *session).is_some();
            let mut sessions = self.users.values().flat_map(|it| &it.sessions);
            let live = |it: &Session| it.connection.session == *session && it.gone_until.is_none();
            if !seen || !sessions.any(live) {
                self.typing.remove(&key);
                self.cursors.remove(&key);
            }
        }
    }
}

impl User {
    pub(super) fn hides(&self) -> bool {
        matches!(self.chosen, Chosen::Invisible | Chosen::Offline)
    }

    pub(super) fn is_shown(&self) -> bool {
        !self.hides() && !self.sessions.is_empty()
    }

    fn look(&self, now: Timestamp) -> Visible {
        let is_active = |it: &Session| match it.activity {
            Activity::Active => true,
            Activity::Idle => false,
            Activity::Hidden => now < it.hidden_since + Timing::HIDDEN_IDLE_AFTER,
        };
        match self.chosen {
            _ if !self.is_shown() => Visible::Offline,
            Chosen::Away => Visible::Away,
            Chosen::Busy => Visible::Busy,
            _ if self.sessions.iter().any(is_active) => Visible::Online,
            _ => Visible::Away,
        }
    }

    /// How the user looks to those who watch them, as text.
    pub(super) fn public_view(&self, now: Timestamp) -> String {
        let message = self
            .public_status
            .as_ref()
            .map_or(&self.message, |it| &it.0);
        let mut kinds: Vec<_> = self.sessions.iter().map(|it| it.device.kind()).collect();
        kinds.retain(|_| self.is_shown());
        kinds.sort();
        kinds.dedup();
        format!("{:?} {message:?} {kinds:?}", self.look(now))
    }

    /// The live session whose connection `by` is.
    pub(super) fn live(&mut self, by: Connection) -> Option<&mut Session> {
        let mut sessions = self.sessions.iter_mut();
        sessions.find(|it| it.connection == by && it.gone_until.is_none())
    }

    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        connection: Connection,
        device: DeviceId,
        by_service: bool,
    ) {
        if self.chosen == Chosen::Offline {
            self.chosen = Chosen::Online;
            self.public_status = None;
        }
        self.sessions.push(Session {
            connection,
            gone_until: None,
            by_service,
            places: Vec::new(),
            device,
            activity: Activity::Active,
            heard_at: now,
            hidden_since: now,
        });
    }

    pub(super) fn resume(&mut self, now: Timestamp, before: Connection) -> bool {
        let mut sessions = self.sessions.iter_mut();
        let Some(session) = sessions.find(|it| it.connection == before && !it.by_service) else {
            return false;
        };
        session.connection.epoch += 1;
        session.gone_until = None;
        session.heard_at = now;
        true
    }

    /// Who comes back is in the workspace that their new token names, or no longer in it.
    pub(super) fn move_to(
        &mut self,
        now: Timestamp,
        by: Connection,
        workspace: &Topic,
        there: bool,
        limits: &Limits,
    ) {
        let Some(session) = self.live(by) else {
            return;
        };
        let is_there = session.places.iter().any(|it| it.topic == *workspace);
        if there && !is_there {
            self.join(now, by, workspace, String::new(), limits);
        } else if !there {
            session.places.retain(|it| it.topic != *workspace);
        }
    }

    pub(super) fn join(
        &mut self,
        now: Timestamp,
        by: Connection,
        topic: &Topic,
        meta: String,
        limits: &Limits,
    ) {
        let places = self.sessions.iter().flat_map(|it| &it.places);
        let there = places.filter(|it| it.topic == *topic);
        let joined_at = there.map(|it| it.joined_at).min().unwrap_or(now);
        let Some(session) = self.live(by) else {
            return;
        };
        let is_channel = |it: &&NaiveTopic| matches!(it.topic, Topic::Channel(_));
        let channels = session.places.iter().filter(is_channel).count();
        if let Some(place) = session.places.iter_mut().find(|it| it.topic == *topic) {
            place.meta = meta;
        } else if channels < limits.channels_max || matches!(topic, Topic::Workspace(_)) {
            let topic = topic.clone();
            session.places.push(NaiveTopic {
                topic,
                joined_at,
                meta,
            });
        } else {
            return;
        }
        session.heard_at = now;
    }

    pub(super) fn update(&mut self, by: Connection, topic: &Topic, meta: String) {
        let places = self.live(by).map(|it| &mut it.places);
        let mut places = places.into_iter().flatten();
        if let Some(place) = places.find(|it| it.topic == *topic) {
            place.meta = meta;
        }
    }

    pub(super) fn depart(&mut self, by: Connection, topic: &Topic) {
        if let Some(session) = self.live(by) {
            session.places.retain(|it| it.topic != *topic);
        }
        self.sessions
            .retain(|it| it.connection != by || !it.by_service || !it.places.is_empty());
    }

    pub(super) fn choose(
        &mut self,
        chosen: Option<Chosen>,
        message: Option<Option<String>>,
        ends: Option<Option<Timestamp>>,
    ) {
        let hid = self.hides();
        let words = (self.message.clone(), self.ends);
        self.chosen = chosen.unwrap_or(self.chosen);
        self.message = message.unwrap_or(self.message.take());
        let hides_now = !hid && self.hides();
        self.ends = ends.unwrap_or(if hides_now { None } else { self.ends });
        match (hid, self.hides()) {
            (false, true) => self.public_status = Some(words),
            (_, false) => self.public_status = None,
            (true, true) => {}
        }
    }

    fn pass(&mut self, now: Timestamp, timing: &Timing) {
        if self
            .public_status
            .as_ref()
            .is_some_and(|it| it.1.is_some_and(|at| at <= now))
        {
            self.public_status = Some((None, None));
        }
        if self.ends.is_some_and(|at| at <= now) {
            self.choose(Some(Chosen::Online), Some(None), Some(None));
        }
        for session in &mut self.sessions {
            if session.gone_until.is_none() && session.ends(timing) <= now && !session.by_service {
                session.gone_until = Some(now + timing.grace());
            }
        }
        self.sessions.retain(|it| it.ends(timing) > now);
    }
}

impl Session {
    pub(super) fn hear(&mut self, now: Timestamp) {
        self.heard_at = now;
    }

    pub(super) fn report(&mut self, now: Timestamp, activity: Activity) {
        if self.activity != Activity::Hidden {
            self.hidden_since = now;
        }
        self.activity = activity;
        self.heard_at = now;
    }

    fn ends(&self, timing: &Timing) -> Timestamp {
        let ttl: Duration = match self.activity {
            Activity::Hidden => timing.ttl() * Timing::HIDDEN_FACTOR,
            _ => timing.ttl(),
        };
        self.gone_until.unwrap_or(self.heard_at + ttl)
    }
}
