//! A whole node: its shards, its stores, and the calls of the program that embeds it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::cluster::Incarnation;
use presence_core::cluster::nodes::Nodes;
use presence_core::explain::ClientOrigin;
use presence_core::history::Cause;
use presence_core::hooks::Wanted;
use presence_core::ports::{self, Leases, Profiles, Recalled, Sessions, Topics};
use presence_core::rosters::{Page, Rosters};
use presence_core::users::{Answer, Connection, Input, Likeness, Users};
use presence_core::{
    ByteRate, ChannelId, DeviceId, Limits, Meta, Outsider, OwnView, Payload, PublicView, Refusal,
    SessionId, StatusChange, Timestamp, Timing, Topic, UserId, WorkspaceId, rosters,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::backlog::Backlog;
use crate::clock::WallClock;
use crate::counters::{Counters, Counts};
use crate::explain::{self, Inquirer};
use crate::guarded::Guarded;
use crate::hooks::Dispatcher;
use crate::lease::{HandOff, Leasing, Seen};
use crate::link::{self, Holding, Link, ReplyRouter, SaveOutcomes, StoreWorker};
use crate::memory::{self, Memory};
use crate::people::{self, People, ReplyTo, Welcome};
use crate::retention;
use crate::roster_shard::{self, Occupied, RosterShard};
use crate::session::{Budget, Session};
use crate::shards::Shards;
use crate::sweeper::Sweeper;
use crate::tasks::Tasks;

/// The settings of a hub. Every value is valid; zero shards count as one.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long things last, such as the ttl and the grace time.
    pub timing: Timing,
    /// How many there may be of each thing, such as sessions of one user.
    pub limits: Limits,
    /// The number of tasks that own users, and of as many tasks that own rosters. About one per core is good; the
    /// default is at most 8.
    pub shards: usize,
    /// The number of messages that may wait for one shard. A further command is refused with [`Busy`](crate::Busy).
    pub mailbox_max: usize,
    /// The number of bytes that may wait for one connection. When there are more, its events are conflated.
    pub outbox_bytes_max: usize,
    /// The number of bytes that may wait for all connections together. When there are more, the connections with the
    /// most are conflated, or ended.
    pub outboxes_bytes_max: usize,
    /// The rate of bytes at which one connection may ask for whole states. Further states are sent when the
    /// rate allows it.
    pub states: ByteRate,
    /// How long the profile of a user is kept after the user was last seen; `None` keeps it for ever.
    pub keep_unseen: Option<Duration>,
    /// The number of bytes that the record of what happened to users may take. The oldest is dropped when it is full;
    /// with 0 nothing is recorded. [`Hub::explain_user`] tells it.
    pub history_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            timing: Timing::default(),
            limits: Limits::default(),
            shards: cores.min(8),
            mailbox_max: 8192,
            outbox_bytes_max: 256 * 1024,
            outboxes_bytes_max: 256 << 20,
            states: ByteRate {
                burst: 8 << 20,
                per_second: 1 << 20,
            },
            keep_unseen: None,
            history_bytes_max: 16 << 20,
        }
    }
}

/// What a connection needs to get a session.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The user. The caller has authenticated them.
    pub user: UserId,
    /// The user's device that the connection is on.
    pub device: DeviceId,
    /// The workspaces in whose online lists the user appears through this session.
    pub workspaces: Vec<WorkspaceId>,
    /// The meta of the session in those workspaces.
    pub card: Arc<Meta>,
    /// The earlier connection whose session is to go on: its session id and epoch, from [`Session::connection`]. `None`
    /// begins a new session.
    ///
    /// The session goes on if it belongs to `user`, if this was its last connection, and if it has not ended: its
    /// connection is still open (then that one is closed with [`Reason::Replaced`](presence_core::Reason::Replaced)),
    /// or broke less than the grace time ago, on this node or on another one. Otherwise a new session begins;
    /// [`Session::is_restored`] says which.
    ///
    /// The hub does not check that the client may do this. An id is not a secret, so the caller must have verified it,
    /// for example with a signed resume token.
    ///
    /// ```text
    /// let first = hub.connect(entry.clone()).await?;
    /// let resume = Some(first.connection());                       // session 7f3a…, epoch 0
    /// drop(first);                                                 // the connection broke
    /// let second = hub.connect(Entry { resume, ..entry }).await?;  // session 7f3a…, epoch 1
    /// assert!(second.is_restored());
    /// ```
    pub resume: Option<Connection>,
    /// Where the connection comes from, for explanations; `None` if nobody needs to know.
    pub origin: Option<Arc<ClientOrigin>>,
}

