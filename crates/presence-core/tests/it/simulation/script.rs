//! What happens, as data: drawn from the seed before anything runs, so that any part of it can be left out.

use std::fmt;

use presence_core::Chosen;
use presence_core::users::Activity;

use super::planted::Planted;
use super::store::{LAG_MAX_MS, SERVERS};
use crate::chance::Chance;

pub(super) const USERS: [&str; 4] = ["ann", "bob", "cat", "anon_eve"];
pub(super) const ROOMS: usize = 2;
/// The rooms, and the workspace that everyone is in.
pub(super) const TOPICS: usize = ROOMS + 1;
/// Whose each client is, and on which device.
pub(super) const CLIENTS: [(usize, &str); 7] = [
    (0, "web:1"),
    (0, "web:1"),
    (0, "mobile:1"),
    (1, "web:2"),
    (1, "desktop:1"),
    (2, "web:3"),
    (3, "web:4"),
];
/// When the script is over; then all faults heal.
const SCRIPT_MS: u64 = 90_000;

#[derive(Clone, Debug)]
pub(super) struct Script {
    /// Of delays, and of whatever else is not worth a step.
    pub(super) seed: u64,
    pub(super) planted: Planted,
    /// How wrong the clock of each node is.
    pub(super) skews_ms: Vec<i64>,
    /// How long each client waits before it comes back by itself.
    pub(super) returns_ms: Vec<Option<u64>>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// A client connects, with its token if it has one; wherever it was before, it is no more.
    Connect {
        client: usize,
        node: usize,
    },
    /// Its connection breaks, and the node hears of that.
    Break {
        client: usize,
    },
    /// It is heard of no more, and no node knows yet.
    Silence {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Join {
        client: usize,
        room: usize,
    },
    Depart {
        client: usize,
        room: usize,
    },
    Report {
        client: usize,
        activity: Activity,
    },
    Choose {
        user: usize,
        node: usize,
        chosen: Chosen,
        /// So long, and then it is over.
        lasts_ms: Option<u64>,
    },
    Kick {
        user: usize,
        node: usize,
    },
    Erase {
        user: usize,
        node: usize,
    },
    /// A service puts a user into a room through any node, or says that they are still there.
    Act {
        user: usize,
        node: usize,
        room: usize,
    },
    /// Somebody begins to watch a topic through a node, or does so no more.
    Watch {
        node: usize,
        topic: usize,
    },
    WatchUser {
        node: usize,
        user: usize,
    },
    Kill {
        node: usize,
        back_ms: u64,
    },
    Stop {
        node: usize,
        drain_ms: u64,
        back_ms: u64,
    },
    Pause {
        node: usize,
        ms: u64,
    },
    /// A node and a server cannot reach each other; `None` is all servers.
    Cut {
        node: usize,
        server: Option<usize>,
        ms: u64,
    },
    Away {
        server: Option<usize>,
        ms: u64,
    },
    /// A server stands still. Whoever asks gets no answer, and what was asked is done once it goes on.
    Asleep {
        server: Option<usize>,
        ms: u64,
    },
    Wipe {
        server: Option<usize>,
    },
    FailOver {
        server: usize,
        away_ms: u64,
        lost_ms: u64,
    },
    /// Notices get lost, doubled and late, requests fail.
    Noise {
        lost_percent: u64,
        failed_percent: u64,
        ms: u64,
    },
    /// The database of the profiles is away.
    NoDatabase {
        ms: u64,
    },
}

impl What {
    pub(super) fn is_fault(&self) -> bool {
        matches!(
            self,
            What::Kill { .. }
                | What::Stop { .. }
                | What::Pause { .. }
                | What::Cut { .. }
                | What::Away { .. }
                | What::Asleep { .. }
                | What::Wipe { .. }
                | What::FailOver { .. }
                | What::Noise { .. }
                | What::NoDatabase { .. }
        )
    }
}

impl Script {
    pub(super) fn of(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let nodes = 2 + chance.below(2) as usize;
        let skews_ms = (0..nodes).map(|_| match chance.one_in(2) {
            true => 0,
            false => chance.below(240_000) as i64 - 120_000,
        });
        let skews_ms = skews_ms.collect();
        let returns_ms = CLIENTS.map(|_| match chance.one_in(4) {
            true => None,
            false => Some(chance.within(50..6_000)),
        });
        let mut script = Script {
            seed,
            planted: Planted::Nothing,
            skews_ms,
            returns_ms: returns_ms.to_vec(),
            steps: Vec::new(),
        };
        script.begin(&mut chance);
        for _ in 0..chance.within(10..50) {
            let at = chance.within(2_000..SCRIPT_MS);
            script.act(&mut chance, at);
        }
        // One kind of fault, or any; a quarter of all scripts has none.
        let kind = chance.below(8);
        let faults = match kind {
            0 | 1 => 0,
            _ => chance.within(1..5),
        };
        for _ in 0..faults {
            let at = chance.within(5_000..SCRIPT_MS - 10_000);
            let kind = match kind {
                7 => chance.within(2..7),
                kind => kind,
            };
            script.fail(&mut chance, at, kind);
        }
        script.steps.sort_by_key(|it| it.at);
        script
    }

