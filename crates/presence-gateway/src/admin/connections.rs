//! What one gateway says of its connections, and which of them it ends: asked by itself, or by another gateway.

use std::collections::HashSet;

use presence_core::{ChannelId, SessionId, Topic, UserId};
use presence_native::end::Dismissal;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::connection_list::Line;
use crate::dialect_name::DialectName;
use crate::identity::user_id_for_admin;
use crate::journal::{ConnectionId, Subject};
use crate::request::Refused;

/// The bytes of connections after which an answer is cut. Its reader takes `REPLY_BYTES_MAX` (512 KiB).
const LINES_BYTES_MAX: usize = 384 * 1024;

/// Which connections are meant: those that fit every field that is given.
///
/// A gateway does not answer a question with a field that it does not know: it would mean too many connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wanted {
    pub(crate) user_id: Option<String>,
    pub(crate) channel_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) connection_id: Option<String>,
    pub(crate) dialect: Option<String>,
    /// The name or the id of a gateway.
    pub(crate) gateway: Option<String>,
}

impl Wanted {
    /// What is wanted, for the log: the user, or whatever else is named.
    pub(crate) fn subject(&self) -> Subject {
        let user = self
            .user_id
            .as_ref()
            .and_then(|it| user_id_for_admin(it).ok());
        let others = [
            &self.channel_id,
            &self.session_id,
            &self.connection_id,
            &self.dialect,
            &self.gateway,
        ];
        let others: Vec<&str> = others.into_iter().flatten().map(String::as_str).collect();
        user.map_or_else(|| Subject::Id(others.join(" ")), Subject::User)
    }
}

/// The connections of one gateway that are wanted.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionsHere {
    /// Some of them, ordered by their ids.
    pub(crate) lines: Vec<ConnectionLine>,
    /// How many there are, also before and after those.
    pub(crate) total: usize,
    /// Whether there are some after the last line.
    pub(crate) is_cut: bool,
}

/// A connection, as a gateway describes it to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionLine {
    /// 16 hexadecimal digits, so the order of the texts is that of the ids.
    pub(crate) id: String,
    pub(crate) dialect: String,
    pub(crate) connected_at_ms: u64,
    pub(crate) sessions: Vec<SessionLine>,
}

/// A session of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionLine {
    pub(crate) session_id: String,
    pub(crate) user_id: String,
    pub(crate) device_id: String,
}

/// [`Wanted`], as a gateway looks for it among its connections.
#[derive(Debug, Default)]
struct Filter {
    user: Option<UserId>,
    session: Option<SessionId>,
    connection: Option<ConnectionId>,
    dialect: Option<DialectName>,
    /// The sessions that are in the wanted channel.
    members: Option<HashSet<SessionId>>,
}

impl Filter {
    async fn of(app: &App, wanted: &Wanted) -> Result<Self, Refused> {
        let user = read("user_id", wanted.user_id.as_deref(), |it| {
            user_id_for_admin(it).ok()
        })?;
        let session = read("session_id", wanted.session_id.as_deref(), session)?;
        let connection = wanted.connection_id.as_deref();
        let connection = read("connection_id", connection, ConnectionId::read)?;
        let dialect = read("dialect", wanted.dialect.as_deref(), DialectName::named)?;
        let channel = wanted.channel_id.as_deref();
        let channel = read("channel_id", channel, |it| ChannelId::new(it).ok())?;
        let members = match channel {
            None => None,
            Some(channel) => {
                let page = app.hub.list(Topic::Channel(channel), 0, usize::MAX).await?;
                let members = page.people.iter().flat_map(|it| it.members.iter());
                Some(members.map(|it| it.session).collect())
            }
        };
        Ok(Filter {
            user,
            session,
            connection,
            dialect,
            members,
        })
    }

    fn wants(&self, line: &Line) -> bool {
        let has = |fits: &dyn Fn(&SessionId, &UserId) -> bool| {
            let mut sessions = line.sessions.iter();
            sessions.any(|it| fits(&it.session, &it.user))
        };
        let user = self.user.as_ref();
        let members = self.members.as_ref();
        user.is_none_or(|user| has(&|_, it| it == user))
            && self.session.is_none_or(|id| has(&|it, _| *it == id))
            && members.is_none_or(|members| has(&|it, _| members.contains(it)))
            && self.connection.is_none_or(|it| it == line.id)
            && self.dialect.is_none_or(|it| it == line.dialect)
    }
}

fn read<T>(
    field: &str,
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refused> {
    let read = |text| read(text).ok_or_else(|| Refused::invalid(field, "has a bad value"));
    text.map(read).transpose()
}

fn session(text: &str) -> Option<SessionId> {
    let session: presence_protocol::Session = text.parse().ok()?;
    Some(SessionId::from_u128(session.0))
}

impl App {
    /// The name or the id of this gateway is `name`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let id = self.hub.leases().map(|(me, _)| me.to_string());
        *self.config.node_name == *name || id.is_some_and(|it| it == name)
    }

    fn is_meant(&self, wanted: &Wanted) -> bool {
        let gateway = wanted.gateway.as_deref();
        gateway.is_none_or(|it| self.is_called(it))
    }

    /// The connections of this gateway that are wanted, hidden users included: at most `limit` after `after`.
    ///
    /// # Errors
    ///
    /// Fails where a field has a bad value, or where it cannot be known who is in the channel.
    pub(crate) async fn connections_here(
        &self,
        wanted: &Wanted,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ConnectionsHere, Refused> {
        if !self.is_meant(wanted) {
            return Ok(ConnectionsHere::default());
        }
        let after = read("after", after, ConnectionId::read)?;
        let filter = Filter::of(self, wanted).await?;
        let more = limit.saturating_add(1);
        let (found, total) = self
            .connection_list
            .list(|line| filter.wants(line), after, more);
        let mut lines = Vec::new();
        let mut bytes = 0;
        for line in found.iter().take(limit) {
            let line = ConnectionLine::of(line);
            bytes += line.bytes();
            if bytes > LINES_BYTES_MAX && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        Ok(ConnectionsHere {
            is_cut: lines.len() < found.len(),
            lines,
            total,
        })
    }

    /// Ends the connections of this gateway that are wanted, and returns how many that are.
    ///
    /// # Errors
    ///
    /// Fails where a field has a bad value, or where it cannot be known who is in the channel. Then none is ended.
    pub(crate) async fn disconnect_here(
        &self,
        wanted: &Wanted,
        how: Dismissal,
    ) -> Result<usize, Refused> {
        if !self.is_meant(wanted) {
            return Ok(0);
        }
        let filter = Filter::of(self, wanted).await?;
        Ok(self.connection_list.dismiss(|line| filter.wants(line), how))
    }
}

impl ConnectionLine {
    fn of(line: &Line) -> Self {
        let sessions = line.sessions.iter().map(|it| SessionLine {
            session_id: it.session.to_string(),
            user_id: it.user.as_str().to_owned(),
            device_id: it.device.as_str().to_owned(),
        });
        ConnectionLine {
            id: line.id.to_string(),
            dialect: line.dialect.name().to_owned(),
            connected_at_ms: line.began_at.as_millis(),
            sessions: sessions.collect(),
        }
    }

    /// About how long it is as JSON: the texts, and the names of the fields.
    fn bytes(&self) -> usize {
        let sessions = self.sessions.iter();
        let sessions = sessions.map(|it| 96 + it.user_id.len() + it.device_id.len());
        96 + sessions.sum::<usize>()
    }
}
