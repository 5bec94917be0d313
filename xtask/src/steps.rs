//! The steps of `cargo xtask test`, in the order they run.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use presence_testkit::mongo::MongoProgram;
use presence_testkit::run::{cargo, run, run_within};
use presence_testkit::tools;
use presence_testkit::workspace::Workspace;

use crate::{chaos, checks, layers, links, load, web};

/// One part of the gate.
pub(crate) struct Step {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What it checks, in a line.
    pub(crate) about: &'static str,
    /// Whether `--quick` runs it too.
    pub(crate) quick: bool,
    /// Runs it; the flag says whether this is a quick run.
    pub(crate) run: fn(&Workspace, bool) -> Result<()>,
}

/// The whole gate: cheap and telling first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "the code is formatted",
        quick: true,
        run: fmt,
    },
    Step {
        name: "deps",
        about: "crates depend downwards only, links in the docs lead somewhere",
        quick: true,
        run: deps,
    },
    Step {
        name: "lint",
        about: "clippy has nothing to say",
        quick: true,
        run: lint,
    },
    Step {
        name: "docs",
        about: "the API documentation builds without a warning",
        quick: false,
        run: docs,
    },
    Step {
        name: "unit",
        about: "all Rust tests, doc tests included",
        quick: true,
        run: unit,
    },
    Step {
        name: "web",
        about: "the packages for browsers: their tests, and whether what is served is made of them",
        quick: false,
        run: web::check,
    },
    Step {
        name: "deploy",
        about: "what deploys it fits its schemas, the gateway and itself",
        quick: false,
        run: checks::deploy,
    },
    Step {
        name: "contract",
        about: "the HTTP API answers as its OpenAPI document says, whatever it is asked",
        quick: false,
        run: checks::contract,
    },
    Step {
        name: "browser",
        about: "pages in a real browser against a real gateway",
        quick: false,
        run: browser,
    },
    Step {
        name: "stock",
        about: "the published clients of other servers against a real gateway",
        quick: false,
        run: stock,
    },
    Step {
        name: "load",
        about: "a small load run against a release gateway",
        quick: false,
        run: load,
    },
    Step {
        name: "chaos",
        about: "a small cluster that is being broken, and what people see meanwhile",
        quick: false,
        run: chaos,
    },
];

/// What the `chaos` step asks of presence-chaos: the same every time.
/// These eight take about three minutes; `cargo xtask chaos --short` plays all.
const CHAOS_SMOKE: &[&str] = &[
    "--short",
    "--seed",
    "1",
    "--only",
    "2",
    "--only",
    "3",
    "--only",
    "5",
    "--only",
    "8",
    "--only",
    "16",
    "--only",
    "22",
    "--only",
    "killed-between",
    "--only",
    "all-killed",
];

/// The random run of the `chaos` step, which takes about three minutes.
const CHAOS_RANDOM: &[&str] = &["--random", "--seed", "1", "--seconds", "90"];

/// Whether the step plays it: once the cluster passes it.
const PLAYS_RANDOM: bool = false;

/// What the `load` step asks of presence-load.
const LOAD_SMOKE: &[&str] = &["smoke"];

/// Browser tests or a small load run that take longer hang.
const TIME_MAX: Duration = Duration::from_secs(600);

fn fmt(workspace: &Workspace, _: bool) -> Result<()> {
    tools::rustfmt(workspace)?;
    run(&mut cargo(workspace, "fmt --all --check"))
        .inspect_err(|_| println!("`cargo fmt --all` formats what can be parsed"))
}

fn lint(workspace: &Workspace, _: bool) -> Result<()> {
    tools::clippy(workspace)?;
    run(&mut cargo(
        workspace,
        "clippy --workspace --all-targets --locked -- -D warnings",
    ))
}

