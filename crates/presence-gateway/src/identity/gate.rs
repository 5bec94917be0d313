//! The gate: it turns what a client presents into an identity.

use std::sync::Arc;

use presence_core::{DeviceId, Timestamp};

use super::{Asked, FetchedJwks, Identity, IdentityError, KeyError, Keys, Revoked};
use crate::config::Jwt;

/// Checks the tokens of all connections.
#[derive(Debug)]
pub struct Gate {
    keys: Option<Keys>,
    /// The users whose older tokens are refused.
    pub revoked: Arc<Revoked>,
}

impl Gate {
    /// A gate with the configured keys. Without any key it is open.
    ///
    /// # Errors
    ///
    /// Fails if a key cannot be used.
    pub fn new(jwt: &Jwt, now: Timestamp) -> Result<Gate, KeyError> {
        Ok(Gate {
            keys: Keys::load(jwt, now)?,
            revoked: Arc::new(Revoked::new(jwt.leeway)),
        })
    }

    /// Whether there are no keys, so that the gateway believes what clients say about themselves.
    pub fn is_open(&self) -> bool {
        self.keys.is_none()
    }

    /// Whether no client can be let in yet, because the keys of a URL have never been fetched.
    pub fn is_waiting_for_keys(&self) -> bool {
        self.keys.as_ref().is_some_and(Keys::is_waiting)
    }

    /// The keys that are fetched from a URL, if there are any.
    pub(crate) fn fetched_keys(&self) -> Option<&Arc<FetchedJwks>> {
        self.keys.as_ref().and_then(Keys::fetched)
    }

    /// The identity of a client with `token`, or without one.
    ///
    /// # Errors
    ///
    /// Fails if a token is needed and missing, if it is not valid, or if a parameter has a bad value.
    pub fn admit(
        &self,
        token: Option<&str>,
        asked: Asked<'_>,
        now: Timestamp,
    ) -> Result<Identity, IdentityError> {
        let mut identity = match &self.keys {
            None => asked.identity()?,
            Some(keys) => keys.verify(token.ok_or(IdentityError::Missing)?, now)?,
        };
        if identity.device.is_none() {
            identity.device = asked.device()?;
        }
        self.revoked.check(&identity, now)?;
        Ok(identity)
    }

