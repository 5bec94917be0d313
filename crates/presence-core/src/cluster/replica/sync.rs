//! How far a node's copy of a map agrees with the store.

use crate::cluster::Patch;
use crate::{Timestamp, TopicVersion};

/// The number of patches that wait while the map is being read. If there are more, the map is read once more.
pub(super) const EARLY_MAX: usize = 64;

/// How far the copy agrees with the store.
#[derive(Debug, Default)]
pub(super) enum SyncState {
    /// The map is not followed.
    #[default]
    Closed,
    /// The map is followed, and has not been read yet.
    Opening(Reading),
    /// The copy has everything up to the version `clock`, as far as this node knows.
    UpToDate {
        /// `None` if the map is empty.
        clock: Option<TopicVersion>,
        suspect: Suspect,
    },
    /// The copy has missed something after the version `clock`, so the map is read again.
    Stale {
        /// `None` if the map was empty.
        clock: Option<TopicVersion>,
        reading: Reading,
    },
}

/// Another version that the store is said to have, and that the copy does not have. Its patch may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspect {
    /// The store is not said to have another version.
    None,
    /// The store is said to have an empty map.
    Empty,
    /// The store is said to have the map in this version.
    At(TopicVersion),
}

impl Suspect {
    /// The suspicion that the map of the store is at `clock`, or empty if that is `None`.
    pub(super) fn of(clock: Option<TopicVersion>) -> Self {
        clock.map_or(Suspect::Empty, Suspect::At)
    }
}

/// How far the reading of a map has got.
#[derive(Debug)]
pub(super) enum Reading {
    /// The map has to be read.
    Due(When),
    /// The map is being read. Patches wait until it has been; if something was missed since, it is read once more.
    UnderWay {
        early: Vec<Patch>,
        again: Option<When>,
    },
}

/// When a map may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    Now,
    /// No sooner than that, because nothing new can be there yet.
    NotBefore(Timestamp),
}

impl Reading {
    fn start() -> Self {
        Reading::UnderWay {
            early: Vec::new(),
            again: None,
        }
    }

    fn want(&mut self, when: When) {
        match self {
            Reading::Due(before) => *before = when.max(*before),
            Reading::UnderWay { again, .. } => *again = Some(when).max(*again),
        }
    }
}

impl SyncState {
    pub(super) fn is_followed(&self) -> bool {
        !matches!(self, SyncState::Closed)
    }

    /// Whether the map is being read.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.reading(), Some(Reading::UnderWay { .. }))
    }

    /// Whether the map has to be read, or is being read.
    pub(super) fn is_behind(&self) -> bool {
        self.reading().is_some()
    }

    /// The version of the map that the copy has.
    pub(super) fn clock(&self) -> Option<TopicVersion> {
        match self {
            SyncState::UpToDate { clock, .. } | SyncState::Stale { clock, .. } => *clock,
            SyncState::Closed | SyncState::Opening(_) => None,
        }
    }

    /// Notes that the copy has this version now.
    pub(super) fn advance(&mut self, to: Option<TopicVersion>) {
        match self {
            SyncState::UpToDate { clock, suspect } => (*clock, *suspect) = (to, Suspect::None),
            SyncState::Stale { clock, .. } => *clock = to,
            SyncState::Closed | SyncState::Opening(_) => {}
        }
    }

    /// Notes that something was missed: the map has to be read, or read once more. If it is not followed, it is not read.
    pub(super) fn want(&mut self, when: When) {
        match self {
            SyncState::Closed => {}
            SyncState::Opening(reading) | SyncState::Stale { reading, .. } => reading.want(when),
            SyncState::UpToDate { clock, .. } => {
                let (clock, reading) = (*clock, Reading::Due(when));
                *self = SyncState::Stale { clock, reading };
            }
        }
    }

    /// When the map may be read, if it has to be and is not being read.
    pub(super) fn due(&self) -> Option<When> {
        match self.reading()? {
            Reading::Due(when) => Some(*when),
            Reading::UnderWay { .. } => None,
        }
    }

    /// Lets the map be read at once, if it was not to be read before `now`.
    pub(super) fn end_delay(&mut self, now: Timestamp) {
        if let Some(Reading::Due(when)) = self.reading_mut()
            && *when <= When::NotBefore(now)
        {
            *when = When::Now;
        }
    }

    /// Follows the map. It is being read from now on.
    pub(super) fn open(&mut self) {
        *self = SyncState::Opening(Reading::start());
    }

    /// Starts to read the map, if it has to be read.
    pub(super) fn start(&mut self) {
        if let Some(reading) = self.reading_mut() {
            *reading = Reading::start();
        }
    }

    /// The store did not answer: the map has to be read again.
    pub(super) fn give_up(&mut self) {
        if let Some(reading) = self.reading_mut()
            && let Reading::UnderWay { again, .. } = reading
        {
            *reading = Reading::Due(again.unwrap_or(When::Now));
        }
    }

    /// The map has been read. Returns the patches that waited for that, and when it has to be read again, if it has to be.
    /// The copy has the version that it had before, until it [advances](Self::advance).
    pub(super) fn finish(&mut self) -> Option<(Vec<Patch>, Option<When>)> {
        let clock = self.clock();
        let Some(Reading::UnderWay { early, again }) = self.reading_mut() else {
            return None;
        };
        let finished = (std::mem::take(early), *again);
        let suspect = Suspect::None;
        *self = SyncState::UpToDate { clock, suspect };
        Some(finished)
    }

    /// Adds a patch to those that wait while the map is being read. Gives it back if the map is followed and not being read.
    pub(super) fn delay(&mut self, patch: Patch) -> Option<Patch> {
        match self {
            SyncState::UpToDate { .. }
            | SyncState::Stale {
                reading: Reading::Due(_),
                ..
            } => return Some(patch),
            SyncState::Opening(Reading::UnderWay { early, .. })
            | SyncState::Stale {
                reading: Reading::UnderWay { early, .. },
                ..
            } => {
                if early.len() < EARLY_MAX {
                    early.push(patch);
                }
            }
            SyncState::Closed | SyncState::Opening(Reading::Due(_)) => {}
        }
        None
    }

    /// Whether the map has been read since it is followed.
    pub(super) fn was_read(&self) -> bool {
        matches!(self, SyncState::UpToDate { .. } | SyncState::Stale { .. })
    }

    fn reading(&self) -> Option<&Reading> {
        match self {
            SyncState::Opening(reading) | SyncState::Stale { reading, .. } => Some(reading),
            SyncState::Closed | SyncState::UpToDate { .. } => None,
        }
    }

    fn reading_mut(&mut self) -> Option<&mut Reading> {
        match self {
            SyncState::Opening(reading) | SyncState::Stale { reading, .. } => Some(reading),
            SyncState::Closed | SyncState::UpToDate { .. } => None,
        }
    }
}
