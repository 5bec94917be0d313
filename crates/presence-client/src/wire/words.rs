//! Fields whose value is one of a few words.

/// Declares an enum that is a word in JSON and its position in binary.
macro_rules! words {
    ($(
        $(#[$doc:meta])*
        pub enum $name:ident { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$word_doc])* $variant, )+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$($name::$variant),+];

            /// Its name on the wire.
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
                    let $crate::wire::frame::Key(word) = serde::Deserialize::deserialize(from)?;
                    return word.parse().map_err(D::Error::custom);
                }
                let index: u8 = serde::Deserialize::deserialize(from)?;
                let it = $name::ALL.get(usize::from(index)).copied();
                it.ok_or_else(|| D::Error::custom("an unknown word"))
            }
        }

        impl<'de> $crate::wire::frame::Member<'de> for $name {}
    )+};
}

words! {
    /// What a person chose.
    pub enum Chosen {
        /// Show me as I am.
        Online = "online",
        /// I am not looking.
        Away = "away",
        /// Do not disturb me.
        Busy = "busy",
        /// I am here and nobody shall know.
        Invisible = "invisible",
        /// I am gone, until I next connect.
        Offline = "offline",
    }

    /// What others are shown.
    pub enum Visible {
        /// Here and active.
        Online = "online",
        /// Here, not looking.
        Away = "away",
        /// Here, not to be disturbed.
        Busy = "busy",
        /// Not here, as far as anyone can tell.
        Offline = "offline",
    }

    /// How awake a session is.
    pub enum Activity {
        /// The person uses it.
        Active = "active",
        /// The person is away from the keyboard.
        Idle = "idle",
        /// It is in the background.
        Hidden = "hidden",
    }

    /// What kind of thing a device is.
    pub enum DeviceKind {
        /// A browser.
        Web = "web",
        /// A phone or a tablet.
        Mobile = "mobile",
        /// An installed program.
        Desktop = "desktop",
        /// Anything else.
        Other = "other",
    }

    /// How a roster is shown.
    pub enum Mode {
        /// Everyone.
        Full = "full",
        /// A count and the first faces.
        Summary = "summary",
    }

    /// Why somebody is gone.
    pub enum Reason {
        /// They said so.
        Left = "left",
        /// Their connection broke and did not come back.
        Lost = "lost",
        /// Nothing was heard of them.
        TimedOut = "timed_out",
        /// A newer session took the place.
        Replaced = "replaced",
        /// The node they were on died.
        NodeLost = "node_lost",
        /// They were made to.
        Kicked = "kicked",
    }

    /// What is wrong with a command.
    pub enum ErrorCode {
        /// Not a JSON object, or not UTF-8.
        Malformed = "malformed",
        /// No such `type`.
        UnknownCommand = "unknown_command",
        /// A field is missing, unknown, or has a bad value.
        Invalid = "invalid",
        /// The token does not allow that.
        Forbidden = "forbidden",
        /// The token is missing, wrong or expired.
        Unauthorized = "unauthorized",
        /// Join the channel first.
        NotJoined = "not_joined",
        /// A limit is reached.
        TooMany = "too_many",
        /// The value is over its size.
        TooLarge = "too_large",
        /// Slow down.
        RateLimited = "rate_limited",
        /// The gateway is busy.
        Overloaded = "overloaded",
        /// What stores this is away: nothing is lost, try again.
        Unavailable = "unavailable",
    }
}
