//! What watchers are told. One event serves every watcher of a topic, so nothing in an event depends on who reads it.

use std::fmt;
use std::sync::Arc;

use crate::words::words;
use crate::{
    ChannelId, Chosen, DeviceId, DeviceKind, Look, Outsider, Payload, Person, Reason, SessionId,
    Timestamp, UserId, Visible, WorkspaceId,
};

/// What has a roster and can be watched: a channel or a workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Topic {
    /// A place that sessions join and leave, such as a chat room, a document or a page.
    Channel(ChannelId),
    /// A tenant: its roster lists every visible user with a session in that workspace.
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

/// The version of a state: of what this node tells about a topic or a user, or of a map in the shared store. It is a
/// number within an epoch. Versions of different epochs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TopicVersion {
    /// The epoch that the version belongs to: an opaque number, and another one each time that versions are counted
    /// from the start.
    pub epoch: u64,
    /// Grows with each announced change. Successive [`Event::Changes`] of one epoch have successive versions, so a gap
    /// means that an event was lost.
    pub version: u64,
}

/// How much a watcher is told about a roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watching {
    /// Everyone, then each change. A room that is too big to list is summarised.
    #[default]
    Full,
    /// The same as `Full`, and each change also carries everyone: for clients that keep no list themselves.
    Whole,
    /// An exact count and the first people, at most once a second.
    Summary,
}

words!(Watching is a "mode of watching": Full = "full", Whole = "whole", Summary = "summary");

