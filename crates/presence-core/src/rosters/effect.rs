//! What the caller of the state machine of rosters is to do.

use std::sync::Arc;

use crate::cluster::Request;
use crate::{Event, Person, Refusal, SessionId, Topic};

/// What the caller is to do. Effects must be performed in the order in which they were emitted.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Send an event to watchers of a topic.
    Tell {
        /// The topic that they watch.
        topic: Topic,
        /// The watchers that get the event.
        to: Hearers,
        /// The event to send.
        event: Arc<Event>,
    },
    /// What [`Rosters::list`](super::Rosters::list) and [`Rosters::typing`](super::Rosters::typing) return for a topic is up to date now, as far as the store
    /// can be reached.
    Known {
        /// The topic whose state is known.
        topic: Topic,
    },
    /// Send a request to the store that nodes share.
    Ask(Request),
    /// A request was granted.
    Grant {
        /// The handle that came with the request.
        reply_to: A,
    },
    /// A request was refused.
    Refuse {
        /// The handle that came with the request.
        reply_to: A,
        /// The reason for the refusal.
        why: Refusal,
    },
}

/// The watchers of a topic that an event is sent to.
#[derive(Debug, PartialEq, Eq)]
pub enum Hearers {
    /// Those who watch with [`Watching::Full`](crate::Watching::Full) or [`Watching::Whole`](crate::Watching::Whole).
    Full,
    /// Those who watch with [`Watching::Summary`](crate::Watching::Summary).
    Summary,
    /// Those who want to see everyone, but for this one.
    FullBut(SessionId),
    /// Every watcher except these sessions.
    AllBut(Vec<SessionId>),
    /// This session, if it watches the topic.
    One(SessionId),
    /// These sessions, each of which has a window with this number open on the topic.
    Window(u32, Vec<SessionId>),
}

/// A part of the list of people in a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The people on the page, ordered by when they joined.
    pub people: Vec<Arc<Person>>,
    /// The number of people in the topic, on all pages.
    pub total: usize,
}

/// Grants a request, if anybody waits for the answer.
pub(super) fn grant<A>(reply_to: Option<A>, out: &mut Vec<Effect<A>>) {
    answer(Ok(()), reply_to, out);
}

/// Answers a request, if anybody waits for the answer.
pub(super) fn answer<A>(
    outcome: Result<(), Refusal>,
    reply_to: Option<A>,
    out: &mut Vec<Effect<A>>,
) {
    out.extend(reply_to.map(|reply_to| match outcome {
        Ok(()) => Effect::Grant { reply_to },
        Err(why) => Effect::Refuse { reply_to, why },
    }));
}
