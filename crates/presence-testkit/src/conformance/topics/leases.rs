//! Clauses about leases: which nodes are alive.

use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_core::ports::{Lease, Leases, Renewal, Topics};
use tokio::time::sleep;

use super::case::Case;
use super::node::{LONG, Node, STORED_UP_TO_MS};

/// The length of a lease whose end the suite waits for.
const SHORT: Duration = Duration::from_millis(50);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(5);
/// How far a lease may be off, for a store that counts in seconds.
const SLACK: Duration = Duration::from_secs(1);

pub(super) async fn a_lease_is_new_and_then_goes_on<T: Topics>(case: &Case<T>) {
    let me = case.stranger();
    let first = case.here.renew(me, LONG).await;
    case.same("the renewal of a first lease", first.mine, Renewal::New);
    let mut before = check_runs(case, &first, me, LONG);
    for node in [&case.here, &case.there] {
        let again = node.renew(me, LONG).await;
        case.same("the renewal of a second", again.mine, Renewal::Renewed);
        let until = check_runs(case, &again, me, LONG);
        case.holds(until >= before, "a lease that was renewed ends earlier");
        case.holds(
            again.now >= first.now,
            "the time of the store runs backwards",
        );
        before = until;
    }
    case.here.forget(me).await;
}

pub(super) async fn leases_are_listed_with_their_names<T: Topics>(case: &Case<T>) {
    let (node, mut held) = (case.random(), Vec::new());
    // Two generations of a node are two; so are two nodes that differ in a bit.
    for (node, generation) in [(node, 1), (node, 2), (node ^ 1, 1), (node, u32::MAX)] {
        held.push(Incarnation { node, generation });
    }
    let names = ["gateway-1.eu_west:4000", "Zoë's 🎯", "a b\"c", ""];
    for (who, name) in held.iter().zip(names) {
        let stored_up_to = Timestamp::from_millis(STORED_UP_TO_MS);
        let renewed = case.here.link.renew(*who, name, LONG, stored_up_to).await;
        case.holds(renewed.is_ok(), "renewing a lease failed");
    }
    let me = case.stranger();
    let all = case.there.renew(me, LONG).await;
    for (who, name) in held.iter().zip(names) {
        check_runs(case, &all, *who, LONG);
        let told = lease(case, &all, *who).name;
        case.same("the name of a node", &*told, name);
        let stored_up_to = lease(case, &all, *who).stored_up_to;
        case.same(
            "until when all of it is there",
            stored_up_to.as_millis(),
            STORED_UP_TO_MS,
        );
    }
    for who in held.iter().chain([&me]) {
        case.here.forget(*who).await;
    }
}

pub(super) async fn a_lapsed_lease_goes_on_when_it_is_renewed<T: Topics>(case: &Case<T>) {
    let me = case.stranger();
    case.here.renew(me, SHORT).await;
    let lapsed = until_it_lapses(case, me).await;
    case.holds(
        !lapsed.is_dead,
        "a lease that lapsed is dead before anyone marked it dead",
    );
    let again = case.here.renew(me, LONG).await;
    case.same(
        "the renewal of one that lapsed",
        again.mine,
        Renewal::Renewed,
    );
    check_runs(case, &again, me, LONG);
    case.here.forget(me).await;
}

pub(super) async fn a_running_lease_is_not_marked_dead<T: Topics>(case: &Case<T>) {
    let me = case.stranger();
    case.here.renew(me, LONG).await;
    for node in [&case.here, &case.there] {
        case.holds(
            !node.mark_dead(me).await,
            "a node whose lease runs was marked dead",
        );
    }
    let again = case.here.renew(me, LONG).await;
    case.same("the renewal of one that runs", again.mine, Renewal::Renewed);
    check_runs(case, &again, me, LONG);
    case.here.forget(me).await;
}

pub(super) async fn a_lapsed_lease_is_marked_dead_for_ever<T: Topics>(case: &Case<T>) {
    let (me, other) = (case.stranger(), case.stranger());
    case.here.renew(me, SHORT).await;
    until_it_lapses(case, me).await;
    let before = case.there.renew(other, LONG).await.now;
    case.holds(
        case.there.mark_dead(me).await,
        "a node whose lease has lapsed was not marked dead",
    );
    let after = case.there.renew(other, LONG).await.now;
    for _ in 0..3 {
        let late = case.here.renew(me, LONG).await;
        case.same("the renewal of a dead one", late.mine, Renewal::Dead);
        let dead = lease(case, &late, me);
        case.holds(dead.is_dead, "renewing has revived a dead node");
        case.holds(
            (before..=after).contains(&dead.until),
            &format!("{dead:?} was marked dead between {before:?} and {after:?}"),
        );
        case.same("the name of a dead one", &*dead.name, "a node of a test");
        case.holds(
            case.here.mark_dead(me).await,
            "a dead node is not dead when marked dead again",
        );
    }
    for who in [me, other] {
        case.here.forget(who).await;
    }
}

