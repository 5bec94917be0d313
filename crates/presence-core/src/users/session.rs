//! One session of a user.

use std::sync::Arc;
use std::time::Duration;

use super::stored::KnownBy;
pub use crate::activity::Activity;
use crate::cluster::{FencingToken, JoinedTopic, Membership, SessionRecord};
use crate::epochs::Epochs;
use crate::explain::ClientOrigin;
use crate::{DeviceId, Meta, Reason, SessionId, Timestamp, Timing, Topic};

/// Healthy nodes report often enough that what they did this long ago is known to be in the store.
const STORED_WITHIN: Duration = Duration::from_secs(10);

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
    /// Whether its timer is armed, for a moment no later than its deadline.
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

/// What the store has of the record of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InStore {
    /// The store has confirmed nothing since this epoch began.
    New {
        /// The stored entry that the first record of this epoch has to replace, if any.
        replaces: Option<FencingToken>,
    },
    /// The store has confirmed this revision, which this node wrote in this epoch or in the one before.
    Stored(u64),
}

impl InStore {
    /// Nothing of this epoch, and no entry that has to be replaced.
    const NEW: InStore = InStore::New { replaces: None };

    /// Whether the store has this revision or a later one.
    pub(super) fn has(self, revision: u64) -> bool {
        matches!(self, InStore::Stored(stored) if revision <= stored)
    }

    /// The same, where what this node wrote does not count any more. A stored entry that has to be replaced still has to be.
    fn forgotten(self) -> InStore {
        match self {
            InStore::Stored(_) => InStore::NEW,
            InStore::New { replaces } => InStore::New { replaces },
        }
    }
}

/// How far a session is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has a connection, or a service acts through it.
    Live,
    /// The connection broke: until when it may come back, and why it broke.
    Grace { until: Timestamp, reason: Reason },
    /// The grace time is over since `since`. The session ends when the store has accepted that, unless another
    /// node has it.
    Ending {
        since: Timestamp,
        reason: Reason,
        proof: Proof,
    },
}

/// What is still missing before an ending session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Everything that other nodes did up to `stored_up_to` has to be in the store first. A node that cannot report that
    /// delays the end by a lease at most.
    Awaited { stored_up_to: Timestamp },
    /// The store has been asked to remove the session.
    Asked,
}

/// A channel or workspace that a session is in.
#[derive(Debug)]
pub(super) struct SessionTopic {
    pub(super) topic: Topic,
    pub(super) joined_at: Timestamp,
    pub(super) meta: Arc<Meta>,
    pub(super) entry: RosterEntry,
    pub(super) share: Share,
    /// Whether the client that goes on with the session has not joined this place again.
    pub(super) is_unclaimed: bool,
    /// Whether the place was stored for the next process, as it is.
    pub(super) is_journaled: bool,
    /// Whether others were shown the session there before it came to this node, or to this process.
    pub(super) was_shown: bool,
}

/// The roster entry of a session in one place, as this node wrote it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RosterEntry {
    /// There is none: others may not see the session there.
    Absent,
    /// There is one, and it has to be written again.
    Stale,
    /// There is one, which shows the look with this revision.
    Written(u64),
}

/// Whether other nodes may be told that a session is in a place: not before the user's map says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The user's map does not name the place.
    Unnamed,
    /// This revision of the session's record names it, and is on its way to the store.
    Named(u64),
    /// The store has a record of the session that names the place.
    Open,
}

impl SessionTopic {
    /// A place in which nobody was shown yet, and which the user's map does not name.
    pub(super) fn new(joined: JoinedTopic) -> Self {
        SessionTopic {
            topic: joined.topic,
            joined_at: joined.joined_at,
            meta: joined.meta,
            entry: RosterEntry::Absent,
            share: Share::Unnamed,
            is_unclaimed: false,
            is_journaled: false,
            was_shown: false,
        }
    }

    /// A place that the user's map names already.
    fn open(joined: JoinedTopic) -> Self {
        SessionTopic {
            share: Share::Open,
            was_shown: true,
            ..SessionTopic::new(joined)
        }
    }

    /// A place in which others were shown the session by an earlier process.
    pub(super) fn restored(joined: JoinedTopic) -> Self {
        SessionTopic {
            was_shown: true,
            ..SessionTopic::new(joined)
        }
    }

    /// Whether the place has a roster entry of the session, so that others may see the session there.
    pub(super) fn has_entry(&self) -> bool {
        self.entry != RosterEntry::Absent
    }

    /// Lets the roster entry, if there is one, be written again.
    pub(super) fn write_again(&mut self) {
        if self.has_entry() {
            self.entry = RosterEntry::Stale;
        }
    }

    /// The same place, as it is stored for other nodes.
    pub(super) fn joined(&self) -> JoinedTopic {
        JoinedTopic {
            topic: self.topic.clone(),
            joined_at: self.joined_at,
            meta: self.meta.clone(),
        }
    }
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

    /// Notes that the store has `record` as this revision of its record.
    pub(super) fn note_stored_as(&mut self, record: &SessionRecord, revision: u64) {
        self.is_news = false;
        self.shared_active = record.is_active;
        self.in_store = InStore::Stored(revision);
        self.stored_epoch = Some(u64::from(self.epoch));
    }

