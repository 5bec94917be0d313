//! The ids that belong to Pusher applications: channels and users that begin with `pusher/`, and the users in whose
//! name their servers send.
//!
//! Clients get into these channels with a signature of Pusher's protocol. An ordinary token allows them only if it
//! names them, and no id from outside may look like that of a user or a server of an application.

use presence_core::{ChannelId, IdError, UserId};

/// The prefix of channels and users that belong to one Pusher application, so that clients of other protocols are not
/// in them.
pub const PUSHER_PREFIX: &str = "pusher/";
/// The prefix of the user id in whose name the server of a Pusher application sends.
pub const PUSHER_SERVER_PREFIX: &str = "app:";

/// Whether `channel` belongs to a Pusher application.
pub fn is_pusher_channel(channel: &ChannelId) -> bool {
    channel.as_str().starts_with(PUSHER_PREFIX)
}

/// Checks the id of a user that comes from outside: from a token, a client, a service or an application's server.
///
/// # Errors
///
/// Fails if it is not an id, or if it is one that only the gateway gives.
pub fn user_id(id: &str) -> Result<UserId, IdError> {
    let user = UserId::new(id)?;
    match [PUSHER_PREFIX, PUSHER_SERVER_PREFIX]
        .into_iter()
        .find(|it| id.starts_with(it))
    {
        Some(prefix) => Err(IdError::Prefix(prefix)),
        None => Ok(user),
    }
}

/// Checks the id of a user for an administrator, who may also kick and erase the users of an application.
pub fn user_id_for_admin(id: &str) -> Result<UserId, IdError> {
    match id.starts_with(PUSHER_PREFIX) {
        true => UserId::new(id),
        false => user_id(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_from_outside_is_a_user_or_a_server_of_an_application() {
        for (id, prefix) in [
            ("pusher/7/ann", PUSHER_PREFIX),
            ("pusher/", PUSHER_PREFIX),
            ("app:3", PUSHER_SERVER_PREFIX),
            ("app:", PUSHER_SERVER_PREFIX),
        ] {
            assert_eq!(user_id(id), Err(IdError::Prefix(prefix)), "{id}");
        }
        for id in [
            "pusher",
            "pusher:7",
            "Pusher/7/ann",
            "app",
            "apple:1",
            "my-app:3",
            "anon_1",
        ] {
            assert!(user_id(id).is_ok(), "{id}");
        }
        assert!(user_id_for_admin("pusher/7/ann").is_ok());
        assert_eq!(
            user_id_for_admin("app:3"),
            Err(IdError::Prefix(PUSHER_SERVER_PREFIX))
        );
        assert_eq!(user_id_for_admin("a b"), Err(IdError::Character(' ')));
        assert_eq!(
            user_id("app:3").unwrap_err().to_string(),
            "must not begin with `app:`"
        );
    }
}
