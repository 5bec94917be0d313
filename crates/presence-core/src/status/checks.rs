//! The checks of what a user may set: the message, the emoji, and why one is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::text;

/// The longest custom message, in characters.
pub const MESSAGE_CHARS_MAX: usize = 256;
/// The longest emoji, in bytes: a family of four with skin tones is 41.
pub const EMOJI_BYTES_MAX: usize = 64;
/// The longest time for which a status may be set: 366 days.
pub const CLEAR_AFTER_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Why a message, an emoji or an end is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusError {
    /// The message has more than [`MESSAGE_CHARS_MAX`] characters.
    MessageTooLong,
    /// The message has line breaks, other control characters, or characters that change the writing direction.
    MessageControl,
    /// The text is neither one emoji nor a `:shortcode:`.
    NotAnEmoji,
    /// The end is not in the future.
    ExpiryPast,
    /// The end is more than [`CLEAR_AFTER_MAX`] away.
    ExpiryTooFar,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusError::MessageTooLong => {
                write!(f, "must be at most {MESSAGE_CHARS_MAX} characters")
            }
            StatusError::MessageControl => f.write_str(
                "must not have line breaks, control characters or marks that change the writing direction",
            ),
            StatusError::NotAnEmoji => f.write_str("must be one emoji or a :shortcode:"),
            StatusError::ExpiryPast => f.write_str("must be in the future"),
            StatusError::ExpiryTooFar => f.write_str("must be within a year"),
        }
    }
}

impl std::error::Error for StatusError {}

/// Reads the message of a record, which is bounded. Whether people may choose it is checked where they do: records may be older.
#[cfg(feature = "serde")]
pub(crate) fn read_message<'de, D>(from: D) -> Result<Option<Arc<str>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let message: Option<Arc<str>> = serde::Deserialize::deserialize(from)?;
    let is_long = |it: &Arc<str>| it.chars().count() > MESSAGE_CHARS_MAX;
    match message.as_ref().is_some_and(is_long) {
        true => Err(serde::de::Error::custom(format_args!(
            "a message must be at most {MESSAGE_CHARS_MAX} characters"
        ))),
        false => Ok(message),
    }
}

/// Reads the emoji of a record, which is bounded.
#[cfg(feature = "serde")]
pub(crate) fn read_emoji<'de, D>(from: D) -> Result<Option<Arc<str>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let emoji: Option<Arc<str>> = serde::Deserialize::deserialize(from)?;
    match emoji.as_ref().is_some_and(|it| it.len() > EMOJI_BYTES_MAX) {
        true => Err(serde::de::Error::custom(format_args!(
            "an emoji must be at most {EMOJI_BYTES_MAX} bytes"
        ))),
        false => Ok(emoji),
    }
}

/// Checks a custom message, removes invisible characters, and trims it. Returns `None` for an empty message.
///
/// # Errors
///
/// [`StatusError::MessageTooLong`], or [`StatusError::MessageControl`] if it would break a line or change
/// the writing direction.
pub fn checked_message(text: &str) -> Result<Option<Arc<str>>, StatusError> {
    if text.chars().count() > MESSAGE_CHARS_MAX {
        return Err(StatusError::MessageTooLong);
    }
    if text::is_disruptive(text) {
        return Err(StatusError::MessageControl);
    }
    let text = text::shown(text);
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Checks that `text` is one emoji of Unicode's list or one `:shortcode:`, and trims it. Returns `None` for
/// an empty text.
///
/// # Errors
///
/// [`StatusError::NotAnEmoji`] if it is anything else, or longer than [`EMOJI_BYTES_MAX`] bytes.
pub fn checked_emoji(text: &str) -> Result<Option<Arc<str>>, StatusError> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.trim();
    if text.len() <= EMOJI_BYTES_MAX && (is_shortcode(text) || text::is_emoji(text)) {
        Ok(Some(text.into()))
    } else {
        Err(StatusError::NotAnEmoji)
    }
}

/// Whether this is `:name:`, or `:name::skin-tone-N:` with a tone from 1 to 6.
fn is_shortcode(text: &str) -> bool {
    let inner = text.strip_prefix(':').and_then(|it| it.strip_suffix(':'));
    let (name, tone) = match inner.map(|it| it.split_once("::skin-tone-").ok_or(it)) {
        None => return false,
        Some(Ok((name, tone))) => (name, Some(tone)),
        Some(Err(name)) => (name, None),
    };
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
        && tone.is_none_or(|it| matches!(it.as_bytes(), [b'1'..=b'6']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_told_from_text() {
        for good in [
            "🎯",
            "👩‍👩‍👧‍👦",
            "🇩🇪",
            "1️⃣",
            "1\u{20e3}",
            "❤️",
            "❤",
            "ℹ️",
            "Ⓜ️",
            "🅰️",
            "🅱️",
            "🅾️",
            "🅿️",
            "🅿",
            ":coffee:",
            ":+1:",
            ":wave::skin-tone-3:",
        ] {
            assert_eq!(checked_emoji(good).unwrap().as_deref(), Some(good));
        }
        assert_eq!(checked_emoji(" 🎯 ").unwrap().as_deref(), Some("🎯"));
        assert_eq!(checked_emoji(""), Ok(None));
        for bad in [
            "hello",
            "ä",
            "漢",
            "<b>",
            "::",
            ":a b:",
            "1",
            "1\u{fe0f}",
            "#",
            "#\u{fe0f}",
            " ",
            "§",
            "©§",
            "12→",
            "🎯🎯",
            "🎯x",
            "🎯\u{202e}",
            "\u{202e}",
            "\u{200b}",
            "\u{200d}",
            "\u{fe0f}",
            "\u{fe0f}🎯",
            "❤\u{fe0f}\u{fe0f}",
            "❤\u{fe0e}",
            "🎯\u{200d}",
            "🏻",
            "🇩",
            "🇩🇩🇪",
            "🇦🇦",
            "🦰",
            ":wave::skin-tone-9:",
            ":wave::skin-tone-3::",
            ":wave::wave:",
            "::skin-tone-3:",
            ":wave:🎯",
            ":a::skin-tone-33:",
        ] {
            assert_eq!(checked_emoji(bad), Err(StatusError::NotAnEmoji), "{bad:?}");
        }
    }

    #[test]
    fn messages_are_one_line_of_bounded_length_in_any_script() {
        let shown = |text| checked_message(text).unwrap();
        assert_eq!(
            shown("  Bin gleich zurück – 会議中 ").as_deref(),
            Some("Bin gleich zurück – 会議中")
        );
        assert_eq!(checked_message("  "), Ok(None));
        assert_eq!(checked_message("\u{200d} \u{200b}"), Ok(None));
        assert_eq!(shown("\u{200b} Lunch \u{feff}").as_deref(), Some("Lunch"));
        assert_eq!(
            shown("ناهار می\u{200c}خورم").as_deref(),
            Some("ناهار می\u{200c}خورم")
        );
        assert!(checked_message(&"ü".repeat(MESSAGE_CHARS_MAX)).is_ok());
        assert_eq!(
            checked_message(&"ü".repeat(MESSAGE_CHARS_MAX + 1)),
            Err(StatusError::MessageTooLong)
        );
        for bad in [
            "a\nb",
            "a\u{7f}",
            "\u{85}",
            "a\u{202a}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{2069}",
            "a\u{2028}b",
            "\u{2029}",
        ] {
            assert_eq!(
                checked_message(bad),
                Err(StatusError::MessageControl),
                "{bad:?}"
            );
        }
    }
}
