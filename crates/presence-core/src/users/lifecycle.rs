//! How the sessions of a user begin, move between nodes, and end.

use std::sync::Arc;

use super::Effect;
use super::session::{Connection, Session, SessionTopic, Stage};
use super::user::User;
use crate::cluster::{FencingToken, Membership, SessionRecord};
use crate::history::{Cause, TransitionKind};
use crate::{DeviceId, Reason, SessionId, Timestamp, Timing, Topic};

impl User {
    /// Begins a session for a connection that came at `since`.
    pub(super) fn connect<A>(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        id: SessionId,
        device: DeviceId,
        by_service: bool,
        out: &mut Vec<Effect<A>>,
    ) -> Connection {
        self.record(now, Some(id), None, TransitionKind::Began, out);
        let before = self.profile.status.chosen;
        self.come_back(now, since);
        let chosen = self.profile.status.chosen;
        if chosen != before {
            self.record(now, None, None, TransitionKind::Chose(chosen), out);
        }
        let mut session = Session::new(now, id, device, by_service);
        if let Some(shared) = self.shared.as_ref().filter(|_| by_service) {
            // Its id is the same each time. With this epoch, entries that are left of the last time are older.
            let secs = shared.store_time(now).as_millis() / 1000;
            session.epoch = u32::try_from(secs).unwrap_or(u32::MAX);
        }
        let connection = session.connection();
        self.sessions.push(session);
        self.own_changed = true;
        self.note_hiding();
        connection
    }

    /// Lets a session of this node go on in a new connection; also says which live connection that replaces.
    pub(super) fn resume<A>(
        &mut self,
        now: Timestamp,
        before: Connection,
        out: &mut Vec<Effect<A>>,
    ) -> Option<(Connection, Option<Connection>)> {
        let mut sessions = self.sessions.iter_mut();
        let session = sessions.find(|it| it.connection() == before && !it.by_service)?;
        let replaced = session.is_live().then_some(before);
        session.come_back(now);
        let connection = session.connection();
        self.own_changed = true;
        self.record(
            now,
            Some(connection.session),
            None,
            TransitionKind::Resumed,
            out,
        );
        Some((connection, replaced))
    }

    /// A session of another node is this node's, in the connection `epoch`: the store has granted that.
    pub(super) fn arrive(
        &mut self,
        now: Timestamp,
        id: SessionId,
        epoch: u32,
        record: &SessionRecord,
    ) -> Connection {
        let revision = self
            .shared
            .as_ref()
            .map_or(0, |it| it.replica.revision_of(id));
        let mut session = Session::take_over(now, id, epoch, record);
        session.note_stored_as(record, revision);
        let connection = session.connection();
        self.sessions.push(session);
        if let Some(shared) = &mut self.shared {
            shared.wait_for_new_owner(now, id, Vec::new());
        }
        self.own_changed = true;
        connection
    }

    /// Like [`session`](Self::session), but takes over the session from another node if a service acts through it.
    pub(super) fn session_here<A>(
        &mut self,
        now: Timestamp,
        by: Connection,
        membership: Option<&Membership>,
        out: &mut Vec<Effect<A>>,
    ) -> Option<&mut Session> {
        let is_here = self.sessions.iter().any(|it| it.id == by.session);
        let by_service = self
            .shared
            .as_ref()
            .filter(|it| !is_here && it.is_by_service(by.session));
        if let (Some(_), Some(membership)) = (by_service, membership) {
            self.take_over(now, by, membership, out);
            // It writes its entries, so that it may remove them.
            self.write(now, out);
        }
        self.session(by)
    }

    /// Takes over the session from another node if a service acts through it: it has no connection that could be older.
    pub(super) fn take_over<A>(
        &mut self,
        now: Timestamp,
        by: Connection,
        membership: &Membership,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let Some((token, record)) = shared.replica.other(by.session) else {
            return;
        };
        let (epoch, record) = (
            u32::try_from(token.epoch).unwrap_or(u32::MAX),
            record.clone(),
        );
        if !record.by_service {
            return;
        }
        let session = Session::take_over(now, by.session, epoch.saturating_add(1), &record);
        // It may end at once, and then the other node's record of it is to be removed.
        let record = Arc::new(session.record(now));
        shared.take_over(now, &session, record, token, membership);
        self.sessions.push(session);
        let what = TransitionKind::CameFrom(token.incarnation());
        self.record(now, Some(by.session), None, what, out);
    }