/// Something that a session is told: about a topic or a user that it watches, about its own user, or about this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The whole state of a topic: it replaces everything that the watcher knew of the topic.
    ///
    /// A watcher gets it after it began to watch, unless it still had a version from which this node can send the
    /// missing changes (see [`Event::Unchanged`]). All watchers of the topic may get it again after a big room has
    /// become small enough to list. It shows the topic as all watchers were last told, so the next [`Event::Changes`]
    /// apply to it.
    ///
    /// A room is summarised instead ([`Event::Summary`]) while it has more than
    /// [`Limits::listed_max`](crate::Limits::listed_max) people, or while its list would take more than 1 MiB.
    ///
    /// ```text
    /// Everyone in channel room:42, version 7: Ann (2 sessions), Bob; Bob is typing   replaces what the watcher knew
    /// Changes  in channel room:42, version 8: Joined(Eve)                            follows it
    /// Changes  in channel room:42, version 10: …                                     version 9 was lost: watch again
    /// ```
    ///
    /// What a client that keeps a list makes of it:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use presence_core::{Change, TopicVersion, Event, Person};
    ///
    /// /// Returns false if changes are missing: then watch again.
    /// fn apply(have: &mut Option<TopicVersion>, list: &mut Vec<Arc<Person>>, event: &Event) -> bool {
    ///     match event {
    ///         Event::Everyone { clock, people, .. } => {
    ///             *list = people.clone();
    ///             *have = Some(*clock);
    ///         }
    ///         Event::Changes { clock, changes, .. } => {
    ///             let version = clock.version - 1;
    ///             if *have != Some(TopicVersion { version, ..*clock }) {
    ///                 return false;
    ///             }
    ///             for change in changes {
    ///                 let (gone, new) = match change {
    ///                     Change::Joined(person) => (None, Some(person)),
    ///                     Change::Updated { from, to } => (Some(from), Some(to)),
    ///                     Change::Left { person, .. } => (Some(person), None),
    ///                 };
    ///                 list.retain(|it| Some(&it.user) != gone.map(|it| &it.user));
    ///                 list.extend(new.cloned());
    ///             }
    ///             *have = Some(*clock);
    ///         }
    ///         _ => {}
    ///     }
    ///     true
    /// }
    /// # let clock = |version| TopicVersion { epoch: 1, version };
    /// # let topic = presence_core::Topic::Channel("room:42".parse().unwrap());
    /// # let (mut have, mut list) = (None, Vec::new());
    /// # let all = Event::Everyone { topic: topic.clone(), clock: clock(7), people: vec![], typing: vec![], cursors: vec![] };
    /// # assert!(apply(&mut have, &mut list, &all));
    /// # let later = |version| Event::Changes { topic: topic.clone(), clock: clock(version), changes: vec![], everyone: None };
    /// # assert!(apply(&mut have, &mut list, &later(8)) && !apply(&mut have, &mut list, &later(10)));
    /// ```
    Everyone {
        /// The topic that this is the state of.
        topic: Topic,
        /// The version of this state. Changes that apply to it have the same epoch and the next version.
        clock: TopicVersion,
        /// Everyone in the topic, ordered by when they joined.
        people: Vec<Arc<Person>>,
        /// Everyone who is typing. They are as few as the people of a room that is listed.
        typing: Vec<UserId>,
        /// All cursors in the channel. They are as few as the sessions of a room that is listed.
        cursors: Vec<Cursor>,
    },
    /// The watcher is up to date: it had this version, or has just been sent the changes that it missed. Typing and
    /// cursors have no version, so they are always sent.
    Unchanged {
        /// The topic that the watcher is up to date with.
        topic: Topic,
        /// The version that the watcher has now.
        clock: TopicVersion,
        /// Everyone who is typing. They are as few as the people of a room that is listed.
        typing: Vec<UserId>,
        /// All cursors in the channel. They are as few as the sessions of a room that is listed.
        cursors: Vec<Cursor>,
    },
    /// A topic that was empty is about to have people again: its versions are counted from the start, in a new epoch.
    /// The changes that say who has come follow.
    EpochStarted {
        /// The topic whose versions start again.
        topic: Topic,
        /// The version of the empty topic, in the new epoch. The changes that follow have the next one.
        clock: TopicVersion,
    },
    /// What changed since the last event: never empty.
    Changes {
        /// The topic that changed.
        topic: Topic,
        /// The version after these changes.
        clock: TopicVersion,
        /// The changes, at most one for each person.
        changes: Vec<Change>,
        /// Everyone who is in the topic now, ordered by when they joined. It is sent only while somebody watches the
        /// topic with [`Watching::Whole`].
        everyone: Option<Vec<Arc<Person>>>,
    },
    /// The state of a topic for those who asked for a summary, and for everybody while the room is too big to list.
    Summary {
        /// The topic that is summarised.
        topic: Topic,
        /// The version of this state.
        clock: TopicVersion,
        /// The exact number of people in the topic.
        count: usize,
        /// The people who joined first, each with their newest session
        /// only; at most [`Limits::faces_max`](crate::Limits::faces_max).
        sample: Vec<Arc<Person>>,
    },
    /// The rows of a window that a session opened or moved, or whose changes it has lost: they replace those that it had.
    Window {
        /// The topic that the window is open on.
        topic: Topic,
        /// The number that the session gave the window.
        number: u32,
        /// The exact number of people in the topic.
        count: usize,
        /// The people in the window, in its order; each with at most [`ROW_SESSIONS_MAX`](crate::ROW_SESSIONS_MAX) of
        /// their sessions.
        rows: Vec<Arc<Person>>,
    },
    /// What has changed in a window. The new rows are the old ones without those in `gone` and without everybody who is in
    /// `rows`, who are then put in one after the other, each at their place.
    WindowChanges {
        /// The topic that the window is open on.
        topic: Topic,
        /// The number that the session gave the window.
        number: u32,
        /// The exact number of people in the topic, if it is told again: at most once in
        /// [`Timing::TICK_MAX`](crate::Timing::TICK_MAX).
        count: Option<usize>,
        /// Who is in the window no more: they left the topic, or have another place in it.
        gone: Vec<UserId>,
        /// Who is new in the window or has changed, in the order of their places.
        rows: Vec<Row>,
    },
    /// Users started or stopped typing in a channel.
    Typing {
        /// The channel that they type in.
        topic: Topic,
        /// All users who are typing now, at most [`Limits::typing_max`](crate::Limits::typing_max).
        typing: Vec<UserId>,
        /// The users who started since the last event, at most `typing_max`; the others follow in the next ones.
        started: Vec<UserId>,
        /// The users who stopped since the last event, at most `typing_max`; the others follow in the next ones.
        stopped: Vec<UserId>,
    },
    /// Cursors moved or disappeared in a channel. A session is not told about its own cursor.
    Cursors {
        /// The channel that the cursors are in.
        topic: Topic,
        /// The cursors that moved, as they are now; at most [`Limits::cursors_max`](crate::Limits::cursors_max).
        cursors: Vec<Cursor>,
        /// What is new about each of `cursors`, in the same order.
        moves: Vec<Move>,
        /// The aliases of sessions that point no more.
        gone: Vec<SessionId>,
    },
    /// A session or a service sent a message to a channel.
    Broadcast {
        /// The channel that the message was sent to.
        topic: Topic,
        /// The name of the event, as the sender chose it; at most [`EVENT_BYTES_MAX`](crate::EVENT_BYTES_MAX) bytes.
        event: Arc<str>,
        /// The content of the message, which may be empty.
        payload: Payload,
        /// The user who sent it.
        user: UserId,
        /// Through what they sent it.
        sender: Sender,
    },
    /// How others see a user. Those who watch the user are told this.
    PublicView(PublicView),
    /// How a user sees themselves. The user's own sessions are told this.
    OwnView(OwnView),
    /// The shared store does not answer this node, or answers again. In between this node shows the people of other
    /// nodes as they last were.
    StoreAway {
        /// Whether the store does not answer.
        is_away: bool,
    },
}

