//! The commands: the frames that a client sends.

use super::frame::frame;
use super::frames::frames;
use super::value::{After, Field, Have, Json, Ref, Session, Target, TopicId};
use super::words::{Activity as How, Chosen, Mode, Order};

frames! {
    /// A frame that a client sends.
    pub enum Command {
        "presence:join" => Join(Join),
        "presence:update" => Update(Update),
        "presence:leave" => Leave(Leave),
        "presence:watch" => Watch(Watch),
        "presence:unwatch" => Unwatch(Unwatch),
        "presence:status" => Status(Status),
        "presence:typing" => Typing(Typing),
        "presence:cursor" => Cursor(Cursor),
        "presence:selection" => Selection(Selection),
        "presence:activity" => Activity(Activity),
        "presence:broadcast" => Broadcast(Broadcast),
        "presence:list" => List(List),
        "presence:get" => Get(Get),
        "presence:heartbeat" => Heartbeat(Heartbeat),
        "presence:ping" => Ping(Ping),
        "presence:authenticate" => Authenticate(Authenticate),
        "presence:channels" => Channels(Channels),
        "presence:nodes" => Nodes(Nodes),
        "presence:connections" => Connections(Connections),
        "presence:disconnect" => Disconnect(Disconnect),
        "presence:openWindow" => OpenWindow(OpenWindow),
        "presence:closeWindow" => CloseWindow(CloseWindow),
    }
}

/// Evaluates one expression for the struct of any command.
macro_rules! each {
    ($command:expr, $it:ident => $value:expr) => {
        match $command {
            Command::Join($it) => $value,
            Command::Update($it) => $value,
            Command::Leave($it) => $value,
            Command::Watch($it) => $value,
            Command::Unwatch($it) => $value,
            Command::Status($it) => $value,
            Command::Typing($it) => $value,
            Command::Cursor($it) => $value,
            Command::Selection($it) => $value,
            Command::Activity($it) => $value,
            Command::Broadcast($it) => $value,
            Command::List($it) => $value,
            Command::Get($it) => $value,
            Command::Heartbeat($it) => $value,
            Command::Ping($it) => $value,
            Command::Authenticate($it) => $value,
            Command::Channels($it) => $value,
            Command::Nodes($it) => $value,
            Command::Connections($it) => $value,
            Command::Disconnect($it) => $value,
            Command::OpenWindow($it) => $value,
            Command::CloseWindow($it) => $value,
        }
    };
}

impl Command {
    /// The `ref` that its answer will carry; `None` if only a refusal is answered.
    pub fn ref_(&self) -> Option<&Ref> {
        each!(self, it => it.ref_.as_ref())
    }

    /// Sets the `ref`, so that the gateway answers with it.
    pub fn set_ref(&mut self, ref_: Option<Ref>) {
        each!(self, it => it.ref_ = ref_);
    }
}

/// Implements `From` of each command's struct for [`Command`].
macro_rules! from {
    ($($name:ident),+) => {$(
        impl From<$name> for Command {
            fn from(it: $name) -> Self {
                Command::$name(it)
            }
        }
    )+};
}

from!(
    Join,
    Update,
    Leave,
    Watch,
    Unwatch,
    Status,
    Typing,
    Cursor,
    Selection,
    Activity,
    Broadcast,
    List,
    Get,
    Heartbeat,
    Ping,
    Authenticate,
    Channels,
    Nodes,
    Connections,
    Disconnect,
    OpenWindow,
    CloseWindow
);

