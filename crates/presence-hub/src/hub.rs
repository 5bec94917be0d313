//! A whole node.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::cluster::Incarnation;
use presence_core::cluster::nodes::Nodes;
use presence_core::hooks::Wanted;
use presence_core::ports::{self, Profiles, Recalled, Sessions, Topics};
use presence_core::rosters::{Page, Rosters};
use presence_core::users::{Answer, Connection, Input, Likeness, Users};
use presence_core::{
    ByteRate, ChannelId, DeviceId, Face, Limits, Meta, Outsider, Owned, Payload, Refusal,
    SessionId, StatusChange, Timestamp, Timing, Topic, UserId, WorkspaceId, rosters,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::backlog::Backlog;
use crate::clock::Clock;
use crate::counters::{Counters, Counts};
use crate::guarded::Guarded;
use crate::hooks::Telltale;
use crate::lease::{HandOff, Leasing};
use crate::link::{self, Errands, Holding, Homes, Link, Settling};
use crate::memory::{self, Memory};
use crate::people::{self, Asker, People, Welcome};
use crate::places::{self, Occupied, Places};
use crate::retention;
use crate::session::{Budget, Session};
use crate::shards::Shards;
use crate::sweeper::Sweeper;
use crate::tasks::Tasks;

/// How a hub is to be. Every value is fine but zero shards, which are one.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long things last.
    pub timing: Timing,
    /// How many there may be.
    pub limits: Limits,
    /// Tasks that share out users, and as many that share out rosters: about one each per core.
    pub shards: usize,
    /// Facts that wait for a shard; one more is refused with [`Busy`](crate::Busy).
    pub mailbox_max: usize,
    /// Bytes that wait for one connection; one more, and its backlog is conflated.
    pub outbox_bytes_max: usize,
    /// Bytes that wait for all connections together; more, and those for which the most waits are conflated, or ended.
    pub outboxes_bytes_max: usize,
    /// Bytes of whole states that one connection may ask for: more are told when there is room for them.
    pub states: ByteRate,
    /// How long what is kept of a user is kept after they were seen; for ever, if `None`.
    pub keep_unseen: Option<Duration>,
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
        }
    }
}

/// Who wants in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The user.
    pub user: UserId,
    /// Their device.
    pub device: DeviceId,
    /// In whose online lists they appear.
    pub workspaces: Vec<WorkspaceId>,
    /// What they say about themselves there.
    pub card: Arc<Meta>,
    /// The connection whose session shall go on, if it can. Whoever lets this through has checked that it is theirs.
    pub resume: Option<Connection>,
}

/// A node: users, rosters, and everyone who watches them. Cloning it is cheap, and gives the same one.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Settings,
    clock: Clock,
    people: Shards<people::Message>,
    places: Shards<places::Message>,
    counters: Arc<Counters>,
    backlog: Arc<Backlog>,
    hand_offs: Option<mpsc::Sender<HandOff>>,
    tasks: Arc<Tasks>,
    /// Which parts of the store that nodes share are this one's to look after.
    parts: Option<watch::Receiver<Arc<[u16]>>>,
    /// Where sessions are kept for the process that comes after this one, if they are.
    sessions: Option<Arc<dyn Sessions>>,
}

/// How long it is waited for the profiles of those who are restored. Whose cannot be read by then appears when they can.
const RESTORE_PATIENCE: Duration = Duration::from_secs(5);

/// What makes a node one of several.
struct Cluster {
    me: Incarnation,
    link: Link,
    settling: Settling,
    hand_offs: mpsc::Sender<HandOff>,
}

