//! What does not go through the words of stories: the ids that others see, and what it takes to answer them.

use std::sync::Arc;

use presence_core::cluster::{Incarnation, PaddedRead, Reply, Request, Snapshot};
use presence_core::history::Cause;
use presence_core::ports::{Recalled, SessionChange};
use presence_core::users::{Answer, Audience, Connection, Effect, Input, Users};
use presence_core::{
    ChannelId, Chosen, DeviceId, Event, Limits, Member, Outsider, Profile, Refusal, SessionId,
    StatusChange, Timestamp, Timing, UserId, Visible, WorkspaceId,
};

use crate::story::heard;

const KEY: SessionId = SessionId::from_u128(1 << 100);

/// Ann, and whoever asks about her: each reply-to is a number.
struct Stage {
    users: Users<u32>,
    now: Timestamp,
    ann: UserId,
}

impl Stage {
    fn new() -> Self {
        Stage {
            users: Users::new(Timing::default(), Limits::default(), 7),
            now: Timestamp::from_millis(1_764_000_000_000),
            ann: UserId::new("ann").unwrap(),
        }
    }

    /// On a node that shares a store with others.
    fn shared() -> Self {
        let mut stage = Stage::new();
        let (node, generation) = (7, 0);
        stage.users.join_cluster(Incarnation { node, generation });
        stage
    }

    /// The store has read what it was asked to with `request`; nothing is there, or it is away.
    fn reads(&mut self, request: &Effect<u32>, is_there: bool) -> Vec<Effect<u32>> {
        let Effect::Ask(Request::Open { ask, .. } | Request::PaddedRead { ask, .. }) = request
        else {
            panic!("{request:?} reads nothing");
        };
        let snapshot = is_there.then(|| Snapshot {
            clock: None,
            entries: Vec::new(),
        });
        let ask = *ask;
        self.does(Input::Stored(Reply::Read { ask, snapshot }))
    }

    /// Ann is here, and has chosen that.
    fn with(chosen: Chosen) -> Self {
        let mut stage = Stage::new();
        stage.connects(KEY, None);
        stage.loads();
        stage.chooses(chosen);
        stage
    }

    fn does(&mut self, input: Input<u32>) -> Vec<Effect<u32>> {
        let mut out = Vec::new();
        self.now = self.now + std::time::Duration::from_millis(1);
        self.users.handle(self.now, &self.ann, input, &mut out);
        out
    }

    fn connects(&mut self, session: SessionId, resume: Option<Connection>) -> Vec<Effect<u32>> {
        self.does(Input::Connected {
            session,
            resume,
            fingerprint: None,
            device: DeviceId::new("web:1").unwrap(),
            workspaces: vec![WorkspaceId::new("acme").unwrap()],
            card: Arc::default(),
            origin: None,
            reply_to: 0,
        })
    }

    /// The process ends, and the next one has the sessions that this one has kept.
    fn restarts(self) -> Self {
        let mut next = Stage::new();
        // Each process has another seed.
        let seed = self.now.as_millis();
        next.users = Users::new(Timing::default(), Limits::default(), seed);
        next.users.keep_sessions();
        next.now = self.now;
        let changes = self.users.kept_sessions(self.now);
        let mut recalled: Vec<Recalled> = Vec::new();
        for change in changes {
            match change {
                SessionChange::Is { session, kept } => recalled.push(Recalled {
                    session,
                    kept: *kept,
                    topics: Vec::new(),
                }),
                SessionChange::Joined { joined, .. } => {
                    recalled.last_mut().unwrap().topics.push(joined)
                }
                SessionChange::Left { .. } | SessionChange::Ended { .. } => {}
            }
        }
        for recalled in recalled {
            next.does(Input::Restored {
                recalled: Box::new(recalled),
                alive_at: self.now,
                until: self.now + std::time::Duration::from_secs(16),
                reply_to: None,
            });
        }
        next
    }

    fn loads(&mut self) -> Vec<Effect<u32>> {
        let profile = Some(Profile::new(self.ann.clone()));
        self.does(Input::Loaded { profile })
    }

    fn chooses(&mut self, chosen: Chosen) -> Vec<Effect<u32>> {
        let chosen = Some(chosen);
        let change = StatusChange {
            chosen,
            ..StatusChange::default()
        };
        self.does(Input::Chose {
            change,
            by: Cause::Client,
            reply_to: None,
        })
    }

    fn joins(&mut self, channel: &str) -> Vec<Effect<u32>> {
        self.does(Input::Joined {
            by: Connection::of_service(KEY),
            channel: ChannelId::new(channel).unwrap(),
            meta: Arc::default(),
            watch: None,
            reply_to: None,
        })
    }

