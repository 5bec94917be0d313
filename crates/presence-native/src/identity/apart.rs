//! What belongs to Pusher applications alone: the channels and users below `pusher/`, and the ids of their servers.
//!
//! Pusher's own signature opens these channels. An ordinary token opens them only if it names them, and no id from
//! outside may look like that of a user or a server of an application.

use presence_core::{ChannelId, IdError, UserId};

/// The prefix of channels and users that belong to one application and that nobody else meets.
pub const APART: &str = "pusher/";
/// The prefix of the id in whose name an application's server sends.
pub const SERVER: &str = "app:";

/// Whether `channel` belongs to a Pusher application alone.
pub fn is_apart(channel: &ChannelId) -> bool {
    channel.as_str().starts_with(APART)
}

/// Checks the id of a user that comes from outside: from a token, a client, a service or an application's server.
///
/// # Errors
///
/// Fails if it is not an id, or if it is one that only the gateway gives.
pub fn user_id(id: &str) -> Result<UserId, IdError> {
    let user = UserId::new(id)?;
    match [APART, SERVER].into_iter().find(|it| id.starts_with(it)) {
        Some(prefix) => Err(IdError::Prefix(prefix)),
        None => Ok(user),
    }
}

/// Checks the id of a user for an administrator, who may also kick and erase the users of an application.
pub fn user_id_for_admin(id: &str) -> Result<UserId, IdError> {
    match id.starts_with(APART) {
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
            ("pusher/7/ann", APART),
            ("pusher/", APART),
            ("app:3", SERVER),
            ("app:", SERVER),
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
        assert_eq!(user_id_for_admin("app:3"), Err(IdError::Prefix(SERVER)));
        assert_eq!(user_id_for_admin("a b"), Err(IdError::Character(' ')));
        assert_eq!(
            user_id("app:3").unwrap_err().to_string(),
            "must not begin with `app:`"
        );
    }
}
