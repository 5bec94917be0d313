//! What a node hears of one map: the answers to its reads, and the changes that the store announces.

use std::collections::BTreeMap;

use super::local::{Local, Progress, Wish};
use super::remote::{Missing, Remote};
use super::sync::{EARLY_MAX, Following, Reading};
use super::{RETRY, Replica, ReplicaChanges, StoredEntry};
use crate::cluster::{
    Change, FencingToken, Field, Incarnation, Membership, Patch, Removed, Snapshot,
};
use crate::{Clock, Reason, SessionId, Timestamp};

impl<V: StoredEntry> Replica<V> {
    /// Applies the answer to a read. With `None` the store did not answer.
    pub(crate) fn read(
        &mut self,
        now: Timestamp,
        ask: u32,
        snapshot: Option<Snapshot>,
        members: &Membership,
    ) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        if ask != self.sync.ask || !self.sync.is_reading() {
            return heard;
        }
        let Reading::UnderWay { early, again } = std::mem::take(&mut self.sync.reading) else {
            return heard;
        };
        let Some(snapshot) = snapshot else {
            self.retry_at = Some(now + RETRY);
            self.sync.want();
            return heard;
        };
        let before = std::mem::replace(&mut self.sync.following, Following::Yes);
        if before == Following::Opening {
            self.forget_missing(&snapshot, &mut heard);
        }
        self.restore(now, snapshot, members, &mut heard);
        // The store may have lost data since it was asked.
        if again || early.len() == EARLY_MAX {
            self.sync.want();
        }
        for patch in early {
            self.apply(now, patch, members, &mut heard);
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
    pub(crate) fn patched(
        &mut self,
        now: Timestamp,
        patch: Patch,
        members: &Membership,
    ) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        match (&mut self.sync.reading, self.sync.following) {
            (Reading::UnderWay { early, .. }, _) if early.len() < EARLY_MAX => early.push(patch),
            (Reading::UnderWay { .. }, _) => {}
            (_, Following::Yes) => self.apply(now, patch, members, &mut heard),
            _ => {}
        }
        heard
    }

    /// Notes that the store says that the map is at `clock`. The patch may be on its way: it has until
    /// the next comparison.
    pub(crate) fn at(&mut self, clock: Option<Clock>) {
        let is_idle = self.sync.following != Following::Yes || self.sync.is_reading();
        if is_idle || clock == self.sync.clock {
            self.sync.suspect = None;
        } else if clock.is_none() && self.remote.is_empty() && !self.has_stored() {
            self.sync.suspect = None; // nothing is there, and nothing is known to be
        } else if self.sync.suspect == Some(clock) {
            self.sync.want();
        } else {
            self.sync.suspect = Some(clock);
        }
    }

    fn has_stored(&self) -> bool {
        let mut local = self.local.values();
        local.any(|it| it.is_to_be_there() && it.progress == Progress::Stored)
    }

