//! What the watchers of a topic are told, and in which order.

use std::sync::Arc;
use std::time::Duration;

use super::{Summary, TopicState, Touched as Before};
use crate::cluster::{Request, Subject};
use crate::rosters::pace::Load;
use crate::rosters::windows::Touched;
use crate::rosters::{Effect, Hearers};
use crate::{
    Change, Event, Limits, Person, SessionId, Timestamp, Timing, Topic, TopicVersion, Watching,
};

/// The part of a limit below which a room that was too big is listed again.
const LISTED_AGAIN: (usize, usize) = (4, 5);
/// The shortest time between an event that is sent early because somebody joins, and the next one. The clock is read once
/// for all messages that a node finds at one time, so several people who join then make one event, and not one each.
const NEWCOMERS_TOGETHER: Duration = Duration::from_millis(1);

/// The size of a list, in bytes, above which a room is summarised even if it has few people.
const LISTED_BYTES_MAX: usize = 1024 * 1024;

impl TopicState {
    /// Brings one watcher from the version that it has to what the others were last told.
    pub(in crate::rosters) fn catch_up<A>(
        &mut self,
        topic: &Topic,
        watcher: SessionId,
        watching: Watching,
        have: Option<TopicVersion>,
        limits: &Limits,
        out: &mut Vec<Effect<A>>,
    ) {
        let mut tell = |event: Arc<Event>| {
            out.push(Effect::Tell {
                topic: topic.clone(),
                to: Hearers::One(watcher),
                event,
            });
        };
        if self.is_big || watching == Watching::Summary {
            let summary = self.summary(topic, limits);
            if !self.is_summarised(&summary) {
                self.summarised = None;
            }
            tell(summary.event.clone());
            // A summary does not say who is typing, and a client that missed events may think that somebody still is.
            let mut typing = self.ephemeral_events.typing_as_told();
            typing.truncate(limits.typing_max);
            if !typing.is_empty() || have.is_some() {
                tell(Arc::new(Event::Typing {
                    topic: topic.clone(),
                    typing,
                    started: Vec::new(),
                    stopped: Vec::new(),
                }));
            }
            return;
        }
        // The events that are kept of earlier changes do not have everyone.
        let have = have.filter(|_| watching != Watching::Whole);
        match have.and_then(|have| self.missing(have, limits)) {
            Some(missing) => {
                missing.into_iter().for_each(&mut tell);
                tell(Arc::new(Event::Unchanged {
                    topic: topic.clone(),
                    clock: self.clock,
                    typing: self.ephemeral_events.typing_as_told(),
                    cursors: self.ephemeral_events.cursors(),
                }));
            }
            None => tell(self.snapshot(topic)),
        }
    }

    /// The events that a watcher with version `have` has missed, if all of them are still kept.
    fn missing(&self, have: TopicVersion, limits: &Limits) -> Option<Vec<Arc<Event>>> {
        if have.epoch != self.clock.epoch {
            return None;
        }
        let behind = self.clock.version.checked_sub(have.version)?;
        let behind = usize::try_from(behind).ok()?;
        let (kept, people) = (limits.versions_kept, self.roster.len());
        self.history.last(behind, kept, people)
    }

