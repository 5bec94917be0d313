//! What happened to users lately: a ring of transitions, bounded in bytes, with an index by user and by channel.
//!
//! [`users::Effect::Record`](crate::users::Effect::Record) says what to push. A ring belongs to one shard of a node, so
//! pushing is never concurrent, and costs no allocation once the ring has its size.

mod recent;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::activity::Activity;
use crate::incarnation::Incarnation;
use crate::{ChannelId, Chosen, Reason, SessionId, Timestamp, UserId, Visible};

pub use recent::{
    FILTER_BYTES_MAX, FILTER_WORDS_MAX, FilterRefused, LOOKED_AT_MAX, Place, Placed, RECENT_MAX,
    Recent, RecentQuery,
};

/// One thing that happened to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When it happened, by the clock of the node that recorded it.
    pub at: Timestamp,
    /// The user to whom it happened.
    pub user: UserId,
    /// The session that it is about; `None` if it is about the user.
    pub session: Option<SessionId>,
    /// The channel that it is about, if it is about one.
    pub channel: Option<ChannelId>,
    /// What happened to the session, the user or the channel.
    pub what: TransitionKind,
    /// What caused it: a command, a timer, another node.
    pub cause: Cause,
}

/// What happened to a user or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionKind {
    /// Others were shown another status.
    Shown {
        /// The status before.
        from: Visible,
        /// The status from now on.
        to: Visible,
    },
    /// A session began.
    Began,
    /// A session went on in a new connection on the same node.
    Resumed,
    /// A session came from another node, and went on here.
    CameFrom(Incarnation),
    /// A session went on at another node.
    WentTo(Incarnation),
    /// A session that an earlier process of this node had is held for its client.
    Restored,
    /// A session lost its connection, and is held until this moment.
    Disconnected {
        /// When the session ends if its client does not come back.
        until: Timestamp,
    },
    /// A session ended.
    Ended(Reason),
    /// A session ended because its node, this incarnation, died. The node that removes its entries records that.
    NodeDied(Incarnation),
    /// Others were shown a session in a channel.
    Joined,
    /// Others were no longer shown a session in a channel.
    Left(Reason),
    /// A client reported how active its person is.
    Reported(Activity),
    /// The chosen status, its message, its emoji or its end changed.
    Chose(Chosen),
    /// The user was erased: the ring forgets everything about them, this transition included.
    Erased,
}

/// What made a transition happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client asked for it on its connection.
    Client,
    /// The user asked for it, over the HTTP API.
    Owner,
    /// A service asked for it, over the HTTP API.
    Service,
    /// The connection broke, without a close of either side.
    Broken,
    /// The client closed the connection without saying goodbye, as a reload of a page does.
    ClientClosed,
    /// The client was silent for too long.
    Silence,
    /// The gateway closed the connection because it stops.
    Drain,
    /// The gateway closed the connection because its token ended.
    TokenEnded,
    /// The gateway closed the connection because the client did not read.
    TooSlow,
    /// The gateway closed the connection because the client broke the protocol or its limits.
    Misuse,
    /// The user began to hide.
    Hid,
    /// The grace time ended, and the client was not back.
    GraceOver,
    /// A client in the background was not active for so long that it counts as idle.
    Background,
    /// The chosen status had an end, which came.
    Expiry,
    /// An operator ended the connection.
    Operator,
    /// The user was kicked.
    Kick,
    /// The user was erased.
    Erasure,
    /// The node of the session died.
    NodeLost,
    /// Another node did it, or the shared store says so.
    OtherNode,
    /// The gateway was started again, and restored it.
    Restart,
    /// The stored profile was read, and says so.
    ProfileRead,
}

impl Cause {
    /// The name of the cause in answers, such as `grace_over`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Client => "client",
            Cause::Owner => "owner",
            Cause::Service => "service",
            Cause::Broken => "connection_broken",
            Cause::ClientClosed => "client_closed",
            Cause::Silence => "silence",
            Cause::Drain => "drain",
            Cause::TokenEnded => "token_ended",
            Cause::TooSlow => "too_slow",
            Cause::Misuse => "misuse",
            Cause::Hid => "hid",
            Cause::GraceOver => "grace_over",
            Cause::Background => "background",
            Cause::Expiry => "expiry",
            Cause::Operator => "operator",
            Cause::Kick => "kick",
            Cause::Erasure => "erasure",
            Cause::NodeLost => "node_lost",
            Cause::OtherNode => "other_gateway",
            Cause::Restart => "restart",
            Cause::ProfileRead => "profile_read",
        }
    }
}

