//! What watchers are told. One event serves every watcher of a topic: nothing in it depends on who reads it.

use std::fmt;
use std::sync::Arc;

use crate::{
    ChannelId, Chosen, DeviceId, DeviceKind, Look, Payload, Person, Reason, SessionId, Timestamp,
    UserId, Visible, WorkspaceId,
};

/// A place with a roster: what can be joined.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A place people go to.
    Channel(ChannelId),
    /// A tenant: everyone of it who is online.
    Workspace(WorkspaceId),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Channel(channel) => write!(f, "channel {channel}"),
            Topic::Workspace(workspace) => write!(f, "workspace {workspace}"),
        }
    }
}

/// Which state of a topic. Versions of one epoch follow each other by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Changes when counting starts anew.
    pub epoch: u64,
    /// Grows by one with each change that is told.
    pub version: u64,
}

/// How a watcher wants to see a roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watching {
    /// Everyone, as long as the room is not too big.
    #[default]
    Full,
    /// The same, and with each change everyone once more: for those whose clients keep no list.
    Whole,
    /// A count and some faces.
    Summary,
}

/// Something a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The whole state of a roster.
    Everyone {
        /// Of which topic.
        topic: Topic,
        /// Which state.
        clock: Clock,
        /// Everyone, in the order they came.
        people: Vec<Arc<Person>>,
        /// Who is typing.
        typing: Vec<UserId>,
        /// Who points where.
        cursors: Vec<Cursor>,
    },
    /// The watcher's picture is right. What has no version is told anyway.
    Unchanged {
        /// Of which topic.
        topic: Topic,
        /// Which state.
        clock: Clock,
        /// Who is typing.
        typing: Vec<UserId>,
        /// Who points where.
        cursors: Vec<Cursor>,
    },
    /// Nobody was there, and somebody has come: versions are counted from the start, and the changes that say who follow.
    Anew {
        /// Of which topic.
        topic: Topic,
        /// The state in which nobody is there.
        clock: Clock,
    },
    /// What changed in one tick: never empty.
    Changes {
        /// In which topic.
        topic: Topic,
        /// The version that this makes.
        clock: Clock,
        /// One per person.
        changes: Vec<Change>,
        /// Everyone who is there now, in the order they came; only where somebody watches the whole.
        everyone: Option<Vec<Arc<Person>>>,
    },
    /// A big room.
    Summary {
        /// Which.
        topic: Topic,
        /// Which state.
        clock: Clock,
        /// How many people are in it, exactly.
        count: usize,
        /// The first of them.
        faces: Vec<Arc<Person>>,
    },
    /// Somebody started or stopped typing.
    Typing {
        /// Where.
        topic: Topic,
        /// Everyone who is typing now, up to the limit.
        typing: Vec<UserId>,
        /// Who started in this tick.
        started: Vec<UserId>,
        /// Who stopped in this tick.
        stopped: Vec<UserId>,
    },
    /// Cursors moved in this tick.
    Cursors {
        /// Where.
        topic: Topic,
        /// Where they are now.
        cursors: Vec<Cursor>,
        /// Of each of them whose it is and what is new, in the same order.
        moves: Vec<Move>,
        /// The aliases of sessions that point no more.
        gone: Vec<SessionId>,
    },
    /// Somebody told the channel something.
    Broadcast {
        /// Which channel.
        topic: Topic,
        /// What kind of thing.
        event: Arc<str>,
        /// The thing.
        payload: Payload,
        /// Who.
        user: UserId,
        /// Through which session. Nobody is shown this.
        session: SessionId,
        /// What others are shown as its id.
        alias: SessionId,
    },
    /// What others see of a user.
    Face(Face),
    /// What a user sees of themselves.
    Own(Owned),
    /// The node has lost the others, or has found them again. Meanwhile it shows them as they were.
    Alone {
        /// Whether it has lost them.
        is_alone: bool,
    },
}

/// What became of a person in a roster.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// They came.
    Joined(Arc<Person>),
    /// Something about them is different.
    Updated {
        /// How they were when that was last told.
        from: Arc<Person>,
        /// How they are.
        to: Arc<Person>,
    },
    /// They are gone.
    Left {
        /// Who, as they were when that was last told.
        person: Arc<Person>,
        /// Why.
        reason: Reason,
    },
}

