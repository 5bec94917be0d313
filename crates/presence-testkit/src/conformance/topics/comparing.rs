//! Clauses about comparing: what a node is told.

use std::slice::from_ref;

use presence_core::TopicVersion;
use presence_core::cluster::Subject;
use presence_core::ports::{Notice, Topics};

use super::case::Case;
use super::make::{entry, member, put, remove};
use super::node::Node;

pub(super) async fn comparing_tells_the_versions_of_what_is_followed_and_has_changed<T: Topics>(
    case: &Case<T>,
) {
    let rooms = [case.place(), case.place(), case.user()];
    case.there.follow(&rooms).await;
    for words in ["one", "two"] {
        for room in &rooms {
            change(case, room, words).await;
        }
        case.there.compare().await;
        let mut left: Vec<&Subject> = rooms.iter().collect();
        while !left.is_empty() {
            let (room, clock) = hear_at(&case.there, &rooms).await;
            let read = case.here.read(&room).await.clock;
            case.same(&format!("the version of {room}"), clock, read);
            left.retain(|it| **it != room);
        }
    }
}

pub(super) async fn comparing_tells_that_a_map_is_empty_now<T: Topics>(case: &Case<T>) {
    let (room, ann, token) = (case.place(), case.session(), case.here.token(1));
    case.there.follow(from_ref(&room)).await;
    let record = member(ann, "Ann");
    case.here.does(&room, &[put(ann, token, &record)]).await;
    case.here.does(&room, &[remove(ann, token)]).await;
    case.there.compare().await;
    let told = hear_at(&case.there, from_ref(&room)).await;
    case.same("the version of an emptied map", told, (room, None));
}

pub(super) async fn comparing_does_not_tell_what_is_not_followed<T: Topics>(case: &Case<T>) {
    let room = case.place();
    let [never, before] = [(); 2].map(|()| case.neighbour(&room));
    case.there.follow(&[room.clone(), before.clone()]).await;
    case.there.link.unfollow(from_ref(&before)).await;
    let rooms = [never, before, room.clone()];
    for room in &rooms {
        change(case, room, "one").await;
    }
    // Two of one comparison may come in any order, but not after those of the next.
    for _ in 0..3 {
        case.there.compare().await;
        let (told, _) = hear_at(&case.there, &rooms).await;
        case.same("what is told about", &told, &room);
    }
}

async fn change<T: Topics>(case: &Case<T>, subject: &Subject, words: &str) {
    let ann = case.session();
    let record = entry(subject, ann, words);
    case.here
        .does(subject, &[put(ann, case.here.token(1), &record)])
        .await;
}

/// The next version that `node` is told for one of `subjects`.
async fn hear_at<T: Topics>(
    node: &Node<T>,
    subjects: &[Subject],
) -> (Subject, Option<TopicVersion>) {
    let told = |notice: &Notice| match notice {
        Notice::At(subject, clock) if subjects.contains(subject) => Some((subject.clone(), *clock)),
        _ => None,
    };
    node.hear("the version of a subject", told).await
}
