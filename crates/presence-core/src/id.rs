//! Identifiers of users, devices, channels, workspaces and sessions. Each has an alphabet and a maximum length, so that
//! every wire format, key and page can carry it without escapes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::words::words;

/// Why a text is not a valid identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    Empty,
    /// The text is longer than `bytes_max` bytes.
    TooLong {
        /// The maximum length for this kind of identifier, in bytes.
        bytes_max: usize,
    },
    /// The text has a character outside the alphabet: this one.
    Character(char),
    /// The text is the name of a property that every JavaScript object inherits. A page that uses ids as keys of an
    /// object would find a function there.
    Reserved,
    /// The text begins with a prefix that is reserved for identifiers of another kind: this one.
    Prefix(&'static str),
    /// The text does not have this many hexadecimal digits, in lower case, and nothing else.
    Digits(usize),
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdError::Empty => f.write_str("must not be empty"),
            IdError::TooLong { bytes_max } => write!(f, "must be at most {bytes_max} bytes"),
            IdError::Character(c) => write!(f, "must not contain {c:?}"),
            IdError::Reserved => f.write_str("is a reserved name"),
            IdError::Prefix(prefix) => write!(f, "must not begin with `{prefix}`"),
            IdError::Digits(digits) => {
                write!(f, "must be {digits} hexadecimal digits in lower case")
            }
        }
    }
}

impl std::error::Error for IdError {}

/// The characters that every identifier may have: letters, digits, and marks that need no escape in a URL path, a Redis
/// key or JSON.
fn is_common(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:@|+=/~".contains(c)
}

/// The characters that a channel may have: more than others, because channels are often named after the path of a page.
fn is_channel(c: char) -> bool {
    is_common(c) || "%?&!,;#$".contains(c)
}

/// The names in `Object.getOwnPropertyNames(Object.prototype)`, and `prototype`, which functions have.
const RESERVED: [&str; 13] = [
    "constructor",
    "__defineGetter__",
    "__defineSetter__",
    "hasOwnProperty",
    "__lookupGetter__",
    "__lookupSetter__",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toString",
    "valueOf",
    "__proto__",
    "toLocaleString",
    "prototype",
];

fn checked(text: &str, bytes_max: usize, allowed: fn(char) -> bool) -> Result<Arc<str>, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > bytes_max {
        return Err(IdError::TooLong { bytes_max });
    }
    if let Some(c) = text.chars().find(|&c| !allowed(c)) {
        return Err(IdError::Character(c));
    }
    if RESERVED.contains(&text) {
        return Err(IdError::Reserved);
    }
    Ok(text.into())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes_max:literal, $allowed:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The maximum length in bytes.
            pub const BYTES_MAX: usize = $bytes_max;

            /// Checks `text` and keeps it unchanged.
            ///
            /// # Errors
            ///
            /// [`IdError`] if the text is empty, too long or reserved, or has a character outside the alphabet.
            pub fn new(text: &str) -> Result<Self, IdError> {
                checked(text, Self::BYTES_MAX, $allowed).map($name)
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The identifier as shared text; cloning it is cheap.
            pub fn text(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The id of a user's account: at most 128 bytes.
    UserId, 128, is_common
}
id! {
    /// The id of one browser profile or phone of a user, such as `web:browser_abc`: at most 128 bytes.
    DeviceId, 128, is_common
}
id! {
    /// The id of a place that sessions join, such as `room:42`, `document:7` or `page:/x`: at most 200 bytes.
    ChannelId, 200, is_channel
}
id! {
    /// The id of a tenant in whose online list a user appears: at most 128 bytes.
    WorkspaceId, 128, is_common
}

impl UserId {
    /// Whether the user is a visitor without an account. Nothing of theirs is kept after their sessions have ended.
    pub fn is_anonymous(&self) -> bool {
        self.as_str().starts_with("anon_")
    }
}

/// The kind of a device, which is all that others are told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A web browser.
    Web,
    /// A phone or a tablet.
    Mobile,
    /// A program that is installed on a computer.
    Desktop,
    /// Any other kind of device.
    Other,
}

words!(
    DeviceKind is a "kind of device":
    Web = "web",
    Mobile = "mobile",
    Desktop = "desktop",
    Other = "other",
);

impl DeviceId {
    /// The kind of the device: what stands before the first colon of the id.
    pub fn kind(&self) -> DeviceKind {
        match self.as_str().split(':').next() {
            Some("web") => DeviceKind::Web,
            Some("mobile") => DeviceKind::Mobile,
            Some("desktop") => DeviceKind::Desktop,
            _ => DeviceKind::Other,
        }
    }
}

/// The id of one logical connection of a client. The server chooses it, and the session keeps it across reconnects. It
/// is not a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// How many hexadecimal digits an id has as a text.
    pub const DIGITS: usize = 32;

    /// The id with this number.
    ///
    /// The hub draws random numbers of 128 bits for its sessions. A caller that chooses the numbers itself must not use
    /// one twice, and must not use one below 2^80: those are what services are shown as (see [`Outsider::shown_as`]). An
    /// id is shown as 32 hexadecimal digits.
    ///
    /// ```
    /// use presence_core::SessionId;
    ///
    /// let session = SessionId::from_u128(1 << 100);
    /// assert_eq!(session.to_string(), "00000010000000000000000000000000");
    /// ```
    pub const fn from_u128(number: u128) -> Self {
        SessionId(number)
    }

    /// The number of the id, as [`from_u128`](Self::from_u128) takes it.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

/// A service that is in no channel, and sends messages to channels. The service chooses its own number, to recognise
/// its messages by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outsider(u64);

