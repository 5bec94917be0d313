//! Whether an explanation, asked of any gateway, says what the driver did: through which gateway each person is here,
//! or how they left, and when.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use presence_testkit::http;
use serde_json::Value;

use crate::journal::{At, Ending};

/// A device, and the name of the gateway that it is connected to.
pub(crate) type Connected = (String, String);

/// What the driver knows of one person.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Known {
    /// They are here, through these connections.
    Here(BTreeSet<Connected>),
    /// Their last connection has ended.
    Gone {
        /// When it ended.
        at: At,
        /// How it ended.
        ending: Ending,
    },
}

/// How an explanation compares with what the driver knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The explanation agrees with the truth.
    Same,
    /// No gateway that answered knows how the person left: those that did may have been killed.
    NotRecorded,
    /// The explanation differs from the truth; the text says in what.
    Different(String),
}

/// Asks a gateway why `user` is shown what they are shown. Without keys users are asked about by themselves.
///
/// # Errors
///
/// The gateway does not answer, or answers with something else.
pub(crate) fn ask(gateway: SocketAddr, user: &str) -> Result<Value> {
    let path = format!("/api/presence/users/{user}/explain?user_id={user}");
    match http::get(gateway, &path)? {
        (200, body) => Ok(serde_json::from_str(&body)?),
        (status, body) => bail!("{path} was answered with {status}: {body}"),
    }
}

/// Compares an explanation that was asked for at `now` with what is `known`. An end may be told up to `late` after it.
///
/// # Errors
///
/// The explanation is not as the documentation says.
pub(crate) fn compare(
    explained: &Value,
    known: &Known,
    now: At,
    late: impl Fn(Ending) -> Duration,
) -> Result<Verdict> {
    let shown = explained["shown"].as_str().context("no `shown`")?;
    Ok(match known {
        Known::Here(connected) => {
            let told = connected_in(explained)?;
            match (shown, told == *connected) {
                ("offline", _) => Verdict::Different("shown offline".to_owned()),
                (_, true) => Verdict::Same,
                (_, false) => Verdict::Different(format!("through {told:?}, not {connected:?}")),
            }
        }
        Known::Gone { .. } if shown != "offline" => {
            Verdict::Different(format!("shown {shown} though they are gone"))
        }
        Known::Gone { at, ending } => {
            let late = late(*ending);
            compare_end(explained, (*at, *ending), now, late)?
        }
    })
}

/// The devices that are connected, each with its gateway.
fn connected_in(explained: &Value) -> Result<BTreeSet<Connected>> {
    let sessions = explained["sessions"].as_array().context("no `sessions`")?;
    let sessions = sessions.iter().filter(|it| it["state"] == "connected");
    let named = sessions.map(|it| {
        let text = |name: &str| it[name].as_str().map(str::to_owned);
        Some((text("device_id")?, text("gateway")?))
    });
    named
        .collect::<Option<_>>()
        .context("a session without device or gateway")
}

fn compare_end(
    explained: &Value,
    (ended, ending): (At, Ending),
    now: At,
    late: Duration,
) -> Result<Verdict> {
    let history = explained["history"].as_array().context("no `history`")?;
    let Some(last) = history.iter().find(|it| it["what"] == "session_ended") else {
        return Ok(Verdict::NotRecorded);
    };
    let reason = last["reason"].as_str().context("an end has a reason")?;
    let why = explained["why"].as_array().context("no `why`")?;
    let Some(fact) = why.iter().find(|it| it["fact"] == "last_ended") else {
        return Ok(Verdict::Different("no fact `last_ended`".to_owned()));
    };
    let age = since(&explained["asked_at"], &fact["at"])?;
    let told = now.saturating_sub(age);
    let fits = match ending {
        Ending::Left => reason == "left",
        Ending::Lost | Ending::HalfOpen => matches!(reason, "lost" | "timed_out"),
        // A gateway that stops closes connections by itself, and others hold the sessions.
        Ending::NodeGone => matches!(reason, "node_lost" | "lost" | "timed_out"),
    };
    // Clocks of gateways and of the driver differ a little.
    let slack = Duration::from_millis(500);
    let is_then = told + slack >= ended && told <= ended + late + slack;
    if !fits {
        return Ok(Verdict::Different(format!(
            "{ending:?} is told as {reason}"
        )));
    }
    if !is_then {
        let (told, ended) = (told.as_secs_f64(), ended.as_secs_f64());
        let text = format!("{ending:?} at {ended:.1} s is told as of {told:.1} s");
        return Ok(Verdict::Different(text));
    }
    Ok(Verdict::Same)
}

