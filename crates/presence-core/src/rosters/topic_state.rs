//! One channel or workspace: who is there, and what its watchers were told.

mod telling;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ephemeral_events::EphemeralEvents;
use super::history::History;
use super::meter::Meter;
use super::pace::{Load, Pace};
use super::roster::Roster;
use super::shared::TopicCopy;
use super::windows::Windows;
use crate::cluster::Ephemeral;
use crate::epochs::Epochs;
use crate::explain::Watchers;
use crate::{
    Event, Member, Person, Reason, Sender, SessionId, Timestamp, TopicVersion, UserId, Watching,
};

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) roster: Roster,
    pub(super) ephemeral_events: EphemeralEvents,
    full_watchers: usize,
    /// How many of the full watchers get everyone with each change.
    whole_watchers: usize,
    summary_watchers: usize,
    /// The windows that are open, if any is.
    pub(super) windows: Option<Box<Windows>>,
    /// Until when the people are kept sorted by name, if no window needs that.
    pub(super) names_until: Option<Timestamp>,
    clock: TopicVersion,
    /// The epoch of every empty place. A client cannot have missed anything in an empty place, so all empty places have one
    /// state: a client that comes back cannot tell whether anybody, hidden or not, has watched the place meanwhile.
    empty_epoch: u64,
    epochs: Epochs,
    history: History,
    /// The users who changed since the last event, each as they were in that event.
    touched: BTreeMap<UserId, Touched>,
    /// Whether the room is too big to list.
    is_big: bool,
    /// Whether a summary has to be sent.
    summary_due: bool,
    /// What everybody who sees the summary was last told. `None` if somebody may have been told something else.
    summarised: Option<Arc<Summary>>,
    pub(super) pace: Pace,
    /// How often the topic sends events.
    pub(super) told: Meter,
    summarises_at: Timestamp,
    /// The whole state as it was last told, until something else is told.
    snapshot: Option<Arc<Event>>,
    /// The summary of that state, until something else is told.
    summary: Option<Arc<Summary>>,
    armed: Option<Timestamp>,
    /// Since when there has been something to tell.
    changed_at: Option<Timestamp>,
    /// How long the oldest change of the last event had waited to be told.
    pub(super) told_after: Option<Duration>,
    /// What the store has of this place, if there is a store.
    pub(super) copy: Option<Box<TopicCopy>>,
    /// Sessions that began to watch before the store's entries were read.
    pub(super) waiting: Vec<(SessionId, Watching, Option<TopicVersion>)>,
    /// What other nodes are to be told with the next event.
    ephemerals: Vec<Ephemeral>,
}

#[derive(Debug)]
struct Touched {
    before: Option<Arc<Person>>,
    reason: Reason,
}

/// How many people are in a topic, and who the first are.
#[derive(Debug)]
struct Summary {
    count: usize,
    faces: Vec<Arc<Person>>,
    event: Arc<Event>,
}

impl TopicState {
    /// A topic without members. `seed` is a random number that must not be told to anybody.
    pub(super) fn new(empty_epoch: u64, seed: u64, is_shared: bool) -> Self {
        TopicState {
            roster: Roster::default(),
            ephemeral_events: EphemeralEvents::default(),
            full_watchers: 0,
            whole_watchers: 0,
            summary_watchers: 0,
            windows: None,
            names_until: None,
            clock: TopicVersion {
                epoch: empty_epoch,
                version: 0,
            },
            empty_epoch,
            epochs: Epochs::new(seed),
            history: History::default(),
            touched: BTreeMap::new(),
            is_big: false,
            summary_due: false,
            summarised: None,
            pace: Pace::default(),
            told: Meter::default(),
            summarises_at: Timestamp::default(),
            snapshot: None,
            summary: None,
            armed: None,
            changed_at: None,
            told_after: None,
            copy: is_shared.then(Box::default),
            waiting: Vec::new(),
            ephemerals: Vec::new(),
        }
    }