/// A node: its users, its rosters, and everyone who watches them. A clone is a handle for the same node, and cheap.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Settings,
    clock: WallClock,
    people: Shards<people::Message>,
    rosters: Shards<roster_shard::Message>,
    counters: Arc<Counters>,
    backlog: Arc<Backlog>,
    hand_offs: Option<mpsc::Sender<HandOff>>,
    tasks: Arc<Tasks>,
    /// The partitions of the shared store that this node looks after.
    partitions: Option<watch::Receiver<Arc<[u16]>>>,
    /// The leases of all nodes, as they were last read.
    leases: Option<watch::Receiver<Seen>>,
    /// Where sessions are stored for the next process, if they are.
    sessions: Option<Arc<dyn Sessions>>,
    inquirer: Inquirer,
}

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

impl Hub {
    /// Starts a node that is alone, with the profiles in `profiles`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
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
    /// Panics outside of a tokio runtime.
    pub fn start_keeping<P: Profiles>(
        settings: Settings,
        profiles: Arc<P>,
        sessions: Arc<dyn Sessions>,
    ) -> Self {
        let clock = WallClock::start();
        sessions.alive(clock.now());
        let weak = Arc::downgrade(&sessions);
        tokio::spawn(memory::stay_alive(weak, clock));
        let counters = Arc::<Counters>::default();
        let profiles = Arc::new(Guarded::new(profiles, counters.clone()));
        Hub::with(settings, profiles, clock, counters, None, Some(sessions))
    }

    /// Restores the sessions of the process before. They are shown as they were, and held for their clients for
    /// [`Timing::HELD`] from now; a session whose client does not come back leaves then. The process before was last
    /// alive `away` ago, when its clock said `ended_at`.
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
        let mut restoring = tokio::spawn(async move {
            for answer in answers {
                let _ = answer.await;
            }
            sessions.forget_earlier();
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
            let _ = shard.send(roster_shard::Message::TellAtOnce(done)).await;
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
            let _ = shard.send(people::Message::Hold(span, reply)).await;
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
    /// ```text
    /// let settings = presence_redis::Settings::from_url("redis://127.0.0.1:6379/0")?;
    /// let store = Arc::new(RedisTopics::connect(settings).await?);
    /// let hub = Hub::join(Settings::default(), profiles, store, "eu-1").await;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
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
            // So that the first explanation asks the nodes that are here already.
            holding.saw(me, &leases.nodes);
        }
        let (roll, link) = (holding.roll(), hub_link);
        hub.inquirer = hub
            .inquirer
            .of_cluster(store.clone(), (me, name), link, roll);
        hub.tasks.spawn(explain::follow(store.clone(), me));
        let until = clock.now() + Timing::LEASE;
        holding.until(until, first.map_or(until, |it| it.now + Timing::LEASE));
        hub.partitions = Some(holding.partitions());
        let store_worker = StoreWorker::new(
            store.clone(),
            clock,
            holding.clone(),
            router.clone(),
            counters.clone(),
        );
        hub.tasks.spawn(store_worker.run(requests));
        let (heard_by, counted) = (router.clone(), counters.clone());
        let inquirer = hub.inquirer.clone();
        let listening = link::listen(store.clone(), holding.clone(), heard_by, inquirer, counted);
        hub.tasks.spawn(listening);
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
        hub.leases = Some(leasing.leases());
        hub.tasks.spawn(leasing.run(inbox));
        hub
    }

