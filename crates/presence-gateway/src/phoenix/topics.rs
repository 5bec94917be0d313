//! The topics that a connection has joined.

use std::cmp::Ordering;
use std::fmt;

use presence_core::{Topic, UserId};

use super::wire::{self, Ref};
use crate::identity::user_id;

/// What a topic on the wire is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PhoenixTopic {
    /// A channel, or with `workspace:{id}` a workspace.
    Roster(Topic),
    /// The status of a user: `user:{id}`.
    User(UserId),
    /// The service topic of the user themselves: `presence:{id}`.
    Service(UserId),
}

impl PhoenixTopic {
    /// Parses the name of a topic; `None` if no topic has that name.
    pub(super) fn parse(topic: &str) -> Option<PhoenixTopic> {
        // The topic of heartbeats, which cannot be joined.
        if topic == "phoenix" {
            return None;
        }
        match topic.split_once(':') {
            Some(("presence", id)) => user_id(id).ok().map(PhoenixTopic::Service),
            Some(("user", id)) => user_id(id).ok().map(PhoenixTopic::User),
            Some(("workspace", id)) => {
                Some(PhoenixTopic::Roster(Topic::Workspace(id.parse().ok()?)))
            }
            _ => Some(PhoenixTopic::Roster(Topic::Channel(topic.parse().ok()?))),
        }
    }
}

impl fmt::Display for PhoenixTopic {
    /// Writes the name of the topic.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PhoenixTopic::Roster(Topic::Channel(channel)) => write!(f, "{channel}"),
            PhoenixTopic::Roster(Topic::Workspace(workspace)) => write!(f, "workspace:{workspace}"),
            PhoenixTopic::User(user) => write!(f, "user:{user}"),
            PhoenixTopic::Service(user) => write!(f, "presence:{user}"),
        }
    }
}

/// A topic that a client has joined.
#[derive(Debug)]
pub(super) struct Joined {
    /// What the topic is about.
    pub(super) place: PhoenixTopic,
    /// The reference of the client's join.
    pub(super) join_ref: Ref<'static>,
    /// Whether the join makes its user a member of a channel.
    pub(super) is_member: bool,
}

impl Joined {
    /// The beginning of a frame for this join, up to its event.
    pub(super) fn address(&self) -> String {
        wire::address(Some(&self.join_ref), None, &self.place.to_string())
    }

    /// The beginning of the frame that closes this join.
    pub(super) fn close_head(&self) -> String {
        let join_ref = Some(&self.join_ref);
        wire::head(join_ref, join_ref, &self.place.to_string(), "phx_close")
    }
}

/// All topics that a client has joined. They are few as a rule, and looked up for every event.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<Joined>);

impl Topics {
    fn place(&self, place: &PhoenixTopic) -> Result<usize, usize> {
        self.0.binary_search_by(|it| it.place.cmp(place))
    }

    pub(super) fn get(&self, place: &PhoenixTopic) -> Option<&Joined> {
        self.place(place).ok().map(|index| &self.0[index])
    }

    /// The join of a channel or a workspace, if there is one.
    pub(super) fn of(&self, topic: &Topic) -> Option<&Joined> {
        let found = self.0.binary_search_by(|it| match &it.place {
            PhoenixTopic::Roster(place) => place.cmp(topic),
            PhoenixTopic::User(_) | PhoenixTopic::Service(_) => Ordering::Greater,
        });
        found.ok().map(|index| &self.0[index])
    }

    pub(super) fn insert(&mut self, joined: Joined) {
        match self.place(&joined.place) {
            Ok(index) => self.0[index] = joined,
            Err(index) => {
                // Most connections have one or two, so no room for four is reserved, as a vector would do.
                self.0.reserve_exact(usize::from(self.0.len() < 4));
                self.0.insert(index, joined);
            }
        }
    }

    pub(super) fn remove(&mut self, place: &PhoenixTopic) -> Option<Joined> {
        let index = self.place(place).ok()?;
        Some(self.0.remove(index))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Joined> {
        self.0.iter()
    }

    /// Removes and returns the joins that `kept` rejects.
    pub(super) fn take_unless(&mut self, kept: impl Fn(&Joined) -> bool) -> Vec<Joined> {
        self.0.extract_if(.., |it| !kept(it)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_what_its_name_says() {
        for topic in [
            "room:1",
            "lobby",
            "room:user:7",
            "page:/x",
            "workspace:acme",
            "user:ann",
            "presence:ann",
        ] {
            assert_eq!(PhoenixTopic::parse(topic).unwrap().to_string(), topic);
        }
        let kind = |topic| PhoenixTopic::parse(topic).map(|it| std::mem::discriminant(&it));
        assert_eq!(kind("room:1"), kind("workspace:acme"));
        assert_ne!(kind("user:ann"), kind("presence:ann"));
        let long = "x".repeat(201);
        for nothing in [
            "",
            "phoenix",
            "user:",
            "user:a b",
            "user:pusher/7/ann",
            "presence:app:3",
            "presence:",
            "workspace:",
            "a\"b",
            "__proto__",
            &long,
        ] {
            assert_eq!(PhoenixTopic::parse(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn joined_topics_are_found_by_either_name() {
        let mut topics = Topics::default();
        for topic in [
            "user:a",
            "b",
            "workspace:b",
            "presence:b",
            "c",
            "workspace:a",
            "user:b",
        ] {
            topics.insert(joined(topic, "1"));
        }
        topics.insert(joined("c", "2"));
        assert_eq!(topics.iter().count(), 7);
        for topic in ["b", "c", "workspace:a", "workspace:b"] {
            let Some(PhoenixTopic::Roster(place)) = PhoenixTopic::parse(topic) else {
                panic!("{topic}");
            };
            assert_eq!(topics.of(&place).unwrap().place.to_string(), topic);
        }
        assert_eq!(
            topics
                .get(&PhoenixTopic::parse("c").unwrap())
                .unwrap()
                .join_ref,
            Ref::text("2")
        );
        // A channel of that name is not the user.
        let channel = Topic::Channel("user:a".parse().unwrap());
        assert!(topics.of(&channel).is_none());
        assert!(
            topics
                .remove(&PhoenixTopic::parse("user:a").unwrap())
                .is_some()
        );
        assert!(
            topics
                .remove(&PhoenixTopic::parse("user:a").unwrap())
                .is_none()
        );
        let taken = topics.take_unless(|it| it.is_member);
        assert_eq!((taken.len(), topics.iter().count()), (6, 0));
    }

    fn joined(topic: &str, join_ref: &str) -> Joined {
        Joined {
            place: PhoenixTopic::parse(topic).unwrap(),
            join_ref: Ref::text(join_ref),
            is_member: false,
        }
    }
}
