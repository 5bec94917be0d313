use std::time::Duration;

use presence_core::explain::{
    ClientOrigin, Known, Mode, RemoteMember, RoomMember, RoomReport, SessionReport, SessionState,
    UserReport, View, Watchers,
};
use presence_core::history::{Place, Placed, Recent, Transition, TransitionKind};
use presence_core::users::Activity;
use presence_core::{Chosen, DeviceId, Reason, SessionId, TopicVersion, Visible};

use super::places::PlacesRecord;
use super::transition::CAUSES;
use super::*;

const WHO: Incarnation = Incarnation {
    node: 7,
    generation: 1,
};

#[test]
fn a_report_of_a_user_is_read_back() {
    let state = |state| SessionReport { state, ..session() };
    let report = UserReport {
        view: View::Known(Known {
            shown: Visible::Away,
            chosen: Chosen::Busy,
            revision: 9,
            expires_at: Some(moment(5)),
            is_unsure: true,
            watchers: 3,
            elsewhere: vec![(SessionId::from_u128(9), WHO)],
        }),
        sessions: vec![
            session(),
            state(SessionState::Held {
                since: None,
                until: moment(9),
                reason: Reason::Lost,
            }),
            state(SessionState::Ending {
                since: moment(9),
                reason: Reason::TimedOut,
            }),
            state(SessionState::Unanswered),
        ],
        transitions: transitions(),
    };
    check(Answer::User(report));
    for view in [View::Unknown, View::Loading] {
        check(Answer::User(UserReport {
            view,
            sessions: vec![],
            transitions: vec![],
        }));
    }
    check(Answer::Erased);
    check(Answer::Recent(recent()));
    check(Answer::Program(vec![0, 1, 255]));
}

#[test]
fn a_report_of_a_channel_is_read_back() {
    let member = RoomMember {
        user: user("ann").unwrap(),
        session: SessionId::from_u128(1),
        joined_at: moment(3),
    };
    check(Answer::Channel(RoomReport {
        people: 4,
        sessions: 5,
        mode: Mode::Summarised,
        tick: Duration::from_millis(50),
        watchers: Watchers {
            full: 2,
            whole: 1,
            summary: 3,
        },
        clock: Some(TopicVersion {
            epoch: 6,
            version: 7,
        }),
        is_followed: true,
        members: vec![member.clone()],
        members_total: 8,
        elsewhere: vec![RemoteMember { member, owner: WHO }],
        elsewhere_total: 9,
        transitions: transitions(),
    }));
}

#[test]
fn questions_are_read_back_and_what_a_later_release_asks_is_skipped() {
    for about in [
        About::User(user("ann").unwrap()),
        About::Channel(channel("page:/a/b").unwrap()),
        About::Erase(user("ann").unwrap()),
        About::Recent(RecentQuery::new(moment(9), "ann joined").unwrap()),
        About::Recent(RecentQuery::default().before(Some(place(7)))),
        About::Program(vec![0, 255]),
    ] {
        let message = NodeMessage::Ask {
            ask: 1,
            reply_to: 2,
            about,
        };
        let mut bytes = encode(&message, Vec::new()).unwrap();
        assert_eq!(decode(&bytes).unwrap(), Some(message));
        bytes[0] = 2;
        assert_eq!(decode(&bytes).unwrap(), None);
    }
    assert!(decode(b"").is_err());
    assert!(decode(b"\x01").is_err());
}

fn place(position: u64) -> Place {
    Place {
        at: moment(9),
        node: WHO.node,
        ring: 3,
        position,
    }
}

fn recent() -> Recent {
    let places = (0..).map(place);
    let placed = transitions().into_iter().zip(places);
    let placed = placed.map(|(transition, place)| Placed {
        place: Place {
            at: transition.at,
            ..place
        },
        transition,
    });
    Recent {
        transitions: placed.collect(),
        reached: Some(place(9)),
    }
}

