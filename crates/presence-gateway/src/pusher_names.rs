//! Translates the names of channels, users and connections between Pusher and Presence.
//!
//! Pusher's names have `-_=@,.;` beside letters and digits; ours may look like a URL. The presence channels of the
//! application that meets the others are our channels: they have `;` for `:`, and `=2F` and the like for characters that
//! Pusher's names do not have. `presence-room;42` is `room:42`, `presence-page;=2Fx` is `page:/x`. Each name has one
//! meaning, and each channel has one name. All other channels, and all channels of the other applications, are below
//! `pusher/{app}/`, where no such name leads.

use std::borrow::Cow;
use std::fmt;

use presence_core::{ChannelId, IdError, Outsider, UserId};

use crate::config::PusherApp;
use crate::identity::{PUSHER_PREFIX, PUSHER_SERVER_PREFIX, Patterns, user_id};

/// The longest name that Pusher's server libraries accept, in bytes.
const NAME_BYTES_MAX: usize = 200;
const PRESENCE: &str = "presence-";
/// The prefix of the channel on which a signed-in user is sent events; the user's id follows it.
const TO_USER: &str = "#server-to-user-";

/// Why a name is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    Empty,
    TooLong,
    Character(char),
    /// The name leads to where others are.
    Reserved,
    Id(IdError),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("the channel has no name"),
            NameError::TooLong => {
                write!(f, "a channel's name has at most {NAME_BYTES_MAX} bytes")
            }
            NameError::Character(':') => {
                f.write_str("a channel's name has no ':'; presence-room;42 is room:42")
            }
            NameError::Character(c) => write!(f, "a channel's name has no {c:?}"),
            NameError::Reserved => f.write_str("the name is reserved"),
            NameError::Id(why) => write!(f, "the channel {why}"),
        }
    }
}

/// The kind of a channel, from the beginning of its name: who may subscribe to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everybody may subscribe.
    Public,
    /// Subscribing needs a signature.
    Private,
    /// Subscribing needs a signature, and members see each other.
    Presence,
    /// The channel of one signed-in user.
    ToUser,
    /// A channel that keeps the last event. The gateway does not support these.
    Cache,
}

/// The kind of the channel with this name.
pub(crate) fn kind(name: &str) -> Kind {
    let caches = ["cache-", "private-cache-", "presence-cache-"];
    let caches = caches.iter().chain(&["private-encrypted-cache-"]);
    match name {
        _ if caches.into_iter().any(|it| name.starts_with(it)) => Kind::Cache,
        _ if name.starts_with(PRESENCE) => Kind::Presence,
        _ if name.starts_with("private-") => Kind::Private,
        _ if name.starts_with(TO_USER) => Kind::ToUser,
        _ => Kind::Public,
    }
}

/// The user whose own channel this is.
pub(crate) fn addressee(name: &str) -> Option<&str> {
    name.strip_prefix(TO_USER)
}

/// The channel that `app` calls `name`.
pub(crate) fn channel_of(app: &PusherApp, name: &str) -> Result<ChannelId, NameError> {
    let text = match addressee(name) {
        Some(user) => {
            user_of(app, user).map_err(NameError::Id)?;
            apart(app, name)
        }
        None => {
            checked(name)?;
            match name.strip_prefix(PRESENCE) {
                Some(rest) if app.meets_others => decoded(rest),
                _ => apart(app, name),
            }
        }
    };
    if text.starts_with(PUSHER_PREFIX) && app.meets_others && kind(name) == Kind::Presence {
        return Err(NameError::Reserved);
    }
    ChannelId::new(&text).map_err(NameError::Id)
}

/// The name of `channel` on the pages of its application, and whether they see who is there.
pub(crate) fn name_of(channel: &ChannelId) -> (Cow<'_, str>, bool) {
    let apart = channel.as_str().strip_prefix(PUSHER_PREFIX);
    match apart.and_then(|it| it.split_once('/')) {
        Some((_, name)) => (name.into(), name.starts_with(PRESENCE)),
        None => (
            format!("{PRESENCE}{}", encoded(channel.as_str())).into(),
            true,
        ),
    }
}

/// Whether `channel` belongs to `app`.
pub(crate) fn is_of(app: &PusherApp, channel: &ChannelId) -> bool {
    let apart = channel.as_str().strip_prefix(PUSHER_PREFIX);
    match apart.and_then(|it| it.split_once('/')) {
        Some((id, _)) => id == app.id,
        None => app.meets_others,
    }
}

/// The user whom `app` calls `id`.
pub(crate) fn user_of(app: &PusherApp, id: &str) -> Result<UserId, IdError> {
    let user = user_id(id)?; // also what clients index objects by
    match app.meets_others {
        true => Ok(user),
        false => UserId::new(&apart(app, id)),
    }
}

