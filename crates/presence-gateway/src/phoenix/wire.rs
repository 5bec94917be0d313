//! Frames of the V2 serializer: decodes what clients send, and encodes the answers.
//!
//! A text frame is a list `[join_ref, ref, topic, event, payload]`. A binary frame begins with the lengths of the first four, one
//! byte each, and its payload is bytes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use presence_protocol::ErrorCode;
use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::frame::{BINARY, TEXT, frame};
use crate::out::Out;
use crate::request::Refused;

/// The longest reference that a client may choose, in bytes. The stock client counts.
const REF_BYTES_MAX: usize = 64;
/// The longest topic or event, in bytes: a binary frame has one byte for the length.
const NAME_BYTES_MAX: usize = 255;

/// A message that a client sent.
#[derive(Debug, PartialEq)]
pub(super) struct Message<'a> {
    /// The join of the topic that this message belongs to.
    pub(super) join_ref: Option<Ref<'a>>,
    /// The reference that the answer carries.
    pub(super) ref_: Option<Ref<'a>>,
    /// The name of the topic.
    pub(super) topic: Cow<'a, str>,
    /// The event: what to do.
    pub(super) event: Cow<'a, str>,
    /// The payload of the event.
    pub(super) payload: Payload<'a>,
}

/// A reference that a client chose, as a JSON text. The stock client uses strings of digits; other clients use whole numbers, and
/// are answered with numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ref<'a>(Cow<'a, str>);

impl Ref<'_> {
    /// The reference that is this string.
    pub(super) fn text(text: &str) -> Ref<'static> {
        Ref(json(&text).into())
    }

    pub(super) fn into_owned(self) -> Ref<'static> {
        Ref(self.0.into_owned().into())
    }

    /// Whether both are the same reference: `3` is `"3"`.
    pub(super) fn is(&self, other: &Ref<'_>) -> bool {
        self.inside() == other.inside()
    }

    fn inside(&self) -> &str {
        let quoted = self.0.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        quoted.unwrap_or(&self.0)
    }
}

/// The payload of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// The payload of a text frame, as a JSON text.
    Json(&'a str),
    /// The payload of a binary frame.
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads a text frame.
    ///
    /// # Errors
    ///
    /// Says in words why the text is not a frame.
    pub(super) fn of_text(text: &'a str) -> Result<Self, String> {
        let message: Message<'a> = serde_json::from_str(text).map_err(|why| why.to_string())?;
        message.checked()
    }

    /// Reads a binary frame: a push, the only kind that clients send.
    ///
    /// # Errors
    ///
    /// Says in words why the bytes are not a frame.
    pub(super) fn of_bytes(bytes: &'a [u8]) -> Result<Self, String> {
        match bytes {
            [PUSH, a, b, c, d, rest @ ..] => Message::of_parts([*a, *b, *c, *d], rest),
            _ => Err("not a binary push".to_owned()),
        }
    }

    fn of_parts(lengths: [u8; 4], mut rest: &'a [u8]) -> Result<Self, String> {
        let mut parts = [""; 4];
        for (part, length) in parts.iter_mut().zip(lengths) {
            let (bytes, after) = rest
                .split_at_checked(length.into())
                .ok_or("shorter than it says")?;
            *part = str::from_utf8(bytes).map_err(|why| why.to_string())?;
            rest = after;
        }
        let [join_ref, ref_, topic, event] = parts;
        let given = |text: &'a str| (!text.is_empty()).then(|| Ref::text(text));
        let message = Message {
            join_ref: given(join_ref),
            ref_: given(ref_),
            topic: topic.into(),
            event: event.into(),
            payload: Payload::Bytes(rest),
        };
        message.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let refs = [&self.join_ref, &self.ref_];
        if refs
            .into_iter()
            .flatten()
            .any(|it| it.inside().len() > REF_BYTES_MAX)
        {
            return Err(format!("a ref has at most {REF_BYTES_MAX} bytes"));
        }
        if [&self.topic, &self.event]
            .into_iter()
            .any(|it| it.len() > NAME_BYTES_MAX)
        {
            return Err(format!(
                "topic and event have at most {NAME_BYTES_MAX} bytes"
            ));
        }
        Ok(self)
    }

    /// Whether it belongs to this join of its topic. A message that names no join belongs to the current one.
    pub(super) fn is_for(&self, join_ref: &Ref<'_>) -> bool {
        self.join_ref.as_ref().is_none_or(|it| it.is(join_ref))
    }

    /// The beginning of its answer, if it wants one.
    pub(super) fn answer_head(&self) -> Option<String> {
        let ref_ = self.ref_.as_ref()?;
        let join_ref = self.join_ref.as_ref();
        Some(head(join_ref, Some(ref_), &self.topic, "phx_reply"))
    }
}

