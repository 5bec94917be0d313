//! One session of a user: its device, its activity, the id that others are shown, and when its timer ends.

mod ending;
mod in_store;
mod topic;

use std::sync::Arc;

pub(super) use self::ending::Stage;
pub(super) use self::in_store::InStore;
pub(super) use self::topic::{RosterEntry, SessionTopic, Share};
use super::stored::KnownBy;
pub use crate::activity::Activity;
use crate::cluster::SessionRecord;
use crate::epochs::Epochs;
use crate::explain::ClientOrigin;
use crate::{DeviceId, SessionId, Timestamp, Timing, Topic};

/// One connection of a session. Each new connection of a session has the next epoch, and whatever an older one still
/// sends is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The session that the connection belongs to.
    pub session: SessionId,
    /// The number of the connection within its session; the first is 0.
    pub epoch: u32,
}

impl Connection {
    /// The connection of a session through which a service acts.
    pub fn of_service(session: SessionId) -> Self {
        Connection { session, epoch: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// What others are shown as its id.
    alias: SessionId,
    /// Whether others may have seen the alias.
    is_seen: bool,
    pub(super) epoch: u32,
    pub(super) device: DeviceId,
    pub(super) activity: Activity,
    pub(super) heard_at: Timestamp,
    hidden_since: Timestamp,
    /// When its client last reported another activity.
    pub(super) activity_at: Timestamp,
    /// When its last connection was let in here.
    pub(super) connected_at: Timestamp,
    /// Where its last connection comes from, if that is known.
    pub(super) origin: Option<Arc<ClientOrigin>>,
    pub(super) stage: Stage,
    /// A service acts through it, so there is no connection that could break.
    pub(super) by_service: bool,
    pub(super) places: Vec<SessionTopic>,
    /// Whether its timer is armed for its deadline, or for an earlier moment.
    armed: bool,
    /// Whether the other nodes have not been told its current state.
    pub(super) is_news: bool,
    /// Whether the other nodes have been told that it is active.
    shared_active: bool,
    pub(super) in_store: InStore,
    /// The last epoch of which the store had a record of this node.
    stored_epoch: Option<u64>,
    /// How its client is recognised when it comes back.
    pub(super) known_by: KnownBy,
    /// Whether it is a session of the earlier process that no client has come back to.
    pub(super) is_held: bool,
    /// When its connection was lost, while it has none.
    pub(super) lost_at: Option<Timestamp>,
    /// When it leaves the channels that its client has not joined again.
    pub(super) claims_end: Option<Timestamp>,
    /// What was last stored of it for the next process, where sessions are kept.
    pub(super) journaled: Option<JournaledState>,
}

/// The state of a session as it was last stored: when it changes, the session is stored again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournaledState {
    pub(super) epoch: u32,
    pub(super) activity: Activity,
    pub(super) is_active: bool,
    pub(super) is_hidden: bool,
    pub(super) lost_at: Option<Timestamp>,
    pub(super) heard_at: Option<Timestamp>,
    pub(super) alias: Option<SessionId>,
}

impl Session {
    pub(super) fn new(now: Timestamp, id: SessionId, device: DeviceId, by_service: bool) -> Self {
        Session {
            id,
            alias: id,
            is_seen: false,
            epoch: 0,
            device,
            activity: Activity::Active,
            heard_at: now,
            hidden_since: now,
            activity_at: now,
            connected_at: now,
            origin: None,
            stage: Stage::Live,
            by_service,
            places: Vec::with_capacity(2),
            armed: false,
            is_news: true,
            shared_active: true,
            in_store: InStore::NEW,
            stored_epoch: None,
            known_by: KnownBy::Token,
            is_held: false,
            lost_at: None,
            claims_end: None,
            journaled: None,
        }
    }

