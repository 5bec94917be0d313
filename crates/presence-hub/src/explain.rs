//! Explanations: asks every node of the cluster what it knows of a user or a channel, and answers the other nodes.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use presence_core::cluster::{Ephemeral, Incarnation, Record, Request, Snapshot, Subject};
use presence_core::explain::{
    About, Answer, Gateway, GatewayState, NodeMessage, RECORDED_MAX, RoomReport, SharedUser,
    Stored, UserReport, View,
};
use presence_core::history::{Recent, RecentQuery, Transition};
use presence_core::ports::{Orphan, Profiles, StoreError, Topics};
use presence_core::{ChannelId, Profile, Refusal, Topic, UserId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::holding::Seen;
use crate::link::Link;
use crate::mailbox::{RosterMessage, UserMessage};
use crate::program::Program;
use crate::router::ReplyRouter;

/// How long a node waits for the answers of the others.
pub const ANSWERED_WITHIN: Duration = Duration::from_millis(500);
/// How long an explanation waits for the profile store, for the shared store, and for this node's own state.
pub(crate) const STORES_WITHIN: Duration = Duration::from_secs(2);
/// The number of questions of this node that may wait for answers. A further one is refused.
const ASKING_MAX: usize = 64;
/// The number of questions of other nodes that are being answered. A further one is not answered.
const ANSWERING_MAX: usize = 64;
/// How often a node that did not confirm an erasure is asked again, and the pause before that.
const ERASE_AGAIN: (u32, Duration) = (20, Duration::from_secs(3));
/// The pause before the next attempt to follow the channel of this node.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;
type ReadProfile = Arc<dyn Fn(UserId) -> Reading<Option<Profile>> + Send + Sync>;
type RemoveProfile = Arc<dyn Fn(UserId) -> Reading<()> + Send + Sync>;
type ReadShared = Arc<dyn Fn(UserId) -> Reading<Snapshot> + Send + Sync>;

/// Asks and answers. A clone is a handle for the same questions.
#[derive(Clone)]
pub(crate) struct Inquirer {
    router: ReplyRouter,
    stores: Arc<Mutex<Option<Stores>>>,
    cluster: Option<Cluster>,
    asking: Arc<Asking>,
    program: Arc<OnceLock<Program>>,
}

/// How the stores are used. A hub that has stopped has none.
#[derive(Clone)]
struct Stores {
    profile: ReadProfile,
    /// Removes a profile, of a user who was erased.
    remove: RemoveProfile,
    shared: Option<ReadShared>,
}

/// What a node of a cluster needs to ask the others.
#[derive(Clone)]
struct Cluster {
    me: Incarnation,
    name: Arc<str>,
    link: Link,
    seen: watch::Receiver<Seen>,
    answering: Arc<Semaphore>,
}

/// The questions that wait for answers.
#[derive(Debug, Default)]
struct Asking {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<(Incarnation, Answer)>>>,
}

/// Stops waiting for the answers to a question when it is dropped.
struct Question<'a> {
    asking: &'a Asking,
    number: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.asking.waiting().remove(&self.number);
    }
}

impl Asking {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<(Incarnation, Answer)>>> {
        // Only whole entries come and go, so a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inquirer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inquirer").finish_non_exhaustive()
    }
}

impl Inquirer {
    /// The inquirer of a node that is alone.
    pub(crate) fn alone<P: Profiles>(router: ReplyRouter, profiles: Arc<P>) -> Self {
        let removing = profiles.clone();
        let remove: RemoveProfile = Arc::new(move |user| {
            let profiles = removing.clone();
            Box::pin(async move { profiles.remove(&[user]).await })
        });
        let profile: ReadProfile = Arc::new(move |user| {
            let profiles = profiles.clone();
            Box::pin(async move {
                let loaded = profiles.load(&[user]).await?;
                Ok(loaded.into_iter().next().flatten())
            })
        });
        Inquirer {
            router,
            stores: Arc::new(Mutex::new(Some(Stores {
                profile,
                remove,
                shared: None,
            }))),
            cluster: None,
            asking: Arc::default(),
            program: Arc::default(),
        }
    }

