use super::*;
use presence_core::users::Activity;
use presence_core::{Chosen, Reason, SessionId, Visible};

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
    check(Answer::Recent(Recent {
        transitions: transitions(),
        is_cut: true,
    }));
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
        clock: Some(Clock {
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
        What::Shown {
            from: Visible::Online,
            to: Visible::Offline,
        },
        What::Began,
        What::Resumed,
        What::CameFrom(WHO),
        What::WentTo(WHO),
        What::Restored,
        What::Disconnected { until: moment(1) },
        What::Ended(Reason::Kicked),
        What::NodeDied(WHO),
        What::Joined,
        What::Left(Reason::Left),
        What::Reported(Activity::Idle),
        What::Chose(Chosen::Invisible),
        What::Erased,
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