    /// Everyone as they were last told, so that the next event applies to it.
    fn snapshot(&mut self, topic: &Topic) -> Arc<Event> {
        if let Some(snapshot) = &self.snapshot {
            return snapshot.clone();
        }
        let mut people: Vec<Arc<Person>> = self
            .roster
            .people()
            .filter(|it| !self.touched.contains_key(&it.user))
            .cloned()
            .collect();
        if !self.touched.is_empty() {
            let before = self.touched.values().filter_map(|it| it.before.clone());
            people.extend(before);
            people.sort_by(|a, b| (a.joined_at, &a.user).cmp(&(b.joined_at, &b.user)));
        }
        let snapshot = Arc::new(Event::Everyone {
            topic: topic.clone(),
            clock: self.clock,
            people,
            // All users who type and all cursors, because a client that applies changes never learns of those left out.
            typing: self.ephemeral_events.typing_as_told(),
            cursors: self.ephemeral_events.cursors(),
        });
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// How many people there are and who the first are, as the changes were last told: a version names one state, and
    /// whoever has a version is not told its state again.
    fn summary(&mut self, topic: &Topic, limits: &Limits) -> Arc<Summary> {
        if let Some(summary) = &self.summary {
            return summary.clone();
        }
        let untouched = self.roster.people();
        let untouched = untouched.filter(|it| !self.touched.contains_key(&it.user));
        let mut faces: Vec<Arc<Person>> = untouched.take(limits.faces_max).cloned().collect();
        let mut count = self.roster.len();
        for (user, touched) in &self.touched {
            count -= usize::from(self.roster.person(user).is_some());
            count += usize::from(touched.before.is_some());
            faces.extend(touched.before.clone());
        }
        faces.sort_by(|a, b| (a.joined_at, &a.user).cmp(&(b.joined_at, &b.user)));
        faces.truncate(limits.faces_max);
        let event = Arc::new(Event::Summary {
            topic: topic.clone(),
            clock: self.clock,
            count,
            sample: faces.iter().map(newest_meta_only).collect(),
        });
        let summary = Arc::new(Summary {
            count,
            faces,
            event,
        });
        self.summary = Some(summary.clone());
        summary
    }

    /// Sends the changes of the topic, if its next event is due.
    pub(in crate::rosters) fn tell<A>(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        limits: &Limits,
        load: Load,
        out: &mut Vec<Effect<A>>,
    ) {
        if self.is_dirty() && self.pace.may_speak(now) {
            self.speak(None, now, topic, limits, load, out);
        }
        if !self.is_dirty() && !self.is_opening() {
            self.tell_windows(now, topic, None, out);
        }
        self.forget_unused_names(now);
        // With the changes that wait to be told, or it would tell of them a second later.
        let is_due = self.summary_due && self.summarises_at <= now;
        if is_due && self.touched.is_empty() && !self.is_opening() {
            self.summary_due = false;
            self.summarises_at = now + Timing::TICK_MAX;
            self.tell_summary(topic, limits, out);
        }
    }

    /// Sends the changes of the topic to all others, if its next event is due, so that a session that has just joined
    /// is in the state that it is going to be sent.
    pub(in crate::rosters) fn make_way<A>(
        &mut self,
        newcomer: SessionId,
        now: Timestamp,
        topic: &Topic,
        limits: &Limits,
        load: Load,
        out: &mut Vec<Effect<A>>,
    ) {
        if self.is_dirty() && self.pace.may_speak(now) {
            self.speak(Some(newcomer), now, topic, limits, load, out);
            self.pace.not_before(now + NEWCOMERS_TOGETHER);
        }
    }

    /// Sends the changes of the topic, whether its next event is due or not.
    pub(in crate::rosters) fn tell_at_once<A>(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        limits: &Limits,
        load: Load,
        out: &mut Vec<Effect<A>>,
    ) {
        self.pace.allow_now(now);
        self.tell(now, topic, limits, load, out);
    }

    fn speak<A>(
        &mut self,
        newcomer: Option<SessionId>,
        now: Timestamp,
        topic: &Topic,
        limits: &Limits,
        load: Load,
        out: &mut Vec<Effect<A>>,
    ) {
        self.snapshot = None;
        self.summary = None;
        self.told.count(now);
        self.told_after = Some(now.since(self.changed_at.take().unwrap_or(now)));
        if !self.ephemerals.is_empty() {
            let ephemerals = std::mem::take(&mut self.ephemerals);
            let subject = Subject::Topic(topic.clone());
            out.push(Effect::Ask(Request::Ephemeral(subject, ephemerals)));
        }
        let is_open = self.windows.is_some();
        let touched = is_open.then(|| Touched::new(self.touched.keys(), &self.roster));
        let changes = self.take_changes();
        if !changes.is_empty() {
            if self.clock.epoch == self.empty_epoch {
                self.tell_beginning(newcomer, topic, out);
            }
            self.clock.version += 1;
            self.tell_changes(newcomer, now, topic, changes, limits, out);
            if self.roster.is_empty() {
                self.start_epoch();
            }
        }
        self.tell_windows(now, topic, touched.as_ref(), out);
        let tellings = self.ephemeral_events.take(now, topic, limits, &self.roster);
        if !tellings.is_empty() {
            // The changes may have been told as a snapshot, which says who was typing before this event.
            self.snapshot = None;
        }
        for mut telling in tellings {
            if !self.has_watchers() {
                continue;
            }
            telling.except.extend(newcomer);
            let topic = || topic.clone();
            out.push(Effect::Tell {
                topic: topic(),
                to: Hearers::AllBut(telling.except),
                event: Arc::new(telling.event),
            });
            out.extend(
                telling
                    .instead
                    .into_iter()
                    .map(|(one, event)| Effect::Tell {
                        topic: topic(),
                        to: Hearers::One(one),
                        event: Arc::new(event),
                    }),
            );
        }
        self.pace.spoke(now, load, self.roster.len(), self.is_big);
        if self.ephemeral_events.is_dirty() {
            // Some typing or cursors were over a limit.
            self.pace.not_before(self.ephemeral_events.window_ends_at());
        }
    }

    /// Begins a new epoch for a topic that was last told to be empty, and tells the empty state in it.
    fn tell_beginning<A>(
        &mut self,
        newcomer: Option<SessionId>,
        topic: &Topic,
        out: &mut Vec<Effect<A>>,
    ) {
        let epoch = self.epochs.next();
        self.clock = TopicVersion { epoch, version: 0 };
        self.summarised = None;
        if self.full_watchers > 0 {
            out.push(Effect::Tell {
                topic: topic.clone(),
                to: everyone_but(newcomer),
                event: Arc::new(Event::EpochStarted {
                    topic: topic.clone(),
                    clock: self.clock,
                }),
            });
        }
    }

    fn take_changes(&mut self) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        let mut changes: Vec<Change> = touched
            .filter_map(|(user, Before { before, reason })| {
                match (before, self.roster.person(&user)) {
                    (None, None) => None,
                    (None, Some(after)) => Some(Change::Joined(after.clone())),
                    (Some(person), None) => Some(Change::Left { person, reason }),
                    (Some(before), Some(after)) if before.shows_the_same_as(after) => None,
                    (Some(from), Some(after)) => {
                        let to = after.clone();
                        Some(Change::Updated { from, to })
                    }
                }
            })
            .collect();
        // Those who came together are told in the order they came.
        changes.sort_by_key(|change| match change {
            Change::Left { .. } | Change::Updated { .. } => None,
            Change::Joined(person) => Some(person.joined_at),
        });
        changes
    }

