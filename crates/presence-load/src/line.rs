//! The connection of a client, in any dialect.

use std::time::Duration;

use presence_client::wire::{Command, Target, command};
use presence_client::{Client, Frame, Options};
use tokio_tungstenite::tungstenite;

use crate::endpoint::{Endpoint, READ_BUFFER_BYTES};
use crate::frame_kind::{FrameKind, kind_of};
use crate::schedule::Mark;
use crate::stock::Stock;
use crate::virtual_user::VirtualUser;

/// A connection of a client, native or of another dialect.
pub(crate) enum Line {
    Native(Box<Client>),
    Stock(Box<Stock>),
}

impl Line {
    /// Connects as the user of `vu`.
    pub(crate) async fn open(endpoint: &Endpoint, vu: &VirtualUser) -> Result<Line, String> {
        if !endpoint.dialect.is_native() && vu.watches {
            let stock = Stock::open(endpoint, vu).await?;
            return Ok(Line::Stock(Box::new(stock)));
        }
        let options = Options {
            protocol: endpoint.native(),
            read_buffer_bytes: READ_BUFFER_BYTES,
            ..Options::user(&endpoint.url, &vu.user)
        };
        let connected = Client::connect(&options).await;
        let client = connected.map_err(|it| match std::error::Error::source(&it) {
            Some(cause) => format!("a client cannot connect: {it}: {cause}"),
            None => format!("a client cannot connect: {it}"),
        })?;
        Ok(Line::Native(Box::new(client)))
    }

    /// Joins or watches the channel of `vu`. A client that watches is then sent the whole state.
    pub(crate) async fn enter(&mut self, vu: &VirtualUser) -> Result<(), String> {
        let client = match self {
            Line::Stock(stock) => return stock.enter().await,
            Line::Native(client) => client,
        };
        let command = match vu.member {
            Some(_) => Command::Join(command::Join {
                ref_: None,
                channel: vu.channel.clone(),
                meta: None,
                watch: (!vu.watches).then_some(false),
                mode: None,
                have: None,
            }),
            None => Command::Watch(command::Watch {
                ref_: None,
                target: Target::Channel(vu.channel.clone()),
                mode: None,
                have: None,
            }),
        };
        if vu.watches {
            let sent = client.send(&command).await;
            return sent.map_err(|it| format!("a client cannot send: {it}"));
        }
        let joined = client.request(command).await;
        joined.map_err(|it| format!("a member cannot join: {it}"))?;
        Ok(())
    }

    /// Returns the next frame, or `None` when the connection has ended. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        match self {
            Line::Native(client) => client.next_frame().await,
            Line::Stock(stock) => stock.next().await.map(Frame::Text),
        }
    }

    /// Finds out what sort of frame `frame` is.
    pub(crate) fn kind_of(&self, frame: &Frame) -> FrameKind {
        match (self, frame) {
            (Line::Stock(stock), Frame::Text(text)) => stock.kind_of(text),
            _ => kind_of(frame),
        }
    }

    /// Says how the connection ended, for the list of problems.
    pub(crate) fn cut_off(&self) -> String {
        match self {
            Line::Native(client) => format!("a client was cut off: {:?}", client.ending()),
            Line::Stock(stock) => format!("a client was cut off: {:?}", stock.ending()),
        }
    }

    /// Makes a change that carries `mark`.
    pub(crate) async fn update(
        &mut self,
        vu: &VirtualUser,
        mark: Mark,
    ) -> Result<(), tungstenite::Error> {
        match self {
            Line::Native(client) => {
                let update = command::Update {
                    ref_: None,
                    channel: vu.channel.clone(),
                    meta: mark.meta(),
                };
                client.send(&Command::Update(update)).await
            }
            Line::Stock(stock) => stock.update(mark).await,
        }
    }

    /// How often the client has to send a heartbeat.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        match self {
            Line::Native(client) => {
                Duration::from_millis(client.hello().heartbeat_interval.max(1000))
            }
            Line::Stock(stock) => stock.heartbeat_interval(),
        }
    }

    /// Sends the heartbeat of the dialect.
    pub(crate) async fn heartbeat(&mut self) -> Result<(), tungstenite::Error> {
        match self {
            Line::Native(client) => client.heartbeat().await,
            Line::Stock(stock) => stock.heartbeat().await,
        }
    }

    /// Ends the session, so that the next run finds an empty gateway.
    pub(crate) async fn leave(self) {
        // Too late to complain.
        match self {
            Line::Native(mut client) => {
                let leave = command::Leave {
                    ref_: None,
                    channel: None,
                };
                let _ = client.send(&leave.into()).await;
            }
            Line::Stock(mut stock) => {
                let _ = stock.leave().await;
            }
        }
    }
}
