//! One client at work: obeys, hears, loses its connection and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::{Given, Heard, Home, Line, Manners, Order, Resume, Say, Shared, VirtualUser};
use crate::random::journal::{Ask, Choice, End, Fact, Mark, Outcome, Room};

/// How long connecting may take; then it is tried elsewhere.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(4);

/// How long to wait before coming back, at least and at most.
const AGAIN_MS: std::ops::Range<u64> = 50..800;

/// How long a goodbye may take.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a write may take before the connection counts as lost.
const SAY_TIME_MAX: Duration = Duration::from_secs(5);

/// A connection, and what waits for an answer on it.
struct Link {
    line: Line,
    asked: BTreeMap<u32, (Ask, Option<oneshot::Sender<Outcome>>)>,
    retry_after: Option<Duration>,
    heartbeat: Interval,
}

/// The task of one client: its connection and what it has asked for.
pub(super) struct Life {
    vu: Arc<VirtualUser>,
    shared: Arc<Shared>,
    link: Option<Link>,
    /// Connections that are dead, and neither side has been told.
    hung: Vec<Line>,
    gateway: Option<usize>,
    resume: Option<String>,
    /// When it comes back by itself.
    again: Option<Instant>,
    life: u32,
    number: u32,
    asks: u32,
    /// The rooms that it wants to be in, with the mark of its last join or update.
    rooms: BTreeMap<Room, Mark>,
    /// Where it wants to be no more, and has not been told that it is not.
    leaving: BTreeSet<Room>,
    /// What it chose last, until that is answered `ok`.
    choosing: Option<Choice>,
}

enum Event {
    Order(Option<Given>),
    Heartbeat,
    Heard(Option<Vec<Heard>>),
    Again,
}

impl Life {
    pub(super) fn new(vu: VirtualUser, shared: Arc<Shared>) -> Life {
        Life {
            vu: Arc::new(vu),
            shared,
            link: None,
            hung: Vec::new(),
            gateway: None,
            resume: None,
            again: None,
            life: 0,
            number: 0,
            asks: 0,
            rooms: BTreeMap::new(),
            leaving: BTreeSet::new(),
            choosing: None,
        }
    }

    /// Lives until nobody gives orders any more.
    pub(super) async fn live(mut self, mut orders: mpsc::Receiver<Given>) {
        loop {
            let event = match (&mut self.link, self.again) {
                (Some(link), _) => tokio::select! {
                    given = orders.recv() => Event::Order(given),
                    _ = link.heartbeat.tick() => Event::Heartbeat,
                    heard = link.line.next() => Event::Heard(heard),
                },
                (None, Some(again)) => tokio::select! {
                    given = orders.recv() => Event::Order(given),
                    () = sleep_until(again) => Event::Again,
                },
                (None, None) => Event::Order(orders.recv().await),
            };
            match event {
                Event::Order(None) => return,
                Event::Order(Some(given)) => self.obey(given).await,
                Event::Heartbeat => self.say(Say::Heartbeat).await,
                Event::Heard(Some(heard)) => {
                    for heard in heard {
                        self.hear(heard).await;
                    }
                }
                Event::Heard(None) => self.lose(),
                Event::Again => self.come_back().await,
            }
        }
    }

    async fn obey(&mut self, Given { order, done }: Given) {
        let outcome = match order {
            Order::Connect(gateway, resume) => {
                drop(self.unlink(End::Vanished));
                if resume == Resume::No {
                    self.resume = None;
                }
                match self.connect(gateway).await {
                    true => Outcome::Ok,
                    false => Outcome::Unknown,
                }
            }
            Order::Join(room) => {
                let is_there = self.rooms.contains_key(&room);
                return self.be_in(room, is_there, done).await;
            }
            Order::Leave(room) => {
                self.rooms.remove(&room);
                self.leaving.insert(room);
                return self.ask(Ask::Leave(room), done).await;
            }
            Order::Choose(_) if !self.vu.dialect.has_statuses() => Outcome::Away,
            Order::Choose(choice) => {
                self.choosing = Some(choice.clone());
                return self.ask(Ask::Choose(choice), done).await;
            }
            Order::Type(room) => {
                self.say(Say::Type(room)).await;
                Outcome::Ok
            }
            Order::Vanish => {
                self.again = None;
                drop(self.unlink(End::Vanished));
                Outcome::Ok
            }
            Order::Goodbye => {
                self.rooms.clear();
                self.leaving.clear();
                (self.resume, self.again) = (None, None);
                if let Some(line) = self.unlink(End::Goodbye) {
                    let _ = timeout(GOODBYE_TIME_MAX, line.goodbye()).await;
                }
                Outcome::Ok
            }
            Order::HalfOpen => {
                self.again = None;
                let line = self.unlink(End::HalfOpen);
                self.hung.extend(line);
                Outcome::Ok
            }
        };
        answer(done, outcome);
    }

    /// Joins a room, or if it is there already says something new about itself.
    async fn be_in(&mut self, room: Room, is_there: bool, done: Option<oneshot::Sender<Outcome>>) {
        self.number += 1;
        let mark = Mark {
            vu: self.vu.id,
            life: self.life,
            number: self.number,
        };
        self.rooms.insert(room, mark);
        self.leaving.remove(&room);
        let ask = match is_there {
            true => Ask::Update(room, mark),
            false => Ask::Join(room, mark),
        };
        self.ask(ask, done).await;
    }

