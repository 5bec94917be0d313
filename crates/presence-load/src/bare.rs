//! The ceiling: a server that accepts WebSockets and then writes prepared frames, and does nothing else.
//!
//! It sends hello and shows an empty room, so that the same clients measure it. It does not read what they send.

use std::io::{BufRead, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use presence_client::wire::event::{CurrentUsers, Hello, Limits, Meta, User, UserChanged};
use presence_client::wire::{DeviceKind, Epoch, Event, Mode, Session, TopicId, Visible};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::args::Args;
use crate::endpoint::Dialect;
use crate::machine::Process;
use crate::schedule::{Mark, Schedule};

/// The channel that its frames are about.
pub(crate) const CHANNEL: &str = "bare";

/// A bare server in a process of its own. Dropping it ends the process.
pub(crate) struct BareServer {
    child: Child,
    start: Option<ChildStdin>,
    pub(crate) url: String,
}

impl BareServer {
    /// Starts a bare server that will write `frames` frames of `bytes` bytes to each of the clients of `args`, to one
    /// room after the other.
    pub(crate) fn start(args: &Args, frames: u64, bytes: f64) -> Result<Self> {
        let dialect = match args.protocol.bare() {
            Dialect::Binary => "binary",
            _ => "json",
        };
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare-server")
            .args(["--clients", &args.clients.to_string()])
            .args(["--rooms", &args.rooms().to_string()])
            .args(["--seconds", &args.seconds.to_string()])
            .args(["--frames", &frames.to_string()])
            .args(["--bytes", &format!("{bytes:.0}")])
            .args(["--protocol", dialect])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare server")?;
        let start = child.stdin.take();
        let stdout = child.stdout.take().context("its stdout is piped")?;
        let mut server = BareServer {
            child,
            start,
            url: String::new(),
        };
        let mut line = String::new();
        std::io::BufReader::new(stdout).read_line(&mut line)?;
        server.url = line.trim().to_owned();
        Ok(server)
    }

    pub(crate) fn process(&self) -> Process {
        Process::with_id(self.child.id())
    }

    /// Tells the server that the clients have started.
    pub(crate) fn go(&mut self) -> Result<()> {
        let stdin = self.start.as_mut().context("its stdin is piped")?;
        stdin.write_all(b"go\n").context("the bare server is gone")
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the bare server in this process.
pub(crate) async fn serve(args: &Args) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}/ws", listener.local_addr()?);
    let rooms = args.rooms();
    let schedule = Schedule::even(args.frames * rooms, args.seconds);
    let mut sockets = accept(&listener, args).await?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;

    let start = Instant::now();
    for (turn, after) in schedule.of(0).iter().enumerate() {
        let (change, room) = (turn / rooms, turn % rooms);
        let frame = frame(args.protocol, &padded(args.protocol, change, args.bytes));
        sleep_until(start + *after).await;
        for socket in sockets.iter_mut().skip(room).step_by(rooms) {
            // Almost always it is written at once, and nothing is left to wait for.
            let written = socket.try_write(&frame).unwrap_or(0);
            let rest = &frame[written..];
            if !rest.is_empty() && socket.write_all(rest).await.is_err() {
                return Ok(()); // They are gone, so it is over.
            }
        }
    }
    // The process that started us ends us when everything has been read.
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

/// Accepts all clients: handshake, hello, an empty room.
async fn accept(listener: &TcpListener, args: &Args) -> Result<Vec<TcpStream>> {
    let (ready, mut readied) = mpsc::channel(64);
    let welcome: Vec<u8> = [hello(), empty_room()]
        .iter()
        .flat_map(|it| frame(args.protocol, it))
        .collect();
    let mut sockets = Vec::new();
    for _ in 0..args.clients {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (ready, welcome) = (ready.clone(), welcome.clone());
        tokio::spawn(async move {
            let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose)
                .await?
                .into_inner();
            socket.write_all(&welcome).await?;
            ready.send(socket).await.context("nobody waits")
        });
        while let Ok(socket) = readied.try_recv() {
            sockets.push(socket);
        }
    }
    while sockets.len() < args.clients {
        sockets.push(readied.recv().await.context("a client is gone")?);
    }
    Ok(sockets)
}

/// Accepts the first subprotocol that the client offers.
#[allow(clippy::result_large_err)] // The shape is tungstenite's.
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
    if let Some(offered) = offered {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, offered.clone());
    }
    Ok(response)
}

/// Encodes `event` as a WebSocket frame.
fn frame(protocol: Dialect, event: &Event) -> Vec<u8> {
    let (opcode, payload) = match protocol {
        Dialect::Binary => (0x82, event.to_postcard()),
        _ => (0x81, event.to_json().into_bytes()),
    };
    let mut out = vec![opcode];
    match payload.len() {
        length @ 0..126 => out.push(length as u8),
        length @ 126..65536 => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// The event of change number `change`, padded to `bytes`.
fn padded(protocol: Dialect, change: usize, bytes: usize) -> Event {
    let event = |name: &str| {
        let mark = Mark { member: 0, change };
        let user = User {
            id: "bare".into(),
            status: Visible::Online,
            custom_message: None,
            emoji: None,
            name: Some(name.into()),
            avatar: None,
            color: None,
            joined_at: 0,
            metas: vec![Meta {
                session: Session(1),
                device: DeviceKind::Other,
                joined_at: 0,
                meta: mark.meta(),
            }],
        };
        let place = TopicId::Channel(CHANNEL.into());
        let version = change as u64 + 1;
        let changed = UserChanged {
            place,
            epoch: Epoch(1),
            version,
            user,
        };
        match change {
            0 => Event::UserJoined(changed),
            _ => Event::UserUpdated(changed),
        }
    };
    let least = match protocol {
        Dialect::Binary => event("").to_postcard().len(),
        _ => event("").to_json().len(),
    };
    event(&"x".repeat(bytes.saturating_sub(least)))
}

fn hello() -> Event {
    Event::Hello(Hello {
        session: Session(1),
        resume: "".into(),
        user_id: "bare".into(),
        device_id: "other:bare".into(),
        workspaces: Vec::new(),
        now: 0,
        // It does not read, so clients must not send heartbeats.
        heartbeat_interval: 3_600_000,
        presence_ttl: 0,
        typing_ttl: 0,
        grace: 0,
        token_expires_at: None,
        limits: Limits {
            frame_bytes_max: 0,
            meta_bytes_max: 0,
            channels_max: 0,
            watches_max: 0,
            listed_max: 0,
        },
    })
}

fn empty_room() -> Event {
    Event::CurrentUsers(CurrentUsers {
        place: TopicId::Channel(CHANNEL.into()),
        epoch: Epoch(1),
        version: 0,
        mode: Mode::Full,
        count: 0,
        users: Vec::new(),
        typing: Vec::new(),
        cursors: Vec::new(),
    })
}
