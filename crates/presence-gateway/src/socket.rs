//! One WebSocket, from its first frame to its last: both halves in one loop, in any dialect.

use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use futures_util::{FutureExt, SinkExt, StreamExt};
use presence_hub::Delivery;
use presence_native::end::{Dismissal, End};
use presence_native::upkeep::{CLOSE_WAIT, PING_EVERY, Silence, TokenEnd, Upkeep, WRITE_WAIT};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::app::{App, Counted, Phase};
use crate::authorized::{self, Authorized};
use crate::closing::{CloseReason, Closing, Farewell};
use crate::dialect::{Dialect, Frame, Next};
use crate::journal::Trail;
use crate::out::Out;

/// About how many bytes go out in one write; the rest waits where it can still be conflated.
const BATCH_BYTES: usize = 64 * 1024;
/// After this many deliveries in a row the loop checks whether the client has sent something.
const DELIVERIES_IN_A_ROW: u32 = 16;

/// The configuration of a WebSocket. Its buffers are bounded and small, because each connection has its own.
pub(crate) fn websocket_config(frame_bytes_max: usize) -> WebSocketConfig {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = 1024;
    config.write_buffer_size = 1024;
    config.max_write_buffer_size = 64 * 1024;
    config.max_message_size = Some(frame_bytes_max);
    config.max_frame_size = Some(frame_bytes_max);
    config
}

/// What wakes the loop of a connection.
enum Event {
    FromClient(Option<Result<Message, Error>>),
    /// A delivery of the hub for one of its authorized sessions.
    ToClient(usize, Delivery),
    Time,
    Phase(Phase),
    /// Other gateways have revoked users.
    Revoked,
    /// An operator ends this connection.
    Dismissed(Dismissal),
}

/// A connection that was let in.
pub(crate) struct Socket<S, D> {
    app: Arc<App>,
    websocket: WebSocketStream<S>,
    dialect: D,
    out: Out,
    upkeep: Upkeep,
    /// When this connection is closed, once the gateway drains.
    leaves_at: Option<Instant>,
    /// What is counted for the log.
    trail: Trail,
    /// How many authorized sessions are in the list of connections.
    listed: usize,
    /// Gets what an operator asks of this connection.
    dismissed: oneshot::Receiver<Dismissal>,
    _counted: Counted,
}

impl<S: AsyncRead + AsyncWrite + Unpin, D: Dialect> Socket<S, D> {
    /// A connection that first sends what is in `out`.
    pub(crate) fn new(app: Arc<App>, websocket: WebSocketStream<S>, dialect: D, out: Out) -> Self {
        let trail = Trail::begin();
        let sessions = dialect.sessions();
        let first = sessions.first().map(Authorized::session);
        app.journal.begins(app.now(), D::NAME, &trail, first);
        let listed = sessions.iter().map(authorized::listed).collect();
        let dismissed = app
            .connection_list
            .enter((trail.id, D::NAME), app.now(), listed);
        Socket {
            trail,
            listed: sessions.len(),
            dismissed,
            _counted: app.connections.go_on(),
            app,
            websocket,
            dialect,
            out,
            upkeep: Upkeep::begin(),
            leaves_at: None,
        }
    }

    /// Runs until the connection has ended, and ends its sessions or leaves them for the grace time.
    ///
    /// Rare cases are boxed, here and below: the size of this future is the cost of an idle connection.
    pub(crate) async fn run(mut self: Box<Self>) {
        let end = match self.send().await {
            Ok(()) => self.talk().await,
            Err(end) => end,
        };
        Box::pin(self.end(end)).await;
    }

    async fn end(self: Box<Self>, end: End) {
        let Socket {
            app,
            websocket,
            mut dialect,
            mut out,
            trail,
            ..
        } = *self;
        let farewell = end.closing().map(|closing| {
            // A frame that was begun has to be completed before anything else can be sent.
            out.keep_begun();
            dialect.farewell(&closing, &mut out)
        });
        let (reason, code) = (end.word(), farewell.map(|it| it.code));
        app.metrics.closed(D::NAME, reason, code);
        app.connection_list.leave(trail.id);
        let first = dialect.sessions().first().map(Authorized::session);
        let ended = (D::NAME, &trail, first);
        app.journal.ends(app.now(), ended, (reason, code));
        for authorized in dialect.into_sessions() {
            end.settle(authorized).await;
        }
        match (farewell, end) {
            (Some(farewell), _) => close(websocket, out, farewell).await,
            (None, End::TheirClose { .. }) => answer_close(websocket).await,
            (None, _) => {}
        }
    }

