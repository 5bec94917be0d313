//! A watcher's picture of one place.

use presence_client::wire::{Event, TopicId};
use presence_client::{Difference, Gap, Picture};

const EPOCH: &str = "00000000000000aa";
const OTHER: &str = "00000000000000bb";

/// A user who came at second `at`.
fn user(id: &str, at: u64, status: &str) -> String {
    format!(r#"{{"id":"{id}","status":"{status}","joined_at":{at}000,"metas":[]}}"#)
}

fn event(kind: &str, epoch: &str, version: u64, rest: &str) -> Event {
    let head = format!(r#""channel":"r","epoch":"{epoch}","version":{version}"#);
    Event::from_json(&format!(r#"{{"type":"presence:{kind}",{head},{rest}}}"#)).unwrap()
}

fn whole(epoch: &str, version: u64, users: &[String]) -> Event {
    let (count, users) = (users.len(), users.join(","));
    let rest =
        format!(r#""mode":"full","count":{count},"users":[{users}],"typing":[],"cursors":[]"#);
    event("currentUsers", epoch, version, &rest)
}

fn joined(version: u64, user: &str) -> Event {
    event("userJoined", EPOCH, version, &format!(r#""user":{user}"#))
}

fn left(version: u64, id: &str) -> Event {
    event(
        "userLeft",
        EPOCH,
        version,
        &format!(r#""user_id":"{id}","reason":"left""#),
    )
}

/// What is different, in short words.
fn told(picture: &mut Picture, event: Event) -> Result<String, Gap> {
    let words = picture.apply(&event)?.into_iter().map(|it| match it {
        Difference::Joined(user) => format!("+{}", user.id),
        Difference::Updated(user) => format!("~{}:{}", user.id, user.status),
        Difference::Left(id, reason) => format!("-{id}{}", reason.map_or("?", |_| "")),
        Difference::Count(count) => format!("#{count}"),
        Difference::Typing(users) => format!("typing {}", users.join(",")),
        Difference::Pointed(cursor) => format!("@{}", cursor.user_id),
        Difference::Unpointed(_) => "@gone".to_owned(),
        other => format!("{other:?}"),
    });
    Ok(words.collect::<Vec<_>>().join(" "))
}

fn ok(text: &str) -> Result<String, Gap> {
    Ok(text.to_owned())
}

#[test]
fn changes_follow_the_whole_and_old_ones_are_ignored() {
    let mut room = Picture::of(TopicId::Channel("r".into()));
    let (ann, bob) = (user("ann", 1, "online"), user("bob", 2, "online"));
    assert_eq!(told(&mut room, whole(EPOCH, 7, &[ann])), ok("+ann"));
    assert_eq!(told(&mut room, joined(8, &bob)), ok("+bob"));
    assert_eq!(told(&mut room, joined(8, &bob)), ok(""));
    assert_eq!(told(&mut room, left(9, "ann")), ok("-ann"));
    let rest = format!(
        r#""changes":[{{"type":"presence:userJoined","user":{}}},{{"type":"presence:userUpdated","user":{}}}]"#,
        user("ann", 1, "online"),
        user("bob", 2, "away")
    );
    assert_eq!(
        told(&mut room, event("changes", EPOCH, 10, &rest)),
        ok("+ann ~bob:away")
    );
    let ids: Vec<_> = room.users().iter().map(|it| &*it.id).collect();
    assert_eq!(
        (ids, room.count(), room.surprises()),
        (vec!["ann", "bob"], 2, 0)
    );
}

#[test]
fn a_gap_is_reported_and_changes_nothing() {
    let mut room = Picture::of(TopicId::Channel("r".into()));
    assert!(told(&mut room, left(9, "ann")).is_err());
    told(&mut room, whole(EPOCH, 7, &[user("ann", 1, "online")])).unwrap();
    let gap = told(&mut room, left(9, "ann")).unwrap_err();
    assert_eq!(gap.to_string(), format!("have {EPOCH}/7, got {EPOCH}/9"));
    assert_eq!(room.count(), 1);
    let unchanged = r#""typing":[],"cursors":[]"#;
    assert_eq!(
        told(&mut room, event("unchanged", EPOCH, 8, unchanged)),
        ok("")
    );
    assert_eq!(told(&mut room, left(8, "ann")), ok("-ann"));
    assert!(told(&mut room, event("unchanged", OTHER, 8, unchanged)).is_err());
}

#[test]
fn a_new_whole_tells_only_what_is_really_different() {
    let mut room = Picture::of(TopicId::Channel("r".into()));
    let (ann, bob) = (user("ann", 1, "online"), user("bob", 2, "online"));
    told(&mut room, whole(EPOCH, 7, &[ann, bob.clone()])).unwrap();
    let eve = user("eve", 3, "busy");
    assert_eq!(
        told(&mut room, whole(OTHER, 0, &[bob, eve])),
        ok("-ann? +eve")
    );
}

#[test]
fn a_summary_replaces_and_faces_do_not_leave() {
    let mut room = Picture::of(TopicId::Channel("r".into()));
    let (ann, bob) = (user("ann", 1, "online"), user("bob", 2, "online"));
    told(&mut room, whole(EPOCH, 7, &[ann.clone(), bob.clone()])).unwrap();
    let summary = |count, face: &str| {
        let rest = format!(r#""mode":"summary","count":{count},"users":[{face}]"#);
        event("summary", EPOCH, 9, &rest)
    };
    assert_eq!(told(&mut room, summary(1423, &ann)), ok("#1423"));
    assert_eq!(told(&mut room, summary(1423, &bob)), ok(""));
    assert_eq!(told(&mut room, whole(EPOCH, 12, &[ann, bob])), ok("+ann"));
}

#[test]
fn a_change_that_does_not_fit_is_a_surprise() {
    let mut room = Picture::of(TopicId::Channel("r".into()));
    told(&mut room, whole(EPOCH, 0, &[user("ann", 1, "online")])).unwrap();
    assert_eq!(told(&mut room, left(1, "eve")), ok(""));
    assert_eq!(
        told(&mut room, joined(2, &user("ann", 1, "away"))),
        ok("~ann:away")
    );
    assert_eq!(room.surprises(), 2);
}
