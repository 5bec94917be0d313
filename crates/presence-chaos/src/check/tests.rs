//! Every violation is caught, and what is right is not called one.

use super::*;

#[test]
fn who_comes_and_goes_as_told_is_fine() {
    check(
        "
0.0 joe looks
1.0 ann comes
1.1 joe: +ann
2.0 ann leaves
2.2 joe: -ann
",
        "took 0.100 to see ann come
         took 0.200 to see ann go (Left)",
    );
}

#[test]
fn a_join_of_somebody_who_is_shown_is_told_twice() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 joe: +ann
6.0 joe: -bob
7.0 joe: ~bob 1
",
        "told twice: ann at 5.0
         told twice: bob at 6.0
         told twice: bob at 7.0",
    );
}

#[test]
fn a_leave_for_which_nothing_ended_is_a_flap() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 joe: -ann
5.5 joe: +ann
",
        "flap: ann at 5.0",
    );
}

#[test]
fn a_flap_in_a_whole_state_is_one_too() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 joe: all
6.0 joe: all ann
",
        "flap: ann at 5.0",
    );
}

#[test]
fn who_is_back_within_grace_must_not_be_shown_leaving() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 ann lost
9.0 ann comes
12.0 joe: -ann
12.5 joe: +ann
",
        "flap: ann at 12.0",
    );
}

#[test]
fn an_end_is_told_once() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 ann leaves
5.1 joe: -ann
8.0 joe: +ann
8.4 joe: -ann
",
        "flap: ann at 8.4
         took 0.100 to see ann go (Left)
         took 3.400 to see ann go (Left)",
    );
}

#[test]
fn a_late_leave_of_an_earlier_stay_is_no_flap() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 ann leaves
5.1 ann comes
5.3 joe: -ann
5.4 joe: +ann
",
        "took 0.100 to see ann go (Left)",
    );
}

#[test]
fn a_ghost_counts_until_it_is_gone_or_until_the_end() {
    check(
        "
0.0 ann comes
0.0 bob comes
0.0 joe: all ann bob
0.0 joe looks
5.0 ann dies
6.0 bob hangs
15.0 joe: -ann
20.0 the end
",
        "took 10.000 to see ann go (NodeGone)
         took 14.000 to see bob go (HalfOpen)
         wrong: ann from 5.0 to 15.0
         wrong: bob from 6.0 to 20.0
         wrong at the end: bob",
    );
}

#[test]
fn a_leave_before_the_lease_can_have_run_out_is_early() {
    check(
        "
0.0 ann comes
0.0 bob comes
0.0 joe: all ann bob
0.0 joe looks
5.0 ann dies
5.0 bob dies
6.0 joe: -ann
8.0 joe: -bob
",
        "early: ann at 6.0
         took 1.000 to see ann go (NodeGone)
         took 3.000 to see bob go (NodeGone)
         wrong: bob from 5.0 to 8.0",
    );
}

#[test]
fn who_never_came_must_not_be_shown() {
    check(
        "
0.0 joe looks
3.0 joe: +eve
",
        "unfounded: eve at 3.0
         wrong: eve from 3.0 to 9.0
         wrong at the end: eve",
    );
}

#[test]
fn a_change_is_late_until_it_or_a_later_one_is_seen() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 ann makes 1 due 4.5
5.2 ann makes 2 due 5.1
6.0 joe: ~ann 2
",
        "took 1.500 to see ann change
         took 0.900 to see ann change",
    );
}

#[test]
fn a_change_may_be_seen_before_it_is_acknowledged() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
4.6 joe: ~ann 1
5.0 ann makes 1 due 4.5
",
        "took 0.100 to see ann change",
    );
}

#[test]
fn a_change_that_is_never_seen_is_wrong_at_the_end() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
5.0 ann makes 1 due 4.5
8.0 the end
",
        "wrong: ann from 5.0 to 8.0
         wrong at the end: ann",
    );
}

#[test]
fn a_watcher_that_sees_nothing_is_not_asked() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
2.0 joe is blind
3.0 ann leaves
4.0 bob comes
8.0 joe: all bob
8.0 joe looks
",
        "",
    );
}

