//! How a replica changes by what the store says: answers to reads, and announced changes.

use std::collections::BTreeMap;

use super::local::{Desired, Local};
use super::remote::{Missing, Remote};
use super::sync::{EARLY_MAX, Suspect, SyncState, When};
use super::{REMEMBERED, RETRY, Replica, ReplicaChanges, StoredEntry};
use crate::cluster::{
    Change, FencingToken, Field, Membership, News, Patch, Removed, Reply, Snapshot,
};
use crate::{Reason, SessionId, Timestamp, TopicVersion};

impl<V: StoredEntry> Replica<V> {
    /// Applies what the store answered or announced about the map.
    pub(crate) fn hear(
        &mut self,
        now: Timestamp,
        reply: Reply,
        membership: &Membership,
    ) -> ReplicaChanges<V> {
        match reply {
            Reply::Read { ask, snapshot } => self.read(now, ask, snapshot, membership),
            Reply::Patched(patch) => self.patched(now, patch, membership),
            Reply::Written(outcome) => self.written(now, outcome.as_ref(), membership),
            Reply::At(clock) => {
                self.at(clock);
                ReplicaChanges::default()
            }
            Reply::PlaceHidden { .. } | Reply::Ephemeral(_) => ReplicaChanges::default(),
        }
    }

    /// Applies news that concern every replica on a node.
    pub(crate) fn hear_news(
        &mut self,
        now: Timestamp,
        news: News,
        membership: &Membership,
    ) -> ReplicaChanges<V> {
        match news {
            News::Become(_) => {
                self.void(now, membership);
                self.invalidate();
            }
            News::Invalidate(_) | News::Woke { .. } => self.invalidate(),
            // What this node has missed may say where the user is by now. So the entries of a node that died meanwhile go when
            // the map has been read.
            News::Lost(_) if self.is_behind() && self.retry_at.is_none() => {}
            News::Lost(_) => return self.drop_lost(membership),
            News::StoredUpTo(_) => return self.confirm_stored(now, membership),
            News::StoreAhead(_) | News::Reached(_) => {}
        }
        ReplicaChanges::default()
    }

