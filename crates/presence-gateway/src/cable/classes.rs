//! From the identifier of a subscription to what it is about: the classes of channels that a Rails page knows.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use presence_client::wire::{ErrorCode, mend};
use presence_core::{ChannelId, Topic, UserId, WorkspaceId};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::request::{self, Refused};

/// The longest identifier, in bytes.
pub(super) const IDENTIFIER_BYTES_MAX: usize = 4096;

/// What a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Being in a channel, or looking at it.
    Place(ChannelId),
    /// Looking at who is online in a workspace.
    Workspace(WorkspaceId),
    /// The status of users, and one's own.
    Statuses(Box<[UserId]>),
}

/// What an identifier asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) subject: Subject,
    /// What to say about oneself there.
    pub(super) meta: Option<Arc<str>>,
    /// Not to be there: only to look.
    pub(super) only_looks: bool,
    /// To hear more than who is there.
    pub(super) is_curious: bool,
}

/// What kind of place a topic is, which says what is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A roster.
    Room,
    /// Cursors.
    Document,
    /// A number.
    Page,
}

const ROOM: &str = "room:";
const DOCUMENT: &str = "document:";
const PAGE: &str = "page:";

impl Kind {
    /// That of `topic`, if pages here can see it at all.
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

/// The parameters that some class knows. Others are the page's own business.
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

/// An id: Rails has numbers, others have texts, and both mean the same.
pub(super) struct Id(pub(super) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let id = match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => request::whole_number(&number),
            _ => None,
        };
        let wanted = || D::Error::custom("must be a string or a whole number");
        id.map(Id).ok_or_else(wanted)
    }
}

impl Wish {
    /// What `identifier` asks for.
    ///
    /// # Errors
    ///
    /// It is none, of no class that is known here, or without what that class needs.
    pub(super) fn of(identifier: &str) -> Result<Wish, Refused> {
        if identifier.len() > IDENTIFIER_BYTES_MAX {
            let message = format!("identifier must be at most {IDENTIFIER_BYTES_MAX} bytes");
            return Err(Refused::new(ErrorCode::TooLarge, message));
        }
        let identifier = &*mend(identifier);
        let params: Params<'_> = serde_json::from_str(identifier)
            .map_err(|error| Refused::invalid("identifier", error))?;
        let subject = params.subject()?;
        let is_room =
            matches!(&subject, Subject::Place(channel) if channel.as_str().starts_with(ROOM));
        let meta = params.meta.filter(|it| it.get() != "null");
        let meta = meta.map(|it| request::json(it.get(), "meta"));
        Ok(Wish {
            meta: meta.transpose()?,
            only_looks: params.watch || !matches!(subject, Subject::Place(_)),
            // Readers of a roster take whatever comes for one; the others look what it is.
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
    Ok(Subject::Place(request::id(field, &format!("{start}{id}"))?))
}

/// A path as a channel can have it: what it cannot is percent-encoded, as browsers do with most of it.
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
        let place = |identifier: &str| match Wish::of(identifier).unwrap().subject {
            Subject::Place(channel) => channel.to_string(),
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
        let subject = |identifier: &str| Wish::of(identifier).unwrap().subject;
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
            assert!(Wish::of(identifier).is_err(), "{identifier}");
        }
    }

    #[test]
    fn readers_of_rosters_hear_of_nothing_else_unless_they_want_to() {
        let is_curious = |identifier: &str| Wish::of(identifier).unwrap().is_curious;
        assert!(!is_curious(r#"{"channel":"PresenceChannel","room_id":1}"#));
        assert!(is_curious(
            r#"{"channel":"PresenceChannel","room_id":1,"events":true}"#
        ));
        assert!(is_curious(r#"{"channel":"CursorChannel","document_id":1}"#));
    }
}
