//! What the gateway says.

use std::sync::Arc;

pub use super::choice::{Answer, Change};
use super::frame::{frame, frames};
use super::value::{Epoch, Json, Place, Ref, Selection, Session, Target};
use super::words::{Activity, Chosen, DeviceKind, ErrorCode, Mode, Reason, Visible};

frames! {
    /// What the gateway says.
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
    }
}

frame! { lenient
    /// The first frame: who you are and how things are done here.
    pub struct Hello {
        /// Your session.
        pub session: Session,
        /// What the next connection says to go on with this session.
        pub resume: Arc<str>,
        /// Who you are.
        pub user_id: Arc<str>,
        /// On what you are.
        pub device_id: Arc<str>,
        /// Where you are online.
        pub workspaces: Vec<Arc<str>>,
        /// The gateway's time, in milliseconds since 1970.
        pub now: u64,
        /// How often to send a heartbeat, in milliseconds.
        pub heartbeat_interval: u64,
        /// After how long a silence you are timed out, in milliseconds.
        pub presence_ttl: u64,
        /// How long typing lasts, in milliseconds.
        pub typing_ttl: u64,
        /// How long a vanished connection keeps its place, in milliseconds.
        pub grace: u64,
        /// When your token runs out, in milliseconds since 1970.
        pub token_expires_at: Option<u64>,
        /// What is too much.
        pub limits: Limits,
    }

    /// What is too much.
    pub struct Limits {
        /// The longest frame, in bytes.
        pub frame_bytes_max: u64,
        /// The longest meta, in bytes.
        pub meta_bytes_max: u64,
        /// The channels you can be in.
        pub channels_max: u64,
        /// The topics you can watch.
        pub watches_max: u64,
        /// The people in a channel above which it is summarised.
        pub listed_max: u64,
    }

    /// The truth about yourself.
    pub struct Own {
        /// Who you are.
        pub user_id: Arc<str>,
        /// What you chose.
        pub status: Chosen,
        /// What others are shown.
        pub shown: Visible,
        /// Your words.
        pub custom_message: Option<Arc<str>>,
        /// Your emoji.
        pub emoji: Option<Arc<str>>,
        /// When they end, in milliseconds since 1970.
        pub expires_at: Option<u64>,
        /// Which change of your status this is.
        pub revision: u64,
        /// Your devices.
        pub devices: Vec<OwnDevice>,
        /// Your session, as others are shown it now: another one after you come out of hiding.
        pub session: Option<Session>,
    }

    /// One of your devices.
    pub struct OwnDevice {
        /// Which.
        pub id: Arc<str>,
        /// What kind it is.
        pub kind: DeviceKind,
        /// How awake the most active of its sessions is.
        pub activity: Activity,
        /// How many sessions it has.
        pub sessions: u64,
    }

    /// What you asked for is done.
    pub struct Ok {
        /// The command's.
        pub ref_: Option<Ref>,
        /// What you asked to know.
        pub result: Option<Answer>,
    }

    /// What you asked for is not done.
    pub struct Error {
        /// The command's.
        pub ref_: Option<Ref>,
        /// What is wrong.
        pub code: ErrorCode,
        /// The same in words.
        pub message: String,
        /// What it is about.
        pub field: Option<String>,
        /// When to try again, in milliseconds.
        pub retry_after: Option<u64>,
    }

    /// The answer to a ping.
    pub struct Pong {
        /// The ping's.
        pub ref_: Option<Ref>,
        /// The gateway's time, in milliseconds since 1970.
        pub now: u64,
    }

    /// The result of `presence:list`.
    pub struct Page {
        /// The people of this page, in the order they came.
        pub users: Vec<User>,
        /// How many there are in all.
        pub total: u64,
        /// How many were asked for.
        pub limit: u64,
        /// How many were skipped.
        pub offset: u64,
    }

    /// The result of `presence:get`.
    pub struct Statuses {
        /// One for each user that was asked for.
        pub statuses: Vec<UserStatus>,
    }

    /// A user's status, when asked for.
    pub struct UserStatus {
        /// Whose.
        pub user_id: Arc<str>,
        /// What others see.
        pub status: Visible,
        /// Their words.
        pub custom_message: Option<Arc<str>>,
        /// Their emoji.
        pub emoji: Option<Arc<str>>,
        /// While offline: when they were last seen, in milliseconds since 1970.
        pub last_seen: Option<u64>,
        /// On what they are; absent while offline.
        pub devices: Option<Vec<DeviceKind>>,
    }

    /// A person in a roster.
    pub struct User {
        /// Who.
        pub id: Arc<str>,
        /// What others see.
        pub status: Visible,
        /// Their words.
        pub custom_message: Option<Arc<str>>,
        /// Their emoji.
        pub emoji: Option<Arc<str>>,
        /// Their name.
        pub name: Option<Arc<str>>,
        /// The URL of their picture.
        pub avatar: Option<Arc<str>>,
        /// Their color.
        pub color: Option<Arc<str>>,
        /// When they came, in milliseconds since 1970.
        pub joined_at: u64,
        /// Their sessions here, oldest first.
        pub metas: Vec<Meta>,
    }

    /// A session in a roster.
    pub struct Meta {
        /// Which.
        pub session: Session,
        /// On what it is.
        pub device: DeviceKind,
        /// When it came, in milliseconds since 1970.
        pub joined_at: u64,
        /// What it says about itself.
        pub meta: Json,
    }

    /// The whole state of a place.
    pub struct CurrentUsers {
        /// Which place.
        pub place: Place,
        /// Of which counting.
        pub epoch: Epoch,
        /// Which state.
        pub version: u64,
        /// How it is shown: in full.
        pub mode: Mode,
        /// How many people there are.
        pub count: u64,
        /// Everyone, in the order they came.
        pub users: Vec<User>,
        /// Who is typing.
        pub typing: Vec<Arc<str>>,
        /// Who points where.
        pub cursors: Vec<Cursor>,
    }

    /// What you have is right.
    pub struct Unchanged {
        /// Which place.
        pub place: Place,
        /// Of which counting.
        pub epoch: Epoch,
        /// Which state.
        pub version: u64,
        /// Who is typing.
        pub typing: Vec<Arc<str>>,
        /// Who points where.
        pub cursors: Vec<Cursor>,
    }

    /// One person came or looks different: the one change of a tick.
    pub struct UserChanged {
        /// Where.
        pub place: Place,
        /// Of which counting.
        pub epoch: Epoch,
        /// The state that this makes.
        pub version: u64,
        /// Who, as they are now.
        pub user: User,
    }

    /// One person left: the one change of a tick.
    pub struct UserLeft {
        /// Where.
        pub place: Place,
        /// Of which counting.
        pub epoch: Epoch,
        /// The state that this makes.
        pub version: u64,
        /// Who.
        pub user_id: Arc<str>,
        /// Why.
        pub reason: Reason,
    }

    /// Several changes of one tick.
    pub struct Changes {
        /// Where.
        pub place: Place,
        /// Of which counting.
        pub epoch: Epoch,
        /// The state that this makes.
        pub version: u64,
        /// The changes, in order.
        pub changes: Vec<Change>,
    }

    /// A big room.
    pub struct Summary {
        /// Which place.
        pub place: Place,
        /// Of which counting.
        pub epoch: Epoch,
        /// Which state.
        pub version: u64,
        /// How it is shown: in summary.
        pub mode: Mode,
        /// How many people there are, exactly.
        pub count: u64,
        /// The first of them.
        pub users: Vec<User>,
    }

    /// What others see of a watched user.
    pub struct Status {
        /// Of which counting.
        pub epoch: Epoch,
        /// Which state.
        pub version: u64,
        /// Whose.
        pub user_id: Arc<str>,
        /// What others see.
        pub status: Visible,
        /// Their words.
        pub custom_message: Option<Arc<str>>,
        /// Their emoji.
        pub emoji: Option<Arc<str>>,
        /// While offline: when they were last seen, in milliseconds since 1970.
        pub last_seen: Option<u64>,
        /// On what they are.
        pub devices: Vec<DeviceKind>,
    }

    /// Who is typing.
    pub struct Typing {
        /// Where.
        pub place: Place,
        /// Everyone who types now.
        pub users: Vec<Arc<str>>,
        /// Who has started.
        pub started: Vec<Arc<str>>,
        /// Who has stopped.
        pub stopped: Vec<Arc<str>>,
    }

    /// Cursors that moved.
    pub struct Cursors {
        /// Where.
        pub place: Place,
        /// Those that moved.
        pub cursors: Vec<Cursor>,
        /// The sessions whose cursor is gone.
        pub gone: Vec<Session>,
    }

    /// Where a session points, and what it has selected.
    pub struct Cursor {
        /// Which session.
        pub session: Session,
        /// Whose.
        pub user_id: Arc<str>,
        /// From the left, if it points anywhere.
        pub x: Option<f64>,
        /// From the top, if it points anywhere.
        pub y: Option<f64>,
        /// Whether to draw it, if it points anywhere.
        pub visible: Option<bool>,
        /// What it has selected.
        pub selection: Option<Selection>,
    }

    /// Somebody told the channel something.
    pub struct Broadcast {
        /// Where.
        pub place: Place,
        /// What kind of thing.
        pub event: Arc<str>,
        /// The thing.
        pub payload: Option<Json>,
        /// Who.
        pub user_id: Arc<str>,
        /// Through which session.
        pub session: Session,
    }

    /// The gateway is about to close this connection.
    pub struct Closing {
        /// The close code.
        pub code: u16,
        /// Why, in words.
        pub reason: Arc<str>,
        /// Whether to come back.
        pub reconnect: bool,
        /// When to, in milliseconds.
        pub retry_after: Option<u64>,
    }

    /// Your token runs out.
    pub struct Expiring {
        /// When, in milliseconds since 1970.
        pub token_expires_at: u64,
    }
    /// The gateway has lost the other gateways, or has found them again.
    pub struct Health {
        /// Whether it has lost them: what you see of people on other gateways may be out of date.
        pub degraded: bool,
    }

    /// Your token does not allow this any more: you are out of it, and are told nothing of it.
    pub struct Removed {
        /// What it is.
        pub target: Target,
    }
}
