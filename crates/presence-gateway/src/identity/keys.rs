//! The keys that tokens are signed with. Each has one algorithm, and a token that names another is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as base64;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{
    AlgorithmFamily, DecodingKey, DecodingKeyKind, Validation, decode, decode_header,
};
use presence_core::Timestamp;

use super::claims::Claims;
use super::jwks::{FetchedJwks, Jwks, JwksFile};
use super::{Algorithm, Identity, IdentityError, Patterns};
use crate::config::{Jwt, KeyFile};

/// The longest token that is verified, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// The shortest secret, in bytes. A shorter one can be guessed.
pub const SECRET_BYTES_MIN: usize = 32;

/// The shortest modulus of an RSA key, in bytes. A shorter one can be factored.
const RSA_BYTES_MIN: usize = 256;
/// The longest modulus, in bytes: 512, and a few bytes of DER around it.
const RSA_BYTES_MAX: usize = 530;

/// The length of a public key of Ed25519.
const ED25519_BYTES: usize = 32;

/// Whether a secret can be guessed: it is short, or a few characters over and over.
pub fn weak_secret(secret: &[u8]) -> bool {
    let mut distinct = secret.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    secret.len() < SECRET_BYTES_MIN || distinct.len() < 8
}

/// The keys that tokens are signed with.
#[derive(Debug)]
pub struct Keys {
    /// The secret and those of files: chosen by their algorithm.
    unnamed: Vec<Key>,
    jwks: Option<Jwks>,
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: Duration,
    channels_default: Patterns,
}

/// A key, and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    key: DecodingKey,
}

/// Why the keys cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The secret can be guessed.
    #[error(
        "the secret can be guessed: at least {SECRET_BYTES_MIN} random bytes would do, `openssl rand -base64 32` makes some"
    )]
    WeakSecret,
    /// A file is not a key of the configured kind.
    #[error("{}: {problem}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
}

impl Keys {
    /// Reads the configured keys; `None` if none is configured.
    ///
    /// # Errors
    ///
    /// Fails if a secret is weak, or if a file is not what it should be.
    pub fn load(jwt: &Jwt, now: Timestamp) -> Result<Option<Keys>, KeyError> {
        if jwt.is_open() {
            return Ok(None);
        }
        let mut unnamed = Vec::new();
        if let Some(secret) = &jwt.secret {
            if weak_secret(secret.expose()) {
                return Err(KeyError::WeakSecret);
            }
            unnamed.push(Key {
                algorithm: Algorithm::HS256,
                key: DecodingKey::from_secret(secret.expose()),
            });
        }
        for file in &jwt.keys {
            unnamed.push(read_pem(file)?);
        }
        let jwks = match (&jwt.jwks_file, &jwt.jwks_url) {
            (Some(path), _) => Some(Jwks::File(JwksFile::open(path, now)?)),
            (None, Some(_)) => Some(Jwks::Fetched(Arc::default())),
            (None, None) => None,
        };
        Ok(Some(Keys {
            unnamed,
            jwks,
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            leeway: jwt.leeway,
            channels_default: jwt.channels_default.clone(),
        }))
    }

    /// Verifies `token`, and returns the identity that it gives.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the token. The message has nothing of the token that was not signed.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Identity, IdentityError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::TooLong);
        }
        let claims = self.signed_claims(token, now)?;
        let validity = claims.validity()?;
        if now >= validity.exp + self.leeway {
            return Err(IdentityError::Expired);
        }
        if validity.nbf.is_some_and(|nbf| now + self.leeway < nbf) {
            return Err(IdentityError::NotYetValid);
        }
        // Or it would be newer than any revocation.
        if validity.iat.is_some_and(|iat| now + self.leeway < iat) {
            return Err(IdentityError::IssuedInFuture);
        }
        claims.identity(&self.channels_default)
    }

    /// Whether the keys of a URL have never been fetched.
    pub(crate) fn is_waiting(&self) -> bool {
        self.jwks.as_ref().is_some_and(Jwks::is_waiting)
    }

    /// The keys that are fetched from a URL, if there are any.
    pub(crate) fn fetched(&self) -> Option<&Arc<FetchedJwks>> {
        match &self.jwks {
            Some(Jwks::Fetched(fetched)) => Some(fetched),
            Some(Jwks::File(_)) | None => None,
        }
    }

    /// The claims of a token whose signature, issuer and audience are right.
    fn signed_claims(&self, token: &str, now: Timestamp) -> Result<Claims, IdentityError> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // An algorithm nobody knows, `none` for one.
            ErrorKind::Json(_) if algorithm_is_the_problem(token) => self.other_algorithm(now),
            _ => IdentityError::Malformed,
        })?;
        if header.crit.is_some() {
            return Err(IdentityError::Malformed);
        }
        let named = self.jwks.as_ref().map(|jwks| jwks.keys(now));
        let named = named.as_deref().unwrap_or_default();
        let with_its_name = named
            .iter()
            .filter(|it| it.kid.is_some() && it.kid == header.kid)
            .map(|it| &it.key);
        let mut keys: Vec<&Key> = with_its_name.collect();
        let is_named = !keys.is_empty();
        if let (Some(jwks), Some(_), false) = (&self.jwks, &header.kid, is_named) {
            jwks.look_for_unknown();
            return Err(match self.is_waiting() {
                true => IdentityError::NoKeysYet,
                false => IdentityError::UnknownKey,
            });
        }
        if !is_named {
            let nameless = named.iter().filter(|it| it.kid.is_none());
            keys.extend(self.unnamed.iter().chain(nameless.map(|it| &it.key)));
        }
        keys.retain(|key| key.algorithm.theirs() == header.alg);
        if keys.is_empty() {
            let everywhere = self.unnamed.iter().chain(named.iter().map(|it| &it.key));
            let elsewhere = everywhere.filter(|key| key.algorithm.theirs() == header.alg);
            return Err(match is_named || elsewhere.count() == 0 {
                _ if self.is_waiting() => IdentityError::NoKeysYet,
                true => self.other_algorithm(now),
                false => IdentityError::UnknownKey,
            });
        }
        let mut outcome = Err(IdentityError::Signature);
        for key in keys {
            outcome = self.check(token, key);
            if outcome.as_ref().err() != Some(&IdentityError::Signature) {
                break;
            }
        }
        outcome
    }

    fn check(&self, token: &str, key: &Key) -> Result<Claims, IdentityError> {
        let mut validation = Validation::new(key.algorithm.theirs());
        // We are told what time it is; the library would look itself.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let mut required = Vec::new();
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        match decode::<Claims>(token, &key.key, &validation) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidSignature => IdentityError::Signature,
                ErrorKind::InvalidIssuer => IdentityError::Issuer,
                ErrorKind::InvalidAudience => IdentityError::Audience,
                ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => IdentityError::Issuer,
                ErrorKind::MissingRequiredClaim(_) => IdentityError::Audience,
                _ => IdentityError::Malformed,
            }),
        }
    }

    fn other_algorithm(&self, now: Timestamp) -> IdentityError {
        let named = self.jwks.as_ref().map(|jwks| jwks.keys(now));
        let named = named.as_deref().unwrap_or_default();
        let ours = self.unnamed.iter().chain(named.iter().map(|it| &it.key));
        let ours: Vec<Algorithm> = ours.map(|key| key.algorithm).collect();
        let expected = Algorithm::ALL.into_iter().filter(|it| ours.contains(it));
        IdentityError::Algorithm {
            expected: expected.collect(),
        }
    }
}

