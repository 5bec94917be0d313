//! What each input does to a user whose profile is known. There is one function for each input.

use std::sync::Arc;

use super::claims::Newcomer;
use super::effect::{Answer, Effect, grant, refuse};
use super::input::Input;
use super::loading::Slot;
use super::others::Probe;
use super::profile::Choice;
use super::show::Origin;
use super::user::User;
use super::waiting::Need;
use super::{Activity, Connection, Users};
use crate::cluster::{Ephemeral, Membership, Reply, Request, Subject};
use crate::history::{Cause, TransitionKind};
use crate::{
    ChannelId, DeviceId, Limits, Meta, Profile, Reason, Refusal, SessionId, StatusChange,
    Timestamp, Timing, Topic, TopicVersion, UserId, Watching, WorkspaceId,
};

/// What has to be done after an input was applied to a user.
enum Then<A> {
    /// Nothing: the input has changed nothing that others are told.
    Nothing,
    /// Compare the present state with what was last told.
    Reconcile,
    /// The same as `Reconcile`. The request, if there is one, is answered when its need is met.
    Answer(Need, Option<A>),
    /// The same as `Reconcile`, for a user who was erased: their last-seen time is not noted.
    Erased(Option<A>),
}

/// All that an input needs beside the user: the time, the rules, and where effects go.
struct Turn<'a, A> {
    now: Timestamp,
    /// When the input came. It may have waited since.
    since: Timestamp,
    limits: &'a Limits,
    timing: &'a Timing,
    membership: Option<&'a Membership>,
    out: &'a mut Vec<Effect<A>>,
}

// Inputs that concern more than the user.
impl<A> Users<A> {
    /// Applies an input about a user whose profile is known. It came at `since`, and may have waited.
    // Longer than a screen because it is a table: an arm for each input.
    pub(super) fn happen(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        id: &UserId,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        user.note_cause(input.cause(user));
        match input {
            Input::Connected {
                session,
                resume,
                device,
                workspaces,
                card,
                origin,
                reply_to,
                fingerprint,
            } => {
                let newcomer = Newcomer {
                    since,
                    session,
                    device,
                    workspaces,
                    card,
                    fingerprint,
                    origin,
                    reply_to,
                };
                self.let_in(now, id, resume, newcomer, out);
            }
            Input::Asked {
                as_owner: false,
                reply_to,
            } => self.probe(id, Probe::Asked(reply_to), out),
            Input::Watched { watcher, reply_to } => {
                user.watchers += 1;
                self.probe(id, Probe::Watched(watcher, reply_to), out);
            }
            Input::Stored(Reply::Ephemeral(ephemerals)) => {
                self.ephemeral(now, id, &ephemerals, out);
            }
            Input::Stored(reply) => self.stored(now, id, reply, out),
            Input::Restored {
                recalled,
                alive_at,
                until,
                reply_to,
            } => {
                user.restore(now, *recalled, alive_at, until, out);
                self.reconcile(now, id, out);
                grant(reply_to, out);
            }
            input => {
                let turn = Turn {
                    now,
                    since,
                    limits: &self.limits,
                    timing: &self.timing,
                    membership: self.membership.as_ref(),
                    out,
                };
                match user.apply(input, turn) {
                    Then::Nothing => {}
                    Then::Reconcile => self.reconcile(now, id, out),
                    Then::Answer(need, reply_to) => {
                        let reply_to = reply_to.map(|it| (need, it));
                        self.reconcile_as(now, id, Origin::Local, reply_to, out);
                    }
                    Then::Erased(reply_to) => {
                        let reply_to = reply_to.map(|it| (Need::Profile, it));
                        self.reconcile_as(now, id, Origin::REMOTE, reply_to, out);
                    }
                }
            }
        }
    }

    /// Other nodes sent ephemeral messages about the user.
    fn ephemeral(
        &mut self,
        now: Timestamp,
        id: &UserId,
        ephemerals: &[Ephemeral],
        out: &mut Vec<Effect<A>>,
    ) {
        match ephemerals.contains(&Ephemeral::Kicked) {
            true => self.happen(now, now, id, Input::Kicked { reply_to: None }, out),
            false => self.reconcile(now, id, out),
        }
    }

