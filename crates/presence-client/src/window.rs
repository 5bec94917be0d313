//! Windows: a few rows of a list of people, however long it is.

use std::sync::Arc;

use tokio::sync::watch;

use crate::PresenceError;
use crate::handle::{Ask, Handle};
use crate::wire::event::User;
use crate::wire::{After, Order, TopicId};

/// Which rows of a list of people a [`Window`] shows. The default is the first 50, in the order in which they joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The order of the people; `None` means [`Order::Name`] with a prefix, and otherwise [`Order::Joined`].
    pub order: Option<Order>,
    /// What names begin with, in upper or lower case, up to 256 bytes; only by name.
    pub prefix: Option<String>,
    /// After whom the rows begin; `None` means at the first one.
    pub after: Option<After>,
    /// How many rows there are, 1 to 50; `None` means 50.
    pub limit: Option<u64>,
}

impl Rows {
    /// The first rows in the order in which people joined.
    pub fn joined() -> Self {
        Rows {
            order: Some(Order::Joined),
            ..Rows::default()
        }
    }

    /// The first rows by name.
    pub fn by_name() -> Self {
        Rows {
            order: Some(Order::Name),
            ..Rows::default()
        }
    }

    /// The people whose name begins with `prefix`, by name.
    pub fn named(prefix: &str) -> Self {
        Rows {
            prefix: Some(prefix.to_owned()),
            ..Rows::by_name()
        }
    }

    /// The same with at most this many rows.
    pub fn limit(self, limit: u64) -> Self {
        Rows {
            limit: Some(limit),
            ..self
        }
    }

    /// The same from after `user` on: the next page, if they are the last of this one.
    pub fn after(self, user: &User) -> Self {
        let is_by_name = match self.order {
            Some(order) => order == Order::Name,
            None => self.prefix.is_some(),
        };
        let name = || user.name.as_ref().unwrap_or(&user.id).to_string();
        let after = After {
            joined_at: (!is_by_name).then_some(user.joined_at),
            name: is_by_name.then(name),
            user_id: Some(user.id.to_string()),
        };
        Rows {
            after: Some(after),
            ..self
        }
    }
}

/// A few rows of a channel or a workspace, and what changes in them. It comes from [`Channel::window`](crate::Channel::window) and
/// [`Workspace::window`](crate::Workspace::window).
///
/// It holds over reconnects. Dropping it closes it. It keeps the connection, as a clone of the [`Presence`](crate::Presence) does.
#[derive(Debug)]
pub struct Window {
    handle: Handle,
    pane: Arc<Pane>,
}

/// What a [`Window`] shows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WindowState {
    /// The people in the window, in its order; each with at most 4 of their sessions.
    pub users: Arc<[User]>,
    /// How many people are in the whole list.
    pub count: u64,
    /// Whether the rows are up to date. They are not until the first ones came, and while the connection is away.
    pub live: bool,
    /// Why the window was refused or closed for good.
    pub error: Option<PresenceError>,
}

impl Window {
    pub(crate) async fn open(
        handle: &Handle,
        place: &TopicId,
        rows: Rows,
    ) -> Result<Window, PresenceError> {
        let pane = Arc::new(Pane {
            number: handle.shared.number(),
            place: place.clone(),
            state: watch::Sender::new(WindowState::default()),
        });
        let window = Window {
            handle: handle.clone(),
            pane: pane.clone(),
        };
        let asked = handle.ask(|answer| Ask::OpenWindow { pane, rows, answer });
        asked.await.map(|()| window)
    }

    /// What it shows now.
    pub fn state(&self) -> WindowState {
        self.pane.state.borrow().clone()
    }

    /// Waits until `is_so` is true for what it shows, and returns that.
    ///
    /// # Errors
    ///
    /// Fails if the window was closed for good: the gateway refused it, or the connection is closed.
    pub async fn until(
        &self,
        mut is_so: impl FnMut(&WindowState) -> bool,
    ) -> Result<WindowState, PresenceError> {
        let mut states = self.pane.state.subscribe();
        let there = states.wait_for(|it| is_so(it) || it.error.is_some()).await;
        let state = there.expect("the window has the sender").clone();
        match state.error {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    /// Shows other rows. The old ones stay until the new ones come, shortly after this returns.
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`]. A window that the gateway refuses to move is closed.
    pub async fn show(&self, rows: Rows) -> Result<(), PresenceError> {
        let pane = self.pane.clone();
        let asked = self
            .handle
            .ask(|answer| Ask::MoveWindow { pane, rows, answer });
        asked.await
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.handle.tell(Ask::CloseWindow(self.pane.clone()));
    }
}

/// What a window shows, shared between its handle and the task that keeps it right.
#[derive(Debug)]
pub(crate) struct Pane {
    /// Tells this window from all others of the client.
    pub(crate) number: u64,
    pub(crate) place: TopicId,
    pub(crate) state: watch::Sender<WindowState>,
}