    fn asked(&mut self, reply_to: u32) -> Vec<Effect<u32>> {
        self.does(Input::Asked {
            as_owner: false,
            reply_to,
        })
    }

    fn watched(&mut self, reply_to: u32) -> Vec<Effect<u32>> {
        self.does(Input::Watched {
            watcher: SessionId::from_u128(reply_to.into()),
            reply_to: Some(reply_to),
        })
    }
}

fn written(effects: &[Effect<u32>]) -> Vec<Arc<Member>> {
    let entries = effects.iter().filter_map(|it| match it {
        Effect::Write {
            entry: Ok(member), ..
        } => Some(member.clone()),
        _ => None,
    });
    entries.collect()
}

/// What watchers are told that Ann is.
fn public_views(effects: &[Effect<u32>]) -> Vec<Visible> {
    let views = effects.iter().filter_map(|it| match it {
        Effect::Tell {
            to: Audience::Watchers,
            event: Event::PublicView(view),
        } => Some(view.look.status),
        _ => None,
    });
    views.collect()
}

/// What the session is called, as its owner is told.
fn told(effects: &[Effect<u32>]) -> Option<SessionId> {
    effects.iter().rev().find_map(|it| match it {
        Effect::Tell {
            to: Audience::Sessions(_),
            event: Event::OwnView(own_view),
        } => Some(own_view.alias_of(KEY)),
        _ => None,
    })
}

#[test]
fn whoever_comes_out_of_hiding_has_an_id_that_nobody_has_seen() {
    let mut stage = Stage::with(Chosen::Online);
    let mut seen = vec![KEY];
    assert_eq!(written(&stage.joins("room:1"))[0].alias, KEY);
    for _ in 0..3 {
        assert_eq!(written(&stage.chooses(Chosen::Invisible)), []);
        let effects = stage.chooses(Chosen::Busy);
        let entries = written(&effects);
        assert_eq!(entries.len(), 2, "of the room and of the workspace");
        let alias = entries[0].alias;
        assert!(
            entries
                .iter()
                .all(|it| (it.session, it.alias) == (KEY, alias))
        );
        assert!(!seen.contains(&alias) && Outsider::of_shown(alias).is_none());
        assert_eq!(told(&effects), Some(alias));
        seen.push(alias);
        // Any other change leaves it.
        let entries = written(&stage.chooses(Chosen::Online));
        assert!(entries.iter().all(|it| it.alias == alias));
        assert_eq!(stage.users.alias(&stage.ann, KEY), alias);
    }
    // A connection that goes on with the session is called the same.
    stage.connects(SessionId::from_u128(9), Some(Connection::of_service(KEY)));
    assert_eq!(stage.users.alias(&stage.ann, KEY), seen[3]);
}

#[test]
fn whoever_hides_before_their_profile_is_read_is_never_shown() {
    let mut stage = Stage::new();
    stage.watched(1);
    stage.connects(KEY, None);
    assert_eq!(stage.chooses(Chosen::Busy), []);
    assert_eq!(stage.chooses(Chosen::Invisible), []);
    let effects = stage.loads();
    assert_eq!(written(&effects), []);
    let seen = public_views(&effects);
    assert!(seen.iter().all(|it| *it == Visible::Offline), "{seen:?}");
    // They were hidden from the first moment on.
    let entries = written(&stage.chooses(Chosen::Online));
    assert_eq!((entries.len(), entries[0].alias), (1, KEY));
}

#[test]
fn a_session_that_nobody_has_seen_keeps_its_id_when_its_user_comes_out() {
    let mut stage = Stage::with(Chosen::Invisible);
    stage.connects(SessionId::from_u128(1 << 101), None);
    let entries = written(&stage.chooses(Chosen::Online));
    // The first was seen for a moment in its workspace, before ann hid; the second never was.
    let mine = |session| entries.iter().find(|it| it.session == session).unwrap();
    assert_ne!(mine(KEY).alias, KEY);
    let fresh = SessionId::from_u128(1 << 101);
    assert_eq!(mine(fresh).alias, fresh);
}

