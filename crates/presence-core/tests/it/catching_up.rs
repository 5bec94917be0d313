//! Watchers who come back, and say what they have.

use crate::story::check;

#[test]
fn who_has_it_all_is_told_so_in_a_few_bytes() {
    check(
        "
given 50ms tick
show versions
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 v1.1 [ann online]
     ann/web types in room:1
50ms .
     > room:1 typing: ann (+ann)
 2s  eve unwatches room:1
     eve watches room:1 having 1.1
     > eve: room:1 v1.1 unchanged typing: ann
",
    );
}

#[test]
fn who_missed_a_little_is_told_that() {
    check(
        "
show versions
 0s  ann/web connects
     bob/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 v1.1 [ann online]
     eve unwatches room:1
 1s  bob/web joins room:1
 2s  ann/web departs room:1
 3s  eve watches room:1 having 1.1
     > eve: room:1 v1.2 +bob online
     > eve: room:1 v1.3 -ann left
     > eve: room:1 v1.3 unchanged
",
    );
}

#[test]
fn who_missed_too_much_or_knows_another_epoch_is_told_everything() {
    check(
        "
given 2 versions_kept
show versions
 0s  ann/web connects
     bob/web connects
     cat/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 v1.1 [ann online]
 1s  bob/web joins room:1
     > room:1 v1.2 +bob online
 2s  ann/web departs room:1
     > room:1 v1.3 -ann left
 3s  cat/web joins room:1
     > room:1 v1.4 +cat online
     eve watches room:1 having 1.1
     > eve: room:1 v1.4 [bob online, cat online]
     eve watches room:1 having 9.4
     > eve: room:1 v1.4 [bob online, cat online]
     eve watches room:1 having 1.5
     > eve: room:1 v1.4 [bob online, cat online]
     eve watches room:1 having 1.2
     > eve: room:1 v1.3 -ann left
     > eve: room:1 v1.4 +cat online
     > eve: room:1 v1.4 unchanged
",
    );
}

#[test]
fn a_room_that_everyone_has_left_begins_another_epoch() {
    check(
        "
show versions
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 v1.1 [ann online]
     eve unwatches room:1
 1s  ann/web departs room:1
 2s  ann/web joins room:1
     eve watches room:1 having 1.1
     > eve: room:1 v2.1 [ann online]
",
    );
}

#[test]
fn who_comes_between_two_ticks_has_what_the_others_were_told_and_then_the_rest() {
    check(
        "
given 50ms tick
show versions
   0s  ann/web connects
       bob/web connects
       ann/web joins room:1
   1s  bob/web joins room:1
1s10ms ann/web departs room:1
1s20ms bob chooses busy
       eve watches room:1
       > eve: room:1 v1.2 [ann online, bob online]
1s30ms zoe watches room:1 having 1.1
       > zoe: room:1 v1.2 +bob online
       > zoe: room:1 v1.2 unchanged
1s50ms .
       > room:1 v1.3 -ann left, ~bob busy
",
    );
}
