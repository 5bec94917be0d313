//! Merges default, file, environment and flags, and remembers where each value comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::error::ConfigError;
use super::settings::{CONFIG_ENV, SETTINGS, by_key, is_misspelt, nearest};
use crate::cli::Cli;

/// The file that is read if none is named.
const FILE: &str = "presence.toml";

/// The text that is shown in place of a secret.
const HIDDEN: &str = "(hidden)";

/// The value of one setting, as `--check-config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The name of the setting, `section.name`.
    pub key: &'static str,
    /// The value of the setting, unless it is a secret.
    pub value: String,
    /// Where the value comes from: the file, the environment, a flag or the default.
    pub origin: String,
}

/// The values that were set, merged; a later layer wins over an earlier one.
#[derive(Debug)]
pub(super) struct Layers {
    found: BTreeMap<&'static str, Found>,
    explained: Vec<Explained>,
}

#[derive(Debug)]
struct Found {
    value: Given,
    origin: String,
}

#[derive(Debug)]
enum Given {
    One(String),
    Many(Vec<String>),
}

impl Layers {
    /// Reads all layers; paths that are not absolute are relative to `dir`.
    pub(super) fn read(
        dir: &Path,
        cli: &Cli,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Layers, ConfigError> {
        let env = environment(env)?;
        let mut builder = config::Config::builder();
        let mut file_origin = String::new();
        if let Some((path, text)) = file(dir, cli, &env)? {
            file_origin = path.display().to_string();
            let parsed = config::Config::builder()
                .add_source(File::from_str(&text, FileFormat::Toml))
                .build()
                .map_err(|error| ConfigError::NotToml {
                    path,
                    why: without_source_lines(&error.to_string()),
                })?;
            builder = builder.add_source(parsed);
        }
        let merged = builder
            .add_source(named_in_the_environment(&env))
            .add_source(flags(cli))
            .build()
            .map_err(|error| ConfigError::NotToml {
                path: file_origin.clone().into(),
                why: error.to_string(),
            })?;
        let mut layers = Layers {
            found: BTreeMap::new(),
            explained: Vec::new(),
        };
        layers.flatten(String::new(), merged.cache, &file_origin)?;
        Ok(layers)
    }

    /// Splits a tree of values into settings. A name that is not a setting is an error.
    fn flatten(&mut self, name: String, value: Value, file: &str) -> Result<(), ConfigError> {
        let origin = value.origin().unwrap_or(file).to_owned();
        let setting = by_key(&name);
        let value = match (value.kind, setting) {
            (ValueKind::Table(table), None) if name.is_empty() || is_section(&name) => {
                let mut rows: Vec<(String, Value)> = table.into_iter().collect();
                rows.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, value) in rows {
                    let dot = if name.is_empty() { "" } else { "." };
                    self.flatten(format!("{name}{dot}{key}"), value, file)?;
                }
                return Ok(());
            }
            (_, None) => {
                let meant = nearest(&name, SETTINGS.iter().map(|setting| setting.key));
                return Err(ConfigError::Unknown {
                    name,
                    origin,
                    meant,
                });
            }
            (ValueKind::Array(items), Some(_)) => items
                .into_iter()
                .map(|item| item.into_string().ok())
                .collect::<Option<Vec<_>>>()
                .map(Given::Many),
            (kind, Some(_)) => Value::new(None, kind).into_string().ok().map(Given::One),
        };
        let (Some(setting), Some(value)) = (setting, value) else {
            return Err(ConfigError::Invalid {
                key: setting.map_or("", |setting| setting.key),
                value: "of another kind".into(),
                origin,
                wants: "a text, a number or a list of texts would do".into(),
            });
        };
        self.found.insert(setting.key, Found { value, origin });
        Ok(())
    }

