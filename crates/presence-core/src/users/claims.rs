//! Connections whose session is on another node. The session goes on here only after the store has granted it.
//!
//! A take-over is a put that is conditional on the entry that was read. If the store refuses it, another node has
//! changed the entry since, and the map is read once more. So a change that the other node has acknowledged is never undone, and
//! no epoch of a session has two writers.

use std::sync::Arc;

use super::held::Fingerprint;
use super::session::Session;
use super::show::Origin;
use super::{Connection, Effect, Slot, Users, refuse};
use crate::cluster::{Claimed, Incarnation, SessionRecord};
use crate::explain::ClientOrigin;
use crate::history::{Cause, TransitionKind};
use crate::{DeviceId, Meta, Reason, Refusal, SessionId, Timestamp, Topic, UserId, WorkspaceId};

/// A connection that wants in.
#[derive(Debug)]
pub(super) struct Newcomer<A> {
    /// When it came.
    pub(super) since: Timestamp,
    /// The id for a new session, if no earlier one goes on.
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    pub(super) workspaces: Vec<WorkspaceId>,
    /// The meta of the session in the workspaces.
    pub(super) card: Arc<Meta>,
    /// What distinguishes its client from others, if its protocol has no resume token.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Where the connection comes from, if that is known.
    pub(super) origin: Option<Arc<ClientOrigin>>,
    pub(super) reply_to: A,
}

/// A connection that waits for its session.
#[derive(Debug)]
pub(super) struct Claim<A> {
    before: Connection,
    newcomer: Newcomer<A>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The map of the user is being read. `has_lost` is true after another node was faster: then any epoch of the
    /// session is accepted.
    Reading { has_lost: bool },
    /// The store was asked for the session in this epoch, with this record, from this node.
    Asked(u32, Arc<SessionRecord>, Incarnation),
}