/// The channels that a signature of `app` can open.
pub(crate) fn channels_of(app: &PusherApp) -> Patterns {
    let own = apart(app, "*");
    let everybodys = app.meets_others.then_some("*");
    let patterns = everybodys.into_iter().chain([own.as_str()]);
    Patterns::new(patterns).expect("an id of an application is in the alphabet")
}

/// The id of `user` in their application.
pub(crate) fn id_of(user: &UserId) -> &str {
    let apart = user.as_str().strip_prefix(PUSHER_PREFIX);
    let apart = apart.and_then(|it| it.split_once('/'));
    apart.map_or(user.as_str(), |(_, id)| id)
}

/// The user in whose name a server of `app` sends.
pub(crate) fn speaker(app: &PusherApp) -> UserId {
    let name = format!("{PUSHER_SERVER_PREFIX}{}", app.id);
    UserId::new(&name).expect("an id of an application is in the alphabet")
}

fn apart(app: &PusherApp, name: &str) -> String {
    format!("{PUSHER_PREFIX}{}/{name}", app.id)
}

fn checked(name: &str) -> Result<(), NameError> {
    let rest = name.strip_prefix(PRESENCE).unwrap_or(name);
    if rest.is_empty() {
        return Err(NameError::Empty);
    }
    // Pages have an object with names of channels for keys.
    if ChannelId::new(name) == Err(IdError::Reserved) {
        return Err(NameError::Reserved);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_=@,.;".contains(c);
    match name.chars().find(|&c| !fine(c)) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

/// The character that has to be written as `=` and two digits, if these digits stand for one.
fn escaped(digits: &[u8]) -> Option<char> {
    let digits = str::from_utf8(digits.get(..2)?).ok()?;
    let is_upper = !digits
        .bytes()
        .any(|it| it.is_ascii_lowercase() || it == b'+');
    let code = u8::from_str_radix(digits, 16).ok().filter(|_| is_upper)?;
    Some(char::from(code)).filter(|&it| "|+/~%?&!#$;".contains(it))
}

/// Whether what follows a `=` makes it an escape: then a plain `=` is written `=3D`.
fn is_escape(rest: &[u8]) -> bool {
    escaped(rest).is_some() || (rest.starts_with(b"3D") && is_escape(&rest[2..]))
}

fn decoded(name: &str) -> String {
    let mut channel = String::with_capacity(name.len());
    let mut at = 0;
    let bytes = name.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        channel.push(match byte {
            b';' => ':',
            b'=' if is_escape(&bytes[at..]) => {
                let c = escaped(&bytes[at..]).unwrap_or('=');
                at += 2;
                c
            }
            byte => char::from(byte),
        });
    }
    channel
}

fn encoded(channel: &str) -> String {
    let mut name = String::with_capacity(channel.len());
    for (at, c) in channel.char_indices() {
        match c {
            ':' => name.push(';'),
            '=' if is_escape(&channel.as_bytes()[at + 1..]) => name.push_str("=3D"),
            c if "|+/~%?&!#$;".contains(c) => {
                name.push_str(&format!("={:02X}", u32::from(c)));
            }
            c => name.push(c),
        }
    }
    name
}

/// A connection, by its Pusher socket id: two numbers with a dot between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(u64);

impl SocketId {
    const HALF: u64 = 1 << 24;

    /// Draws a new socket id. A signature for one socket id is not valid for another.
    pub(crate) fn random() -> Self {
        let number = getrandom::u64().expect("the operating system has random numbers");
        SocketId((number % (SocketId::HALF * SocketId::HALF)).max(1))
    }

    /// Parses a socket id. One that no connection of this gateway can have becomes 0, which is nobody's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (a, b) = text.split_once('.')?;
        let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        if !digits(a) || !digits(b) {
            return None;
        }
        let half = |it: &str| it.parse::<u64>().ok().filter(|it| *it < SocketId::HALF);
        let number = half(a).zip(half(b)).map(|(a, b)| a * SocketId::HALF + b);
        Some(SocketId(number.unwrap_or(0)))
    }

    /// The sender of a server's event on behalf of a connection, so that the event does not come back
    /// to that connection.
    pub(crate) fn outsider(socket: Option<SocketId>) -> Outsider {
        Outsider::new(socket.map_or(0, |it| it.0))
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / SocketId::HALF, self.0 % SocketId::HALF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn presence_channels_of_the_first_application_are_those_of_everybody() {
        for (name, channel) in [
            ("presence-room;42", "room:42"),
            ("presence-room-42", "room-42"),
            ("presence-document;7", "document:7"),
            ("presence-page;=2Fx", "page:/x"),
            ("presence-page;=2Fp=3Fa=b=26c=41", "page:/p?a=b&c=41"),
            ("presence-a=b", "a=b"),
            ("presence-a=3Db", "a=3Db"),
            ("presence-a=3D2F", "a=2F"),
            ("presence-a=3D3D2F", "a=3D2F"),
            ("presence-a=2f", "a=2f"),
            ("presence-presence-x", "presence-x"),
        ] {
            let meant = channel_of(&app(true), name).unwrap();
            assert_eq!(meant.as_str(), channel);
            assert_eq!(name_of(&meant), (name.into(), true));
            assert!(is_of(&app(true), &meant) && !is_of(&app(false), &meant));
        }
    }

    #[test]
    fn every_channel_has_one_name_and_every_name_one_meaning() {
        let parts = ["=", "3D", "2F", "3B", ";", ":", "/", "a", "=3D", "D2"];
        let mut seen = std::collections::BTreeMap::new();
        for number in 0..10_usize.pow(4) {
            let text: String = (0..4)
                .map(|n| parts[number / 10_usize.pow(n) % 10])
                .collect();
            let name = encoded(&text);
            assert_eq!(decoded(&name), text, "{name}");
            assert!(checked(&name).is_ok(), "{name}");
            assert_eq!(
                seen.insert(name, text.clone()).unwrap_or(text.clone()),
                text
            );
            if checked(&text).is_ok() {
                assert_eq!(encoded(&decoded(&text)), text);
            }
        }
    }

    #[test]
    fn everything_else_is_apart() {
        let (one, other) = (app(true), app(false));
        for (app, name, channel) in [
            (&one, "orders", "pusher/3/orders"),
            (&one, "private-room;42", "pusher/3/private-room;42"),
            (&one, "#server-to-user-7", "pusher/3/#server-to-user-7"),
            (&other, "presence-room;42", "pusher/7/presence-room;42"),
        ] {
            let meant = channel_of(app, name).unwrap();
            assert_eq!(meant.as_str(), channel);
            let is_presence = kind(name) == Kind::Presence;
            assert_eq!(name_of(&meant), (name.into(), is_presence));
            assert!(is_of(app, &meant));
        }
        assert_eq!(user_of(&one, "ann").unwrap().as_str(), "ann");
        let ann = user_of(&other, "ann").unwrap();
        assert_eq!((ann.as_str(), id_of(&ann)), ("pusher/7/ann", "ann"));
    }

    #[test]
    fn no_name_leads_to_another_application_and_bad_ones_are_refused() {
        let refused = |name: &str| channel_of(&app(true), name).unwrap_err();
        assert_eq!(refused("presence-pusher=2F7=2Fx"), NameError::Reserved);
        assert_eq!(refused("toString"), NameError::Reserved);
        assert!(matches!(refused("presence-valueOf"), NameError::Id(_)));
        assert_eq!(refused("presence-"), NameError::Empty);
        assert_eq!(refused(""), NameError::Empty);
        assert_eq!(refused("presence-room:42"), NameError::Character(':'));
        assert_eq!(refused("a/b"), NameError::Character('/'));
        assert_eq!(refused("ä"), NameError::Character('ä'));
        assert_eq!(refused(&"x".repeat(201)), NameError::TooLong);
        assert!(matches!(refused(&"x".repeat(200)), NameError::Id(_)));
        assert!(channel_of(&app(true), &"x".repeat(164)).is_ok());
        assert!(matches!(refused("#server-to-user-a b"), NameError::Id(_)));
        for id in [
            "",
            "__proto__",
            "constructor",
            "toLocaleString",
            "a b",
            "pusher/7/ann",
            "app:3",
        ] {
            assert!(user_of(&app(true), id).is_err(), "{id}");
            assert!(user_of(&app(false), id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_signature_opens_the_channels_of_its_application_and_only_of_one_those_of_everybody() {
        let covers = |meets_others, channel: &str| {
            channels_of(&app(meets_others)).cover(&channel.parse().unwrap())
        };
        assert!(covers(true, "room:42") && !covers(false, "room:42"));
        assert!(covers(true, "pusher/3/private-x") && !covers(false, "pusher/3/private-x"));
        assert!(covers(false, "pusher/7/private-x") && !covers(true, "pusher/7/private-x"));
        assert!(!covers(true, "pusher/33/private-x"));
    }

    #[test]
    fn a_socket_id_is_two_numbers() {
        for _ in 0..100 {
            let id = SocketId::random();
            assert_eq!(SocketId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(SocketId::parse("99999999999999999999.1"), Some(SocketId(0)));
        for bad in ["", ".", "1.", ".1", "1.x", "+1.1", "1:1", "1.1.1"] {
            assert_eq!(SocketId::parse(bad), None, "{bad}");
        }
    }

    fn app(meets_others: bool) -> PusherApp {
        PusherApp {
            id: if meets_others { "3" } else { "7" }.into(),
            key: "key".into(),
            secret: Secret::new("secret"),
            meets_others,
        }
    }
}
