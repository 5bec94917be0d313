//! A connection to a gateway over the native protocol.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::security::{Security, Socket};
use crate::wire::event::{self, Hello};
use crate::wire::{Command, DecodeError, DecodeErrorKind, Event, Ref, command};
use crate::{ConnectError, Ending, Options, Protocol, RequestError};

/// One connection to a gateway: it sends commands and receives events. [`Presence`](crate::Presence) is the client
/// that stays connected.
///
/// It does nothing by itself. The caller calls [`next`](Client::next) to receive events, and sends a
/// [`heartbeat`](Client::heartbeat) every [`Hello::heartbeat_interval`] milliseconds to stay connected.
///
/// ```no_run
/// use presence_client::wire::{Event, TopicId, command};
/// use presence_client::{Client, Options, Picture};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect(&Options::user("ws://127.0.0.1:4001/ws", "ann")).await?;
/// let join = command::Join {
///     ref_: None,
///     channel: "room:42".into(),
///     meta: None,
///     watch: None,
///     mode: None,
///     have: None,
/// };
/// client.request(join.into()).await?;
///
/// let mut room = Picture::of(TopicId::Channel("room:42".into()));
/// while let Some(event) = client.next().await {
///     for difference in room.apply(&event)? {
///         println!("{difference:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Client {
    socket: Socket,
    protocol: Protocol,
    /// `Some` once [`connect`](Client::connect) has returned the client.
    hello: Option<Hello>,
    restored: bool,
    /// Events that arrived while a request waited for its answer, not yet handed out.
    heard: VecDeque<Event>,
    next_ref: u64,
    ending: Option<Ending>,
    refusal: Refusal,
}

/// What the gateway says of a connection that it does not let in.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    /// What is wrong, in detail.
    pub(crate) complaint: Option<event::Error>,
    /// Whether and when to come back.
    pub(crate) closing: Option<event::Closing>,
}

/// An event as it arrived, not yet decoded.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The JSON text of an event.
    Text(Utf8Bytes),
    /// A binary event: postcard, with its version byte.
    Binary(Bytes),
}

impl Frame {
    /// The payload of the frame, without the WebSocket header.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Frame::Text(text) => text.as_bytes(),
            Frame::Binary(bytes) => bytes,
        }
    }

    /// Decodes the event in the frame.
    ///
    /// # Errors
    ///
    /// Says why the frame is not an event.
    pub fn decode(&self) -> Result<Event, DecodeError> {
        match self {
            Frame::Text(text) => Event::from_json(text),
            Frame::Binary(bytes) => Event::from_postcard(bytes),
        }
    }
}

impl Client {
    /// Connects, and waits for the hello of the gateway.
    ///
    /// # Errors
    ///
    /// Says why the client could not connect.
    pub async fn connect(options: &Options) -> Result<Client, ConnectError> {
        Client::open(options).await.map_err(|(why, _)| why)
    }

    /// Connects, and waits for hello. With the error comes what the gateway said before the end.
    pub(crate) async fn open(options: &Options) -> Result<Client, (ConnectError, Refusal)> {
        let unsaid = |why| (why, Refusal::default());
        let mut client = Client::upgrade(options).await.map_err(unsaid)?;
        loop {
            match client.read().await {
                Some(Event::Hello(hello)) => client.hello = Some(hello),
                Some(Event::Restored(hello)) => {
                    (client.hello, client.restored) = (Some(hello), true);
                }
                // Either may come instead of a hello, and the end follows.
                Some(Event::Closing(it)) => {
                    client.refusal.closing = Some(it);
                    continue;
                }
                Some(Event::Error(it)) => {
                    client.refusal.complaint = Some(it);
                    continue;
                }
                Some(_) => continue,
                None => return Err((ConnectError::Ended(client.take_ending()), client.refusal)),
            }
            return Ok(client);
        }
    }

    /// Opens the WebSocket, over TLS for `wss://`.
    async fn upgrade(options: &Options) -> Result<Client, ConnectError> {
        let request = options.request()?;
        let address = options.address()?;
        let security = Security::of(options)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let opened = security.open(request, stream, options.socket()).await;
        let socket = opened.map_err(|it| match it {
            tungstenite::Error::Http(response) => ConnectError::Refused(response.status().as_u16()),
            it => ConnectError::Handshake(Box::new(it)),
        })?;
        Ok(Client {
            socket,
            protocol: options.protocol,
            hello: None,
            restored: false,
            heard: VecDeque::new(),
            next_ref: 1,
            ending: None,
            refusal: Refusal::default(),
        })
    }

    /// The first event of this connection, from the gateway.
    pub fn hello(&self) -> &Hello {
        self.hello.as_ref().expect("`connect` waits for it")
    }

