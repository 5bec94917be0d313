//! The events: the frames that the gateway sends.

use std::sync::Arc;

pub use super::choice::{Answer, Change};
use super::error::DecodeError;
use super::frame::frame;
use super::frames::frames;
pub use super::lists::{
    ChannelCount, ChannelPage, Connection, ConnectionPage, ConnectionSession, Disconnected,
    GatewayCount, Node, NodeList,
};
pub use super::people::{Meta, Page, Row, Statuses, User, UserStatus};
use super::value::{Epoch, Json, Ref, Selection, Session, Target, TopicId};
use super::words::{Activity, Chosen, DeviceKind, ErrorCode, Mode, Reason, Visible};

frames! {
    /// A frame that the gateway sends.
    #[non_exhaustive]
    pub enum Event {
        "presence:hello" => Hello(Hello),
        "presence:restored" => Restored(Hello),
        "presence:self" => Own(Own),
        "presence:ok" => Ok(Ok),
        "presence:error" => Error(Error),
        "presence:pong" => Pong(Pong),
        "presence:currentUsers" => CurrentUsers(CurrentUsers),
        "presence:unchanged" => Unchanged(Unchanged),
        "presence:userJoined" => UserJoined(UserChanged),
        "presence:userUpdated" => UserUpdated(UserChanged),
        "presence:userLeft" => UserLeft(UserLeft),
        "presence:changes" => Changes(Changes),
        "presence:summary" => Summary(Summary),
        "presence:status" => Status(Status),
        "presence:typing" => Typing(Typing),
        "presence:cursors" => Cursors(Cursors),
        "presence:broadcast" => Broadcast(Broadcast),
        "presence:closing" => Closing(Closing),
        "presence:expiring" => Expiring(Expiring),
        "presence:health" => Health(Health),
        "presence:removed" => Removed(Removed),
        "presence:window" => Window(Window),
        "presence:windowChanges" => WindowChanges(WindowChanges),
    }
}