    /// The store that nodes share answered, or announced a change.
    fn stored(&mut self, now: Timestamp, id: &UserId, reply: Reply, out: &mut Vec<Effect<A>>) {
        let (Some(Slot::Known(user)), Some(membership)) =
            (self.users.get_mut(id), &self.membership)
        else {
            return;
        };
        let has_answered = matches!(reply, Reply::Read { .. });
        let mut requests = Vec::new();
        let outcome = user.hear(now, reply, membership, &mut requests);
        out.extend(requests.into_iter().map(Effect::Ask));
        // This node tells of sessions that ended here, and of users who appear here.
        let origin = match outcome.appears || !outcome.left.is_empty() {
            true => Origin::Local,
            false => user.remote_origin(membership),
        };
        let mut taken = outcome.taken;
        taken.retain(|(session, token)| !user.insists(*session, *token));
        let taken: Vec<SessionId> = taken.iter().map(|(session, _)| *session).collect();
        for session in &taken {
            user.hand_over(now, *session, out);
        }
        if !outcome.left.is_empty() {
            // Sessions that came meanwhile are written first: a user with another session in a place does not leave it.
            user.write(now, out);
        }
        for (session, reason) in &outcome.left {
            user.end(now, *session, *reason, out);
        }
        if outcome.is_erased {
            user.note_cause(Cause::Erasure);
            user.throw_out(now, out);
            user.record(now, None, None, TransitionKind::Erased, out);
        }
        if let Some((profile, version)) = outcome.saves.filter(|_| !id.is_anonymous()) {
            out.push(Effect::Save {
                profile: Profile::clone(&profile),
                version: Some(version),
                reply_to: None,
            });
        }
        if outcome.has_lost_profile && !id.is_anonymous() {
            out.push(Effect::Load);
        }
        let is_read = has_answered && user.has_been_read();
        self.note_kept(id, outcome.kept);
        // Before anybody is told: a session that has come here is not gone from elsewhere.
        let origin = self.judge_claims(now, id, &outcome.claims, (is_read, origin), out);
        self.reconcile_as(now, id, origin, None, out);
        self.answer(id, &outcome.stored, &taken, out);
        if is_read {
            self.go_on(now, id, out);
        }
    }
}

// Inputs that concern nobody but the user.
impl User {
    fn apply<A>(&mut self, input: Input<A>, turn: Turn<'_, A>) -> Then<A> {
        match input {
            Input::Heard { by } => return self.heard(by, turn),
            Input::ServiceActed { session, device } => self.service_acted(session, device, turn),
            Input::Prolonged {
                session,
                channel,
                reply_to,
            } => self.prolonged(session, channel, reply_to, turn),
            Input::Reported {
                by,
                activity,
                reply_to,
            } => self.reported(by, activity, reply_to, turn),
            Input::WorkspacesChanged {
                by,
                workspaces,
                card,
                reply_to,
            } => self.moved(by, &workspaces, &card, reply_to, turn),
            Input::Vanished { by, reason, .. } => {
                self.vanish(turn.now, by, reason, turn.timing, turn.out);
            }
            Input::Ended { by, .. } => self.ended(by, turn),
            Input::Kicked { reply_to } => self.kicked(reply_to, turn),
            Input::Erased {
                unseen_since,
                reply_to,
            } => return self.erased(unseen_since, reply_to, turn),
            Input::Joined {
                by,
                channel,
                meta,
                watch,
                reply_to,
            } => self.joined(by, channel, &meta, watch, reply_to, turn),
            Input::Updated {
                by,
                channel,
                meta,
                reply_to,
            } => return self.updated(by, channel, &meta, reply_to, turn),
            Input::LeftChannel {
                by,
                channel,
                reply_to,
            } => return self.left_channel(by, channel, reply_to, turn),
            Input::Chose {
                change, reply_to, ..
            } => return self.chose(&change, reply_to, turn),
            Input::Asked { reply_to, .. } => self.asked_by_owner(reply_to, turn),
            Input::Unwatched => self.watchers = self.watchers.saturating_sub(1),
            Input::Loaded { profile } => self.loaded(turn.now, profile),
            Input::Unread | Input::Unreadable => {}
            Input::Connected { .. }
            | Input::Watched { .. }
            | Input::Restored { .. }
            | Input::Stored(_) => unreachable!("these concern more than the user"),
        }
        Then::Reconcile
    }

    /// The most frequent input by far, and it changes nothing: the session's timer looks at `heard_at` when it ends.
    fn heard<A>(&mut self, by: Connection, turn: Turn<'_, A>) -> Then<A> {
        if let Some(session) = self.session(by) {
            session.heard_at = turn.now;
        }
        Then::Nothing
    }

    fn service_acted<A>(&mut self, session: SessionId, device: DeviceId, turn: Turn<'_, A>) {
        let Turn {
            now,
            since,
            limits,
            out,
            ..
        } = turn;
        if let Some(membership) = turn.membership {
            self.take_over(now, Connection::of_service(session), membership, out);
        }
        let room = self.sessions_anywhere() < limits.sessions_max;
        if let Some(session) = self.session(Connection::of_service(session)) {
            session.acted(now);
        } else if room {
            self.connect(now, since, session, device, true, out);
        }
    }

    fn prolonged<A>(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) {
        let by = Connection::of_service(session);
        if let Some(membership) = turn.membership {
            self.take_over(turn.now, by, membership, turn.out);
        }
        let topic = Topic::Channel(channel);
        match self.session(by).filter(|it| it.is_in(&topic)) {
            Some(session) => {
                session.acted(turn.now);
                grant(reply_to, turn.out);
            }
            None => refuse(reply_to, Refusal::NotJoined, turn.out),
        }
    }

    fn reported<A>(
        &mut self,
        by: Connection,
        activity: Activity,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) {
        match self.session(by) {
            Some(session) => {
                let is_new = session.activity != activity;
                session.report(turn.now, activity);
                self.own_changed |= is_new;
                if is_new {
                    let what = TransitionKind::Reported(activity);
                    self.record(turn.now, Some(by.session), None, what, turn.out);
                }
                grant(reply_to, turn.out);
            }
            None => refuse(reply_to, Refusal::NoSession, turn.out),
        }
    }

