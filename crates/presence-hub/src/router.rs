//! The way from the store to the shards.

use presence_core::cluster::{News, Reply, Subject};

use crate::mailbox::{RosterMessage, UserMessage};
use crate::shards::Shards;

/// The shards, to send replies to.
#[derive(Clone, Debug)]
pub(crate) struct ReplyRouter {
    pub(crate) people: Shards<UserMessage>,
    pub(crate) rosters: Shards<RosterMessage>,
}

impl ReplyRouter {
    /// Sends a reply to the shard that owns `subject`.
    pub(crate) async fn reply(&self, subject: Subject, reply: Reply) {
        match subject {
            Subject::User(user) => {
                let mailbox = self.people.of(&user);
                let _ = mailbox.send(UserMessage::Stored(user, reply)).await;
            }
            Subject::Topic(topic) => {
                let mailbox = self.rosters.of(&topic);
                let _ = mailbox.send(RosterMessage::Stored(topic, reply)).await;
            }
            Subject::Node(_) => {}
        }
    }

    /// Tells the shards of users whether the store answers.
    pub(crate) async fn tell_away(&self, is_away: bool) {
        for mailbox in self.people.all() {
            let _ = mailbox.send(UserMessage::Away(is_away)).await;
        }
    }

    /// Sends news to every shard.
    pub(crate) async fn spread(&self, news: News) {
        for mailbox in self.people.all() {
            let _ = mailbox.send(UserMessage::News(news)).await;
        }
        for mailbox in self.rosters.all() {
            let _ = mailbox.send(RosterMessage::News(news)).await;
        }
    }
}
