//! The lists for operators: channels, nodes and connections, and ending a connection.

use futures_util::future::join_all;
use hyper::StatusCode;
use presence_core::ports::Lease;
use presence_core::{ChannelId, Topic, UserId};
use presence_protocol::ErrorCode;
use presence_redis::LISTED_CHANNELS_MAX;
use serde::Serialize;
use serde_json::json;

use super::channels::slice;
use super::problem::Problem;
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::{Forbidden, Identity, user_id_for_admin};
use crate::journal::ConnectionId;
use crate::request::{self, Refused};
use crate::roll::{Dismissal, Line};
use crate::speech::Speech;

/// A page of channels.
#[derive(Debug, Serialize)]
struct Channels<'a> {
    channels: Vec<Channel<'a>>,
    total: usize,
    limit: usize,
    offset: usize,
}

#[derive(Debug, Serialize)]
struct Channel<'a> {
    id: &'a str,
    /// How many people are in it who can be seen.
    count: usize,
}

/// Lists the channels that somebody is in, ordered by their ids. Whoever hides is in none of them.
pub(super) async fn channels(
    app: &App,
    identity: &Identity,
    query: &Query,
) -> Result<Answer, Problem> {
    identity.may_read()?;
    let (limit, offset) = slice(query)?;
    let prefix = query.get("prefix").unwrap_or("");
    let mut found = known(app, prefix).await?;
    found.retain(|it| identity.may_watch_channel(it).is_ok());
    let page: Vec<&ChannelId> = found.iter().skip(offset).take(limit).collect();
    let pages = page.iter().map(|&channel| {
        let topic = Topic::Channel(channel.clone());
        app.hub.list(topic, 0, 0)
    });
    let mut channels = Vec::with_capacity(page.len());
    for (id, people) in page.iter().zip(join_all(pages).await) {
        let count = people?.total;
        // Who was there a moment ago may have left.
        if count > 0 {
            let id = id.as_str();
            channels.push(Channel { id, count });
        }
    }
    Ok(http::json(
        StatusCode::OK,
        &Channels {
            channels,
            total: found.len(),
            limit,
            offset,
        },
    ))
}

/// The channels that somebody is in, on any gateway, whose ids begin with `prefix`.
async fn known(app: &App, prefix: &str) -> Result<Vec<ChannelId>, Problem> {
    let here = app.hub.channels().await.into_iter();
    let here = here.map(|it| it.channel);
    let mut found: std::collections::BTreeSet<ChannelId> =
        here.filter(|it| it.as_str().starts_with(prefix)).collect();
    if let Some(shared) = &app.shared {
        let nodes: Vec<_> = app.hub.leases().map_or_else(Vec::new, |(_, it)| {
            it.nodes.iter().map(|lease| lease.who).collect()
        });
        let elsewhere = shared.channels(&nodes, prefix).await;
        found.extend(elsewhere.map_err(|_| {
            Refused::new(ErrorCode::Unavailable, "Redis does not answer")
                .retry_after(std::time::Duration::from_secs(2))
        })?);
        if found.len() > LISTED_CHANNELS_MAX {
            let message = format!(
                "there are more than {LISTED_CHANNELS_MAX} channels: ask for those with a prefix"
            );
            return Err(Refused::new(ErrorCode::TooMany, message).into());
        }
    }
    Ok(found.into_iter().collect())
}

/// A gateway of the cluster.
#[derive(Debug, Serialize)]
struct Node<'a> {
    /// The name that it was given.
    name: &'a str,
    /// The incarnation, which is the only one of its kind; `null` for a gateway that is alone.
    id: Option<String>,
    /// `alive`, `late` if its lease has run out, or `dead` if that was declared.
    state: &'static str,
    /// When its lease ends or ended, in whole seconds since 1970; for a dead node, when it was declared dead.
    lease_until: Option<u64>,
    /// Whether this is the gateway that answers.
    is_me: bool,
}

/// Lists the gateways that share the store.
pub(super) fn nodes(app: &App, identity: &Identity) -> Result<Answer, Problem> {
    identity.may_administer()?;
    let leases = app.hub.leases();
    let nodes: Vec<Node<'_>> = match &leases {
        Some((me, leases)) => leases
            .nodes
            .iter()
            .map(|lease| Node {
                name: &lease.name,
                id: Some(lease.who.to_string()),
                state: state_of(lease, app),
                lease_until: Some(lease.until.as_millis() / 1000),
                is_me: lease.who == *me,
            })
            .collect(),
        None => vec![Node {
            name: &app.config.node_name,
            id: None,
            state: "alive",
            lease_until: None,
            is_me: true,
        }],
    };
    let body = json!({
        "nodes": nodes,
        "store": match (&app.shared, app.hub.counters().shared_away_for().is_zero()) {
            (None, _) => "none",
            (Some(_), true) => "connected",
            (Some(_), false) => "away",
        },
    });
    Ok(http::json(StatusCode::OK, &body))
}

fn state_of(lease: &Lease, app: &App) -> &'static str {
    match (lease.is_dead, lease.until < app.now()) {
        (true, _) => "dead",
        (false, true) => "late",
        (false, false) => "alive",
    }
}

