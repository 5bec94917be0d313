//! Decodes what a stranger sends, without a connection: see [`crate::hostile`].

use std::ffi::OsString;
use std::sync::OnceLock;

use presence_core::{DeviceId, Timestamp, UserId};

use super::claims::Claims;
use super::jwks::keys_of;
use super::{Asked, Gate, Identity, Patterns, ResumeKey};
use crate::cli::Cli;
use crate::config::Config;

const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// Decodes a token, the claims in one, a set of keys, and a resume token.
pub(crate) fn token(bytes: &[u8]) {
    static GATE: OnceLock<Gate> = OnceLock::new();
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let secret = (
        "PRESENCE_JWT_SECRET",
        "a secret of tests, which everybody knows",
    );
    let gate = GATE.get_or_init(|| gate(&[secret]));
    let admitted = gate.admit(Some(text), Asked::default(), NOW);
    assert!(admitted.is_err(), "nobody has signed it");
    if let Ok(claims) = serde_json::from_str::<Claims>(text) {
        let _ = claims.identity(&Patterns::every());
    }
    let _ = keys_of(text);
    let user = UserId::new("ann").expect("the id is good");
    let device = DeviceId::new("web:1").expect("the id is good");
    let resumed = ResumeKey::shared([7; 32]).verify(text, &user, Some(&device), NOW);
    assert!(resumed.is_none(), "nobody has signed it");
}

/// The identity of a client without a token.
pub(crate) fn somebody() -> Identity {
    static GATE: OnceLock<Gate> = OnceLock::new();
    let admitted = GATE
        .get_or_init(|| gate(&[]))
        .admit(None, Asked::default(), NOW);
    admitted.expect("nobody needs a token")
}

fn gate(settings: &[(&str, &str)]) -> Gate {
    let settings = settings
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let config = Config::load(&Cli::default(), settings).expect("the settings are good");
    Gate::new(&config.jwt, NOW).expect("the key is good")
}
