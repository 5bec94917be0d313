//! A connection that stays: the handle that an app has.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::handle::{Ask, Connection, Handle, PresenceEvent, Shared, Trying, strange};
use crate::pace::Rates;
use crate::pulled::Pulled;
use crate::requests::Again;
use crate::room::{Channel, Workspace};
use crate::task::{Settings, Task};
use crate::token::Tokens;
use crate::user::User;
use crate::wire::event::{self, Own, UserStatus};
use crate::wire::{Activity, Command, Event, TopicId, command};
use crate::{Options, PresenceError};

/// How many commands wait for the task of a client.
const ASKS_MAX: usize = 64;

/// One person's connection to a gateway, which stays: a task connects, sends heartbeats, and after a lost connection comes back
/// and goes on with the session, so that nobody hears of it. What was joined and watched holds.
///
/// A clone is the same connection. When the last clone and the last [`Channel`] and [`Workspace`] of it are dropped, the connection is
/// dropped as a network failure drops it: others see the person leave after the grace time. [`close`](Self::close) says goodbye.
///
/// ```no_run
/// use presence_client::wire::Json;
/// use presence_client::{Options, Presence};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let presence = Presence::connect(Options::user("ws://127.0.0.1:4001/ws", "bot"));
/// let mut events = presence.events();
/// let room = presence.channel("room:42");
/// room.join(Json::new(r#"{"name":"Bot"}"#)?).await?;
/// while let Some(event) = events.next().await {
///     println!("{event:?}; {} people are here", room.state().picture.count());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Presence {
    handle: Handle,
}

/// The events of a connection, from when [`Presence::events`] was called. It ends after [`Connection::Closed`].
///
/// It is a [`Stream`] of the crate `futures`, whose adapters apply: `events.filter(…)`, `select(…)`.
#[derive(Debug)]
pub struct Events(Pulled<broadcast::Receiver<PresenceEvent>, PresenceEvent>);

impl Events {
    fn of(receiver: broadcast::Receiver<PresenceEvent>) -> Self {
        Events(Pulled::new(receiver, |mut receiver| {
            Box::pin(async move {
                let event = match receiver.recv().await {
                    Ok(event) => Some(event),
                    Err(RecvError::Lagged(missing)) => Some(PresenceEvent::Lagged(missing)),
                    Err(RecvError::Closed) => None,
                };
                (receiver, event)
            })
        }))
    }

    /// The next event; `None` after the connection was closed for good. Dropping the future loses nothing.
    ///
    /// [`events_max`](Builder::events_max) events wait for a reader. Then the oldest are dropped, and a
    /// [`PresenceEvent::Lagged`] comes in their place.
    pub async fn next(&mut self) -> Option<PresenceEvent> {
        std::future::poll_fn(|context| self.0.poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = PresenceEvent;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<PresenceEvent>> {
        self.0.poll_next(context)
    }
}

/// The settings of a [`Presence`].
#[derive(Clone, Debug)]
pub struct Builder {
    settings: Settings,
    command_max: Duration,
    events_max: usize,
}

impl Builder {
    /// How long a command waits for a connection and its answer, unless set: 30 s.
    pub const COMMAND_MAX: Duration = Duration::from_secs(30);
    /// How long connecting takes at most, unless set: 15 s.
    pub const OPENING_MAX: Duration = Duration::from_secs(15);
    /// How long a gateway is silent after a heartbeat before the connection counts as lost, unless set: 8 s.
    pub const ANSWER_MAX: Duration = Duration::from_secs(8);
    /// How many events wait for a reader, unless set.
    pub const EVENTS_MAX: usize = 1024;

    fn new(options: Options) -> Self {
        Builder {
            settings: Settings {
                tokens: Tokens::fixed(options.token.clone()),
                options,
                opening_max: Self::OPENING_MAX,
                answer_max: Self::ANSWER_MAX,
                rates: Rates::default(),
            },
            command_max: Self::COMMAND_MAX,
            events_max: Self::EVENTS_MAX,
        }
    }

    /// Where tokens come from: `fetch` is called for the first connection, shortly before a token expires, and after one was refused. It may
    /// take 30 s. If it fails, it is called again after a while.
    pub fn token<F, T, E>(mut self, fetch: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.settings.tokens = Tokens::fetched(fetch);
        self
    }

    /// How long a command waits for a connection and its answer.
    pub fn command_max(mut self, command_max: Duration) -> Self {
        self.command_max = command_max;
        self
    }

    /// How long connecting takes at most, from the first packet to the hello of the gateway.
    pub fn opening_max(mut self, opening_max: Duration) -> Self {
        self.settings.opening_max = opening_max;
        self
    }

    /// How long a gateway may be silent after a heartbeat before the connection counts as lost.
    pub fn answer_max(mut self, answer_max: Duration) -> Self {
        self.settings.answer_max = answer_max;
        self
    }

    /// How often commands are sent at most. The default is what a gateway accepts that is configured with no rates.
    pub fn rates(mut self, rates: Rates) -> Self {
        self.settings.rates = rates;
        self
    }

    /// How many events wait for a reader of [`Presence::events`], rounded up to a power of two and at least 1.
    pub fn events_max(mut self, events_max: usize) -> Self {
        self.events_max = events_max.clamp(1, 1 << 20);
        self
    }

    /// Starts the client.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub fn connect(self) -> Presence {
        let trying = Connection::Connecting(Trying {
            attempt: 0,
            retry_at: None,
            last: None,
        });
        let (events, _) = broadcast::channel(self.events_max);
        let shared = Arc::new(Shared {
            connection: watch::Sender::new(trying),
            own: watch::Sender::new(None),
            hello: watch::Sender::new(None),
            rooms: Arc::default(),
            numbers: AtomicU64::new(1),
            events: Mutex::new(Some(events)),
        });
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        // A guard sends once, when it is dropped, and cannot wait. So there are at most as many as there were guards.
        let (drops, dropped) = mpsc::unbounded_channel();
        let command_max = self.command_max;
        tokio::spawn(Task::new(self.settings, asked, dropped, shared.clone()).run());
        let handle = Handle {
            asks,
            drops,
            shared,
            command_max,
        };
        Presence { handle }
    }
}

impl Presence {
    /// Connects with the token in `options`, or with none, and stays connected. It returns at once: the connection comes about in the
    /// background, and commands wait for it.
    ///
    /// `resume` of the options continues a session of an earlier process; without it there is a new one.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub fn connect(options: Options) -> Presence {
        Presence::builder(options).connect()
    }