    /// Whether the gateway accepted the resume token, so that the earlier session continues.
    pub fn restored(&self) -> bool {
        self.restored
    }

    /// How the connection ended; `None` until [`next`](Client::next) has returned `None`.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Sends `command` and does not wait for an answer.
    ///
    /// # Errors
    ///
    /// Fails if the connection is broken; [`next`](Client::next) still returns the events that came before that.
    pub async fn send(&mut self, command: &Command) -> Result<(), tungstenite::Error> {
        self.socket.send(self.encode(command)).await
    }

    /// The message that says `command` in the encoding of this connection.
    pub(crate) fn encode(&self, command: &Command) -> Message {
        match self.protocol {
            Protocol::Json => Message::text(command.to_json()),
            Protocol::Binary => Message::binary(command.to_postcard()),
        }
    }

    /// Sends a message that [`encode`](Self::encode) has made.
    pub(crate) async fn send_message(
        &mut self,
        message: Message,
    ) -> Result<(), tungstenite::Error> {
        self.socket.send(message).await
    }

    /// Sends a heartbeat, which says that the client is still there.
    ///
    /// # Errors
    ///
    /// Fails if the connection is broken.
    pub async fn heartbeat(&mut self) -> Result<(), tungstenite::Error> {
        let heartbeat = command::Heartbeat { ref_: None };
        self.send(&Command::Heartbeat(heartbeat)).await
    }

    /// Returns the next event, or `None` when the connection has ended. Dropping the future loses nothing.
    ///
    /// Events of a type that this client does not know are skipped.
    pub async fn next(&mut self) -> Option<Event> {
        match self.heard.pop_front() {
            Some(event) => Some(event),
            None => self.read().await,
        }
    }

    /// Returns the next frame as it arrived, or `None` when the connection has ended. Dropping the
    /// future loses nothing.
    ///
    /// Events that arrived during a [`request`](Client::request) are returned by [`next`](Client::next) only.
    pub async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let ending = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(Frame::Text(text)),
                Some(Ok(Message::Binary(bytes))) => return Some(Frame::Binary(bytes)),
                Some(Ok(Message::Close(frame))) => Ending::closed(frame),
                Some(Ok(_)) => continue,
                Some(Err(it)) => Ending::Lost(it.to_string()),
                None => Ending::Lost("no more".to_owned()),
            };
            // After a close the socket reports its end once more; the first report counts.
            self.ending.get_or_insert(ending);
            if !matches!(self.ending, Some(Ending::Closed { .. })) {
                return None;
            }
            // Answers the close, and waits for the gateway to hang up.
            while let Some(Ok(_)) = self.socket.next().await {}
            return None;
        }
    }

    /// Sends `command` and waits for its answer: an `ok` or a `pong`. Other events that arrive meanwhile are kept for
    /// [`next`](Client::next), in order.
    ///
    /// # Errors
    ///
    /// Fails if the gateway refuses the command, or if the connection ends.
    pub async fn request(&mut self, mut command: Command) -> Result<Event, RequestError> {
        let ref_ = Ref::from(self.next_ref);
        self.next_ref += 1;
        command.set_ref(Some(ref_.clone()));
        if let Err(it) = self.send(&command).await {
            self.ending.get_or_insert(Ending::Lost(it.to_string()));
            return Err(RequestError::Ended(self.take_ending()));
        }
        let ref_ = Some(ref_);
        while let Some(event) = self.read().await {
            match event {
                Event::Ok(ref it) if it.ref_ == ref_ => return Ok(event),
                Event::Pong(ref it) if it.ref_ == ref_ => return Ok(event),
                Event::Error(it) if it.ref_ == ref_ => return Err(RequestError::Refused(it)),
                event => self.heard.push_back(event),
            }
        }
        Err(RequestError::Ended(self.take_ending()))
    }

    /// Closes the connection with code 1000, which ends the session at once. [`abort`](Self::abort) leaves it for the grace time.
    pub async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::from_static(""),
        };
        // A connection that cannot be closed is closed.
        let _ = self.socket.close(Some(frame)).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Drops the connection without closing it, as a network failure does.
    pub fn abort(self) {}

    async fn read(&mut self) -> Option<Event> {
        loop {
            match self.next_frame().await?.decode() {
                Ok(event) => return Some(event),
                Err(it) if it.kind == DecodeErrorKind::Unknown => {}
                Err(it) => {
                    self.ending.get_or_insert(Ending::Garbled(it));
                    return None;
                }
            }
        }
    }

    fn take_ending(&mut self) -> Ending {
        let ending = self.ending.clone();
        ending.unwrap_or_else(|| Ending::Lost("the connection".to_owned()))
    }
}
