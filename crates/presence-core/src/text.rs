//! Rules for text that others see. Names, messages, emoji and names of events all obey them.
//!
//! A character is *unfit* if it can spoil another user's page, or if nobody can see it:
//!
//! - control characters, and the line and paragraph separators U+2028 and U+2029;
//! - everything that changes the writing direction (Unicode's `Bidi_Control`: U+061C, U+200E, U+200F, U+202A to U+202E,
//!   U+2066 to U+2069);
//! - invisible characters: zero-width spaces, fillers, tags, and joiners and variation selectors where they join or select
//!   nothing. A joiner stays inside an emoji such as 👩‍🚀 and inside a word of a script that needs it, such as می‌روم.

use std::borrow::Cow;

/// `text` without unfit characters, and then trimmed at both ends. The result may be empty.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control()) {
        return text.trim().into();
    }
    let fit = without_unfit(text);
    match fit.len() == text.len() {
        true => trimmed(text).into(),
        false => trimmed(&fit).to_owned().into(),
    }
}

/// Whether `text` has a character that breaks a line or changes the writing direction. Nobody types these by accident,
/// so a text that has them is refused where its writer can be told.
pub fn is_disruptive(text: &str) -> bool {
    text.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Whether `text` is exactly one emoji of Unicode's list. Flags, keycaps, skin tones and joined sequences are included,
/// with or without the selectors (U+FE0F) of the complete sequence.
pub fn is_emoji(text: &str) -> bool {
    // A digit with a selector is a digit, and two selectors in a row are none.
    if text.starts_with(SELECTOR) || text.contains("\u{fe0f}\u{fe0f}") {
        return false;
    }
    let bare: String = text.chars().filter(|&c| c != SELECTOR).collect();
    emojis::get(&bare).is_some()
}

/// The selector that asks for the coloured picture of the character before it.
const SELECTOR: char = '\u{fe0f}';
/// The selector that asks for the character before it as a letter is drawn.
const TEXT_SELECTOR: char = '\u{fe0e}';
const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

fn without_unfit(text: &str) -> String {
    let mut fit = String::with_capacity(text.len());
    let mut last = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let stays = match c {
            ZWJ | ZWNJ => joins(c, last, rest.clone().next()),
            '\u{180b}'..='\u{180f}' => last.is_some_and(has_joined_forms),
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {
                last.is_some_and(|it| is_selectable(it, c))
            }
            _ => !c.is_control() && !is_invisible(c),
        };
        if !stays {
            continue;
        }
        fit.push(c);
        last = Some(c);
        if let Some(tags) = tags_of_flag(c, rest.as_str()) {
            fit.push_str(tags);
            last = tags.chars().last();
            rest = rest.as_str()[tags.len()..].chars();
        }
    }
    fit
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Whether `c` is drawn as a gap: the blank of Braille, too.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// Whether `c` is invisible wherever it stands. Joiners and variation selectors are judged with
/// their neighbours instead.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

/// Whether `selector` may stand after `c`, because `c` has variants: pictures and what becomes one (`©`, `1`), mathematical
/// signs, and the letters of some scripts. Those of the Latin, Greek and Cyrillic alphabets have none.
fn is_selectable(c: char, selector: char) -> bool {
    let is_ideograph =
        matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    let becomes_picture =
        c.is_ascii_digit() || matches!(c, '#' | '*' | '©' | '®') || ends_picture(c);
    if is_blank(c) || c == SELECTOR {
        return false;
    }
    match selector {
        '\u{e0100}'..='\u{e01ef}' => is_ideograph,
        SELECTOR | TEXT_SELECTOR => {
            becomes_picture || is_ideograph || matches!(c, '\u{2190}'..='\u{2bff}')
        }
        _ => {
            is_ideograph
                || has_joined_forms(c)
                || matches!(c, '\u{2200}'..='\u{22ff}' | '\u{13000}'..='\u{1345f}')
        }
    }
}

/// Whether `joiner` belongs between `before` and `after`.
fn joins(joiner: char, before: Option<char>, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    match joiner {
        // A letter may have its joined form at the end of a word, too.
        ZWJ if has_joined_forms(before) => true,
        ZWJ => ends_picture(before) && after.is_some_and(is_picture),
        _ => has_joined_forms(before) && after.is_some_and(has_joined_forms),
    }
}

/// Whether `c` is of a script whose letters change their form beside each other, such as Arabic, the scripts of India
/// and South-East Asia, or Mongolian.
fn has_joined_forms(c: char) -> bool {
    let is_of_script = matches!(
        c,
        '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{e7f}' | '\u{f00}'..='\u{109f}' | '\u{1700}'..='\u{18af}'
            | '\u{1900}'..='\u{1cff}' | '\u{a800}'..='\u{abff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
            | '\u{10a00}'..='\u{11fff}' | '\u{1e900}'..='\u{1e95f}'
    );
    is_of_script && !c.is_whitespace() && !c.is_numeric()
}

/// Whether an emoji may end with `c`, so that another one may be joined to it.
fn ends_picture(c: char) -> bool {
    c == SELECTOR || matches!(c, '\u{1f3fb}'..='\u{1f3ff}' | '\u{e007f}') || is_picture(c)
}

/// Whether an emoji may begin with `c`.
fn is_picture(c: char) -> bool {
    // Styles of hair are only ever joined to somebody.
    matches!(c, '\u{1f9b0}'..='\u{1f9b3}') || emojis::get(c.encode_utf8(&mut [0; 4])).is_some()
}

/// The tags that make a black flag the flag of a part of a country, if `rest` begins with them.
fn tags_of_flag(flag: char, rest: &str) -> Option<&str> {
    if flag != '\u{1f3f4}' {
        return None;
    }
    let end = rest.find('\u{e007f}')? + '\u{e007f}'.len_utf8();
    let tags = &rest[..end];
    is_emoji(&format!("{flag}{tags}")).then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spoils_a_page_or_is_not_seen_is_taken_out_and_then_the_ends_are_trimmed() {
        for (text, expected) in [
            ("Ann", "Ann"),
            ("  Ann  ", "Ann"),
            ("\u{202e} Ann \u{202c}", "Ann"),
            ("\u{2066}\u{2067} A\u{2068}nn\u{2069}", "Ann"),
            ("A\u{200e}n\u{200f}n\u{61c}", "Ann"),
            ("An\u{2028}n\u{2029}", "Ann"),
            ("An\nn\u{1b}[2J\u{85}", "Ann[2J"),
            ("\u{200b}\u{feff} \u{2060}\u{ad}", ""),
            ("\u{3164}\u{115f}\u{2800}", ""),
            ("\u{200d}Ann\u{200d}", "Ann"),
            ("\u{200c}A\u{200c}nn\u{200d}", "Ann"),
            ("Ann\u{e0041}\u{e0042}\u{e007f}", "Ann"),
            ("\u{fe0f}Ann \u{fe0f}!", "Ann !"),
            ("❤\u{fe0f}\u{fe0f}\u{fe0e}", "❤\u{fe0f}"),
            ("A\u{fe0f}n\u{fe00}n\u{e0100}", "Ann"),
            ("é\u{fe0f}-\u{fe0f}ж\u{fe0e}", "é-ж"),
            ("🎯\u{200d}", "🎯"),
            ("🎯\u{200d}a", "🎯a"),
            ("🎯\u{200d}\u{200d}🎯", "🎯\u{200d}🎯"),
            ("🏴\u{e0041}\u{e007f}", "🏴"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
            assert_eq!(shown(expected), expected, "again: {text:?}");
        }
    }

    #[test]
    fn words_and_pictures_that_need_a_joiner_keep_it() {
        for text in [
            "می\u{200c}روم",
            "क्\u{200d}ष",
            "അവന്\u{200d}",
            "ه\u{200d}",
            "👩\u{200d}🚀 👩🏽\u{200d}🤝\u{200d}👨🏻 🏳\u{fe0f}\u{200d}🌈 🧑\u{200d}🦰 👁\u{fe0f}\u{200d}🗨\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "葛\u{e0100}城",
            "©\u{fe0f} ™\u{fe0f} ↔\u{fe0e} ☺\u{fe0e} ∩\u{fe00} ㊗\u{fe0f} ဂ\u{fe00}",
            "1\u{fe0f}\u{20e3}",
            "Grüße, 会議中 – até já",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}
