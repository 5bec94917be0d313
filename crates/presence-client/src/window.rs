//! Windows: a few rows of a list of people, however long it is.

use std::sync::Arc;

use tokio::sync::watch;

use crate::PresenceError;
use crate::handle::{Ask, Handle};
use crate::room::{Channel, Workspace};
use crate::windows::{Pane, Rows, WindowState};
use crate::wire::TopicId;

/// A few rows of a channel or a workspace, and what changes in them. It comes from [`Channel::window`](crate::Channel::window) and
/// [`Workspace::window`](crate::Workspace::window).
///
/// It holds over reconnects. Dropping it closes it. It keeps the connection, as a clone of the [`Presence`](crate::Presence) does.
#[derive(Debug)]
pub struct Window {
    handle: Handle,
    pane: Arc<Pane>,
}

impl Window {
    async fn open(handle: &Handle, place: &TopicId, rows: Rows) -> Result<Window, PresenceError> {
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

/// Both kinds of places have windows.
macro_rules! has_windows {
    ($($name:ident)+) => {$(
        impl $name {
            /// Shows a few rows of the people, however many they are, and then only what changes in them: for places that are too
            /// large to be listed in whole. It needs neither a join nor a watch.
            ///
            /// Returns when the gateway has agreed; the rows come after that. Dropping the window closes it.
            ///
            /// # Errors
            ///
            /// Says why not; see [`PresenceError`]. Then there is no window.
            pub async fn window(&self, rows: Rows) -> Result<Window, PresenceError> {
                Window::open(&self.handle, self.id(), rows).await
            }
        }
    )+};
}

has_windows!(Channel Workspace);
