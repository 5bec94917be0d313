//! The identity of a client, and what it may do.
//!
//! [`Gate`] turns a token, or what a client says if no token is needed, into an [`Identity`].
//! The rest of the gateway asks the identity. Time is always an argument.

mod gate;

mod claims;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;

mod algorithm;
mod jwks;
mod keys;
mod mint;

mod origin;
mod revoked;

use std::time::Duration;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use gate::Gate;
pub(crate) use jwks::{FetchedJwks, JWKS_BYTES_MAX};
pub use keys::{KeyError, Keys, SECRET_BYTES_MIN, TOKEN_BYTES_MAX, weak_secret};
pub use mint::{Grant, MintError, mint};
pub use origin::{AllowedOrigins, OriginRefused};
use presence_native::closing::CloseReason;
use presence_native::identity::BadClaim;
pub use presence_native::identity::{
    Asked, Forbidden, Identity, NAME_CHARS_MAX, PATTERNS_MAX, PatternError, Patterns, ResumeKey,
    ResumeKeyError, Scope, Scopes, WORKSPACES_MAX, user_id,
};
pub(crate) use presence_native::identity::{
    PUSHER_PREFIX, PUSHER_SERVER_PREFIX, anonymous, shown_name, user_id_for_admin,
};
use presence_native::{ErrorCode, Refused};
pub(crate) use revoked::Compared;
pub use revoked::{REVOKED_MAX, Revoked, RevokedFull};

/// Why a client has no identity. It is safe to show: it has nothing of the token but what the issuer has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A token is needed, and there is none.
    #[error("a token is required")]
    Missing,
    /// The token is not a JWT.
    #[error("the token is not a JWT")]
    Malformed,
    /// The token is longer than the limit.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// The algorithm of the token is not that of the key.
    #[error(
        "the token's algorithm is not the one of the key; here it is {}",
        one_of(expected)
    )]
    Algorithm {
        /// The algorithms of the configured keys.
        expected: Vec<Algorithm>,
    },
    /// The token names a key that is not here, or names none although it has to.
    #[error("the token's key (kid) is unknown")]
    UnknownKey,
    /// The token was changed, or signed by somebody else.
    #[error("the token's signature is wrong")]
    Signature,
    /// The token has expired (`exp`).
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet (`nbf`).
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token says that it was issued later than now (`iat`).
    #[error("the token was issued in the future (iat)")]
    IssuedInFuture,
    /// The keys to verify the token have not been fetched yet.
    #[error("the keys of tokens are not there yet: try again")]
    NoKeysYet,
    /// The token was issued by somebody else (`iss`).
    #[error("the token's issuer (iss) is not the one configured")]
    Issuer,
    /// The token is meant for another service (`aud`).
    #[error("the token's audience (aud) does not name this service")]
    Audience,
    /// A claim, or without tokens a parameter, is missing or has a bad value.
    #[error("{claim} {problem}")]
    Claim {
        /// The name of the claim or parameter.
        claim: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
    /// The token was issued before its user was revoked.
    #[error("the user has been revoked: sign in again")]
    Revoked,
    /// The token is to replace a token of another user.
    #[error("the token is of another user")]
    OtherUser,
    /// The token is bound to another device than that of the session that it is to renew.
    #[error("the token is of another device")]
    OtherDevice,
}

impl From<BadClaim> for IdentityError {
    fn from(BadClaim { claim, problem }: BadClaim) -> Self {
        IdentityError::Claim { claim, problem }
    }
}

impl From<IdentityError> for Refused {
    fn from(why: IdentityError) -> Self {
        match &why {
            // Where no token is needed, a bad parameter is a mistake like any other.
            IdentityError::Claim { claim, .. } if claim.ends_with("_id") => Refused {
                field: Some((*claim).to_owned()),
                ..Refused::new(ErrorCode::Invalid, why.to_string())
            },
            IdentityError::NoKeysYet => Refused::new(ErrorCode::Unavailable, why.to_string())
                .retry_after(Duration::from_secs(1)),
            _ => Refused {
                ending: match why {
                    IdentityError::Missing => Some(CloseReason::NoToken),
                    IdentityError::Expired => Some(CloseReason::Expired),
                    _ => None,
                },
                ..Refused::new(ErrorCode::Unauthorized, why.to_string())
            },
        }
    }
}

fn one_of(algorithms: &[Algorithm]) -> String {
    let names: Vec<&str> = algorithms.iter().map(|it| it.as_str()).collect();
    names.join(" or ")
}

#[cfg(test)]
mod token_table;
