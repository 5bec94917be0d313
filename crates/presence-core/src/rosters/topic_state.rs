//! One channel or workspace: who is there, and what its watchers were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fleeting::Fleeting;
use super::history::History;
use super::meter::Meter;
use super::pace::{Load, Pace};
use super::roster::Roster;
use super::shared::Copy;
use super::{Effect, Hearers};
use crate::cluster::{Ephemeral, Request, Subject};
use crate::epochs::Epochs;
use crate::explain::Watchers;
use crate::{
    Change, Clock, Event, Limits, Member, Person, Reason, SessionId, Timestamp, Timing, Topic,
    UserId, Watching,
};

/// The part of a limit below which a room that was too big is listed again.
const LISTED_AGAIN: (usize, usize) = (4, 5);
/// The shortest time between an event that a newcomer did not wait for and the next one. The clock is read once for all
/// that a node finds at one time, so several who come then make one event, and not one each.
const NEWCOMERS_TOGETHER: Duration = Duration::from_millis(1);

/// The size of a list, in bytes, above which a room is summarised even if it has few people.
const LISTED_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) roster: Roster,
    pub(super) fleeting: Fleeting,
    full_watchers: usize,
    /// How many of the full watchers get everyone with each change.
    whole_watchers: usize,
    summary_watchers: usize,
    clock: Clock,
    /// The epoch of every empty place. What came before somebody was here is nothing that could be missed, so an empty place
    /// has one state: whoever comes back to it cannot tell whether anybody, hidden or not, has watched it meanwhile.
    empty_epoch: u64,
    epochs: Epochs,
    history: History,
    /// The users who were changed since the last event, each as they were last told.
    touched: BTreeMap<UserId, Touched>,
    /// Whether the room is too big to list.
    is_big: bool,
    /// Whether a summary has to be told.
    summary_due: bool,
    pub(super) pace: Pace,
    /// How often it speaks.
    pub(super) told: Meter,
    summarises_at: Timestamp,
    /// The whole state as it was last told, until something else is told.
    snapshot: Option<Arc<Event>>,
    armed: Option<Timestamp>,
    /// Since when there has been something to tell.
    changed_at: Option<Timestamp>,
    /// How long the oldest change of the last event had waited to be told.
    pub(super) told_after: Option<Duration>,
    /// What the store has of this place, if there is a store.
    pub(super) copy: Option<Box<Copy>>,
    /// Sessions that began to watch before the store's entries were read.
    pub(super) waiting: Vec<(SessionId, Watching, Option<Clock>)>,
    /// What other nodes are to be told with the next event.
    ephemerals: Vec<Ephemeral>,
}

#[derive(Debug)]
struct Touched {
    before: Option<Arc<Person>>,
    reason: Reason,
}

impl TopicState {
    /// `seed` is a random number and stays a secret.
    pub(super) fn new(empty_epoch: u64, seed: u64, is_shared: bool) -> Self {
        TopicState {
            roster: Roster::default(),
            fleeting: Fleeting::default(),
            full_watchers: 0,
            whole_watchers: 0,
            summary_watchers: 0,
            clock: Clock {
                epoch: empty_epoch,
                version: 0,
            },
            empty_epoch,
            epochs: Epochs::new(seed),
            history: History::default(),
            touched: BTreeMap::new(),
            is_big: false,
            summary_due: false,
            pace: Pace::default(),
            told: Meter::default(),
            summarises_at: Timestamp::default(),
            snapshot: None,
            armed: None,
            changed_at: None,
            told_after: None,
            copy: is_shared.then(Box::default),
            waiting: Vec::new(),
            ephemerals: Vec::new(),
        }
    }

    /// Counts from the start: what it was told of before, nobody here has followed.
    pub(super) fn begin_anew(&mut self) {
        self.history.clear();
        self.touched.clear();
        self.snapshot = None;
        let epoch = match self.roster.is_empty() {
            true => self.empty_epoch,
            false => self.epochs.next(),
        };
        self.clock = Clock { epoch, version: 0 };
    }

    /// Whether anybody may have been told anything since the epoch began.
    pub(super) fn was_told(&self) -> bool {
        self.clock.version > 0 || !self.history.is_empty()
    }

    /// Whether anyone would miss it.
    pub(super) fn is_needed(&self) -> bool {
        !self.roster.is_empty()
            || self.is_watched()
            || !self.fleeting.is_empty()
            || !self.touched.is_empty()
            || self.copy.as_ref().is_some_and(|it| it.is_needed())
    }

