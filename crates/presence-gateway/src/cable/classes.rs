//! Parses the identifier of a subscription: the channel classes that a Rails page knows, and their parameters.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use presence_core::{ChannelId, Topic, UserId, WorkspaceId};
use presence_protocol::{ErrorCode, mend};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::numbers::whole_number;
use crate::request::{self, Refused};

/// The longest identifier, in bytes.
pub(super) const IDENTIFIER_BYTES_MAX: usize = 4096;

/// What a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A channel, to be in or to watch.
    Channel(ChannelId),
    /// A workspace, to watch who is online in it.
    Workspace(WorkspaceId),
    /// The status of these users, and of the session's own user.
    Statuses(Box<[UserId]>),
}

/// The content of an identifier: what to subscribe to, and how.
#[derive(Debug, PartialEq)]
pub(super) struct Identifier {
    pub(super) subject: Subject,
    /// The meta of the session in the channel, as a JSON text.
    pub(super) meta: Option<Arc<str>>,
    /// Whether to watch the channel only, without being in it.
    pub(super) only_looks: bool,
    /// Whether to send typing, cursors and refusals too, and not only the roster.
    pub(super) is_curious: bool,
}

/// The kind of a topic, which decides what its watchers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A room: watchers are sent its roster.
    Room,
    /// A document: watchers are sent its cursors.
    Document,
    /// A page: watchers are sent the number of people who view it.
    Page,
}

const ROOM: &str = "room:";
const DOCUMENT: &str = "document:";
const PAGE: &str = "page:";

impl Kind {
    /// The kind of `topic`; `None` if no channel class of this dialect shows it.
    pub(super) fn of(topic: &Topic) -> Option<Kind> {
        let Topic::Channel(channel) = topic else {
            return Some(Kind::Room);
        };
        let kinds = [
            (ROOM, Kind::Room),
            (DOCUMENT, Kind::Document),
            (PAGE, Kind::Page),
        ];
        let starts = |(start, _): &(&str, Kind)| channel.as_str().starts_with(start);
        kinds.into_iter().find(starts).map(|(_, kind)| kind)
    }
}

/// The parameters that some class knows. Any other parameter is the page's own.
#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    room_id: Option<Id>,
    document_id: Option<Id>,
    path: Option<String>,
    workspace_id: Option<Id>,
    user_id: Option<Id>,
    #[serde(default)]
    user_ids: Vec<Id>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(default)]
    watch: bool,
    #[serde(default)]
    events: bool,
}

/// An id. Rails has numbers for ids, others have strings; both mean the same.
pub(super) struct Id(pub(super) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let id = match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => whole_number(&number),
            _ => None,
        };
        let wanted = || D::Error::custom("must be a string or a whole number");
        id.map(Id).ok_or_else(wanted)
    }
}

impl Identifier {
    /// Parses the JSON text `identifier`.
    ///
    /// # Errors
    ///
    /// Fails if it is not an identifier, if its class is not known here, or if a parameter of the class is missing.
    pub(super) fn of(identifier: &str) -> Result<Identifier, Refused> {
        if identifier.len() > IDENTIFIER_BYTES_MAX {
            let message = format!("identifier must be at most {IDENTIFIER_BYTES_MAX} bytes");
            return Err(Refused::new(ErrorCode::TooLarge, message));
        }
        let identifier = &*mend(identifier);
        let params: Params<'_> = serde_json::from_str(identifier)
            .map_err(|error| Refused::invalid("identifier", error))?;
        let subject = params.subject()?;
        let is_room =
            matches!(&subject, Subject::Channel(channel) if channel.as_str().starts_with(ROOM));
        let meta = params.meta.filter(|it| it.get() != "null");
        let meta = meta.map(|it| request::json(it.get(), "meta"));
        Ok(Identifier {
            meta: meta.transpose()?,
            only_looks: params.watch || !matches!(subject, Subject::Channel(_)),
            // Clients that show a roster take any message for a roster; other clients look at its type.
            is_curious: params.events || !(is_room || matches!(subject, Subject::Workspace(_))),
            subject,
        })
    }
}

impl Params<'_> {
    fn subject(&self) -> Result<Subject, Refused> {
        match &*self.channel {
            "PresenceChannel" => place(ROOM, "room_id", text(self.room_id.as_ref())),
            "CursorChannel" => place(DOCUMENT, "document_id", text(self.document_id.as_ref())),
            "PagePresenceChannel" => {
                let path = self.path.as_deref().map(escaped);
                place(PAGE, "path", path.as_deref())
            }
            "AppearanceChannel" | "StatusChannel" => match &self.workspace_id {
                Some(Id(id)) => Ok(Subject::Workspace(request::id("workspace_id", id)?)),
                None => self.users(),
            },
            _ => Err(Refused::new(ErrorCode::Invalid, "unknown channel class")),
        }
    }

    fn users(&self) -> Result<Subject, Refused> {
        let ids = self.user_id.iter().chain(&self.user_ids);
        let mut users: Vec<UserId> = ids
            .map(|Id(id)| request::user("user_ids", id))
            .collect::<Result<_, _>>()?;
        users.sort_unstable();
        users.dedup();
        Ok(Subject::Statuses(users.into()))
    }
}

