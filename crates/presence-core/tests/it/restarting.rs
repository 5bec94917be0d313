//! A node that is alone ends, by whatever end, and another process goes on.

use crate::story::{check, heard};

#[test]
fn who_resumes_after_a_restart_has_never_been_away() {
    check(
        "
show since
 0s  ann/web connects
     ann/web joins room:1 as Ann
     ann/web is idle
     bob/web connects
     bob/web joins room:1 as Bob
     bob/web leaves
10s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 [ann away as Ann since 0s]
     eve watches ann
     > eve: ann away web
11s  ann/web resumes
     > ann/web is back
     ann/web is heard
40s  .
     ann/web is active
     > ann online web
     > room:1 ~ann online as Ann since 0s
",
    );
}

#[test]
fn who_does_not_come_back_leaves_once_when_their_time_is_over() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
10s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 [ann online]
     eve watches ann
     > eve: ann online web
25s  .
26s  .
     > ann offline seen 8s
     > room:1 -ann lost
60s  .
",
    );
}

#[test]
fn a_client_without_a_token_goes_on_with_the_session_that_is_like_it() {
    // Two tabs, in two rooms with two metas: each gets its own again, so nothing at all is different.
    check(
        "
 0s  ann/web.1 comes joining room:1 as Ann
     ann/web.1 joins room:1 as Ann
     ann/web.1 joins room:2
     ann/web.2 comes joining room:1 as Pen
     ann/web.2 joins room:1 as Pen
10s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 [ann online as Ann+Pen x2]
     eve watches room:2
     > eve: room:2 [ann online]
12s  ann/web.2 comes joining room:1 as Pen
     > ann/web.2 is back
     ann/web.2 joins room:1 as Pen
     ann/web.1 comes joining room:1 as Ann
     > ann/web.1 is back
     ann/web.1 joins room:1 as Ann
     ann/web.1 joins room:2
     ann/web.1 is heard
     ann/web.2 is heard
60s  .
",
    );
}

#[test]
fn what_a_client_without_a_token_does_not_join_again_it_leaves() {
    check(
        "
 0s  ann/web comes joining room:1
     ann/web joins room:1
     ann/web joins room:2
10s  gateway returns after 2s
     eve watches room:2
     > eve: room:2 [ann online]
12s  ann/web comes joining room:1
     > ann/web is back
     ann/web joins room:1
27s  ann/web is heard
28s  .
     > room:2 -ann lost
60s  .
",
    );
}

#[test]
fn nobody_goes_on_with_the_session_of_another_device_or_of_who_has_a_token() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     ann/mobile comes joining room:1 on its device
     ann/mobile joins room:1
10s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 [ann online x2]
12s  ann/web.9 comes joining room:1
     ann/web.9 joins room:1
     > room:1 ~ann online x3
     ann/desktop comes joining room:1 on its device
     ann/mobile comes joining room:1 on its device
     > ann/mobile is back
     ann/web resumes
     > ann/web is back
",
    );
}

#[test]
fn whoever_hides_is_not_shown_by_a_restart() {
    let story = |ann: &str| {
        format!(
            "
 0s  bob/web connects
     bob/web joins room:1
     {ann}
10s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 [bob online]
     eve watches ann
     > eve: ann offline
26s  .
     > room:1 -bob lost
60s  .
"
        )
    };
    check(
        &story(
            "ann/web connects
     ann/web joins room:1
     ann chooses invisible",
        )
        .replace("> eve: ann offline", "> eve: ann offline seen 0s"),
    );
    let hidden =
        "given ann invisible\n".to_owned() + &story("ann/web connects\n ann/web joins room:1");
    assert_eq!(heard(&hidden, "ann"), heard(&story("."), "ann"));
}

#[test]
fn a_choice_to_hide_that_was_told_and_not_kept_holds() {
    // Others have seen ann leave. What is stored does not know it yet, so she is not held.
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     ann chooses invisible
     ann is stored as before
10s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 []
12s  ann/web resumes
     > ann/web is new
60s  .
",
    );
}

#[test]
fn a_connection_that_was_lost_long_before_is_not_held() {
    check(
        "
given 60s grace
 0s  ann/web connects
     ann/web joins room:1
     bob/web connects
     bob/web joins room:1
     ann/web vanishes
     bob/web is heard
20s  bob/web vanishes
31s  gateway returns after 0s
     eve watches room:1
     > eve: room:1 [bob online]
47s  .
     > room:1 -bob lost
",
    );
}

#[test]
fn who_is_closed_by_a_node_that_stops_is_there_until_its_end() {
    check(
        "
given 50ms tick
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
     bob/web connects
     bob/web joins room:1
50ms .
     > room:1 +bob online
 1s  bob/web vanishes
 2s  gateway stops
     ann/web vanishes
45s  ann/web is heard
     gateway returns after 2s
     eve watches room:1
     > eve: room:1 [ann online]
46s  ann/web resumes
     > ann/web is back
",
    );
}

#[test]
fn one_restart_after_the_other_changes_nothing() {
    check(
        "
show since
 0s  ann/web connects
     ann/web joins room:1 as Ann
     bob/web comes joining room:1
     bob/web joins room:1
 5s  gateway returns after 2s
     ann/web resumes
     > ann/web is back
 9s  gateway returns after 2s
12s  gateway returns after 2s
     ann/web resumes
     > ann/web is back
     ann/web joins room:2
14s  gateway returns after 1s
     eve watches room:1
     > eve: room:1 [ann online as Ann since 0s, bob online since 0s]
     eve watches room:2
     > eve: room:2 [ann online since 12s]
     bob/web comes joining room:1
     > bob/web is back
     bob/web joins room:1
     ann/web resumes
     > ann/web is back
30s  bob/web is heard
     ann/web is heard
60s  .
",
    );
}

#[test]
fn what_a_service_does_goes_on_for_as_long_as_it_was_asked() {
    check(
        "
 0s  bot/service acts
     bot/service joins room:1
20s  gateway returns after 2s
     eve watches room:1
     > eve: room:1 [bot online]
59s  .
1m   .
     > room:1 -bot timed_out
",
    );
}

#[test]
fn each_change_is_noted_once() {
    check(
        "
show changes
 0s  ann/web connects acme
     > note ann/web@0 Active
     > note ann/web in workspace:acme
     ann/web joins room:1 as Ann
     > note ann/web in room:1 Ann
     ann/web joins room:1 as Ann
     ann/web becomes Pen in room:1
     > note ann/web in room:1 Pen
     ann/web is heard
     ann/web is idle
     > note ann/web@0 Idle
 1s  ann chooses invisible
     > note ann/web@0 Idle hidden
 2s  ann chooses online
     > note ann/web@0 Idle
     > note ann/web in workspace:acme
     > note ann/web in room:1 Pen
 3s  ann/web departs room:1
     > note ann/web not in room:1
 4s  ann/web vanishes
     > note ann/web@0 Idle lost
 5s  ann/web resumes
     > ann/web is back
     > note ann/web@1 Idle
     > note ann/web not in workspace:acme
 6s  ann/web leaves
     > note ann/web over
",
    );
}