    /// Notes that the store had its record with this token of this node.
    pub(super) fn stored_as(&mut self, token: FencingToken) {
        let revision = token.revision();
        if !self.in_store.has(revision) {
            self.in_store = InStore::Stored(revision);
        }
        self.stored_epoch = self.stored_epoch.max(Some(token.epoch));
    }

    /// The record that other nodes are to be told, if it is new to them.
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
        let places = self.places.iter().map(SessionTopic::joined);
        SessionRecord {
            device: self.device.clone(),
            by_service: self.by_service,
            activity: self.activity,
            is_active: self.is_active(now),
            heard_at: self.heard_at,
            places: places.collect(),
            alias: self.other_name(),
        }
    }

    pub(super) fn alias(&self) -> SessionId {
        self.alias
    }

    /// The alias, where it is not the id.
    pub(super) fn other_name(&self) -> Option<SessionId> {
        (self.alias != self.id).then_some(self.alias)
    }

    /// It was shown under that alias before.
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

    pub(super) fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. })
    }

    /// Whether the store has a record of it, or is to get one. It is not to get one of a session whose client has to
    /// connect again first, because this node was declared dead.
    pub(super) fn is_to_be_stored(&self) -> bool {
        self.is_live() || self.is_news || matches!(self.in_store, InStore::Stored(_))
    }

    pub(super) fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    pub(super) fn vanish(&mut self, until: Timestamp, reason: Reason) {
        self.stage = Stage::Grace { until, reason };
        self.armed = false;
    }

    /// Begins to end the session: the grace time is over.
    pub(super) fn begin_to_end(&mut self, since: Timestamp, reason: Reason) {
        let stored_up_to = since.as_millis() - STORED_WITHIN.as_millis() as u64;
        let stored_up_to = Timestamp::from_millis(stored_up_to);
        let proof = Proof::Awaited { stored_up_to };
        self.stage = Stage::Ending {
            since,
            reason,
            proof,
        };
        self.armed = false;
    }

    /// The store knows nothing of the session although it should. Wait for other nodes to write again what they have.
    pub(super) fn end_later(&mut self, now: Timestamp) {
        if let Stage::Ending { reason, .. } = self.stage {
            let proof = Proof::Awaited { stored_up_to: now };
            self.stage = Stage::Ending {
                since: now,
                reason,
                proof,
            };
            self.armed = false;
        }
    }

    /// Returns the reason with which the store has to be asked now to remove the session. If it is too early for that, notes
    /// up to when everything has to be stored first, and returns `None`.
    pub(super) fn due_removal(&mut self, now: Timestamp, members: &Membership) -> Option<Reason> {
        let Stage::Ending {
            since,
            reason,
            proof: Proof::Awaited { stored_up_to },
        } = &mut self.stage
        else {
            return None;
        };
        // While the store is away, people may go to other nodes, which cannot say so.
        let reached_since = members.reached_since();
        *since = (*since).max(reached_since.unwrap_or(now));
        let is_proven = members.is_stored(*stored_up_to) || *since + Timing::LEASE <= now;
        if is_proven && reached_since.is_some() {
            return Some(*reason);
        }
        // Some node cannot report that its writes are stored, so the session may have moved there at any time up to
        // `since`.
        *stored_up_to = (*since).max(*stored_up_to);
        None
    }

    /// Notes that the store was asked to remove it.
    pub(super) fn mark_asked(&mut self) {
        if let Stage::Ending { proof, .. } = &mut self.stage {
            *proof = Proof::Asked;
        }
    }

    /// Forgets what this node wrote of the session: it was declared dead, so that does not count any more.
    pub(super) fn void(&mut self) {
        self.in_store = self.in_store.forgotten();
        for place in &mut self.places {
            place.share = Share::Unnamed;
            place.write_again();
        }
    }

    /// Lets the session go on where the store has another entry of it. The store has lost data if that is of an earlier
    /// epoch than it had of this node: the session is written again. A session through which a service acts goes on
    /// in the next epoch, where another node acts through it. Returns whether it goes on.
    pub(super) fn insist(&mut self, stored: FencingToken) -> bool {
        if self.stored_epoch.is_some_and(|it| stored.epoch < it) {
            self.write_over(stored);
            return true;
        }
        let epoch = u32::try_from(stored.epoch).ok();
        let epoch = epoch.and_then(|it| it.checked_add(1));
        let is_new = matches!(self.in_store, InStore::New { .. });
        let (Some(epoch), true) = (epoch, self.by_service && is_new) else {
            return false;
        };
        self.epoch = epoch;
        self.write_over(stored);
        true
    }

    /// Lets the session be written again, in place of the stored entry.
    fn write_over(&mut self, stored: FencingToken) {
        self.is_news = true;
        self.void();
        self.in_store = InStore::New {
            replaces: Some(stored),
        };
    }

    /// Its record has been put as `revision`, which names all its places.
    pub(super) fn named(&mut self, revision: u64) {
        for place in &mut self.places {
            if place.share == Share::Unnamed {
                place.share = Share::Named(revision);
            }
        }
    }

    /// Opens the places that are named by the record that the store has.
    pub(super) fn open_places(&mut self) {
        for place in &mut self.places {
            if let Share::Named(revision) = place.share
                && self.in_store.has(revision)
            {
                place.share = Share::Open;
                place.write_again();
            }
        }
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