frame! { strict
    /// `presence:join`: joins a channel, and watches it. Joining again replaces the meta.
    pub struct Join {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel to join.
        pub channel: String,
        /// What this session says about itself in the channel: a JSON object.
        pub meta: Option<Json>,
        /// Whether to watch the channel too; `None` means yes.
        pub watch: Option<bool>,
        /// How the roster is shown; `None` means in full.
        pub mode: Option<Mode>,
        /// The version of the channel's state that the client has already.
        pub have: Option<Have>,
    }

    /// `presence:update`: replaces your meta in a channel that you are in.
    pub struct Update {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel, which the session must be in.
        pub channel: String,
        /// What this session says about itself in the channel: a JSON object.
        pub meta: Json,
    }

    /// `presence:leave`: leaves a channel, or ends the session.
    pub struct Leave {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel to leave; `None` ends the session.
        pub channel: Option<String>,
    }

    /// `presence:watch`: subscribes to a channel, a workspace or some users, without joining it.
    pub struct Watch {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The channel, the workspace or the users to watch.
        pub target: Target,
        /// How a roster is shown; `None` means in full.
        pub mode: Option<Mode>,
        /// The version of the state that the client has already.
        pub have: Option<Have>,
    }

    /// `presence:unwatch`: ends a subscription of `presence:watch` or `presence:join`.
    pub struct Unwatch {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The channel, the workspace or the users to watch no longer.
        pub target: Target,
    }

    /// `presence:status`: changes your chosen status. Absent fields stay as they are, `null` clears them.
    pub struct Status {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The status that you choose; `null` is the same as online.
        pub status: Field<Chosen>,
        /// The message that others see with your status, up to 256 characters.
        pub custom_message: Field<String>,
        /// The emoji that others see with your status: one emoji or one `:shortcode:`.
        pub emoji: Field<String>,
        /// After how many seconds status, message and emoji fall back to plain online; at most one year.
        pub clear_after: Field<u64>,
        /// When status, message and emoji fall back to plain online, in milliseconds since 1970.
        pub expires_at: Field<u64>,
    }

    /// `presence:typing`: starts, keeps up or stops typing.
    pub struct Typing {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel in which you type.
        pub channel: String,
        /// Whether you are typing: `true` starts or keeps it up, `false` stops it.
        pub typing: bool,
    }

    /// `presence:cursor`: says where you point. The gateway forgets it after 10 s.
    pub struct Cursor {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel in which you point.
        pub channel: String,
        /// The position from the left, in a unit of your choice. JSON has finite numbers only; check a binary one.
        pub x: f64,
        /// The position from the top, in a unit of your choice. JSON has finite numbers only; check a binary one.
        pub y: f64,
        /// Whether others should draw the cursor; `None` means yes.
        pub visible: Option<bool>,
    }

    /// `presence:selection`: says which range you have selected.
    pub struct Selection {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel in which you have selected it.
        pub channel: String,
        /// The first position of the range; without it and `end`, nothing is selected.
        pub start: Option<u64>,
        /// The position behind the last of the range.
        pub end: Option<u64>,
    }

    /// `presence:activity`: says how active the person is on this session.
    pub struct Activity {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The new activity of this session.
        pub activity: How,
    }

    /// `presence:broadcast`: sends a message to everyone who watches a channel that you are in.
    pub struct Broadcast {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The id of the channel, which the session must be in.
        pub channel: String,
        /// The name of the event, up to 64 characters.
        pub event: String,
        /// The content of the message, any JSON.
        pub payload: Option<Json>,
    }

    /// `presence:list`: asks for one page of the people in a place.
    pub struct List {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The channel or workspace whose people to list.
        pub place: TopicId,
        /// The page size, 1 to 1,000; `None` means 100.
        pub limit: Option<u64>,
        /// How many people to skip; `None` means 0.
        pub offset: Option<u64>,
    }

    /// `presence:get`: asks for the current status of up to 1,000 users.
    pub struct Get {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The ids of the users whose status to get.
        pub users: Vec<String>,
    }

    /// `presence:heartbeat`: says that the client is still there.
    pub struct Heartbeat {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
    }

    /// `presence:ping`: asks for a pong with the gateway's time.
    pub struct Ping {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
    }

    /// `presence:authenticate`: replaces the token by a fresh one for the same user.
    pub struct Authenticate {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The new token, a JWT.
        pub token: String,
    }
    /// `presence:channels`: asks for one page of the channels that somebody is in, on all gateways. Scope `read`.
    pub struct Channels {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// What the ids have to begin with; `None` means any id.
        pub prefix: Option<String>,
        /// The page size, 1 to 1,000; `None` means 100.
        pub limit: Option<u64>,
        /// How many channels to skip; `None` means 0.
        pub offset: Option<u64>,
    }

    /// `presence:nodes`: asks for the gateways that share a store. Scope `admin`.
    pub struct Nodes {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
    }

    /// `presence:connections`: asks for one page of the connections of all gateways. Scope `admin`.
    pub struct Connections {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// Only connections with a session of this user.
        pub user_id: Option<String>,
        /// Only connections with a session that can be seen in this channel.
        pub channel: Option<String>,
        /// Only connections of the gateway with this name or this id.
        pub gateway: Option<String>,
        /// Only connections that speak this protocol: `native`, `phoenix`, `cable` or `pusher`.
        pub dialect: Option<String>,
        /// The page size, 1 to 1,000; `None` means 100.
        pub limit: Option<u64>,
        /// The `next` of the page before; `None` asks for the first page.
        pub after: Option<String>,
    }

    /// `presence:disconnect`: ends all connections that fit every field that is given, on all gateways. Scope `admin`.
    pub struct Disconnect {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// Connections with a session of this user.
        pub user_id: Option<String>,
        /// Connections with a session that can be seen in this channel.
        pub channel: Option<String>,
        /// The connection that this session is on.
        pub session: Option<Session>,
        /// The connection with this id.
        pub connection: Option<String>,
        /// Connections of the gateway with this name or this id.
        pub gateway: Option<String>,
        /// Connections that speak this protocol: `native`, `phoenix`, `cable` or `pusher`.
        pub dialect: Option<String>,
        /// Whether the clients should come back; `None` means yes.
        pub reconnect: Option<bool>,
    }

    /// `presence:openWindow`: opens a window on a place, or moves one: a few rows of its roster, and what changes in them.
    pub struct OpenWindow {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The channel or workspace whose people to show.
        pub place: TopicId,
        /// The number of the window on this place, which the client chooses.
        pub window: u32,
        /// The order of the rows; `None` means `name` with a prefix, and otherwise `joined`.
        pub order: Option<Order>,
        /// What the names have to begin with, in upper or lower case; `None` means any name.
        pub prefix: Option<String>,
        /// The place after which the rows begin; `None` means at the first one.
        pub after: Option<After>,
        /// How many rows the window has, 1 to 50; `None` means 50.
        pub limit: Option<u64>,
    }

    /// `presence:closeWindow`: closes a window.
    pub struct CloseWindow {
        /// The `ref` that the answer carries.
        pub ref_: Option<Ref>,
        /// The channel or workspace that the window is open on.
        pub place: TopicId,
        /// The number of the window.
        pub window: u32,
    }
}
