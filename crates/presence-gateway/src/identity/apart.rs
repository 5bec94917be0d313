//! What belongs to Pusher applications alone: the channels and users below `pusher/`, and the ids of their servers.
//!
//! Those channels are private because Pusher's own signature is the way into them. So no ordinary token opens them unless
//! it names them, and nobody from outside has an id that looks like a user or a server of an application.

use presence_core::{ChannelId, IdError, UserId};

/// Where the channels and users of applications are that nobody else is to meet.
pub(crate) const APART: &str = "pusher/";
/// What the id of an application's server begins with, in whose name it speaks.
pub(crate) const SERVER: &str = "app:";

/// Whether `channel` is one of a Pusher application alone.
pub(crate) fn is_apart(channel: &ChannelId) -> bool {
    channel.as_str().starts_with(APART)
}

/// The user whom somebody from outside calls `id`: a token, a client, a service, an application's server.
///
/// # Errors
///
/// It is no id, or one that only the gateway gives.
pub fn user_id(id: &str) -> Result<UserId, IdError> {
    let user = UserId::new(id)?;
    match [APART, SERVER].into_iter().find(|it| id.starts_with(it)) {
        Some(prefix) => Err(IdError::Prefix(prefix)),
        None => Ok(user),
    }
}

/// The same for an administrator, who may also throw out and forget the users of an application.
pub(crate) fn user_id_for_admin(id: &str) -> Result<UserId, IdError> {
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