    /// Drops the entries of the dead incarnation `who`.
    pub(crate) fn lost(&mut self, who: Incarnation) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        self.remote.retain(|session, remote| {
            let is_void = remote.token.incarnation() == who;
            if is_void {
                heard.changes.push((*session, Err(Reason::NodeLost)));
            }
            !is_void
        });
        heard
    }

    /// Drops what was held or remembered for long enough by `now`.
    pub(crate) fn expire(&mut self, now: Timestamp, members: &Membership) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        if self.looks_at.is_none_or(|at| now < at) {
            return heard;
        }
        let remote = self.remote.iter();
        let gone = remote.filter(|(_, it)| it.missing.is_over(now, members));
        let gone: Vec<_> = gone.map(|(session, it)| (*session, it.token)).collect();
        for (session, token) in gone {
            self.remote.remove(&session);
            heard.changes.push((session, Err(Reason::Lost)));
            if token.owner == members.me().node && !self.local.contains_key(&session) {
                self.wish_gone(now, session, token.epoch, Reason::Lost, members);
            }
        }
        let is_over =
            |it: &Local<V>| matches!(it.progress, Progress::Remembered(until) if until <= now);
        self.local.retain(|_, it| !is_over(it));
        self.taken.retain(|_, (_, until)| now < *until);
        self.minds_until = self.minds_until.filter(|until| now < *until);
        let held = self.remote.values();
        let held = held.filter_map(|it| it.missing.looks_at(now));
        let remembered = self.local.values().filter_map(|it| match it.progress {
            Progress::Remembered(until) => Some(until),
            _ => None,
        });
        let taken = self.taken.values().map(|(_, until)| *until);
        let ends = held.chain(remembered).chain(taken).chain(self.minds_until);
        self.looks_at = ends.min();
        heard
    }

    /// Whether an entry is missing that was not removed.
    pub(crate) fn has_missing(&self) -> bool {
        let is_missing = |it: &Remote<V>| it.missing != Missing::No;
        self.looks_at.is_some() && self.remote.values().any(is_missing)
    }

    /// Checks missing entries again, because all nodes have had time to write theirs.
    pub(crate) fn confirm_stored(
        &mut self,
        now: Timestamp,
        members: &Membership,
    ) -> ReplicaChanges<V> {
        let mut remote = self.remote.values();
        let is_over = |it: &Remote<V>| {
            matches!(it.missing, Missing::Loss { .. }) && it.missing.is_over(now, members)
        };
        if self.looks_at.is_some() && remote.any(is_over) {
            self.looks_at = Some(now);
            return self.expire(now, members);
        }
        ReplicaChanges::default()
    }

    /// When to call [`expire`](Self::expire), or to ask the store again.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let moments = [self.looks_at, self.retry_at, self.read_at];
        moments.into_iter().flatten().min()
    }

    fn apply(
        &mut self,
        now: Timestamp,
        patch: Patch,
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let is_next = match self.sync.clock {
            None => patch.from == 0,
            Some(clock) if clock.epoch != patch.clock.epoch => {
                // A map that begins anew: either everyone had gone, or it was lost. Or it is something very late.
                let is_news = patch.clock.version > clock.version;
                if !is_news || self.has_stored() {
                    self.sync.want();
                }
                is_news && patch.from == 0 && self.remote.is_empty()
            }
            Some(clock) if patch.clock.version <= clock.version => return, // known already
            Some(clock) => clock.version == patch.from,
        };
        if !is_next {
            self.sync.want();
            return;
        }
        self.sync.clock = Some(patch.clock);
        self.sync.suspect = None;
        for Change { field, entry } in patch.changes {
            let Field::Session(session) = field else {
                continue;
            };
            match entry {
                Ok((token, record)) => {
                    if let Some(value) = V::of_record(record) {
                        self.hear(now, session, token, value, members, heard);
                    }
                }
                Err(removed) => self.hear_removed(now, session, removed, members, heard),
            }
        }
    }

    fn restore(
        &mut self,
        now: Timestamp,
        snapshot: Snapshot,
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let is_loss = match (self.sync.clock, snapshot.clock) {
            (Some(before), Some(after)) => {
                before.epoch != after.epoch || before.version > after.version
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.sync.clock = snapshot.clock;
        let missing = match is_loss {
            true => Missing::Loss { since: now },
            false => Missing::Gap { since: now },
        };
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
                // The store can be reached. Whoever has the session now may have removed its entry already, unheard: once every node
                // has said all until now, it is known.
                Missing::Moved { .. } => remote.missing = Missing::Loss { since: now },
                Missing::Gap { .. } | Missing::Loss { .. } => {}
                Missing::Superseded => heard.changes.push((*session, Err(Reason::Lost))),
            }
            remote.missing != Missing::Superseded
        });
        for (session, local) in &mut self.local {
            let is_stored = local.progress == Progress::Stored;
            if !there.contains_key(session) && is_stored && local.is_to_be_there() {
                local.progress = Progress::Due;
                self.due.insert(*session);
            }
        }
        for (session, (token, value)) in there {
            if let Some(remote) = self.remote.get_mut(&session)
                && remote.token > token
            {
                // The store has gone back to what was before: whoever has the session now writes it again.
                if remote.missing == Missing::No {
                    remote.missing = Missing::Loss { since: now };
                }
                continue;
            }
            self.hear(now, session, token, value, members, heard);
        }
        let held = self.remote.values();
        let looks_at = held.filter_map(|it| it.missing.looks_at(now)).min();
        self.look_at(looks_at);
    }

    /// Applies the entry `value` with the token `token`, which the store has or had.
    fn hear(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        value: V,
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let is_mine = token.owner == members.me().node;
        let has_moved = self.has_moved(session);
        match self.local.get_mut(&session) {
            Some(local) if local.token == token => return, // an echo
            Some(local) if is_mine || token < local.token => {
                // What is stored is older than it should be, unless that is on its way.
                if matches!(local.progress, Progress::Stored | Progress::Remembered(_)) {
                    local.progress = Progress::Due;
                    self.due.insert(session);
                }
                if !matches!(local.wish, Wish::Claim(_)) {
                    return;
                }
            }
            Some(local) if matches!(local.wish, Wish::Claim(_)) => {}
            Some(_) => {
                let was_owned = self.drop_local(session).is_some_and(|it| it.is_owned());
                self.remember_taken(now, session, token);
                if was_owned {
                    heard.taken.push((session, token));
                }
                if was_owned && members.is_lost(token.incarnation()) {
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
                return self.wish_gone(now, session, token.epoch, Reason::Lost, members);
            }
            None => {}
        }
        self.hear_remote(session, token, value, members, heard);
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
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        if members.is_lost(token.incarnation()) {
            if self.remote.remove(&session).is_some() {
                heard.changes.push((session, Err(Reason::NodeLost)));
            }
            return;
        }
        let known = self.remote.get(&session);
        if known.is_some_and(|it| it.token > token) {
            return;
        }
        // What was this node's is still to be replaced.
        let missing = match known.map(|it| it.missing) {
            Some(moved @ Missing::Moved { .. }) if token.owner == members.me().node => moved,
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
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Removed { reason, fence } = removed;
        let is_mine = fence.token.owner == members.me().node;
        if let Some(local) = self.local.get_mut(&session)
            && !matches!(local.wish, Wish::Claim(_))
        {
            let is_entry = matches!(local.wish, Wish::Entry(_));
            if is_entry && fence.token >= local.token && local.profile < fence.profile {
                if local.shown().is_some() {
                    heard.changes.push((session, Err(reason)));
                }
                local.progress = Progress::Blocked;
                self.due.remove(&session);
            } else if !is_mine && fence.token > local.token {
                // It went to another node, and ended there.
                self.drop_local(session);
                self.remember_taken(now, session, fence.token);
                if is_entry {
                    heard.taken.push((session, fence.token));
                    heard.changes.push((session, Err(reason)));
                }
            } else if is_entry && local.progress == Progress::Stored {
                // Somebody swept it away, or it is an echo of an older removal: here it is, all the same.
                local.progress = Progress::Due;
                self.due.insert(session);
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
