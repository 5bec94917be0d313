//! The patterns of channels that an identity may join and watch.

use std::sync::Arc;

use presence_core::{ChannelId, IdError};

use super::{PUSHER_PREFIX, is_pusher_channel};

/// The most patterns one token may list.
pub const PATTERNS_MAX: usize = 100;

/// Patterns of channels: single channels, and prefixes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Arc<[Pattern]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// `*`: every channel that does not belong to a Pusher application.
    Every,
    /// `room:*`: every channel that begins with this.
    Prefix(ChannelId),
    /// `room:42`: this channel.
    One(ChannelId),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// What is before the `*` is not the beginning of a channel's id.
    #[error(
        "a pattern is a channel, a prefix with `*` at its end, or `*`; what is before the `*` {0}"
    )]
    NoChannel(IdError),
    /// There are more than [`PATTERNS_MAX`] patterns.
    #[error("at most {PATTERNS_MAX} patterns would do")]
    TooMany,
}

impl Patterns {
    /// Parses the texts of patterns.
    ///
    /// # Errors
    ///
    /// Fails if a text is not a pattern, or if there are more than [`PATTERNS_MAX`].
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Patterns, PatternError> {
        let mut checked = Vec::new();
        for text in patterns {
            if checked.len() == PATTERNS_MAX {
                return Err(PatternError::TooMany);
            }
            checked.push(pattern(text).map_err(PatternError::NoChannel)?);
        }
        Ok(Patterns(checked.into()))
    }

    /// The pattern `*`, which covers every channel that does not belong to a Pusher application.
    pub fn every() -> Patterns {
        Patterns([Pattern::Every].into())
    }

    /// Whether one of the patterns covers `channel`. A channel of a Pusher application is covered only by a pattern that
    /// itself begins with `pusher/`.
    pub fn cover(&self, channel: &ChannelId) -> bool {
        let is_pusher = is_pusher_channel(channel);
        self.0.iter().any(|pattern| match pattern {
            Pattern::Every => !is_pusher,
            Pattern::Prefix(prefix) if is_pusher && !prefix.as_str().starts_with(PUSHER_PREFIX) => {
                false
            }
            Pattern::Prefix(prefix) => channel.as_str().starts_with(prefix.as_str()),
            Pattern::One(one) => channel == one,
        })
    }
}

impl FromIterator<Patterns> for Patterns {
    fn from_iter<T: IntoIterator<Item = Patterns>>(all: T) -> Self {
        let all: Vec<Pattern> = all.into_iter().flat_map(|it| it.0.to_vec()).collect();
        Patterns(all.into())
    }
}

fn pattern(text: &str) -> Result<Pattern, IdError> {
    Ok(match text.strip_suffix('*') {
        Some("") => Pattern::Every,
        Some(prefix) => Pattern::Prefix(ChannelId::new(prefix)?),
        None => Pattern::One(ChannelId::new(text)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_alone_or_at_the_end() {
        let cover = |pattern: &str, channel: &str| {
            Patterns::new([pattern])
                .unwrap()
                .cover(&ChannelId::new(channel).unwrap())
        };
        assert!(cover("*", "anything"));
        assert!(cover("room:*", "room:42"));
        assert!(cover("room:4*", "room:42"));
        assert!(!cover("room:*", "room"));
        assert!(!cover("room:*", "Room:42"));
        assert!(!cover("room:*", "private-room:42"));
        assert!(cover("room:42", "room:42"));
        assert!(!cover("room:42", "room:421"));
        for bad in [
            "",
            "**",
            "room:*:x",
            "*:42",
            "room *",
            "room:**",
            &"x".repeat(201),
        ] {
            assert!(Patterns::new([bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_below_pusher_is_covered_by_what_begins_with_that_only() {
        let channel = ChannelId::new("pusher/3/private-x").unwrap();
        let cover = |pattern: &str| Patterns::new([pattern]).unwrap().cover(&channel);
        for open in [
            "pusher/*",
            "pusher/3/*",
            "pusher/3/private-*",
            "pusher/3/private-x",
        ] {
            assert!(cover(open), "{open}");
        }
        for closed in [
            "*",
            "p*",
            "pusher*",
            "pusher/7/*",
            "pusher/3/private-y",
            "private-x",
            "Pusher/*",
        ] {
            assert!(!cover(closed), "{closed}");
        }
        assert!(!Patterns::every().cover(&channel));
        // Only what has the slash is below it.
        assert!(Patterns::every().cover(&ChannelId::new("pusher").unwrap()));
        assert!(Patterns::every().cover(&ChannelId::new("pushers/3").unwrap()));
    }

    #[test]
    fn no_pattern_covers_nothing_and_there_may_be_a_hundred() {
        let room = ChannelId::new("room:1").unwrap();
        assert!(!Patterns::new([]).unwrap().cover(&room));
        assert!(Patterns::new(vec!["a"; PATTERNS_MAX]).is_ok());
        assert_eq!(
            Patterns::new(vec!["a"; PATTERNS_MAX + 1]),
            Err(PatternError::TooMany)
        );
    }
}
