//! Everybody of a run: told what to do by a scenario, which is plain code that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use presence_client::wire::event::{Answer, Ok as Done, UserStatus};
use presence_client::wire::{Event, command};
use presence_client::{Client, Options};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::check::{Findings, Moment, Rules, Wrong, check};
use crate::explained::Known;
use crate::journal::{At, Cast, Ending, Fact, User, Watcher};
use crate::shared::{Entrance, Loss, Shared};
use crate::told::name;
use crate::truth::lives;
use crate::virtual_user::{Afterwards, Begin, ORDERS_MAX, Order, Role, VirtualUser, live};

/// How often to look whether all pictures are right.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many users one question may be about.
const ASKED_MAX: usize = 1000;

/// The people of a run: how many, and what they do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many people.
    pub(crate) people: u32,
    /// Into how many rooms they go.
    pub(crate) rooms: u32,
    /// Of so many one has a second device, at another gateway; 0 is none.
    pub(crate) second_device_of: u32,
    /// Of so many one is invisible; 0 is none.
    pub(crate) hidden_of: u32,
    /// How many rooms have a watcher at each entrance.
    pub(crate) watched_rooms: u32,
    /// Whether everybody looks at their room, as in an application. Otherwise they are only in it.
    pub(crate) all_watch: bool,
    /// What a client does after it has lost its connection.
    pub(crate) afterwards: Afterwards,
}

/// All clients and watchers of a run.
pub(crate) struct Crowd {
    runtime: Runtime,
    shared: Arc<Shared>,
    cast: Cast,
    vus: Vec<(VirtualUser, mpsc::Sender<Order>)>,
    /// How many of them were told to stay away until they are called.
    uncalled: usize,
    /// The first of the watchers that came last.
    newcomers_from: u32,
    changes: Option<Arc<AtomicBool>>,
}

/// The id of the channel for room number `room`.
pub(crate) fn channel(room: u32) -> String {
    format!("room:{room}")
}

impl Crowd {
    /// Lets everybody come, and waits until all who look see all who are there.
    pub(crate) fn gather(entrances: Vec<Entrance>, plan: &Plan, limit: Duration) -> Result<Crowd> {
        // One thread: the gateways want to run, too.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let known = entrances.iter().filter(|it| it.is_known).count();
        let count = u32::try_from(known)?;
        let shared = Arc::new(Shared::new(entrances, plan.all_watch));
        let mut crowd = Crowd {
            runtime,
            shared,
            cast: Cast::default(),
            vus: Vec::new(),
            uncalled: 0,
            newcomers_from: 0,
            changes: None,
        };
        for room in 0..plan.watched_rooms.min(plan.rooms) {
            for entrance in 0..count {
                crowd.add_watcher(room, entrance as usize, plan.afterwards);
            }
        }
        for number in 0..plan.people {
            let user = User(number);
            crowd.cast.users.push(number % plan.rooms);
            let is = |of: u32| of > 0 && number % of == of - 1;
            let role = match is(plan.hidden_of) {
                true => Role::Hidden(user),
                false => Role::Person(user),
            };
            let home = number / plan.rooms % count;
            crowd.add_person(role, "web:1", home as usize, plan.afterwards, Begin::Now);
            if is(plan.second_device_of) {
                let other = ((home + 1) % count) as usize;
                crowd.add_person(role, "mobile:2", other, plan.afterwards, Begin::Now);
            }
        }
        crowd.wait_until_all_are_here(limit)?;
        crowd.wait_settled(limit)?;
        Ok(crowd)
    }

    /// More people for `room`, through `entrance`, and who they are.
    pub(crate) fn add_people(
        &mut self,
        count: u32,
        room: u32,
        entrance: usize,
        begin: Begin,
    ) -> Vec<User> {
        let mut users = Vec::new();
        for _ in 0..count {
            let number = u32::try_from(self.cast.users.len()).expect("fewer people than numbers");
            self.cast.users.push(room);
            self.add_person(
                Role::Person(User(number)),
                "web:1",
                entrance,
                Afterwards::StayAway,
                begin,
            );
            users.push(User(number));
        }
        users
    }

    fn add_person(
        &mut self,
        role: Role,
        device: &str,
        entrance: usize,
        afterwards: Afterwards,
        begin: Begin,
    ) {
        let (Role::Person(user) | Role::Hidden(user)) = role else {
            return;
        };
        let channel = channel(self.cast.users[user.0 as usize]);
        self.add(VirtualUser {
            role,
            user_id: name(user),
            device_id: device.to_owned(),
            channel,
            entrance,
            afterwards,
            begin,
        });
    }

