//! What the outside is told: by stories, and whatever happens between looking and telling.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use presence_core::cluster::{
    Author, FencingToken, Field, Incarnation, Op, Record, SessionRecord, Subject, TopicMap,
};
use presence_core::hooks::{
    HookEvent, HookKind, LastNotified, News, PEOPLE_NOTIFIED_MAX, Present, Wanted, news,
};
use presence_core::users::Activity;
use presence_core::{
    ChannelId, Chosen, DeviceId, DeviceKind, Edit, Expiry, Look, Member, Meta, Profile, Reason,
    SessionId, StatusChange, Timestamp, Topic, TopicVersion, UserId, Visible, WorkspaceId,
};

use crate::chance::Chance;

#[test]
fn a_user_comes_changes_and_goes_and_each_is_told_once() {
    let mut ann = Of::user("ann");
    assert_eq!(ann.look(), "");
    ann.put(profile(|_| {}));
    assert_eq!(ann.look(), "", "nobody is here by their profile");
    ann.put(session(1, true));
    assert_eq!(ann.look(), "ann online");
    ann.put(session(2, true));
    assert_eq!(ann.look(), "", "a second tab is no news");
    ann.put(profile(|it| chose(it, Chosen::Busy)));
    assert_eq!(ann.look(), "ann busy");
    ann.put(profile(|it| {
        chose(it, Chosen::Busy);
        it.status.message = Some("Deep work".into());
    }));
    assert_eq!(ann.look(), "ann busy Deep work");
    ann.remove(Field::Session(SessionId::from_u128(1)));
    assert_eq!(ann.look(), "");
    ann.put(profile(|it| it.last_seen = Some(at(9))));
    ann.remove(Field::Session(SessionId::from_u128(2)));
    assert_eq!(ann.look(), "ann gone 9");
    assert_eq!(ann.look(), "");
}

#[test]
fn who_is_idle_everywhere_is_away() {
    let mut ann = Of::user("ann");
    ann.put(profile(|_| {}));
    ann.put(session(1, false));
    assert_eq!(ann.look(), "ann away");
    ann.put(session(2, true));
    assert_eq!(ann.look(), "ann online");
}

#[test]
fn going_invisible_is_going_offline_and_what_is_hidden_stays_hidden() {
    let mut ann = Of::user("ann");
    ann.put(profile(|_| {}));
    ann.put(session(1, true));
    assert_eq!(ann.look(), "ann online");
    let hide = |it: &mut Profile| {
        chose(it, Chosen::Invisible);
        it.last_seen = Some(at(5));
    };
    ann.put(profile(hide));
    assert_eq!(ann.look(), "ann gone 5");
    ann.put(profile(|it| {
        hide(it);
        it.status.message = Some("secret".into());
    }));
    ann.put(session(2, true));
    ann.remove(Field::Session(SessionId::from_u128(1)));
    assert_eq!(ann.look(), "");
    ann.put(profile(|_| {}));
    assert_eq!(ann.look(), "ann online");
}

#[test]
fn nobody_is_shown_whose_profile_is_not_known() {
    let mut ann = Of::user("ann");
    ann.put(session(1, true));
    assert_eq!(ann.look(), "", "they might be hiding");
    let (field, record) = profile(|it| chose(it, Chosen::Busy));
    let token = FencingToken::of_profile(token().epoch, Author::Unread, Timestamp::default());
    ann.apply(Op::put(field, token, record));
    assert_eq!(ann.look(), "", "nobody has read what they were before");
    ann.put(profile(|_| {}));
    assert_eq!(ann.look(), "ann online");
}

#[test]
fn a_status_that_has_ended_is_not_told() {
    let mut ann = Of::user("ann");
    let lunch = |it: &mut Profile| {
        let change = StatusChange {
            chosen: Some(Chosen::Away),
            message: Edit::Set("Lunch".into()),
            expiry: Edit::Set(Expiry::At(at(60))),
            ..StatusChange::default()
        };
        it.choose(at(1), &change);
    };
    ann.put(profile(lunch));
    ann.put(session(1, true));
    ann.now = at(59);
    assert_eq!(ann.look(), "ann away Lunch");
    ann.now = at(60);
    assert_eq!(ann.look(), "ann online");
}

