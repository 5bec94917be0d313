//! The list of the connections of this gateway, for operators.
//!
//! It is touched when a connection begins, lets somebody in, or ends, and when an operator asks; never by an event.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use presence_core::{DeviceId, SessionId, Timestamp, UserId};
use presence_native::end::Dismissal;
use tokio::sync::oneshot;

use crate::dialect_name::DialectName;
use crate::journal::ConnectionId;

/// The number of parts of the list, each behind its own lock.
const PARTS: usize = 16;

/// The connections of this gateway that were let in.
#[derive(Debug)]
pub(crate) struct ConnectionList {
    parts: [Mutex<HashMap<ConnectionId, ListedConnection>>; PARTS],
}

#[derive(Debug)]
struct ListedConnection {
    line: Line,
    /// Ends the connection; `None` once that was asked for.
    dismiss: Option<oneshot::Sender<Dismissal>>,
}

/// What is listed of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) id: ConnectionId,
    pub(crate) dialect: DialectName,
    pub(crate) began_at: Timestamp,
    /// Who was let in through it. Some protocols have several users on one connection.
    pub(crate) sessions: Vec<ListedSession>,
}

/// A session that a connection has.
#[derive(Clone, Debug)]
pub(crate) struct ListedSession {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    /// Which session. Nobody is shown this.
    pub(crate) session: SessionId,
}

impl Default for ConnectionList {
    fn default() -> Self {
        ConnectionList {
            parts: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl ConnectionList {
    /// Lists a connection that begins. What an operator asks of it arrives at the receiver.
    pub(crate) fn enter(
        &self,
        (id, dialect): (ConnectionId, DialectName),
        began_at: Timestamp,
        sessions: Vec<ListedSession>,
    ) -> oneshot::Receiver<Dismissal> {
        let (dismiss, dismissed) = oneshot::channel();
        let line = Line {
            id,
            dialect,
            began_at,
            sessions,
        };
        let dismiss = Some(dismiss);
        self.part(id).insert(id, ListedConnection { line, dismiss });
        dismissed
    }

    /// Notes that other sessions are on the connection now.
    pub(crate) fn update(&self, id: ConnectionId, sessions: Vec<ListedSession>) {
        if let Some(entry) = self.part(id).get_mut(&id) {
            entry.line.sessions = sessions;
        }
    }

    /// Removes a connection that has ended.
    pub(crate) fn leave(&self, id: ConnectionId) {
        let mut part = self.part(id);
        part.remove(&id);
        presence_core::shrink_after_burst(&mut *part);
    }

    /// Asks the connections to end that are `wanted`. Returns how many that are; those that were asked before, or end
    /// already, do not count.
    pub(crate) fn dismiss(&self, wanted: impl Fn(&Line) -> bool, how: Dismissal) -> usize {
        let mut asked = 0;
        for part in &self.parts {
            for entry in lock(part).values_mut() {
                if wanted(&entry.line)
                    && let Some(dismiss) = entry.dismiss.take()
                    && dismiss.send(how).is_ok()
                {
                    asked += 1;
                }
            }
        }
        asked
    }

    /// The connections after `after` that are `wanted`, ordered by their ids, and how many are wanted in all. At most
    /// `limit` are returned.
    pub(crate) fn list(
        &self,
        wanted: impl Fn(&Line) -> bool,
        after: Option<ConnectionId>,
        limit: usize,
    ) -> (Vec<Line>, usize) {
        let mut total = 0;
        let mut found = Vec::new();
        for part in &self.parts {
            let part = lock(part);
            let lines = part.values().map(|it| &it.line).filter(|it| wanted(it));
            for line in lines {
                total += 1;
                if after.is_none_or(|after| line.id > after) {
                    found.push(line.clone());
                }
            }
            found.sort_unstable_by_key(|it| it.id);
            found.truncate(limit);
        }
        (found, total)
    }

    fn part(&self, id: ConnectionId) -> MutexGuard<'_, HashMap<ConnectionId, ListedConnection>> {
        lock(&self.parts[id.part(PARTS)])
    }
}

fn lock(
    part: &Mutex<HashMap<ConnectionId, ListedConnection>>,
) -> MutexGuard<'_, HashMap<ConnectionId, ListedConnection>> {
    // Entries are whole before and after each change.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