    /// The script as it is written in `found.rs`.
    pub(super) fn as_code(&self) -> String {
        let steps = self.steps.iter().map(|Step { at, what }| {
            let what = format!("What::{what:?}")
                .replace("chosen: ", "chosen: Chosen::")
                .replace("activity: ", "activity: Activity::");
            format!("    ({at}, {what}),\n")
        });
        let (seed, clocks) = (self.seed, &self.skews_ms);
        let clocks: Vec<_> = clocks.iter().map(|it| it / 1000).collect();
        let steps: String = steps.collect();
        format!("holds({seed}, {clocks:?}, vec![\n{steps}]);\n")
    }

    fn push(&mut self, at: u64, what: What) {
        self.steps.push(Step { at, what });
    }

    fn begin(&mut self, chance: &mut Chance) {
        for node in 0..self.skews_ms.len() {
            for topic in 0..TOPICS {
                if !chance.one_in(3) {
                    let at = chance.below(1_000);
                    self.push(at, What::Watch { node, topic });
                }
            }
            for user in 0..USERS.len() {
                if chance.one_in(3) {
                    let at = chance.below(1_000);
                    self.push(at, What::WatchUser { node, user });
                }
            }
        }
        for client in 0..CLIENTS.len() {
            if !chance.one_in(4) {
                let at = chance.within(100..2_000);
                let node = chance.below(self.skews_ms.len() as u64) as usize;
                self.push(at, What::Connect { client, node });
                for room in 0..ROOMS {
                    if chance.one_in(2) {
                        let at = at + chance.within(50..1_000);
                        self.push(at, What::Join { client, room });
                    }
                }
            }
        }
    }

    fn act(&mut self, chance: &mut Chance, at: u64) {
        let client = chance.below(CLIENTS.len() as u64) as usize;
        let user = chance.below(USERS.len() as u64) as usize;
        let room = chance.below(ROOMS as u64) as usize;
        let node = chance.below(self.skews_ms.len() as u64) as usize;
        let what = match chance.below(32) {
            0..6 => What::Connect { client, node },
            6..9 => {
                // Back in time, as a rule, on any node.
                let back = at + chance.within(10..11_000);
                self.push(back, What::Connect { client, node });
                What::Break { client }
            }
            9 | 10 => What::Silence { client },
            11 | 12 => What::Leave { client },
            13..18 => What::Join { client, room },
            18 | 19 => What::Depart { client, room },
            20 | 21 => What::Report {
                client,
                activity: chance.one_of(&[Activity::Active, Activity::Idle, Activity::Hidden]),
            },
            22..26 => What::Choose {
                user,
                node,
                chosen: chance.one_of(&[
                    Chosen::Online,
                    Chosen::Away,
                    Chosen::Busy,
                    Chosen::Invisible,
                    Chosen::Offline,
                ]),
                lasts_ms: chance.one_in(4).then(|| chance.within(500..20_000)),
            },
            26 if chance.one_in(2) => match chance.one_in(2) {
                true => What::Kick { user, node },
                false => What::Erase { user, node },
            },
            26 => {
                // Flapping, and in the end it is there.
                for n in 0..10 {
                    let at = at + n * 100;
                    self.push(at, What::Break { client });
                    let at = at + chance.within(10..90);
                    let node = chance.below(self.skews_ms.len() as u64) as usize;
                    self.push(at, What::Connect { client, node });
                }
                What::Connect { client, node }
            }
            27 => {
                // Always the same, so that what a service said last is all there is to know of it.
                let room = user % ROOMS;
                for n in 1..chance.within(1..4) {
                    let node = chance.below(self.skews_ms.len() as u64) as usize;
                    let at = at + n * 15_000;
                    self.push(at, What::Act { user, node, room });
                }
                What::Act { user, node, room }
            }
            28..30 => What::WatchUser { node, user },
            _ => What::Watch {
                node,
                topic: chance.below(TOPICS as u64) as usize,
            },
        };
        self.push(at, what);
    }

