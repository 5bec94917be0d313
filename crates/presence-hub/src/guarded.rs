//! Checks adapters against their contracts. A call that panics fails alone. A call that answers too little fails those
//! without an answer. Data beyond all bounds is dropped.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use presence_core::cluster::{
    Change, Ephemeral, Fence, Incarnation, Record, Removed, Snapshot, Subject, Write,
};
use presence_core::ports::{
    Endpoint, EnqueueOutcome, Hooks, Known, Leases, Notice, Notification, NumberedEvent, Outbox,
    Profiles, Queue, Reaped, Row, StoreError, Topics, WaitingEvents, Written,
};
use presence_core::{EVENT_BYTES_MAX, LogThrottle, Profile, Reason, Timestamp, UserId};
use tokio::time::Instant;

use crate::counters::Counters;
use crate::histogram::Histogram;

/// How long to wait after a panic in a call without an outcome, because the next call may panic, too.
const AFTER_PANIC: Duration = Duration::from_millis(100);
/// How often at most a log line says that something was dropped, or that an adapter is wrong.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// An adapter whose calls are checked against its contract.
pub(crate) struct Guarded<T> {
    adapter: Arc<T>,
    counters: Arc<Counters>,
    /// Whether the adapter is the store that nodes share, unless it is one of profiles or an endpoint.
    is_shared: bool,
    start: Instant,
    faults: Mutex<LogThrottle>,
    garbled: Mutex<LogThrottle>,
}

/// What an adapter did wrong.
#[derive(Clone, Debug)]
struct AdapterFault {
    call: &'static str,
    what: String,
}

impl fmt::Display for AdapterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of the adapter {}", self.call, self.what)
    }
}

impl Error for AdapterFault {}

impl AdapterFault {
    fn unavailable(&self) -> StoreError {
        StoreError::Unavailable(Box::new(self.clone()))
    }

    /// The error for a batch of profiles: it makes the caller ask for each profile separately, so that only the
    /// bad one fails.
    fn corrupt(self) -> StoreError {
        StoreError::Corrupt {
            key: "the adapter's answer".into(),
            source: Box::new(self),
        }
    }
}

impl<T> Guarded<T> {
    pub(crate) fn new(adapter: Arc<T>, counters: Arc<Counters>) -> Self {
        Guarded {
            adapter,
            counters,
            is_shared: true,
            start: Instant::now(),
            faults: Mutex::new(LogThrottle::new(SAID_EVERY)),
            garbled: Mutex::new(LogThrottle::new(SAID_EVERY)),
        }
    }

    /// A store of this node alone: the time that its calls take is no round trip to the store that nodes share.
    pub(crate) fn local(adapter: Arc<T>, counters: Arc<Counters>) -> Self {
        Guarded {
            is_shared: false,
            ..Guarded::new(adapter, counters)
        }
    }

    /// The result of `outcome`, or an error if it panics.
    async fn caught<R>(
        &self,
        call: &'static str,
        outcome: impl Future<Output = R>,
    ) -> Result<R, AdapterFault> {
        let began = Instant::now();
        let caught = AssertUnwindSafe(outcome).catch_unwind().await;
        if let Some(histogram) = self.measures(call) {
            histogram.observe_span(began.elapsed());
        }
        caught.map_err(|panic| {
            let what = format!("panicked: {}", words_of(&*panic));
            self.fault(call, what)
        })
    }

    /// Where the time that `call` takes is counted. Waiting for the next notice is no round trip.
    fn measures(&self, call: &str) -> Option<&Histogram> {
        let measured = &self.counters.measured;
        match call {
            "next" => None,
            "save" | "load" | "remove" | "unseen" => Some(&measured.profile_calls),
            "deliver" => Some(&measured.webhook_deliveries),
            _ => self.is_shared.then_some(&measured.shared_calls),
        }
    }

    fn fault(&self, call: &'static str, what: String) -> AdapterFault {
        Counters::add(&self.counters.adapter_faults, 1);
        let fault = AdapterFault { call, what };
        if let Some(count) = self.is_to_be_said(&self.faults) {
            tracing::error!(%fault, count, "an adapter breaks its contract");
        }
        fault
    }

    fn garbled(&self, what: impl fmt::Display) {
        Counters::add(&self.counters.garbled, 1);
        if let Some(count) = self.is_to_be_said(&self.garbled) {
            tracing::warn!(%what, count, "dropped data of a store that is over its bounds");
        }
    }

