//! Every example of `docs/protocol.md`, there and back.

use presence_protocol::{Command, Event};
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/protocol.md");

/// The fenced blocks of the page that are marked as `kind`.
pub(crate) fn examples(kind: &str) -> Vec<&'static str> {
    let fence = format!("```json {kind}\n");
    let blocks = PAGE.split(&*fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().expect("a fence is closed").trim())
        .collect()
}

fn same(example: &str, again: &str) {
    let value = |text| serde_json::from_str::<Value>(text).expect(text);
    assert_eq!(value(example), value(again), "\n{example}\n{again}");
}

#[test]
fn every_command_of_the_page_goes_there_and_back() {
    for example in examples("command") {
        let command = Command::from_json(example).unwrap_or_else(|it| panic!("{it}\n{example}"));
        same(example, &command.to_json());
        let binary = Command::from_postcard(&command.to_postcard());
        assert_eq!(binary.as_ref(), Ok(&command), "{example}");
    }
}

#[test]
fn every_event_of_the_page_goes_there_and_back() {
    for example in examples("event") {
        let event = Event::from_json(example).unwrap_or_else(|it| panic!("{it}\n{example}"));
        same(example, &event.to_json());
        let binary = Event::from_postcard(&event.to_postcard());
        assert_eq!(binary.as_ref(), Ok(&event), "{example}");
    }
}

#[test]
fn the_page_shows_every_frame() {
    let shown = |kinds: &[&str], examples: &[&str]| {
        for kind in kinds {
            let start = format!(r#"{{"type":"{kind}""#);
            let found = examples.iter().any(|it| it.starts_with(&start));
            assert!(found, "{kind} has no example");
        }
    };
    shown(Command::TYPES, &examples("command"));
    shown(Event::TYPES, &examples("event"));
}

#[test]
fn the_binary_form_of_a_frame_does_not_change_by_accident() {
    let frame = |text| Command::from_json(text).unwrap().to_postcard();
    assert_eq!(frame(r#"{"type":"presence:heartbeat"}"#), [1, 13, 0]);
    assert_eq!(
        frame(r#"{"type":"presence:typing","ref":7,"channel":"r","typing":true}"#),
        [1, 6, 1, 1, b'7', 1, b'r', 1]
    );
    assert_eq!(
        frame(r#"{"type":"presence:status","status":"busy","emoji":null}"#),
        [1, 5, 0, 1, 1, 2, 0, 1, 0, 0, 0]
    );
}

#[test]
fn an_older_client_understands_a_newer_gateway() {
    let event = r#"{"type":"presence:pong","now":5,"mood":{"a":[1]},"ref":null}"#;
    let Ok(Event::Pong(pong)) = Event::from_json(event) else {
        panic!("{:?}", Event::from_json(event));
    };
    assert_eq!((pong.now, pong.ref_), (5, None));
}

#[test]
fn a_frame_may_be_spaced_and_escaped_as_json_may() {
    let command = Command::from_json(
        " { \"ch\\u0061nnel\" : \"a\\/b\",\n \"meta\" : { \"n\" : [ 1 , 2 ] } , \"type\":\"presence:j\\u006fin\", \"ref\" : \"\\u0041\" } ",
    );
    assert_eq!(
        command.unwrap().to_json(),
        r#"{"type":"presence:join","ref":"A","channel":"a/b","meta":{ "n" : [ 1 , 2 ] }}"#
    );
}
