//! Why others are shown what they are shown, and what was recorded of it.

use crate::story::check;

#[test]
fn who_is_active_is_shown_online_and_who_is_idle_away() {
    check(
        "
 0s  ann/web connects
     ann/phone connects
10s  ann/web is idle
     ann is explained
     > because shown online: 1 of 2 sessions is active
     > because chosen status online
20s  ann/phone is idle
     ann is explained
     > because shown away: all 2 sessions are idle, the last since 20s
     > because chosen status online
     ann has history
     > 0s ann/web session_began (client)
     > 0s ann offline->online (client)
     > 0s ann/phone session_began (client)
     > 10s ann/web is idle (client)
     > 20s ann/phone is idle (client)
     > 20s ann online->away (client)
",
    );
}

#[test]
fn a_chosen_status_is_a_reason_and_so_is_its_end() {
    check(
        "
 0s  ann/web connects
 5s  ann chooses busy for 10s
     ann is explained
     > because shown busy: this status was chosen, and there is 1 session
     > because chosen status busy, since 5s on gateway eu-1 by a client of theirs, until 15s
14s  ann/web is heard
16s  ann is explained
     > because shown online: 1 of 1 session is active
     > because chosen status online, since 15s on gateway eu-1 because the status before had an end, which came
     ann has history
     > 0s ann/web session_began (client)
     > 0s ann offline->online (client)
     > 5s ann chose busy (client)
     > 5s ann online->busy (client)
     > 15s ann chose online (expiry)
     > 15s ann busy->online (expiry)
",
    );
}

#[test]
fn who_loses_the_connection_is_held_and_then_leaves_and_both_is_explained() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 7s  ann/web vanishes
     ann is explained
     > because shown online: 1 of 1 session is active
     > because their only session has no connection since 7s: it is held until 17s, in case the client comes back
     > because chosen status online
20s  ann is explained
     > because shown offline: no session on any gateway
     > because chosen status online
     > because their last session ended at 17s on gateway eu-1: the client was not back within the grace time (the connection was lost at 7s: it broke)
     ann has history
     > 0s ann/web session_began (client)
     > 0s ann offline->online (client)
     > 0s ann/web joined room:1 (client)
     > 7s ann/web disconnected until 17s (connection_broken)
     > 17s ann/web left lost room:1 (grace_over)
     > 17s ann/web ended lost (grace_over)
     > 17s ann online->offline (grace_over)
     room:1 has history
     > 0s ann/web joined room:1 (client)
     > 17s ann/web left lost room:1 (grace_over)
",
    );
}

#[test]
fn an_active_session_that_is_only_held_is_said_beside_an_idle_one() {
    check(
        "
 0s  ann/web connects
     ann/phone connects
     ann/web is idle
 7s  ann/phone vanishes
     ann is explained
     > because shown online: 1 of 2 sessions is active
     > because the only active session has no connection since 7s: it is held until 17s, in case the client comes back
     > because chosen status online
",
    );
}

#[test]
fn who_comes_back_in_time_never_left_and_that_is_recorded_too() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 7s  ann/web vanishes
 9s  ann/web resumes
     > ann/web is back
     room:1 has history
     > 0s ann/web joined room:1 (client)
     ann has history
     > 0s ann/web session_began (client)
     > 0s ann offline->online (client)
     > 0s ann/web joined room:1 (client)
     > 7s ann/web disconnected until 17s (connection_broken)
     > 9s ann/web session_resumed (client)
",
    );
}

#[test]
fn silence_a_goodbye_and_a_kick_are_three_things() {
    check(
        "
 0s  ann/web connects
     bob/web connects
     eve/web connects
10s  bob/web leaves
     eve is kicked
     > eve/web@0 closed: kicked
1m   .
     > ann/web@0 closed: timed_out
1m30s ann is explained
     > because shown offline: no session on any gateway
     > because chosen status online
     > because their last session ended at 1m10s on gateway eu-1: the client was not back within the grace time (the connection was lost at 1m: the client was silent for too long)
     bob is explained
     > because shown offline: no session on any gateway
     > because chosen status online
     > because their last session ended at 10s on gateway eu-1: the client left
     eve is explained
     > because shown offline: no session on any gateway
     > because chosen status online
     > because their last session ended at 10s on gateway eu-1: the user was kicked
",
    );
}

#[test]
fn who_hides_leaves_the_room_and_comes_back_to_it_with_the_cause() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 5s  ann chooses invisible
     ann is explained
     > because shown offline: they hide with the chosen status invisible, and have 1 session
     > because chosen status invisible, since 5s on gateway eu-1 by a client of theirs
 9s  ann chooses online
     room:1 has history
     > 0s ann/web joined room:1 (client)
     > 5s ann/web left left room:1 (hid)
     > 9s ann/web joined room:1 (client)
",
    );
}

#[test]
fn a_tab_in_the_background_becomes_idle_by_itself() {
    check(
        "
 0s  ann/web connects
 1s  ann/web is hidden
2m   ann/web is heard
4m   ann/web is heard
6m   ann is explained
     > because shown away: the only session is idle since 5m1s
     > because chosen status online
     ann has history
     > 0s ann/web session_began (client)
     > 0s ann offline->online (client)
     > 1s ann/web is hidden (client)
     > 5m1s ann online->away (background)
",
    );
}

#[test]
fn who_is_erased_has_no_history() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     bob/web connects
     bob/web joins room:1
 5s  ann is erased
     > ann/web@0 closed: kicked
     ann has history
     room:1 has history
     > 0s bob/web joined room:1 (client)
     ann is explained
     > because shown offline: no session on any gateway
     > because chosen status online
     > because no gateway that answered has recorded anything of them, and no store that answered knows them
",
    );
}

#[test]
fn a_gateway_that_starts_again_says_that_it_has_restored_them() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 5s  gateway stops
     gateway returns after 2s
     ann is explained
     > because shown online: 1 of 1 session is active
     > because their only session has no connection since 3s: it is held until 21s, in case the client comes back
     > because chosen status online
     ann has history
     > 5s ann/web session_restored (restart)
",
    );
}

#[test]
fn whom_nobody_knows_is_unknown_to_the_explanation_too() {
    check(
        "
 0s  eve is explained
     > because shown offline: no session on any gateway
     > because chosen status online
     > because no gateway that answered has recorded anything of them, and no store that answered knows them
",
    );
}