    async fn hear(&mut self, heard: Heard) {
        let vu = self.vu.id;
        let fact = match heard {
            Heard::Answer(number, outcome) => return self.hear_answer(number, outcome),
            Heard::Gap(room) => return self.say(Say::Watch(room)).await,
            Heard::ComeBack(after) => {
                if let Some(link) = &mut self.link {
                    link.retry_after = Some(after);
                }
                return;
            }
            Heard::Whole(room, people) => Fact::Whole(vu, room, people),
            Heard::Joined(room, user, view) => Fact::Joined(vu, room, user, view),
            Heard::Updated(room, user, view) => Fact::Updated(vu, room, user, view),
            Heard::Left(room, user, why) => Fact::Left(vu, room, user, why),
            Heard::Saw(user, look) => Fact::Saw(vu, user, look),
        };
        self.shared.journal.note(fact);
    }

    fn hear_answer(&mut self, number: u32, outcome: Outcome) {
        let Some(link) = &mut self.link else { return };
        let Some((ask, done)) = link.asked.remove(&number) else {
            return;
        };
        if outcome == Outcome::Ok {
            match &ask {
                Ask::Leave(room) => {
                    self.leaving.remove(room);
                }
                Ask::Choose(choice) if self.choosing.as_ref() == Some(choice) => {
                    self.choosing = None;
                }
                _ => {}
            }
        }
        self.note_answer(number, outcome.clone());
        answer(done, outcome);
    }

    fn note_answer(&self, number: u32, outcome: Outcome) {
        let fact = Fact::Answered(self.vu.id, number, outcome);
        self.shared.journal.note(fact);
    }

    async fn ask(&mut self, ask: Ask, done: Option<oneshot::Sender<Outcome>>) {
        let Some(link) = &mut self.link else {
            return answer(done, Outcome::Away);
        };
        self.asks += 1;
        let number = self.asks;
        link.asked.insert(number, (ask.clone(), done));
        let fact = Fact::Asked(self.vu.id, number, ask.clone());
        self.shared.journal.note(fact);
        self.say(Say::Ask(number, ask)).await;
    }

    async fn say(&mut self, say: Say) {
        let Some(link) = &mut self.link else { return };
        if !matches!(timeout(SAY_TIME_MAX, link.line.say(&say)).await, Ok(Ok(()))) {
            self.lose();
        }
    }

    /// The connection has ended by itself.
    fn lose(&mut self) {
        let Some(link) = &self.link else { return };
        let (how, retry_after) = (link.line.ending(), link.retry_after);
        drop(self.unlink(End::Lost(how)));
        if self.vu.home != Home::Nowhere {
            let after =
                retry_after.unwrap_or_else(|| Duration::from_millis(fastrand::u64(AGAIN_MS)));
            self.again = Some(Instant::now() + after);
        }
    }

    /// Ends the connection; nobody will be told what became of what was asked on it.
    fn unlink(&mut self, end: End) -> Option<Line> {
        let link = self.link.take()?;
        self.shared.journal.note(Fact::Ended(self.vu.id, end));
        for (number, (_, done)) in link.asked {
            self.note_answer(number, Outcome::Unknown);
            answer(done, Outcome::Unknown);
        }
        Some(link.line)
    }

    async fn come_back(&mut self) {
        let gateway = match self.vu.home {
            Home::Gateway(gateway) => gateway,
            Home::Anywhere | Home::Nowhere => self.shared.another(self.gateway),
        };
        self.connect(gateway).await;
    }

    /// Connects, and says where it wants to be. If that fails it tries again later.
    async fn connect(&mut self, gateway: usize) -> bool {
        let vu = self.vu.clone();
        let journal = &self.shared.journal;
        journal.note(Fact::Connects(vu.id, gateway));
        self.again = None;
        self.gateway = Some(gateway);
        let came = Line::connect(&self.shared, &vu, gateway, self.resume.as_deref());
        let came = timeout(CONNECT_TIME_MAX, came).await;
        let (line, welcome) = match came.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(came) => came,
            Err(why) => {
                journal.note(Fact::Refused(vu.id, gateway, why));
                if vu.home != Home::Nowhere {
                    let after = Duration::from_millis(fastrand::u64(AGAIN_MS));
                    self.again = Some(Instant::now() + after);
                }
                return false;
            }
        };
        if !welcome.is_restored {
            self.life += 1;
        }
        let life = self.life;
        journal.note(Fact::Connected(vu.id, gateway, life, welcome.is_restored));
        self.resume = welcome.resume;
        let every = welcome.heartbeat;
        let mut heartbeat = interval_at(Instant::now() + every.mul_f64(fastrand::f64()), every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.link = Some(Link {
            line,
            asked: BTreeMap::new(),
            retry_after: None,
            heartbeat,
        });
        self.settle_in(welcome.is_restored).await;
        true
    }

    async fn settle_in(&mut self, is_restored: bool) {
        for room in self.vu.watches.clone() {
            self.say(Say::Watch(room)).await;
        }
        if !self.vu.watches.is_empty() && !self.shared.users.is_empty() {
            self.say(Say::WatchUsers(self.shared.users.clone())).await;
        }
        let is_silent = is_restored && self.vu.manners == Manners::Relies;
        let rooms: Vec<Room> = self.rooms.keys().copied().collect();
        for room in rooms.into_iter().filter(|_| !is_silent) {
            self.be_in(room, false, None).await;
        }
        if is_restored {
            for room in self.leaving.clone() {
                self.ask(Ask::Leave(room), None).await;
            }
        } else {
            self.leaving.clear();
        }
        if let Some(choice) = self.choosing.clone() {
            self.ask(Ask::Choose(choice), None).await;
        }
    }
}

fn answer(done: Option<oneshot::Sender<Outcome>>, outcome: Outcome) {
    if let Some(done) = done {
        // Whoever gave the order may have gone on.
        let _ = done.send(outcome);
    }
}
