//! Keeps the subscriptions of lost connections for clients that come back in time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use presence_core::SessionId;
use presence_core::users::Connection;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The most bytes that all of them may take. A client whose subscriptions were dropped subscribes again
/// and notices nothing.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most bytes that one connection leaves for other gateways. Subscriptions that do not fit have to be made again.
const SHARED_BYTES_MAX: usize = 64 * 1024;

/// A subscription that a later connection may continue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSubscription {
    /// The identifier of the subscription, as the page sent it.
    pub(crate) identifier: String,
    /// Whether the subscription asks to be in its channel.
    pub(crate) is_present: bool,
    /// The meta that was set through this subscription, as a JSON text.
    pub(crate) meta: Option<String>,
    /// The position of that meta among all that the connection has set; the highest is shown.
    pub(crate) said: u32,
}

/// Encodes subscriptions for other gateways: the first ones, as far as they fit.
pub(crate) fn written(all: &[KeptSubscription]) -> Vec<u8> {
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

/// Decodes the subscriptions that another gateway wrote; none if that cannot be decoded.
pub(crate) fn read(bytes: &[u8]) -> Vec<KeptSubscription> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// The subscriptions of connections that this gateway has lost, until their sessions end.
#[derive(Debug, Default)]
pub(crate) struct LostSubscriptions(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By connection and not by session: the session may have continued elsewhere, and come back
    /// with other subscriptions.
    by_connection: HashMap<Key, (Instant, Vec<KeptSubscription>)>,
    /// The end of each, earliest first: all are kept for the same time.
    ends: VecDeque<(Instant, Key)>,
    bytes: usize,
}

/// A session, and the epoch of its connection.
type Key = (SessionId, u32);

fn key(connection: Connection) -> Key {
    (connection.session, connection.epoch)
}

impl LostSubscriptions {
    /// Keeps the subscriptions of a connection for `span`.
    pub(crate) fn put(
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
            // The subscriptions may have been taken out and put in again since.
            if inner.by_connection.get(&key).is_some_and(|it| it.0 == ends) {
                inner.take(key);
            }
        }
    }

    /// Removes and returns the subscriptions of a connection.
    pub(crate) fn take(&self, connection: Connection) -> Option<Vec<KeptSubscription>> {
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
        Connection::of_service(SessionId::from_u128(number))
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
        let kept = LostSubscriptions::default();
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
        let kept = LostSubscriptions::default();
        for n in 0..1000_u32 {
            let connection = connection(1 + u128::from(n));
            kept.put(Instant::now(), SPAN, connection, some(100_000));
        }
        assert!(kept.0.lock().unwrap().bytes <= BYTES_MAX);
        assert_eq!(kept.take(connection(1)), None);
        assert!(kept.take(connection(1000)).is_some());
    }
}
