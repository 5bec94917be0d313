//! Connections break and come back.

use crate::story::check;

#[test]
fn back_in_time_is_nothing() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     eve watches ann
     > eve: ann offline
     ann/web connects
     > ann online web
     ann/web joins room:1
     > room:1 +ann online
10s  ann/web vanishes
19s  ann/web resumes
     > ann/web is back
20s  .
60s  ann/web is heard
",
    );
}

#[test]
fn an_idle_person_is_not_active_because_their_phone_reconnected() {
    check(
        "
 0s  ann/mobile connects
     ann/mobile is idle
     eve watches ann
     > eve: ann away mobile
10s  ann/mobile vanishes
12s  ann/mobile resumes
     > ann/mobile is back
",
    );
}

#[test]
fn who_does_not_come_back_has_left_once() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
     eve watches ann
     > eve: ann online web
10s  ann/web vanishes
19s  .
20s  .
     > ann offline seen 0s
     > room:1 -ann lost
21s  ann/web resumes
     > ann/web is new
     > ann online web
",
    );
}

#[test]
fn a_clean_leave_is_at_once() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
10s  ann/web leaves
     > room:1 -ann left
",
    );
}

#[test]
fn the_newest_connection_has_the_session_and_an_older_one_is_ignored() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
 5s  ann/web resumes
     > ann/web@0 closed: replaced
     > ann/web is back
 6s  ann/web@0 vanishes
     ann/web@0 leaves
     ann/web@0 departs room:1
     > ann/web refused: the session is over
     ann/web@0 is idle
     > ann/web refused: the session is over
30s  .
",
    );
}

#[test]
fn a_session_is_resumed_once_by_each_connection() {
    check(
        "
 0s  ann/web connects
 1s  ann/web vanishes
 2s  ann/web resumes
     > ann/web is back
 3s  ann/web@0 resumes
     > ann/web is new
",
    );
}

#[test]
fn who_breaks_off_while_typing_types_no_more_but_stays() {
    check(
        "
given 50ms tick
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
 1s  ann/web types in room:1
     > room:1 typing: ann (+ann)
     ann/web points in room:1 3,4
1s50ms .
     > room:1 but ann/web: ann/web at 3,4
 2s  ann/web vanishes
     > room:1 typing: (-ann)
     > room:1 ann/web points no more
 3s  ann/web resumes
     > ann/web is back
20s  .
",
    );
}

#[test]
fn without_grace_who_vanishes_is_gone() {
    check(
        "
given 0s grace
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
10s  ann/web vanishes
     > room:1 -ann lost
",
    );
}

#[test]
fn what_happens_while_a_profile_is_being_read_waits_for_it() {
    check(
        "
given slow profiles
given ann invisible
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     eve watches ann
 2s  ann is loaded
     > eve: ann offline
     ann/web joins room:1
 3s  ann chooses online
     > ann online web
     > room:1 +ann online
",
    );
}