    fn fail(&mut self, chance: &mut Chance, at: u64, kind: u64) {
        let node = chance.below(self.skews_ms.len() as u64) as usize;
        let server = chance.below(SERVERS as u64) as usize;
        let some = match chance.one_in(2) {
            true => None,
            false => Some(server),
        };
        let ms = match chance.one_in(2) {
            true => chance.within(100..8_000),
            false => chance.within(8_000..35_000),
        };
        let what = match (kind, chance.below(3)) {
            (2, 0) => What::Kill {
                node,
                back_ms: chance.within(200..60_000),
            },
            (2, 1) => What::Stop {
                node,
                drain_ms: chance.within(500..6_000),
                back_ms: chance.within(200..5_000),
            },
            (2, _) => What::Pause { node, ms },
            (3, 0 | 1) => What::Cut {
                node,
                server: some,
                ms,
            },
            (3, _) | (4, 0) => match chance.one_in(2) {
                true => What::Away { server: some, ms },
                false => What::Asleep { server: some, ms },
            },
            (4, 1) => What::Wipe { server: some },
            (4, _) => What::FailOver {
                server,
                away_ms: chance.within(0..8_000),
                lost_ms: chance.within(0..LAG_MAX_MS),
            },
            (5, _) => What::Noise {
                lost_percent: chance.one_of(&[1, 10, 100]),
                failed_percent: chance.one_of(&[0, 0, 5, 30]),
                ms: chance.within(1_000..12_000),
            },
            _ => What::NoDatabase { ms },
        };
        self.push(at, what);
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skews: Vec<_> = self.skews_ms.iter().map(|it| it / 1000).collect();
        writeln!(f, "{} nodes, clocks off by {skews:?} s", skews.len())?;
        for Step { at, what } in &self.steps {
            let (seconds, millis) = (at / 1000, at % 1000);
            write!(f, "{seconds:5}.{millis:03}s  ")?;
            let client = |client: usize| {
                let (user, device) = CLIENTS[client];
                format!("{}/{device} ({client})", USERS[user])
            };
            match what {
                What::Connect { client: it, node } => {
                    writeln!(f, "{} connects to node {node}", client(*it))
                }
                What::Break { client: it } => writeln!(f, "{} breaks off", client(*it)),
                What::Silence { client: it } => writeln!(f, "{} falls silent", client(*it)),
                What::Leave { client: it } => writeln!(f, "{} leaves", client(*it)),
                What::Join { client: it, room } => {
                    writeln!(f, "{} joins room:{room}", client(*it))
                }
                What::Depart { client: it, room } => {
                    writeln!(f, "{} departs room:{room}", client(*it))
                }
                What::Report {
                    client: it,
                    activity,
                } => writeln!(f, "{} is {activity:?}", client(*it)),
                What::Choose {
                    user,
                    node,
                    chosen,
                    lasts_ms,
                } => {
                    let user = USERS[*user];
                    write!(f, "{user} chooses {chosen:?} through node {node}")?;
                    match lasts_ms {
                        Some(ms) => writeln!(f, " for {ms} ms"),
                        None => writeln!(f),
                    }
                }
                What::Kick { user, node } => {
                    writeln!(f, "{} is kicked through node {node}", USERS[*user])
                }
                What::Erase { user, node } => {
                    writeln!(f, "{} is erased through node {node}", USERS[*user])
                }
                What::Act { user, node, room } => {
                    let user = USERS[*user];
                    writeln!(f, "a service has {user} in room:{room} through node {node}")
                }
                What::Watch { node, topic } => {
                    let topic = super::topic(*topic);
                    writeln!(f, "somebody watches {topic} on node {node}, or no more")
                }
                What::WatchUser { node, user } => {
                    let user = USERS[*user];
                    writeln!(f, "somebody watches {user} on node {node}, or no more")
                }
                fault => writeln!(f, "FAULT {fault:?}"),
            }?;
        }
        Ok(())
    }
}