impl Outsider {
    const MAX: u64 = (1 << 48) - 1;

    /// The service with this number, of which only the last 48 bits are kept.
    pub const fn new(number: u64) -> Self {
        Outsider(number & Outsider::MAX)
    }

    /// What clients and stores have as the id of a session where this service spoke through the node with the tag `node`.
    /// Its first 48 bits are zero. Those of a session are random, so they are all zero once in 280 million million
    /// sessions.
    pub const fn shown_as(self, node: u32) -> SessionId {
        SessionId((node as u128) << 48 | self.0 as u128)
    }

    /// The service that is [shown as](Self::shown_as) this id, and the tag of the node through which it spoke; `None` if
    /// it is the id of a session.
    ///
    /// ```
    /// use presence_core::{Outsider, SessionId};
    ///
    /// let service = Outsider::new(7);
    /// assert_eq!(Outsider::of_shown(service.shown_as(3)), Some((service, 3)));
    /// assert_eq!(Outsider::of_shown(SessionId::from_u128(1 << 80)), None);
    /// ```
    pub const fn of_shown(id: SessionId) -> Option<(Self, u32)> {
        match id.0 >> 80 {
            0 => Some((Outsider(id.0 as u64 & Outsider::MAX), (id.0 >> 48) as u32)),
            _ => None,
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    /// Reads the [`DIGITS`](SessionId::DIGITS) hexadecimal digits that `Display` writes.
    ///
    /// ```
    /// use presence_core::{IdError, SessionId};
    ///
    /// let session = SessionId::from_u128(1 << 100);
    /// assert_eq!(session.to_string().parse(), Ok(session));
    /// assert_eq!("10".parse::<SessionId>(), Err(IdError::Digits(32)));
    /// ```
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = IdError::Digits(SessionId::DIGITS);
        let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != SessionId::DIGITS || !text.bytes().all(is_digit) {
            return Err(wrong);
        }
        let number = u128::from_str_radix(text, 16);
        number.map(SessionId).map_err(|_| wrong)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_field_are_taken_as_they_are() {
        for id in ["user-123", "auth0|5f7c", "ann@example.org", "42"] {
            assert_eq!(UserId::new(id).unwrap().as_str(), id);
        }
        for id in ["room:42", "document:7", "page:/products/x?y=1&z=%20#top"] {
            assert_eq!(ChannelId::new(id).unwrap().as_str(), id);
        }
        assert_eq!(
            DeviceId::new("mobile:ios_xyz").unwrap().kind(),
            DeviceKind::Mobile
        );
        assert_eq!(DeviceId::new("toaster").unwrap().kind(), DeviceKind::Other);
    }

    #[test]
    fn the_id_of_a_session_is_read_as_it_is_shown() {
        for number in [0, 7, 1 << 80, u128::MAX] {
            let session = SessionId::from_u128(number);
            assert_eq!(session.to_string().parse(), Ok(session));
        }
        let digits = "0123456789abcdef0123456789abcdef";
        assert!(digits.parse::<SessionId>().is_ok());
        for wrong in [
            "",
            "7",
            &digits.to_uppercase(),
            &digits.replace('0', "+"),
            &format!("{digits}0"),
            &digits.replace("01", "é"),
        ] {
            let read = wrong.parse::<SessionId>();
            assert_eq!(read, Err(IdError::Digits(32)), "{wrong}");
        }
    }

    #[test]
    fn an_outsider_is_told_from_a_session() {
        for (number, node) in [(u64::MAX, u32::MAX), (42, 7), (0, 0)] {
            let outsider = Outsider::new(number);
            let shown = outsider.shown_as(node);
            assert_eq!(Outsider::of_shown(shown), Some((outsider, node)));
        }
        assert_eq!(Outsider::of_shown(SessionId::from_u128(1 << 80)), None);
    }

    #[test]
    fn what_would_break_a_key_a_page_or_a_log_line_is_refused() {
        assert_eq!(UserId::new(""), Err(IdError::Empty));
        assert_eq!(
            UserId::new(&"x".repeat(129)),
            Err(IdError::TooLong { bytes_max: 128 })
        );
        assert_eq!(UserId::new("a b"), Err(IdError::Character(' ')));
        assert_eq!(UserId::new("{a}"), Err(IdError::Character('{')));
        assert_eq!(UserId::new("a\nb"), Err(IdError::Character('\n')));
        assert_eq!(UserId::new("<b>"), Err(IdError::Character('<')));
        assert_eq!(UserId::new("jürgen"), Err(IdError::Character('ü')));
        assert_eq!(ChannelId::new("room:*"), Err(IdError::Character('*')));
    }

    #[test]
    fn what_every_object_of_a_page_has_already_is_no_id_of_any_kind() {
        // Object.getOwnPropertyNames(Object.prototype), as Node 20 and browsers have it.
        let inherited = "constructor __defineGetter__ __defineSetter__ hasOwnProperty __lookupGetter__ \
                         __lookupSetter__ isPrototypeOf propertyIsEnumerable toString valueOf __proto__ toLocaleString";
        for name in inherited.split(' ') {
            assert_eq!(UserId::new(name), Err(IdError::Reserved), "{name}");
            assert_eq!(DeviceId::new(name), Err(IdError::Reserved), "{name}");
            assert_eq!(ChannelId::new(name), Err(IdError::Reserved), "{name}");
            assert_eq!(WorkspaceId::new(name), Err(IdError::Reserved), "{name}");
        }
        for fine in [
            "tostring",
            "valueof",
            "user:toString",
            "proto",
            "__proto",
            "then",
            "length",
        ] {
            assert!(UserId::new(fine).is_ok(), "{fine}");
        }
    }
}
