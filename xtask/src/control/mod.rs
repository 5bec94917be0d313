//! `cargo xtask cluster`: a cluster on this machine, and ways to break it.
//!
//! `up` keeps everything as its children, so that nothing outlives it. The other commands ask it through a socket.

mod keeper;
mod socket;
mod up;

use std::path::PathBuf;

use anyhow::{Result, bail};
use presence_testkit::folder::Folder;
use presence_testkit::workspace::Workspace;

/// What `cargo xtask help` says of it.
pub(crate) const HELP: &str = "\
  cargo xtask cluster up          Redis, MongoDB and gateways on free ports, until Ctrl-C; prints where the page is
      [--gateways N] [--redis cluster|sentinel|single|none] [--without-mongo] [--port-base N] [--detach]
      [--node-timeout MS] [--gateway FILE]
  cargo xtask cluster status      what runs where, and what it does
  cargo xtask cluster kill WHAT   kill -9 of gateway-2, redis-1, master-of channel:room:42, gateways, redis, mongo, all
  cargo xtask cluster pause WHAT  SIGSTOP: sockets stay open and nobody answers; `resume WHAT` ends it
  cargo xtask cluster restart [--rolling] [WHAT]    asks them to go and starts them again; the gateways, if not said
  cargo xtask cluster failover WHAT                 lets a replica take the place of a Redis master
  cargo xtask cluster logs [WHAT] their last lines
  cargo xtask cluster down        ends everything; nothing is left
";

/// Does what `args` say.
///
/// # Errors
///
/// They make no sense, or it could not be done.
pub(crate) fn cluster(workspace: &Workspace, args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        bail!("`cluster` needs to know what to do:\n\n{HELP}");
    };
    match command.as_str() {
        "up" => up::up(workspace, rest),
        "status" | "down" if !rest.is_empty() => bail!("`{command}` takes no `{}`", rest[0]),
        "kill" | "pause" | "resume" | "failover" if rest.is_empty() => {
            bail!(
                "`{command}` needs to know what: gateway-1 or redis-2 or `master-of channel:room:42` for instance"
            )
        }
        "down" if !socket::is_kept(&folder(workspace)) => {
            // One that was killed leaves its logs.
            let left = Folder::empty(folder(workspace))?;
            println!("no cluster runs");
            drop(left);
            Ok(())
        }
        "status" | "down" | "kill" | "pause" | "resume" | "failover" | "restart" | "logs" => {
            socket::ask(&folder(workspace), args)
        }
        other => bail!("`cluster` does not know `{other}`:\n\n{HELP}"),
    }
}

/// Where its logs and data are.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("cluster")
}
