//! What gateways answer over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use presence_testkit::http;
use serde_json::Value;

use super::journal::{Look, Mark, People, Room, UserId, View};

/// How many people of a room are asked for.
const LIMIT: usize = 1000;

/// Each question comes from somebody else, so that rates do not matter.
static ASKERS: AtomicU64 = AtomicU64::new(0);

/// Who is in a room.
///
/// # Errors
///
/// The gateway does not answer, or says something else.
pub(crate) fn list(gateway: SocketAddr, room: Room) -> Result<People> {
    let room = room.name();
    let answer = ask(gateway, &format!("channel/{room}/viewers?limit={LIMIT}&"))?;
    let users = answer["users"].as_array().context("no users in a list")?;
    let person = |user: &Value| {
        let metas = user["metas"].as_array().into_iter().flatten();
        let view = View {
            look: look(user),
            marks: metas
                .flat_map(|it| Mark::all_in(&it["meta"].to_string()))
                .collect(),
        };
        Some((UserId::of(user["id"].as_str()?)?, view))
    };
    Ok(users.iter().filter_map(person).collect())
}

/// How somebody is, as everybody sees them.
///
/// # Errors
///
/// The same.
pub(crate) fn status(gateway: SocketAddr, user: UserId) -> Result<Look> {
    let answer = ask(gateway, &format!("users/{}?", user.name()))?;
    Ok(look(&answer))
}

fn ask(gateway: SocketAddr, what: &str) -> Result<Value> {
    let asker = ASKERS.fetch_add(1, Ordering::Relaxed);
    let path = format!("/api/presence/{what}user_id=asker{asker}");
    match http::get(gateway, &path)? {
        (200, body) => Ok(serde_json::from_str(&body)?),
        (status, body) => bail!("{path} was answered with {status}: {body}"),
    }
}

fn look(user: &Value) -> Look {
    Look {
        status: user["status"].as_str().unwrap_or_default().to_owned(),
        message: user["custom_message"].as_str().map(str::to_owned),
    }
}