#[test]
fn the_next_process_shows_a_kept_session_under_the_same_id_until_its_user_comes_out_again() {
    let mut stage = Stage::new();
    stage.users.keep_sessions();
    stage.connects(KEY, None);
    stage.loads();
    stage.joins("room:1");
    stage.chooses(Chosen::Invisible);
    stage.chooses(Chosen::Online);
    let alias = stage.users.alias(&stage.ann, KEY);
    assert_ne!(alias, KEY);
    let mut next = stage.restarts();
    let entries = written(&next.loads());
    assert_eq!(entries.len(), 2, "of the room and of the workspace");
    assert!(entries.iter().all(|it| it.alias == alias));
    // It was seen by the process before.
    next.chooses(Chosen::Invisible);
    let mut last = next.restarts();
    let mut profile = Profile::new(last.ann.clone());
    profile.status.chosen = Chosen::Invisible;
    let profile = Some(profile);
    assert_eq!(written(&last.does(Input::Loaded { profile })), []);
    let entries = written(&last.chooses(Chosen::Online));
    assert_eq!(entries.len(), 2);
    assert!(
        entries
            .iter()
            .all(|it| it.alias != alias && it.alias != KEY)
    );
}

#[test]
fn others_wait_for_the_same_whether_somebody_hides_or_is_gone() {
    let mut hidden = Stage::with(Chosen::Invisible);
    let mut gone = Stage::new();
    // The first time and the next, alone and together, asking and watching.
    for round in 0..3 {
        for stage in [&mut hidden, &mut gone] {
            assert_eq!(stage.asked(1), [Effect::LookUp], "round {round}");
            assert_eq!(stage.asked(2), [], "one look is enough for both");
            let answered = stage.loads();
            let [
                Effect::Grant { reply_to: 1, .. },
                Effect::Grant { reply_to: 2, .. },
            ] = &answered[..]
            else {
                panic!("{answered:?}");
            };
            assert_eq!(stage.watched(3), [Effect::LookUp]);
            let answered = stage.loads();
            let [
                Effect::Grant {
                    reply_to: 3,
                    answer: Answer::Done,
                },
                Effect::Tell { .. },
            ] = &answered[..]
            else {
                panic!("{answered:?}");
            };
            if round == 1 {
                stage.does(Input::Unwatched);
            }
        }
    }
}

/// What the store is asked, apart from numbers.
fn kinds_of(effects: &[Effect<u32>]) -> Vec<&'static str> {
    let name = |effect: &Effect<u32>| match effect {
        // To follow and then to read, in both cases.
        Effect::Ask(
            Request::Open { .. }
            | Request::PaddedRead {
                as_if: PaddedRead::Followed,
                ..
            },
        ) => "follow and read",
        Effect::Ask(Request::PaddedRead {
            as_if: PaddedRead::Read,
            ..
        }) => "read",
        Effect::Ask(_) => "another request",
        Effect::LookUp => "look up",
        Effect::Grant { .. } => "grant",
        Effect::Refuse { .. } => "refuse",
        Effect::Tell { .. } => "tell",
        _ => "something else",
    };
    effects.iter().map(name).collect()
}

#[test]
fn on_a_cluster_others_wait_for_the_same_whether_somebody_hides_or_is_gone() {
    let mut hidden = Stage::shared();
    let opened = hidden.connects(KEY, None);
    hidden.reads(&opened[0], true);
    hidden.loads();
    hidden.chooses(Chosen::Invisible);
    let mut gone = Stage::shared();
    for round in 0..3 {
        for stage in [&mut hidden, &mut gone] {
            // With the shared store and without it.
            for is_there in [true, false] {
                let asked = stage.asked(1);
                assert_eq!(kinds_of(&asked), ["read"], "round {round}");
                assert_eq!(stage.asked(2), [], "one look is enough for both");
                let read = stage.reads(&asked[0], is_there);
                assert_eq!(kinds_of(&read), ["look up"], "{is_there}");
                assert_eq!(kinds_of(&stage.loads()), ["grant", "grant"]);
                // And where the database is away.
                let asked = stage.asked(1);
                stage.reads(&asked[0], is_there);
                assert_eq!(kinds_of(&stage.does(Input::Unread)), ["refuse"]);
            }
            let watched = stage.watched(3);
            assert_eq!(kinds_of(&watched), ["follow and read"]);
            // Who asks meanwhile does not find out that it was asked.
            let asked = stage.asked(1);
            assert_eq!(kinds_of(&asked), ["read"]);
            assert_eq!(kinds_of(&stage.reads(&watched[0], true)), ["look up"]);
            assert_eq!(kinds_of(&stage.reads(&asked[0], true)), ["look up"]);
            let mut answers = kinds_of(&stage.loads());
            answers.retain(|it| *it != "another request");
            answers.sort_unstable();
            assert_eq!(answers, ["grant", "grant", "tell"]);
            if round == 1 {
                stage.does(Input::Unwatched);
            }
        }
    }
}

