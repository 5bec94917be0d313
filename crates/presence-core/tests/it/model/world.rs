//! A node, the model, those who watch, and chance.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use presence_core::history::Cause;
use presence_core::node::{Effect, Input, Node};
use presence_core::rosters::{self, Hearers};
use presence_core::users::{self, Activity, Answer, Audience, Connection};
use presence_core::{
    ChannelId, Chosen, DeviceId, Edit, Event, Expiry, Limits, Meta, OwnView, Pointer, Profile,
    PublicView, Reason, SessionId, StatusChange, Timestamp, Timing, Topic, UserId, Watching,
    WorkspaceId,
};

use super::naive::Naive;
use super::watchers::{Picture, View, Watchers, seen};
use crate::chance::Chance;

const USERS: [&str; 5] = ["user-ann", "user-bob", "user-cat", "user-dan", "anon_eve"];
const DEVICES: [&str; 3] = ["web:1", "web:2", "mobile:1"];
/// Sessions above are of nobody: they only watch.
const ONLOOKERS: u128 = 1_000_000;

pub(super) struct World {
    chance: Chance,
    now: Timestamp,
    timing: Timing,
    limits: Limits,
    node: Node<u64>,
    naive: Naive,
    watchers: Watchers,
    profiles: BTreeMap<UserId, Profile>,
    /// Loads that were not answered yet.
    loads: Vec<UserId>,
    /// Who has asked for something and got no answer yet.
    asked: BTreeSet<u64>,
    reply_tos: u64,
    sessions: u128,
    /// Those who watch a user, with what they were last told.
    public_views: BTreeMap<(String, SessionId), Option<PublicView>>,
    /// What each user was last told of themselves.
    own_view: BTreeMap<String, OwnView>,
    /// The answer to what a test asked.
    answer: Option<Answer>,
    /// Those who hid when everything was told, and hide since.
    hidden: BTreeSet<&'static str>,
}

