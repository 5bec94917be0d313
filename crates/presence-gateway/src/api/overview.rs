//! How all gateways are: the call of the operator's page that it makes again and again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hyper::StatusCode;
use presence_core::cluster::Incarnation;
use presence_core::explain::{Gateway, GatewayState};
use presence_core::{ChannelId, Timestamp};
use presence_redis::Goodbye;
use serde::Serialize;
use serde_json::json;

use super::operators::{moment, number};
use super::problem::Problem;
use super::process::Process;
use crate::admin::{
    COLUMNS, Degradation, Heard, Levels, NodeHealth, Peer, Question, ROOMS_MAX, Reply, RoomLine,
    Sample,
};
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::Identity;

/// How long a gateway may leave questions unanswered before it is called late, if its lease still runs. A page asks
/// every 1.5 s: one answer that is missing is not enough.
const LATE_AFTER: Duration = Duration::from_millis(1_500);
/// How long a gateway that has stopped stays in the list.
const STOPPED_SHOWN_FOR: Duration = Duration::from_secs(60);
/// The word for a gateway that is degraded itself.
const GATEWAY: &str = "gateway";

/// One gateway of the cluster.
#[derive(Debug, Serialize)]
struct Node {
    name: String,
    /// The incarnation; `null` for a gateway that is alone.
    id: Option<String>,
    state: State,
    is_me: bool,
    /// Whether it was asked and has not answered in time, so that nothing below is known.
    silent: bool,
    /// When its lease ends; for a dead one, when it was declared dead.
    lease_until_ms: Option<u64>,
    /// When it last answered the gateway that is asked.
    heard_ms: Option<u64>,
    version: Option<String>,
    /// Whether it runs another version than the gateway that answers.
    is_other_version: bool,
    started_at_ms: Option<u64>,
    levels: Option<Levels>,
    samples: Vec<Sample>,
    #[serde(skip)]
    process: Process,
}

/// How a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Alive,
    /// It leaves questions unanswered, or its lease has run out.
    Late,
    /// The others declared it dead.
    Dead,
    /// It stops on purpose, and still has connections.
    Draining,
    /// It has stopped on purpose.
    Stopped,
    /// The store is away, so it cannot be asked.
    Unknown,
}

/// The levels of all gateways that answered, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Totals {
    /// How many gateways answered and are not stopping.
    gateways: usize,
    connections: usize,
    /// Somebody on two gateways is counted twice.
    users: usize,
    cpu: f64,
    memory_bytes: u64,
    opened_per_second: f64,
    frames_in_per_second: f64,
    frames_out_per_second: f64,
    queued_bytes: u64,
}

impl Totals {
    fn of(nodes: &[Node]) -> Self {
        let mut totals = Totals::default();
        for node in nodes {
            let Some(levels) = &node.levels else {
                continue;
            };
            totals.gateways += usize::from(node.state == State::Alive);
            totals.connections += levels.connections;
            totals.users += levels.users;
            totals.cpu += levels.cpu;
            totals.memory_bytes += levels.memory_bytes;
            totals.opened_per_second += levels.opened_per_second;
            totals.frames_in_per_second += levels.frames_in_per_second;
            totals.frames_out_per_second += levels.frames_out_per_second;
            totals.queued_bytes += levels.queued_bytes;
        }
        totals
    }
}

/// Something that is degraded, and where.
#[derive(Debug, Serialize)]
struct Degraded {
    gateway: String,
    #[serde(flatten)]
    trouble: Degradation,
}

/// What the answers of all gateways make together.
#[derive(Debug, Default)]
struct Overview {
    nodes: Vec<Node>,
    degraded: Vec<Degraded>,
    rooms: HashMap<String, RoomLine>,
}