    /// Whether a session goes on here although the store has another entry of it. The node through which a service acted
    /// last has the session, so that a node that was cut off does not override it.
    pub(super) fn insists(&mut self, id: SessionId, stored: FencingToken) -> bool {
        let other = self.shared.as_ref().and_then(|it| it.replica.other(id));
        let acted_at = other.map(|(_, record)| record.heard_at);
        let mut sessions = self.sessions.iter_mut();
        let session =
            sessions.find(|it| it.id == id && acted_at.is_none_or(|at| at <= it.heard_at));
        session.is_some_and(|it| it.insist(stored))
    }

    /// A session is on another node now.
    pub(super) fn hand_over<A>(&mut self, now: Timestamp, id: SessionId, out: &mut Vec<Effect<A>>) {
        let Some(index) = self.sessions.iter().position(|it| it.id == id) else {
            return;
        };
        let session = self.sessions.remove(index);
        if session.is_live() && !session.by_service {
            out.push(Effect::Close {
                connection: session.connection(),
                reason: Reason::Replaced,
            });
        }
        let record = self.shared.as_ref().and_then(|it| it.replica.other(id));
        if let Some((token, _)) = record {
            let what = TransitionKind::WentTo(token.incarnation());
            self.record(now, Some(id), None, what, out);
        }
        let is_there = |topic: &Topic| {
            let mut topics = record.iter().flat_map(|(_, record)| &record.places);
            topics.any(|it| it.topic == *topic)
        };
        let hides = self.profile.status.chosen.hides();
        let written = session.places.into_iter().filter(SessionTopic::has_entry);
        let mut waiting = Vec::new();
        for SessionTopic { topic, .. } in written {
            // If the session is not in this topic any more, or its user hides, no other node will replace the entry.
            let reason = match is_there(&topic) && !hides {
                true => Reason::Replaced,
                false => Reason::Left,
            };
            if reason == Reason::Replaced {
                waiting.push(topic.clone());
            }
            out.push(Effect::Write {
                topic,
                session: id,
                entry: Err(reason),
                is_shared: true,
            });
        }
        if let Some(shared) = &mut self.shared {
            shared.wait_for_new_owner(now, id, waiting);
        }
        self.own_changed = true;
        self.ended.push((id, Reason::Left));
    }

    /// Removes the entries that wait for other nodes which have ended the sessions meanwhile, and all that wait if the
    /// user hides: no other node replaces those.
    pub(super) fn remove_ended_elsewhere<A>(&mut self, out: &mut Vec<Effect<A>>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        if self.profile.status.chosen.hides() {
            shared.end_all_handed_over();
        }
        for ended in shared.over.drain(..) {
            let removals = ended.places.into_iter().map(|topic| Effect::Write {
                topic,
                session: ended.session,
                entry: Err(ended.reason),
                is_shared: true,
            });
            out.extend(removals);
        }
    }

    pub(super) fn vanish<A>(
        &mut self,
        now: Timestamp,
        by: Connection,
        reason: Reason,
        timing: &Timing,
        out: &mut Vec<Effect<A>>,
    ) {
        if self.session(by).is_none() {
            return;
        }
        if timing.grace().is_zero() && self.shared.is_none() {
            return self.end(now, by.session, reason, out);
        }
        let Some(session) = self.session(by) else {
            return;
        };
        let until = now + timing.grace();
        session.vanish(until, reason);
        session.lost_at = Some(now);
        let written = session.places.iter().filter(|it| it.has_entry());
        out.extend(written.map(|place| Effect::Silence {
            topic: place.topic.clone(),
            session: by.session,
        }));
        let what = TransitionKind::Disconnected { until };
        self.record(now, Some(by.session), None, what, out);
    }

