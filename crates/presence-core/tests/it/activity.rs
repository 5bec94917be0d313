//! Active, idle, hidden.

use crate::story::check;

#[test]
fn a_user_is_away_when_every_session_is_idle() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann/web connects
     > ann online web
     ann/mobile connects
     > ann online web mobile
10s  ann/web is idle
20s  ann/mobile is idle
     > ann away web mobile
25s  ann/web is idle
30s  ann/web is active
     > ann online web mobile
",
    );
}

#[test]
fn a_choice_is_stronger_than_activity() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
     ann chooses busy
     > ann busy web
 1s  ann/web is idle
 2s  ann/web is active
",
    );
}

#[test]
fn a_hidden_tab_is_idle_after_five_minutes_and_lives_longer_than_others() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
10s  ann/web is hidden
4m   ann/web is heard
5m10s .
     > ann away web
9m   .
     > ann/web@0 closed: timed_out
9m10s .
     > ann offline seen 4m
",
    );
}

#[test]
fn saying_hidden_again_does_not_start_the_five_minutes_anew() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
10s  ann/web is hidden
4m   ann/web is hidden
5m10s .
     > ann away web
6m   ann/web is active
     > ann online web
6m10s ann/web is hidden
11m  ann/web is heard
11m10s .
     > ann away web
",
    );
}

#[test]
fn the_five_minutes_go_on_while_the_connection_is_broken() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
10s  ann/web is hidden
4m   ann/web is heard
5m8s ann/web vanishes
5m10s .
     > ann away web
5m15s ann/web resumes
     > ann/web is back
",
    );
}

#[test]
fn the_owner_hears_it_when_a_hidden_tab_makes_them_away_and_of_no_repeated_report() {
    check(
        "
show own
 0s  ann/web connects
     > ann/web: ann chose online, shown online r0 seen 0s, web active
 5s  ann/web is active
10s  ann/web is hidden
     > ann/web: ann chose online, shown online r0 seen 10s, web hidden
20s  ann/web is hidden
5m10s .
     > ann/web: ann chose online, shown away r0 seen 20s, web hidden
",
    );
}

#[test]
fn who_is_never_heard_of_again_is_gone_after_ttl_and_grace() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
30s  ann/web is heard
1m   .
1m30s .
     > ann/web@0 closed: timed_out
1m40s .
     > ann offline seen 30s
",
    );
}

#[test]
fn a_heartbeat_moves_the_lease_and_tells_nobody() {
    check(
        "
show own
show saves
show versions
 0s  eve watches ann
     > eve: v1.0 ann offline
     ann/web connects
     > v2.0 ann online web
     > ann/web: ann chose online, shown online r0 seen 0s, web active
     > save ann online r0 seen 0s
50s  ann/web is heard
1m40s ann/web is heard
2m30s ann/web is heard
3m20s ann/web is heard
",
    );
}