/// The release before had no places: what it says is read, and it reads what this one says.
#[test]
fn what_a_release_without_places_says_is_read() {
    let answer = NodeMessage::Answer {
        ask: 1,
        from: WHO,
        answer: Box::new(Answer::Recent(recent())),
    };
    let ask = NodeMessage::Ask {
        ask: 1,
        reply_to: 2,
        about: About::Recent(RecentQuery::default().before(Some(place(7)))),
    };
    let before = |message: &NodeMessage| {
        let record = MessageRecord::of(message);
        let bytes = postcard::to_extend(&record, vec![VERSION]).unwrap();
        let said = encode(message, Vec::new()).unwrap();
        assert!(said.starts_with(&bytes) && said.len() > bytes.len());
        decode(&bytes).unwrap().unwrap()
    };
    let NodeMessage::Answer { answer, .. } = before(&answer) else {
        panic!("another kind of message");
    };
    let Answer::Recent(read) = *answer else {
        panic!("another kind of answer");
    };
    let transitions_of = |it: Recent| it.transitions.into_iter().map(|it| it.transition);
    assert_eq!(read.reached, read.transitions.last().map(|it| it.place));
    assert!(transitions_of(read).eq(transitions()));
    let NodeMessage::Ask { about, .. } = before(&ask) else {
        panic!("another kind of message");
    };
    assert_eq!(about, About::Recent(RecentQuery::default()));
}

#[test]
fn an_answer_with_more_or_fewer_places_than_transitions_is_malformed() {
    let mut said = recent();
    let message = |recent| NodeMessage::Answer {
        ask: 1,
        from: WHO,
        answer: Box::new(Answer::Recent(recent)),
    };
    let bytes = postcard::to_extend(&MessageRecord::of(&message(said.clone())), vec![VERSION]);
    said.transitions.pop();
    let bytes = postcard::to_extend(&PlacesRecord::of(&said), bytes.unwrap()).unwrap();
    assert!(decode(&bytes).is_err());
}

#[track_caller]
fn check(answer: Answer) {
    let message = NodeMessage::Answer {
        ask: 1,
        from: WHO,
        answer: Box::new(answer),
    };
    let bytes = encode(&message, Vec::new()).unwrap();
    assert_eq!(decode(&bytes).unwrap(), Some(message));
}

fn session() -> SessionReport {
    SessionReport {
        session: SessionId::from_u128(1),
        device: DeviceId::new("web:1").unwrap(),
        origin: Some(ClientOrigin {
            dialect: "native".into(),
            address: Some("1f".into()),
        }),
        by_service: false,
        connected_at: Some(moment(1)),
        heard_at: moment(2),
        activity: Activity::Hidden,
        is_active: true,
        active_since: Some(moment(1)),
        state: SessionState::Connected,
        channels: vec![channel("room:1").unwrap()],
        channels_total: 7,
    }
}

fn transitions() -> Vec<Transition> {
    let whats = [
        TransitionKind::Shown {
            from: Visible::Online,
            to: Visible::Offline,
        },
        TransitionKind::Began,
        TransitionKind::Resumed,
        TransitionKind::CameFrom(WHO),
        TransitionKind::WentTo(WHO),
        TransitionKind::Restored,
        TransitionKind::Disconnected { until: moment(1) },
        TransitionKind::Ended(Reason::Kicked),
        TransitionKind::NodeDied(WHO),
        TransitionKind::Joined,
        TransitionKind::Left(Reason::Left),
        TransitionKind::Reported(Activity::Idle),
        TransitionKind::Chose(Chosen::Invisible),
        TransitionKind::Erased,
    ];
    let causes = CAUSES.iter().zip(whats.into_iter().cycle());
    causes
        .map(|(cause, what)| Transition {
            at: moment(7),
            user: user("ann").unwrap(),
            session: Some(SessionId::from_u128(1)),
            channel: Some(channel("room:1").unwrap()),
            what,
            cause: *cause,
        })
        .collect()
}
