//! The subjects of the store: what it keeps a map of, or has a channel for.

use std::fmt;

use crate::hash::fnv1a_64;
use crate::{Topic, UserId};

/// The number of partitions into which the store is divided. All data of one partition is on one server, and is written
/// in one step.
///
/// The number is the same in every release and for every size of cluster: changing it would mean to move all data.
pub const PARTITIONS: u16 = 256;

/// What the store keeps a map of: a user with their sessions, or a topic with the sessions in it. Each subject also
/// has a channel for messages. A node has the channel only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user: the map has the profile, and a record for each session.
    User(UserId),
    /// A channel or a workspace: the map has an entry for each session in it.
    Topic(Topic),
    /// The process with this number (see [`Incarnation::node`](super::Incarnation::node)), which follows its own
    /// channel to be asked. It has no map.
    Node(u64),
}

impl Subject {
    /// The partition of the store that has this subject: a number below [`PARTITIONS`], the same on every node and in
    /// every release.
    pub fn partition(&self) -> u16 {
        let node;
        let (kind, name) = match self {
            Subject::User(user) => ("user:", user.as_str()),
            Subject::Topic(Topic::Channel(channel)) => ("channel:", channel.as_str()),
            Subject::Topic(Topic::Workspace(workspace)) => ("workspace:", workspace.as_str()),
            Subject::Node(number) => {
                node = format!("{number:016x}");
                ("node:", &*node)
            }
        };
        let hash = fnv1a_64(kind.bytes().chain(name.bytes()));
        ((hash ^ (hash >> 32)) % u64::from(PARTITIONS)) as u16
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::User(user) => write!(f, "user {user}"),
            Subject::Topic(topic) => topic.fmt(f),
            Subject::Node(number) => write!(f, "node {number:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChannelId;

    #[test]
    fn a_subject_is_in_one_part_for_ever() {
        let user = |id| Subject::User(UserId::new(id).unwrap()).partition();
        let channel = |id| Subject::Topic(Topic::Channel(ChannelId::new(id).unwrap())).partition();
        assert_eq!(
            [user("ann"), user("bob"), channel("room:42")],
            [241, 225, 29]
        );
    }

    #[test]
    fn ten_thousand_users_are_spread_evenly() {
        let mut partitions = vec![0; usize::from(PARTITIONS)];
        for n in 0..10_000 {
            let user = UserId::new(&format!("user-{n}")).unwrap();
            partitions[usize::from(Subject::User(user).partition())] += 1;
        }
        let (least, most) = (
            partitions.iter().min().unwrap(),
            partitions.iter().max().unwrap(),
        );
        assert!(*least >= 10 && *most <= 90, "{least}..{most}");
    }
}
