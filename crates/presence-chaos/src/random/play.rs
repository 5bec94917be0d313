//! Plays a plan, waits until everything has had time to heal, and has it checked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use presence_testkit::redis::Topology;

use super::checks::{Kind, Violation, check};
use super::clients::{Handle, Order, Resume};
use super::faults::Broken;
use super::ground::Ground;
use super::journal::{Fact, Room, UserId};
use super::plan::{Act, Deed, Plan};
use super::truth::Users;
use super::web;
use super::windows::LAPSED_MAX;
use crate::stage::Wanted;

/// What a random run is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// How long clients do things and faults happen.
    pub(crate) seconds: u64,
    /// The numbers of the steps that are left out.
    pub(crate) skip: BTreeSet<usize>,
    /// A plan that was written before, in place of that of the seed.
    pub(crate) replay: Option<PathBuf>,
}

/// How often each gateway is asked over HTTP who is in each room.
const LIST_EVERY: Duration = Duration::from_secs(2);

/// About how many users each gateway is asked then.
const USERS_AT_ONCE: usize = 4;

/// After the last step everything has time to heal, and what is wrong then is wrong for good: a lease that lapses, and a
/// connection that hangs.
const SETTLE: Duration = LAPSED_MAX.saturating_add(Duration::from_secs(8));

/// How often to look whether the machine lets us run, and what counts as not doing so.
const TICK: Duration = Duration::from_millis(100);
const STALL_MIN: Duration = Duration::from_millis(700);

/// How soon Redis is empty after everybody has left.
const EMPTY_MAX: Duration = Duration::from_secs(60);

/// How many violations are printed.
const SHOWN_MAX: usize = 40;

/// Where the plan and the journal of a run are written.
const PLAN_FILE: &str = "plan.json";
const JOURNAL_FILE: &str = "journal";

/// Plays the plan of the seed, prints what was wrong, and says how much that was.
///
/// # Errors
///
/// It could not be played.
pub(crate) fn play(wanted: &Wanted, wish: &Wish) -> Result<usize> {
    let topology = wanted.redis.or(Topology::Single);
    let topology = topology.context("a random run needs Redis")?;
    let plan = match &wish.replay {
        None => Plan::of(wanted.seed, wish.seconds, wanted.gateways, topology),
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no plan", file.display()))?
        }
    };
    let plan = plan.without(&wish.skip);
    let users: Users = plan
        .vus
        .iter()
        .map(|it| (it.vu, (it.user, it.dialect)))
        .collect();
    let name = format!("random-{}", plan.seed);
    let all = plan.users().into_iter().collect();
    let mut ground = Ground::open(wanted, &name, plan.gateways, Some(topology), all)?;
    println!(
        "\n=== random, seed {}: {} clients, {} steps in {} s, Redis {topology}",
        plan.seed,
        plan.vus.len(),
        plan.steps.len(),
        plan.seconds
    );
    let played = run(&mut ground, &plan);
    let mut found = Vec::new();
    let outcome = played.and_then(|()| {
        let facts = ground.journal().facts().clone();
        found = check(&users, &facts, ground.now());
        found.extend(empty(&mut ground)?);
        Ok(())
    });
    // A gateway that ends badly is told after what is known by then.
    let stopped = ground.stop();
    for panic in stopped.iter().flatten() {
        found.push(Violation {
            at: ground.now(),
            kind: Kind::Panic,
            what: panic.clone(),
        });
    }
    show(&found);
    if !found.is_empty() || outcome.is_err() || stopped.is_err() {
        keep(&mut ground, &plan, &found)?;
    }
    outcome.and(stopped)?;
    Ok(found.len())
}

fn run(ground: &mut Ground, plan: &Plan) -> Result<()> {
    for place in &plan.vus {
        ground.add(place.vu());
    }
    let rooms = plan.rooms();
    ground.watch(&rooms)?;
    let connect = plan
        .vus
        .iter()
        .map(|it| (it.vu, Order::Connect(it.gateway, Resume::No)));
    ground.all_do(connect)?;
    let join = plan
        .vus
        .iter()
        .flat_map(|it| it.rooms.iter().map(|room| (it.vu, Order::Join(*room))));
    ground.all_do(join)?;
    let asking = Asking::start(ground, &rooms);
    let mut broken = Broken::default();
    let start = Instant::now();
    for step in &plan.steps {
        let due = Duration::from_millis(step.at_ms);
        ground.sleep(due.saturating_sub(start.elapsed()));
        match &step.act {
            Act::Do(vu, deed) => {
                let words = format!("{}: vu {} {deed:?}", step.number, vu.0);
                ground.journal().note(Fact::Step(words));
                let handle = ground.clients[vu].clone();
                ground.runtime.spawn(perform(handle, deed.clone()));
            }
            Act::Break(number, kind) => {
                ground
                    .journal()
                    .note(Fact::Step(format!("{}: {kind}", step.number)));
                ground.journal().note(Fact::Broken(*number, kind.clone()));
                broken
                    .break_it(ground, kind)
                    .with_context(|| kind.to_string())?;
            }
            Act::Mend(number, kind) => {
                ground
                    .journal()
                    .note(Fact::Step(format!("{}: mended: {kind}", step.number)));
                broken
                    .mend(ground, kind)
                    .with_context(|| format!("mending: {kind}"))?;
                ground.journal().note(Fact::Mended(*number));
            }
        }
    }
    ground.sleep(SETTLE);
    store(ground)?;
    drop(asking);
    Ok(())
}

