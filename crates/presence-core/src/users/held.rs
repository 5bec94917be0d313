//! Sessions that are stored for the next process of this node, and sessions that are held for the clients of
//! the earlier process.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::session::{Activity, Connection, JournaledState, Session, SessionTopic, Stage};
use super::stored::{KnownBy, Recalled, SessionChange, StoredSession};
use super::user::User;
use super::{Effect, Users};
use crate::history::TransitionKind;
use crate::status::Here;
use crate::{DeviceId, Meta, Reason, SessionId, Timestamp, Timing, Topic, UserId, Visible};

/// Whether sessions are stored for the next process of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keeping {
    #[default]
    Nothing,
    /// The sessions of every user who has an account.
    Sessions,
    /// The same. This process is about to stop, and was told so at `since`.
    Stopping { since: Timestamp },
}

impl Keeping {
    /// Whether the sessions of `user` are stored.
    fn keeps(self, user: &UserId) -> bool {
        self != Keeping::Nothing && !user.is_anonymous()
    }

    /// Whether a connection that was lost at `at` counts as connected. No client can come back to a node that stops. So a
    /// connection that is lost meanwhile counts as lost when the process ends.
    fn counts_as_connected(self, at: Timestamp) -> bool {
        matches!(self, Keeping::Stopping { since } if since <= at)
    }
}

/// What is known about a client whose protocol has no resume token, to find the session that is held for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Whether the client named its device. A client that does not is on another device each time.
    pub names_device: bool,
    /// The first topic that the client joins, and its meta there.
    pub first: Option<(Topic, Arc<Meta>)>,
}

impl Fingerprint {
    pub(super) fn known_by(&self) -> KnownBy {
        match self.names_device {
            true => KnownBy::Device,
            false => KnownBy::Joining,
        }
    }
}

impl Session {
    fn journaled(&self, now: Timestamp, is_hidden: bool, keeping: Keeping) -> JournaledState {
        JournaledState {
            epoch: self.epoch,
            activity: self.activity,
            is_active: self.is_active(now),
            is_hidden,
            lost_at: self.lost_at.filter(|at| !keeping.counts_as_connected(*at)),
            heard_at: self.by_service.then_some(self.heard_at),
            alias: self.other_name(),
        }
    }

    fn change(&self, user: &UserId, journaled: &JournaledState) -> SessionChange {
        let kept = StoredSession {
            user: user.clone(),
            epoch: journaled.epoch,
            device: self.device.clone(),
            known_by: self.known_by,
            by_service: self.by_service,
            activity: journaled.activity,
            is_active: journaled.is_active,
            is_hidden: journaled.is_hidden,
            lost_at: journaled.lost_at,
            heard_at: journaled.heard_at,
            alias: journaled.alias,
        };
        SessionChange::Is {
            session: self.id,
            kept: Box::new(kept),
        }
    }

    /// The session as an earlier process stored it, without its places. It was last known to be alive at `alive_at`.
    fn recalled(id: SessionId, kept: StoredSession, alive_at: Timestamp, until: Timestamp) -> Self {
        let mut session = Session::new(alive_at, id, kept.device, kept.by_service);
        session.epoch = kept.epoch;
        session.activity = kept.activity;
        session.known_by = kept.known_by;
        session.goes_by(kept.alias);
        if !kept.by_service {
            session.is_held = true;
            session.lost_at = Some(alive_at);
            let reason = Reason::Lost;
            session.stage = Stage::Grace { until, reason };
        }
        if kept.activity == Activity::Hidden && !kept.is_active {
            session.idle_in_background();
        }
        session
    }
}

impl User {
    /// Stores what has changed of the sessions, before anybody is told.
    pub(super) fn remember<A>(
        &mut self,
        now: Timestamp,
        keeping: Keeping,
        out: &mut Vec<Effect<A>>,
    ) {
        if !keeping.keeps(self.id()) {
            return;
        }
        let is_hidden = !self.is_shown();
        let user = self.id().clone();
        for session in &mut self.sessions {
            let journaled = session.journaled(now, is_hidden, keeping);
            if session.journaled != Some(journaled) {
                out.push(Effect::Remember(session.change(&user, &journaled)));
                session.journaled = Some(journaled);
            }
            for place in session.places.iter_mut().filter(|it| !it.is_journaled) {
                place.is_journaled = true;
                out.push(Effect::Remember(SessionChange::Joined {
                    session: session.id,
                    joined: place.joined(),
                }));
            }
        }
        let ended = self.ended.iter();
        out.extend(ended.map(|&(session, _)| Effect::Remember(SessionChange::Ended { session })));
    }

    /// Everything that has to be stored about the sessions.
    fn changes(&self, now: Timestamp, keeping: Keeping, out: &mut Vec<SessionChange>) {
        let is_hidden = !self.is_shown();
        for session in &self.sessions {
            let journaled = session.journaled(now, is_hidden, keeping);
            out.push(session.change(self.id(), &journaled));
            out.extend(session.places.iter().map(|place| SessionChange::Joined {
                session: session.id,
                joined: place.joined(),
            }));
        }
    }

