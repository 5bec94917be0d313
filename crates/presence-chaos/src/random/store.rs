//! What Redis holds, read as raw text: marks of who is in which room, and what is left of people who are gone.
//!
//! Only the names of keys are known here, as `docs/data.md` shows them. Records are searched for marks and not decoded,
//! so that a release with other records is judged in the same way.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use presence_testkit::redis::{Connection, Redis, Reply};

use super::journal::{Mark, Room, UserId};

/// Fields of a user's hash that stay when the user is gone.
const KEPT_OF_A_USER: [&str; 2] = ["profile", "clock"];

/// Kinds of keys that have to do with parts and nodes, and not with who is here.
const KEPT: [&str; 6] = ["changed", "told", "leases", "secret", "owned", "goodbye"];

/// The content of Redis at one moment.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The marks in the hash of each room.
    pub(crate) rooms: BTreeMap<Room, BTreeSet<Mark>>,
    /// The marks in the hash of each user.
    pub(crate) users: BTreeMap<UserId, BTreeSet<Mark>>,
    /// Keys, and fields of them, that stand for somebody who is here, or wait to be carried elsewhere.
    pub(crate) left: Vec<String>,
}

impl Stored {
    /// Reads all masters.
    ///
    /// # Errors
    ///
    /// One does not answer.
    pub(crate) fn read(redis: &mut Redis) -> Result<Stored> {
        let mut stored = Stored::default();
        for master in redis.masters() {
            let mut connection = Connection::open(redis.nodes()[master].port)?;
            let keys = connection.ask(&["KEYS", "*"])?;
            let keys = keys.list().unwrap_or_default().iter();
            for key in keys.filter_map(Reply::text) {
                let Some((_, name)) = key.split_once("}:") else {
                    continue;
                };
                stored.read_key(&mut connection, key, name)?;
            }
        }
        Ok(stored)
    }

    fn read_key(&mut self, connection: &mut Connection, key: &str, name: &str) -> Result<()> {
        let (kind, id) = name.split_once(':').unwrap_or((name, ""));
        match kind {
            "channel" => {
                let (fields, marks) = hash(connection, key)?;
                self.left.push(format!("{key} {fields:?}"));
                self.rooms.extend(Room::of(id).map(|room| (room, marks)));
            }
            "user" => {
                let (mut fields, marks) = hash(connection, key)?;
                fields.retain(|field| !KEPT_OF_A_USER.contains(&field.as_str()));
                if !fields.is_empty() {
                    self.left.push(format!("{key} {fields:?}"));
                }
                self.users.extend(UserId::of(id).map(|user| (user, marks)));
            }
            kind if KEPT.contains(&kind) => {}
            _ => self.left.push(key.to_owned()),
        }
        Ok(())
    }
}

/// The names of the fields of a hash, and the marks in its values.
fn hash(connection: &mut Connection, key: &str) -> Result<(Vec<String>, BTreeSet<Mark>)> {
    let reply = connection.ask(&["HGETALL", key])?;
    let pairs = reply.list().unwrap_or_default().chunks_exact(2);
    let (mut fields, mut marks) = (Vec::new(), BTreeSet::new());
    for pair in pairs {
        fields.extend(pair[0].text().map(str::to_owned));
        marks.extend(pair[1].text().map(Mark::all_in).unwrap_or_default());
    }
    Ok((fields, marks))
}
