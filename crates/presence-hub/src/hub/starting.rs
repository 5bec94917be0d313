//! Starts and stops a hub.

use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::nodes::Nodes;
use presence_core::cluster::{Incarnation, PARTITIONS};
use presence_core::hooks::Wanted;
use presence_core::ports::{self, Profiles, Recalled, Sessions, Topics};
use presence_core::rosters::Rosters;
use presence_core::users::{Input, Users};
use presence_core::{Timestamp, Timing};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Hub, Settings, random_u128};
use crate::backlog::Backlog;
use crate::clock::WallClock;
use crate::counters::Counters;
use crate::explain::{self, Inquirer};
use crate::guarded::Guarded;
use crate::holding::Holding;
use crate::hooks::{Changes, Dispatcher, OwnShards, SharedMaps};
use crate::lease::{HandOff, Leasing};
use crate::link::Link;
use crate::listening::listen;
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage};
use crate::retention;
use crate::roster_shard::RosterShard;
use crate::router::ReplyRouter;
use crate::save_outcomes::SaveOutcomes;
use crate::session_journal::{self, SessionJournal};
use crate::shards::Shards;
use crate::store_worker::StoreWorker;
use crate::sweeper::Sweeper;
use crate::tasks::Tasks;
use crate::user_shard::UserShard;

/// How long [`Hub::restore`] waits for the profiles of the sessions that it restores. A user whose profile is read
/// later appears later.
const RESTORE_PATIENCE: Duration = Duration::from_secs(5);

/// What a node needs to be one of several.
struct Cluster {
    me: Incarnation,
    link: Link,
    save_outcomes: SaveOutcomes,
    hand_offs: mpsc::Sender<HandOff>,
}

/// What a node that is alone needs to deliver webhooks from a store of its own.
#[derive(Debug)]
pub(super) struct Local {
    changes: Arc<Changes>,
    /// The partitions of that store which are looked after: all of them, but none until sessions are restored.
    partitions: watch::Sender<Arc<[u16]>>,
}

impl Local {
    fn new() -> Self {
        Local {
            changes: Arc::default(),
            partitions: watch::Sender::new(Arc::from([])),
        }
    }

    /// Lets the webhook dispatcher look for changes from now on.
    fn begin(&self) {
        self.partitions.send_replace((0..PARTITIONS).collect());
    }
}

impl Hub {
    /// Starts a node that is alone, with the profiles in `profiles`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, and in a runtime without timers
    /// ([`Builder::enable_time`](tokio::runtime::Builder::enable_time)).
    pub fn start<P: Profiles>(settings: Settings, profiles: Arc<P>) -> Self {
        let counters = Arc::<Counters>::default();
        let profiles = Arc::new(Guarded::new(profiles, counters.clone()));
        Hub::with(settings, profiles, WallClock::start(), counters, None, None)
    }

    /// Starts a node that is alone, and that stores its sessions in `sessions` for the next process, with a part for
    /// each of [`Settings::shards`]. Call [`restore`](Self::restore) first, with what the process before has stored.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, and in a runtime without timers
    /// ([`Builder::enable_time`](tokio::runtime::Builder::enable_time)).
    pub fn start_keeping<P: Profiles>(
        settings: Settings,
        profiles: Arc<P>,
        sessions: Arc<dyn Sessions>,
    ) -> Self {
        let clock = WallClock::start();
        sessions.alive(clock.now());
        let weak = Arc::downgrade(&sessions);
        tokio::spawn(session_journal::stay_alive(weak, clock));
        let counters = Arc::<Counters>::default();
        let profiles = Arc::new(Guarded::new(profiles, counters.clone()));
        Hub::with(settings, profiles, clock, counters, None, Some(sessions))
    }

