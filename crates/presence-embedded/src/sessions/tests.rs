use std::fs;
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::JoinedTopic;
use presence_core::ports::{Recalled, SessionChange, Sessions, StoredSession};
use presence_core::users::{Activity, KnownBy};
use presence_core::{Meta, SessionId, Shown, Timestamp, Topic};
use tempfile::TempDir;

use super::alive::Moment;
use super::part::Part;
use super::*;

const PARTS: usize = 2;
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

#[test]
fn the_next_process_knows_what_was_noted_last() {
    let folder = TempDir::new().unwrap();
    let files = begin(&folder).0;
    files.append(0, &[is(1, "ann"), joined(1, "room:1", "{\"a\":1}")]);
    files.append(
        1,
        &[
            is(2, "bob"),
            joined(2, "room:1", ""),
            joined(2, "room:2", ""),
        ],
    );
    files.append(0, &[joined(1, "room:1", "{\"a\":2}")]);
    files.append(
        1,
        &[
            departed(2, "room:1"),
            is(3, "eve"),
            SessionChange::Ended { session: id(3) },
        ],
    );
    drop(files);

    let (_, left) = begin(&folder);
    assert_eq!(left.garbled, 0);
    assert_eq!(left.ended_at, NOW);
    assert!(left.away.unwrap() < Duration::from_secs(5));
    let expected = [
        recalled(1, "ann", &[("room:1", "{\"a\":2}")]),
        recalled(2, "bob", &[("room:2", "")]),
    ];
    assert_eq!(left.sessions, expected);
}

#[test]
fn what_was_recalled_and_not_noted_again_is_there_until_it_is_forgotten() {
    let folder = TempDir::new().unwrap();
    begin(&folder)
        .0
        .append(0, &[is(1, "ann"), is(2, "bob"), joined(2, "room:1", "")]);
    let (second, left) = begin(&folder);
    assert_eq!(left.sessions.len(), 2);
    second.append(1, &[SessionChange::Ended { session: id(1) }]);
    drop(second);
    let (third, left) = begin(&folder);
    let mut bob = recalled(2, "bob", &[("room:1", "")]);
    // It had no connection in the second process.
    bob.kept.lost_at = left.sessions[0].kept.lost_at;
    assert!(bob.kept.lost_at.is_some_and(|it| it <= NOW));
    assert_eq!(left.sessions, [bob]);
    third.forget_earlier();
    drop(third);
    assert_eq!(begin(&folder).1.sessions, []);
}

#[test]
fn a_record_that_was_cut_off_costs_itself_and_what_came_after() {
    let folder = TempDir::new().unwrap();
    begin(&folder).0.append(0, &[is(1, "ann"), is(2, "bob")]);
    let journal = folder.path().join("1/0-0.journal");
    let whole = fs::read(&journal).unwrap();
    let first = format::MAGIC.len() + frame_of(&is(1, "ann")).len();
    for length in 0..whole.len() {
        fs::write(&journal, &whole[..length]).unwrap();
        let (changes, is_garbled) = format::read(&whole[..length]);
        let known = usize::from(length >= first);
        assert_eq!(changes.len(), known, "{length} bytes");
        let is_between = length == first || length == format::MAGIC.len();
        assert_eq!(is_garbled, !is_between, "{length} bytes");
    }
    fs::write(&journal, &whole[..whole.len() - 1]).unwrap();
    let (_, left) = begin(&folder);
    assert_eq!((left.sessions.len(), left.garbled), (1, 1));
}

