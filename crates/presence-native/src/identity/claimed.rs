//! The identity that a client claims, where nobody proves who they are.

use presence_core::{DeviceId, UserId, WorkspaceId};

use super::{Identity, Patterns, Scopes, user_id};

/// The most workspaces that one identity may have.
pub const WORKSPACES_MAX: usize = 32;

/// The longest name, in characters. A longer one is cut.
pub const NAME_CHARS_MAX: usize = 100;

/// What a client says about itself in the query of its URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// `user_id`; believed only if no token is needed.
    pub user_id: Option<&'a str>,
    /// `name`; believed only if no token is needed.
    pub name: Option<&'a str>,
    /// `device_id`; believed if the token names no device.
    pub device_id: Option<&'a str>,
    /// `workspace_id`, with commas between; believed only if no token is needed.
    pub workspace_id: Option<&'a str>,
}

/// A claim or a parameter that has a bad value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{claim} {problem}")]
pub struct BadClaim {
    /// The name of the claim or parameter.
    pub claim: &'static str,
    /// What is wrong with the value.
    pub problem: String,
}

impl Asked<'_> {
    /// The identity that the client claims, without a check of who it is. It names no device: see
    /// [`device`](Self::device).
    ///
    /// # Errors
    ///
    /// Fails if a parameter has a bad value.
    pub fn identity(&self) -> Result<Identity, BadClaim> {
        let user = match self.user_id.filter(|id| !id.is_empty()) {
            Some(id) => checked("user_id", user_id(id))?,
            None => anonymous(),
        };
        let workspaces = self.workspace_id.unwrap_or("default");
        let workspaces: Vec<WorkspaceId> = workspaces
            .split(',')
            .map(|id| checked("workspace_id", WorkspaceId::new(id.trim())))
            .collect::<Result<_, _>>()?;
        if workspaces.len() > WORKSPACES_MAX {
            return Err(BadClaim {
                claim: "workspace_id",
                problem: format!("must be at most {WORKSPACES_MAX}"),
            });
        }
        Ok(Identity {
            user,
            name: self.name.and_then(shown_name),
            device: None,
            workspaces,
            channels: Patterns::every(),
            scopes: Scopes::all(),
            issued_at: None,
            expires_at: None,
            open: true,
        })
    }

    /// The device that the client names, if it names one.
    ///
    /// # Errors
    ///
    /// Fails if it is not the id of a device.
    pub fn device(&self) -> Result<Option<DeviceId>, BadClaim> {
        let id = self.device_id.map(DeviceId::new);
        checked("device_id", id.transpose())
    }
}

fn checked<T, E: ToString>(claim: &'static str, id: Result<T, E>) -> Result<T, BadClaim> {
    id.map_err(|why| BadClaim {
        claim,
        problem: why.to_string(),
    })
}

/// The id of an anonymous visitor. It is public, and random.
pub fn anonymous() -> UserId {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the system has randomness");
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    UserId::new(&format!("anon_{digits}")).expect("hexadecimal digits are in the alphabet")
}

/// The name of a person as it may be shown: see [`presence_core::text`]. A long name is cut; an empty one is `None`.
pub fn shown_name(name: &str) -> Option<String> {
    let name = presence_core::text::shown(name);
    // What stands at the cut may be half of something, or a blank.
    let cut = match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((at, _)) => presence_core::text::shown(&name[..at]),
        None => name,
    };
    (!cut.is_empty()).then(|| cut.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cleaned_trimmed_and_cut_between_characters() {
        for (name, shown) in [
            ("\u{202e} Ann \u{2069}", Some("Ann")),
            ("\u{200d}\u{2028} ", None),
            ("", None),
        ] {
            assert_eq!(shown_name(name).as_deref(), shown, "{name:?}");
        }
        let long = format!("{} {}", "é".repeat(NAME_CHARS_MAX - 1), "x".repeat(50));
        assert_eq!(shown_name(&long), Some("é".repeat(NAME_CHARS_MAX - 1)));
        let joined = format!("{}👩\u{200d}🚀", "é".repeat(NAME_CHARS_MAX - 2));
        let cut = format!("{}👩", "é".repeat(NAME_CHARS_MAX - 2));
        assert_eq!(shown_name(&joined), Some(cut));
    }
}
