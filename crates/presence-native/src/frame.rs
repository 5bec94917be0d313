//! WebSocket frames that are encoded once and sent to many connections.

use bytes::{BufMut, Bytes, BytesMut};

/// The opcode of a frame with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// A frame whose payload is UTF-8.
    Text = 0x1,
    /// A frame whose payload is anything.
    Binary = 0x2,
}

/// The opcode of text frames.
pub const TEXT: OpCode = OpCode::Text;
/// The opcode of binary frames.
pub const BINARY: OpCode = OpCode::Binary;

/// The bit of the first byte that says that the frame is the last one of its message.
const FINAL: u8 = 0x80;

/// Where whole frames wait until they are sent.
pub trait Frames: Send {
    /// Appends a frame that is complete, with its header.
    fn push(&mut self, frame: Bytes);
}

/// A whole unmasked frame, header and payload, as it goes to a socket.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    head(opcode, payload, 0)
}

/// The beginning of a frame whose payload goes on for `more` bytes after `payload`.
pub fn head(opcode: OpCode, payload: &[u8], more: usize) -> Bytes {
    let length = payload.len() + more;
    let mut frame = BytesMut::with_capacity(header_bytes(length) + payload.len());
    frame.put_u8(FINAL | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.put_u8(short),
        (_, Ok(middle)) => {
            frame.put_u8(126);
            frame.put_u16(middle);
        }
        (_, Err(_)) => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// The opcode and the payload of a frame that [`frame`] made. The payload is not copied.
pub(crate) fn parts(frame: &Bytes) -> (OpCode, Bytes) {
    let opcode = match frame[0] {
        first if first == FINAL | OpCode::Text as u8 => OpCode::Text,
        _ => OpCode::Binary,
    };
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (opcode, frame.slice(header..))
}

/// The length of the header of an unmasked frame with a payload of this many bytes.
fn header_bytes(payload: usize) -> usize {
    match payload {
        ..126 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_how_long_the_payload_is_and_can_be_taken_off() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![b'x'; length];
            let whole = frame(TEXT, &payload);
            assert_eq!(&whole[..header.len()], header, "{length}");
            assert_eq!(parts(&whole), (TEXT, Bytes::from(payload.clone())));
            assert_eq!(parts(&frame(BINARY, &payload)).0, BINARY);
            let beginning = head(TEXT, &payload[..length / 2], length - length / 2);
            assert_eq!(beginning, whole[..header.len() + length / 2]);
        }
    }
}