/// Whether the header of a token cannot be read because of its algorithm.
fn algorithm_is_the_problem(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = base64.decode(header).unwrap_or_default();
    let header = serde_json::from_slice(&header).unwrap_or(serde_json::Value::Null);
    let name = header["alg"].as_str();
    name.is_some_and(|name| name.parse::<jsonwebtoken::Algorithm>().is_err())
}

/// What is wrong with a file that `setting` names and that cannot be read.
pub(super) fn unreadable(setting: &str, error: &io::Error) -> String {
    format!(
        "{setting} names it, and a file that is there and that this user may read would do ({error})"
    )
}

fn read_pem(file: &KeyFile) -> Result<Key, KeyError> {
    let bad = |problem: String| KeyError::File {
        path: file.path.clone(),
        problem,
    };
    let pem = fs::read_to_string(&file.path)
        .map_err(|error| bad(unreadable("jwt.keys (PRESENCE_JWT_KEYS)", &error)))?;
    if pem.contains("PRIVATE KEY") {
        return Err(bad(
            "this is a private key, which nobody but the issuer should have: `openssl pkey -in key.pem -pubout` makes the public one".into(),
        ));
    }
    let key = match file.algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::ES256 => DecodingKey::from_ec_pem(pem.as_bytes()),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem.as_bytes()),
        Algorithm::HS256 => return Err(bad("a secret belongs into jwt.secret".into())),
    };
    key.map_err(|_| format!("a public key for {} in PEM would do", file.algorithm))
        .and_then(|key| checked_key(file.algorithm, key))
        .map_err(bad)
}

/// A key that can verify signatures. The only way to find out is to try.
pub(super) fn checked_key(algorithm: Algorithm, key: DecodingKey) -> Result<Key, String> {
    let is_rsa = key.family() == AlgorithmFamily::Rsa;
    if is_rsa && !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&rsa_bytes(&key)) {
        return Err("an RSA key of 2048 to 4096 bits would do".into());
    }
    // The library panics at a shorter key, and cuts a longer one.
    if key.family() == AlgorithmFamily::Ed && der_bytes(&key) != Some(ED25519_BYTES) {
        return Err(format!("it is no key for {algorithm}"));
    }
    let mut validation = Validation::new(algorithm.theirs());
    validation.set_required_spec_claims::<&str>(&[]);
    let header = base64.encode(format!("{{\"alg\":\"{algorithm}\"}}"));
    let signature = base64.encode([0x55; RSA_BYTES_MIN]);
    let wrong = format!("{header}.e30.{signature}");
    match decode::<serde_json::Value>(&wrong, &key, &validation) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
            Ok(Key { algorithm, key })
        }
        _ => Err(format!("it is no key for {algorithm}")),
    }
}

/// The length of a key that is kept in one piece.
fn der_bytes(key: &DecodingKey) -> Option<usize> {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => Some(der.len()),
        DecodingKeyKind::RsaModulusExponent { .. } => None,
    }
}

/// The length of the modulus in bytes, about: that of a PEM comes with a few bytes of DER around.
fn rsa_bytes(key: &DecodingKey) -> usize {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            n.iter().skip_while(|byte| **byte == 0).count()
        }
        DecodingKeyKind::SecretOrDer(der) => der.len(),
    }
}

#[cfg(test)]
mod tests;
