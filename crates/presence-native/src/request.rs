//! Checks what requests ask for: each error names its field. Dialects and the HTTP API share this.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use presence_core::{
    Edit, Expiry, META_BYTES_MAX, Meta, Payload, PayloadError, Refusal, Shown, StatusChange,
    Timestamp, UserId, checked_emoji, checked_message,
};
use presence_hub::Busy;
use presence_protocol::{Chosen, ErrorCode, Field, Json, fault_in};
use serde::Deserialize;

use crate::closing::CloseReason;
use crate::color;
use crate::identity::{BadClaim, Forbidden, Identity, shown_name, user_id};

/// Why a request is refused, in the terms of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The kind of refusal, for programs.
    pub code: ErrorCode,
    /// The refusal in words, for people.
    pub message: String,
    /// The field that the refusal is about.
    pub field: Option<String>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    #[doc(hidden)]
    /// Why a connection that is refused with it ends, where `code` does not say it all.
    pub ending: Option<CloseReason>,
}

impl Refused {
    /// A refusal of this kind, in these words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Refused {
            code,
            message: message.into(),
            field: None,
            retry_after: None,
            ending: None,
        }
    }

    /// The refusal for a field that has a bad value.
    pub fn invalid(field: &str, why: impl Display) -> Self {
        Refused {
            field: Some(field.to_owned()),
            ..Refused::new(ErrorCode::Invalid, format!("{field} {why}"))
        }
    }

    /// The same refusal, with the time to wait before trying again.
    pub fn retry_after(self, span: Duration) -> Self {
        Refused {
            retry_after: Some(span),
            ..self
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        let message = why.to_string();
        match why {
            Refusal::NoSession | Refusal::NotJoined => Refused::new(ErrorCode::NotJoined, message),
            Refusal::TooMany { .. } => Refused::new(ErrorCode::TooMany, message),
            Refusal::TooFast { retry_after } => {
                Refused::new(ErrorCode::RateLimited, message).retry_after(retry_after)
            }
            // The store is away, or this node is gone: the same may succeed later.
            _ => Refused::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1)),
        }
    }
}

impl From<Busy> for Refused {
    fn from(busy: Busy) -> Self {
        let message = "the gateway is busy";
        Refused::new(ErrorCode::Overloaded, message).retry_after(busy.retry_after)
    }
}

impl From<Forbidden> for Refused {
    fn from(forbidden: Forbidden) -> Self {
        Refused {
            field: Some(forbidden.field.to_owned()),
            ..Refused::new(ErrorCode::Forbidden, forbidden.to_string())
        }
    }
}

impl From<BadClaim> for Refused {
    fn from(why: BadClaim) -> Self {
        Refused::invalid(why.claim, &why.problem)
    }
}

/// Checks an id of any kind.
pub fn id<T>(field: &str, text: &str) -> Result<T, Refused>
where
    T: std::str::FromStr<Err: Display>,
{
    text.parse().map_err(|why| Refused::invalid(field, why))
}

/// Checks the id of a user. Nobody may ask for, or act as, a user whose name only the gateway gives.
pub fn user(field: &str, text: &str) -> Result<UserId, Refused> {
    user_id(text).map_err(|why| Refused::invalid(field, why))
}

/// The most users that one request may ask about, or act for.
pub const USERS_MAX: usize = 1000;
/// The most people on one page.
const PAGE_MAX: u64 = 1000;
/// The page size if a request does not say one.
pub const PAGE: u64 = 100;

/// Checks a list of users.
pub fn users(field: &str, ids: &[String]) -> Result<Vec<UserId>, Refused> {
    if ids.is_empty() || ids.len() > USERS_MAX {
        let why = format!("must be 1 to {USERS_MAX} ids");
        return Err(Refused::invalid(field, why));
    }
    ids.iter().map(|text| user(field, text)).collect()
}

/// Checks the size of a page.
pub fn page_size(limit: u64) -> Result<usize, Refused> {
    match usize::try_from(limit) {
        Ok(size) if (1..=PAGE_MAX).contains(&limit) => Ok(size),
        _ => {
            let why = format!("must be from 1 to {PAGE_MAX}");
            Err(Refused::invalid("limit", why))
        }
    }
}

/// Checks a JSON text, so that it can be sent on as it is. `field` is its name in errors.
pub fn json(text: &str, field: &str) -> Result<Arc<str>, Refused> {
    let json = Json::new(text).map_err(|why| unreadable(text, field, why))?;
    Ok(json.into_text())
}

/// Why a JSON text could not be parsed: names the bad value in it, if that is the reason.
pub fn unreadable(text: &str, field: &str, why: impl Display) -> Refused {
    match fault_in(text) {
        Some(fault) => {
            let field = format!("{field}{}", fault.path);
            Refused::invalid(&field, format!("is wrong: {}", fault.message))
        }
        None => Refused::invalid(field, format!("is wrong: {why}")),
    }
}

/// Reads the meta of a session: any JSON object of bounded size. With a token, nobody can show a name that
/// is not theirs.
pub fn meta(json: Option<Arc<str>>, identity: &Identity) -> Result<Arc<Meta>, Refused> {
    #[derive(Default, Deserialize)]
    struct Known {
        name: Option<serde_json::Value>,
        color: Option<serde_json::Value>,
        avatar: Option<serde_json::Value>,
    }
    let json = json.unwrap_or_else(|| "{}".into());
    if json.len() > META_BYTES_MAX {
        let message = format!("meta must be at most {META_BYTES_MAX} bytes");
        return Err(Refused {
            field: Some("meta".to_owned()),
            ..Refused::new(ErrorCode::TooLarge, message)
        });
    }
    if !json.starts_with('{') {
        return Err(Refused::invalid("meta", "must be an object"));
    }
    let known: Known =
        serde_json::from_str(&json).map_err(|_| Refused::invalid("meta", "must be an object"))?;
    let own_name = identity.name.as_deref().map(Arc::from);
    let said_name = text(known.name).and_then(|it| shown_name(&it));
    let said_name = said_name.map(Arc::from);
    let name = match identity.open {
        true => said_name.or(own_name),
        false => own_name.or(said_name),
    };
    let shown = Shown {
        name,
        color: text(known.color)
            .and_then(|it| color::canonical(&it))
            .map(Arc::from),
        avatar: text(known.avatar).filter(|url| is_picture(url)),
    };
    let meta = Meta::showing(json, shown).map_err(|why| Refused::invalid("meta", why))?;
    Ok(Arc::new(meta))
}