    async fn talk(&mut self) -> End {
        let mut phase = self.app.phase.subscribe();
        // Draining is final, so wait for it only once.
        let draining = phase.wait_for(|it| *it != Phase::Open);
        tokio::pin!(draining);
        let mut revoked = self.app.revoking.changes();
        let sleep = sleep_until(self.wakes_at());
        tokio::pin!(sleep);
        let mut deliveries = 0;
        loop {
            let event = tokio::select! {
                biased;
                (authorized, delivery) = next_of(self.dialect.sessions_mut()) => Event::ToClient(authorized, delivery),
                frame = self.websocket.next() => Event::FromClient(frame),
                () = &mut sleep => Event::Time,
                phase = &mut draining, if self.leaves_at.is_none() => match phase {
                    Ok(phase) => Event::Phase(*phase),
                    Err(_) => return End::Closed(Closing::restarting(self.upkeep.jitter())),
                },
                Ok(()) = revoked.changed() => Event::Revoked,
                Ok(how) = &mut self.dismissed => Event::Dismissed(how),
            };
            deliveries = match event {
                Event::ToClient(..) => deliveries + 1,
                _ => 0,
            };
            let outcome = match event {
                Event::FromClient(frame) => Box::pin(self.take(frame)).await,
                Event::ToClient(authorized, delivery) => self.deliver(authorized, delivery),
                Event::Time => Box::pin(self.wake()).await,
                Event::Revoked => self.check_end(),
                Event::Dismissed(how) => Err(End::Dismissed(how)),
                Event::Phase(phase) => {
                    self.drain(phase);
                    Ok(())
                }
            };
            if let Err(end) = self.send().await.and(outcome) {
                return end;
            }
            // Deliveries come first because they are most of the events; this check makes sure that a busy client
            // is heard too.
            if deliveries == DELIVERIES_IN_A_ROW
                && let Some(frame) = self.websocket.next().now_or_never()
            {
                deliveries = 0;
                let outcome = Box::pin(self.take(frame)).await;
                if let Err(end) = self.send().await.and(outcome) {
                    return end;
                }
            }
            deliveries %= DELIVERIES_IN_A_ROW;
            self.rearm(sleep.as_mut());
        }
    }

    fn rearm(&self, mut sleep: std::pin::Pin<&mut Sleep>) {
        let wakes_at = self.wakes_at();
        // A later deadline needs no change: the loop looks at it when the earlier one comes. So hearing from a client
        // costs no timer.
        if wakes_at < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(wakes_at);
        }
    }

    fn wakes_at(&self) -> Instant {
        let token = TokenEnd::of(self.dialect.sessions());
        let now = || self.app.now();
        let due = self.upkeep.wakes_at(self.ping_every(), token, now);
        let others = [self.dialect.next_deadline(), self.leaves_at];
        others.into_iter().flatten().fold(due, Instant::min)
    }

    /// How long the client may be silent until it is pinged.
    fn ping_every(&self) -> Duration {
        match D::PONGS_COUNT {
            true => PING_EVERY.min(self.app.config.timing.ttl() / 3),
            false => PING_EVERY,
        }
    }

    /// Puts everything that waits into one write.
    fn deliver(&mut self, authorized: usize, first: Delivery) -> Result<(), End> {
        let mut next = Some((authorized, first));
        let full = self.out.bytes() + BATCH_BYTES;
        while let Some((authorized, delivery)) = next {
            if let Delivery::Ended(ended) = delivery {
                return Err(End::Closed(Closing::of(ended, self.upkeep.jitter())));
            }
            self.dialect.deliver(authorized, delivery, &mut self.out);
            next = match self.out.bytes() < full {
                true => try_next_of(self.dialect.sessions_mut()),
                false => None,
            };
        }
        Ok(())
    }

    async fn take(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        let frame = match frame {
            Some(Ok(Message::Text(text))) => Frame::Text(text),
            Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
            Some(Ok(Message::Close(frame))) => {
                let goodbye = D::is_goodbye(frame.as_ref());
                return Err(End::TheirClose { goodbye });
            }
            Some(Ok(_)) => {
                self.upkeep.heard();
                if D::PONGS_COUNT {
                    self.app.metrics.heartbeat();
                    self.upkeep.tell_heard(self.dialect.sessions());
                }
                return Ok(());
            }
            None => return Err(End::Lost),
            Some(Err(error)) => return Err(end_of(&error)),
        };
        self.upkeep.heard();
        self.upkeep.tell_heard(self.dialect.sessions());
        self.app.metrics.frame_in(D::NAME);
        self.trail.frames_in += 1;
        self.trail.bytes_in += frame.len() as u64;
        let next = self.dialect.take(frame, &mut self.out).await;
        if self.dialect.sessions().len() != self.listed {
            self.listed = self.dialect.sessions().len();
            let sessions = self.dialect.sessions().iter();
            let listed = sessions.map(authorized::listed).collect();
            self.app.connection_list.update(self.trail.id, listed);
        }
        match next {
            Next::Continue => Ok(()),
            Next::Leave => Err(End::Left),
            Next::Close(closing) => Err(End::Closed(closing)),
        }
    }

    /// Checks what ends a connection whatever it is doing: its session, its token, a revocation, the gateway.
    fn check_end(&self) -> Result<(), End> {
        let sessions = self.dialect.sessions();
        self.upkeep.check_sessions(sessions)?;
        if self.leaves_at.is_some_and(|at| at <= Instant::now()) {
            return Err(End::Closed(Closing::restarting(self.upkeep.jitter())));
        }
        Upkeep::check_identities(sessions, self.app.now())
    }

    async fn wake(&mut self) -> Result<(), End> {
        self.check_end()?;
        let token = TokenEnd::of(self.dialect.sessions());
        if let Some(at) = self.upkeep.expiring(token, self.app.now()) {
            self.dialect.expiring(at, &mut self.out);
        }
        self.dialect.expire(Instant::now(), &mut self.out);
        match self.upkeep.silence(self.ping_every()) {
            Silence::Over => Err(End::Silent),
            Silence::Short => Ok(()),
            Silence::Ping => {
                let ping = self.websocket.send(Message::Ping(Bytes::new()));
                match timeout(WRITE_WAIT, ping).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(End::Lost),
                    Err(_) => Err(End::Closed(CloseReason::TooSlow.into())),
                }
            }
        }
    }

    fn drain(&mut self, phase: Phase) {
        if let Phase::Draining(time) = phase {
            let part = self.upkeep.jitter() % 1024;
            self.leaves_at = Some(Instant::now() + time * part / 1024);
        }
    }

    async fn send(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.app.metrics.frames_out(D::NAME, self.out.frames());
        self.trail.frames_out += self.out.frames() as u64;
        self.trail.bytes_out += self.out.bytes() as u64;
        loop {
            let sent = write_some(&mut self.websocket, &mut self.out);
            match timeout(WRITE_WAIT, sent).await {
                Ok(Ok(())) if self.out.is_empty() => break,
                Ok(Ok(())) => {
                    // The client is slow, but it reads. What ends a connection does not wait for it.
                    self.check_end()?;
                    self.upkeep.tell_heard(self.dialect.sessions());
                }
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) => return Err(End::Closed(CloseReason::TooSlow.into())),
            }
        }
        self.out.shrink();
        Ok(())
    }
}

