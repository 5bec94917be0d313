//! The ports on Redis: translates calls to commands, and answers to outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use presence_core::Timestamp;
use presence_core::cluster::{Ephemeral, Incarnation, Snapshot, Subject, Write};
use presence_core::ports::{Leases, Notice, Reaped, StoreError, Topics, Written};
use tokio::time::Instant;

use crate::batch::{self, Batch, TooLate};
use crate::clocks::Clocks;
use crate::fault::Fault;
use crate::followed::Followed;
use crate::goodbyes::Goodbye;
use crate::keys::{self, Keys};
use crate::listener::Named;
use crate::node::Surroundings;
use crate::script::{self, Script};
use crate::settings::{Address, Servers, Settings};
use crate::survey::{SurveySignal, Target, Topology};
use crate::{leases, record};

/// The number of maps that one call of [`read`](Topics::read) reads at the same time.
pub const READING_MAX: usize = 1024;
/// The number of entries of a map that one command reads.
pub(crate) const ENTRIES_PER_SCAN: i64 = 2000;
/// The time that a call may take in addition to the time limit of a command. What is under way when it ends
/// is still awaited.
const PATIENCE: Duration = Duration::from_millis(300);

/// The shared store of several nodes, on Redis: a single server, the master behind Sentinel, or a cluster.
///
/// To each server that has part of the store it holds as many connections for commands as [`Settings`] say, and one
/// more for subscriptions. Dropping it closes them.
pub struct RedisTopics {
    pub(crate) keys: Keys,
    pub(crate) followed: Arc<Followed>,
    pub(crate) topology: Topology,
    /// The time that a call may take. What is under way when it ends is still awaited.
    patience: Duration,
    /// Whether writes leave rows for webhooks.
    webhooks: bool,
    /// How far the clocks of the servers are apart.
    clocks: Clocks,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{servers} cannot be used: {problem}")]
pub struct ConnectError {
    servers: String,
    problem: String,
}

impl RedisTopics {
    /// Connects to the servers that `settings` name.
    ///
    /// For a cluster, one server that answers is enough. After that it reconnects by itself, for ever.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says what is wrong: no server answers, the password is wrong, or a server is older
    /// than Redis 7.0.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let keys = Keys::new(&settings.prefix);
        let followed = Arc::new(Followed::new(keys.clone()));
        let may_move = !matches!(settings.servers, Servers::One(_));
        let patience = settings.timeout + PATIENCE;
        let webhooks = settings.webhooks;
        let servers = settings.describe();
        let around = Surroundings {
            settings: Arc::new(settings),
            keys: keys.clone(),
            followed: Arc::clone(&followed),
            survey_signal: Arc::new(SurveySignal::new(may_move)),
        };
        let topology = Topology::open(&around)
            .await
            .map_err(|error| ConnectError {
                servers: servers.clone(),
                problem: error.to_string(),
            })?;
        let topics = RedisTopics {
            keys,
            followed,
            topology,
            patience,
            webhooks,
            clocks: Clocks::default(),
        };
        topics
            .check_server()
            .await
            .map_err(|problem| ConnectError { servers, problem })?;
        Ok(topics)
    }

    /// How many records and messages could not be understood so far. They were dropped.
    pub fn garbled(&self) -> u64 {
        self.followed.notices().garbled().count()
    }

    async fn check_server(&self) -> Result<(), String> {
        let info = self.topology.map().any_of("INFO").await;
        let info = info.map_err(|fault| fault.to_string())?;
        let info = info.as_str().unwrap_or_default();
        let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let version = line("redis_version:").unwrap_or_default();
        let major: u32 = version
            .split('.')
            .next()
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
        if major < 7 {
            return Err(format!("it is version {version}, and must be 7.0 or later"));
        }
        let policy = line("maxmemory_policy:").unwrap_or("noeviction").trim();
        if policy != "noeviction" {
            tracing::warn!(
                policy,
                "the store may evict data: set maxmemory-policy to noeviction"
            );
        }
        Ok(())
    }

