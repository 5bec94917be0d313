//! Scripted situations that were once wrong in clusters, each with what has to be right.

mod choices;
mod lone;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use presence_testkit::proxy::Mode;
use presence_testkit::redis::Topology;

use super::clients::{Order, Resume};
use super::ground::{Ground, vus_in};
use super::journal::{At, Choice, Fact, Outcome, People, Room, UserId, VuId};
use crate::stage::Wanted;

/// A situation that was once wrong, played step by step.
pub(crate) struct Recipe {
    /// Its name, which `--only` takes.
    pub(crate) name: &'static str,
    /// What happens, and what is right, in a line.
    pub(crate) about: &'static str,
    /// How many people take part.
    pub(crate) people: u32,
    pub(crate) shape: Shape,
    /// Lets it happen, and says what was wrong.
    pub(crate) run: fn(&mut Ground) -> Result<Wrong>,
}

/// The gateways and the store on which a recipe is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Three gateways on one Redis.
    Cluster,
    /// One gateway without Redis.
    Lone,
}

/// What was wrong; nothing if all was right.
pub(crate) type Wrong = Vec<String>;

/// Every recipe, in the order in which all of them are played.
pub(crate) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "recipe-1",
        about: "sessions move while their gateway is asleep: everybody is shown everywhere",
        people: 24,
        shape: Shape::Cluster,
        run: moved_while_asleep,
    },
    Recipe {
        name: "recipe-1-quiet",
        about: "a status change and a move within milliseconds, and no fault: everybody is shown everywhere",
        people: 300,
        shape: Shape::Cluster,
        run: moved_at_once,
    },
    Recipe {
        name: "recipe-2",
        about: "`leave` waits in the socket of a sleeping gateway, everybody goes: nothing is left",
        people: 24,
        shape: Shape::Cluster,
        run: left_while_asleep,
    },
    Recipe {
        name: "recipe-3",
        about: "`leave` is answered `ok`, the session moves at once, Redis is 200 ms away: it stays out",
        people: 20,
        shape: Shape::Cluster,
        run: left_and_moved,
    },
    Recipe {
        name: "recipe-3-near",
        about: "the same with Redis 20 ms away and a pause of 5 ms",
        people: 20,
        shape: Shape::Cluster,
        run: left_and_moved_near,
    },
    Recipe {
        name: "recipe-4a",
        about: "Redis is away for longer than the grace time, people move: nobody is told anything",
        people: 10,
        shape: Shape::Cluster,
        run: moved_without_store,
    },
    Recipe {
        name: "recipe-4b",
        about: "a gateway is asleep for 10.8 s, people moved after 1 s: nobody is told anything",
        people: 10,
        shape: Shape::Cluster,
        run: moved_from_asleep,
    },
    Recipe {
        name: "recipe-5",
        about: "who hides through one gateway while another with a session of theirs is dead is hidden everywhere",
        people: 10,
        shape: Shape::Cluster,
        run: choices::hidden_beside_the_dead,
    },
    Recipe {
        name: "recipe-5-asleep",
        about: "the same while the other gateway is asleep",
        people: 10,
        shape: Shape::Cluster,
        run: choices::hidden_beside_the_sleeping,
    },
    Recipe {
        name: "recipe-6",
        about: "two choices on two gateways while Redis is away: the later one stays",
        people: 10,
        shape: Shape::Cluster,
        run: choices::chosen_without_store,
    },
    Recipe {
        name: "recipe-7",
        about: "a lone gateway is killed (-9) and started again, three times: nobody is told anything, all come back",
        people: 9,
        shape: Shape::Lone,
        run: lone::killed,
    },
    Recipe {
        name: "recipe-7-term",
        about: "the same with SIGTERM",
        people: 9,
        shape: Shape::Lone,
        run: lone::told_to_go,
    },
];

impl Recipe {
    /// Plays it once, and says what was wrong.
    ///
    /// # Errors
    ///
    /// It could not be played: something failed that is no part of it.
    pub(crate) fn play(&self, wanted: &Wanted) -> Result<Wrong> {
        let people = wanted.people.unwrap_or(self.people);
        let users = (0..people).map(UserId).collect();
        let (gateways, topology) = match self.shape {
            Shape::Cluster => (NAMES.len(), wanted.redis.or(Topology::Single)),
            Shape::Lone => (1, None),
        };
        let mut ground = Ground::open(wanted, self.name, gateways, topology, users)?;
        let mut verdict = (self.run)(&mut ground);
        let stopped = ground.stop();
        if let (Ok(wrong), Ok(panics)) = (&mut verdict, &stopped) {
            wrong.extend(panics.iter().cloned());
        }
        if !matches!(&verdict, Ok(wrong) if wrong.is_empty()) {
            ground.folder.keep();
        }
        stopped.and(verdict)
    }
}

