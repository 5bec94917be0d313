//! Enums whose values are words in JSON, such as a status.

/// Declares an enum that JSON shows as a word and binary frames as its position.
macro_rules! words {
    ($(
        $(#[$doc:meta])*
        pub enum $name:ident { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$word_doc])* $variant, )+ }

        impl $name {
            /// Every value, in the order of the binary encoding.
            pub const ALL: &'static [Self] = &[$($name::$variant),+];

            /// The word that stands for this value in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $word, )+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $( $word => Ok($name::$variant), )+
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match to.is_human_readable() {
                    true => to.serialize_str(self.as_str()),
                    false => to.serialize_u8(*self as u8),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                if from.is_human_readable() {
                    let $crate::member::Key(word) = serde::Deserialize::deserialize(from)?;
                    return word.parse().map_err(D::Error::custom);
                }
                let index: u8 = serde::Deserialize::deserialize(from)?;
                let it = $name::ALL.get(usize::from(index)).copied();
                it.ok_or_else(|| D::Error::custom("an unknown word"))
            }
        }

        impl<'de> $crate::member::Member<'de> for $name {}
    )+};
}

words! {
    /// The status that a person chose.
    pub enum Chosen {
        /// Shown as online while they have a session.
        Online = "online",
        /// Shown as away: they are not looking.
        Away = "away",
        /// Shown as busy: they do not want to be disturbed.
        Busy = "busy",
        /// Shown as offline although they are here.
        Invisible = "invisible",
        /// Shown as offline until their next connection.
        Offline = "offline",
    }

    /// The status of a person that others see.
    pub enum Visible {
        /// The person is here and active.
        Online = "online",
        /// The person is here, but not looking.
        Away = "away",
        /// The person is here, and does not want to be disturbed.
        Busy = "busy",
        /// The person is not here, or is invisible.
        Offline = "offline",
    }

    /// How active a person is on one session.
    pub enum Activity {
        /// The person is using the session.
        Active = "active",
        /// The person is away from the keyboard.
        Idle = "idle",
        /// The page or app is in the background.
        Hidden = "hidden",
    }

    /// The kind of a device, from the prefix of its id.
    pub enum DeviceKind {
        /// A browser, `web:…`.
        Web = "web",
        /// A phone or a tablet, `mobile:…`.
        Mobile = "mobile",
        /// An installed program, `desktop:…`.
        Desktop = "desktop",
        /// A device with any other id.
        Other = "other",
    }

    /// How a watcher is shown a roster.
    pub enum Mode {
        /// Everyone in the place is listed.
        Full = "full",
        /// The exact count and the first people are shown.
        Summary = "summary",
    }

    /// The order of the rows of a window.
    pub enum Order {
        /// By when they joined, and by their id where that is the same.
        Joined = "joined",
        /// By their name in lower case, and by their id where that is the same. Who has no name is sorted by their id.
        Name = "name",
    }

    /// Why a user has left a place.
    pub enum Reason {
        /// They left, or closed the connection with a goodbye.
        Left = "left",
        /// Their connection broke and did not come back.
        Lost = "lost",
        /// The gateway heard nothing from them for too long.
        TimedOut = "timed_out",
        /// A newer session of the same user took the place of theirs.
        Replaced = "replaced",
        /// The gateway that they were connected to died.
        NodeLost = "node_lost",
        /// A server or an operator removed them.
        Kicked = "kicked",
    }

    /// Why the gateway refused a command.
    pub enum ErrorCode {
        /// The frame is not a JSON object, or not UTF-8.
        Malformed = "malformed",
        /// There is no command with this `type`.
        UnknownCommand = "unknown_command",
        /// A field is missing, unknown, or has a bad value.
        Invalid = "invalid",
        /// The token does not allow the command.
        Forbidden = "forbidden",
        /// The token is missing, wrong or expired.
        Unauthorized = "unauthorized",
        /// The session is not in the channel: join it first.
        NotJoined = "not_joined",
        /// The command would exceed a limit of the gateway.
        TooMany = "too_many",
        /// The value of a field is longer than its limit.
        TooLarge = "too_large",
        /// The client sends commands too fast: slow down.
        RateLimited = "rate_limited",
        /// The gateway is too busy: try again later.
        Overloaded = "overloaded",
        /// The store is unreachable. Nothing is lost: try again later.
        Unavailable = "unavailable",
    }
}
