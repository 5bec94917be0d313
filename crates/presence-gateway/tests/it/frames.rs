//! Frames that no good client sends, and some odd ones that are fine: each has its answer.

use presence_client::wire::{Command, ErrorCode, Event, command};

use crate::gateway::start;
use crate::raw::{
    BINARY, CLOSE, CONTINUATION, Ended, Frame, PING, PONG, Raw, TEXT, frame, handshake,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PING_COMMAND: &str = r#"{"type":"presence:ping","ref":1}"#;

#[tokio::test]
async fn what_is_no_websocket_is_closed_with_the_code_for_it() {
    let gateway = start(&[]).await;
    let unmasked = [&[0x81, PING_COMMAND.len() as u8], PING_COMMAND.as_bytes()].concat();
    let with_bits = |bits: u8| {
        let mut frame = frame(true, TEXT, b"{}");
        frame[0] |= bits;
        frame
    };
    let huge = {
        let mut header = frame(true, TEXT, &[b'x'; 70_000]);
        // Says that it is far longer still, and never is.
        header[2..10].copy_from_slice(&(1_u64 << 40).to_be_bytes());
        header
    };
    let many = {
        let mut fragments = frame(false, TEXT, b"\"");
        for _ in 0..100_000 {
            fragments.extend(frame(false, CONTINUATION, b"x"));
        }
        fragments
    };
    let brackets = |n: usize| frame(true, TEXT, "[".repeat(n).as_bytes());
    for (what, bytes, code) in [
        ("an unmasked frame", unmasked, 1002),
        ("a reserved opcode", frame(true, 3, b"x"), 1002),
        ("a reserved control opcode", frame(true, 11, b""), 1002),
        ("the first reserved bit", with_bits(0x40), 1002),
        ("the other reserved bits", with_bits(0x30), 1002),
        ("a long ping", frame(true, PING, &[0; 126]), 1002),
        ("a ping in fragments", frame(false, PING, b"x"), 1002),
        ("the end of nothing", frame(true, CONTINUATION, b"x"), 1002),
        (
            "a message in a message",
            [frame(false, TEXT, b"{"), frame(true, TEXT, b"}")].concat(),
            1002,
        ),
        ("a close of one byte", frame(true, CLOSE, &[3]), 1002),
        (
            "text that is no UTF-8",
            frame(true, TEXT, b"{\"type\":\"\xff\"}"),
            1007,
        ),
        ("half a character", frame(true, TEXT, b"\xe2\x82"), 1007),
        (
            "a frame over the limit",
            frame(true, TEXT, &[b' '; 65_537]),
            1009,
        ),
        ("a frame of which only the start comes", huge, 1009),
        ("a hundred thousand fragments", many, 1009),
        ("a hundred thousand brackets", brackets(100_000), 1009),
        (
            "postcard where JSON was agreed on",
            frame(true, BINARY, &[1, 13, 0]),
            1003,
        ),
    ] {
        let mut raw = Raw::connect(gateway.address(), "ann").await;
        raw.bytes(&bytes).await;
        let ended = raw.ends().await;
        assert_eq!(ended.code, Some(code), "{what}");
        says_so(&ended, code, what);
    }
    let mut raw = Raw::connect_binary(gateway.address(), "ann").await;
    raw.text(PING_COMMAND).await;
    let ended = raw.ends().await;
    assert_eq!(ended.code, Some(1003));
    says_so(&ended, 1003, "JSON where postcard was agreed on");
}

/// The last event says the same as the close frame.
fn says_so(ended: &Ended, code: u16, what: &str) {
    match ended.events.last() {
        Some(Event::Closing(it)) => assert_eq!((it.code, it.reconnect), (code, false), "{what}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_in_a_hundred_fragments_with_pings_between_is_a_command() {
    let gateway = start(&[]).await;
    let mut raw = Raw::connect(gateway.address(), "ann").await;
    let text = format!(r#"{{"type":"presence:ping","ref":"{}"}}"#, "é".repeat(30));
    let bytes = text.as_bytes();
    let last = bytes.len() - 1;
    let mut pings = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let opcode = if index == 0 { TEXT } else { CONTINUATION };
        raw.bytes(&frame(index == last, opcode, &[*byte])).await;
        if index % 10 == 0 {
            raw.frame(PING, b"between").await;
            pings += 1;
        }
    }
    let mut pongs = 0;
    loop {
        let Frame { opcode, payload } = raw.next().await.unwrap();
        match opcode {
            PONG => {
                assert_eq!(payload, b"between");
                pongs += 1;
            }
            _ if payload.starts_with(b"{\"type\":\"presence:pong\"") => break,
            _ => assert!(!payload.starts_with(b"{\"type\":\"presence:error\"")),
        }
    }
    // Pings that come faster than pongs go out may share one.
    assert!((1..=pings).contains(&pongs), "{pongs} of {pings}");
}

#[tokio::test]
async fn control_frames_are_answered_or_ignored_as_they_should_be() {
    let gateway = start(&[]).await;
    let mut raw = Raw::connect(gateway.address(), "ann").await;
    raw.hears_of(|it| matches!(it, Event::Own(_)).then_some(()))
        .await;
    raw.frame(PONG, b"nobody asked").await;
    for payload in [&b""[..], &[0xff; 125]] {
        raw.frame(PING, payload).await;
        let answer = raw.next().await.unwrap();
        assert_eq!(
            answer,
            Frame {
                opcode: PONG,
                payload: payload.to_vec()
            }
        );
    }
    raw.text(PING_COMMAND).await;
    assert!(matches!(raw.answer(1).await, Event::Pong(_)));
}

#[tokio::test]
async fn nonsense_in_a_good_frame_is_an_error_and_the_connection_goes_on() {
    let gateway = start(&[]).await;
    let mut raw = Raw::connect(gateway.address(), "ann").await;
    let deep = "[".repeat(60_000);
    let deep_meta = format!(
        r#"{{"type":"presence:join","channel":"room:1","meta":{{"a":{}{}}}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    for (text, code) in [
        ("", ErrorCode::Malformed),
        ("null", ErrorCode::Malformed),
        ("[]", ErrorCode::Malformed),
        ("{", ErrorCode::Malformed),
        (&deep, ErrorCode::Malformed),
        (&deep_meta, ErrorCode::Invalid),
        (
            r#"{"type":"presence:join","channel":"\ud800"}"#,
            ErrorCode::Invalid,
        ),
        (
            r#"{"type":"presence:cursor","channel":"r","x":1e999,"y":1}"#,
            ErrorCode::Invalid,
        ),
        ("{}", ErrorCode::Invalid),
        (r#"{"type":5}"#, ErrorCode::Invalid),
        (r#"{"type":"presence:destroy"}"#, ErrorCode::UnknownCommand),
        (r#"{"type":"presence:hello"}"#, ErrorCode::UnknownCommand),
        (r#"{"type":"presence:ping","ref":[]}"#, ErrorCode::Invalid),
        (r#"{"type":"presence:ping","reff":1}"#, ErrorCode::Invalid),
        (r#"{"type":"presence:join"}"#, ErrorCode::Invalid),
        (
            r#"{"type":"presence:join","channel":""}"#,
            ErrorCode::Invalid,
        ),
        (
            r#"{"type":"presence:join","channel":"room 1"}"#,
            ErrorCode::Invalid,
        ),
        (
            r#"{"type":"presence:join","channel":7}"#,
            ErrorCode::Invalid,
        ),
    ] {
        raw.text(text).await;
        let error = raw.error().await;
        assert_eq!(
            error.code,
            code,
            "{}: {}",
            &text[..text.len().min(60)],
            error.message
        );
    }
    raw.text(PING_COMMAND).await;
    assert!(matches!(raw.answer(1).await, Event::Pong(_)));
}

#[tokio::test]
async fn half_an_emoji_or_an_endless_number_is_answered_and_costs_nothing() {
    let gateway = start(&[("PRESENCE_RATE_OTHER", "1000/s burst 1000")]).await;
    let mut raw = Raw::connect(gateway.address(), "ann").await;
    raw.text(r#"{"type":"presence:join","channel":"room:1","meta":{"name":"Ann \ud83c"}}"#)
        .await;
    let name = raw
        .hears_of(|it| match it {
            Event::CurrentUsers(it) => it.users.first()?.name.clone(),
            _ => None,
        })
        .await;
    assert_eq!(&*name, "Ann \u{fffd}");
    // More of them than a connection may have malformed frames.
    for n in 10..50 {
        let text = format!(
            r#"{{"type":"presence:update","ref":{n},"channel":"room:1","meta":{{"n":1e400}}}}"#
        );
        raw.text(&text).await;
        let error = raw.error().await;
        assert_eq!(error.ref_, Some(n.into()));
        let field = error.field.as_deref();
        assert_eq!((error.code, field), (ErrorCode::Invalid, Some("meta.n")));
    }
    raw.text(PING_COMMAND).await;
    let answer = raw.answer(1).await;
    assert!(matches!(answer, Event::Pong(_)), "{answer:?}");
}

#[tokio::test]
async fn garbage_in_postcard_is_an_error_and_the_connection_goes_on() {
    let gateway = start(&[]).await;
    let mut raw = Raw::connect_binary(gateway.address(), "ann").await;
    let cursor = |x: f64| {
        let cursor = command::Cursor {
            ref_: None,
            channel: "room:1".into(),
            x,
            y: 0.0,
            visible: None,
        };
        Command::from(cursor).to_postcard()
    };
    let ping = Command::from(command::Ping {
        ref_: Some(1.into()),
    })
    .to_postcard();
    // A list of users that says it is longer than all memory.
    let long = vec![
        1, 12, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
    ];
    for (bytes, code) in [
        (vec![], ErrorCode::Malformed),
        (vec![1], ErrorCode::Malformed),
        (vec![2, 0], ErrorCode::Malformed),
        (vec![1, 200], ErrorCode::Malformed),
        (vec![0xff; 100], ErrorCode::Malformed),
        (ping[..ping.len() - 1].to_vec(), ErrorCode::Malformed),
        ([&ping[..], &[0]].concat(), ErrorCode::Malformed),
        (long, ErrorCode::Malformed),
        (cursor(f64::NAN), ErrorCode::Invalid),
        (cursor(f64::INFINITY), ErrorCode::Invalid),
    ] {
        raw.frame(BINARY, &bytes).await;
        let error = raw.error().await;
        assert_eq!(error.code, code, "{bytes:?}: {}", error.message);
    }
    raw.frame(BINARY, &ping).await;
    assert!(matches!(raw.answer(1).await, Event::Pong(_)));
}

#[tokio::test]
async fn commands_in_the_same_packet_as_the_handshake_are_heard() {
    let gateway = start(&[]).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut bytes = handshake("/ws?user_id=ann", "").into_bytes();
    let cut = bytes.len() - 2;
    bytes.extend(frame(true, TEXT, PING_COMMAND.as_bytes()));
    // The last two bytes of the request come together with the first frame.
    stream.write_all(&bytes[..cut]).await.unwrap();
    let mut rest = bytes.split_off(cut);
    let two = rest.drain(..2).collect::<Vec<u8>>();
    let mut raw = Raw::upgraded(stream, &[two, rest].concat()).await;
    assert!(matches!(raw.event().await, Event::Hello(_)));
    assert!(matches!(raw.answer(1).await, Event::Pong(_)));
}

#[tokio::test]
async fn the_subprotocol_that_is_spoken_is_said_whichever_else_are_offered() {
    let gateway = start(&[]).await;
    let offers = "sec-websocket-protocol: chat, presence.v1.json, presence.v1.postcard\r\n";
    let mut raw = Raw::upgrade(gateway.address(), "/ws?user_id=ann", offers).await;
    let head = raw.head.to_lowercase();
    assert!(
        head.contains("\r\nsec-websocket-protocol: presence.v1.json\r\n"),
        "{head}"
    );
    assert_eq!(raw.json().await["type"], "presence:hello");
    raw.text(r#"{"type":"presence:leave"}"#).await;
    let (texts, code) = raw.closes().await;
    assert_eq!(texts.last().unwrap()["type"], "presence:closing");
    assert_eq!(code, Some(1000));
}