    /// Restores the sessions of the process before. They are shown as they were, and held for their clients for
    /// [`Timing::HELD`] from now; a session whose client does not come back leaves then. The process before was last
    /// alive `away` ago, when its clock said `ended_at`. When all sessions are restored, webhooks begin to look for
    /// changes.
    ///
    /// It returns when all sessions are restored, or after 5 s if their profiles take longer. Call it before any
    /// connection is let in. Without stored sessions it does nothing.
    pub async fn restore(&self, recalled: Vec<Recalled>, away: Duration, ended_at: Timestamp) {
        let Some(sessions) = self.sessions.clone() else {
            return;
        };
        let now = self.clock.now();
        let mut answers = Vec::with_capacity(recalled.len());
        for recalled in recalled {
            let kept = &recalled.kept;
            let alive_at = match kept.by_service {
                true => kept.heard_at,
                false => kept.lost_at,
            };
            let ago = away + ended_at.since(alive_at.unwrap_or(ended_at));
            let user = kept.user.clone();
            let (reply, answer) = oneshot::channel();
            let input = Input::Restored {
                recalled: Box::new(recalled),
                alive_at: before(now, ago),
                until: now + Timing::HELD,
                reply_to: Some(ReplyTo::Caller(reply)),
            };
            if self.happened(&user, input).await.is_ok() {
                answers.push(answer);
            }
        }
        let local = self.local.clone();
        let mut restoring = tokio::spawn(async move {
            for answer in answers {
                let _ = answer.await;
            }
            sessions.forget_earlier();
            if let Some(local) = local {
                local.begin();
            }
        });
        if tokio::time::timeout(RESTORE_PATIENCE, &mut restoring)
            .await
            .is_err()
        {
            tracing::warn!(
                patience = ?RESTORE_PATIENCE,
                "some sessions are not restored yet: the profiles of their users cannot be read"
            );
        }
        for shard in self.rosters.all() {
            let (done, told) = oneshot::channel();
            let _ = shard.send(RosterMessage::TellAtOnce(done)).await;
            let _ = told.await;
        }
    }

    /// Keeps every session that has lost its connection, or loses it from now on, for at least `span`: the
    /// node is about to stop, so no client can come back to it. It does nothing unless sessions are stored
    /// for the next process.
    pub async fn hold(&self, span: Duration) {
        if self.sessions.is_none() {
            return;
        }
        for shard in self.people.all() {
            let (reply, done) = oneshot::channel();
            let _ = shard.send(UserMessage::Hold(span, reply)).await;
            let _ = done.await;
        }
    }

    /// Starts one of several nodes that share `store`, with the profiles in `profiles`. People in one channel see each
    /// other on whichever nodes they are.
    ///
    /// `name` is for people: it is in logs, and beside the node's lease in the store. It need not be unique.
    ///
    /// The call never fails. It waits for one answer of the store, to learn the store's time; that takes about a
    /// second at most. While the store does not answer, the node works on its own, and it joins the others as soon
    /// as the store answers.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use presence_embedded::ProfileMemory;
    /// use presence_hub::{Hub, Settings};
    /// use presence_redis::RedisTopics;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = presence_redis::Settings::from_url("redis://127.0.0.1:6379/0")?;
    /// let store = Arc::new(RedisTopics::connect(redis).await?);
    /// let profiles = Arc::new(ProfileMemory::default());
    /// let hub = Hub::join(Settings::default(), profiles, store, "eu-1").await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, and in a runtime without timers
    /// ([`Builder::enable_time`](tokio::runtime::Builder::enable_time)).
    // Longer than a screen because it is a list: every task of the node is started here.
    pub async fn join<P: Profiles, T: Topics + ports::Outbox>(
        settings: Settings,
        profiles: Arc<P>,
        store: Arc<T>,
        name: &str,
    ) -> Self {
        let counters = Arc::<Counters>::default();
        let profiles = Arc::new(Guarded::new(profiles, counters.clone()));
        let store = Arc::new(Guarded::new(store, counters.clone()));
        let node = random();
        let me = Incarnation {
            node,
            generation: 0,
        };
        let nothing = Timestamp::default();
        let first = store.renew(me, name, Timing::LEASE, nothing).await.ok();
        let clock = match &first {
            Some(leases) => WallClock::start_at(leases.now),
            None => WallClock::start(),
        };
        let nodes = Nodes::new(clock.now(), node);
        let (link, requests) = Link::new();
        let pulse = link.pulse();
        let (save_outcomes, outcomes) = SaveOutcomes::new();
        let (hand_offs, inbox) = mpsc::channel(1);
        let hub_link = link.clone();
        let cluster = Cluster {
            me,
            link,
            save_outcomes,
            hand_offs,
        };
        let mut hub = Hub::with(
            settings,
            profiles.clone(),
            clock,
            counters.clone(),
            Some(cluster),
            None,
        );
        let router = ReplyRouter {
            people: hub.people.clone(),
            rosters: hub.rosters.clone(),
        };
        let holding = Arc::new(Holding::new(pulse));
        if let Some(leases) = &first {
            // So that the nodes that are here already are known at once, to explanations and lists.
            holding.saw(me, leases.clone());
        }
        let who = (me, name);
        hub.inquirer = (hub.inquirer).of_cluster(store.clone(), who, hub_link, holding.seen());
        hub.tasks.spawn(explain::follow(store.clone(), me));
        let until = clock.now() + Timing::LEASE;
        holding.until(me, until, first.map_or(until, |it| it.now + Timing::LEASE));
        hub.partitions = Some(holding.partitions());
        hub.leases = Some(holding.seen());
        let store_worker = StoreWorker::new(
            store.clone(),
            clock,
            holding.clone(),
            router.clone(),
            counters.clone(),
        );
        hub.tasks.spawn(store_worker.run(requests));
        hub.tasks.spawn(listen(
            store.clone(),
            holding.clone(),
            router.clone(),
            hub.inquirer.clone(),
            counters.clone(),
        ));
        let sweeper = Sweeper::new(
            profiles,
            store.clone(),
            me,
            holding.partitions(),
            counters.clone(),
        );
        hub.tasks.spawn(sweeper.run(outcomes));
        let who = (me, name.into());
        let leasing = Leasing::new(store, who, clock, nodes, holding, router, counters);
        hub.tasks.spawn(leasing.run(inbox));
        hub
    }

