//! `cargo xtask load`: presence-load against a release gateway of our own.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use presence_testkit::folder::Folder;
use presence_testkit::gateway::{Gateway, Settings};
use presence_testkit::run::{cargo, run, run_within};
use presence_testkit::workspace::Workspace;

/// What a release build is wanted of: crate and binary.
const RELEASED: &[(&str, &str)] = &[
    ("presence-gateway", "presence-gateway"),
    ("presence-client", "presence-load"),
    ("presence-chaos", "presence-chaos"),
];

/// The application whose pages some of its clients are.
const PUSHER: [(&str, &str); 3] = [
    ("PRESENCE_PUSHER_APP_ID", "load"),
    ("PRESENCE_PUSHER_KEY", "load-key"),
    ("PRESENCE_PUSHER_SECRET", "a-secret-that-everybody-knows"),
];

/// Builds both, starts a gateway on a free port, runs presence-load against it with `args`, stops the gateway.
/// A run that takes longer than `limit` hangs.
///
/// # Errors
///
/// Something does not build or start, the run failed, or the gateway did not stop well. Nothing is left running.
pub(crate) fn load(workspace: &Workspace, args: &[String], limit: Duration) -> Result<()> {
    let (package, binary) = ("presence-client", "presence-load");
    if !workspace.has_binary(package, binary) {
        bail!("{package} has no binary {binary}");
    }
    build_release(workspace)?;

    let folder = format!("load-{}", std::process::id());
    let folder = Folder::empty(workspace.target.join("xtask").join(folder))?;
    let mut settings = Settings::alone(workspace.release_binary("presence-gateway"));
    let app = PUSHER.map(|(name, value)| (name.to_owned(), value.to_owned()));
    settings.env.extend(app);
    let gateway = Gateway::start(folder.path(), &settings)?;
    println!("the gateway listens on {}", gateway.address());
    let mut command = Command::new(workspace.release_binary(binary));
    command
        .current_dir(&workspace.root)
        .arg("--url")
        .arg(format!("ws://{}/ws", gateway.address()));
    let [_, (_, key), (_, secret)] = PUSHER;
    command.args(["--pusher", &format!("{key}:{secret}")]);
    if let Err(error) = run_within(command.args(args), limit) {
        eprint!("{}", gateway.process.log_end());
        return Err(error);
    }
    gateway.stop()
}

/// Builds only the gateway, for whoever wants to see it.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build_gateway(workspace: &Workspace) -> Result<()> {
    let what = "build --release --locked --package presence-gateway --bin presence-gateway";
    run(&mut cargo(workspace, what))
}

/// Builds every released binary in one go, so that no step compiles a crate again with other features.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build_release(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace, "build --release --locked");
    for (package, binary) in RELEASED {
        if workspace.has_binary(package, binary) {
            command.args(["--package", package, "--bin", binary]);
        }
    }
    run(&mut command)
}
