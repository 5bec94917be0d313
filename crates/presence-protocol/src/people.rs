//! People and their statuses, as several events have them.

use std::sync::Arc;

use super::frame::frame;
use super::value::{Json, Session};
use super::words::{DeviceKind, Visible};

frame! { lenient
    /// One page of a roster: the result of `presence:list`.
    pub struct Page {
        /// The people of this page, in the order in which they joined.
        pub users: Vec<User>,
        /// How many people the place has in all.
        pub total: u64,
        /// The page size that the command asked for.
        pub limit: u64,
        /// How many people come before this page.
        pub offset: u64,
    }

    /// The result of `presence:get`.
    pub struct Statuses {
        /// One status for each user that the command named.
        pub statuses: Vec<UserStatus>,
    }

    /// The status of a user in the result of `presence:get`.
    pub struct UserStatus {
        /// The id of the user.
        pub user_id: Arc<str>,
        /// The status that others see.
        pub status: Visible,
        /// The status message of the user.
        pub custom_message: Option<Arc<str>>,
        /// The emoji of the user's status.
        pub emoji: Option<Arc<str>>,
        /// When the user was last seen, in milliseconds since 1970; only while they are offline.
        pub last_seen: Option<u64>,
        /// The kinds of the devices they are on; `None` while they are offline.
        pub devices: Option<Vec<DeviceKind>>,
    }

    /// A person in a roster, with all their sessions there.
    pub struct User {
        /// The id of the user.
        pub id: Arc<str>,
        /// The status that others see.
        pub status: Visible,
        /// The status message of the user.
        pub custom_message: Option<Arc<str>>,
        /// The emoji of the user's status.
        pub emoji: Option<Arc<str>>,
        /// The display name, from the newest meta that has one.
        pub name: Option<Arc<str>>,
        /// The URL of the user's picture, from the newest meta that has one.
        pub avatar: Option<Arc<str>>,
        /// The colour of the user as `#rrggbb` or `#rrggbbaa`; derived from the id if no meta has one.
        pub color: Option<Arc<str>>,
        /// When the first of these sessions joined, in milliseconds since 1970.
        pub joined_at: u64,
        /// The user's sessions in this place, oldest first.
        pub metas: Vec<Meta>,
    }

    /// A row of a window that is new or has changed.
    pub struct Row {
        /// The place of the row in the window, from 0.
        pub at: u64,
        /// The user, as they are now.
        pub user: User,
    }

    /// A session in a roster, with what it says about itself.
    pub struct Meta {
        /// The id of the session.
        pub session: Session,
        /// The kind of device that the session is on.
        pub device: DeviceKind,
        /// When the session joined, in milliseconds since 1970.
        pub joined_at: u64,
        /// The JSON object that the session gave with its join or update.
        pub meta: Json,
    }
}