#[test]
fn a_channel_is_occupied_by_the_first_and_vacated_by_the_last() {
    let mut room = Of::channel("room:42");
    room.put(member(1, "ann", 1));
    assert_eq!(room.look(), "occupied, joined ann");
    room.put(member(2, "ann", 2));
    assert_eq!(room.look(), "", "a second session is no news");
    room.put(member(3, "bob", 3));
    room.remove(Field::Session(SessionId::from_u128(1)));
    assert_eq!(room.look(), "joined bob");
    room.remove(Field::Session(SessionId::from_u128(2)));
    assert_eq!(room.look(), "left ann");
    room.remove(Field::Session(SessionId::from_u128(3)));
    assert_eq!(room.look(), "left bob, vacated");
    room.put(member(4, "cleo", 4));
    room.remove(Field::Session(SessionId::from_u128(4)));
    assert_eq!(room.look(), "", "nobody was there when it was looked at");
}

#[test]
fn of_a_big_channel_a_bounded_number_of_people_is_told() {
    let mut room = Of::channel("stadium");
    let name = |n: usize| format!("user-{n:04}");
    for n in 0..PEOPLE_NOTIFIED_MAX + 2 {
        room.put(member(n as u128, &name(n), n as u64));
    }
    let news = room.news();
    assert_eq!(news.events.len(), 1 + PEOPLE_NOTIFIED_MAX);
    let Some(LastNotified::Occupied(told)) = &news.last_notified else {
        panic!("{news:?}");
    };
    assert_eq!(told.len(), PEOPLE_NOTIFIED_MAX);
    assert_eq!(told.last().unwrap().as_str(), name(PEOPLE_NOTIFIED_MAX - 1));
    room.last_notified = news.last_notified;
    room.remove(Field::Session(SessionId::from_u128(0)));
    let next = format!("left user-0000, joined {}", name(PEOPLE_NOTIFIED_MAX));
    assert_eq!(room.look(), next, "another one is told in their place");
    room.remove(Field::Session(SessionId::from_u128(
        PEOPLE_NOTIFIED_MAX as u128 + 1,
    )));
    assert_eq!(room.look(), "", "nobody knew of that one");
}

#[test]
fn nothing_is_told_or_kept_that_nobody_wants() {
    let mut room = Of::channel("room:42");
    room.wanted = [HookKind::ChannelOccupied, HookKind::ChannelVacated]
        .into_iter()
        .collect();
    room.put(member(1, "ann", 1));
    assert_eq!(room.look(), "occupied");
    assert_eq!(
        room.last_notified,
        Some(LastNotified::Occupied(BTreeSet::new()))
    );
    room.wanted = HookKind::ALL.into_iter().collect();
    assert_eq!(room.look(), "joined ann", "who wants it later is told then");
    room.wanted = Wanted::default();
    assert_eq!(room.look(), "");
    assert_eq!(room.last_notified, None);

    let mut ann = Of::user("ann");
    ann.wanted = [HookKind::UserOffline].into_iter().collect();
    ann.put(profile(|_| {}));
    ann.put(session(1, true));
    assert_eq!(ann.look(), "");
    ann.remove(Field::Session(SessionId::from_u128(1)));
    assert_eq!(ann.look(), "ann gone");
}

#[test]
fn workspaces_are_not_told() {
    let workspace = Subject::Topic(Topic::Workspace(WorkspaceId::new("acme").unwrap()));
    let mut acme = Of::subject(workspace);
    acme.put(member(1, "ann", 1));
    assert_eq!(acme.news().events, []);
    assert_eq!(acme.news().last_notified, None);
}

/// One subject, and who looks at it.
struct Of {
    subject: Subject,
    map: TopicMap,
    version: u64,
    last_notified: Option<LastNotified>,
    wanted: Wanted,
    now: Timestamp,
}

impl Of {
    fn user(id: &str) -> Self {
        Self::subject(Subject::User(UserId::new(id).unwrap()))
    }

    fn channel(id: &str) -> Self {
        let channel = ChannelId::new(id).unwrap();
        Self::subject(Subject::Topic(Topic::Channel(channel)))
    }

    fn subject(subject: Subject) -> Self {
        Of {
            subject,
            map: TopicMap::default(),
            version: 0,
            last_notified: None,
            wanted: HookKind::ALL.into_iter().collect(),
            now: at(0),
        }
    }

    fn put(&mut self, (field, record): (Field, Record)) {
        let token = FencingToken {
            epoch: self.version,
            ..token()
        };
        self.apply(Op::put(field, token, record));
    }

