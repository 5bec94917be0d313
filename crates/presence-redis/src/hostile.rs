//! The places where bytes of the store come in, for the fuzz targets of `presence-gateway`: another release may have
//! written them, or anybody who has the key.

use presence_core::cluster::{Field, Subject};
use presence_core::{ChannelId, SessionId, Topic, UserId};

use crate::garbled::Garbled;
use crate::record;

/// Decodes `bytes` as each kind of record that there is.
pub fn record(bytes: &[u8]) {
    let user = Subject::User(UserId::new("ann").expect("the id is good"));
    let channel = ChannelId::new("room:1").expect("the id is good");
    let place = Subject::Topic(Topic::Channel(channel));
    let session = Field::Session(SessionId::from_u128(7 << 80));
    for subject in [&user, &place] {
        for field in [Field::Profile, session] {
            if let Ok((token, found)) = record::decode(subject, field, bytes) {
                let again = record::encode(subject, token, &found);
                let again = record::decode(subject, field, &again);
                assert!(again.is_ok(), "what we write can be read");
            }
        }
        let _ = record::decode_message(subject, bytes, &Garbled::default());
    }
    let _ = record::patched_clock(bytes);
    let _ = record::decode_event(bytes);
    let _ = record::decode_last_notified(bytes);
    let _ = record::clock(bytes);
    let _ = record::split_token(bytes);
}
