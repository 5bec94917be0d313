use super::*;
use crate::cluster::store::Lease;

fn alive(nodes: impl IntoIterator<Item = u64>) -> BTreeSet<Incarnation> {
    let generation = 0;
    let nodes = nodes.into_iter();
    nodes.map(|node| Incarnation { node, generation }).collect()
}

#[test]
fn partitions_are_shared_out_evenly() {
    for count in 1..=8 {
        let alive = alive(0..count);
        let mut partitions: BTreeMap<Incarnation, u64> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            *partitions
                .entry(responsible(partition, &alive).unwrap())
                .or_default() += 1;
        }
        let (least, most) = (partitions.values().min(), partitions.values().max());
        let fair = u64::from(PARTITIONS) / count;
        assert_eq!(partitions.len() as u64, count);
        assert!(
            least >= Some(&(fair / 2)) && most <= Some(&(fair * 2)),
            "{partitions:?}"
        );
    }
    assert_eq!(responsible(0, &BTreeSet::new()), None);
}

#[test]
fn when_a_node_goes_only_its_own_partitions_change_hands() {
    let before = alive(0..5);
    let after = alive([0, 1, 3, 4]);
    let gone = *before.difference(&after).next().unwrap();
    for partition in 0..PARTITIONS {
        let (was, is) = (
            responsible(partition, &before),
            responsible(partition, &after),
        );
        assert!(was == is || was == Some(gone), "part {partition}");
    }
}

#[test]
fn a_node_is_responsible_while_it_holds_its_lease_and_for_those_who_do_not() {
    let mut nodes = Nodes::new(at(0), 1);
    assert_eq!(nodes.partitions(at(0)).count(), 0, "it has no lease");
    renew(&mut nodes, 0, Renewal::New, Some(15));
    let all = usize::from(PARTITIONS);
    let shared = nodes.partitions(at(0)).count();
    assert!(shared > 0 && shared < all, "there is another");
    // The other is not heard of any more: its lease has lapsed.
    for now in (3..=15).step_by(3) {
        renew(&mut nodes, now, Renewal::Renewed, Some(15));
        assert_eq!(nodes.partitions(at(now)).count(), shared);
    }
    renew(&mut nodes, 18, Renewal::Renewed, Some(15));
    assert_eq!(nodes.partitions(at(18)).count(), all);
    assert_eq!(
        nodes.partitions(at(18 + 15)).count(),
        0,
        "its own has lapsed"
    );
}

const OTHER: Incarnation = Incarnation {
    node: 9,
    generation: 0,
};

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + secs * 1000)
}

fn lease(who: Incarnation, until: Timestamp) -> Lease {
    Lease {
        who,
        name: "".into(),
        until,
        is_dead: false,
        stored_up_to: Timestamp::default(),
    }
}

/// Renews, and is told so; says what else it does.
fn renew(nodes: &mut Nodes, now: u64, mine: Renewal, other_until: Option<u64>) -> Vec<Effect> {
    let mut effects = Vec::new();
    nodes.expire(at(now), &mut effects);
    let leases = Leases {
        now: at(now),
        mine,
        nodes: [lease(nodes.me(), at(now + 15))]
            .into_iter()
            .chain(other_until.map(|until| lease(OTHER, at(until))))
            .collect(),
    };
    nodes.handle(at(now), Input::Renewed(leases), &mut effects);
    let is_news = |it: &Effect| {
        !matches!(
            it,
            Effect::Renew { .. } | Effect::StoreAhead(_) | Effect::StoredUpTo(_)
        )
    };
    effects.retain(is_news);
    effects
}

#[test]
fn nobody_is_marked_dead_by_a_node_that_has_not_seen_the_store_healthy_for_a_whole_lease() {
    let mut nodes = Nodes::new(at(0), 1);
    renew(&mut nodes, 0, Renewal::New, Some(15));
    for now in (3..=18).step_by(3) {
        renew(&mut nodes, now, Renewal::Renewed, Some(now + 15));
    }
    let mut effects = Vec::new();
    nodes.expire(at(21), &mut effects);
    nodes.handle(at(21), Input::Away, &mut effects);
    // It is back, and while it was away the other could not renew its lease either.
    let effects = renew(&mut nodes, 36, Renewal::Renewed, Some(33));
    assert_eq!(effects, [Effect::Away(false)]);
    for now in (39..51).step_by(3) {
        assert_eq!(renew(&mut nodes, now, Renewal::Renewed, Some(33)), []);
    }
    let effects = renew(&mut nodes, 51, Renewal::Renewed, Some(33));
    assert_eq!(effects, [Effect::MarkDead(OTHER)]);
}