    fn tell_changes<A>(
        &mut self,
        newcomer: Option<SessionId>,
        now: Timestamp,
        topic: &Topic,
        changes: Vec<Change>,
        limits: &Limits,
        out: &mut Vec<Effect<A>>,
    ) {
        let everyone = || everyone_but(newcomer);
        let was_big = self.is_big;
        let (part, whole) = LISTED_AGAIN;
        let (people, bytes) = match was_big {
            false => (limits.listed_max, LISTED_BYTES_MAX),
            true => (
                limits.listed_max * part / whole,
                LISTED_BYTES_MAX * part / whole,
            ),
        };
        self.is_big = self.roster.len() > people || self.roster.weight() > bytes;
        // This is done even if nobody watches the summary. Otherwise the time of the next one would tell whether somebody had.
        self.summary_due = true;
        if self.is_big != was_big {
            self.summarised = None;
        }
        if self.is_big || was_big {
            self.history.clear();
            if !self.is_big && self.full_watchers > 0 {
                out.push(Effect::Tell {
                    topic: topic.clone(),
                    to: everyone(),
                    event: self.snapshot(topic),
                });
            }
            return;
        }
        let event = |changes, everyone| {
            Arc::new(Event::Changes {
                topic: topic.clone(),
                clock: self.clock,
                changes,
                everyone,
            })
        };
        let mut tell = |event| {
            out.push(Effect::Tell {
                topic: topic.clone(),
                to: everyone(),
                event,
            });
        };
        let kept = if self.whole_watchers > 0 {
            let people = self.roster.people().cloned().collect();
            tell(event(changes.clone(), Some(people)));
            event(changes, None)
        } else {
            let event = event(changes, None);
            if self.full_watchers > 0 {
                tell(event.clone());
            }
            event
        };
        self.history.add(now, kept, limits.versions_kept);
    }

    /// Whether `summary` says what everybody who sees it was last told. It does while only people change who are
    /// not among its faces.
    fn is_summarised(&self, summary: &Summary) -> bool {
        self.summarised.as_ref().is_some_and(|told| {
            // With as many people as before there are as many faces.
            let mut faces = told.faces.iter().zip(&summary.faces);
            told.count == summary.count && faces.all(|(told, now)| Arc::ptr_eq(told, now))
        })
    }

    fn tell_summary<A>(&mut self, topic: &Topic, limits: &Limits, out: &mut Vec<Effect<A>>) {
        let (to, is_wanted) = match self.is_big {
            true => (Hearers::AllBut(Vec::new()), self.has_watchers()),
            false => (Hearers::Summary, self.summary_watchers > 0),
        };
        if !is_wanted {
            self.summarised = None;
            return;
        }
        let summary = self.summary(topic, limits);
        if self.is_summarised(&summary) {
            return;
        }
        out.push(Effect::Tell {
            topic: topic.clone(),
            to,
            event: summary.event.clone(),
        });
        self.summarised = Some(summary);
    }
}

/// Those who want to see everyone, but for one who is about to.
fn everyone_but(newcomer: Option<SessionId>) -> Hearers {
    newcomer.map_or(Hearers::Full, Hearers::FullBut)
}

/// A person with their newest session only: a summary is not to grow with tabs.
fn newest_meta_only(person: &Arc<Person>) -> Arc<Person> {
    match &person.members[..] {
        [.., newest] if person.members.len() > 1 => Arc::new(Person {
            members: vec![newest.clone()],
            ..Person::clone(person)
        }),
        _ => person.clone(),
    }
}
