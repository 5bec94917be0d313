//! What RFC 6455 asks of a server, in every dialect: framing, masks, fragments, control frames, UTF-8, closing, handshakes.
//!
//! Numbers in names of tests are sections of the RFC. How each mistake is told in the native protocol is in `frames`.

use std::net::SocketAddr;

use serde_json::Value;

use crate::cable::PLAIN;
use crate::gateway::Running;
use crate::pusher::start_with_apps;
use crate::raw::{BINARY, CLOSE, CONTINUATION, PING, PONG, Raw, TEXT, exchange, handshake, status};

/// One of the dialects, and a frame in it that has an answer. Each connection is somebody else's: a user has 64 sessions at most.
#[derive(Clone, Copy, Debug)]
struct Dialect {
    target: &'static str,
    headers: &'static str,
    /// With `%` where any text may stand.
    question: &'static str,
    /// What is in the answer and in no other frame.
    answer: &'static str,
}

const DIALECTS: [Dialect; 4] = [
    Dialect {
        target: "/ws",
        headers: "",
        question: r#"{"type":"presence:ping","ref":"%"}"#,
        answer: r#""type":"presence:pong""#,
    },
    Dialect {
        target: "/socket/websocket?vsn=2.0.0",
        headers: "",
        question: r#"[null,"1","phoenix","heartbeat",{"x":"%"}]"#,
        answer: r#""phx_reply""#,
    },
    Dialect {
        target: "/cable",
        headers: "sec-websocket-protocol: actioncable-v1-json\r\n",
        question: r#"{"command":"subscribe","identifier":"{\"channel\":\"None\",\"x\":\"%\"}"}"#,
        answer: r#""reject_subscription""#,
    },
    Dialect {
        target: "/app/key-of-3?protocol=7",
        headers: "",
        question: r#"{"event":"pusher:ping","data":"%"}"#,
        answer: r#""pusher:pong""#,
    },
];

impl Dialect {
    async fn connects(&self, address: SocketAddr) -> Raw {
        Raw::upgrade(address, self.target, self.headers).await
    }

    fn asks(&self, text: &str) -> Vec<u8> {
        self.question.replace('%', text).into_bytes()
    }

    /// Fails unless `frames`, in which there is one question, are answered, and the connection goes on.
    async fn answers(&self, address: SocketAddr, what: &str, frames: &[Vec<u8>]) {
        let mut raw = self.connects(address).await;
        let again = [sent(0x80 | TEXT, &self.asks("again"))];
        for question in [frames, &again] {
            for frame in question {
                raw.bytes(frame).await;
            }
            loop {
                let Some(frame) = raw.next().await else {
                    panic!("{what}, {}: the end", self.target);
                };
                let text = String::from_utf8_lossy(&frame.payload);
                assert_ne!(frame.opcode, CLOSE, "{what}, {}: {text}", self.target);
                if text.contains(self.answer) {
                    break;
                }
            }
        }
    }

    /// Fails unless the connection is closed with that code because of `frames`.
    async fn closes(&self, address: SocketAddr, what: &str, frames: &[Vec<u8>], code: u16) {
        let mut raw = self.connects(address).await;
        for frame in frames {
            raw.bytes(frame).await;
        }
        let (_, closed) = closed(&mut raw).await;
        assert_eq!(closed, Some(code), "{what}, {}", self.target);
    }
}

/// A masked frame with that first byte, which may say anything.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, [0x37, 0xFA, 0x21, 0x3D], payload)
}

