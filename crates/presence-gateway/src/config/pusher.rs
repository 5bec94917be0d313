//! The configuration of the applications of the Pusher dialect.

use super::Secret;
use super::error::ConfigError;
use super::layers::Layers;
use super::parse;

/// The shortest secret of an application, in bytes: Pusher's own have twenty digits.
const SECRET_BYTES_MIN: usize = 16;
/// The longest id of an application, in bytes; it leaves room for the names of its channels.
const ID_BYTES_MAX: usize = 28;

/// The applications whose pages and servers speak Pusher's protocol. Without any, the dialect is off.
#[derive(Clone, Debug, Default)]
pub struct Pusher {
    /// All applications; each has its own channels and users.
    pub apps: Vec<PusherApp>,
    /// Whether pages may send events to each other on private and presence channels.
    pub client_events: bool,
}

/// One application of the Pusher dialect: its id, its key and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PusherApp {
    /// The id, which the application's server uses in URLs.
    pub id: String,
    /// The key, with which pages connect. It is not secret.
    pub key: String,
    /// The secret, with which the application's server signs.
    pub secret: Secret,
    /// Whether its presence channels are the channels of all other dialects. The other applications have channels
    /// of their own.
    pub meets_others: bool,
}

/// Reads the application of `pusher.app_id`, if there is one, and those of `pusher.apps`.
pub(super) fn pusher(it: &mut Layers) -> Result<Pusher, ConfigError> {
    let id = it.take_if_set("pusher.app_id", id)?;
    let key = it.take_if_set("pusher.key", key)?;
    let secret = it.take_if_set("pusher.secret", secret)?;
    let mut apps = match (id, key, secret) {
        (Some(id), Some(key), Some(secret)) => vec![PusherApp {
            id,
            key,
            secret,
            meets_others: true,
        }],
        (None, None, None) => Vec::new(),
        (id, key, secret) => {
            let three = [
                ("pusher.app_id", id.is_some()),
                ("pusher.key", key.is_some()),
                ("pusher.secret", secret.is_some()),
            ];
            let names = |there| {
                let names = three.iter().filter(move |(_, it)| *it == there);
                names.map(|(name, _)| *name)
            };
            let missing: Vec<&str> = names(false).collect();
            return Err(ConfigError::Relation {
                what: format!(
                    "an application has an id, a key and a secret: {} would do, too",
                    missing.join(" and ")
                ),
                origins: names(true).map(|name| it.origin(name)).collect(),
            });
        }
    };
    apps.extend(it.take_list("pusher.apps", app)?);
    for (i, a) in apps.iter().enumerate() {
        if apps[..i].iter().any(|b| a.id == b.id || a.key == b.key) {
            return Err(ConfigError::Relation {
                what: format!(
                    "two applications have the id {} or the key {}: one each would do",
                    a.id, a.key
                ),
                origins: vec![it.origin("pusher.app_id"), it.origin("pusher.apps")],
            });
        }
    }
    Ok(Pusher {
        apps,
        client_events: it.take("pusher.client_events", parse::flag)?,
    })
}

fn id(text: &str) -> Result<String, String> {
    match (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("1 to {ID_BYTES_MAX} of `A-Z a-z 0-9 - _` would do")),
    }
}

fn key(text: &str) -> Result<String, String> {
    match (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("1 to 64 of `A-Z a-z 0-9 - _` would do".into()),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

fn secret(text: &str) -> Result<Secret, String> {
    let distinct: std::collections::BTreeSet<u8> = text.bytes().collect();
    match text.len() >= SECRET_BYTES_MIN && distinct.len() >= 8 {
        true => Ok(Secret::new(text)),
        false => Err(format!(
            "{} bytes can be guessed: at least {SECRET_BYTES_MIN} random ones would do, `openssl rand -hex 20` makes some",
            text.len()
        )),
    }
}

/// Reads an application from `id:key:secret`.
fn app(text: &str) -> Result<PusherApp, String> {
    let mut parts = text.splitn(3, ':').map(str::trim);
    let (Some(app), Some(its_key), Some(its_secret)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err("`id:key:secret` would do".into());
    };
    let id = id(app).map_err(|wants| format!("of an id, {wants}"))?;
    let of_it = |what: &str, wants: String| format!("of the {what} of {id}, {wants}");
    Ok(PusherApp {
        key: key(its_key).map_err(|wants| of_it("key", wants))?,
        secret: secret(its_secret).map_err(|wants| of_it("secret", wants))?,
        meets_others: false,
        id,
    })
}