    /// Other settings, such as a function that fetches tokens.
    pub fn builder(options: Options) -> Builder {
        Builder::new(options)
    }

    /// Where the connection stands.
    pub fn connection(&self) -> Connection {
        self.handle.shared.connection.borrow().clone()
    }

    /// Waits until the client is connected.
    ///
    /// # Errors
    ///
    /// Fails if the connection is closed for good.
    pub async fn online(&self) -> Result<(), PresenceError> {
        let mut connections = self.handle.shared.connection.subscribe();
        let there = |it: &Connection| matches!(it, Connection::Online | Connection::Closed(_));
        let is_online = match connections.wait_for(there).await {
            Ok(connection) => *connection == Connection::Online,
            Err(_) => false,
        };
        match is_online {
            true => Ok(()),
            false => Err(self.handle.shared.closed_error()),
        }
    }

    /// The events from now on. A state has changed already when its event comes.
    pub fn events(&self) -> Events {
        let events = self.handle.shared.events();
        let receiver = match &*events {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        };
        Events::of(receiver)
    }

    /// The last hello of the gateway: your user id, your session, and the limits of a connection. `None` until the first one.
    pub fn hello(&self) -> Option<Arc<event::Hello>> {
        self.handle.shared.hello.borrow().clone()
    }

    /// The truth about yourself, `None` until the gateway has told it.
    pub fn own(&self) -> Option<Arc<Own>> {
        self.handle.shared.own.borrow().clone()
    }

    /// The channel called `id`, such as `room:42`. Nothing is sent until it is joined or watched.
    pub fn channel(&self, id: &str) -> Channel {
        let room = self.handle.shared.rooms.room(TopicId::Channel(id.into()));
        Channel::new(self.handle.clone(), room)
    }

    /// Everyone who is online in the workspace called `id`. Nothing is sent until it is watched.
    pub fn workspace(&self, id: &str) -> Workspace {
        let room = self.handle.shared.rooms.room(TopicId::Workspace(id.into()));
        Workspace::new(self.handle.clone(), room)
    }

    /// The person called `id`, wherever they are. Nothing is sent until they are followed.
    pub fn user(&self, id: &str) -> User {
        User::new(self.handle.clone(), id.into())
    }

    /// Changes your chosen status: what is absent stays, `null` clears.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn set_status(&self, status: command::Status) -> Result<(), PresenceError> {
        self.done(status.into(), Again::Always).await
    }

    /// Says how active the person is on this session.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection at the moment, or if the gateway refuses it.
    pub async fn activity(&self, activity: Activity) -> Result<(), PresenceError> {
        let ref_ = None;
        let activity = command::Activity { ref_, activity };
        self.done(activity.into(), Again::Never).await
    }

    /// The status of up to 1,000 users, now.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn statuses(&self, users: Vec<String>) -> Result<Vec<UserStatus>, PresenceError> {
        let get = command::Get { ref_: None, users };
        match self.handle.request(get.into(), Again::Always).await? {
            Event::Ok(event::Ok {
                result: Some(event::Answer::Statuses(it)),
                ..
            }) => Ok(it.statuses),
            other => Err(strange(&other)),
        }
    }

    /// Replaces the token by a fresh one for the same user. Not needed with a function that fetches tokens.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn authenticate(&self, token: &str) -> Result<(), PresenceError> {
        let token = token.trim().to_owned();
        // The next connection takes it, too.
        let kept = self.handle.asks.send(Ask::Keep(token.clone())).await;
        kept.map_err(|_| self.handle.shared.closed_error())?;
        let ref_ = None;
        let authenticate = command::Authenticate { ref_, token };
        self.done(authenticate.into(), Again::Always).await
    }

    /// Says goodbye and ends the connection: others are told now, not after the grace time. Nothing runs afterwards.
    ///
    /// A client that is not connected cannot say it; it just ends.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        // A task that has ended has closed.
        if self.handle.asks.send(Ask::Close(answer)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn done(&self, command: Command, again: Again) -> Result<(), PresenceError> {
        self.handle.request(command, again).await.map(drop)
    }
}
