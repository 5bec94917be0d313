//! One client: comes, stays, is lost and comes back, as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use presence_client::wire::command::Status;
use presence_client::wire::event::Hello;
use presence_client::wire::{Command, Event, Field, Json, Ref, Target, TopicId, command};
use presence_client::{Client, Options, Picture};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use crate::journal::{At, Change, Ending, Fact, User, Watcher};
use crate::shared::Shared;
use crate::told;

/// How long connecting and joining may take; then it is tried again elsewhere.
const COME_TIME_MAX: Duration = Duration::from_secs(10);

/// The reason of a refusal when connecting or joining took too long.
pub(crate) const UNANSWERED: &str = "no answer in time";

/// How long to wait before trying again, at least and at most.
const AGAIN_MS: std::ops::Range<u64> = 100..500;

/// How long a goodbye may take.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

/// Orders that wait. More are not given: a client that is away has no use for a change.
pub(crate) const ORDERS_MAX: usize = 64;

/// The kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Somebody who is in the room.
    Person(User),
    /// Somebody who is in the room and wants nobody to know.
    Hidden(User),
    /// Somebody who only looks, and writes down everything.
    Watcher(Watcher),
}

/// A client, and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct VirtualUser {
    pub(crate) role: Role,
    pub(crate) user_id: String,
    pub(crate) device_id: String,
    pub(crate) channel: String,
    pub(crate) entrance: usize,
    pub(crate) afterwards: Afterwards,
    pub(crate) begin: Begin,
}

/// When a client comes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It connects at once.
    Now,
    /// It connects when the crowd tells it to.
    WhenCalled,
}

/// What a client does when its connection has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It stays away.
    StayAway,
    /// It comes back, elsewhere if it can, within that time or when it was told to.
    ComeBack(Duration),
}

/// What a client is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Make a change that is due then.
    Change(At),
    /// Say once more that it is here.
    Heartbeat,
    /// Choose this status message.
    Say(String),
    /// Say goodbye and stay away.
    Leave,
    /// Lose the connection.
    Vanish,
    /// The connection is dead, and neither side has been told.
    Hang,
    /// The gateway has stopped for a while, and keeps the connection.
    Freeze,
    /// Go on after a freeze.
    Thaw,
    /// Come, if away, to where it began.
    Come,
    /// Do this after each lost connection from now on.
    Afterwards(Afterwards),
}

/// What people carry in their meta, so that whoever sees them knows which change it is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) change: Change,
}

enum Next {
    Come(Instant),
    Wait,
    Over,
}

/// The task of one client: its connection and its orders.
struct Life {
    vu: VirtualUser,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    /// Where it is, or was last.
    entrance: Option<usize>,
    resume: Option<String>,
    picture: Picture,
    change: Change,
    /// Whether the journal has it as healthy, or looking.
    is_counted: bool,
    /// Connections that are dead and do not know it.
    hung: Vec<Client>,
    /// What it is doing while it comes.
    step: &'static str,
}

/// What the client has sent and has no answer to yet.
#[derive(Default)]
struct Pending {
    next_ref: u64,
    changes: BTreeMap<String, (Change, At)>,
    words: BTreeMap<String, String>,
    retry_after: Option<Duration>,
}

/// Lives until nobody gives orders any more.
pub(crate) async fn live(vu: VirtualUser, shared: Arc<Shared>, orders: mpsc::Receiver<Order>) {
    let picture = Picture::of(TopicId::Channel((&*vu.channel).into()));
    let mut life = Life {
        vu,
        shared,
        orders,
        entrance: None,
        resume: None,
        picture,
        change: 0,
        is_counted: false,
        hung: Vec::new(),
        step: "",
    };
    let mut next = match life.vu.begin {
        Begin::Now => Next::Come(Instant::now()),
        Begin::WhenCalled => Next::Wait,
    };
    loop {
        next = match next {
            Next::Over => return,
            Next::Wait => life.wait().await,
            Next::Come(at) => life.come_at(at).await,
        };
    }
}

impl Life {
    async fn wait(&mut self) -> Next {
        match self.orders.recv().await {
            None => Next::Over,
            Some(Order::Come) => {
                // To where it was first.
                self.entrance = None;
                Next::Come(Instant::now())
            }
            Some(Order::Afterwards(it)) => {
                self.vu.afterwards = it;
                Next::Wait
            }
            Some(_) => Next::Wait,
        }
    }

    async fn come_at(&mut self, at: Instant) -> Next {
        tokio::select! {
            order = self.orders.recv() => return match order {
                None => Next::Over,
                Some(Order::Leave) => Next::Wait,
                Some(Order::Afterwards(it)) => {
                    self.vu.afterwards = it;
                    match it {
                        Afterwards::StayAway => Next::Wait,
                        Afterwards::ComeBack(_) => Next::Come(at),
                    }
                }
                Some(_) => Next::Come(at),
            },
            () = sleep_until(at) => {}
        }
        let shared = self.shared.clone();
        // Our own queue is not the gateway's fault.
        let Ok(permit) = shared.connecting.acquire().await else {
            return Next::Over;
        };
        let first = self.entrance.is_none().then_some(self.vu.entrance);
        let Some(entrance) = first.or_else(|| self.shared.another_entrance(self.entrance)) else {
            return Next::Come(again());
        };
        self.entrance = Some(entrance);
        let came = timeout(COME_TIME_MAX, self.come(entrance)).await;
        drop(permit);
        match came.unwrap_or_else(|_| Err(UNANSWERED.to_owned())) {
            Ok(client) => self.stay(client, entrance).await,
            Err(why) => {
                let user = &self.vu.user_id;
                self.shared.refuse(format!("{user} {}: {why}", self.step));
                self.uncount(self.shared.ending_at(entrance));
                Next::Come(again())
            }
        }
    }