    /// Restores a session that an earlier process stored. It is held until its client comes back, or until `until`. It
    /// counts as having been there all the time, so no time of joining or last-seen time changes.
    pub(super) fn restore<A>(
        &mut self,
        now: Timestamp,
        recalled: Recalled,
        alive_at: Timestamp,
        until: Timestamp,
        out: &mut Vec<Effect<A>>,
    ) {
        let Recalled {
            session: id,
            kept,
            topics,
        } = recalled;
        let is_old = !kept.by_service && alive_at + Timing::HELD_AFTER_MAX < now;
        let is_here = self.sessions.iter().any(|it| it.id == id);
        // They hid, and the stored profile does not say so: the change was not saved yet, or its time has ended since. To
        // others they have left.
        let would_appear = self.profile.status.chosen.shown(Here::Active) != Visible::Offline;
        if is_old || is_here || (kept.is_hidden && would_appear) {
            return;
        }
        if self.sessions.is_empty() {
            self.last_alive = alive_at;
        }
        self.sessions
            .push(Session::recalled(id, kept, alive_at, until));
        self.record(now, Some(id), None, TransitionKind::Restored, out);
        self.meet_others(now, out);
        // The places are set last: `come_out` would otherwise give them a new time of joining, and this session never left.
        if let Some(session) = self.sessions.last_mut() {
            session.places = topics.into_iter().map(SessionTopic::restored).collect();
            // Others may have seen it before.
            session.mark_seen();
        }
        self.own_changed = true;
    }

    /// The held session that a client without a resume token goes on with, if one matches.
    pub(super) fn recognise(
        &self,
        device: &DeviceId,
        fingerprint: &Fingerprint,
    ) -> Option<Connection> {
        let known_by = fingerprint.known_by();
        let held = self.sessions.iter();
        let held = held.filter(|it| it.is_held && it.known_by == known_by);
        let matching = held.filter_map(|session| {
            let first = fingerprint.first.as_ref().map(|(topic, meta)| {
                let place = session.places.iter().find(|it| it.topic == *topic);
                place.map(|it| it.meta == *meta)
            });
            let is_it = match known_by {
                KnownBy::Device => session.device == *device,
                // Without a device it is one that was there, where the client says where it was.
                KnownBy::Joining | KnownBy::Token => first != Some(None),
            };
            is_it.then_some((first, Reverse(session.id), session.connection()))
        });
        let best = matching.max_by_key(|(first, id, _)| (*first, *id))?;
        Some(best.2)
    }

    /// Sets how the client of a new session is recognised.
    pub(super) fn mark(&mut self, id: SessionId, fingerprint: Option<&Fingerprint>) {
        if let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) {
            session.known_by = fingerprint.map_or(KnownBy::Token, Fingerprint::known_by);
        }
    }

    /// Lets a client without a resume token go on with a session. It leaves the channels that the client does
    /// not join again.
    pub(super) fn claim(&mut self, now: Timestamp, id: SessionId) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        for place in &mut session.places {
            place.is_unclaimed = matches!(place.topic, Topic::Channel(_));
        }
        session.claims_end = Some(now + Timing::HELD);
    }

    /// Leaves the channels that the client has not joined again.
    pub(super) fn leave_unclaimed<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        session.claims_end = None;
        let unclaimed = session.places.extract_if(.., |it| it.is_unclaimed);
        let unclaimed: Vec<SessionTopic> = unclaimed.collect();
        session.is_news |= !unclaimed.is_empty();
        for place in unclaimed {
            if place.is_journaled {
                let topic = place.topic.clone();
                out.push(Effect::Remember(SessionChange::Left { session: id, topic }));
            }
            if place.has_entry() {
                let what = TransitionKind::Left(Reason::Lost);
                self.record(now, Some(id), Some(&place.topic), what, out);
                out.push(Effect::Write {
                    topic: place.topic,
                    session: id,
                    entry: Err(Reason::Lost),
                    is_shared: true,
                });
            }
        }
    }
}

impl<A> Users<A> {
    /// Lets this machine emit what has to be [remembered](Effect::Remember) of sessions, for the next process of
    /// this node. Must be called before any input, and only on a node that is alone: in a cluster the other nodes
    /// remember the sessions.
    pub fn keep_sessions(&mut self) {
        self.keeping = Keeping::Sessions;
    }

    /// Everything that has to be remembered of the sessions on this node. It replaces all earlier changes.
    pub fn kept_sessions(&self, now: Timestamp) -> Vec<SessionChange> {
        let keeping = self.keeping;
        let known = self.known().filter(|it| keeping.keeps(it.id()));
        let mut known: Vec<&User> = known.collect();
        known.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        let mut changes = Vec::new();
        for user in known {
            user.changes(now, keeping, &mut changes);
        }
        changes
    }

    /// Keeps every session that has lost its connection, or loses it from now on, for at least `span`. The node is
    /// about to stop, so no client can come back to it; the next process holds the sessions for their clients. It does
    /// nothing unless [sessions are kept](Self::keep_sessions).
    pub fn hold(&mut self, now: Timestamp, span: Duration) {
        if self.keeping == Keeping::Nothing {
            return;
        }
        self.keeping = Keeping::Stopping { since: now };
        self.timing = self.timing.with_grace(span.max(self.timing.grace()));
        self.extend_grace(now + span);
    }
}
