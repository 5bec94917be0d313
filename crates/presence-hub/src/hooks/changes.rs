//! Where the shards of a node that is alone report what has changed, so that webhooks are told of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use presence_core::cluster::Subject;
use presence_core::hooks::Wanted;
use presence_core::ports::{LocalOutbox, Row};
use presence_core::{ChannelId, Timestamp, Topic, UserId};

/// Leaves a row for each user and channel that changes, once there is an outbox. Until then it does nothing.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    outlet: OnceLock<Outlet>,
    /// The version of the last row.
    last: AtomicU64,
}

struct Outlet {
    wanted: Wanted,
    leave: Box<dyn Fn(&Row) + Send + Sync>,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

impl Changes {
    /// Leaves rows in `outbox` from now on, for subjects that `wanted` has events about. Returns false if rows are left
    /// somewhere already.
    pub(crate) fn go_to<S: LocalOutbox>(&self, outbox: Arc<S>, wanted: Wanted) -> bool {
        let outlet = Outlet {
            wanted,
            leave: Box::new(move |row| outbox.leave(row)),
        };
        self.outlet.set(outlet).is_ok()
    }

    /// Notes that others see `user` differently.
    pub(crate) fn note_user(&self, now: Timestamp, user: &UserId) {
        self.note(now, || Subject::User(user.clone()));
    }

    /// Notes that an entry in `channel` was written.
    pub(crate) fn note_channel(&self, now: Timestamp, channel: &ChannelId) {
        self.note(now, || Subject::Topic(Topic::Channel(channel.clone())));
    }

    fn note(&self, now: Timestamp, subject: impl FnOnce() -> Subject) {
        let Some(outlet) = self.outlet.get() else {
            return;
        };
        let subject = subject();
        if outlet.wanted.is_about(&subject) {
            let now_us = now.as_millis().saturating_mul(1000);
            let next = |last: u64| Some(now_us.max(last + 1));
            let last = self.last.fetch_update(Relaxed, Relaxed, next);
            let version = last.map_or(now_us, |last| now_us.max(last + 1));
            (outlet.leave)(&Row { subject, version });
        }
    }
}
