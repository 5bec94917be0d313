//! The watchlist: the users whose online status a signed-in user wants to know.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use presence_core::{PublicView, UserId, Visible};
use tokio::time::Instant;

use super::words;
use crate::pusher_names::id_of;

/// The most users on one watchlist.
pub(super) const WATCHLIST_MAX: usize = 100;
/// How long changes are collected, so that many become one event.
const COLLECTED: Duration = Duration::from_millis(50);

/// The watchlist of a signed-in user, and what the page has been told about it.
#[derive(Debug, Default)]
pub(super) struct Watchlist {
    told: BTreeMap<UserId, bool>,
    news: BTreeMap<UserId, bool>,
    due: Option<Instant>,
}

impl Watchlist {
    /// Notes the status of a user, if it has changed.
    pub(super) fn note(&mut self, now: Instant, public_view: &PublicView) {
        let online = public_view.look.status != Visible::Offline;
        if self.told.get(&public_view.user) == Some(&online) {
            self.news.remove(&public_view.user);
        } else {
            self.news.insert(public_view.user.clone(), online);
            self.due.get_or_insert(now + COLLECTED);
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The event about all changes that are due by `now`.
    pub(super) fn tell(&mut self, now: Instant) -> Option<Bytes> {
        self.due = Some(self.due?).filter(|due| now < *due);
        if self.due.is_some() || self.news.is_empty() {
            return None;
        }
        let news = std::mem::take(&mut self.news);
        let ids = |wanted: bool| {
            let ids = news.iter().filter(move |(_, online)| **online == wanted);
            Vec::from_iter(ids.map(|(user, _)| id_of(user)))
        };
        let frame = words::watchlist_events(&ids(true), &ids(false));
        self.told.extend(news);
        Some(frame)
    }
}