/// Says how all gateways are: the whole cluster, from any of them.
pub(super) async fn overview(
    app: &App,
    identity: &Identity,
    query: &Query,
) -> Result<Answer, Problem> {
    identity.may_administer()?;
    let after = moment(query, "after_ms")?;
    let rooms = number(query, "limit", 1..=ROOMS_MAX as u64)?.unwrap_or(0) as usize;
    let question = Question::NodeHealth {
        after_ms: after.as_millis(),
        rooms,
    };
    let asked_at = app.now();
    let (mine, others) = tokio::join!(
        app.health(after, rooms),
        app.hub.ask_programs(question.bytes()),
    );
    let others = others?;
    let silent = others.iter().filter(|it| it.report.is_none());
    let silent: Vec<Incarnation> = silent.map(|it| it.who).collect();
    app.read_goodbyes(&silent).await;
    let mut overview = Overview::default();
    overview.add_me(app, mine);
    for gateway in others {
        overview.add(app, gateway, asked_at);
    }
    overview.settle();
    overview.keep_rooms_for(identity);
    let by_size = overview.rooms_by(rooms, |it| it.people as f64);
    let by_rate = overview.rooms_by(rooms, |it| it.events_per_second);
    let body = json!({
        "gateway": app.config.node_name,
        "asked_at_ms": app.now().as_millis(),
        "is_open": identity.open,
        "store": match (&app.shared, app.hub.counters().shared_away_for().is_zero()) {
            (None, _) => "none",
            (Some(_), true) => "connected",
            (Some(_), false) => "away",
        },
        "totals": Totals::of(&overview.nodes),
        "nodes": overview.nodes,
        "degraded": overview.degraded,
        "columns": COLUMNS,
        "rooms": { "by_size": by_size, "by_rate": by_rate },
    });
    Ok(http::json(StatusCode::OK, &body))
}

impl Overview {
    fn add_me(&mut self, app: &App, health: NodeHealth) {
        let leases = app.hub.leases();
        let lease = leases.as_ref().and_then(|(me, leases)| {
            let mut nodes = leases.nodes.iter();
            nodes.find(|it| it.who == *me)
        });
        let node = Node {
            name: app.config.node_name.to_string(),
            id: leases.as_ref().map(|(me, _)| me.to_string()),
            state: match health.is_draining {
                true => State::Draining,
                false => State::Alive,
            },
            is_me: true,
            silent: false,
            lease_until_ms: lease.map(|it| it.until.as_millis()),
            heard_ms: Some(health.asked_at_ms),
            version: None,
            is_other_version: false,
            started_at_ms: None,
            levels: None,
            samples: Vec::new(),
            process: Process {
                who: leases.as_ref().map(|(me, _)| *me),
                started_at_ms: Some(health.started_at_ms),
            },
        };
        self.add_vitals(node, health);
    }

    /// Adds another gateway, with what it said to a question of `asked_at`.
    fn add(&mut self, app: &App, gateway: Gateway<Vec<u8>>, asked_at: Timestamp) {
        let now = app.now();
        let health = match gateway.report.as_deref().and_then(Reply::read) {
            Some(Reply::NodeHealth(health)) => Some(*health),
            _ => None,
        };
        let is_away = !app.hub.counters().shared_away_for().is_zero();
        let peer = match (&health, gateway.state) {
            (Some(health), _) => {
                let is_draining = health.is_draining;
                let heard = Heard {
                    at: now,
                    is_draining,
                    started_at_ms: health.started_at_ms,
                };
                app.lookout.answered(gateway.who, heard)
            }
            // Nobody can be asked: that says nothing about the others.
            (None, GatewayState::Silent { .. }) if is_away => app.lookout.peer(gateway.who),
            (None, GatewayState::Silent { .. }) => {
                app.lookout.did_not_answer(gateway.who, asked_at)
            }
            (None, _) => app.lookout.peer(gateway.who),
        };
        let (state, lease_until) = state_of(&gateway, &peer, is_away, now);
        if is_over(state, &peer, now) {
            return;
        }
        let node = Node {
            id: Some(gateway.who.to_string()),
            state,
            is_me: false,
            silent: matches!(gateway.state, GatewayState::Silent { .. }) && state != State::Stopped,
            lease_until_ms: lease_until.or_else(|| lease_of(app, &gateway)),
            heard_ms: peer.heard.map(|it| it.at.as_millis()),
            version: None,
            is_other_version: false,
            started_at_ms: None,
            levels: None,
            samples: Vec::new(),
            process: Process {
                who: Some(gateway.who),
                started_at_ms: peer.heard.map(|it| it.started_at_ms),
            },
            name: gateway.name.to_string(),
        };
        match health {
            Some(health) => self.add_vitals(node, health),
            None => {
                self.note_silence(&node, &peer, now);
                self.nodes.push(node);
            }
        }
    }

