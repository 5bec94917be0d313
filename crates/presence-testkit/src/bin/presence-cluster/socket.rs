//! How other commands reach the one that keeps the cluster: a line of words there, lines of text back.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The socket in the cluster's folder.
const NAME: &str = "control";

/// Who connects and says nothing for so long is not listened to.
const SAY_TIME_MAX: Duration = Duration::from_secs(2);

/// The Unix socket on which commands arrive.
pub(super) struct CommandSocket {
    listener: UnixListener,
}

/// A command that has arrived.
pub(super) struct Visit {
    /// The words of the command line that was sent.
    pub(super) words: Vec<String>,
    stream: UnixStream,
}

/// Whether somebody keeps a cluster in `folder`.
pub(super) fn is_kept(folder: &Path) -> bool {
    within(folder, || UnixStream::connect(NAME)).is_ok()
}

/// Tells whoever keeps the cluster what to do, and prints what they say.
///
/// # Errors
///
/// Nobody is there, or it could not be done.
pub(super) fn ask(folder: &Path, words: &[String]) -> Result<()> {
    let Ok(mut stream) = within(folder, || UnixStream::connect(NAME)) else {
        bail!("no cluster runs: `cargo xtask cluster up` starts one");
    };
    writeln!(stream, "{}", json!(words))?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            Value::String(text) => print!("{text}"),
            Value::Object(end) => match end.get("error").and_then(Value::as_str) {
                None => return Ok(()),
                Some(error) => bail!("{error}"),
            },
            other => bail!("the cluster said {other}"),
        }
    }
    bail!("the cluster ended meanwhile")
}

/// Goes to `folder` for a moment: the path of a socket in it may be longer than a socket's can be.
fn within<T>(folder: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = env::current_dir()?;
    env::set_current_dir(folder)?;
    let done = work();
    env::set_current_dir(before)?;
    done
}

impl CommandSocket {
    /// Opens it in `folder`.
    ///
    /// # Errors
    ///
    /// The socket cannot be made.
    pub(super) fn open(folder: &Path) -> Result<CommandSocket> {
        let listener = within(folder, || UnixListener::bind(NAME));
        let listener =
            listener.with_context(|| format!("cannot listen in {}", folder.display()))?;
        listener.set_nonblocking(true)?;
        Ok(CommandSocket { listener })
    }

    /// Accepts one command if somebody has connected; `None` if nobody has.
    pub(super) fn visit(&self) -> Option<Visit> {
        let (stream, _) = self.listener.accept().ok()?;
        // Who leaves without a word wanted to know whether we are here.
        Visit::hear(stream).ok()
    }
}

impl Visit {
    fn hear(stream: UnixStream) -> Result<Visit> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(SAY_TIME_MAX))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(Visit {
            words: serde_json::from_str::<Vec<String>>(&line)?,
            stream,
        })
    }

    /// Sends a line of output to whoever sent the command.
    pub(super) fn say(&mut self, text: &str) {
        // Whoever asked may have gone; what they asked for is done all the same.
        let _ = self.write(&json!(text));
    }

    /// Sends the result of the command, and closes the connection.
    pub(super) fn end(mut self, done: Result<()>) {
        let end = match done {
            Ok(()) => json!({}),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        let _ = self.write(&end);
    }

    fn write(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.stream, "{value}")
    }
}
