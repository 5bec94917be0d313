//! Several nodes on one store that never fails, told as stories: `2 ann/web connects` is what happens at the second node.
//!
//! What watchers are told is `> 1 room:1 +ann online`: by the first node. Everything else that nodes do is left out.
//!
//! All nodes keep profiles in one store, which can be `away`. What it has, and what waits in the outbox, is told when it
//! `shows`; the oldest rows there are carried by whoever `sweeps`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{
    FencingToken, Field, Guard, Incarnation, Op, ProfileTask, Reply, Request, Subject, TopicMap,
    Write, nodes,
};
use presence_core::history::Cause;
use presence_core::node::{Effect, Input, Node};
use presence_core::ports::{Lease, Leases, Queue, Renewal, Written};
use presence_core::rosters::Hearers;
use presence_core::users::{self, Connection};
use presence_core::{
    Change, ChannelId, Chosen, DeviceId, Edit, Event, Limits, Profile, Reason, SessionId,
    StatusChange, Tick, Timestamp, Timing, Topic, TopicVersion, UserId, Watching, WorkspaceId,
    rosters,
};

const START: u64 = 1_764_000_000_000;

#[test]
fn people_on_two_nodes_see_each_other() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
     2 eve watches room:1
     > 2 room:1 [ann online]
 1s  1 ann/phone connects
     1 ann/phone joins room:1
     > 2 room:1 ~ann online x2
     > 1 room:1 ~ann online x2
 2s  2 ann/web leaves
     > 1 room:1 ~ann online
     > 2 room:1 ~ann online
",
    );
}

#[test]
fn back_in_time_on_another_node_is_nothing() {
    check(
        "
 0s  3 eve watches room:1
     > 3 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     > 3 room:1 +ann online
10s  1 ann/web vanishes
19s  2 ann/web resumes
     > 2 ann/web is back
60s  .
",
    );
}

#[test]
fn whose_new_token_on_another_node_names_other_workspaces_is_in_those_only() {
    check(
        "
 0s  3 eve watches acme
     > 3 acme []
     3 eve watches initech
     > 3 initech []
     1 ann/web connects in acme
     > 3 acme +ann online
10s  1 ann/web vanishes
12s  2 ann/web resumes in initech
     > 2 ann/web is back
     > 3 initech +ann online
     > 3 acme -ann left
60s  .
",
    );
}

#[test]
fn who_goes_on_elsewhere_before_the_old_node_noticed_is_closed_there_and_still_here() {
    check(
        "
 0s  3 eve watches room:1
     > 3 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     > 3 room:1 +ann online
10s  2 ann/web resumes
     > 1 ann/web@0 closed: replaced
     > 2 ann/web is back
11s  1 ann/web@0 leaves
30s  .
",
    );
}

#[test]
fn whose_session_was_granted_to_a_node_that_gave_it_up_has_left() {
    check(
        "
 0s  3 eve watches room:1
     > 3 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     > 3 room:1 +ann online
10s  2 ann/web is granted late
     > 1 ann/web@0 closed: replaced
35s  2 ann/web is given up
     > 3 room:1 -ann left
36s  .
",
    );
}

#[test]
fn a_node_that_dies_takes_its_people_along_once_and_not_before_its_lease_ends() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
20s  2 dies
32s  .
36s  .
     > 1 room:1 -ann node_lost
90s  .
",
    );
}

#[test]
fn who_comes_back_elsewhere_before_that_is_not_seen_leaving() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
20s  2 dies
25s  3 ann/web resumes
     > 3 ann/web is back
80s  .
",
    );
}

#[test]
fn a_status_is_seen_wherever_it_was_chosen() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
 1s  3 ann chooses busy
     > 1 room:1 ~ann busy
",
    );
}

#[test]
fn who_hides_through_one_node_is_gone_on_all_of_them() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
 1s  3 ann chooses invisible
     > 1 room:1 -ann left
 2s  3 ann/phone connects
     3 ann/phone joins room:1
 9s  2 eve watches room:1
     > 2 room:1 []
10s  1 ann chooses online
     > 1 room:1 +ann online
     > 2 room:1 +ann online
     > 1 room:1 ~ann online x2
     > 2 room:1 ~ann online x2
",
    );
}

#[test]
fn who_is_thrown_out_is_thrown_out_everywhere() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
 1s  3 ann is kicked
     > 2 ann/web@0 closed: kicked
     > 1 room:1 -ann kicked
",
    );
}

#[test]
fn what_a_dead_node_has_begun_is_finished_by_another() {
    check(
        "
 0s  1 ann/web connects
     2 bob chooses busy
     profiles away
 1s  1 ann/web chooses busy
     2 bob chooses invisible
     profiles show
     > profiles: ann online seen, bob busy; waiting: ann, bob
 9s  1 dies
     profiles back
     profiles show
     > profiles: ann online seen, bob busy; waiting: ann, bob
     profiles sweep
     profiles show
     > profiles: ann busy seen, bob invisible; waiting:
",
    );
}

