//! What an application's server says of a user, inside of what it signs.

use std::sync::Arc;

use presence_client::wire::{ErrorCode, Json};
use presence_core::{META_BYTES_MAX, Timestamp, UserId, WorkspaceId};
use serde::Deserialize;
use serde_json::Value;

use super::names::user_of;
use crate::config::PusherApp;
use crate::identity::{Identity, Patterns, Scopes, WORKSPACES_MAX, shown_name};
use crate::request::{self, Refused};

/// The longest `channel_data` or `user_data`.
const DATA_BYTES_MAX: usize = 2 * META_BYTES_MAX;

/// A user, as their application's server has signed it.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) user: UserId,
    /// A JSON object.
    pub(super) info: Arc<str>,
    pub(super) workspaces: Vec<WorkspaceId>,
}

#[derive(Deserialize)]
struct ChannelData {
    user_id: Value,
    user_info: Option<Json>,
    #[serde(default)]
    workspaces: Vec<String>,
}

#[derive(Deserialize)]
struct UserData {
    id: Value,
    user_info: Option<Json>,
    #[serde(default)]
    watchlist: Vec<Value>,
    #[serde(default)]
    workspaces: Vec<String>,
}

impl Signed {
    /// Reads `channel_data`.
    pub(super) fn for_channel(app: &PusherApp, data: &str) -> Result<Signed, Refused> {
        let data: ChannelData = read("channel_data", data)?;
        let user = user("user_id", app, &data.user_id)?;
        Signed::new(user, data.user_info, &data.workspaces)
    }

    /// Reads `user_data`, and whom the user wants to know online.
    pub(super) fn for_user(
        app: &PusherApp,
        data: &str,
    ) -> Result<(Signed, Vec<UserId>, usize), Refused> {
        let data: UserData = read("user_data", data)?;
        if !data.id.is_string() {
            return Err(Refused::invalid("id", "must be a string")); // or pusher-js does not take it
        }
        let id = user("id", app, &data.id)?;
        let wanted = data.watchlist.len();
        let known = data.watchlist.iter().take(super::watchlist::WATCHLIST_MAX);
        let known = known.filter_map(|it| user("watchlist", app, it).ok());
        let watchlist = known.collect();
        Ok((
            Signed::new(id, data.user_info, &data.workspaces)?,
            watchlist,
            wanted,
        ))
    }

    fn new(user: UserId, info: Option<Json>, workspaces: &[String]) -> Result<Signed, Refused> {
        let info = info.map_or_else(|| "{}".into(), Json::into_text);
        if !info.starts_with('{') {
            return Err(Refused::invalid("user_info", "must be an object"));
        }
        if info.len() > META_BYTES_MAX {
            let message = format!("user_info must be at most {META_BYTES_MAX} bytes");
            return Err(Refused::new(ErrorCode::TooLarge, message));
        }
        if workspaces.len() > WORKSPACES_MAX {
            let why = format!("must be at most {WORKSPACES_MAX}");
            return Err(Refused::invalid("workspaces", why));
        }
        let workspaces = workspaces.iter().map(|id| request::id("workspaces", id));
        Ok(Signed {
            user,
            info,
            workspaces: workspaces.collect::<Result<_, _>>()?,
        })
    }

    /// Who that is, to be let in at `since`: older than that no signature can be, as it is for one connection only.
    pub(super) fn identity(&self, since: Timestamp) -> Identity {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let named: Option<Named> = serde_json::from_str(&self.info).ok();
        Identity {
            name: named.and_then(|it| shown_name(&it.name)),
            workspaces: self.workspaces.clone(),
            ..identity(self.user.clone(), since)
        }
    }
}

/// A user of an application, who may do in its channels what a person may. Which channels those are is said by signatures.
pub(super) fn identity(user: UserId, since: Timestamp) -> Identity {
    Identity {
        user,
        name: None,
        device: None,
        workspaces: Vec::new(),
        channels: Patterns::every(),
        scopes: Scopes::of_a_user(),
        issued_at: Some(since),
        expires_at: None,
        // Each channel's signed data say the name there.
        open: true,
    }
}

fn read<'a, T: Deserialize<'a>>(field: &str, data: &'a str) -> Result<T, Refused> {
    if data.len() > DATA_BYTES_MAX {
        let message = format!("{field} must be at most {DATA_BYTES_MAX} bytes");
        return Err(Refused::new(ErrorCode::TooLarge, message));
    }
    serde_json::from_str(data)
        .map_err(|error| Refused::invalid(field, format!("is not as it should be: {error}")))
}

/// An id is a text, or a number.
fn user(field: &str, app: &PusherApp, id: &Value) -> Result<UserId, Refused> {
    let id = match id {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(Refused::invalid(field, "must be a string or a number")),
    };
    user_of(app, &id).map_err(|why| Refused::invalid(field, why))
}
