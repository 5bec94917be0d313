//! Clauses about calls with many items at once.

use std::collections::BTreeSet;

use presence_core::cluster::{Field, Subject, Write};
use presence_core::ports::{Topics, Written};
use presence_core::{ChannelId, Reason, Topic, UserId, WorkspaceId};

use super::case::Case;
use super::make::{entry, is_gone, member, put, remove, user};
use super::node::tokens;

/// How many subjects one call asks for: enough to be in most partitions, and several in some.
const SUBJECTS: usize = 500;

pub(super) async fn answers_are_in_the_order_of_the_questions<T: Topics>(case: &Case<T>) {
    let subjects: Vec<Subject> = (0..SUBJECTS).map(|_| case.place()).collect();
    let partitions: BTreeSet<u16> = subjects.iter().map(Subject::partition).collect();
    case.holds(
        partitions.len() > 100,
        "the suite itself asks too few partitions",
    );
    let ann = case.session();
    let write = |n: usize, epoch: u32| Write {
        subject: subjects[n].clone(),
        by: case.here.me,
        ops: vec![put(
            ann,
            case.here.token(epoch),
            &member(ann, &format!("room {n}")),
        )],
        is_last: false,
        until: None,
    };
    // Every third of them has an entry with a newer token already, and each has another.
    let thirds = (0..SUBJECTS).step_by(3);
    let newer: Vec<Write> = thirds.map(|n| write(n, 10 + n as u32)).collect();
    let written = case.there.write_all(&newer).await;
    let refused = written.into_iter().map(|Written { refused, .. }| refused);
    let refused: Vec<_> = refused.collect();
    case.same("the first outcomes", refused, vec![vec![]; newer.len()]);
    let older: Vec<Write> = (0..SUBJECTS).map(|n| write(n, 1)).collect();
    let written = case.here.write_all(&older).await;
    case.same("the number of outcomes", written.len(), SUBJECTS);
    for (n, written) in written.into_iter().enumerate() {
        let in_the_way = (n % 3 == 0).then(|| case.here.token(10 + n as u32));
        let meant = in_the_way.map(|token| (Field::Session(ann), token));
        let what = format!("what was refused of write {n}");
        let refused = tokens(written.refused);
        case.same(&what, refused, meant.into_iter().collect());
    }

    // Backwards, with one that nobody wrote, and one that is asked for twice.
    let mut asked: Vec<Subject> = subjects.iter().rev().cloned().collect();
    asked.push(case.place());
    asked.push(subjects[0].clone());
    let read = case.there.read_all(&asked).await;
    case.same("the number of maps", read.len(), asked.len());
    let numbers = (0..SUBJECTS).rev().map(Some).chain([None, Some(0)]);
    for (n, read) in numbers.zip(read) {
        let words = n.map(|n| (ann, member(ann, &format!("room {n}"))));
        let entries = read.entries.into_iter();
        let told: Vec<_> = entries.map(|(_, _, record)| record).collect();
        let meant: Vec<_> = words.into_iter().map(|(_, record)| record).collect();
        case.same(&format!("the map of subject {n:?}"), told, meant);
    }
    case.here.follow(&asked).await;
    case.here.link.unfollow(&asked).await;
}

pub(super) async fn empty_slices_are_fine<T: Topics>(case: &Case<T>) {
    case.same("no outcomes", case.here.write_all(&[]).await, vec![]);
    case.same("no maps", case.here.read_all(&[]).await, vec![]);
    case.here.follow(&[]).await;
    case.here.link.unfollow(&[]).await;
    case.here.link.send_ephemeral(&[]).await;
    let room = case.place();
    case.here.does(&room, &[]).await;
    case.here.send_ephemeral(&room, &[]).await;
    case.same("a map", case.here.read(&room).await.clock, None);
    case.here
        .does(&room, &[remove(case.session(), case.here.token(1))])
        .await;
    case.same("a map", case.here.read(&room).await.clock, None);
}

pub(super) async fn subjects_are_told_apart_by_kind_and_every_character<T: Topics>(case: &Case<T>) {
    let unique = format!("{:016x}", case.random());
    let long = |length: usize, last: char| {
        let filled = "x".repeat(length - unique.len() - 1);
        format!("{unique}{filled}{last}")
    };
    let mut subjects = Vec::new();
    let common = [
        "a", "A", "a.", "a.b", "a:b", "a@b", "a|b", "a+b", "a=b", "a/b", "a~b", "a-b", "a_b", "1",
        "01", "user:a", "a:1:2",
    ];
    for name in common.map(|it| format!("{unique}{it}")) {
        subjects.push(Subject::User(user(&name)));
        subjects.push(channel(&name));
        subjects.push(workspace(&name));
    }
    for name in [
        "a%b", "a%20b", "a?b", "a&b", "a!b", "a,b", "a;b", "a#b", "a$b",
    ] {
        subjects.push(channel(&format!("{unique}{name}")));
    }
    for last in ['y', 'z'] {
        subjects.push(Subject::User(user(&long(UserId::BYTES_MAX, last))));
        subjects.push(channel(&long(ChannelId::BYTES_MAX, last)));
        subjects.push(workspace(&long(WorkspaceId::BYTES_MAX, last)));
    }
    let ann = case.session();
    let token = case.here.token(1);
    let puts = |n: usize| [put(ann, token, &entry(&subjects[n], ann, &format!("{n}")))];
    let writes = subjects.iter().enumerate().map(|(n, subject)| Write {
        subject: subject.clone(),
        by: case.here.me,
        ops: puts(n).into(),
        is_last: false,
        until: None,
    });
    case.here.write_all(&writes.collect::<Vec<_>>()).await;
    for (n, subject) in subjects.iter().enumerate() {
        case.there.check_entries(subject, &puts(n)).await;
    }
    // One heard under another's name would be out of turn.
    case.there.follow(&subjects).await;
    for subject in &subjects {
        case.here.does(subject, &[remove(ann, token)]).await;
        let gone = is_gone(ann, Reason::Left);
        case.there.check_patch(subject, &[gone]).await;
    }
}

fn channel(name: &str) -> Subject {
    let channel = ChannelId::new(name).expect("names here are made of good characters");
    Subject::Topic(Topic::Channel(channel))
}

fn workspace(name: &str) -> Subject {
    let workspace = WorkspaceId::new(name).expect("names here are made of good characters");
    Subject::Topic(Topic::Workspace(workspace))
}
