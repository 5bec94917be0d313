//! The loop of one connection on any WebSocket: a stream and a sink of messages.
//!
//! A gateway has a loop of its own, which writes to its sockets directly. What happens as time passes is the same for
//! both, in [`Upkeep`].

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use presence_hub::Delivery;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::closing::{CloseReason, Closing, Farewell};
use crate::connection::{Hello, Native, Next, Payload};
use crate::end::End;
use crate::frame::{self, Frames, OpCode};
use crate::host::Host;
use crate::message::Message;
use crate::upkeep::{CLOSE_WAIT, PING_EVERY, Silence, TokenEnd, Upkeep, WRITE_WAIT};

/// About how many bytes are handed to the socket at once; the rest waits where it can still be conflated.
const BATCH_BYTES: usize = 64 * 1024;
/// A client that reads fewer bytes than this in a second is closed, after [`WRITE_WAIT`]. A sink does not tell how
/// much of a message has been written.
const READ_PER_SECOND_MIN: usize = 4 * 1024;
/// How often a connection that waits for its client to read is checked for what ends it.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The frames that wait to be sent.
#[derive(Debug, Default)]
struct Outbox {
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Frames for Outbox {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push(frame);
    }
}

/// What wakes the loop of a connection.
enum Event<M> {
    FromClient(Option<M>),
    ToClient(Delivery),
    Time,
}

/// A connection that was let in.
struct Connection<'s, H, S> {
    host: Arc<H>,
    socket: Pin<&'s mut S>,
    native: Native<H>,
    outbox: Outbox,
    upkeep: Upkeep,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<H, S, M, E>(host: Arc<H>, hello: Hello, socket: S)
where
    H: Host,
    S: Stream<Item = Result<M, E>> + Sink<M>,
    M: Into<Message> + From<Message>,
{
    let mut socket = pin!(socket);
    let mut outbox = Outbox::default();
    let native = match Native::enter(host.clone(), hello, None, &mut outbox).await {
        Ok(native) => native,
        Err(farewell) => return close(socket, outbox, farewell).await,
    };
    let mut connection = Connection {
        host,
        socket: socket.as_mut(),
        native,
        outbox,
        upkeep: Upkeep::begin(),
    };
    let end = match connection.send().await {
        Ok(()) => connection.talk().await,
        Err(end) => end,
    };
    let Connection {
        mut native,
        mut outbox,
        ..
    } = connection;
    let farewell = end.closing().map(|closing| {
        outbox = Outbox::default();
        native.farewell(&closing, &mut outbox)
    });
    end.settle(native.into_authorized()).await;
    match (farewell, end) {
        (Some(farewell), _) => close(socket, outbox, farewell).await,
        (None, End::TheirClose { .. }) => linger(socket).await,
        (None, _) => {}
    }
}

