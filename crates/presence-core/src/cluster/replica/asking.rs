//! What a node asks of the store about one map, and what the store answers to its writes.

use std::cmp::Ordering;

use super::local::{Progress, Wish};
use super::remote::{Missing, Remote};
use super::sync::{Following, Reading};
use super::{Claimed, Local, REMEMBERED, RETRY, Replica, ReplicaChanges, StoredEntry, Writing};
use crate::cluster::store::Written;
use crate::cluster::{Fence, FencingToken, Field, Guard, Membership, Op, Request, Subject, Write};
use crate::{Reason, SessionId, Timestamp};

impl<V: StoredEntry> Replica<V> {
    /// Emits the requests to the store that are due. Must be called after every input. `extra` is written together with
    /// them; returns whether it was.
    pub(crate) fn ask(
        &mut self,
        now: Timestamp,
        subject: &Subject,
        members: &Membership,
        extra: Option<Op>,
        out: &mut Vec<Request>,
    ) -> bool {
        #[cfg(debug_assertions)]
        self.assert_invariants();
        // A moment that has come is no deadline any more, whether or not the store can be asked.
        self.read_at = self.read_at.filter(|at| now < *at);
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        self.retry_at = None;
        let may_read = self.read_at.is_none() && self.sync.following != Following::No;
        if may_read && matches!(self.sync.reading, Reading::Wanted) {
            let ask = self.sync.start();
            let subject = subject.clone();
            out.push(match self.sync.following {
                Following::Opening => Request::Open { subject, ask },
                _ => Request::Read { subject, ask },
            });
        }
        if matches!(self.writing, Writing::UnderWay { .. }) {
            return false;
        }
        let has_extra = extra.is_some();
        let mut ops = Vec::from_iter(extra);
        let mut sent = Vec::new();
        for session in std::mem::take(&mut self.due) {
            if let Some(local) = self.local.get_mut(&session) {
                local.progress = Progress::InFlight;
                ops.push(local.op(session));
                sent.push((session, local.token));
            }
        }
        if ops.is_empty() && !self.has_stray_note() {
            return false;
        }
        let is_last = !self.has_entries();
        self.is_noted |= !is_last;
        self.writing = Writing::UnderWay { sent, is_last };
        out.push(Request::Write(Write {
            subject: subject.clone(),
            by: members.me(),
            ops,
            is_last,
            until: None,
        }));
        has_extra
    }

