//! Commands that are wrong, and what we say of them.

use presence_protocol::{Command, DecodeErrorKind, Json, Ref, VERSION};

/// Checks `kind field | message` of the error that `text` makes.
fn check(text: &str, expected: &str) {
    let error = Command::from_json(text).expect_err(text);
    let field = error.field.as_deref().unwrap_or("-");
    let found = format!("{:?} {field} | {}", error.kind, error.message);
    assert_eq!(found, expected, "\nof {text}");
}

#[test]
fn a_misspelt_field_is_named() {
    check(
        r#"{"type":"presence:typing","chanel":"a","typing":true}"#,
        "Invalid chanel | unknown field `chanel`",
    );
    check(
        r#"{"type":"presence:watch","channel":"a","have":{"epoch":"6c0f2a9b11d4e877","versoin":1}}"#,
        "Invalid have.versoin | unknown field `versoin`",
    );
    check(
        r#"{"type":"presence:watch","channel":"a","have":{"type":"x","epoch":"6c0f2a9b11d4e877","version":1}}"#,
        "Invalid have.type | unknown field `type`",
    );
}

#[test]
fn a_missing_field_is_named() {
    check(
        r#"{"type":"presence:typing","typing":true}"#,
        "Invalid channel | missing field `channel`",
    );
    check(
        r#"{"type":"presence:watch"}"#,
        "Invalid channel | missing field `channel`: one of channel, workspace, users is needed",
    );
    check(
        r#"{"type":"presence:watch","channel":"a","have":{"version":1}}"#,
        "Invalid have.epoch | missing field `epoch`",
    );
    check(r#"{"channel":"a"}"#, "Invalid type | missing field `type`");
}

#[test]
fn a_field_that_is_there_twice_is_named() {
    check(
        r#"{"type":"presence:typing","channel":"a","channel":"b","typing":true}"#,
        "Invalid channel | duplicate field `channel`",
    );
    check(
        r#"{"type":"presence:list","channel":"a","workspace":"b"}"#,
        "Invalid workspace | duplicate field `workspace`: only one of channel, workspace may be given",
    );
    check(
        r#"{"type":"presence:ping","type":"presence:ping"}"#,
        "Malformed - | duplicate field `type`",
    );
}

#[test]
fn a_bad_value_is_explained() {
    check(
        r#"{"type":"presence:typing","channel":"a","typing":"yes"}"#,
        "Invalid typing | typing: invalid type: string \"yes\", expected a boolean",
    );
    check(
        r#"{"type":"presence:status","status":"bussy"}"#,
        "Invalid status | status must be one of online, away, busy, invisible, offline",
    );
    check(
        r#"{"type":"presence:join","channel":"a","have":{"epoch":"xyz","version":1}}"#,
        "Invalid have.epoch | have.epoch must be 16 lower-case hexadecimal digits",
    );
    check(
        r#"{"type":"presence:get","users":["a",5]}"#,
        "Invalid users[1] | users[1]: invalid type: integer `5`, expected a string",
    );
    check(
        r#"{"type":"presence:list","channel":"a","limit":-1}"#,
        "Invalid limit | limit: invalid value: integer `-1`, expected u64",
    );
}

#[test]
fn an_unknown_type_is_told_apart() {
    check(
        r#"{"type":"presence:jion","channel":"a"}"#,
        "Unknown type | unknown type `presence:jion`",
    );
    check(r#"{"type":7}"#, "Invalid type | type must be a string");
}

#[test]
fn what_is_no_frame_is_malformed() {
    for text in [
        "",
        "hello",
        "[]",
        "7",
        "null",
        r#""presence:ping""#,
        r#"{"type":"presence:ping""#,
        r#"{"type":"presence:ping"} {}"#,
        r#"{"type":"presence:cursor","channel":"a","x":NaN,"y":0}"#,
        r#"{"type":"presence:join","channel":"a","meta":{'a':1}}"#,
        r#"{"type":"presence:join","type":"presence:ping"}"#,
    ] {
        let error = Command::from_json(text).expect_err(text);
        assert_eq!(error.kind, DecodeErrorKind::Malformed, "{text}: {error}");
    }
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let nested = |depth| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"type":"presence:join","channel":"a","meta":{open}{close}}}"#)
    };
    assert!(Command::from_json(&nested(63)).is_ok());
    check(&nested(64), "Invalid meta[0] | meta[0]: nested too deep");
    check(
        &nested(100_000),
        "Invalid meta[0] | meta[0]: nested too deep",
    );
    for text in ["[", "{\"a\":"].map(|it| it.repeat(100_000)) {
        let error = Command::from_json(&text).expect_err("not a frame");
        assert_eq!(error.kind, DecodeErrorKind::Malformed, "{error}");
    }
}

