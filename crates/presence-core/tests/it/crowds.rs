//! Big rooms.

use crate::story::check;

#[test]
fn above_its_limit_a_room_is_summarised_and_below_four_fifths_listed_again() {
    check(
        "
given 50ms tick
given 5 listed_max
given 2 faces_max
show versions
   0s  a/web connects
       b/web connects
       c/web connects
       d/web connects
       e/web connects
       f/web connects
       a/web joins room:1
       b/web joins room:1
       c/web joins room:1
       d/web joins room:1
       e/web joins room:1
   1s  eve watches room:1
       > eve: room:1 v1.2 [a online, b online, c online, d online, e online]
   2s  f/web joins room:1
       > room:1 v1.3 6 people: a online, b online
   3s  zoe watches room:1 having 1.2
       > zoe: room:1 v1.3 6 people: a online, b online
       > zoe: room:1 typing: ()
   4s  f/web departs room:1
       > room:1 v1.4 5 people: a online, b online
   6s  b/web departs room:1
       > room:1 v1.5 [a online, c online, d online, e online]
   8s  b chooses busy
       b/web joins room:1
       > room:1 v1.6 +b busy
",
    );
}

#[test]
fn a_big_room_speaks_once_a_second() {
    check(
        "
given 2 listed_max
given 1 faces_max
   0s  a/web connects
       b/web connects
       c/web connects
       d/web connects
       a/web joins room:1
       b/web joins room:1
       c/web joins room:1
   1s  eve watches room:1
       > eve: room:1 3 people: a online
   2s  d/web joins room:1
       > room:1 4 people: a online
2s10ms d/web departs room:1
2s20ms a chooses busy
   3s  .
       > room:1 3 people: a busy
",
    );
}

#[test]
fn a_summary_can_be_asked_for_in_a_small_room() {
    check(
        "
   0s  ann/web connects
       bob/web connects
       cat/web connects
       ann/web joins room:1
       eve watches room:1 summary
       > eve: room:1 1 people: ann online
   1s  bob/web joins room:1
       > room:1 2 people: ann online, bob online
1s60ms cat/web joins room:1
   2s  .
       > room:1 3 people: ann online, bob online, cat online
   3s  eve watches room:1
       > eve: room:1 [ann online, bob online, cat online]
   4s  cat/web departs room:1
       > room:1 -cat left
",
    );
}

#[test]
fn a_summary_is_told_again_only_if_it_says_something_else() {
    check(
        "
given 50ms tick
given 2 faces_max
   0s  a/web connects
       b/web connects
       c/web connects
       d/web connects
       a/web joins room:1
       b/web joins room:1
       c/web joins room:1
   2s  eve watches room:1 summary
       > eve: room:1 3 people: a online, b online
   3s  d/web joins room:1
       > room:1 4 people: a online, b online
   5s  c chooses busy
   6s  d chooses away
   8s  b chooses busy
       > room:1 4 people: a online, b busy
  10s  d/web departs room:1
       > room:1 3 people: a online, b busy
",
    );
}

#[test]
fn a_summary_that_a_newcomer_got_before_the_others_is_corrected_for_them() {
    check(
        "
given 50ms tick
given 2 faces_max
   0s  a/web connects
       b/web connects
       a/web joins room:1
   2s  eve watches room:1 summary
       > eve: room:1 1 people: a online
   3s  b/web joins room:1
       > room:1 2 people: a online, b online
3s100ms b/web departs room:1
3s200ms zoe watches room:1 summary
       > zoe: room:1 1 people: a online
3s300ms b/web joins room:1
   4s  .
       > room:1 2 people: a online, b online
",
    );
}

#[test]
fn a_newcomer_is_told_the_summary_of_the_version_that_the_others_have() {
    check(
        "
given 50ms tick
given 2 faces_max
show versions
   0s  a/web connects
       b/web connects
       a/web joins room:1
   2s  eve watches room:1 summary
       > eve: room:1 v1.1 1 people: a online
   3s  a chooses busy
       > room:1 v1.2 1 people: a busy
3s10ms b/web joins room:1
3s20ms zoe watches room:1 summary
       > zoe: room:1 v1.2 1 people: a busy
3s30ms b/web departs room:1
   5s  b/web joins room:1
       > room:1 v1.3 2 people: a busy, b online
",
    );
}

#[test]
fn in_a_busy_room_a_summary_goes_with_the_changes_that_wait() {
    check(
        "
given 50ms tick
given 3 listed_max
given 1 faces_max
   0s  a/web connects
       b/web connects
       c/web connects
       d/web connects
       e/web connects
       f/web connects
       g/web connects
       a/web joins room:1
       b/web joins room:1
       c/web joins room:1
   2s  eve watches room:1 summary
       > eve: room:1 3 people: a online
   9s  a chooses busy
       > room:1 3 people: a busy
9s60ms d/web joins room:1
9s70ms e/web joins room:1
9s999ms .
10s60ms .
       > room:1 5 people: a busy
10s70ms f/web joins room:1
10s999ms .
11s60ms .
       > room:1 6 people: a busy
11s70ms g/web joins room:1
11s999ms .
12s60ms .
       > room:1 7 people: a busy
",
    );
}

#[test]
fn no_two_summaries_of_one_version_say_different_things() {
    check(
        "
given 50ms tick
given 2 listed_max
given 1 faces_max
show versions
   0s  a/web connects
       b/web connects
       c/web connects
       d/web connects
       e/web connects
       a/web joins room:1
       b/web joins room:1
       c/web joins room:1
   2s  eve watches room:1
       > eve: room:1 v1.2 3 people: a online
   3s  d/web joins room:1
       > room:1 v1.3 4 people: a online
3s100ms e/web joins room:1
       zoe watches room:1
       > zoe: room:1 v1.3 4 people: a online
   4s  .
       > room:1 v1.4 5 people: a online
",
    );
}

#[test]
fn who_comes_to_a_summary_is_told_who_is_typing() {
    check(
        "
 0s  ann/web connects
     ann/web joins room:1
 1s  ann/web types in room:1
     eve watches room:1 summary
     > eve: room:1 1 people: ann online
     > eve: room:1 typing: ann ()
 2s  ann/web stops typing in room:1
     > room:1 typing: (-ann)
",
    );
}

#[test]
fn who_comes_after_a_room_was_listed_again_is_told_who_types_by_then() {
    check(
        "
given 5 listed_max
given 2 faces_max
   0s  a/web connects
       b/web connects
       c/web connects
       d/web connects
       e/web connects
       f/web connects
       a/web joins room:1
       b/web joins room:1
       c/web joins room:1
       d/web joins room:1
       e/web joins room:1
       f/web joins room:1
   1s  eve watches room:1
       > eve: room:1 6 people: a online, b online
   2s  a/web types in room:1
       > room:1 typing: a (+a)
2s10ms e/web departs room:1
2s20ms f/web departs room:1
2s30ms a/web stops typing in room:1
2s40ms b/web types in room:1
   3s  .
       > room:1 [a online, b online, c online, d online] typing: a
       > room:1 typing: b (+b -a)
   4s  zoe watches room:1
       > zoe: room:1 [a online, b online, c online, d online] typing: b
",
    );
}
