use std::fs;

use presence_core::ports::Profiles;
use presence_core::{Profile, UserId};
use presence_embedded::{OpenError, ProfileFile, SAVES_MAX};

use crate::crash::Child;

#[tokio::test]
async fn missing_directories_are_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("var/lib/presence/profiles.redb");
    let file = ProfileFile::open(&path).unwrap();
    file.save(&[ann()]).await.unwrap();
    drop(file);
    let file = ProfileFile::open(&path).unwrap();
    assert_eq!(file.load(&[ann().user]).await.unwrap(), [Some(ann())]);
}

#[tokio::test]
async fn an_empty_file_is_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    fs::write(&path, "").unwrap();
    let file = ProfileFile::open(&path).unwrap();
    assert_eq!(file.load(&[ann().user]).await.unwrap(), [None]);
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    let told = format!(
        "{} is in use: end the process that has it open, or give this one a data directory of its own",
        path.display()
    );

    let first = ProfileFile::open(&path).unwrap();
    assert_eq!(Child::start(&path).refusal(), told);
    let here = ProfileFile::open(&path).err().unwrap();
    assert!(matches!(here, OpenError::InUse { .. }), "{here:?}");
    assert_eq!(here.to_string(), told);

    drop(first);
    assert!(ProfileFile::open(&path).is_ok());
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    for contents in ["hello", &"SQLite format 3\0".repeat(10_000)] {
        fs::write(&path, contents).unwrap();
        check_corrupt(ProfileFile::open(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    let file = ProfileFile::open(&path).unwrap();
    let many: Vec<_> = (0..1000)
        .map(|i| Profile::new(UserId::new(&format!("user{i}")).unwrap()))
        .collect();
    file.save(&many).await.unwrap();
    drop(file);

    let whole = fs::read(&path).unwrap();
    let damage: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes[10..300].fill(0),
        // One bit of one user.
        |bytes| {
            let at = bytes.windows(7).rposition(|word| word == b"user500");
            bytes[at.unwrap()] ^= 1;
        },
    ];
    for damage in damage {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        check_corrupt(ProfileFile::open(&path));
    }

    fs::write(&path, whole).unwrap();
    assert!(ProfileFile::open(&path).is_ok());
}

#[test]
fn a_place_that_cannot_be_a_file_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [directory.path(), &file.join("profiles.redb")] {
        let error = ProfileFile::open(path).err().unwrap();
        assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains("see that its place is a file"));
    }
}

#[tokio::test]
async fn more_saves_than_may_wait_wait_their_turn() {
    let directory = tempfile::tempdir().unwrap();
    let file = ProfileFile::open(directory.path().join("profiles.redb")).unwrap();
    let file = std::sync::Arc::new(file);
    let mut saves = tokio::task::JoinSet::new();
    for i in 0..SAVES_MAX * 2 {
        let file = std::sync::Arc::clone(&file);
        saves.spawn(async move {
            let mut ann = ann();
            ann.status.revision = i as u64;
            file.save(&[ann]).await
        });
    }
    assert!(saves.join_all().await.iter().all(Result::is_ok));
    let loaded = file.load(&[ann().user]).await.unwrap();
    let revision = loaded[0].as_ref().unwrap().status.revision;
    assert_eq!(revision, SAVES_MAX as u64 * 2 - 1);
}

#[track_caller]
fn check_corrupt(opened: Result<ProfileFile, OpenError>) {
    let error = opened.err().unwrap();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("bring it back from a backup"));
}

fn ann() -> Profile {
    Profile::new(UserId::new("ann").unwrap())
}