    /// The session that was on another node, in the connection `epoch`.
    pub(super) fn take_over(
        now: Timestamp,
        id: SessionId,
        epoch: u32,
        record: &SessionRecord,
    ) -> Self {
        let places = record.places.iter().cloned().map(SessionTopic::open);
        let mut session = Session {
            alias: record.alias.unwrap_or(id),
            is_seen: true,
            epoch,
            activity: record.activity,
            places: places.collect(),
            ..Session::new(now, id, record.device.clone(), record.by_service)
        };
        if session.activity == Activity::Hidden && !record.is_active {
            session.idle_in_background();
        }
        session
    }

    pub(super) fn alias(&self) -> SessionId {
        self.alias
    }

    /// The alias, if it is not the id.
    pub(super) fn other_name(&self) -> Option<SessionId> {
        (self.alias != self.id).then_some(self.alias)
    }

    /// Sets the alias under which it was shown before; `None` if that was its id.
    pub(super) fn goes_by(&mut self, alias: Option<SessionId>) {
        self.alias = alias.unwrap_or(self.id);
    }

    /// Notes that others are about to be shown the alias.
    pub(super) fn mark_seen(&mut self) {
        self.is_seen = true;
    }

    /// Its user comes out of hiding: others who saw the session before must not recognise it, so it gets a new alias. A
    /// session of a service has the same id each time, so a new alias would hide nothing.
    pub(super) fn come_out(&mut self, aliases: &mut Epochs) {
        if self.is_seen && !self.by_service {
            self.alias = aliases.next_alias();
            self.is_seen = false;
            self.is_news = true;
            // A node that takes the session over has to know the new alias, or it would show the old one.
            for place in &mut self.places {
                place.share = Share::Unnamed;
            }
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
        if self.activity != activity {
            self.is_news = true;
            self.activity_at = now;
        }
        self.activity = activity;
        self.heard_at = now;
        self.armed = false;
    }

    pub(super) fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Goes on in a new connection where the last one broke. The activity stays, because a reconnect says nothing
    /// about the person.
    pub(super) fn come_back(&mut self, now: Timestamp) {
        self.epoch += 1;
        self.is_news = true;
        self.stage = Stage::Live;
        self.in_store = self.in_store.forgotten();
        self.is_held = false;
        self.lost_at = None;
        self.heard_at = now;
        self.connected_at = now;
        self.armed = false;
    }

    /// A service acts through it, at `now`. An act that comes while the session is about to end begins its next epoch: the
    /// removal that may be on its way to the store does not remove that.
    pub(super) fn acted(&mut self, now: Timestamp) {
        if self.is_ending() {
            self.come_back(now);
        }
        self.heard_at = now;
    }

    /// Since when it counts as active, or as idle.
    pub(super) fn active_since(&self, now: Timestamp) -> Timestamp {
        match self.activity {
            Activity::Hidden if !self.is_active(now) => {
                (self.hidden_since + Timing::HIDDEN_IDLE_AFTER).max(self.connected_at)
            }
            _ => self.activity_at,
        }
    }

    /// Keeps a session idle that was idle in the background: it is not known since when it has been there.
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

    pub(super) fn ttl_ends(&self, timing: &Timing) -> Timestamp {
        match self.activity {
            Activity::Hidden => self.heard_at + timing.ttl() * Timing::HIDDEN_FACTOR,
            Activity::Active | Activity::Idle => self.heard_at + timing.ttl(),
        }
    }

    fn deadline(&self, now: Timestamp, timing: &Timing) -> Timestamp {
        let ends = match self.stage {
            Stage::Grace { until, .. } => until,
            Stage::Ending { since, .. } if now < since + Timing::LEASE => since + Timing::LEASE,
            // It is asked for again when the store is heard of.
            Stage::Ending { .. } => now + Timing::LEASE,
            Stage::Live => self.ttl_ends(timing),
        };
        let ends = self.claims_end.map_or(ends, |at| at.min(ends));
        let idle_at = self.hidden_since + Timing::HIDDEN_IDLE_AFTER;
        match self.activity {
            Activity::Hidden if now < idle_at => idle_at.min(ends),
            _ => ends,
        }
    }

    /// Notes that its timer has ended, so that the next deadline is armed whatever it is.
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