const PUSH: u8 = 0;
const BROADCAST: u8 = 2;

/// The beginning of a text frame, up to its payload.
pub(super) fn head(
    join_ref: Option<&Ref<'_>>,
    ref_: Option<&Ref<'_>>,
    topic: &str,
    event: &str,
) -> String {
    let mut head = address(join_ref, ref_, topic);
    head += &json(&event);
    head.push(',');
    head
}

/// The beginning of a text frame, up to its event.
pub(super) fn address(join_ref: Option<&Ref<'_>>, ref_: Option<&Ref<'_>>, topic: &str) -> String {
    let [join_ref, ref_] = [join_ref, ref_].map(|it| it.map_or("null", |Ref(text)| text));
    format!("[{join_ref},{ref_},{},", json(&topic))
}

/// The reference of the join and the topic in the beginning of a frame.
pub(super) fn of_head(head: &str) -> Option<(Option<Ref<'static>>, String)> {
    let whole = format!("{head}null]");
    let message = Message::of_text(&whole).ok()?;
    let join_ref = message.join_ref.or(message.ref_).map(Ref::into_owned);
    Some((join_ref, message.topic.into_owned()))
}

/// The JSON text of a value that can always be written.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what we say can be written")
}

/// Sends a text frame whose payload is a JSON text.
pub(super) fn send(out: &mut Out, head: &str, payload: &str) {
    out.push_payload(TEXT, format!("{head}{payload}]").as_bytes());
}

/// A whole text frame for everybody who has joined `topic`.
pub(super) fn broadcast(topic: &str, event: &str, payload: &str) -> Bytes {
    let head = head(None, None, topic, event);
    frame(TEXT, format!("{head}{payload}]").as_bytes())
}

/// A whole binary frame for everybody who has joined `topic`; `None` if a name is too long for it.
pub(super) fn broadcast_bytes(topic: &str, event: &str, payload: &[u8]) -> Option<Bytes> {
    let lengths = [
        u8::try_from(topic.len()).ok()?,
        u8::try_from(event.len()).ok()?,
    ];
    let parts = [
        &[BROADCAST],
        &lengths[..],
        topic.as_bytes(),
        event.as_bytes(),
        payload,
    ];
    Some(frame(BINARY, &parts.concat()))
}

