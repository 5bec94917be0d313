//! Every frame of a channel, and every answer.

use serde_json::{Value, json};

use super::{Page, reply};
use crate::gateway::start;
use crate::raw::{BINARY, TEXT};

#[tokio::test]
async fn the_frames_of_a_channel_are_those_of_the_reference_server() {
    let gateway = start(&[]).await;
    let mut ann = Page::connects(&gateway, "ann").await;
    ann.says(json!([null, "7", "phoenix", "heartbeat", {}]))
        .await;
    let frame = ann.0.next().await.unwrap();
    assert_eq!(frame.opcode, TEXT);
    assert_eq!(
        String::from_utf8(frame.payload).unwrap(),
        r#"[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]"#
    );

    ann.says(json!(["3", "3", "room:1", "phx_join", {"meta": {"role": "pen"}}]))
        .await;
    assert_eq!(
        ann.0.json().await,
        reply("3", "3", "room:1", "ok", json!({}))
    );
    let state = ann.hears("presence_state").await;
    assert_eq!(
        (&state[0], &state[1], &state[2]),
        (&json!("3"), &json!(null), &json!("room:1"))
    );

    let mut bob = Page::enters(&gateway, "bob", "room:1").await;
    let diff = ann.hears_of("joins", "bob").await;
    assert_eq!(
        (&diff[0], &diff[1], &diff[2]),
        (&json!(null), &json!(null), &json!("room:1"))
    );
    assert!(diff[4]["leaves"].is_object(), "both are there, maybe empty");

    // An update is one diff, with the old meta in its leaves.
    let update = json!(["3", "4", "room:1", "update_meta", {"role": "brush"}]);
    assert_eq!(
        ann.asks(update).await,
        reply("3", "4", "room:1", "ok", json!({}))
    );
    let diff = bob.hears_of("leaves", "ann").await;
    let (new, old) = (
        &diff[4]["joins"]["ann"]["metas"],
        &diff[4]["leaves"]["ann"]["metas"],
    );
    assert_eq!(
        (&new[0]["role"], &old[0]["role"]),
        (&json!("brush"), &json!("pen"))
    );
    assert_eq!(new[0]["phx_ref_prev"], old[0]["phx_ref"]);
    assert!(new[0]["phx_ref"].is_string() && new[0]["phx_ref"] != old[0]["phx_ref"]);

    let wave = json!(["3", "5", "room:1", "wave", {"hand": "left"}, "ignored"]);
    assert_eq!(
        ann.asks(wave).await,
        reply("3", "5", "room:1", "ok", json!({}))
    );
    assert_eq!(
        bob.hears("wave").await,
        json!([null, null, "room:1", "wave", {"hand": "left"}])
    );

    ann.says(json!(["3", "9", "room:1", "phx_leave", {}])).await;
    assert_eq!(
        ann.hears("phx_reply").await,
        reply("3", "9", "room:1", "ok", json!({}))
    );
    assert_eq!(
        ann.0.json().await,
        json!(["3", "3", "room:1", "phx_close", {}])
    );
    let diff = bob.hears_of("leaves", "ann").await;
    assert_eq!(diff[4]["joins"], json!({}));
    assert_eq!(
        ann.heard().await,
        Vec::<Value>::new(),
        "she hears nothing more"
    );
}

#[tokio::test]
async fn what_is_not_joined_is_answered_as_such() {
    let gateway = start(&[]).await;
    let mut ann = Page::connects(&gateway, "ann").await;
    // To leave what one is not in is fine.
    let leave = json!(["1", "2", "room:1", "phx_leave", {}]);
    assert_eq!(
        ann.asks(leave).await,
        reply("1", "2", "room:1", "ok", json!({}))
    );
    // Anything else is not, and belongs to no join.
    let unmatched = json!([null, "3", "room:1", "phx_reply", {"status": "error", "response": {"reason": "unmatched topic"}}]);
    assert_eq!(
        ann.asks(json!(["1", "3", "room:1", "wave", {}])).await,
        unmatched
    );
    for topic in [
        "",
        "phoenix",
        "a b",
        "user:",
        "presence:\u{e4}",
        "workspace:a b",
    ] {
        let join = json!(["1", "1", topic, "phx_join", {}]);
        let wanted = reply(
            "1",
            "1",
            topic,
            "error",
            json!({"reason": "unmatched topic"}),
        );
        assert_eq!(ann.asks(join).await, wanted);
    }
    ann.joins("room:1", json!({})).await;
    // Of another join of hers: ignored. Of none in particular: taken.
    ann.says(json!(["0", "4", "room:1", "typing_start", {}]))
        .await;
    let cursor = json!([null, "5", "room:1", "cursor", {"x": 1, "y": 2}]);
    assert_eq!(ann.asks(cursor).await[4]["status"], "ok");
    let heard = ann.heard().await;
    assert!(heard.iter().all(|it| it[1] != "4"), "{heard:?}");
    // A leave of another join leaves nothing.
    assert_eq!(
        ann.asks(json!(["0", "6", "room:1", "phx_leave", {}])).await[4]["status"],
        "ok"
    );
    assert_eq!(
        ann.asks(json!(["1", "7", "room:1", "wave", {}])).await[4]["status"],
        "ok"
    );
}