/// Reads the payload of a broadcast: a JSON text, or an empty one.
pub fn payload(json: Arc<str>) -> Result<Payload, Refused> {
    Payload::from_json(json).map_err(|why| match why {
        PayloadError::TooLarge => Refused {
            field: Some("payload".to_owned()),
            ..Refused::new(ErrorCode::TooLarge, format!("payload {why}"))
        },
        why => Refused::invalid("payload", why),
    })
}

fn text(value: Option<serde_json::Value>) -> Option<Arc<str>> {
    let text = value.as_ref()?.as_str()?;
    (!text.is_empty()).then(|| text.into())
}

/// Whether a page may load this URL as a picture: `javascript:` and the like are not passed on.
fn is_picture(url: &str) -> bool {
    let allowed = ["https://", "http://", "data:image/", "/"];
    allowed.iter().any(|start| url.starts_with(start))
}

/// A change of status, not yet checked: absent fields stay as they are, `null` clears them.
#[derive(Clone, Debug, Default)]
pub struct StatusRequest {
    pub status: Field<Chosen>,
    pub custom_message: Field<String>,
    pub emoji: Field<String>,
    pub clear_after: Field<Duration>,
    pub expires_at: Field<Timestamp>,
}

impl StatusRequest {
    /// The change that it asks for, checked.
    pub fn checked(self, now: Timestamp) -> Result<StatusChange, Refused> {
        let expiry = match (self.clear_after, self.expires_at) {
            (Field::Value(_), Field::Value(_)) => {
                let why = "and clear_after exclude each other";
                return Err(Refused::invalid("expires_at", why));
            }
            (Field::Value(span), _) => ends("clear_after", Expiry::After(span), now)?,
            (_, Field::Value(moment)) => ends("expires_at", Expiry::At(moment), now)?,
            (Field::Absent, Field::Absent) => Edit::Keep,
            _ => Edit::Clear,
        };
        Ok(StatusChange {
            chosen: match self.status {
                Field::Absent => None,
                Field::Null => Some(presence_core::Chosen::Online),
                Field::Value(chosen) => Some(chosen_of(chosen)),
            },
            message: words("custom_message", self.custom_message, checked_message)?,
            emoji: words("emoji", self.emoji, checked_emoji)?,
            expiry,
        })
    }
}

fn ends(field: &str, expiry: Expiry, now: Timestamp) -> Result<Edit<Expiry>, Refused> {
    let checked = expiry.checked(now);
    checked
        .map(Edit::Set)
        .map_err(|why| Refused::invalid(field, why))
}

fn words<E: Display>(
    field: &str,
    value: Field<String>,
    checked: impl Fn(&str) -> Result<Option<Arc<str>>, E>,
) -> Result<Edit<Arc<str>>, Refused> {
    match value {
        Field::Absent => Ok(Edit::Keep),
        Field::Null => Ok(Edit::Clear),
        Field::Value(text) => match checked(&text) {
            Ok(Some(text)) => Ok(Edit::Set(text)),
            Ok(None) => Ok(Edit::Clear),
            Err(why) => Err(Refused::invalid(field, why)),
        },
    }
}

fn chosen_of(chosen: Chosen) -> presence_core::Chosen {
    match chosen {
        Chosen::Online => presence_core::Chosen::Online,
        Chosen::Away => presence_core::Chosen::Away,
        Chosen::Busy => presence_core::Chosen::Busy,
        Chosen::Invisible => presence_core::Chosen::Invisible,
        Chosen::Offline => presence_core::Chosen::Offline,
    }
}

/// The longest name of an event, in characters.
pub const EVENT_CHARS_MAX: usize = 64;

/// Checks the name of an event that clients send each other.
pub fn event_name(text: &str) -> Result<Arc<str>, Refused> {
    if (1..=EVENT_CHARS_MAX).contains(&text.chars().count()) && is_fit_name(text) {
        return Ok(text.into());
    }
    let why = format!(
        "must be 1 to {EVENT_CHARS_MAX} characters, none of them invisible, without blanks at its ends"
    );
    Err(Refused::invalid("event", why))
}

/// Whether a name that programs compare has no unfit characters (see [`presence_core::text`]) and no spaces at its ends.
pub fn is_fit_name(text: &str) -> bool {
    presence_core::text::shown(text) == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_event_can_be_read_by_everybody() {
        for fine in [
            "e",
            "typing",
            "né",
            "👩\u{200d}🚀",
            "two words",
            &"é".repeat(64),
        ] {
            assert_eq!(&*event_name(fine).unwrap(), fine);
        }
        for bad in [
            "",
            " ",
            "a\nb",
            "a\u{7f}",
            "\u{85}",
            "a\u{2028}",
            "\u{202e}e",
            "\u{2066}e\u{2069}",
            "e\u{200b}",
            "e\u{200d}",
            " e",
            "e ",
            &"é".repeat(65),
        ] {
            let why = event_name(bad).unwrap_err();
            assert_eq!(why.field.as_deref(), Some("event"), "{bad:?}");
        }
    }
}