impl TransitionKind {
    /// The name of the transition in answers, such as `disconnected`.
    pub fn as_str(self) -> &'static str {
        match self {
            TransitionKind::Shown { .. } => "shown",
            TransitionKind::Began => "session_began",
            TransitionKind::Resumed => "session_resumed",
            TransitionKind::CameFrom(_) => "session_came",
            TransitionKind::WentTo(_) => "session_went",
            TransitionKind::Restored => "session_restored",
            TransitionKind::Disconnected { .. } => "disconnected",
            TransitionKind::Ended(_) | TransitionKind::NodeDied(_) => "session_ended",
            TransitionKind::Joined => "joined",
            TransitionKind::Left(_) => "left",
            TransitionKind::Reported(_) => "activity",
            TransitionKind::Chose(_) => "chose",
            TransitionKind::Erased => "erased",
        }
    }

    /// Why the session ended, or why it left the channel, if this is an end.
    pub fn reason(self) -> Option<Reason> {
        match self {
            TransitionKind::Ended(reason) | TransitionKind::Left(reason) => Some(reason),
            TransitionKind::NodeDied(_) => Some(Reason::NodeLost),
            _ => None,
        }
    }
}

/// The bytes that one transition counts for its places in the two indexes.
const INDEX_BYTES: usize = 96;
/// The position of an entry, counted from the first one that was ever pushed.
type Position = u64;

/// The transitions of one shard, oldest first. When it is full, the oldest are dropped.
#[derive(Debug)]
pub struct History {
    bytes_max: usize,
    /// How long a transition is kept at most.
    age_max: Option<Duration>,
    bytes: usize,
    entries: VecDeque<Entry>,
    /// The position of the oldest entry.
    first: Position,
    /// The position of the newest entry of each user.
    users: HashMap<UserId, Position>,
    /// The position of the newest entry of each channel.
    channels: HashMap<ChannelId, Position>,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    /// `None` after the user was erased.
    transition: Option<Transition>,
    /// The channel of the transition, which stays in the index after an erasure.
    channel: Option<ChannelId>,
    /// The entry of the same user before this one.
    user_before: Option<Position>,
    /// The entry of the same channel before this one.
    channel_before: Option<Position>,
    /// The bytes of the ring that the entry counts for.
    weight: usize,
}

impl Entry {
    fn weight(user: &UserId, channel: Option<&ChannelId>) -> usize {
        let channel = channel.map_or(0, |it| it.as_str().len());
        size_of::<Entry>() + INDEX_BYTES + user.as_str().len() + channel
    }
}

impl History {
    /// An empty ring that takes at most about `bytes_max` bytes of memory, and keeps nothing for longer than `age_max`.
    /// With 0 bytes it records nothing.
    pub fn new(bytes_max: usize, age_max: Option<Duration>) -> Self {
        History {
            bytes_max,
            age_max,
            bytes: 0,
            entries: VecDeque::new(),
            first: 0,
            users: HashMap::new(),
            channels: HashMap::new(),
        }
    }

    /// Adds what has just happened. [`TransitionKind::Erased`] removes everything about its user instead.
    pub fn push(&mut self, transition: Transition) {
        if transition.what == TransitionKind::Erased {
            return self.erase(&transition.user);
        }
        let weight = Entry::weight(&transition.user, transition.channel.as_ref());
        if weight > self.bytes_max {
            return;
        }
        self.expire(transition.at);
        while self.bytes + weight > self.bytes_max {
            self.drop_oldest();
        }
        self.make_room();
        let position = self.first + self.entries.len() as u64;
        let user_before = self.users.insert(transition.user.clone(), position);
        let channel = transition.channel.clone();
        let channel_before = channel
            .as_ref()
            .and_then(|it| self.channels.insert(it.clone(), position));
        self.entries.push_back(Entry {
            at: transition.at,
            transition: Some(transition),
            channel,
            user_before,
            channel_before,
            weight,
        });
        self.bytes += weight;
    }

    /// Drops the transitions that are older than the maximum age at `now`.
    pub fn expire(&mut self, now: Timestamp) {
        let Some(age_max) = self.age_max else {
            return;
        };
        while let Some(oldest) = self.entries.front()
            && oldest.at + age_max < now
        {
            self.drop_oldest();
        }
    }

    /// Grows the ring by a quarter if it is full, so that little memory is reserved and not used.
    fn make_room(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            let most = self.bytes_max / (size_of::<Entry>() + INDEX_BYTES) + 1;
            let more = (len / 4).max(64).min(most.saturating_sub(len).max(1));
            self.entries.reserve_exact(more);
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else {
            return;
        };
        let position = self.first;
        self.first += 1;
        self.bytes -= oldest.weight;
        if let Some(channel) = &oldest.channel
            && self.channels.get(channel) == Some(&position)
        {
            self.channels.remove(channel);
        }
        if let Some(Transition { user, .. }) = &oldest.transition
            && self.users.get(user) == Some(&position)
        {
            self.users.remove(user);
        }
    }

    /// The last transitions of `user`, newest first, at most `max`.
    pub fn of_user(&self, user: &UserId, max: usize) -> Vec<Transition> {
        let newest = self.users.get(user).copied();
        self.chain(newest, |it| it.user_before, max)
    }

    /// The last transitions of users in `channel`, newest first, at most `max`.
    pub fn of_channel(&self, channel: &ChannelId, max: usize) -> Vec<Transition> {
        let newest = self.channels.get(channel).copied();
        self.chain(newest, |it| it.channel_before, max)
    }