/// Through what a user sent a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A session that is in the channel.
    Session {
        /// The session. Nobody is shown this.
        session: SessionId,
        /// What others are shown as its id.
        alias: SessionId,
    },
    /// A service that is in no channel.
    Service {
        /// The service that sent the broadcast.
        outsider: Outsider,
        /// The tag of the node through which it spoke.
        node: u32,
    },
}

impl Sender {
    /// The session, if it is one.
    pub fn session(self) -> Option<SessionId> {
        match self {
            Sender::Session { session, .. } => Some(session),
            Sender::Service { .. } => None,
        }
    }

    /// The service, if it is one.
    pub fn outsider(self) -> Option<Outsider> {
        match self {
            Sender::Session { .. } => None,
            Sender::Service { outsider, .. } => Some(outsider),
        }
    }

    /// What others are shown as the id of the session through which the broadcast was sent.
    pub fn shown_as(self) -> SessionId {
        match self {
            Sender::Session { alias, .. } => alias,
            Sender::Service { outsider, node } => outsider.shown_as(node),
        }
    }
}

/// A row of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The place of the row in the window, from 0.
    pub at: usize,
    /// The person as they are now; with at most [`ROW_SESSIONS_MAX`](crate::ROW_SESSIONS_MAX) of their sessions.
    pub person: Arc<Person>,
}

/// What happened to a person in a roster.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The person is new in the topic.
    Joined(Arc<Person>),
    /// The person is still in the topic, and looks different, or has other sessions or another meta there.
    Updated {
        /// The person as the watchers were last told.
        from: Arc<Person>,
        /// The person as they are now.
        to: Arc<Person>,
    },
    /// The person is no longer in the topic.
    Left {
        /// The person as the watchers were last told.
        person: Arc<Person>,
        /// The reason for which the last of their sessions left.
        reason: Reason,
    },
}

/// The cursor of one session: where it points, and what it has selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The id of the session. Nobody is shown this.
    pub session: SessionId,
    /// The id of the session that others are shown.
    pub alias: SessionId,
    /// The user of the session.
    pub user: UserId,
    /// The last position that the session pointed at; `None` until it has pointed.
    pub pointer: Option<Pointer>,
    /// The range of text that the session has selected; `None` where nothing is selected.
    pub selection: Option<Selection>,
}

/// What is new about a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The person whose cursor it is.
    pub person: Arc<Person>,
    /// Whether the session pointed, even if at the same position.
    pub pointed: bool,
    /// Whether the selection is different.
    pub selected: bool,
}

/// A position in a unit and a coordinate system that the application chooses. Both numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pointer {
    /// The distance from the left edge.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "finite"))]
    pub x: f64,
    /// The distance from the top edge.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "finite"))]
    pub y: f64,
    /// Whether clients are to draw the cursor.
    pub visible: bool,
}

