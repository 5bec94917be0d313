//! Clauses about a store that loses all its data.

use std::slice::from_ref;

use presence_core::ports::{Notice, Renewal, Topics};

use super::case::Case;
use super::leases::secret;
use super::make::{is_there, member, put};
use super::node::LONG;

/// More comparisons than a store may need until it reports a loss no longer.
const COMPARISONS_MAX: usize = 20;

pub(super) async fn what_was_lost_is_not_there<T: Topics>(case: &Case<T>, wipe: &impl AsyncFn()) {
    let (room, ann) = (case.place(), case.session());
    let puts = [put(ann, case.here.token(1), &member(ann, "Ann"))];
    case.here.does(&room, &puts).await;
    wipe().await;
    case.there.check_entries(&room, &[]).await;
    case.same(
        "the version of what was lost",
        case.here.read(&room).await.clock,
        None,
    );
}

pub(super) async fn comparing_tells_every_node_that_data_was_lost<T: Topics>(
    case: &Case<T>,
    wipe: &impl AsyncFn(),
) {
    let (room, user, ann) = (case.place(), case.user(), case.session());
    let nodes = [&case.here, &case.there];
    for node in nodes {
        node.follow(&[room.clone(), user.clone()]).await;
        // Nodes compare all the time.
        node.compare().await;
    }
    let puts = [put(ann, case.here.token(1), &member(ann, "Ann"))];
    case.here.does(&room, &puts).await;
    wipe().await;
    for node in nodes {
        node.compare().await;
        let mut left = vec![room.partition(), user.partition()];
        while !left.is_empty() {
            let forgot = |notice: &Notice| match notice {
                Notice::Forgot(partition) => Some(*partition),
                _ => None,
            };
            let what = format!("that partitions {left:?} have lost data");
            let partition = node.hear(&what, forgot).await;
            left.retain(|it| *it != partition);
        }
    }
}

/// A node reads all of a partition again at each report, so the store must not report a loss for ever.
pub(super) async fn comparing_tells_a_loss_once<T: Topics>(case: &Case<T>, wipe: &impl AsyncFn()) {
    let (room, ann) = (case.place(), case.session());
    case.there.follow(from_ref(&room)).await;
    case.there.compare().await;
    wipe().await;
    let mut quiet = 0;
    for n in 0..COMPARISONS_MAX {
        let puts = [put(ann, case.here.token(1), &member(ann, &format!("{n}")))];
        case.here.does(&room, &puts).await;
        case.there.compare().await;
        // Where all is forgotten, a version need not be told as well.
        let told = |notice: &Notice| match notice {
            Notice::Forgot(partition) if *partition == room.partition() => Some(true),
            Notice::At(subject, _) if *subject == room => Some(false),
            _ => None,
        };
        let is_forgotten = case.there.hear("what comparing tells", told).await;
        quiet = if is_forgotten { 0 } else { quiet + 1 };
        if quiet == 3 {
            return;
        }
    }
    let otherwise = format!("{COMPARISONS_MAX} comparisons have told the same loss");
    case.holds(false, &otherwise);
}

pub(super) async fn a_map_written_again_has_a_new_epoch_and_is_heard<T: Topics>(
    case: &Case<T>,
    wipe: &impl AsyncFn(),
) {
    let (room, ann, token) = (case.place(), case.session(), case.here.token(1));
    let record = member(ann, "Ann");
    case.there.follow(from_ref(&room)).await;
    case.there.compare().await;
    // It may have heard only now of a loss before: while that waits to be taken, patches are left out.
    case.there.drop_waiting().await;
    let mut epochs = Vec::new();
    for _ in 0..3 {
        case.here.does(&room, &[put(ann, token, &record)]).await;
        let changes = [is_there(ann, token, &record)];
        let patch = case.there.check_patch(&room, &changes).await;
        case.same("the version before", patch.from, 0);
        let is_new = !epochs.contains(&patch.clock.epoch);
        case.holds(is_new, "a map that was lost goes on with its old epoch");
        epochs.push(patch.clock.epoch);
        wipe().await;
        case.there.compare().await;
        let forgot = |notice: &Notice| (*notice == Notice::Forgot(room.partition())).then_some(());
        case.there.hear("that data was lost", forgot).await;
    }
}

pub(super) async fn a_lease_that_was_lost_is_new<T: Topics>(case: &Case<T>, wipe: &impl AsyncFn()) {
    let (me, dead) = (case.stranger(), case.stranger());
    case.here.renew(me, LONG).await;
    case.here.mark_dead(dead).await;
    wipe().await;
    for who in [me, dead] {
        let again = case.here.renew(who, LONG).await;
        case.same("the renewal of a lost lease", again.mine, Renewal::New);
    }
    for who in [me, dead] {
        case.here.forget(who).await;
    }
}

pub(super) async fn entries_written_again_are_reaped<T: Topics>(
    case: &Case<T>,
    wipe: &impl AsyncFn(),
) {
    let (room, ann) = (case.place(), case.session());
    let puts = [put(ann, case.here.token(1), &member(ann, "Ann"))];
    case.here.does(&room, &puts).await;
    wipe().await;
    case.there.reap(case.here.me).await;
    case.here.does(&room, &puts).await;
    case.there.check_entries(&room, &puts).await;
    case.there.reap(case.here.me).await;
    case.there.check_entries(&room, &[]).await;
}

pub(super) async fn a_secret_that_was_lost_is_drawn_anew_and_shared<T: Topics>(
    case: &Case<T>,
    wipe: &impl AsyncFn(),
) {
    let before = secret(case, &case.here).await;
    wipe().await;
    let after = secret(case, &case.there).await;
    case.holds(after != before, "a secret that was lost is still there");
    case.same("the secret", secret(case, &case.here).await, after);
}
