//! Recipes about a gateway that is alone, and away for a moment.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use presence_testkit::gateway::Gateway;

use super::{GATHER_TIME_MAX, ROOM, Wrong};
use crate::random::clients::{Dialect, Order, Resume, VirtualUser};
use crate::random::ground::Ground;
use crate::random::journal::{At, Fact, UserId, VuId};

pub(super) fn killed(ground: &mut Ground) -> Result<Wrong> {
    restart(ground, |gateway| gateway.process.kill())
}

pub(super) fn told_to_go(ground: &mut Ground) -> Result<Wrong> {
    restart(ground, |gateway| {
        gateway.process.ask_to_go()?;
        gateway.wait_stopped()
    })
}

/// How often a lone gateway is restarted, how long it is away, and how long nothing happens afterwards.
const RESTARTS: usize = 3;
const AWAY: Duration = Duration::from_millis(1500);
const BETWEEN: Duration = Duration::from_secs(17);

/// How soon everybody is back once the gateway listens.
const BACK_TIME_MAX: Duration = Duration::from_secs(5);

/// People of three dialects are in a room and look at it, and the gateway goes away for a moment.
fn restart(ground: &mut Ground, end: fn(&mut Gateway) -> Result<()>) -> Result<Wrong> {
    let dialects = [Dialect::Json, Dialect::Phoenix, Dialect::Pusher];
    let users: BTreeSet<UserId> = ground.shared.users.iter().copied().collect();
    let mut vus = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let id = VuId(u32::try_from(number)?);
        let dialect = dialects[number % dialects.len()];
        vus.push(ground.add(VirtualUser::page(id, *user, dialect)));
    }
    ground.all_do(vus.iter().map(|vu| (*vu, Order::Connect(0, Resume::No))))?;
    ground.all_do(vus.iter().map(|vu| (*vu, Order::Join(ROOM))))?;
    let sees_all = |ground: &Ground, vu: &VuId| {
        let own = UserId(vu.0);
        let picture = ground.picture(*vu, ROOM).unwrap_or_default();
        users
            .iter()
            .all(|user| *user == own || picture.contains_key(user))
    };
    ground.until(GATHER_TIME_MAX, "not everybody saw everybody", |ground| {
        vus.iter().all(|vu| sees_all(ground, vu))
    })?;
    let mut wrong = Vec::new();
    for number in 1..=RESTARTS {
        let since = ground.now();
        end(&mut ground.cluster.gateways[0])?;
        ground.sleep(AWAY);
        ground.cluster.gateways[0].start_again()?;
        ground.sleep(BACK_TIME_MAX);
        let away = vus.iter().filter(|vu| !has_come_back(ground, **vu, since));
        let away: Vec<String> = away
            .map(|vu| format!("vu {} ({:?})", vu.0, dialects[vu.0 as usize % 3]))
            .collect();
        if !away.is_empty() {
            wrong.push(format!(
                "restart {number}: not back after 5 s: {}",
                away.join(", ")
            ));
        }
        ground.sleep(BETWEEN);
        wrong.extend(missed(ground, &users, since).map(|it| format!("restart {number}: {it}")));
        let blind = vus.iter().filter(|vu| !sees_all(ground, vu)).count();
        if blind > 0 {
            wrong.push(format!(
                "restart {number}: {blind} do not see everybody in the end"
            ));
        }
    }
    Ok(wrong)
}

/// Whether a client has joined its room again since then.
fn has_come_back(ground: &Ground, vu: VuId, since: At) -> bool {
    let facts = ground.journal().facts();
    facts
        .iter()
        .any(|(at, fact)| *at >= since && matches!(fact, Fact::Whole(who, ROOM, _) if *who == vu))
}

/// What pages would have told of people leaving since then: a leave, or a whole state in which somebody is missing.
fn missed(ground: &Ground, users: &BTreeSet<UserId>, since: At) -> Option<String> {
    let facts = ground.journal().facts();
    let mut told = Vec::new();
    for (at, fact) in facts.iter().filter(|(at, _)| *at >= since) {
        let at = at.saturating_sub(since).as_secs_f64();
        match fact {
            Fact::Left(vu, _, user, why) => {
                told.push(format!(
                    "{at:.1} s by vu {}: {} left ({why})",
                    vu.0,
                    user.name()
                ));
            }
            Fact::Whole(vu, _, people) => {
                let own = UserId(vu.0);
                let gone = users
                    .iter()
                    .find(|user| **user != own && !people.contains_key(user));
                told.extend(
                    gone.map(|user| {
                        format!("{at:.1} s by vu {}: {} was missing", vu.0, user.name())
                    }),
                );
            }
            _ => {}
        }
    }
    let first = told.first()?;
    Some(format!(
        "{} times somebody was shown leaving, such as after {first}",
        told.len()
    ))
}
