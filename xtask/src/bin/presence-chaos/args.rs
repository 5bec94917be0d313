//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use xtask::redis::Topology;

use crate::scenarios::{SCENARIOS, Scenario};
use crate::stage::Wanted;

/// What is to be done.
pub(crate) struct Args {
    pub(crate) wanted: Wanted,
    pub(crate) scenarios: Vec<&'static Scenario>,
}

/// What the command line knows.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "\
Breaks a cluster on purpose, and compares what people see with what is true.

  --short             small numbers and short times, without those marked *: three to four minutes in all
  --only NAME         one of those below, or its number in faults.md; may be repeated
  --seed N            what random choices begin with; printed, so that a run can be repeated
  --gateways N        how many (3)
  --redis WHAT        cluster, sentinel, single, or none
  --people N          how many, if not the usual number of a scenario
  --gateway FILE      the gateway's program
  --folder DIR        where its logs go; what broke leaves them there

",
    );
    for it in SCENARIOS {
        let number = it.number.map_or(String::new(), |number| number.to_string());
        let mark = if it.is_short { ' ' } else { '*' };
        text += &format!("  {number:>2}{mark} {:<17} {}\n", it.name, it.about);
    }
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
        redis: Some(Topology::Cluster),
        binary: PathBuf::new(),
        folder: PathBuf::new(),
        people: None,
    };
    let mut only = Vec::new();
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
            "--only" => only.push(scenario(&value()?)?),
            "--seed" => wanted.seed = number(name, &value()?)?,
            "--gateways" => wanted.gateways = number(name, &value()?)?,
            "--people" => wanted.people = Some(number(name, &value()?)?),
            "--gateway" => wanted.binary = std::path::absolute(value()?)?,
            "--folder" => wanted.folder = std::path::absolute(value()?)?,
            "--redis" => {
                wanted.redis = match value()?.as_str() {
                    "none" => None,
                    topology => Some(topology.parse()?),
                };
            }
            other => bail!("`{other}` is not known:\n\n{}", help()),
        }
    }
    if wanted.binary.as_os_str().is_empty() || wanted.folder.as_os_str().is_empty() {
        bail!("--gateway and --folder are needed; `cargo xtask chaos` gives both");
    }
    if only.is_empty() {
        only.extend(SCENARIOS.iter().filter(|it| it.is_short || !wanted.short));
    }
    Ok(Some(Args {
        wanted,
        scenarios: only,
    }))
}

fn scenario(name: &str) -> Result<&'static Scenario> {
    let is_it =
        |it: &&Scenario| it.name == name || it.number.is_some_and(|it| it.to_string() == name);
    let found = SCENARIOS.iter().find(is_it);
    found.with_context(|| format!("no scenario `{name}`:\n\n{}", help()))
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
        let names: Vec<_> = args.scenarios.iter().map(|it| it.name).collect();
        assert_eq!(names, ["rolling-restart", "herd"]);
        assert!(args.wanted.short);
        assert_eq!(args.wanted.seed, 7);
    }

    #[test]
    fn without_a_name_all_are_run() {
        let args = read_line("--gateway g --folder f").unwrap();
        assert_eq!(args.scenarios.len(), SCENARIOS.len());
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

    fn read_line(line: &str) -> Result<Args> {
        let args: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Ok(read(&args)?.unwrap())
    }
}