fn docs(workspace: &Workspace, _: bool) -> Result<()> {
    let mut command = cargo(workspace, "doc --workspace --no-deps --locked");
    run(command.env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn deps(workspace: &Workspace, _: bool) -> Result<()> {
    let mut wrong = layers::check(&workspace.packages);
    wrong.extend(links::check(&workspace.root)?);
    for line in &wrong {
        println!("{line}");
    }
    match wrong.len() {
        0 => Ok(()),
        1 => bail!("{}", wrong[0]),
        n => bail!("{n} things are wrong, listed above"),
    }
}

fn unit(workspace: &Workspace, quick: bool) -> Result<()> {
    if !quick {
        // The tests of presence-redis and presence-mongo start servers of their own.
        tools::redis()?;
        println!("MongoDB: {}", MongoProgram::find()?.about);
    }
    if tools::has_nextest(workspace) {
        let mut command = cargo(
            workspace,
            "nextest run --workspace --locked --no-fail-fast --status-level slow",
        );
        if quick {
            // A filter and not `--package`, which would resolve features anew and compile twice.
            let end_to_end = "kind(test) & (package(presence-gateway) + package(presence-redis) + package(presence-mongo) + package(presence-testkit))";
            command.args(["-E", &format!("not ({end_to_end})")]);
        }
        run(&mut command)?;
    } else if quick {
        run(&mut cargo(
            workspace,
            "test --workspace --exclude presence-gateway --exclude presence-redis --exclude presence-mongo --exclude presence-testkit --locked --no-fail-fast --tests",
        ))?;
        run(&mut cargo(
            workspace,
            "test --package presence-gateway --package presence-redis --package presence-mongo --package presence-testkit --locked --no-fail-fast --lib --bins",
        ))?;
    } else {
        run(&mut cargo(
            workspace,
            "test --workspace --locked --no-fail-fast --tests",
        ))?;
    }
    if quick {
        return Ok(());
    }
    run(&mut cargo(
        workspace,
        "test --workspace --locked --no-fail-fast --doc",
    ))
}

fn browser(workspace: &Workspace, _: bool) -> Result<()> {
    let script = "crates/presence-gateway/tests/browser/run.mjs";
    if !workspace.root.join(script).is_file() {
        bail!("{script} does not exist");
    }
    let node = tools::node()?;
    let chromium = tools::chromium()?;
    let modules = tools::playwright(workspace)?;
    load::build_release(workspace)?;

    let mut command = Command::new(node);
    command.current_dir(&workspace.root).arg(script);
    command
        .arg("--gateway")
        .arg(workspace.release_binary("presence-gateway"));
    command.arg("--chromium").arg(chromium);
    command
        .arg("--playwright")
        .arg(modules.join("playwright-core"));
    command.arg("--modules").arg(stock_modules(workspace));
    run_within(command.env("NODE_PATH", modules), TIME_MAX)
}

fn stock(workspace: &Workspace, _: bool) -> Result<()> {
    let node = tools::node()?;
    // Some of its gateways share one.
    tools::redis()?;
    load::build_release(workspace)?;
    let mut command = Command::new(node);
    command.current_dir(&workspace.root);
    command.arg("crates/presence-gateway/tests/stock/run.mjs");
    command.arg("--gateway");
    command.arg(workspace.release_binary("presence-gateway"));
    command.arg("--modules").arg(stock_modules(workspace));
    run_within(&mut command, TIME_MAX)
}

/// Where the published clients of other servers are installed.
fn stock_modules(workspace: &Workspace) -> PathBuf {
    workspace.target.join("stock")
}

fn load(workspace: &Workspace, _: bool) -> Result<()> {
    let args: Vec<String> = LOAD_SMOKE.iter().map(|arg| (*arg).to_owned()).collect();
    load::load(workspace, &args, TIME_MAX)
}

fn chaos(workspace: &Workspace, _: bool) -> Result<()> {
    let play = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        chaos::chaos(workspace, &args, TIME_MAX)
    };
    play(CHAOS_SMOKE)?;
    match PLAYS_RANDOM {
        true => play(CHAOS_RANDOM),
        false => Ok(()),
    }
}
