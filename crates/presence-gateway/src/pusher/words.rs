//! The frames that differ between connections.

use bytes::Bytes;
use presence_protocol::{ErrorCode, Json};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::closing::TOO_MANY_EVENTS;
use crate::frame::{TEXT, frame};
use crate::request::{self, Refused};

/// A frame; `data` is JSON in a string, as the protocol has it.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    pub(super) data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<&'a str>,
}

impl Message<'_> {
    pub(super) fn frame(&self) -> Bytes {
        frame(TEXT, json_of(self).as_bytes())
    }
}

pub(super) fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what we say can be written")
}

/// Escapes a text, for the inside of a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = json_of(&text);
    quoted[1..quoted.len() - 1].to_owned()
}

/// The data of an event as Pusher has it: JSON in a string, or a string as it is, unless it could be taken for JSON.
pub(super) fn data_of(payload: &str) -> String {
    if payload.is_empty() {
        return "null".to_owned();
    }
    match serde_json::from_str::<String>(payload) {
        Ok(string) if !is_json(&string) => string,
        _ => payload.to_owned(),
    }
}

/// The JSON for the data of Pusher's; a text that is not JSON becomes a JSON string.
pub(super) fn payload_of(data: &str) -> String {
    match Json::new(data) {
        Ok(json) => json.as_str().to_owned(),
        Err(_) => json_of(&data),
    }
}

/// The JSON for data that came as JSON.
///
/// # Errors
///
/// Fails if the data has a value that not every receiver could decode.
pub(super) fn payload_of_json(data: &RawValue) -> Result<String, Refused> {
    let text = request::json(data.get(), "data")?;
    Ok(match serde_json::from_str::<String>(&text) {
        Ok(string) => payload_of(&string),
        Err(_) => text.to_string(),
    })
}

fn is_json(text: &str) -> bool {
    Json::new(text).is_ok()
}

pub(super) fn established(socket: &str, activity_timeout: u64) -> Bytes {
    let data = json!({ "socket_id": socket, "activity_timeout": activity_timeout });
    plain("pusher:connection_established", &data)
}

pub(super) fn pong() -> Bytes {
    frame(TEXT, br#"{"event":"pusher:pong","data":"{}"}"#)
}

pub(super) fn signin_success(user_data: &str) -> Bytes {
    plain("pusher:signin_success", &json!({ "user_data": user_data }))
}

pub(super) fn watchlist_events(online: &[&str], offline: &[&str]) -> Bytes {
    let named = [("online", online), ("offline", offline)];
    let events: Vec<_> = named
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, ids)| json!({ "name": name, "user_ids": ids }))
        .collect();
    plain(
        "pusher_internal:watchlist_events",
        &json!({ "events": events }),
    )
}

fn plain(event: &str, data: &serde_json::Value) -> Bytes {
    let data = &json_of(data);
    Message {
        event,
        channel: None,
        data,
        user_id: None,
    }
    .frame()
}

/// The frame that confirms a subscription to a channel without a roster.
pub(super) fn subscribed(channel: &str) -> Bytes {
    Message {
        event: "pusher_internal:subscription_succeeded",
        channel: Some(channel),
        data: "{}",
        user_id: None,
    }
    .frame()
}

/// The frame that refuses a subscription. Its data is not a string: pages expect it so here.
pub(super) fn subscription_error(channel: &str, why: &Refused) -> Bytes {
    let (kind, status) = match why.code {
        ErrorCode::Unauthorized | ErrorCode::Forbidden => ("AuthError", 401),
        ErrorCode::TooMany | ErrorCode::RateLimited => ("LimitReached", 429),
        ErrorCode::Overloaded | ErrorCode::Unavailable => ("Unavailable", 503),
        ErrorCode::TooLarge => ("TooLarge", 413),
        _ => ("Invalid", 400),
    };
    let data = json!({ "type": kind, "error": why.message, "status": status });
    let event = "pusher:subscription_error";
    let message = json!({ "event": event, "channel": channel, "data": data });
    frame(TEXT, json_of(&message).as_bytes())
}

/// The frame of an error; with `code` if the protocol has one.
pub(super) fn error(message: &str, code: Option<u16>) -> Bytes {
    let data = json!({ "message": message, "code": code });
    let message = json!({ "event": "pusher:error", "data": data });
    frame(TEXT, json_of(&message).as_bytes())
}

/// The frame of a refusal that is not about a subscription.
pub(super) fn refused(why: &Refused) -> Bytes {
    let too_many = why.code == ErrorCode::RateLimited;
    error(&why.message, too_many.then_some(TOO_MANY_EVENTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_json_in_a_string_or_a_string_as_it_is() {
        for (data, payload) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("hello", r#""hello""#),
            ("123", "123"),
            (r#""123""#, r#""123""#),
            ("", r#""""#),
            ("null", "null"),
            ("[1e400]", r#""[1e400]""#),
        ] {
            assert_eq!(payload_of(data), payload);
            assert_eq!(data_of(payload), data);
        }
        let half = r#"{"half":"\ufffd"}"#;
        assert_eq!(payload_of(r#"{"half":"\ud800"}"#), half);
        // A page that reads JSON sees the same.
        assert_eq!(payload_of(r#""hello""#), r#""hello""#);
        assert_eq!(data_of(r#""hello""#), "hello");
        assert_eq!(data_of(""), "null");
    }

    #[test]
    fn data_of_a_page_may_be_an_object_or_a_string_of_one() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let payload = |text: &str| payload_of_json(&raw(text));
        assert_eq!(payload(r#"{"a": 1}"#).unwrap(), r#"{"a": 1}"#);
        assert_eq!(payload(r#""{\"a\":1}""#).unwrap(), r#"{"a":1}"#);
        assert_eq!(payload(r#""hi""#).unwrap(), r#""hi""#);
        assert_eq!(payload("7").unwrap(), "7");
        assert_eq!(payload(r#""\ud800""#).unwrap(), "\"\u{fffd}\"");
        assert_eq!(payload(r#""{\"a\":1e400}""#).unwrap(), r#""{\"a\":1e400}""#);
        let why = payload(r#"{"a":[1e400]}"#).unwrap_err();
        let field = why.field.as_deref();
        assert_eq!((why.code, field), (ErrorCode::Invalid, Some("data.a[0]")));
    }
}
