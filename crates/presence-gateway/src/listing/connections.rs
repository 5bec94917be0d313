//! The connections of all gateways: a list of them, and ending some.

use std::future::Future;

use presence_core::ChannelId;
use presence_native::end::Dismissal;

use super::may_see_hidden;
use crate::admin::{ConnectionLine, ConnectionsHere, Question, Reply, Wanted};
use crate::app::App;
use crate::dialect_name::DialectName;
use crate::identity::{Identity, user_id_for_admin};
use crate::journal::{Act, ConnectionId};
use crate::request::{self, Refused};

/// Which connections a caller means, and what the caller calls the fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) channel: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) connection: Option<&'a str>,
    pub(crate) dialect: Option<&'a str>,
    pub(crate) gateway: Option<&'a str>,
    pub(crate) names: Names,
}

/// What the protocol of a caller calls the fields whose names differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    channel: &'static str,
    session: &'static str,
    connection: &'static str,
}

/// A page of connections.
#[derive(Debug)]
pub(crate) struct ConnectionPage {
    /// The connections of the page, ordered by their ids, each with the name of its gateway.
    pub(crate) connections: Vec<(String, ConnectionLine)>,
    /// How many connections the gateways that answered have on all pages.
    pub(crate) total: usize,
    /// Where the next page begins; `None` after the last one.
    pub(crate) next: Option<String>,
    /// The gateways that answered, and how many of the connections each has.
    pub(crate) gateways: Vec<GatewayCount>,
    /// The names of those that were asked and did not answer.
    pub(crate) silent: Vec<String>,
}

/// How many connections were told to end.
#[derive(Debug)]
pub(crate) struct Disconnected {
    pub(crate) disconnected: usize,
    /// The gateways that answered, and how many of the connections each had.
    pub(crate) gateways: Vec<GatewayCount>,
    /// The names of those that were asked and did not answer.
    pub(crate) silent: Vec<String>,
}

/// A gateway that has answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayCount {
    pub(crate) name: String,
    /// The incarnation; `None` for a gateway that is alone.
    pub(crate) id: Option<String>,
    /// How many of its connections are meant.
    pub(crate) count: usize,
}

impl<'a> Named<'a> {
    /// Nothing, in the words of the HTTP API.
    pub(crate) const fn over_http() -> Self {
        Named::by(Names {
            channel: "channel_id",
            session: "session_id",
            connection: "connection_id",
        })
    }

    /// Nothing, in the words of the native protocol.
    pub(crate) const fn natively() -> Self {
        Named::by(Names {
            channel: "channel",
            session: "session",
            connection: "connection",
        })
    }

    const fn by(names: Names) -> Self {
        Named {
            user: None,
            channel: None,
            session: None,
            connection: None,
            dialect: None,
            gateway: None,
            names,
        }
    }

    fn is_anything(&self) -> bool {
        let fields = [
            self.user,
            self.channel,
            self.session,
            self.connection,
            self.dialect,
            self.gateway,
        ];
        fields.iter().any(Option::is_some)
    }

    /// Checks every field. Channels of Pusher applications are only there for tokens with a pattern for them.
    fn checked(self, identity: &Identity) -> Result<Wanted, Refused> {
        let Names {
            channel,
            session,
            connection,
        } = self.names;
        if let Some(user) = self.user {
            user_id_for_admin(user).map_err(|why| Refused::invalid("user_id", why))?;
        }
        if let Some(id) = self.channel {
            let id: ChannelId = request::id(channel, id)?;
            let may_watch = identity.may_watch_channel(&id);
            may_watch.map_err(|why| Refused {
                field: Some(channel.to_owned()),
                ..Refused::from(why)
            })?;
        }
        if let Some(id) = self.session {
            let id: Result<presence_protocol::Session, _> = id.parse();
            id.map_err(|why| Refused::invalid(session, why))?;
        }
        if let Some(id) = self.connection {
            ConnectionId::read(id).ok_or_else(|| no_connection(connection))?;
        }
        if let Some(name) = self.dialect {
            DialectName::named(name).ok_or_else(|| {
                let names = DialectName::ALL.map(DialectName::name).join(", ");
                Refused::invalid("dialect", format!("must be one of {names}"))
            })?;
        }
        let text = |it: Option<&str>| it.map(str::to_owned);
        Ok(Wanted {
            user_id: text(self.user),
            channel_id: text(self.channel),
            session_id: text(self.session),
            connection_id: text(self.connection),
            dialect: text(self.dialect),
            gateway: text(self.gateway),
        })
    }
}

fn no_connection(field: &str) -> Refused {
    Refused::invalid(
        field,
        "must be the id of a connection: 16 hexadecimal digits",
    )
}