/// Makes a client do one deed of the plan.
async fn perform(client: Handle, deed: Deed) {
    let away = |ms: u64| tokio::time::sleep(Duration::from_millis(ms));
    match deed {
        Deed::Join(room) => client.tell(Order::Join(room)),
        Deed::Leave(room) => client.tell(Order::Leave(room)),
        Deed::LeaveAndMove(room, gateway, ms) => {
            let _ = client.ask(Order::Leave(room)).await;
            client.tell(Order::Vanish);
            away(ms).await;
            client.tell(Order::Connect(gateway, Resume::Yes));
        }
        Deed::Choose(choice) => client.tell(Order::Choose(choice)),
        Deed::ChooseAndMove(choice, gateway, ms) => {
            client.tell(Order::Choose(choice));
            away(ms).await;
            client.tell(Order::Connect(gateway, Resume::Yes));
        }
        Deed::Type(room) => client.tell(Order::Type(room)),
        Deed::Move(gateway, resume, ms) => {
            client.tell(Order::Vanish);
            away(ms).await;
            client.tell(Order::Connect(gateway, resume));
        }
        Deed::Hang(gateway, ms) => {
            client.tell(Order::HalfOpen);
            away(ms).await;
            client.tell(Order::Connect(gateway, Resume::Yes));
        }
        Deed::Flap(gateways) => {
            for gateway in gateways {
                client.tell(Order::Connect(gateway, Resume::Yes));
                away(50).await;
            }
        }
        Deed::Goodbye(gateway, ms, rooms) => {
            client.tell(Order::Goodbye);
            away(ms).await;
            client.tell(Order::Connect(gateway, Resume::No));
            for room in rooms {
                client.tell(Order::Join(room));
            }
        }
    }
}

/// Adds to the journal what Redis holds now.
fn store(ground: &mut Ground) -> Result<()> {
    let asked = ground.now();
    let stored = ground.stored()?;
    for (room, marks) in stored.rooms {
        ground.journal().note(Fact::Stored(room, asked, marks));
    }
    Ok(())
}

/// Everybody says goodbye; says what Redis keeps of them.
fn empty(ground: &mut Ground) -> Result<Vec<Violation>> {
    ground.ask_all(
        ground
            .clients
            .keys()
            .map(|vu| (*vu, Order::Goodbye))
            .collect::<Vec<_>>(),
    );
    let start = Instant::now();
    loop {
        let left = ground.stored()?.left;
        if left.is_empty() {
            return Ok(Vec::new());
        }
        if start.elapsed() > EMPTY_MAX {
            let at = ground.now();
            let left = left.into_iter().map(|what| Violation {
                at,
                kind: Kind::Leftover,
                what,
            });
            return Ok(left.collect());
        }
        ground.sleep(Duration::from_secs(1));
    }
}

fn show(found: &[Violation]) {
    for violation in found.iter().take(SHOWN_MAX) {
        println!("  {violation}");
    }
    if found.len() > SHOWN_MAX {
        println!("  and {} more", found.len() - SHOWN_MAX);
    }
}

/// Leaves everything there that tells what happened, and says how to see it again.
fn keep(ground: &mut Ground, plan: &Plan, found: &[Violation]) -> Result<()> {
    let folder = ground.folder.path();
    std::fs::write(folder.join(PLAN_FILE), serde_json::to_string_pretty(plan)?)?;
    let mut text = String::new();
    for (at, fact) in ground.journal().facts().iter() {
        text += &format!("{:>9.3}  {fact:?}\n", at.as_secs_f64());
    }
    for violation in found {
        text += &format!("{violation}\n");
    }
    std::fs::write(folder.join(JOURNAL_FILE), text)?;
    let folder = folder.display();
    println!(
        "  the journal, the plan and the logs are in {folder}; --replay {folder}/{PLAN_FILE} plays it again,"
    );
    println!("  and with --skip 3,10-20 it does so without those steps");
    ground.folder.keep();
    Ok(())
}

/// Beside the run: asks every gateway over HTTP who is in each room, and notes when the machine stood still.
struct Asking {
    is_over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Asking {
    fn start(ground: &Ground, rooms: &[Room]) -> Asking {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let shared = ground.shared.clone();
        let gateways: Vec<_> = (0..ground.cluster.gateways.len())
            .map(|it| ground.address(it))
            .collect();
        let rooms = rooms.to_vec();
        let asks = thread::spawn(move || {
            let mut users = shared.users.iter().copied().cycle();
            while !over.load(Ordering::Relaxed) {
                let some: Vec<UserId> = users.by_ref().take(USERS_AT_ONCE).collect();
                for (number, address) in gateways.iter().enumerate() {
                    for room in &rooms {
                        let asked = shared.journal.now();
                        // One that is dead or asleep does not answer, and that is not what this is about.
                        let Ok(people) = web::list(*address, *room) else {
                            break;
                        };
                        shared
                            .journal
                            .note(Fact::Listed(number, *room, asked, people));
                    }
                    for user in &some {
                        let asked = shared.journal.now();
                        let Ok(look) = web::status(*address, *user) else {
                            break;
                        };
                        shared.journal.note(Fact::Told(number, *user, asked, look));
                    }
                }
                thread::sleep(LIST_EVERY);
            }
        });
        let (shared, over) = (ground.shared.clone(), is_over.clone());
        let looks = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                thread::sleep(TICK);
                let late = start.elapsed().saturating_sub(TICK);
                if late >= STALL_MIN {
                    shared.journal.note(Fact::Stalled(late));
                }
            }
        });
        Asking {
            is_over,
            threads: vec![asks, looks],
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It ends by itself, and a panic of it has been printed.
            let _ = thread.join();
        }
    }
}