/// Reads a number that is neither infinite nor NaN.
#[cfg(feature = "serde")]
fn finite<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let number: f64 = serde::Deserialize::deserialize(from)?;
    match number.is_finite() {
        true => Ok(number),
        false => Err(serde::de::Error::custom("a position must be finite")),
    }
}

/// A range of text, counted in a unit that the application chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Selection {
    /// The first position of the range.
    pub start: u64,
    /// The position after the last one of the range.
    pub end: u64,
}

/// A user as others see them. It is the same for every watcher.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PublicView {
    /// The user who is described.
    pub user: UserId,
    /// A new epoch for each view, with version 0: a view is the whole state, so views are not counted.
    pub clock: TopicVersion,
    /// The user's visible status, message and emoji.
    pub look: Arc<Look>,
    /// When others last saw the user. `None` while the user is visible, and if nobody ever saw them.
    pub last_seen: Option<Timestamp>,
    /// The kinds of devices that the user is connected with, each kind once.
    pub devices: Vec<DeviceKind>,
}

/// A user as they see themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnView {
    /// The user who is described.
    pub user: UserId,
    /// The status that the user chose.
    pub chosen: Chosen,
    /// The status that others are shown.
    pub shown: Visible,
    /// The user's custom message, if they have one.
    pub message: Option<Arc<str>>,
    /// The user's emoji, if they have one.
    pub emoji: Option<Arc<str>>,
    /// When the status, the message and the emoji end; `None` where they do not end by themselves.
    pub expires_at: Option<Timestamp>,
    /// The revision of the user's status: see [`Status::revision`](crate::Status::revision).
    pub revision: u64,
    /// When others last saw the user. While the user is visible: when one of their sessions was last heard from.
    pub last_seen: Option<Timestamp>,
    /// The devices that the user has sessions on, on any node of the cluster.
    pub devices: Vec<OwnDevice>,
    /// The sessions on this node that others are shown under another id, each with that.
    pub aliases: Vec<(SessionId, SessionId)>,
}

impl OwnView {
    /// What others are shown as the id of `session`.
    pub fn alias_of(&self, session: SessionId) -> SessionId {
        let mut aliases = self.aliases.iter();
        let found = aliases.find(|(it, _)| *it == session);
        found.map_or(session, |(_, alias)| *alias)
    }
}

/// A device of a user, as the user sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnDevice {
    /// The id of the device.
    pub id: DeviceId,
    /// How many sessions the user has on it.
    pub sessions: usize,
    /// The activity of its most active session.
    pub activity: crate::activity::Activity,
    /// When one of its sessions was last heard from.
    pub heard_at: Timestamp,
}

impl Event {
    /// The approximate size of the event in bytes, in memory or on a wire. Bounded queues count this.
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
                // Of everyone no more than their names is told.
                let names = everyone.as_ref().map_or(0, |it| it.len() * NAME);
                changes.sum::<usize>() + names
            }
            Event::Summary { sample, .. } => people(sample),
            Event::Window { rows, .. } => people(rows),
            Event::WindowChanges { gone, rows, .. } => {
                let rows = rows.iter().map(|it| it.person.weight());
                gone.len() * NAME + rows.sum::<usize>()
            }
            Event::Typing {
                typing,
                started,
                stopped,
                ..
            } => (typing.len() + started.len() + stopped.len()) * NAME,
            Event::Cursors { cursors, gone, .. } => (cursors.len() + gone.len()) * CURSOR,
            Event::Broadcast { event, payload, .. } => event.len() + payload.json().len(),
            Event::PublicView(_) | Event::OwnView(_) => 2 * HEAD,
            Event::EpochStarted { .. } | Event::StoreAway { .. } => 0,
        }
    }
}

impl Person {
    /// The approximate size of the person in bytes, in memory or on a wire.
    pub fn weight(&self) -> usize {
        let members = self.members.iter();
        192 + members.map(|it| 128 + it.meta.json().len()).sum::<usize>()
    }
}
