//! Channels and workspaces, as an app holds them: their state, and what can be done there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{oneshot, watch};

use crate::handle::{Ask, Handle};
use crate::place::Wish;
use crate::requests::Again;
use crate::stays::{Stay, Whose};
use crate::wire::event::Page;
use crate::wire::{Command, Event, Json, Mode, TopicId, command};
use crate::{Picture, PresenceError};

/// A channel: a place that people are in. It comes from [`Presence::channel`](crate::Presence::channel).
///
/// What you join and watch holds over reconnects, until you leave or unwatch, or until the gateway refuses it. A clone is
/// the same channel. A handle keeps the connection, as a clone of the [`Presence`](crate::Presence) does.
#[derive(Clone, Debug)]
pub struct Channel {
    pub(crate) handle: Handle,
    room: Arc<Room>,
}

/// Everyone who is online in a workspace: it can be watched, but not entered. It comes from
/// [`Presence::workspace`](crate::Presence::workspace).
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(crate) handle: Handle,
    room: Arc<Room>,
}

/// What is known of a channel or a workspace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomState {
    /// The people, who types and who points. It is empty until the place is watched.
    pub picture: Arc<Picture>,
    /// Whether the gateway has let this session into the channel, on the connection that is there.
    pub joined: bool,
    /// Whether the picture is up to date. It is not until the first one came, and while the connection is away.
    pub live: bool,
    /// Why the last join, update or watch was refused for good.
    pub error: Option<PresenceError>,
}

/// The state of one place, shared between the handles and the task that keeps it right.
#[derive(Debug)]
pub(crate) struct Room {
    id: TopicId,
    state: watch::Sender<RoomState>,
    rooms: Weak<Rooms>,
}

/// The rooms that anybody holds.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<HashMap<TopicId, Weak<Room>>>);

impl Rooms {
    /// The room of `id`: always the same one while anybody holds it.
    pub(crate) fn room(self: &Arc<Self>, id: TopicId) -> Arc<Room> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(&id).and_then(Weak::upgrade) {
            return room;
        }
        let state = RoomState {
            picture: Arc::new(Picture::of(id.clone())),
            joined: false,
            live: false,
            error: None,
        };
        let room = Arc::new(Room {
            id: id.clone(),
            state: watch::Sender::new(state),
            rooms: Arc::downgrade(self),
        });
        rooms.insert(id, Arc::downgrade(&room));
        room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(rooms) = self.rooms.upgrade() else {
            return;
        };
        let mut rooms = rooms.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another one may have taken its place.
        if rooms.get(&self.id).is_some_and(|it| it.strong_count() == 0) {
            rooms.remove(&self.id);
        }
    }
}

impl Room {
    pub(crate) fn id(&self) -> &TopicId {
        &self.id
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&RoomState) -> T) -> T {
        read(&self.state.borrow())
    }

    /// Changes the state. `change` returns whether anybody can see a difference.
    pub(crate) fn change(&self, change: impl FnOnce(&mut RoomState) -> bool) {
        self.state.send_if_modified(change);
    }

    async fn until(
        &self,
        handle: &Handle,
        is_so: impl FnMut(&RoomState) -> bool,
    ) -> Result<RoomState, PresenceError> {
        let mut states = self.state.subscribe();
        tokio::select! {
            biased;
            state = states.wait_for(is_so) => {
                Ok(state.expect("the room has the sender").clone())
            }
            error = handle.closed() => Err(error),
        }
    }

    async fn list(
        &self,
        handle: &Handle,
        limit: Option<u64>,
        offset: Option<u64>,
    ) -> Result<Page, PresenceError> {
        let place = self.id.clone();
        let list = command::List {
            ref_: None,
            place,
            limit,
            offset,
        };
        match handle.request(list.into(), Again::Always).await? {
            Event::Ok(crate::wire::event::Ok {
                result: Some(crate::wire::event::Answer::Page(page)),
                ..
            }) => Ok(page),
            other => Err(crate::handle::strange(&other)),
        }
    }
}

/// What a channel and a workspace have in common.
macro_rules! watchable {
    ($name:ident, $what:literal) => {
        impl $name {
            pub(crate) fn new(handle: Handle, room: Arc<Room>) -> Self {
                $name { handle, room }
            }

            #[doc = concat!("The ", $what, ", as events name it.")]
            pub fn id(&self) -> &TopicId {
                self.room.id()
            }

            /// What is known of it now. It costs no copy of the people.
            pub fn state(&self) -> RoomState {
                self.room.read(RoomState::clone)
            }

            /// Waits until `is_so` is true for the state, and returns that state.
            ///
            /// # Errors
            ///
            /// Fails if the connection is closed for good.
            pub async fn until(
                &self,
                is_so: impl FnMut(&RoomState) -> bool,
            ) -> Result<RoomState, PresenceError> {
                self.room.until(&self.handle, is_so).await
            }

            /// Watches without being inside, from now on until [`unwatch`](Self::unwatch). `mode` says whether everyone is listed,
            /// or only counted.
            ///
            /// # Errors
            ///
            /// Says why not; see [`PresenceError`].
            pub async fn watch(&self, mode: Mode) -> Result<(), PresenceError> {
                self.handle.wish(&self.room, Wish::Watch(mode)).await
            }

            /// Ends [`watch`](Self::watch).
            ///
            /// # Errors
            ///
            /// Says why not; see [`PresenceError`].
            pub async fn unwatch(&self) -> Result<(), PresenceError> {
                self.handle.wish(&self.room, Wish::Unwatch).await
            }

            /// One page of the people, for a place that is too large to be listed in whole: at most `limit` (1 to 1,000; `None`
            /// is 100), after the first `offset`.
            ///
            /// # Errors
            ///
            /// Says why not; see [`PresenceError`].
            pub async fn list(
                &self,
                limit: Option<u64>,
                offset: Option<u64>,
            ) -> Result<Page, PresenceError> {
                self.room.list(&self.handle, limit, offset).await
            }
        }
    };
}

