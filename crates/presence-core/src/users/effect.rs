//! What the caller of the machine is to do.

use std::sync::Arc;

use super::Connection;
use super::stored::SessionChange;
use crate::cluster::Request;
use crate::history::Transition;
use crate::{
    Event, Member, OwnView, Profile, PublicView, Reason, Refusal, SessionId, Topic, TopicVersion,
    Watching,
};

/// What the caller is to do. Effects must be performed in the order in which they were emitted.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Let a connection in.
    Welcome {
        /// The session, and the epoch of its new connection.
        connection: Connection,
        /// Whether an earlier session goes on.
        restored: bool,
        /// The handle of the connection that asked.
        reply_to: A,
    },
    /// Close a connection.
    Close {
        /// The connection to close.
        connection: Connection,
        /// The reason to give to the client.
        reason: Reason,
    },
    /// Write a session's entry in a topic to the rosters. A user who may not be seen has no entries. With
    /// [`Reason::Replaced`] the session is on another node now, which writes its own entry.
    Write {
        /// The topic that the entry is in.
        topic: Topic,
        /// The session that the entry belongs to.
        session: SessionId,
        /// The entry, or the reason for which it is removed.
        entry: Result<Arc<Member>, Reason>,
        /// Whether other nodes may be told: not before the user's map in the store names the topic.
        is_shared: bool,
    },
    /// Let a session watch a topic, after the entries that were written before.
    Watch {
        /// The topic to watch.
        topic: Topic,
        /// The session that watches.
        watcher: SessionId,
        /// How much the session is told.
        watching: Watching,
        /// The version that its client has, if any.
        have: Option<TopicVersion>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// Store something about a session for the next process of this node. It must be stored before any other effect of
    /// the same call is performed. It is emitted only if [sessions are kept](super::Users::keep_sessions).
    Remember(SessionChange),
    /// Add a transition to the [history](crate::history::History) of this shard. It is emitted only if
    /// [history is recorded](super::Users::record_history).
    Record(Transition),
    /// Others see the user differently from now on, whether anybody watches the user or not. It is emitted only if
    /// [looks are announced](super::Users::announce_looks).
    LooksDifferent,
    /// Stop the typing and remove the cursor of a session.
    Silence {
        /// The topic in which to do that.
        topic: Topic,
        /// The session that has no connection any more.
        session: SessionId,
    },
    /// Send an event to sessions.
    Tell {
        /// The sessions that get it.
        to: Audience,
        /// The event to send.
        event: Event,
    },
    /// Send a request to the store that nodes share.
    Ask(Request),
    /// Read the user's profile, and report it with [`Input::Loaded`](super::Input::Loaded), [`Input::Unread`](super::Input::Unread) or [`Input::Unreadable`](super::Input::Unreadable).
    Load,
    /// The same for a question of somebody else. Its time must not tell whether anything is known of the user here, so ask
    /// the store that keeps profiles for good, even if the profile is at hand.
    LookUp,
    /// Save the profile; if it is [blank](Profile::is_blank), delete the stored one. Then grant `reply_to`.
    Save {
        /// The profile to store.
        profile: Profile,
        /// The version of the user's map in the shared store that has this profile. The row that waits there for that
        /// version may be removed then.
        version: Option<u64>,
        /// Gets an answer when the profile is stored.
        reply_to: Option<A>,
    },
    /// A request was granted.
    Grant {
        /// The handle that came with the request.
        reply_to: A,
        /// The answer to the request.
        answer: Answer,
    },
    /// A request was refused.
    Refuse {
        /// The handle that came with the request.
        reply_to: A,
        /// The reason for the refusal.
        why: Refusal,
    },
}

/// The sessions that an event is sent to.
#[derive(Debug, PartialEq, Eq)]
pub enum Audience {
    /// These sessions of the user.
    Sessions(Vec<SessionId>),
    /// Everyone who watches the user.
    Watchers,
    /// This session, which has just begun to watch the user.
    Watcher(SessionId),
}

/// The answer to a request that was granted.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The request was carried out.
    Done,
    /// How others see the user.
    PublicView(PublicView),
    /// How the user sees themselves.
    OwnView(OwnView),
}

pub(super) fn grant<A>(reply_to: Option<A>, out: &mut Vec<Effect<A>>) {
    out.extend(reply_to.map(|reply_to| Effect::Grant {
        reply_to,
        answer: Answer::Done,
    }));
}

pub(super) fn refuse<A>(reply_to: Option<A>, why: Refusal, out: &mut Vec<Effect<A>>) {
    out.extend(reply_to.map(|reply_to| Effect::Refuse { reply_to, why }));
}