frame! { lenient
    /// `presence:hello` or `presence:restored`, the first event of a connection: who you are, and the times and limits
    /// of this gateway.
    pub struct Hello {
        /// The id of your session.
        pub session: Session,
        /// The resume token. The next connection sends it to continue this session.
        pub resume: Arc<str>,
        /// Your user id, from the token or from the query.
        pub user_id: Arc<str>,
        /// The id of the device that this session is on.
        pub device_id: Arc<str>,
        /// The ids of the workspaces in which you are shown as online.
        pub workspaces: Vec<Arc<str>>,
        /// The gateway's time, in milliseconds since 1970.
        pub now: u64,
        /// How often the client has to send a heartbeat, in milliseconds.
        pub heartbeat_interval: u64,
        /// The gateway ends the session after this time without a command, in milliseconds; five times this while
        /// it is hidden.
        pub presence_ttl: u64,
        /// How long typing lasts unless it is repeated, in milliseconds.
        pub typing_ttl: u64,
        /// How long the gateway keeps the session after its connection broke, in milliseconds.
        pub grace: u64,
        /// When your token expires, in milliseconds since 1970; `None` if it does not.
        pub token_expires_at: Option<u64>,
        /// The limits that apply to this connection.
        pub limits: Limits,
    }

    /// The limits of a gateway that a client has to know.
    pub struct Limits {
        /// The longest frame that the gateway accepts, in bytes.
        pub frame_bytes_max: u64,
        /// The longest meta of a session in a channel, in bytes of JSON.
        pub meta_bytes_max: u64,
        /// How many channels a session can be in at once.
        pub channels_max: u64,
        /// How many topics a session can watch at once.
        pub watches_max: u64,
        /// Watchers of a channel with more people than this get a summary.
        pub listed_max: u64,
    }

    /// `presence:self`: what only you see of yourself, sent to all your sessions.
    pub struct Own {
        /// Your user id.
        pub user_id: Arc<str>,
        /// The status that you chose.
        pub status: Chosen,
        /// The status that others see.
        pub shown: Visible,
        /// Your status message, up to 256 characters.
        pub custom_message: Option<Arc<str>>,
        /// The emoji of your status: one emoji or one `:shortcode:`.
        pub emoji: Option<Arc<str>>,
        /// When status, message and emoji fall back to plain online, in milliseconds since 1970.
        pub expires_at: Option<u64>,
        /// The revision of your status; it grows with each change.
        pub revision: u64,
        /// The devices on which you have sessions.
        pub devices: Vec<OwnDevice>,
        /// Your session, as others are shown it now: another one after you come out of hiding.
        pub session: Option<Session>,
    }

    /// A device of your own, as `presence:self` lists it.
    pub struct OwnDevice {
        /// The id of the device.
        pub id: Arc<str>,
        /// The kind of the device, from the prefix of its id.
        pub kind: DeviceKind,
        /// The activity of the most active session on it.
        pub activity: Activity,
        /// How many sessions the device has.
        pub sessions: u64,
    }

    /// `presence:ok`: the gateway has carried out a command.
    pub struct Ok {
        /// The `ref` of the command that this answers.
        pub ref_: Option<Ref>,
        /// The result of a command that asks for one, such as `presence:list`.
        pub result: Option<Answer>,
    }

    /// `presence:error`: the gateway has refused a command or a frame.
    pub struct Error {
        /// The `ref` of the refused command; `None` if it had none or it could not be read.
        pub ref_: Option<Ref>,
        /// The kind of error, for programs.
        pub code: ErrorCode,
        /// The same in words, for people.
        pub message: String,
        /// The field that is wrong, as a path such as `have.epoch`.
        pub field: Option<String>,
        /// How long to wait before trying again, in milliseconds.
        pub retry_after: Option<u64>,
    }

    /// `presence:pong`: the answer to a `presence:ping`.
    pub struct Pong {
        /// The `ref` of the ping that this answers.
        pub ref_: Option<Ref>,
        /// The gateway's time, in milliseconds since 1970.
        pub now: u64,
    }

    /// `presence:currentUsers`: the whole state of a place, with everyone listed.
    pub struct CurrentUsers {
        /// The place whose state this is.
        pub place: TopicId,
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of this state within the epoch.
        pub version: u64,
        /// How the roster is shown; always [`Mode::Full`] here.
        pub mode: Mode,
        /// How many people are in the place.
        pub count: u64,
        /// Everyone in the place, in the order in which they joined.
        pub users: Vec<User>,
        /// The ids of the users who are typing.
        pub typing: Vec<Arc<str>>,
        /// The cursor of each session that has one.
        pub cursors: Vec<Cursor>,
    }

    /// `presence:unchanged`: the `have` of your join or watch is still right.
    pub struct Unchanged {
        /// The place whose state you have.
        pub place: TopicId,
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The current version; changes between yours and this one are sent separately.
        pub version: u64,
        /// The ids of the users who are typing.
        pub typing: Vec<Arc<str>>,
        /// The cursor of each session that has one.
        pub cursors: Vec<Cursor>,
    }

    /// `presence:userJoined` or `presence:userUpdated`: one person joined or changed. Sent if it is the only change
    /// of a tick.
    pub struct UserChanged {
        /// The place in which the user joined or changed.
        pub place: TopicId,
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of the state after this change.
        pub version: u64,
        /// The user, as they are after the change.
        pub user: User,
    }

    /// `presence:userLeft`: one person left. Sent if it is the only change of a tick.
    pub struct UserLeft {
        /// The place that the user left.
        pub place: TopicId,
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of the state after this change.
        pub version: u64,
        /// The id of the user who left.
        pub user_id: Arc<str>,
        /// Why the user left the place.
        pub reason: Reason,
    }

    /// `presence:changes`: several changes of one tick, which make one new version.
    pub struct Changes {
        /// The place in which the changes happened.
        pub place: TopicId,
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of the state after all these changes.
        pub version: u64,
        /// The changes, in the order in which to apply them.
        pub changes: Vec<Change>,
    }

    /// `presence:summary`: the state of a big room, as a count and its first people.
    pub struct Summary {
        /// The place that is summarised.
        pub place: TopicId,
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of this state; versions of summaries may jump.
        pub version: u64,
        /// How the roster is shown; always [`Mode::Summary`] here.
        pub mode: Mode,
        /// The exact number of people in the place.
        pub count: u64,
        /// The first people of the roster, each with the newest meta only.
        pub users: Vec<User>,
    }

    /// `presence:status`: what others see of a watched user.
    pub struct Status {
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of this user's topic within the epoch.
        pub version: u64,
        /// The id of the watched user.
        pub user_id: Arc<str>,
        /// The status that others see.
        pub status: Visible,
        /// The status message of the user.
        pub custom_message: Option<Arc<str>>,
        /// The emoji of the user's status.
        pub emoji: Option<Arc<str>>,
        /// When the user was last seen, in milliseconds since 1970; only while they are offline.
        pub last_seen: Option<u64>,
        /// The kinds of the devices they are on; empty while they are offline.
        pub devices: Vec<DeviceKind>,
    }

    /// `presence:typing`: who is typing in a place. Sent when it changes.
    pub struct Typing {
        /// The place in which they type.
        pub place: TopicId,
        /// The ids of everyone who is typing now; at most 20 are named.
        pub users: Vec<Arc<str>>,
        /// The ids of the users who have started since the last event.
        pub started: Vec<Arc<str>>,
        /// The ids of the users who have stopped since the last event.
        pub stopped: Vec<Arc<str>>,
    }

    /// `presence:cursors`: the cursors of a place that changed in one tick.
    pub struct Cursors {
        /// The place that the cursors are in.
        pub place: TopicId,
        /// The cursors that moved or changed their selection.
        pub cursors: Vec<Cursor>,
        /// The sessions whose cursor has been removed.
        pub gone: Vec<Session>,
    }

    /// The cursor of a session: where it points and what it has selected.
    pub struct Cursor {
        /// The session that the cursor belongs to.
        pub session: Session,
        /// The user that the session belongs to.
        pub user_id: Arc<str>,
        /// The position from the left, in the unit of the sender; `None` while only a selection is known.
        pub x: Option<f64>,
        /// The position from the top, in the unit of the sender; `None` while only a selection is known.
        pub y: Option<f64>,
        /// Whether to draw the cursor; `None` while only a selection is known.
        pub visible: Option<bool>,
        /// The range that the session has selected.
        pub selection: Option<Selection>,
    }

    /// `presence:broadcast`: a message to everyone who watches a channel.
    pub struct Broadcast {
        /// The channel that the message was sent to.
        pub place: TopicId,
        /// The name that the sender gave the event.
        pub event: Arc<str>,
        /// The content of the message, any JSON.
        pub payload: Option<Json>,
        /// The user who sent it; `app:{id}` if a server sent it.
        pub user_id: Arc<str>,
        /// The session that sent it; nobody's if a server sent it.
        pub session: Session,
    }

    /// `presence:closing`: the gateway is about to close this connection.
    pub struct Closing {
        /// The close code of the WebSocket, see `docs/protocol.md`.
        pub code: u16,
        /// The reason for the close, in words.
        pub reason: Arc<str>,
        /// Whether the client should connect again.
        pub reconnect: bool,
        /// How long to wait before connecting again, in milliseconds.
        pub retry_after: Option<u64>,
    }

    /// `presence:expiring`: your token expires soon, send a new one.
    pub struct Expiring {
        /// When the token expires, in milliseconds since 1970.
        pub token_expires_at: u64,
    }
    /// `presence:health`: the gateway has lost the store that it shares with other gateways, or has found it again.
    pub struct Health {
        /// Whether the store is unreachable. While it is, what you see of people on other gateways may be out of date.
        pub degraded: bool,
    }

    /// `presence:removed`: your token no longer allows this topic, so the gateway has removed you from it.
    pub struct Removed {
        /// The channel, the workspace or the users that you were removed from.
        pub target: Target,
    }

    /// `presence:window`: the rows of a window that was opened or moved. They replace those that it had.
    pub struct Window {
        /// The place that the window is open on.
        pub place: TopicId,
        /// The number of the window.
        pub window: u32,
        /// The exact number of people in the place.
        pub count: u64,
        /// The people in the window, in its order; each with at most 4 of their sessions.
        pub users: Vec<User>,
    }

    /// `presence:windowChanges`: what has changed in a window. First all in `gone` and in `rows` are taken out, then
    /// each of `rows` is put in at its place.
    pub struct WindowChanges {
        /// The place that the window is open on.
        pub place: TopicId,
        /// The number of the window.
        pub window: u32,
        /// The exact number of people in the place, if it has changed; at most once a second.
        pub count: Option<u64>,
        /// The ids of the users who are in the window no more.
        pub gone: Vec<Arc<str>>,
        /// The rows that are new or have changed, by their places.
        pub rows: Vec<Row>,
    }
}

impl From<DecodeError> for Error {
    fn from(it: DecodeError) -> Self {
        Error {
            code: it.code(),
            ref_: it.ref_,
            message: it.message,
            field: it.field,
            retry_after: None,
        }
    }
}
