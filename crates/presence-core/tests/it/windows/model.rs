//! Random changes of a room on three nodes, against naive slices of it.
//!
//! `PRESENCE_SEED=7` plays one script again.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use presence_core::history::Cause;
use presence_core::node::Input;
use presence_core::users::{self, Connection};
use presence_core::{
    Chosen, DeviceId, Event, Limits, Meta, Order, Person, SessionId, Span, StatusChange, Timestamp,
    Timing, Topic, UserId, Window, rosters,
};

use super::topic;
use crate::chance::Chance;
use crate::cluster::Stage;

const SEEDS: u64 = 60;
const STEPS: u64 = 120;
const NODES: u64 = 3;
const USERS: u64 = 9;
const NAMES: [&str; 9] = ["Ann", "ann", "ANNA", "Ärla", "bob", "Bo", "", "zoe", "Zoë"];
const PREFIXES: [&str; 6] = ["", "a", "An", "b", "z", "user"];
/// The windows belong to sessions from here on, which do nothing else.
const WATCHERS: u128 = 5_000;

#[test]
fn whatever_happens_every_window_shows_its_slice_of_the_room() {
    let seed = std::env::var("PRESENCE_SEED").ok();
    let seeds = match seed.map(|it| it.parse().unwrap()) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    };
    for seed in seeds {
        let played = catch_unwind(AssertUnwindSafe(|| play(seed)));
        if let Err(panic) = played {
            eprintln!("play it again with PRESENCE_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

fn play(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world.compare();
    assert!(world.compared > 50, "compared {} windows", world.compared);
}

/// A window as its watcher keeps it.
struct View {
    /// What it was opened with, from the first of the order.
    order: Order,
    after: Option<(Timestamp, String, UserId)>,
    prefix: &'static str,
    size: usize,
    rows: Vec<Arc<Person>>,
    count: usize,
    counted_at: Option<Timestamp>,
    /// Whether the first rows have come.
    is_told: bool,
}

type Place = (usize, SessionId, u32);

struct World {
    chance: Chance,
    stage: Stage,
    views: BTreeMap<Place, View>,
    /// The node that each session is connected to.
    on: BTreeMap<String, usize>,
    /// Which sessions are in the room, by their labels.
    inside: BTreeSet<String>,
    hidden: BTreeSet<u64>,
    labels: u64,
    compared: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let limits = Limits {
            listed_max: if chance.one_in(2) { 3 } else { 500 },
            faces_max: 1,
            ..Limits::default()
        };
        World {
            chance,
            stage: Stage::with(limits),
            views: BTreeMap::new(),
            on: BTreeMap::new(),
            inside: BTreeSet::new(),
            hidden: BTreeSet::new(),
            labels: 0,
            compared: 0,
        }
    }

    fn step(&mut self) {
        let heard: Vec<_> = self
            .on
            .iter()
            .map(|(it, node)| (it.clone(), *node))
            .collect();
        for (label, node) in heard {
            let by = self.stage.connections[&label];
            self.tell(node, number_of(&label), users::Input::Heard { by });
        }
        match self.chance.below(10) {
            0..3 => self.connect(),
            3 | 4 => self.rename(),
            5 => self.depart(),
            6 => self.end(),
            7 => self.hide(),
            _ => self.turn_window(),
        }
        self.hear();
        match self.chance.below(4) {
            0 => {}
            1 => {
                let millis = self.chance.below(1_200);
                self.wait(millis);
            }
            _ => {
                self.settle();
                self.compare();
            }
        }
    }

    fn wait(&mut self, millis: u64) {
        let then = self.stage.now + Duration::from_millis(millis);
        // Bit by bit, so that the moment of what is told is known.
        while self.stage.now < then {
            let next = (self.stage.now + Duration::from_millis(50)).min(then);
            self.stage.wait_until(next);
            self.hear();
        }
    }

    /// Waits until everything is told.
    fn settle(&mut self) {
        self.wait(2_100);
    }

    fn label(&mut self) -> Option<(String, u64, usize, Connection)> {
        let labels: Vec<_> = self.on.keys().cloned().collect();
        let at = self.chance.below(labels.len().max(1) as u64) as usize;
        let label = labels.get(at)?.clone();
        let number = number_of(&label);
        let connection = self.stage.connections[&label];
        Some((label.clone(), number, self.on[&label], connection))
    }

    fn tell(&mut self, node: usize, number: u64, input: users::Input<String>) {
        self.stage.tell(node, Input::User(user(number), input));
    }

    fn connect(&mut self) {
        let number = self.chance.below(USERS);
        let of_user = format!("user-{number}/");
        if self.on.keys().filter(|it| it.starts_with(&of_user)).count() >= 3 {
            return;
        }
        let node = self.chance.below(NODES) as usize;
        self.labels += 1;
        let label = format!("{of_user}web:{}", self.labels);
        let input = users::Input::Connected {
            session: SessionId::from_u128(u128::from(self.labels)),
            resume: None,
            fingerprint: None,
            device: DeviceId::new(&format!("web:{}", self.labels)).unwrap(),
            workspaces: Vec::new(),
            card: Arc::default(),
            origin: None,
            reply_to: label.clone(),
        };
        self.tell(node, number, input);
        self.on.insert(label.clone(), node);
        self.join(&label, number);
    }

    fn join(&mut self, label: &str, number: u64) {
        let (node, by) = (self.on[label], self.stage.connections[label]);
        let meta = self.meta();
        let Topic::Channel(channel) = topic() else {
            unreachable!()
        };
        let input = users::Input::Joined {
            by,
            channel,
            meta,
            watch: None,
            reply_to: None,
        };
        self.tell(node, number, input);
        self.inside.insert(label.to_owned());
    }

    fn meta(&mut self) -> Arc<Meta> {
        let name = self.chance.one_of(&NAMES);
        let n = self.chance.below(3);
        let json = format!("{{\"name\":\"{name}\",\"n\":{n}}}");
        Arc::new(Meta::from_json(json).unwrap())
    }

    fn rename(&mut self) {
        if let Some((label, number, ..)) = self.label() {
            self.join(&label, number);
        }
    }

    fn depart(&mut self) {
        let Some((label, number, node, by)) = self.label() else {
            return;
        };
        let Topic::Channel(channel) = topic() else {
            unreachable!()
        };
        let reply_to = None;
        let input = users::Input::LeftChannel {
            by,
            channel,
            reply_to,
        };
        self.tell(node, number, input);
        self.inside.remove(&label);
    }

    fn end(&mut self) {
        let Some((label, number, node, by)) = self.label() else {
            return;
        };
        let cause = Cause::Client;
        self.tell(node, number, users::Input::Ended { by, cause });
        self.on.remove(&label);
        self.inside.remove(&label);
    }

    fn hide(&mut self) {
        let Some((_, number, node, _)) = self.label() else {
            return;
        };
        let hides = self.chance.one_in(2);
        let chosen = match hides {
            true => Chosen::Invisible,
            false => self.chance.one_of(&[Chosen::Online, Chosen::Busy]),
        };
        let change = StatusChange {
            chosen: Some(chosen),
            ..StatusChange::default()
        };
        let input = users::Input::Chose {
            change,
            by: Cause::Client,
            reply_to: None,
        };
        self.tell(node, number, input);
        match hides {
            true => self.hidden.insert(number),
            false => self.hidden.remove(&number),
        };
    }

    /// Opens a window, moves one, repeats one, or closes one.
    fn turn_window(&mut self) {
        let node = self.chance.below(NODES) as usize;
        let session = SessionId::from_u128(WATCHERS + u128::from(self.chance.below(2)));
        let number = self.chance.below(2) as u32;
        let place = (node, session, number);
        let topic = topic();
        if self.views.contains_key(&place) && self.chance.one_in(3) {
            self.views.remove(&place);
            let input = rosters::Input::WindowClosed {
                topic,
                session,
                number,
            };
            return self.stage.tell(node, Input::Roster(input));
        }
        let order = self.chance.one_of(Order::ALL);
        let prefix = match order {
            Order::Joined => "",
            Order::Name => self.chance.one_of(&PREFIXES),
        };
        let people = self.people(node);
        let at = self.chance.below(2 * people.len().max(1) as u64) as usize;
        let after = people.get(at).map(|it| {
            let name = name_of(it);
            (it.joined_at, name, it.user.clone())
        });
        let size = self.chance.within(1..6) as usize;
        let span = match (order, &after) {
            (Order::Joined, after) => Span::joined(after.as_ref().map(|it| (it.0, it.2.clone()))),
            (Order::Name, after) => {
                let after = after.as_ref();
                Span::named(prefix, after.map(|it| (&*it.1, Some(it.2.clone()))))
            }
        };
        let view = View {
            order,
            after,
            prefix,
            size,
            rows: Vec::new(),
            count: 0,
            counted_at: None,
            is_told: false,
        };
        // What was told before is of the window that this one replaces.
        self.hear();
        self.views.insert(place, view);
        let input = rosters::Input::WindowOpened {
            topic,
            session,
            number,
            window: Window::new(span, size).unwrap(),
            reply_to: None,
        };
        self.stage.tell(node, Input::Roster(input));
    }

    fn people(&self, node: usize) -> Vec<Arc<Person>> {
        let node = self.stage.nodes[node].as_ref().unwrap();
        node.list(&topic(), 0, usize::MAX).people
    }

    fn hear(&mut self) {
        let now = self.stage.now;
        for (node, session, event) in std::mem::take(&mut self.stage.windows_told) {
            let (Event::Window { number, .. } | Event::WindowChanges { number, .. }) = &*event
            else {
                panic!("not of a window: {event:?}");
            };
            let view = self.views.get_mut(&(node, session, *number));
            view.expect("told of a window that is closed")
                .hear(now, &event);
        }
    }

    /// Every window has its slice of the room, and the room has everybody who can be seen.
    fn compare(&mut self) {
        let mut expected: Vec<UserId> = (0..USERS)
            .filter(|it| !self.hidden.contains(it))
            .filter(|it| {
                let of_user = format!("user-{it}/");
                self.inside.iter().any(|it| it.starts_with(&of_user))
            })
            .map(user)
            .collect();
        expected.sort();
        for (place, view) in &self.views {
            let people = self.people(place.0);
            let mut here: Vec<UserId> = people.iter().map(|it| it.user.clone()).collect();
            here.sort();
            assert_eq!(here, expected, "on node {}", place.0);
            assert!(view.is_told, "{place:?} was told nothing");
            assert_eq!(view.count, people.len(), "{place:?}");
            let slice: Vec<_> = view.slice(people).iter().map(|it| seen(it)).collect();
            let shown: Vec<_> = view.rows.iter().map(|it| seen(it)).collect();
            assert_eq!(shown, slice, "{place:?}");
            self.compared += 1;
        }
    }
}

impl View {
    /// The rows that it should have, from everybody who is there.
    fn slice(&self, mut people: Vec<Arc<Person>>) -> Vec<Arc<Person>> {
        match self.order {
            Order::Joined => people.sort_by_key(|it| (it.joined_at, it.user.clone())),
            Order::Name => people.sort_by_key(|it| (name_of(it), it.user.clone())),
        }
        let prefix = self.prefix.to_lowercase();
        let fits = |it: &Arc<Person>| match (&self.after, self.order) {
            (None, _) => true,
            (Some((joined_at, _, id)), Order::Joined) => {
                (it.joined_at, &it.user) > (*joined_at, id)
            }
            (Some((_, name, id)), Order::Name) => (name_of(it), &it.user) > (name.clone(), id),
        };
        let fitting = people.into_iter().filter(fits);
        let fitting =
            fitting.filter(|it| self.order == Order::Joined || name_of(it).starts_with(&prefix));
        fitting.take(self.size).collect()
    }

    fn hear(&mut self, now: Timestamp, event: &Event) {
        match event {
            Event::Window { count, rows, .. } => {
                self.rows.clone_from(rows);
                self.count = *count;
                self.is_told = true;
            }
            Event::WindowChanges {
                count, gone, rows, ..
            } => {
                assert!(self.is_told, "changes of what was not told");
                let says_nothing = count.is_none() && gone.is_empty() && rows.is_empty();
                assert!(!says_nothing, "tells nothing");
                if let Some(count) = count {
                    let since = self.counted_at.map(|it| now.since(it));
                    let slack = Duration::from_millis(51);
                    let is_seldom = since.is_none_or(|it| it + slack >= Timing::TICK_MAX);
                    assert!(is_seldom, "counted twice within {since:?}");
                    self.counted_at = Some(now);
                    self.count = *count;
                }
                for user in gone {
                    assert!(self.place_of(user).is_some(), "{user} was not there");
                }
                for row in rows {
                    let before = self.place_of(&row.person.user);
                    let before = before.map(|at| seen(&self.rows[at]));
                    assert_ne!(before, Some(seen(&row.person)), "nothing is new");
                }
                let goes = |it: &UserId| {
                    gone.contains(it) || rows.iter().any(|row| row.person.user == *it)
                };
                self.rows.retain(|it| !goes(&it.user));
                for row in rows {
                    self.rows.insert(row.at, row.person.clone());
                }
                assert!(self.rows.len() <= self.size);
            }
            other => panic!("not of a window: {other:?}"),
        }
    }

    fn place_of(&self, user: &UserId) -> Option<usize> {
        self.rows.iter().position(|it| it.user == *user)
    }
}

fn user(number: u64) -> UserId {
    UserId::new(&format!("user-{number}")).unwrap()
}

/// The number of the user that the session with this label has.
fn number_of(label: &str) -> u64 {
    label.split(['-', '/']).nth(1).unwrap().parse().unwrap()
}

/// The name that a person is sorted by.
fn name_of(person: &Person) -> String {
    let name = person.newest(Meta::name);
    name.map_or(person.user.as_str(), |it| it).to_lowercase()
}

/// All that can be seen of a person, as text.
fn seen(person: &Person) -> String {
    let members = person.members.iter();
    let members: Vec<_> = members
        .map(|it| (it.joined_at, it.alias, it.device, it.meta.json().clone()))
        .collect();
    let (user, joined_at) = (&person.user, person.joined_at);
    format!("{user} {joined_at:?} {:?} {members:?}", person.look())
}
