//! A session in two halves, for a server that reads from its client in one task and writes to it in another.

use presence_core::Refusal;
use tokio::sync::{mpsc, oneshot};

use super::Session;
use crate::delivery::Delivery;

/// The number of commands of one session that may wait for its reader. The next [`Commander::run`] waits for room.
pub const COMMANDS_WAITING_MAX: usize = 64;

type Command = Box<dyn FnOnce(&mut Session) + Send>;

/// The half of a session that is told things. It also carries out what the [`Commander`] wants, so it has to be read all
/// the time: commands wait while nobody calls [`next`](Self::next).
#[derive(Debug)]
pub struct Reader {
    session: Session,
    commands: mpsc::Receiver<Command>,
}

/// The half of a session that sends commands. Clones send commands of the same session.
#[derive(Clone, Debug)]
pub struct Commander {
    commands: mpsc::Sender<Command>,
}

impl Session {
    /// Splits the session in two halves, which two tasks can hold.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use presence_core::{ChannelId, DeviceId, Event, UserId, Watching};
    /// # use presence_hub::{Delivery, ConnectRequest, Hub, Settings};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let profiles = Arc::new(presence_embedded::ProfileMemory::default());
    /// # let hub = Hub::start(Settings::default(), profiles);
    /// # let request = ConnectRequest::new(UserId::new("ann")?, DeviceId::new("web:1")?);
    /// let (mut reader, commander) = hub.connect(request).await?.split();
    /// let room = ChannelId::new("room:42")?;
    ///
    /// // One task reads the client's socket:
    /// let reading = tokio::spawn(async move {
    ///     let watch = Some((Watching::Full, None));
    ///     let joined = commander.run(move |session| session.join(room, Arc::default(), watch, None));
    ///     joined.await
    /// });
    /// // and another one writes to it.
    /// loop {
    ///     if let Delivery::Event(shared) = reader.next().await {
    ///         if let Event::Everyone { people, .. } = &*shared.event {
    ///             assert_eq!(people.len(), 1);
    ///             break;
    ///         }
    ///     }
    /// }
    /// reading.await???;
    /// reader.into_session().end().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> (Reader, Commander) {
        let (sender, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
        let reader = Reader {
            session: self,
            commands,
        };
        (reader, Commander { commands: sender })
    }
}

impl Reader {
    /// Waits for the next delivery, and carries out commands meanwhile. Cancelling the call loses nothing. After
    /// [`Delivery::Ended`] every call returns that again, at once: stop reading then.
    pub async fn next(&mut self) -> Delivery {
        loop {
            tokio::select! {
                Some(command) = self.commands.recv() => command(&mut self.session),
                delivery = self.session.next() => return delivery,
            }
        }
    }

    /// The next delivery, if there is one already: see [`Session::try_next`].
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.session.try_next()
    }

    /// The session, to ask what it is in and what it watches.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The whole session again. Commands that wait are dropped, and later ones are refused.
    pub fn into_session(self) -> Session {
        self.session
    }
}

impl Commander {
    /// Has the reader carry out `command`, after those that wait already, and returns what it returned. It waits while
    /// [`COMMANDS_WAITING_MAX`] commands wait.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`]: the [`Reader`] is gone, and with it the session. The command was not carried out.
    pub async fn run<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Session) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let (reply, answer) = oneshot::channel();
        let command: Command = Box::new(move |session| {
            let _ = reply.send(command(session));
        });
        let sent = self.commands.send(command).await;
        sent.map_err(|_| Refusal::NoSession)?;
        answer.await.map_err(|_| Refusal::NoSession)
    }
}