#[tokio::test]
async fn a_second_join_of_a_topic_closes_the_first() {
    let gateway = start(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    ann.heard().await;
    ann.says(json!(["8", "8", "room:1", "phx_join", {"meta": {"again": true}}]))
        .await;
    assert_eq!(
        ann.hears("phx_close").await,
        json!(["1", "1", "room:1", "phx_close", {}])
    );
    assert_eq!(
        ann.0.json().await,
        reply("8", "8", "room:1", "ok", json!({}))
    );
    assert_eq!(ann.hears("presence_state").await[0], "8");
    // The second may only watch: then she is no longer there.
    let mut bob = Page::enters(&gateway, "bob", "room:1").await;
    ann.asks(json!(["9", "9", "room:1", "phx_join", {"watch": true}]))
        .await;
    bob.hears_of("leaves", "ann").await;
    let refused = json!(["9", "10", "room:1", "wave", {}]);
    assert_eq!(ann.is_refused(refused).await, "not_joined");
    // A second that is refused is the end of the first, too.
    ann.asks(json!(["11", "11", "room:1", "phx_join", {}]))
        .await;
    bob.hears_of("joins", "ann").await;
    let wrong = json!(["12", "12", "room:1", "phx_join", {"meta": []}]);
    assert_eq!(ann.is_refused(wrong).await, "invalid");
    bob.hears_of("leaves", "ann").await;
}

#[tokio::test]
async fn every_bad_push_is_refused_with_its_reason() {
    let gateway = start(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    ann.joins("presence:ann", json!({})).await;
    ann.joins("user:bob", json!({})).await;
    let long = "x".repeat(65);
    for (topic, event, payload, field) in [
        ("room:1", "cursor", json!({}), "payload"),
        ("room:1", "cursor", json!({"x": "1", "y": 2}), "payload"),
        ("room:1", "selection", json!({"start": 2, "end": 1}), "end"),
        (
            "room:1",
            "selection",
            json!({"start": -1, "end": 1}),
            "payload",
        ),
        ("room:1", "update_meta", json!([]), "meta"),
        (
            "room:1",
            "update_meta",
            json!({"a": "x".repeat(5000)}),
            "meta",
        ),
        ("room:1", &long, json!({}), "event"),
        ("room:1", "", json!({}), "event"),
        (
            "room:1",
            "presence_diff",
            json!({"joins": {}, "leaves": {}}),
            "event",
        ),
        ("room:1", "presence_state", json!({}), "event"),
        ("room:1", "phx_reply", json!({}), "event"),
        ("room:1", "chan_reply_9", json!({}), "event"),
        (
            "presence:ann",
            "set_status",
            json!({"status": "asleep"}),
            "payload",
        ),
        (
            "presence:ann",
            "set_status",
            json!({"clear_after": 0}),
            "clear_after",
        ),
        (
            "presence:ann",
            "set_status",
            json!({"emoji": "hello"}),
            "emoji",
        ),
        (
            "presence:ann",
            "set_status",
            json!({"custom_message": "x".repeat(257)}),
            "custom_message",
        ),
        ("presence:ann", "typing_start", json!({}), "payload"),
        (
            "presence:ann",
            "join_channel",
            json!({"channel_id": ""}),
            "channel_id",
        ),
        (
            "presence:ann",
            "get_online_users",
            json!({"limit": 1001}),
            "limit",
        ),
        ("presence:ann", "wave", json!({}), "event"),
        ("user:bob", "set_status", json!({"status": "busy"}), "event"),
    ] {
        let answer = ann.asks(json!(["1", "2", topic, event, payload])).await;
        let response = &answer[4]["response"];
        assert_eq!(answer[4]["status"], "error", "{answer}");
        let large = json!("too_large");
        assert!(
            response["reason"] == "invalid" || response["reason"] == large,
            "{answer}"
        );
        assert_eq!(response["field"], field, "{answer}");
        assert!(response["message"].is_string());
    }
    // Without a reference there is nobody to answer.
    ann.says(json!(["1", null, "room:1", "cursor", {}])).await;
    assert_eq!(ann.heard().await, Vec::<Value>::new());
}

#[tokio::test]
async fn bytes_reach_the_others_as_bytes() {
    let gateway = start(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    let mut bob = Page::enters(&gateway, "bob", "room:1").await;
    ann.heard().await;
    bob.0
        .frame(BINARY, b"\x00\x01\x01\x06\x0417room:1file\x00\xff")
        .await;
    assert_eq!(
        bob.hears("phx_reply").await,
        reply("1", "7", "room:1", "ok", json!({}))
    );
    let frame = loop {
        let frame = ann.0.next().await.unwrap();
        if frame.opcode == BINARY {
            break frame;
        }
    };
    assert_eq!(frame.payload, b"\x02\x06\x04room:1file\x00\xff");
    // What wants words does not take bytes.
    bob.0
        .frame(BINARY, b"\x00\x01\x01\x06\x0618room:1cursor{}")
        .await;
    let answer = bob.hears("phx_reply").await;
    assert_eq!(answer[4]["response"]["reason"], "invalid");
}

#[tokio::test]
async fn a_channel_that_is_joined_twice_over_is_left_with_the_last() {
    let gateway = start(&[]).await;
    let mut eve = Page::enters(&gateway, "eve", "room:1").await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    eve.sees("ann").await;
    ann.joins("presence:ann", json!({})).await;
    let by_service =
        |ref_, event| json!(["1", ref_, "presence:ann", event, {"channel_id": "room:1"}]);
    assert_eq!(
        ann.asks(by_service("2", "join_channel")).await[4]["status"],
        "ok"
    );
    // Her own topic first, then the service.
    assert_eq!(
        ann.asks(json!(["1", "3", "room:1", "phx_leave", {}])).await[4]["status"],
        "ok"
    );
    assert_eq!(
        ann.asks(by_service("4", "typing_start")).await[4]["status"],
        "ok",
        "still there"
    );
    assert_eq!(
        ann.asks(by_service("5", "leave_channel")).await[4]["status"],
        "ok"
    );
    eve.hears_of("leaves", "ann").await;
    // The other way round, with a topic that only watches.
    assert_eq!(
        ann.asks(by_service("6", "join_channel")).await[4]["status"],
        "ok"
    );
    eve.sees("ann").await;
    ann.joins("room:1", json!({"watch": true})).await;
    assert_eq!(
        ann.asks(by_service("7", "leave_channel")).await[4]["status"],
        "ok"
    );
    eve.hears_of("leaves", "ann").await;
    let mut bob = Page::enters(&gateway, "bob", "room:1").await;
    ann.sees("bob").await;
    // Leaving the service is leaving what was entered there.
    assert_eq!(
        bob.is_refused(json!(["1", "2", "presence:ann", "phx_join", {}]))
            .await,
        "unauthorized"
    );
    assert_eq!(
        ann.asks(by_service("8", "join_channel")).await[4]["status"],
        "ok"
    );
    eve.sees("ann").await;
    assert_eq!(
        ann.asks(json!(["1", "9", "presence:ann", "phx_leave", {}]))
            .await[4]["status"],
        "ok"
    );
    eve.hears_of("leaves", "ann").await;
}

impl Page {
    /// Reads up to a diff with `user` in its `joins` or `leaves`.
    pub(crate) async fn hears_of(&mut self, part: &str, user: &str) -> Value {
        loop {
            let diff = self.hears("presence_diff").await;
            if diff[4][part].get(user).is_some() {
                return diff;
            }
        }
    }
}