#[test]
fn earlier_generations_of_nodes_that_are_back_are_not_many_that_lapse_at_once() {
    let who = |node, generation| Incarnation { node, generation };
    let mut nodes = Nodes::new(at(0), 1);
    renew(&mut nodes, 0, Renewal::New, None);
    let mut renew = |now: u64, until: u64| {
        let mut effects = Vec::new();
        nodes.expire(at(now), &mut effects);
        let me = lease(nodes.me(), at(now + 15));
        let back = [2, 3].map(|node| lease(who(node, 1), at(now + 15)));
        let before = [2, 3].map(|node| lease(who(node, 0), at(until)));
        let gone = lease(who(4, 0), at(until));
        let leases = Leases {
            now: at(now),
            mine: Renewal::Renewed,
            nodes: [me, gone].into_iter().chain(back).chain(before).collect(),
        };
        nodes.handle(at(now), Input::Renewed(leases), &mut effects);
        effects.retain(|it| matches!(it, Effect::MarkDead(_)));
        effects
    };
    for now in (3..=15).step_by(3) {
        assert_eq!(renew(now, 16), []);
    }
    let dead = [who(4, 0), who(2, 0), who(3, 0)].map(Effect::MarkDead);
    assert_eq!(renew(18, 16), dead);
}

#[test]
fn whoever_was_marked_dead_comes_anew() {
    let mut nodes = Nodes::new(at(0), 1);
    renew(&mut nodes, 0, Renewal::New, None);
    assert_eq!(renew(&mut nodes, 60, Renewal::Dead, None), []);
    assert!(!nodes.may_write(at(60)));
    let effects = renew(&mut nodes, 61, Renewal::New, None);
    let anew = Incarnation {
        node: 1,
        generation: 1,
    };
    assert_eq!(effects, [Effect::Become(anew)]);
}

#[test]
fn who_slept_and_is_not_known_any_more_may_have_been_marked_dead() {
    let mut nodes = Nodes::new(at(0), 1);
    renew(&mut nodes, 0, Renewal::New, None);
    assert_eq!(
        renew(&mut nodes, 3, Renewal::New, None),
        [Effect::Invalidate]
    );
    assert_eq!(renew(&mut nodes, 60, Renewal::New, None), []);
    let effects = renew(&mut nodes, 61, Renewal::New, None);
    assert!(matches!(effects[..], [Effect::Become(_)]));
}

#[test]
fn the_dead_are_reaped_again_a_minute_later_and_before_they_are_forgotten() {
    let mut nodes = Nodes::new(at(0), 1);
    let mut reaped_at = Vec::new();
    let mut forgotten_at = None;
    for now in (0..8000).step_by(3) {
        let mut effects = Vec::new();
        nodes.expire(at(now), &mut effects);
        let mut other = lease(OTHER, at(0));
        other.is_dead = true;
        let others = forgotten_at.is_none().then_some(other);
        let leases = Leases {
            now: at(now),
            mine: Renewal::Renewed,
            nodes: [lease(nodes.me(), at(now + 15))]
                .into_iter()
                .chain(others)
                .collect(),
        };
        nodes.handle(at(now), Input::Renewed(leases), &mut effects);
        for effect in effects {
            let (who, more) = (OTHER, false);
            match effect {
                Effect::Reap(_) => {
                    reaped_at.push(now);
                    nodes.handle(at(now), Input::Reaped { who, more }, &mut Vec::new());
                }
                Effect::Forget(_) => forgotten_at = Some(now),
                _ => {}
            }
        }
    }
    assert_eq!(reaped_at, [0, 60, 3600]);
    assert_eq!(forgotten_at, Some(3603));
    assert!(nodes.dead.is_empty());
}