    fn remove(&mut self, field: Field) {
        self.apply(Op::Remove {
            field,
            token: FencingToken {
                epoch: u64::MAX,
                ..token()
            },
            reason: Reason::Left,
        });
    }

    fn apply(&mut self, op: Op) {
        self.version += 1;
        let next = TopicVersion {
            epoch: 1,
            version: self.version,
        };
        // So much later that no fence is left.
        self.map.apply(&[op], next, at(60 * self.version));
    }

    fn news(&self) -> News {
        let present = Present::in_map(self.now, &self.subject, &self.map.snapshot());
        let before = self.last_notified.as_ref();
        news(&self.subject, before, &present, self.wanted)
    }

    /// Tells what there is to tell, in words.
    fn look(&mut self) -> String {
        let news = self.news();
        self.last_notified = news.last_notified;
        let words: Vec<String> = news.events.iter().map(words).collect();
        words.join(", ")
    }
}

fn words(event: &HookEvent) -> String {
    let look = |user: &UserId, look: &Look| {
        let message = look.message.as_deref().unwrap_or_default();
        let words = format!("{user} {} {message}", look.status.as_str());
        words.trim_end().to_owned()
    };
    match event {
        HookEvent::UserOnline { user, look: it } | HookEvent::UserChanged { user, look: it } => {
            look(user, it)
        }
        HookEvent::UserOffline { user, last_seen } => {
            let seen = last_seen.map(|it| format!(" {}", it.as_millis() / 1000));
            format!("{user} gone{}", seen.unwrap_or_default())
        }
        HookEvent::ChannelOccupied { .. } => "occupied".into(),
        HookEvent::ChannelJoined { user, .. } => format!("joined {user}"),
        HookEvent::ChannelLeft { user, .. } => format!("left {user}"),
        HookEvent::ChannelVacated { .. } => "vacated".into(),
    }
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn token() -> FencingToken {
    let owner = Incarnation {
        node: 1,
        generation: 0,
    };
    FencingToken::of_session(1, owner, 0)
}

fn profile(f: impl FnOnce(&mut Profile)) -> (Field, Record) {
    let mut profile = Profile::new(UserId::new("ann").unwrap());
    f(&mut profile);
    (Field::Profile, Record::Profile(Arc::new(profile)))
}

fn chose(profile: &mut Profile, chosen: Chosen) {
    let change = StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    };
    profile.choose(at(0), &change);
}

fn session(number: u128, is_active: bool) -> (Field, Record) {
    let record = SessionRecord {
        device: DeviceId::new("web:1").unwrap(),
        by_service: false,
        activity: Activity::Active,
        is_active,
        heard_at: at(0),
        places: vec![],
        alias: None,
    };
    let field = Field::Session(SessionId::from_u128(number));
    (field, Record::Session(Arc::new(record)))
}

fn member(number: u128, user: &str, since: u64) -> (Field, Record) {
    let session = SessionId::from_u128(number);
    let look = Look {
        status: Visible::Online,
        message: None,
        emoji: None,
    };
    let member = Member {
        session,
        alias: session,
        epoch: 0,
        user: UserId::new(user).unwrap(),
        device: DeviceKind::Web,
        joined_at: at(since),
        meta: Arc::new(Meta::default()),
        look: Arc::new(look),
        look_revision: 0,
        profile: 0,
    };
    (Field::Session(session), Record::Member(Arc::new(member)))
}

/// Nodes that look, stall, die and repeat themselves, and an endpoint that fails: in the end it knows the truth, and on the
/// way it heard nothing that was not true.
#[test]
fn whoever_dies_the_outside_ends_up_with_the_truth() {
    let mut told = 0;
    for seed in 0..2000 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        world.come_to_rest();
        world.judge();
        told += world.heard.len();
    }
    assert!(told > 25_000, "only {told} events in all");
}

struct World {
    seed: u64,
    chance: Chance,
    version: u64,
    maps: BTreeMap<Subject, TopicMap>,
    rows: BTreeMap<Subject, u64>,
    last_notified: BTreeMap<Subject, (u64, LastNotified)>,
    events: VecDeque<(u64, HookEvent)>,
    nodes: [Node; 3],
    /// What the endpoint has heard, by number.
    heard: BTreeMap<u64, HookEvent>,
    picture: Picture,
}

/// What a node is in the middle of.
#[derive(Default)]
struct Node {
    telling: Option<(Subject, u64, u64, News)>,
    delivering: Vec<(u64, HookEvent)>,
}

