//! What a client says.

use super::frame::{frame, frames};
use super::value::{Field, Have, Json, Place, Ref, Target};
use super::words::{Activity as How, Chosen, Mode};

frames! {
    /// What a client says.
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
    }
}

/// The same expression for whichever command it is.
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
        }
    };
}

impl Command {
    /// What its answer will carry.
    pub fn ref_(&self) -> Option<&Ref> {
        each!(self, it => it.ref_.as_ref())
    }

    /// Asks for an answer that carries `ref_`.
    pub fn set_ref(&mut self, ref_: Option<Ref>) {
        each!(self, it => it.ref_ = ref_);
    }
}

/// Every command is made of its struct.
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
    Authenticate
);

frame! { strict
    /// Be in a channel, and watch it.
    pub struct Join {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Which channel.
        pub channel: String,
        /// What this session says about itself there: an object.
        pub meta: Option<Json>,
        /// Whether to watch it too; yes, if absent.
        pub watch: Option<bool>,
        /// How to see it; in full, if absent.
        pub mode: Option<Mode>,
        /// What is known of it already.
        pub have: Option<Have>,
    }

    /// Replace your meta in a channel you are in.
    pub struct Update {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Which channel.
        pub channel: String,
        /// What this session says about itself there: an object.
        pub meta: Json,
    }

    /// Leave a channel, or end the session.
    pub struct Leave {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Which channel; if absent, the session ends.
        pub channel: Option<String>,
    }

    /// See a channel, a workspace or some users.
    pub struct Watch {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// What to see.
        pub target: Target,
        /// How to see a roster; in full, if absent.
        pub mode: Option<Mode>,
        /// What is known of it already.
        pub have: Option<Have>,
    }

    /// See it no more.
    pub struct Unwatch {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// What not to see.
        pub target: Target,
    }

    /// Change your chosen status.
    pub struct Status {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// What you choose; `null` is the same as online.
        pub status: Field<Chosen>,
        /// Your words.
        pub custom_message: Field<String>,
        /// Your emoji.
        pub emoji: Field<String>,
        /// In how many seconds all of it ends.
        pub clear_after: Field<u64>,
        /// When all of it ends, in milliseconds since 1970.
        pub expires_at: Field<u64>,
    }

    /// Start, keep or stop typing.
    pub struct Typing {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Where.
        pub channel: String,
        /// Whether you type.
        pub typing: bool,
    }

    /// Where you point.
    pub struct Cursor {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// In which channel.
        pub channel: String,
        /// From the left. In JSON always finite; in binary to be checked.
        pub x: f64,
        /// From the top. In JSON always finite; in binary to be checked.
        pub y: f64,
        /// Whether to draw it; yes, if absent.
        pub visible: Option<bool>,
    }

    /// What you have selected.
    pub struct Selection {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// In which channel.
        pub channel: String,
        /// The first position; without it and `end`, nothing is selected.
        pub start: Option<u64>,
        /// The position behind the last.
        pub end: Option<u64>,
    }

    /// How awake you are.
    pub struct Activity {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// That is how.
        pub activity: How,
    }

    /// Tell everyone who watches a channel you are in.
    pub struct Broadcast {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Which channel.
        pub channel: String,
        /// What kind of thing it is.
        pub event: String,
        /// The thing.
        pub payload: Option<Json>,
    }

    /// A page of the people in a place.
    pub struct List {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Which place.
        pub place: Place,
        /// At most how many.
        pub limit: Option<u64>,
        /// How many to skip.
        pub offset: Option<u64>,
    }

    /// The status of some users, now.
    pub struct Get {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// Which users.
        pub users: Vec<String>,
    }

    /// You are here.
    pub struct Heartbeat {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
    }

    /// Are you there?
    pub struct Ping {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
    }

    /// A fresh token for the same user.
    pub struct Authenticate {
        /// What the answer shall carry.
        pub ref_: Option<Ref>,
        /// The token.
        pub token: String,
    }
}
