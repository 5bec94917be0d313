//! The HTTP API is what its OpenAPI document says: schemathesis makes requests of the document, good ones and bad ones, and
//! looks at every answer.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use presence_testkit::folder::Folder;
use presence_testkit::gateway::{Gateway, Settings};
use presence_testkit::run::run_within;
use presence_testkit::tools;
use presence_testkit::workspace::Workspace;

/// The packages of PyPI that the check installs.
const PACKAGES: &[&str] = &["schemathesis==4.32.5"];

/// The same requests every time.
const SEED: &str = "1";

/// Requests to each operation that are drawn, beside those that the schemas' bounds ask for.
const EXAMPLES_MAX: &str = "60";

/// A run takes half a minute; one that takes longer than this hangs.
const TIME_MAX: Duration = Duration::from_secs(120);

/// Rates are not what this is about.
const RATES: &[&str] = &["STATUS", "JOIN", "BROADCAST", "QUERY", "OTHER"];
const FAST: &str = "1000/s burst 100000";

/// What JSON Schema has no words for: `expires_at` is a moment of the next year; rows go on after a `next` that a page had.
const HOOKS: &str = "
import time
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    body, meta = case.body, case.meta
    if meta is not None and meta.generation.mode.is_positive and isinstance(body, dict):
        if isinstance(body.get('expires_at'), (int, float)):
            body['expires_at'] = int(time.time()) + 3600
    positive = meta is not None and meta.generation.mode.is_positive
    if positive and case.operation.path.endswith(('/viewers', '/online')):
        case.query.pop('after', None)
";

/// Runs schemathesis against a release gateway of our own.
///
/// # Errors
///
/// It found something, which it has told on stdout, or something could not be installed or started.
pub(crate) fn check(workspace: &Workspace, gateway: PathBuf) -> Result<()> {
    let programs = tools::python_packages(&workspace.target.join("schemathesis"), PACKAGES)?;
    let folder = format!("contract-{}", std::process::id());
    let folder = Folder::empty(workspace.target.join("xtask").join(folder))?;
    fs::write(folder.path().join("hooks.py"), HOOKS)?;
    let mut settings = Settings::alone(gateway);
    for rate in RATES {
        let name = format!("PRESENCE_RATE_{rate}");
        settings.env.push((name, FAST.to_owned()));
    }
    let gateway = Gateway::start(folder.path(), &settings)?;
    let mut schemathesis = Command::new(programs.join("schemathesis"));
    schemathesis
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", folder.path());
    schemathesis.args(["--no-color", "run"]);
    schemathesis.arg(format!("http://{}/openapi.json", gateway.address()));
    schemathesis.args(["--seed", SEED, "--max-examples", EXAMPLES_MAX]);
    // Without a phase that follows links: the document has none.
    schemathesis.args(["--phases", "examples,coverage,fuzzing"]);
    schemathesis.args(["--generation-database", "none"]);
    if let Err(error) = run_within(&mut schemathesis, TIME_MAX) {
        eprint!("{}", gateway.process.log_end());
        return Err(error);
    }
    gateway.stop()
}
