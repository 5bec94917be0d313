//! The claims of a token, and the identity that they make.

use presence_core::{DeviceId, IdError, Timestamp, WorkspaceId};
use serde::Deserialize;
use serde_json::Value;

use super::{Identity, IdentityError, Patterns, Scopes, WORKSPACES_MAX, shown_name, user_id};
use crate::numbers::whole_number;

/// The claims that the gateway reads. It ignores all others.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    name: Option<Value>,
    device_id: Option<Value>,
    workspaces: Option<Value>,
    workspace_id: Option<Value>,
    channels: Option<Value>,
    scopes: Option<Value>,
    scope: Option<Value>,
}

/// The times between which a token is valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// The token is no longer valid from this time on.
    pub(super) exp: Timestamp,
    /// The token is not valid before this time.
    pub(super) nbf: Option<Timestamp>,
    /// When the token was issued.
    pub(super) iat: Option<Timestamp>,
}

impl Claims {
    /// The times between which the token is valid; it must have `exp`.
    pub(super) fn validity(&self) -> Result<Validity, IdentityError> {
        let exp = moment("exp", self.exp.as_ref())?;
        Ok(Validity {
            exp: exp.ok_or_else(|| bad("exp", "is missing"))?,
            nbf: moment("nbf", self.nbf.as_ref())?,
            iat: moment("iat", self.iat.as_ref())?,
        })
    }

    /// The identity that the token gives. A token without a list of channels gets `channels_default`.
    pub(super) fn identity(self, channels_default: &Patterns) -> Result<Identity, IdentityError> {
        let Validity { exp, iat, .. } = self.validity()?;
        let user = match self.sub {
            Some(Value::String(sub)) => checked("sub", user_id(&sub))?,
            // Against the letter of the standard, and what many accounts tables have.
            Some(Value::Number(sub)) => {
                let sub = whole_number(&sub).filter(|it| !it.starts_with('-'));
                let sub = sub.ok_or_else(|| bad("sub", "must be a text"))?;
                checked("sub", user_id(&sub))?
            }
            None | Some(Value::Null) => return Err(bad("sub", "is missing")),
            Some(_) => return Err(bad("sub", "must be a text")),
        };
        let device = text("device_id", self.device_id)?
            .map(|id| checked("device_id", DeviceId::new(&id)))
            .transpose()?;
        let channels = match texts("channels", self.channels)? {
            None => channels_default.clone(),
            Some(list) => Patterns::new(list.iter().map(String::as_str))
                .map_err(|error| bad("channels", error))?,
        };
        let oauth = text("scope", self.scope)?.and_then(|scope| Scopes::in_oauth(&scope));
        let scopes = match texts("scopes", self.scopes)? {
            Some(list) => Scopes::named(list.iter().map(String::as_str)),
            None => oauth.unwrap_or_else(Scopes::of_a_user),
        };
        Ok(Identity {
            user,
            name: text("name", self.name)?.and_then(|name| shown_name(&name)),
            device,
            workspaces: workspaces(
                texts("workspaces", self.workspaces)?,
                text("workspace_id", self.workspace_id)?,
            )?,
            channels,
            scopes,
            issued_at: iat,
            expires_at: Some(exp),
            open: false,
        })
    }
}

fn workspaces(
    list: Option<Vec<String>>,
    one: Option<String>,
) -> Result<Vec<WorkspaceId>, IdentityError> {
    let mut workspaces = Vec::new();
    let named = list.into_iter().flatten().map(|id| ("workspaces", id));
    for (claim, id) in named.chain(one.map(|id| ("workspace_id", id))) {
        let id = checked(claim, WorkspaceId::new(&id))?;
        if !workspaces.contains(&id) {
            workspaces.push(id);
        }
    }
    if workspaces.len() > WORKSPACES_MAX {
        let problem = format!("must be at most {WORKSPACES_MAX}");
        return Err(bad("workspaces", problem));
    }
    Ok(workspaces)
}