    fn add_vitals(&mut self, node: Node, health: NodeHealth) {
        let degraded = health.degraded.into_iter().map(|trouble| Degraded {
            gateway: node.name.clone(),
            trouble,
        });
        self.degraded.extend(degraded);
        for room in health.rooms {
            let known = self
                .rooms
                .entry(room.channel_id.clone())
                .or_insert_with(|| RoomLine {
                    watchers: None,
                    ..room.clone()
                });
            // A gateway that follows a room knows everybody in it; each has watchers of its own.
            known.people = known.people.max(room.people);
            known.watchers = Some(known.watchers.unwrap_or(0) + room.watchers.unwrap_or(0));
            known.events_per_second = known.events_per_second.max(room.events_per_second);
        }
        self.nodes.push(Node {
            is_other_version: health.version != env!("CARGO_PKG_VERSION"),
            version: Some(health.version),
            started_at_ms: Some(health.started_at_ms),
            levels: Some(health.levels),
            samples: health.samples,
            ..node
        });
    }

    /// A gateway that does not answer is degraded itself.
    fn note_silence(&mut self, node: &Node, peer: &Peer, now: Timestamp) {
        let (state, text) = match node.state {
            State::Late => (
                "late",
                "this gateway does not answer: it hangs, or cannot reach Redis",
            ),
            State::Dead => (
                "dead",
                "this gateway was declared dead: its people left, or came back elsewhere",
            ),
            _ => return,
        };
        // A lease may have run out before anybody asked.
        let unanswered = peer.unanswered_since.unwrap_or(now).as_millis();
        let since = match (node.state, node.lease_until_ms) {
            (State::Dead, Some(since)) => since,
            (_, Some(until)) => unanswered.min(until),
            (_, None) => unanswered,
        };
        self.degraded.push(Degraded {
            gateway: node.name.clone(),
            trouble: Degradation {
                what: GATEWAY.to_owned(),
                state: state.to_owned(),
                since_ms: since,
                text: text.to_owned(),
            },
        });
    }

    /// Drops dead gateways that came back, and puts the others in order.
    fn settle(&mut self) {
        let living = self.nodes.iter().filter(|it| it.state != State::Dead);
        let living: Vec<(String, Process)> =
            living.map(|it| (it.name.clone(), it.process)).collect();
        let came_back = |dead: &Node| {
            let died_at = dead.lease_until_ms.unwrap_or_default();
            living.iter().any(|(name, living)| {
                let is_namesake = *name == dead.name && living.may_replace_one_that_died(died_at);
                is_namesake || living.continues(&dead.process)
            })
        };
        self.nodes
            .retain(|it| it.state != State::Dead || !came_back(it));
        let still_dead = self.nodes.iter().filter(|it| it.state == State::Dead);
        let still_dead: BTreeSet<String> = still_dead.map(|it| it.name.clone()).collect();
        self.degraded.retain(|it| {
            let is_dead = it.trouble.what == GATEWAY && it.trouble.state == "dead";
            !is_dead || still_dead.contains(&it.gateway)
        });
        let nodes = &mut self.nodes;
        nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    }

    /// Leaves out rooms that the caller may not see, and where everybody may ask, who watches: somebody who hides does.
    fn keep_rooms_for(&mut self, identity: &Identity) {
        self.rooms.retain(|channel, room| {
            if identity.open {
                room.watchers = None;
            }
            let channel = ChannelId::new(channel);
            channel.is_ok_and(|it| identity.may_watch_channel(&it).is_ok())
        });
    }

    fn rooms_by(&self, limit: usize, by: impl Fn(&RoomLine) -> f64) -> Vec<&RoomLine> {
        let mut rooms: Vec<&RoomLine> = self.rooms.values().collect();
        rooms.sort_by(|a, b| {
            let order = by(b).total_cmp(&by(a));
            order.then_with(|| a.channel_id.cmp(&b.channel_id))
        });
        rooms.truncate(limit);
        rooms
    }
}

