//! The windows that are open on a topic: which rows each of them shows, and what changes in them.
//!
//! - A watcher opens a window under a number of its own. Windows that are equal, number included, are one: they have the
//!   same rows, and their watchers share each event.
//! - A window that opens is sent its rows as they are at that moment ([`Event::Window`]). From then on it is sent what has
//!   changed in its rows ([`Event::WindowChanges`]) with each event of the topic, so at most once a second in a big room.
//! - The rows are taken from the roster, which is sorted by when people joined at all times. It is sorted by name while a
//!   window of that order is open, and `NAMES_KEPT` longer, so that nobody makes it sort again and again.
//! - When the topic sends its changes, a window is looked at only if somebody who changed is one of its rows, or is in its
//!   range now. Then its rows are read again, which are [`WINDOW_ROWS_MAX`](crate::WINDOW_ROWS_MAX) at most. So the
//!   cost of a change grows with the windows and with the logarithm of the people, and not with the people.
//! - The number of people is sent to all windows at most once in [`Timing::TICK_MAX`], if it has changed.
//! - Nobody who hides is in a roster, and rows come from the roster alone. So windows are the same with them and without.
//! - In a cluster a window counts as a watcher: the topic is followed while one is open, and the window is sent its first
//!   rows when the entries of the other nodes are known.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::roster::Roster;
use crate::window::{JoinedKey, Kind, NameKey, joined_key, name_key};
use crate::{Event, Order, Person, Refusal, Row, SessionId, Timestamp, Topic, UserId, Window};

/// The number of a window, and the rows that it has.
pub(super) type Key = (u32, Window);

/// All windows that are open on one topic.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The window that each session has open under each of its numbers.
    pub(super) opened: BTreeMap<(SessionId, u32), Window>,
    pub(super) shown: BTreeMap<Key, Shown>,
    /// The number of people that all windows were last told.
    pub(super) count: usize,
    /// Whether a window was told another number of people when it opened.
    pub(super) is_uneven: bool,
    /// When the number of people may be told again.
    pub(super) counts_at: Timestamp,
}

/// One window, with everybody who has it open.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) sessions: BTreeSet<SessionId>,
    /// The rows as they were last told.
    pub(super) rows: Vec<Arc<Person>>,
    /// Whether the first rows were told. They are not before the entries of other nodes are known.
    pub(super) is_told: bool,
    /// The first event of whoever opens it, until something changes.
    pub(super) state: Option<Arc<Event>>,
}

impl Windows {
    pub(super) fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }

    pub(super) fn has_names(&self) -> bool {
        let mut windows = self.shown.keys();
        windows.any(|(_, window)| window.span().order() == Order::Name)
    }

    /// When the number of people has to be told, of which there are `people` now.
    pub(super) fn count_due_at(&self, people: usize) -> Option<Timestamp> {
        let is_due = !self.is_empty() && (self.is_uneven || self.count != people);
        is_due.then_some(self.counts_at)
    }

    /// Opens `window` for a session, in place of the one that it has open under the same number.
    pub(super) fn open(
        &mut self,
        session: SessionId,
        (number, window): Key,
        max: usize,
    ) -> Result<(), Refusal> {
        let key = (number, window);
        let before = self.opened.get(&(session, number));
        let before = before.map(|window| (number, window.clone()));
        if before.as_ref() == Some(&key) {
            return Ok(());
        }
        let is_last = |key: &Key| self.shown.get(key).is_some_and(|it| it.sessions.len() == 1);
        let closes = before.as_ref().is_some_and(is_last);
        if !self.shown.contains_key(&key) && self.shown.len() - usize::from(closes) >= max {
            let what = "different windows on one topic";
            return Err(Refusal::TooMany { what, max });
        }
        self.close(session, number);
        self.opened.insert((session, number), key.1.clone());
        self.shown.entry(key).or_default().sessions.insert(session);
        Ok(())
    }

    pub(super) fn close(&mut self, session: SessionId, number: u32) {
        let Some(window) = self.opened.remove(&(session, number)) else {
            return;
        };
        let key = (number, window);
        if let Some(shown) = self.shown.get_mut(&key) {
            shown.sessions.remove(&session);
            if shown.sessions.is_empty() {
                self.shown.remove(&key);
            }
        }
    }
}

