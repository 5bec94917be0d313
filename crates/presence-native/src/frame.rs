//! WebSocket frames that are encoded once and sent to many connections.

use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// The opcode of text frames.
pub(crate) const TEXT: OpCode = OpCode::Data(Data::Text);
/// The opcode of binary frames.
pub(crate) const BINARY: OpCode = OpCode::Data(Data::Binary);

/// A whole unmasked frame, header and payload, as it goes to a socket.
pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    head(opcode, payload, 0)
}

/// The beginning of a frame whose payload goes on for `more` bytes after `payload`.
pub(crate) fn head(opcode: OpCode, payload: &[u8], more: usize) -> Bytes {
    let header = FrameHeader {
        is_final: true,
        opcode,
        ..FrameHeader::default()
    };
    let length = (payload.len() + more) as u64;
    let mut frame = BytesMut::with_capacity(header.len(length) + payload.len()).writer();
    let formatted = header.format(length, &mut frame);
    formatted.expect("writing to memory does not fail");
    let mut frame = frame.into_inner();
    frame.extend_from_slice(payload);
    frame.freeze()
}