/// The time from `earlier` to `later`, which are texts as in `2026-11-30T14:03:10.250Z`, less than a day apart.
fn since(later: &Value, earlier: &Value) -> Result<Duration> {
    let of_day = |value: &Value| -> Option<f64> {
        let time = value.as_str()?.split_once('T')?.1.strip_suffix('Z')?;
        let parts: Vec<f64> = time
            .split(':')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [hours, minutes, seconds] = parts[..] else {
            return None;
        };
        Some((hours * 60.0 + minutes) * 60.0 + seconds)
    };
    let later = of_day(later).context("no time of the question")?;
    let earlier = of_day(earlier).context("a fact without a time")?;
    let seconds = (later - earlier).rem_euclid(24.0 * 3600.0);
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: At = Duration::from_secs(100);

    #[test]
    fn who_is_here_is_here_through_the_gateways_that_the_driver_uses() {
        let session = |state: &str, gateway: &str| json!({"state": state, "device_id": "web:1", "gateway": gateway});
        let here = |gateways: &[&str]| {
            let all = gateways.iter();
            Known::Here(
                all.map(|it| ("web:1".to_owned(), (*it).to_owned()))
                    .collect(),
            )
        };
        let told = json!({"shown": "online", "sessions": [session("connected", "a"), session("held", "b")]});
        assert_eq!(verdict(&told, &here(&["a"])), Verdict::Same);
        assert_ne!(verdict(&told, &here(&["b"])), Verdict::Same);
        assert_ne!(verdict(&told, &here(&["a", "b"])), Verdict::Same);
        let offline = json!({"shown": "offline", "sessions": [session("connected", "a")]});
        assert_ne!(verdict(&offline, &here(&["a"])), Verdict::Same);
        assert_ne!(verdict(&told, &gone(90, Ending::Left)), Verdict::Same);
    }

    #[test]
    fn an_end_has_its_reason_and_its_time() {
        let told = |reason: &str, at: &str| {
            json!({
                "shown": "offline",
                "asked_at": "2026-12-01T00:00:05.000Z",
                "why": [{"fact": "last_ended", "at": at}],
                "history": [{"what": "session_ended", "reason": reason}],
            })
        };
        // Ten seconds before the question, across midnight.
        let left = told("left", "2026-11-30T23:59:55.000Z");
        assert_eq!(verdict(&left, &gone(90, Ending::Left)), Verdict::Same);
        assert_eq!(verdict(&left, &gone(89, Ending::Left)), Verdict::Same);
        assert_ne!(verdict(&left, &gone(92, Ending::Left)), Verdict::Same);
        assert_ne!(verdict(&left, &gone(80, Ending::Left)), Verdict::Same);
        assert_ne!(verdict(&left, &gone(90, Ending::Lost)), Verdict::Same);
        let lost = told("node_lost", "2026-11-30T23:59:55.000Z");
        assert_eq!(verdict(&lost, &gone(90, Ending::NodeGone)), Verdict::Same);
        assert_ne!(verdict(&lost, &gone(90, Ending::Left)), Verdict::Same);
        let nothing = json!({"shown": "offline", "why": [], "history": []});
        let verdict = verdict(&nothing, &gone(90, Ending::Left));
        assert_eq!(verdict, Verdict::NotRecorded);
    }

    fn gone(seconds: u64, ending: Ending) -> Known {
        let at = Duration::from_secs(seconds);
        Known::Gone { at, ending }
    }

    fn verdict(explained: &Value, known: &Known) -> Verdict {
        compare(explained, known, NOW, |_| Duration::from_secs(2)).unwrap()
    }
}