impl Hub {
    /// Starts a node that is alone, and keeps profiles in `profiles`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start<P: Profiles>(settings: Settings, profiles: Arc<P>) -> Self {
        let counters = Arc::<Counters>::default();
        let profiles = Arc::new(Guarded::new(profiles, counters.clone()));
        Hub::with(settings, profiles, Clock::start(), counters, None, None)
    }

    /// Starts a node that is alone, and keeps its sessions in `sessions` for the process that comes after it, with a part for
    /// each of [`Settings::shards`]. What the process before has kept is to be [restored](Self::restore) first.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start_keeping<P: Profiles>(
        settings: Settings,
        profiles: Arc<P>,
        sessions: Arc<dyn Sessions>,
    ) -> Self {
        let clock = Clock::start();
        sessions.alive(clock.now());
        let weak = Arc::downgrade(&sessions);
        tokio::spawn(memory::stay_alive(weak, clock));
        let counters = Arc::<Counters>::default();
        let profiles = Arc::new(Guarded::new(profiles, counters.clone()));
        Hub::with(settings, profiles, clock, counters, None, Some(sessions))
    }

    /// Holds the sessions of the process before for their clients, for [`Timing::HELD`] from now: they are shown as they were,
    /// and whoever does not come back leaves once. That process was last alive `away` ago, and its clock said `ended_at` then.
    ///
    /// Returns when all of them are there, or their profiles take too long. To be called before anybody connects.
    pub async fn restore(&self, recalled: Vec<Recalled>, away: Duration, ended_at: Timestamp) {
        let Some(sessions) = self.sessions.clone() else {
            return;
        };
        let now = self.clock.now();
        let mut answers = Vec::with_capacity(recalled.len());
        for recalled in recalled {
            let kept = &recalled.kept;
            let alive_at = match kept.acted {
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
                asker: Some(Asker::Caller(reply)),
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
                "not everybody who was here before is back: their profiles cannot be read yet"
            );
        }
        for shard in self.places.all() {
            let (done, told) = oneshot::channel();
            let _ = shard.send(places::Message::TellAtOnce(done)).await;
            let _ = told.await;
        }
    }

    /// Keeps whoever has lost their connection, or does from now on, for `span`: the node is about to stop, so nobody can come
    /// back to it. Only where sessions are kept for the process that comes after.
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

    /// Starts one of the nodes that share `store`. Its `name` is for people: in logs and beside its lease.
    ///
    /// It waits for the store only to learn its time. While the store is away the node is on its own, and joins the others
    /// when it is back.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
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
            Some(leases) => Clock::start_at(leases.now),
            None => Clock::start(),
        };
        let nodes = Nodes::new(clock.now(), node);
        let (link, requests) = Link::new();
        let pulse = link.pulse();
        let (settling, settled) = Settling::new();
        let (hand_offs, inbox) = mpsc::channel(1);
        let cluster = Cluster {
            me,
            link,
            settling,
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
        let homes = Homes {
            people: hub.people.clone(),
            places: hub.places.clone(),
        };
        let holding = Arc::new(Holding::new(pulse));
        let until = clock.now() + Timing::LEASE;
        holding.until(until, first.map_or(until, |it| it.now + Timing::LEASE));
        hub.parts = Some(holding.parts());
        let errands = Errands::new(
            store.clone(),
            clock,
            holding.clone(),
            homes.clone(),
            counters.clone(),
        );
        hub.tasks.spawn(errands.run(requests));
        let (heard_by, counted) = (homes.clone(), counters.clone());
        let listening = link::listen(store.clone(), holding.clone(), heard_by, counted);
        hub.tasks.spawn(listening);
        let sweeper = Sweeper::new(
            profiles,
            store.clone(),
            me,
            holding.parts(),
            counters.clone(),
        );
        hub.tasks.spawn(sweeper.run(settled));
        let leasing = Leasing::new(store, name.into(), clock, nodes, holding, homes, counters);
        hub.tasks.spawn(leasing.run(inbox));
        hub
    }

    fn with<P: Profiles>(
        settings: Settings,
        profiles: Arc<P>,
        clock: Clock,
        counters: Arc<Counters>,
        cluster: Option<Cluster>,
        sessions: Option<Arc<dyn Sessions>>,
    ) -> Self {
        let Settings { timing, limits, .. } = settings;
        let tasks = Arc::new(Tasks::default());
        let shards = settings.shards.max(1);
        let link = || cluster.as_ref().map(|it| it.link.clone());
        let places = Shards::new(Vec::from_iter((0..shards).map(|_| {
            let (mailbox, inbox) = mpsc::channel(settings.mailbox_max);
            let mut rosters = Rosters::new(timing, limits, random());
            if let Some(cluster) = &cluster {
                rosters.join_cluster(cluster.me);
            }
            tasks.spawn(Places::new(clock, rosters, link(), counters.clone()).run(inbox));
            mailbox
        })));
        let people = Shards::new(Vec::from_iter((0..shards).map(|part| {
            let (mailbox, inbox) = mpsc::channel(settings.mailbox_max);
            let mut users = Users::new(timing, limits, random());
            if let Some(cluster) = &cluster {
                users.join_cluster(cluster.me);
            }
            let profiles = profiles.clone();
            let (places, counters) = (places.clone(), counters.clone());
            let settling = cluster.as_ref().map(|it| it.settling.clone());
            let shard = People::new(clock, users, profiles, places, link(), settling, counters);
            let shard = match &sessions {
                Some(sessions) => shard.remembering(Memory::new(sessions.clone(), part)),
                None => shard,
            };
            tasks.spawn(shard.run(inbox));
            mailbox
        })));
        if let Some(keep) = settings.keep_unseen {
            let people = people.downgrade();
            tasks.spawn(retention::run(profiles, people, clock, keep));
        }
        Hub {
            settings,
            clock,
            people,
            places,
            backlog: Arc::new(Backlog::new(settings.outboxes_bytes_max, counters.clone())),
            counters,
            hand_offs: cluster.map(|it| it.hand_offs),
            tasks,
            parts: None,
            sessions,
        }
    }

    /// Tells `endpoint` from now on what is `wanted`: of the `store` that this node has joined, what is this node's to tell. So
    /// every node has to be told to, and the store that somebody wants it. Says whether it does: a node that is alone has
    /// nothing to tell from.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn tell_outside<S, E>(&self, store: Arc<S>, endpoint: Arc<E>, wanted: Wanted) -> bool
    where
        S: Topics + ports::Outbox + ports::Hooks,
        E: ports::Endpoint,
    {
        let Some(parts) = self.parts.clone() else {
            return false;
        };
        let (clock, counters) = (self.clock, self.counters.clone());
        let store = Arc::new(Guarded::new(store, counters.clone()));
        let endpoint = Arc::new(Guarded::new(endpoint, counters.clone()));
        let telltale = Telltale::new(store, endpoint, clock, wanted, counters, parts);
        self.tasks.spawn(telltale.run());
        true
    }

    /// How it was started.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its time.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets a connection in, once its user's profile is known.
    ///
    /// # Errors
    ///
    /// The user has too many sessions, or the hub has stopped.
    pub async fn connect(&self, entry: Entry) -> Result<Session, Refusal> {
        self.let_in(entry, None).await
    }

    /// The same for a client whose protocol has no word for going on with a session. After a restart of this node its session
    /// is held for it, and goes on if it is `like` it.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
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
        } = entry;
        let bytes_max = self.settings.outbox_bytes_max;
        let outbox = self.backlog.open(bytes_max);
        let (reply, welcome) = oneshot::channel();
        let input = Input::Connected {
            session: SessionId::from_u128(random_u128()),
            resume,
            likeness,
            device,
            workspaces,
            card,
            asker: Asker::Door {
                outbox: outbox.clone(),
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
            outbox,
            budget,
        ))
    }

    /// How others see `user`.
    ///
    /// # Errors
    ///
    /// The hub has stopped.
    pub async fn face(&self, user: &UserId) -> Result<Face, Refusal> {
        match self.asked(user, false).await? {
            Answer::Face(face) => Ok(face),
            Answer::Owned(_) | Answer::Done => Err(Refusal::Unavailable),
        }
    }

    /// How others see each of `users`, in this order. Asks all before it waits for the first, so that many cost
    /// little more time than one.
    ///
    /// # Errors
    ///
    /// The hub has stopped, or too much waits for one of them.
    pub async fn faces(&self, users: &[UserId]) -> Result<Vec<Face>, Refusal> {
        let mut asked = Vec::with_capacity(users.len());
        for user in users {
            let (reply, answer) = oneshot::channel();
            let input = Input::Asked {
                as_owner: false,
                asker: Asker::Caller(reply),
            };
            self.happened(user, input).await?;
            asked.push(answer);
        }
        let mut faces = Vec::with_capacity(users.len());
        for answer in asked {
            match answer.await.map_err(|_| Refusal::Unavailable)?? {
                Answer::Face(face) => faces.push(face),
                Answer::Owned(_) | Answer::Done => return Err(Refusal::Unavailable),
            }
        }
        Ok(faces)
    }

    /// How `user` sees themselves.
    ///
    /// # Errors
    ///
    /// The hub has stopped.
    pub async fn owned(&self, user: &UserId) -> Result<Owned, Refusal> {
        match self.asked(user, true).await? {
            Answer::Owned(owned) => Ok(owned),
            Answer::Face(_) | Answer::Done => Err(Refusal::Unavailable),
        }
    }

    async fn asked(&self, user: &UserId, as_owner: bool) -> Result<Answer, Refusal> {
        self.ask(user, |asker| Input::Asked { as_owner, asker })
            .await
    }

    /// Changes the status of `user`; returns when that is safely kept.
    ///
    /// # Errors
    ///
    /// The hub has stopped.
    pub async fn choose(&self, user: &UserId, change: StatusChange) -> Result<(), Refusal> {
        let input = |asker| Input::Chose {
            change,
            asker: Some(asker),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Throws `user` out: every session ends at once.
    ///
    /// # Errors
    ///
    /// They have none, or the hub has stopped.
    pub async fn kick(&self, user: &UserId) -> Result<(), Refusal> {
        let input = |asker| Input::Kicked { asker: Some(asker) };
        self.ask(user, input).await.map(drop)
    }

    /// Forgets `user`: throws them out, and removes what is kept of them; returns when that is safely on its way.
    ///
    /// # Errors
    ///
    /// The hub has stopped.
    pub async fn erase(&self, user: &UserId) -> Result<(), Refusal> {
        let input = |asker| Input::Erased {
            unseen_since: None,
            asker: Some(asker),
        };
        self.ask(user, input).await.map(drop)
    }

    /// A page of who is in `topic`.
    ///
    /// # Errors
    ///
    /// The hub has stopped.
    pub async fn list(&self, topic: Topic, offset: usize, limit: usize) -> Result<Page, Refusal> {
        let (reply, page) = oneshot::channel();
        let message = places::Message::List {
            topic: topic.clone(),
            offset,
            limit,
            reply,
        };
        let _ = self.places.of(&topic).send(message).await;
        page.await.map_err(|_| Refusal::Unavailable)
    }

    /// Who is typing in `channel`.
    ///
    /// # Errors
    ///
    /// The hub has stopped.
    pub async fn typing(&self, channel: ChannelId) -> Result<Vec<UserId>, Refusal> {
        let topic = Topic::Channel(channel);
        let (reply, users) = oneshot::channel();
        let message = places::Message::Typing {
            topic: topic.clone(),
            reply,
        };
        let _ = self.places.of(&topic).send(message).await;
        users.await.map_err(|_| Refusal::Unavailable)
    }

    /// Puts `user` into `channel` on behalf of a service, for one presence ttl from now; again prolongs that.
    ///
    /// # Errors
    ///
    /// The user has too many sessions or is in too many channels, or the hub has stopped.
    pub async fn act_join(
        &self,
        user: &UserId,
        device: DeviceId,
        channel: ChannelId,
        meta: Arc<Meta>,
    ) -> Result<(), Refusal> {
        let by = acting(user);
        let session = by.session;
        self.happened(user, Input::Acted { session, device })
            .await?;
        let input = |asker| Input::Joined {
            by,
            channel,
            meta,
            watch: None,
            asker: Some(asker),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Prolongs what a service did for `user`: their stay in `channel`, and in every other channel it put them into.
    ///
    /// # Errors
    ///
    /// They are not there: join again.
    pub async fn act_heartbeat(&self, user: &UserId, channel: &ChannelId) -> Result<(), Refusal> {
        let input = |asker| Input::Prolonged {
            session: acting(user).session,
            channel: channel.clone(),
            asker: Some(asker),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Takes `user` out of `channel`, as far as a service had put them there.
    ///
    /// # Errors
    ///
    /// It had not, or the hub has stopped.
    pub async fn act_leave(&self, user: &UserId, channel: ChannelId) -> Result<(), Refusal> {
        let input = |asker| Input::Departed {
            by: acting(user),
            channel,
            asker: Some(asker),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Tells everyone who watches `channel`, on behalf of `user`, whom a service had put there.
    ///
    /// # Errors
    ///
    /// It had not, the channel is flooded, or the hub has stopped.
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
        let message = places::Message::Happened(rosters::Input::Said {
            channel: channel.clone(),
            session: acting(user).session,
            event,
            payload,
            asker: Some(Asker::Caller(reply)),
        });
        let message = people::Message::Forward(Topic::Channel(channel), message);
        let _ = self.people.of(user).send(message).await;
        answer.await.map_err(|_| Refusal::Unavailable)?.map(drop)
    }

    /// Tells everyone who watches `channel`, on behalf of a service that is not there. Watchers hear of it as of a session
    /// of `user` that is none, but `outsider`'s mark: [`presence_core::SessionId::outsider`].
    ///
    /// # Errors
    ///
    /// The channel is flooded, or the hub has stopped.
    pub async fn announce(
        &self,
        channel: ChannelId,
        (outsider, user): (Outsider, UserId),
        event: Arc<str>,
        payload: Payload,
    ) -> Result<(), Refusal> {
        let topic = Topic::Channel(channel.clone());
        let (reply, answer) = oneshot::channel();
        let message = places::Message::Happened(rosters::Input::Announced {
            channel,
            outsider,
            user,
            event,
            payload,
            asker: Some(Asker::Caller(reply)),
        });
        let _ = self.places.of(&topic).send(message).await;
        answer.await.map_err(|_| Refusal::Unavailable)?.map(drop)
    }

    /// The channels that have somebody in them. Of several nodes, as far as this one knows: those that somebody here is in
    /// or watches.
    pub async fn channels(&self) -> Vec<Occupied> {
        let mut all = Vec::new();
        for shard in self.places.all() {
            let (reply, channels) = oneshot::channel();
            let _ = shard.send(places::Message::Channels(reply)).await;
            all.extend(channels.await.unwrap_or_default());
        }
        all.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    /// Counts what there is now.
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
        for shard in self.places.all() {
            let (reply, channels) = oneshot::channel();
            let _ = shard.send(places::Message::Count(reply)).await;
            counts.channels += channels.await.unwrap_or(0);
        }
        counts
    }

    /// Stops the node: ends every connection, keeps everything, and ends its tasks. Returns whether everything was kept before
    /// `patience` was over; with no patience at all, what is unsaved is lost. In either case the node calls no store any more.
    ///
    /// Of several nodes, the others show its people for the grace time, so that they can come back elsewhere.
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
        is_kept
    }

    async fn happened(&self, user: &UserId, input: Input<Asker>) -> Result<(), Refusal> {
        let message = people::Message::Happened(user.clone(), input);
        let sent = self.people.of(user).send(message).await;
        sent.map_err(|_| Refusal::Unavailable)
    }

    async fn ask(
        &self,
        user: &UserId,
        input: impl FnOnce(Asker) -> Input<Asker>,
    ) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.happened(user, input(Asker::Caller(reply))).await?;
        answer.await.map_err(|_| Refusal::Unavailable)?
    }
}

/// The session through which services act for `user`: one per user, whatever number of services and calls.
fn acting(user: &UserId) -> Connection {
    // FNV-1a over 128 bits: fixed by its definition, and as unlikely to meet a random session id as those are to meet.
    let number = user.as_str().bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b),
    );
    Connection::acted(SessionId::from_u128(number))
}

/// So long before `now`.
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
