//! Signs tokens with the configured secret: to try things out, and for tests.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use presence_core::{DeviceId, Timestamp, UserId, WorkspaceId};
use serde::Serialize;

use super::{Algorithm, PatternError, Patterns, Scope};
use crate::config::Jwt;

/// The user that a token is for, and what it allows.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The user that the token is for (`sub`).
    pub user: UserId,
    /// The name that others see.
    pub name: Option<String>,
    /// The workspaces that show the user in their online lists.
    pub workspaces: Vec<WorkspaceId>,
    /// Patterns of channels. If empty, the token has no list.
    pub channels: Vec<String>,
    /// The names of scopes; one text may have several, with spaces or commas between. If empty, the token has no scopes
    /// of its own.
    pub scopes: Vec<String>,
    /// The device that the token is bound to.
    pub device: Option<DeviceId>,
    /// How long the token is valid.
    pub ttl: Duration,
}

/// Why a token could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No secret is configured.
    #[error(
        "there is no secret to sign with: PRESENCE_JWT_SECRET=$(openssl rand -base64 32) would do, for the gateway too"
    )]
    NoSecret,
    /// There is no scope with this name.
    #[error("there is no scope {0:?}: join, watch, status, broadcast, act, read or admin would do")]
    Scope(String),
    /// A text is not a pattern of channels.
    #[error("{0}")]
    Pattern(#[from] PatternError),
    /// The library could not sign the token.
    #[error("it could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aud: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    workspaces: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    channels: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<&'static str>,
}

/// Signs a token with the configured secret, for the configured issuer and audience.
///
/// # Errors
///
/// Fails if there is no secret, or if the grant has a scope or a pattern that is not valid.
pub fn mint(jwt: &Jwt, grant: &Grant, now: Timestamp) -> Result<String, MintError> {
    let secret = jwt.secret.as_ref().ok_or(MintError::NoSecret)?;
    Patterns::new(grant.channels.iter().map(String::as_str))?;
    let mut scopes = Vec::new();
    for name in grant.scopes.iter().flat_map(|it| it.split([',', ' '])) {
        if !name.is_empty() {
            let scope = Scope::named(name).ok_or_else(|| MintError::Scope(name.to_owned()))?;
            scopes.push(scope.as_str());
        }
    }
    let claims = Claims {
        sub: grant.user.as_str(),
        iat: now.as_millis() / 1000,
        exp: (now + grant.ttl).as_millis() / 1000,
        iss: jwt.issuer.as_deref(),
        aud: &jwt.audience,
        name: grant.name.as_deref(),
        device_id: grant.device.as_ref().map(DeviceId::as_str),
        workspaces: grant.workspaces.iter().map(WorkspaceId::as_str).collect(),
        channels: &grant.channels,
        scopes,
    };
    let header = Header::new(Algorithm::HS256.theirs());
    encode(&header, &claims, &EncodingKey::from_secret(secret.expose())).map_err(MintError::Signing)
}
