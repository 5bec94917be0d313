//! Frames that were good once, spoilt at random: each is answered or cut, and who is in the room notices nothing.

use serde_json::json;

use super::Page;
use crate::gateway::{now, start};
use crate::raw::{BINARY, CLOSE, TEXT};

const PIECES: usize = 1000;

const GOOD: &[&str] = &[
    r#"["1","1","attic:7","phx_join",{"meta":{"name":"Eve","a":[1,{"b":null}]},"watch":false}]"#,
    r#"["1","2","attic:7","update_meta",{"name":"Né"}]"#,
    r#"["1","3","attic:7","cursor",{"x":0.25,"y":-1e10}]"#,
    r#"["1","4","attic:7","wave",{"hand":[[[["\ud83c\udfaf"]]]]}]"#,
    r#"["1","5","attic:7","phx_leave",{}]"#,
    r#"["2","2","presence:eve","phx_join",{"workspace_id":"attic"}]"#,
    r#"["2","6","presence:eve","set_status",{"status":"busy","emoji":"🎯","clear_after":60}]"#,
    r#"["2","7","presence:eve","join_channel",{"channel_id":"attic:8"}]"#,
    r#"["2","8","presence:eve","get_online_users",{"limit":5,"offset":1}]"#,
    r#"[null,"9","phoenix","heartbeat",{}]"#,
    "\0\u{1}\u{1}\u{7}\u{4}17attic:7file\0",
];

#[tokio::test]
async fn whatever_is_thrown_at_it_is_answered_or_cut_and_nobody_else_notices() {
    let seed = std::env::var("PRESENCE_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or_else(|| now().as_millis());
    println!("PRESENCE_SEED={seed}");
    let mut state = seed | 1;
    let mut dice = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % sides
    };

    let fast = "1000/s burst 100000";
    let gateway = start(&[
        ("PRESENCE_RATE_JOIN", fast),
        ("PRESENCE_RATE_CURSOR", fast),
        ("PRESENCE_RATE_STATUS", fast),
        ("PRESENCE_RATE_OTHER", fast),
        ("PRESENCE_GRACE", "100ms"),
    ])
    .await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    ann.sees_nothing_new().await;
    let mut eve = Page::connects(&gateway, "eve").await;
    for _ in 0..PIECES {
        let mut bytes = GOOD[dice(GOOD.len())].as_bytes().to_vec();
        for _ in 0..dice(4) {
            let at = dice(bytes.len());
            match dice(4) {
                0 => bytes[at] = dice(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"\"[]{}\\,0:"[dice(9)]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        let opcode = match (bytes[0], dice(20)) {
            (_, 0) => TEXT,
            (0 | 1, _) => BINARY,
            _ => TEXT,
        };
        eve.0.frame(opcode, &bytes).await;
        // Answers are read, or she would be the one who is too slow; who is cut comes back.
        if !eve.is_still_there().await {
            eve = Page::connects(&gateway, "eve").await;
        }
    }
    ann.sees_nothing_new().await;
    let wave = json!(["1", "2", "room:1", "wave", {}]);
    assert_eq!(ann.asks(wave).await[4]["status"], "ok");
}

impl Page {
    /// Whether a heartbeat is still answered; reads up to the answer.
    async fn is_still_there(&mut self) -> bool {
        self.says(json!([null, "beat", "phoenix", "heartbeat", {}]))
            .await;
        while let Some(frame) = self.0.next().await {
            match frame.opcode {
                CLOSE => return false,
                TEXT if frame.payload.starts_with(br#"[null,"beat","#) => return true,
                _ => {}
            }
        }
        false
    }

    /// Hears of nobody but herself.
    async fn sees_nothing_new(&mut self) {
        for frame in self.heard().await {
            assert!(!frame.to_string().contains("eve"), "{frame}");
        }
    }
}