/// Reads a moment: seconds since 1970, with or without a fraction.
fn moment(claim: &'static str, value: Option<&Value>) -> Result<Option<Timestamp>, IdentityError> {
    let millis = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => match (value.as_u64(), value.as_f64()) {
            (Some(seconds), _) => seconds.saturating_mul(1000),
            // A cast saturates; what is before 1970 ended then.
            (None, Some(seconds)) if seconds.is_finite() => (seconds * 1000.0) as u64,
            _ => return Err(bad(claim, "must be a number of seconds since 1970")),
        },
    };
    Ok(Some(Timestamp::from_millis(millis)))
}

fn text(claim: &'static str, value: Option<Value>) -> Result<Option<String>, IdentityError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(claim, "must be a text")),
    }
}

/// Reads a list of texts, or one text with spaces between.
fn texts(claim: &'static str, value: Option<Value>) -> Result<Option<Vec<String>>, IdentityError> {
    let wants = || bad(claim, "must be a list of texts");
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.split_whitespace().map(str::to_owned).collect())),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(wants()),
            })
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(wants()),
    }
}

pub(super) fn checked<T>(claim: &'static str, id: Result<T, IdError>) -> Result<T, IdentityError> {
    id.map_err(|error| bad(claim, error))
}

pub(super) fn bad(claim: &'static str, problem: impl ToString) -> IdentityError {
    IdentityError::Claim {
        claim,
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::Scope;

    #[test]
    fn the_least_a_token_has_is_a_user_and_an_end() {
        let it = identity(json!({"sub": "ann", "exp": 2000})).unwrap();
        assert_eq!(it.user.as_str(), "ann");
        assert_eq!(it.expires_at, Some(Timestamp::from_millis(2_000_000)));
        assert_eq!((it.name, it.device, it.issued_at), (None, None, None));
        assert_eq!(it.workspaces, []);
        assert_eq!(it.channels, Patterns::every());
        assert_eq!(it.scopes, Scopes::of_a_user());
        assert!(!it.open);
        for sub in ["42", "42.0", "4.2e1"] {
            let claims = format!(r#"{{"sub":{sub},"exp":2000}}"#);
            let it = identity(serde_json::from_str(&claims).unwrap()).unwrap();
            assert_eq!(it.user.as_str(), "42", "{sub}");
        }
        refused(json!({"sub": 1.5, "exp": 2000}), "sub must be a text");
        refused(json!({"exp": 2000}), "sub is missing");
        refused(json!({"sub": "ann"}), "exp is missing");
    }

    #[test]
    fn everything_a_token_can_say() {
        let it = identity(json!({
            "sub": 42, "exp": 2000.5, "iat": 1000, "name": " Ann\n\u{1b}[2J ", "device_id": "web:x",
            "workspaces": ["acme", "umbrella"], "workspace_id": "acme",
            "channels": ["room:*"], "scopes": ["join", "unheard-of"], "scope": "presence:admin",
            "aud": "somebody", "email": {"a": 1},
        }))
        .unwrap();
        assert_eq!(it.user.as_str(), "42");
        assert_eq!(it.expires_at, Some(Timestamp::from_millis(2_000_500)));
        assert_eq!(it.issued_at, Some(Timestamp::from_millis(1_000_000)));
        assert_eq!(it.name.as_deref(), Some("Ann[2J"));
        assert_eq!(it.device.unwrap().as_str(), "web:x");
        assert_eq!(it.workspaces.len(), 2);
        assert_eq!(it.channels, Patterns::new(["room:*"]).unwrap());
        assert_eq!(
            it.scopes,
            [Scope::Join].into_iter().collect(),
            "scopes wins over scope"
        );
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let it = identity(json!({"sub": "ann", "exp": 1, "channels": [], "scopes": []})).unwrap();
        assert_eq!(it.channels, Patterns::new([]).unwrap());
        assert_eq!(it.scopes, Scopes::default());
    }

    #[test]
    fn scopes_may_be_one_text_and_those_of_oauth_have_our_prefix() {
        let with = |claims| identity(claims).unwrap().scopes;
        let all_of = |scopes: &[Scope]| -> Scopes { scopes.iter().copied().collect() };
        assert_eq!(
            with(json!({"sub": "a", "exp": 1, "scopes": "join watch"})),
            all_of(&[Scope::Join, Scope::Watch])
        );
        assert_eq!(
            with(json!({"sub": "a", "exp": 1, "scope": "openid read admin"})),
            Scopes::of_a_user()
        );
        assert_eq!(
            with(json!({"sub": "a", "exp": 1, "scope": "openid presence:read"})),
            all_of(&[Scope::Read])
        );
    }

    #[test]
    fn a_claim_with_a_bad_value_is_named() {
        let with = |claim: &str, value: Value| {
            let mut claims = json!({"sub": "ann", "exp": 1});
            claims[claim] = value;
            claims
        };
        refused(with("sub", json!("a b")), "sub must not contain ' '");
        refused(with("sub", json!("")), "sub must not be empty");
        refused(
            with("sub", json!("pusher/7/ann")),
            "sub must not begin with `pusher/`",
        );
        refused(
            with("sub", json!("app:3")),
            "sub must not begin with `app:`",
        );
        refused(with("sub", json!(-1)), "sub must be a text");
        refused(with("sub", json!(["ann"])), "sub must be a text");
        refused(
            with("sub", json!("x".repeat(129))),
            "sub must be at most 128 bytes",
        );
        refused(
            with("exp", json!("soon")),
            "exp must be a number of seconds since 1970",
        );
        refused(
            with("iat", json!({})),
            "iat must be a number of seconds since 1970",
        );
        refused(
            with("device_id", json!("<x>")),
            "device_id must not contain '<'",
        );
        refused(
            with("workspaces", json!({"a": 1})),
            "workspaces must be a list of texts",
        );
        refused(
            with("workspaces", json!([1])),
            "workspaces must be a list of texts",
        );
        refused(
            with("workspace_id", json!("a b")),
            "workspace_id must not contain ' '",
        );
        refused(with("name", json!(7)), "name must be a text");
        refused(
            with("channels", json!(["room:*:x"])),
            "channels a pattern is a channel",
        );
        refused(
            with("channels", json!(7)),
            "channels must be a list of texts",
        );
        refused(with("scope", json!(["x"])), "scope must be a text");
    }

    #[test]
    fn workspaces_and_patterns_have_a_bound() {
        let many = |count: usize| (0..count).map(|i| format!("w{i}")).collect::<Vec<_>>();
        assert!(
            identity(json!({"sub": "a", "exp": 1, "workspaces": many(WORKSPACES_MAX)})).is_ok()
        );
        refused(
            json!({"sub": "a", "exp": 1, "workspaces": many(WORKSPACES_MAX + 1)}),
            "workspaces must be at most 32",
        );
        refused(
            json!({"sub": "a", "exp": 1, "channels": many(101)}),
            "channels at most 100 patterns would do",
        );
    }

    #[test]
    fn moments_out_of_the_ordinary_saturate() {
        let exp = |value: Value| {
            identity(json!({"sub": "a", "exp": value}))
                .unwrap()
                .expires_at
                .unwrap()
        };
        assert_eq!(exp(json!(-5)), Timestamp::from_millis(0));
        assert_eq!(exp(json!(u64::MAX)), Timestamp::from_millis(u64::MAX));
        assert_eq!(exp(json!(1e300)), Timestamp::from_millis(u64::MAX));
    }

    fn identity(claims: Value) -> Result<Identity, IdentityError> {
        let claims: Claims = serde_json::from_value(claims).unwrap();
        claims.identity(&Patterns::every())
    }

    #[track_caller]
    fn refused(claims: Value, why: &str) {
        let error = identity(claims).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
