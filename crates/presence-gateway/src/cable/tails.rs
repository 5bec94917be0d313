//! The part of an event's messages that is the same for every subscription: the ends of messages, encoded
//! once and shared.
//!
//! A message begins with the identifier of its subscription, which each page chooses. An event may make several messages
//! or none, and not each of them is for everybody. So the shared encoding is a list of ends, each with its audience.

use bytes::{Buf, Bytes};
use presence_core::SessionId;

/// The audience of an end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The end is for every subscription.
    All,
    /// The end is for every subscription; each may first add a part about its own user.
    Each,
    /// The end is for subscriptions that get more than the roster.
    Curious,
    /// The end is for subscriptions that have been sent a state before.
    Lost,
}

/// One end of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    /// The audience of this end.
    pub(super) whom: For,
    /// The session that caused the event, to which it is not sent.
    pub(super) but: Option<SessionId>,
    /// The text of the message from here on.
    pub(super) text: Bytes,
}

/// The ends of an event's messages, while they are encoded into one buffer.
#[derive(Debug, Default)]
pub(super) struct Tails(Vec<u8>);

impl Tails {
    const WHOM: [For; 4] = [For::All, For::Each, For::Curious, For::Lost];
    /// The length of audience, session and length, in bytes.
    const HEAD_BYTES: usize = 1 + 16 + 4;

    /// Appends one end with its audience.
    pub(super) fn push(&mut self, whom: For, but: Option<SessionId>, text: &str) {
        let length = u32::try_from(text.len()).expect("no event is that big");
        self.0.push(whom as u8);
        // No session is number zero: they are random.
        let but = but.map_or(0, SessionId::as_u128);
        self.0.extend_from_slice(&but.to_be_bytes());
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// The encoded ends, to be shared.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }

    /// Decodes the ends in `shared`, without copying.
    pub(super) fn of(shared: &Bytes) -> impl Iterator<Item = Tail> + use<> {
        let mut rest = shared.clone();
        std::iter::from_fn(move || {
            if rest.len() < Tails::HEAD_BYTES {
                return None;
            }
            let whom = Tails::WHOM[usize::from(rest.get_u8())];
            let but = rest.get_u128();
            let length = rest.get_u32();
            Some(Tail {
                whom,
                but: (but != 0).then(|| SessionId::from_u128(but)),
                text: rest.split_to(length as usize),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_shares_the_memory() {
        let session = SessionId::from_u128(7);
        let mut tails = Tails::default();
        tails.push(For::All, None, "one");
        tails.push(For::Each, Some(session), "");
        tails.push(For::Curious, Some(session), "three");
        tails.push(For::Lost, None, "four");
        let shared = tails.into_bytes();
        let found: Vec<Tail> = Tails::of(&shared).collect();
        let texts: Vec<&[u8]> = found.iter().map(|it| &it.text[..]).collect();
        assert_eq!(texts, [&b"one"[..], b"", b"three", b"four"]);
        let whom: Vec<For> = found.iter().map(|it| it.whom).collect();
        assert_eq!(whom, Tails::WHOM);
        assert_eq!(found[1].but, Some(session));
        assert!(shared.as_ptr_range().contains(&found[2].text.as_ptr()));
        assert_eq!(Tails::of(&Bytes::new()).count(), 0);
    }
}