#[test]
fn others_are_refused_alike_where_no_profile_can_be_read() {
    let mut hidden = Stage::with(Chosen::Invisible);
    let mut gone = Stage::new();
    for stage in [&mut hidden, &mut gone] {
        for _ in 0..2 {
            assert_eq!(stage.asked(1), [Effect::LookUp]);
            let why = Refusal::Unavailable;
            let refused = Effect::Refuse {
                reply_to: 1,
                why: why.clone(),
            };
            assert_eq!(stage.does(Input::Unread), [refused]);
            let refused = Effect::Refuse { reply_to: 1, why };
            assert_eq!(stage.asked(1), [Effect::LookUp]);
            assert_eq!(stage.does(Input::Unreadable), [refused]);
        }
        // Who watches hears of it later.
        stage.watched(2);
        assert_eq!(stage.does(Input::Unread), []);
        assert_eq!(stage.loads().len(), 2);
        stage.does(Input::Unwatched);
    }
}

#[test]
fn whoever_can_be_seen_is_answered_at_once_and_so_are_owners() {
    let mut stage = Stage::with(Chosen::Busy);
    assert!(matches!(stage.asked(1)[..], [Effect::Grant { .. }]));
    stage.chooses(Chosen::Invisible);
    let own_view = stage.does(Input::Asked {
        as_owner: true,
        reply_to: 1,
    });
    assert!(matches!(own_view[..], [Effect::Grant { .. }]));
}

#[test]
fn a_prober_does_not_keep_a_user_out() {
    let mut stage = Stage::new();
    assert_eq!(stage.asked(1), [Effect::LookUp]);
    // What is on its way to the store would let them in at once.
    assert_eq!(stage.connects(KEY, None), [Effect::Load]);
    assert!(
        stage
            .loads()
            .iter()
            .any(|it| matches!(it, Effect::Welcome { .. }))
    );
}

/// What bob, who comes and goes, and eve, who watches and does not, and watches again, are told.
fn told_beside(watcher: &str) -> Vec<String> {
    let story = format!(
        "
show versions
given ann invisible
 0s  {watcher}
 1s  eve watches room:1
     eve watches ann
     eve watches bob
 2s  eve unwatches room:1
     eve unwatches ann
     eve unwatches bob
 3s  eve watches room:1
     eve watches ann
     eve watches bob
10s  bob/web connects
     bob/web joins room:1 and watches
11s  bob/web leaves
     eve unwatches room:1
     eve watches room:1
     bob/web.2 connects
     bob/web.2 joins room:1 and watches
12s  bob/web.2 leaves
13s  eve unwatches room:1
     eve unwatches bob
14s  eve watches room:1
     eve watches bob
     zoe watches room:1 summary
     eve unwatches room:1
     eve watches room:1 having 1.0
20s  .
"
    );
    // Until zoe comes, a summary that goes to all who watch one goes to ann only.
    let is_anns = |line: &String| {
        let time = line.split('s').next().and_then(|it| it.parse().ok());
        time.is_some_and(|it: u64| it < 14)
            && line.contains(" people:")
            && line.split(' ').nth(1) == Some("room:1")
    };
    let lines = heard(&story, "ann").into_iter();
    let lines = lines.filter(|it| !is_anns(it));
    // Everyone, for those who watch the whole, goes out in their frames only.
    let lines = lines.map(|it| it.split(" of [").next().unwrap_or_default().to_owned());
    renumbered(lines.collect())
}

/// Epochs numbered in the order in which these lines tell of them.
fn renumbered(lines: Vec<String>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    let mut renumber = |word: &str| {
        let clock = word.strip_prefix('v').and_then(|it| it.split_once('.'));
        match clock.filter(|(epoch, _)| epoch.bytes().all(|it| it.is_ascii_digit())) {
            None => word.to_owned(),
            Some((epoch, version)) => {
                let at = known.iter().position(|it| it == epoch).unwrap_or_else(|| {
                    known.push(epoch.to_owned());
                    known.len() - 1
                });
                format!("v{at}.{version}")
            }
        }
    };
    let mut renumber = |line: String| {
        let words: Vec<String> = line.split(' ').map(&mut renumber).collect();
        words.join(" ")
    };
    lines.into_iter().map(&mut renumber).collect()
}

#[test]
fn nobody_can_tell_that_somebody_hidden_watches() {
    let alone = told_beside(".");
    assert!(alone.len() > 12, "{alone:#?}");
    for watcher in [
        "ann/web connects in acme
     ann/web joins room:1 and watches
     ann/web watches bob",
        "ann/web connects
     ann/web watches room:1 whole",
        "ann/web connects
     ann/web watches room:1 summary
     ann/web watches ann",
    ] {
        assert_eq!(
            told_beside(watcher).join("\n"),
            alone.join("\n"),
            "{watcher}"
        );
    }
}
