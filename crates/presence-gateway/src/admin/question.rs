//! What gateways ask each other for an operator's page, and what they answer: JSON, because fields come with releases.

use presence_core::rosters::RoomLevel;
use serde::{Deserialize, Serialize};

use super::beat::Levels;
use super::connections::{ConnectionsHere, Wanted};
use super::degraded::Degradation;
use super::history::Sample;

/// The most rooms of each order, by size and by rate, that a gateway names.
pub(crate) const ROOMS_MAX: usize = 50;
/// The biggest answer of another gateway that is read, in bytes: an hour of samples takes about 40 kB.
const REPLY_BYTES_MAX: usize = 512 * 1024;

/// A question of a gateway to the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Asks for the levels of the gateway and its largest rooms.
    NodeHealth {
        /// The samples after this moment are wanted, in milliseconds since 1970.
        after_ms: u64,
        /// How many rooms of each order are wanted.
        rooms: usize,
    },
    /// Asks the gateway with this incarnation to drain and stop.
    Drain {
        /// The incarnation, as `/api/presence/nodes` spells it.
        node: String,
        /// The user who wants it. The release before does not say it.
        #[serde(default)]
        by: Option<String>,
    },
    /// Which connections do you have?
    Connections {
        wanted: Wanted,
        /// Only those after this one are wanted.
        after: Option<String>,
        limit: usize,
    },
    /// These connections are to end.
    Disconnect {
        wanted: Wanted,
        /// Whether their clients should come back.
        reconnect: bool,
    },
}

/// The answer to a question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The answer to [`Question::NodeHealth`].
    NodeHealth(Box<NodeHealth>),
    /// Whether the gateway is the one that was meant, and drains now.
    Drains(bool),
    /// The connections that are wanted.
    Connections(ConnectionsHere),
    /// How many connections begin to end.
    Disconnected(usize),
}

/// The state of a gateway, as the operator's page shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeHealth {
    pub(crate) version: String,
    pub(crate) asked_at_ms: u64,
    pub(crate) started_at_ms: u64,
    pub(crate) is_draining: bool,
    pub(crate) levels: Levels,
    pub(crate) degraded: Vec<Degradation>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) rooms: Vec<RoomLine>,
}

/// A room, as one gateway knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoomLine {
    pub(crate) channel_id: String,
    pub(crate) people: usize,
    /// `None` if the caller may not know it.
    pub(crate) watchers: Option<usize>,
    pub(crate) events_per_second: f64,
}

impl From<RoomLevel> for RoomLine {
    fn from(level: RoomLevel) -> Self {
        RoomLine {
            channel_id: level.channel.as_str().to_owned(),
            people: level.people,
            watchers: Some(level.watchers),
            events_per_second: (level.events_per_second * 100.0).round() / 100.0,
        }
    }
}

impl Question {
    /// The bytes of the question.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and text can be written")
    }

    /// Reads a question; `None` if only a later release knows it.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Reply {
    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and text can be written")
    }

    /// Reads the answer of another gateway; `None` if it cannot be read.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > REPLY_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_back_and_garbage_is_not() {
        let node = "1f-0".to_owned();
        for question in [
            Question::NodeHealth {
                after_ms: 7,
                rooms: 3,
            },
            Question::Drain {
                node,
                by: Some("root".to_owned()),
            },
            Question::Connections {
                wanted: Wanted::default(),
                after: Some("9f86d081884c7d65".to_owned()),
                limit: 7,
            },
            Question::Disconnect {
                wanted: Wanted {
                    user_id: Some("ann".to_owned()),
                    ..Wanted::default()
                },
                reconnect: false,
            },
        ] {
            assert_eq!(Question::read(&question.bytes()), Some(question));
        }
        let earlier = br#"{"drain":{"node":"1f-0"}}"#;
        let (node, by) = ("1f-0".to_owned(), None);
        assert_eq!(Question::read(earlier), Some(Question::Drain { node, by }));
        assert_eq!(Question::read(b"{\"later\":{}}"), None);
        // A later release may mean fewer connections than this one would end.
        let later =
            br#"{"disconnect":{"wanted":{"user_id":"ann","color":"red"},"reconnect":true}}"#;
        assert_eq!(Question::read(later), None);
        assert!(Reply::read(b"").is_none());
        assert!(matches!(
            Reply::read(&Reply::Drains(true).bytes()),
            Some(Reply::Drains(true))
        ));
        let long = vec![b' '; REPLY_BYTES_MAX + 1];
        assert!(Reply::read(&long).is_none());
    }
}
