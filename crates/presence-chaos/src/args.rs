//! The arguments of the command line.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::random::play::Wish;
use crate::random::recipes::{RECIPES, Recipe};
use crate::scenarios::{SCENARIOS, Scenario};
use crate::stage::{RedisWanted, Wanted};

/// The scenarios to play, and the settings that hold for all of them.
pub(crate) struct Args {
    pub(crate) wanted: Wanted,
    pub(crate) tasks: Vec<Task>,
}

/// A scenario or a recipe to play.
#[derive(Clone)]
pub(crate) enum Task {
    Scenario(&'static Scenario),
    Recipe(&'static Recipe),
    /// The seed of so many after the first.
    Random(u64, Wish),
}

/// Every recipe, one after the other.
const ALL_RECIPES: &str = "recipes";

/// The help text, with the list of all scenarios and recipes.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "\
Breaks a cluster on purpose, and compares what people see with what is true.

  --short             small numbers and short times, without those marked *: three to four minutes in all
  --only NAME         one of those below, or its number in docs/faults.md; may be repeated
  --seed N            what random choices begin with; printed, so that a run can be repeated
  --gateways N        how many (3)
  --redis WHAT        cluster, sentinel, single, or none
  --people N          how many, if not the usual number of a scenario
  --times N           how often each recipe is played (1)
  --random            a plan of random operations and faults, computed from the seed, and nothing else
  --seconds S         how long that goes on (90), before everything has time to heal
  --seeds N           so many seeds, from that of --seed on (1)
  --skip 3,10-20      without these steps
  --replay FILE       the plan that a failed run has written, in place of that of a seed
  --gateway FILE      the gateway's program
  --folder DIR        where its logs go; what broke leaves them there

",
    );
    for it in SCENARIOS {
        let number = it.number.map_or(String::new(), |number| number.to_string());
        let mark = if it.is_short { ' ' } else { '*' };
        text += &format!("  {number:>2}{mark} {:<17} {}\n", it.name, it.about);
    }
    text += "
Recipes are on a single Redis with the default settings, and are played only where they are named:

";
    for it in RECIPES {
        text += &format!("      {:<17} {}\n", it.name, it.about);
    }
    text += &format!("      {ALL_RECIPES:<17} all of them\n");
    text
}

/// Reads it; `None` if only help is wanted.
///
/// # Errors
///
/// Says what makes no sense.
pub(crate) fn read(args: &[String]) -> Result<Option<Args>> {
    let mut wanted = Wanted {
        short: false,
        seed: fastrand::u64(..1_000_000),
        gateways: 3,
        redis: RedisWanted::Usual,
        binary: PathBuf::new(),
        folder: PathBuf::new(),
        people: None,
        times: 1,
    };
    let mut only = Vec::new();
    let mut is_random = false;
    let mut seeds = 1;
    let mut wish = Wish {
        seconds: 90,
        skip: BTreeSet::new(),
        replay: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let mut value = || {
            let value = value.clone().or_else(|| args.next().cloned());
            value.with_context(|| format!("{name} needs a value"))
        };
        match name {
            "--help" | "-h" => return Ok(None),
            "--short" => wanted.short = true,
            "--only" => only.extend(tasks(&value()?)?),
            "--times" => wanted.times = number(name, &value()?)?,
            "--seed" => wanted.seed = number(name, &value()?)?,
            "--gateways" => wanted.gateways = number(name, &value()?)?,
            "--people" => wanted.people = Some(number(name, &value()?)?),
            "--random" => is_random = true,
            "--seconds" => wish.seconds = number(name, &value()?)?,
            "--seeds" => seeds = number(name, &value()?)?,
            "--skip" => wish.skip = steps(&value()?)?,
            "--replay" => {
                wish.replay = Some(PathBuf::from(value()?));
                is_random = true;
            }
            "--gateway" => wanted.binary = std::path::absolute(value()?)?,
            "--folder" => wanted.folder = std::path::absolute(value()?)?,
            "--redis" => {
                wanted.redis = match value()?.as_str() {
                    "none" => RedisWanted::Without,
                    topology => RedisWanted::Of(topology.parse()?),
                };
            }
            other => bail!("`{other}` is not known:\n\n{}", help()),
        }
    }
    if wanted.binary.as_os_str().is_empty() || wanted.folder.as_os_str().is_empty() {
        bail!("--gateway and --folder are needed; `cargo xtask chaos` gives both");
    }
    if is_random {
        only = (0..seeds)
            .map(|seed| Task::Random(seed, wish.clone()))
            .collect();
    } else if only.is_empty() {
        let all = SCENARIOS.iter().filter(|it| it.is_short || !wanted.short);
        only.extend(all.map(Task::Scenario));
    }
    Ok(Some(Args {
        wanted,
        tasks: only,
    }))
}

