//! The calls about users: their status, changing it, kicking and erasing them.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use hyper::StatusCode;
use presence_core::history::Cause;
use presence_core::{Refusal, Timestamp, UserId};
use presence_protocol::{Chosen, ErrorCode, Field};
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Serialize};
use serde_json::{Number, json};

use super::problem::Problem;
use super::shapes::{Own, Seen};
use crate::app::App;
use crate::http::{self, Answer};
use crate::identity::Identity;
use crate::numbers::whole_number;
use crate::request::{self, Refused, StatusRequest};
use crate::revoking::NotKept;

/// How long tokens that were issued before a kick are refused: longer than tokens should be valid.
const REVOKED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a bulk request waits for profiles to be read, before it answers without those users.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// When to repeat a kick that could not be stored.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Answers the status of a user: to themselves and to an admin the true one, to others what they may see.
pub(super) async fn show(app: &App, identity: &Identity, user: &UserId) -> Result<Answer, Problem> {
    identity.may_watch_user(user)?;
    // Where everybody is who they say, everybody is an admin; hiding shall work there too.
    let is_admin = !identity.open && identity.may_administer().is_ok();
    if *user == identity.user || is_admin {
        return own(app, user).await;
    }
    let public_view = app.hub.public_view(user).await?;
    Ok(http::json(StatusCode::OK, &Seen::of(&public_view)))
}

async fn own(app: &App, user: &UserId) -> Result<Answer, Problem> {
    let own_view = app.hub.own_view(user).await?;
    Ok(http::json(StatusCode::OK, &Own::of(&own_view)))
}

/// The body of a bulk request: the ids of users.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkBody {
    pub(super) user_ids: Vec<String>,
}

/// The answer to a bulk request.
#[derive(Debug, Serialize)]
struct BulkAnswer<'a> {
    users: Vec<Seen<'a>>,
    /// Those whose profiles could not be read in time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable: Vec<&'a str>,
}

/// Answers the public status of many users, in the order of the request.
pub(super) async fn bulk(
    app: &App,
    identity: &Identity,
    body: BulkBody,
) -> Result<Answer, Problem> {
    let mut users = request::users("user_ids", &body.user_ids)?;
    let mut known = HashSet::with_capacity(users.len());
    users.retain(|user| known.insert(user.clone()));
    for user in &users {
        identity.may_watch_user(user)?;
    }
    let public_views = app.hub.public_views_within(READ_WITHIN, &users).await?;
    let known = public_views.iter().flatten();
    let body = BulkAnswer {
        users: known.map(Seen::of).collect(),
        unavailable: {
            let all = users.iter().zip(&public_views);
            let unknown = all.filter(|(_, it)| it.is_none());
            unknown.map(|(user, _)| user.as_str()).collect()
        },
    };
    if body.users.is_empty() {
        return Err(Refusal::Unavailable.into());
    }
    Ok(http::json(StatusCode::OK, &body))
}

/// The body of a change of status: each field is absent, `null`, or a value.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StatusBody {
    status: Field<Chosen>,
    custom_message: Field<String>,
    emoji: Field<String>,
    clear_after: Field<Seconds>,
    expires_at: Field<Seconds>,
}

impl StatusBody {
    /// The change that the body asks for, not yet checked.
    pub(super) fn request(self) -> StatusRequest {
        StatusRequest {
            status: self.status,
            custom_message: self.custom_message,
            emoji: self.emoji,
            clear_after: self.clear_after.map(|it| Duration::from_secs(it.0)),
            expires_at: self
                .expires_at
                .map(|it| Timestamp::from_millis(it.0.saturating_mul(1000))),
        }
    }
}

/// Changes a status. Answers with the new status once it is saved.
pub(super) async fn choose(
    app: &App,
    identity: &Identity,
    user: &UserId,
    body: StatusBody,
    replaces: bool,
) -> Result<Answer, Problem> {
    if replaces && !matches!(body.status, Field::Value(_)) {
        return Err(Refused::invalid("status", "is missing").into());
    }
    let change = body.request().checked(app.now())?;
    let change = match replaces {
        true => change.replacing(),
        false => change,
    };
    let by = match *user == identity.user {
        true => Cause::Owner,
        false => Cause::Service,
    };
    app.hub.choose_by(user, change, by).await?;
    own(app, user).await
}

/// Ends every session of a user, and refuses the tokens they have.
pub(super) async fn kick(app: &App, identity: &Identity, user: &UserId) -> Result<Answer, Problem> {
    identity.may_administer()?;
    let kept = revoke_tokens(app, identity, user).await?;
    match app.hub.kick(user).await {
        Ok(()) | Err(Refusal::NoSession) => {}
        Err(why) => return Err(why.into()),
    }
    kept.map_err(not_kept)?;
    Ok(http::json(StatusCode::OK, &json!({ "ok": true })))
}

/// Kicks a user, refuses the tokens they have, and removes what is stored about them.
pub(super) async fn erase(
    app: &App,
    identity: &Identity,
    user: &UserId,
) -> Result<Answer, Problem> {
    identity.may_administer()?;
    // Or else their page would be back at once, and be somebody new of that name.
    let kept = revoke_tokens(app, identity, user).await?;
    app.hub.erase(user).await?;
    kept.map_err(not_kept)?;
    Ok(http::nothing(StatusCode::NO_CONTENT))
}

/// Refuses the tokens of a user from now on. Returns whether that is stored, for every gateway and beyond the end
/// of this one.
async fn revoke_tokens(
    app: &App,
    identity: &Identity,
    user: &UserId,
) -> Result<Result<(), NotKept>, Problem> {
    if identity.open {
        // Without tokens a user could never come back.
        return Ok(Ok(()));
    }
    let revoked = app.gate.revoked.revoke(user, app.now(), REVOKED_FOR);
    let revoked = revoked.map_err(|full| Refused::new(ErrorCode::TooMany, full.to_string()))?;
    Ok(app.revoking.keep(revoked).await)
}

/// The error for a revocation that is not stored: the user is out of this gateway, but perhaps not of others.
fn not_kept(why: NotKept) -> Refused {
    let message = why.to_string();
    match why {
        NotKept::Away => Refused::new(ErrorCode::Unavailable, message).retry_after(TRY_AGAIN),
        NotKept::Full => Refused::new(ErrorCode::TooMany, message),
    }
}

/// Reads a whole number of seconds.
#[derive(Clone, Copy, Debug)]
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl serde::de::Visitor<'_> for Read {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of seconds")
            }
            fn visit_u64<E>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds(seconds))
            }

            // JSON knows one kind of number: `60.0` is whole.
            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
                let number = Number::from_f64(seconds);
                let whole = number.as_ref().and_then(whole_number);
                let whole = whole.and_then(|it| it.parse().ok()).map(Seconds);
                whole.ok_or_else(|| E::invalid_type(Unexpected::Float(seconds), &self))
            }
        }
        from.deserialize_u64(Read)
    }
}