/// Sends an answer with a JSON text.
pub(super) fn reply(out: &mut Out, head: &str, response: &str) {
    send(
        out,
        head,
        &format!(r#"{{"status":"ok","response":{response}}}"#),
    );
}

/// Sends the answer to a refused request.
pub(super) fn deny(out: &mut Out, head: &str, why: &Denied) {
    let response = json(why);
    send(
        out,
        head,
        &format!(r#"{{"status":"error","response":{response}}}"#),
    );
}

/// A refusal, as a client is sent it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Denied {
    /// The code of the refusal in the metrics.
    #[serde(skip)]
    pub(super) code: ErrorCode,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// How long to wait before trying again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Denied {
    /// There is no such topic, or the client has not joined it.
    pub(super) const UNMATCHED_TOPIC: Denied =
        Denied::because(ErrorCode::NotJoined, "unmatched topic");
    /// The topic belongs to somebody else.
    pub(super) const UNAUTHORIZED: Denied = Denied::because(ErrorCode::Forbidden, "unauthorized");

    const fn because(code: ErrorCode, reason: &'static str) -> Self {
        Denied {
            code,
            reason,
            message: None,
            field: None,
            retry_after: None,
        }
    }

    /// The refusal of a join, in the words of the reference server where it has some.
    pub(super) fn joining(self) -> Self {
        match self.code {
            ErrorCode::TooMany => Denied {
                reason: "too many channels joined",
                ..self
            },
            _ => self,
        }
    }
}

impl From<Refused> for Denied {
    fn from(why: Refused) -> Self {
        let millis =
            |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Denied {
            code: why.code,
            reason: match why.code {
                ErrorCode::Forbidden | ErrorCode::Unauthorized => "unauthorized",
                code => code.as_str(),
            },
            message: Some(why.message),
            field: why.field,
            retry_after: why.retry_after.map(|it| millis(it).max(1)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Message<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of join_ref, ref, topic, event and payload")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Message<'de>, A::Error> {
                let mut parts = 0;
                let mut missing = || {
                    parts += 1;
                    A::Error::invalid_length(parts - 1, &self)
                };
                let message = Message {
                    join_ref: from.next_element()?.ok_or_else(&mut missing)?,
                    ref_: from.next_element()?.ok_or_else(&mut missing)?,
                    topic: from.next_element::<Name<'_>>()?.ok_or_else(&mut missing)?.0,
                    event: from.next_element::<Name<'_>>()?.ok_or_else(&mut missing)?.0,
                    payload: from
                        .next_element::<&RawValue>()?
                        .map(|it| Payload::Json(it.get()))
                        .ok_or_else(&mut missing)?,
                };
                while from.next_element::<IgnoredAny>()?.is_some() {}
                Ok(message)
            }
        }
        from.deserialize_seq(Read)
    }
}

/// A string that is borrowed from the frame unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Ref<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(from)?.get();
        let wrong = || D::Error::custom("a ref is a string, a whole number or null");
        if !text.starts_with('"') {
            let is_whole = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
            return match is_whole {
                true => Ok(Ref(text.into())),
                false => Err(wrong()),
            };
        }
        // A string with escapes is spelt anew, so that equal references have equal texts.
        match text.contains('\\') {
            false => Ok(Ref(text.into())),
            true => {
                let string: String = serde_json::from_str(text).map_err(|_| wrong())?;
                Ok(Ref::text(&string))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_five_parts_and_whatever_follows_is_ignored() {
        let text = r#"["3",null,"room:1","new \"msg\"", {"a": [1]} ,6,{}]"#;
        let message = Message::of_text(text).unwrap();
        assert_eq!(message.join_ref, Some(Ref::text("3")));
        assert_eq!(message.ref_, None);
        assert_eq!(message.topic, "room:1");
        assert_eq!(message.event, "new \"msg\"");
        assert_eq!(message.payload, Payload::Json(r#"{"a": [1]}"#));
        assert_eq!(message.answer_head(), None, "it wants none");
    }

    #[test]
    fn what_is_no_message_is_told_from_what_is() {
        let long = "x".repeat(256);
        let wrong = [
            "",
            "{}",
            "7",
            r#"{"topic":"a","event":"b","payload":{},"ref":"1","join_ref":"1"}"#,
            r#"["1","2","a","b"]"#,
            r#"[1.5,"2","a","b",{}]"#,
            r#"["1",1e3,"a","b",{}]"#,
            r#"["1",1e400,"a","b",{}]"#,
            r#"["1",18446744073709551616,"a","b",{}]"#,
            r#"["1",true,"a","b",{}]"#,
            r#"[["1"],"2","a","b",{}]"#,
            r#"["1","2",null,"b",{}]"#,
            r#"["1","2","a",["b"],{}]"#,
            r#"["1","2","a","b",}]"#,
            r#"["1","2","a","b",{}"#,
            r#"["1","2","a","b",{}] "x""#,
            &format!(r#"["{}","2","a","b",{{}}]"#, &long[..65]),
            &format!(r#"["1","{}","a","b",{{}}]"#, &long[..65]),
            &format!(r#"["1","2","{long}","b",{{}}]"#),
            &format!(r#"["1","2","a","{long}",{{}}]"#),
        ];
        for text in wrong {
            assert!(Message::of_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ref_may_be_a_number_and_is_told_as_it_came() {
        let message = Message::of_text(r#"[3,-7,"room:1","e",{}]"#).unwrap();
        let head = message.answer_head().unwrap();
        assert_eq!(head, r#"[3,-7,"room:1","phx_reply","#);
        let join_ref = message.join_ref.clone().unwrap();
        let joined = address(Some(&join_ref), None, "room:1");
        assert_eq!(joined, r#"[3,null,"room:1","#);
        for (join_ref, is_for) in [("3", true), (r#""3""#, true), ("4", false), ("null", true)] {
            let text = format!(r#"[{join_ref},"8","room:1","e",{{}}]"#);
            let other = Message::of_text(&text).unwrap();
            assert_eq!(other.is_for(&Ref::text("3")), is_for, "{text}");
            assert_eq!(other.is_for(message.join_ref.as_ref().unwrap()), is_for);
        }
        let (join_ref, topic) = of_head(&head).unwrap();
        assert_eq!((join_ref, &*topic), (message.join_ref, "room:1"));
        let biggest = Message::of_text(r#"[null,18446744073709551615,"a","b",{}]"#).unwrap();
        let head = biggest.answer_head().unwrap();
        assert_eq!(head, r#"[null,18446744073709551615,"a","phx_reply","#);
    }

    #[test]
    fn one_ref_is_written_in_one_way() {
        let refs = [r#""\u0033""#, r#""3""#].map(|it| {
            let text = format!(r#"[{it},null,"a","b",{{}}]"#);
            Message::of_text(&text)
                .unwrap()
                .join_ref
                .map(Ref::into_owned)
        });
        assert_eq!(refs[0], refs[1]);
    }

    #[test]
    fn bytes_are_a_push_as_the_stock_serializer_makes_them() {
        // From the serializer's own tests: join_ref "0", ref "1", topic "t", event "e", one byte.
        let bytes = b"\x00\x01\x01\x01\x0101te\x01";
        let message = Message::of_bytes(bytes).unwrap();
        assert_eq!(message.join_ref, Some(Ref::text("0")));
        assert_eq!(message.ref_, Some(Ref::text("1")));
        assert_eq!((&*message.topic, &*message.event), ("t", "e"));
        assert_eq!(message.payload, Payload::Bytes(b"\x01"));

        let nothing = Message::of_bytes(b"\x00\x00\x00\x00\x00").unwrap();
        assert_eq!((nothing.join_ref, nothing.ref_), (None, None));
        assert_eq!(nothing.payload, Payload::Bytes(b""));
        for wrong in [
            &b""[..],
            b"\x00",
            b"\x00\x01\x01\x01",
            b"\x00\x01\x01\x01\x0101t",
            b"\x01\x01\x01\x01\x0101te",
            b"\x02\x01\x01te",
            b"\x00\x00\x00\x01\x01\xff\xff",
        ] {
            assert!(Message::of_bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_clients_make_up_cannot_break_out_of_a_frame() {
        let text = r#"["\"],[\"","\n\\","a\"b","e",{}]"#;
        let message = Message::of_text(text).unwrap();
        let mut out = Out::default();
        let head = message.answer_head().unwrap();
        deny(&mut out, &head, &Denied::UNMATCHED_TOPIC);
        let frame = format!("{head}null]");
        let back: (String, String, String, String, ()) = serde_json::from_str(&frame).unwrap();
        assert_eq!(back.0, "\"],[\"");
        assert_eq!(back.1, "\n\\");
        assert_eq!(back.2, "a\"b");
    }
}