    /// Applies the answer to a write. With `None` it is not known whether the write was applied.
    pub(crate) fn written(
        &mut self,
        now: Timestamp,
        outcome: Option<&Written>,
        members: &Membership,
    ) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        let Writing::UnderWay { sent, is_last } = std::mem::take(&mut self.writing) else {
            return heard;
        };
        let Some(written) = outcome else {
            self.retry_at = Some(now + RETRY);
            for (session, _) in sent {
                self.retry(now, session, &mut heard);
            }
            return heard;
        };
        let until = now + REMEMBERED;
        self.is_noted &= !is_last;
        self.minds_until = Some(until);
        self.look_at(Some(until));
        for (session, token) in sent {
            let field = Field::Session(session);
            let mut refused = written.refused.iter();
            let refused = refused.find(|(it, _)| *it == field);
            match refused {
                Some((_, fence)) => {
                    self.refused(now, session, token, *fence, members, &mut heard);
                }
                None => {
                    let is_absent = written.absent.contains(&field);
                    self.accepted(now, session, token, is_absent, members, &mut heard);
                }
            }
        }
        heard
    }

    fn retry(&mut self, now: Timestamp, session: SessionId, heard: &mut ReplicaChanges<V>) {
        let Some(local) = self.local.get_mut(&session) else {
            return;
        };
        if local.progress != Progress::InFlight {
            return;
        }
        if let Wish::Claim(_) = local.wish {
            self.drop_local(session);
            heard.claims.push((session, Claimed::Unknown));
            // It may have been granted, or may yet be: then that is to be taken back.
            self.sync.want();
            let until = now + REMEMBERED;
            self.minds_until = Some(until);
            return self.look_at(Some(until));
        }
        local.progress = Progress::Due;
        self.due.insert(session);
    }

    fn accepted(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        is_absent: bool,
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Some(local) = self.local.get_mut(&session) else {
            return;
        };
        let is_newest = local.token == token && local.progress == Progress::InFlight;
        if local.is_to_be_there() && local.token.is_of_same_writer(token) {
            local.guard = Guard::Newer;
        }
        heard.stored.push((session, token.revision()));
        if !is_newest {
            return;
        }
        match &local.wish {
            Wish::Entry(_) => local.progress = Progress::Stored,
            Wish::Claim(value) => {
                local.wish = Wish::Entry(value.clone());
                local.progress = Progress::Stored;
                self.remote.remove(&session);
                heard.claims.push((session, Claimed::Granted));
            }
            Wish::Leave(value, _) if is_absent => {
                let (value, epoch, profile) = (value.clone(), local.token.epoch, local.profile);
                let local = Local {
                    token: self.token_in(now, epoch, members),
                    wish: Wish::Entry(value),
                    progress: Progress::Due,
                    guard: Guard::Newer,
                    profile,
                };
                self.wish(session, local);
                heard.absent.push(session);
            }
            Wish::Leave(_, reason) => {
                let reason = *reason;
                local.wish = Wish::Gone(reason);
                local.progress = Progress::Remembered(now + REMEMBERED);
                heard.left.push((session, reason));
            }
            Wish::Gone(_) => local.progress = Progress::Remembered(now + REMEMBERED),
        }
    }

    fn refused(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        fence: Fence,
        members: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Some(local) = self.local.get_mut(&session) else {
            return;
        };
        let is_newest = local.token == token && local.progress == Progress::InFlight;
        if let Wish::Claim(_) = local.wish {
            if is_newest {
                self.drop_local(session);
                self.sync.want();
                if let Some(remote) = self.remote.get_mut(&session) {
                    match remote.token.cmp(&fence.token) {
                        Ordering::Less => remote.missing = Missing::Superseded,
                        Ordering::Equal => {}
                        // The store has lost data, and has an older entry. The owner writes the newest one again, with
                        // everything that it has acknowledged since.
                        Ordering::Greater => self.refresh_later(now),
                    }
                }
                heard.claims.push((session, Claimed::Refused));
            }
            return;
        }
        let is_hidden = local.profile < fence.profile && token >= fence.token;
        if is_hidden {
            if is_newest {
                local.progress = Progress::Blocked;
                heard.changes.push((session, Err(Reason::Left)));
            }
            return;
        }
        if fence.token.owner == members.me().node && token.epoch == fence.token.epoch {
            // An older copy of this map had gone further.
            self.revision = self.revision.max(fence.token.revision());
            if is_newest {
                let epoch = local.token.epoch;
                let token = self.token_in(now, epoch, members);
                if let Some(local) = self.local.get_mut(&session) {
                    local.token = token;
                    local.progress = Progress::Due;
                    self.due.insert(session);
                }
            }
            return;
        }
        if (local.token.epoch, local.token.owner) > (fence.token.epoch, fence.token.owner)
            && !is_newest
        {
            return; // it is on its way in a later epoch
        }
        self.sync.want();
        self.lose(now, session, fence.token, heard);
    }

    /// Notes that another node has taken over a session of this node. Its entry is shown as it was until the
    /// map says more.
    fn lose(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Some(local) = self.drop_local(session) else {
            return;
        };
        self.remember_taken(now, session, token);
        if !local.is_owned() {
            return;
        }
        heard.taken.push((session, token));
        let is_known = self.remote.contains_key(&session);
        let (Some(value), false) = (local.shown().cloned(), is_known) else {
            return;
        };
        let missing = Missing::Gap { since: now };
        self.look_at(missing.looks_at(now));
        let remote = Remote {
            token,
            value,
            missing,
        };
        self.remote.insert(session, remote);
    }

    pub(super) fn remember_taken(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
    ) {
        let until = now + REMEMBERED;
        let known = self.taken.entry(session).or_insert((token, until));
        *known = (known.0.max(token), until);
        self.look_at(Some(until));
    }
}