watchable!(Channel, "channel");
watchable!(Workspace, "workspace");

impl Channel {
    /// Joins the channel, from now on until [`leave`](Self::leave), and watches it. Another join replaces the meta and the way of
    /// watching.
    ///
    /// Returns when the gateway has let you in.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn join(&self, stay: impl Into<Stay>) -> Result<(), PresenceError> {
        let wish = Wish::Join(Whose::Join, stay.into());
        self.handle.wish(&self.room, wish).await
    }

    /// Is in the channel until what is returned is dropped. It is counted: parts of a program that know nothing of each other share the
    /// channel, and you leave when the last of them has left. The latest meta that was given is shown, and the whole list is watched if
    /// any of them wants it. A [`join`](Self::join) is one more of them.
    ///
    /// Returns when the gateway has let you in. If this fails, nothing holds.
    ///
    /// ```no_run
    /// use presence_client::Stay;
    ///
    /// # async fn run(presence: presence_client::Presence) -> Result<(), presence_client::PresenceError> {
    /// let room = presence.channel("room:42");
    /// let reading = room.enter(Stay::default()).await?;
    /// let writing = room.enter(Stay::default()).await?;
    /// drop(reading); // still there
    /// writing.leave().await?; // gone
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn enter(&self, stay: impl Into<Stay>) -> Result<Entered, PresenceError> {
        let entered = Entered {
            whose: Whose::Entered(self.handle.shared.number()),
            channel: self.clone(),
        };
        let wish = Wish::Join(entered.whose, stay.into());
        let asked = self.handle.wish(&self.room, wish);
        asked.await.map(|()| entered)
    }

    /// Replaces your meta in this channel. Of those who have entered it, it is the meta of whoever came last.
    ///
    /// # Errors
    ///
    /// Fails if you have not joined, or if the gateway refuses the meta. Then the meta before it stays.
    pub async fn update(&self, meta: Json) -> Result<(), PresenceError> {
        self.handle.wish(&self.room, Wish::Update(meta)).await
    }

    /// Leaves the channel, whoever has [entered](Self::enter) it. A [`watch`](Self::watch) of your own stays.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn leave(&self) -> Result<(), PresenceError> {
        self.handle.wish(&self.room, Wish::Leave).await
    }

    /// Says that you type, or that you stop. Typing ends by itself after [`typing_ttl`](crate::wire::event::Hello::typing_ttl)
    /// (5 s) unless it is said again.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection at the moment, or if the gateway refuses it.
    pub async fn typing(&self, typing: bool) -> Result<(), PresenceError> {
        let channel = self.name();
        let typing = command::Typing {
            ref_: None,
            channel,
            typing,
        };
        self.now(typing.into()).await
    }

    /// Says where you point, in a unit of your choice. The gateway forgets it after 10 s. Send at most 25 a second.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection at the moment, or if the gateway refuses it.
    pub async fn cursor(&self, x: f64, y: f64) -> Result<(), PresenceError> {
        self.point(x, y, None).await
    }

    /// Hides your cursor, which others last saw at `(x, y)`.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection at the moment, or if the gateway refuses it.
    pub async fn hide_cursor(&self, x: f64, y: f64) -> Result<(), PresenceError> {
        self.point(x, y, Some(false)).await
    }

    /// Sends a message to everyone who watches the channel, yourself included. `event` is its name, up to 64 characters.
    ///
    /// # Errors
    ///
    /// Says why not. It is sent once only: after [`PresenceError::Disconnected`] it is not known whether it was heard.
    pub async fn broadcast(&self, event: &str, payload: Json) -> Result<(), PresenceError> {
        let broadcast = command::Broadcast {
            ref_: None,
            channel: self.name(),
            event: event.to_owned(),
            payload: Some(payload),
        };
        let answer = self.handle.request(broadcast.into(), Again::Once);
        answer.await.map(drop)
    }

    async fn point(&self, x: f64, y: f64, visible: Option<bool>) -> Result<(), PresenceError> {
        let cursor = command::Cursor {
            ref_: None,
            channel: self.name(),
            x,
            y,
            visible,
        };
        self.now(cursor.into()).await
    }

    /// Sends what is worth nothing later.
    async fn now(&self, command: Command) -> Result<(), PresenceError> {
        self.handle.request(command, Again::Never).await.map(drop)
    }

    fn name(&self) -> String {
        match self.room.id() {
            TopicId::Channel(id) | TopicId::Workspace(id) => id.to_string(),
        }
    }
}

/// One who is in a channel: it comes from [`Channel::enter`]. Dropping it leaves, if nobody else has entered.
#[derive(Debug)]
pub struct Entered {
    channel: Channel,
    whose: Whose,
}

impl Entered {
    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Leaves, and waits until the gateway knows. Others who have entered stay.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn leave(self) -> Result<(), PresenceError> {
        let channel = &self.channel;
        let leave = Wish::Exit(self.whose);
        channel.handle.wish(&channel.room, leave).await
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let room = self.channel.room.clone();
        // Leaving twice does nothing.
        self.channel.handle.tell(Ask::Wish {
            room,
            wish: Wish::Exit(self.whose),
            answer: oneshot::channel().0,
        });
    }
}
