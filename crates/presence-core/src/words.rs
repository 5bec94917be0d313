//! Enums whose variants have a word on the wire. One list of the words is used to write them and to read them.

use std::fmt;

/// A text that is none of the words of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordError {
    what: &'static str,
    words: &'static [&'static str],
}

impl WordError {
    pub(crate) const fn new(what: &'static str, words: &'static [&'static str]) -> Self {
        WordError { what, words }
    }

    /// The words that are valid.
    pub fn words(&self) -> &'static [&'static str] {
        self.words
    }
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, words) = (self.what, self.words.join(", "));
        write!(f, "a {what} is one of: {words}")
    }
}

impl std::error::Error for WordError {}

/// Gives an enum `ALL`, `as_str`, `Display` and `FromStr` by one list of its variants and their words.
macro_rules! words {
    ($name:ident is a $what:literal: $($variant:ident = $word:literal),+ $(,)?) => {
        impl $name {
            #[doc = concat!("Every ", $what, ".")]
            pub const ALL: &[$name] = &[$($name::$variant),+];

            #[doc = concat!("The word for the ", $what, " on the wire. [`FromStr`](std::str::FromStr) reads it.")]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::WordError;

            #[doc = concat!("Reads the word for the ", $what, ", in lower case as it is written.")]
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::WordError::new($what, &[$($word),+])),
                }
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use crate::users::Activity;
    use crate::{Chosen, DeviceKind, Reason, Visible, Watching};

    #[test]
    fn every_word_is_read_as_what_it_was_written_for() {
        fn read_back<T>(all: &[T])
        where
            T: Copy + std::fmt::Debug + std::fmt::Display + PartialEq + std::str::FromStr,
        {
            for it in all {
                let word = it.to_string();
                let read = word.parse::<T>().ok();
                assert_eq!(read, Some(*it), "{word}");
                assert!(word.to_uppercase().parse::<T>().is_err(), "{word}");
            }
        }
        read_back(Chosen::ALL);
        read_back(Visible::ALL);
        read_back(Activity::ALL);
        read_back(DeviceKind::ALL);
        read_back(Reason::ALL);
        read_back(Watching::ALL);
    }

    #[test]
    fn what_is_no_word_is_told_which_would_do() {
        let error = "bussy".parse::<Chosen>().unwrap_err();
        let text = "a chosen status is one of: online, away, busy, invisible, offline";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.words().len(), Chosen::ALL.len());
        assert!("".parse::<Activity>().is_err());
        assert_eq!(format!("{:>6}|", Visible::Busy), "  busy|");
    }
}
