//! Replaces half a surrogate pair in a JSON text, which JavaScript can write and Rust cannot read.

use std::borrow::Cow;

/// The escape of U+FFFD, which replaces half a surrogate pair.
const REPLACEMENT: &str = "\\ufffd";
/// The length of `\u` and four digits, in bytes.
const ESCAPE_BYTES: usize = 6;

/// Returns `text` with U+FFFD in place of each half of a surrogate pair that a JSON string in it escapes.
///
/// A page that cuts a string in the middle of an emoji has half a pair, and `JSON.stringify` writes it as `\ud83c`. UTF-8
/// cannot express it, so no JSON reader in Rust accepts it. Where a page sends the string unescaped, the browser sends U+FFFD
/// instead; `mend` does the same. It changes nothing else, even if the text is not JSON.
pub fn mend(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut mended = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = bytes[at..].iter().position(|it| *it == b'\\') {
        at += found;
        let after = at + ESCAPE_BYTES;
        match escaped(&bytes[at..]) {
            // Any other escape; its second byte may be another backslash.
            None => at = (at + 2).min(bytes.len()),
            Some(0xd800..=0xdbff) if matches!(escaped(&bytes[after..]), Some(0xdc00..=0xdfff)) => {
                at = after + ESCAPE_BYTES;
            }
            Some(0xd800..=0xdfff) => {
                mended.push_str(&text[kept..at]);
                mended.push_str(REPLACEMENT);
                (kept, at) = (after, after);
            }
            Some(_) => at = after,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[kept..]);
    Cow::Owned(mended)
}

/// The UTF-16 unit whose escape `bytes` start with, if they start with one.
fn escaped(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    let is_number = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_number)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_becomes_a_replacement_and_nothing_else_is_touched() {
        for (text, mended) in [
            (r#""\ud83c""#, r#""\ufffd""#),
            (r#""\uDFAF""#, r#""\ufffd""#),
            (r#""a\ud83cb\udfafc""#, r#""a\ufffdb\ufffdc""#),
            (r#""\ud83c\ud83c\udfaf""#, r#""\ufffd\ud83c\udfaf""#),
            (r#""\udfaf\ud83c""#, r#""\ufffd\ufffd""#),
            (r#""\ud83c\n\udfaf""#, r#""\ufffd\n\ufffd""#),
            (r#"{"\ud83c":["\ud83c"]}"#, r#"{"\ufffd":["\ufffd"]}"#),
            (r#""\\\ud83c""#, r#""\\\ufffd""#),
            ("ü\\ud83cü", "ü\\ufffdü"),
            // Ends in the middle of the next escape.
            (r"\ud83c\ud", r"\ufffd\ud"),
            (r"\ud83c\", r"\ufffd\"),
        ] {
            assert_eq!(mend(text), mended);
        }
        for whole in [
            "",
            "{}",
            r#""\ud83c\udfaf""#,
            r#""\\ud83c""#,
            r#""\\\\ud83c""#,
            r#""\u00e4\n\"""#,
            r#""\ufffd""#,
            r"\u",
            r"\ud83",
            r"\ud8g0",
            r"\u+d83",
            "\\ü",
            "\\",
        ] {
            assert!(
                matches!(mend(whole), Cow::Borrowed(it) if it == whole),
                "{whole}"
            );
        }
    }

    #[test]
    fn what_was_mended_is_read_by_any_reader() {
        for text in [r#"["\ud83c\\\udfaf\\ud83c"]"#, r#"["\udfaf\ud83c\udfaf"]"#] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err());
            let read: Vec<String> = serde_json::from_str(&mend(text)).unwrap();
            assert!(read[0].contains('\u{fffd}'));
            assert_eq!(mend(&mend(text)), mend(text));
        }
    }
}
