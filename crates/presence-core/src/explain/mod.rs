//! Why others are shown what they are shown: what each node knows of a user or a channel, and the chain of facts that
//! follows from all of it together.
//!
//! [`Users::report`](crate::users::Users::report) and [`Rosters::report`](crate::rosters::Rosters::report) say what one
//! node knows. [`UserEvidence`] and [`RoomEvidence`] have the reports of all nodes that answered, and what the stores
//! say; [`UserEvidence::explain`] and [`RoomEvidence::explain`] put them together. Everything here is data in and data out.
//!
//! A report says who hides. It must reach nobody but an administrator, or the user whom it is about.

mod fact;
mod message;
mod report;
mod room;
mod text;
mod user;

pub use fact::{Difference, Fact, FactKind, sentence};
pub use message::{About, Answer, NodeMessage};
pub use report::{
    CHANNELS_REPORTED_MAX, ClientOrigin, Gateway, GatewayState, Known, Mode, RECORDED_MAX,
    ROOM_SESSIONS_REPORTED_MAX, RemoteMember, RoomMember, RoomReport, SessionReport, SessionState,
    UserReport, View, Watchers,
};
pub use room::{RoomEvidence, RoomExplanation};
pub use text::{clock_time, rfc3339};
pub use user::{ChosenSource, SharedUser, Stored, UserEvidence, UserExplanation, merged};
