//! Both state machines of one node together, for tests and for programs that need only one core.

use crate::cluster::nodes::{self, Nodes};
use std::time::Duration;

use crate::cluster::{News, Reply, Request, Subject};
use crate::explain::{RoomReport, UserReport};
use crate::ports::SessionChange;
use crate::rosters::{self, Page, Rosters};
use crate::users::{self, Users};
use crate::{ChannelId, Limits, Timestamp, Timing, Topic, UserId};

/// A whole node. What its users do is written to its rosters at once.
#[derive(Debug)]
pub struct Node<A> {
    users: Users<A>,
    rosters: Rosters,
    /// The leases, if this is one of several nodes.
    nodes: Option<Nodes>,
}

/// An input for one of the state machines of the node.
#[derive(Debug)]
pub enum Input<A> {
    /// Something happened to a user.
    User(UserId, users::Input<A>),
    /// Something happened in a channel or a workspace.
    Roster(rosters::Input<A>),
    /// The store that nodes share answered, or announced a change.
    Stored(Subject, Reply),
    /// A request about leases was answered.
    Leases(nodes::Input),
    /// The partition of the store with this number may have lost data.
    Forgot(u16),
    /// The process did not run for a while, for example because the machine slept.
    Woke {
        /// When it last ran, by this node's clock.
        since: Timestamp,
    },
}

/// An effect of one of the state machines. The effects of one machine on the other are not among them: the node
/// performs those itself.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// An effect about this user.
    User(UserId, users::Effect<A>),
    /// An effect about a channel or a workspace.
    Roster(rosters::Effect<A>),
    /// Send a request to the store that nodes share.
    Ask(Request),
    /// Send a request about leases to the store. Effects that are meant [for every machine](News) of this node are not
    /// among these: the node applies them itself.
    Leases(nodes::Effect),
}

