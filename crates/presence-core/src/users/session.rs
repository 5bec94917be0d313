//! One session of a user.

use std::sync::Arc;

use crate::cluster::{SessionRecord, Stay};
use crate::epochs::Epochs;
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
    /// What others are shown as its id.
    alias: SessionId,
    /// Others may have seen that.
    is_seen: bool,
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
}

/// A channel or workspace that a session is in.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: Topic,
    pub(super) joined_at: Timestamp,
    pub(super) meta: Arc<Meta>,
    /// The look with which it was written; `None` where others may not see it.
    pub(super) written: Option<u64>,
}

impl Session {
    pub(super) fn new(now: Timestamp, id: SessionId, device: DeviceId, acted: bool) -> Self {
        Session {
            id,
            alias: id,
            is_seen: false,
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
        }
    }

    /// The session that was on another node, in its next connection.
    pub(super) fn take_over(
        now: Timestamp,
        id: SessionId,
        epoch: u32,
        record: &SessionRecord,
    ) -> Self {
        let places = record.places.iter().map(|stay| Place {
            topic: stay.topic.clone(),
            joined_at: stay.joined_at,
            meta: stay.meta.clone(),
            written: None,
        });
        Session {
            alias: record.alias.unwrap_or(id),
            is_seen: true,
            epoch,
            activity: record.activity,
            // Not here yet: whoever brought it says when it is.
            gone: (!record.acted).then_some((now, Reason::Lost)),
            places: places.collect(),
            ..Session::new(now, id, record.device.clone(), record.acted)
        }
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
        let places = self.places.iter().map(|place| Stay {
            topic: place.topic.clone(),
            joined_at: place.joined_at,
            meta: place.meta.clone(),
        });
        SessionRecord {
            device: self.device.clone(),
            acted: self.acted,
            activity: self.activity,
            is_active: self.is_active(now),
            heard_at: self.heard_at,
            places: places.collect(),
            alias: (self.alias != self.id).then_some(self.alias),
        }
    }

    pub(super) fn alias(&self) -> SessionId {
        self.alias
    }

    /// Others are about to be shown the alias.
    pub(super) fn is_seen_now(&mut self) {
        self.is_seen = true;
    }

    /// Its user comes out of hiding: whoever saw the session before is not to know it again. That through which a service
    /// acts has the same id whenever it comes, so that there is nothing to know it by.
    pub(super) fn come_out(&mut self, aliases: &mut Epochs) {
        if self.is_seen && !self.acted {
            self.alias = aliases.next_alias();
            self.is_seen = false;
            self.is_news = true;
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
        self.heard_at = now;
        self.armed = false;
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
