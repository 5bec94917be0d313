//! The calls with which a service acts for many users of a channel at once.
//!
//! What is wrong with a request refuses all of it, and nothing has happened. What the hub refuses is about one user, and
//! is in the result of that user.

use std::collections::HashMap;

use hyper::StatusCode;
use presence_core::{ChannelId, DeviceId, Refusal, UserId};
use presence_protocol::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::channels::{DEVICE, JoinBody, gone, meta_of, no_room};
use super::problem::Problem;
use crate::app::App;
use crate::http::{self, Answer};
use crate::identity::Identity;
use crate::request::{self, Refused, USERS_MAX};

/// The body of a join of many users.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinAllBody {
    pub(super) users: Vec<JoinBody>,
}

/// The body of a heartbeat of many users.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersBody {
    user_ids: Vec<String>,
}

/// What became of one user of the request.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    user_id: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

/// Puts users into a channel, or changes their metas there. It lasts as long as the service repeats it.
pub(super) async fn join(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    body: JoinAllBody,
) -> Result<Answer, Problem> {
    identity.may_join(&channel)?;
    if body.users.is_empty() || body.users.len() > USERS_MAX {
        let why = format!("must be 1 to {USERS_MAX} users");
        return Err(Refused::invalid("users", why).into());
    }
    let mut joining = Vec::with_capacity(body.users.len());
    for (n, it) in body.users.into_iter().enumerate() {
        let user = request::user("user_id", &it.user_id).map_err(|why| within(n, why))?;
        identity
            .may_act_for(&user)
            .map_err(|why| within(n, why.into()))?;
        let device = it.device_id.as_deref().unwrap_or(DEVICE);
        let device = request::id::<DeviceId>("device_id", device).map_err(|why| within(n, why))?;
        let meta = it.meta.map(Json::into_text);
        let meta = meta_of(identity, &user, meta).map_err(|why| within(n, why))?;
        joining.push((user, (device, meta)));
    }
    let users: Vec<UserId> = joining.iter().map(|(user, _)| user.clone()).collect();
    let (joining, places) = once_each(joining);
    let joining = joining.into_iter();
    let joining = joining.map(|(user, (device, meta))| (user, device, meta));
    let outcomes = app.hub.act_join_all(channel, joining.collect()).await?;
    let outcomes = places
        .iter()
        .map(|&place| outcomes[place].clone())
        .collect();
    Ok(answer(app, &users, outcomes, |why| no_room(app, why)))
}

/// Reports that users are still there.
pub(super) async fn heartbeat(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
    body: UsersBody,
) -> Result<Answer, Problem> {
    identity.may_join(&channel)?;
    let users = request::users("user_ids", &body.user_ids)?;
    for user in &users {
        identity.may_act_for(user).map_err(|why| Refused {
            field: Some("user_ids".to_owned()),
            ..Refused::from(why)
        })?;
    }
    let (once, places) = once_each(users.iter().map(|user| (user.clone(), ())));
    let once: Vec<UserId> = once.into_iter().map(|(user, ())| user).collect();
    once.iter().for_each(|_| app.metrics.heartbeat());
    let outcomes = app.hub.act_heartbeat_all(&once, &channel).await?;
    let outcomes = places
        .iter()
        .map(|&place| outcomes[place].clone())
        .collect();
    Ok(answer(app, &users, outcomes, gone))
}

/// Each user once, with the last of what is said of them, and for each of `named` the place of its user there. One call
/// counts once against the rates, so a user who is named a thousand times must not be a thousand commands.
fn once_each<T>(named: impl IntoIterator<Item = (UserId, T)>) -> (Vec<(UserId, T)>, Vec<usize>) {
    let mut once: Vec<(UserId, T)> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    let mut known: HashMap<UserId, usize> = HashMap::new();
    for (user, it) in named {
        let place = *known.entry(user.clone()).or_insert(once.len());
        match once.get_mut(place) {
            Some(before) => before.1 = it,
            None => once.push((user, it)),
        }
        places.push(place);
    }
    (once, places)
}

/// The refusal of the `n`th user of a list, with the place of what it is about.
fn within(n: usize, why: Refused) -> Refused {
    Refused {
        field: why.field.as_deref().map(|it| format!("users[{n}].{it}")),
        message: format!("users[{n}].{}", why.message),
        ..why
    }
}

/// The answer with one result for each user, in the order of the request.
fn answer(
    app: &App,
    users: &[UserId],
    outcomes: Vec<Result<(), Refusal>>,
    refused: impl Fn(Refusal) -> Refused,
) -> Answer {
    let results = users.iter().zip(outcomes).map(|(user, outcome)| {
        let error = outcome.err().map(|why| http::error_json(&refused(why)));
        Outcome {
            user_id: user.as_str(),
            ok: error.is_none(),
            error,
        }
    });
    let results: Vec<_> = results.collect();
    let expires_in = app.config.timing.ttl().as_secs();
    let body = json!({ "results": results, "expires_in": expires_in });
    http::json(StatusCode::OK, &body)
}
