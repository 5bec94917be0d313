//! How far a node's copy of a map agrees with the store.

use crate::Clock;
use crate::cluster::Patch;

/// Patches that wait for the map to be read; with one more, it is read twice.
pub(super) const EARLY_MAX: usize = 64;

/// Whether the map is followed, and how it is being read.
#[derive(Debug, Default)]
pub(super) struct Sync {
    pub(super) following: Following,
    /// The version of the map that the copy is.
    pub(super) clock: Option<Clock>,
    /// The number of the last request to read it.
    pub(super) ask: u32,
    pub(super) reading: Reading,
    /// Another version than the copy's was said to be there; the patch may be on its way.
    pub(super) suspect: Option<Option<Clock>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Following {
    #[default]
    No,
    /// Asked for, and not read yet.
    Opening,
    Yes,
}

/// Whether the map is being read, or has to be.
#[derive(Debug, Default)]
pub(super) enum Reading {
    #[default]
    Idle,
    /// Something was missed.
    Wanted,
    /// Asked for. What comes meanwhile waits; `again` if something was missed since.
    UnderWay { early: Vec<Patch>, again: bool },
}

impl Sync {
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.reading, Reading::UnderWay { .. })
    }

    /// Something was missed: the map is to be read, once more if that is under way.
    pub(super) fn want(&mut self) {
        match &mut self.reading {
            Reading::UnderWay { again, .. } => *again = true,
            other if self.following != Following::No => *other = Reading::Wanted,
            _ => {}
        }
    }

    /// The number with which to read the map now.
    pub(super) fn start(&mut self) -> u32 {
        self.ask = self.ask.wrapping_add(1);
        self.suspect = None;
        self.reading = Reading::UnderWay {
            early: Vec::new(),
            again: false,
        };
        self.ask
    }

    /// Follows the map no longer.
    pub(super) fn close(&mut self) {
        *self = Sync {
            ask: self.ask,
            ..Sync::default()
        };
    }
}
