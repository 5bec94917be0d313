//! Runs other programs: shows what is run, and says what failed.

use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, cargo_path};

/// A cargo command at the root; `args` is split at spaces.
pub fn cargo(workspace: &Workspace, args: &str) -> Command {
    let mut command = Command::new(cargo_path());
    command.current_dir(&workspace.root).args(args.split(' '));
    command
}

/// Runs a command to its end, its output going where ours goes.
///
/// # Errors
///
/// It could not be started, or did not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| cannot_start(command))?;
    succeeded(command, status)
}

/// The same, for a command that might hang: after `limit` it is killed.
///
/// # Errors
///
/// It could not be started, did not succeed, or did not end in time.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    println!("$ {}", shown(command));
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| cannot_start(command))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeeded(command, status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!(
                "`{}` did not end within {} s",
                shown(command),
                limit.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The standard output of a command that succeeds, trimmed; `None` if it does not, or does not exist.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The standard output of a command that should succeed.
///
/// # Errors
///
/// It could not be started, or did not succeed: what it said is part of the error.
pub fn answer_or_error(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_start(command))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed ({})\n{said}{complaints}",
            shown(command),
            output.status
        );
    }
    Ok(said)
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!(
                "{}={}",
                name.to_string_lossy(),
                value.to_string_lossy()
            ));
        }
    }
    let program = command.get_program();
    words.push(match program == cargo_path() {
        true => "cargo".to_owned(),
        false => program.to_string_lossy().into_owned(),
    });
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        words.push(
            match arg.is_empty()
                || arg.contains(|c: char| c.is_whitespace() || "*&()'\"$".contains(c))
            {
                true => format!("'{arg}'"),
                false => arg.into_owned(),
            },
        );
    }
    words.join(" ")
}
