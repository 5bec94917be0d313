//! One session of a user.

use std::sync::Arc;

use super::held::{KnownBy, Noted};
use crate::cluster::{SessionRecord, Stay};
use crate::{DeviceId, Meta, Reason, SessionId, Timestamp, Timing, Topic};

/// How the person at a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// In the background: not gone, but slow to be heard from.
    Hidden,
    /// Away from the keyboard.
    Idle,
    /// Here.
    Active,
}

/// One connection of a session. Each that takes the session over has the next epoch;
/// whatever an older one still says is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub session: SessionId,
    /// Which of them; the first is 0.
    pub epoch: u32,
}

impl Connection {
    /// The one that a session has through which a service acts.
    pub fn acted(session: SessionId) -> Self {
        Connection { session, epoch: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) epoch: u32,
    pub(super) device: DeviceId,
    pub(super) activity: Activity,
    pub(super) heard_at: Timestamp,
    hidden_since: Timestamp,
    /// The connection broke: until when and why.
    pub(super) gone: Option<(Timestamp, Reason)>,
    /// A service acts through it: it has no connection that could break.
    pub(super) acted: bool,
    pub(super) places: Vec<Place>,
    /// Its timer will end no later than anything about it does.
    armed: bool,
    /// Other nodes know something older.
    pub(super) is_news: bool,
    /// What they know of whether it is active.
    shared_active: bool,
    /// What its client is known by when it comes back.
    pub(super) known_by: KnownBy,
    /// It was a session of the process before, and no client has come back to it.
    pub(super) is_held: bool,
    /// When its connection was lost, while it has none.
    pub(super) lost_at: Option<Timestamp>,
    /// When it leaves the places that its client has not joined again.
    pub(super) claims_end: Option<Timestamp>,
    /// What was last noted of it, where sessions are kept for the next process.
    pub(super) noted: Option<Noted>,
}

/// A channel or workspace that a session is in.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: Topic,
    pub(super) joined_at: Timestamp,
    pub(super) meta: Arc<Meta>,
    /// The look with which it was written; `None` where others may not see it.
    pub(super) written: Option<u64>,
    /// The client that goes on with the session has not joined this again.
    pub(super) is_unclaimed: bool,
    /// It was noted as it is, where sessions are kept for the next process.
    pub(super) is_noted: bool,
}

impl Place {
    /// A place where nobody has been shown yet.
    pub(super) fn new(stay: Stay) -> Self {
        Place {
            topic: stay.topic,
            joined_at: stay.joined_at,
            meta: stay.meta,
            written: None,
            is_unclaimed: false,
            is_noted: false,
        }
    }

    /// The same in the words of other nodes.
    pub(super) fn stay(&self) -> Stay {
        Stay {
            topic: self.topic.clone(),
            joined_at: self.joined_at,
            meta: self.meta.clone(),
        }
    }
}

impl Session {
    pub(super) fn new(now: Timestamp, id: SessionId, device: DeviceId, acted: bool) -> Self {
        Session {
            id,
            epoch: 0,
            device,
            activity: Activity::Active,
            heard_at: now,
            hidden_since: now,
            gone: None,
            acted,
            places: Vec::with_capacity(2),
            armed: false,
            is_news: true,
            shared_active: true,
            known_by: KnownBy::Token,
            is_held: false,
            lost_at: None,
            claims_end: None,
            noted: None,
        }
    }

    /// The session that was on another node, in its next connection.
    pub(super) fn take_over(
        now: Timestamp,
        id: SessionId,
        epoch: u32,
        record: &SessionRecord,
    ) -> Self {
        let places = record.places.iter().cloned().map(Place::new);
        let mut session = Session {
            epoch,
            activity: record.activity,
            // Not here yet: whoever brought it says when it is.
            gone: (!record.acted).then_some((now, Reason::Lost)),
            places: places.collect(),
            ..Session::new(now, id, record.device.clone(), record.acted)
        };
        if session.activity == Activity::Hidden && !record.is_active {
            session.idle_in_background();
        }
        session
    }

    /// What other nodes are to know of it, if that is news to them.
    pub(super) fn news(&mut self, now: Timestamp) -> Option<SessionRecord> {
        let is_active = self.is_active(now);
        if !std::mem::take(&mut self.is_news) && self.shared_active == is_active {
            return None;
        }
        self.shared_active = is_active;
        Some(self.record(now))
    }

    /// All that another node needs to go on with it.
    pub(super) fn record(&self, now: Timestamp) -> SessionRecord {
        let places = self.places.iter().map(Place::stay);
        SessionRecord {
            device: self.device.clone(),
            acted: self.acted,
            activity: self.activity,
            is_active: self.is_active(now),
            heard_at: self.heard_at,
            places: places.collect(),
        }
    }

    pub(super) fn connection(&self) -> Connection {
        Connection {
            session: self.id,
            epoch: self.epoch,
        }
    }

    pub(super) fn report(&mut self, now: Timestamp, activity: Activity) {
        if self.activity != Activity::Hidden {
            self.hidden_since = now;
        }
        self.is_news |= self.activity != activity;
        self.activity = activity;
        self.heard_at = now;
        self.armed = false;
    }

    pub(super) fn vanish(&mut self, until: Timestamp, reason: Reason) {
        self.gone = Some((until, reason));
        self.armed = false;
    }

    /// A new connection goes on where the last one broke. That a machine reconnected says nothing about its person.
    pub(super) fn come_back(&mut self, now: Timestamp) {
        self.epoch += 1;
        self.is_news = true;
        self.gone = None;
        self.is_held = false;
        self.lost_at = None;
        self.heard_at = now;
        self.armed = false;
    }

    /// Lets whoever is idle in the background stay so: since when they have been there is not known any more.
    pub(super) fn idle_in_background(&mut self) {
        self.hidden_since = Timestamp::default();
    }

    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        match self.activity {
            Activity::Active => true,
            Activity::Idle => false,
            Activity::Hidden => now < self.hidden_since + Timing::HIDDEN_IDLE_AFTER,
        }
    }

    pub(super) fn is_in(&self, topic: &Topic) -> bool {
        self.places.iter().any(|place| place.topic == *topic)
    }

    /// Whether joining `topic` would be one channel too many.
    pub(super) fn is_full(&self, topic: &Topic, max: usize) -> bool {
        let channels = self.places.iter();
        let channels = channels.filter(|place| matches!(place.topic, Topic::Channel(_)));
        channels.count() >= max && !self.is_in(topic)
    }

    pub(super) fn lease_ends(&self, timing: &Timing) -> Timestamp {
        match self.activity {
            Activity::Hidden => self.heard_at + timing.ttl() * Timing::HIDDEN_FACTOR,
            Activity::Active | Activity::Idle => self.heard_at + timing.ttl(),
        }
    }

    fn deadline(&self, now: Timestamp, timing: &Timing) -> Timestamp {
        let ends = match self.gone {
            Some((until, _)) => until,
            None => self.lease_ends(timing),
        };
        let ends = self.claims_end.map_or(ends, |at| at.min(ends));
        let idle_at = self.hidden_since + Timing::HIDDEN_IDLE_AFTER;
        match self.activity {
            Activity::Hidden if now < idle_at => idle_at.min(ends),
            _ => ends,
        }
    }

    /// Its timer has ended: the next one is to be armed, whatever it is.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }

    /// The deadline to arm its timer with, if that is not armed early enough already.
    pub(super) fn deadline_to_arm(&mut self, now: Timestamp, timing: &Timing) -> Option<Timestamp> {
        if self.armed {
            return None;
        }
        self.armed = true;
        Some(self.deadline(now, timing))
    }
}