    /// Connects, and asks to be in the room or to see it.
    async fn come(&mut self, entrance: usize) -> Result<Client, String> {
        let shared = self.shared.clone();
        let options = Options {
            device_id: Some(self.vu.device_id.clone()),
            resume: self.resume.clone(),
            read_buffer_bytes: 2048,
            ..Options::user(&shared.entrances[entrance].url, &self.vu.user_id)
        };
        self.step = "connects";
        let mut client = Client::connect(&options)
            .await
            .map_err(|it| it.to_string())?;
        self.resume = Some(client.hello().resume.to_string());
        let command = match self.vu.role {
            Role::Watcher(_) => self.watch(),
            Role::Person(_) => {
                self.count();
                self.join()
            }
            Role::Hidden(_) => {
                self.step = "hides";
                let hide = client.request(status(Some("invisible"), None)).await;
                hide.map_err(|it| it.to_string())?;
                self.join()
            }
        };
        self.step = "joins or watches";
        let asked = client.request(command).await;
        asked.map_err(|it| it.to_string())?;
        Ok(client)
    }

    async fn stay(&mut self, mut client: Client, entrance: usize) -> Next {
        self.shared.here.fetch_add(1, Ordering::Relaxed);
        let next = self.stay_here(&mut client, entrance).await;
        self.shared.here.fetch_sub(1, Ordering::Relaxed);
        match next {
            Ended::Hung => {
                self.hung.push(client);
                Next::Wait
            }
            Ended::Left => {
                let goodbye = async { while client.next().await.is_some() {} };
                let _ = timeout(GOODBYE_TIME_MAX, goodbye).await;
                Next::Wait
            }
            Ended::Lost(retry_after) => match self.vu.afterwards {
                Afterwards::StayAway => Next::Wait,
                Afterwards::ComeBack(within) => {
                    let wait = retry_after.unwrap_or_else(|| within.mul_f64(fastrand::f64()));
                    Next::Come(Instant::now() + wait)
                }
            },
            Ended::Over => Next::Over,
        }
    }

    async fn stay_here(&mut self, client: &mut Client, entrance: usize) -> Ended {
        let mut pending = Pending::default();
        let every = heartbeat(client.hello());
        // Spread, as real clients are.
        let mut heartbeat = interval_at(Instant::now() + every.mul_f64(fastrand::f64()), every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sent = tokio::select! {
                order = self.orders.recv() => match order {
                    None => return Ended::Over,
                    Some(order) => match self.obey(order, client, &mut pending).await {
                        Ok(None) => Ok(()),
                        Ok(Some(stayed)) => return stayed,
                        Err(()) => Err(()),
                    },
                },
                _ = heartbeat.tick() => client.heartbeat().await.map_err(drop),
                event = client.next() => match event {
                    Some(event) => self.hear(&event, client, &mut pending).await,
                    None => Err(()),
                },
            };
            if sent.is_err() {
                let how = client
                    .ending()
                    .map_or("lost".to_owned(), ToString::to_string);
                self.shared
                    .lose(self.shared.entrances[entrance].gateway, how);
                self.uncount(self.shared.ending_at(entrance));
                return Ended::Lost(pending.retry_after);
            }
        }
    }

    /// Does as it is told. `Err`: the connection is broken.
    async fn obey(
        &mut self,
        order: Order,
        client: &mut Client,
        pending: &mut Pending,
    ) -> Result<Option<Ended>, ()> {
        match order {
            Order::Change(due) => {
                self.change += 1;
                let update = command::Update {
                    ref_: Some(pending.change(self.change, due)),
                    channel: self.vu.channel.clone(),
                    meta: self.mark(),
                };
                client.send(&update.into()).await.map_err(drop)?;
            }
            Order::Heartbeat => client.heartbeat().await.map_err(drop)?,
            Order::Say(words) => {
                let mut command = status(None, Some(words.clone()));
                command.set_ref(Some(pending.words(words)));
                client.send(&command).await.map_err(drop)?;
            }
            Order::Leave => {
                let leave = command::Leave {
                    ref_: None,
                    channel: None,
                };
                client.send(&leave.into()).await.map_err(drop)?;
                self.uncount(Ending::Left);
                self.resume = None;
                return Ok(Some(Ended::Left));
            }
            Order::Vanish => {
                self.uncount(Ending::Lost);
                return Ok(Some(Ended::Lost(None)));
            }
            Order::Hang => {
                self.uncount(Ending::HalfOpen);
                return Ok(Some(Ended::Hung));
            }
            Order::Freeze => self.uncount(Ending::NodeGone),
            Order::Thaw => self.count(),
            Order::Come => {}
            Order::Afterwards(it) => self.vu.afterwards = it,
        }
        Ok(None)
    }