    /// Applies the answer to a read. With `None` the store did not answer.
    pub(super) fn read(
        &mut self,
        now: Timestamp,
        ask: u32,
        snapshot: Option<Snapshot>,
        membership: &Membership,
    ) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        if !self.is_reading_as(ask) {
            return heard;
        }
        let Some(snapshot) = snapshot else {
            self.retry_at = Some(now + RETRY);
            self.sync.give_up();
            return self.drop_lost(membership);
        };
        let is_first = !self.sync.was_read();
        let Some((early, again)) = self.sync.finish() else {
            return heard;
        };
        if is_first {
            self.forget_missing(&snapshot, &mut heard);
        }
        self.restore(now, snapshot, membership, &mut heard);
        // The store may have lost data since it was asked.
        let is_full = early.len() == EARLY_MAX;
        if let Some(when) = again.or(is_full.then_some(When::Now)) {
            self.sync.want(when);
        }
        for patch in early {
            self.apply(now, patch, membership, &mut heard);
        }
        heard
    }

    /// Forgets remote entries that `snapshot` does not have: before the map was followed, only entries that this node's
    /// own sessions have left were known.
    fn forget_missing(&mut self, snapshot: &Snapshot, heard: &mut ReplicaChanges<V>) {
        let is_there = |session: &SessionId| {
            let mut fields = snapshot.entries.iter().map(|(field, ..)| field);
            fields.any(|it| *it == Field::Session(*session))
        };
        self.remote.retain(|session, _| {
            let is_there = is_there(session);
            if !is_there {
                heard.changes.push((*session, Err(Reason::Left)));
            }
            is_there
        });
    }

    /// Applies a change of the map that the store has announced.
    pub(super) fn patched(
        &mut self,
        now: Timestamp,
        patch: Patch,
        membership: &Membership,
    ) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        if let Some(patch) = self.sync.delay(patch) {
            self.apply(now, patch, membership, &mut heard);
        }
        heard
    }

    /// Notes that the store says that the map is at `clock`. The patch may be on its way: it has until
    /// the next comparison.
    fn at(&mut self, now_at: Option<TopicVersion>) {
        // Nothing is there, and nothing is known to be.
        let is_empty = now_at.is_none() && self.remote.is_empty() && !self.has_stored();
        let SyncState::UpToDate { clock, suspect } = &mut self.sync else {
            return;
        };
        if now_at == *clock || is_empty {
            *suspect = Suspect::None;
        } else if *suspect == Suspect::of(now_at) {
            self.sync.want(When::Now);
        } else {
            *suspect = Suspect::of(now_at);
        }
    }

    fn has_stored(&self) -> bool {
        self.local.values().any(Local::is_stored)
    }

    /// Whether the map has to be read, or is being read.
    pub(crate) fn is_behind(&self) -> bool {
        self.sync.is_behind()
    }

    /// Drops the entries of nodes that are dead.
    fn drop_lost(&mut self, membership: &Membership) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        self.remote.retain(|session, remote| {
            let is_void = membership.is_lost(remote.token.incarnation());
            if is_void {
                heard.changes.push((*session, Err(Reason::NodeLost)));
            }
            !is_void
        });
        heard
    }

    /// Drops entries and removals that were kept long enough by `now`.
    pub(crate) fn expire(&mut self, now: Timestamp, membership: &Membership) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        if self.memory.ends_at().is_none_or(|at| now < at) {
            return heard;
        }
        let remote = self.remote.iter();
        let gone = remote.filter(|(_, it)| it.missing.is_over(now, membership));
        let gone: Vec<_> = gone.map(|(session, it)| (*session, it.token)).collect();
        for (session, token) in gone {
            self.remote.remove(&session);
            heard.changes.push((session, Err(Reason::Lost)));
            if token.owner == membership.me().node && self.local.get(session).is_none() {
                self.set_gone(now, session, token.epoch, (Reason::Lost, None), membership);
            }
        }
        self.local.forget(now);
        let held = self.remote.values();
        let held = held.filter_map(|it| it.missing.looks_at(now));
        let remembered = self.local.values().filter_map(Local::remembered_until);
        self.memory.forget(now, held.chain(remembered));
        heard
    }

    /// Whether an entry is missing that was not removed.
    pub(crate) fn has_missing(&self) -> bool {
        let is_missing = |it: &Remote<V>| it.missing != Missing::No;
        self.memory.ends_at().is_some() && self.remote.values().any(is_missing)
    }

    /// Checks missing entries again, because all nodes have had time to write theirs.
    pub(super) fn confirm_stored(
        &mut self,
        now: Timestamp,
        membership: &Membership,
    ) -> ReplicaChanges<V> {
        let mut remote = self.remote.values();
        let is_over = |it: &Remote<V>| {
            matches!(it.missing, Missing::Loss { .. }) && it.missing.is_over(now, membership)
        };
        if self.memory.ends_at().is_some() && remote.any(is_over) {
            self.memory.note_end(Some(now));
            return self.expire(now, membership);
        }
        ReplicaChanges::default()
    }

    /// When to call [`expire`](Self::expire), or to ask the store again.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let read_at = match self.sync.due() {
            Some(When::NotBefore(at)) => Some(at),
            Some(When::Now) | None => None,
        };
        let moments = [self.memory.ends_at(), self.retry_at, read_at];
        moments.into_iter().flatten().min()
    }

    fn apply(
        &mut self,
        now: Timestamp,
        patch: Patch,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let is_next = match self.sync.clock() {
            None => patch.from == 0,
            Some(clock) if clock.epoch != patch.clock.epoch => {
                // A map that begins anew: either everyone had gone, or it was lost. Or it is something very late.
                let is_news = patch.clock.version > clock.version;
                if !is_news || self.has_stored() {
                    self.sync.want(When::Now);
                }
                is_news && patch.from == 0 && self.remote.is_empty()
            }
            Some(clock) if patch.clock.version <= clock.version => return, // known already
            Some(clock) => clock.version == patch.from,
        };
        if !is_next {
            return self.sync.want(When::Now);
        }
        self.sync.advance(Some(patch.clock));
        for Change { field, entry } in patch.changes {
            let Field::Session(session) = field else {
                continue;
            };
            match entry {
                Ok((token, record)) => {
                    if let Some(value) = V::of_record(record) {
                        self.hear_entry(now, session, token, value, membership, heard);
                    }
                }
                Err(removed) => self.hear_removed(now, session, removed, membership, heard),
            }
        }
    }

    fn restore(
        &mut self,
        now: Timestamp,
        snapshot: Snapshot,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let is_loss = match (self.sync.clock(), snapshot.clock) {
            (Some(before), Some(after)) => {
                before.epoch != after.epoch || before.version > after.version
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.sync.advance(snapshot.clock);
        let missing = match is_loss {
            true => Missing::Loss { since: now },
            false => Missing::Gap { since: now },
        };
        heard.changes.extend(self.drop_lost(membership).changes);
        let mut there = BTreeMap::new();
        for (field, token, record) in snapshot.entries {
            if let (Field::Session(session), Some(value)) = (field, V::of_record(record)) {
                there.insert(session, (token, value));
            }
        }
        self.remote.retain(|session, remote| {
            if there.contains_key(session) {
                return true;
            }
            match remote.missing {
                Missing::No => remote.missing = missing,
                // The node that has the session may have removed the entry, and this node may have missed that. It knows when
                // every node has reported that its writes up to now are stored.
                Missing::Moved { .. } => remote.missing = Missing::Loss { since: now },
                Missing::Gap { .. } | Missing::Loss { .. } => {}
                Missing::Superseded => heard.changes.push((*session, Err(Reason::Lost))),
            }
            remote.missing != Missing::Superseded
        });
        self.local.change_all(|session, local| {
            if local.is_stored() && !there.contains_key(&session) {
                local.send();
            }
        });
        for (session, (token, value)) in there {
            if let Some(remote) = self.remote.get_mut(&session)
                && remote.token > token
            {
                // The store has gone back to an earlier state: the node that has the session writes the entry again.
                if remote.missing == Missing::No {
                    remote.missing = Missing::Loss { since: now };
                }
                if token.owner == membership.me().node && self.local.get(session).is_none() {
                    // If that node never writes it again, because it died, no other node removes this entry.
                    self.set_gone(
                        now,
                        session,
                        token.epoch,
                        (Reason::Replaced, None),
                        membership,
                    );
                }
                continue;
            }
            self.hear_entry(now, session, token, value, membership, heard);
        }
        let held = self.remote.values();
        let looks_at = held.filter_map(|it| it.missing.looks_at(now)).min();
        self.memory.note_end(looks_at);
    }

    /// Applies the entry `value` with the token `token`, which the store has or had.
    fn hear_entry(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        value: V,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let is_mine = token.owner == membership.me().node;
        let has_moved = self.has_moved(session);
        match self.local.get(session) {
            Some(local) if local.token == token => return, // an echo
            Some(local) if local.is_claim() => {}
            Some(local) if is_mine || token < local.token => {
                // The stored entry is older than the one of this node: send that again, unless it is on its way.
                self.local.change(session, Local::send_again);
                return;
            }
            Some(_) => {
                let was_owned = self.local.remove(session).is_some_and(|it| it.is_owned());
                self.memory.note_taken(session, token, now + REMEMBERED);
                if was_owned {
                    heard.taken.push((session, token));
                }
                if was_owned && membership.is_lost(token.incarnation()) {
                    // The node that has it now is dead: nothing takes the place of the entry that was shown.
                    heard.changes.push((session, Err(Reason::NodeLost)));
                }
            }
            None if is_mine && !has_moved => {
                // It is of a claim that was given up, or of an entry that was dropped.
                self.revision = self.revision.max(token.revision());
                if self.remote.remove(&session).is_some() {
                    heard.changes.push((session, Err(Reason::Lost)));
                }
                return self.set_gone(now, session, token.epoch, (Reason::Lost, None), membership);
            }
            None => {}
        }
        self.hear_remote(session, token, value, membership, heard);
    }

    /// Whether the session went to another node, which has not written its own entry yet.
    fn has_moved(&self, session: SessionId) -> bool {
        let remote = self.remote.get(&session);
        remote.is_some_and(|it| matches!(it.missing, Missing::Moved { .. }))
    }

    fn hear_remote(
        &mut self,
        session: SessionId,
        token: FencingToken,
        value: V,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        if membership.is_lost(token.incarnation()) {
            if self.remote.remove(&session).is_some() {
                heard.changes.push((session, Err(Reason::NodeLost)));
            }
            return;
        }
        let known = self.remote.get(&session);
        if known.is_some_and(|it| it.token > token) {
            return;
        }
        // An entry that this node wrote, and handed over, still has to be replaced.
        let missing = match known.map(|it| it.missing) {
            Some(moved @ Missing::Moved { .. }) if token.owner == membership.me().node => moved,
            _ => Missing::No,
        };
        if known.is_none_or(|it| it.value != value) {
            heard.changes.push((session, Ok(value.clone())));
        }
        let remote = Remote {
            token,
            value,
            missing,
        };
        self.remote.insert(session, remote);
    }

    fn hear_removed(
        &mut self,
        now: Timestamp,
        session: SessionId,
        removed: Removed,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Removed { reason, fence } = removed;
        let is_mine = fence.token.owner == membership.me().node;
        if let Some(local) = self.local.get(session).filter(|it| !it.is_claim()) {
            let profile = match local.desired {
                Desired::Entry { profile, .. } => Some(profile),
                _ => None,
            };
            let is_hidden = profile.is_some_and(|it| it < fence.profile);
            if is_hidden && fence.token >= local.token {
                if local.shown().is_some() {
                    heard.changes.push((session, Err(reason)));
                }
                self.local.change(session, Local::block);
            } else if !is_mine && fence.token > local.token {
                // It went to another node, and ended there.
                self.local.remove(session);
                self.memory
                    .note_taken(session, fence.token, now + REMEMBERED);
                if profile.is_some() {
                    heard.taken.push((session, fence.token));
                    heard.changes.push((session, Err(reason)));
                }
            } else if local.is_stored() {
                // Another node removed it, or an old removal arrived again: write it once more.
                self.local.change(session, Local::send);
            }
            return;
        }
        let remote = self.remote.get(&session);
        if remote.is_some_and(|it| it.token <= fence.token) {
            self.remote.remove(&session);
            heard.changes.push((session, Err(reason)));
        }
    }
}