    /// The identity after a change to a fresh `token`, which must be of the same user. `device` is the device of the
    /// session. It stays, so a token that is bound to another one is refused.
    ///
    /// # Errors
    ///
    /// Fails if the token is not valid, or of another user or device. The old identity stays valid until its own token expires.
    pub fn renew(
        &self,
        old: &Identity,
        device: &DeviceId,
        token: &str,
        now: Timestamp,
    ) -> Result<Identity, IdentityError> {
        let Some(keys) = &self.keys else {
            return Ok(old.clone());
        };
        let mut identity = keys.verify(token, now)?;
        if identity.user != old.user {
            return Err(IdentityError::OtherUser);
        }
        if identity.device.as_ref().is_some_and(|it| it != device) {
            return Err(IdentityError::OtherDevice);
        }
        identity.device.clone_from(&old.device);
        self.revoked.check(&identity, now)?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use presence_core::{UserId, WorkspaceId};

    use super::*;
    use crate::config::Secret;
    use crate::identity::{Grant, Patterns, mint};

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    #[test]
    fn without_a_key_everybody_is_who_they_say_and_may_do_everything() {
        let gate = Gate::new(&jwt(None), NOW).unwrap();
        assert!(gate.is_open());
        let asked = Asked {
            user_id: Some("ann"),
            name: Some("Ann"),
            device_id: Some("web:x"),
            workspace_id: Some("acme, umbrella"),
        };
        let ann = gate.admit(None, asked, NOW).unwrap();
        assert!(ann.open && ann.may_administer().is_ok());
        assert_eq!(ann.user.as_str(), "ann");
        assert_eq!(ann.name.as_deref(), Some("Ann"));
        assert_eq!(ann.device.as_ref().unwrap().as_str(), "web:x");
        assert_eq!(ann.workspaces.len(), 2);
        assert_eq!(
            gate.renew(&ann, &device("web:x"), "whatever", NOW).unwrap(),
            ann
        );
    }

    #[test]
    fn who_says_nothing_is_a_visitor_with_a_random_name() {
        let gate = Gate::new(&jwt(None), NOW).unwrap();
        let visitor = || gate.admit(None, Asked::default(), NOW).unwrap();
        let (one, other) = (visitor(), visitor());
        assert!(one.user.is_anonymous() && one.user != other.user);
        assert_eq!(one.workspaces, [WorkspaceId::new("default").unwrap()]);
    }

    #[test]
    fn a_parameter_with_a_bad_value_is_named() {
        let gate = Gate::new(&jwt(None), NOW).unwrap();
        let refused = |asked: Asked<'_>| gate.admit(None, asked, NOW).unwrap_err().to_string();
        let many = vec!["w"; 33].join(",");
        let default = Asked::default();
        assert_eq!(
            refused(Asked {
                user_id: Some("a b"),
                ..default
            }),
            "user_id must not contain ' '"
        );
        assert_eq!(
            refused(Asked {
                device_id: Some(""),
                ..default
            }),
            "device_id must not be empty"
        );
        assert_eq!(
            refused(Asked {
                workspace_id: Some("a,,b"),
                ..default
            }),
            "workspace_id must not be empty"
        );
        assert_eq!(
            refused(Asked {
                workspace_id: Some(&many),
                ..default
            }),
            "workspace_id must be at most 32"
        );
    }

    #[test]
    fn with_a_key_only_the_token_is_believed() {
        let jwt = jwt(Some("wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg"));
        let gate = Gate::new(&jwt, NOW).unwrap();
        let token = mint(&jwt, &grant("ann", Some("web:phone")), NOW).unwrap();
        let asked = Asked {
            user_id: Some("eve"),
            name: Some("Eve"),
            device_id: Some("web:other"),
            workspace_id: Some("umbrella"),
        };
        assert_eq!(gate.admit(None, asked, NOW), Err(IdentityError::Missing));
        let ann = gate.admit(Some(&token), asked, NOW).unwrap();
        assert!(!ann.open);
        assert_eq!((ann.user.as_str(), ann.name.as_deref()), ("ann", None));
        assert_eq!(ann.device.as_ref().unwrap().as_str(), "web:phone");
        assert_eq!(ann.workspaces, [WorkspaceId::new("acme").unwrap()]);

        let token = mint(&jwt, &grant("ann", None), NOW).unwrap();
        let ann = gate.admit(Some(&token), asked, NOW).unwrap();
        assert_eq!(ann.device.unwrap().as_str(), "web:other");
    }

    #[test]
    fn a_fresh_token_goes_on_for_the_same_user_only() {
        let jwt = jwt(Some("wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg"));
        let gate = Gate::new(&jwt, NOW).unwrap();
        let token = |user: &str, now| mint(&jwt, &grant(user, None), now).unwrap();
        let asked = Asked {
            device_id: Some("web:x"),
            ..Asked::default()
        };
        let ann = gate.admit(Some(&token("ann", NOW)), asked, NOW).unwrap();
        let later = NOW + Duration::from_secs(3000);
        let fresh = gate
            .renew(&ann, &device("web:x"), &token("ann", later), later)
            .unwrap();
        assert_eq!(fresh.expires_at, Some(later + Duration::from_secs(3600)));
        assert_eq!(fresh.device, ann.device);
        assert_eq!(
            gate.renew(&ann, &device("web:x"), &token("eve", later), later),
            Err(IdentityError::OtherUser)
        );
        assert_eq!(
            gate.renew(&ann, &device("web:x"), "x.y.z", later),
            Err(IdentityError::Malformed)
        );
    }

    #[test]
    fn a_revoked_user_needs_a_newer_token() {
        let jwt = jwt(Some("wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg"));
        let gate = Gate::new(&jwt, NOW).unwrap();
        let old = mint(&jwt, &grant("ann", None), NOW).unwrap();
        let ann = gate.admit(Some(&old), Asked::default(), NOW).unwrap();
        let day = Duration::from_secs(24 * 3600);
        gate.revoked.revoke(&ann.user, NOW, day).unwrap();
        assert_eq!(
            gate.admit(Some(&old), Asked::default(), NOW),
            Err(IdentityError::Revoked)
        );
        assert_eq!(
            gate.renew(&ann, &device("web:x"), &old, NOW),
            Err(IdentityError::Revoked)
        );
        // An issuer's clock may be so far ahead that these are older.
        for seconds in [1, 5] {
            let ahead = NOW + Duration::from_secs(seconds);
            let old = mint(&jwt, &grant("ann", None), ahead).unwrap();
            let refused = gate.admit(Some(&old), Asked::default(), ahead);
            assert_eq!(refused, Err(IdentityError::Revoked), "{seconds}");
        }
        let later = NOW + Duration::from_secs(6);
        let new = mint(&jwt, &grant("ann", None), later).unwrap();
        assert!(gate.admit(Some(&new), Asked::default(), later).is_ok());
        let other = mint(&jwt, &grant("bob", None), NOW).unwrap();
        assert!(gate.admit(Some(&other), Asked::default(), NOW).is_ok());
    }

    fn jwt(secret: Option<&str>) -> Jwt {
        Jwt {
            secret: secret.map(Secret::new),
            keys: vec![],
            jwks_file: None,
            jwks_url: None,
            issuer: None,
            audience: vec![],
            leeway: Duration::from_secs(5),
            channels_default: Patterns::every(),
        }
    }

    fn grant(user: &str, device: Option<&str>) -> Grant {
        Grant {
            user: UserId::new(user).unwrap(),
            name: None,
            workspaces: vec![WorkspaceId::new("acme").unwrap()],
            channels: vec![],
            scopes: vec![],
            device: device.map(|id| DeviceId::new(id).unwrap()),
            ttl: Duration::from_secs(3600),
        }
    }

    fn device(id: &str) -> DeviceId {
        DeviceId::new(id).unwrap()
    }
}
