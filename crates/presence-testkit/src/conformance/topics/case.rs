//! One clause of the contract, with two nodes and names that nobody else uses.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use presence_core::cluster::{Incarnation, Subject};
use presence_core::ports::Topics;
use presence_core::{ChannelId, SessionId, Topic, WorkspaceId};

use super::make;
use super::node::Node;

/// One clause of the contract: two nodes, and names that nobody else uses.
pub(super) struct Case<T> {
    pub(super) clause: &'static str,
    pub(super) here: Node<T>,
    pub(super) there: Node<T>,
    random: RandomState,
    drawn: AtomicU64,
}

impl<T: Topics> Case<T> {
    pub(super) fn new(clause: &'static str, links: &[Arc<T>; 2]) -> Self {
        let random = RandomState::new();
        let node = |link: &Arc<T>, n: u8| {
            let me = Incarnation {
                node: random.hash_one(n),
                generation: 1,
            };
            Node::new(clause, Arc::clone(link), me)
        };
        Case {
            clause,
            here: node(&links[0], 0),
            there: node(&links[1], 1),
            random,
            drawn: AtomicU64::new(0),
        }
    }

    /// A number that nobody else has drawn.
    pub(super) fn random(&self) -> u64 {
        self.random
            .hash_one(self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    /// An incarnation of a node that is not here.
    pub(super) fn stranger(&self) -> Incarnation {
        Incarnation {
            node: self.random(),
            generation: 1,
        }
    }

    pub(super) fn session(&self) -> SessionId {
        SessionId::from_u128(u128::from(self.random()) << 64 | u128::from(self.random()))
    }

    /// A user that nobody else writes.
    pub(super) fn user(&self) -> Subject {
        Subject::User(make::user(&format!("user:{:016x}", self.random())))
    }

    /// A channel that nobody else writes.
    pub(super) fn place(&self) -> Subject {
        let channel = ChannelId::new(&format!("room:{:016x}", self.random()));
        Subject::Topic(Topic::Channel(channel.expect("it is made of hex digits")))
    }

    /// A workspace that nobody else writes.
    pub(super) fn workspace(&self) -> Subject {
        let workspace = WorkspaceId::new(&format!("acme:{:016x}", self.random()));
        Subject::Topic(Topic::Workspace(
            workspace.expect("it is made of hex digits"),
        ))
    }

    /// A channel in the same partition as `subject`: a node hears of both in the order in which they change.
    pub(super) fn neighbour(&self, subject: &Subject) -> Subject {
        loop {
            let place = self.place();
            if place.partition() == subject.partition() {
                return place;
            }
        }
    }

    /// Checks that `told`, what a node was told of something, is what was meant.
    #[track_caller]
    pub(super) fn same<V: Debug + PartialEq>(&self, what: &str, told: V, meant: V) {
        assert!(
            told == meant,
            "{}: {what}: told was {told:#?} where {meant:#?} was meant",
            self.clause
        );
    }

    /// Checks that a condition holds; `otherwise` describes what is wrong if it does not.
    #[track_caller]
    pub(super) fn holds(&self, holds: bool, otherwise: &str) {
        assert!(holds, "{}: {otherwise}", self.clause);
    }
}