#[test]
fn what_is_saved_waits_no_longer_and_the_newest_is_saved() {
    check(
        "
 0s  1 ann chooses busy
     profiles show
     > profiles: ann busy; waiting:
     profiles away
 1s  2 ann chooses invisible
     3 ann chooses online
     profiles show
     > profiles: ann busy; waiting: ann
     profiles back
 2s  1 ann chooses busy
     profiles show
     > profiles: ann busy; waiting:
     profiles sweep
     profiles show
     > profiles: ann busy; waiting:
",
    );
}

#[test]
fn an_anonymous_visitor_waits_for_nobody() {
    check(
        "
     profiles away
 0s  1 anon_1/web connects
     1 anon_1/web chooses busy
     profiles show
     > profiles: ; waiting:
",
    );
}

#[test]
fn who_is_new_while_the_store_is_away_is_shown_to_nobody_until_it_is_back() {
    check(
        "
     profiles have ann online
 0s  1 eve watches room:1
     > 1 room:1 []
     1 bob/web connects
     1 bob/web joins room:1
     > 1 room:1 +bob online
 2s  the store is away
     1 ann/web connects
     1 ann/web joins room:1
     1 ann chooses busy
     1 bob/tab connects
     1 bob/tab joins room:2
     1 bob chooses busy
     > 1 room:1 ~bob busy
 5s  the store is back
 8s  .
     > 1 room:1 +ann busy
",
    );
}

#[test]
fn who_cannot_be_read_is_let_in_unseen_and_looks_as_they_chose_before_when_they_can() {
    check(
        "
     profiles have ann busy lunch
     profiles have bob invisible
     profiles away
 0s  1 eve watches room:1
     > 1 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     2 bob/web connects
     2 bob/web joins room:1
     3 cid/web connects
     3 cid/web joins room:1
60s  profiles show
     > profiles: ann busy (lunch), bob invisible; waiting:
     profiles back
     > 1 room:1 +ann busy
     > 1 room:1 +cid online
     profiles show
     > profiles: ann busy (lunch) seen, bob invisible, cid online seen; waiting:
",
    );
}

#[test]
fn what_is_chosen_before_the_profile_can_be_read_is_not_saved_before() {
    check(
        "
     profiles have ann invisible lunch
     profiles slow
 0s  1 ann/web connects
     1 ann chooses busy
     2 ann/tab connects
     profiles show
     > profiles: ann invisible (lunch); waiting:
     profiles back
     profiles show
     > profiles: ann busy (lunch) seen; waiting:
",
    );
}

#[test]
fn what_is_chosen_before_the_profile_can_be_read_is_changed_in_that() {
    check(
        "
     profiles have ann invisible lunch
     profiles away
 0s  1 eve watches room:1
     > 1 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     1 ann chooses busy
     > 1 room:1 +ann busy
 5s  profiles sweep
     profiles show
     > profiles: ann invisible (lunch); waiting:
     profiles back
     > 1 room:1 ~ann busy
     profiles show
     > profiles: ann busy (lunch) seen; waiting:
",
    );
}

#[test]
fn what_says_nothing_of_hiding_leaves_who_cannot_be_read_unseen() {
    check(
        "
     profiles have ann invisible
     profiles away
 0s  1 eve watches room:1
     > 1 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     1 ann says lunch
 1s  2 ann/phone connects
     2 ann/phone joins room:1
 2s  profiles back
     profiles show
     > profiles: ann invisible (lunch); waiting:
",
    );
}

#[test]
fn another_node_changes_nothing_that_was_not_mentioned_before_the_profile_could_be_read() {
    check(
        "
     profiles have ann busy lunch
     profiles have bob invisible lunch
     profiles away
 0s  1 ann says tea
     1 bob chooses busy
     1 dies
 1s  2 ann/web connects
     2 bob/web connects
 2s  profiles back
     profiles show
     > profiles: ann busy (tea) seen, bob busy (lunch) seen; waiting:
",
    );
}

#[test]
fn another_node_goes_on_with_what_was_chosen_before_the_profile_could_be_read() {
    check(
        "
     profiles have ann busy lunch
     profiles away
 0s  1 ann chooses invisible
     1 dies
 1s  profiles back
     profiles sweep
     profiles show
     > profiles: ann busy (lunch); waiting:
     2 ann/web connects
     2 eve watches room:1
     > 2 room:1 []
     2 ann/web joins room:1
     profiles show
     > profiles: ann invisible (lunch); waiting:
",
    );
}

#[test]
fn who_is_erased_is_thrown_out_everywhere_and_nothing_is_left() {
    check(
        "
 0s  1 eve watches room:1
     > 1 room:1 []
     2 ann/web connects
     2 ann/web joins room:1
     > 1 room:1 +ann online
     1 ann/phone connects
     3 ann chooses busy
     > 1 room:1 ~ann busy
     3 ann says lunch
     > 1 room:1 ~ann busy
     profiles show
     > profiles: ann busy (lunch) seen; waiting:
 9s  3 ann is erased
     > 1 ann/phone@0 closed: kicked
     > 2 ann/web@0 closed: kicked
     > 1 room:1 -ann kicked
     profiles show
     > profiles: ; waiting: ann
     profiles sweep
     profiles show
     > profiles: ; waiting:
40s  the store is empty
",
    );
}

