//! The calls of the operator's page: how all gateways are, what happens right now, and stopping a gateway.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use presence_core::explain::{Gateway, Standing, sentence};
use presence_core::history::{FILTER_BYTES_MAX, RECENT_MAX, Recent, RecentQuery, Transition};
use presence_core::{ChannelId, Timestamp, Timing};
use presence_protocol::ErrorCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::lists::may_see_hidden;
use super::problem::Problem;
use crate::admin::{COLUMNS, Heard, Question, ROOMS_MAX, Reply, RoomLine, Sample, Trouble, Vitals};
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::Identity;
use crate::request::Refused;

/// How long a gateway may not have answered before it is called late, if its lease still runs.
const LATE_AFTER: Duration = Duration::from_secs(3);
/// The word for a gateway that is degraded itself.
const GATEWAY: &str = "gateway";
/// The longest id or name of a gateway.
const ID_CHARS_MAX: usize = 64;
/// The greatest moment that a caller may name, in milliseconds: the greatest whole number of JavaScript.
const MOMENT_MAX: u64 = (1 << 53) - 1;

/// One gateway of the cluster.
#[derive(Debug, Serialize)]
struct Node {
    name: String,
    /// The incarnation; `null` for a gateway that is alone.
    id: Option<String>,
    state: &'static str,
    is_me: bool,
    /// When its lease ends; for a dead one, when it was declared dead.
    lease_until_ms: Option<u64>,
    /// When it last answered the gateway that is asked.
    heard_ms: Option<u64>,
    version: Option<String>,
    started_at_ms: Option<u64>,
    levels: Option<Value>,
    samples: Vec<Sample>,
}

/// Something that is degraded, and where.
#[derive(Debug, Serialize)]
struct Degraded {
    gateway: String,
    #[serde(flatten)]
    trouble: Trouble,
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
    let after = after(query)?;
    let rooms = number(query, "limit", 1..=ROOMS_MAX as u64)?.unwrap_or(0) as usize;
    let question = Question::Vitals {
        after_ms: after.as_millis(),
        rooms,
    };
    let (mine, others) = tokio::join!(
        app.vitals(after, rooms),
        app.hub.ask_programs(question.bytes()),
    );
    let mut overview = Overview::default();
    overview.add_me(app, mine);
    for gateway in others? {
        overview.add(app, gateway);
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
        "nodes": overview.nodes,
        "degraded": overview.degraded,
        "columns": COLUMNS,
        "rooms": { "by_size": by_size, "by_rate": by_rate },
    });
    Ok(http::json(StatusCode::OK, &body))
}

impl Overview {
    fn add_me(&mut self, app: &App, vitals: Vitals) {
        let leases = app.hub.leases();
        let lease = leases.as_ref().and_then(|(me, leases)| {
            let mut nodes = leases.nodes.iter();
            nodes.find(|it| it.who == *me)
        });
        let node = Node {
            name: app.config.node_name.to_string(),
            id: leases.as_ref().map(|(me, _)| me.to_string()),
            state: match vitals.is_draining {
                true => "draining",
                false => "alive",
            },
            is_me: true,
            lease_until_ms: lease.map(|it| it.until.as_millis()),
            heard_ms: Some(vitals.asked_at_ms),
            version: None,
            started_at_ms: None,
            levels: None,
            samples: Vec::new(),
        };
        self.add_vitals(node, vitals);
    }

    fn add(&mut self, app: &App, gateway: Gateway<Vec<u8>>) {
        let now = app.now();
        let vitals = gateway.report.as_deref().and_then(Reply::read);
        let vitals = match vitals {
            Some(Reply::Vitals(vitals)) => Some(*vitals),
            _ => None,
        };
        if let Some(vitals) = &vitals {
            let is_draining = vitals.is_draining;
            let heard = Heard {
                at: now,
                is_draining,
            };
            app.lookout.heard(gateway.who, heard);
        }
        let heard = app.lookout.last_heard(gateway.who);
        let is_away = !app.hub.counters().shared_away_for().is_zero();
        let (state, lease_until) = standing(&gateway, heard, is_away, now);
        let name = gateway.name.to_string();
        let node = Node {
            id: Some(gateway.who.to_string()),
            state,
            is_me: false,
            lease_until_ms: lease_until.or_else(|| lease_of(app, &gateway)),
            heard_ms: heard.map(|it| it.at.as_millis()),
            version: None,
            started_at_ms: None,
            levels: None,
            samples: Vec::new(),
            name,
        };
        match vitals {
            Some(vitals) => self.add_vitals(node, vitals),
            None => {
                self.note_silence(&node, heard, now);
                self.nodes.push(node);
            }
        }
    }