    fn chain(
        &self,
        newest: Option<Position>,
        before: impl Fn(&Entry) -> Option<Position>,
        max: usize,
    ) -> Vec<Transition> {
        let mut found = Vec::new();
        let mut next = newest;
        while let Some(entry) = next.and_then(|it| self.at(it)) {
            if found.len() == max {
                break;
            }
            found.extend(entry.transition.clone());
            next = before(entry);
        }
        found
    }

    fn at(&self, position: Position) -> Option<&Entry> {
        let index = position.checked_sub(self.first)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Removes everything about `user`.
    pub fn erase(&mut self, user: &UserId) {
        let mut next = self.users.remove(user);
        while let Some(position) = next {
            let Some(index) = position.checked_sub(self.first) else {
                break;
            };
            let Some(entry) = self.entries.get_mut(index as usize) else {
                break;
            };
            entry.transition = None;
            next = entry.user_before;
        }
        crate::shrink_after_burst(&mut self.users);
    }

    /// The number of transitions that it has.
    pub fn len(&self) -> usize {
        let entries = self.entries.iter();
        entries.filter(|it| it.transition.is_some()).count()
    }

    /// Whether it has no transitions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 64 * 1024;

    #[test]
    fn the_newest_come_first_and_each_index_has_its_own() {
        let mut history = History::new(ROOM, None);
        for n in 0..6 {
            let channel = (n % 2 == 0).then_some("room:1");
            history.push(joined(n, if n < 3 { "ann" } else { "bob" }, channel));
        }
        assert_eq!(times(&history.of_user(&user("ann"), 9)), [2, 1, 0]);
        assert_eq!(times(&history.of_user(&user("bob"), 2)), [5, 4]);
        assert_eq!(times(&history.of_channel(&channel("room:1"), 9)), [4, 2, 0]);
        assert_eq!(history.of_channel(&channel("room:2"), 9), []);
    }

    #[test]
    fn when_it_is_full_the_oldest_are_dropped_and_their_names_forgotten() {
        let mut history = History::new(ROOM, None);
        for n in 0..100_000 {
            let (id, room) = (format!("user-{n}"), format!("room:{n}"));
            history.push(joined(n, &id, Some(&room)));
            assert!(history.bytes <= ROOM);
        }
        let kept = history.len();
        assert!((100..1000).contains(&kept), "{kept}");
        assert_eq!((history.users.len(), history.channels.len()), (kept, kept));
        assert!(history.entries.capacity() <= kept * 2);
        assert_eq!(history.of_user(&user("user-1"), 9), []);
        let last = user("user-99999");
        assert_eq!(times(&history.of_user(&last, 9)), [99_999]);
    }

    #[test]
    fn an_erased_user_is_gone_from_both_indexes_and_others_stay() {
        let mut history = History::new(ROOM, None);
        for n in 0..6 {
            history.push(joined(n, ["ann", "bob"][n as usize % 2], Some("room:1")));
        }
        let erased = Transition {
            what: TransitionKind::Erased,
            ..joined(7, "ann", None)
        };
        history.push(erased);
        assert_eq!(history.of_user(&user("ann"), 9), []);
        let room = history.of_channel(&channel("room:1"), 9);
        assert!(room.iter().all(|it| it.user == user("bob")), "{room:?}");
        assert_eq!(times(&room), [5, 3, 1]);
        history.push(joined(8, "ann", Some("room:1")));
        assert_eq!(times(&history.of_user(&user("ann"), 9)), [8]);
        // An erased entry is dropped in its turn like any other.
        for n in 10..100_000 {
            history.push(joined(n, "eve", None));
        }
        assert_eq!(history.of_channel(&channel("room:1"), 9), []);
        assert_eq!((history.users.len(), history.channels.len()), (1, 0));
    }

    #[test]
    fn what_is_too_old_is_dropped_when_it_is_looked_at_or_something_new_comes() {
        let mut history = History::new(ROOM, Some(Duration::from_millis(10)));
        history.push(joined(1, "ann", Some("room:1")));
        history.push(joined(11, "bob", Some("room:1")));
        assert_eq!(history.len(), 2);
        history.push(joined(12, "eve", None));
        assert_eq!(history.of_user(&user("ann"), 9), []);
        assert_eq!(times(&history.of_channel(&channel("room:1"), 9)), [11]);
        history.expire(Timestamp::from_millis(100));
        assert!(history.is_empty() && history.users.is_empty());
    }

    #[test]
    fn with_no_room_it_records_nothing() {
        let mut history = History::new(0, None);
        history.push(joined(1, "ann", None));
        assert!(history.is_empty());
    }

    fn joined(at: u64, id: &str, room: Option<&str>) -> Transition {
        Transition {
            at: Timestamp::from_millis(at),
            user: user(id),
            session: Some(SessionId::from_u128(1)),
            channel: room.map(channel),
            what: TransitionKind::Joined,
            cause: Cause::Client,
        }
    }

    fn times(transitions: &[Transition]) -> Vec<u64> {
        transitions.iter().map(|it| it.at.as_millis()).collect()
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn channel(id: &str) -> ChannelId {
        ChannelId::new(id).unwrap()
    }
}