/// Where a session points, and what it has selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Which session. Nobody is shown this.
    pub session: SessionId,
    /// What others are shown as its id.
    pub alias: SessionId,
    /// Whose.
    pub user: UserId,
    /// Where it points, once it has pointed anywhere.
    pub pointer: Option<Pointer>,
    /// What it has selected.
    pub selection: Option<Selection>,
}

/// What is new of a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Whose it is.
    pub person: Arc<Person>,
    /// Whether it pointed, be it to where it was.
    pub pointed: bool,
    /// Whether something else is selected.
    pub selected: bool,
}

/// A position, in coordinates that the application chose. Finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pointer {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
    /// Whether to draw it.
    pub visible: bool,
}

/// A range of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Its first position.
    pub start: u64,
    /// The position behind its last.
    pub end: u64,
}

/// What others see of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Who.
    pub user: UserId,
    /// Which state.
    pub clock: Clock,
    /// How they look.
    pub look: Arc<Look>,
    /// While offline: when they were last seen, if ever.
    pub last_seen: Option<Timestamp>,
    /// On what they are here, each kind once.
    pub devices: Vec<DeviceKind>,
}

/// What a user sees of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    /// Who.
    pub user: UserId,
    /// What they chose.
    pub chosen: Chosen,
    /// What others are shown.
    pub shown: Visible,
    /// Their custom message.
    pub message: Option<Arc<str>>,
    /// Their emoji.
    pub emoji: Option<Arc<str>>,
    /// When status, message and emoji end.
    pub expires_at: Option<Timestamp>,
    /// Which change of their status this is.
    pub revision: u64,
    /// When others last saw them; now, if they can be seen.
    pub last_seen: Option<Timestamp>,
    /// Their devices.
    pub devices: Vec<OwnedDevice>,
    /// The sessions on this node that others are shown under another id, each with that.
    pub aliases: Vec<(SessionId, SessionId)>,
}

impl Owned {
    /// What others are shown as the id of `session`.
    pub fn alias_of(&self, session: SessionId) -> SessionId {
        let mut aliases = self.aliases.iter();
        let found = aliases.find(|(it, _)| *it == session);
        found.map_or(session, |(_, alias)| *alias)
    }
}

/// A device, as its owner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedDevice {
    /// Which.
    pub id: DeviceId,
    /// How many sessions it has.
    pub sessions: usize,
    /// Whether the most active of them is active, idle or hidden.
    pub activity: crate::users::Activity,
    /// When it was last heard from.
    pub heard_at: Timestamp,
}

impl Event {
    /// About how many bytes it is in memory or on a wire; what bounded queues count.
    pub fn weight(&self) -> usize {
        const HEAD: usize = 128;
        const NAME: usize = 48;
        const CURSOR: usize = 96;
        let people =
            |people: &[Arc<Person>]| -> usize { people.iter().map(|it| it.weight()).sum() };
        HEAD + match self {
            Event::Everyone {
                people: all,
                typing,
                cursors,
                ..
            } => people(all) + typing.len() * NAME + cursors.len() * CURSOR,
            Event::Unchanged {
                typing, cursors, ..
            } => typing.len() * NAME + cursors.len() * CURSOR,
            Event::Changes {
                changes, everyone, ..
            } => {
                let changes = changes.iter().map(|change| match change {
                    Change::Joined(person) | Change::Updated { to: person, .. } => person.weight(),
                    Change::Left { .. } => NAME,
                });
                // Of everyone no more than their faces is told.
                let faces = everyone.as_ref().map_or(0, |it| it.len() * NAME);
                changes.sum::<usize>() + faces
            }
            Event::Summary { faces, .. } => people(faces),
            Event::Typing {
                typing,
                started,
                stopped,
                ..
            } => (typing.len() + started.len() + stopped.len()) * NAME,
            Event::Cursors { cursors, gone, .. } => (cursors.len() + gone.len()) * CURSOR,
            Event::Broadcast { event, payload, .. } => event.len() + payload.json().len(),
            Event::Face(_) | Event::Own(_) => 2 * HEAD,
            Event::Anew { .. } | Event::Alone { .. } => 0,
        }
    }
}

impl Person {
    /// About how many bytes they are in memory or on a wire.
    pub fn weight(&self) -> usize {
        let members = self.members.iter();
        192 + members.map(|it| 128 + it.meta.json().len()).sum::<usize>()
    }
}
