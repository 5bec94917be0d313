//! What people choose, and what others see of it.

use crate::story::check;

#[test]
fn who_connects_is_online_and_who_leaves_is_offline() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
10s  ann/web connects
     > ann online web
20s  ann/web is heard
30s  ann/web leaves
     > ann offline seen 30s
40s  .
",
    );
}

#[test]
fn a_chosen_status_is_shown_while_there_is_a_session_and_its_words_always() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann chooses busy \"writing\" 🎯
     > ann offline \"writing\" 🎯
10s  ann/web connects
     > ann busy \"writing\" 🎯 web
20s  ann/web leaves
     > ann offline \"writing\" 🎯 seen 20s
",
    );
}

#[test]
fn a_patch_merges_a_put_replaces_and_null_clears() {
    check(
        "
show own
 0s  ann/web connects
     > ann/web: ann chose online, shown online r0 seen 0s, web active
 1s  ann chooses busy \"writing\" 🎯 for 1h
     > ann/web: ann chose busy, shown busy \"writing\" 🎯 until 60m1s r1 seen 0s, web active
 2s  ann chooses away
     > ann/web: ann chose away, shown away \"writing\" 🎯 until 60m1s r2 seen 0s, web active
 3s  ann chooses no message
     > ann/web: ann chose away, shown away 🎯 until 60m1s r3 seen 0s, web active
 4s  ann chooses no emoji for ever
     > ann/web: ann chose away, shown away r4 seen 0s, web active
 5s  ann puts \"back soon\"
     > ann/web: ann chose online, shown online \"back soon\" r5 seen 0s, web active
 6s  ann puts busy
     > ann/web: ann chose busy, shown busy r6 seen 0s, web active
",
    );
}

#[test]
fn choosing_the_same_again_is_no_change() {
    check(
        "
show own
 0s  ann/web connects
     > ann/web: ann chose online, shown online r0 seen 0s, web active
 1s  ann chooses busy \"writing\" until 1h
     > ann/web: ann chose busy, shown busy \"writing\" until 60m r1 seen 0s, web active
 2s  ann chooses busy \"writing\" until 1h
     ann chooses busy
",
    );
}

#[test]
fn a_status_ends_when_it_was_said_to_and_everyone_is_told() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann/web connects
     > ann online web
 1s  ann chooses busy \"lunch\" 🍜 for 30s
     > ann busy \"lunch\" 🍜 web
30s  .
31s  .
     > ann online web
",
    );
}

#[test]
fn words_end_while_offline_too() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann chooses \"lunch\" for 30s
     > ann offline \"lunch\"
30s  .
     > ann offline
",
    );
}

#[test]
fn a_status_that_ended_while_nobody_looked_is_not_shown_again() {
    check(
        "
given ann busy \"lunch\" until 10s
20s  eve watches ann
     > eve: ann offline
     ann/web connects
     > ann online web
",
    );
}

#[test]
fn a_status_set_just_before_the_end_of_another_is_not_lost() {
    check(
        "
   0s     ann/web connects
          eve watches ann
          > eve: ann online web
          ann chooses busy \"lunch\" for 30s
          > ann busy \"lunch\" web
29s999ms  ann puts away \"walking\"
          > ann away \"walking\" web
30s       .
50s       ann/web is heard
",
    );
}

#[test]
fn a_status_chosen_at_the_very_end_of_another_is_one_change_after_it() {
    check(
        "
show own
 0s  ann/web connects
     > ann/web: ann chose online, shown online r0 seen 0s, web active
     ann chooses busy \"lunch\" for 30s
     > ann/web: ann chose busy, shown busy \"lunch\" until 30s r1 seen 0s, web active
30s  ann chooses away
     > ann/web: ann chose online, shown online r2 seen 0s, web active
     > ann/web: ann chose away, shown away r3 seen 0s, web active
",
    );
}

#[test]
fn a_change_is_kept_before_it_is_granted_and_a_heartbeat_is_not() {
    check(
        "
show saves
 0s  ann/web connects
     > save ann online r0 seen 0s
15s  ann/web is heard
     ann chooses busy \"lunch\" for 1m
     > save ann busy \"lunch\" until 1m15s r1 seen 0s
30s  ann/web is heard
     ann chooses busy
     > save ann busy \"lunch\" until 1m15s r1 seen 0s
1m   ann/web is heard
1m15s .
     > save ann online r2 seen 0s
1m20s ann/web leaves
     > save ann online r2 seen 1m20s
",
    );
}

#[test]
fn nothing_is_kept_of_visitors() {
    check(
        "
show saves
 0s  anon_1/web connects
     anon_1 chooses busy
 1s  anon_1/web leaves
",
    );
}

#[test]
fn offline_is_a_choice_that_ends_when_the_person_next_connects() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
 5s  ann chooses offline
     > ann offline seen 5s
15s  ann/web is heard
20s  ann/mobile connects
     > ann online web mobile
",
    );
}

#[test]
fn last_seen_is_kept_now_and_then_of_those_who_stay() {
    check(
        "
show saves
 0s  ann/web connects
     > save ann online r0 seen 0s
50s  ann/web is heard
100s ann/web is heard
150s ann/web is heard
200s ann/web is heard
239s ann/web is heard
240s .
     > save ann online r0 seen 3m59s
",
    );
}

#[test]
fn who_hides_is_kept_as_they_are_when_they_come_and_when_they_go() {
    // Their last-seen time stands still, so only that says that they were here of late.
    check(
        "
show saves
given ann invisible
 0s  ann/web connects
     > save ann invisible r1
     ann/mobile connects
     > save ann invisible r1
50s  ann/web leaves
51s  ann/mobile leaves
     > save ann invisible r1
",
    );
}

#[test]
fn who_asks_hears_what_others_see_and_only_ann_hears_the_truth() {
    check(
        "
given ann invisible \"hiding\"
 0s  ann/web connects
     eve asks about ann
     > eve hears: ann offline
     ann asks about ann
     > ann hears: ann chose invisible, shown offline \"hiding\" r1, web active
",
    );
}

#[test]
fn the_end_of_lunch_shows_nobody_who_went_into_hiding_meanwhile() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
10s  ann chooses away \"Lunch\" for 60s
     > ann away \"Lunch\" web
20s  ann chooses invisible
     > ann offline \"Lunch\" seen 20s
50s  ann/web is heard
70s  .
     > ann offline seen 20s
",
    );
}

/// Webhooks of a node that is alone go by this, and nobody may be watching.
#[test]
fn a_change_of_looks_is_announced_also_if_nobody_watches() {
    check(
        "
show looks
 0s  ann/web connects
     > ann looks different
 5s  ann/web is heard
     ann/web joins room:1
     ann/phone connects
10s  ann chooses busy
     > ann looks different
     ann chooses busy
15s  ann chooses invisible
     > ann looks different
20s  ann/phone leaves
     ann/web is heard
25s  ann chooses online
     > ann looks different
30s  ann/web leaves
     > ann looks different
",
    );
}
