//! The lists for operators over HTTP: channels, nodes and connections, and ending connections.

use hyper::StatusCode;
use presence_native::end::Dismissal;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::channels::slice;
use super::problem::Problem;
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::Identity;
use crate::listing::{self, GatewayCount, Named};
use crate::request::Refused;

pub(super) use crate::listing::may_see_hidden;

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

/// Lists the channels that somebody is in, ordered by their ids. Hidden users are in none of them.
pub(super) async fn channels(
    app: &App,
    identity: &Identity,
    query: &Query,
) -> Result<Answer, Problem> {
    identity.may_read()?;
    let (limit, offset) = slice(query)?;
    let prefix = query.get("prefix").unwrap_or("");
    let page = listing::channels(app, identity, prefix, (limit, offset)).await?;
    let channels = page.channels.iter().map(|(id, count)| Channel {
        id: id.as_str(),
        count: *count,
    });
    Ok(http::json(
        StatusCode::OK,
        &Channels {
            channels: channels.collect(),
            total: page.total,
            limit,
            offset,
        },
    ))
}

/// A gateway of the cluster.
#[derive(Debug, Serialize)]
struct Node<'a> {
    name: &'a str,
    /// `null` for a gateway that is alone.
    id: Option<&'a str>,
    state: &'static str,
    /// In whole seconds since 1970.
    lease_until: Option<u64>,
    is_me: bool,
}

/// Lists the gateways that share the store.
pub(super) async fn nodes(app: &App, identity: &Identity) -> Result<Answer, Problem> {
    let list = listing::nodes(app, identity).await?;
    let nodes = list.nodes.iter().map(|it| Node {
        name: &it.name,
        id: it.id.as_deref(),
        state: it.state,
        lease_until: it.lease_until.map(|it| it.as_millis() / 1000),
        is_me: it.is_me,
    });
    let body = json!({ "nodes": nodes.collect::<Vec<_>>(), "store": list.store });
    Ok(http::json(StatusCode::OK, &body))
}

/// A page of connections.
#[derive(Debug, Serialize)]
struct Connections<'a> {
    gateway: &'a str,
    connections: Vec<Connection<'a>>,
    total: usize,
    limit: usize,
    next: Option<&'a str>,
    gateways: Vec<Gateway<'a>>,
    silent: &'a [String],
}

#[derive(Debug, Serialize)]
struct Connection<'a> {
    id: &'a str,
    gateway: &'a str,
    dialect: &'a str,
    connected_at: u64,
    sessions: Vec<Session<'a>>,
}

#[derive(Debug, Serialize)]
struct Session<'a> {
    session_id: &'a str,
    user_id: &'a str,
    device_id: &'a str,
}

/// A gateway that has answered, and how many of its connections are meant.
#[derive(Debug, Serialize)]
struct Gateway<'a> {
    name: &'a str,
    id: Option<&'a str>,
    count: usize,
}

fn gateways(counts: &[GatewayCount]) -> Vec<Gateway<'_>> {
    let gateways = counts.iter().map(|it| Gateway {
        name: &it.name,
        id: it.id.as_deref(),
        count: it.count,
    });
    gateways.collect()
}

/// Lists the connections of all gateways, hidden users included.
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
    let named = Named {
        user: query.get("user_id"),
        channel: query.get("channel_id"),
        dialect: query.get("dialect"),
        gateway: query.get("gateway"),
        ..Named::over_http()
    };
    let page = listing::connections(app, identity, named, query.get("after"), limit).await?;
    let connections = page.connections.iter().map(|(gateway, it)| {
        let sessions = it.sessions.iter().map(|it| Session {
            session_id: &it.session_id,
            user_id: &it.user_id,
            device_id: &it.device_id,
        });
        Connection {
            id: &it.id,
            gateway,
            dialect: &it.dialect,
            connected_at: it.connected_at_ms / 1000,
            sessions: sessions.collect(),
        }
    });
    let body = Connections {
        gateway: &app.config.node_name,
        connections: connections.collect(),
        total: page.total,
        limit,
        next: page.next.as_deref(),
        gateways: gateways(&page.gateways),
        silent: &page.silent,
    };
    Ok(http::json(StatusCode::OK, &body))
}

/// The body of a call that ends connections: which ones, and whether their clients should come back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DisconnectBody {
    #[serde(default, deserialize_with = "given")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    channel_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    session_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    connection_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    gateway: Option<String>,
    #[serde(default, deserialize_with = "given")]
    dialect: Option<String>,
    #[serde(default, deserialize_with = "given")]
    reconnect: Option<bool>,
}

/// Reads a field that must not be `null`: a caller with a fault must not end more than it means.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Ends the connections that are named, on all gateways.
pub(super) async fn disconnect_all(
    app: &App,
    identity: &Identity,
    body: DisconnectBody,
) -> Result<Answer, Problem> {
    let named = Named {
        user: body.user_id.as_deref(),
        channel: body.channel_id.as_deref(),
        session: body.session_id.as_deref(),
        connection: body.connection_id.as_deref(),
        gateway: body.gateway.as_deref(),
        dialect: body.dialect.as_deref(),
        ..Named::over_http()
    };
    let how = match body.reconnect {
        None | Some(true) => Dismissal::Reconnect,
        Some(false) => Dismissal::Leave,
    };
    let ended = listing::disconnect(app, identity, named, how).await?;
    let body = json!({
        "disconnected": ended.disconnected,
        "gateways": gateways(&ended.gateways),
        "silent": ended.silent,
    });
    Ok(http::json(StatusCode::OK, &body))
}

/// Ends one connection, on whichever gateway it is. Its client comes back, unless `reconnect` is false: then its session
/// ends.
pub(super) async fn disconnect(
    app: &App,
    identity: &Identity,
    id: &str,
    query: &Query,
) -> Result<Answer, Problem> {
    may_see_hidden(identity)?;
    let how = match query.get("reconnect") {
        None | Some("true") => Dismissal::Reconnect,
        Some("false") => Dismissal::Leave,
        Some(_) => return Err(Refused::invalid("reconnect", "must be true or false").into()),
    };
    let named = Named {
        connection: Some(id),
        ..Named::over_http()
    };
    let ended = listing::disconnect(app, identity, named, how).await;
    let ended = ended.map_err(|why| match why.field.as_deref() {
        // The path calls it so.
        Some("connection_id") => Refused {
            field: Some("id".to_owned()),
            message: why.message.replacen("connection_id", "id", 1),
            ..why
        },
        _ => why,
    })?;
    let body = json!({
        "disconnected": ended.disconnected > 0,
        "gateways": gateways(&ended.gateways),
        "silent": ended.silent,
    });
    Ok(http::json(StatusCode::OK, &body))
}
