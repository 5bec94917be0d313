//! One WebSocket, from its first frame to its last: both halves in one loop.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, SinkExt, StreamExt};
use presence_client::wire::{Command, ErrorCode};
use presence_core::{Reason, Timestamp};
use presence_hub::{Delivery, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::app::{App, Counted, Phase};
use crate::closing::Closing;
use crate::native::{Encoding, Native, Next, closing_of};
use crate::request::Refused;

/// A connection that said nothing for so long is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(25);
/// And has so long to answer.
const PONG_WAIT: Duration = Duration::from_secs(8);
/// A client that reads nothing for so long is closed.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// A client that has been told to close may take so long.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// What goes out in one write, about; the rest waits where it can still be conflated.
const BATCH_BYTES: usize = 64 * 1024;
/// Deliveries after which it is looked whether the client has said something.
const DELIVERIES_IN_A_ROW: u32 = 16;
/// Room for frames that an idle connection keeps.
const OUT_KEPT: usize = 4;
/// How long before its end a token is asked to be refreshed, at most.
const EXPIRING_BEFORE: Duration = Duration::from_secs(60);

/// WebSocket buffers: small, because there is one of each per connection, and bounded.
pub(crate) fn websocket_config(frame_bytes_max: usize) -> WebSocketConfig {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = 1024;
    config.write_buffer_size = 1024;
    config.max_write_buffer_size = 64 * 1024;
    config.max_message_size = Some(frame_bytes_max);
    config.max_frame_size = Some(frame_bytes_max);
    config
}

/// What wakes a connection.
enum Event {
    FromClient(Option<Result<Message, Error>>),
    ToClient(Delivery),
    Time,
    Phase(Phase),
}

/// Why a connection's loop ended.
enum End {
    /// The client said goodbye.
    Left,
    /// The client closed it, with a goodbye or without: a reload looks like that.
    TheirClose { goodbye: bool },
    /// The connection broke.
    Lost,
    /// Nothing was heard.
    Silent,
    /// We close it.
    Closed(Closing),
}

/// A connection that was let in.
pub(crate) struct Socket<S> {
    app: Arc<App>,
    websocket: WebSocketStream<S>,
    session: Session,
    native: Native,
    out: Vec<Bytes>,
    heard_at: Instant,
    /// When the hub was last told that something was heard.
    told_at: Instant,
    pinged: bool,
    /// The end of the token that the client has been told of.
    expiring_told: Option<Timestamp>,
    /// When it goes, once the gateway drains.
    leaves_at: Option<Instant>,
    _counted: Counted,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) fn new(
        app: Arc<App>,
        websocket: WebSocketStream<S>,
        session: Session,
        native: Native,
    ) -> Self {
        let now = Instant::now();
        Socket {
            _counted: app.connections.go_on(),
            app,
            websocket,
            session,
            native,
            out: Vec::new(),
            heard_at: now,
            told_at: now,
            pinged: false,
            expiring_told: None,
            leaves_at: None,
        }
    }

    /// Runs until the connection is over, and sees to it that everybody knows.
    ///
    /// What is rare is boxed, here and below: the size of this future is what an idle connection costs.
    pub(crate) async fn run(mut self: Box<Self>, hello: Bytes) {
        self.out.push(hello);
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
            session,
            native,
            mut out,
            ..
        } = *self;
        let closing = match &end {
            End::Lost | End::TheirClose { .. } => None,
            End::Left => Some(Closing::BYE),
            End::Silent => Some(Closing::TIMED_OUT),
            End::Closed(closing) => Some(*closing),
        };
        app.metrics.closed(closing.map(|it| it.code));
        match end {
            End::Left | End::TheirClose { goodbye: true } => session.leave().await,
            End::Silent => session.vanish(Reason::TimedOut).await,
            End::Lost | End::TheirClose { goodbye: false } | End::Closed(_) => {
                session.vanish(Reason::Lost).await;
            }
        }
        match (closing, end) {
            (Some(closing), _) => {
                // What was begun has to be ended before anything else can be said.
                out.truncate(1);
                out.push(native.encoding.closing(&closing));
                close(websocket, out, closing).await;
            }
            (None, End::TheirClose { .. }) => answer_close(websocket).await,
            (None, _) => {}
        }
    }

    async fn talk(&mut self) -> End {
        let mut phase = self.app.phase.subscribe();
        // Once is enough to wait for it: a gateway that drains does not open again.
        let draining = phase.wait_for(|it| *it != Phase::Open);
        tokio::pin!(draining);
        let sleep = sleep_until(self.wakes_at());
        tokio::pin!(sleep);
        let mut deliveries = 0;
        loop {
            let event = tokio::select! {
                biased;
                delivery = self.session.next() => Event::ToClient(delivery),
                frame = self.websocket.next() => Event::FromClient(frame),
                () = &mut sleep => Event::Time,
                phase = &mut draining, if self.leaves_at.is_none() => match phase {
                    Ok(phase) => Event::Phase(*phase),
                    Err(_) => return End::Closed(self.restarting()),
                },
            };
            deliveries = match event {
                Event::ToClient(_) => deliveries + 1,
                _ => 0,
            };
            let outcome = match event {
                Event::FromClient(frame) => Box::pin(self.take(frame)).await,
                Event::ToClient(delivery) => self.deliver(delivery),
                Event::Time => Box::pin(self.wake()).await,
                Event::Phase(phase) => {
                    self.drain(phase);
                    Ok(())
                }
            };
            if let Err(end) = self.send().await.and(outcome) {
                return end;
            }
            // Deliveries come first, because most of what happens is one; who is told all the time is heard all the same.
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
        // A later time is looked at when the earlier one comes: hearing something costs no timer.
        if wakes_at < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(wakes_at);
        }
    }

    fn wakes_at(&self) -> Instant {
        let silence = match self.pinged {
            false => PING_EVERY,
            true => PING_EVERY + PONG_WAIT,
        };
        let token = self.token_time().map(|left| Instant::now() + left);
        [Some(self.heard_at + silence), token, self.leaves_at]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.heard_at + silence)
    }

    /// How long until something is to be said about the token.
    fn token_time(&self) -> Option<Duration> {
        let ends_at = self.token_ends_at()?;
        let left = ends_at.since(self.app.now());
        Some(
            match self.expiring_told == self.native.identity.expires_at {
                true => left,
                false => left.saturating_sub(self.expiring_before()),
            },
        )
    }

    fn token_ends_at(&self) -> Option<Timestamp> {
        let expires_at = self.native.identity.expires_at?;
        Some(expires_at + self.app.config.jwt.leeway)
    }

    /// Five thousand tokens that end in one second are not all refreshed in one.
    fn expiring_before(&self) -> Duration {
        let part = (self.session.connection().session.as_u128() % 1000) as u32;
        EXPIRING_BEFORE / 2 + EXPIRING_BEFORE / 2 * part / 1000
    }

    /// Everything that is there goes out in one write.
    fn deliver(&mut self, first: Delivery) -> Result<(), End> {
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(delivery) = next {
            if let Delivery::Ended(ended) = delivery {
                return Err(End::Closed(closing_of(ended)));
            }
            if let Some(frame) = self.native.frame_of(&delivery) {
                bytes += frame.len();
                self.out.push(frame);
            }
            next = match bytes < BATCH_BYTES {
                true => self.session.try_next(),
                false => None,
            };
        }
        Ok(())
    }

    async fn take(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        let command = match frame {
            Some(Ok(Message::Text(text))) if self.native.encoding == Encoding::Json => {
                Command::from_json(text.as_str())
            }
            Some(Ok(Message::Binary(bytes))) if self.native.encoding == Encoding::Postcard => {
                Command::from_postcard(&bytes)
            }
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                return Err(End::Closed(Closing::WRONG_TYPE));
            }
            Some(Ok(Message::Close(frame))) => {
                let goodbye = frame.is_some_and(|it| it.code == CloseCode::Normal);
                return Err(End::TheirClose { goodbye });
            }
            Some(Ok(_)) => {
                self.heard();
                return Ok(());
            }
            None => return Err(End::Lost),
            Some(Err(error)) => return Err(end_of(&error)),
        };
        self.heard();
        self.tell_heard();
        self.app.metrics.frame_in();
        let next = self.native.take(command, &mut self.session, &mut self.out);
        match next.await {
            Next::Continue => Ok(()),
            Next::Leave => Err(End::Left),
            Next::Close(closing) => Err(End::Closed(closing)),
        }
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.pinged = false;
    }

    /// Tells the hub now and then.
    fn tell_heard(&mut self) {
        if self.told_at.elapsed() >= self.app.config.timing.heartbeat() / 2
            && self.session.heard().is_ok()
        {
            self.told_at = Instant::now();
        }
    }

    /// What ends a connection whatever it is doing: its session, its token, the gateway.
    fn check_end(&self) -> Result<(), End> {
        if let Some(ended) = self.session.ended() {
            return Err(End::Closed(closing_of(ended)));
        }
        if self.leaves_at.is_some_and(|at| at <= Instant::now()) {
            return Err(End::Closed(self.restarting()));
        }
        let ends_at = self.token_ends_at();
        if ends_at.is_some_and(|at| at <= self.app.now()) {
            return Err(End::Closed(Closing::EXPIRED));
        }
        Ok(())
    }

    async fn wake(&mut self) -> Result<(), End> {
        self.check_end()?;
        if let Some(ends_at) = self.token_ends_at() {
            let left = ends_at.since(self.app.now());
            let expires_at = self.native.identity.expires_at;
            if left <= self.expiring_before() && self.expiring_told != expires_at {
                self.expiring_told = expires_at;
                self.out
                    .extend(expires_at.map(|at| self.native.expiring(at)));
            }
        }
        let silent = self.heard_at.elapsed();
        if silent >= PING_EVERY + PONG_WAIT {
            return Err(End::Silent);
        }
        if silent >= PING_EVERY && !self.pinged {
            self.pinged = true;
            let ping = self.websocket.send(Message::Ping(Bytes::new()));
            match timeout(WRITE_WAIT, ping).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) => return Err(End::Closed(Closing::TOO_SLOW)),
            }
        }
        Ok(())
    }

    fn drain(&mut self, phase: Phase) {
        if let Phase::Draining(time) = phase {
            let part = (self.session.connection().session.as_u128() % 1024) as u32;
            self.leaves_at = Some(Instant::now() + time * part / 1024);
        }
    }

    fn restarting(&self) -> Closing {
        // The others are asked to come back later still, so that whoever starts next is not overrun.
        let part = (self.session.connection().session.as_u128() % 2000) as u64;
        Closing::RESTARTING.after(Duration::from_millis(200 + part))
    }

    async fn send(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.app.metrics.frames_out(self.out.len());
        loop {
            let sent = write_some(&mut self.websocket, &mut self.out);
            match timeout(WRITE_WAIT, sent).await {
                Ok(Ok(())) if self.out.is_empty() => break,
                Ok(Ok(())) => {
                    // Slow, but it reads. What ends a connection does not wait for that.
                    self.check_end()?;
                    self.tell_heard();
                }
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) => return Err(End::Closed(Closing::TOO_SLOW)),
            }
        }
        if self.out.capacity() > OUT_KEPT {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// Writes as much of whole frames as there is room for, and takes it out. It goes past the WebSocket, which has nothing
/// half-written then: no copy of what thousands share. Dropping the future loses nothing.
async fn write_some<S>(
    websocket: &mut WebSocketStream<S>,
    frames: &mut Vec<Bytes>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const AT_ONCE: usize = 64;
    websocket.flush().await.map_err(io::Error::other)?;
    let stream = websocket.get_mut();
    let written = poll_fn(|context| {
        let stream = Pin::new(&mut *stream);
        if let [frame] = &frames[..] {
            return stream.poll_write(context, frame);
        }
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let count = frames.len().min(AT_ONCE);
        for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
            *slice = IoSlice::new(frame);
        }
        stream.poll_write_vectored(context, &slices[..count])
    });
    let mut written = written.await?;
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    for frame in frames.iter_mut() {
        let step = written.min(frame.len());
        frame.advance(step);
        written -= step;
    }
    let whole = frames.iter().take_while(|it| it.is_empty()).count();
    frames.drain(..whole);
    Ok(())
}

