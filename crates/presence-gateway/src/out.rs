//! The frames that wait to be written to one socket.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::frame::{Frames, OpCode, frame, head};

/// How many pieces an idle connection keeps room for.
const KEPT: usize = 4;

/// Whole frames, in pieces, so that a part that many connections share is never copied.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pieces: Vec<Piece>,
    bytes: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    ends_frame: bool,
}

impl Out {
    /// Appends one or more frames that are complete, with their headers.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.push_piece(frame, true);
    }

    /// Appends a frame with this payload.
    #[allow(dead_code, reason = "for dialects whose answers are not worth a type")]
    pub(crate) fn push_payload(&mut self, opcode: OpCode, payload: &[u8]) {
        self.push(frame(opcode, payload));
    }

    /// Appends a frame whose payload begins with this connection's own part, and ends with the part that all share.
    #[allow(
        dead_code,
        reason = "for dialects that name the subscription in each frame"
    )]
    pub(crate) fn push_shared(&mut self, opcode: OpCode, own: &[u8], shared: Bytes) {
        let head = head(opcode, own, shared.len());
        self.push_piece(head, shared.is_empty());
        if !shared.is_empty() {
            self.push_piece(shared, true);
        }
    }

    /// Appends a frame whose payload consists of these parts, some of which are shared.
    pub(crate) fn push_pieces<const N: usize>(&mut self, opcode: OpCode, parts: [Bytes; N]) {
        let length = parts.iter().map(Bytes::len).sum();
        self.push_piece(head(opcode, &[], length), length == 0);
        let last = parts.iter().rposition(|it| !it.is_empty());
        for (at, part) in parts.into_iter().enumerate() {
            if !part.is_empty() {
                self.push_piece(part, Some(at) == last);
            }
        }
    }

    fn push_piece(&mut self, bytes: Bytes, ends_frame: bool) {
        self.bytes += bytes.len();
        self.pieces.push(Piece { bytes, ends_frame });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The number of frames that wait to be written.
    pub(crate) fn frames(&self) -> usize {
        self.pieces.iter().filter(|it| it.ends_frame).count()
    }

    /// The number of bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops all but the first frame, of which a part may be on the wire: a frame that was begun has to be completed
    /// before anything else can be sent.
    pub(crate) fn keep_begun(&mut self) {
        let end = self.pieces.iter().position(|it| it.ends_frame);
        self.pieces.truncate(end.map_or(0, |it| it + 1));
        self.bytes = self.pieces.iter().map(|it| it.bytes.len()).sum();
    }

    /// Fills `slices` with what to write next, and returns how many of them it used.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = self.pieces.len().min(slices.len());
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece.bytes);
        }
        count
    }

    /// Removes the first `bytes` bytes, which have been written.
    pub(crate) fn written(&mut self, mut bytes: usize) {
        for piece in &mut self.pieces {
            let step = bytes.min(piece.bytes.len());
            piece.bytes.advance(step);
            self.bytes -= step;
            bytes -= step;
        }
        let whole = self.pieces.iter().take_while(|it| it.bytes.is_empty());
        let whole = whole.count();
        self.pieces.drain(..whole);
    }

    /// Frees the memory that a burst needed.
    pub(crate) fn shrink(&mut self) {
        if self.pieces.capacity() > KEPT && self.pieces.is_empty() {
            self.pieces = Vec::new();
        }
    }
}

impl Frames for Out {
    fn push(&mut self, frame: Bytes) {
        self.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::TEXT;

    #[test]
    fn a_frame_of_two_pieces_is_the_same_on_the_wire_as_one() {
        let shared = Bytes::from(vec![b'x'; 70_000]);
        let mut two = Out::default();
        two.push_shared(TEXT, b"[1,", shared.clone());
        let mut one = Out::default();
        one.push_payload(TEXT, &[&b"[1,"[..], &shared].concat());
        assert_eq!((two.frames(), two.bytes()), (1, one.bytes()));
        assert_eq!(all(&two), all(&one));
    }

    #[test]
    fn a_frame_of_many_pieces_is_the_same_on_the_wire_as_one() {
        for parts in [["a", "", "bc", ""], ["", "", "", ""], ["", "", "", "x"]] {
            let mut many = Out::default();
            many.push_pieces(TEXT, parts.map(|it| Bytes::from(it.to_owned())));
            let mut one = Out::default();
            one.push_payload(TEXT, parts.concat().as_bytes());
            assert_eq!((many.frames(), many.bytes()), (1, one.bytes()));
            assert_eq!(all(&many), all(&one));
        }
    }

    #[test]
    fn what_was_begun_is_ended_whichever_piece_it_is_in() {
        for written in [0, 1, 4, 5, 8] {
            let mut out = Out::default();
            out.push_shared(TEXT, b"ab", Bytes::from_static(b"cdefg"));
            out.push_shared(TEXT, b"ab", Bytes::from_static(b"cdefg"));
            let begun = all(&out)[written..9].to_vec();
            out.written(written);
            out.keep_begun();
            assert_eq!(all(&out), begun, "after {written}");
            assert_eq!(out.frames(), 1);
        }
    }

    #[test]
    fn nothing_is_shared_where_there_is_nothing_to_share() {
        let mut out = Out::default();
        out.push_shared(TEXT, b"ab", Bytes::new());
        out.push_payload(TEXT, b"c");
        assert_eq!(out.frames(), 2);
        out.written(5);
        assert_eq!((out.frames(), out.bytes()), (1, 2));
        out.written(2);
        assert!(out.is_empty());
    }

    fn all(out: &Out) -> Vec<u8> {
        let pieces = out.pieces.iter().map(|it| it.bytes.to_vec());
        pieces.collect::<Vec<_>>().concat()
    }
}
