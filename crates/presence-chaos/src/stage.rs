//! A cluster and its people, ready for something to go wrong.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use presence_testkit::cluster::{Cluster, Settings};
use presence_testkit::folder::Folder;
use presence_testkit::mongo::{self, Mongo};
use presence_testkit::proxy::Proxy;
use presence_testkit::pulse::Pulse;
use presence_testkit::redis::{Redis, Topology};

use crate::check::{Findings, Moment, Rules, Seen};
use crate::crowd::{Crowd, Plan};
use crate::explained::{self, Known, Verdict};
use crate::journal::{At, Ending};
use crate::report::{Figure, by_reason};
use crate::scenarios::{Scenario, half_open_not_before};
use crate::shared::Entrance;
use crate::virtual_user::{Afterwards, UNANSWERED};

/// How long a node's promise to be alive lasts, and how often it is renewed: `presence_core::Timing`.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(3);

/// How long a gateway waits before it pings somebody silent, and then for the answer.
pub(crate) const PING: Duration = Duration::from_secs(25);
pub(crate) const PONG: Duration = Duration::from_secs(8);

/// How many people are explained of those who are here, and of those who ended in the same way.
const EXPLAINED_EACH: usize = 4;

/// How long everybody may take to come at the beginning.
const GATHER_TIME_MAX: Duration = Duration::from_secs(120);

/// What a run is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Small numbers and short times, for every change of the code.
    pub(crate) short: bool,
    /// The seed of all random choices.
    pub(crate) seed: u64,
    pub(crate) gateways: usize,
    pub(crate) redis: RedisWanted,
    /// The path of the gateway's program.
    pub(crate) binary: PathBuf,
    /// The folder for logs and data.
    pub(crate) folder: PathBuf,
    /// How many people, if not the usual number.
    pub(crate) people: Option<u32>,
    /// How often a recipe is played.
    pub(crate) times: u32,
}

/// What the gateways of a run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedisWanted {
    /// What is usual for what is played.
    Usual,
    /// No Redis: each gateway is alone.
    Without,
    /// One Redis of this topology.
    Of(Topology),
}

impl RedisWanted {
    /// What that is, where `usual` is usual.
    pub(crate) fn or(self, usual: Topology) -> Option<Topology> {
        match self {
            RedisWanted::Usual => Some(usual),
            RedisWanted::Without => None,
            RedisWanted::Of(topology) => Some(topology),
        }
    }
}

/// The times of the gateways of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) grace: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) ttl: Duration,
    pub(crate) drain: Duration,
}

/// A cluster, and what was measured on it.
pub(crate) struct Stage {
    pub(crate) wanted: Wanted,
    pub(crate) pace: Pace,
    // Before the folder, so that nobody writes into it any more when it goes.
    pub(crate) cluster: Cluster,
    database: Option<Database>,
    pub(crate) folder: Folder,
    pub(crate) figures: Vec<Figure>,
    /// What the machine adds to every time.
    pulse: Pulse,
}

/// Where profiles are, in a scenario that is about them, and the network on the way there.
pub(crate) struct Database {
    pub(crate) server: Mongo,
    pub(crate) network: Proxy,
}

impl Wanted {
    /// The usual times: the defaults, or short ones.
    pub(crate) fn pace(&self) -> Pace {
        let s = Duration::from_secs;
        match self.short {
            false => Pace {
                grace: s(10),
                heartbeat: s(15),
                ttl: s(60),
                drain: s(10),
            },
            true => Pace {
                grace: s(3),
                heartbeat: s(15),
                ttl: s(60),
                drain: s(2),
            },
        }
    }

    /// One of two, by how long the run shall be.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.short { short } else { long }
    }

    /// Base of docs/faults.md: rooms of 50 or 100, every second person with a second device, a few who hide.
    pub(crate) fn plan(&self, short: u32, long: u32) -> Plan {
        let people = self.people.unwrap_or(self.pick(short, long));
        let rooms = (people / self.pick(50, 100)).max(1);
        Plan {
            people,
            rooms,
            second_device_of: 2,
            hidden_of: 25,
            watched_rooms: rooms.min(10),
            all_watch: true,
            afterwards: Afterwards::StayAway,
        }
    }
}

