//! Both machines of one node together, for tests and for embeddings that need no second core.

use crate::rosters::{self, Page, Rosters};
use crate::users::{self, Users};
use crate::{Limits, Timestamp, Timing, Topic, UserId};

/// A whole node: what its users do is written to its rosters at once.
#[derive(Debug)]
pub struct Node<A> {
    users: Users<A>,
    rosters: Rosters,
}

/// A fact for one of the two machines.
#[derive(Debug)]
pub enum Input<A> {
    /// Something happened to a user.
    User(UserId, users::Input<A>),
    /// Something happened in a place.
    Roster(rosters::Input<A>),
}

/// An effect of one of the two machines, those that one has on the other left out.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Of a user.
    User(UserId, users::Effect<A>),
    /// Of a place.
    Roster(rosters::Effect<A>),
}

impl<A> Node<A> {
    /// A node on which nobody is. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        Node {
            users: Users::new(timing, limits, seed),
            rosters: Rosters::new(timing, limits, seed),
        }
    }

    /// Takes one fact.
    pub fn handle(&mut self, now: Timestamp, input: Input<A>, out: &mut Vec<Effect<A>>) {
        match input {
            Input::User(user, input) => {
                let mut effects = Vec::new();
                self.users.handle(now, &user, input, &mut effects);
                for effect in effects {
                    self.pass_on(now, user.clone(), effect, out);
                }
            }
            Input::Roster(input) => self.place(now, input, out),
        }
        self.speak(now, out);
    }

    /// Ends what has run out by `now`. Calling it early or twice does nothing.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.users.expire(now, &mut effects);
        for (user, effect) in effects {
            self.pass_on(now, user, effect, out);
        }
        self.speak(now, out);
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let users = self.users.next_deadline();
        users.into_iter().chain(self.rosters.next_deadline()).min()
    }

    /// How many users have a session here.
    pub fn online(&self) -> usize {
        self.users.online()
    }

    /// How many channels have somebody in them.
    pub fn active_channels(&self) -> usize {
        self.rosters.active_channels()
    }

    /// Who is in `topic`: a page of them.
    pub fn list(&self, topic: &Topic, offset: usize, limit: usize) -> Page {
        self.rosters.list(topic, offset, limit)
    }

    /// Who is typing in `topic`.
    pub fn typing(&self, topic: &Topic) -> Vec<UserId> {
        self.rosters.typing(topic)
    }

    fn pass_on(
        &mut self,
        now: Timestamp,
        user: UserId,
        effect: users::Effect<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let input = match effect {
            users::Effect::Write {
                topic,
                session,
                entry,
            } => rosters::Input::Wrote {
                topic,
                session,
                entry,
            },
            users::Effect::Watch {
                topic,
                watcher,
                watching,
                have,
                asker,
            } => rosters::Input::Watched {
                topic,
                watcher,
                watching,
                before: None,
                have,
                asker,
            },
            users::Effect::Silence { topic, session } => {
                rosters::Input::Silenced { topic, session }
            }
            effect => return out.push(Effect::User(user, effect)),
        };
        self.place(now, input, out);
    }

    fn speak(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.rosters.expire(now, &mut effects);
        out.extend(effects.into_iter().map(Effect::Roster));
    }

    fn place(&mut self, now: Timestamp, input: rosters::Input<A>, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.rosters.handle(now, input, &mut effects);
        out.extend(effects.into_iter().map(Effect::Roster));
    }
}