impl<A> Users<A> {
    /// Lets a connection in: its session goes on if that is here, and is claimed if it may be elsewhere.
    pub(super) fn let_in(
        &mut self,
        now: Timestamp,
        id: &UserId,
        resume: Option<Connection>,
        newcomer: Newcomer<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return refuse(Some(newcomer.reply_to), Refusal::Unavailable, out);
        };
        let fingerprint = newcomer.fingerprint.as_ref();
        let recognised = || user.recognise(&newcomer.device, fingerprint?);
        let Some(before) = resume.or_else(recognised) else {
            return self.begin(now, id, newcomer, Origin::Local, out);
        };
        if let Some((connection, replaced)) = user.resume(now, before, out) {
            out.extend(replaced.map(|connection| Effect::Close {
                connection,
                reason: Reason::Replaced,
            }));
            if fingerprint.is_some() {
                user.claim(now, connection.session);
            }
            return self.restore(now, id, connection, newcomer, Origin::Local, out);
        }
        let shared = user.shared.as_ref();
        if shared.is_none_or(|it| it.replica.is_away(now)) {
            // Nobody else has it, or nobody can be asked.
            return self.begin(now, id, newcomer, Origin::Local, out);
        }
        let mut claim = Claim {
            before,
            newcomer,
            step: Step::Reading { has_lost: false },
        };
        if !self.ask_for(now, id, &mut claim)
            && let Some(Slot::Known(user)) = self.users.get_mut(id)
            && let Some(shared) = &mut user.shared
        {
            shared.replica.refresh();
        }
        self.claims.entry(id.clone()).or_default().push(claim);
        self.reconcile(now, id, out);
    }

    /// Claims the session from the store, if the copy of the map has it. Returns whether it was claimed.
    fn ask_for(&mut self, now: Timestamp, id: &UserId, claim: &mut Claim<A>) -> bool {
        let (Some(Slot::Known(user)), Some(membership)) =
            (self.users.get_mut(id), &self.membership)
        else {
            return false;
        };
        let Some(shared) = &mut user.shared else {
            return false;
        };
        let session = claim.before.session;
        let Some((token, record)) = shared.replica.other(session) else {
            return false;
        };
        let is_it = match claim.step {
            Step::Reading { has_lost: true } => true,
            _ => token.epoch == u64::from(claim.before.epoch),
        };
        let Some(epoch) = u32::try_from(token.epoch)
            .ok()
            .and_then(|it| it.checked_add(1))
        else {
            return false;
        };
        if !is_it || record.by_service {
            return false;
        }
        let record = Arc::new(Session::take_over(now, session, epoch, record).record(now));
        let replica = &mut shared.replica;
        replica.claim(now, session, epoch, record.clone(), token, membership);
        claim.step = Step::Asked(epoch, record, token.incarnation());
        true
    }

    /// Applies the store's answers to claims. `is_read` says that the map was read, or cannot be read. If there are claims,
    /// what other nodes did is reconciled here, once, as of `origin`. Returns the origin for the next reconcile.
    pub(super) fn judge_claims(
        &mut self,
        now: Timestamp,
        id: &UserId,
        decided: &[(SessionId, Claimed)],
        (is_read, origin): (bool, Origin),
        out: &mut Vec<Effect<A>>,
    ) -> Origin {
        let Some(claims) = self.claims.remove(id) else {
            return origin;
        };
        let mut waiting = Vec::new();
        let mut ready = Vec::new();
        for mut claim in claims {
            let decided = decided.iter();
            let mut decided = decided.filter(|(session, _)| *session == claim.before.session);
            match (&claim.step, decided.next()) {
                (Step::Asked(epoch, record, from), Some((_, Claimed::Granted))) => {
                    let granted = Some((*epoch, record.clone(), *from));
                    ready.push((claim, granted));
                }
                (Step::Asked(..), Some((_, Claimed::Refused))) => {
                    claim.step = Step::Reading { has_lost: true };
                    waiting.push(claim);
                }
                (Step::Asked(..), Some((_, Claimed::Unknown))) => ready.push((claim, None)),
                (Step::Asked(..), None) => waiting.push(claim),
                (Step::Reading { .. }, _) if is_read => match self.ask_for(now, id, &mut claim) {
                    true => waiting.push(claim),
                    false => ready.push((claim, None)),
                },
                (Step::Reading { .. }, _) => waiting.push(claim),
            }
        }
        if !waiting.is_empty() {
            self.claims.insert(id.clone(), waiting);
        }
        let mut origin = origin;
        for (claim, granted) in ready {
            self.finish(now, id, claim, granted, origin, out);
            origin = Origin::Local;
        }
        self.reconcile_as(now, id, origin, None, out);
        Origin::Local
    }

    fn finish(
        &mut self,
        now: Timestamp,
        id: &UserId,
        claim: Claim<A>,
        granted: Option<(u32, Arc<SessionRecord>, Incarnation)>,
        origin: Origin,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return refuse(Some(claim.newcomer.reply_to), Refusal::Unavailable, out);
        };
        match granted {
            Some((epoch, record, from)) => {
                let session = claim.before.session;
                user.note_cause(Cause::Client);
                // Two connections may have asked for it: the later one has it.
                let here = user.sessions.iter().find(|it| it.id == session);
                let connection = match here.map(Session::connection) {
                    None => {
                        let connection = user.arrive(now, session, epoch, &record);
                        let what = TransitionKind::CameFrom(from);
                        user.record(now, Some(session), None, what, out);
                        connection
                    }
                    Some(earlier) => {
                        out.push(Effect::Close {
                            connection: earlier,
                            reason: Reason::Replaced,
                        });
                        let resumed = user.resume(now, earlier, out);
                        resumed.map_or(earlier, |(connection, _)| connection)
                    }
                };
                self.restore(now, id, connection, claim.newcomer, origin, out);
            }
            None => self.begin(now, id, claim.newcomer, origin, out),
        }
    }

    /// Lets an earlier session go on in the new connection.
    fn restore(
        &mut self,
        now: Timestamp,
        id: &UserId,
        connection: Connection,
        newcomer: Newcomer<A>,
        origin: Origin,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        user.comes_from(connection.session, newcomer.origin);
        out.push(Effect::Welcome {
            connection,
            restored: true,
            reply_to: newcomer.reply_to,
        });
        // A newer token may name other workspaces than the one before. An entry that another node wrote can only be
        // removed once this node has written it, too.
        let (workspaces, card) = (&newcomer.workspaces, &newcomer.card);
        if user.is_in_others(connection.session, workspaces) {
            self.reconcile_as(now, id, origin, None, out);
        }
        if let Some(Slot::Known(user)) = self.users.get_mut(id) {
            user.set_workspaces(now, connection.session, workspaces, card, out);
        }
        self.reconcile_as(now, id, origin, None, out);
    }

    /// Begins a new session for the connection.
    fn begin(
        &mut self,
        now: Timestamp,
        id: &UserId,
        newcomer: Newcomer<A>,
        origin: Origin,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        let max = self.limits.sessions_max;
        if user.sessions_anywhere() >= max {
            let what = "sessions of one user";
            refuse(Some(newcomer.reply_to), Refusal::TooMany { what, max }, out);
            return self.reconcile_as(now, id, origin, None, out);
        }
        user.note_cause(Cause::Client);
        let connection = user.connect(
            now,
            newcomer.since,
            newcomer.session,
            newcomer.device,
            false,
            out,
        );
        user.comes_from(connection.session, newcomer.origin);
        user.mark(newcomer.session, newcomer.fingerprint.as_ref());
        for workspace in newcomer.workspaces {
            let topic = Topic::Workspace(workspace);
            user.join(now, newcomer.session, topic, &newcomer.card);
        }
        out.push(Effect::Welcome {
            connection,
            restored: false,
            reply_to: newcomer.reply_to,
        });
        self.reconcile_as(now, id, origin, None, out);
    }
}