    fn with<P: Profiles>(
        settings: Settings,
        profiles: Arc<P>,
        clock: WallClock,
        counters: Arc<Counters>,
        cluster: Option<Cluster>,
        sessions: Option<Arc<dyn Sessions>>,
    ) -> Self {
        let Settings { timing, limits, .. } = settings;
        let tasks = Arc::new(Tasks::default());
        let shards = settings.shards.max(1);
        let link = || cluster.as_ref().map(|it| it.link.clone());
        let backlog = Arc::new(Backlog::new(settings.outboxes_bytes_max, counters.clone()));
        let rosters = Shards::new(Vec::from_iter((0..shards).map(|_| {
            let (mailbox, inbox) = mpsc::channel(settings.mailbox_max);
            let mut rosters = Rosters::new(timing, limits, random());
            if let Some(cluster) = &cluster {
                rosters.join_cluster(cluster.me);
            }
            let (counters, backlog) = (counters.clone(), backlog.clone());
            tasks.spawn(RosterShard::new(clock, rosters, link(), counters, backlog).run(inbox));
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
            let shard = People::new(
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
                Some(sessions) => shard.remembering(Memory::new(sessions.clone(), part)),
                None => shard,
            };
            tasks.spawn(shard.run(inbox));
            mailbox
        })));
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
    pub fn tell_outside<S, E>(&self, store: Arc<S>, endpoint: Arc<E>, wanted: Wanted) -> bool
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
        let dispatcher = Dispatcher::new(store, endpoint, clock, wanted, counters, partitions);
        self.tasks.spawn(dispatcher.run());
        true
    }

    /// The leases of all nodes as this node last read them, with the incarnation that is this node. `None` on a node that
    /// is alone, and until the store has answered.
    pub fn leases(&self) -> Option<(Incarnation, Leases)> {
        self.leases.as_ref()?.borrow().clone()
    }

    /// The settings that the hub was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The clock of the hub: all its moments are by this clock.
    pub fn clock(&self) -> WallClock {
        self.clock
    }

    /// The counters of the hub, since it was started.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets a connection in, once the profile of its user has been read. A user whose profile cannot be read waits, or
    /// in a cluster is let in hidden after half a second.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooMany`] if the user has too many sessions. [`Refusal::Unavailable`] if the profile store does not
    /// work, if too much waits for the user, or if the hub has stopped.
    pub async fn connect(&self, entry: Entry) -> Result<Session, Refusal> {
        self.let_in(entry, None).await
    }

    /// Lets a connection in, like [`connect`](Self::connect), for a client whose protocol has no resume token.
    /// After a restart of this node the client's session is held for it. The session goes on if the client is
    /// `like` the one before.
    ///
    /// # Errors
    ///
    /// The same as those of [`connect`](Self::connect).
    pub async fn connect_like(&self, entry: Entry, like: Likeness) -> Result<Session, Refusal> {
        self.let_in(entry, Some(like)).await
    }

    async fn let_in(&self, entry: Entry, likeness: Option<Likeness>) -> Result<Session, Refusal> {
        let Entry {
            user,
            device,
            workspaces,
            card,
            resume,
            origin,
        } = entry;
        let bytes_max = self.settings.outbox_bytes_max;
        let send_queue = self.backlog.open(bytes_max);
        let (reply, welcome) = oneshot::channel();
        let input = Input::Connected {
            session: SessionId::from_u128(random_u128()),
            resume,
            likeness,
            device,
            workspaces,
            card,
            origin,
            reply_to: ReplyTo::Door {
                send_queue: send_queue.clone(),
                reply,
            },
        };
        self.happened(&user, input).await?;
        let Welcome {
            connection,
            alias,
            restored,
            joined,
        } = welcome.await.map_err(|_| Refusal::Unavailable)??;
        let people = self.people.clone();
        let budget = Budget::new(self.clock, self.settings.states);
        Ok(Session::new(
            user,
            (connection, alias),
            restored,
            joined,
            people,
            send_queue,
            budget,
        ))
    }