    /// The same for a node that shares `store` with others.
    pub(crate) fn of_cluster<T: Topics>(
        self,
        store: Arc<T>,
        (me, name): (Incarnation, &str),
        link: Link,
        seen: watch::Receiver<Seen>,
    ) -> Self {
        let shared: ReadShared = Arc::new(move |user| {
            let store = store.clone();
            Box::pin(async move {
                let read = store.read(&[Subject::User(user)]).await;
                let first = read.into_iter().next();
                first.unwrap_or_else(|| Err(StoreError::Unavailable("there is no answer".into())))
            })
        });
        if let Some(stores) = &mut *self.lock_stores() {
            stores.shared = Some(shared);
        }
        let cluster = Cluster {
            me,
            name: name.into(),
            link,
            seen,
            answering: Arc::new(Semaphore::new(ANSWERING_MAX)),
        };
        Inquirer {
            cluster: Some(cluster),
            ..self
        }
    }

    /// Drops the stores: the hub has stopped.
    pub(crate) fn close(&self) {
        *self.lock_stores() = None;
    }

    fn lock_stores(&self) -> MutexGuard<'_, Option<Stores>> {
        // It is one value, which no panic leaves half written.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a message that came on the channel of this node.
    pub(crate) fn heard(&self, message: NodeMessage) {
        match message {
            NodeMessage::Answer { ask, from, answer } => {
                let waiting = self.asking.waiting();
                if let Some(waiting) = waiting.get(&ask) {
                    let _ = waiting.try_send((from, *answer));
                }
            }
            NodeMessage::Ask {
                ask,
                reply_to,
                about,
            } => {
                let Some(cluster) = self.cluster.clone() else {
                    return;
                };
                let Ok(permit) = cluster.answering.clone().try_acquire_owned() else {
                    return; // the one that asks lists this node as silent
                };
                let inquirer = self.clone();
                tokio::spawn(async move {
                    let answer = timeout(STORES_WITHIN, inquirer.answer(&about)).await;
                    if let Ok(Some(answer)) = answer {
                        cluster.tell(
                            reply_to,
                            NodeMessage::Answer {
                                ask,
                                from: cluster.now_me(),
                                answer: Box::new(answer),
                            },
                        );
                    }
                    drop(permit);
                });
            }
        }
    }

    /// What this node says itself; nothing, if it could not do what it was asked to do.
    pub(crate) async fn answer(&self, about: &About) -> Option<Answer> {
        Some(match about {
            About::User(user) => Answer::User(self.report(user).await),
            About::Channel(channel) => Answer::Channel(self.report_channel(channel, false).await),
            About::Erase(user) => {
                let (done, erased) = oneshot::channel();
                let message = UserMessage::Unrecord(user.clone(), done);
                let _ = self.router.people.of(user).send(message).await;
                let _ = erased.await;
                if !self.remove_erased(user).await {
                    return None;
                }
                Answer::Erased
            }
            About::Recent(query) => Answer::Recent(self.recent(query).await),
            About::Program(question) => Answer::Program(match self.program.get() {
                Some(program) => program.answer(question.clone()).await,
                None => Vec::new(),
            }),
        })
    }

    pub(crate) fn router(&self) -> &ReplyRouter {
        &self.router
    }

    pub(crate) fn program(&self) -> &OnceLock<Program> {
        &self.program
    }

    /// The latest transitions that this node has recorded.
    pub(crate) async fn recent(&self, query: &RecentQuery) -> Recent {
        let node = self.cluster.as_ref().map_or(0, |it| it.me.node);
        let mut all = Vec::new();
        for (ring, shard) in (0..).zip(self.router.people.all()) {
            let (reply, recent) = oneshot::channel();
            let message = UserMessage::Recent {
                query: query.clone(),
                place: (node, ring),
                reply,
            };
            let _ = shard.send(message).await;
            all.push(recent.await.unwrap_or_default());
        }
        Recent::merged(all)
    }

    pub(crate) async fn report(&self, user: &UserId) -> UserReport {
        let (reply, report) = oneshot::channel();
        let message = UserMessage::Report(user.clone(), reply);
        let _ = self.router.people.of(user).send(message).await;
        report.await.unwrap_or_else(|_| UserReport {
            view: View::Unknown,
            sessions: Vec::new(),
            transitions: Vec::new(),
        })
    }

    /// What this node knows of a channel. With `looks` it first reads who is there on other nodes.
    pub(crate) async fn report_channel(&self, channel: &ChannelId, looks: bool) -> RoomReport {
        let topic = Topic::Channel(channel.clone());
        let (reply, report) = oneshot::channel();
        let message = RosterMessage::Report {
            channel: channel.clone(),
            looks,
            reply,
        };
        let _ = self.router.rosters.of(&topic).send(message).await;
        let mut recorded: Vec<Transition> = Vec::new();
        for shard in self.router.people.all() {
            let (reply, transitions) = oneshot::channel();
            let message = UserMessage::Recorded(channel.clone(), reply);
            let _ = shard.send(message).await;
            recorded.extend(transitions.await.unwrap_or_default());
        }
        recorded.sort_by_key(|it| std::cmp::Reverse(it.at));
        recorded.truncate(RECORDED_MAX);
        let report = timeout(STORES_WITHIN, report).await;
        RoomReport {
            transitions: recorded,
            ..report.ok().and_then(Result::ok).unwrap_or_default()
        }
    }