/// The number of the first gateway, and of the others.
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// The room that all people of a recipe join.
const ROOM: Room = Room(1);

/// How long people may take to be seen by everybody, before anything goes wrong.
const GATHER_TIME_MAX: Duration = Duration::from_secs(20);

/// How long to look on afterwards: what comes late is wrong, too.
const LOOK_ON: Duration = Duration::from_secs(30);

/// How long a picture may be behind (I1 of `docs/guarantees.md`).
const NEWS_TIME_MAX: Duration = Duration::from_secs(1);

/// How soon Redis is empty after everybody has left.
const EMPTY_TIME_MAX: Duration = Duration::from_secs(60);

/// How many things are shown of those that are wrong in the same way.
const SHOWN_MAX: usize = 5;

/// How long a pause is after which one asks whether something is so again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a status may wait for its answer when Redis is away: the gateway gives up before.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(25);

/// A session of each person, at these gateways, in that order of gateways.
struct Cast {
    users: Vec<UserId>,
    sessions: BTreeMap<(UserId, usize), VuId>,
    watchers: Vec<VuId>,
}

impl Cast {
    /// Watchers look at the room, and each person comes to it with one session at each of `gateways`.
    fn gather(ground: &mut Ground, gateways: &[usize]) -> Result<Cast> {
        let watchers = ground.watch(&[ROOM])?;
        let users = ground.shared.users.clone();
        let mut sessions = BTreeMap::new();
        for user in &users {
            for gateway in gateways {
                sessions.insert((*user, *gateway), ground.add_person(*user));
            }
        }
        let cast = Cast {
            users,
            sessions,
            watchers,
        };
        for gateway in gateways {
            cast.do_at(ground, *gateway, &Order::Connect(*gateway, Resume::No))?;
            cast.do_at(ground, *gateway, &Order::Join(ROOM))?;
        }
        let all = cast.vus();
        ground.until(GATHER_TIME_MAX, "not everybody saw everybody", |ground| {
            cast.pictures(ground).iter().all(|it| vus_in(it) == all)
        })?;
        Ok(cast)
    }

    fn vus(&self) -> BTreeSet<VuId> {
        self.sessions.values().copied().collect()
    }

    /// The sessions that began at a gateway.
    fn at(&self, gateway: usize) -> Vec<VuId> {
        let sessions = self.sessions.iter().filter(|((_, at), _)| *at == gateway);
        sessions.map(|(_, vu)| *vu).collect()
    }

    /// Lets all sessions that began at a gateway do something, which has to be answered `ok`.
    fn do_at(&self, ground: &Ground, gateway: usize, order: &Order) -> Result<()> {
        let vus = self.at(gateway).into_iter();
        ground.all_do(vus.map(|vu| (vu, order.clone())))
    }

    /// What the watcher at each gateway draws.
    fn pictures(&self, ground: &Ground) -> Vec<People> {
        let pictures = self.watchers.iter().map(|it| ground.picture(*it, ROOM));
        pictures.map(Option::unwrap_or_default).collect()
    }

    /// Where the pictures and lists of all gateways differ from what is right.
    fn differences(&self, ground: &Ground, right: &BTreeSet<VuId>) -> Result<Wrong> {
        let mut wrong = Vec::new();
        for (gateway, picture) in self.pictures(ground).iter().enumerate() {
            wrong.extend(difference(
                &format!("the picture at {}", NAMES[gateway]),
                picture,
                right,
            ));
            let list = ground.listed(gateway, ROOM)?;
            wrong.extend(difference(
                &format!("the list of {}", NAMES[gateway]),
                &list,
                right,
            ));
        }
        Ok(wrong)
    }

    /// What is still different after a while.
    fn differences_after(
        &self,
        ground: &Ground,
        right: &BTreeSet<VuId>,
        limit: Duration,
    ) -> Result<Wrong> {
        let start = Instant::now();
        loop {
            let wrong = self.differences(ground, right)?;
            if wrong.is_empty() || start.elapsed() > limit {
                return Ok(wrong);
            }
            ground.sleep(AGAIN);
        }
    }