    /// How others see `user`. A user of whom nothing is known is offline.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the user's profile cannot be read, or if the hub has stopped.
    pub async fn public_view(&self, user: &UserId) -> Result<PublicView, Refusal> {
        match self.asked(user, false).await? {
            Answer::PublicView(public_view) => Ok(public_view),
            Answer::OwnView(_) | Answer::Done => Err(Refusal::Unavailable),
        }
    }

    /// How others see each of `users`, in this order. All are asked before the first answer is awaited, so many users
    /// take little longer than one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if one of the profiles cannot be read, if too much waits for one of the users, or if
    /// the hub has stopped.
    pub async fn public_views(&self, users: &[UserId]) -> Result<Vec<PublicView>, Refusal> {
        let mut asked = Vec::with_capacity(users.len());
        for user in users {
            let (reply, answer) = oneshot::channel();
            let input = Input::Asked {
                as_owner: false,
                reply_to: ReplyTo::Caller(reply),
            };
            self.happened(user, input).await?;
            asked.push(answer);
        }
        let mut public_views = Vec::with_capacity(users.len());
        for answer in asked {
            match answer.await.map_err(|_| Refusal::Unavailable)?? {
                Answer::PublicView(public_view) => public_views.push(public_view),
                Answer::OwnView(_) | Answer::Done => return Err(Refusal::Unavailable),
            }
        }
        Ok(public_views)
    }

    /// How `user` sees themselves.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the user's profile cannot be read, or if the hub has stopped.
    pub async fn own_view(&self, user: &UserId) -> Result<OwnView, Refusal> {
        match self.asked(user, true).await? {
            Answer::OwnView(own_view) => Ok(own_view),
            Answer::PublicView(_) | Answer::Done => Err(Refusal::Unavailable),
        }
    }

    async fn asked(&self, user: &UserId, as_owner: bool) -> Result<Answer, Refusal> {
        self.ask(user, |reply_to| Input::Asked { as_owner, reply_to })
            .await
    }

    /// Changes the status of `user`, on behalf of a service. Returns when the change is safely stored.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the change could not be stored in time, or if the hub has stopped. It may be stored
    /// all the same.
    pub async fn choose(&self, user: &UserId, change: StatusChange) -> Result<(), Refusal> {
        self.choose_by(user, change, Cause::Service).await
    }

