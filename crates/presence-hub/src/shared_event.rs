//! An event that is delivered to many connections.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use presence_core::Event;

/// The number of encodings that are kept of one event.
pub const ENCODINGS_MAX: usize = 8;

/// An event that all its watchers share, together with its encodings. The first connection that needs an encoding makes
/// it, and all others use it.
#[derive(Debug)]
pub struct SharedEvent {
    /// The event that is delivered.
    pub event: Arc<Event>,
    weight: usize,
    /// The number of send queues in which the event waits.
    queued: AtomicUsize,
    encoded: [OnceLock<Bytes>; ENCODINGS_MAX],
}

impl SharedEvent {
    pub(crate) fn new(event: Arc<Event>) -> Self {
        SharedEvent {
            weight: event.weight(),
            queued: AtomicUsize::new(0),
            event,
            encoded: Default::default(),
        }
    }

    /// The size of the event in a queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Counts one more send queue in which the event waits. Returns by how many bytes the backlog has grown.
    pub(crate) fn note_queued(&self) -> usize {
        match self.queued.fetch_add(1, Relaxed) {
            0 => self.weight,
            _ => 0,
        }
    }

    /// Counts one send queue less in which the event waits. Returns by how many bytes the backlog has shrunk.
    pub(crate) fn note_taken(&self) -> usize {
        match self.queued.fetch_sub(1, Relaxed) {
            1 => self.weight,
            _ => 0,
        }
    }

    /// The encoding of the event with the number `slot`, which the first caller makes with `encode`.
    ///
    /// The program chooses what each number below [`ENCODINGS_MAX`] stands for, and must use it for one encoding only.
    /// `encode` runs at most once for each event and number. All watchers get the same bytes, so the result must depend
    /// on the event alone: what is different for each connection is written before or after these bytes. Cloning the
    /// bytes is cheap, because they are shared. Calls for the same encoding wait for each other.
    ///
    /// ```
    /// use presence_hub::SharedEvent;
    /// use presence_hub::presence_core::Event;
    ///
    /// /// The number that this program gives its JSON.
    /// const JSON: usize = 0;
    ///
    /// fn json(told: &SharedEvent) -> &[u8] {
    ///     told.encoded(JSON, |event| match event {
    ///         Event::StoreAway { is_away } => format!(r#"{{"store_away":{is_away}}}"#).into(),
    ///         _ => "{}".into(),
    ///     })
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `slot` is not below [`ENCODINGS_MAX`], and if `encode` panics; then the encoding is not stored.
    pub fn encoded(&self, slot: usize, encode: impl FnOnce(&Event) -> Bytes) -> &Bytes {
        self.encoded[slot].get_or_init(|| encode(&self.event))
    }
}