#[test]
fn who_is_erased_while_the_profiles_are_away_is_gone_when_they_are_back() {
    check(
        "
 0s  2 ann/web connects
     2 ann says lunch
     2 ann/web leaves
     profiles away
 9s  1 ann is erased
     1 ann is erased
     profiles show
     > profiles: ann online (lunch) seen; waiting: ann
20s  2 ann/web connects
     2 ann/web leaves
     1 ann is erased
     2 dies
     profiles back
     profiles sweep
     profiles show
     > profiles: ; waiting:
40s  the store is empty
",
    );
}

#[test]
fn what_was_chosen_before_the_profile_could_be_read_goes_with_who_is_erased() {
    check(
        "
     profiles have ann busy lunch
     profiles away
 0s  2 ann/web connects
     2 ann says secret
 5s  1 ann is erased
     > 2 ann/web@0 closed: kicked
     profiles back
25s  profiles sweep
     profiles show
     > profiles: ; waiting:
40s  the store is empty
",
    );
}

#[test]
fn a_choice_that_waited_does_not_bring_back_who_was_erased_meanwhile() {
    check(
        "
     profiles have ann busy lunch
     profiles hang for 1
 1s  1 ann says secret
 5s  2 ann is erased
 7s  profiles back
25s  profiles sweep
     profiles show
     > profiles: ; waiting:
40s  the store is empty
",
    );
}

/// Node 3 slept while node 1 died and Ann was erased. It must not write a last-seen time into her tombstone.
#[test]
fn who_was_erased_while_a_node_slept_is_not_seen_again_when_another_died() {
    check(
        "
 0s  1 ann/web connects
     3 ann/phone connects
20s  1 dies
30s  3 ann is deaf
31s  2 ann is erased
33s  3 ann wakes
38s  .
39s  3 ann hears again
     > 3 ann/phone@0 closed: kicked
50s  profiles sweep
     profiles show
     > profiles: ; waiting:
",
    );
}

/// She connected first, and node 1 hears of her choice before it can read her profile.
#[test]
fn an_offline_that_was_chosen_after_a_connection_stays_when_the_profile_is_read() {
    check(
        "
     profiles have ann online lunch
 0s  2 ann is watched
     profiles away
 1s  1 ann/web connects
 5s  2 ann chooses offline
 9s  profiles back
     profiles sweep
     profiles show
     > profiles: ann offline (lunch) seen; waiting:
",
    );
}

/// Node 3 hears that node 1 died while it reads, and that read fails.
#[test]
fn who_was_on_a_node_that_died_was_last_seen_when_they_were_last_heard() {
    let mut stage = Stage::new();
    stage.play("0s 3 ann is watched");
    stage.play("0s 1 ann/web connects");
    stage.play("20s 1 ann/web is heard");
    stage.play("21s 1 ann/web reports");
    let seen = |stage: &Stage| {
        let all = &stage.profiles;
        let it = all.get(&UserId::new("ann").unwrap());
        it.and_then(|it| it.last_seen)
            .map(|it| it.since(Timestamp::from_millis(START)))
    };
    stage.play("23s 1 dies");
    stage.play("30s 3 ann is deaf");
    stage.play("33s 3 ann wakes");
    stage.play("40s .");
    stage.play("40s 3 ann is cut");
    stage.play("40s 3 ann hears again");
    stage.play("40s 3 ann is healed");
    stage.play("50s .");
    let seen = seen(&stage);
    assert!(seen >= Some(Duration::from_secs(20)), "{seen:?}");
}

/// The end of a choice that is overtaken must not end the later hiding.
#[test]
fn the_end_of_an_overtaken_status_does_not_show_who_hides_since() {
    check(
        "
 0s  3 eve watches room:1
     > 3 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
     > 3 room:1 +ann online
     2 ann/phone connects
10s  1 ann is cut
11s  1 ann chooses busy for 20s
13s  2 ann chooses invisible
     > 3 room:1 -ann left
15s  1 ann is healed
40s  .
",
    );
}

#[test]
fn only_who_was_not_seen_since_is_erased_for_that() {
    check(
        "
 0s  2 ann/web connects
     2 ann/web leaves
     2 bob/web connects
     profiles show
     > profiles: ann online seen, bob online seen; waiting:
50s  1 ann is erased unless seen since 0s
     1 bob is erased unless seen since 50s
     profiles show
     > profiles: ann online seen, bob online seen; waiting:
     1 ann is erased unless seen since 10s
     profiles sweep
     profiles show
     > profiles: bob online seen; waiting:
",
    );
}

#[test]
fn when_every_node_dies_nobody_was_last_seen_more_than_five_minutes_before() {
    let mut stage = Stage::new();
    stage.play("0s 1 ann/web connects");
    for secs in (25..3600).step_by(25) {
        stage.play(&format!("{secs}s 1 ann/web is heard"));
        let seen = stage.profiles[&UserId::new("ann").unwrap()].last_seen;
        let ago = stage.now.since(seen.unwrap());
        assert!(ago <= Duration::from_secs(5 * 60), "{ago:?} at {secs} s");
    }
}