    // Longer than a screen because it is a list: every part of the hub is made here, each from those before it.
    fn with<P: Profiles>(
        settings: Settings,
        profiles: Arc<P>,
        clock: WallClock,
        counters: Arc<Counters>,
        cluster: Option<Cluster>,
        sessions: Option<Arc<dyn Sessions>>,
    ) -> Self {
        // A runtime without timers is refused here, with tokio's own sentence, and not in a task that nobody waits for.
        drop(tokio::time::sleep(Duration::ZERO));
        let Settings { timing, limits, .. } = settings;
        let tasks = Arc::new(Tasks::default());
        let shards = settings.shards.max(1);
        let link = || cluster.as_ref().map(|it| it.link.clone());
        let backlog = Arc::new(Backlog::new(settings.outboxes_bytes_max, counters.clone()));
        let local = cluster.is_none().then(|| Arc::new(Local::new()));
        let changes = || local.as_ref().map(|it| it.changes.clone());
        let rosters = Shards::new(Vec::from_iter((0..shards).map(|_| {
            let (mailbox, inbox) = mpsc::channel(settings.mailbox_max);
            let mut rosters = Rosters::new(timing, limits, random());
            if let Some(cluster) = &cluster {
                rosters.join_cluster(cluster.me);
            }
            let (counters, backlog) = (counters.clone(), backlog.clone());
            let shard = RosterShard::new(clock, rosters, link(), counters, backlog);
            let shard = match changes() {
                Some(changes) => shard.announcing(changes),
                None => shard,
            };
            tasks.spawn(shard.run(inbox));
            mailbox
        })));
        let people = Shards::new(Vec::from_iter((0..shards).map(|part| {
            let (mailbox, inbox) = mpsc::channel(settings.mailbox_max);
            let mut users = Users::new(timing, limits, random());
            if settings.history_bytes_max > 0 {
                users.record_history();
            }
            if let Some(cluster) = &cluster {
                users.join_cluster(cluster.me);
            }
            let profiles = profiles.clone();
            let (rosters, counters) = (rosters.clone(), counters.clone());
            let save_outcomes = cluster.as_ref().map(|it| it.save_outcomes.clone());
            let shard = UserShard::new(
                clock,
                users,
                profiles,
                rosters,
                link(),
                save_outcomes,
                counters,
            )
            .recording(settings.history_bytes_max / shards, settings.keep_unseen);
            let shard = match &sessions {
                Some(sessions) => shard.remembering(SessionJournal::new(sessions.clone(), part)),
                None => shard,
            };
            let shard = match changes() {
                Some(changes) => shard.announcing(changes),
                None => shard,
            };
            tasks.spawn(shard.run(inbox));
            mailbox
        })));
        if let (Some(local), None) = (&local, &sessions) {
            local.begin();
        }
        let router = ReplyRouter {
            people: people.clone(),
            rosters: rosters.clone(),
        };
        let inquirer = Inquirer::alone(router, profiles.clone());
        if let Some(keep) = settings.keep_unseen {
            let people = people.downgrade();
            tasks.spawn(retention::run(profiles, people, clock, keep));
        }
        Hub {
            settings,
            clock,
            people,
            rosters,
            backlog,
            counters,
            hand_offs: cluster.map(|it| it.hand_offs),
            tasks,
            partitions: None,
            leases: None,
            local,
            sessions,
            inquirer,
        }
    }

