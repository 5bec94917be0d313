//! Services that act for users, without a connection.

use crate::story::check;

#[test]
fn a_service_has_a_user_join_and_leave() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     eve watches ann
     > eve: ann offline
     ann/api acts
     > ann online other
     ann/api joins room:1 as bot
     > room:1 +ann online as bot
10s  ann/api departs room:1
     > ann offline seen 10s
     > room:1 -ann left
",
    );
}

#[test]
fn what_a_service_does_lives_as_long_as_it_is_heard_of() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     ann/api acts
     ann/api joins room:1
     > room:1 +ann online
50s  ann/api acts
1m40s ann/api acts
2m40s .
     > room:1 -ann timed_out
",
    );
}

#[test]
fn a_service_that_leaves_where_it_never_was_leaves_nobody_behind() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann/api acts
     > ann online other
     ann/api departs room:1
     > ann offline seen 0s
",
    );
}

#[test]
fn a_service_and_a_person_are_one_person() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 [ann online]
 1s  ann/api acts
     ann/api joins room:1
     > room:1 ~ann online x2
 2s  ann/web leaves
     > room:1 ~ann online
 3s  ann/api departs room:1
     > room:1 -ann left
",
    );
}