/// Waits for the next delivery for any of the authorized sessions. Cancelling it loses nothing.
async fn next_of(sessions: &mut [Authorized]) -> (usize, Delivery) {
    match sessions {
        [] => pending().await,
        [only] => (0, only.next().await),
        many => {
            let all = many.iter_mut().map(|it| Box::pin(it.next()));
            let (delivery, authorized, _) = Box::pin(select_all(all)).await;
            (authorized, delivery)
        }
    }
}

/// The next delivery for any of the authorized sessions, if there is one already.
fn try_next_of(sessions: &mut [Authorized]) -> Option<(usize, Delivery)> {
    let mut sessions = sessions.iter_mut().enumerate();
    sessions.find_map(|(index, it)| Some((index, it.try_next()?)))
}

/// Writes as much of whole frames as there is room for, and removes it from `out`. It bypasses the WebSocket, which has
/// nothing half-written at that time, so it copies nothing of what thousands share. Dropping the future loses nothing.
async fn write_some<S>(websocket: &mut WebSocketStream<S>, out: &mut Out) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const AT_ONCE: usize = 64;
    websocket.flush().await.map_err(io::Error::other)?;
    let stream = websocket.get_mut();
    let written = poll_fn(|context| {
        let stream = Pin::new(&mut *stream);
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let count = out.slices(&mut slices);
        match &slices[..count] {
            [one] => stream.poll_write(context, one),
            many => stream.poll_write_vectored(context, many),
        }
    });
    let written = written.await?;
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    out.written(written);
    Ok(())
}

/// Why the loop ends after an error of the WebSocket.
fn end_of(error: &Error) -> End {
    let refused = |why: CloseReason| End::Closed(why.into());
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            refused(CloseReason::FrameTooLarge)
        }
        Error::Utf8(_) => refused(CloseReason::NotUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        Error::Protocol(_) => refused(CloseReason::NotWebSocket),
        _ => End::Lost,
    }
}

/// Sends the farewell, closes, and keeps reading for a while: the client's answer may sit behind frames it
/// had already sent.
async fn close<S>(mut websocket: WebSocketStream<S>, mut out: Out, farewell: Farewell)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: farewell.code.into(),
        reason: farewell.reason.into(),
    };
    let goodbye = async {
        while !out.is_empty() {
            write_some(&mut websocket, &mut out).await.ok()?;
        }
        websocket.close(Some(frame)).await.ok()?;
        linger(&mut websocket).await
    };
    let _ = timeout(CLOSE_WAIT, goodbye).await;
}

/// Answers the client's close with a close frame.
async fn answer_close<S>(mut websocket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = timeout(CLOSE_WAIT, linger(&mut websocket)).await;
}

/// Reads and drops everything until the end: if data is left unread, the network may throw away what we sent last.
async fn linger<S>(websocket: &mut WebSocketStream<S>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(_)) = websocket.next().await {}
    let stream = websocket.get_mut();
    stream.shutdown().await.ok()?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await.ok()? > 0 {}
    Some(())
}

/// Tells a connection that is not let in why, and closes it: a page cannot see why an upgrade was refused.
pub(crate) async fn turn_away<S>(websocket: WebSocketStream<S>, out: Out, farewell: Farewell)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    close(websocket, out, farewell).await;
}

#[cfg(test)]
pub(crate) mod far;
#[cfg(test)]
mod tests;
