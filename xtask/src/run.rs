//! Runs other programs: shows what is run, and says what failed.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xshell::Cmd;

use crate::workspace::{Workspace, cargo_path};

/// A cargo command at the root; `args` is split at spaces.
pub(crate) fn cargo<'a>(workspace: &'a Workspace, args: &str) -> Cmd<'a> {
    workspace.shell.cmd(cargo_path()).args(args.split(' '))
}

/// Runs a command that might hang: after `limit` it is killed.
///
/// # Errors
///
/// It could not be started, did not succeed, or did not end in time.
pub(crate) fn run_within(command: Cmd, limit: Duration) -> Result<()> {
    let shown = command.to_string();
    eprintln!("$ {shown}");
    let start = Instant::now();
    let mut child = Command::from(command)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("`{shown}` failed ({status})");
            }
            return Ok(());
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{shown}` did not end within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The standard output of a command that succeeds, trimmed; `None` if it does not, or does not exist.
pub(crate) fn answer(command: Cmd) -> Option<String> {
    let text = command.quiet().ignore_stderr().read().ok()?;
    Some(text.trim().to_owned())
}