impl<H, S, M, E> Connection<'_, H, S>
where
    H: Host,
    S: Stream<Item = Result<M, E>> + Sink<M>,
    M: Into<Message> + From<Message>,
{
    async fn talk(&mut self) -> End {
        let mut sleep = pin!(sleep_until(self.wakes_at()));
        loop {
            let event = tokio::select! {
                delivery = self.native.authorized_mut().next() => Event::ToClient(delivery),
                message = self.socket.next() => Event::FromClient(message.and_then(Result::ok)),
                () = &mut sleep => Event::Time,
            };
            let outcome = match event {
                Event::FromClient(None) => Err(End::Lost),
                Event::FromClient(Some(message)) => self.take(message.into()).await,
                Event::ToClient(delivery) => self.deliver(delivery),
                Event::Time => self.wake().await,
            };
            if let Err(end) = self.send().await.and(outcome) {
                return end;
            }
            self.rearm(sleep.as_mut());
        }
    }

    /// A later deadline needs no change: the loop looks at it when the earlier one comes.
    fn rearm(&self, sleep: Pin<&mut Sleep>) {
        let wakes_at = self.wakes_at();
        if wakes_at < sleep.deadline() || sleep.is_elapsed() {
            sleep.reset(wakes_at);
        }
    }

    fn wakes_at(&self) -> Instant {
        let sessions = std::slice::from_ref(self.native.authorized());
        let token = TokenEnd::of(sessions);
        self.upkeep.wakes_at(PING_EVERY, token, || self.host.now())
    }

    fn check_end(&self) -> Result<(), End> {
        let sessions = std::slice::from_ref(self.native.authorized());
        self.upkeep.check_sessions(sessions)?;
        Upkeep::check_identities(sessions, self.host.now())
    }

    fn tell_heard(&mut self) {
        let sessions = std::slice::from_ref(self.native.authorized());
        self.upkeep.tell_heard(sessions);
    }

    /// Puts everything that waits into one batch.
    fn deliver(&mut self, first: Delivery) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(delivery) = next {
            if let Delivery::Ended(ended) = delivery {
                return Err(End::Closed(Closing::of(ended, self.upkeep.jitter())));
            }
            self.native.deliver(delivery, &mut self.outbox);
            next = match self.outbox.bytes < BATCH_BYTES {
                true => self.native.authorized_mut().try_next(),
                false => None,
            };
        }
        Ok(())
    }

    async fn take(&mut self, message: Message) -> Result<(), End> {
        self.upkeep.heard();
        let (payload, is_text) = match message {
            Message::Text(bytes) => (bytes, true),
            Message::Binary(bytes) => (bytes, false),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(close) => {
                let goodbye = Message::is_goodbye(close.as_ref());
                return Err(End::TheirClose { goodbye });
            }
        };
        self.tell_heard();
        if payload.len() > self.host.frame_bytes_max() {
            return Err(End::Closed(CloseReason::FrameTooLarge.into()));
        }
        let payload = match (is_text, std::str::from_utf8(&payload)) {
            (true, Ok(text)) => Payload::Text(text),
            (true, Err(_)) => return Err(End::Closed(CloseReason::NotUtf8.into())),
            (false, _) => Payload::Binary(&payload),
        };
        match self.native.take(payload, &mut self.outbox).await {
            Next::Continue => Ok(()),
            Next::Leave => Err(End::Left),
            Next::Close(closing) => Err(End::Closed(closing)),
        }
    }

    async fn wake(&mut self) -> Result<(), End> {
        self.check_end()?;
        let sessions = std::slice::from_ref(self.native.authorized());
        let token = TokenEnd::of(sessions);
        if let Some(at) = self.upkeep.expiring(token, self.host.now()) {
            self.native.expiring(at, &mut self.outbox);
        }
        match self.upkeep.silence(PING_EVERY) {
            Silence::Over => Err(End::Silent),
            Silence::Short => Ok(()),
            Silence::Ping => {
                let ping = self.socket.send(Message::Ping(Bytes::new()).into());
                match timeout(WRITE_WAIT, ping).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(End::Lost),
                    Err(_) => Err(End::Closed(CloseReason::TooSlow.into())),
                }
            }
        }
    }

    /// Sends everything that waits. Meanwhile it checks for everything that ends a connection, so that a client that
    /// does not read cannot delay that.
    async fn send(&mut self) -> Result<(), End> {
        let Outbox { frames, bytes } = std::mem::take(&mut self.outbox);
        if frames.is_empty() {
            return Ok(());
        }
        let longest = Duration::from_secs((bytes / READ_PER_SECOND_MIN) as u64);
        let until = Instant::now() + WRITE_WAIT + longest;
        let mut socket = self.socket.as_mut();
        let mut sent = pin!(send_all(&mut socket, frames));
        loop {
            match timeout(CHECK_EVERY, &mut sent).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) if Instant::now() >= until => {
                    return Err(End::Closed(CloseReason::TooSlow.into()));
                }
                Err(_) => {
                    let sessions = std::slice::from_ref(self.native.authorized());
                    self.upkeep.check_sessions(sessions)?;
                    Upkeep::check_identities(sessions, self.host.now())?;
                    self.upkeep.tell_heard(sessions);
                }
            }
        }
    }
}

async fn send_all<S, M>(socket: &mut Pin<&mut S>, frames: Vec<Bytes>) -> Result<(), S::Error>
where
    S: Sink<M>,
    M: From<Message>,
{
    for whole in frames {
        let message = match frame::parts(&whole) {
            (OpCode::Text, payload) => Message::Text(payload),
            (OpCode::Binary, payload) => Message::Binary(payload),
        };
        socket.feed(message.into()).await?;
    }
    socket.flush().await
}

/// Sends the farewell, closes, and keeps reading for a while: the client's answer may sit behind messages that it had
/// already sent.
async fn close<S, M, E>(mut socket: Pin<&mut S>, outbox: Outbox, farewell: Farewell)
where
    S: Stream<Item = Result<M, E>> + Sink<M>,
    M: From<Message>,
{
    let goodbye = async {
        send_all(&mut socket, outbox.frames).await.ok()?;
        let frame = (farewell.code, farewell.reason.to_owned());
        let close = Message::Close(Some(frame));
        socket.send(close.into()).await.ok()?;
        read_to_end(&mut socket).await;
        Some(())
    };
    let _ = timeout(CLOSE_WAIT, goodbye).await;
}

/// Lets the library answer the client's close.
async fn linger<S, M, E>(mut socket: Pin<&mut S>)
where
    S: Stream<Item = Result<M, E>>,
{
    let _ = timeout(CLOSE_WAIT, read_to_end(&mut socket)).await;
}

async fn read_to_end<S, M, E>(socket: &mut Pin<&mut S>)
where
    S: Stream<Item = Result<M, E>>,
{
    while let Some(Ok(_)) = socket.next().await {}
}
