//! Going invisible looks exactly like leaving, and being invisible like being gone.

use crate::story::{check, heard};

/// What ann does before, in front of those who watch her, the room and the workspace.
const BEFORE: &str = "
show versions
show since
given ann \"writing\" ✍ until 5m
 0s  eve watches ann
     eve watches room:1
     eve watches workspace:acme
     ann/web connects in acme
     ann/web joins room:1 as red
     bob/web connects in acme
     bob/web joins room:1
 1s  ann/web types in room:1
     ann/web points in room:1 3,4
20s  ann/web types in room:1
";

/// What others do, and ask, and are told, after.
const AFTER: &str = "
40s  zoe watches room:1
     zoe watches ann
     zoe watches workspace:acme
     zoe asks about ann
45s  eve watches room:1 having 1.2
     bob/web is heard
     bob/web says where_is_she in room:1
70s  bob/web is heard
120s bob/web is heard
     eve unwatches ann
     zoe unwatches ann
     eve asks about ann
     eve asks about ann
170s eve watches ann
     bob/web is heard
200s bob/web is heard
250s bob/web is heard
300s .
310s zoe asks about ann
";

/// Panics unless everyone else is told the same, whichever of the two ann does.
#[track_caller]
fn cannot_be_told_apart(leaves: &str, hides: &str) {
    let left = heard(&format!("{BEFORE}{leaves}{AFTER}"), "ann");
    let hidden = heard(&format!("{BEFORE}{hides}{AFTER}"), "ann");
    assert_eq!(left.join("\n"), hidden.join("\n"));
    assert!(left.len() > 20, "the story tells too little: {left:#?}");
}

#[test]
fn going_invisible_looks_exactly_like_leaving() {
    cannot_be_told_apart("30s ann/web leaves", "30s ann chooses invisible");
}

#[test]
fn choosing_to_be_offline_looks_exactly_like_leaving() {
    cannot_be_told_apart("30s ann/web leaves", "30s ann chooses offline");
}

#[test]
fn what_is_done_while_invisible_is_seen_by_nobody() {
    cannot_be_told_apart(
        "30s ann/web leaves",
        "
30s  ann chooses invisible
     ann/web is heard
31s  ann/mobile connects in acme
     ann/mobile joins room:1 and watches
     ann/web is idle
32s  ann chooses \"psst\" 🤫 for ever
     ann/web joins room:2
     ann/web becomes blue in room:1
33s  ann/web leaves
34s  ann/mobile vanishes
",
    );
}

#[test]
fn words_stand_still_while_hidden_and_come_out_with_their_owner() {
    check(
        "
 0s  ann/web connects
     ann chooses busy \"writing\"
     eve watches ann
     > eve: ann busy \"writing\" web
 5s  ann chooses invisible
     > ann offline \"writing\" seen 5s
 6s  ann chooses \"shopping\" 🛒
 7s  ann asks about ann
     > ann hears: ann chose invisible, shown offline \"shopping\" 🛒 r3 seen 5s, web active
 8s  ann chooses online
     > ann online \"shopping\" 🛒 web
",
    );
}

#[test]
fn words_that_end_while_hidden_end_as_those_of_somebody_who_is_gone() {
    check(
        "
 0s  ann/web connects
     ann chooses busy \"lunch\" for 30s
     eve watches ann
     > eve: ann busy \"lunch\" web
 5s  ann puts invisible
     > ann offline \"lunch\" seen 5s
30s  .
     > ann offline seen 5s
50s  ann/web is heard
",
    );
}

#[test]
fn last_seen_stands_still_while_hidden() {
    check(
        "
 0s  ann/web connects
     eve watches ann
     > eve: ann online web
 5s  ann chooses invisible
     > ann offline seen 5s
30s  ann/web is heard
50s  ann/web leaves
     zoe asks about ann
     > zoe hears: ann offline seen 5s
1m   ann/web connects
     > ann/web is new
     zoe asks about ann
     > zoe hears: ann offline seen 5s
",
    );
}

#[test]
fn who_arrives_invisible_was_never_there() {
    check(
        "
given ann invisible
 0s  eve watches ann
     > eve: ann offline
     eve watches room:1
     > eve: room:1 []
     eve watches workspace:acme
     > eve: workspace:acme []
     ann/web connects in acme
     ann/web joins room:1 and watches
     > ann/web: room:1 []
 5s  ann/web leaves
 9s  eve asks about ann
     > eve hears: ann offline
",
    );
}

#[test]
fn an_invisible_person_sees_the_room_and_what_is_said() {
    check(
        "
given ann invisible
 0s  bob/web connects
     bob/web joins room:1
     ann/web connects
     ann/web joins room:1 and watches
     > ann/web: room:1 [bob online]
 1s  bob/web says hello in room:1
     > room:1 bob/web says hello
",
    );
}

#[test]
fn an_invisible_person_who_is_kicked_leaves_no_trace() {
    check(
        "
given ann invisible
 0s  eve watches room:1
     > eve: room:1 []
     eve watches ann
     > eve: ann offline
     ann/web connects
     ann/web joins room:1
 1s  ann is kicked
     > ann/web@0 closed: kicked
",
    );
}

#[test]
fn an_invisible_persons_status_can_end_like_any_other_and_then_they_are_back() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann/web connects
     > ann online web
     ann chooses invisible for 30s
     > ann offline seen 0s
30s  .
     > ann online web
",
    );
}
