//! The arguments of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::endpoint::{App, Dialect, Endpoint};

/// Puts load on a Presence gateway, and measures how it copes.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// What to measure
    pub(crate) scenario: Scenario,
    /// The URL of the gateway's native protocol
    #[arg(long, default_value = "ws://127.0.0.1:4001/ws")]
    pub(crate) url: String,
    /// Starts this program as the gateway, on a free port, and stops it at the end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "pid", "pusher"])]
    pub(crate) gateway: Option<PathBuf>,
    /// Where that gateway keeps its data and its log; by default the folder of temporary files
    #[arg(long, value_name = "DIR", requires = "gateway")]
    pub(crate) folder: Option<PathBuf>,
    /// How many clients to connect.
    #[arg(long, default_value_t = 1000)]
    pub(crate) clients: usize,
    /// How many rooms the clients are spread over; by default one for every 100 clients (`fanout` has one room)
    #[arg(long)]
    rooms: Option<usize>,
    /// `fanout`: how many clients make the changes that all others watch; by default one for two changes a second
    #[arg(long)]
    members: Option<usize>,
    /// How long to make changes, in seconds
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How many changes a second, in all rooms together; by default 20 in `fanout`, 200 in `churn`.
    #[arg(long)]
    rate: Option<f64>,
    /// The protocol of the clients; in `fanout`, of those who watch
    #[arg(long, value_enum, default_value_t = Dialect::Json)]
    pub(crate) protocol: Dialect,
    /// The key and secret of an application of the gateway, for `--protocol pusher`
    #[arg(long, value_name = "KEY:SECRET")]
    pub(crate) pusher: Option<App>,
    /// The seed of the random numbers that decide who makes which change
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How often to run the scenario; the report shows medians
    #[arg(long, default_value_t = 1)]
    pub(crate) runs: usize,
    /// Also writes all numbers into this file, as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// `bigroom`: how many people are in the room
    #[arg(long, default_value_t = 100_000)]
    pub(crate) people: usize,
    /// `bigroom`: how many gateways to start; they share one Redis
    #[arg(long, default_value_t = 6)]
    pub(crate) gateways: usize,
    /// `bigroom`: how many clients connect to each gateway; a service joins for all other people
    #[arg(long, default_value_t = 3000)]
    pub(crate) connections: usize,
    /// `bigroom`: how many clients of each gateway have a window on the room instead of the summary
    #[arg(long, default_value_t = 100)]
    pub(crate) windows: usize,
    /// `bigroom`: how many changes a second the clients make together
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) changes: f64,
    /// The gateways of `bigroom`, when they have started.
    #[arg(skip)]
    pub(crate) cluster: Vec<ClusterMember>,
    /// The process id of their Redis.
    #[arg(skip)]
    pub(crate) redis: Option<u32>,
    /// The process id of the gateway, to measure its CPU and memory; by default the process that listens on its port,
    /// if it runs here
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// `fanout` and `churn`: does not measure the bare server
    #[arg(long)]
    pub(crate) no_ceiling: bool,
    /// `bare-server`: the size of a frame, in bytes
    #[arg(long, default_value_t = 256)]
    pub(crate) bytes: usize,
    /// `bare-server`: how many frames each client is sent
    #[arg(long, default_value_t = 200)]
    pub(crate) frames: usize,
}

/// One of the gateways that share a Redis.
#[derive(Clone, Debug)]
pub(crate) struct ClusterMember {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Everyone is connected and in a room, and nothing happens: the memory and CPU of a connection
    Idle,
    /// Everyone watches one room in which a few people change: deliveries, their cost, and the ceiling
    Fanout,
    /// Everyone joins at once: how long it takes until everyone sees everyone
    Storm,
    /// Everyone is in a room and changes now and then: how long it takes until others see it
    Churn,
    /// One room of very many people over several gateways that it starts: how soon counts are exact and windows current
    Bigroom,
    /// A set of small runs in every protocol: whether all deliveries are right
    Smoke,
    /// For internal use by `fanout` and `churn`: accepts WebSockets and writes frames at the lowest possible cost
    BareServer,
}

impl Args {
    /// The runs to make: this one, or for a smoke test a set of small ones in every protocol.
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
            no_ceiling: self.no_ceiling || scenario == Scenario::Churn,
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

    /// The small run of `bigroom` that is part of a smoke test.
    pub(crate) fn small_bigroom(&self) -> Args {
        Args {
            scenario: Scenario::Bigroom,
            protocol: Dialect::Json,
            people: 2000,
            gateways: 2,
            connections: 50,
            windows: 10,
            changes: 100.0,
            seconds: 2.0,
            runs: 1,
            ..self.clone()
        }
    }

    /// How many rooms the clients are spread over.
    pub(crate) fn rooms(&self) -> usize {
        let rooms = match (self.scenario, self.rooms) {
            (Scenario::Fanout, _) => 1,
            (_, Some(rooms)) => rooms,
            (_, None) => self.clients.div_ceil(100),
        };
        rooms.clamp(1, self.clients.max(1))
    }

    /// How many changes a second are made, in all rooms together.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.unwrap_or(match self.scenario {
            Scenario::Fanout => 20.0,
            Scenario::Churn => 200.0,
            _ => 0.0,
        })
    }

    /// The address of the gateway, and the protocol to speak to it.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: self.url.clone(),
            dialect: self.protocol,
            app: self.pusher.clone(),
        }
    }

    /// How many clients make the changes of `fanout`.
    pub(crate) fn members(&self) -> usize {
        let members = self.members.unwrap_or((self.rate() / 2.0).ceil() as usize);
        members.max(1)
    }
}