    fn is_to_be_said(&self, throttle: &Mutex<LogThrottle>) -> Option<u64> {
        let passed = self.start.elapsed().as_millis();
        let now = Timestamp::from_millis(u64::try_from(passed).unwrap_or(u64::MAX));
        let mut throttle = throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.happened(now)
    }

    /// One outcome for each of `asked`, whatever the adapter answered.
    fn each<V>(
        &self,
        call: &'static str,
        asked: usize,
        outcomes: Result<Vec<Result<V, StoreError>>, AdapterFault>,
    ) -> Vec<Result<V, StoreError>> {
        let outcomes = outcomes.and_then(|outcomes| match outcomes.len() == asked {
            true => Ok(outcomes),
            // Nobody knows which of them have none.
            false => Err(self.miscounted(call, outcomes.len(), asked)),
        });
        outcomes.unwrap_or_else(|fault| (0..asked).map(|_| Err(fault.unavailable())).collect())
    }

    fn miscounted(&self, call: &'static str, answers: usize, asked: usize) -> AdapterFault {
        let what = format!("gave {answers} answers to {asked} questions");
        self.fault(call, what)
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let string = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(string).unwrap_or("without words")
}

impl<T: Profiles> Profiles for Guarded<T> {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        let saved = self.caught("save", async { self.adapter.save(profiles).await });
        saved.await.map_err(AdapterFault::corrupt)?
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        let loaded = self.caught("load", async { self.adapter.load(users).await });
        let mut profiles = loaded.await.map_err(AdapterFault::corrupt)??;
        if profiles.len() != users.len() {
            let fault = self.miscounted("load", profiles.len(), users.len());
            return Err(fault.corrupt());
        }
        for (user, profile) in users.iter().zip(&mut profiles) {
            let Some(profile) = profile else {
                continue;
            };
            if profile.user != *user {
                let what = format!("gave the profile of {} for that of {user}", profile.user);
                return Err(self.fault("load", what).corrupt());
            }
            if profile.bound_words() {
                self.garbled(format_args!("the profile of {user}"));
            }
        }
        Ok(profiles)
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        let removed = self.caught("remove", async { self.adapter.remove(users).await });
        removed.await.map_err(AdapterFault::corrupt)?
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        let unseen = self.caught("unseen", async { self.adapter.unseen(before, max).await });
        let mut unseen = unseen.await.map_err(|fault| fault.unavailable())??;
        unseen.truncate(max);
        Ok(unseen)
    }
}

impl<T> Guarded<T> {
    /// Whether an entry is within its bounds, or has been cut down to them.
    fn is_bounded(&self, subject: &Subject, record: &mut Record) -> bool {
        match record {
            Record::Member(member) if !member.look.is_bounded() => {
                self.garbled(format_args!("the look of {} in {subject}", member.user));
                false
            }
            Record::Profile(profile) => {
                let mut bounded = Profile::clone(profile);
                if bounded.bound_words() {
                    self.garbled(format_args!("the profile in {subject}"));
                    *profile = Arc::new(bounded);
                }
                true
            }
            Record::Member(_) | Record::Session(_) => true,
        }
    }

    /// The notice, with only those parts that are within their bounds.
    fn bounded(&self, mut notice: Notice) -> Notice {
        match &mut notice {
            Notice::Patched(subject, patch) => {
                for Change { entry, .. } in &mut patch.changes {
                    if let Ok((token, record)) = entry
                        && !self.is_bounded(subject, record)
                    {
                        // A reader of the map finds nothing there either.
                        let token = *token;
                        *entry = Err(Removed {
                            reason: Reason::Left,
                            fence: Fence { token, profile: 0 },
                        });
                    }
                }
            }
            Notice::Ephemeral(subject, ephemerals) => {
                ephemerals.retain(|ephemeral| match ephemeral {
                    Ephemeral::Said { event, .. } | Ephemeral::Announced { event, .. }
                        if event.len() > EVENT_BYTES_MAX =>
                    {
                        self.garbled(format_args!("an event's name in {subject}"));
                        false
                    }
                    _ => true,
                })
            }
            Notice::At(..) | Notice::Forgot(_) => {}
        }
        notice
    }
}

