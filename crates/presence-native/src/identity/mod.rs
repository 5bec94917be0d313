//! The identity of a client, and what it may do. Time is always an argument.

mod claimed;
mod patterns;
mod pusher;
mod resume;
mod scopes;

use std::fmt;

use presence_core::{ChannelId, DeviceId, Timestamp, UserId, WorkspaceId};

#[doc(hidden)]
pub use claimed::{Asked, BadClaim, anonymous};
pub use claimed::{NAME_CHARS_MAX, WORKSPACES_MAX, shown_name};
pub use patterns::{PATTERNS_MAX, PatternError, Patterns};
#[doc(hidden)]
pub use pusher::{
    PUSHER_PREFIX, PUSHER_SERVER_PREFIX, is_pusher_channel, user_id, user_id_for_admin,
};
pub use resume::{ResumeKey, ResumeKeyError, Resumed};
pub use scopes::{Scope, Scopes};

/// The identity of a client, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id of the user, or a random `anon_` one.
    pub user: UserId,
    /// The name that others see, unless a meta has another one.
    pub name: Option<String>,
    /// The device that the token or the client names.
    pub device: Option<DeviceId>,
    /// The workspaces that show the user in their online lists.
    pub workspaces: Vec<WorkspaceId>,
    /// The channels that the client may join and watch.
    pub channels: Patterns,
    /// The kinds of thing that the client may do.
    pub scopes: Scopes,
    /// When its token was issued, if the token says so.
    pub issued_at: Option<Timestamp>,
    /// When its token expires (`exp`). An open connection may stay for `jwt.leeway` more.
    pub expires_at: Option<Timestamp>,
    /// Whether the gateway believed the client without a token.
    pub open: bool,
}

impl Identity {
    /// An ordinary user without a name and without workspaces, who may do the usual ([`Scopes::of_a_user`]) in every
    /// channel. The caller has authenticated them. Set the other fields as you need them.
    ///
    /// ```
    /// use presence_native::{Identity, Patterns};
    ///
    /// let ann = Identity {
    ///     name: Some("Ann".to_owned()),
    ///     channels: Patterns::new(["room:*"])?,
    ///     ..Identity::new("ann".parse()?)
    /// };
    /// assert!(ann.may_join(&"room:42".parse()?).is_ok());
    /// assert!(ann.may_join(&"board:1".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(user: UserId) -> Self {
        Identity {
            user,
            name: None,
            device: None,
            workspaces: Vec::new(),
            channels: Patterns::every(),
            scopes: Scopes::of_a_user(),
            issued_at: None,
            expires_at: None,
            open: false,
        }
    }

    /// Checks that the client may join a channel.
    ///
    /// # Errors
    ///
    /// Fails without the scope `join`, or if the channel is not among its channels.
    pub fn may_join(&self, channel: &ChannelId) -> Result<(), Forbidden> {
        self.needs(Scope::Join, "channel")?;
        self.covers(channel)
    }

    /// Checks that the client may watch and list a channel.
    ///
    /// # Errors
    ///
    /// Fails without the scope `watch`, or if the channel is not among its channels. The scope `read` is enough for every
    /// channel that does not belong to a Pusher application.
    pub fn may_watch_channel(&self, channel: &ChannelId) -> Result<(), Forbidden> {
        let may_read = self.may_read().is_ok();
        if may_read && !is_pusher_channel(channel) {
            return Ok(());
        }
        if !may_read {
            self.needs(Scope::Watch, "channel")?;
        }
        self.covers(channel)
    }

    /// Checks that the client may see who is online in a workspace.
    ///
    /// # Errors
    ///
    /// Fails without the scope `watch`, or if it is not in that workspace. The scope `read` is enough
    /// for every workspace.
    pub fn may_watch_workspace(&self, workspace: &WorkspaceId) -> Result<(), Forbidden> {
        if self.may_read().is_ok() {
            return Ok(());
        }
        self.needs(Scope::Watch, "workspace")?;
        if self.workspaces.contains(workspace) {
            return Ok(());
        }
        Err(Forbidden::new("workspace", Denied::OtherWorkspace))
    }

    /// Checks that the client may see the public status of a user. Any client that may watch may watch any user whose
    /// id it knows.
    ///
    /// # Errors
    ///
    /// Fails without the scopes `watch` and `read`, if it is another user.
    pub fn may_watch_user(&self, user: &UserId) -> Result<(), Forbidden> {
        if *user == self.user || self.may_read().is_ok() {
            return Ok(());
        }
        self.needs(Scope::Watch, "users")
    }

    /// Checks that the client may broadcast to a channel.
    ///
    /// # Errors
    ///
    /// Fails without the scope `broadcast`, or if the channel is not among its channels.
    pub fn may_broadcast(&self, channel: &ChannelId) -> Result<(), Forbidden> {
        self.needs(Scope::Broadcast, "channel")?;
        self.covers(channel)
    }

    /// Checks that the client may set the status of a user.
    ///
    /// # Errors
    ///
    /// Fails without the scope `status`, or for another user without the scope `act`.
    pub fn may_set_status_of(&self, user: &UserId) -> Result<(), Forbidden> {
        self.needs(Scope::Status, "status")?;
        self.may_act_for(user)
    }

    /// Checks that the client may act in the name of a user. Other checks say what it may do.
    ///
    /// # Errors
    ///
    /// Fails for another user without the scope `act`.
    pub fn may_act_for(&self, user: &UserId) -> Result<(), Forbidden> {
        if *user == self.user || self.scopes.has(Scope::Act) {
            return Ok(());
        }
        Err(Forbidden::new("user_id", Denied::OtherUser))
    }

    /// Checks that the client may see every user, channel and workspace.
    ///
    /// # Errors
    ///
    /// Fails without the scope `read`.
    pub fn may_read(&self) -> Result<(), Forbidden> {
        self.needs(Scope::Read, "scope")
    }

    /// Checks that the client may kick and revoke users.
    ///
    /// # Errors
    ///
    /// Fails without the scope `admin`.
    pub fn may_administer(&self) -> Result<(), Forbidden> {
        self.needs(Scope::Admin, "scope")
    }

    fn needs(&self, scope: Scope, field: &'static str) -> Result<(), Forbidden> {
        if self.scopes.has(scope) {
            return Ok(());
        }
        Err(Forbidden::new(field, Denied::NoScope(scope)))
    }

    /// Channels that Pusher's own signature opens are not opened by a scope: `admin` and `read` need a pattern too.
    fn covers(&self, channel: &ChannelId) -> Result<(), Forbidden> {
        let is_pusher = is_pusher_channel(channel);
        if self.channels.cover(channel) || (self.scopes.has(Scope::Admin) && !is_pusher) {
            return Ok(());
        }
        Err(Forbidden::new(
            "channel",
            match is_pusher {
                true => Denied::ApartChannel,
                false => Denied::OtherChannel,
            },
        ))
    }
}