    fn moved<A>(
        &mut self,
        by: Connection,
        workspaces: &[WorkspaceId],
        card: &Arc<Meta>,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) {
        match self.session(by) {
            None => refuse(reply_to, Refusal::NoSession, turn.out),
            Some(_) => {
                self.set_workspaces(turn.now, by.session, workspaces, card, turn.out);
                grant(reply_to, turn.out);
            }
        }
    }

    fn ended<A>(&mut self, by: Connection, turn: Turn<'_, A>) {
        if self.session(by).is_some() {
            self.end(turn.now, by.session, Reason::Left, turn.out);
        }
    }

    fn kicked<A>(&mut self, reply_to: Option<A>, turn: Turn<'_, A>) {
        let Turn { now, out, .. } = turn;
        let is_here = self.sessions_anywhere() > 0;
        self.throw_out(now, out);
        if turn.membership.is_some() && reply_to.is_some() {
            let subject = Subject::User(self.id().clone());
            let ephemeral = Request::Ephemeral(subject, vec![Ephemeral::Kicked]);
            out.push(Effect::Ask(ephemeral));
        }
        match is_here {
            true => grant(reply_to, out),
            false => refuse(reply_to, Refusal::NoSession, out),
        }
    }

    fn erased<A>(
        &mut self,
        unseen_since: Option<Timestamp>,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) -> Then<A> {
        if unseen_since.is_some_and(|since| self.is_seen_since(since)) {
            grant(reply_to, turn.out);
            return Then::Reconcile;
        }
        self.throw_out(turn.now, turn.out);
        self.erase(turn.now);
        self.record(turn.now, None, None, TransitionKind::Erased, turn.out);
        Then::Erased(reply_to)
    }

    fn joined<A>(
        &mut self,
        by: Connection,
        channel: ChannelId,
        meta: &Arc<Meta>,
        watch: Option<(Watching, Option<TopicVersion>)>,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) {
        let Turn { now, out, .. } = turn;
        let topic = Topic::Channel(channel);
        let max = turn.limits.channels_max;
        match self.session(by) {
            None => refuse(reply_to, Refusal::NoSession, out),
            Some(session) if session.is_full(&topic, max) => {
                let what = "channels of one session";
                refuse(reply_to, Refusal::TooMany { what, max }, out);
            }
            Some(session) => {
                session.heard_at = now;
                self.join(now, by.session, topic.clone(), meta);
                // The entry is written before the watch begins, so that a user who joins finds themselves there.
                self.write(now, out);
                match watch {
                    None => grant(reply_to, out),
                    Some((watching, have)) => out.push(Effect::Watch {
                        topic,
                        watcher: by.session,
                        watching,
                        have,
                        reply_to,
                    }),
                }
            }
        }
    }

    fn updated<A>(
        &mut self,
        by: Connection,
        channel: ChannelId,
        meta: &Arc<Meta>,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) -> Then<A> {
        let topic = Topic::Channel(channel);
        let why = match self.session(by) {
            None => Refusal::NoSession,
            Some(session) if !session.is_in(&topic) => Refusal::NotJoined,
            Some(_) => {
                self.join(turn.now, by.session, topic, meta);
                return Then::Answer(Need::Session(by.session), reply_to);
            }
        };
        refuse(reply_to, why, turn.out);
        Then::Reconcile
    }

    fn left_channel<A>(
        &mut self,
        by: Connection,
        channel: ChannelId,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) -> Then<A> {
        let Turn { now, out, .. } = turn;
        if self.session_here(now, by, turn.membership, out).is_none() {
            refuse(reply_to, Refusal::NoSession, out);
            return Then::Reconcile;
        }
        self.leave(now, by.session, &Topic::Channel(channel), out);
        Then::Answer(Need::Session(by.session), reply_to)
    }

    fn chose<A>(
        &mut self,
        change: &StatusChange,
        reply_to: Option<A>,
        turn: Turn<'_, A>,
    ) -> Then<A> {
        match self.choose(turn.now, turn.since, change) {
            Choice::New => {
                let what = TransitionKind::Chose(self.profile.status.chosen);
                self.record(turn.now, None, None, what, turn.out);
            }
            Choice::Same if reply_to.is_none() => return Then::Reconcile,
            Choice::Same => {}
            Choice::Overtaken => {
                refuse(reply_to, Refusal::Unavailable, turn.out);
                return Then::Reconcile;
            }
        }
        // Wait even if nothing changed: an earlier, equal change may not be stored yet.
        let need = match self.profile.status.chosen.hides() {
            true => Need::Hidden,
            false => Need::Profile,
        };
        Then::Answer(need, reply_to)
    }

    fn asked_by_owner<A>(&mut self, reply_to: A, turn: Turn<'_, A>) {
        let answer = Answer::OwnView(self.own_view(turn.now));
        turn.out.push(Effect::Grant { reply_to, answer });
    }
}