impl<A> Node<A> {
    /// A node without users. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        Node {
            users: Users::new(timing, limits, seed),
            rosters: Rosters::new(timing, limits, seed),
            nodes: None,
        }
    }

    /// One of several nodes that share a store. `seed` is a random number that no other node has.
    pub fn of_cluster(now: Timestamp, timing: Timing, limits: Limits, seed: u64) -> Self {
        let mut node = Node::new(timing, limits, seed);
        let nodes = Nodes::new(now, seed);
        node.users.join_cluster(nodes.me());
        node.rosters.join_cluster(nodes.me());
        node.nodes = Some(nodes);
        node
    }

    /// Lets the node emit what is to be remembered of its sessions: see [`Users::keep_sessions`].
    pub fn keep_sessions(&mut self) {
        self.users.keep_sessions();
    }

    /// Lets the node emit what is to be recorded: see [`Users::record_history`].
    pub fn record_history(&mut self) {
        self.users.record_history();
    }

    /// Lets the node emit an effect whenever others see a user differently: see [`Users::announce_looks`].
    pub fn announce_looks(&mut self) {
        self.users.announce_looks();
    }

    /// What the node knows of a user: see [`Users::report`].
    pub fn report(&self, now: Timestamp, user: &UserId) -> UserReport {
        self.users.report(now, user)
    }

    /// What the node knows of a channel: see [`Rosters::report`].
    pub fn report_channel(&self, channel: &ChannelId) -> RoomReport {
        self.rosters.report(channel)
    }

    /// Everything that is to be remembered of the sessions: see [`Users::kept_sessions`].
    pub fn kept_sessions(&self, now: Timestamp) -> Vec<SessionChange> {
        self.users.kept_sessions(now)
    }

    /// Announces the sessions that were restored: see [`Rosters::tell_at_once`].
    pub fn tell_at_once(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.rosters.tell_at_once(now, &mut effects);
        out.extend(effects.into_iter().map(of_roster));
    }

    /// Notes how many things wait on this node: see [`Rosters::note_backlog`].
    pub fn note_backlog(&mut self, waiting: usize) {
        self.rosters.note_backlog(waiting);
    }

    /// Keeps sessions without a connection for `span`: see [`Users::hold`].
    pub fn hold(&mut self, now: Timestamp, span: Duration) {
        self.users.hold(now, span);
    }

    /// Whether this node may write to the store: see [`Nodes::may_write`].
    pub fn may_write(&self, now: Timestamp) -> bool {
        self.nodes.as_ref().is_some_and(|it| it.may_write(now))
    }

    /// The partitions of the store in which this node finishes what others have begun: see [`Nodes::partitions`].
    pub fn partitions(&self, now: Timestamp) -> Vec<u16> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|it| it.partitions(now)).collect()
    }

    /// Applies `input` at time `now` and appends the resulting effects to `out`, to be performed in this order.
    ///
    /// `now` must not go back from call to call. Nothing fails: a request that is not granted is an effect that refuses it.
    /// [`next_deadline`](Self::next_deadline) says until when nothing happens without another input.
    ///
    /// ```
    /// use presence_core::node::{Effect, Input, Node};
    /// use presence_core::{DeviceId, Limits, SessionId, Timestamp, Timing, UserId, users};
    ///
    /// let mut node: Node<&str> = Node::new(Timing::default(), Limits::default(), 7);
    /// let mut out = Vec::new();
    /// let connected = users::Input::Connected {
    ///     session: SessionId::from_u128(1 << 100),
    ///     resume: None,
    ///     fingerprint: None,
    ///     device: DeviceId::new("web:laptop")?,
    ///     workspaces: Vec::new(),
    ///     card: Default::default(),
    ///     origin: None,
    ///     reply_to: "ann's socket",
    /// };
    /// let now = Timestamp::from_millis(1_764_000_000_000);
    /// node.handle(now, Input::User(UserId::new("ann")?, connected), &mut out);
    /// // The node has to know whether Ann hides before anything else.
    /// assert!(matches!(out[..], [Effect::User(_, users::Effect::Load)]));
    /// # Ok::<(), presence_core::IdError>(())
    /// ```
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
            Input::Stored(Subject::User(user), reply) => {
                let input = users::Input::Stored(reply);
                return self.handle(now, Input::User(user, input), out);
            }
            Input::Stored(Subject::Topic(topic), reply) => {
                self.place(now, rosters::Input::Stored { topic, reply }, out);
            }
            // What nodes ask each other is for the caller to answer.
            Input::Stored(Subject::Node(_), _) => {}
            Input::Leases(input) => {
                let mut effects = Vec::new();
                if let Some(nodes) = &mut self.nodes {
                    nodes.handle(now, input, &mut effects);
                }
                self.obey(now, effects, out);
            }
            Input::Forgot(partition) => {
                if let Some(nodes) = &mut self.nodes {
                    nodes.handle(now, nodes::Input::Troubled, &mut Vec::new());
                }
                self.spread(now, News::Invalidate(Some(partition)), out);
            }
            Input::Woke { since } => self.spread(now, News::Woke { since }, out),
        }
        self.speak(now, out);
    }

    /// Ends what has expired by `now`. Calling it early or twice does nothing.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.users.expire(now, &mut effects);
        for (user, effect) in effects {
            self.pass_on(now, user, effect, out);
        }
        let mut effects = Vec::new();
        if let Some(nodes) = &mut self.nodes {
            nodes.expire(now, &mut effects);
        }
        self.obey(now, effects, out);
        self.speak(now, out);
    }

    /// When to call [`expire`](Self::expire) next; `None` if nothing is going to expire.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let users = self.users.next_deadline();
        let nodes = self.nodes.as_ref().and_then(Nodes::next_deadline);
        let rosters = self.rosters.next_deadline();
        users.into_iter().chain(rosters).chain(nodes).min()
    }

    /// How many users with a session here can be seen.
    pub fn online(&self) -> usize {
        self.users.online()
    }

    /// How many channels have somebody in them.
    pub fn active_channels(&self) -> usize {
        self.rosters.active_channels()
    }

    /// A page of the people in `topic`: at most `limit`, after the first `offset`.
    pub fn list(&self, topic: &Topic, offset: usize, limit: usize) -> Page {
        self.rosters.list(topic, offset, limit)
    }

    /// The users who are typing in `topic`, at most [`Limits::typing_max`].
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
                is_shared,
            } => rosters::Input::Wrote {
                topic,
                session,
                entry,
                is_shared,
            },
            users::Effect::Watch {
                topic,
                watcher,
                watching,
                have,
                reply_to,
            } => rosters::Input::Watched {
                topic,
                watcher,
                watching,
                before: None,
                have,
                reply_to,
            },
            users::Effect::Silence { topic, session } => {
                rosters::Input::Silenced { topic, session }
            }
            users::Effect::Ask(request) => return out.push(Effect::Ask(request)),
            effect => return out.push(Effect::User(user, effect)),
        };
        self.place(now, input, out);
    }

    fn speak(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.rosters.expire(now, &mut effects);
        out.extend(effects.into_iter().map(of_roster));
    }

    fn obey(&mut self, now: Timestamp, effects: Vec<nodes::Effect>, out: &mut Vec<Effect<A>>) {
        for effect in effects {
            match effect {
                nodes::Effect::Become(me) => self.spread(now, News::Become(me), out),
                nodes::Effect::Lost(who) => self.spread(now, News::Lost(who), out),
                nodes::Effect::Invalidate => self.spread(now, News::Invalidate(None), out),
                nodes::Effect::StoredUpTo(until) => self.spread(now, News::StoredUpTo(until), out),
                nodes::Effect::StoreAhead(ms) => self.spread(now, News::StoreAhead(ms), out),
                nodes::Effect::Away(is_away) => {
                    let since = (!is_away).then_some(now);
                    self.spread(now, News::Reached(since), out);
                    out.push(Effect::Leases(effect));
                }
                effect => out.push(Effect::Leases(effect)),
            }
        }
    }

    fn spread(&mut self, now: Timestamp, news: News, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.users.hear_news(now, news, &mut effects);
        for (user, effect) in effects {
            self.pass_on(now, user, effect, out);
        }
        let mut effects = Vec::new();
        self.rosters.hear_news(now, news, &mut effects);
        out.extend(effects.into_iter().map(of_roster));
    }

    fn place(&mut self, now: Timestamp, input: rosters::Input<A>, out: &mut Vec<Effect<A>>) {
        let mut effects = Vec::new();
        self.rosters.handle(now, input, &mut effects);
        out.extend(effects.into_iter().map(of_roster));
    }
}

fn of_roster<A>(effect: rosters::Effect<A>) -> Effect<A> {
    match effect {
        rosters::Effect::Ask(request) => Effect::Ask(request),
        effect => Effect::Roster(effect),
    }
}