/// What was chosen late has been answered, and has nothing to do with the erasure.
#[test]
fn an_erasure_after_a_late_choice_is_confirmed() {
    let mut stage = Stage::new();
    stage.play("0s 1 ann/web connects");
    stage.play("10s 1 ann wakes");
    stage.play("10s 1 ann chooses busy");
    stage.play("60s 1 ann is erased");
    stage.play("80s .");
    assert_eq!(stage.refused, Vec::<String>::new());
}

/// Of two late choices of one person through one node the second replaces the first, and both were made.
#[test]
fn of_two_late_choices_of_one_node_none_is_refused() {
    let mut stage = Stage::new();
    stage.play("0s 1 ann/web connects");
    stage.play("10s 1 ann wakes");
    stage.play("10s 1 ann is cut");
    stage.play("10s 1 ann chooses busy");
    stage.play("10s 1 ann chooses online");
    stage.play("11s 1 ann is healed");
    stage.play("20s .");
    assert_eq!(stage.refused, Vec::<String>::new());
}

/// What she says before her profile can be read makes a revision, and is no choice of `offline`.
#[test]
fn an_offline_from_before_ends_also_if_something_is_said_before_the_profile_is_read() {
    check(
        "
     profiles have ann offline lunch
     profiles away
 0s  1 eve watches room:1
     > 1 room:1 []
     1 ann/web connects
     1 ann/web joins room:1
 1s  1 ann says tea
 2s  profiles back
     > 1 room:1 +ann online
",
    );
}

/// Her connection waits at node 1 until her map is read there. She chose to be offline since it came.
#[test]
fn an_offline_that_was_chosen_while_a_connection_waited_stays_when_more_is_heard() {
    check(
        "
 0s  2 ann is watched
     2 ann says lunch
     1 ann is stuck
 1s  1 ann/web connects
 3s  2 ann chooses offline
 5s  1 ann hears again
 8s  profiles sweep
     profiles show
     > profiles: ann offline (lunch); waiting:
 9s  2 ann says tea
20s  profiles sweep
     profiles show
     > profiles: ann offline (tea); waiting:
",
    );
}

/// She connects and chooses to be offline just after node 1 slept.
#[test]
fn an_offline_that_was_chosen_late_after_a_connection_stays_when_more_is_heard() {
    check(
        "
 0s  2 ann is watched
     1 ann is watched
10s  1 ann wakes
     1 ann/web connects
     1 ann chooses offline
15s  2 ann says tea
20s  profiles sweep
     profiles show
     > profiles: ann offline (tea) seen; waiting:
",
    );
}

/// Node 1 is cut off when it erases her, and node 2 has erased her when it is back.
#[test]
fn an_erasure_that_another_one_overtook_ends() {
    let mut stage = Stage::new();
    for line in [
        "0s 1 ann is watched",
        "0s 2 ann/web connects",
        "1s 2 ann says lunch",
        "5s 1 ann is cut",
        "5s 1 ann is erased",
        "6s 2 ann is erased",
        "7s profiles sweep",
        "9s 1 ann is healed",
        "30s 2 ann/tab connects",
        "31s 2 ann says tea",
        "60s profiles sweep",
        "60s profiles show",
    ] {
        stage.play(line);
    }
    let closed = stage.played.iter().filter(|it| it.contains("closed"));
    assert_eq!(closed.count(), 1, "{:?}", stage.played);
    let last = stage.played.last().unwrap();
    assert_eq!(last, "> profiles: ann online (tea) seen; waiting:");
}

#[track_caller]
fn check(story: &str) {
    let lines = story.lines().map(str::trim).filter(|it| !it.is_empty());
    let want: Vec<String> = lines
        .map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let mut stage = Stage::new();
    for line in want.iter().filter(|it| !it.starts_with('>')) {
        stage.play(line);
    }
    assert!(
        want == stage.played,
        "the story goes otherwise:\n{}",
        stage.played.join("\n")
    );
}

