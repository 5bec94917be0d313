//! Receives the messages on the channels of one server, and makes sure that a lost subscription is noticed.
//!
//! A subscription can disappear silently: with its connection, when its slot moves to another server, when its server
//! becomes a replica, or when too many messages wait. So the listener keeps a list of what it has subscribed to. Each
//! second it asks the server how many channels it counts for this connection, and starts again when the two differ.
//! After a gap, everything in the partitions concerned has to be compared.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::types::{Message, Value};
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::client::Connection;
use crate::fault::Fault;
use crate::followed::Followed;
use crate::node::Surroundings;
use crate::partitions::PartitionSet;

/// How often the server is asked for its count.
const TICK: Duration = Duration::from_secs(1);
/// How soon a failed subscription is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The number of subscriptions that are under way at the same time.
const SUBSCRIBING_MAX: usize = 256;
/// The number of channels that one command unsubscribes from.
const UNSUBSCRIBED_MAX: usize = 256;
/// The number of calls of [`follow`](Listener::follow) that may wait. A further one fails at once.
const ORDERS_MAX: usize = 1024;

/// A subject: its partition, and its name there.
pub(crate) type Named = (u16, Arc<str>);

/// The subscriptions on one server.
pub(crate) struct Listener {
    connection: Arc<Connection>,
    orders: mpsc::Sender<Order>,
    leaving: Arc<Mutex<Vec<Named>>>,
    tasks: [JoinHandle<()>; 2],
}

struct Order {
    subjects: Vec<Named>,
    until: Instant,
    answer: oneshot::Sender<Vec<Result<(), Fault>>>,
}

impl Listener {
    /// Begins to listen, on `connection`, to the partitions that are `owned`.
    pub(crate) fn start(
        connection: Connection,
        owned: watch::Receiver<PartitionSet>,
        around: &Surroundings,
    ) -> Self {
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let leaving = Arc::default();
        let connection = Arc::new(connection);
        let pump = pump(
            connection.messages(),
            owned.clone(),
            Arc::clone(&around.followed),
        );
        let book = Book {
            reconnects: connection.reconnects(),
            connection: Arc::clone(&connection),
            owned,
            orders: waiting,
            leaving: Arc::clone(&leaving),
            around: around.clone(),
            subscribed: HashMap::new(),
            missing: PartitionSet::default(),
            can_count: true,
        };
        Listener {
            connection,
            orders,
            leaving,
            tasks: [tokio::spawn(pump), tokio::spawn(book.keep())],
        }
    }

    /// The connection for the subscriptions.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Subscribes to the channels of `subjects`. Returns one outcome for each.
    pub(crate) async fn follow(
        &self,
        subjects: Vec<Named>,
        until: Instant,
    ) -> Vec<Result<(), Fault>> {
        let count = subjects.len();
        let (answer, answered) = oneshot::channel();
        let order = Order {
            subjects,
            until,
            answer,
        };
        if self.orders.try_send(order).is_err() {
            return vec![Err(Fault::Crowded); count];
        }
        match timeout_at(until, answered).await {
            Ok(Ok(outcomes)) => outcomes,
            _ => vec![Err(Fault::Unowned); count],
        }
    }