fn tasks(name: &str) -> Result<Vec<Task>> {
    let is_it =
        |it: &&Scenario| it.name == name || it.number.is_some_and(|it| it.to_string() == name);
    if let Some(scenario) = SCENARIOS.iter().find(is_it) {
        return Ok(vec![Task::Scenario(scenario)]);
    }
    let recipes = RECIPES
        .iter()
        .filter(|it| it.name == name || name == ALL_RECIPES);
    let recipes: Vec<Task> = recipes.map(Task::Recipe).collect();
    if recipes.is_empty() {
        bail!("no scenario `{name}`:\n\n{}", help());
    }
    Ok(recipes)
}

/// Numbers and ranges of them: `3,10-20`.
fn steps(text: &str) -> Result<BTreeSet<usize>> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(number::<usize>("--skip", first)?..=number("--skip", last)?);
    }
    Ok(all)
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
    let number = value.parse().ok();
    number.with_context(|| format!("{name} is `{value}`; a number would do"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_found_by_its_name_and_by_its_number() {
        let args =
            read_line("--gateway g --folder f --short --only 16 --only=herd --seed 7").unwrap();
        assert_eq!(names(&args), ["rolling-restart", "herd"]);
        assert!(args.wanted.short);
        assert_eq!(args.wanted.seed, 7);
    }

    #[test]
    fn without_a_name_all_are_run() {
        let args = read_line("--gateway g --folder f").unwrap();
        assert_eq!(args.tasks.len(), SCENARIOS.len());
    }

    #[test]
    fn recipes_are_played_where_they_are_named() {
        let args = read_line("--gateway g --folder f --only recipe-1 --times 20").unwrap();
        assert_eq!(names(&args), ["recipe-1"]);
        assert_eq!(args.wanted.times, 20);
        let args = read_line("--gateway g --folder f --only recipes").unwrap();
        assert_eq!(args.tasks.len(), RECIPES.len());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (args, expected) in [
            ("--only earthquake", "no scenario `earthquake`"),
            ("--seed", "--seed needs a value"),
            ("--people x", "--people is `x`; a number would do"),
            ("--short", "--gateway and --folder are needed"),
        ] {
            let error = read_line(args).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn names_and_numbers_are_unique() {
        for (index, it) in SCENARIOS.iter().enumerate() {
            for other in &SCENARIOS[index + 1..] {
                assert_ne!(it.name, other.name);
                assert!(
                    it.number.is_none() || it.number != other.number,
                    "{:?}",
                    it.number
                );
            }
        }
    }

    #[test]
    fn a_plan_that_is_played_again_is_a_random_run() {
        let args = read_line("--gateway g --folder f --replay plan.json").unwrap();
        assert_eq!(names(&args), ["random"]);
    }

    #[test]
    fn every_scenario_and_recipe_is_on_the_page_of_faults() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/faults.md"));
        let names = SCENARIOS.iter().map(|it| (it.number, it.name));
        for (number, name) in names.chain(RECIPES.iter().map(|it| (None, it.name))) {
            let row = number.map_or(String::new(), |number| format!("| {number} |"));
            let is_there =
                |line: &str| line.starts_with(&row) && line.contains(&format!("`{name}`"));
            assert!(
                page.lines().any(is_there),
                "{name} is not in docs/faults.md"
            );
        }
    }

    #[test]
    fn a_random_run_may_leave_steps_out_and_have_several_seeds() {
        let args = read_line(
            "--gateway g --folder f --random --seed 5 --seeds 2 --seconds=30 --skip 3,7-9",
        )
        .unwrap();
        assert_eq!(names(&args), ["random", "random"]);
        let Task::Random(1, wish) = &args.tasks[1] else {
            panic!("no second seed");
        };
        assert_eq!(wish.seconds, 30);
        assert_eq!(wish.skip, BTreeSet::from([3, 7, 8, 9]));
        assert!(read_line("--gateway g --folder f --random --skip x").is_err());
    }

    fn names(args: &Args) -> Vec<&'static str> {
        let name = |task: &Task| match task {
            Task::Scenario(it) => it.name,
            Task::Recipe(it) => it.name,
            Task::Random(..) => "random",
        };
        args.tasks.iter().map(name).collect()
    }

    fn read_line(line: &str) -> Result<Args> {
        let args: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Ok(read(&args)?.unwrap())
    }
}
