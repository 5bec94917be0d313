//! What people chose outlives everything: their database while it is away or slow, gateways that die between two writes,
//! and the end of everything at once.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use presence_client::wire::event::UserStatus;
use presence_client::wire::{Chosen, Command, Event, Field, command};
use presence_client::{Client, Options};
use presence_testkit::cluster::Part;
use presence_testkit::proxy::Mode;
use presence_testkit::wait;
use tokio::task::JoinSet;

use super::{HEALED, p99_max};
use crate::crowd::{Plan, statuses};
use crate::report::Figure;
use crate::stage::Stage;
use crate::virtual_user::{Afterwards, Order, Role, VirtualUser};

/// Changes of a status in a second.
const CHANGES: u32 = 200;

/// How long one may take to be acknowledged, whatever the database does, and a tick of the crowd's clock; or twice what it
/// takes in quiet times, where the machine is slower than that.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(500);

/// How much later each of a question and its answer arrives while the database is slow.
const SLOW: Duration = Duration::from_secs(1);

/// How soon everything is saved once the database is back, and how soon after that nothing waits any more.
const FLUSHED_WITHIN: Duration = Duration::from_secs(10);
/// How soon after everything is saved nothing waits any more, in quiet times: a round of settling, and a little. How fast a
/// database saves is not ours, and depends on what else the machine does.
const EMPTY_WITHIN: Duration = Duration::from_secs(8);

/// What a dead node began is finished by another this soon: a lease, what a sweeper leaves to its owner, and a round.
const FINISHED_WITHIN: Duration = Duration::from_secs(60);

/// When it is given up that everything is saved.
const SAVED_TIME_MAX: Duration = Duration::from_secs(60);

/// How many people are let in at once where everybody comes only to say something.
const DOORS: usize = 32;

/// 8: presence untouched; writes coalesced, one row per user at most; flushed <= 10 s after.
pub(super) fn away(stage: &mut Stage) -> Result<()> {
    let plan = stage.wanted.plan(300, 1000);
    let crowd = stage.gather(&plan)?;
    let since = crowd.now();
    let groups = (plan.people / CHANGES).max(1);
    let mut round = 0;
    // The slowest acknowledgement of so many seconds of changes.
    let mut change_for = |seconds: u64| -> Result<f64> {
        let mut slowest = Duration::ZERO;
        for _ in 0..seconds {
            round += 1;
            let begun = Instant::now();
            let who = |vu: &VirtualUser| is_group(vu, groups, round);
            crowd.say(who, &round.to_string(), Duration::from_secs(10))?;
            slowest = slowest.max(begun.elapsed());
            crowd.sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        }
        Ok(slowest.as_secs_f64() * 1000.0)
    };
    let quiet = change_for(stage.wanted.pick(3, 10))?;
    stage.database()?.network.set(Mode::Delay(SLOW));
    let slow = change_for(stage.wanted.pick(5, 30))?;
    stage.database()?.server.process.kill()?;
    let stopped = change_for(stage.wanted.pick(5, 120))?;
    let waiting = stage.redis()?.rows("profiles")?;

    stage.database()?.network.set(Mode::Pass);
    stage.database()?.server.start_again()?;
    let healed = crowd.now();
    let saved = wait_until_all_is_saved(stage)?;
    let empty = wait_until_nothing_waits(stage, Duration::from_secs(60))?;
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, healed, "the database was back", HEALED);
    stage.judge_silence(&crowd, &findings, since);
    stage.judge_losses(&crowd, since, &[]);
    stage.interest("slowest acknowledgement, quiet", quiet, "ms");
    let most = p99_max(stage, quiet).max(ACKNOWLEDGED_WITHIN.as_secs_f64() * 1000.0);
    for (what, took) in [
        ("slowest acknowledgement, database slow", slow),
        ("slowest acknowledgement, database away", stopped),
    ] {
        stage.add(Figure::at_most("I8", what, took, "ms", most));
    }
    let people = f64::from(plan.people);
    let what = "rows that waited, of as many people";
    stage.add(Figure::at_most("I7", what, waiting as f64, "", people));
    let (took, most) = (saved.as_secs_f64(), FLUSHED_WITHIN.as_secs_f64());
    stage.add(Figure::at_most("I6", "all is saved after", took, "s", most));
    let what = "nothing waits any more after that";
    let took = empty.as_secs_f64();
    stage.add(Figure::at_most("I6", what, took, "s", most));
    stage.judge_memory_of(&crowd, 0);
    Ok(())
}

