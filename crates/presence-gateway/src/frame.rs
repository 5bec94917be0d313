//! WebSocket frames that are written once and sent to many.

use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

/// A whole unmasked frame, header and payload, as it goes to a socket.
pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader {
        is_final: true,
        opcode,
        ..FrameHeader::default()
    };
    let mut frame =
        BytesMut::with_capacity(header.len(payload.len() as u64) + payload.len()).writer();
    let formatted = header.format(payload.len() as u64, &mut frame);
    formatted.expect("writing to memory does not fail");
    let mut frame = frame.into_inner();
    frame.extend_from_slice(payload);
    frame.freeze()
}
