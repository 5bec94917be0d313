//! The windows that are open on a topic: which rows each of them shows, and what changes in them.
//!
//! - A watcher opens a window under a number of its own. Windows that are equal, number included, are one: they have the
//!   same rows, and their watchers share each event.
//! - A window that opens is sent its rows as they are at that moment ([`Event::Window`]). From then on it is sent what has
//!   changed in its rows ([`Event::WindowChanges`]) whenever the topic speaks, so at most once a second in a big room.
//! - The rows are taken from the roster, which is sorted by when people joined at all times. It is sorted by name while a
//!   window of that order is open, and [`NAMES_KEPT`] longer, so that nobody makes it sort again and again.
//! - When the topic speaks, a window is looked at only if one of its rows was touched, or somebody who was touched is in
//!   its range now. Then its rows are read again, which are [`WINDOW_ROWS_MAX`](crate::WINDOW_ROWS_MAX) at most. So the
//!   cost of a change grows with the windows and with the logarithm of the people, and not with the people.
//! - The number of people is sent to all windows at most once in [`Timing::TICK_MAX`], if it has changed.
//! - Nobody who hides is in a roster, and rows come from the roster alone. So windows are the same with them and without.
//! - In a cluster a window counts as a watcher: the topic is followed while one is open, and the window is sent its first
//!   rows when the entries of the other nodes are known.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::effect::{Effect, Hearers};
use super::roster::Roster;
use super::topic_state::TopicState;
use crate::window::{JoinedKey, Kind, NameKey, joined_key, name_key, row_of};
use crate::{
    Event, Limits, Order, Person, Refusal, Row, SessionId, Span, Timestamp, Timing, Topic, UserId,
    Window,
};

/// How long a roster stays sorted by name after the last window or question that needed it.
const NAMES_KEPT: Duration = Duration::from_secs(60);

/// The number of a window, and the rows that it has.
type Key = (u32, Window);

/// All windows that are open on one topic.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The window that each session has open under each of its numbers.
    opened: BTreeMap<(SessionId, u32), Window>,
    shown: BTreeMap<Key, Shown>,
    /// The number of people that all windows were last told.
    count: usize,
    /// Whether a window was told another number of people when it opened.
    is_uneven: bool,
    /// When the number of people may be told again.
    counts_at: Timestamp,
}

/// One window, with everybody who has it open.
#[derive(Debug, Default)]
struct Shown {
    sessions: BTreeSet<SessionId>,
    /// The rows as they were last told.
    rows: Vec<Arc<Person>>,
    /// Whether the first rows were told. They are not before the entries of other nodes are known.
    is_told: bool,
    /// The first event of whoever opens it, until something changes.
    state: Option<Arc<Event>>,
}