impl Shown {
    /// The rows as they were last told, with the number of people now.
    pub(super) fn state(&mut self, topic: &Topic, number: u32, count: usize) -> Arc<Event> {
        if let Some(state) = &self.state
            && matches!(**state, Event::Window { count: told, .. } if told == count)
        {
            return state.clone();
        }
        let state = Arc::new(Event::Window {
            topic: topic.clone(),
            number,
            count,
            rows: self.rows.clone(),
        });
        self.state = Some(state.clone());
        state
    }

    /// Whether the rows may be different, because somebody has changed.
    pub(super) fn is_affected(&self, window: &Window, touched: &Touched) -> bool {
        let is_full = self.rows.len() >= window.rows();
        let last = self.rows.last().filter(|_| is_full);
        let enters = match &window.span().0 {
            Kind::Joined { after } => {
                let last = last.map(|it| joined_key(it));
                has_between(&touched.joined, after.as_ref(), last.as_ref(), |_| true)
            }
            Kind::Named { prefix, from } => {
                let last = last.map(|it| name_key(it));
                let fits = |key: &NameKey| key.0.starts_with(&**prefix);
                has_between(&touched.names, Some(from), last.as_ref(), fits)
            }
        };
        enters || self.rows.iter().any(|it| touched.users.contains(&it.user))
    }

    /// Replaces the rows. Returns who left, and the rows that are new or different, each with its place.
    pub(super) fn replace(&mut self, rows: Vec<Arc<Person>>) -> (Vec<UserId>, Vec<Row>) {
        let before = std::mem::replace(&mut self.rows, rows);
        let before: BTreeMap<&UserId, &Arc<Person>> =
            before.iter().map(|it| (&it.user, it)).collect();
        let here: BTreeSet<&UserId> = self.rows.iter().map(|it| &it.user).collect();
        let gone = before.keys().filter(|it| !here.contains(*it));
        let gone = gone.map(|it| (*it).clone()).collect();
        let is_new = |person: &Arc<Person>| {
            let before = before.get(&person.user);
            before.is_none_or(|it| !it.shows_the_same_as(person))
        };
        let rows = self.rows.iter().enumerate();
        let rows = rows.filter(|(_, person)| is_new(person));
        let rows = rows.map(|(at, person)| Row {
            at,
            person: person.clone(),
        });
        (gone, rows.collect())
    }
}

/// Whether one of the sorted `keys` comes after `after`, not after `last`, and fits. If the first one after `after` does
/// not fit, none of the others does.
fn has_between<K: Ord>(
    keys: &[K],
    after: Option<&K>,
    last: Option<&K>,
    fits: impl Fn(&K) -> bool,
) -> bool {
    let from = keys.partition_point(|key| after.is_some_and(|it| key <= it));
    let first = keys.get(from);
    first.is_some_and(|key| fits(key) && last.is_none_or(|it| key <= it))
}

/// The people that have changed since the last event of the topic, and their places now.
pub(super) struct Touched {
    users: HashSet<UserId>,
    joined: Vec<JoinedKey>,
    names: Vec<NameKey>,
}

impl Touched {
    pub(super) fn new<'a>(users: impl Iterator<Item = &'a UserId>, roster: &Roster) -> Self {
        let users: HashSet<UserId> = users.cloned().collect();
        let people: Vec<_> = users.iter().filter_map(|it| roster.person(it)).collect();
        let mut joined: Vec<_> = people.iter().map(|it| joined_key(it)).collect();
        joined.sort_unstable();
        let mut names: Vec<_> = match roster.names_len() {
            Some(_) => people.iter().map(|it| name_key(it)).collect(),
            None => Vec::new(),
        };
        names.sort_unstable();
        Touched {
            users,
            joined,
            names,
        }
    }
}
