//! What happens right now, on all gateways: the stream of the operator's page, and the pages back from there.

use std::sync::Arc;

use hyper::StatusCode;
use presence_core::Timestamp;
use presence_core::explain::{Gateway, GatewayState, sentence};
use presence_core::history::{Place, Placed, RECENT_MAX, Recent, RecentQuery};
use serde::Serialize;
use serde_json::json;

use super::lists::may_see_hidden;
use super::operators::{moment, number};
use super::problem::Problem;
use crate::app::App;
use crate::http::{self, Answer, Query};
use crate::identity::Identity;
use crate::request::Refused;

/// Something that happened to a user, for people who look on.
#[derive(Debug, Serialize)]
struct Line {
    /// Its place, which is also where a page may go on.
    id: String,
    at_ms: u64,
    gateway: String,
    user_id: String,
    what: &'static str,
    channel: Option<String>,
    session: Option<String>,
    cause: &'static str,
    reason: Option<&'static str>,
    text: String,
}

/// Says what has happened lately, on all gateways. It says who hides, so a gateway without a key refuses it.
pub(super) async fn transitions(
    app: &App,
    identity: &Identity,
    query: &Query,
) -> Result<Answer, Problem> {
    may_see_hidden(identity)?;
    let after = moment(query, "after_ms")?;
    let before = query.given("before").map(read_place).transpose()?;
    let limit = number(query, "limit", 1..=RECENT_MAX as u64)?.map_or(RECENT_MAX, |it| it as usize);
    let filter = query.get("filter").unwrap_or("");
    let wanted = RecentQuery::new(after, filter);
    let wanted = wanted.map_err(|why| Refused::invalid("filter", why))?;
    let wanted = wanted.before(before);
    let mut gateways = app.hub.recent(&wanted).await?;
    for gateway in &mut gateways {
        if gateway.state == GatewayState::Here {
            gateway.name = Arc::from(&*app.config.node_name);
        }
    }
    let (transitions, next) = latest(&gateways, limit);
    let now = app.now();
    // A caller who may not see a channel is told less, and continues from the same place.
    let lines = transitions.into_iter().filter(|(_, it)| {
        let channel = it.transition.channel.as_ref();
        channel.is_none_or(|it| identity.may_watch_channel(it).is_ok())
    });
    let lines = lines.map(|(gateway, it)| line(now, it, gateway, &gateways));
    let lines: Vec<Line> = lines.collect();
    let silent = gateways
        .iter()
        .filter(|it| matches!(it.state, GatewayState::Silent { .. }));
    // What one has recorded is gone with it, and nobody waits for that.
    let asked: Vec<_> = silent.clone().map(|it| it.who).collect();
    let stopped = app.stopped(&asked).await;
    let silent = silent.filter(|it| !stopped.contains(&it.who));
    let body = json!({
        "gateway": app.config.node_name,
        "asked_at_ms": now.as_millis(),
        "transitions": lines,
        "next": next.map(text_of_place),
        "is_cut": next.is_some(),
        "is_recorded": app.config.history_bytes_max > 0,
        "silent": silent.map(|it| &*it.name).collect::<Vec<_>>(),
    });
    Ok(http::json(StatusCode::OK, &body))
}

/// The latest `limit` transitions of all gateways, each with the one that said it, and the place from where to ask on if
/// there may be more.
fn latest(
    gateways: &[Gateway<Recent>],
    limit: usize,
) -> (Vec<(&Gateway<Recent>, &Placed)>, Option<Place>) {
    let answers = || {
        let answers = gateways.iter();
        answers.filter_map(|it| Some((it, it.report.as_ref()?)))
    };
    // Below this, one of them may have something that it has not said.
    let mut next = answers().filter_map(|(_, it)| it.reached).max();
    let all =
        answers().flat_map(|(gateway, it)| it.transitions.iter().map(move |it| (gateway, it)));
    let mut all: Vec<_> = all
        .filter(|(_, it)| next.is_none_or(|next| it.place >= next))
        .collect();
    all.sort_by_key(|(_, it)| std::cmp::Reverse(it.place));
    if all.len() > limit {
        all.truncate(limit);
        next = all.last().map(|(_, it)| it.place);
    }
    (all, next)
}

/// A place as the API spells it: its moment in milliseconds, the node, the ring, and the position.
fn text_of_place(place: Place) -> String {
    let Place {
        at,
        node,
        ring,
        position,
    } = place;
    format!("{}-{node:016x}-{ring}-{position}", at.as_millis())
}

fn read_place(text: &str) -> Result<Place, Refused> {
    let read = || {
        let mut parts = text.split('-');
        let mut part = || parts.next().filter(|it| !it.starts_with('+'));
        let place = Place {
            at: Timestamp::from_millis(part()?.parse().ok()?),
            node: u64::from_str_radix(part()?, 16).ok()?,
            ring: part()?.parse().ok()?,
            position: part()?.parse().ok()?,
        };
        part().is_none().then_some(place)
    };
    read().ok_or_else(|| {
        let message = "must be the `id` of a line, or the `next` of an answer";
        Refused::invalid("before", message)
    })
}

fn line(
    now: Timestamp,
    placed: &Placed,
    gateway: &Gateway<Recent>,
    gateways: &[Gateway<Recent>],
) -> Line {
    let name = |who| {
        let known = gateways.iter().find(|it| it.who == who);
        known.map_or_else(|| format!("{who}"), |it| it.name.to_string())
    };
    let it = &placed.transition;
    let channel = it.channel.as_ref().map(|it| it.as_str().to_owned());
    Line {
        id: text_of_place(placed.place),
        at_ms: it.at.as_millis(),
        gateway: gateway.name.to_string(),
        user_id: it.user.as_str().to_owned(),
        what: it.what.as_str(),
        text: sentence(now, it, name),
        channel,
        session: it.session.map(|it| it.to_string()),
        cause: it.cause.as_str(),
        reason: it.what.reason().map(|it| it.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_nothing_else_is() {
        let place = Place {
            at: Timestamp::from_millis(1_704_067_199_120),
            node: 0x3fdb_a35f_04dc_8c46,
            ring: 3,
            position: 12,
        };
        assert_eq!(text_of_place(place), "1704067199120-3fdba35f04dc8c46-3-12");
        for place in [place, Place::default()] {
            assert_eq!(read_place(&text_of_place(place)).unwrap(), place);
        }
        for text in [
            "",
            "5",
            "5-0-0",
            "5-0-0-0-0",
            "-5-0-0-0",
            "5-x-0-0",
            "5-0-4294967296-0",
            "+5-0-0-0",
            " 5-0-0-0",
        ] {
            assert_eq!(
                read_place(text).unwrap_err().field.as_deref(),
                Some("before"),
                "{text:?}"
            );
        }
    }
}