    fn add_watcher(&mut self, room: u32, entrance: usize, afterwards: Afterwards) {
        let number = u32::try_from(self.cast.watchers.len()).expect("fewer watchers than numbers");
        self.cast.watchers.push(room);
        self.add(VirtualUser {
            role: Role::Watcher(Watcher(number)),
            user_id: format!("watcher{number}"),
            device_id: "web:w".to_owned(),
            channel: channel(room),
            entrance,
            afterwards,
            begin: Begin::Now,
        });
    }

    fn add(&mut self, vu: VirtualUser) {
        let (orders, obeyed) = mpsc::channel(ORDERS_MAX);
        self.uncalled += usize::from(vu.begin == Begin::WhenCalled);
        self.runtime
            .spawn(live(vu.clone(), self.shared.clone(), obeyed));
        self.vus.push((vu, orders));
    }

    /// Somebody who has seen nothing yet looks at each watched room, at each open entrance.
    pub(crate) fn look_anew(&mut self) {
        self.newcomers_from = u32::try_from(self.cast.watchers.len()).unwrap_or(u32::MAX);
        let rooms: BTreeSet<u32> = self.cast.watchers.iter().copied().collect();
        for room in rooms {
            for entrance in 0..self.shared.entrances.len() {
                if self.shared.entrances[entrance].takes_people() {
                    self.add_watcher(room, entrance, Afterwards::ComeBack(Duration::from_secs(1)));
                }
            }
        }
    }

