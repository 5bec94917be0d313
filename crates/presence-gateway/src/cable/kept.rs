//! The subscriptions of connections that were lost, for those who come back in time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use presence_core::SessionId;
use presence_core::users::Connection;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// What all of them may take together. Who finds nothing here subscribes again, and nobody sees a difference.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most bytes of what one connection leaves where other gateways find it. What does not fit is subscribed to again.
const SHARED_BYTES_MAX: usize = 64 * 1024;

/// A subscription that may be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptSubscription {
    /// Its identifier.
    pub(super) identifier: String,
    /// Whether it asks to be in its place.
    pub(super) is_present: bool,
    /// What was said of oneself by it.
    pub(super) meta: Option<String>,
    /// Which of all sayings of the connection that was.
    pub(super) said: u32,
}

/// Subscriptions as other gateways can read them: the first ones, as far as they fit.
pub(super) fn written(all: &[KeptSubscription]) -> Vec<u8> {
    let mut bytes = vec![b'['];
    for it in all {
        let text = serde_json::to_vec(it).expect("a subscription can be written");
        if bytes.len() + text.len() + 2 > SHARED_BYTES_MAX {
            break;
        }
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        bytes.extend(text);
    }
    bytes.push(b']');
    bytes
}

/// The subscriptions in what another gateway wrote; none, if that cannot be understood.
pub(super) fn read(bytes: &[u8]) -> Vec<KeptSubscription> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// The subscriptions of connections that this gateway lost, until their sessions end.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the connection that had them: its session may have gone on elsewhere, and come back with others.
    by_connection: HashMap<Key, (Instant, Vec<KeptSubscription>)>,
    /// Those that end first come first: all are kept for the same time.
    ends: VecDeque<(Instant, Key)>,
    bytes: usize,
}

/// A session, and which connection of it.
type Key = (SessionId, u32);

fn key(connection: Connection) -> Key {
    (connection.session, connection.epoch)
}

impl Kept {
    /// Keeps the subscriptions of a connection for `span`.
    pub(super) fn put(
        &self,
        now: Instant,
        span: Duration,
        connection: Connection,
        all: Vec<KeptSubscription>,
    ) {
        if all.is_empty() {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(connection);
        inner.take(key);
        inner.bytes += weight(&all);
        inner.by_connection.insert(key, (now + span, all));
        inner.ends.push_back((now + span, key));
        while let Some(&(ends, key)) = inner.ends.front()
            && (ends <= now || inner.bytes > BYTES_MAX)
        {
            inner.ends.pop_front();
            // What was taken out may have been put in again.
            if inner.by_connection.get(&key).is_some_and(|it| it.0 == ends) {
                inner.take(key);
            }
        }
    }

    /// Takes out those of a connection.
    pub(super) fn take(&self, connection: Connection) -> Option<Vec<KeptSubscription>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.take(key(connection))
    }
}

impl Inner {
    fn take(&mut self, key: Key) -> Option<Vec<KeptSubscription>> {
        let (_, taken) = self.by_connection.remove(&key)?;
        self.bytes -= weight(&taken);
        Some(taken)
    }
}

fn weight(all: &[KeptSubscription]) -> usize {
    let bytes = |it: &KeptSubscription| {
        let meta = it.meta.as_ref().map_or(0, |it| it.len());
        64 + it.identifier.len() + meta
    };
    128 + all.iter().map(bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    fn some(bytes: usize) -> Vec<KeptSubscription> {
        vec![KeptSubscription {
            identifier: "x".repeat(bytes),
            is_present: true,
            meta: Some("{}".into()),
            said: 1,
        }]
    }

    fn connection(number: u128) -> Connection {
        Connection::acted(SessionId::from_u128(number))
    }

    #[test]
    fn what_another_gateway_reads_is_what_was_written_as_far_as_it_fits() {
        let few = [some(10), some(3)].concat();
        assert_eq!(read(&written(&few)), few);
        assert_eq!(read(&written(&[])), []);
        let many: Vec<_> = (0..200).flat_map(|_| some(4096)).collect();
        let bytes = written(&many);
        assert!(bytes.len() <= SHARED_BYTES_MAX);
        let read_back = read(&bytes);
        assert_eq!(read_back, many[..read_back.len()]);
        assert!(read_back.len() >= 15);
        for wrong in [&b""[..], b"[", b"{}", b"[{}]", b"\xff"] {
            assert_eq!(read(wrong), [], "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_there_once_and_gone_when_their_time_is_over() {
        let kept = Kept::default();
        let [a, b, c] = [1, 2, 3].map(connection);
        kept.put(Instant::now(), SPAN, a, some(1));
        kept.put(Instant::now(), SPAN, b, some(2));
        assert_eq!(kept.take(a), Some(some(1)));
        assert_eq!(kept.take(a), None);
        tokio::time::advance(SPAN).await;
        kept.put(Instant::now(), SPAN, c, some(3));
        assert_eq!(kept.take(b), None);
        assert_eq!(kept.take(c), Some(some(3)));
        assert_eq!(kept.0.lock().unwrap().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room() {
        let kept = Kept::default();
        for n in 0..1000_u32 {
            let connection = connection(1 + u128::from(n));
            kept.put(Instant::now(), SPAN, connection, some(100_000));
        }
        assert!(kept.0.lock().unwrap().bytes <= BYTES_MAX);
        assert_eq!(kept.take(connection(1)), None);
        assert!(kept.take(connection(1000)).is_some());
    }
}