    /// Asks every other node, and waits for the answers: at most [`ANSWERED_WITHIN`].
    pub(crate) async fn ask_others(&self, about: &About) -> Result<Vec<Gateway<Answer>>, Refusal> {
        let Some(cluster) = &self.cluster else {
            return Ok(Vec::new());
        };
        let gateways = cluster.others();
        self.ask(cluster, gateways, about, ANSWERED_WITHIN).await
    }

    /// Asks one other node, and waits for its answer at most so long. `None` if it does not answer, or is dead.
    pub(crate) async fn ask_one(
        &self,
        who: Incarnation,
        about: &About,
        within: Duration,
    ) -> Result<Option<Answer>, Refusal> {
        let Some(cluster) = &self.cluster else {
            return Ok(None);
        };
        let mut gateways = cluster.others();
        gateways.retain(|it| it.who == who);
        let gateways = self.ask(cluster, gateways, about, within).await?;
        Ok(gateways.into_iter().find_map(|it| it.report))
    }

    /// Asks those of `gateways` that are not dead, and waits for the answers at most so long.
    async fn ask(
        &self,
        cluster: &Cluster,
        mut gateways: Vec<Gateway<Answer>>,
        about: &About,
        within: Duration,
    ) -> Result<Vec<Gateway<Answer>>, Refusal> {
        let asked = gateways.iter().filter(|it| it.is_asked()).count();
        let (sender, mut answers) = mpsc::channel(asked.max(1));
        let number = self.asking.next.fetch_add(1, Relaxed);
        {
            let mut waiting = self.asking.waiting();
            if waiting.len() >= ASKING_MAX {
                let retry_after = ANSWERED_WITHIN;
                return Err(Refusal::TooFast { retry_after });
            }
            waiting.insert(number, sender);
        }
        let question = Question {
            asking: &self.asking,
            number,
        };
        for gateway in gateways.iter().filter(|it| it.is_asked()) {
            let message = NodeMessage::Ask {
                ask: number,
                reply_to: cluster.me.node,
                about: about.clone(),
            };
            cluster.tell(gateway.who.node, message);
        }
        let until = Instant::now() + within;
        let mut answered = 0;
        while answered < asked
            && let Ok(Some((from, answer))) = timeout_at(until, answers.recv()).await
        {
            let mut asked = gateways.iter_mut().filter(|it| it.is_asked());
            if let Some(gateway) = asked.find(|it| it.who.node == from.node) {
                gateway.state = GatewayState::Answered;
                gateway.report = Some(answer);
                answered += 1;
            }
        }
        drop(question);
        Ok(gateways)
    }

    /// This node, as it is in an explanation.
    pub(crate) fn here<R>(&self, report: R) -> Gateway<R> {
        let nobody = Incarnation {
            node: 0,
            generation: 0,
        };
        let cluster = self.cluster.as_ref();
        Gateway {
            who: cluster.map_or(nobody, Cluster::now_me),
            name: cluster.map_or_else(|| "".into(), |it| it.name.clone()),
            state: GatewayState::Here,
            report: Some(report),
        }
    }

    pub(crate) async fn stored(&self, user: &UserId) -> Stored<Profile> {
        let stores = self.lock_stores().clone();
        let Some(stores) = stores else {
            return Stored::Away;
        };
        match timeout(STORES_WITHIN, (stores.profile)(user.clone())).await {
            Ok(Ok(Some(profile))) => Stored::Has(profile),
            Ok(Ok(None)) => Stored::Absent,
            Ok(Err(_)) | Err(_) => Stored::Away,
        }
    }

    pub(crate) async fn shared(&self, user: &UserId) -> Stored<SharedUser> {
        let stores = self.lock_stores().clone();
        let Some(stores) = stores else {
            return Stored::Away;
        };
        let Some(shared) = stores.shared else {
            return Stored::NotUsed;
        };
        match timeout(STORES_WITHIN, shared(user.clone())).await {
            Ok(Ok(snapshot)) => snapshot.shared_user().map_or(Stored::Absent, Stored::Has),
            Ok(Err(_)) | Err(_) => Stored::Away,
        }
    }

