//! What to do, from the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::line::Door;
use crate::stock::App;

/// Puts load on a Presence gateway, and measures what comes of it.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// What to do.
    pub(crate) scenario: Scenario,
    /// Where the gateway is.
    #[arg(long, default_value = "ws://127.0.0.1:4001/ws")]
    pub(crate) url: String,
    /// How many clients to connect.
    #[arg(long, default_value_t = 1000)]
    pub(crate) clients: usize,
    /// Into how many rooms they go; by default 100 in each. (`fanout` has one.)
    #[arg(long)]
    rooms: Option<usize>,
    /// `fanout`: how many make the changes that all clients watch; by default one for two changes a second.
    #[arg(long)]
    members: Option<usize>,
    /// For how long.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How many changes a second, in all rooms together; by default 20 in `fanout`, 200 in `churn`.
    #[arg(long)]
    rate: Option<f64>,
    /// What is spoken; in `fanout` by those who watch.
    #[arg(long, value_enum, default_value_t = Dialect::Json)]
    pub(crate) protocol: Dialect,
    /// Key and secret of an application of the gateway, for `--protocol pusher`.
    #[arg(long, value_name = "KEY:SECRET")]
    pub(crate) pusher: Option<App>,
    /// What decides who makes which change.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How often to do it; medians are shown.
    #[arg(long, default_value_t = 1)]
    pub(crate) runs: usize,
    /// Writes all numbers into this file, too.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// The gateway's process, for its CPU and memory; found by its port if it runs here.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// `fanout`: leaves out the bare server.
    #[arg(long)]
    pub(crate) no_ceiling: bool,
    /// `bare-server`: the size of a frame.
    #[arg(long, default_value_t = 256)]
    pub(crate) bytes: usize,
    /// `bare-server`: how many frames each client gets.
    #[arg(long, default_value_t = 200)]
    pub(crate) frames: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Everyone is connected and in a room, and nothing happens: memory and CPU of a connection.
    Idle,
    /// Everyone watches one room in which a few people change: deliveries, their cost, and the ceiling.
    Fanout,
    /// Everyone joins at once: how long until all see all.
    Storm,
    /// Everyone is in a room and sometimes changes: how long until another sees it.
    Churn,
    /// A little of each, in every protocol: whether it is right.
    Smoke,
    /// Not for you: accepts WebSockets and writes frames as cheaply as can be, told by `fanout`.
    BareServer,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// The native protocol, as JSON texts.
    Json,
    /// The native protocol, as postcard.
    Binary,
    /// That of Phoenix Channels.
    Phoenix,
    /// That of Action Cable.
    Cable,
    /// That of Pusher.
    Pusher,
}

impl Dialect {
    /// Whether it is ours.
    pub(crate) fn is_native(self) -> bool {
        matches!(self, Dialect::Json | Dialect::Binary)
    }

    /// What the bare server speaks in its place: the cost of a frame is that of its bytes.
    pub(crate) fn bare(self) -> Dialect {
        match self {
            Dialect::Binary => Dialect::Binary,
            _ => Dialect::Json,
        }
    }
}

impl Args {
    /// Itself, or what a smoke test is made of.
    pub(crate) fn scenarios(&self) -> Vec<Args> {
        if self.scenario != Scenario::Smoke {
            return vec![self.clone()];
        }
        let small = |scenario, protocol, clients, rooms, rate| Args {
            scenario,
            protocol,
            clients,
            rooms: Some(rooms),
            rate: Some(rate),
            seconds: 1.0,
            runs: 1,
            ..self.clone()
        };
        let mut scenarios = vec![
            small(Scenario::Storm, Dialect::Json, 60, 3, 0.0),
            small(Scenario::Storm, Dialect::Binary, 60, 3, 0.0),
            small(Scenario::Fanout, Dialect::Json, 50, 1, 20.0),
            small(Scenario::Fanout, Dialect::Binary, 50, 1, 20.0),
            small(Scenario::Churn, Dialect::Json, 60, 3, 40.0),
            small(Scenario::Churn, Dialect::Binary, 60, 3, 40.0),
            small(Scenario::Idle, Dialect::Json, 50, 5, 0.0),
        ];
        let pusher = self.pusher.is_some().then_some(Dialect::Pusher);
        for dialect in [Dialect::Phoenix, Dialect::Cable].into_iter().chain(pusher) {
            scenarios.extend([
                small(Scenario::Storm, dialect, 60, 3, 0.0),
                // More than are listed.
                small(Scenario::Storm, dialect, 600, 1, 0.0),
                small(Scenario::Fanout, dialect, 50, 1, 20.0),
                small(Scenario::Churn, dialect, 60, 3, 40.0),
            ]);
        }
        scenarios
    }

    /// Into how many rooms the clients go.
    pub(crate) fn rooms(&self) -> usize {
        let rooms = match (self.scenario, self.rooms) {
            (Scenario::Fanout, _) => 1,
            (_, Some(rooms)) => rooms,
            (_, None) => self.clients.div_ceil(100),
        };
        rooms.clamp(1, self.clients.max(1))
    }

    /// How many changes a second there are.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.unwrap_or(match self.scenario {
            Scenario::Fanout => 20.0,
            Scenario::Churn => 200.0,
            _ => 0.0,
        })
    }

    /// Where the gateway is, and what is spoken to it.
    pub(crate) fn door(&self) -> Door {
        Door {
            url: self.url.clone(),
            dialect: self.protocol,
            app: self.pusher.clone(),
        }
    }

    /// How many make the changes of `fanout`.
    pub(crate) fn members(&self) -> usize {
        let members = self.members.unwrap_or((self.rate() / 2.0).ceil() as usize);
        members.max(1)
    }
}
