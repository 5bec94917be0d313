//! The commands of operators: the lists of channels, gateways and connections, and ending connections.

use presence_native::end::Dismissal;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use presence_protocol::event::{self, Answer};
use presence_protocol::{ErrorCode, command};
use tokio::time::timeout;

use crate::admin::ConnectionLine;
use crate::authorized::Authorized;
use crate::listing::{self, GatewayCount, Named};
use crate::request::{self, Refused};

/// How long a connection waits for a list. Nothing else is done for it meanwhile.
const LISTED_WITHIN: Duration = Duration::from_secs(5);

pub(crate) async fn channels(
    authorized: &Authorized,
    it: command::Channels,
) -> Result<Answer, Refused> {
    let (app, identity) = (authorized.host(), authorized.identity());
    identity.may_read()?;
    let limit = it.limit.unwrap_or(request::PAGE);
    let offset = it.offset.unwrap_or(0);
    let count = request::page_size(limit)?;
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    authorized.afford()?;
    let prefix = it.prefix.as_deref().unwrap_or("");
    let page = in_time(listing::channels(app, identity, prefix, (count, skip))).await?;
    let channels = page.channels.iter().map(|(id, count)| event::ChannelCount {
        id: id.as_str().into(),
        count: *count as u64,
    });
    let page = event::ChannelPage {
        channels: channels.collect(),
        total: page.total as u64,
        limit,
        offset,
    };
    Ok(Answer::Channels(page))
}

pub(crate) async fn nodes(authorized: &Authorized) -> Result<Answer, Refused> {
    let (app, identity) = (authorized.host(), authorized.identity());
    let list = in_time(listing::nodes(app, identity)).await?;
    let nodes = list.nodes.into_iter().map(|it| event::Node {
        name: it.name.into(),
        id: it.id.map(Arc::from),
        state: it.state.into(),
        lease_until: it.lease_until.map(|it| it.as_millis()),
        is_me: it.is_me,
    });
    let list = event::NodeList {
        nodes: nodes.collect(),
        store: list.store.into(),
    };
    Ok(Answer::Nodes(list))
}

pub(crate) async fn connections(
    authorized: &Authorized,
    it: command::Connections,
) -> Result<Answer, Refused> {
    let (app, identity) = (authorized.host(), authorized.identity());
    listing::may_see_hidden(identity)?;
    let limit = it.limit.unwrap_or(request::PAGE);
    let count = request::page_size(limit)?;
    authorized.afford()?;
    let named = Named {
        user: it.user_id.as_deref(),
        channel: it.channel.as_deref(),
        gateway: it.gateway.as_deref(),
        dialect: it.dialect.as_deref(),
        ..Named::natively()
    };
    let after = it.after.as_deref();
    let page = in_time(listing::connections(app, identity, named, after, count)).await?;
    let connections = page.connections.into_iter().map(connection_of);
    let page = event::ConnectionPage {
        gateway: (&*app.config.node_name).into(),
        connections: connections.collect(),
        total: page.total as u64,
        limit,
        next: page.next.map(Arc::from),
        gateways: gateways_of(page.gateways),
        silent: page.silent.into_iter().map(Arc::from).collect(),
    };
    Ok(Answer::Connections(page))
}

pub(crate) async fn disconnect(
    authorized: &Authorized,
    it: command::Disconnect,
) -> Result<Answer, Refused> {
    let (app, identity) = (authorized.host(), authorized.identity());
    let session = it.session.map(|it| it.to_string());
    let named = Named {
        user: it.user_id.as_deref(),
        channel: it.channel.as_deref(),
        session: session.as_deref(),
        connection: it.connection.as_deref(),
        gateway: it.gateway.as_deref(),
        dialect: it.dialect.as_deref(),
        ..Named::natively()
    };
    let how = match it.reconnect {
        None | Some(true) => Dismissal::Reconnect,
        Some(false) => Dismissal::Leave,
    };
    let ended = in_time(listing::disconnect(app, identity, named, how)).await?;
    let ended = event::Disconnected {
        disconnected: ended.disconnected as u64,
        gateways: gateways_of(ended.gateways),
        silent: ended.silent.into_iter().map(Arc::from).collect(),
    };
    Ok(Answer::Disconnected(ended))
}

/// Waits for a list for at most [`LISTED_WITHIN`].
async fn in_time<T>(listing: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let listed = timeout(LISTED_WITHIN, listing).await;
    listed.unwrap_or_else(|_| {
        let why = Refused::new(ErrorCode::Unavailable, "the stores do not answer in time");
        Err(why.retry_after(LISTED_WITHIN))
    })
}

fn connection_of((gateway, it): (String, ConnectionLine)) -> event::Connection {
    let sessions = it.sessions.into_iter().filter_map(|it| {
        Some(event::ConnectionSession {
            // Another gateway wrote it.
            session: it.session_id.parse().ok()?,
            user_id: it.user_id.into(),
            device_id: it.device_id.into(),
        })
    });
    event::Connection {
        id: it.id.into(),
        gateway: gateway.into(),
        dialect: it.dialect.into(),
        connected_at: it.connected_at_ms,
        sessions: sessions.collect(),
    }
}

fn gateways_of(counts: Vec<GatewayCount>) -> Vec<event::GatewayCount> {
    let gateways = counts.into_iter().map(|it| event::GatewayCount {
        name: it.name.into(),
        id: it.id.map(Arc::from),
        count: it.count as u64,
    });
    gateways.collect()
}
