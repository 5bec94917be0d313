//! Why there is no configuration.

use std::io;
use std::path::PathBuf;

/// Why there is no configuration. Each message names the setting, where its value came from, and what would do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that was asked for cannot be read.
    #[error("cannot read {}, named by {named_by}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who asked for it.
        named_by: String,
        /// Why not.
        source: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("{} cannot be understood: {why}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong there.
        why: String,
    },
    /// There is no such setting.
    #[error("there is no setting {name} (in {origin}){}", meant.map(|it| format!("; is {it} meant?")).unwrap_or_default())]
    Unknown {
        /// What was said.
        name: String,
        /// Where.
        origin: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// A value is none that the setting may have.
    #[error("{key} is {value} (from {origin}): {wants}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// What it was set to, unless that is a secret.
        value: String,
        /// Where.
        origin: String,
        /// What would do.
        wants: String,
    },
    /// Values that are fine alone do not fit together.
    #[error("{what} ({})", origins.join(", "))]
    Relation {
        /// What does not hold, and what would do.
        what: String,
        /// Where the values come from.
        origins: Vec<String>,
    },
}