/// A page of connections.
#[derive(Debug, Serialize)]
struct Connections<'a> {
    gateway: &'a str,
    connections: Vec<Connection>,
    total: usize,
    limit: usize,
    /// Where the next page begins; `null` after the last one.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Connection {
    id: String,
    dialect: &'static str,
    connected_at: u64,
    sessions: Vec<Session>,
}

#[derive(Debug, Serialize)]
struct Session {
    user_id: String,
    device_id: String,
}

/// Which connections are wanted.
#[derive(Debug)]
struct Filter {
    user: Option<UserId>,
    dialect: Option<Speech>,
    /// The sessions that are in the wanted channel.
    sessions: Option<std::collections::HashSet<presence_core::SessionId>>,
}

impl Filter {
    async fn of(app: &App, query: &Query) -> Result<Self, Problem> {
        let user = query.get("user_id").map(user_id_for_admin).transpose();
        let user = user.map_err(|why| Refused::invalid("user_id", why))?;
        let dialect = match query.get("dialect") {
            None => None,
            Some(name) => Some(Speech::named(name).ok_or_else(|| {
                let names = Speech::ALL.map(Speech::name).join(", ");
                Refused::invalid("dialect", format!("must be one of {names}"))
            })?),
        };
        let sessions = match query.get("channel_id") {
            None => None,
            Some(id) => {
                let channel: ChannelId = request::id("channel_id", id)?;
                let page = app.hub.list(Topic::Channel(channel), 0, usize::MAX).await?;
                let members = page.people.iter().flat_map(|it| it.members.iter());
                Some(members.map(|it| it.session).collect())
            }
        };
        Ok(Filter {
            user,
            dialect,
            sessions,
        })
    }

    fn wants(&self, line: &Line) -> bool {
        let is_of_user = |user: &UserId| line.sessions.iter().any(|it| it.user == *user);
        self.user.as_ref().is_none_or(is_of_user)
            && self.dialect.is_none_or(|it| it == line.dialect)
            && self.sessions.as_ref().is_none_or(|sessions| {
                line.sessions
                    .iter()
                    .any(|it| sessions.contains(&it.session))
            })
    }
}

/// Lists the connections of the gateway that is asked, hidden users included.
pub(super) async fn connections(
    app: &App,
    identity: &Identity,
    query: &Query,
) -> Result<Answer, Problem> {
    may_see_hidden(identity)?;
    let (limit, _) = slice(query)?;
    if query.get("offset").is_some() {
        let message = "is not for this list: after=ID says where a page begins";
        return Err(Refused::invalid("offset", message).into());
    }
    let gateway = &app.config.node_name;
    if query.get("gateway").is_some_and(|it| it != gateway) {
        let message = format!("is another gateway than this one, which is {gateway}: ask that one");
        return Err(Refused::invalid("gateway", message).into());
    }
    let after = match query.get("after") {
        None => None,
        Some(text) => Some(ConnectionId::read(text).ok_or_else(not_an_id("after"))?),
    };
    let filter = Filter::of(app, query).await?;
    let (lines, total) = app.roll.list(|line| filter.wants(line), after, limit);
    let next = (lines.len() == limit).then(|| lines.last().map(|it| it.id.to_string()));
    let page = Connections {
        gateway,
        connections: lines.iter().map(connection_of).collect(),
        total,
        limit,
        next: next.flatten(),
    };
    Ok(http::json(StatusCode::OK, &page))
}

fn connection_of(line: &Line) -> Connection {
    let sessions = line.sessions.iter().map(|it| Session {
        user_id: it.user.as_str().to_owned(),
        device_id: it.device.as_str().to_owned(),
    });
    Connection {
        id: line.id.to_string(),
        dialect: line.dialect.name(),
        connected_at: line.began_at.as_millis() / 1000,
        sessions: sessions.collect(),
    }
}

fn not_an_id(field: &'static str) -> impl Fn() -> Refused {
    move || {
        Refused::invalid(
            field,
            "must be the id of a connection: 16 hexadecimal digits",
        )
    }
}

/// Ends one connection of this gateway. Its client comes back, unless `reconnect` is false: then its session ends.
pub(super) fn disconnect(
    app: &App,
    identity: &Identity,
    id: &str,
    query: &Query,
) -> Result<Answer, Problem> {
    may_see_hidden(identity)?;
    let id = ConnectionId::read(id).ok_or_else(not_an_id("id"))?;
    let how = match query.get("reconnect") {
        None | Some("true") => Dismissal::Reconnect,
        Some("false") => Dismissal::Leave,
        Some(_) => return Err(Refused::invalid("reconnect", "must be true or false").into()),
    };
    // Who has gone already needs nothing more, so it can be sent twice.
    let disconnected = app.roll.dismiss(id, how);
    let body = json!({ "disconnected": disconnected });
    Ok(http::json(StatusCode::OK, &body))
}

/// Checks that the caller may see who hides. Without a key everybody is an admin, and hiding shall work there too.
pub(super) fn may_see_hidden(identity: &Identity) -> Result<(), Forbidden> {
    identity.may_administer()?;
    match identity.open {
        true => Err(Forbidden::without_a_key()),
        false => Ok(()),
    }
}