    /// Takes an event in. `Err`: the connection is broken.
    async fn hear(
        &mut self,
        event: &Event,
        client: &mut Client,
        pending: &mut Pending,
    ) -> Result<(), ()> {
        match event {
            Event::Ok(it) => {
                let ref_ = it.ref_.as_ref().map_or("", Ref::as_json);
                if let Some((change, due)) = pending.changes.remove(ref_)
                    && let Role::Person(user) = self.vu.role
                {
                    self.shared.journal.note([Fact::Made(user, change, due)]);
                }
                if let Some(words) = pending.words.remove(ref_) {
                    self.shared.acknowledge(&self.vu.user_id, words);
                }
            }
            Event::Closing(it) => {
                let retry_after = it.retry_after.filter(|_| it.reconnect);
                pending.retry_after = retry_after.map(Duration::from_millis);
            }
            _ => {}
        }
        let Role::Watcher(watcher) = self.vu.role else {
            return Ok(());
        };
        match told::take(&mut self.picture, event, watcher) {
            Ok(told) => {
                let looks = told.is_whole && !self.is_counted;
                let looks = looks.then_some(Fact::Looks(watcher));
                self.is_counted |= told.is_whole;
                self.shared
                    .journal
                    .note(told.facts.into_iter().chain(looks));
                Ok(())
            }
            // Changes are missing: what is known so far is said, and the rest asked for.
            Err(_) => client.send(&self.watch()).await.map_err(drop),
        }
    }

    /// From now on it is healthy, or looks.
    fn count(&mut self) {
        if self.is_counted {
            return;
        }
        self.is_counted = true;
        self.note_connected(true);
        self.shared.journal.note(match self.vu.role {
            Role::Person(user) => Some(Fact::Came(user)),
            Role::Watcher(watcher) => Some(Fact::Looks(watcher)),
            Role::Hidden(_) => None,
        });
    }

    fn uncount(&mut self, ending: Ending) {
        if !self.is_counted {
            return;
        }
        self.is_counted = false;
        self.note_connected(false);
        self.shared.journal.note(match self.vu.role {
            Role::Person(user) => Some(Fact::Gone(user, ending)),
            Role::Watcher(watcher) => Some(Fact::Blind(watcher)),
            Role::Hidden(_) => None,
        });
    }

    fn note_connected(&self, is_healthy: bool) {
        let Role::Person(_) = self.vu.role else {
            return;
        };
        let entrance = self.entrance.filter(|_| is_healthy);
        let gateway = entrance.map(|it| self.shared.entrances[it].gateway);
        let VirtualUser {
            user_id, device_id, ..
        } = &self.vu;
        self.shared.connect(user_id, device_id, gateway);
    }

    fn watch(&self) -> Command {
        Command::Watch(command::Watch {
            ref_: None,
            target: Target::Channel(self.vu.channel.clone()),
            mode: None,
            have: self.picture.have(),
        })
    }

    fn join(&self) -> Command {
        Command::Join(command::Join {
            ref_: None,
            channel: self.vu.channel.clone(),
            meta: Some(self.mark()),
            watch: Some(self.shared.all_watch),
            mode: None,
            have: None,
        })
    }

    fn mark(&self) -> Json {
        Json::of(&Mark {
            change: self.change,
        })
        .expect("a mark is JSON")
    }
}

/// How a connection ended.
enum Ended {
    /// By itself, or it was to be lost; when to come back, if that was said.
    Lost(Option<Duration>),
    /// The client said goodbye.
    Left,
    /// It is dead and nobody knows.
    Hung,
    /// The run is over.
    Over,
}

impl Pending {
    fn change(&mut self, change: Change, due: At) -> Ref {
        let ref_ = self.new_ref();
        self.changes
            .insert(ref_.as_json().to_owned(), (change, due));
        ref_
    }

    fn words(&mut self, words: String) -> Ref {
        let ref_ = self.new_ref();
        self.words.insert(ref_.as_json().to_owned(), words);
        ref_
    }

    /// Not one that the client makes up for its requests.
    fn new_ref(&mut self) -> Ref {
        self.next_ref += 1;
        Ref::from(1_000_000 + self.next_ref)
    }
}

fn status(chosen: Option<&str>, words: Option<String>) -> Command {
    Command::Status(Status {
        ref_: None,
        status: chosen.map_or(Field::Absent, |it| {
            Field::Value(it.parse().expect("a status"))
        }),
        custom_message: words.map_or(Field::Absent, Field::Value),
        emoji: Field::Absent,
        clear_after: Field::Absent,
        expires_at: Field::Absent,
    })
}

fn heartbeat(hello: &Hello) -> Duration {
    Duration::from_millis(hello.heartbeat_interval.max(100))
}

fn again() -> Instant {
    Instant::now() + Duration::from_millis(fastrand::u64(AGAIN_MS))
}