    /// Waits until they have seen something.
    pub(crate) fn wait_until_newcomers_look(&self, limit: Duration) -> Result<()> {
        let from = self.newcomers_from;
        let there = self.cast.watchers.len() - from as usize;
        let start = Instant::now();
        loop {
            let facts = self.shared.journal.facts();
            let looks = facts.iter().filter_map(|(_, fact)| match fact {
                Fact::Looks(watcher) if watcher.0 >= from => Some(*watcher),
                _ => None,
            });
            let look = looks.collect::<BTreeSet<_>>().len();
            drop(facts);
            if look >= there {
                return Ok(());
            }
            if start.elapsed() > limit {
                bail!("only {look} of {there} new watchers see their room");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// At which gateway a watcher began.
    pub(crate) fn gateway_of_watcher(&self, watcher: Watcher) -> Option<usize> {
        self.gateway_of(Role::Watcher(watcher))
    }

    /// At which gateway a person began, on their first device.
    pub(crate) fn gateway_of_user(&self, user: User) -> Option<usize> {
        self.gateway_of(Role::Person(user))
    }

    fn gateway_of(&self, role: Role) -> Option<usize> {
        let vu = self.vus.iter().find(|(vu, _)| vu.role == role);
        vu.map(|(vu, _)| self.shared.entrances[vu.entrance].gateway)
    }

    /// Whether a person has no healthy socket now.
    pub(crate) fn has_ended(&self, user: User) -> bool {
        let facts = self.shared.journal.facts();
        let sockets = facts.iter().map(|(_, fact)| match fact {
            Fact::Came(it) if *it == user => 1,
            Fact::Gone(it, _) if *it == user => -1,
            _ => 0,
        });
        sockets.sum::<i64>() == 0
    }

    /// The number of the room that the person is in.
    pub(crate) fn room_of(&self, user: User) -> u32 {
        self.cast.users[user.0 as usize]
    }

    /// The time since the run began.
    pub(crate) fn now(&self) -> At {
        self.shared.journal.now()
    }

    /// Waits for `time` while the clients go on.
    pub(crate) fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Waits until that time of the run.
    pub(crate) fn sleep_until(&self, at: At) {
        self.sleep(at.saturating_sub(self.now()));
    }

    /// Gives an order to those who begin where `who` says, and says to how many.
    pub(crate) fn order(&self, who: impl Fn(&VirtualUser) -> bool, order: &Order) -> usize {
        let who = self.vus.iter().filter(|(vu, _)| who(vu));
        // Whose orders wait unread is away, and has no use for another.
        who.filter(|(_, orders)| orders.try_send(order.clone()).is_ok())
            .count()
    }

    /// Nobody is sent to that gateway any more, or they are again.
    pub(crate) fn open(&self, gateway: usize, is_open: bool) {
        for entrance in self
            .shared
            .entrances
            .iter()
            .filter(|it| it.gateway == gateway)
        {
            entrance.is_open.store(is_open, Ordering::Relaxed);
        }
    }

    /// What ends at that gateway from now on ends because the gateway is gone, or not any more.
    pub(crate) fn dies(&self, gateway: usize, is_dying: bool) {
        for entrance in self
            .shared
            .entrances
            .iter()
            .filter(|it| it.gateway == gateway)
        {
            entrance.is_dying.store(is_dying, Ordering::Relaxed);
        }
        self.open(gateway, !is_dying);
    }

    /// Lets random people make so many changes a second, evenly spaced, until told to stop.
    pub(crate) fn change(&mut self, rate: f64, seed: u64) {
        self.stop_changing();
        let stop = Arc::new(AtomicBool::new(false));
        self.changes = Some(stop.clone());
        let people: Vec<_> = self
            .vus
            .iter()
            .filter(|(vu, _)| matches!(vu.role, Role::Person(_)) && vu.device_id.starts_with("web"))
            .map(|(_, orders)| orders.clone())
            .collect();
        let shared = self.shared.clone();
        let mut random = fastrand::Rng::with_seed(seed);
        self.runtime.spawn(async move {
            let start = shared.journal.now();
            for number in 0_u32.. {
                let due = start + Duration::from_secs_f64(f64::from(number) / rate);
                tokio::time::sleep_until(shared.journal.instant(due).into()).await;
                if stop.load(Ordering::Relaxed) || people.is_empty() {
                    return;
                }
                let _ = people[random.usize(..people.len())].try_send(Order::Change(due));
            }
        });
    }

    /// Tells all clients to make no more changes.
    pub(crate) fn stop_changing(&mut self) {
        if let Some(stop) = self.changes.take() {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// How many are connected and where they shall be.
    pub(crate) fn here(&self) -> usize {
        self.shared.here.load(Ordering::Relaxed)
    }

    /// How many there are, here or not; without those who were not called.
    pub(crate) fn size(&self) -> usize {
        self.vus.len() - self.uncalled
    }

    /// Calls those who wait to be called.
    pub(crate) fn call(&mut self) {
        self.order(|vu| vu.begin == Begin::WhenCalled, &Order::Come);
        self.uncalled = 0;
    }

    /// Why somebody was not let in, each time.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.shared.refusals()
    }

    /// Connections that ended by themselves since `since`.
    pub(crate) fn losses(&self, since: At) -> Vec<Loss> {
        let mut losses = self.shared.losses();
        losses.retain(|loss| loss.at >= since);
        losses
    }

    /// Waits until everybody is connected and where they shall be, and says how long it took.
    pub(crate) fn wait_until_all_are_here(&self, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        while self.here() < self.size() {
            if start.elapsed() > limit {
                let (here, size) = (self.here(), self.size());
                let seconds = limit.as_secs_f64();
                let refused = self.refusals().pop().unwrap_or_default();
                bail!("only {here} of {size} are here after {seconds:.0} s: {refused}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(start.elapsed())
    }

    /// Waits until every picture is the truth.
    pub(crate) fn wait_settled(&self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let findings = self.findings(&Rules::default());
            if findings.wrong.is_empty() {
                return Ok(());
            }
            if start.elapsed() > limit {
                let example = self.shown_wrong(&findings.wrong);
                let (count, seconds) = (findings.wrong.len(), limit.as_secs_f64());
                bail!("{count} things in pictures are wrong after {seconds:.0} s: {example}");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The same; what is wrong in the end is for the checker to say.
    pub(crate) fn settle(&self, limit: Duration) {
        let _ = self.wait_settled(limit);
    }

    /// What was seen compared with what was true.
    pub(crate) fn findings(&self, rules: &Rules) -> Findings {
        let facts = self.shared.journal.facts().clone();
        check(&self.cast, &facts, rules, self.now())
    }

    /// The first moments of the list, as a text for people.
    pub(crate) fn shown(&self, moments: &[Moment]) -> String {
        let some = moments.iter().take(5).map(|it| {
            let room = self.cast.watchers[it.watcher.0 as usize];
            let at = it.at.as_secs_f64();
            format!(
                "{} in room:{room} at {at:.1} s by watcher{}",
                name(it.user),
                it.watcher.0
            )
        });
        some.collect::<Vec<_>>().join(", ")
    }

    /// The same, with what is wrong.
    pub(crate) fn shown_wrong(&self, wrong: &[Wrong]) -> String {
        let some = wrong.iter().take(5).map(|it| {
            let what = match (it.shown, it.is) {
                (None, _) => "missing".to_owned(),
                (Some(_), None) => "still shown".to_owned(),
                (Some(shown), Some(is)) => format!("at change {shown}, not {is}"),
            };
            format!("{} {what}", self.shown(&[it.at]))
        });
        some.collect::<Vec<_>>().join(", ")
    }

    /// Lets each of `who` choose a status message, and waits until all are acknowledged.
    pub(crate) fn say(
        &self,
        who: impl Fn(&VirtualUser) -> bool,
        words: &str,
        limit: Duration,
    ) -> Result<usize> {
        let said = self.order(who, &Order::Say(words.to_owned()));
        let start = Instant::now();
        loop {
            let acknowledged = self.shared.acknowledged();
            let count = acknowledged.values().filter(|it| *it == words).count();
            if count >= said {
                return Ok(said);
            }
            if start.elapsed() > limit {
                bail!("{count} of {said} status messages were acknowledged");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Of whom what was acknowledged is not what others see at `entrance`.
    pub(crate) fn forgotten(&self, entrance: usize) -> Result<Vec<String>> {
        self.lost(entrance, |shown, said| shown != said)
    }

    /// Of whom others see nothing at `entrance`, or something that `is_lost` says of it and of what was acknowledged.
    pub(crate) fn lost(
        &self,
        entrance: usize,
        is_lost: impl Fn(&str, &str) -> bool,
    ) -> Result<Vec<String>> {
        let acknowledged = self.shared.acknowledged();
        let users: Vec<String> = acknowledged.keys().cloned().collect();
        let seen = self
            .runtime
            .block_on(statuses(&self.shared.entrances[entrance].url, &users))?;
        let wrong = acknowledged.into_iter().filter(|(user, words)| {
            let shown = seen.get(user).and_then(|it| it.custom_message.as_deref());
            shown.is_none_or(|shown| is_lost(shown, words))
        });
        Ok(wrong.map(|(user, _)| user).collect())
    }

    /// Some people, by what has become of them: each with their id and what is known of them. `name_of` has the names of
    /// gateways.
    pub(crate) fn some_known(
        &self,
        each_max: usize,
        grace: Duration,
        name_of: impl Fn(usize) -> String,
    ) -> Vec<(String, Known)> {
        let connected = self.shared.connected();
        let lives = lives(self.shared.journal.facts().iter(), grace);
        let mut some: BTreeMap<Option<Ending>, Vec<(String, Known)>> = BTreeMap::new();
        for (user, life) in lives {
            let Some(last) = life.visits.last() else {
                continue;
            };
            let user = name(user);
            let known = match last.until {
                Some((at, ending)) => Known::Gone { at, ending },
                None => {
                    let theirs = connected.iter().filter(|((it, _), _)| *it == user);
                    let theirs =
                        theirs.map(|((_, device), gateway)| (device.clone(), name_of(*gateway)));
                    Known::Here(theirs.collect())
                }
            };
            let alike = some
                .entry(last.until.map(|(_, ending)| ending))
                .or_default();
            alike.push((user, known));
        }
        let mut random = fastrand::Rng::with_seed(u64::try_from(self.vus.len()).unwrap_or(0));
        let some = some.into_values().flat_map(|mut alike| {
            random.shuffle(&mut alike);
            alike.truncate(each_max);
            alike
        });
        some.collect()
    }

    /// Runs `work` to its end while the clients go on.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// What others see of `users`, asked at one gateway.
pub(crate) async fn statuses(url: &str, users: &[String]) -> Result<BTreeMap<String, UserStatus>> {
    let mut client = Client::connect(&Options::user(url, "asker")).await?;
    let mut seen = BTreeMap::new();
    for users in users.chunks(ASKED_MAX) {
        let get = command::Get {
            ref_: None,
            users: users.to_vec(),
        };
        let answer = client
            .request(get.into())
            .await
            .map_err(|error| anyhow!("{error}"))?;
        let Event::Ok(Done {
            result: Some(Answer::Statuses(it)),
            ..
        }) = answer
        else {
            bail!("`get` was answered with {answer:?}");
        };
        seen.extend(
            it.statuses
                .into_iter()
                .map(|it| (it.user_id.to_string(), it)),
        );
    }
    client.close().await;
    Ok(seen)
}
