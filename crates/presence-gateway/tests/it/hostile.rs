//! Two thousand pieces of nonsense, drawn from a seed: each is answered or cut, and two people in a room notice nothing.

use std::net::SocketAddr;

use presence_client::wire::{Command, Event, Ref, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{now, options, soon};
use crate::people::{Person, command as parsed};
use crate::program::ProgramFolder;
use crate::raw::{BINARY, CLOSE, Raw, TEXT, frame, handshake};

const PIECES: usize = 2000;

/// Good commands, to be spoilt. None is about the room that is watched.
const GOOD: &[&str] = &[
    r#"{"type":"presence:join","ref":1,"channel":"attic:7","meta":{"name":"Eve","role":"x"},"have":{"epoch":"6c0f2a9b11d4e877","version":17}}"#,
    r#"{"type":"presence:update","channel":"attic:7","meta":{"a":[1,2,{"b":null}]}}"#,
    r#"{"type":"presence:leave","ref":"l","channel":"attic:7"}"#,
    r#"{"type":"presence:watch","workspace":"attic","mode":"summary"}"#,
    r#"{"type":"presence:watch","users":["eve","mallory"]}"#,
    r#"{"type":"presence:unwatch","users":["eve"]}"#,
    r#"{"type":"presence:status","status":"busy","custom_message":"Né","emoji":"🎯","clear_after":60}"#,
    r#"{"type":"presence:typing","channel":"attic:7","typing":true}"#,
    r#"{"type":"presence:cursor","channel":"attic:7","x":0.25,"y":-1e10,"visible":true}"#,
    r#"{"type":"presence:selection","channel":"attic:7","start":120,"end":134}"#,
    r#"{"type":"presence:activity","activity":"hidden"}"#,
    r#"{"type":"presence:broadcast","channel":"attic:7","event":"e","payload":[true]}"#,
    r#"{"type":"presence:list","channel":"attic:7","limit":50,"offset":100}"#,
    r#"{"type":"presence:openWindow","ref":1,"channel":"attic:7","window":3,"order":"name","prefix":"é","after":{"name":"É","user_id":"eve"},"limit":50}"#,
    r#"{"type":"presence:openWindow","workspace":"attic","window":3,"after":{"joined_at":1764000000000,"user_id":"eve"}}"#,
    r#"{"type":"presence:closeWindow","channel":"attic:7","window":3}"#,
    r#"{"type":"presence:get","users":["eve"]}"#,
    r#"{"type":"presence:authenticate","token":"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}"#,
];

#[tokio::test]
async fn whatever_is_thrown_at_it_is_answered_or_cut_and_nobody_else_notices() {
    let seed = std::env::var("PRESENCE_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or_else(|| now().as_millis());
    println!("PRESENCE_SEED={seed}");
    let mut dice = Dice(seed | 1);

    let folder = ProgramFolder::new();
    // Rates that let everything through to where it can do harm.
    let fast = "1000/s burst 100000";
    let program = folder.start(&[
        ("PRESENCE_RATE_JOIN", fast),
        ("PRESENCE_RATE_WATCH", fast),
        ("PRESENCE_RATE_STATUS", fast),
        ("PRESENCE_RATE_TYPING", fast),
        ("PRESENCE_RATE_CURSOR", fast),
        ("PRESENCE_RATE_BROADCAST", fast),
        ("PRESENCE_RATE_QUERY", fast),
        ("PRESENCE_RATE_OTHER", fast),
        ("PRESENCE_GRACE", "1s"),
    ]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    let mut bob = Person::comes_with(&options(program.address, "bob")).await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;
    let memory = program.memory();

    let mut json = None;
    let mut binary = None;
    let mut closed = 0;
    for n in 0..PIECES {
        match dice.below(10) {
            0..5 => closed += usize::from(talk(program.address, &mut json, &mut dice, false).await),
            5..7 => {
                closed += usize::from(talk(program.address, &mut binary, &mut dice, true).await)
            }
            7 => throw(program.address, &mut dice, true).await,
            _ => throw(program.address, &mut dice, false).await,
        }
        if n % 100 == 99 {
            let word = format!("still-{n}");
            bob.tells(&word).await;
            ann.hears_word(&word).await;
            ann.does(r#"{"type":"presence:ping"}"#).await;
        }
    }
    println!("{closed} connections were closed");

    // The two of them saw nothing, and what one does the other sees.
    bob.does(r#"{"type":"presence:update","channel":"room:1","meta":{"name":"Bob"}}"#)
        .await;
    ann.until("bob's name", |it| {
        it.room.user("bob").unwrap().name.is_some()
    })
    .await;
    for it in [&ann, &bob] {
        assert_eq!(it.ids(), ["ann", "bob"], "PRESENCE_SEED={seed}");
        assert_eq!(
            (it.departures(), it.room.surprises()),
            (0, 0),
            "PRESENCE_SEED={seed}"
        );
    }
    let log = program.log();
    assert!(
        !log.contains("panic") && !log.contains("ERROR"),
        "PRESENCE_SEED={seed}: {log}"
    );
    let grown = program.memory().saturating_sub(memory);
    assert!(grown < 64 << 20, "PRESENCE_SEED={seed}: {grown} bytes more");
}

/// Says one spoilt thing in a good frame, and then something good: there is an answer, or the end. Says whether it was that.
async fn talk(address: SocketAddr, raw: &mut Option<Raw>, dice: &mut Dice, binary: bool) -> bool {
    if raw.is_none() {
        *raw = Some(match binary {
            true => Raw::connect_binary(address, "mallory").await,
            false => Raw::connect(address, "mallory").await,
        });
    }
    let it = raw.as_mut().unwrap();
    let mark = format!("mark-{}", dice.next());
    let ping = Command::from(command::Ping {
        ref_: Ref::text(&mark),
    });
    let opcode = match (binary, dice.below(50)) {
        (_, 0) => dice.below(16) as u8,
        (true, _) => BINARY,
        (false, _) => TEXT,
    };
    let (spoilt, good) = match binary {
        true => (
            spoilt_postcard(dice),
            frame(true, BINARY, &ping.to_postcard()),
        ),
        false => (
            spoilt_json(dice),
            frame(true, TEXT, ping.to_json().as_bytes()),
        ),
    };
    it.bytes(&[frame(true, opcode, &spoilt), good].concat())
        .await;
    let mark = Ref::text(&mark);
    while let Some(answer) = it.next().await {
        let event = match answer.opcode {
            TEXT => Event::from_json(std::str::from_utf8(&answer.payload).unwrap()).unwrap(),
            BINARY => Event::from_postcard(&answer.payload).unwrap(),
            CLOSE => break,
            _ => continue,
        };
        match event {
            Event::Pong(it) if it.ref_ == mark => return false,
            _ => {}
        }
    }
    *raw = None;
    true
}

fn spoilt_json(dice: &mut Dice) -> Vec<u8> {
    let good = dice.pick(GOOD);
    match dice.below(9) {
        0 => b"[".repeat(dice.pick(&[70, 1000, 60_000, 100_000])),
        1 => {
            let long = "x".repeat(dice.pick(&[300, 5000, 60_000, 70_000]));
            good.replace("attic:7", &long)
                .replace("Eve", &long)
                .into_bytes()
        }
        2 => good
            .replace(
                "presence:",
                dice.pick(&["", "presence:x", "presence:\\u0000", "\u{202e}"]),
            )
            .into_bytes(),
        3 => {
            let value = dice.pick(&[
                "null",
                "-1",
                "1e308",
                "[]",
                "{}",
                "\"\\ud834\"",
                "true",
                "18446744073709551616",
            ]);
            let values: Vec<usize> = good.match_indices(':').map(|(at, _)| at + 1).collect();
            let at = values[dice.below(values.len())];
            format!("{}{value},\"z\":{}", &good[..at], &good[at..]).into_bytes()
        }
        4 => {
            let open = dice.below(200);
            format!("{}{good}{}", "[".repeat(open), "]".repeat(open)).into_bytes()
        }
        5 => (0..dice.below(200)).map(|_| dice.next() as u8).collect(),
        _ => mutated(good.as_bytes(), dice),
    }
}

fn spoilt_postcard(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => (0..dice.below(200)).map(|_| dice.next() as u8).collect(),
        1 => [
            &[1],
            &(0..dice.below(40))
                .map(|_| dice.next() as u8)
                .collect::<Vec<_>>()[..],
        ]
        .concat(),
        _ => {
            let good = parsed(dice.pick(GOOD)).to_postcard();
            mutated(&good, dice)
        }
    }
}

/// Bytes changed, lost, doubled, cut off.
fn mutated(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.next() as u8,
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, dice.pick(b"\"{}[],:\\\x00\xff9")),
            _ => match dice.below(3) {
                0 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..),
            },
        }
    }
    bytes
}