/// What the endpoint makes of it.
#[derive(Default)]
struct Picture {
    here: BTreeMap<UserId, Look>,
    rooms: BTreeMap<ChannelId, BTreeSet<UserId>>,
}

const SESSIONS: u64 = 4;

impl World {
    fn new(seed: u64) -> Self {
        World {
            seed,
            chance: Chance(seed),
            version: 0,
            maps: BTreeMap::new(),
            rows: BTreeMap::new(),
            last_notified: BTreeMap::new(),
            events: VecDeque::new(),
            nodes: Default::default(),
            heard: BTreeMap::new(),
            picture: Picture::default(),
        }
    }

    fn step(&mut self) {
        let node = self.chance.below(3) as usize;
        match self.chance.below(12) {
            0..=3 => self.changes(),
            4..=6 => self.looks(node),
            7..=8 => self.tells(node),
            9 => self.fetches(node),
            10 => self.delivers(node),
            _ => self.nodes[node] = Node::default(),
        }
    }

    fn changes(&mut self) {
        let number = u128::from(self.chance.below(SESSIONS));
        let name = ["ann", "bob"][(number % 2) as usize];
        let user = Subject::User(UserId::new(name).unwrap());
        let room = Subject::Topic(Topic::Channel(ChannelId::new("room").unwrap()));
        let field = Field::Session(SessionId::from_u128(number));
        let chosen = self.chance.one_of(&[
            Chosen::Online,
            Chosen::Busy,
            Chosen::Invisible,
            Chosen::Offline,
        ]);
        match self.chance.below(6) {
            0 => self.write(user, field, None),
            1 => {
                let (_, record) = session(number, self.chance.one_in(2));
                self.write(user, field, Some(record));
            }
            2 | 3 => {
                let mut profile = Profile::new(UserId::new(name).unwrap());
                chose(&mut profile, chosen);
                profile.last_seen = Some(Timestamp::from_millis(self.version));
                let record = Record::Profile(Arc::new(profile));
                self.write(user, Field::Profile, Some(record));
            }
            4 => self.write(room, field, None),
            _ => {
                let (_, record) = member(number, name, self.version);
                self.write(room, field, Some(record));
            }
        }
    }

    fn write(&mut self, subject: Subject, field: Field, record: Option<Record>) {
        let (token, reason) = (token(), Reason::Left);
        let op = match record {
            Some(record) => Op::put(field, token, record),
            None => Op::Remove {
                field,
                token,
                reason,
            },
        };
        self.version += 1;
        let next = TopicVersion {
            epoch: 1,
            version: self.version,
        };
        let map = self.maps.entry(subject.clone()).or_default();
        if map
            .apply(&[op], next, at(60 * self.version))
            .patch
            .is_some()
        {
            self.rows.insert(subject, self.version);
        }
    }

    fn looks(&mut self, node: usize) {
        let rows: Vec<_> = self.rows.iter().collect();
        if rows.is_empty() {
            return;
        }
        let (subject, &version) = rows[self.chance.below(rows.len() as u64) as usize];
        let known = self.last_notified.get(subject);
        let news = self.news(subject, known.map(|(_, told)| told));
        let revision = known.map_or(0, |it| it.0);
        let telling = (subject.clone(), version, revision, news);
        self.nodes[node].telling = Some(telling);
    }

    fn news(&self, subject: &Subject, before: Option<&LastNotified>) -> News {
        let map = self.maps.get(subject).cloned().unwrap_or_default();
        let wanted = HookKind::ALL.into_iter().collect();
        let present = Present::in_map(at(0), subject, &map.snapshot());
        news(subject, before, &present, wanted)
    }

    /// What the port does.
    fn tells(&mut self, node: usize) {
        let Some((subject, version, after, news)) = self.nodes[node].telling.take() else {
            return;
        };
        let revision = self.last_notified.get(&subject).map_or(0, |it| it.0);
        let is_user = matches!(subject, Subject::User(_));
        match self.rows.get(&subject) {
            Some(mark) if *mark == version => self.rows.remove(&subject),
            Some(_) if !is_user => None,
            _ => return,
        };
        if revision != after {
            self.rows.insert(subject, version);
            return;
        }
        if is_user {
            let truth = self.news(&subject, None).last_notified;
            assert_eq!(
                news.last_notified, truth,
                "seed {}: not true any more",
                self.seed
            );
        }
        for event in news.events {
            self.version += 1;
            self.events.push_back((self.version, event));
        }
        match news.last_notified {
            Some(told) => self.last_notified.insert(subject, (self.version, told)),
            None => self.last_notified.remove(&subject),
        };
    }

