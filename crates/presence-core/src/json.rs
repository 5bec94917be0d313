//! Checks of JSON texts from outside. A text is checked once, here, so that it can be copied into frames unchanged.

use std::borrow::Cow;
use std::fmt;

/// How deep lists and objects of a JSON text may be nested.
pub const JSON_DEPTH_MAX: usize = 63;

/// Why a text is not JSON that can be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonError {
    /// The position of the error, in bytes from the beginning of the text.
    pub at: usize,
    /// A description of the error, in words.
    pub what: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for JsonError {}

/// Checks that `text` is one JSON value (RFC 8259) that every client can read: its strings are valid Unicode, its
/// numbers fit into a double, and lists and objects are nested at most [`JSON_DEPTH_MAX`] deep.
///
/// # Errors
///
/// [`JsonError`] with the first thing that is wrong, and its position.
pub fn check_json(text: &str) -> Result<(), JsonError> {
    let mut reader = Reader::new(text);
    reader.space();
    reader.value(0)?;
    reader.end()
}

/// Checks that `text` is a JSON object, and calls `each` with the name and the JSON text of every member.
pub(crate) fn members<'a>(
    text: &'a str,
    mut each: impl FnMut(Cow<'a, str>, &'a str),
) -> Result<(), JsonError> {
    let mut reader = Reader::new(text);
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.wrong("an object is missing"));
    }
    reader.object(1, &mut |name, value| each(unquoted(name), value))?;
    reader.end()
}

/// The text of a JSON string. `None` if `json`, which must have been checked, is another value.
pub(crate) fn text_of(json: &str) -> Option<Cow<'_, str>> {
    json.starts_with('"').then(|| unquoted(json))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Reader { text, at: 0 }
    }

    fn wrong(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("there is something behind the value")),
        }
    }

    /// Reads a value that is nested `depth` deep.
    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1, &mut |_, _| {}),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        match self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            true => self.at += word.len(),
            false => return Err(self.wrong("a value is missing")),
        }
        Ok(())
    }

    fn opened(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > JSON_DEPTH_MAX {
            return Err(self.wrong("it is nested too deep"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<(), JsonError> {
        self.opened(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or a bracket is missing"));
            }
            self.space();
        }
    }

    fn object(
        &mut self,
        depth: usize,
        each: &mut dyn FnMut(&'a str, &'a str),
    ) -> Result<(), JsonError> {
        self.opened(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.wrong("the name of a member is missing"));
            }
            self.string()?;
            let name = &self.text[start..self.at];
            self.space();
            if !self.take(b':') {
                return Err(self.wrong("a colon is missing"));
            }
            self.space();
            let start = self.at;
            self.value(depth)?;
            each(name, &self.text[start..self.at]);
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or a brace is missing"));
            }
            self.space();
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err(self.wrong("a control character is not escaped")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("a string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match escaped(&self.text[self.at..]) {
                Some((_, length)) => self.at += length,
                None => return Err(self.wrong("half a character is escaped")),
            },
            _ => return Err(self.wrong("an escape is not known")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        match self.text[start..self.at].parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(()),
            _ => Err(self.wrong("a number is out of range")),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.wrong("a digit is missing"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }
}

/// The character of the `\u` escape at the beginning of `text`, and the length of the escape in bytes. `None` for half
/// a surrogate pair.
fn escaped(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        let is_hex = digits.bytes().all(|it| it.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = unit(text)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = unit(&text[6..])?;
    if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Some((char::from_u32(both)?, 12))
}

/// The text of a JSON string that was checked.
fn unquoted(json: &str) -> Cow<'_, str> {
    let inside = &json[1..json.len() - 1];
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let (character, length) = match rest.as_bytes()[1] {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => escaped(rest).unwrap_or((char::REPLACEMENT_CHARACTER, 6)),
            itself => (char::from(itself), 2),
        };
        text.push(character);
        rest = &rest[length..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_is_taken() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0.5e+7",
            "1E-300",
            "123456789012345678901234567890",
            r#""""#,
            r#""\u00e9\"\\\/\b\f\n\r\t""#,
            r#""\ud83c\udf89 é 🎉""#,
            "[]",
            "[ 1 , [ ] , { } ]",
            "{}",
            "{ \"a\" : 1 ,\r\n\t\"b\":[{\"c\":null}] }",
        ] {
            assert_eq!(check_json(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_is_refused_with_the_place() {
        for (text, at, what) in [
            ("", 0, "a value is missing"),
            ("{", 1, "the name of a member is missing"),
            ("{\"a\"}", 4, "a colon is missing"),
            ("{\"a\":}", 5, "a value is missing"),
            ("{\"a\":1,}", 7, "the name of a member is missing"),
            ("{\"a\":1 \"b\":2}", 7, "a comma or a brace is missing"),
            ("{} {}", 3, "there is something behind the value"),
            ("[1,]", 3, "a value is missing"),
            ("[1 2]", 3, "a comma or a bracket is missing"),
            ("nul", 0, "a value is missing"),
            ("\"", 1, "a string does not end"),
            ("\"\n\"", 1, "a control character is not escaped"),
            ("\"\\x\"", 1, "an escape is not known"),
            ("\"\\", 1, "an escape is not known"),
            ("\"\\ud83c\"", 1, "half a character is escaped"),
            ("\"\\ud83c\\ud83c\"", 1, "half a character is escaped"),
            ("\"\\udf89\"", 1, "half a character is escaped"),
            ("\"\\u12\"", 1, "half a character is escaped"),
            ("\"\\u+123\"", 1, "half a character is escaped"),
            ("\"\\u12é\"", 1, "half a character is escaped"),
            ("01", 1, "there is something behind the value"),
            ("-", 1, "a digit is missing"),
            ("1.", 2, "a digit is missing"),
            ("1e", 2, "a digit is missing"),
            ("1e400", 5, "a number is out of range"),
            ("NaN", 0, "a value is missing"),
            ("'a'", 0, "a value is missing"),
            ("\u{feff}{}", 0, "a value is missing"),
        ] {
            assert_eq!(check_json(text), Err(JsonError { at, what }), "{text}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_however_deep() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check_json(&nested(JSON_DEPTH_MAX)), Ok(()));
        for depth in [JSON_DEPTH_MAX + 1, 1_000_000] {
            let error = check_json(&nested(depth)).unwrap_err();
            assert_eq!(error.what, "it is nested too deep");
        }
        let objects = "{\"a\":".repeat(JSON_DEPTH_MAX + 1);
        assert!(check_json(&objects).is_err());
    }

    #[test]
    fn the_members_of_an_object_are_shown_in_order_with_what_their_names_stand_for() {
        let mut seen = Vec::new();
        let text = r#" {"a":"x\u0041\n", "\u0062":[1], "a":null} "#;
        members(text, |name, value| {
            seen.push((name.into_owned(), value, text_of(value)));
        })
        .unwrap();
        assert_eq!(
            seen,
            [
                ("a".to_owned(), r#""x\u0041\n""#, Some("xA\n".into())),
                ("b".to_owned(), "[1]", None),
                ("a".to_owned(), "null", None),
            ]
        );
        for text in ["[]", "1", "{\"a\":1}x", ""] {
            assert!(members(text, |_, _| {}).is_err(), "{text}");
        }
    }
}
