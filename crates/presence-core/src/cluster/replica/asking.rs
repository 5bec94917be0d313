//! What a node asks of the store about one map, and what the store answers to its writes.

use std::cmp::Ordering;

use super::local::{Desired, Progress};
use super::remote::{Missing, Remote};
use super::sync::{SyncState, When};
use super::{Claimed, Local, Note, REMEMBERED, RETRY, Replica, ReplicaChanges, StoredEntry};
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
        membership: &Membership,
        extra: Option<Op>,
        out: &mut Vec<Request>,
    ) -> bool {
        #[cfg(debug_assertions)]
        self.assert_invariants(now, membership);
        // A moment that has come is no deadline any more, whether or not the store can be asked.
        self.sync.end_delay(now);
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        self.retry_at = None;
        if self.sync.due() == Some(When::Now) {
            self.sync.start();
            let (subject, ask) = (subject.clone(), self.next_ask());
            out.push(match self.sync {
                SyncState::Opening(_) => Request::Open { subject, ask },
                _ => Request::Read { subject, ask },
            });
        }
        if self.writing.is_some() {
            return false;
        }
        let has_extra = extra.is_some();
        let mut ops = Vec::from_iter(extra);
        let mut sent = Vec::new();
        for (session, token, op) in self.local.take_due() {
            sent.push((session, token));
            ops.push(op);
        }
        if ops.is_empty() && !self.has_stray_note() {
            return false;
        }
        let is_last = !self.has_entries();
        self.note = match (is_last, self.note) {
            (false, _) => Note::There,
            (true, Note::Absent) => Note::Absent,
            (true, Note::There | Note::Removing) => Note::Removing,
        };
        self.writing = Some(sent);
        out.push(Request::Write(Write {
            subject: subject.clone(),
            by: membership.me(),
            ops,
            is_last,
            until: None,
        }));
        has_extra
    }

    /// Applies the answer to a write. With `None` it is not known whether the write was applied.
    pub(super) fn written(
        &mut self,
        now: Timestamp,
        outcome: Option<&Written>,
        membership: &Membership,
    ) -> ReplicaChanges<V> {
        let mut heard = ReplicaChanges::default();
        let Some(sent) = self.writing.take() else {
            return heard;
        };
        let note = match self.note {
            Note::Removing if outcome.is_some() => Note::Absent,
            Note::Removing => Note::There,
            note => note,
        };
        self.note = note;
        let Some(written) = outcome else {
            self.retry_at = Some(now + RETRY);
            for (session, _) in sent {
                self.retry(now, session, &mut heard);
            }
            return heard;
        };
        self.memory.note_write(now + REMEMBERED);
        for (session, token) in sent {
            let field = Field::Session(session);
            let mut refused = written.refused.iter();
            let refused = refused.find(|(it, _)| *it == field);
            match refused {
                Some((_, fence)) => {
                    self.refused(now, session, token, *fence, membership, &mut heard);
                }
                None => {
                    let is_absent = written.absent.contains(&field);
                    self.accepted(now, session, token, is_absent, membership, &mut heard);
                }
            }
        }
        heard
    }

    fn retry(&mut self, now: Timestamp, session: SessionId, heard: &mut ReplicaChanges<V>) {
        let Some(local) = self.local.get(session).filter(|it| it.is_in_flight()) else {
            return;
        };
        if local.is_claim() {
            self.local.remove(session);
            heard.claims.push((session, Claimed::Unknown));
            // It may have been granted, or may yet be: then that is to be taken back.
            self.sync.want(When::Now);
            return self.memory.note_write(now + REMEMBERED);
        }
        self.local.change(session, Local::send);
    }

    fn accepted(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        is_absent: bool,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Some(is_newest) = self.local.change(session, |local| {
            if let Desired::Entry { guard, .. } = &mut local.desired
                && local.token.is_of_same_writer(token)
            {
                *guard = Guard::Newer;
            }
            local.token == token && local.is_in_flight()
        }) else {
            return;
        };
        heard.stored.push((session, token));
        if !is_newest {
            return;
        }
        let Some(local) = self.local.remove(session) else {
            return;
        };
        let epoch = local.token.epoch;
        let local = match local.desired {
            Desired::Leave { value, profile, .. } if is_absent => {
                heard.absent.push(session);
                Local {
                    token: self.token_in(now, epoch, membership),
                    desired: Desired::Entry {
                        value,
                        profile,
                        guard: Guard::Newer,
                        progress: Progress::DUE,
                    },
                }
            }
            desired => {
                match &desired {
                    Desired::Claim { .. } => {
                        self.remote.remove(&session);
                        heard.claims.push((session, Claimed::Granted));
                    }
                    Desired::Leave { reason, .. } => heard.left.push((session, *reason)),
                    Desired::Entry { .. } | Desired::Gone { .. } => {}
                }
                let desired = desired.stored(now + REMEMBERED);
                Local { token, desired }
            }
        };
        self.local.set(session, local);
    }

    fn refused(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        fence: Fence,
        membership: &Membership,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Some(local) = self.local.get(session) else {
            return;
        };
        let is_newest = local.token == token && local.is_in_flight();
        let mine = local.token;
        match local.desired {
            Desired::Claim { .. } if is_newest => {
                return self.claim_refused(now, session, fence, heard);
            }
            Desired::Claim { .. } => return,
            // The user hides, and the place has been told so.
            Desired::Entry { profile, .. } if profile < fence.profile && token >= fence.token => {
                if is_newest {
                    self.local.change(session, Local::block);
                    heard.changes.push((session, Err(Reason::Left)));
                }
                return;
            }
            Desired::Entry { .. } | Desired::Leave { .. } | Desired::Gone { .. } => {}
        }
        if fence.token.owner == membership.me().node && token.epoch == fence.token.epoch {
            // An older copy of this map had gone further.
            self.revision = self.revision.max(fence.token.revision());
            if is_newest {
                let token = self.token_in(now, mine.epoch, membership);
                self.local.change(session, |local| {
                    local.token = token;
                    local.send();
                });
            }
            return;
        }
        if (mine.epoch, mine.owner) > (fence.token.epoch, fence.token.owner) && !is_newest {
            return; // it is on its way in a later epoch
        }
        self.sync.want(When::Now);
        self.lose(now, session, fence.token, heard);
    }

    /// The store has refused a claim because of `fence`.
    fn claim_refused(
        &mut self,
        now: Timestamp,
        session: SessionId,
        fence: Fence,
        heard: &mut ReplicaChanges<V>,
    ) {
        self.local.remove(session);
        self.sync.want(When::Now);
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

    /// Notes that another node has taken over a session of this node. Its entry is shown as it was until the
    /// map says more.
    fn lose(
        &mut self,
        now: Timestamp,
        session: SessionId,
        token: FencingToken,
        heard: &mut ReplicaChanges<V>,
    ) {
        let Some(local) = self.local.remove(session) else {
            return;
        };
        self.memory.note_taken(session, token, now + REMEMBERED);
        if !local.is_owned() {
            return;
        }
        heard.taken.push((session, token));
        let is_known = self.remote.contains_key(&session);
        let (Some(value), false) = (local.shown().cloned(), is_known) else {
            return;
        };
        let missing = Missing::Gap { since: now };
        self.memory.note_end(missing.looks_at(now));
        let remote = Remote {
            token,
            value,
            missing,
        };
        self.remote.insert(session, remote);
    }
}
