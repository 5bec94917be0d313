//! Recipes about what people choose: hiding beside a gateway that is gone, and two choices while Redis is away.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use presence_testkit::proxy::Mode;

use super::{
    A, ANSWER_TIME_MAX, B, C, Cast, LOOK_ON, NAMES, NEWS_TIME_MAX, ROOM, Wrong, difference, say,
};
use crate::random::clients::{Order, Resume};
use crate::random::ground::Ground;
use crate::random::journal::{Choice, Outcome};
use crate::random::web;

pub(super) fn hidden_beside_the_dead(ground: &mut Ground) -> Result<Wrong> {
    hide(ground, |ground| {
        ground.shared.open(B, false);
        ground.cluster.gateways[B].process.kill()
    })
}

pub(super) fn hidden_beside_the_sleeping(ground: &mut Ground) -> Result<Wrong> {
    hide(ground, |ground| ground.cluster.gateways[B].process.pause())
}

/// Each person has a session in the room at B, and another one at A, through which they hide when B is gone.
fn hide(ground: &mut Ground, lose_b: fn(&mut Ground) -> Result<()>) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B])?;
    let mut seconds = Vec::new();
    for user in &cast.users {
        seconds.push(ground.add_person(*user));
    }
    let do_all = |ground: &Ground, order: Order| {
        ground.all_do(seconds.iter().map(|vu| (*vu, order.clone())))
    };
    do_all(ground, Order::Connect(A, Resume::No))?;
    ground.sleep(NEWS_TIME_MAX);
    lose_b(ground)?;
    ground.sleep(Duration::from_millis(200));
    let hide = Order::Choose(Choice {
        status: Some("invisible".to_owned()),
        ..Choice::default()
    });
    do_all(ground, hide)?;
    ground.sleep(NEWS_TIME_MAX);
    let mut wrong = Vec::new();
    for gateway in [A, C] {
        let name = NAMES[gateway];
        let nobody = BTreeSet::new();
        let picture = ground
            .picture(cast.watchers[gateway], ROOM)
            .unwrap_or_default();
        wrong.extend(difference(
            &format!("after the answer the picture at {name}"),
            &picture,
            &nobody,
        ));
        let list = ground.listed(gateway, ROOM)?;
        wrong.extend(difference(
            &format!("after the answer the list of {name}"),
            &list,
            &nobody,
        ));
        let shown = cast.users.iter().filter(|user| {
            let look = ground.look(cast.watchers[gateway], **user);
            look.is_some_and(|it| it.status != "offline")
        });
        let shown = shown.count();
        if shown > 0 {
            wrong.push(format!(
                "after the answer {shown} users are not offline at {name}"
            ));
        }
    }
    // The gateway that sleeps is let go on, and must not show anybody either.
    ground.cluster.gateways[B].process.resume()?;
    ground.sleep(LOOK_ON);
    let stored = ground.stored()?;
    let entries: usize = stored.rooms.values().map(BTreeSet::len).sum();
    if entries > 0 {
        wrong.push(format!(
            "Redis has {entries} entries of the hidden in rooms"
        ));
    }
    for gateway in [A, C] {
        let list = ground.listed(gateway, ROOM)?;
        wrong.extend(difference(
            &format!("in the end the list of {}", NAMES[gateway]),
            &list,
            &BTreeSet::new(),
        ));
    }
    Ok(wrong)
}

pub(super) fn chosen_without_store(ground: &mut Ground) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[A, C])?;
    ground.network(Mode::Cut);
    ground.sleep(Duration::from_secs(1));
    let first: Vec<_> = cast
        .at(A)
        .iter()
        .map(|it| ground.clients[it].ask(say("FIRST")))
        .collect();
    ground.sleep(Duration::from_secs(5));
    let second: Vec<_> = cast
        .at(C)
        .iter()
        .map(|it| ground.clients[it].ask(say("SECOND")))
        .collect();
    ground.sleep(Duration::from_secs(1));
    ground.network(Mode::Pass);
    let mut answers = Vec::new();
    for told in first.into_iter().chain(second) {
        let told = ground
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_TIME_MAX, told).await });
        answers.push(told.map_or(Outcome::Unknown, |it| it.unwrap_or(Outcome::Away)));
    }
    ground.sleep(LOOK_ON / 2);
    let mut wrong = Vec::new();
    for (number, user) in cast.users.iter().enumerate() {
        if answers[cast.users.len() + number] != Outcome::Ok {
            // Unknown: then either may stand, and what the other recipes ask for is asked there.
            continue;
        }
        for gateway in [A, B, C] {
            let look = web::status(ground.address(gateway), *user)?;
            if look.message.as_deref() != Some("SECOND") {
                wrong.push(format!(
                    "{} is {look} at {}, and SECOND was answered ok",
                    user.name(),
                    NAMES[gateway]
                ));
            }
        }
    }
    if answers[cast.users.len()..]
        .iter()
        .all(|it| *it != Outcome::Ok)
    {
        bail!("no second choice was answered ok: {:?}", answers.last());
    }
    Ok(wrong)
}
