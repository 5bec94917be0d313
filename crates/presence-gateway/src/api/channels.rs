//! The calls about channels and workspaces: who is there, and what services do there for users.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use presence_core::{ChannelId, DeviceId, Meta, Refusal, Topic, UserId, WorkspaceId};
use presence_protocol::{ErrorCode, Json};
use serde::Deserialize;
use serde_json::json;

use super::people::People;
use super::problem::Problem;
use super::shapes::{Online, Viewer};
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::Identity;
use crate::request::{self, PAGE, Refused};

/// The device of a user for whom a service acts, if the service does not name one.
pub(super) const DEVICE: &str = "service:api";

/// Lists who is online in a workspace.
pub(super) async fn online(
    app: &App,
    identity: &Identity,
    workspace: WorkspaceId,
    query: &Query,
) -> Result<Answer, Problem> {
    identity.may_watch_workspace(&workspace)?;
    let page = People::page(app, Topic::Workspace(workspace), query).await?;
    Ok(http::json(StatusCode::OK, &page.shown(Online::of)))
}

/// Lists who is in a channel.
pub(super) async fn viewers(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    query: &Query,
) -> Result<Answer, Problem> {
    identity.may_watch_channel(&channel)?;
    let page = People::page(app, Topic::Channel(channel), query).await?;
    Ok(http::json(StatusCode::OK, &page.shown(Viewer::of)))
}

/// Answers how many people are in a channel.
pub(super) async fn count(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
) -> Result<Answer, Problem> {
    identity.may_watch_channel(&channel)?;
    let page = app.hub.list(Topic::Channel(channel), 0, 0).await?;
    Ok(http::json(StatusCode::OK, &json!({ "count": page.total })))
}

/// Lists who is typing in a channel.
pub(super) async fn typing(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
) -> Result<Answer, Problem> {
    identity.may_watch_channel(&channel)?;
    let users = app.hub.typing(channel).await?;
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    Ok(http::json(StatusCode::OK, &json!({ "users": users })))
}

/// The part of a list that the query asks for: how many items, and how many to skip.
pub(super) fn slice(query: &Query) -> Result<(usize, usize), Refused> {
    let number = |name: &str| match query.get(name) {
        None => Ok(None),
        // What is over the largest number is behind the end of any list.
        Some(text) if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) => {
            Ok(Some(text.parse::<u64>().unwrap_or(u64::MAX)))
        }
        Some(_) => Err(Refused::invalid(name, "must be a whole number")),
    };
    let limit = request::page_size(number("limit")?.unwrap_or(PAGE))?;
    let offset = number("offset")?.unwrap_or(0);
    Ok((limit, usize::try_from(offset).unwrap_or(usize::MAX)))
}

/// The body of a join: the user, and what is shown of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinBody {
    pub(super) user_id: String,
    pub(super) device_id: Option<String>,
    pub(super) meta: Option<Json>,
}

/// The body of a call that names a user only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserBody {
    user_id: String,
}

/// The body of a broadcast: the sender, the event and the payload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BroadcastBody {
    user_id: String,
    pub(super) event: String,
    payload: Option<Json>,
}

/// Puts a user into a channel, or changes their meta there. It lasts as long as the service repeats it.
pub(super) async fn join(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    body: JoinBody,
) -> Result<Answer, Problem> {
    let user = acted_for(identity, &channel, &body.user_id)?;
    let device: DeviceId = request::id("device_id", body.device_id.as_deref().unwrap_or(DEVICE))?;
    let meta = meta_of(identity, &user, body.meta.map(Json::into_text))?;
    let joined = app.hub.act_join(&user, device, channel, meta).await;
    joined.map_err(|why| no_room(app, why))?;
    Ok(lasting(app))
}

/// The meta of `user` that a service gave.
pub(super) fn meta_of(
    identity: &Identity,
    user: &UserId,
    json: Option<Arc<str>>,
) -> Result<Arc<Meta>, Refused> {
    if identity.user == *user {
        return request::meta(json, identity);
    }
    // The name in a token is that of its owner, not of the users whom it acts for.
    let speaker = Identity {
        name: None,
        ..identity.clone()
    };
    request::meta(json, &speaker)
}

/// Why a join was refused.
pub(super) fn no_room(app: &App, why: Refusal) -> Refused {
    let why = match why {
        // There was no room for the session through which services act.
        Refusal::NoSession => Refusal::TooMany {
            what: "sessions of one user",
            max: app.config.limits.sessions_max,
        },
        why => why,
    };
    why.into()
}

/// Takes a user out of a channel. If the user is not there, nothing changes, so it can be repeated.
pub(super) async fn leave(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    body: UserBody,
) -> Result<Answer, Problem> {
    let user = acted_for(identity, &channel, &body.user_id)?;
    match app.hub.act_leave(&user, channel).await {
        Ok(()) | Err(Refusal::NoSession | Refusal::NotJoined) => {
            Ok(http::json(StatusCode::OK, &json!({ "ok": true })))
        }
        Err(why) => Err(why.into()),
    }
}

/// Reports that a user is still there.
pub(super) async fn heartbeat(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    body: UserBody,
) -> Result<Answer, Problem> {
    let user = acted_for(identity, &channel, &body.user_id)?;
    app.metrics.heartbeat();
    app.hub.act_heartbeat(&user, &channel).await.map_err(gone)?;
    Ok(lasting(app))
}

/// Broadcasts an event to everyone who watches a channel.
pub(super) async fn broadcast(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    body: BroadcastBody,
) -> Result<Answer, Problem> {
    let user = acted_for(identity, &channel, &body.user_id)?;
    identity.may_broadcast(&channel)?;
    let event = request::event_name(&body.event)?;
    let payload = body.payload.map_or_else(|| "".into(), Json::into_text);
    let payload = request::payload(payload)?;
    let said = app.hub.act_say(&user, channel, event, payload).await;
    said.map_err(gone)?;
    Ok(http::json(StatusCode::OK, &json!({ "ok": true })))
}

/// The user that a service acts for, if it may do so in that channel.
fn acted_for(identity: &Identity, channel: &ChannelId, user: &str) -> Result<UserId, Problem> {
    let user = request::user("user_id", user)?;
    identity.may_act_for(&user)?;
    identity.may_join(channel)?;
    Ok(user)
}

/// Why a call for a user who should be in the channel was refused.
pub(super) fn gone(why: Refusal) -> Refused {
    match why {
        Refusal::NoSession => Refused::new(ErrorCode::NotJoined, "join the channel first"),
        why => why.into(),
    }
}

/// The answer to a call whose effect lasts for a limited time, which it names.
fn lasting(app: &App) -> Answer {
    let ttl: Duration = app.config.timing.ttl();
    let body = json!({ "ok": true, "expires_in": ttl.as_secs() });
    http::json(StatusCode::OK, &body)
}