    /// Changes the status of `user`, like [`choose`](Self::choose), and records who asked for it: [`Cause::Service`],
    /// or [`Cause::Owner`] if that was the user.
    ///
    /// # Errors
    ///
    /// The same as those of [`choose`](Self::choose).
    pub async fn choose_by(
        &self,
        user: &UserId,
        change: StatusChange,
        by: Cause,
    ) -> Result<(), Refusal> {
        let input = |reply_to| Input::Chose {
            change,
            by,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Kicks `user`: all their sessions end at once, on every node.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`] if they have no session; [`Refusal::Unavailable`] if the hub has stopped.
    pub async fn kick(&self, user: &UserId) -> Result<(), Refusal> {
        let input = |reply_to| Input::Kicked {
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Erases `user`: ends all their sessions, and removes their profile. Returns when the erasure is safely stored;
    /// the profile may be removed from its database a little later.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the erasure could not be stored in time, or if the hub has stopped.
    pub async fn erase(&self, user: &UserId) -> Result<(), Refusal> {
        let input = |reply_to| Input::Erased {
            unseen_since: None,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await?;
        self.unrecord(user).await;
        Ok(())
    }

    /// What asks the nodes, and answers them.
    pub(crate) fn inquirer(&self) -> &Inquirer {
        &self.inquirer
    }

    /// The background tasks of the node.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// A page of the people in `topic`: at most `limit`, after the first `offset`, ordered by when they joined.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the hub has stopped.
    pub async fn list(&self, topic: Topic, offset: usize, limit: usize) -> Result<Page, Refusal> {
        let (reply, page) = oneshot::channel();
        let message = roster_shard::Message::List {
            topic: topic.clone(),
            offset,
            limit,
            reply,
        };
        let _ = self.rosters.of(&topic).send(message).await;
        page.await.map_err(|_| Refusal::Unavailable)
    }

    /// The users who are typing in `channel`, at most [`Limits::typing_max`].
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the hub has stopped.
    pub async fn typing(&self, channel: ChannelId) -> Result<Vec<UserId>, Refusal> {
        let topic = Topic::Channel(channel);
        let (reply, users) = oneshot::channel();
        let message = roster_shard::Message::Typing {
            topic: topic.clone(),
            reply,
        };
        let _ = self.rosters.of(&topic).send(message).await;
        users.await.map_err(|_| Refusal::Unavailable)
    }

    /// Lets `user` join `channel` on behalf of a service, for one presence ttl from now. Another call extends that.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`] if the user has too many sessions, [`Refusal::TooMany`] if the user is in too many
    /// channels in this way, and [`Refusal::Unavailable`] if the hub has stopped.
    pub async fn act_join(
        &self,
        user: &UserId,
        device: DeviceId,
        channel: ChannelId,
        meta: Arc<Meta>,
    ) -> Result<(), Refusal> {
        let by = acting(user);
        let session = by.session;
        self.happened(user, Input::ServiceActed { session, device })
            .await?;
        let input = |reply_to| Input::Joined {
            by,
            channel,
            meta,
            watch: None,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Extends for one presence ttl what services did for `user`: the stay in `channel`, and in every other channel
    /// that a service let them join.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotJoined`] if no service let them join `channel`, or if the ttl is over: join again.
    /// [`Refusal::NoSession`] on a node that is alone and has nothing of the user. [`Refusal::Unavailable`] if the
    /// hub has stopped.
    pub async fn act_heartbeat(&self, user: &UserId, channel: &ChannelId) -> Result<(), Refusal> {
        let input = |reply_to| Input::Prolonged {
            session: acting(user).session,
            channel: channel.clone(),
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Lets `user` leave `channel` on behalf of a service, if a service let them join it.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`] if no service acts for the user; [`Refusal::Unavailable`] if the hub has stopped.
    pub async fn act_leave(&self, user: &UserId, channel: ChannelId) -> Result<(), Refusal> {
        let input = |reply_to| Input::Departed {
            by: acting(user),
            channel,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Sends a broadcast to everyone who watches `channel`, on behalf of `user`, whom a service let join it. See
    /// [`Session::say`] for the bounds.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotJoined`] if no service let them join it, [`Refusal::TooFast`] if there
    /// are too many broadcasts within [`Timing::WINDOW`], and [`Refusal::Unavailable`] if the hub has stopped.
    pub async fn act_say(
        &self,
        user: &UserId,
        channel: ChannelId,
        event: Arc<str>,
        payload: Payload,
    ) -> Result<(), Refusal> {
        if self.hand_offs.is_some() {
            // The service may have put them there through another node.
            self.act_heartbeat(user, &channel).await?;
        }
        let (reply, answer) = oneshot::channel();
        let message = roster_shard::Message::Happened(rosters::Input::Said {
            channel: channel.clone(),
            session: acting(user).session,
            event,
            payload,
            reply_to: Some(ReplyTo::Caller(reply)),
        });
        let message = people::Message::Forward(Topic::Channel(channel), message);
        let _ = self.people.of(user).send(message).await;
        answer.await.map_err(|_| Refusal::Unavailable)?.map(drop)
    }

    /// Sends a broadcast to everyone who watches `channel`, on behalf of a service that is not in it. Watchers see it
    /// as one of `user`, in a session that stands for `outsider`: see [`presence_core::SessionId::outsider`].
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if there are too many broadcasts within [`Timing::WINDOW`]; [`Refusal::Unavailable`] if the
    /// hub has stopped.
    pub async fn announce(
        &self,
        channel: ChannelId,
        (outsider, user): (Outsider, UserId),
        event: Arc<str>,
        payload: Payload,
    ) -> Result<(), Refusal> {
        let topic = Topic::Channel(channel.clone());
        let (reply, answer) = oneshot::channel();
        let message = roster_shard::Message::Happened(rosters::Input::Announced {
            channel,
            outsider,
            user,
            event,
            payload,
            reply_to: Some(ReplyTo::Caller(reply)),
        });
        let _ = self.rosters.of(&topic).send(message).await;
        answer.await.map_err(|_| Refusal::Unavailable)?.map(drop)
    }

    /// The channels that have somebody in them, ordered by name. In a cluster these are the ones that this node knows:
    /// somebody on this node is in them, or watches them.
    pub async fn channels(&self) -> Vec<Occupied> {
        let mut all = Vec::new();
        for shard in self.rosters.all() {
            let (reply, channels) = oneshot::channel();
            let _ = shard.send(roster_shard::Message::Channels(reply)).await;
            all.extend(channels.await.unwrap_or_default());
        }
        all.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    /// Counts users, channels and unsaved profiles, as they are now.
    pub async fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in self.people.all() {
            let (reply, count) = oneshot::channel();
            let _ = shard.send(people::Message::Count(reply)).await;
            if let Ok(count) = count.await {
                counts.users += count.online;
                let since = count.waiting_since.map(|it| it.elapsed());
                counts.unsaved_for = counts.unsaved_for.max(since.unwrap_or_default());
            }
        }
        // What a shard is about to save waits in the shared store, too.
        let (unsaved, waiting) = (&self.counters.unsaved, &self.counters.waiting);
        let waiting = waiting.load(Relaxed);
        counts.unsaved = unsaved.load(Relaxed).max(waiting) as usize;
        if waiting > 0 {
            let since = self.counters.waiting_since.load(Relaxed);
            let waiting_for = self.clock.now().since(Timestamp::from_millis(since));
            counts.unsaved_for = counts.unsaved_for.max(waiting_for);
        }
        if counts.unsaved > 0 {
            // What changes again and again waits for as long as nothing could be saved.
            let away_for = self.counters.store_away_for();
            counts.unsaved_for = counts.unsaved_for.max(away_for);
        }
        for shard in self.rosters.all() {
            let (reply, count) = oneshot::channel();
            let _ = shard.send(roster_shard::Message::Count(reply)).await;
            if let Ok(count) = count.await {
                counts.channels += count.channels;
                counts.typing += count.typing;
            }
        }
        counts
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
                let _ = shard.send(people::Message::Stop(reply)).await;
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

    async fn happened(&self, user: &UserId, input: Input<ReplyTo>) -> Result<(), Refusal> {
        let message = people::Message::Happened(user.clone(), input);
        let sent = self.people.of(user).send(message).await;
        sent.map_err(|_| Refusal::Unavailable)
    }

    async fn ask(
        &self,
        user: &UserId,
        input: impl FnOnce(ReplyTo) -> Input<ReplyTo>,
    ) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.happened(user, input(ReplyTo::Caller(reply))).await?;
        answer.await.map_err(|_| Refusal::Unavailable)?
    }
}

/// The session through which services act for `user`: one per user, for any number of services and calls.
fn acting(user: &UserId) -> Connection {
    // FNV-1a over 128 bits: fixed by its definition, and as unlikely to meet a random session id as those are to meet.
    let number = user.as_str().bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b),
    );
    Connection::of_service(SessionId::from_u128(number))
}

/// The moment `ago` before `now`.
fn before(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(ago))
}

fn random() -> u64 {
    random_u128() as u64
}

fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    u128::from_le_bytes(bytes)
}
