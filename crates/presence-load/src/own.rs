//! A gateway of our own, for one run.

use std::path::Path;

use anyhow::{Result, anyhow};
use presence_testkit::folder::Folder;
use presence_testkit::gateway::{Gateway, Settings};

use crate::args::Args;

/// The application whose pages some of its clients are.
const PUSHER: [(&str, &str); 3] = [
    ("PRESENCE_PUSHER_APP_ID", "load"),
    ("PRESENCE_PUSHER_KEY", "load-key"),
    ("PRESENCE_PUSHER_SECRET", "a-secret-that-everybody-knows"),
];

/// Starts the program `gateway` on a free port, runs `measure` against it, and stops it.
///
/// # Errors
///
/// The gateway did not start or did not stop well, or the run failed. Nothing is left running.
pub(crate) fn with_gateway(
    args: &Args,
    gateway: &Path,
    measure: impl FnOnce(&Args) -> Result<bool>,
) -> Result<bool> {
    let name = format!("load-{}", std::process::id());
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = Folder::empty(std::path::absolute(parent.join(name))?)?;
    let mut settings = Settings::alone(std::path::absolute(gateway)?);
    let app = PUSHER.map(|(name, value)| (name.to_owned(), value.to_owned()));
    settings.env.extend(app);
    let gateway = Gateway::start(folder.path(), &settings)?;
    println!("the gateway listens on {}", gateway.address());
    let [_, (_, key), (_, secret)] = PUSHER;
    let app = format!("{key}:{secret}").parse();
    let mut args = args.clone();
    args.url = format!("ws://{}/ws", gateway.address());
    args.pusher = Some(app.map_err(|why| anyhow!("{why}"))?);
    match measure(&args) {
        Ok(true) => gateway.stop().map(|()| true),
        failed => {
            eprint!("{}", gateway.process.log_end());
            failed
        }
    }
}