/// What an error of the WebSocket means.
fn end_of(error: &Error) -> End {
    let refused = |code, reason| {
        End::Closed(Closing {
            code,
            reason,
            ..Closing::MALFORMED
        })
    };
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => refused(1009, "frame too large"),
        Error::Utf8(_) => refused(1007, "not utf-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        Error::Protocol(_) => refused(1002, "not websocket as it should be"),
        _ => End::Lost,
    }
}

/// Says why, closes, and keeps reading for a while: the client's answer may sit behind frames it had already sent.
async fn close<S>(mut websocket: WebSocketStream<S>, mut farewell: Vec<Bytes>, closing: Closing)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: closing.code.into(),
        reason: closing.reason.into(),
    };
    let goodbye = async {
        while !farewell.is_empty() {
            write_some(&mut websocket, &mut farewell).await.ok()?;
        }
        websocket.close(Some(frame)).await.ok()?;
        linger(&mut websocket).await
    };
    let _ = timeout(CLOSE_WAIT, goodbye).await;
}

/// Answers the client's close, with nothing but a close.
async fn answer_close<S>(mut websocket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = timeout(CLOSE_WAIT, linger(&mut websocket)).await;
}

/// Reads to the end, whatever it is: for what is left unread the network may throw away what we said last.
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
pub(crate) async fn turn_away<S>(websocket: WebSocketStream<S>, encoding: Encoding, why: Refused)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = closing_at_the_door(&why);
    let farewell = encoding.closing(&closing);
    let error = encoding.error(why, None);
    close(websocket, vec![error, farewell], closing).await;
}

/// How a refusal at the door is closed.
fn closing_at_the_door(why: &Refused) -> Closing {
    match why.code {
        ErrorCode::Unauthorized => Closing::UNAUTHORIZED,
        ErrorCode::Unavailable | ErrorCode::Overloaded | ErrorCode::TooMany => {
            Closing::FULL.after(Duration::from_secs(2))
        }
        _ => Closing::FORBIDDEN,
    }
}

#[cfg(test)]
mod tests;