fn masked(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

/// The frames of one message that is cut at these places.
fn fragments(opcode: u8, payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut from = 0;
    for (index, &cut) in cuts.iter().chain([&payload.len()]).enumerate() {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        let last = index == cuts.len();
        frames.push(sent(opcode | (u8::from(last) << 7), &payload[from..cut]));
        from = cut;
    }
    frames
}

/// Reads up to a close, which is answered, or to the end: the texts before it, and its code. A close without one is 1005.
async fn closed(raw: &mut Raw) -> (Vec<String>, Option<u16>) {
    let mut texts = Vec::new();
    while let Some(frame) = raw.next().await {
        match frame.opcode {
            TEXT => texts.push(String::from_utf8(frame.payload).unwrap()),
            CLOSE => {
                raw.frame(CLOSE, &frame.payload).await;
                let more = raw.next().await;
                assert!(more.is_none(), "{more:?} after a close");
                let code = frame.payload.first_chunk();
                return (texts, Some(code.map_or(1005, |it| u16::from_be_bytes(*it))));
            }
            _ => {}
        }
    }
    (texts, None)
}

async fn gateway() -> Running {
    let fast = "1000/s burst 100000";
    let other = ("PRESENCE_RATE_OTHER", fast);
    start_with_apps(&[other, ("PRESENCE_RATE_JOIN", fast)]).await
}

#[tokio::test]
async fn section_5_2_every_length_is_understood_in_its_encoding() {
    let gateway = gateway().await;
    for dialect in DIALECTS {
        let least = dialect.asks("").len();
        for length in [least, 125, 126, 127, 128, 4095, 65535] {
            // References and identifiers have bounds of their own: what is too long for them is blank here.
            let mut question = dialect.asks("x");
            question.resize(length.max(question.len()), b' ');
            let frame = sent(0x80 | TEXT, &question);
            dialect
                .answers(gateway.address(), &format!("{length} bytes"), &[frame])
                .await;
        }
        let top_bit = [&[0x81, 0xFF, 0x80][..], &[0; 7], &[1, 2, 3, 4]].concat();
        let mut raw = dialect.connects(gateway.address()).await;
        raw.bytes(&top_bit).await;
        let (_, code) = closed(&mut raw).await;
        assert!(
            matches!(code, Some(1002 | 1009)),
            "{}: {code:?}",
            dialect.target
        );
    }
}

#[tokio::test]
async fn section_5_2_reserved_bits_and_opcodes_are_refused_wherever_they_stand() {
    let gateway = gateway().await;
    for dialect in DIALECTS {
        let address = gateway.address();
        for bit in [0x40, 0x20, 0x10, 0x70] {
            for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
                let frame = sent(0x80 | bit | opcode, b"");
                let what = format!("bits {bit:x} of opcode {opcode}");
                dialect.closes(address, &what, &[frame], 1002).await;
            }
            let frames = [sent(TEXT, b"{"), sent(0x80 | bit | CONTINUATION, b"}")];
            dialect
                .closes(address, "bits of a continuation", &frames, 1002)
                .await;
        }
        for opcode in (3..8).chain(11..16) {
            for first in [0x80 | opcode, opcode] {
                let what = format!("first byte {first:x}");
                dialect
                    .closes(address, &what, &[sent(first, b"")], 1002)
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn section_5_3_any_mask_is_taken_off_and_none_is_refused() {
    let gateway = gateway().await;
    for dialect in DIALECTS {
        for mask in [[0; 4], [0xFF; 4], [0x80, 0, 0, 1], [b'{'; 4]] {
            let frame = masked(0x80 | TEXT, mask, &dialect.asks("é"));
            let what = format!("mask {mask:?}");
            dialect.answers(gateway.address(), &what, &[frame]).await;
        }
        for first in [0x80 | TEXT, 0x80 | PING, 0x80 | CLOSE, TEXT] {
            let what = format!("no mask on {first:x}");
            let frame = vec![first, 0];
            dialect
                .closes(gateway.address(), &what, &[frame], 1002)
                .await;
        }
        let frames = [sent(TEXT, b"{"), vec![0x80, 1, b'}']];
        dialect
            .closes(
                gateway.address(),
                "no mask on a continuation",
                &frames,
                1002,
            )
            .await;
    }
}

#[tokio::test]
async fn section_5_4_a_message_may_be_cut_anywhere_with_control_frames_between() {
    let gateway = gateway().await;
    let address = gateway.address();
    for dialect in DIALECTS {
        let question = dialect.asks("é€😀");
        let length = question.len();
        for cut in 0..=length {
            let frames = fragments(TEXT, &question, &[cut]);
            dialect
                .answers(address, &format!("cut at {cut}"), &frames)
                .await;
        }
        let all: Vec<usize> = (1..length).collect();
        dialect
            .answers(address, "every byte", &fragments(TEXT, &question, &all))
            .await;
        let empty = fragments(TEXT, &question, &[0, 0, 0, 5, 5, length, length]);
        dialect.answers(address, "empty fragments", &empty).await;
        let mut mixed = fragments(TEXT, &question, &[3, 9]);
        mixed.insert(1, sent(0x80 | PING, b"between"));
        mixed.insert(2, sent(0x80 | PONG, b""));
        dialect
            .answers(address, "a ping and a pong between", &mixed)
            .await;
        for (what, frames) in [
            (
                "a continuation of nothing",
                vec![sent(0x80 | CONTINUATION, b"x")],
            ),
            (
                "the begin of a continuation of nothing",
                vec![sent(CONTINUATION, b"x")],
            ),
            (
                "a text in a text",
                vec![sent(TEXT, b"{"), sent(0x80 | TEXT, b"}")],
            ),
            (
                "a begin in a text",
                vec![sent(TEXT, b"{"), sent(TEXT, b"}")],
            ),
            (
                "bytes in a text",
                vec![sent(TEXT, b"{"), sent(0x80 | BINARY, b"}")],
            ),
            ("a continuation after the end", {
                let mut frames = fragments(TEXT, &question, &[4]);
                frames.push(sent(0x80 | CONTINUATION, b"x"));
                frames
            }),
        ] {
            dialect.closes(address, what, &frames, 1002).await;
        }
    }
}

#[tokio::test]
async fn section_5_5_control_frames_are_short_whole_and_answered() {
    let gateway = gateway().await;
    let address = gateway.address();
    for dialect in DIALECTS {
        for opcode in [PING, PONG, CLOSE] {
            let long = sent(0x80 | opcode, &[b' '; 126]);
            dialect.closes(address, "126 bytes", &[long], 1002).await;
            let part = sent(opcode, b"");
            dialect.closes(address, "not the last", &[part], 1002).await;
        }
        let mut raw = dialect.connects(address).await;
        for payload in [&b""[..], b"x", &[0; 125], &[0xFF; 125]] {
            raw.frame(PONG, payload).await;
            raw.frame(PING, payload).await;
            let pong = loop {
                let frame = raw.next().await.unwrap();
                if frame.opcode != TEXT {
                    break frame;
                }
            };
            assert_eq!(
                (pong.opcode, &*pong.payload),
                (PONG, payload),
                "{}",
                dialect.target
            );
        }
    }
}

#[tokio::test]
async fn section_7_4_a_close_is_answered_with_its_code_and_a_code_that_must_not_be_sent_with_1002()
{
    let gateway = gateway().await;
    let address = gateway.address();
    for dialect in DIALECTS {
        let answer = async |payload: &[u8]| {
            let mut raw = dialect.connects(address).await;
            raw.frame(CLOSE, payload).await;
            // What comes after a close is not looked at.
            raw.bytes(&sent(0x80 | TEXT, &dialect.asks("late"))).await;
            closed(&mut raw).await
        };
        for code in [
            1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000,
            4999,
        ] {
            let (texts, got) = answer(&code.to_be_bytes()).await;
            assert_eq!(got, Some(code), "{}", dialect.target);
            assert!(
                !texts.iter().any(|it| it.contains(dialect.answer)),
                "{texts:?}"
            );
            let reason = [&code.to_be_bytes()[..], &[b'x'; 123]].concat();
            assert_eq!(answer(&reason).await.1, Some(code), "{}", dialect.target);
        }
        assert!(
            matches!(answer(b"").await.1, Some(1000 | 1005)),
            "{}",
            dialect.target
        );
        for code in [
            0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            assert_eq!(
                answer(&code.to_be_bytes()).await.1,
                Some(1002),
                "{code}, {}",
                dialect.target
            );
        }
        assert_eq!(
            answer(&[3]).await.1,
            Some(1002),
            "half a code, {}",
            dialect.target
        );
        for reason in [
            &b"\x03\xe8\xff"[..],
            b"\x03\xe8\xe2\x82",
            b"\x03\xe8\xed\xa0\x80",
        ] {
            let got = answer(reason).await.1;
            assert_eq!(got, Some(1007), "{reason:?}, {}", dialect.target);
        }
    }
}

#[tokio::test]
async fn section_8_1_text_is_utf_8_wherever_it_is_cut() {
    let gateway = gateway().await;
    let address = gateway.address();
    let invalid: [&[u8]; 17] = [
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ];
    for dialect in DIALECTS {
        for c in [
            '\u{80}',
            '\u{7ff}',
            '\u{800}',
            '\u{d7ff}',
            '\u{e000}',
            '\u{fffd}',
            '\u{ffff}',
            '\u{10000}',
            '\u{10ffff}',
        ] {
            let question = dialect.asks(&c.to_string());
            dialect
                .answers(address, &format!("{c:?}"), &[sent(0x80 | TEXT, &question)])
                .await;
        }
        for bytes in invalid {
            let at = dialect.question.find('%').unwrap();
            let mut text = dialect.asks("");
            text.splice(at..at, bytes.iter().copied());
            let what = format!("{bytes:x?}");
            dialect
                .closes(address, &what, &[sent(0x80 | TEXT, &text)], 1007)
                .await;
            for cut in 1..bytes.len() {
                let frames = fragments(TEXT, &text, &[at + cut]);
                dialect
                    .closes(address, &format!("{what} cut at {cut}"), &frames, 1007)
                    .await;
            }
        }
        let text = dialect.asks("é");
        let half = text.iter().position(|it| *it == 0xC3).unwrap() + 1;
        dialect
            .closes(
                address,
                "the end in a character",
                &[sent(0x80 | TEXT, &text[..half])],
                1007,
            )
            .await;
        let frames = [sent(TEXT, &text[..half]), sent(0x80 | CONTINUATION, b"")];
        dialect
            .closes(address, "the same in fragments", &frames, 1007)
            .await;
    }
}

#[tokio::test]
async fn section_4_2_a_handshake_is_taken_in_every_spelling_and_the_answer_is_computed() {
    let gateway = gateway().await;
    let address = gateway.address();
    for dialect in DIALECTS {
        let good = handshake(dialect.target, dialect.headers);
        for (what, request) in [
            ("as it is", good.clone()),
            (
                "capitals",
                good.replace("upgrade: websocket", "UPGRADE: WebSocket"),
            ),
            (
                "a list",
                good.replace("connection: upgrade", "Connection: keep-alive, Upgrade"),
            ),
            (
                "a list of upgrades",
                good.replace("upgrade: websocket", "upgrade: h2c, websocket"),
            ),
            (
                "two headers",
                good.replace(
                    "connection: upgrade",
                    "connection: keep-alive\r\nconnection: Upgrade",
                ),
            ),
            (
                "blanks",
                good.replace("sec-websocket-version: 13", "sec-websocket-version:   13  "),
            ),
            (
                "extensions",
                handshake(
                    dialect.target,
                    &format!(
                        "{}sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n",
                        dialect.headers
                    ),
                ),
            ),
        ] {
            let answer = exchange(address, request.as_bytes()).await.to_lowercase();
            assert_eq!(status(&answer), 101, "{what}, {}: {answer}", dialect.target);
            assert!(
                answer.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
                "{what}: {answer}"
            );
            assert!(
                answer.contains("\r\nupgrade: websocket\r\n"),
                "{what}: {answer}"
            );
            assert!(
                !answer.contains("sec-websocket-extensions"),
                "{what}: {answer}"
            );
            let protocol = answer.contains("\r\nsec-websocket-protocol:");
            assert_eq!(
                protocol,
                dialect.headers.contains(PLAIN),
                "{what}: {answer}"
            );
        }
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        for (what, request) in [
            ("a short key", good.replace(key, "dGhlIHNhbXBsZQ==")),
            ("a long key", good.replace(key, "dGhlIHNhbXBsZSBub25jZSE=")),
            ("no base64", good.replace(key, "the sample nonce of old!")),
            ("an empty key", good.replace(key, "")),
            (
                "two keys",
                good.replace(key, &format!("{key}\r\nsec-websocket-key: {key}")),
            ),
            ("version 8", good.replace("version: 13", "version: 8")),
            ("version 130", good.replace("version: 13", "version: 130")),
            ("a POST", good.replace("GET ", "POST ")),
            ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0")),
        ] {
            let answer = exchange(address, request.as_bytes()).await;
            let code = status(&answer);
            assert!(
                (400..500).contains(&code),
                "{what}, {}: {answer}",
                dialect.target
            );
        }
    }
    let answer = exchange(
        address,
        handshake("/ws", "")
            .replace("version: 13", "version: 8")
            .as_bytes(),
    )
    .await;
    assert!(
        answer.to_lowercase().contains("sec-websocket-version: 13"),
        "{answer}"
    );
}

/// The answer to a close in the middle of a message: the message is never whole.
#[tokio::test]
async fn section_5_5_1_a_close_may_come_in_the_middle_of_a_message() {
    let gateway = gateway().await;
    for dialect in DIALECTS {
        let mut raw = dialect.connects(gateway.address()).await;
        raw.bytes(&sent(TEXT, &dialect.asks("half")[..5])).await;
        raw.close(1000).await;
        let (texts, code) = closed(&mut raw).await;
        assert_eq!(code, Some(1000), "{}", dialect.target);
        for text in texts {
            let message: Value = serde_json::from_str(&text).unwrap();
            assert!(!text.contains(dialect.answer), "{message}");
        }
    }
}