    /// Each session that began at a gateway drops its connection and resumes at another one, `after` later.
    fn move_to(&self, ground: &Ground, from: usize, to: usize, after: Duration) -> Result<()> {
        for vu in self.at(from) {
            ground.tell(vu, Order::Vanish);
        }
        ground.sleep(after);
        self.do_at(ground, from, &Order::Connect(to, Resume::Yes))
    }
}

const NAMES: [&str; 3] = ["A", "B", "C"];

fn difference(of: &str, people: &People, right: &BTreeSet<VuId>) -> Option<String> {
    let shown = vus_in(people);
    let count = |some: Vec<&VuId>| some.len();
    let missing = count(right.difference(&shown).collect());
    let extra = count(shown.difference(right).collect());
    match (missing, extra) {
        (0, 0) => None,
        (missing, extra) => Some(format!(
            "{of} lacks {missing} sessions and has {extra} too many"
        )),
    }
}

/// A line for what watchers should not have been told since then.
fn told_wrongly(ground: &Ground, since: At) -> Option<String> {
    let told = ground.told_since(since);
    let first = told.first()?;
    Some(format!(
        "{} joins and leaves were told, such as after {first}",
        told.len()
    ))
}

fn say(message: &str) -> Order {
    Order::Choose(Choice {
        status: Some("busy".to_owned()),
        message: Some(message.to_owned()),
        clear_after: None,
    })
}

/// Each person changes the status through A, and within a few milliseconds the session at B drops and resumes at C.
fn choose_and_move(cast: &Cast, ground: &Ground) -> Result<()> {
    let mut coming = Vec::new();
    for user in &cast.users {
        let (here, moves) = (cast.sessions[&(*user, A)], cast.sessions[&(*user, B)]);
        ground.tell(here, say("chosen"));
        ground.sleep(a_few_ms());
        ground.tell(moves, Order::Vanish);
        ground.sleep(a_few_ms());
        coming.push(ground.clients[&moves].ask(Order::Connect(C, Resume::Yes)));
    }
    for came in coming {
        match ground.runtime.block_on(came) {
            Ok(Outcome::Ok) => {}
            outcome => bail!("resuming at C ended with {outcome:?}"),
        }
    }
    Ok(())
}

fn a_few_ms() -> Duration {
    Duration::from_millis(fastrand::u64(..10))
}

fn moved_while_asleep(ground: &mut Ground) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B, A])?;
    let since = ground.now();
    ground.cluster.gateways[B].process.pause()?;
    let asleep = Instant::now();
    choose_and_move(&cast, ground)?;
    ground.sleep(Duration::from_millis(1500).saturating_sub(asleep.elapsed()));
    ground.cluster.gateways[B].process.resume()?;
    ground.sleep(LOOK_ON);
    let mut wrong = cast.differences(ground, &cast.vus())?;
    wrong.extend(told_wrongly(ground, since));
    Ok(wrong)
}

fn moved_at_once(ground: &mut Ground) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B, A])?;
    let since = ground.now();
    choose_and_move(&cast, ground)?;
    ground.sleep(LOOK_ON);
    let mut wrong = cast.differences(ground, &cast.vus())?;
    wrong.extend(told_wrongly(ground, since));
    Ok(wrong)
}

fn left_while_asleep(ground: &mut Ground) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B, A])?;
    ground.cluster.gateways[B].process.pause()?;
    let asleep = Instant::now();
    for vu in cast.at(B) {
        ground.tell(vu, Order::Leave(ROOM));
    }
    ground.sleep(Duration::from_millis(50));
    // At C each says once more that it leaves, by itself and when told.
    choose_and_move(&cast, ground)?;
    cast.do_at(ground, B, &Order::Leave(ROOM))?;
    ground.sleep(Duration::from_millis(1500).saturating_sub(asleep.elapsed()));
    ground.cluster.gateways[B].process.resume()?;
    ground.sleep(NEWS_TIME_MAX);
    for gateway in [B, A] {
        cast.do_at(ground, gateway, &Order::Goodbye)?;
    }
    empty(ground, &cast)
}

/// What is left of people who have all said goodbye; watchers go when nobody is shown any more.
fn empty(ground: &mut Ground, cast: &Cast) -> Result<Wrong> {
    let start = Instant::now();
    let mut wrong = cast.differences_after(ground, &BTreeSet::new(), EMPTY_TIME_MAX)?;
    ground.all_do(cast.watchers.iter().map(|vu| (*vu, Order::Goodbye)))?;
    loop {
        let mut left = ground.stored()?.left;
        if left.is_empty() {
            return Ok(wrong);
        }
        if start.elapsed() > EMPTY_TIME_MAX {
            left.truncate(SHOWN_MAX);
            wrong.push(format!(
                "Redis keeps what is of nobody: {}",
                left.join(", ")
            ));
            return Ok(wrong);
        }
        ground.sleep(Duration::from_secs(1));
    }
}

