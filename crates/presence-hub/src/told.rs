//! An event on its way to many.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use presence_core::Event;

/// How many encodings of an event can be kept.
pub const DIALECTS_MAX: usize = 8;

/// An event that every watcher shares, with its encoding in each dialect: made by the first who needs it, used by all.
#[derive(Debug)]
pub struct Told {
    /// What is told.
    pub event: Arc<Event>,
    weight: usize,
    /// In how many outboxes it waits.
    queued: AtomicUsize,
    encoded: [OnceLock<Bytes>; DIALECTS_MAX],
}

impl Told {
    pub(crate) fn new(event: Arc<Event>) -> Self {
        Told {
            weight: event.weight(),
            queued: AtomicUsize::new(0),
            event,
            encoded: Default::default(),
        }
    }

    /// What it counts in a queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// It waits in one more outbox. Returns by how many bytes that is more of what waits.
    pub(crate) fn is_queued(&self) -> usize {
        match self.queued.fetch_add(1, Relaxed) {
            0 => self.weight,
            _ => 0,
        }
    }

    /// It waits in one outbox less. Returns by how many bytes that is less of what waits.
    pub(crate) fn is_taken(&self) -> usize {
        match self.queued.fetch_sub(1, Relaxed) {
            1 => self.weight,
            _ => 0,
        }
    }

    /// Its encoding in dialect number `dialect`, made with `encode` if nobody has needed it before.
    ///
    /// # Panics
    ///
    /// If `dialect` is not below [`DIALECTS_MAX`].
    pub fn encoded(&self, dialect: usize, encode: impl FnOnce(&Event) -> Bytes) -> &Bytes {
        self.encoded[dialect].get_or_init(|| encode(&self.event))
    }
}
