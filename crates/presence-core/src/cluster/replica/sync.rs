//! How far a node's copy of a map agrees with the store.

use crate::Clock;
use crate::cluster::Patch;

/// The number of patches that wait while the map is being read. If there are more, the map is read once more.
pub(super) const EARLY_MAX: usize = 64;

/// Whether the map is followed, and how it is being read.
#[derive(Debug, Default)]
pub(super) struct Sync {
    pub(super) following: Following,
    /// The version of the map that the copy has.
    pub(super) clock: Option<Clock>,
    /// The number of the last request to read it.
    pub(super) ask: u32,
    pub(super) reading: Reading,
    /// Another version that the store is said to have. Its patch may be on its way.
    pub(super) suspect: Option<Option<Clock>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Following {
    #[default]
    No,
    /// The map was asked for, and has not been read yet.
    Opening,
    Yes,
}

/// Whether the map is being read, or has to be.
#[derive(Debug, Default)]
pub(super) enum Reading {
    #[default]
    Idle,
    /// The map has to be read, because something was missed.
    Wanted,
    /// The map was asked for. Patches wait until it has been read; `again` says that something was missed since.
    UnderWay { early: Vec<Patch>, again: bool },
}

impl Sync {
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.reading, Reading::UnderWay { .. })
    }

    /// Notes that something was missed: the map has to be read, or read once more.
    pub(super) fn want(&mut self) {
        match &mut self.reading {
            Reading::UnderWay { again, .. } => *again = true,
            other if self.following != Following::No => *other = Reading::Wanted,
            _ => {}
        }
    }

    /// Starts to read the map. Returns the number of the request.
    pub(super) fn start(&mut self) -> u32 {
        self.ask = self.ask.wrapping_add(1);
        self.suspect = None;
        self.reading = Reading::UnderWay {
            early: Vec::new(),
            again: false,
        };
        self.ask
    }

    /// Stops following the map.
    pub(super) fn close(&mut self) {
        *self = Sync {
            ask: self.ask,
            ..Sync::default()
        };
    }
}