/// Sends bytes that are no good frames, or no good request, hangs up, and waits for the gateway to do the same.
async fn throw(address: SocketAddr, dice: &mut Dice, upgraded: bool) {
    let mut stream;
    let bytes = if upgraded {
        stream = Raw::connect(address, "mallory").await.stream;
        match dice.below(3) {
            0 => (0..dice.below(500)).map(|_| dice.next() as u8).collect(),
            _ => {
                let frames: Vec<u8> = (0..3)
                    .flat_map(|_| {
                        frame(dice.below(4) > 0, dice.below(16) as u8, &spoilt_json(dice))
                    })
                    .collect();
                mutated(&frames, dice)
            }
        }
    } else {
        stream = TcpStream::connect(address).await.unwrap();
        spoilt_request(dice)
    };
    // It may be cut at any time; what counts is that it ends.
    let (mut from, mut to) = stream.split();
    let send = async {
        let _ = to.write_all(&bytes).await;
        let _ = to.shutdown().await;
    };
    let read = async {
        let mut answer = [0; 4096];
        while from.read(&mut answer).await.is_ok_and(|it| it > 0) {}
    };
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    soon(format!("the end of {shown:?}"), async {
        tokio::join!(send, read)
    })
    .await;
}

fn spoilt_request(dice: &mut Dice) -> Vec<u8> {
    let target = dice.pick(&[
        "/",
        "/ws",
        "/ws?user_id=mallory&resume=AAAA.BBBB",
        "/ws?user_id=%ff%fe&device_id=web:",
        "/ws?token=eyJhbGciOiJub25lIn0.e30.",
        "/ws?user_id=a&user_id=b&workspace_id=,,,",
        "/metrics",
        "/health?x=%",
        "/api/presence/users/mallory",
        "/api/presence/users/%00",
        "/api/presence/channel/attic:7/count",
        "/api/presence/channel/%2e%2e%2f/viewers?limit=-1",
        "/page/../../../etc/passwd",
        "*",
        "http://evil.example/",
    ]);
    let good = match dice.below(4) {
        0 => format!(
            "POST /api/presence/bulk HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{{\"users\":[\"mallory\"]}}",
            dice.pick(&["21", "0", "-1", "99999999999", "x"])
        ),
        1 => format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(1 + dice.below(20)),
        2 => handshake(
            target,
            "sec-websocket-protocol: presence.v1.json, presence.bearer.a.b.c\r\n",
        ),
        _ => format!(
            "{} {target} HTTP/1.1\r\nhost: localhost\r\n\r\n",
            dice.pick(&["PUT", "CONNECT", "OPTIONS", "\u{1}"])
        ),
    };
    match dice.below(6) {
        0 => good.into_bytes(),
        1 => (0..dice.below(300)).map(|_| dice.next() as u8).collect(),
        2 => good
            .replace("\r\n\r\n", &format!("\r\nx: {}\r\n", "y".repeat(100_000)))
            .into_bytes(),
        _ => mutated(good.as_bytes(), dice),
    }
}

/// xorshift64*: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize) % limit
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }
}