impl<T: Topics> Topics for Guarded<T> {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let written = self.caught("write", async { self.adapter.write(writes).await });
        self.each("write", writes.len(), written.await)
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        let read = self.caught("read", async { self.adapter.read(subjects).await });
        let mut read = self.each("read", subjects.len(), read.await);
        for (subject, read) in subjects.iter().zip(&mut read) {
            if let Ok(snapshot) = read {
                let entries = &mut snapshot.entries;
                entries.retain_mut(|(_, _, record)| self.is_bounded(subject, record));
            }
        }
        read
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        let followed = self.caught("follow", async { self.adapter.follow(subjects).await });
        self.each("follow", subjects.len(), followed.await)
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        let unfollowed = self.caught("unfollow", async { self.adapter.unfollow(subjects).await });
        let _ = unfollowed.await;
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        let sent = self.caught("send_ephemeral", async {
            self.adapter.send_ephemeral(ephemerals).await
        });
        let _ = sent.await;
    }

    async fn compare(&self) -> Result<(), StoreError> {
        let compared = self.caught("compare", async { self.adapter.compare().await });
        compared.await.map_err(|fault| fault.unavailable())?
    }

    async fn next(&self) -> Notice {
        loop {
            match self
                .caught("next", async { self.adapter.next().await })
                .await
            {
                Ok(notice) => return self.bounded(notice),
                // What was lost by that is found by comparing.
                Err(_) => tokio::time::sleep(AFTER_PANIC).await,
            }
        }
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        let renewed = self.caught("renew", async {
            self.adapter.renew(me, name, ttl, stored_up_to).await
        });
        renewed.await.map_err(|fault| fault.unavailable())?
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        let marked = self.caught("mark_dead", async { self.adapter.mark_dead(who).await });
        marked.await.map_err(|fault| fault.unavailable())?
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        let reaped = self.caught("reap", async { self.adapter.reap(who).await });
        reaped.await.map_err(|fault| fault.unavailable())?
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        let forgotten = self.caught("forget", async { self.adapter.forget(who).await });
        forgotten.await.map_err(|fault| fault.unavailable())?
    }

    async fn has_stopped(&self, who: Incarnation) -> Result<bool, StoreError> {
        let asked = self.caught("has_stopped", async { self.adapter.has_stopped(who).await });
        asked.await.map_err(|fault| fault.unavailable())?
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let secret = self.caught("secret", async { self.adapter.secret(proposal).await });
        secret.await.map_err(|fault| fault.unavailable())?
    }
}

impl<T: Outbox> Outbox for Guarded<T> {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        let due = async { self.adapter.due(queue, partitions, age, max).await };
        let due = self.caught("due", due).await;
        self.each("due", partitions.len(), due)
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        let acknowledged = self.caught("acknowledge", async {
            self.adapter.acknowledge(queue, rows).await
        });
        acknowledged.await.map_err(|fault| fault.unavailable())?
    }
}

impl<T: Hooks> Hooks for Guarded<T> {
    async fn known(&self, subjects: &[Subject]) -> Vec<Result<Known, StoreError>> {
        let known = self.caught("known", async { self.adapter.known(subjects).await });
        self.each("known", subjects.len(), known.await)
    }

    async fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> Vec<Result<EnqueueOutcome, StoreError>> {
        let told = self.caught("enqueue", async {
            self.adapter.enqueue(notifications).await
        });
        self.each("enqueue", notifications.len(), told.await)
    }

    async fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        let audited = async { self.adapter.audit(partition, cursor, max).await };
        let audited = self.caught("audit", audited).await;
        audited.map_err(|fault| fault.unavailable())?
    }

    async fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> Vec<Result<WaitingEvents, StoreError>> {
        let waiting = self.caught("waiting", async {
            self.adapter.waiting(partitions, max).await
        });
        self.each("waiting", partitions.len(), waiting.await)
    }

    async fn remove_delivered(&self, upto: &[(u16, u64)]) -> Vec<Result<(), StoreError>> {
        let delivered = self.caught("remove_delivered", async {
            self.adapter.remove_delivered(upto).await
        });
        self.each("remove_delivered", upto.len(), delivered.await)
    }
}

impl<T: Endpoint> Endpoint for Guarded<T> {
    async fn deliver(
        &self,
        now: Timestamp,
        events: &[NumberedEvent],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let delivered = async { self.adapter.deliver(now, events).await };
        match self.caught("deliver", delivered).await {
            Ok(delivered) => delivered,
            Err(fault) => Err(Box::new(fault)),
        }
    }
}
