//! Records the transitions of a user, each with its cause.

use std::sync::Arc;

use super::session::{Connection, SessionTopic};
use super::user::{Recorder, User};
use super::{Effect, Input};
use crate::explain::ClientOrigin;
use crate::history::{Cause, Transition, TransitionKind};
use crate::{Reason, SessionId, Timestamp, Topic, UserId};

impl<A> Input<A> {
    /// The cause that is recorded for everything that follows from this input.
    pub(super) fn cause(&self, user: &User) -> Cause {
        let of_session = |by: &Connection| match user.acts_through(by.session) {
            true => Cause::Service,
            false => Cause::Client,
        };
        match self {
            Input::Vanished { cause, .. }
            | Input::Ended { cause, .. }
            | Input::Chose { by: cause, .. } => *cause,
            Input::Joined { by, .. }
            | Input::Updated { by, .. }
            | Input::LeftChannel { by, .. } => of_session(by),
            Input::ServiceActed { .. } | Input::Prolonged { .. } => Cause::Service,
            Input::Kicked { .. } => Cause::Kick,
            Input::Erased { .. } => Cause::Erasure,
            Input::Restored { .. } => Cause::Restart,
            Input::Stored(_) => Cause::OtherNode,
            Input::Loaded { .. } | Input::Unread | Input::Unreadable => Cause::ProfileRead,
            Input::Connected { .. }
            | Input::Heard { .. }
            | Input::Reported { .. }
            | Input::WorkspacesChanged { .. }
            | Input::Asked { .. }
            | Input::Watched { .. }
            | Input::Unwatched => Cause::Client,
        }
    }
}

impl User {
    /// Records that something has happened to the user, or to one of the sessions. Nothing is recorded of workspaces: who is
    /// in one follows from their sessions.
    pub(super) fn record<A>(
        &self,
        now: Timestamp,
        session: Option<SessionId>,
        channel: Option<&Topic>,
        what: TransitionKind,
        out: &mut Vec<Effect<A>>,
    ) {
        let channel = match channel {
            Some(Topic::Channel(channel)) => Some(channel.clone()),
            Some(Topic::Workspace(_)) => return,
            None => None,
        };
        if let Recorder::On(cause) = self.recorder {
            out.push(Effect::Record(Transition {
                at: now,
                user: self.id().clone(),
                session,
                channel,
                what,
                cause,
            }));
        }
    }

    /// Sets the cause of all transitions that are recorded from now on.
    pub(super) fn note_cause(&mut self, cause: Cause) {
        if let Recorder::On(before) = &mut self.recorder {
            *before = cause;
        }
    }

    /// Notes where the connection of a session comes from.
    pub(super) fn comes_from(&mut self, id: SessionId, origin: Option<Arc<ClientOrigin>>) {
        if let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) {
            session.origin = origin;
        }
    }

    /// Whether a service acts through this session of the user, here or on another node.
    fn acts_through(&self, session: SessionId) -> bool {
        let here = self.sessions.iter().find(|it| it.id == session);
        let shared = self.shared.as_ref();
        let elsewhere = || shared.is_some_and(|it| it.is_by_service(session));
        here.map_or_else(elsewhere, |it| it.by_service)
    }
}

impl SessionTopic {
    /// Records that others are shown the session in this channel from now on, or no longer.
    pub(super) fn record<A>(
        &self,
        session: SessionId,
        user: &UserId,
        (at, recorder): (Timestamp, Recorder),
        out: &mut Vec<Effect<A>>,
    ) {
        let (Recorder::On(cause), Topic::Channel(channel)) = (recorder, &self.topic) else {
            return;
        };
        let (what, cause) = match self.has_entry() {
            true => (TransitionKind::Joined, cause),
            false => (TransitionKind::Left(Reason::Left), Cause::Hid),
        };
        out.push(Effect::Record(Transition {
            at,
            user: user.clone(),
            session: Some(session),
            channel: Some(channel.clone()),
            what,
            cause,
        }));
    }
}