/// Something that an identity is not allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// The field of the command or request that the refusal is about.
    pub field: &'static str,
    why: Denied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    NoScope(Scope),
    OtherChannel,
    ApartChannel,
    OtherWorkspace,
    OtherUser,
    NoKey,
}

impl Forbidden {
    fn new(field: &'static str, why: Denied) -> Self {
        Forbidden { field, why }
    }

    /// The refusal of what shows hidden users, on a gateway where nobody proves who they are.
    pub fn without_a_key() -> Self {
        Forbidden::new("scope", Denied::NoKey)
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Denied::NoScope(scope) => write!(f, "your token has no scope {scope}"),
            Denied::OtherChannel => f.write_str("your token does not cover this channel"),
            Denied::ApartChannel => f.write_str(
                "this channel is of a Pusher application: it needs a pattern that begins with `pusher/`",
            ),
            Denied::OtherWorkspace => f.write_str("your token does not name this workspace"),
            Denied::OtherUser => f.write_str("your token is of another user and has no scope act"),
            Denied::NoKey => f.write_str(
                "this shows hidden users: it needs a token with the scope admin, and this gateway has no key for tokens",
            ),
        }
    }
}

impl std::error::Error for Forbidden {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_do_the_usual_in_their_channels_and_nothing_for_others() {
        let ann = identity(&["room:*", "document:7"], Scopes::of_a_user());
        assert_eq!(ann.may_join(&channel("room:1")), Ok(()));
        assert_eq!(ann.may_broadcast(&channel("document:7")), Ok(()));
        assert_eq!(ann.may_watch_workspace(&workspace("acme")), Ok(()));
        assert_eq!(ann.may_watch_user(&user("bob")), Ok(()));
        assert_eq!(ann.may_set_status_of(&user("ann")), Ok(()));
        assert_eq!(ann.may_act_for(&user("ann")), Ok(()));

        refused(
            ann.may_join(&channel("document:8")),
            "channel",
            "your token does not cover this channel",
        );
        refused(
            ann.may_watch_channel(&channel("board:1")),
            "channel",
            "your token does not cover this channel",
        );
        refused(
            ann.may_broadcast(&channel("rooms")),
            "channel",
            "your token does not cover this channel",
        );
        refused(
            ann.may_watch_workspace(&workspace("umbrella")),
            "workspace",
            "your token does not name this workspace",
        );
        refused(
            ann.may_set_status_of(&user("bob")),
            "user_id",
            "your token is of another user and has no scope act",
        );
        refused(
            ann.may_act_for(&user("bob")),
            "user_id",
            "your token is of another user and has no scope act",
        );
        refused(ann.may_read(), "scope", "your token has no scope read");
        refused(
            ann.may_administer(),
            "scope",
            "your token has no scope admin",
        );
    }