#[test]
fn whatever_bit_is_flipped_nothing_that_was_not_noted_is_recalled() {
    let changes = [is(1, "ann"), joined(1, "room:1", "{}"), is(2, "bob")];
    let mut bytes = format::MAGIC.to_vec();
    changes.iter().for_each(|it| format::write(it, &mut bytes));
    assert_eq!(format::read(&bytes), (changes.to_vec(), false));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let (read, is_garbled) = format::read(&bytes);
            assert!(
                is_garbled && changes.starts_with(&read),
                "bit {bit} of {at}"
            );
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn what_is_older_than_half_a_minute_is_not_recalled() {
    let folder = TempDir::new().unwrap();
    begin(&folder).0.append(0, &[is(1, "ann")]);
    let processes = recall::processes_in(folder.path()).unwrap();
    let now = Moment::now();
    let later = |seconds: u64, boot: Option<&str>| Moment {
        wall_ms: now.wall_ms + seconds * 1000,
        uptime: now
            .uptime
            .clone()
            .map(|(uptime, same)| (uptime + seconds * 1000, boot.map_or(same, str::to_owned))),
    };
    assert_eq!(
        recall::recall(&processes, &later(29, None)).sessions.len(),
        1
    );
    assert_eq!(
        recall::recall(&processes, &later(31, None)).sessions.len(),
        0
    );
    // Of another start of the machine the wall clock has to do.
    assert_eq!(
        recall::recall(&processes, &later(29, Some("x")))
            .sessions
            .len(),
        1
    );
    assert_eq!(
        recall::recall(&processes, &later(31, Some("x")))
            .sessions
            .len(),
        0
    );
}

#[test]
fn setting_the_wall_clock_changes_nothing() {
    let (boot, wall_ms) = ("a boot".to_owned(), NOW.as_millis());
    let then = Moment {
        wall_ms,
        uptime: Some((5_000, boot.clone())),
    };
    for wall_ms in [wall_ms - 3_600_000, wall_ms, wall_ms + 3_600_000] {
        let uptime = Some((7_000, boot.clone()));
        let now = Moment { wall_ms, uptime };
        assert_eq!(now.since(&then), Some(Duration::from_secs(2)));
    }
    let uptime = None;
    let back = Moment {
        wall_ms: wall_ms - 1,
        uptime,
    };
    assert_eq!(back.since(&then), None, "nobody can say");
}

#[test]
fn a_process_that_never_said_that_it_lives_has_left_nothing() {
    let folder = TempDir::new().unwrap();
    begin(&folder).0.append(0, &[is(1, "ann")]);
    for garbled in [&b""[..], b"nonsense", &[0xff; 200]] {
        fs::write(folder.path().join("1/alive"), garbled).unwrap();
        assert_eq!(begin(&folder).1.sessions, []);
    }
}

#[test]
fn a_journal_is_rewritten_before_it_is_twice_as_large_as_it_has_to_be() {
    let folder = TempDir::new().unwrap();
    let mut part = Part::new(folder.path(), 7);
    let meta = meta_of(1000);
    let mut largest = 0;
    for _ in 0..5_000 {
        if part.append(&[joined(1, "room:1", &meta)]) {
            part.rewrite(&[is(1, "ann"), joined(1, "room:1", &meta)]);
        }
        let all = fs::read_dir(folder.path()).unwrap();
        let bytes: u64 = all.map(|it| it.unwrap().metadata().unwrap().len()).sum();
        largest = largest.max(bytes);
    }
    assert!(largest < 2 * REWRITE_BYTES_LEAST as u64, "{largest} bytes");
    assert!(largest > REWRITE_BYTES_LEAST as u64 / 2, "{largest} bytes");
}

#[test]
fn a_part_that_is_too_large_is_forgotten_until_it_is_small_again() {
    let folder = TempDir::new().unwrap();
    let mut part = Part::new(folder.path(), 0).with_bytes_max(500);
    let journals = || fs::read_dir(folder.path()).unwrap().count();
    part.rewrite(&[is(1, "ann")]);
    assert!(!part.is_forgotten());
    part.rewrite(&[is(1, "ann"), joined(1, "room:1", &meta_of(500))]);
    assert!(part.is_forgotten());
    assert_eq!(journals(), 0, "what is old is worse than nothing");
    // It is looked at again once as much has been said as makes a journal worth rewriting.
    let long = joined(1, "room:1", &meta_of(4000));
    let half = vec![long; REWRITE_BYTES_LEAST / 2 / 4000];
    assert!(!part.append(&half));
    assert!(part.append(&half));
    part.rewrite(&[is(1, "ann")]);
    assert!(!part.is_forgotten());
    assert_eq!(journals(), 1);
}

#[test]
fn a_folder_that_goes_away_costs_the_memory_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let (files, _) = begin(&folder);
    fs::remove_dir_all(folder.path().join("1")).unwrap();
    files.append(0, &[is(1, "ann")]);
    assert_eq!(files.forgotten(), 1);
    files.rewrite(0, &[is(1, "ann")]);
    files.alive(NOW);
    drop(files);
    assert_eq!(begin(&folder).1.sessions, []);
}

#[test]
fn two_processes_do_not_share_a_folder_and_nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sessions");
    let (files, _) = SessionFiles::open(&path, PARTS).unwrap();
    files.append(0, &[is(1, "ann")]);
    let error = SessionFiles::open(&path, PARTS).unwrap_err();
    assert!(error.to_string().contains("is in use"), "{error}");
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("1"), mode("1/0-0.journal")), (0o700, 0o600));
}

/// A process in `folder`, which lives.
fn begin(folder: &TempDir) -> (SessionFiles, Left) {
    let (files, left) = SessionFiles::open(folder.path(), PARTS).unwrap();
    files.alive(NOW);
    (files, left)
}

fn id(number: u128) -> SessionId {
    SessionId::from_u128(number)
}

fn topic(name: &str) -> Topic {
    Topic::Channel(name.parse().unwrap())
}

fn kept(user: &str) -> StoredSession {
    StoredSession {
        user: user.parse().unwrap(),
        epoch: 3,
        device: "web:1".parse().unwrap(),
        known_by: KnownBy::Device,
        by_service: false,
        activity: Activity::Idle,
        is_active: false,
        is_hidden: true,
        lost_at: None,
        heard_at: None,
        alias: Some(SessionId::from_u128(77)),
    }
}

fn in_topic(name: &str, json: &str) -> JoinedTopic {
    JoinedTopic {
        topic: topic(name),
        joined_at: NOW,
        meta: Arc::new(
            Meta::showing(
                json,
                Shown {
                    name: Some("Ann".into()),
                    color: None,
                    avatar: Some("a.png".into()),
                },
            )
            .unwrap(),
        ),
    }
}

fn is(session: u128, user: &str) -> SessionChange {
    SessionChange::Is {
        session: id(session),
        kept: Box::new(kept(user)),
    }
}

/// A meta of about so many bytes.
fn meta_of(bytes: usize) -> String {
    format!(r#"{{"about":"{}"}}"#, "x".repeat(bytes))
}

fn joined(session: u128, name: &str, json: &str) -> SessionChange {
    SessionChange::Joined {
        session: id(session),
        joined: in_topic(name, json),
    }
}

fn departed(session: u128, name: &str) -> SessionChange {
    SessionChange::Left {
        session: id(session),
        topic: topic(name),
    }
}

fn recalled(session: u128, user: &str, topics: &[(&str, &str)]) -> Recalled {
    Recalled {
        session: id(session),
        kept: kept(user),
        topics: topics
            .iter()
            .map(|(name, json)| in_topic(name, json))
            .collect(),
    }
}

fn frame_of(change: &SessionChange) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::write(change, &mut bytes);
    bytes
}