/// Three nodes, a store that answers at once, and those who watch.
pub(crate) struct Stage {
    pub(crate) nodes: Vec<Option<Node<String>>>,
    pub(crate) now: Timestamp,
    maps: BTreeMap<Subject, TopicMap>,
    version: u64,
    followers: BTreeSet<(usize, Subject)>,
    leases: BTreeMap<Incarnation, Lease>,
    /// Which incarnation each node is.
    incarnations: BTreeMap<usize, Incarnation>,
    /// The store does not answer. What nodes ask meanwhile is not done.
    store_away: bool,
    profiles: BTreeMap<UserId, Profile>,
    profiles_away: bool,
    /// Profiles can be saved, and are not read for now.
    profiles_slow: bool,
    /// The node whose loads are not answered at all for now.
    profiles_hang_for: Option<usize>,
    /// The node that gets no answers to reads and hears nothing for now.
    deaf: Option<usize>,
    /// Whether that one gets no answers to first reads either.
    is_stuck: bool,
    hung: Vec<(usize, Request)>,
    /// The node that cannot reach the store.
    cut_off: Option<usize>,
    /// Who is to be loaded when they are back.
    unread: Vec<(usize, UserId)>,
    outbox: BTreeMap<UserId, u64>,
    pub(crate) connections: BTreeMap<String, Connection>,
    played: Vec<String>,
    /// What windows were told: on which node, to which session.
    pub(crate) windows_told: Vec<(usize, SessionId, Arc<Event>)>,
    /// Who was refused something.
    refused: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        Stage::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let now = Timestamp::from_millis(START);
        // The store answers while effects are performed. With a tick nothing else is told in between.
        let tick = Tick::Fixed(Timing::RATE_WINDOW);
        let timing = Timing::default().with_tick(tick);
        let node = |seed| Some(Node::of_cluster(now, timing, limits, seed));
        let mut stage = Stage {
            nodes: (1..=3).map(node).collect(),
            now,
            maps: BTreeMap::new(),
            version: 0,
            followers: BTreeSet::new(),
            leases: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            store_away: false,
            profiles: BTreeMap::new(),
            profiles_away: false,
            profiles_slow: false,
            profiles_hang_for: None,
            deaf: None,
            is_stuck: false,
            hung: Vec::new(),
            cut_off: None,
            unread: Vec::new(),
            outbox: BTreeMap::new(),
            connections: BTreeMap::new(),
            played: Vec::new(),
            windows_told: Vec::new(),
            refused: Vec::new(),
        };
        (0..3).for_each(|node| stage.expire(node));
        stage
    }

    fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let secs = words[0].strip_suffix('s').and_then(|it| it.parse().ok());
        let then = secs.map_or(self.now, |secs| {
            Timestamp::from_millis(START) + Duration::from_secs(secs)
        });
        let words = &words[usize::from(secs.is_some())..];
        if words == ["."] {
            // What happens until then is told below this line.
            self.played.push(line.to_owned());
            return self.wait_until(then);
        }
        self.wait_until(then);
        self.played.push(line.to_owned());
        if let ["profiles", what @ ..] = words {
            return self.act_on_profiles(what);
        }
        if words == ["the", "store", "is", "empty"] {
            let maps = self.maps.iter();
            let mut left = maps.filter(|(_, map)| map.clock().is_some());
            return assert!(left.next().is_none(), "the store is not empty");
        }
        if let ["the", "store", "is", state @ ("away" | "back")] = words {
            self.store_away = *state == "away";
            return;
        }
        let [node, who, what @ ..] = words else {
            panic!("nobody does anything: {line}");
        };
        let node = node.parse::<usize>().unwrap() - 1;
        self.act(node, who, what);
        // Whoever had to wait has spoken then.
        self.wait_until(self.now + Timing::RATE_WINDOW);
    }

    fn act_on_profiles(&mut self, what: &[&str]) {
        match *what {
            ["away"] => self.profiles_away = true,
            ["slow"] => self.profiles_slow = true,
            ["hang", "for", node] => {
                self.profiles_hang_for = Some(node.parse::<usize>().unwrap() - 1);
            }
            ["back"] => {
                (self.profiles_away, self.profiles_slow) = (false, false);
                self.profiles_hang_for = None;
                for (node, user) in std::mem::take(&mut self.unread) {
                    self.load(node, user);
                }
                self.wait_until(self.now + Timing::RATE_WINDOW);
            }
            ["have", user, chosen, ref words @ ..] => {
                let mut profile = Profile::new(UserId::new(user).unwrap());
                profile.status.chosen = chosen_of(chosen);
                profile.status.message = words.first().map(|&it| it.into());
                profile.status.revision = 7;
                self.profiles.insert(profile.user.clone(), profile);
            }
            ["show"] => {
                let profiles = self.profiles.values().map(|it| {
                    let mut text = format!("{} {:?}", it.user, it.status.chosen).to_lowercase();
                    if let Some(message) = &it.status.message {
                        let _ = write!(text, " ({message})");
                    }
                    if it.last_seen.is_some() {
                        text += " seen";
                    }
                    text
                });
                let profiles = profiles.collect::<Vec<_>>().join(", ");
                let waiting = self.outbox.keys().map(ToString::to_string);
                let waiting = waiting.collect::<Vec<_>>().join(", ");
                let line = format!("> profiles: {profiles}; waiting: {waiting}");
                let words: Vec<&str> = line.split_whitespace().collect();
                self.played.push(words.join(" "));
            }
            ["sweep"] => {
                for (user, version) in self.outbox.clone() {
                    self.carry(user, version);
                }
            }
            ref other => panic!("profiles cannot do that: {other:?}"),
        }
    }

    /// What a hub does about a row.
    fn carry(&mut self, user: UserId, version: u64) {
        let subject = Subject::User(user.clone());
        let map = self.maps.entry(subject.clone()).or_default().snapshot();
        match ProfileTask::of(&map) {
            ProfileTask::Wait => return,
            ProfileTask::Done => {}
            ProfileTask::Save(profile) => self.keep(Profile::clone(&profile)),
            ProfileTask::Remove(removal) => {
                self.profiles.remove(&user);
                self.apply(&subject, &Vec::from_iter(removal));
            }
        }
        if self.outbox[&user] <= version {
            self.outbox.remove(&user);
        }
    }

    fn keep(&mut self, profile: Profile) {
        let stored = self.profiles.get(&profile.user);
        if stored.is_none_or(|it| profile.supersedes(it)) {
            self.profiles.insert(profile.user.clone(), profile);
        }
    }

    fn load(&mut self, node: usize, user: UserId) {
        if self.profiles_hang_for == Some(node) {
            return self.unread.push((node, user));
        }
        let input = match self.profiles_away || self.profiles_slow {
            true => {
                self.unread.push((node, user.clone()));
                users::Input::Unread
            }
            false => users::Input::Loaded {
                profile: self.profiles.get(&user).cloned(),
            },
        };
        self.tell(node, Input::User(user, input));
    }

    pub(crate) fn wait_until(&mut self, then: Timestamp) {
        loop {
            let deadlines = self.nodes.iter().enumerate().filter_map(|(node, it)| {
                let deadline = it.as_ref()?.next_deadline()?;
                Some((deadline, node))
            });
            match deadlines.min() {
                Some((deadline, node)) if deadline <= then => {
                    self.now = self.now.max(deadline);
                    self.expire(node);
                }
                _ => break,
            }
        }
        self.now = then;
    }

    fn act(&mut self, node: usize, who: &str, what: &[&str]) {
        let user = UserId::new(who.split('/').next().unwrap()).unwrap();
        let (label, epoch) = match who.split_once('@') {
            Some((label, epoch)) => (label, epoch.parse().ok()),
            None => (who, None),
        };
        let by = self.connections.get(label).map(|it| Connection {
            epoch: epoch.unwrap_or(it.epoch),
            ..*it
        });
        let reply_to = Some(who.to_owned());
        let input = match *what {
            [] if who == "dies" => {
                self.nodes[node] = None;
                return self.followers.retain(|(it, _)| *it != node);
            }
            ["is", "deaf"] => return self.deaf = Some(node),
            ["is", "stuck"] => {
                self.is_stuck = true;
                return self.deaf = Some(node);
            }
            ["hears", "again"] => {
                self.deaf = None;
                self.is_stuck = false;
                for (node, request) in std::mem::take(&mut self.hung) {
                    self.ask(node, request);
                }
                return;
            }
            ["is", "watched"] => users::Input::Watched {
                watcher: SessionId::from_u128(1001),
                reply_to,
            },
            ["reports"] => users::Input::Reported {
                by: by.unwrap(),
                activity: users::Activity::Hidden,
                reply_to,
            },
            ["is", "cut"] => return self.cut_off = Some(node),
            ["is", "healed"] => return self.cut_off = None,
            ["wakes"] => {
                let since = Timestamp::from_millis(self.now.as_millis() - 5_000);
                return self.tell(node, Input::Woke { since });
            }
            ["watches", topic] => {
                return self.tell(
                    node,
                    Input::Roster(rosters::Input::Watched {
                        topic: match topic.contains(':') {
                            true => Topic::Channel(ChannelId::new(topic).unwrap()),
                            false => Topic::Workspace(WorkspaceId::new(topic).unwrap()),
                        },
                        watcher: SessionId::from_u128(1000),
                        watching: Watching::Full,
                        before: None,
                        have: None,
                        reply_to,
                    }),
                );
            }
            ["connects" | "resumes", ref rest @ ..] => users::Input::Connected {
                session: SessionId::from_u128(1 + self.connections.len() as u128),
                resume: by,
                fingerprint: None,
                device: DeviceId::new(label.split('/').next_back().unwrap()).unwrap(),
                workspaces: match *rest {
                    ["in", workspace] => vec![WorkspaceId::new(workspace).unwrap()],
                    _ => Vec::new(),
                },
                card: Arc::default(),
                origin: None,
                reply_to: label.to_owned(),
            },
            ["joins", room] => users::Input::Joined {
                by: by.unwrap(),
                channel: ChannelId::new(room).unwrap(),
                meta: Arc::default(),
                watch: None,
                reply_to: None,
            },
            ["vanishes"] => users::Input::Vanished {
                by: by.unwrap(),
                reason: Reason::Lost,
                cause: Cause::Broken,
            },
            ["is", "granted", "late"] => return self.grant(node, &user, by.unwrap()),
            ["is", "given", "up"] => return self.give_up(node, &user, by.unwrap()),
            ["leaves"] => users::Input::Ended {
                by: by.unwrap(),
                cause: Cause::Client,
            },
            ["is", "heard"] => users::Input::Heard { by: by.unwrap() },
            ["is", "kicked"] => users::Input::Kicked { reply_to },
            ["is", "erased"] => users::Input::Erased {
                unseen_since: None,
                reply_to,
            },
            ["is", "erased", "unless", "seen", "since", secs] => {
                let secs = secs.strip_suffix('s').unwrap().parse().unwrap();
                let since = Timestamp::from_millis(START) + Duration::from_secs(secs);
                users::Input::Erased {
                    unseen_since: Some(since),
                    reply_to,
                }
            }
            ["says", words] => users::Input::Chose {
                change: StatusChange {
                    message: Edit::Set(words.into()),
                    ..StatusChange::default()
                },
                by: Cause::Client,
                reply_to,
            },
            ["chooses", chosen, "for", secs] => users::Input::Chose {
                change: StatusChange {
                    chosen: Some(chosen_of(chosen)),
                    expiry: Edit::Set(presence_core::Expiry::After(Duration::from_secs(
                        secs.strip_suffix('s').unwrap().parse().unwrap(),
                    ))),
                    ..StatusChange::default()
                },
                by: Cause::Client,
                reply_to,
            },
            ["chooses", chosen] => users::Input::Chose {
                change: StatusChange {
                    chosen: Some(chosen_of(chosen)),
                    ..StatusChange::default()
                },
                by: Cause::Client,
                reply_to,
            },
            ref other => panic!("nobody knows how to do that: {other:?}"),
        };
        self.tell(node, Input::User(user, input));
    }

    /// The store grants a session to a node that does not wait for it any more.
    fn grant(&mut self, node: usize, user: &UserId, by: Connection) {
        let subject = Subject::User(user.clone());
        let field = Field::Session(by.session);
        let entries = self.maps[&subject].snapshot().entries;
        let stored = entries.into_iter().find(|(it, ..)| *it == field);
        let (_, token, record) = stored.expect("the store has the session");
        let put = Op::Put {
            field,
            token: FencingToken::of_session(by.epoch + 1, self.incarnations[&node], 1),
            record,
            guard: Guard::Replaces(Some(token)),
            profile: 0,
        };
        self.apply(&subject, &[put]);
    }

    /// What that node does then.
    fn give_up(&mut self, node: usize, user: &UserId, by: Connection) {
        let removal = Op::Remove {
            field: Field::Session(by.session),
            token: FencingToken::of_session(by.epoch + 1, self.incarnations[&node], 2),
            reason: Reason::Left,
        };
        self.apply(&Subject::User(user.clone()), &[removal]);
    }

    pub(crate) fn tell(&mut self, node: usize, input: Input<String>) {
        let mut effects = Vec::new();
        if let Some(it) = &mut self.nodes[node] {
            it.handle(self.now, input, &mut effects);
        }
        self.perform(node, effects);
    }

    fn expire(&mut self, node: usize) {
        let mut effects = Vec::new();
        if let Some(it) = &mut self.nodes[node] {
            it.expire(self.now, &mut effects);
        }
        self.perform(node, effects);
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect<String>>) {
        for effect in effects {
            match effect {
                Effect::Ask(request) => self.ask(node, request),
                Effect::Leases(effect) => self.ask_about_leases(node, effect),
                Effect::Roster(rosters::Effect::Tell {
                    to: Hearers::Window(_, sessions),
                    event,
                    ..
                }) => {
                    let told = sessions.into_iter().map(|it| (node, it, event.clone()));
                    self.windows_told.extend(told);
                }
                Effect::Roster(rosters::Effect::Tell { topic, event, .. }) => {
                    let topic = match &topic {
                        Topic::Channel(it) => it.as_str(),
                        Topic::Workspace(it) => it.as_str(),
                    };
                    if matches!(*event, presence_core::Event::EpochStarted { .. }) {
                        continue;
                    }
                    let text = told(&event);
                    self.played.push(format!("> {} {topic} {text}", node + 1));
                }
                Effect::User(user, effect) => self.perform_for(node, &user, effect),
                Effect::Roster(_) => {}
            }
        }
    }

    fn perform_for(&mut self, node: usize, user: &UserId, effect: users::Effect<String>) {
        match effect {
            users::Effect::Welcome {
                connection,
                restored,
                reply_to,
            } => {
                if restored {
                    self.played
                        .push(format!("> {} {reply_to} is back", node + 1));
                }
                self.connections.insert(reply_to, connection);
            }
            users::Effect::Close { connection, reason } => {
                let mut all = self.connections.iter();
                let its = all.find(|(_, it)| it.session == connection.session);
                let (label, epoch) = (its.unwrap().0, connection.epoch);
                let reason = reason.as_str();
                let line = format!("> {} {label}@{epoch} closed: {reason}", node + 1);
                self.played.push(line);
            }
            users::Effect::Load | users::Effect::LookUp => self.load(node, user.clone()),
            users::Effect::Save {
                profile, version, ..
            } => {
                if self.profiles_away {
                    return;
                }
                if profile.is_blank() {
                    // Its row is left, as the hub does.
                    self.profiles.remove(user);
                    return;
                }
                self.keep(profile);
                if self.outbox.get(user).copied() <= version {
                    self.outbox.remove(user);
                }
            }
            users::Effect::Refuse { reply_to, why } => {
                self.refused.push(format!("{reply_to}: {why}"));
            }
            _ => {}
        }
    }

    fn ask(&mut self, node: usize, request: Request) {
        let subject = request.subject().clone();
        let is_first = matches!(request, Request::Open { .. });
        let is_read = matches!(request, Request::Read { .. }) || self.is_stuck && is_first;
        if self.deaf == Some(node) && is_read {
            return self.hung.push((node, request));
        }
        let is_away = self.store_away || self.cut_off == Some(node);
        let reply = match request {
            Request::Open { ask, .. }
            | Request::Read { ask, .. }
            | Request::PaddedRead { ask, .. }
                if is_away =>
            {
                let snapshot = None;
                Reply::Read { ask, snapshot }
            }
            Request::Write(_) if is_away => Reply::Written(None),
            Request::Open { ask, .. } | Request::Read { ask, .. } => {
                self.followers.insert((node, subject.clone()));
                let map = self.maps.entry(subject.clone()).or_default();
                let snapshot = Some(map.snapshot());
                Reply::Read { ask, snapshot }
            }
            Request::PaddedRead { ask, .. } => {
                let map = self.maps.entry(subject.clone()).or_default();
                let snapshot = Some(map.snapshot());
                Reply::Read { ask, snapshot }
            }
            Request::Write(write) => {
                let written = self.apply(&subject, &write.ops);
                self.mark(&write, &written);
                Reply::Written(Some(written))
            }
            Request::Close(_) => {
                self.followers.remove(&(node, subject));
                return;
            }
            Request::HidePlace { user, write } => {
                self.apply(&subject, &write.ops);
                let Subject::Topic(topic) = subject else {
                    panic!("{subject} is no place");
                };
                let reply = Reply::PlaceHidden {
                    topic,
                    is_done: true,
                };
                return self.tell(node, Input::Stored(Subject::User(user), reply));
            }
            Request::Ephemeral(_, ephemerals) => {
                return self.publish(&subject, &Reply::Ephemeral(ephemerals));
            }
        };
        self.tell(node, Input::Stored(subject, reply));
    }

    fn apply(&mut self, subject: &Subject, ops: &[Op]) -> Written {
        self.version += 1;
        let next = TopicVersion {
            epoch: self.version,
            version: self.version,
        };
        let map = self.maps.entry(subject.clone()).or_default();
        let applied = map.apply(ops, next, self.now);
        let version = applied.patch.as_ref().map(|it| it.clock.version);
        if let Some(patch) = applied.patch {
            self.publish(subject, &Reply::Patched(patch));
        }
        Written {
            version,
            refused: applied.refused,
            absent: applied.absent,
            profile: applied.profile,
        }
    }

    fn mark(&mut self, write: &Write, written: &Written) {
        if let (Subject::User(user), Some(version)) = (&write.subject, written.version)
            && write.is_due_for(Queue::Profiles)
        {
            self.outbox.insert(user.clone(), version);
        }
    }

    fn publish(&mut self, subject: &Subject, reply: &Reply) {
        for node in 0..self.nodes.len() {
            if self.deaf == Some(node) || self.cut_off == Some(node) {
                continue;
            }
            if self.followers.contains(&(node, subject.clone())) {
                self.tell(node, Input::Stored(subject.clone(), reply.clone()));
            }
        }
    }

    fn ask_about_leases(&mut self, node: usize, effect: nodes::Effect) {
        let now = self.now;
        let lease = |who, until, is_dead| Lease {
            who,
            name: "".into(),
            until,
            is_dead,
            stored_up_to: now,
        };
        let input = match effect {
            nodes::Effect::Renew { me, ttl, .. } => {
                self.incarnations.insert(node, me);
                let known = self.leases.insert(me, lease(me, now + ttl, false));
                nodes::Input::Renewed(Leases {
                    now,
                    mine: known.map_or(Renewal::New, |_| Renewal::Renewed),
                    nodes: self.leases.values().cloned().collect(),
                })
            }
            nodes::Effect::MarkDead(who) => {
                self.leases.insert(who, lease(who, now, true));
                let is_dead = true;
                nodes::Input::MarkedDead { who, is_dead }
            }
            nodes::Effect::Reap(who) => nodes::Input::Reaped { who, more: false },
            _ => return,
        };
        self.tell(node, Input::Leases(input));
    }
}

fn chosen_of(word: &str) -> Chosen {
    match word {
        "online" => Chosen::Online,
        "busy" => Chosen::Busy,
        "offline" => Chosen::Offline,
        "invisible" => Chosen::Invisible,
        other => panic!("nobody chooses {other}"),
    }
}

fn told(event: &Event) -> String {
    let person = |it: &presence_core::Person| {
        let mut text = format!("{} {}", it.user, it.look().status.as_str());
        if it.members.len() > 1 {
            let _ = write!(text, " x{}", it.members.len());
        }
        text
    };
    match event {
        Event::Everyone { people, .. } => {
            let people: Vec<_> = people.iter().map(|it| person(it)).collect();
            format!("[{}]", people.join(", "))
        }
        Event::Changes { changes, .. } => {
            let changes = changes.iter().map(|change| match change {
                Change::Joined(it) => format!("+{}", person(it)),
                Change::Updated { to, .. } => format!("~{}", person(to)),
                Change::Left { person, reason } => {
                    format!("-{} {}", person.user, reason.as_str())
                }
            });
            changes.collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}"),
    }
}
