//! Opens and closes windows on a topic, and tells them what they show.

use std::sync::Arc;
use std::time::Duration;

use super::TopicState;
use crate::rosters::roster::Roster;
use crate::rosters::windows::{Key, Touched};
use crate::rosters::{Effect, Hearers};
use crate::window::row_of;
use crate::{
    Event, Limits, Order, Person, Refusal, SessionId, Span, Timestamp, Timing, Topic, Window,
};

/// How long a roster stays sorted by name after the last window or question that needed it.
const NAMES_KEPT: Duration = Duration::from_secs(60);

impl TopicState {
    /// Opens, moves or repeats a window of a session.
    pub(in crate::rosters) fn open_window<A>(
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

    pub(in crate::rosters) fn close_window(
        &mut self,
        now: Timestamp,
        session: SessionId,
        number: u32,
    ) {
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
    pub(in crate::rosters) fn tell_opened_windows<A>(
        &mut self,
        topic: &Topic,
        out: &mut Vec<Effect<A>>,
    ) {
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
    pub(in crate::rosters) fn tell_windows<A>(
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

    /// At most `rows` people of `span`, after its first `offset`.
    pub(in crate::rosters) fn rows(
        &mut self,
        now: Timestamp,
        span: &Span,
        offset: usize,
        rows: usize,
    ) -> Vec<Arc<Person>> {
        if span.order() == Order::Name {
            self.roster.index_names();
            let is_open = self.windows.as_ref().is_some_and(|it| it.has_names());
            self.names_until = (!is_open).then_some(now + NAMES_KEPT);
        }
        self.roster.rows(span, offset, rows)
    }

    /// Stops sorting people by name where nobody has wanted it for some time.
    pub(in crate::rosters) fn forget_unused_names(&mut self, now: Timestamp) {
        if self.names_until.is_some_and(|it| it <= now) {
            self.names_until = None;
            self.roster.forget_names();
        }
    }
}

fn rows_of(roster: &Roster, window: &Window) -> Vec<Arc<Person>> {
    let rows = roster.rows(window.span(), 0, window.rows());
    rows.iter().map(row_of).collect()
}

fn tell<A>(topic: &Topic, number: u32, sessions: Vec<SessionId>, event: Arc<Event>) -> Effect<A> {
    Effect::Tell {
        topic: topic.clone(),
        to: Hearers::Window(number, sessions),
        event,
    }
}