    /// Reads a setting that has a default.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        if let Some(value) = self.take_if_set(key, &read)? {
            return Ok(value);
        }
        let default = by_key(key).map_or("", |setting| setting.default);
        self.explain(key, default.to_owned(), "default");
        read(default).map_err(|wants| invalid(key, default, "default", wants))
    }

    /// Reads a setting whose default depends on the machine.
    pub(super) fn take_or<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
        default: impl FnOnce() -> String,
    ) -> Result<T, ConfigError> {
        if let Some(value) = self.take_if_set(key, &read)? {
            return Ok(value);
        }
        let default = default();
        let value = read(&default).map_err(|wants| invalid(key, &default, "default", wants))?;
        self.explain(key, default, "default");
        Ok(value)
    }

    /// Reads a setting that may be absent.
    pub(super) fn take_if_set<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(found) = self.found.remove(key) else {
            return Ok(None);
        };
        match found.value {
            Given::One(text) => {
                let value =
                    read(&text).map_err(|wants| invalid(key, &text, &found.origin, wants))?;
                self.explain(key, text, &found.origin);
                Ok(Some(value))
            }
            Given::Many(texts) => Err(invalid(
                key,
                &texts.join(", "),
                &found.origin,
                "one value would do, not a list".into(),
            )),
        }
    }

    /// Reads a setting that is a list; a text is split at its commas.
    pub(super) fn take_list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let setting = by_key(key);
        let found = self.found.remove(key).unwrap_or_else(|| Found {
            value: Given::One(setting.map_or("", |setting| setting.default).to_owned()),
            origin: "default".into(),
        });
        let texts: Vec<String> = match found.value {
            Given::Many(texts) => texts,
            Given::One(text) => text
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
        };
        let mut values = Vec::new();
        for text in &texts {
            values.push(read(text).map_err(|wants| invalid(key, text, &found.origin, wants))?);
        }
        self.explain(key, texts.join(", "), &found.origin);
        Ok(values)
    }

    /// Reads a time. `--check-config` shows it with its unit, however it was written.
    pub(super) fn take_span(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<Duration, String>,
    ) -> Result<Duration, ConfigError> {
        let span = self.take(key, read)?;
        if let Some(it) = self.explained.last_mut() {
            it.value = format!("{span:?}");
        }
        Ok(span)
    }

    /// Where the value of a setting came from, after it was read.
    pub(super) fn origin(&self, key: &str) -> String {
        let origin = self.explained.iter().find(|it| it.key == key);
        format!("{key} from {}", origin.map_or("default", |it| &it.origin))
    }

    /// Whether somebody has set a setting that was read; a default does not count.
    pub(super) fn is_set(&self, key: &str) -> bool {
        let mut explained = self.explained.iter();
        explained.any(|it| it.key == key && it.origin != "default")
    }

    /// The settings that were read, in the order of [`SETTINGS`].
    pub(super) fn explained(mut self) -> Vec<Explained> {
        for setting in SETTINGS {
            if !self.explained.iter().any(|it| it.key == setting.key) {
                self.explain(setting.key, String::new(), "default");
            }
        }
        let place = |key| SETTINGS.iter().position(|setting| setting.key == key);
        self.explained.sort_by_key(|it| place(it.key));
        self.explained
    }

    fn explain(&mut self, key: &'static str, value: String, origin: &str) {
        let value = match by_key(key) {
            Some(setting) if setting.secret && !value.is_empty() => HIDDEN.to_owned(),
            _ => value,
        };
        self.explained.push(Explained {
            key,
            value,
            origin: origin.to_owned(),
        });
    }
}

fn invalid(key: &'static str, value: &str, origin: &str, wants: String) -> ConfigError {
    let secret = by_key(key).is_some_and(|setting| setting.secret);
    ConfigError::Invalid {
        key,
        value: if secret {
            HIDDEN.to_owned()
        } else {
            format!("{value:?}")
        },
        origin: origin.to_owned(),
        wants,
    }
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .key
            .split_once('.')
            .is_some_and(|(it, _)| it == name)
    })
}

/// The environment variables that are settings. An empty one counts as not set, so that a compose file can pass on
/// what it has.
fn environment(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut ours = BTreeMap::new();
    for (name, value) in env {
        let Ok(name) = name.into_string() else {
            continue;
        };
        if is_misspelt(&name) {
            let meant = nearest(&name, SETTINGS.iter().map(|setting| setting.env));
            return Err(ConfigError::Unknown {
                name,
                origin: "the environment".into(),
                meant,
            });
        }
        let setting = SETTINGS.iter().find(|setting| setting.env == name);
        if setting.is_none() && name != CONFIG_ENV {
            continue;
        }
        let Ok(value) = value.into_string() else {
            return Err(ConfigError::Invalid {
                key: setting.map_or("config", |setting| setting.key),
                value: "not UTF-8".into(),
                origin: format!("the environment, {name}"),
                wants: "UTF-8 would do".into(),
            });
        };
        if !value.is_empty() {
            ours.insert(name, value);
        }
    }
    Ok(ours)
}

/// Reads the configuration file. A file that was named has to exist.
fn file(
    dir: &Path,
    cli: &Cli,
    env: &BTreeMap<String, String>,
) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let (path, named_by) = match (&cli.config, env.get(CONFIG_ENV)) {
        (Some(path), _) => (path.clone(), Some("--config")),
        (None, Some(path)) => (path.into(), Some(CONFIG_ENV)),
        (None, None) => (FILE.into(), None),
    };
    match (fs::read_to_string(dir.join(&path)), named_by) {
        (Ok(text), _) => Ok(Some((path, text))),
        (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        (Err(source), named_by) => Err(ConfigError::Unreadable {
            path,
            named_by: named_by.unwrap_or("its place").to_owned(),
            source,
        }),
    }
}

/// Values by the names of their settings, each with its origin.
#[derive(Clone, Debug)]
struct Named(Map<String, Value>);

impl Source for Named {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn named_in_the_environment(env: &BTreeMap<String, String>) -> Named {
    let set = SETTINGS.iter().filter_map(|setting| {
        let value = env.get(setting.env)?.clone();
        let origin = format!("the environment, {}", setting.env);
        Some((setting.key.to_owned(), Value::new(Some(&origin), value)))
    });
    Named(set.collect())
}

fn flags(cli: &Cli) -> Named {
    let set = SETTINGS.iter().filter_map(|setting| {
        let flag = setting.flag?;
        let value = match flag {
            "--listen" => &cli.listen,
            "--data-dir" => &cli.data_dir,
            "--log" => &cli.log,
            _ => &None,
        };
        let origin = flag.to_owned();
        let value = Value::new(Some(&origin), value.clone()?);
        Some((setting.key.to_owned(), value))
    });
    Named(set.collect())
}

/// Removes the quoted source lines from an error of the parser, because they may show the secret.
fn without_source_lines(message: &str) -> String {
    let lines = message.lines().filter(|line| !line.contains(" |"));
    lines.collect::<Vec<_>>().join(": ")
}
