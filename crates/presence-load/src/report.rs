//! The results: a table for people, JSON for programs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::args::{Args, Scenario};
use crate::machine::Machine;

/// One number of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

/// The results of one run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    metrics: Vec<Metric>,
    /// What was wrong; each sort of problem once.
    problems: Vec<String>,
}

impl Outcome {
    pub(crate) fn metric(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.metrics.push(Metric { name, unit, value });
    }

    /// Adds a number that cannot always be measured; `None` adds nothing.
    pub(crate) fn known(&mut self, name: &'static str, unit: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.metric(name, unit, value);
        }
    }

    /// Adds the median, the 99th percentile and the highest of `micros`, in ms.
    pub(crate) fn latency(&mut self, names: [&'static str; 3], mut micros: Vec<u64>) {
        micros.sort_unstable();
        let at = |share: f64| {
            let index = (micros.len() as f64 * share) as usize;
            let it = micros.get(index.min(micros.len().saturating_sub(1)));
            it.map(|it| *it as f64 / 1000.0)
        };
        self.known(names[0], "ms", at(0.5));
        self.known(names[1], "ms", at(0.99));
        self.known(names[2], "ms", at(1.0));
    }

    pub(crate) fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let metric = self.metrics.iter().find(|it| it.name == name);
        metric.map(|it| it.value)
    }
}

/// The results of all runs of one scenario.
#[derive(Debug)]
pub(crate) struct Report {
    args: Args,
    machine: Machine,
    runs: Vec<Outcome>,
}

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        Report {
            args: args.clone(),
            machine: Machine::here(),
            runs: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.runs.push(outcome);
    }

    /// Whether no run has found a problem.
    pub(crate) fn is_good(&self) -> bool {
        self.runs.iter().all(|it| it.problems.is_empty())
    }

    /// Prints the table of medians on stdout.
    pub(crate) fn print(&self) {
        println!("\n{}", self.headline());
        println!("  {}", self.machine);
        for (metric, median, low, high) in self.medians() {
            let spread = match self.runs.len() {
                1 => String::new(),
                _ => format!("  ({} to {})", number(low), number(high)),
            };
            let Metric { name, unit, .. } = metric;
            println!("  {name:<44} {:>12} {unit}{spread}", number(median));
        }
        const SHOWN_MAX: usize = 10;
        for run in &self.runs {
            for problem in run.problems.iter().take(SHOWN_MAX) {
                println!("  WRONG: {problem}");
            }
            if let Some(more) = run.problems.len().checked_sub(SHOWN_MAX + 1) {
                println!("  WRONG: {} things more", more + 1);
            }
        }
    }

    fn headline(&self) -> String {
        let Args {
            scenario,
            clients,
            seconds,
            protocol,
            seed,
            people,
            gateways,
            connections,
            changes,
            ..
        } = &self.args;
        let runs = self.runs.len();
        if *scenario == Scenario::Bigroom {
            return format!(
                "{scenario:?}: {people} people, {gateways} gateways with {connections} clients each, {changes} changes/s for {seconds} s, seed {seed}, {runs} runs",
            );
        }
        format!(
            "{scenario:?}: {clients} clients, {} rooms, {} changes/s for {seconds} s, {protocol:?}, seed {seed}, {} runs",
            self.args.rooms(),
            self.args.rate(),
            runs,
        )
    }

    /// Each metric with its median, lowest and highest value.
    fn medians(&self) -> Vec<(Metric, f64, f64, f64)> {
        let Some(first) = self.runs.first() else {
            return Vec::new();
        };
        let row = |metric: &Metric| {
            let values = self.runs.iter().filter_map(|it| it.value(metric.name));
            let mut values: Vec<f64> = values.collect();
            values.sort_by(f64::total_cmp);
            let (low, high) = (values[0], values[values.len() - 1]);
            (*metric, values[values.len() / 2], low, high)
        };
        first.metrics.iter().map(row).collect()
    }

    fn as_json(&self) -> Value {
        let medians = self.medians().into_iter();
        let medians = medians.map(|(metric, median, low, high)| {
            json!({"name": metric.name, "unit": metric.unit, "median": median, "lowest": low, "highest": high})
        });
        let runs = self.runs.iter().map(|run| {
            let metrics = run
                .metrics
                .iter()
                .map(|it| (it.name.to_owned(), json!(it.value)));
            json!({"metrics": metrics.collect::<serde_json::Map<_, _>>(), "problems": run.problems})
        });
        json!({
            "scenario": format!("{:?}", self.args.scenario).to_lowercase(),
            "config": {
                "url": self.args.url,
                "clients": self.args.clients,
                "rooms": self.args.rooms(),
                "members": self.args.members(),
                "rate": self.args.rate(),
                "seconds": self.args.seconds,
                "protocol": format!("{:?}", self.args.protocol).to_lowercase(),
                "people": self.args.people,
                "gateways": self.args.gateways,
                "connections": self.args.connections,
                "windows": self.args.windows,
                "changes": self.args.changes,
                "seed": self.args.seed,
                "runs": self.args.runs,
            },
            "machine": self.machine,
            "metrics": medians.collect::<Vec<_>>(),
            "runs": runs.collect::<Vec<_>>(),
            "good": self.is_good(),
        })
    }
}

/// Formats `value` with as many digits as are significant.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes all `reports` into `file`.
pub(crate) fn write(file: &Path, reports: &[Report]) -> Result<()> {
    let reports: Vec<Value> = reports.iter().map(Report::as_json).collect();
    let text = serde_json::to_string_pretty(&json!({ "reports": reports }))?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