    fn fetches(&mut self, node: usize) {
        let max = 1 + self.chance.below(5) as usize;
        self.nodes[node].delivering = self.events.iter().take(max).cloned().collect();
    }

    fn delivers(&mut self, node: usize) {
        let batch = std::mem::take(&mut self.nodes[node].delivering);
        let Some(&(last, _)) = batch.last() else {
            return;
        };
        if self.chance.percent(30) {
            return; // The endpoint has not heard it.
        }
        for (number, event) in batch {
            self.hears(number, event);
        }
        if self.chance.percent(30) {
            return; // It has, and nobody knows.
        }
        while self.events.front().is_some_and(|it| it.0 <= last) {
            self.events.pop_front();
        }
    }

    /// What an endpoint does: what it has heard already it does not hear again.
    fn hears(&mut self, number: u64, event: HookEvent) {
        if let Some(same) = self.heard.get(&number) {
            assert_eq!(*same, event, "seed {}", self.seed);
            return;
        }
        let newest = self.heard.last_key_value().map_or(0, |(it, _)| *it);
        assert!(number > newest, "seed {}: out of order", self.seed);
        self.picture.fold(&event, self.seed);
        self.heard.insert(number, event);
    }

    fn come_to_rest(&mut self) {
        self.nodes = Default::default();
        while let Some(subject) = self.rows.keys().next().cloned() {
            let known = self.last_notified.get(&subject);
            let news = self.news(&subject, known.map(|(_, told)| told));
            let revision = known.map_or(0, |it| it.0);
            let version = self.rows[&subject];
            self.nodes[0].telling = Some((subject, version, revision, news));
            self.tells(0);
        }
        for (number, event) in std::mem::take(&mut self.events) {
            self.hears(number, event);
        }
    }

    fn judge(&self) {
        for name in ["ann", "bob"] {
            let user = UserId::new(name).unwrap();
            let truth = self.news(&Subject::User(user.clone()), None).last_notified;
            let here = self
                .picture
                .here
                .get(&user)
                .cloned()
                .map(LastNotified::Here);
            assert_eq!(here, truth, "seed {}: {name}", self.seed);
        }
        let channel = ChannelId::new("room").unwrap();
        let room = Subject::Topic(Topic::Channel(channel.clone()));
        let truth = self.news(&room, None).last_notified;
        let rooms = self.picture.rooms.get(&channel).cloned();
        assert_eq!(
            rooms.map(LastNotified::Occupied),
            truth,
            "seed {}: room",
            self.seed
        );
    }
}

impl Picture {
    /// Coming and going are told by turns.
    fn fold(&mut self, event: &HookEvent, seed: u64) {
        let is_fine = match event.clone() {
            HookEvent::UserOnline { user, look } => self.here.insert(user, look).is_none(),
            HookEvent::UserChanged { user, look } => {
                let before = self.here.insert(user, look.clone());
                before.is_some_and(|it| it != look)
            }
            HookEvent::UserOffline { user, .. } => self.here.remove(&user).is_some(),
            HookEvent::ChannelOccupied { channel } => {
                self.rooms.insert(channel, BTreeSet::new()).is_none()
            }
            HookEvent::ChannelJoined { channel, user } => {
                let room = self.rooms.get_mut(&channel);
                room.is_some_and(|it| it.insert(user))
            }
            HookEvent::ChannelLeft { channel, user } => {
                let room = self.rooms.get_mut(&channel);
                room.is_some_and(|it| it.remove(&user))
            }
            HookEvent::ChannelVacated { channel } => {
                let room = self.rooms.remove(&channel);
                room.is_some_and(|it| it.is_empty())
            }
        };
        assert!(is_fine, "seed {seed}: {event:?} makes no sense");
    }
}

#[test]
fn kinds_have_a_name_each() {
    let names: BTreeSet<_> = HookKind::ALL.iter().map(|it| it.as_str()).collect();
    assert_eq!(names.len(), HookKind::ALL.len());
    let some: Wanted = [HookKind::UserOnline].into_iter().collect();
    assert!(some.has(HookKind::UserOnline) && !some.has(HookKind::ChannelVacated));
}