    /// Removes the profile of `user`, who was erased, if this node has a store of its own: it stored them while they were
    /// here, and does not hear of their erasure. What is newer than the erasure stays. Returns whether nothing is left.
    async fn remove_erased(&self, user: &UserId) -> bool {
        let stores = self.lock_stores().clone();
        let Some((remove, shared)) = stores.and_then(|it| Some((it.remove, it.shared?))) else {
            return true;
        };
        let Ok(Ok(snapshot)) = timeout(STORES_WITHIN, shared(user.clone())).await else {
            return false;
        };
        // Without the tombstone the erasure is over.
        let Some(erased) = erased_at(&snapshot) else {
            return true;
        };
        let is_left = match self.stored(user).await {
            Stored::Has(profile) => profile.status.revision < erased,
            Stored::Away => return false,
            Stored::Absent | Stored::NotUsed => false,
        };
        if !is_left {
            return true;
        }
        let removed = timeout(STORES_WITHIN, remove(user.clone())).await;
        let is_removed = matches!(removed, Ok(Ok(())));
        if !is_removed {
            tracing::warn!("the profile of a user who was erased cannot be removed here yet");
        }
        is_removed
    }

    /// Has the other nodes forget what they have recorded of `user`, who was erased. Returns whether all of them have
    /// confirmed it.
    pub(crate) async fn erase_elsewhere(&self, user: &UserId) -> bool {
        let asked = self.ask_others(&About::Erase(user.clone())).await;
        let is_silent = |it: &Gateway<Answer>| matches!(it.state, GatewayState::Silent { .. });
        asked.is_ok_and(|gateways| !gateways.iter().any(is_silent))
    }

    /// Does it again until all of them have confirmed it, or are dead.
    pub(crate) async fn erase_elsewhere_later(self, user: UserId) {
        let (times, pause) = ERASE_AGAIN;
        for _ in 0..times {
            tokio::time::sleep(pause).await;
            if self.erase_elsewhere(&user).await {
                return;
            }
        }
        tracing::warn!(
            "a gateway has not confirmed that it has forgotten the history of a user who was erased: it drops that when its ring is full, or when it stops"
        );
    }
}

/// The revision of the blank profile that is left in the shared store of somebody who was erased.
fn erased_at(snapshot: &Snapshot) -> Option<u64> {
    snapshot
        .entries
        .iter()
        .find_map(|(.., record)| match record {
            Record::Profile(profile) if profile.is_blank() => Some(profile.status.revision),
            _ => None,
        })
}

trait Asked {
    /// Whether it is asked: it is not known to be dead.
    fn is_asked(&self) -> bool;
}

impl<R> Asked for Gateway<R> {
    fn is_asked(&self) -> bool {
        !matches!(self.state, GatewayState::Dead { .. })
    }
}

impl Cluster {
    /// The incarnation of this node now.
    fn now_me(&self) -> Incarnation {
        self.seen.borrow().as_ref().map_or(self.me, |(me, _)| *me)
    }

    /// All other nodes, before they are asked, and the dead ones.
    fn others(&self) -> Vec<Gateway<Answer>> {
        let seen = self.seen.borrow();
        let leases = seen.iter().flat_map(|(_, leases)| &leases.nodes);
        let others = leases.filter(|it| it.is_dead || it.who.node != self.me.node);
        let gateways = others.map(|it| Gateway {
            who: it.who,
            name: it.name.as_ref().into(),
            state: match it.is_dead {
                true => GatewayState::Dead { since: it.until },
                false => GatewayState::Silent { until: it.until },
            },
            report: None,
        });
        gateways.collect()
    }

    fn tell(&self, node: u64, message: NodeMessage) {
        let request = Request::Ephemeral(Subject::Node(node), vec![Ephemeral::Node(message)]);
        // It is never waited for: without room it is lost, like any other message of its kind.
        let _ = self.link.ask(request);
    }
}

/// Follows the channel on which this node is asked.
pub(crate) async fn follow<T: Topics>(store: Arc<T>, me: Incarnation) {
    let subjects = [Subject::Node(me.node)];
    loop {
        let followed = store.follow(&subjects).await;
        if followed.iter().all(Result::is_ok) {
            return;
        }
        tokio::time::sleep(FOLLOW_AGAIN).await;
    }
}

/// Records which sessions ended with `who`, on the shards of their users.
pub(crate) async fn record_orphans(router: &ReplyRouter, who: Incarnation, orphans: Vec<Orphan>) {
    for orphan in orphans {
        let mailbox = router.people.of(&orphan.user);
        let _ = mailbox.send(UserMessage::Orphaned(who, orphan)).await;
    }
}
