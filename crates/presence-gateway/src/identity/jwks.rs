//! Public keys with ids: from a file that is read again when it changes, or from a URL.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use presence_core::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;

use super::Algorithm;
use super::keys::{Key, KeyError, checked_key, unreadable};

/// The most keys that one file may have.
pub(super) const KEYS_MAX: usize = 64;
/// The longest set that is read, in bytes.
pub(crate) const JWKS_BYTES_MAX: usize = 1 << 20;
/// How often the gateway checks whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A set of keys with ids (JWK set).
#[derive(Debug)]
pub(super) enum Jwks {
    File(JwksFile),
    Fetched(Arc<FetchedJwks>),
}

impl Jwks {
    /// The keys as they are now.
    pub(super) fn keys(&self, now: Timestamp) -> Arc<[NamedKey]> {
        match self {
            Jwks::File(file) => file.keys(now),
            Jwks::Fetched(fetched) => fetched.keys(),
        }
    }

    /// Asks for a newer set, because a token has named a key that is not there.
    pub(super) fn look_for_unknown(&self) {
        if let Jwks::Fetched(fetched) = self {
            fetched.unknown.notify_one();
        }
    }

    /// Whether the set has never been fetched.
    pub(super) fn is_waiting(&self) -> bool {
        match self {
            Jwks::File(_) => false,
            Jwks::Fetched(fetched) => fetched.lock().at.is_none(),
        }
    }
}

/// The last good set that was fetched from a URL. The [`Fetcher`](crate::jwks::Fetcher) keeps it up to date.
#[derive(Debug, Default)]
pub(crate) struct FetchedJwks {
    last: Mutex<Fetched>,
    /// Notified whenever a token names a key that is not there.
    pub(crate) unknown: Notify,
    /// How many times fetching the set was tried.
    pub(crate) fetches: AtomicU64,
    /// How many of these attempts failed.
    pub(crate) failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Fetched {
    text: String,
    keys: Arc<[NamedKey]>,
    at: Option<Timestamp>,
}

impl FetchedJwks {
    /// Replaces the set by what was fetched. Returns the number of keys if the set has changed.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a set with a key that we can use. The set from before stays.
    pub(crate) fn replace(&self, text: String, now: Timestamp) -> Result<Option<usize>, String> {
        if self.lock().text == text {
            self.lock().at = Some(now);
            return Ok(None);
        }
        let keys: Arc<[NamedKey]> = keys_of(&text)?.into();
        let count = keys.len();
        *self.lock() = Fetched {
            text,
            keys,
            at: Some(now),
        };
        Ok(Some(count))
    }

    /// How many keys there are, and when they were last fetched.
    pub(crate) fn state(&self) -> (usize, Option<Timestamp>) {
        let last = self.lock();
        (last.keys.len(), last.at)
    }

    fn keys(&self) -> Arc<[NamedKey]> {
        self.lock().keys.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Fetched> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a file as they were when it was last read.
#[derive(Debug)]
pub(super) struct JwksFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: Arc<[NamedKey]>,
    seen: Option<Stamp>,
    look_at: Timestamp,
}

/// The properties of a file that change when it is written.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// A key and its id (`kid`).
#[derive(Debug)]
pub(super) struct NamedKey {
    pub(super) kid: Option<String>,
    pub(super) key: Key,
}

impl JwksFile {
    /// Reads the set in the file at `path`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or has no key that we can use.
    pub(super) fn open(path: &Path, now: Timestamp) -> Result<JwksFile, KeyError> {
        let seen = stamp(path).ok();
        Ok(JwksFile {
            path: path.to_owned(),
            state: Mutex::new(State {
                keys: read(path)?,
                seen,
                look_at: now + LOOK_EVERY,
            }),
        })
    }

    /// The keys, read again if the file has changed. While the file cannot be read, the keys from before.
    pub(super) fn keys(&self, now: Timestamp) -> Arc<[NamedKey]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= state.look_at {
            state.look_at = now + LOOK_EVERY;
            let stamp = stamp(&self.path).ok();
            if stamp != state.seen {
                state.seen = stamp;
                match read(&self.path) {
                    Ok(keys) => {
                        tracing::info!(file = %self.path.display(), keys = keys.len(), "read the keys again");
                        state.keys = keys;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the keys from before stay in use");
                    }
                }
            }
        }
        state.keys.clone()
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    Ok(Stamp {
        modified: meta.modified().ok(),
        bytes: meta.len(),
    })
}

fn read(path: &Path) -> Result<Arc<[NamedKey]>, KeyError> {
    let bad = |problem: String| KeyError::File {
        path: path.to_owned(),
        problem,
    };
    let unread = |error| bad(unreadable("jwt.jwks_file (PRESENCE_JWKS_FILE)", &error));
    let meta = fs::metadata(path).map_err(unread)?;
    if meta.len() > JWKS_BYTES_MAX as u64 {
        return Err(bad(format!("at most {JWKS_BYTES_MAX} bytes would do")));
    }
    let text = fs::read_to_string(path).map_err(unread)?;
    keys_of(&text).map(Into::into).map_err(bad)
}

/// The keys that we can use. Keys for encryption, or of a kind that we do not accept, are left out.
pub(super) fn keys_of(text: &str) -> Result<Vec<NamedKey>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_str(text)
        .map_err(|error| format!("a JWK set, {{\"keys\":[...]}}, would do ({error})"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("at most {KEYS_MAX} keys would do"));
    }
    let mut keys: Vec<NamedKey> = Vec::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        if value["kty"] == "oct" {
            return Err(format!(
                "key {index} is a secret (oct): such a one belongs into jwt.secret"
            ));
        }
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
            continue;
        };
        let Some(algorithm) = algorithm_of(&jwk).filter(|_| verifies(&jwk)) else {
            continue;
        };
        let kid = jwk.common.key_id.clone();
        if kid.is_some() && keys.iter().any(|it| it.kid == kid) {
            return Err(format!("key {index} has the id (kid) of another one"));
        }
        let key = DecodingKey::from_jwk(&jwk)
            .map_err(|error| error.to_string())
            .and_then(|key| checked_key(algorithm, key))
            .map_err(|problem| format!("key {index}: {problem}"))?;
        keys.push(NamedKey { kid, key });
    }
    if keys.is_empty() {
        return Err("it has no key for RS256, ES256 or EdDSA signatures".into());
    }
    Ok(keys)
}

/// The one algorithm of a key: the one it names, otherwise the one of its type.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let (of_kind, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    named.is_none_or(|named| named == name).then_some(of_kind)
}

fn verifies(jwk: &Jwk) -> bool {
    let for_use = jwk.common.public_key_use.as_ref();
    let operations = jwk.common.key_operations.as_ref();
    for_use.is_none_or(|it| *it == PublicKeyUse::Signature)
        && operations.is_none_or(|it| it.contains(&KeyOperations::Verify))
}
