//! Clauses about ephemeral messages: which nodes hear them.

use std::slice::from_ref;

use presence_core::cluster::{Ephemeral, Subject};
use presence_core::explain::{About, Answer, NodeMessage, UserReport, View};
use presence_core::ports::{Notice, Topics};
use presence_core::{Cursor, Outsider, Payload, Pointer, Selection};

use super::case::Case;
use super::make::{NUMBER_MAX, user};

pub(super) async fn ephemeral_messages_are_heard_as_they_were_told<T: Topics>(case: &Case<T>) {
    let (room, ann) = (case.place(), case.session());
    let pointed = |pointer, selection| {
        Ephemeral::Pointed(Cursor {
            session: ann,
            alias: ann,
            user: user("ann"),
            pointer,
            selection,
        })
    };
    let pointer = |x, y, visible| Some(Pointer { x, y, visible });
    let selection = |start, end| Some(Selection { start, end });
    let said = |event: &str, payload: &str| Ephemeral::Said {
        session: ann,
        user: user("ann"),
        event: event.into(),
        payload: Payload::from_json(payload).expect("it is one"),
    };
    let typed = |typing| Ephemeral::Typed {
        session: ann,
        typing,
    };
    let long = format!(r#"{{"text":"{}"}}"#, "é".repeat(8_000));
    let all = [
        typed(true),
        typed(false),
        Ephemeral::Announced {
            outsider: Outsider::new(u64::MAX),
            node: u32::MAX,
            user: user("ann"),
            event: "wave".into(),
            payload: Payload::none(),
        },
        pointed(None, None),
        pointed(pointer(-0.1, 1e300, true), None),
        pointed(pointer(0.0, f64::MIN_POSITIVE, false), selection(0, 0)),
        pointed(None, selection(3, NUMBER_MAX)),
        said("wave", "null"),
        said("会議 \u{0}", r#"{ "a": [1.50, "\u0000 🎯"] }"#),
        said("long", &long),
        Ephemeral::Kicked,
    ];
    for node in [&case.here, &case.there] {
        node.follow(from_ref(&room)).await;
    }
    // One after the other, then all at once.
    for ephemerals in all.chunks(1).chain([&all[..]]) {
        case.here.send_ephemeral(&room, ephemerals).await;
        for node in [&case.here, &case.there] {
            let mut heard = Vec::new();
            while heard.len() < ephemerals.len() {
                match node.hear_of(&room).await {
                    Notice::Ephemeral(_, ephemerals) => heard.extend(ephemerals),
                    other => panic!(
                        "{}: an ephemeral message was to be heard, not {other:?}",
                        case.clause
                    ),
                }
            }
            case.same("the ephemeral messages", &heard[..], ephemerals);
        }
    }
    case.same(
        "what is kept of ephemeral messages",
        case.here.read(&room).await.clock,
        None,
    );
}

pub(super) async fn ephemeral_messages_go_to_followers_of_their_subject_only<T: Topics>(
    case: &Case<T>,
) {
    let room = case.place();
    let next_door = case.neighbour(&room);
    case.there.follow(from_ref(&room)).await;
    let typed = |typing| Ephemeral::Typed {
        session: case.session(),
        typing,
    };
    case.here.send_ephemeral(&next_door, &[typed(true)]).await;
    let heard = [typed(false)];
    case.here.send_ephemeral(&room, &heard).await;
    let told = |notice: &Notice| match notice {
        Notice::Ephemeral(subject, ephemerals) if *subject == room || *subject == next_door => {
            Some((subject.clone(), ephemerals.clone()))
        }
        _ => None,
    };
    let first = case.there.hear("an ephemeral message", told).await;
    case.same("the first ephemeral message", first, (room, heard.into()));
}

pub(super) async fn a_node_is_asked_on_its_own_channel<T: Topics>(case: &Case<T>) {
    let node = Subject::Node(case.random());
    case.there.follow(from_ref(&node)).await;
    let ask = Ephemeral::Node(NodeMessage::Ask {
        ask: NUMBER_MAX,
        reply_to: u64::MAX,
        about: About::User(user("ann")),
    });
    let answer = Ephemeral::Node(NodeMessage::Answer {
        ask: 1,
        from: case.stranger(),
        answer: Box::new(Answer::User(UserReport {
            view: View::Unknown,
            sessions: vec![],
            transitions: vec![],
        })),
    });
    let told = [ask, answer];
    case.here.send_ephemeral(&node, &told).await;
    let mut heard = Vec::new();
    while heard.len() < told.len() {
        match case.there.hear_of(&node).await {
            Notice::Ephemeral(_, ephemerals) => heard.extend(ephemerals),
            other => panic!("{}: a message was to be heard, not {other:?}", case.clause),
        }
    }
    case.same("the messages", &heard[..], &told[..]);
}