#[test]
fn a_ghost_is_measured_from_when_the_watcher_looks_again() {
    check(
        "
0.0 ann comes
0.0 joe: all ann
0.0 joe looks
2.0 joe is blind
3.0 ann dies
8.0 joe looks
9.5 joe: -ann
",
        "took 1.500 to see ann go (NodeGone)
         wrong: ann from 8.0 to 9.5",
    );
}

#[test]
fn other_rooms_are_none_of_a_watchers_business() {
    check(
        "
0.0 joe looks
1.0 zoe comes
2.0 the end
",
        "",
    );
}

/// Plays `script` and compares what is found with the lines of `expected`.
///
/// Ann, Bob and Eve are in the room that Joe watches, Zoe is in another. Grace is 5 s, a lease lasts 2 s.
/// The script ends at 9 s, or as it says.
#[track_caller]
fn check(script: &str, expected: &str) {
    let cast = Cast {
        users: vec![0, 0, 0, 1],
        watchers: vec![0],
    };
    let rules = Rules {
        grace: Duration::from_secs(5),
        not_before: BTreeMap::from([(Ending::NodeGone, Duration::from_secs(2))]),
    };
    let mut facts = Vec::new();
    let mut now = Duration::from_secs(9);
    for line in script.lines().filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split(' ').collect();
        let at = seconds(words[0]);
        let fact = match words[1..] {
            ["the", "end"] => {
                now = at;
                continue;
            }
            _ => fact(&words[1..]),
        };
        facts.push((at, fact));
    }
    let found = shown(&super::check(&cast, &facts, &rules, now));
    let expected: Vec<_> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(found, expected);
}

const NAMES: [&str; 4] = ["ann", "bob", "eve", "zoe"];
const JOE: Watcher = Watcher(0);

fn fact(words: &[&str]) -> Fact {
    let change = |word: &str| word.parse().unwrap();
    match words {
        ["joe", "looks"] => Fact::Looks(JOE),
        ["joe", "is", "blind"] => Fact::Blind(JOE),
        ["joe:", "all", names @ ..] => {
            Fact::Whole(JOE, names.iter().map(|name| (user(name), 0)).collect())
        }
        ["joe:", told, rest @ ..] => {
            let user = user(&told[1..]);
            match &told[..1] {
                "+" => Fact::Joined(JOE, user, 0),
                "-" => Fact::Left(JOE, user),
                _ => Fact::Updated(JOE, user, change(rest[0])),
            }
        }
        [name, "comes"] => Fact::Came(user(name)),
        [name, "leaves"] => Fact::Gone(user(name), Ending::Left),
        [name, "lost"] => Fact::Gone(user(name), Ending::Lost),
        [name, "hangs"] => Fact::Gone(user(name), Ending::HalfOpen),
        [name, "dies"] => Fact::Gone(user(name), Ending::NodeGone),
        [name, "makes", number, "due", due] => Fact::Made(user(name), change(number), seconds(due)),
        _ => panic!("what is {words:?}?"),
    }
}

fn user(name: &str) -> User {
    let index = NAMES.iter().position(|it| *it == name);
    User(u32::try_from(index.unwrap()).unwrap())
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.parse().unwrap())
}

fn shown(findings: &Findings) -> Vec<String> {
    let name = |user: &User| NAMES[user.0 as usize];
    let mut lines = Vec::new();
    for (what, moments) in [
        ("told twice", &findings.told_twice),
        ("flap", &findings.flaps),
        ("early", &findings.early),
        ("unfounded", &findings.unfounded),
    ] {
        for it in moments {
            lines.push(format!(
                "{what}: {} at {:.1}",
                name(&it.user),
                it.at.as_secs_f64()
            ));
        }
    }
    for lag in &findings.lags {
        let what = match lag.what {
            Seen::Coming => "come".to_owned(),
            Seen::Going(how) => format!("go ({how:?})"),
            Seen::Change => "change".to_owned(),
        };
        lines.push(format!(
            "took {:.3} to see {} {what}",
            lag.took.as_secs_f64(),
            name(&lag.user)
        ));
    }
    for it in &findings.spells {
        lines.push(format!(
            "wrong: {} from {:.1} to {:.1}",
            name(&it.user),
            it.from.as_secs_f64(),
            it.until.as_secs_f64()
        ));
    }
    for it in &findings.wrong {
        lines.push(format!("wrong at the end: {}", name(&it.at.user)));
    }
    lines
}