#[test]
fn a_value_that_cannot_be_sent_on_is_named_and_who_asked_is_answered() {
    for (text, expected) in [
        (
            r#"{"type":"presence:cursor","channel":"a","x":1e999,"y":0,"ref":7}"#,
            "Invalid x | x: number out of range",
        ),
        (
            r#"{"ref":7,"type":"presence:join","channel":"a","meta":{"a":[0,{"b":-1e400}]}}"#,
            "Invalid meta.a[1].b | meta.a[1].b: number out of range",
        ),
        (
            r#"{"ref":7,"type":"presence:broadcast","channel":"a","event":"e","payload":[1e400]}"#,
            "Invalid payload[0] | payload[0]: number out of range",
        ),
        (
            r#"{"ref":7,"type":"presence:ping","extra":1e400}"#,
            "Invalid extra | extra: number out of range",
        ),
    ] {
        check(text, expected);
        let error = Command::from_json(text).expect_err(text);
        assert_eq!(error.ref_, Some(Ref::from(7)), "{text}");
    }
}

#[test]
fn half_a_surrogate_pair_is_read_as_a_replacement() {
    let text =
        r#"{"type":"presence:join","channel":"a","meta":{"\ud800":"Ann\ud83c"},"ref":"\udfaf"}"#;
    let mended =
        r#"{"type":"presence:join","channel":"a","meta":{"\ufffd":"Ann\ufffd"},"ref":"\ufffd"}"#;
    let command = Command::from_json(text).unwrap();
    assert_eq!(command, Command::from_json(mended).unwrap());
    assert_eq!(command.ref_(), Ref::text("\u{fffd}").as_ref());
    assert_eq!(Command::from_postcard(&command.to_postcard()), Ok(command));
}

#[test]
fn a_mistake_is_answered_under_its_ref() {
    let ref_of = |text| Command::from_json(text).expect_err(text).ref_;
    assert_eq!(
        ref_of(r#"{"type":"presence:typing","ref":7}"#),
        Some(Ref::from(7))
    );
    assert_eq!(
        ref_of(r#"{"typo":"presence:typing","ref":"a"}"#),
        Ref::text("a")
    );
    assert_eq!(
        ref_of(r#"{"type":"presence:jion","ref":-1}"#),
        Ref::from_json("-1").ok()
    );
    assert_eq!(ref_of(r#"{"type":"presence:typing","ref":null}"#), None);
}

#[test]
fn a_ref_is_short_or_a_whole_number() {
    for good in [
        "0",
        "-1",
        "9007199254740993",
        "18446744073709551615",
        r#""""#,
        r#""é""#,
    ] {
        assert!(Ref::from_json(good).is_ok(), "{good}");
    }
    let long = format!("{:?}", "x".repeat(65));
    for bad in [
        "1.5",
        "1e3",
        "true",
        "{}",
        "[1]",
        "+1",
        "99999999999999999999",
        &long,
    ] {
        check(
            &format!(r#"{{"type":"presence:ping","ref":{bad}}}"#),
            match bad {
                "+1" => "Malformed - | expected value at byte 31",
                _ => "Invalid ref | ref must be a string of up to 64 bytes or a whole number",
            },
        );
    }
}

#[test]
fn binary_frames_carry_only_sound_json() {
    let command = r#"{"type":"presence:update","channel":"r","meta":{"a":1}}"#;
    let frame = Command::from_json(command).unwrap().to_postcard();
    assert!(Command::from_postcard(&frame).is_ok());

    let mut broken = frame.clone();
    *broken.last_mut().unwrap() = b']';
    let error = Command::from_postcard(&broken).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Invalid);

    for wrong in [
        &[][..],
        &[2, 13, 0],
        &[VERSION],
        &[VERSION, 13, 0, 0],
        &frame[..9],
    ] {
        let error = Command::from_postcard(wrong).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Malformed, "{wrong:?}: {error}");
    }
}

#[test]
fn json_of_ones_own_is_checked_too() {
    assert_eq!(Json::new(" {\"a\":1}\n").unwrap().as_str(), r#"{"a":1}"#);
    assert_eq!(Json::of(&[1, 2]).unwrap().as_str(), "[1,2]");
    assert_eq!(Json::new(r#""\ud800""#).unwrap().as_str(), r#""\ufffd""#);
    for wrong in ["", "{", "{}{}", "nul", "1e400", "[-1e400]"] {
        assert!(Json::new(wrong).is_err(), "{wrong}");
    }
}