    /// Starts the delivery of webhooks to `endpoint`. Only the partitions of `store` that this node looks after are
    /// delivered, so it has to be started on every node; `wanted` selects the kinds of events. `store` must be the one
    /// that the node has joined, and must have been opened with webhooks on. Returns false, and does nothing, on a node
    /// that is alone.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn deliver_webhooks<S, E>(&self, store: Arc<S>, endpoint: Arc<E>, wanted: Wanted) -> bool
    where
        S: Topics + ports::Outbox + ports::Hooks,
        E: ports::Endpoint,
    {
        let Some(partitions) = self.partitions.clone() else {
            return false;
        };
        let (clock, counters) = (self.clock, self.counters.clone());
        let store = Arc::new(Guarded::new(store, counters.clone()));
        let endpoint = Arc::new(Guarded::new(endpoint, counters.clone()));
        let maps = SharedMaps {
            store: store.clone(),
            clock,
        };
        let dispatcher =
            Dispatcher::new(maps, store, endpoint, clock, wanted, counters, partitions);
        self.tasks.spawn(dispatcher.run());
        true
    }

    /// Starts the delivery of webhooks to `endpoint` from a node that is alone. What the endpoint was told and the events
    /// that wait are in `store`, which nobody else uses; `wanted` selects the kinds of events. On a node that
    /// [stores its sessions](Self::start_keeping), the delivery begins when [`restore`](Self::restore) has restored them: so
    /// a session that goes on is not told as gone. Returns false, and does nothing, on a node that is not alone, and on one
    /// that delivers webhooks already.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn deliver_local_webhooks<S, E>(
        &self,
        store: Arc<S>,
        endpoint: Arc<E>,
        wanted: Wanted,
    ) -> bool
    where
        S: ports::LocalOutbox + ports::Hooks,
        E: ports::Endpoint,
    {
        let Some(local) = &self.local else {
            return false;
        };
        if !local.changes.go_to(store.clone(), wanted) {
            return false;
        }
        let (clock, counters) = (self.clock, self.counters.clone());
        let store = Arc::new(Guarded::local(store, counters.clone()));
        let endpoint = Arc::new(Guarded::new(endpoint, counters.clone()));
        let shards = OwnShards::new(&self.people, &self.rosters);
        let partitions = local.partitions.subscribe();
        let dispatcher =
            Dispatcher::new(shards, store, endpoint, clock, wanted, counters, partitions);
        self.tasks.spawn(dispatcher.run());
        true
    }

    /// Stops the node: ends every connection, saves everything, and ends the node's tasks. Returns whether everything
    /// was saved within `patience`; with no patience at all, unsaved changes are lost. In either case the node does not
    /// call a store any more.
    ///
    /// In a cluster, the other nodes show its people for the grace time, so that they can connect elsewhere.
    pub async fn stop(&self, patience: Duration) -> bool {
        let kept = async {
            for shard in self.people.all() {
                let (reply, done) = oneshot::channel();
                let _ = shard.send(UserMessage::Stop(reply)).await;
                let _ = done.await;
            }
        };
        let handed_off = async {
            if let Some(hand_offs) = &self.hand_offs {
                let (done, handed_off) = oneshot::channel();
                let time = self.settings.timing.grace();
                let _ = hand_offs.send(HandOff { time, done }).await;
                let _ = handed_off.await;
            }
        };
        let kept = async { tokio::join!(kept, handed_off) };
        let is_kept = tokio::time::timeout(patience, kept).await.is_ok();
        if let Some(sessions) = &self.sessions {
            sessions.alive(self.clock.now());
        }
        self.tasks.end().await;
        self.inquirer.close();
        is_kept
    }
}

/// The moment `ago` before `now`.
fn before(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(ago))
}

fn random() -> u64 {
    random_u128() as u64
}