/// The state of another gateway, and the end of its lease if the answer says it.
fn state_of(
    gateway: &Gateway<Vec<u8>>,
    peer: &Peer,
    is_store_away: bool,
    now: Timestamp,
) -> (State, Option<u64>) {
    let is_draining = peer.heard.is_some_and(|it| it.is_draining)
        || matches!(peer.goodbye, Some(Goodbye::Stopping(_)));
    let has_stopped = matches!(peer.goodbye, Some(Goodbye::Stopped(_)));
    match gateway.state {
        GatewayState::Here | GatewayState::Answered if is_draining => (State::Draining, None),
        GatewayState::Here | GatewayState::Answered => (State::Alive, None),
        // Its lease is left to run out, and the others clean up after it as after any other.
        GatewayState::Dead { since: until } | GatewayState::Silent { until } if has_stopped => {
            (State::Stopped, Some(until.as_millis()))
        }
        GatewayState::Dead { since } => (State::Dead, Some(since.as_millis())),
        GatewayState::Silent { until } => {
            let is_late = peer
                .unanswered_since
                .is_some_and(|it| now.since(it) >= LATE_AFTER);
            let state = match (is_draining, is_store_away, is_late || until < now) {
                (true, ..) => State::Draining,
                // Nobody can be asked: that says nothing about the others.
                (false, true, _) => State::Unknown,
                (false, false, true) => State::Late,
                (false, false, false) => State::Alive,
            };
            (state, Some(until.as_millis()))
        }
    }
}

/// Whether a gateway stopped so long ago that nobody needs to see it any more.
fn is_over(state: State, peer: &Peer, now: Timestamp) -> bool {
    match (state, peer.goodbye) {
        (State::Stopped, Some(Goodbye::Stopped(at))) => now.since(at) >= STOPPED_SHOWN_FOR,
        _ => false,
    }
}