/// A gateway dies between its write to Redis and the one to the database, again and again: nothing is lost, and nothing
/// older overwrites anything newer.
pub(super) fn killed_between(stage: &mut Stage) -> Result<()> {
    stage.needs(2)?;
    let mut plan = stage.wanted.plan(60, 300);
    plan.afterwards = Afterwards::ComeBack(Duration::from_millis(300));
    plan.second_device_of = 0;
    let crowd = stage.gather(&plan)?;
    let gateways = stage.cluster.gateways.len();
    let kills = stage.wanted.pick(8, 100);
    let mut random = fastrand::Rng::with_seed(stage.wanted.seed);
    for round in 1..=kills {
        crowd.order(is_person, &Order::Say(round.to_string()));
        // What nobody waits for lingers for half a second on its way to the database.
        crowd.sleep(Duration::from_millis(random.u64(..800)));
        let victim = random.usize(..gateways);
        crowd.dies(victim, true);
        stage.cluster.gateways[victim].process.kill()?;
        stage.cluster.start_again(Part::Gateway(victim))?;
        crowd.dies(victim, false);
        crowd.wait_until_all_are_here(Duration::from_secs(20))?;
    }
    stage.interest("gateways killed", f64::from(kills), "");
    let took = wait_until_nothing_waits(stage, Duration::from_secs(120))?;
    let what = "nothing waits any more after";
    let (took, most) = (took.as_secs_f64(), FINISHED_WITHIN.as_secs_f64());
    stage.add(Figure::at_most("I6", what, took, "s", most));

    // From here on it is the database that remembers.
    end_everything(stage)?;
    begin_again(stage)?;
    // A message is the number of its round; one that was not acknowledged may be there all the same.
    let round = |words: &str| words.parse::<u32>().unwrap_or(0);
    let older = crowd.lost(0, |shown, said| round(shown) < round(said))?;
    let figure = Figure::never("I6", "acknowledged status messages lost", older.len());
    stage.add(figure.such_as(older.into_iter().take(5).collect::<Vec<_>>().join(", ")));
    Ok(())
}

/// Everything is killed, Redis forgets, and what people chose is there: with its end, unless that has passed.
pub(super) fn everything_killed(stage: &mut Stage) -> Result<()> {
    let count = stage.wanted.people.unwrap_or(stage.wanted.pick(300, 2000));
    let passes = Duration::from_secs(stage.wanted.pick(8, 20));
    let nobody = Plan {
        people: 0,
        ..stage.wanted.plan(0, 0)
    };
    let crowd = stage.gather(&nobody)?;
    let urls = urls(stage);
    let begun = Instant::now();
    let until = begun + passes;
    crowd.run(everybody(count, |number| {
        let url = urls[number as usize % urls.len()].clone();
        choose(url, number, passes)
    }))?;
    stage.interest("people who chose", f64::from(count), "");
    let saved = wait_until_all_is_saved(stage)?;
    stage.interest("all is saved after", saved.as_secs_f64(), "s");
    let took = wait_until_nothing_waits(stage, Duration::from_secs(60))?;
    let what = "nothing waits any more after that";
    let (took, most) = (took.as_secs_f64(), EMPTY_WITHIN.as_secs_f64());
    stage.add(Figure::at_most("I6", what, took, "s", most));

    end_everything(stage)?;
    stage.database()?.server.process.kill()?;
    crowd.sleep(until.saturating_duration_since(Instant::now()));
    begin_again(stage)?;

    let url = urls.last().context("there is no gateway")?;
    let names: Vec<String> = (0..count).map(name).collect();
    let shown = crowd.run(statuses(url, &names))?;
    let wrong: Vec<_> = (0..count)
        .filter_map(|number| why_wrong(number, shown.get(&name(number))))
        .collect();
    let figure = Figure::never("I6", "acknowledged choices lost or wrong", wrong.len());
    stage.add(figure.such_as(wrong.into_iter().take(5).collect::<Vec<_>>().join(", ")));
    let ends = crowd.run(everybody(count, |number| end_of(url.clone(), number)))?;
    let wrong = ends.into_iter().flatten().collect::<Vec<_>>();
    let figure = Figure::never("I6", "ends of a status lost or wrong", wrong.len());
    stage.add(figure.such_as(wrong.into_iter().take(5).collect::<Vec<_>>().join(", ")));
    Ok(())
}

fn is_person(vu: &VirtualUser) -> bool {
    matches!(vu.role, Role::Person(_)) && vu.device_id.starts_with("web")
}

/// The people whose turn it is in this round.
fn is_group(vu: &VirtualUser, groups: u32, round: u32) -> bool {
    match vu.role {
        Role::Person(user) => is_person(vu) && user.0 % groups == round % groups,
        Role::Hidden(_) | Role::Watcher(_) => false,
    }
}

/// Waits until no gateway has anything unsaved, and says how long that took.
fn wait_until_all_is_saved(stage: &Stage) -> Result<Duration> {
    let begun = Instant::now();
    wait::until_true(SAVED_TIME_MAX, "everything is saved", || {
        let mut gateways = stage.cluster.gateways.iter();
        gateways.all(|it| it.health().is_ok_and(|it| it["store"]["unsaved"] == 0))
    })?;
    Ok(begun.elapsed())
}

