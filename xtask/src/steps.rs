//! The steps of `cargo xtask test`, in the order they run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::programs::{self, build_release};
use crate::run::{cargo, run_within};
use crate::workspace::Workspace;
use crate::{circles, layers, links, tools, web};

/// One part of the gate.
pub(crate) struct Step {
    /// Its name, which `--only` takes.
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
        about: "crates depend downwards only, modules form no large circles, links in the docs lead somewhere, manifests can be published",
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
        run: deploy,
    },
    Step {
        name: "contract",
        about: "the HTTP API answers as its OpenAPI document says, whatever it is asked",
        quick: false,
        run: contract,
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

/// Crates whose tests beside the code start servers: `--quick` leaves those tests out.
const END_TO_END: &[&str] = &[
    "presence-gateway",
    "presence-redis",
    "presence-mongo",
    "presence-testkit",
];

/// Browser tests or a small load run that take longer hang.
const TIME_MAX: Duration = Duration::from_secs(600);

fn fmt(workspace: &Workspace, _: bool) -> Result<()> {
    tools::rustfmt(workspace)?;
    Ok(cargo(workspace, "fmt --all --check")
        .run()
        .inspect_err(|_| println!("`cargo fmt --all` formats what can be parsed"))?)
}

/// The optional features, which lint and tests compile in. What is released is built without them, by the steps that run it.
const FEATURES: &str = "--features presence-core/serde,presence-gateway/otel,presence-native/axum,presence-native/tungstenite";

fn lint(workspace: &Workspace, _: bool) -> Result<()> {
    tools::clippy(workspace)?;
    let clippy = format!("clippy --workspace {FEATURES} --all-targets --locked -- -D warnings");
    Ok(cargo(workspace, &clippy).run()?)
}

fn docs(workspace: &Workspace, _: bool) -> Result<()> {
    // With the features of `lint`, whose artifacts it uses.
    let doc = format!("doc --workspace --no-deps {FEATURES} --locked");
    let command = cargo(workspace, &doc);
    Ok(command.env("RUSTDOCFLAGS", "-Dwarnings").run()?)
}

fn deps(workspace: &Workspace, quick: bool) -> Result<()> {
    let mut wrong = layers::check(&workspace.packages);
    wrong.extend(circles::check(&workspace.root.join("crates"))?);
    wrong.extend(links::check(&workspace.root)?);
    for line in &wrong {
        println!("{line}");
    }
    match wrong.len() {
        // Packaging asks the registry.
        0 if quick => Ok(()),
        0 => package(workspace),
        1 => bail!("{}", wrong[0]),
        n => bail!("{n} things are wrong, listed above"),
    }
}

/// Packages every crate that is meant for a registry, which finds manifests that no registry would take.
fn package(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace, "package --workspace --no-verify --allow-dirty");
    for it in workspace.packages.iter().filter(|it| !it.is_published) {
        command = command.args(["--exclude", &it.name]);
    }
    Ok(command.quiet().run()?)
}

fn unit(workspace: &Workspace, quick: bool) -> Result<()> {
    if !quick {
        // The tests of presence-redis and presence-mongo start servers of their own.
        programs::find(workspace, "redis")?;
        programs::find(workspace, "mongo")?;
    }
    if tools::has_nextest(workspace) {
        let all = format!(
            "nextest run --workspace {FEATURES} --locked --no-fail-fast --status-level slow"
        );
        let mut command = cargo(workspace, &all);
        if quick {
            // A filter and not `--package`, which would resolve features anew and compile twice.
            let end_to_end: Vec<_> = END_TO_END
                .iter()
                .map(|it| format!("package({it})"))
                .collect();
            let filter = format!("not (kind(test) & ({}))", end_to_end.join(" + "));
            command = command.args(["-E", &filter]);
        }
        command.run()?;
    } else if quick {
        let all = format!("test --workspace {FEATURES} --locked --no-fail-fast --tests");
        let but = END_TO_END.iter().flat_map(|it| ["--exclude", it]);
        cargo(workspace, &all).args(but).run()?;
        let units = "test --locked --no-fail-fast --lib --bins";
        let of = END_TO_END.iter().flat_map(|it| ["--package", it]);
        cargo(workspace, units).args(of).run()?;
    } else {
        let all = format!("test --workspace {FEATURES} --locked --no-fail-fast --tests");
        cargo(workspace, &all).run()?;
    }
    if quick {
        return Ok(());
    }
    let examples = format!("test --workspace {FEATURES} --locked --no-fail-fast --doc");
    Ok(cargo(workspace, &examples).run()?)
}

fn deploy(workspace: &Workspace, _: bool) -> Result<()> {
    programs::check(workspace, "deploy")
}

fn contract(workspace: &Workspace, _: bool) -> Result<()> {
    programs::check(workspace, "contract")
}

fn browser(workspace: &Workspace, _: bool) -> Result<()> {
    let script = "crates/presence-gateway/tests/browser/run.mjs";
    if !workspace.root.join(script).is_file() {
        bail!("{script} does not exist");
    }
    let node = tools::node(workspace)?;
    let chromium = programs::find(workspace, "chromium")?;
    let modules = tools::playwright(workspace)?;
    build_release(workspace)?;

    let command = workspace.shell.cmd(node).arg(script);
    let command = command.arg("--gateway").arg(programs::gateway(workspace));
    let command = command.arg("--chromium").arg(chromium);
    let command = command
        .arg("--playwright")
        .arg(modules.join("playwright-core"));
    let command = command.arg("--modules").arg(stock_modules(workspace));
    run_within(command.env("NODE_PATH", modules), TIME_MAX)
}

fn stock(workspace: &Workspace, _: bool) -> Result<()> {
    let node = tools::node(workspace)?;
    // Some of its gateways share one.
    programs::find(workspace, "redis")?;
    build_release(workspace)?;
    let command = workspace.shell.cmd(node);
    let command = command.arg("crates/presence-gateway/tests/stock/run.mjs");
    let command = command.arg("--gateway").arg(programs::gateway(workspace));
    let command = command.arg("--modules").arg(stock_modules(workspace));
    run_within(command, TIME_MAX)
}

/// Where the published clients of other servers are installed.
fn stock_modules(workspace: &Workspace) -> PathBuf {
    workspace.target.join("stock")
}

fn load(workspace: &Workspace, _: bool) -> Result<()> {
    programs::load(workspace, &owned(LOAD_SMOKE), TIME_MAX)
}

fn chaos(workspace: &Workspace, _: bool) -> Result<()> {
    programs::chaos(workspace, &owned(CHAOS_SMOKE), TIME_MAX)?;
    match PLAYS_RANDOM {
        true => programs::chaos(workspace, &owned(CHAOS_RANDOM), TIME_MAX),
        false => Ok(()),
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}
