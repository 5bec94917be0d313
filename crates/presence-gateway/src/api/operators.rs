//! What the operator's page does to a gateway, and how its calls read their queries.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::StatusCode;
use presence_core::cluster::Incarnation;
use presence_core::{Timestamp, Timing};
use presence_protocol::ErrorCode;
use serde_json::json;

use super::problem::Problem;
use crate::admin::{Question, Reply};
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::Identity;
use crate::request::Refused;

/// How long a gateway has to confirm that it drains.
const DRAIN_CONFIRMED_WITHIN: Duration = Duration::from_secs(3);
/// The longest id or name of a gateway.
const ID_CHARS_MAX: usize = 64;
/// The greatest moment that a caller may name, in milliseconds: the greatest whole number of JavaScript.
const MOMENT_MAX: u64 = (1 << 53) - 1;

/// Stops a gateway of the cluster, as a signal would: its clients are told to come back elsewhere, and the process ends.
/// Answers 202 if the gateway was asked and has not confirmed it: it drains when it goes on.
pub(super) async fn drain(app: &App, identity: &Identity, id: &str) -> Result<Answer, Problem> {
    identity.may_administer()?;
    let is_id = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
    if !(1..=ID_CHARS_MAX).contains(&id.len()) || !id.chars().all(is_id) {
        let message = "must be the id of a gateway, or the name of one that is alone";
        return Err(Refused::invalid("id", message).into());
    }
    let by = &identity.user;
    match app.hub.leases() {
        None if id == app.config.node_name => {
            app.drain_myself(Some(by));
            Ok(confirmed())
        }
        None => Err(unknown(id)),
        Some((me, _)) if me.to_string() == id => {
            app.drain_myself(Some(by));
            Ok(confirmed())
        }
        Some((_, leases)) => {
            let mut living = leases.nodes.iter().filter(|it| !it.is_dead);
            let known = living.find(|it| it.who.to_string() == id);
            let known = known.ok_or_else(|| unknown(id))?;
            let question = Question::Drain {
                node: id.to_owned(),
                by: Some(by.as_str().to_owned()),
            };
            drain_other(app, known.who, &question).await
        }
    }
}

/// Asks another gateway to drain and stop.
async fn drain_other(app: &App, who: Incarnation, question: &Question) -> Result<Answer, Problem> {
    let is_away = || !app.hub.counters().shared_away_for().is_zero();
    let cannot_ask = || {
        let message = "Redis does not answer, so that gateway cannot be asked";
        let why = Refused::new(ErrorCode::Unavailable, message);
        why.retry_after(Timing::RENEW_AGAIN)
    };
    if is_away() {
        return Err(cannot_ask().into());
    }
    let asked = app
        .hub
        .ask_program(who, question.bytes(), DRAIN_CONFIRMED_WITHIN);
    match asked.await?.as_deref().and_then(Reply::read) {
        Some(Reply::Drains(true)) => Ok(confirmed()),
        // The process has another incarnation now.
        Some(_) => Err(unknown(&who.to_string())),
        None if is_away() => Err(cannot_ask().into()),
        None => {
            let body = json!({ "draining": false, "confirmed": false });
            Ok(http::json(StatusCode::ACCEPTED, &body))
        }
    }
}

/// The answer that a gateway drains.
fn confirmed() -> Answer {
    let body = json!({ "draining": true, "confirmed": true });
    http::json(StatusCode::OK, &body)
}

/// The error for an id that no living gateway has.
fn unknown(id: &str) -> Problem {
    let message = format!("is {id}, which no gateway has that is alive");
    Problem::Other(StatusCode::NOT_FOUND, Refused::invalid("id", message))
}

/// A whole number in the query, within `range`.
pub(super) fn number(
    query: &Query,
    field: &'static str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Refused> {
    let Some(text) = query.given(field) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|it| range.contains(it));
    let refused = || {
        let (from, to) = range.clone().into_inner();
        let message = format!("must be a whole number from {from} to {to}");
        Refused::invalid(field, message)
    };
    number.map(Some).ok_or_else(refused)
}

/// A moment in the query, in milliseconds since 1970; 1970 if there is none.
pub(super) fn moment(query: &Query, field: &'static str) -> Result<Timestamp, Refused> {
    let moment = number(query, field, 0..=MOMENT_MAX)?;
    Ok(Timestamp::from_millis(moment.unwrap_or(0)))
}
