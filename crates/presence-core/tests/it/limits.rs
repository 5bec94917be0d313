//! Everything has a bound, and says so when it is reached.

use crate::story::check;

#[test]
fn sessions_of_a_user() {
    check(
        "
given 2 sessions_max
 0s  ann/web.1 connects
     ann/web.2 connects
     ann/web.3 connects
     > ann/web.3 refused: at most 2 sessions of one user
     ann/web.1 resumes
     > ann/web.1@0 closed: replaced
     > ann/web.1 is back
     bob/web.1 connects
 1s  ann/web.2 leaves
     ann/web.4 connects
",
    );
}

#[test]
fn channels_of_a_session() {
    check(
        "
given 1 channels_max
 0s  ann/web connects in acme
     ann/web joins room:1
     ann/web joins room:2
     > ann/web refused: at most 1 channels of one session
     ann/web joins room:1 as red
     ann/web departs room:1
     ann/web joins room:2
",
    );
}

#[test]
fn facts_that_wait_for_a_profile() {
    check(
        "
given slow profiles
given 2 waiting_max
 0s  eve watches ann
     zoe watches ann
     ann chooses busy
     > ann refused: the profile store is away
     eve unwatches ann
 1s  ann is loaded
     > eve: ann offline
     > zoe: ann offline
     zoe unwatches ann
",
    );
}

#[test]
fn names_of_those_who_type() {
    check(
        "
given 1 typing_max
 0s  ann/web connects
     ann/web joins room:1
     bob/web connects
     bob/web joins room:1
 1s  eve watches room:1
     > eve: room:1 [ann online, bob online]
     bob/web types in room:1
     > room:1 typing: bob (+bob)
1s50ms ann/web types in room:1
     > room:1 typing: ann (+ann)
",
    );
}

#[test]
fn who_starts_and_stops_typing_over_the_limit_is_named_in_the_next_ticks() {
    check(
        "
given 50ms tick
given 2 typing_max
 0s  a/web connects
     a/web joins room:1
     b/web connects
     b/web joins room:1
     c/web connects
     c/web joins room:1
     d/web connects
     d/web joins room:1
     e/web connects
     e/web joins room:1
 1s  eve watches room:1
     > eve: room:1 [a online, b online, c online, d online, e online]
     a/web types in room:1
     > room:1 typing: a (+a)
     b/web types in room:1
     c/web types in room:1
     d/web types in room:1
     e/web types in room:1
1s50ms .
     > room:1 typing: a b (+b +c)
1s100ms .
     > room:1 typing: a b (+d +e)
1s110ms a/web stops typing in room:1
     b/web stops typing in room:1
     c/web stops typing in room:1
     d/web stops typing in room:1
     e/web stops typing in room:1
1s150ms .
     > room:1 typing: (-a -b)
     zoe watches room:1
     > zoe: room:1 [a online, b online, c online, d online, e online] typing: c d e
1s200ms .
     > room:1 typing: (-c -d)
1s250ms .
     > room:1 typing: (-e)
2s   .
",
    );
}

#[test]
fn who_leaves_over_the_limit_stops_typing_and_pointing_too() {
    check(
        "
given 50ms tick
given 1 typing_max
given 1 cursors_max
 0s  a/web connects
     a/web joins room:1
     b/web connects
     b/web joins room:1
     a/web types in room:1
     b/web types in room:1
     a/web points in room:1 1,1
     b/web points in room:1 2,2
 1s  eve watches room:1
     > eve: room:1 [a online, b online] typing: a b, a/web at 1,1, b/web at 2,2
     a/web departs room:1
     > room:1 -a left
     > room:1 typing: b (-a)
     > room:1 a/web points no more
     b/web departs room:1
1s50ms .
     > room:1 -b left
     > room:1 typing: (-b)
     > room:1 b/web points no more
2s   .
",
    );
}

#[test]
fn nobody_waits_for_ever_behind_those_who_change_in_every_tick() {
    check(
        "
given 50ms tick
given 1 typing_max
given 1 cursors_max
 0s  a/web connects
     a/web joins room:1
     b/web connects
     b/web joins room:1
 1s  eve watches room:1
     > eve: room:1 [a online, b online]
     a/web points in room:1 1,1
     > room:1 but a/web: a/web at 1,1
     a/web points in room:1 2,2
     b/web points in room:1 7,7
1s50ms .
     > room:1 but a/web: a/web at 2,2
     a/web points in room:1 3,3
1s100ms .
     > room:1 but b/web: b/web at 7,7
     a/web points in room:1 4,4
1s150ms .
     > room:1 but a/web: a/web at 4,4
2s   .
",
    );
}

#[test]
fn cursors_in_a_tick() {
    check(
        "
given 1 cursors_max
 0s  ann/web connects
     ann/web joins room:1
     bob/web connects
     bob/web joins room:1
 1s  eve watches room:1
     > eve: room:1 [ann online, bob online]
     ann/web points in room:1 1,1
     > room:1 but ann/web: ann/web at 1,1
     ann/web points in room:1 2,2
     bob/web points in room:1 7,7
1s50ms .
     > room:1 but ann/web: ann/web at 2,2
1s100ms .
     > room:1 but bob/web: bob/web at 7,7
",
    );
}

#[test]
fn broadcasts_are_counted_for_a_while_and_who_is_refused_is_still_typing() {
    check(
        "
given 3 broadcasts_max
given 20ms tick
 0s  ann/web connects
     ann/web joins room:1
 1s  eve watches room:1
     > eve: room:1 [ann online]
     ann/web says one in room:1
     > room:1 ann/web says one
     ann/web says two in room:1
     ann/web types in room:1
1s20ms .
     > room:1 ann/web says two
     > room:1 typing: ann (+ann)
1s30ms ann/web says three in room:1
1s40ms .
     > room:1 ann/web says three
     > room:1 typing: (-ann)
1s41ms ann/web types in room:1
1s49ms ann/web says four in room:1
     > ann/web refused: too much at once in this channel
1s50ms ann/web says four in room:1
1s60ms .
     > room:1 ann/web says four
",
    );
}

#[test]
fn what_was_not_joined_cannot_be_updated() {
    check(
        "
 0s  ann/web connects
     ann/web becomes red in room:1
     > ann/web refused: join the channel first (invisible people are not in it)
     bob/web joins room:1
     > bob/web refused: the session is over
",
    );
}