    /// Sends one command to the server of `place`. If that has just changed, it is sent once more to the new server.
    pub(crate) async fn call(
        &self,
        place: Target,
        name: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, Fault> {
        let until = Instant::now() + self.patience;
        let outcome = self.call_once(place, name, args.clone()).await;
        match outcome {
            Err(Fault::Elsewhere) if Instant::now() < until => {
                self.topology.surveyed().await;
                self.call_once(place, name, args).await
            }
            outcome => outcome,
        }
    }

    async fn call_once(
        &self,
        place: Target,
        name: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, Fault> {
        let queue = match place {
            Target::Partition(partition) => partition,
            Target::Nodes => 0,
        };
        let map = self.topology.map();
        let outcome = match map.owner(place) {
            Ok(node) => node.call(queue, name, args).await,
            Err(fault) => Err(fault),
        };
        if outcome.as_ref().is_err_and(Fault::is_about_the_map) {
            self.topology.request_survey();
        }
        outcome
    }

    pub(crate) async fn run(
        &self,
        place: Target,
        script: &Script,
        keys: &[String],
        args: &[Value],
    ) -> Result<Value, Fault> {
        let outcome = self
            .call(place, "EVALSHA", script.args(false, keys, args))
            .await;
        match outcome {
            Err(Fault::NoScript) => {
                self.call(place, "EVAL", script.args(true, keys, args))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Writes the batches of one partition, one after the other.
    async fn write_chain(&self, chain: &[Batch]) -> Vec<Result<Vec<Written>, Fault>> {
        let mut done = Vec::with_capacity(chain.len());
        for batch in chain {
            // Where the server is away, every further one would wait as long again.
            let outcome = match done.last() {
                Some(Err(fault)) => Err(Fault::clone(fault)),
                _ => self.write_batch(batch).await,
            };
            done.push(outcome);
        }
        done
    }

    pub(crate) async fn write_batch(&self, batch: &Batch) -> Result<Vec<Written>, Fault> {
        let place = Target::Partition(batch.partition);
        for _ in 0..2 {
            let until = batch
                .until
                .map(|it| self.clocks.on_partition(batch.partition, it));
            let (keys, args) = batch.call(&self.keys, until);
            let answer = self.run(place, &script::WRITE, &keys, &args).await?;
            match batch.outcomes_in(answer)? {
                // Unless the clocks of two servers are further from each other than was known.
                Err(TooLate(now)) => self.clocks.saw_partition(batch.partition, now),
                Ok(answer) => {
                    self.clocks.saw_partition(batch.partition, answer.now);
                    let of_names = answer.outcomes.iter();
                    let of_names = of_names.map(|it| (it.name, it.written.version.unwrap_or(0)));
                    self.followed.wrote(batch.partition, answer.birth, of_names);
                    let outcomes = answer.outcomes.into_iter();
                    return Ok(outcomes.map(|it| it.written).collect());
                }
            }
        }
        Err(Fault::Late)
    }

    async fn read_one(&self, subject: &Subject, until: Instant) -> Result<Snapshot, StoreError> {
        if Instant::now() >= until {
            // The first ones have waited for so long.
            return Err(Fault::Crowded.into());
        }
        let snapshot = self.scan_all(subject).await?;
        if let Some(clock) = snapshot.clock {
            self.followed.saw(subject, clock);
        }
        Ok(snapshot)
    }
}

impl RedisTopics {
    /// Reads a map. A small one is read at once, and a big one piece by piece, so that it does not block the server.
    ///
    /// If it is read in pieces, the version is that of the beginning, and some entries may be newer. A follower of
    /// the subject receives all changes since that version.
    async fn scan_all(&self, subject: &Subject) -> Result<Snapshot, StoreError> {
        let key = self.keys.map(subject);
        let place = Target::Partition(subject.partition());
        let corrupt = |source| StoreError::Corrupt {
            key: key.clone(),
            source: Box::new(source),
        };
        let (mut cursor, first) = self.scan(place, &key, "0", ENTRIES_PER_SCAN).await?;
        let garbled = self.followed.notices().garbled();
        let mut snapshot = record::Fields::default();
        if cursor == "0" {
            snapshot.add(subject, &first, garbled).map_err(corrupt)?;
            return Ok(snapshot.into());
        }
        let args = vec![Value::from(key.as_str()), Value::from(keys::CLOCK)];
        let clock = self.call(place, "HGET", args).await?;
        let Some(clock) = clock.as_bytes() else {
            // It is gone meanwhile.
            return Ok(snapshot.into());
        };
        cursor = "0".to_owned();
        loop {
            let (next, entries) = self.scan(place, &key, &cursor, ENTRIES_PER_SCAN).await?;
            snapshot.add(subject, &entries, garbled).map_err(corrupt)?;
            if next == "0" {
                break;
            }
            cursor = next;
        }
        snapshot.set_clock(clock).map_err(corrupt)?;
        Ok(snapshot.into())
    }

    /// Reads a part of the hash at `key`, from `cursor` on. Returns where to go on, and fields and values in turn.
    pub(crate) async fn scan(
        &self,
        place: Target,
        key: &str,
        cursor: &str,
        count: i64,
    ) -> Result<(String, Vec<Value>), Fault> {
        let args = vec![
            Value::from(key),
            Value::from(cursor),
            Value::from("COUNT"),
            Value::from(count),
        ];
        let answer = self.call(place, "HSCAN", args).await?.into_array();
        let [next, entries] = <[Value; 2]>::try_from(answer).map_err(|_| Fault::Strange)?;
        let next = next.as_str().ok_or(Fault::Strange)?.into_owned();
        Ok((next, entries.into_array()))
    }
}

impl Topics for RedisTopics {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let mut outcomes: Vec<Result<Written, Fault>> =
            writes.iter().map(|_| Ok(Written::default())).collect();
        let chains = batch::of(writes, self.webhooks);
        let done = join_all(chains.iter().map(|it| self.write_chain(it))).await;
        for (batch, written) in chains.iter().flatten().zip(done.into_iter().flatten()) {
            match written {
                Ok(written) => {
                    for (index, written) in batch.indices().zip(written) {
                        if let Ok(outcome) = &mut outcomes[index] {
                            outcome.version = written.version.or(outcome.version);
                            outcome.refused.extend(written.refused);
                            outcome.absent.extend(written.absent);
                            outcome.profile = written.profile.or(outcome.profile);
                        }
                    }
                }
                Err(fault) => {
                    let indices = batch.indices();
                    indices.for_each(|index| outcomes[index] = Err(fault.clone()));
                }
            }
        }
        let outcomes = outcomes.into_iter();
        outcomes.map(|it| it.map_err(StoreError::from)).collect()
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        let until = Instant::now() + self.patience;
        let reads: Vec<_> = subjects.iter().map(|it| self.read_one(it, until)).collect();
        stream::iter(reads).buffered(READING_MAX).collect().await
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        let mut outcomes: Vec<_> = subjects.iter().map(|_| Ok(())).collect();
        for subject in subjects {
            self.followed.insert(subject);
        }
        // Also to what is subscribed to already: how long this takes is not to tell who follows what.
        let mut left: Vec<usize> = (0..subjects.len()).collect();
        let until = Instant::now() + self.patience;
        for is_again in [false, true] {
            if is_again && !left.is_empty() {
                self.topology.surveyed().await;
            }
            left = self.follow_once(subjects, left, until, &mut outcomes).await;
        }
        for (subject, outcome) in subjects.iter().zip(&outcomes) {
            if outcome.is_err() {
                self.followed.give_up(subject);
            }
        }
        outcomes
            .into_iter()
            .map(|outcome: Result<(), Fault>| outcome.map_err(StoreError::from))
            .collect()
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        let map = self.topology.map();
        for subject in subjects {
            if self.followed.remove(subject)
                && let Ok(node) = map.owner(Target::Partition(subject.partition()))
            {
                node.listener().unfollow([named(subject)]);
            }
        }
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        let told = ephemerals.iter().map(|(subject, ephemerals)| {
            let channel = Value::from(self.keys.map(subject));
            let message = Value::Bytes(record::encode_ephemerals(ephemerals).into());
            self.call_once(
                Target::Partition(subject.partition()),
                "SPUBLISH",
                vec![channel, message],
            )
        });
        let _ = join_all(told).await;
    }

    async fn compare(&self) -> Result<(), StoreError> {
        Ok(self.compare_all().await?)
    }

    async fn next(&self) -> Notice {
        self.followed.notices().next().await
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        let key = self.keys.leases();
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let args = [
            Value::from(me.to_string()),
            Value::from(leases::text_of(name, stored_up_to)),
            Value::from(ttl),
        ];
        let answer = self
            .run(
                Target::Nodes,
                &script::RENEW,
                std::slice::from_ref(&key),
                &args,
            )
            .await?;
        let garbled = self.followed.notices().garbled();
        let leases = leases::leases_in(answer, garbled).map_err(|source| StoreError::Corrupt {
            key,
            source: Box::new(source),
        })?;
        self.clocks.saw_leases(leases.now);
        Ok(leases)
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        let args = [Value::from(who.to_string())];
        let answer = self
            .run(
                Target::Nodes,
                &script::MARK_DEAD,
                &[self.keys.leases()],
                &args,
            )
            .await?;
        Ok(answer.as_i64() == Some(1))
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        self.reap_all(who).await
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        let args = vec![
            Value::from(self.keys.leases()),
            Value::from(who.to_string()),
        ];
        self.call(Target::Nodes, "HDEL", args).await?;
        Ok(())
    }

    async fn has_stopped(&self, who: Incarnation) -> Result<bool, StoreError> {
        let said = self.goodbyes(&[who]).await?;
        Ok(matches!(said[..], [Some(Goodbye::Stopped(_))]))
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let key = self.keys.secret();
        let args = vec![
            Value::from(key.as_str()),
            Value::Bytes(proposal.to_vec().into()),
            Value::from("NX"),
            Value::from("GET"),
        ];
        let before = self.call(Target::Nodes, "SET", args).await?;
        match before.as_bytes() {
            None => Ok(proposal),
            Some(before) => before.try_into().map_err(|source| StoreError::Corrupt {
                key,
                source: Box::new(source),
            }),
        }
    }
}

impl RedisTopics {
    /// Subscribes to those of `subjects` whose indices are in `left`, and stores their `outcomes`. Returns those that
    /// can be tried again.
    async fn follow_once(
        &self,
        subjects: &[Subject],
        left: Vec<usize>,
        until: Instant,
        outcomes: &mut [Result<(), Fault>],
    ) -> Vec<usize> {
        let map = self.topology.map();
        let mut by_node: BTreeMap<&Address, (_, Vec<usize>)> = BTreeMap::new();
        let mut again = Vec::new();
        for index in left {
            match map.owner(Target::Partition(subjects[index].partition())) {
                Ok(node) => {
                    let (_, indices) = by_node.entry(node.address()).or_insert((node, Vec::new()));
                    indices.push(index);
                }
                Err(fault) => outcomes[index] = Err(fault),
            }
        }
        let followed = by_node.into_values().map(|(node, indices)| async move {
            let subjects = indices
                .iter()
                .map(|&index| named(&subjects[index]))
                .collect();
            (node.listener().follow(subjects, until).await, indices)
        });
        for (answers, indices) in join_all(followed).await {
            for (index, answer) in indices.into_iter().zip(answers) {
                if matches!(answer, Err(Fault::Elsewhere)) {
                    again.push(index);
                }
                outcomes[index] = answer;
            }
        }
        again
    }
}

fn named(subject: &Subject) -> Named {
    (subject.partition(), keys::name_of(subject).into())
}