pub(super) async fn an_incarnation_nobody_knows_can_be_marked_dead<T: Topics>(case: &Case<T>) {
    let me = case.stranger();
    case.holds(
        case.there.mark_dead(me).await,
        "a node without a lease was not marked dead",
    );
    let late = case.here.renew(me, LONG).await;
    case.same("the renewal of a dead one", late.mine, Renewal::Dead);
    case.holds(
        lease(case, &late, me).is_dead,
        "a dead node is not listed as dead",
    );
    case.here.forget(me).await;
}

pub(super) async fn the_next_generation_of_a_dead_node_lives<T: Topics>(case: &Case<T>) {
    let dead = case.stranger();
    let next = Incarnation {
        generation: 2,
        ..dead
    };
    case.there.mark_dead(dead).await;
    let first = case.here.renew(next, LONG).await;
    case.same("the renewal of the next", first.mine, Renewal::New);
    check_runs(case, &first, next, LONG);
    case.holds(
        lease(case, &first, dead).is_dead,
        "the next generation has revived the last",
    );
    for who in [dead, next] {
        case.here.forget(who).await;
    }
}

pub(super) async fn what_is_forgotten_is_new<T: Topics>(case: &Case<T>) {
    let (dead, runs, other) = (case.stranger(), case.stranger(), case.stranger());
    case.here.mark_dead(dead).await;
    case.here.renew(runs, LONG).await;
    for who in [dead, runs] {
        case.there.forget(who).await;
        let all = case.here.renew(other, LONG).await;
        let is_listed = all.nodes.iter().any(|it| it.who == who);
        case.holds(!is_listed, "a lease that was forgotten is listed");
        let again = case.here.renew(who, LONG).await;
        case.same("the renewal of a forgotten one", again.mine, Renewal::New);
        check_runs(case, &again, who, LONG);
        // Forgetting what is not there is fine.
        for _ in 0..2 {
            case.here.forget(who).await;
        }
    }
    case.here.forget(other).await;
}

pub(super) async fn all_nodes_share_one_secret<T: Topics>(case: &Case<T>) {
    let first = secret(case, &case.here).await;
    for node in [&case.there, &case.here] {
        let again = secret(case, node).await;
        case.same("the secret", again, first);
    }
}

/// The secret that a node gets if it proposes one that nobody else proposes.
pub(super) async fn secret<T: Topics>(case: &Case<T>, node: &Node<T>) -> [u8; 32] {
    let mut proposal = [0xff; 32];
    proposal[..8].copy_from_slice(&case.random().to_le_bytes());
    match node.link.secret(proposal).await {
        Ok(secret) => secret,
        Err(error) => panic!("{}: there is no secret: {error:?}", case.clause),
    }
}

/// Reads the leases until that of `who` has ended by the store's clock.
pub(super) async fn until_it_lapses<T: Topics>(case: &Case<T>, who: Incarnation) -> Lease {
    let other = case.stranger();
    loop {
        let all = case.there.renew(other, LONG).await;
        let lease = lease(case, &all, who);
        if lease.until <= all.now {
            case.there.forget(other).await;
            return lease;
        }
        let left = lease.until.since(all.now);
        case.holds(left <= SHORT + SLACK, "a short lease has become a long one");
        sleep(PAUSE).await;
    }
}

/// Checks that `who` holds a lease for `ttl` from now, and returns when it ends.
fn check_runs<T: Topics>(
    case: &Case<T>,
    all: &Leases,
    who: Incarnation,
    ttl: Duration,
) -> Timestamp {
    let lease = lease(case, all, who);
    let left = lease.until.since(all.now);
    case.holds(
        !lease.is_dead,
        "a node that holds a lease is listed as dead",
    );
    case.holds(
        left <= ttl && left + SLACK >= ttl,
        &format!("a lease of {ttl:?} ends in {left:?}"),
    );
    lease.until
}

/// The one lease of `who` in `all`.
fn lease<T: Topics>(case: &Case<T>, all: &Leases, who: Incarnation) -> Lease {
    let mut of_who = all.nodes.iter().filter(|it| it.who == who);
    let (first, second) = (of_who.next(), of_who.next());
    case.same("a second lease of one node", second, None);
    match first {
        Some(lease) => lease.clone(),
        None => panic!("{}: the lease of {who} is not listed", case.clause),
    }
}