fn left_and_moved(ground: &mut Ground) -> Result<Wrong> {
    leave_and_move(
        ground,
        Duration::from_millis(200),
        Duration::from_millis(20),
    )
}

fn left_and_moved_near(ground: &mut Ground) -> Result<Wrong> {
    leave_and_move(ground, Duration::from_millis(20), Duration::from_millis(5))
}

/// Each session leaves, is answered, drops its connection and resumes elsewhere `pause` later, all at the same time.
fn leave_and_move(ground: &mut Ground, away: Duration, pause: Duration) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B])?;
    ground.network(Mode::Delay(away));
    ground.sleep(Duration::from_secs(2));
    let moves = cast.at(B).into_iter().map(|vu| {
        let handle = ground.clients[&vu].clone();
        ground.runtime.spawn(async move {
            let left = handle.ask(Order::Leave(ROOM)).await;
            handle.tell(Order::Vanish);
            tokio::time::sleep(pause).await;
            let came = handle.ask(Order::Connect(C, Resume::Yes)).await;
            (left, came)
        })
    });
    for moved in moves.collect::<Vec<_>>() {
        match ground.runtime.block_on(moved)? {
            (Ok(Outcome::Ok), Ok(Outcome::Ok)) => {}
            outcome => bail!("leaving and coming back ended with {outcome:?}"),
        }
    }
    // What was answered is so at once, allowing for the way of the news, and stays so.
    ground.sleep(NEWS_TIME_MAX + 2 * away);
    let at_once = cast.differences(ground, &BTreeSet::new())?;
    ground.sleep(LOOK_ON / 2);
    ground.network(Mode::Pass);
    let in_the_end = cast.differences_after(ground, &BTreeSet::new(), NEWS_TIME_MAX)?;
    let when = |when: &'static str| move |it: String| format!("{when} {it}");
    let at_once = at_once.into_iter().map(when("at once"));
    Ok(at_once
        .chain(in_the_end.into_iter().map(when("in the end")))
        .collect())
}

fn moved_without_store(ground: &mut Ground) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B])?;
    let since = ground.now();
    ground.network(Mode::Cut);
    ground.sleep(Duration::from_secs(2));
    // A client that gets a new session joins again by itself.
    cast.move_to(ground, B, C, Duration::from_millis(500))?;
    ground.sleep(Duration::from_secs(14));
    ground.network(Mode::Pass);
    ground.sleep(LOOK_ON);
    let mut wrong = cast.differences(ground, &cast.vus())?;
    wrong.extend(left_wrongly(ground, since));
    Ok(wrong)
}

/// The same as [`told_wrongly`], without joins: a gateway may hear of somebody for the first time while the store is away.
fn left_wrongly(ground: &Ground, since: At) -> Option<String> {
    let facts = ground.journal().facts();
    let left = facts.iter().filter_map(|(at, fact)| match fact {
        Fact::Left(vu, _, user, why) if *at >= since => {
            let at = at.saturating_sub(since).as_secs_f64();
            Some(format!("{at:.1} s by vu {}: {} ({why})", vu.0, user.name()))
        }
        _ => None,
    });
    let left: Vec<String> = left.collect();
    let first = left.first()?;
    Some(format!(
        "{} leaves were told of people who are here, such as after {first}",
        left.len()
    ))
}

fn moved_from_asleep(ground: &mut Ground) -> Result<Wrong> {
    let cast = Cast::gather(ground, &[B])?;
    let since = ground.now();
    // Half of them have lost their connection just before, so that their grace time runs out while it is asleep.
    for vu in cast.at(B).into_iter().step_by(2) {
        ground.tell(vu, Order::Vanish);
    }
    ground.sleep(Duration::from_millis(100));
    ground.cluster.gateways[B].process.pause()?;
    let asleep = Instant::now();
    ground.sleep(Duration::from_secs(1));
    cast.move_to(ground, B, C, Duration::ZERO)?;
    ground.sleep(Duration::from_millis(10_800).saturating_sub(asleep.elapsed()));
    ground.cluster.gateways[B].process.resume()?;
    ground.sleep(LOOK_ON / 2);
    let mut wrong = cast.differences(ground, &cast.vus())?;
    wrong.extend(told_wrongly(ground, since));
    Ok(wrong)
}