impl Database {
    fn start(folder: &Path) -> Result<Database> {
        let mut network = None;
        let server = Mongo::start_behind(folder, &mongo::Settings::default(), |port| {
            let proxy = Proxy::start((Ipv4Addr::LOCALHOST, port).into())?;
            Ok(network.insert(proxy).port())
        })?;
        let network = network.context("a server has a port")?;
        Ok(Database { server, network })
    }

    fn env(&self) -> (String, String) {
        ("MONGODB_URI".to_owned(), self.server.uri())
    }
}

impl Pace {
    fn env(self) -> Vec<(String, String)> {
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        [
            ("PRESENCE_GRACE", millis(self.grace)),
            ("HEARTBEAT_INTERVAL", millis(self.heartbeat)),
            ("PRESENCE_TTL", millis(self.ttl)),
            ("PRESENCE_DRAIN", millis(self.drain)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl Stage {
    /// Starts the cluster that the scenario needs.
    pub(crate) fn open(wanted: &Wanted, scenario: &Scenario) -> Result<Stage> {
        let folder = Folder::empty(wanted.folder.join(scenario.name))?;
        let pace = (scenario.pace)(wanted);
        let mut all_env = pace.env();
        let env = scenario.env.iter();
        all_env.extend(env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let database = match scenario.has_database {
            true => Some(Database::start(folder.path())?),
            false => None,
        };
        all_env.extend(database.iter().map(Database::env));
        let settings = Settings {
            binary: wanted.binary.clone(),
            gateways: wanted.gateways,
            redis: wanted.redis.or(Topology::Cluster),
            node_timeout: Duration::from_millis(1000),
            mongo: false,
            port_base: None,
            env: all_env,
        };
        let cluster = Cluster::start(folder.path(), &settings)?;
        let wanted = wanted.clone();
        Ok(Stage {
            wanted,
            pace,
            cluster,
            database,
            folder,
            figures: Vec::new(),
            pulse: Pulse::start(),
        })
    }

    /// One entrance for each gateway, to which clients connect.
    pub(crate) fn entrances(&self) -> Vec<Entrance> {
        let gateways = self.cluster.gateways.iter().enumerate();
        gateways
            .map(|(index, it)| Entrance::new(format!("ws://{}/ws", it.address()), index))
            .collect()
    }

    /// Lets people come, and waits until they see each other.
    pub(crate) fn gather(&mut self, plan: &Plan) -> Result<Crowd> {
        let crowd = Crowd::gather(self.entrances(), plan, GATHER_TIME_MAX);
        let crowd = crowd.context("people could not come, before anything went wrong")?;
        self.interest("clients", crowd.size() as f64, "");
        Ok(crowd)
    }

    /// Redis.
    ///
    /// # Errors
    ///
    /// The run is without.
    pub(crate) fn redis(&mut self) -> Result<&mut Redis> {
        self.cluster.redis.as_mut().context("this needs Redis")
    }

    /// The database of profiles.
    ///
    /// # Errors
    ///
    /// The scenario is without.
    pub(crate) fn database(&mut self) -> Result<&mut Database> {
        self.database.as_mut().context("this needs a database")
    }

    /// Whether the run has what a scenario needs.
    pub(crate) fn needs(&self, gateways: usize) -> Result<()> {
        match self.cluster.gateways.len() {
            have if have < gateways => bail!("this needs {gateways} gateways; there are {have}"),
            _ => Ok(()),
        }
    }

    /// Adds a figure. A time that has a bound may be longer by what the machine added to it.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure.widened(self.pulse.slack()));
    }

    /// The longest time for which a thread had to wait for a core.
    pub(crate) fn late_ms(&self) -> f64 {
        self.pulse.late().as_secs_f64() * 1000.0
    }

    pub(crate) fn interest(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.add(Figure::of_interest(what, value, unit));
    }

    /// The rules by which this run is judged.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            // Who comes back in the last second of it may be late: that is neither promised nor forbidden.
            grace: self.pace.grace.saturating_sub(Duration::from_secs(1)),
            not_before: BTreeMap::from([
                (
                    Ending::NodeGone,
                    LEASE - RENEWED_EVERY - Duration::from_millis(500),
                ),
                (Ending::HalfOpen, half_open_not_before(&self.pace)),
            ]),
        }
    }

    /// How long who ends so may be shown.
    pub(crate) fn ghost_max(&self, ending: Ending) -> Duration {
        let Pace {
            grace,
            heartbeat: _,
            ttl,
            ..
        } = self.pace;
        let margin = Duration::from_secs(2);
        match ending {
            Ending::Left => Duration::from_secs(1),
            Ending::Lost => grace + margin,
            Ending::NodeGone => LEASE + grace + margin,
            Ending::HalfOpen => (PING + PONG).min(ttl) + grace + margin,
        }
    }

    /// Adds what every run is judged by; pictures have to be right `within` after `since`.
    pub(crate) fn judge(
        &mut self,
        crowd: &Crowd,
        since: At,
        what: &str,
        within: Duration,
    ) -> Findings {
        let findings = crowd.findings(&self.rules());
        let such_as = |moments: &[Moment]| crowd.shown(moments);

        let last = findings
            .spells
            .iter()
            .map(|it| it.until)
            .max()
            .unwrap_or_default();
        let settled = match findings.wrong.is_empty() {
            true => last.saturating_sub(since).as_secs_f64(),
            false => f64::INFINITY,
        };
        let what = format!("pictures right again after {what}");
        let figure = Figure::at_most("I1", what, settled, "s", within.as_secs_f64());
        self.add(figure.such_as(crowd.shown_wrong(&findings.wrong)));

        let figure = Figure::never("I2", "told twice", findings.told_twice.len());
        self.add(figure.such_as(such_as(&findings.told_twice)));

        for ending in [
            Ending::Left,
            Ending::Lost,
            Ending::HalfOpen,
            Ending::NodeGone,
        ] {
            let longest = findings
                .lags
                .iter()
                .filter(|lag| lag.what == Seen::Going(ending));
            let Some(longest) = longest.map(|lag| lag.took).max() else {
                continue;
            };
            let what = format!("longest shown after an end ({})", words(ending));
            let most = self.ghost_max(ending).as_secs_f64();
            self.add(Figure::at_most(
                "I3",
                what,
                longest.as_secs_f64(),
                "s",
                most,
            ));
        }

        let figure = Figure::never("I4", "shown leaving without reason", findings.flaps.len());
        self.add(figure.such_as(such_as(&findings.flaps)));
        if !findings.early.is_empty() {
            let figure = Figure::never(
                "I4",
                "shown leaving before it could be known",
                findings.early.len(),
            );
            self.add(figure.such_as(such_as(&findings.early)));
        }

        let mut unanswered = crowd.refusals();
        unanswered.retain(|why| why.ends_with(UNANSWERED));
        let figure = Figure::never("", "no answer to a client that came", unanswered.len());
        self.add(figure.such_as(by_reason(&unanswered)));

        let figure = Figure::never(
            "I5",
            "shown though they hide, or never came",
            findings.unfounded.len(),
        );
        self.add(figure.such_as(such_as(&findings.unfounded)));
        self.judge_explanations(crowd);
        findings
    }

    /// Adds whether every gateway explains some people as the driver knows them.
    fn judge_explanations(&mut self, crowd: &Crowd) {
        let names: Vec<String> = self
            .cluster
            .gateways
            .iter()
            .map(|it| it.name().to_owned())
            .collect();
        let some = crowd.some_known(EXPLAINED_EACH, self.rules().grace, |it| names[it].clone());
        let ready = self.cluster.gateways.iter().filter(|it| it.is_ready());
        let ready: Vec<_> = ready.map(|it| (it.name(), it.address())).collect();
        let (mut different, mut unrecorded) = (Vec::new(), 0);
        for (user, known) in &some {
            for (name, address) in &ready {
                let told = explained::ask(*address, user);
                let late = |ending| self.ghost_max(ending) + self.pulse.slack();
                let verdict = told.and_then(|it| explained::compare(&it, known, crowd.now(), late));
                match verdict {
                    Ok(Verdict::Same) => {}
                    // Who goes with their gateway may have told only that.
                    Ok(Verdict::NotRecorded)
                        if matches!(
                            known,
                            Known::Gone {
                                ending: Ending::NodeGone,
                                ..
                            }
                        ) =>
                    {
                        unrecorded += 1;
                    }
                    Ok(Verdict::NotRecorded) => {
                        different.push(format!("{user} at {name}: nothing is recorded"))
                    }
                    Ok(Verdict::Different(how)) => {
                        different.push(format!("{user} at {name}: {how}"))
                    }
                    Err(error) => different.push(format!("{user} at {name}: {error:#}")),
                }
            }
        }
        let asked = some.len() * ready.len();
        self.interest("explanations asked for", asked as f64, "");
        if unrecorded > 0 {
            self.interest(
                "explanations of what only a killed gateway knew",
                f64::from(unrecorded),
                "",
            );
        }
        let figure = Figure::never(
            "",
            "explanations that are not what happened",
            different.len(),
        );
        let example = different
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("; ");
        self.add(figure.such_as(example));
    }

    /// Adds that nobody was shown coming or going since `since`.
    pub(crate) fn judge_silence(&mut self, crowd: &Crowd, findings: &Findings, since: At) {
        let count = |moments: &[Moment]| {
            let later: Vec<_> = moments
                .iter()
                .copied()
                .filter(|it| it.at >= since)
                .collect();
            (later.len(), crowd.shown(&later))
        };
        let (appeared, example) = count(&findings.appeared);
        self.add(Figure::never("I4", "shown coming", appeared).such_as(example));
        let (disappeared, example) = count(&findings.disappeared);
        self.add(Figure::never("I4", "shown going", disappeared).such_as(example));
    }

    /// Adds how many connections ended at gateways that nothing was done to.
    pub(crate) fn judge_losses(&mut self, crowd: &Crowd, since: At, touched: &[usize]) {
        let mut losses = crowd.losses(since);
        losses.retain(|loss| !touched.contains(&loss.gateway));
        let example = losses.first().map(|it| {
            format!(
                "gateway-{} at {:.1} s: {}",
                it.gateway + 1,
                it.at.as_secs_f64(),
                it.how
            )
        });
        let figure = Figure::never(
            "I8",
            "connections lost at gateways that were left alone",
            losses.len(),
        );
        self.add(figure.such_as(example.unwrap_or_default()));
    }

    /// Adds whether those who begin to look now see the truth.
    pub(crate) fn judge_newcomers(&mut self, crowd: &mut Crowd) {
        crowd.look_anew();
        let limit = Duration::from_secs(5) + self.pulse.slack();
        let looked = crowd.wait_until_newcomers_look(limit);
        let looked = looked.and_then(|()| crowd.wait_settled(limit));
        let figure = Figure::never(
            "I1",
            "new watchers do not see the truth",
            usize::from(looked.is_err()),
        );
        self.add(figure.such_as(looked.map_or_else(|error| error.to_string(), |_| String::new())));
    }

    /// Adds whether acknowledged status messages are still there, as seen at a gateway.
    pub(crate) fn judge_memory_of(&mut self, crowd: &Crowd, gateway: usize) {
        let figure = match crowd.forgotten(gateway) {
            Ok(forgotten) => {
                let example = forgotten
                    .iter()
                    .take(5)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                Figure::never("I6", "acknowledged status messages lost", forgotten.len())
                    .such_as(example)
            }
            Err(error) => {
                Figure::at_most("I6", "acknowledged status messages lost", f64::NAN, "", 0.0)
                    .such_as(error.to_string())
            }
        };
        self.add(figure);
    }

    /// The resident memory of a gateway, in MB.
    pub(crate) fn memory_mb(&self, gateway: usize) -> f64 {
        let kb = self.cluster.gateways[gateway].process.memory_kb();
        kb.map_or(f64::NAN, |kb| kb as f64 / 1024.0)
    }
}

fn words(ending: Ending) -> &'static str {
    match ending {
        Ending::Left => "goodbye",
        Ending::Lost => "lost",
        Ending::HalfOpen => "half-open",
        Ending::NodeGone => "node gone",
    }
}
