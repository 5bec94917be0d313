//! Typing, cursors, broadcasts.

use crate::story::check;

#[test]
fn typing_is_told_once_and_ends_five_seconds_after_it_was_last_said() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 [ann online]
 1s  ann/web types in room:1
     > room:1 typing: ann (+ann)
 4s  ann/web types in room:1
 8s  ann/web types in room:1
12s  .
13s  .
     > room:1 typing: (-ann)
20s  .
",
    );
}

#[test]
fn typing_ends_when_it_is_said_when_a_message_is_sent_and_when_they_leave() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 [ann online]
 1s  ann/web types in room:1
     > room:1 typing: ann (+ann)
 2s  ann/web stops typing in room:1
     > room:1 typing: (-ann)
     ann/web stops typing in room:1
 3s  ann/web types in room:1
     > room:1 typing: ann (+ann)
 4s  ann/web says hello in room:1
     > room:1 ann/web says hello
     > room:1 typing: (-ann)
 5s  ann/web types in room:1
     > room:1 typing: ann (+ann)
 6s  ann/web departs room:1
     > room:1 -ann left
     > room:1 typing: (-ann)
20s  .
",
    );
}

#[test]
fn who_says_in_their_own_words_that_they_are_typing_goes_on_typing() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1
     > eve: room:1 [ann online]
 1s  ann/web types in room:1
     > room:1 typing: ann (+ann)
 2s  ann/web says typing in room:1
     > room:1 ann/web says typing
 5s  .
 6s  .
     > room:1 typing: (-ann)
20s  .
",
    );
}

#[test]
fn who_types_on_two_devices_types_until_both_stopped() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     ann/mobile connects
     ann/mobile joins room:1
 1s  eve watches room:1
     > eve: room:1 [ann online x2]
     ann/web types in room:1
     > room:1 typing: ann (+ann)
 2s  ann/mobile types in room:1
 3s  ann/web stops typing in room:1
 7s  .
     > room:1 typing: (-ann)
",
    );
}

#[test]
fn who_comes_late_is_told_who_is_typing_and_pointing() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 1s  ann/web types in room:1
     ann/web points in room:1 3,4
     ann/web selects in room:1 7-9
 2s  eve watches room:1
     > eve: room:1 [ann online] typing: ann, ann/web at 3,4 selects 7-9
",
    );
}

#[test]
fn who_comes_between_two_ticks_is_not_left_with_somebody_who_types_for_ever() {
    check(
        "
given 50ms tick
    0s  ann/web connects
        bob/web connects
        ann/web joins room:1
        bob/web joins room:1
   1s   ann/web says hello in room:1
1s10ms  bob/web types in room:1
1s20ms  eve watches room:1
        > eve: room:1 [ann online, bob online]
1s30ms  bob/web stops typing in room:1
1s40ms  ann/web types in room:1
1s50ms  .
        > room:1 typing: ann (+ann)
",
    );
}

#[test]
fn only_who_is_there_and_seen_can_type_point_and_talk() {
    check(
        "
 0s  ann/web connects
     ann/web types in room:1
     > ann/web refused: join the channel first (invisible people are not in it)
     ann/web joins room:1
     ann chooses invisible
     ann/web points in room:1 3,4
     > ann/web refused: join the channel first (invisible people are not in it)
     ann/web says hello in room:1
     > ann/web refused: join the channel first (invisible people are not in it)
",
    );
}

#[test]
fn cursors_are_told_once_a_tick_the_latest_wins_and_nobody_hears_of_their_own() {
    check(
        "
given 50ms tick
    0s  ann/web connects
        ann/web joins room:1
        bob/web connects
        bob/web joins room:1
   1s   ann/web watches room:1
        > ann/web: room:1 [ann online, bob online]
        ann/web points in room:1 1,1
        > room:1 but ann/web: ann/web at 1,1
1s10ms  ann/web points in room:1 2,2
1s20ms  bob/web points in room:1 7,7
        ann/web points in room:1 3,3
1s50ms  .
        > room:1 but ann/web bob/web: ann/web at 3,3, bob/web at 7,7
        > ann/web: room:1 bob/web at 7,7
        > bob/web: room:1 ann/web at 3,3
",
    );
}

#[test]
fn a_cursor_is_forgotten_after_ten_seconds_and_when_its_session_leaves() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     bob/web connects
     bob/web joins room:1
 1s  eve watches room:1
     > eve: room:1 [ann online, bob online]
     ann/web points in room:1 1,1
     > room:1 but ann/web: ann/web at 1,1
 2s  bob/web selects in room:1 1-5
     > room:1 but bob/web: bob/web selects 1-5
 5s  ann/web points in room:1 2,1
     > room:1 but ann/web: ann/web at 2,1
 6s  bob/web departs room:1
     > room:1 -bob left
     > room:1 bob/web points no more
15s  .
     > room:1 ann/web points no more
",
    );
}

#[test]
fn selecting_nothing_leaves_the_pointer() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 1s  ann/web points in room:1 1,1
     ann/web selects in room:1 1-5
 2s  ann/web selects in room:1 nothing
     eve watches room:1
     > eve: room:1 [ann online], ann/web at 1,1
",
    );
}

#[test]
fn what_is_said_reaches_everyone_in_order_and_the_speaker_too() {
    check(
        "
given 50ms tick
    0s  ann/web connects
        ann/web joins room:1 and watches
        > ann/web: room:1 [ann online]
   1s   ann/web says one in room:1
        > room:1 ann/web says one
1s10ms  ann/web says two in room:1
        ann/web says three in room:1
1s50ms  .
        > room:1 ann/web says two
        > room:1 ann/web says three
",
    );
}

#[test]
fn in_an_unwatched_room_nobody_is_told_anything() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
     ann/web types in room:1
     ann/web points in room:1 1,1
     ann/web says hello in room:1
 1s  eve watches room:1
     > eve: room:1 [ann online], ann/web at 1,1
     eve unwatches room:1
 2s  ann/web says hello in room:1
     ann/web departs room:1
",
    );
}
