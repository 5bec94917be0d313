//! People whose status is followed one by one, wherever they are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::watch;

use crate::PresenceError;
use crate::handle::{Ask, Handle};
use crate::people::{Known, Seen};
use crate::pulled::Pulled;
use crate::wire::event::Status;

/// One person, wherever they are. It comes from [`Presence::user`](crate::Presence::user).
#[derive(Clone, Debug)]
pub struct User {
    handle: Handle,
    id: Arc<str>,
}

impl User {
    pub(crate) fn new(handle: Handle, id: Arc<str>) -> Self {
        User { handle, id }
    }

    /// The id of the person.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Watches the status of the person until what is returned is dropped. It holds over reconnects. Following is counted: the
    /// person is watched until the last who follows them stops.
    ///
    /// Returns when the gateway has agreed; the status comes after that. If this fails, nothing is followed.
    ///
    /// ```no_run
    /// # async fn run(presence: presence_client::Presence) -> Result<(), presence_client::PresenceError> {
    /// let mut bob = presence.user("bob").follow().await?;
    /// while let Some(status) = bob.next().await {
    ///     println!("bob is {}", status.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Says why not; see [`PresenceError`].
    pub async fn follow(&self) -> Result<Follow, PresenceError> {
        let known = Arc::new(Known {
            number: self.handle.shared.number(),
            id: self.id.clone(),
            seen: watch::Sender::new(Seen::default()),
        });
        let follow = Follow {
            statuses: Pulled::new(Reading::of(&known), |it| Box::pin(it.next())),
            handle: self.handle.clone(),
            known: known.clone(),
        };
        let asked = self.handle.ask(|answer| Ask::Follow { known, answer });
        asked.await.map(|()| follow)
    }
}

/// The status of one person, as it changes. Dropping it ends the following.
///
/// It is a stream: [`next`](Self::next) is first the status of now, and then each new one. Of those that come while nobody reads only
/// the last is kept. It ends when the connection is closed for good, or when the gateway does not let you watch the person any
/// more; [`error`](Self::error) says why. It keeps the connection, as a clone of the [`Presence`](crate::Presence) does.
#[derive(Debug)]
pub struct Follow {
    handle: Handle,
    known: Arc<Known>,
    statuses: Pulled<Reading, Arc<Status>>,
}

impl Follow {
    /// The id of the person.
    pub fn id(&self) -> &str {
        &self.known.id
    }

    /// The last known status; `None` until the gateway has told the first one.
    pub fn status(&self) -> Option<Arc<Status>> {
        self.known.seen.borrow().status.clone()
    }

    /// Whether the status is up to date. It is not until the first one came, and while the connection is away.
    pub fn is_live(&self) -> bool {
        self.known.seen.borrow().live
    }

    /// Why the stream has ended; `None` as long as it has not.
    pub fn error(&self) -> Option<PresenceError> {
        self.known.seen.borrow().error.clone()
    }

    /// The next status; `None` when there will be no more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Status>> {
        std::future::poll_fn(|context| self.statuses.poll_next(context)).await
    }
}

impl Stream for Follow {
    type Item = Arc<Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Arc<Status>>> {
        self.statuses.poll_next(context)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let (id, number) = (self.known.id.clone(), self.known.number);
        self.handle.tell(Ask::Unfollow { id, number });
    }
}

/// How far the statuses of one person have been read.
struct Reading {
    seen: watch::Receiver<Seen>,
    last: Option<Arc<Status>>,
}

impl Reading {
    fn of(known: &Known) -> Self {
        let seen = known.seen.subscribe();
        Reading { seen, last: None }
    }

    async fn next(mut self) -> (Self, Option<Arc<Status>>) {
        let last = self.last.take();
        let is_news = |it: &Seen| it.status.is_some() && it.status != last || it.error.is_some();
        let status = match self.seen.wait_for(is_news).await {
            Ok(seen) => seen.status.clone().filter(|it| last.as_ref() != Some(it)),
            Err(_) => None,
        };
        self.last = status.clone();
        (self, status)
    }
}