impl World {
    /// Plays the script of `seed`.
    pub(super) fn play(seed: u64, steps: u64) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            for _ in 0..steps {
                world.step();
            }
            world.end();
        }));
        if let Err(panic) = outcome {
            eprintln!("play it again with PRESENCE_SEED={seed}");
            resume_unwind(panic);
        }
    }

    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let limits = Limits {
            sessions_max: 3,
            channels_max: 2,
            listed_max: if chance.one_in(3) { 2 } else { 500 },
            faces_max: 2,
            versions_kept: 3,
            ..Limits::default()
        };
        let grace = if chance.one_in(5) { 0 } else { 10 };
        let secs = Duration::from_secs;
        let timing = Timing::new(secs(15), secs(60), secs(5), secs(grace)).unwrap();
        World {
            chance,
            now: Timestamp::from_millis(1_764_000_000_000 + seed % 1_000_000),
            timing,
            limits,
            node: Node::new(timing, limits, seed),
            naive: Naive::default(),
            watchers: Watchers::default(),
            profiles: BTreeMap::new(),
            loads: Vec::new(),
            asked: BTreeSet::new(),
            reply_tos: 0,
            sessions: 0,
            public_views: BTreeMap::new(),
            own_view: BTreeMap::new(),
            answer: None,
            hidden: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        let millis = match self.chance.below(10) {
            0..5 => 0,
            5 | 6 => self.chance.below(60),
            7 => self.chance.below(6_000),
            8 => self.chance.below(70_000),
            _ => return self.quiet(),
        };
        if millis > 0 {
            self.wait(Duration::from_millis(millis));
        }
        self.act();
        if self.chance.one_in(2) {
            self.load();
        }
        if self.loads.is_empty() {
            self.check();
        }
    }

    /// Lets time pass, from one end of something to the next.
    fn wait(&mut self, span: Duration) {
        self.load();
        let then = self.now + span;
        loop {
            let ends = self.node.next_deadline().into_iter();
            let ends = ends.chain(self.naive.next_end(&self.timing));
            // What has ended in the model is told by the node at the same moment, or not at all.
            let next = ends.filter(|&it| it > self.now).min();
            self.now = next.unwrap_or(then).min(then);
            self.naive.pass(self.now, &self.timing);
            self.forget_some();
            self.expire();
            self.drop_watches();
            if self.now == then {
                return;
            }
        }
    }

    /// Waits until everything is told, and compares what everyone sees.
    fn quiet(&mut self) {
        let millis = self.chance.below(300);
        self.wait(Timing::TICK_MAX + Duration::from_millis(millis));
        // Those who lost something ask, as they do every few seconds.
        let lost = self.watchers.views.iter().filter(|(_, view)| view.lossy);
        for (topic, watcher) in lost.map(|it| it.0.clone()).collect::<Vec<_>>() {
            let view = &self.watchers.views[&(topic.clone(), watcher)];
            let (watching, have) = (view.watching, view.have());
            self.watch(topic, watcher, watching, have);
        }
        self.wait(Duration::from_millis(1001));
        if self.something_ends_soon() {
            return; // and may not be told yet
        }
        self.check();
        for ((topic, watcher), view) in &self.watchers.views {
            let truth = self.naive.list(self.now, topic);
            let typing: Vec<_> = view.typing.iter().map(UserId::to_string).collect();
            if view.lost {
                continue;
            }
            assert_eq!(typing, self.naive.typing(topic), "{watcher:?} in {topic}");
            match view.picture {
                Picture::Listed => {
                    let people: Vec<_> = view.people().into_iter().map(seen).collect();
                    assert_eq!(people, truth, "{watcher:?} in {topic}");
                }
                Picture::Summarised(count) => {
                    assert_eq!(count, truth.len(), "{watcher:?} in {topic}");
                    let first = |it: &String| it.split(' ').next().map(str::to_owned);
                    let faces: Vec<_> = view.faces().iter().map(first).collect();
                    let truth: Vec<_> = truth.iter().take(faces.len()).map(first).collect();
                    assert_eq!(faces, truth, "{watcher:?} in {topic}");
                }
                Picture::Blank => panic!("{watcher:?} was told nothing of {topic}"),
            }
            if watcher.as_u128() > ONLOOKERS && view.picture == Picture::Listed {
                let cursors = self.naive.cursors.iter().filter(|it| it.0.0 == *topic);
                let cursors: BTreeMap<_, _> = cursors.map(|it| (it.0.1, it.1.0)).collect();
                let drawn: BTreeMap<_, _> = view.cursors.values().copied().collect();
                assert_eq!(drawn, cursors, "{watcher:?} in {topic}");
            }
        }
        let hides = |user: &&str| self.naive.users.get(*user).is_some_and(|it| it.hides());
        self.hidden = USERS.into_iter().filter(hides).collect();
    }

    fn something_ends_soon(&self) -> bool {
        // Whatever changed in the last second may wait for its tick.
        self.node
            .next_deadline()
            .is_some_and(|it| it.since(self.now) < Timing::TICK_MAX)
    }

    /// What must be true at any time.
    fn check(&mut self) {
        assert!(self.asked.is_empty(), "no answer to {:?}", self.asked);
        let topics = (0..4).map(topic);
        for topic in topics {
            let page = self.node.list(&topic, 0, usize::MAX);
            let people: Vec<_> = page.people.iter().map(|it| seen(it)).collect();
            assert_eq!(people, self.naive.list(self.now, &topic), "in {topic}");
            assert_eq!(page.total, people.len());
            let typing: Vec<_> = self
                .node
                .typing(&topic)
                .iter()
                .map(UserId::to_string)
                .collect();
            assert_eq!(typing, self.naive.typing(&topic), "in {topic}");
        }
        let online = self.naive.users.values().filter(|it| it.is_shown());
        assert_eq!(self.node.online(), online.count());
        let told: Vec<_> = self
            .public_views
            .iter()
            .map(|(it, public_view)| (it.0.clone(), public_view.clone()))
            .collect();
        for (user, public_view) in told {
            let public_view = public_view.expect("who watches is told at once");
            let Answer::PublicView(asked) = self.ask(&user, false) else {
                panic!("{user}: no public view");
            };
            // Each is told in an epoch of its own.
            let clock = public_view.clock;
            assert_eq!(public_view, presence_core::PublicView { clock, ..asked });
            let devices = (
                public_view.look.status,
                &public_view.look.message,
                public_view.devices,
            );
            let text = format!("{:?} {:?} {:?}", devices.0, devices.1, devices.2);
            assert_eq!(text, self.naive.user(&user).public_view(self.now), "{user}");
        }
        for user in USERS {
            let sessions = &self.naive.user(user).sessions;
            if sessions
                .iter()
                .any(|it| it.gone_until.is_none() && !it.by_service)
            {
                let told = self.own_view[user].clone();
                let Answer::OwnView(asked) = self.ask(user, true) else {
                    panic!("not what was asked for");
                };
                assert_eq!(timeless(told), timeless(asked));
            }
        }
    }

    /// Everyone goes; then nothing is left.
    fn end(&mut self) {
        self.quiet();
        let watches: Vec<_> = self.watchers.views.keys().cloned().collect();
        for (topic, watcher) in watches {
            self.unwatch(&topic, watcher);
        }
        for (user, watcher) in std::mem::take(&mut self.public_views).into_keys() {
            let _ = watcher;
            self.tell_user(&user, users::Input::Unwatched);
        }
        self.wait(Duration::from_secs(3600));
        assert_eq!(self.node.online(), 0);
        assert_eq!(self.node.active_channels(), 0);
        assert_eq!(self.node.next_deadline(), None);
    }

    fn act(&mut self) {
        let user = USERS[self.chance.below(USERS.len() as u64) as usize];
        let place = topic(self.chance.below(3));
        let channel = channel_of(&place);
        let by = self.connection(user);
        let session = by.session;
        let meta = format!(r#"{{"n":{}}}"#, self.chance.below(3));
        let reply_to = Some(self.reply_to());
        let now = self.now;
        let mut unused = reply_to;
        match self.chance.below(24) {
            0..4 => self.connect(user, self.reply_tos),
            4 => {
                self.withdraw(&mut unused);
                let device = DeviceId::new("api").unwrap();
                let session = match self
                    .naive
                    .user(user)
                    .sessions
                    .iter()
                    .find(|it| it.by_service)
                {
                    Some(by_service) => by_service.connection.session,
                    None => self.fresh(),
                };
                let connection = Connection::of_service(session);
                let max = self.limits.sessions_max;
                let known = self.naive.user(user);
                let room = known.sessions.len() < max;
                if let Some(session) = known.live(connection) {
                    session.hear(now);
                } else if room {
                    known.connect(now, connection, device.clone(), true);
                }
                self.tell_user(user, users::Input::ServiceActed { session, device });
            }
            5 => {
                self.withdraw(&mut unused);
                if let Some(session) = self.naive.user(user).live(by) {
                    session.hear(now);
                }
                self.tell_user(user, users::Input::Heard { by });
            }
            6 | 7 => {
                let all = [Activity::Active, Activity::Idle, Activity::Hidden];
                let activity = all[self.chance.below(3) as usize];
                if let Some(session) = self.naive.user(user).live(by) {
                    session.report(now, activity);
                }
                self.tell_user(
                    user,
                    users::Input::Reported {
                        by,
                        activity,
                        reply_to,
                    },
                );
            }
            8 => {
                self.withdraw(&mut unused);
                let grace = self.timing.grace();
                let known = self.naive.user(user);
                if let Some(session) = known.live(by).filter(|it| !it.by_service) {
                    session.gone_until = Some(now + grace);
                    if grace.is_zero() {
                        known.sessions.retain(|it| it.connection != by);
                    }
                    let reason = Reason::Lost;
                    self.tell_user(
                        user,
                        users::Input::Vanished {
                            by,
                            reason,
                            cause: Cause::Broken,
                        },
                    );
                }
            }
            9 => {
                self.withdraw(&mut unused);
                let known = self.naive.user(user);
                if known.live(by).is_some() {
                    known.sessions.retain(|it| it.connection != by);
                }
                self.tell_user(
                    user,
                    users::Input::Ended {
                        by,
                        cause: Cause::Client,
                    },
                );
            }
            10 if self.chance.one_in(4) => {
                self.naive.user(user).sessions.clear();
                self.tell_user(user, users::Input::Kicked { reply_to });
            }
            10..14 => {
                self.load();
                let limits = self.limits;
                self.naive
                    .user(user)
                    .join(now, by, &place, meta.clone(), &limits);
                let mut watch = None;
                let known = self.naive.user(user).live(by);
                let joined = known.is_some_and(|it| it.places.iter().any(|it| it.topic == place));
                if joined && self.chance.one_in(2) {
                    self.unwatch(&place, session);
                    let view = View::new(Watching::Full, false);
                    self.watchers.views.insert((place.clone(), session), view);
                    watch = Some((Watching::Full, None));
                }
                let meta = self::meta(&meta);
                self.tell_user(
                    user,
                    users::Input::Joined {
                        by,
                        channel,
                        meta,
                        watch,
                        reply_to,
                    },
                );
            }
            14 => {
                self.naive.user(user).update(by, &place, meta.clone());
                let meta = self::meta(&meta);
                self.tell_user(
                    user,
                    users::Input::Updated {
                        by,
                        channel,
                        meta,
                        reply_to,
                    },
                );
            }
            15 => {
                self.naive.user(user).depart(by, &place);
                self.tell_user(
                    user,
                    users::Input::LeftChannel {
                        by,
                        channel,
                        reply_to,
                    },
                );
            }
            16 | 17 => self.choose(user, reply_to),
            18 => {
                self.load();
                let typing = !self.chance.one_in(3);
                let key = (place.clone(), session);
                if !typing {
                    self.naive.typing.remove(&key);
                } else if self.is_live(&place, session) {
                    self.naive.typing.insert(key, now + self.timing.typing());
                } else {
                    return self.withdraw(&mut unused);
                }
                self.tell_roster(rosters::Input::Typed {
                    channel,
                    session,
                    typing,
                    reply_to,
                });
            }
            19 => {
                self.load();
                if !self.is_live(&place, session) {
                    return self.withdraw(&mut unused);
                }
                let x = self.chance.below(100);
                let until = now + Timing::CURSOR_TTL;
                self.naive
                    .cursors
                    .insert((place.clone(), session), (x, until));
                let pointer = Pointer {
                    x: x as f64,
                    y: 0.0,
                    visible: true,
                };
                self.tell_roster(rosters::Input::Pointed {
                    channel,
                    session,
                    pointer,
                    reply_to,
                });
            }
            20 => {
                self.load();
                self.naive.typing.remove(&(place.clone(), session));
                let (event, payload) = ("hello".into(), presence_core::Payload::none());
                self.tell_roster(rosters::Input::Said {
                    channel,
                    session,
                    event,
                    payload,
                    reply_to,
                });
            }
            21 => {
                self.withdraw(&mut unused);
                self.load();
                let place = topic(self.chance.below(4));
                let watcher =
                    SessionId::from_u128(ONLOOKERS + 1 + u128::from(self.chance.below(4)));
                let key = (place.clone(), watcher);
                if self.watchers.views.contains_key(&key) {
                    self.unwatch(&place, watcher);
                } else {
                    let watching = match self.chance.below(5) {
                        0 => Watching::Summary,
                        1 => Watching::Whole,
                        _ => Watching::Full,
                    };
                    let view = View::new(watching, self.chance.one_in(3));
                    self.watchers.views.insert(key, view);
                    self.tell_watched(place, watcher, watching, None, None);
                }
            }
            22 => {
                self.load();
                let watcher =
                    SessionId::from_u128(ONLOOKERS + 1 + u128::from(self.chance.below(2)));
                let key = (user.to_owned(), watcher);
                if self.public_views.remove(&key).is_some() {
                    self.withdraw(&mut unused);
                    self.tell_user(user, users::Input::Unwatched);
                } else {
                    self.public_views.insert(key, None);
                    self.tell_user(user, users::Input::Watched { watcher, reply_to });
                }
            }
            _ => {
                // Somebody who lost track asks again, and some who did not.
                self.withdraw(&mut unused);
                self.load();
                let keys: Vec<_> = self.watchers.views.keys().cloned().collect();
                if !keys.is_empty() {
                    let (topic, watcher) =
                        keys[self.chance.below(keys.len() as u64) as usize].clone();
                    let view = &self.watchers.views[&(topic.clone(), watcher)];
                    let (watching, have) = (view.watching, view.have());
                    self.watch(topic, watcher, watching, have);
                }
            }
        }
        self.naive.reconcile(self.now);
        self.forget_some();
        self.drop_watches();
    }

    fn connect(&mut self, user: &str, reply_to: u64) {
        let resume = match self.chance.one_in(2) {
            true => Some(self.connection(user)),
            false => None,
        };
        let device = DEVICES[self.chance.below(3) as usize];
        let device = DeviceId::new(device).unwrap();
        let session = self.fresh();
        let workspace = self
            .chance
            .one_in(2)
            .then(|| WorkspaceId::new("acme").unwrap());
        let (now, limits) = (self.now, self.limits);
        let known = self.naive.user(user);
        let resumed = resume.is_some_and(|before| known.resume(now, before));
        if let Some(before) = resume.filter(|_| resumed) {
            let epoch = before.epoch + 1;
            let by = Connection { epoch, ..before };
            known.move_to(now, by, &topic(3), workspace.is_some(), &limits);
        }
        if !resumed && known.sessions.len() < limits.sessions_max {
            let connection = Connection { session, epoch: 0 };
            known.connect(now, connection, device.clone(), false);
            if workspace.is_some() {
                known.join(now, connection, &topic(3), String::new(), &limits);
            }
        }
        let workspaces = workspace.into_iter().collect();
        let card = Default::default();
        self.tell_user(
            user,
            users::Input::Connected {
                session,
                resume,
                fingerprint: None,
                device,
                workspaces,
                card,
                origin: None,
                reply_to,
            },
        );
        // A new connection watches nothing yet.
        if let Some(before) = resume.filter(|_| resumed) {
            let keys = self
                .watchers
                .views
                .keys()
                .filter(|it| it.1 == before.session);
            for (topic, watcher) in keys.cloned().collect::<Vec<_>>() {
                self.load();
                self.unwatch(&topic, watcher);
            }
        }
    }

    fn choose(&mut self, user: &str, reply_to: Option<u64>) {
        let all = [
            Chosen::Online,
            Chosen::Away,
            Chosen::Busy,
            Chosen::Invisible,
            Chosen::Invisible,
            Chosen::Offline,
        ];
        let chosen = all.get(self.chance.below(8) as usize).copied();
        let message: Edit<std::sync::Arc<str>> = match self.chance.below(3) {
            0 => Edit::Keep,
            1 => Edit::Clear,
            _ => Edit::Set(self.chance.below(3).to_string().into()),
        };
        let expiry = match self.chance.below(4) {
            0 | 1 => Edit::Keep,
            2 => Edit::Clear,
            _ => Edit::Set(Expiry::After(Duration::from_millis(
                1 + self.chance.below(100_000),
            ))),
        };
        let now = self.now;
        let words = match &message {
            Edit::Keep => None,
            Edit::Clear => Some(None),
            Edit::Set(text) => Some(Some(text.to_string())),
        };
        let ends = match expiry {
            Edit::Keep => None,
            Edit::Clear => Some(None),
            Edit::Set(Expiry::After(span)) => Some(Some(now + span)),
            Edit::Set(Expiry::At(moment)) => Some(Some(moment)),
        };
        self.naive.user(user).choose(chosen, words, ends);
        let change = StatusChange {
            chosen,
            message,
            emoji: Edit::Keep,
            expiry,
        };
        self.tell_user(
            user,
            users::Input::Chose {
                change,
                by: Cause::Client,
                reply_to,
            },
        );
    }

    /// Visitors whom nobody watches are forgotten with their last session, and who came out of hiding with that.
    fn forget_some(&mut self) {
        let public_views = &self.public_views;
        self.naive.users.retain(|id, user| {
            let watched = public_views.keys().any(|it| it.0 == *id);
            !id.starts_with("anon_") || watched || !user.sessions.is_empty()
        });
        let users = &self.naive.users;
        self.hidden
            .retain(|it| users.get(*it).is_some_and(|user| user.hides()));
    }

    /// Whether the session is seen there and has a connection, or none to lose.
    fn is_live(&self, topic: &Topic, session: SessionId) -> bool {
        let mut sessions = self.naive.users.values().flat_map(|it| &it.sessions);
        let live = sessions.any(|it| it.connection.session == session && it.gone_until.is_none());
        live && self.naive.seen_in(topic, session).is_some()
    }

    /// One of the user's connections; now and then one that is no more.
    fn connection(&mut self, user: &str) -> Connection {
        let stale = self.chance.one_in(8);
        let pick = self.chance.below(3) as usize;
        let sessions = &self.naive.user(user).sessions;
        let any = sessions
            .get(pick % sessions.len().max(1))
            .map(|it| it.connection);
        let nobody = Connection::of_service(SessionId::from_u128(ONLOOKERS - 1));
        let mut connection = any.unwrap_or(nobody);
        if stale {
            connection.epoch = connection.epoch.saturating_sub(1);
        }
        connection
    }

    fn fresh(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId::from_u128(self.sessions)
    }

    fn reply_to(&mut self) -> u64 {
        self.reply_tos += 1;
        self.asked.insert(self.reply_tos);
        self.reply_tos
    }

    /// Nobody asked after all.
    fn withdraw(&mut self, reply_to: &mut Option<u64>) {
        if let Some(reply_to) = reply_to.take() {
            self.asked.remove(&reply_to);
        }
    }

    fn answered(&mut self, reply_to: u64) {
        assert!(
            self.asked.remove(&reply_to),
            "{reply_to} was answered twice"
        );
    }

    fn ask(&mut self, user: &str, as_owner: bool) -> Answer {
        let reply_to = self.reply_to();
        self.tell_user(user, users::Input::Asked { as_owner, reply_to });
        self.load();
        self.answer.take().expect("who asks is answered")
    }

    fn tell_watched(
        &mut self,
        topic: Topic,
        watcher: SessionId,
        watching: Watching,
        before: Option<Watching>,
        have: Option<presence_core::TopicVersion>,
    ) {
        let reply_to = Some(self.reply_to());
        self.tell_roster(rosters::Input::Watched {
            topic,
            watcher,
            watching,
            before,
            have,
            reply_to,
        });
    }

    fn watch(
        &mut self,
        topic: Topic,
        watcher: SessionId,
        watching: Watching,
        have: Option<presence_core::TopicVersion>,
    ) {
        self.tell_watched(topic, watcher, watching, Some(watching), have);
    }

    fn unwatch(&mut self, topic: &Topic, watcher: SessionId) {
        if let Some(view) = self.watchers.views.remove(&(topic.clone(), watcher)) {
            let (topic, watching) = (topic.clone(), view.watching);
            self.tell_roster(rosters::Input::Unwatched { topic, watching });
        }
    }

    /// A connection that is gone watches nothing.
    fn drop_watches(&mut self) {
        let sessions = self.naive.users.values().flat_map(|it| &it.sessions);
        let live = sessions.filter(|it| it.gone_until.is_none());
        let live: BTreeSet<_> = live.map(|it| it.connection.session).collect();
        let gone = self
            .watchers
            .views
            .keys()
            .filter(|it| it.1.as_u128() < ONLOOKERS);
        let gone: Vec<_> = gone.filter(|it| !live.contains(&it.1)).cloned().collect();
        for (topic, watcher) in gone {
            self.unwatch(&topic, watcher);
        }
    }

    /// Answers what was asked of the store.
    fn load(&mut self) {
        while let Some(id) = self.loads.pop() {
            let profile = self.profiles.get(&id).cloned();
            self.tell_user(id.as_str(), users::Input::Loaded { profile });
        }
    }

    fn tell_user(&mut self, user: &str, input: users::Input<u64>) {
        let user = UserId::new(user).unwrap();
        let mut effects = Vec::new();
        self.node
            .handle(self.now, Input::User(user, input), &mut effects);
        self.perform(effects);
    }

    fn tell_roster(&mut self, input: rosters::Input<u64>) {
        let mut effects = Vec::new();
        self.node
            .handle(self.now, Input::Roster(input), &mut effects);
        self.perform(effects);
    }

    fn expire(&mut self) {
        let mut effects = Vec::new();
        self.node.expire(self.now, &mut effects);
        self.perform(effects);
        let mut again = Vec::new();
        self.node.expire(self.now, &mut again);
        assert_eq!(again, [], "calling it twice does something");
    }

    fn perform(&mut self, effects: Vec<Effect<u64>>) {
        for effect in effects {
            match effect {
                Effect::User(user, effect) => self.perform_for(&user, effect),
                Effect::Roster(rosters::Effect::Tell { topic, to, event }) => {
                    if !(matches!(to, Hearers::One(_)) && matches!(*event, Event::Changes { .. })) {
                        // Old changes, for those who missed them, may well be of those who hide since.
                        self.nothing_hidden_in(&event);
                    }
                    let chance = &mut self.chance;
                    self.watchers.tell(&topic, &to, &event, || chance.one_in(2));
                }
                Effect::Roster(
                    rosters::Effect::Grant { reply_to } | rosters::Effect::Refuse { reply_to, .. },
                ) => {
                    self.answered(reply_to);
                }
                Effect::Roster(rosters::Effect::Known { .. } | rosters::Effect::Ask(_))
                | Effect::Ask(_)
                | Effect::Leases(_) => unreachable!("it shares nothing with anybody"),
            }
        }
    }

    fn perform_for(&mut self, user: &UserId, effect: users::Effect<u64>) {
        match effect {
            users::Effect::Ask(_) => unreachable!("it shares nothing with anybody"),
            users::Effect::Load | users::Effect::LookUp => self.loads.push(user.clone()),
            users::Effect::Save {
                profile, reply_to, ..
            } => {
                let before = self.profiles.get(user).map_or(0, |it| it.status.revision);
                assert!(
                    profile.status.revision >= before,
                    "an older status is saved"
                );
                self.profiles.insert(user.clone(), profile);
                if let Some(reply_to) = reply_to {
                    self.answered(reply_to);
                }
            }
            users::Effect::Welcome { reply_to, .. } | users::Effect::Refuse { reply_to, .. } => {
                self.answered(reply_to);
            }
            users::Effect::Grant { reply_to, answer } => {
                self.answered(reply_to);
                self.answer = Some(answer);
            }
            users::Effect::Tell { to, event } => match (to, event) {
                (Audience::Watchers, Event::PublicView(public_view)) => {
                    self.nothing_hidden_in_view(&public_view);
                    let watchers = self
                        .public_views
                        .iter_mut()
                        .filter(|it| it.0.0 == user.as_str());
                    for (_, told) in watchers {
                        if let Some(told) = told {
                            assert_ne!(told.clock.epoch, public_view.clock.epoch);
                        }
                        *told = Some(public_view.clone());
                    }
                }
                (Audience::Watcher(watcher), Event::PublicView(public_view)) => {
                    self.nothing_hidden_in_view(&public_view);
                    self.public_views
                        .insert((user.to_string(), watcher), Some(public_view));
                }
                (Audience::Sessions(_), Event::OwnView(own_view)) => {
                    self.own_view.insert(user.to_string(), own_view);
                }
                other => panic!("not for them: {other:?}"),
            },
            users::Effect::Close { .. } => {}
            effect => panic!("a node does that itself: {effect:?}"),
        }
    }

    fn nothing_hidden_in(&self, event: &Event) {
        let text = format!("{event:?}");
        for user in &self.hidden {
            let hides = self.naive.users.get(*user).is_some_and(|it| it.hides());
            assert!(!hides || !text.contains(user), "{user} hides: {text}");
        }
    }

    fn nothing_hidden_in_view(&self, public_view: &PublicView) {
        if self
            .naive
            .users
            .get(public_view.user.as_str())
            .is_some_and(|it| it.hides())
        {
            assert_eq!(public_view.look.status, presence_core::Visible::Offline);
            assert_eq!(public_view.devices, []);
        }
    }
}

/// Without what moves with every heartbeat.
fn timeless(mut own_view: OwnView) -> OwnView {
    own_view.last_seen = None;
    for device in &mut own_view.devices {
        device.heard_at = Timestamp::default();
    }
    own_view
}

/// Three channels, and a workspace.
fn topic(number: u64) -> Topic {
    match number {
        3 => Topic::Workspace(WorkspaceId::new("acme").unwrap()),
        _ => Topic::Channel(ChannelId::new(&format!("room:{number}")).unwrap()),
    }
}

fn channel_of(topic: &Topic) -> ChannelId {
    match topic {
        Topic::Channel(channel) => channel.clone(),
        Topic::Workspace(_) => panic!("not a channel: {topic}"),
    }
}

fn meta(json: &str) -> std::sync::Arc<Meta> {
    std::sync::Arc::new(Meta::from_json(json).unwrap())
}