    fn add_vitals(&mut self, node: Node, vitals: Vitals) {
        let degraded = vitals.degraded.into_iter().map(|trouble| Degraded {
            gateway: node.name.clone(),
            trouble,
        });
        self.degraded.extend(degraded);
        for room in vitals.rooms {
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
            version: Some(vitals.version),
            started_at_ms: Some(vitals.started_at_ms),
            levels: Some(json!(vitals.levels)),
            samples: vitals.samples,
            ..node
        });
    }

    /// A gateway that does not answer is degraded itself.
    fn note_silence(&mut self, node: &Node, heard: Option<Heard>, now: Timestamp) {
        let text = match node.state {
            "late" => "this gateway does not answer: it hangs, or cannot reach Redis",
            "dead" => "this gateway was declared dead: its people left, or came back elsewhere",
            _ => return,
        };
        let since = match (node.state, heard, node.lease_until_ms) {
            ("dead", _, Some(since)) => since,
            (_, Some(heard), _) => heard.at.as_millis(),
            _ => now.as_millis(),
        };
        self.degraded.push(Degraded {
            gateway: node.name.clone(),
            trouble: Trouble {
                what: GATEWAY.to_owned(),
                state: node.state.to_owned(),
                since_ms: since,
                text: text.to_owned(),
            },
        });
    }

    /// Drops dead gateways that came back under their names, and puts the others in order.
    fn settle(&mut self) {
        let living = self.nodes.iter().filter(|it| it.state != "dead");
        let living: Vec<(String, u64)> = living
            .filter_map(|it| Some((it.name.clone(), it.started_at_ms?)))
            .collect();
        // Names need not be unique: only one that started about when the other died, or later, is the same one.
        let back_within = 2 * Timing::LEASE.as_millis() as u64;
        let came_back = |dead: &Node| {
            let died_at = dead.lease_until_ms.unwrap_or_default();
            let is_it = |(name, started): &(String, u64)| {
                *name == dead.name && *started + back_within >= died_at
            };
            living.iter().any(is_it)
        };
        self.nodes.retain(|it| it.state != "dead" || !came_back(it));
        let still_dead = self.nodes.iter().filter(|it| it.state == "dead");
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
fn standing(
    gateway: &Gateway<Vec<u8>>,
    heard: Option<Heard>,
    is_store_away: bool,
    now: Timestamp,
) -> (&'static str, Option<u64>) {
    let is_draining = heard.is_some_and(|it| it.is_draining);
    match gateway.standing {
        Standing::Dead { since } => ("dead", Some(since.as_millis())),
        Standing::Here | Standing::Answered if is_draining => ("draining", None),
        Standing::Here | Standing::Answered => ("alive", None),
        Standing::Silent { until } => {
            let until_ms = Some(until.as_millis());
            let is_late = heard.is_none_or(|it| now.since(it.at) >= LATE_AFTER) || until < now;
            match (is_draining, is_store_away, is_late) {
                (true, ..) => ("draining", until_ms),
                // Nobody can be asked: that says nothing about the others.
                (false, true, _) => ("unknown", until_ms),
                (false, false, true) => ("late", until_ms),
                (false, false, false) => ("alive", until_ms),
            }
        }
    }
}

fn lease_of(app: &App, gateway: &Gateway<Vec<u8>>) -> Option<u64> {
    let (_, leases) = app.hub.leases()?;
    let mut nodes = leases.nodes.iter();
    let lease = nodes.find(|it| it.who == gateway.who)?;
    Some(lease.until.as_millis())
}

/// Something that happened to a user, for people who look on.
#[derive(Debug, Serialize)]
struct Line {
    at_ms: u64,
    gateway: String,
    user_id: String,
    what: &'static str,
    channel: Option<String>,
    session: Option<String>,
    cause: &'static str,
    reason: Option<&'static str>,
    text: String,
}

/// Says what has happened lately, on all gateways. It says who hides, so a gateway without a key refuses it.
pub(super) async fn transitions(
    app: &App,
    identity: &Identity,
    query: &Query,
) -> Result<Answer, Problem> {
    may_see_hidden(identity)?;
    let after = after(query)?;
    let limit = number(query, "limit", 1..=RECENT_MAX as u64)?.map_or(RECENT_MAX, |it| it as usize);
    let filter = query.get("filter").unwrap_or("");
    let too_long = |_| {
        let message = format!("must not be longer than {FILTER_BYTES_MAX} bytes");
        Refused::invalid("filter", message)
    };
    let wanted = RecentQuery::new(after, filter).map_err(too_long)?;
    let mut gateways = app.hub.recent(&wanted).await?;
    for gateway in &mut gateways {
        if gateway.standing == Standing::Here {
            gateway.name = Arc::from(&*app.config.node_name);
        }
        if let Some(recent) = &mut gateway.report {
            let may_see = |it: &Transition| {
                let channel = it.channel.as_ref();
                channel.is_none_or(|it| identity.may_watch_channel(it).is_ok())
            };
            recent.transitions.retain(may_see);
        }
    }
    let now = app.now();
    let mut lines: Vec<Line> = Vec::new();
    let mut is_cut = false;
    for gateway in &gateways {
        let Some(recent) = &gateway.report else {
            continue;
        };
        is_cut |= recent.is_cut;
        let transitions = recent.transitions.iter();
        lines.extend(transitions.map(|it| line(now, it, gateway, &gateways)));
    }
    lines.sort_by_key(|it| std::cmp::Reverse(it.at_ms));
    is_cut |= lines.len() > limit;
    lines.truncate(limit);
    let silent = gateways
        .iter()
        .filter(|it| matches!(it.standing, Standing::Silent { .. }));
    let body = json!({
        "gateway": app.config.node_name,
        "asked_at_ms": now.as_millis(),
        "transitions": lines,
        "is_cut": is_cut,
        "is_recorded": app.config.history_bytes_max > 0,
        "silent": silent.map(|it| &*it.name).collect::<Vec<_>>(),
    });
    Ok(http::json(StatusCode::OK, &body))
}

fn line(
    now: Timestamp,
    it: &Transition,
    gateway: &Gateway<Recent>,
    gateways: &[Gateway<Recent>],
) -> Line {
    let name = |who| {
        let known = gateways.iter().find(|it| it.who == who);
        known.map_or_else(|| format!("{who}"), |it| it.name.to_string())
    };
    let channel = it.channel.as_ref().map(|it| it.as_str().to_owned());
    Line {
        at_ms: it.at.as_millis(),
        gateway: gateway.name.to_string(),
        user_id: it.user.as_str().to_owned(),
        what: it.what.as_str(),
        text: sentence(now, it, name),
        channel,
        session: it.session.map(|it| it.to_string()),
        cause: it.cause.as_str(),
        reason: it.what.reason().map(|it| it.as_str()),
    }
}

/// Stops a gateway of the cluster, as a signal would: its clients are told to come back elsewhere, and the process ends.
/// Says whether there is such a gateway.
pub(super) async fn drain(app: &App, identity: &Identity, id: &str) -> Result<Answer, Problem> {
    identity.may_administer()?;
    let is_id = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
    if !(1..=ID_CHARS_MAX).contains(&id.len()) || !id.chars().all(is_id) {
        let message = "must be the id of a gateway, or the name of one that is alone";
        return Err(Refused::invalid("id", message).into());
    }
    let drains = match app.hub.leases() {
        None if id == app.config.node_name => {
            app.drain_myself();
            true
        }
        None => false,
        Some((me, _)) if me.to_string() == id => {
            app.drain_myself();
            true
        }
        Some((_, leases)) => {
            let mut living = leases.nodes.iter().filter(|it| !it.is_dead);
            let is_known = living.any(|it| it.who.to_string() == id);
            if is_known {
                drain_other(app, id).await?;
            }
            is_known
        }
    };
    Ok(http::json(StatusCode::OK, &json!({ "draining": drains })))
}

/// Has another gateway stop.
async fn drain_other(app: &App, id: &str) -> Result<(), Problem> {
    let question = Question::Drain {
        node: id.to_owned(),
    };
    let replies = app.hub.ask_programs(question.bytes()).await?;
    let mut replies = replies.iter().filter_map(|it| it.report.as_deref());
    let drains = |bytes: &[u8]| matches!(Reply::read(bytes), Some(Reply::Drains(true)));
    if replies.any(drains) {
        return Ok(());
    }
    let message = "that gateway does not answer";
    let why = Refused::new(ErrorCode::Unavailable, message);
    Err(why.retry_after(Timing::RENEW_AGAIN).into())
}

/// A whole number in the query, within `range`.
fn number(
    query: &Query,
    field: &'static str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Refused> {
    let Some(text) = query.given(field) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|it| range.contains(it));
    let refused = || {
        let (from, to) = range.clone().into_inner();
        let message = format!("must be a whole number from {from} to {to}");
        Refused::invalid(field, message)
    };
    number.map(Some).ok_or_else(refused)
}

/// A moment in the query, in milliseconds since 1970.
fn after(query: &Query) -> Result<Timestamp, Refused> {
    let after = number(query, "after_ms", 0..=MOMENT_MAX)?;
    Ok(Timestamp::from_millis(after.unwrap_or(0)))
}
