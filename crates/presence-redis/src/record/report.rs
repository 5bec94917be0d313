//! What nodes ask each other for an explanation, and what they answer: a version byte, and what postcard makes of the
//! structs of this module. After the message comes what was added to it since the first release: earlier releases do not look there.

mod places;
mod room;
mod transition;
mod user;

use presence_core::cluster::Incarnation;
use presence_core::explain::{About, Answer, NodeMessage};
use presence_core::history::RecentQuery;
use presence_core::{ChannelId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use self::room::RoomRecord;
use self::transition::{TransitionRecord, transitions_of};
use self::user::UserRecord;
use super::RecordError;
use super::entry::id;

/// The version byte that [`encode`] writes.
const VERSION: u8 = 1;
/// The biggest message that is read: sessions of a user, each with its channels, or the sessions in a room.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Appends the bytes of a message to `bytes`.
pub(super) fn encode(message: &NodeMessage, mut bytes: Vec<u8>) -> postcard::Result<Vec<u8>> {
    bytes.push(VERSION);
    let bytes = postcard::to_extend(&MessageRecord::of(message), bytes)?;
    places::append(message, bytes)
}

/// Reads a message; `None` if only a later release knows it.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<NodeMessage>, RecordError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    let (&version, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
    if version != VERSION {
        return Ok(None);
    }
    let (record, later_fields) = postcard::take_from_bytes::<MessageRecord>(rest)?;
    let mut message = record.message()?;
    if !later_fields.is_empty() {
        places::read_into(&mut message, later_fields)?;
    }
    Ok(Some(message))
}

#[derive(Serialize, Deserialize)]
enum MessageRecord {
    Ask {
        ask: u64,
        reply_to: u64,
        about: AboutRecord,
    },
    Answer {
        ask: u64,
        from: NodeRecord,
        answer: AnswerRecord,
    },
}

#[derive(Serialize, Deserialize)]
enum AboutRecord {
    User(String),
    Channel(String),
    Erase(String),
    /// In milliseconds since 1970, and the filter.
    Recent(u64, String),
    Program(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
enum AnswerRecord {
    User(UserRecord),
    Channel(RoomRecord),
    Erased,
    Recent {
        transitions: Vec<TransitionRecord>,
        is_cut: bool,
    },
    Program(Vec<u8>),
}

/// The number and the generation of a node.
type NodeRecord = (u64, u32);
/// An epoch and a version.
type ClockRecord = (u64, u64);

fn millis(moment: Timestamp) -> u64 {
    moment.as_millis()
}

fn moment(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn node(who: Incarnation) -> NodeRecord {
    (who.node, who.generation)
}

fn incarnation((node, generation): NodeRecord) -> Incarnation {
    Incarnation { node, generation }
}

fn user(text: &str) -> Result<UserId, RecordError> {
    id(UserId::new(text))
}

fn channel(text: &str) -> Result<ChannelId, RecordError> {
    id(ChannelId::new(text))
}

fn all<A, B>(
    records: Vec<A>,
    read: impl Fn(A) -> Result<B, RecordError>,
) -> Result<Vec<B>, RecordError> {
    records.into_iter().map(read).collect()
}

impl MessageRecord {
    fn of(message: &NodeMessage) -> Self {
        match message {
            NodeMessage::Ask {
                ask,
                reply_to,
                about,
            } => MessageRecord::Ask {
                ask: *ask,
                reply_to: *reply_to,
                about: match about {
                    About::User(user) => AboutRecord::User(user.to_string()),
                    About::Channel(channel) => AboutRecord::Channel(channel.to_string()),
                    About::Erase(user) => AboutRecord::Erase(user.to_string()),
                    About::Recent(query) => {
                        AboutRecord::Recent(millis(query.after()), query.filter())
                    }
                    About::Program(bytes) => AboutRecord::Program(bytes.clone()),
                },
            },
            NodeMessage::Answer { ask, from, answer } => MessageRecord::Answer {
                ask: *ask,
                from: node(*from),
                answer: match &**answer {
                    Answer::User(report) => AnswerRecord::User(UserRecord::of(report)),
                    Answer::Channel(report) => AnswerRecord::Channel(RoomRecord::of(report)),
                    Answer::Erased => AnswerRecord::Erased,
                    Answer::Recent(recent) => AnswerRecord::Recent {
                        transitions: transitions_of(
                            recent.transitions.iter().map(|it| &it.transition),
                        ),
                        is_cut: recent.reached.is_some(),
                    },
                    Answer::Program(bytes) => AnswerRecord::Program(bytes.clone()),
                },
            },
        }
    }

    fn message(self) -> Result<NodeMessage, RecordError> {
        Ok(match self {
            MessageRecord::Ask {
                ask,
                reply_to,
                about,
            } => NodeMessage::Ask {
                ask,
                reply_to,
                about: match about {
                    AboutRecord::User(it) => About::User(user(&it)?),
                    AboutRecord::Channel(it) => About::Channel(channel(&it)?),
                    AboutRecord::Erase(it) => About::Erase(user(&it)?),
                    AboutRecord::Recent(after, filter) => {
                        let query = RecentQuery::new(moment(after), &filter);
                        About::Recent(query.map_err(|_| RecordError::Malformed)?)
                    }
                    AboutRecord::Program(bytes) => About::Program(bytes),
                },
            },
            MessageRecord::Answer { ask, from, answer } => NodeMessage::Answer {
                ask,
                from: incarnation(from),
                answer: Box::new(match answer {
                    AnswerRecord::User(record) => Answer::User(record.report()?),
                    AnswerRecord::Channel(record) => Answer::Channel(record.report()?),
                    AnswerRecord::Erased => Answer::Erased,
                    AnswerRecord::Recent {
                        transitions,
                        is_cut,
                    } => {
                        let transitions = all(transitions, TransitionRecord::transition)?;
                        Answer::Recent(places::missing(incarnation(from), transitions, is_cut))
                    }
                    AnswerRecord::Program(bytes) => Answer::Program(bytes),
                }),
            },
        })
    }
}

#[cfg(test)]
mod tests;