impl Windows {
    pub(super) fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }

    fn has_names(&self) -> bool {
        let mut windows = self.shown.keys();
        windows.any(|(_, window)| window.span().order() == Order::Name)
    }

    /// When the number of people has to be told, of which there are `people` now.
    pub(super) fn count_due_at(&self, people: usize) -> Option<Timestamp> {
        let is_due = !self.is_empty() && (self.is_uneven || self.count != people);
        is_due.then_some(self.counts_at)
    }

    /// Opens `window` for a session, in place of the one that it has open under the same number.
    fn open(
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

    fn close(&mut self, session: SessionId, number: u32) {
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
    fn state(&mut self, topic: &Topic, number: u32, count: usize) -> Arc<Event> {
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

    /// Whether the rows may be others, because somebody was touched.
    fn is_affected(&self, window: &Window, touched: &Touched) -> bool {
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
    fn replace(&mut self, rows: Vec<Arc<Person>>) -> (Vec<UserId>, Vec<Row>) {
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

/// The people that were touched since the topic last spoke, and their places now.
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

impl TopicState {
    /// Opens, moves or repeats a window of a session.
    pub(super) fn open_window<A>(
        &mut self,
        topic: &Topic,
        session: SessionId,
        (number, window): Key,
        limits: &Limits,
        out: &mut Vec<Effect<A>>,
    ) -> Result<(), Refusal> {
        let is_ready = !self.is_opening() && !self.has_to_open();
        let people = self.roster.len();
        let is_first = self.windows.is_none();
        let windows = self.windows.get_or_insert_default();
        if is_first {
            windows.count = people;
        }
        let key = (number, window);
        let opened = windows.open(session, key.clone(), limits.topic_windows_max);
        if opened.is_ok() && is_ready {
            if key.1.span().order() == Order::Name {
                self.roster.index_names();
                self.names_until = None;
            }
            windows.is_uneven |= windows.count != people;
            if let Some(shown) = windows.shown.get_mut(&key) {
                if !std::mem::replace(&mut shown.is_told, true) {
                    shown.rows = rows_of(&self.roster, &key.1);
                }
                let event = shown.state(topic, number, people);
                out.push(tell(topic, number, vec![session], event));
            }
        }
        self.drop_unused_windows();
        opened
    }

    pub(super) fn close_window(&mut self, now: Timestamp, session: SessionId, number: u32) {
        let Some(windows) = &mut self.windows else {
            return;
        };
        let had_names = windows.has_names();
        windows.close(session, number);
        if had_names && !windows.has_names() {
            self.names_until = Some(now + NAMES_KEPT);
        }
        self.drop_unused_windows();
    }

    fn drop_unused_windows(&mut self) {
        if self.windows.as_ref().is_some_and(|it| it.is_empty()) {
            self.windows = None;
        }
    }

    /// Sends the windows their first rows that were opened before the entries of other nodes were known.
    pub(super) fn tell_opened_windows<A>(&mut self, topic: &Topic, out: &mut Vec<Effect<A>>) {
        let Some(windows) = &mut self.windows else {
            return;
        };
        if windows.has_names() {
            self.roster.index_names();
            self.names_until = None;
        }
        let people = self.roster.len();
        windows.is_uneven |= windows.count != people;
        let untold = windows.shown.iter_mut().filter(|(_, it)| !it.is_told);
        for ((number, window), shown) in untold {
            shown.is_told = true;
            shown.rows = rows_of(&self.roster, window);
            let sessions = shown.sessions.iter().copied().collect();
            let event = shown.state(topic, *number, people);
            out.push(tell(topic, *number, sessions, event));
        }
    }

    /// Tells the windows what has changed in their rows, and the number of people if that is due.
    pub(super) fn tell_windows<A>(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        touched: Option<&Touched>,
        out: &mut Vec<Effect<A>>,
    ) {
        let people = self.roster.len();
        let Some(windows) = &mut self.windows else {
            return;
        };
        let is_due = windows.count_due_at(people).is_some_and(|it| it <= now);
        let count = is_due.then_some(people);
        if is_due {
            windows.count = people;
            windows.is_uneven = false;
            windows.counts_at = now + Timing::TICK_MAX;
        }
        for ((number, window), shown) in &mut windows.shown {
            if !shown.is_told {
                continue;
            }
            let is_affected = touched.is_some_and(|it| shown.is_affected(window, it));
            let (gone, rows) = match is_affected {
                true => shown.replace(rows_of(&self.roster, window)),
                false => Default::default(),
            };
            if count.is_none() && gone.is_empty() && rows.is_empty() {
                continue;
            }
            shown.state = None;
            let event = Arc::new(Event::WindowChanges {
                topic: topic.clone(),
                number: *number,
                count,
                gone,
                rows,
            });
            let sessions = shown.sessions.iter().copied().collect();
            out.push(tell(topic, *number, sessions, event));
        }
    }

    /// The first `rows` people of `span`, and the number of people in the topic.
    pub(super) fn rows(&mut self, now: Timestamp, span: &Span, rows: usize) -> Vec<Arc<Person>> {
        if span.order() == Order::Name {
            self.roster.index_names();
            let is_open = self.windows.as_ref().is_some_and(|it| it.has_names());
            self.names_until = (!is_open).then_some(now + NAMES_KEPT);
        }
        self.roster.rows(span, rows)
    }

    /// Stops sorting people by name where nobody has wanted it for some time.
    pub(super) fn forget_unused_names(&mut self, now: Timestamp) {
        if self.names_until.is_some_and(|it| it <= now) {
            self.names_until = None;
            self.roster.forget_names();
        }
    }
}

fn rows_of(roster: &Roster, window: &Window) -> Vec<Arc<Person>> {
    let rows = roster.rows(window.span(), window.rows());
    rows.iter().map(row_of).collect()
}

fn tell<A>(topic: &Topic, number: u32, sessions: Vec<SessionId>, event: Arc<Event>) -> Effect<A> {
    Effect::Tell {
        topic: topic.clone(),
        to: Hearers::Window(number, sessions),
        event,
    }
}
