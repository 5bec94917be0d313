//! The scopes: the kinds of thing that an identity may do.

use std::fmt;

/// A kind of thing that an identity may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Join channels, and leave them.
    Join,
    /// Watch channels, workspaces and users.
    Watch,
    /// Set one's own status.
    Status,
    /// Broadcast to channels.
    Broadcast,
    /// Do for every user what the other scopes allow, over HTTP.
    Act,
    /// See every user, channel and workspace.
    Read,
    /// Everything, and kick and revoke users.
    Admin,
}

impl Scope {
    const ALL: [Scope; 7] = [
        Scope::Join,
        Scope::Watch,
        Scope::Status,
        Scope::Broadcast,
        Scope::Act,
        Scope::Read,
        Scope::Admin,
    ];

    /// The name of the scope in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Join => "join",
            Scope::Watch => "watch",
            Scope::Status => "status",
            Scope::Broadcast => "broadcast",
            Scope::Act => "act",
            Scope::Read => "read",
            Scope::Admin => "admin",
        }
    }

    /// The scope with this name, which may have the prefix `presence:`.
    pub fn named(name: &str) -> Option<Scope> {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The prefix of our scopes among those of other services.
const PREFIX: &str = "presence:";

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The scopes of an ordinary user: join, watch, status, broadcast.
    pub fn of_a_user() -> Scopes {
        [Scope::Join, Scope::Watch, Scope::Status, Scope::Broadcast]
            .into_iter()
            .collect()
    }

    /// The set of all scopes.
    pub fn all() -> Scopes {
        Scope::ALL.into_iter().collect()
    }

    /// Whether `scope` is in the set, or `admin` is.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (bit(scope) | bit(Scope::Admin)) != 0
    }

    /// The scopes with these names. Unknown names are ignored, because a newer gateway may know them.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Scopes {
        names.into_iter().filter_map(Scope::named).collect()
    }

    /// Our scopes in an OAuth `scope`. That is about other services too, so only names with `presence:` count. `None`
    /// if there are none.
    pub fn in_oauth(scope: &str) -> Option<Scopes> {
        let ours: Vec<&str> = scope
            .split_whitespace()
            .filter(|name| name.starts_with(PREFIX))
            .collect();
        (!ours.is_empty()).then(|| Scopes::named(ours))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Scopes(scopes.into_iter().fold(0, |set, scope| set | bit(scope)))
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_with_and_without_the_prefix_and_others_are_left_out() {
        let scopes = Scopes::named(["join", "presence:act", "email", "ADMIN", ""]);
        assert_eq!(scopes, [Scope::Join, Scope::Act].into_iter().collect());
        assert!(!scopes.has(Scope::Admin));
        assert!(Scopes::named(["admin"]).has(Scope::Broadcast));
    }

    #[test]
    fn an_oauth_scope_about_other_services_gives_nothing_of_ours() {
        assert_eq!(Scopes::in_oauth("openid admin read join"), None);
        assert_eq!(
            Scopes::in_oauth("openid admin presence:read"),
            Some([Scope::Read].into_iter().collect())
        );
        assert_eq!(Scopes::in_oauth("presence:dance"), Some(Scopes::default()));
    }
}