fn text(id: Option<&Id>) -> Option<&str> {
    id.map(|Id(text)| &text[..])
}

fn place(start: &str, field: &str, id: Option<&str>) -> Result<Subject, Refused> {
    let id = id.filter(|it| !it.is_empty());
    let id = id.ok_or_else(|| Refused::invalid(field, "is missing"))?;
    Ok(Subject::Channel(request::id(
        field,
        &format!("{start}{id}"),
    )?))
}

/// A path as the id of a channel: characters that no id has are percent-encoded, as browsers do with most of them.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for c in path.chars() {
        if ChannelId::new(c.encode_utf8(&mut [0; 4])).is_ok() {
            escaped.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_of_rails_pages_are_places_that_other_pages_know_too() {
        let place = |identifier: &str| match Identifier::of(identifier).unwrap().subject {
            Subject::Channel(channel) => channel.to_string(),
            other => panic!("{other:?}"),
        };
        for (identifier, channel) in [
            (r#"{"channel":"PresenceChannel","room_id":42}"#, "room:42"),
            (r#"{"channel":"PresenceChannel","room_id":42.0}"#, "room:42"),
            (
                r#"{"channel":"PresenceChannel","room_id":1e3}"#,
                "room:1000",
            ),
            (r#"{"room_id":"42","channel":"PresenceChannel"}"#, "room:42"),
            (
                r#"{"channel":"CursorChannel","document_id":"a-b"}"#,
                "document:a-b",
            ),
            (
                r#"{"channel":"PagePresenceChannel","path":"/x/y"}"#,
                "page:/x/y",
            ),
            (
                r#"{"channel":"PagePresenceChannel","path":"/ä (1)"}"#,
                "page:/%C3%A4%20%281%29",
            ),
        ] {
            assert_eq!(place(identifier), channel, "{identifier}");
        }
    }

    #[test]
    fn a_status_is_of_some_users_or_a_workspace_or_ones_own() {
        let subject = |identifier: &str| Identifier::of(identifier).unwrap().subject;
        let users =
            |ids: &[&str]| Subject::Statuses(ids.iter().map(|it| it.parse().unwrap()).collect());
        assert_eq!(subject(r#"{"channel":"AppearanceChannel"}"#), users(&[]));
        assert_eq!(
            subject(r#"{"channel":"StatusChannel","user_id":7}"#),
            users(&["7"])
        );
        assert_eq!(
            subject(r#"{"channel":"StatusChannel","user_ids":["eve","bob","eve"]}"#),
            users(&["bob", "eve"])
        );
        assert_eq!(
            subject(r#"{"channel":"AppearanceChannel","workspace_id":"acme"}"#),
            Subject::Workspace("acme".parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_identifier_or_of_no_class_is_refused() {
        let long = format!(
            r#"{{"channel":"PresenceChannel","room_id":1,"x":"{}"}}"#,
            "x".repeat(4096)
        );
        for identifier in [
            "",
            "null",
            "[]",
            "{}",
            "PresenceChannel",
            r#"{"channel":"ChatChannel","room_id":1}"#,
            r#"{"channel":"PresenceChannel"}"#,
            r#"{"channel":"PresenceChannel","room_id":""}"#,
            r#"{"channel":"PresenceChannel","room_id":1.5}"#,
            r#"{"channel":"PresenceChannel","room_id":{"id":1}}"#,
            r#"{"channel":"PresenceChannel","room_id":"a b"}"#,
            r#"{"channel":"PresenceChannel","room_id":1,"watch":"yes"}"#,
            r#"{"channel":["PresenceChannel"],"room_id":1}"#,
            r#"{"channel":"CursorChannel","room_id":1}"#,
            r#"{"channel":"StatusChannel","user_ids":["a b"]}"#,
            &format!(
                r#"{{"channel":"PresenceChannel","room_id":"{}"}}"#,
                "9".repeat(200)
            ),
            &long,
        ] {
            assert!(Identifier::of(identifier).is_err(), "{identifier}");
        }
    }

    #[test]
    fn readers_of_rosters_hear_of_nothing_else_unless_they_want_to() {
        let is_curious = |identifier: &str| Identifier::of(identifier).unwrap().is_curious;
        assert!(!is_curious(r#"{"channel":"PresenceChannel","room_id":1}"#));
        assert!(is_curious(
            r#"{"channel":"PresenceChannel","room_id":1,"events":true}"#
        ));
        assert!(is_curious(r#"{"channel":"CursorChannel","document_id":1}"#));
    }
}
