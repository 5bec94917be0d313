//! What the shared store has of a session, and when this node has to write it again.

use super::{Session, SessionTopic, Share};
use crate::Timestamp;
use crate::cluster::{FencingToken, SessionRecord};

/// What the store has of the record of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::users) enum InStore {
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
    pub(super) const NEW: InStore = InStore::New { replaces: None };

    /// Whether the store has this revision or a later one.
    pub(in crate::users) fn has(self, revision: u64) -> bool {
        matches!(self, InStore::Stored(stored) if revision <= stored)
    }

    /// The state once this node's writes do not count any more: a new epoch has begun, or the node was declared dead. An
    /// entry that has to be replaced still has to be replaced.
    pub(super) fn forgotten(self) -> InStore {
        match self {
            InStore::Stored(_) => InStore::NEW,
            InStore::New { replaces } => InStore::New { replaces },
        }
    }
}

impl Session {
    /// Notes that the store has `record` as this revision of its record.
    pub(in crate::users) fn note_stored_as(&mut self, record: &SessionRecord, revision: u64) {
        self.is_news = false;
        self.shared_active = record.is_active;
        self.in_store = InStore::Stored(revision);
        self.stored_epoch = Some(u64::from(self.epoch));
    }

    /// Notes that the store had its record with this token of this node.
    pub(in crate::users) fn stored_as(&mut self, token: FencingToken) {
        let revision = token.revision();
        if !self.in_store.has(revision) {
            self.in_store = InStore::Stored(revision);
        }
        self.stored_epoch = self.stored_epoch.max(Some(token.epoch));
    }

    /// The record that other nodes are to be told, if it is new to them.
    pub(in crate::users) fn news(&mut self, now: Timestamp) -> Option<SessionRecord> {
        let is_active = self.is_active(now);
        if !std::mem::take(&mut self.is_news) && self.shared_active == is_active {
            return None;
        }
        self.shared_active = is_active;
        Some(self.record(now))
    }

    /// All that another node needs to go on with it.
    pub(in crate::users) fn record(&self, now: Timestamp) -> SessionRecord {
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

    /// Whether the store has a record of it, or is to get one. It is not to get one of a session whose client has to
    /// connect again first, because this node was declared dead.
    pub(in crate::users) fn is_to_be_stored(&self) -> bool {
        self.is_live() || self.is_news || matches!(self.in_store, InStore::Stored(_))
    }

    /// Notes that its record was put with this revision, which names all its places.
    pub(in crate::users) fn named(&mut self, revision: u64) {
        for place in &mut self.places {
            if place.share == Share::Unnamed {
                place.share = Share::Named(revision);
            }
        }
    }

    /// Opens the places that are named by the record that the store has.
    pub(in crate::users) fn open_places(&mut self) {
        for place in &mut self.places {
            if let Share::Named(revision) = place.share
                && self.in_store.has(revision)
            {
                place.share = Share::Open;
                place.write_again();
            }
        }
    }

    /// Forgets what this node wrote of the session: it was declared dead, so that does not count any more.
    pub(in crate::users) fn void(&mut self) {
        self.in_store = self.in_store.forgotten();
        for place in &mut self.places {
            place.share = Share::Unnamed;
            place.write_again();
        }
    }

    /// Lets the session go on where the store has another entry of it. The store has lost data if that is of an earlier
    /// epoch than it had of this node: the session is written again. A session through which a service acts goes on
    /// in the next epoch, where another node acts through it. Returns whether it goes on.
    pub(in crate::users) fn insist(&mut self, stored: FencingToken) -> bool {
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
}