    /// Has the channels of `subjects` unsubscribed, unless they are followed again by then.
    pub(crate) fn unfollow(&self, subjects: impl IntoIterator<Item = Named>) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.extend(subjects);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Passes received messages on.
async fn pump(
    mut messages: broadcast::Receiver<Message>,
    owned: watch::Receiver<PartitionSet>,
    followed: Arc<Followed>,
) {
    loop {
        match messages.recv().await {
            Ok(message) => {
                if let Some(bytes) = message.value.into_bytes() {
                    followed.told(&message.channel, bytes);
                }
            }
            Err(RecvError::Lagged(count)) => {
                tracing::warn!(
                    count,
                    "dropped messages of the store, because this node reads too slowly"
                );
                let owned = *owned.borrow();
                owned
                    .iter()
                    .for_each(|partition| followed.missed(partition));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// The list of what is subscribed to on the current connection.
struct Book {
    connection: Arc<Connection>,
    reconnects: broadcast::Receiver<fred::prelude::Server>,
    owned: watch::Receiver<PartitionSet>,
    orders: mpsc::Receiver<Order>,
    leaving: Arc<Mutex<Vec<Named>>>,
    around: Surroundings,
    subscribed: HashMap<u16, HashSet<Arc<str>>>,
    /// The partitions in which something that is followed may not be subscribed to.
    missing: PartitionSet,
    /// Whether the server reports how many channels it counts.
    can_count: bool,
}

enum Event {
    Ordered(Order),
    Reconnected,
    Moved,
    Tick,
    Over,
}

impl Book {
    async fn keep(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                reconnected = self.reconnects.recv() => match reconnected {
                    Ok(_) | Err(RecvError::Lagged(_)) => Event::Reconnected,
                    Err(RecvError::Closed) => Event::Over,
                },
                moved = self.owned.changed() => match moved {
                    Ok(()) => Event::Moved,
                    Err(_) => Event::Over,
                },
                order = self.orders.recv() => match order {
                    Some(order) => Event::Ordered(order),
                    None => Event::Over,
                },
                _ = tick.tick() => Event::Tick,
                () = tokio::time::sleep(RETRY), if !self.missing.is_empty() => Event::Tick,
            };
            match event {
                Event::Ordered(order) => self.obey(order).await,
                Event::Reconnected => self.start_over().await,
                Event::Moved => self.adjust(),
                Event::Tick => self.check().await,
                Event::Over => return,
            }
            self.mend().await;
        }
    }

    async fn obey(&mut self, order: Order) {
        if Instant::now() >= order.until {
            return;
        }
        let outcomes = self.subscribe(order.subjects.clone()).await;
        for ((partition, name), outcome) in order.subjects.iter().zip(&outcomes) {
            if outcome.is_ok() {
                self.around.followed.hears(*partition, name);
            }
        }
        // Nobody waits any longer: what they have been told is that it failed.
        let _ = order.answer.send(outcomes);
    }

    /// Starts again on a new connection, which has no subscriptions.
    async fn start_over(&mut self) {
        self.subscribed.clear();
        self.missing = *self.owned.borrow_and_update();
        // The driver says so a moment before it takes commands.
        let _ = self.connection.up(RETRY).await;
    }

    /// Adapts to partitions that have moved to this server or away from it.
    fn adjust(&mut self) {
        let owned = *self.owned.borrow_and_update();
        self.subscribed
            .retain(|&partition, _| owned.contains(partition));
        self.missing = owned
            .iter()
            .filter(|partition| {
                self.missing.contains(*partition) || !self.subscribed.contains_key(partition)
            })
            .collect();
    }

    /// Subscribes to what is followed and not subscribed to, as far as this server has it.
    async fn mend(&mut self) {
        if self.missing.is_empty() || !self.connection.is_up() {
            return;
        }
        let mut subjects = Vec::new();
        for partition in self.missing.iter() {
            let known = self.subscribed.entry(partition).or_default();
            let names = self.around.followed.names(partition);
            let new = names.into_iter().filter(|name| !known.contains(name));
            subjects.extend(new.map(|name| (partition, name)));
        }
        let partitions: Vec<u16> = subjects.iter().map(|(partition, _)| *partition).collect();
        let outcomes = self.subscribe(subjects).await;
        let failed: PartitionSet = partitions
            .into_iter()
            .zip(outcomes)
            .filter_map(|(partition, outcome)| outcome.is_err().then_some(partition))
            .collect();
        for partition in self
            .missing
            .iter()
            .filter(|partition| !failed.contains(*partition))
        {
            self.around.followed.missed(partition);
        }
        self.missing = failed;
    }

    async fn subscribe(&mut self, subjects: Vec<Named>) -> Vec<Result<(), Fault>> {
        let owned = *self.owned.borrow();
        let connection = &self.connection;
        let channel = |(partition, name): &Named| {
            let channel = self.around.keys.channel(*partition, name);
            owned.contains(*partition).then_some(channel)
        };
        let channels: Vec<Option<String>> = subjects.iter().map(channel).collect();
        let outcomes: Vec<Result<(), Fault>> = stream::iter(channels)
            .map(|channel| async move {
                let channel = channel.ok_or(Fault::Elsewhere)?;
                Ok(connection.subscribe(channel).await?)
            })
            .buffered(SUBSCRIBING_MAX)
            .collect()
            .await;
        if outcomes
            .iter()
            .flat_map(|it| it.as_ref().err())
            .any(Fault::is_about_the_map)
        {
            self.around.survey_signal.request();
        }
        for ((partition, name), outcome) in subjects.into_iter().zip(&outcomes) {
            if outcome.is_ok() {
                self.subscribed.entry(partition).or_default().insert(name);
            }
        }
        outcomes
    }

    /// Checks whether the server counts as many channels as the list has.
    async fn check(&mut self) {
        if !self.connection.is_up() {
            return self.around.survey_signal.request();
        }
        self.unsubscribe().await;
        if self.agrees().await {
            return;
        }
        // Some slots may have gone elsewhere.
        self.around.survey_signal.surveyed().await;
        self.adjust();
        if !self.agrees().await {
            tracing::info!("the store has dropped subscriptions: connecting again");
            self.connection.reset(TICK).await;
        }
    }

    async fn unsubscribe(&mut self) {
        let leaving = {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *leaving)
        };
        let mut by_partition: HashMap<u16, Vec<String>> = HashMap::new();
        for (partition, name) in leaving {
            let Some(names) = self.subscribed.get_mut(&partition) else {
                continue;
            };
            if !self.around.followed.has(partition, &name) && names.remove(&name) {
                let channel = self.around.keys.channel(partition, &name);
                by_partition.entry(partition).or_default().push(channel);
            }
        }
        for mut channels in by_partition.into_values() {
            while !channels.is_empty() {
                let later = channels.split_off(channels.len().min(UNSUBSCRIBED_MAX));
                let now = std::mem::replace(&mut channels, later);
                let _ = self.connection.unsubscribe(now).await;
            }
        }
    }

    async fn agrees(&mut self) -> bool {
        if !self.can_count {
            return true;
        }
        let counted: usize = self.subscribed.values().map(HashSet::len).sum();
        let args = vec![Value::from("INFO")];
        let answer = self.connection.call("CLIENT", args).await;
        let count = match answer {
            Ok(answer) => count_in(&answer),
            // It was not allowed to ask.
            Err(error) if error.details().starts_with("NOPERM") => None,
            // An error that is not this command's is as bad as none.
            Err(_) => return false,
        };
        if count.is_none() {
            tracing::warn!(
                "the store does not report subscriptions: changes are found by comparing"
            );
            self.can_count = false;
        }
        count.is_none_or(|count| count == counted)
    }
}

/// The number of channels that the server counts, according to its answer.
fn count_in(answer: &Value) -> Option<usize> {
    let text = answer.as_str()?;
    let field = text.split_ascii_whitespace();
    let count = field.filter_map(|it| it.strip_prefix("ssub=")).next()?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        let answer = Value::from("txt:id=3 addr=127.0.0.1:1 sub=0 psub=0 ssub=12 multi=-1\n");
        assert_eq!(count_in(&answer), Some(12));
        assert_eq!(count_in(&Value::from("id=3 sub=0 psub=0")), None);
    }
}
