//! The log of the process, on stderr: readable on a terminal, JSON elsewhere.
//!
//! One event is one line. Nothing that a client puts into a value can end the line or control the terminal.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The format in which events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable text if stderr is a terminal, otherwise JSON.
    #[default]
    Auto,
    /// Readable text, one event a line.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            _ => Err("auto, human or json would do".into()),
        }
    }
}

/// Checks a filter: a level, or `target=level` with commas between.
///
/// # Errors
///
/// Says what is allowed. A single word that is not a level is refused: it would be taken for a target, and
/// silence all others.
pub fn checked_filter(filter: &str) -> Result<(), String> {
    const WANTS: &str = "a level would do: error, warn, info, debug, trace or off; or `target=level`, with commas between";
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    for directive in filter.split(',').map(str::trim) {
        let is_level = levels
            .iter()
            .any(|level| directive.eq_ignore_ascii_case(level));
        if !is_level && !directive.contains('=') {
            return Err(WANTS.into());
        }
    }
    match EnvFilter::builder().parse(filter) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{WANTS} ({error})")),
    }
}

/// Starts logging to stderr, also of panics.
///
/// # Errors
///
/// Fails if the filter is not valid, or if logging has been started before.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    checked_filter(filter)?;
    let stderr = io::stderr();
    let json = match format {
        LogFormat::Auto => !stderr.is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let colors =
        stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let dispatch = dispatch(filter, json, colors, io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|error| error.to_string())?;
    if json {
        panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// Builds everything but the process-wide part, so that a test can read what is written.
fn dispatch<W>(
    filter: &str,
    json: bool,
    colors: bool,
    writer: W,
) -> Result<tracing::Dispatch, String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    Ok(if json {
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(OneLine {
                inner: writer,
                colors: false,
            })
            .into()
    } else {
        builder
            .with_ansi(colors)
            .with_writer(OneLine {
                inner: writer,
                colors,
            })
            .into()
    })
}

/// Logs a panic as an event. Its backtrace comes with it if RUST_BACKTRACE asks for one.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        location,
        backtrace = backtrace.map(tracing::field::display),
        "panicked: {message}"
    );
}

/// Writes each event as one line: escapes what could break the line or control a terminal.
struct OneLine<W> {
    inner: W,
    /// Whether the event is coloured.
    colors: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            inner: self.inner.make_writer(),
            colors: self.colors,
        }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        Line {
            inner: self.inner.make_writer_for(meta),
            colors: self.colors,
        }
    }
}

/// Gets one event with each call, including its line feed.
struct Line<W> {
    inner: W,
    colors: bool,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.inner
            .write_all(one_line(event, self.colors).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn one_line(event: &[u8], colors: bool) -> String {
    let event = String::from_utf8_lossy(event);
    let event = event.strip_suffix('\n').unwrap_or(&event);
    let mut line = String::with_capacity(event.len() + 1);
    let mut rest = event.chars();
    while let Some(c) = rest.next() {
        match c {
            // The formatter spells these out in messages, but not in fields.
            '\x1b' if colors && is_color(rest.as_str()) => line.push(c),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // Escape line and paragraph separators and marks that change the writing direction, as JSON does.
            c if c.is_control()
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

/// Whether an escape sequence only changes the colour, to one that the formatter uses.
fn is_color(after_escape: &str) -> bool {
    const COLORS: [&str; 9] = [
        "[0m", "[1m", "[2m", "[3m", "[31m", "[32m", "[33m", "[34m", "[35m",
    ];
    COLORS.iter().any(|color| after_escape.starts_with(color))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const HOSTILE: &str = "a\nb\r\x1b[2Jc\u{9b}2J\u{2028}d\u{202e}e\x07\x00\"";

    #[test]
    fn a_hostile_value_breaks_no_line_and_steers_no_terminal() {
        for (json, colors) in [(false, false), (false, true), (true, false)] {
            let text = written(json, colors, || {
                let span = tracing::info_span!("socket", agent = %HOSTILE, other = ?HOSTILE);
                let _entered = span.enter();
                tracing::warn!(display = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, "{HOSTILE}");
                tracing::warn!(
                    error = &io::Error::other(HOSTILE) as &dyn std::error::Error,
                    "second"
                );
            });
            assert_eq!(text.lines().count(), 2, "{text:?}");
            assert!(text.ends_with('\n'));
            for bad in ['\r', '\u{9b}', '\u{2028}', '\u{202e}', '\x07', '\0'] {
                assert!(!text.contains(bad), "{bad:?} in {text:?}");
            }
            assert!(!text.contains("\x1b[2J"), "{text:?}");
            assert_eq!(text.contains('\x1b'), colors);
        }
    }

    #[test]
    fn json_lines_are_json_and_carry_the_value_as_it_was() {
        let text = written(true, false, || tracing::info!(user = %HOSTILE, "hello"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "hello");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["user"], HOSTILE);
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_filter_that_would_silence_everything_is_refused() {
        for fine in [
            "info",
            "WARN",
            "off",
            "info,presence_hub=debug",
            "presence_gateway[socket]=trace",
        ] {
            assert_eq!(checked_filter(fine), Ok(()), "{fine}");
        }
        for bad in ["", "inf", "info,", "presence_hub", "presence_hub=loud"] {
            assert!(checked_filter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_filtered_out_is_not_written() {
        let text = written(false, false, || tracing::debug!("quiet"));
        assert_eq!(text, "");
    }

    fn written(json: bool, colors: bool, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let dispatch = dispatch("info", json, colors, lines.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, events);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
}