    /// Handles the end of a session's timer: of its grace time, its ttl, or its time as an active background tab.
    pub(super) fn run_out<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        timing: &Timing,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        session.disarm();
        let connection = session.connection();
        let claims_end = session.claims_end;
        self.note_cause(Cause::Background);
        if claims_end.is_some_and(|at| at <= now) {
            self.leave_unclaimed(now, id, out);
        }
        let Some(session) = self.sessions.iter().find(|it| it.id == id) else {
            return;
        };
        match session.stage {
            Stage::Grace { until, reason } if until <= now => {
                self.grace_is_over(now, id, reason, out);
            }
            Stage::Live if session.ttl_ends(timing) <= now => match session.by_service {
                true => self.grace_is_over(now, id, Reason::TimedOut, out),
                false => {
                    let reason = Reason::TimedOut;
                    self.note_cause(Cause::Silence);
                    out.push(Effect::Close { connection, reason });
                    self.vanish(now, connection, reason, timing, out);
                }
            },
            Stage::Grace { .. } | Stage::Live | Stage::Ending { .. } => {}
        }
    }

    /// Handles the end of a session's grace time. A node that is alone ends the session; in a cluster another node
    /// may have it.
    pub(super) fn grace_is_over<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        reason: Reason,
        out: &mut Vec<Effect<A>>,
    ) {
        if self.shared.is_none() {
            return self.end(now, id, reason, out);
        }
        if let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) {
            session.begin_to_end(now, reason);
        }
    }

    /// Asks the store to remove the sessions about which every other node has caught up. Returns those that only this
    /// node knows, which have ended.
    pub(super) fn ask_the_ending(
        &mut self,
        now: Timestamp,
        membership: &Membership,
    ) -> Vec<(SessionId, Reason)> {
        let mut ended = Vec::new();
        let (is_shown, last_alive) = (self.is_shown(), self.last_alive);
        let Some(shared) = &mut self.shared else {
            return ended;
        };
        for session in &mut self.sessions {
            let Some(reason) = session.due_removal(now, membership) else {
                continue;
            };
            match shared.replica.leave(now, session.id, reason, membership) {
                true => {
                    session.mark_asked();
                    // In the same write, so that a node that hears that they are gone hears since when.
                    let alive = last_alive.max(session.heard_at);
                    let seen = self.profile.last_seen.max(Some(alive));
                    self.unsaved |= is_shown && seen != self.profile.last_seen;
                    if is_shown {
                        self.profile.last_seen = seen;
                    }
                }
                false => ended.push((session.id, reason)),
            }
        }
        ended
    }

    /// Ends the sessions of which it is proven that no other node has them.
    pub(super) fn end_the_proven<A>(
        &mut self,
        now: Timestamp,
        membership: &Membership,
        out: &mut Vec<Effect<A>>,
    ) {
        for (session, reason) in self.ask_the_ending(now, membership) {
            self.end(now, session, reason, out);
        }
    }

    /// Handles that this node was declared dead. Sessions that were heard from since it last stood still are written
    /// again; the clients of the others have to connect again, because they may have gone elsewhere.
    pub(super) fn after_declared_dead<A>(
        &mut self,
        now: Timestamp,
        woke_at: Timestamp,
        timing: &Timing,
        out: &mut Vec<Effect<A>>,
    ) {
        let gone = self.sessions.iter().filter(|it| !it.is_live());
        let gone: Vec<SessionId> = gone.map(|it| it.id).collect();
        for session in gone {
            // The others have seen them leave.
            self.end(now, session, Reason::NodeLost, out);
        }
        let mut unheard = Vec::new();
        for session in &mut self.sessions {
            session.void();
            session.is_news = session.by_service || woke_at <= session.heard_at;
            if !session.is_news {
                unheard.push(session.connection());
            }
        }
        for connection in unheard {
            let reason = Reason::NodeLost;
            out.push(Effect::Close { connection, reason });
            self.vanish(now, connection, Reason::Lost, timing, out);
        }
    }

    pub(super) fn end<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        reason: Reason,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(index) = self.sessions.iter().position(|it| it.id == id) else {
            return;
        };
        let session = self.sessions.remove(index);
        let alive = match reason {
            Reason::Left | Reason::Kicked => now,
            _ => session.heard_at,
        };
        self.last_alive = self.last_alive.max(alive);
        if self.sessions.is_empty() {
            self.note_hiding();
        }
        self.ended.push((id, reason));
        self.own_changed = true;
        match reason {
            Reason::Lost | Reason::TimedOut if session.by_service => {
                self.note_cause(Cause::Silence);
            }
            Reason::Lost | Reason::TimedOut => self.note_cause(Cause::GraceOver),
            Reason::NodeLost => self.note_cause(Cause::NodeLost),
            Reason::Left | Reason::Replaced | Reason::Kicked => {}
        }
        let written = session.places.into_iter().filter(SessionTopic::has_entry);
        for SessionTopic { topic, .. } in written {
            self.record(
                now,
                Some(id),
                Some(&topic),
                TransitionKind::Left(reason),
                out,
            );
            out.push(Effect::Write {
                topic,
                session: id,
                entry: Err(reason),
                is_shared: true,
            });
        }
        self.record(now, Some(id), None, TransitionKind::Ended(reason), out);
    }

    /// Ends every session that is here.
    pub(super) fn throw_out<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        for connection in self.connections() {
            let reason = Reason::Kicked;
            out.push(Effect::Close { connection, reason });
        }
        while let Some(session) = self.sessions.last().map(|it| it.id) {
            self.end(now, session, Reason::Kicked, out);
        }
    }
}
