//! Where the present state of users and channels is read, to compare it with what the endpoint was told.

use std::sync::Arc;

use presence_core::cluster::Subject;
use presence_core::hooks::Present;
use presence_core::ports::{StoreError, Topics};
use presence_core::rosters::Page;
use presence_core::users::{Answer, Input};
use presence_core::{Refusal, Topic, Visible};
use tokio::sync::oneshot;

use crate::clock::WallClock;
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage};
use crate::shards::{Shards, WeakShards};

/// Reads the present state of subjects, as others may see it.
pub(crate) trait Source: Send + Sync + 'static {
    /// Reads the state of each of `subjects`, one outcome for each, in this order.
    fn present(
        &self,
        subjects: &[Subject],
    ) -> impl Future<Output = Vec<Result<Present, StoreError>>> + Send;
}

/// The maps in the store that nodes share.
pub(crate) struct SharedMaps<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: WallClock,
}

impl<S: Topics> Source for SharedMaps<S> {
    async fn present(&self, subjects: &[Subject]) -> Vec<Result<Present, StoreError>> {
        let maps = self.store.read(subjects).await;
        let now = self.clock.now();
        let present = |(subject, map): (&Subject, Result<_, _>)| {
            map.map(|map| Present::in_map(now, subject, &map))
        };
        subjects.iter().zip(maps).map(present).collect()
    }
}

/// The shards of a node that is alone. It sees a user as everybody else does who asks for them.
pub(crate) struct OwnShards {
    people: WeakShards<UserMessage>,
    rosters: WeakShards<RosterMessage>,
}

/// An answer that is on its way.
enum Asked {
    User(oneshot::Receiver<Result<Answer, Refusal>>),
    Channel(oneshot::Receiver<Page>),
    Nothing,
}

impl OwnShards {
    pub(crate) fn new(people: &Shards<UserMessage>, rosters: &Shards<RosterMessage>) -> Self {
        OwnShards {
            people: people.downgrade(),
            rosters: rosters.downgrade(),
        }
    }

    /// Asks the shard that owns `subject`; `None` if the node has stopped.
    async fn ask(&self, subject: &Subject) -> Option<Asked> {
        Some(match subject {
            Subject::User(user) => {
                let (reply, answer) = oneshot::channel();
                let input = Input::Asked {
                    as_owner: false,
                    reply_to: ReplyTo::Caller(reply),
                };
                let message = UserMessage::Happened(user.clone(), input);
                let shards = self.people.upgrade()?;
                shards.of(user).send(message).await.ok()?;
                Asked::User(answer)
            }
            Subject::Topic(topic @ Topic::Channel(_)) => {
                let (reply, page) = oneshot::channel();
                let message = RosterMessage::List {
                    topic: topic.clone(),
                    offset: 0,
                    limit: usize::MAX,
                    reply,
                };
                let shards = self.rosters.upgrade()?;
                shards.of(topic).send(message).await.ok()?;
                Asked::Channel(page)
            }
            Subject::Topic(Topic::Workspace(_)) | Subject::Node(_) => Asked::Nothing,
        })
    }
}

impl Asked {
    async fn answer(self) -> Option<Present> {
        match self {
            Asked::User(answer) => match answer.await.ok()?.ok()? {
                Answer::PublicView(view) if view.look.status != Visible::Offline => {
                    Some(Present::Here(view.look.as_ref().clone()))
                }
                Answer::PublicView(view) => Some(Present::Gone {
                    last_seen: view.last_seen,
                }),
                Answer::OwnView(_) | Answer::Done => None,
            },
            Asked::Channel(page) => {
                let people = page.await.ok()?.people;
                let people = people.iter().map(|it| (it.user.clone(), it.joined_at));
                Some(Present::People(people.collect()))
            }
            Asked::Nothing => Some(Present::Nothing),
        }
    }
}

impl Source for OwnShards {
    async fn present(&self, subjects: &[Subject]) -> Vec<Result<Present, StoreError>> {
        // All are asked before the first answer is awaited, so many take little longer than one.
        let mut asked = Vec::with_capacity(subjects.len());
        for subject in subjects {
            asked.push(self.ask(subject).await);
        }
        let mut present = Vec::with_capacity(subjects.len());
        for asked in asked {
            let answer = match asked {
                Some(asked) => asked.answer().await,
                None => None,
            };
            let unread = || StoreError::Unavailable("a profile cannot be read at present".into());
            present.push(answer.ok_or_else(unread));
        }
        present
    }
}