    #[test]
    fn each_scope_is_missed_where_it_is_needed() {
        let none = identity(&["*"], Scopes::default());
        refused(
            none.may_join(&channel("a")),
            "channel",
            "your token has no scope join",
        );
        refused(
            none.may_watch_channel(&channel("a")),
            "channel",
            "your token has no scope watch",
        );
        refused(
            none.may_watch_workspace(&workspace("acme")),
            "workspace",
            "your token has no scope watch",
        );
        refused(
            none.may_watch_user(&user("bob")),
            "users",
            "your token has no scope watch",
        );
        refused(
            none.may_broadcast(&channel("a")),
            "channel",
            "your token has no scope broadcast",
        );
        refused(
            none.may_set_status_of(&user("ann")),
            "status",
            "your token has no scope status",
        );
        assert_eq!(none.may_watch_user(&user("ann")), Ok(()), "oneself");
    }

    #[test]
    fn a_service_acts_for_others_within_its_channels_and_reads_everywhere() {
        let scopes = [Scope::Join, Scope::Status, Scope::Act, Scope::Read];
        let service = identity(&["room:*"], scopes.into_iter().collect());
        assert_eq!(service.may_act_for(&user("bob")), Ok(()));
        assert_eq!(service.may_set_status_of(&user("bob")), Ok(()));
        assert_eq!(service.may_join(&channel("room:1")), Ok(()));
        assert!(service.may_join(&channel("board:1")).is_err());
        assert!(service.may_broadcast(&channel("room:1")).is_err());
        assert_eq!(service.may_watch_channel(&channel("board:1")), Ok(()));
        assert_eq!(service.may_watch_workspace(&workspace("umbrella")), Ok(()));
        assert_eq!(service.may_watch_user(&user("bob")), Ok(()));
    }

    #[test]
    fn an_admin_may_do_everything() {
        let admin = identity(&[], [Scope::Admin].into_iter().collect());
        assert_eq!(admin.may_join(&channel("a")), Ok(()));
        assert_eq!(admin.may_broadcast(&channel("a")), Ok(()));
        assert_eq!(admin.may_watch_channel(&channel("a")), Ok(()));
        assert_eq!(admin.may_watch_workspace(&workspace("umbrella")), Ok(()));
        assert_eq!(admin.may_set_status_of(&user("bob")), Ok(()));
        assert_eq!(admin.may_administer(), Ok(()));
    }

    #[test]
    fn no_scope_opens_a_channel_of_a_pusher_application_and_a_pattern_that_names_it_does() {
        let all = |channels: &[&str]| identity(channels, Scopes::all());
        for patterns in [&["*"][..], &["p*", "pusher*"], &[]] {
            let admin = all(patterns);
            for id in [
                "pusher/3/private-x",
                "pusher/3/#server-to-user-bob",
                "pusher/7/presence-a",
            ] {
                for answer in [
                    admin.may_join(&channel(id)),
                    admin.may_watch_channel(&channel(id)),
                    admin.may_broadcast(&channel(id)),
                ] {
                    refused(
                        answer,
                        "channel",
                        "this channel is of a Pusher application: it needs a pattern that begins with `pusher/`",
                    );
                }
            }
            assert_eq!(admin.may_join(&channel("pusher")), Ok(()));
        }
        let ann = identity(&["pusher/3/private-*"], Scopes::of_a_user());
        assert_eq!(ann.may_join(&channel("pusher/3/private-x")), Ok(()));
        assert_eq!(
            ann.may_watch_channel(&channel("pusher/3/private-x")),
            Ok(())
        );
        assert_eq!(ann.may_broadcast(&channel("pusher/3/private-x")), Ok(()));
        assert!(ann.may_join(&channel("pusher/3/presence-x")).is_err());
        let reader = identity(&["pusher/3/*"], [Scope::Read].into_iter().collect());
        assert_eq!(reader.may_watch_channel(&channel("pusher/3/x")), Ok(()));
        assert!(reader.may_join(&channel("pusher/3/x")).is_err());
        let nothing = identity(&["pusher/3/*"], Scopes::default());
        assert!(nothing.may_watch_channel(&channel("pusher/3/x")).is_err());
    }

    #[track_caller]
    fn refused(answer: Result<(), Forbidden>, field: &str, message: &str) {
        let forbidden = answer.unwrap_err();
        assert_eq!(
            (forbidden.field, forbidden.to_string().as_str()),
            (field, message)
        );
    }

    fn identity(channels: &[&str], scopes: Scopes) -> Identity {
        Identity {
            user: user("ann"),
            name: None,
            device: None,
            workspaces: vec![workspace("acme")],
            channels: Patterns::new(channels.iter().copied()).unwrap(),
            scopes,
            issued_at: None,
            expires_at: None,
            open: false,
        }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn channel(id: &str) -> ChannelId {
        ChannelId::new(id).unwrap()
    }

    fn workspace(id: &str) -> WorkspaceId {
        WorkspaceId::new(id).unwrap()
    }
}