    /// Whether it could speak at once. One that nobody misses is kept until then: or else, whether it must wait would tell
    /// whether somebody has watched it meanwhile.
    pub(super) fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_at() <= now
    }

    fn quiet_at(&self) -> Timestamp {
        self.pace.next_at().max(self.summarises_at)
    }

    /// Whether what the store has is being read for the first time. Until then nobody is told anything.
    pub(super) fn is_opening(&self) -> bool {
        self.copy.as_ref().is_some_and(|it| it.is_opening)
    }

    /// Whether the store's entries have yet to be read.
    pub(super) fn has_to_open(&self) -> bool {
        self.copy.as_ref().is_some_and(|it| !it.is_followed)
    }

    /// Queues an ephemeral message for the other nodes, to be sent with the next event.
    pub(super) fn queue_ephemeral(&mut self, ephemeral: Ephemeral) {
        if self.copy.is_none() {
            return;
        }
        // Of what somebody types or points at, the last counts.
        let replaces = |before: &Ephemeral| match (before, &ephemeral) {
            (Ephemeral::Typed { session: a, .. }, Ephemeral::Typed { session: b, .. }) => a == b,
            (Ephemeral::Pointed(a), Ephemeral::Pointed(b)) => a.session == b.session,
            _ => false,
        };
        self.ephemerals.retain(|it| !replaces(it));
        self.ephemerals.push(ephemeral);
    }

    pub(super) fn is_big(&self) -> bool {
        self.is_big
    }

    /// The version that watchers were last told.
    pub(super) fn version(&self) -> Clock {
        self.clock
    }

    pub(super) fn watchers(&self) -> Watchers {
        Watchers {
            full: self.full_watchers,
            whole: self.whole_watchers,
            summary: self.summary_watchers,
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.full_watchers + self.summary_watchers > 0
    }

    pub(super) fn write(&mut self, session: SessionId, entry: Result<Arc<Member>, Reason>) {
        let user = match &entry {
            Ok(member) => Some(&member.user),
            Err(_) => self.roster.user_of(session),
        };
        let Some(user) = user.cloned() else {
            return;
        };
        let before = self.roster.person(&user).cloned();
        let touched = self.touched.entry(user.clone()).or_insert(Touched {
            before,
            reason: Reason::Left,
        });
        match entry {
            Ok(member) => {
                let alias = self.roster.alias_of(session);
                if alias.is_some_and(|it| it != member.alias) {
                    // It has been in hiding, and came out before this was heard: nobody knows it again.
                    self.remove(&user, session);
                }
                self.roster.put(member);
            }
            Err(reason) => {
                touched.reason = reason;
                self.remove(&user, session);
            }
        }
    }

    fn remove(&mut self, user: &UserId, session: SessionId) {
        self.roster.remove(session);
        self.fleeting.stop_typing(user, session);
        self.fleeting.forget_cursor(session);
    }

    /// A session that is here, and what others are shown as its id.
    pub(super) fn ids_of(&self, session: SessionId) -> (SessionId, SessionId) {
        let alias = self.roster.alias_of(session);
        (session, alias.unwrap_or(session))
    }

    pub(super) fn count_watcher(&mut self, watching: Watching, by: isize) {
        let counts: &mut [&mut usize] = match watching {
            Watching::Full => &mut [&mut self.full_watchers],
            Watching::Whole => &mut [&mut self.full_watchers, &mut self.whole_watchers],
            Watching::Summary => &mut [&mut self.summary_watchers],
        };
        for count in counts {
            **count = count.saturating_add_signed(by);
        }
    }

    /// Brings one watcher from the version that it has to what the others were last told.
    pub(super) fn catch_up<A>(
        &mut self,
        topic: &Topic,
        watcher: SessionId,
        watching: Watching,
        have: Option<Clock>,
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
            tell(Arc::new(self.summary(topic, limits)));
            // A summary does not say who is typing, and whoever lost track may think that somebody still is.
            let mut typing = self.fleeting.typing_as_told();
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
        // What is kept of earlier changes is without everyone.
        let have = have.filter(|_| watching != Watching::Whole);
        match have.and_then(|have| self.missing(have, limits)) {
            Some(missing) => {
                missing.into_iter().for_each(&mut tell);
                tell(Arc::new(Event::Unchanged {
                    topic: topic.clone(),
                    clock: self.clock,
                    typing: self.fleeting.typing_as_told(),
                    cursors: self.fleeting.cursors(),
                }));
            }
            None => tell(self.snapshot(topic)),
        }
    }

    /// The events that a watcher with version `have` has missed, if all of them are still kept.
    fn missing(&self, have: Clock, limits: &Limits) -> Option<Vec<Arc<Event>>> {
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
            // Of everyone, as the people are: who keeps the list by changes could not make up for those left out.
            typing: self.fleeting.typing_as_told(),
            cursors: self.fleeting.cursors(),
        });
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    fn summary(&self, topic: &Topic, limits: &Limits) -> Event {
        Event::Summary {
            topic: topic.clone(),
            clock: self.clock,
            count: self.roster.len(),
            sample: self
                .roster
                .people()
                .take(limits.faces_max)
                .map(newest_meta_only)
                .collect(),
        }
    }

    fn is_dirty(&self) -> bool {
        let news = !self.touched.is_empty() || self.fleeting.is_dirty();
        (news || !self.ephemerals.is_empty()) && !self.is_opening()
    }

    /// Notes when the first change came that has yet to be told.
    pub(super) fn note_change(&mut self, now: Timestamp) {
        match self.is_dirty() {
            true => drop(self.changed_at.get_or_insert(now)),
            false => self.changed_at = None,
        }
    }

    /// Tells what there is to tell, if the topic may speak.
    pub(super) fn tell<A>(
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
        if self.summary_due && self.summarises_at <= now && !self.is_opening() {
            self.summary_due = false;
            self.summarises_at = now + Timing::TICK_MAX;
            self.tell_summary(topic, limits, out);
        }
    }

    /// Tells the others what there is to tell, if the topic may speak, so that a session that has just joined is in the
    /// state that it is going to be sent.
    pub(super) fn make_way<A>(
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

    /// Tells what there is to tell, whether the topic may speak or not.
    pub(super) fn tell_at_once<A>(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        limits: &Limits,
        load: Load,
        out: &mut Vec<Effect<A>>,
    ) {
        self.pace.is_over(now);
        self.tell(now, topic, limits, load, out);
    }

    /// The moment of the next event, if the timer has to be armed for it.
    pub(super) fn deadline_to_arm(&mut self) -> Option<Timestamp> {
        let speaks = self.is_dirty().then_some(self.pace.next_at());
        let summary_due = self.summary_due && !self.is_opening();
        let summarises = summary_due.then_some(self.summarises_at);
        let quiet = (!self.is_needed()).then_some(self.quiet_at());
        let deadlines = speaks.into_iter().chain(summarises).chain(quiet);
        let deadline = deadlines.min()?;
        if self.armed == Some(deadline) {
            return None;
        }
        self.armed = Some(deadline);
        self.armed
    }

    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    /// The shortest time between two events while nothing waits on this node.
    pub(super) fn tick(&self, load: Load) -> Duration {
        load.at_rest().floor(self.roster.len(), self.is_big)
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
        self.told.count(now);
        self.told_after = Some(now.since(self.changed_at.take().unwrap_or(now)));
        if !self.ephemerals.is_empty() {
            let ephemerals = std::mem::take(&mut self.ephemerals);
            let subject = Subject::Topic(topic.clone());
            out.push(Effect::Ask(Request::Ephemeral(subject, ephemerals)));
        }
        let changes = self.take_changes();
        if !changes.is_empty() {
            if self.clock.epoch == self.empty_epoch {
                self.tell_beginning(newcomer, topic, out);
            }
            self.clock.version += 1;
            self.tell_changes(newcomer, now, topic, changes, limits, out);
            if self.roster.is_empty() {
                self.begin_anew();
            }
        }
        let tellings = self.fleeting.take(now, topic, limits, &self.roster);
        if !tellings.is_empty() {
            // The changes may have been told as a snapshot, which says who was typing before this event.
            self.snapshot = None;
        }
        for mut telling in tellings {
            if !self.is_watched() {
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
        if self.fleeting.is_dirty() {
            // It was over a limit.
            self.pace.not_before(self.fleeting.window_ends_at());
        }
    }

    /// Nobody was here as far as was told, and that changes now.
    fn tell_beginning<A>(
        &mut self,
        newcomer: Option<SessionId>,
        topic: &Topic,
        out: &mut Vec<Effect<A>>,
    ) {
        let epoch = self.epochs.next();
        self.clock = Clock { epoch, version: 0 };
        if self.full_watchers > 0 {
            out.push(Effect::Tell {
                topic: topic.clone(),
                to: everyone_but(newcomer),
                event: Arc::new(Event::Anew {
                    topic: topic.clone(),
                    clock: self.clock,
                }),
            });
        }
    }

    fn take_changes(&mut self) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        let mut changes: Vec<Change> = touched
            .filter_map(|(user, Touched { before, reason })| {
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
        // Also where nobody wants it: when the next one is due is not to tell whether somebody did.
        self.summary_due = true;
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

    fn tell_summary<A>(&self, topic: &Topic, limits: &Limits, out: &mut Vec<Effect<A>>) {
        let (to, is_wanted) = match self.is_big {
            true => (Hearers::AllBut(Vec::new()), self.is_watched()),
            false => (Hearers::Summary, self.summary_watchers > 0),
        };
        if is_wanted {
            out.push(Effect::Tell {
                topic: topic.clone(),
                to,
                event: Arc::new(self.summary(topic, limits)),
            });
        }
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
