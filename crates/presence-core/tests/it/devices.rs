//! Sessions fold into devices, devices into the user.

use crate::story::check;

#[test]
fn two_tabs_are_two_sessions_of_one_device() {
    check("
show own
 0s  ann/web:1.1 connects
     > ann/web:1.1: ann chose online, shown online r0 seen 0s, web:1 active
 1s  ann/web:1.2 connects
     > ann/web:1.1 ann/web:1.2: ann chose online, shown online r0 seen 1s, web:1 active x2
 2s  ann/web:1.1 is idle
     > ann/web:1.1 ann/web:1.2: ann chose online, shown online r0 seen 2s, web:1 active x2
 3s  ann/mobile:x connects
     > ann/web:1.1 ann/web:1.2 ann/mobile:x: ann chose online, shown online r0 seen 3s, web:1 active x2, mobile:x active
 4s  ann/web:1.2 leaves
     > ann/web:1.1 ann/mobile:x: ann chose online, shown online r0 seen 3s, web:1 idle, mobile:x active
");
}

#[test]
fn others_are_told_kinds_once_each() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann/web:1 connects
     > ann online web
     ann/web:2 connects
     ann/mobile:x connects
     > ann online web mobile
     ann/desktop:y connects
     > ann online web mobile desktop
 1s  ann/web:1 leaves
 2s  ann/web:2 leaves
     > ann online mobile desktop
",
    );
}

#[test]
fn closing_one_tab_of_two_tells_nobody() {
    check(
        "
 0s  eve watches ann
     > eve: ann offline
     ann/web.1 connects
     > ann online web
     ann/web.2 connects
 5s  ann/web.1 leaves
20s  ann/web.2 is heard
30s  ann/web.2 leaves
     > ann offline seen 30s
",
    );
}

#[test]
fn who_is_kicked_is_gone_at_once_on_every_device() {
    check(
        "
given 50ms tick
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online
     eve watches ann
     > eve: ann online web
     ann/mobile connects
     > ann online web mobile
     ann/mobile joins room:1
50ms .
     > room:1 ~ann online x2
 2s  ann is kicked
     > ann/web@0 closed: kicked
     > ann/mobile@0 closed: kicked
     > ann offline seen 2s
     > room:1 -ann kicked
 3s  ann/web resumes
     > ann/web is new
     > ann online web
",
    );
}

#[test]
fn nobody_can_be_kicked_who_is_not_here() {
    check(
        "
 0s  ann is kicked
     > ann refused: the session is over
",
    );
}
