//! Emoji, by Unicode's own list.

use presence_core::{EMOJI_BYTES_MAX, StatusError, checked_emoji, text};

/// All emoji of the list, in its order.
fn list() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("emoji-test.txt").lines();
    lines.filter(|line| !line.starts_with("# "))
}

#[test]
fn every_emoji_of_the_list_is_one_with_and_without_its_selectors() {
    assert_eq!(list().count(), 4724);
    for emoji in list() {
        let taken = checked_emoji(emoji).unwrap();
        assert_eq!(taken.as_deref(), Some(emoji), "{emoji:?}");
        let bare = emoji.replace('\u{fe0f}', "");
        assert!(checked_emoji(&bare).is_ok(), "{bare:?}");
        assert!(emoji.len() <= EMOJI_BYTES_MAX);
        // It is shown as it is, alone and in words.
        assert_eq!(text::shown(emoji), emoji);
        let words = format!("Lunch {emoji}, back soon");
        assert_eq!(text::shown(&words), words);
    }
}

#[test]
fn parts_of_an_emoji_and_more_than_one_are_none() {
    let all: Vec<&str> = list().collect();
    for (index, emoji) in all.iter().enumerate() {
        let next = all[(index + 1) % all.len()];
        for spoilt in [
            format!("{emoji}{next}"),
            format!("{emoji}\u{200d}"),
            format!("\u{200d}{emoji}"),
            format!("{emoji}\u{200b}"),
            format!("{emoji}\u{fe0e}"),
            format!("{emoji}x"),
        ] {
            let refused = Err(StatusError::NotAnEmoji);
            assert_eq!(checked_emoji(&spoilt), refused, "{spoilt:?}");
        }
    }
    for tone in '\u{1f3fb}'..='\u{1f3ff}' {
        assert!(checked_emoji(&tone.to_string()).is_err());
    }
    for letter in '\u{1f1e6}'..='\u{1f1ff}' {
        assert!(checked_emoji(&letter.to_string()).is_err());
    }
}

#[test]
fn no_character_below_the_first_pictures_is_an_emoji_except_two() {
    // © and ® are on the list, without a selector too.
    let taken: Vec<char> = ('\0'..'\u{2000}')
        .filter(|c| checked_emoji(&c.to_string()).is_ok())
        .collect();
    assert_eq!(taken, ['©', '®']);
}
