//! Finds out the sort of a frame and the version it makes, much cheaper than decoding it.

use presence_client::Frame;
use presence_client::wire::{Epoch, Event, Have};

/// The sort of a frame, as far as counting needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FrameKind {
    /// The whole state of a place, or a summary of it; with its version if the dialect has versions.
    Whole(Option<Have>),
    /// One change of a place, which makes one new version.
    Step(Option<Have>),
    /// The gateway refuses something.
    Error,
    /// Any frame that is not counted.
    Other,
}

/// Finds out the sort of `frame`.
pub(crate) fn kind_of(frame: &Frame) -> FrameKind {
    let seen = match frame {
        Frame::Text(text) => kind_of_json(text),
        Frame::Binary(bytes) => kind_of_postcard(bytes),
    };
    // A frame that is written in another way than we know is decoded.
    seen.or_else(|| {
        let event = frame.decode().ok()?;
        sort(event.kind(), || have(&event))
    })
    .unwrap_or(FrameKind::Error)
}

/// The sort of a frame of type `kind`; `have` reads its version, if it has one.
fn sort(kind: &str, have: impl FnOnce() -> Option<Have>) -> Option<FrameKind> {
    match kind.strip_prefix("presence:")? {
        "currentUsers" | "summary" => have().map(Some).map(FrameKind::Whole),
        "userJoined" | "userUpdated" | "userLeft" | "changes" => {
            have().map(Some).map(FrameKind::Step)
        }
        "error" => Some(FrameKind::Error),
        _ => Some(FrameKind::Other),
    }
}

fn kind_of_json(text: &str) -> Option<FrameKind> {
    let (kind, rest) = text.strip_prefix(r#"{"type":""#)?.split_once('"')?;
    sort(kind, || {
        let (_, rest) = rest.split_once(r#""epoch":""#)?;
        let epoch: Epoch = rest.get(..16)?.parse().ok()?;
        let digits = rest.get(16..)?.strip_prefix(r#"","version":"#)?;
        let end = digits.find(|c: char| !c.is_ascii_digit())?;
        let version = digits[..end].parse().ok()?;
        Some(Have { epoch, version })
    })
}

fn kind_of_postcard(frame: &[u8]) -> Option<FrameKind> {
    let [presence_client::wire::VERSION, kind, rest @ ..] = frame else {
        return None;
    };
    let kind = Event::TYPES.get(usize::from(*kind))?;
    sort(kind, || {
        // Every event of a place starts with it, its epoch and its version.
        type Head<'a> = ((u32, &'a str), u64, u64);
        let ((_, epoch, version), _) = postcard::take_from_bytes::<Head<'_>>(rest).ok()?;
        let epoch = Epoch(epoch);
        Some(Have { epoch, version })
    })
}

fn have(event: &Event) -> Option<Have> {
    let (epoch, version) = match event {
        Event::CurrentUsers(it) => (it.epoch, it.version),
        Event::Summary(it) => (it.epoch, it.version),
        Event::UserJoined(it) | Event::UserUpdated(it) => (it.epoch, it.version),
        Event::UserLeft(it) => (it.epoch, it.version),
        Event::Changes(it) => (it.epoch, it.version),
        _ => return None,
    };
    Some(Have { epoch, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_sees_what_decoding_would() {
        let page = include_str!("../../../docs/protocol.md");
        let mut steps = 0;
        for block in page.split("```json event\n").skip(1) {
            let text = block.split("```").next().unwrap().trim();
            let event = Event::from_json(text).unwrap();
            let decoded = sort(event.kind(), || have(&event));
            assert_eq!(kind_of_json(&event.to_json()), decoded, "{text}");
            assert_eq!(kind_of_postcard(&event.to_postcard()), decoded, "{text}");
            steps += usize::from(matches!(decoded, Some(FrameKind::Step(_))));
        }
        assert!(steps >= 4, "{steps}");
    }
}
