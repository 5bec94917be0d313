//! Frames that went through a bad line: whatever comes, nothing panics, and what is understood can be said again.

use presence_protocol::{Command, Event};

use crate::page::examples;

/// A generator of our own: the same everywhere, for ever.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// `frame` with one to four bytes changed, taken out, put in, or its end cut off.
    fn mutate(&mut self, frame: &[u8]) -> Vec<u8> {
        const TELLING: &[u8] = b"\"\\{}[],:0-9e.nutf\x00\x01\x7f\xff\xc3";
        let mut out = frame.to_vec();
        for _ in 0..=self.below(3) {
            if out.is_empty() {
                break;
            }
            let at = self.below(out.len());
            let byte = TELLING[self.below(TELLING.len())];
            match self.below(8) {
                0 => out.truncate(at),
                1 | 2 => drop(out.remove(at)),
                3 | 4 => out.insert(at, byte),
                _ => out[at] = byte,
            }
        }
        out
    }
}

const SEED: u64 = 0x5eed_0b5e_55ed;
const ROUNDS: usize = 200;

#[test]
fn noise_in_commands_breaks_nothing() {
    let mut random = Random(SEED);
    for example in examples("command") {
        let binary = Command::from_json(example).unwrap().to_postcard();
        for _ in 0..ROUNDS {
            let text = random.mutate(example.as_bytes());
            let text = String::from_utf8_lossy(&text);
            if let Ok(command) = Command::from_json(&text) {
                let again = Command::from_json(&command.to_json());
                assert_eq!(again, Ok(command), "seed {SEED:x}: {text}");
            }
            let frame = random.mutate(&binary);
            if let Ok(command) = Command::from_postcard(&frame) {
                let again = Command::from_postcard(&command.to_postcard());
                // By their text: a coordinate may have become NaN.
                assert_eq!(
                    format!("{again:?}"),
                    format!("{:?}", Ok::<_, ()>(command)),
                    "seed {SEED:x}: {frame:?}"
                );
            }
        }
    }
}

#[test]
fn noise_in_events_breaks_nothing() {
    let mut random = Random(SEED);
    for example in examples("event") {
        let binary = Event::from_json(example).unwrap().to_postcard();
        for _ in 0..ROUNDS {
            let text = random.mutate(example.as_bytes());
            if let Ok(event) = Event::from_json(&String::from_utf8_lossy(&text)) {
                assert_eq!(
                    Event::from_json(&event.to_json()),
                    Ok(event),
                    "seed {SEED:x}"
                );
            }
            let frame = random.mutate(&binary);
            if let Ok(event) = Event::from_postcard(&frame) {
                event.to_json();
                assert!(
                    Event::from_postcard(&event.to_postcard()).is_ok(),
                    "seed {SEED:x}"
                );
            }
        }
    }
}