/// Waits until no row of the outbox is left, and says how long that took.
fn wait_until_nothing_waits(stage: &mut Stage, limit: Duration) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let rows = stage.redis()?.rows("profiles")?;
        if rows == 0 {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > limit {
            bail!("{rows} profiles still wait for the database after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kills all gateways, and all of Redis, which keeps nothing.
fn end_everything(stage: &mut Stage) -> Result<()> {
    for gateway in 0..stage.cluster.gateways.len() {
        stage.cluster.gateways[gateway].process.kill()?;
    }
    for part in redis_of(stage) {
        stage.cluster.process_mut(part).kill()?;
    }
    Ok(())
}

/// Starts Redis, the database and the gateways again.
fn begin_again(stage: &mut Stage) -> Result<()> {
    for part in redis_of(stage) {
        stage.cluster.process_mut(part).start_again()?;
    }
    stage.redis()?.wait_ready()?;
    let database = stage.database()?;
    if database.server.process.id().is_none() {
        database.server.start_again()?;
    }
    for gateway in 0..stage.cluster.gateways.len() {
        stage.cluster.start_again(Part::Gateway(gateway))?;
    }
    Ok(())
}

fn redis_of(stage: &Stage) -> Vec<Part> {
    let parts = stage.cluster.parts().into_iter();
    parts
        .filter(|it| matches!(it, Part::Redis(_) | Part::Sentinel(_)))
        .collect()
}

fn urls(stage: &Stage) -> Vec<String> {
    let gateways = stage.cluster.gateways.iter();
    gateways
        .map(|it| format!("ws://{}/ws", it.address()))
        .collect()
}

fn name(number: u32) -> String {
    format!("chooser{number}")
}

/// What a person chooses, by their number: all different words, and of four one without an end, one with an end that is
/// far, one whose end passes while everything is dead, and one who is busy.
struct Choice {
    chosen: Chosen,
    words: String,
    ends: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Far,
    Passes,
}

/// A time that is longer than any run.
const FAR: Duration = Duration::from_secs(3600);

fn choice(number: u32) -> Choice {
    let (chosen, ends) = match number % 4 {
        0 => (Chosen::Online, None),
        1 => (Chosen::Away, Some(End::Far)),
        2 => (Chosen::Busy, Some(End::Passes)),
        _ => (Chosen::Busy, None),
    };
    let words = format!("words of {number}");
    Choice {
        chosen,
        words,
        ends,
    }
}

/// Does something for each of so many people, some of them at once.
async fn everybody<T, F>(count: u32, work: impl Fn(u32) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    let mut done = Vec::new();
    for number in 0..count {
        if under_way.len() == DOORS
            && let Some(one) = under_way.join_next().await
        {
            done.push(one??);
        }
        under_way.spawn(work(number));
    }
    while let Some(one) = under_way.join_next().await {
        done.push(one??);
    }
    Ok(done)
}

/// Comes, chooses, and goes once that is acknowledged.
async fn choose(url: String, number: u32, passes: Duration) -> Result<()> {
    let choice = choice(number);
    let mut client = Client::connect(&Options::user(&url, &name(number))).await?;
    let ends = |end| match end {
        End::Far => FAR.as_secs(),
        End::Passes => passes.as_secs(),
    };
    let command = Command::Status(command::Status {
        ref_: None,
        status: Field::Value(choice.chosen),
        custom_message: Field::Value(choice.words),
        emoji: Field::Value("🎯".to_owned()),
        clear_after: choice
            .ends
            .map_or(Field::Absent, |it| Field::Value(ends(it))),
        expires_at: Field::Absent,
    });
    let answer = client.request(command).await;
    answer.map_err(|error| anyhow!("{} cannot choose: {error}", name(number)))?;
    client.close().await;
    Ok(())
}

/// What is wrong with how others see a person who chose and went.
fn why_wrong(number: u32, shown: Option<&UserStatus>) -> Option<String> {
    let choice = choice(number);
    let is_over = choice.ends == Some(End::Passes);
    let words = (!is_over).then_some(choice.words);
    let name = name(number);
    let Some(shown) = shown else {
        return Some(format!("{name} is not known"));
    };
    if shown.custom_message.as_deref() != words.as_deref() {
        return Some(format!("{name} says {:?}", shown.custom_message));
    }
    if shown.emoji.is_some() == is_over {
        return Some(format!("{name} has {:?}", shown.emoji));
    }
    let was_never_seen = shown.last_seen.is_none();
    was_never_seen.then(|| format!("{name} was never seen"))
}

/// What is wrong with how a person who comes back sees themselves.
async fn end_of(url: String, number: u32) -> Result<Option<String>> {
    let (choice, name) = (choice(number), name(number));
    let mut client = Client::connect(&Options::user(&url, &name)).await?;
    let own = loop {
        match client.next().await {
            Some(Event::Own(own)) => break own,
            Some(_) => {}
            None => bail!("{name} was told nothing of themselves"),
        }
    };
    client.close().await;
    let is_over = choice.ends == Some(End::Passes);
    let chosen = if is_over {
        Chosen::Online
    } else {
        choice.chosen
    };
    let has_end = choice.ends == Some(End::Far);
    let is_right = own.status == chosen && own.expires_at.is_some() == has_end;
    Ok((!is_right).then(|| format!("{name}: {own:?}")))
}
