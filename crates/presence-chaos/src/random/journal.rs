//! What happened in a run, in order: what clients did, what they were told, and what was broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::fault::Kind;

/// The time since the run began.
pub(crate) type At = Duration;

/// One client of the run: a page or a program with one connection at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct VuId(pub(crate) u32);

/// One person; several virtual users may be theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct UserId(pub(crate) u32);

/// The number of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Room(pub(crate) u32);

/// What a virtual user puts into its meta, so that whoever sees it knows which join or update that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub(crate) vu: VuId,
    /// Which session of the virtual user; one that is resumed goes on.
    pub(crate) life: u32,
    /// Which join or update of the virtual user.
    pub(crate) number: u32,
}

/// What others see of a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Look {
    pub(crate) status: String,
    pub(crate) message: Option<String>,
}

/// A person in a list or a picture of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) look: Look,
    /// One for each session, where the dialect tells sessions apart.
    pub(crate) marks: BTreeSet<Mark>,
}

/// Everybody in a room, with how they are shown.
pub(crate) type People = BTreeMap<UserId, View>;

/// A status that somebody chooses. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// The chosen status: `online`, `away`, `busy` or `invisible`.
    pub(crate) status: Option<String>,
    pub(crate) message: Option<String>,
    /// In how many seconds status and message fall back; without it a new status has no end.
    pub(crate) clear_after: Option<u64>,
}

/// What a client asks for and is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Join(Room, Mark),
    Update(Room, Mark),
    Leave(Room),
    Choose(Choice),
}

/// The answer to what a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// It was refused; the code says why. `unavailable` means that it is unknown.
    Refused(String),
    /// The connection ended before there was an answer.
    Unknown,
    /// The client had no connection and did not ask.
    Away,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said goodbye (close code 1000).
    Goodbye,
    /// The client dropped the connection without a word.
    Vanished,
    /// The client stays connected and neither reads nor writes any more.
    HalfOpen,
    /// The connection ended by itself; how, in words.
    Lost(String),
}

/// One event of the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact {
    /// A step of the plan begins.
    Step(String),
    /// A virtual user begins to connect to a gateway.
    Connects(VuId, usize),
    /// A virtual user is connected to a gateway, with a session of that number; a restored one is in its rooms.
    Connected(VuId, usize, u32, bool),
    /// A virtual user could not connect.
    Refused(VuId, usize, String),
    /// The connection of a virtual user ended.
    Ended(VuId, End),
    /// A virtual user asked for something; the number ties the answer to it.
    Asked(VuId, u32, Ask),
    Answered(VuId, u32, Outcome),
    /// A virtual user was told everything about a room.
    Whole(VuId, Room, People),
    Joined(VuId, Room, UserId, View),
    Updated(VuId, Room, UserId, View),
    /// A virtual user was told that somebody left, and why, if the dialect says so.
    Left(VuId, Room, UserId, String),
    /// A virtual user was told how somebody is.
    Saw(VuId, UserId, Look),
    /// A gateway listed a room over HTTP; asked at that time.
    Listed(usize, Room, At, People),
    /// Redis had these marks in a room; asked at that time.
    Stored(Room, At, BTreeSet<Mark>),
    /// A gateway told over HTTP how somebody is; asked at that time.
    Told(usize, UserId, At, Look),
    /// Something was broken: the number ties its mending to it.
    Broken(usize, Kind),
    Mended(usize),
    /// The machine let this program wait for so long, up to now.
    Stalled(Duration),
}

impl UserId {
    /// The id of the user in the protocols.
    pub(crate) fn name(self) -> String {
        format!("u{}", self.0)
    }

    /// The user with this id; `None` if the run has made no such id.
    pub(crate) fn of(name: &str) -> Option<UserId> {
        name.strip_prefix('u')?.parse().ok().map(UserId)
    }
}

impl Room {
    /// The id of the channel in the protocols.
    pub(crate) fn name(self) -> String {
        format!("room:{}", self.0)
    }

    /// The room with this channel id; `None` if the run has made no such id.
    pub(crate) fn of(name: &str) -> Option<Room> {
        name.strip_prefix("room:")?.parse().ok().map(Room)
    }
}

impl Mark {
    /// Every mark in a text, such as a meta or the raw bytes of a record.
    pub(crate) fn all_in(text: &str) -> BTreeSet<Mark> {
        // The closing quote makes a mark that is cut off no mark.
        let pieces = text.split("\"mark\":\"").skip(1);
        let marks = pieces.filter_map(|rest| rest.split_once('"')?.0.parse().ok());
        marks.collect()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { vu, life, number } = self;
        write!(f, "s{}.{life}.{number}", vu.0)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Mark, ()> {
        let mut numbers = text.strip_prefix('s').ok_or(())?.split('.');
        let mut next = || numbers.next().and_then(|it| it.parse().ok()).ok_or(());
        Ok(Mark {
            vu: VuId(next()?),
            life: next()?,
            number: next()?,
        })
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            None => f.write_str(&self.status),
            Some(message) => write!(f, "{} {message:?}", self.status),
        }
    }
}

/// All facts of a run, each with its time.
pub(crate) struct Journal {
    start: Instant,
    facts: Mutex<Vec<(At, Fact)>>,
}

impl Journal {
    /// Starts an empty journal. The run begins now.
    pub(crate) fn start() -> Journal {
        Journal {
            start: Instant::now(),
            facts: Mutex::default(),
        }
    }

    /// The time since the run began.
    pub(crate) fn now(&self) -> At {
        self.start.elapsed()
    }

    /// Appends a fact with the current time.
    pub(crate) fn note(&self, fact: Fact) {
        let mut facts = self.facts();
        // With the lock, so that times are in order.
        let now = self.now();
        facts.push((now, fact));
    }

    /// Locks the journal and returns all facts so far.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Vec<(At, Fact)>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_they_stand() {
        let mark = Mark {
            vu: VuId(12),
            life: 1,
            number: 30,
        };
        let text = format!("\u{1}x{{\"mark\":\"{mark}\"}}\0{{\"mark\":\"s1.2");
        assert_eq!(Mark::all_in(&text), BTreeSet::from([mark]));
        assert_eq!("s1.x.3".parse::<Mark>(), Err(()));
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(UserId::of(&UserId(7).name()), Some(UserId(7)));
        assert_eq!(Room::of(&Room(3).name()), Some(Room(3)));
        assert_eq!(UserId::of("watcher1"), None);
    }
}