fn lease_of(app: &App, gateway: &Gateway<Vec<u8>>) -> Option<u64> {
    let (_, leases) = app.hub.leases()?;
    let mut nodes = leases.nodes.iter();
    let lease = nodes.find(|it| it.who == gateway.who)?;
    Some(lease.until.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Incarnation = Incarnation {
        node: 7,
        generation: 0,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn gateway(state: GatewayState) -> Gateway<Vec<u8>> {
        Gateway {
            who: WHO,
            name: "eu-2".into(),
            state,
            report: None,
        }
    }

    fn silent(until: u64) -> Gateway<Vec<u8>> {
        let until = at(until);
        gateway(GatewayState::Silent { until })
    }

    fn state(gateway: &Gateway<Vec<u8>>, peer: &Peer, now: u64) -> State {
        state_of(gateway, peer, false, at(now)).0
    }

    fn unanswered(since: u64) -> Peer {
        Peer {
            unanswered_since: Some(at(since)),
            ..Peer::default()
        }
    }

    #[test]
    fn a_gateway_is_late_once_it_left_questions_unanswered_or_its_lease_ran_out() {
        assert_eq!(state(&silent(20), &Peer::default(), 10), State::Alive);
        assert_eq!(state(&silent(20), &unanswered(10), 11), State::Alive);
        assert_eq!(state(&silent(20), &unanswered(10), 12), State::Late);
        assert_eq!(state(&silent(9), &unanswered(10), 10), State::Late);
        let (is_away, now) = (true, at(30));
        let unknown = state_of(&silent(20), &unanswered(10), is_away, now);
        assert_eq!(unknown.0, State::Unknown);
    }

    #[test]
    fn a_gateway_that_said_goodbye_is_stopping_then_stopped_and_leaves_the_list() {
        let said = |goodbye| Peer {
            goodbye: Some(goodbye),
            ..unanswered(10)
        };
        let stopping = said(Goodbye::Stopping(at(10)));
        assert_eq!(state(&silent(20), &stopping, 19), State::Draining);
        assert_eq!(state(&silent(20), &stopping, 25), State::Draining);
        let dead = gateway(GatewayState::Dead { since: at(30) });
        // It was killed while it drained.
        assert_eq!(state(&dead, &stopping, 31), State::Dead);
        let stopped = said(Goodbye::Stopped(at(12)));
        for gateway in [silent(20), silent(5), dead] {
            assert_eq!(state(&gateway, &stopped, 31), State::Stopped);
        }
        assert!(!is_over(State::Stopped, &stopped, at(71)));
        assert!(is_over(State::Stopped, &stopped, at(72)));
        assert!(!is_over(State::Dead, &stopping, at(5_000)));
    }

    fn health(version: &str, connections: usize) -> NodeHealth {
        NodeHealth {
            version: version.to_owned(),
            asked_at_ms: 1,
            started_at_ms: 0,
            is_draining: false,
            levels: Levels {
                connections,
                cpu: 0.25,
                ..Levels::default()
            },
            degraded: Vec::new(),
            samples: Vec::new(),
            rooms: Vec::new(),
        }
    }

    fn node(name: &str, state: State) -> Node {
        Node {
            name: name.to_owned(),
            id: Some(format!("{name}.0")),
            state,
            is_me: false,
            silent: false,
            lease_until_ms: None,
            heard_ms: None,
            version: None,
            is_other_version: false,
            started_at_ms: None,
            levels: None,
            samples: Vec::new(),
            process: Process::default(),
        }
    }

    /// A gateway `eu-2` of that process, in that generation, which started at `started` if that is known.
    fn process(state: State, (node_id, generation): (u64, u32), started: Option<u64>) -> Node {
        let process = Process {
            who: Some(Incarnation {
                node: node_id,
                generation,
            }),
            started_at_ms: started,
        };
        Node {
            lease_until_ms: Some(10_000_000),
            process,
            ..node("eu-2", state)
        }
    }

    /// Which of these are shown, and which of them as dead.
    fn settled(nodes: Vec<Node>) -> (usize, usize) {
        let mut overview = Overview::default();
        for node in nodes {
            overview.note_silence(&node, &Peer::default(), at(1));
            overview.nodes.push(node);
        }
        overview.settle();
        let is_dead = |it: &&Degraded| it.trouble.state == "dead";
        let dead = overview.degraded.iter().filter(is_dead);
        (overview.nodes.len(), dead.count())
    }

    #[test]
    fn a_gateway_that_was_paused_for_longer_than_its_lease_is_dead_no_more_when_it_is_back() {
        let dead = || process(State::Dead, (7, 0), None);
        assert_eq!(settled(vec![dead()]), (1, 1));
        // It had run for hours.
        let back = process(State::Alive, (7, 1), Some(1_000));
        assert_eq!(settled(vec![dead(), back]), (1, 0));
        // Redis is away meanwhile, so nobody can be asked.
        let back = process(State::Unknown, (7, 1), None);
        assert_eq!(settled(vec![dead(), back]), (1, 0));
    }

    #[test]
    fn a_gateway_that_started_again_takes_the_place_of_the_dead_one_of_its_name() {
        let dead = || process(State::Dead, (7, 0), None);
        for state in [State::Alive, State::Unknown] {
            let again = process(state, (8, 0), Some(10_004_000));
            assert_eq!(settled(vec![dead(), again]), (1, 0));
            // Two that were given one name.
            let namesake = process(state, (8, 0), Some(1_000));
            assert_eq!(settled(vec![dead(), namesake]), (2, 1));
        }
        let unheard = process(State::Unknown, (8, 0), None);
        assert_eq!(settled(vec![dead(), unheard]), (2, 1));
    }

    #[test]
    fn totals_are_of_those_who_answer_and_another_version_is_marked() {
        let mut overview = Overview::default();
        let mine = env!("CARGO_PKG_VERSION");
        overview.add_vitals(node("eu-1", State::Alive), health(mine, 3));
        overview.add_vitals(node("eu-2", State::Draining), health("0.0.9", 4));
        overview.nodes.push(node("eu-3", State::Late));
        let totals = Totals::of(&overview.nodes);
        let sums = (totals.gateways, totals.connections, totals.cpu);
        assert_eq!(sums, (1, 7, 0.5));
        let marked = overview.nodes.iter().map(|it| it.is_other_version);
        assert_eq!(marked.collect::<Vec<_>>(), [false, true, false]);
    }
}