    /// Begins a new epoch: nobody on this node has followed the old one.
    pub(super) fn start_epoch(&mut self) {
        self.history.clear();
        self.touched.clear();
        self.snapshot = None;
        self.summary = None;
        self.summarised = None;
        let epoch = match self.roster.is_empty() {
            true => self.empty_epoch,
            false => self.epochs.next(),
        };
        self.clock = TopicVersion { epoch, version: 0 };
    }

    /// Whether an event may have been sent since the epoch began.
    pub(super) fn was_told(&self) -> bool {
        self.clock.version > 0 || !self.history.is_empty()
    }

    /// Whether anybody on this node needs the topic.
    pub(super) fn is_needed(&self) -> bool {
        !self.roster.is_empty()
            || self.is_watched()
            || !self.ephemeral_events.is_empty()
            || !self.touched.is_empty()
            || self.copy.as_ref().is_some_and(|it| it.is_needed())
    }

    /// Whether its next event may be sent at once. A topic that nobody needs is kept until then: otherwise the delay
    /// of its next event would reveal whether somebody had watched it.
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
        // Only the last typing, or the last position, of a session counts.
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
    pub(super) fn version(&self) -> TopicVersion {
        self.clock
    }

    pub(super) fn watchers(&self) -> Watchers {
        Watchers {
            full: self.full_watchers,
            whole: self.whole_watchers,
            summary: self.summary_watchers,
        }
    }

    /// Whether the topic has watchers or open windows.
    pub(super) fn is_watched(&self) -> bool {
        self.has_watchers() || self.windows.is_some()
    }

    /// Whether the topic has watchers.
    fn has_watchers(&self) -> bool {
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
        self.ephemeral_events.stop_typing(user, session);
        self.ephemeral_events.forget_cursor(session);
    }

    /// A session that is here, and what others are shown as its id.
    pub(super) fn ids_of(&self, session: SessionId) -> (SessionId, SessionId) {
        let alias = self.roster.alias_of(session);
        (session, alias.unwrap_or(session))
    }

    /// The sender of a broadcast, for a session that is here.
    pub(super) fn sender(&self, session: SessionId) -> Sender {
        let (session, alias) = self.ids_of(session);
        Sender::Session { session, alias }
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

    fn is_dirty(&self) -> bool {
        let news = !self.touched.is_empty() || self.ephemeral_events.is_dirty();
        (news || !self.ephemerals.is_empty()) && !self.is_opening()
    }

    /// Notes when the first change came that has yet to be told.
    pub(super) fn note_change(&mut self, now: Timestamp) {
        match self.is_dirty() {
            true => drop(self.changed_at.get_or_insert(now)),
            false => self.changed_at = None,
        }
    }

    /// The moment of the next event, if the timer has to be armed for it.
    pub(super) fn deadline_to_arm(&mut self) -> Option<Timestamp> {
        let speaks = self.is_dirty().then_some(self.pace.next_at());
        let summary_due = self.summary_due && !self.is_opening();
        let changes = (!self.touched.is_empty()).then_some(self.pace.next_at());
        let summarises = summary_due.then_some(self.summarises_at.max(changes.unwrap_or_default()));
        let quiet = (!self.is_needed()).then_some(self.quiet_at());
        let counts = self.count_due_at().filter(|_| !self.is_opening());
        // With the changes that made it another one, if they are yet to be told.
        let counts = counts.map(|it| it.max(speaks.unwrap_or(it)));
        let deadlines = speaks.into_iter().chain(summarises).chain(quiet);
        let deadlines = deadlines.chain(counts).chain(self.names_until);
        let deadline = deadlines.min()?;
        if self.armed == Some(deadline) {
            return None;
        }
        self.armed = Some(deadline);
        self.armed
    }

    /// When the windows have to be told the number of people.
    fn count_due_at(&self) -> Option<Timestamp> {
        self.windows.as_ref()?.count_due_at(self.roster.len())
    }

    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    /// The shortest time between two events while this node has no backlog.
    pub(super) fn tick(&self, load: Load) -> Duration {
        load.at_rest().floor(self.roster.len(), self.is_big)
    }
}
