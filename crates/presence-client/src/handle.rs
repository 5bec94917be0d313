//! What an app's handles and the task of a connection share: where the connection stands, what happens, and the way to the task.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::ending::{Ended, Refused};
use crate::people::Known;
use crate::place::{self, Wish};
use crate::requests::{Again, Request};
use crate::room::{Room, Rooms};
use crate::windows::{Pane, Rows};
use crate::wire::event::{self, Own};
use crate::wire::{Command, Event, TopicId};
use crate::{Difference, PresenceError};

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Connection {
    /// The client tries to connect for the first time.
    Connecting(Trying),
    /// The client is connected.
    Online,
    /// The connection was lost, and the client tries to come back.
    Reconnecting(Trying),
    /// The connection has ended for good: you closed it, or the gateway says that no other attempt would help. Nothing runs any more.
    Closed(Ended),
}

/// An attempt to connect.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trying {
    /// How many attempts have failed since the client was last connected for 2 s.
    pub attempt: u32,
    /// When the client tries again; `None` while it does.
    pub retry_at: Option<Instant>,
    /// How the last connection or attempt ended; `None` at first.
    pub last: Option<Ended>,
}

/// What happens on a connection. [`Presence::events`](crate::Presence::events) has them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// The connection stands somewhere else.
    Connection(Connection),
    /// The client is connected. `restored` says that the session goes on, so that nobody else has heard of the lost connection.
    Hello {
        /// Whether the earlier session goes on.
        restored: bool,
    },
    /// The picture of a place is up to date: for the first time, or after the connection was away.
    Synced(TopicId),
    /// Something in the picture of a place has changed. People who were there before the first picture are no event.
    Changed {
        /// The channel or the workspace.
        place: TopicId,
        /// What is different.
        difference: Difference,
    },
    /// Somebody has sent a message to a channel that is watched.
    Broadcast(event::Broadcast),
    /// The truth about yourself has changed: your status, and your devices.
    Own(Own),
    /// The token no longer allows this place, so the gateway has removed you from it. It is not joined or watched again.
    Removed(TopicId),
    /// The gateway refused who you are.
    Refused {
        /// What is wrong with the token, or that there is none.
        reason: Refused,
        /// The same in words.
        message: String,
        /// Whether the client comes back with another token.
        retrying: bool,
    },
    /// Something went wrong that no command waits for: the token function failed, a fresh token was refused, or what
    /// was joined before is refused now (then `place` names it).
    Error {
        /// The place that this is about, if it is about one.
        place: Option<TopicId>,
        /// What went wrong.
        error: Trouble,
    },
    /// The gateway has lost the store that it shares with others, or has found it again. While it is `degraded`, people on
    /// other gateways may be out of date.
    Health {
        /// Whether the store is unreachable.
        degraded: bool,
    },
    /// You have read too slowly: this many events are missing. The states of rooms are right nevertheless.
    Lagged(u64),
}

/// What went wrong without a command that waits for it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The token function failed, with this message.
    #[error("the token function failed: {0}")]
    Token(String),
    /// The gateway refused something.
    #[error(transparent)]
    Command(#[from] PresenceError),
}

/// An answer that does not fit the command.
pub(crate) fn strange(answer: &Event) -> PresenceError {
    let message = format!("the gateway answered with {}", answer.kind());
    PresenceError::refused(crate::wire::ErrorCode::Malformed, &message)
}

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Ask {
    Wish {
        room: Arc<Room>,
        wish: Wish,
        answer: place::Answer,
    },
    Request(Request),
    Follow {
        known: Arc<Known>,
        answer: place::Answer,
    },
    Unfollow {
        id: Arc<str>,
        number: u64,
    },
    OpenWindow {
        pane: Arc<Pane>,
        rows: Rows,
        answer: place::Answer,
    },
    MoveWindow {
        pane: Arc<Pane>,
        rows: Rows,
        answer: place::Answer,
    },
    CloseWindow(Arc<Pane>),
    /// The app has a fresh token.
    Keep(String),
    Close(oneshot::Sender<()>),
}

/// The way to the task. The connection lasts as long as the last of these.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) asks: mpsc::Sender<Ask>,
    /// What was dropped and is over now. There is no more of it than of what was asked for.
    pub(crate) drops: mpsc::UnboundedSender<Ask>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) command_max: Duration,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.connection.borrow().fmt(f)
    }
}

impl Handle {
    /// Changes what is wanted of a place, and waits until the gateway has agreed.
    pub(crate) async fn wish(&self, room: &Arc<Room>, wish: Wish) -> Result<(), PresenceError> {
        let room = room.clone();
        self.ask(|answer| Ask::Wish { room, wish, answer }).await
    }

    /// Sends a command, and waits for its answer.
    pub(crate) async fn request(
        &self,
        command: Command,
        again: Again,
    ) -> Result<Event, PresenceError> {
        self.ask(|answer| {
            Ask::Request(Request {
                command,
                again,
                answer,
            })
        })
        .await
    }

    pub(crate) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, PresenceError>>) -> Ask,
    ) -> Result<T, PresenceError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.asks.send(ask(answer)).await.ok()?;
            answered.await.ok()
        };
        match timeout(self.command_max, asked).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(self.shared.closed_error()),
            Err(_) => Err(match *self.shared.connection.borrow() {
                Connection::Online => PresenceError::TimedOut(self.command_max),
                _ => PresenceError::NotConnected(self.command_max),
            }),
        }
    }

    /// Asks for what nobody waits for: the end of something that was dropped.
    pub(crate) fn tell(&self, ask: Ask) {
        // A task that has ended has ended it.
        let _ = self.drops.send(ask);
    }

    /// Waits until the connection is closed for good, and says why it was.
    pub(crate) async fn closed(&self) -> PresenceError {
        let mut connections = self.shared.connection.subscribe();
        let is_closed = |it: &Connection| matches!(it, Connection::Closed(_));
        let _ = connections.wait_for(is_closed).await;
        self.shared.closed_error()
    }
}

/// What the task shows to the handles.
pub(crate) struct Shared {
    pub(crate) connection: watch::Sender<Connection>,
    pub(crate) own: watch::Sender<Option<Arc<Own>>>,
    pub(crate) hello: watch::Sender<Option<Arc<event::Hello>>>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) numbers: AtomicU64,
    /// `None` once no more events will come.
    pub(crate) events: Mutex<Option<broadcast::Sender<PresenceEvent>>>,
}

impl Shared {
    /// A number that nothing else of this client has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn events(
        &self,
    ) -> std::sync::MutexGuard<'_, Option<broadcast::Sender<PresenceEvent>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `event` to everyone who reads events.
    pub(crate) fn emit(&self, event: PresenceEvent) {
        if let Some(events) = &*self.events() {
            // Nobody needs to read them.
            let _ = events.send(event);
        }
    }

    /// The connection stands here now.
    pub(crate) fn say(&self, connection: Connection) {
        let changed = self.connection.send_if_modified(|it| {
            let changed = *it != connection;
            it.clone_from(&connection);
            changed
        });
        if changed {
            self.emit(PresenceEvent::Connection(connection));
        }
    }

    /// No more events will come.
    pub(crate) fn end_events(&self) {
        self.events().take();
    }

    /// The error of a command for a connection that is closed.
    pub(crate) fn closed_error(&self) -> PresenceError {
        PresenceError::Closed(match &*self.connection.borrow() {
            Connection::Closed(ended) => ended.reason.clone(),
            _ => "the task of the client has ended".into(),
        })
    }
}