/// Lists the connections of all gateways, hidden users included: at most `limit` after `after`.
///
/// # Errors
///
/// Fails for callers who may not see who hides, and where a field has a bad value.
pub(crate) async fn connections(
    app: &App,
    identity: &Identity,
    named: Named<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<ConnectionPage, Refused> {
    may_see_hidden(identity)?;
    if let Some(id) = after {
        ConnectionId::read(id).ok_or_else(|| no_connection("after"))?;
    }
    let wanted = named.checked(identity)?;
    let question = Question::Connections {
        wanted: wanted.clone(),
        after: after.map(str::to_owned),
        limit,
    };
    let here = app.connections_here(&wanted, after, limit);
    let read = |reply| match reply {
        Reply::Connections(it) => Some(it),
        _ => None,
    };
    let said = ask(app, named.gateway, &question, here, read).await?;
    let counts = said.answered.iter().map(|(gateway, it)| GatewayCount {
        count: it.total,
        ..gateway.clone()
    });
    let gateways: Vec<GatewayCount> = counts.collect();
    let answers = said.answered.into_iter();
    let answers = answers.map(|(gateway, it)| (gateway.name, it)).collect();
    let (connections, next) = merged(answers, limit);
    Ok(ConnectionPage {
        connections,
        total: gateways.iter().map(|it| it.count).sum(),
        next,
        gateways,
        silent: said.silent,
    })
}

/// The first `limit` connections of all gateways, and where the next page begins. A gateway whose answer was cut may have
/// further ones after its last line, so nothing after that is on this page.
fn merged(
    answers: Vec<(String, ConnectionsHere)>,
    limit: usize,
) -> (Vec<(String, ConnectionLine)>, Option<String>) {
    let cuts = answers.iter().filter(|(_, it)| it.is_cut);
    let cuts = cuts.filter_map(|(_, it)| Some(it.lines.last()?.id.clone()));
    let until = cuts.min();
    let mut lines: Vec<(String, ConnectionLine)> = Vec::new();
    for (gateway, it) in answers {
        let here = it.lines.into_iter();
        lines.extend(here.map(|line| (gateway.clone(), line)));
    }
    lines.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    let all = lines.len();
    if let Some(until) = &until {
        lines.retain(|(_, it)| it.id <= *until);
    }
    lines.truncate(limit);
    let has_more = until.is_some() || lines.len() < all;
    let last = lines.last().map(|(_, it)| it.id.clone());
    (lines, last.filter(|_| has_more))
}

/// Ends the connections that are named, on all gateways.
///
/// # Errors
///
/// Fails for callers who may not see who hides, if nothing is named, and where a field has a bad value. Where it cannot be
/// known who is in a channel, gateways may have ended connections; it can be repeated.
pub(crate) async fn disconnect(
    app: &App,
    identity: &Identity,
    named: Named<'_>,
    how: Dismissal,
) -> Result<Disconnected, Refused> {
    may_see_hidden(identity)?;
    if !named.is_anything() {
        let Names {
            channel,
            session,
            connection,
        } = named.names;
        let message = format!(
            "is missing: one of user_id, {channel}, {session}, {connection}, gateway, dialect is needed"
        );
        return Err(Refused::invalid("user_id", message));
    }
    let wanted = named.checked(identity)?;
    let ended = end(app, &named, &wanted, how).await;
    let outcome = if ended.is_ok() { "done" } else { "failed" };
    let subject = wanted.subject();
    let journal = &app.journal;
    journal.acts(Act::Disconnect, &identity.user, &subject, outcome);
    ended
}

/// Ends the connections that are wanted, on all gateways.
async fn end(
    app: &App,
    named: &Named<'_>,
    wanted: &Wanted,
    how: Dismissal,
) -> Result<Disconnected, Refused> {
    let question = Question::Disconnect {
        wanted: wanted.clone(),
        reconnect: how == Dismissal::Reconnect,
    };
    if named.connection.is_some() && named.gateway.is_none() {
        // An id is the only one of its kind, so the others need not be asked if it is found here.
        let count = app.disconnect_here(wanted, how).await?;
        if count > 0 {
            return Ok(Disconnected::from(Said {
                answered: vec![(me(app), count)],
                silent: Vec::new(),
            }));
        }
    }
    let here = app.disconnect_here(wanted, how);
    let read = |reply| match reply {
        Reply::Disconnected(count) => Some(count),
        _ => None,
    };
    let said = ask(app, named.gateway, &question, here, read).await?;
    Ok(said.into())
}

impl From<Said<usize>> for Disconnected {
    fn from(said: Said<usize>) -> Self {
        let gateways = said.answered.into_iter();
        let gateways = gateways.map(|(gateway, count)| GatewayCount { count, ..gateway });
        let gateways: Vec<GatewayCount> = gateways.collect();
        Disconnected {
            disconnected: gateways.iter().map(|it| it.count).sum(),
            gateways,
            silent: said.silent,
        }
    }
}

/// What the gateways say that were asked.
struct Said<R> {
    answered: Vec<(GatewayCount, R)>,
    silent: Vec<String>,
}

/// This gateway, without a count.
fn me(app: &App) -> GatewayCount {
    GatewayCount {
        name: app.config.node_name.to_string(),
        id: app.hub.leases().map(|(me, _)| me.to_string()),
        count: 0,
    }
}

/// Asks the living gateways that are called `gateway`, or all of them. What this one says is `here`.
async fn ask<R>(
    app: &App,
    gateway: Option<&str>,
    question: &Question,
    here: impl Future<Output = Result<R, Refused>>,
    read: impl Fn(Reply) -> Option<R>,
) -> Result<Said<R>, Refused> {
    let is_meant = |name: &str, id: &str| gateway.is_none_or(|it| it == name || it == id);
    let asks_me = gateway.is_none_or(|it| app.is_called(it));
    let asks_others = app.hub.leases().is_some_and(|(me, leases)| {
        let mut others = leases.nodes.iter();
        others.any(|it| {
            let is_other = !it.is_dead && it.who.node != me.node;
            is_other && is_meant(&it.name, &it.who.to_string())
        })
    });
    if !asks_me && !asks_others {
        let message = "must be the name or the id of a gateway that lives: /api/presence/nodes and presence:nodes list them";
        return Err(Refused::invalid("gateway", message));
    }
    let mine = async {
        match asks_me {
            true => here.await.map(Some),
            false => Ok(None),
        }
    };
    let others = async {
        match asks_others {
            true => app.hub.ask_programs(question.bytes()).await,
            false => Ok(Vec::new()),
        }
    };
    let (mine, others) = tokio::join!(mine, others);
    let mut said = Said {
        answered: Vec::from_iter(mine?.map(|it| (me(app), it))),
        silent: Vec::new(),
    };
    for other in others? {
        let (name, id) = (other.name.to_string(), other.who.to_string());
        let is_dead = matches!(
            other.state,
            presence_core::explain::GatewayState::Dead { .. }
        );
        if is_dead || !is_meant(&name, &id) {
            continue;
        }
        // One that does not understand the question, because it is of an older release, has not answered it.
        let reply = other.report.as_deref().and_then(Reply::read);
        match reply.and_then(&read) {
            Some(reply) => {
                let id = Some(id);
                let gateway = GatewayCount { name, id, count: 0 };
                said.answered.push((gateway, reply));
            }
            None => said.silent.push(name),
        }
    }
    said.answered
        .sort_by(|(a, _), (b, _)| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    said.silent.sort();
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(ids: &[&str], is_cut: bool) -> ConnectionsHere {
        let lines = ids.iter().map(|&id| ConnectionLine {
            id: id.to_owned(),
            dialect: "native".to_owned(),
            connected_at_ms: 0,
            sessions: Vec::new(),
        });
        ConnectionsHere {
            lines: lines.collect(),
            total: ids.len(),
            is_cut,
        }
    }

    /// The ids of a page, each with its gateway, and where the next page begins.
    fn page(one: ConnectionsHere, two: ConnectionsHere, limit: usize) -> (String, Option<String>) {
        let answers = vec![("one".to_owned(), one), ("two".to_owned(), two)];
        let (lines, next) = merged(answers, limit);
        let lines = lines
            .iter()
            .map(|(gateway, it)| format!("{gateway}:{}", it.id));
        (lines.collect::<Vec<_>>().join(" "), next)
    }

    #[test]
    fn a_page_has_the_first_of_all_gateways() {
        let found = page(here(&["1", "4"], false), here(&["2", "3"], false), 3);
        assert_eq!(found, ("one:1 two:2 two:3".into(), Some("3".into())));
        let found = page(here(&["4"], false), here(&[], false), 3);
        assert_eq!(found, ("one:4".into(), None));
        let found = page(here(&[], false), here(&[], false), 3);
        assert_eq!(found, (String::new(), None));
        let found = page(here(&["1"], false), here(&["2"], false), 2);
        assert_eq!(found, ("one:1 two:2".into(), None));
    }

    #[test]
    fn nothing_is_skipped_where_an_answer_was_cut() {
        // The first may have a 3, so the 4 is on the next page.
        let found = page(here(&["1", "2"], true), here(&["4"], false), 10);
        assert_eq!(found, ("one:1 one:2".into(), Some("2".into())));
        let found = page(here(&["1", "5"], true), here(&["2", "3"], true), 10);
        assert_eq!(found, ("one:1 two:2 two:3".into(), Some("3".into())));
    }
}
