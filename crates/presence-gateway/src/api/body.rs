//! Reads the JSON body of a request, of bounded size and in bounded time, and refuses unknown fields.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use presence_protocol::{ErrorCode, Fault, Json, fault_in, mend};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::problem::Problem;
use crate::request::Refused;

/// How long the server waits for a body.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Reads a body of at most `bytes_max` bytes.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
    bytes_max: usize,
) -> Result<T, Problem> {
    if !is_json(&request) {
        let why = Refused::new(
            ErrorCode::Malformed,
            "content-type must be application/json",
        );
        return Err(Problem::Other(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = request.into_body();
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let reading = Limited::new(body, bytes_max).collect();
    let Ok(read) = tokio::time::timeout(BODY_WAIT, reading).await else {
        let why = Refused::new(ErrorCode::Malformed, "the body did not come in time");
        return Err(Problem::Other(StatusCode::REQUEST_TIMEOUT, why));
    };
    let bytes = read.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(bytes_max),
        false => Refused::new(ErrorCode::Malformed, "the body broke off").into(),
    })?;
    Ok(parse(&bytes.to_bytes())?)
}

fn is_json(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn too_large(bytes_max: usize) -> Problem {
    let message = format!("the body must be at most {bytes_max} bytes");
    Refused::new(ErrorCode::TooLarge, message).into()
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let malformed = |message: String| Refused::new(ErrorCode::Malformed, message);
    let text = str::from_utf8(bytes).map_err(|_| malformed("the body is not UTF-8".to_owned()))?;
    let text = &*mend(text);
    // All of it: what is kept as a text is sent on as it is.
    Json::new(text).map_err(|error| unsound(text, &error))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(malformed("the body must be an object".to_owned()));
    }
    serde_json::from_str(text).or_else(|_| {
        // Once more, this time keeping track of where we are: good bodies need not pay for that.
        let mut from = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut from).map_err(|error| {
            let path = error.path().to_string();
            invalid(&path, &error.into_inner().to_string())
        })
    })
}

/// Why a text cannot be decoded: because it is not JSON, or because of one value in it.
fn unsound(text: &str, error: &serde_json::Error) -> Refused {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    let fault = fault_in(text).filter(|it| is_json && !it.path.is_empty());
    match fault {
        Some(Fault { path, message }) => {
            let field = path.strip_prefix('.').unwrap_or(&path);
            invalid(field, &message)
        }
        None => Refused::new(ErrorCode::Malformed, error.to_string()),
    }
}

/// The refusal of the field at `path`, with what the decoder says.
fn invalid(path: &str, words: &str) -> Refused {
    let words = words.rfind(" at line ").map_or(words, |end| &words[..end]);
    let named = ["missing field `", "unknown field `", "duplicate field `"];
    let named = named.iter().find_map(|start| words.strip_prefix(start));
    let (field, message) = match named.and_then(|rest| rest.split('`').next()) {
        Some(field) => (field, words.to_owned()),
        None if words.starts_with("must ") => (path, format!("{path} {words}")),
        None => (path, format!("{path}: {words}")),
    };
    Refused {
        field: Some(field.to_owned()),
        ..Refused::new(ErrorCode::Invalid, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::users::StatusBody;

    fn refused(body: &[u8]) -> (ErrorCode, Option<String>, String) {
        let why = parse::<StatusBody>(body).unwrap_err();
        (why.code, why.field, why.message)
    }

    #[test]
    fn a_mistake_is_named_with_its_field() {
        for (body, field, message) in [
            (
                r#"{"status":"sleepy"}"#,
                "status",
                "status must be one of online, away, busy, invisible, offline",
            ),
            (
                r#"{"clear_after":-5}"#,
                "clear_after",
                "clear_after: invalid type: integer `-5`, expected a whole number of seconds",
            ),
            (
                r#"{"clear_after":1.5}"#,
                "clear_after",
                "clear_after: invalid type: floating point `1.5`, expected a whole number of seconds",
            ),
            (
                r#"{"clear_after":"1h"}"#,
                "clear_after",
                "clear_after: invalid type: string \"1h\", expected a whole number of seconds",
            ),
            (
                r#"{"emoji":7}"#,
                "emoji",
                "emoji: invalid type: integer `7`, expected a string",
            ),
            (
                r#"{"emoji":"x","emoji":"y"}"#,
                "emoji",
                "duplicate field `emoji`",
            ),
        ] {
            let expected = (
                ErrorCode::Invalid,
                Some(field.to_owned()),
                message.to_owned(),
            );
            assert_eq!(refused(body.as_bytes()), expected, "{body}");
        }
        let (_, field, message) = refused(br#"{"custom_mesage":"x"}"#);
        assert_eq!(field.as_deref(), Some("custom_mesage"));
        assert!(message.contains("`custom_message`"), "{message}");
    }

    #[test]
    fn a_whole_number_of_seconds_is_one_however_it_is_written() {
        for seconds in ["60", "60.0", "6e1"] {
            let body = format!(r#"{{"clear_after":{seconds}}}"#);
            assert!(parse::<StatusBody>(body.as_bytes()).is_ok(), "{seconds}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_sent_on_is_named() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        for (body, field, message) in [
            (
                r#"{"clear_after":1e400}"#,
                "clear_after",
                "clear_after: number out of range",
            ),
            (
                r#"{"status":"busy","x":[{"y":-1e999}]}"#,
                "x[0].y",
                "x[0].y: number out of range",
            ),
            (&deep, "a", "a: nested too deep"),
        ] {
            let expected = (
                ErrorCode::Invalid,
                Some(field.to_owned()),
                message.to_owned(),
            );
            assert_eq!(refused(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn half_an_emoji_is_read_as_a_replacement() {
        let body = br#"{"status":"busy","custom_message":"Lunch \ud83c"}"#;
        let body: serde_json::Value = parse(body).unwrap();
        assert_eq!(body["custom_message"], "Lunch \u{fffd}");
    }

    #[test]
    fn what_is_no_object_in_sound_json_is_malformed() {
        let bodies: [&[u8]; 6] = [
            b"",
            b"{",
            b"[\"busy\"]",
            b"\"busy\"",
            b"{} {}",
            b"{\"emoji\":\"\xff\"}",
        ];
        for body in bodies {
            let (code, field, message) = refused(body);
            assert_eq!((code, field), (ErrorCode::Malformed, None), "{message}");
        }
    }
}
