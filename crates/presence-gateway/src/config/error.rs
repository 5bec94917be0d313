//! The errors of the configuration.

use std::io;
use std::path::PathBuf;

/// Why the configuration is refused. Each message names the setting, where its value came from, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that the configuration names cannot be read.
    #[error("cannot read {}, named by {named_by}: a file that is there and that this user may read would do", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// What names the file: a flag, an environment variable, or the default path.
        named_by: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The configuration file is not valid TOML.
    #[error("{} cannot be understood: {why}", path.display())]
    NotToml {
        /// The path of the file.
        path: PathBuf,
        /// The place of the mistake, and what is wrong there.
        why: String,
    },
    /// A name is not the name of a setting.
    #[error("there is no setting {name} (in {origin}){}", meant.map(|it| format!("; is {it} meant?")).unwrap_or_default())]
    Unknown {
        /// The name that was given.
        name: String,
        /// Where the name was given: the file, or the environment.
        origin: String,
        /// The name that was probably meant.
        meant: Option<&'static str>,
    },
    /// A setting has a value that is not allowed.
    #[error("{key} is {value} (from {origin}): {wants}")]
    Invalid {
        /// The name of the setting.
        key: &'static str,
        /// The value, unless the setting is a secret.
        value: String,
        /// Where the value comes from: the file, the environment, a flag or the default.
        origin: String,
        /// Which values are allowed.
        wants: String,
    },
    /// Values that are valid alone do not fit together.
    #[error("{what} ({})", origins.join(", "))]
    Relation {
        /// Which relation does not hold, and what is allowed.
        what: String,
        /// Where each of the values comes from.
        origins: Vec<String>,
    },
}
