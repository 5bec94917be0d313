//! Joins topics, and leaves them.

use std::time::Duration;

use presence_core::{ChannelId, Topic, UserId, Watching, WorkspaceId};
use presence_hub::Reference;
use presence_protocol::ErrorCode;
use tokio::time::sleep;

use super::Phoenix;
use super::handshake::{Params, Text};
use super::service::Service;
use super::topics::{Joined, PhoenixTopic};
use super::wire::{self, Denied, Message, Ref};
use crate::authorized::Authorized;
use crate::closing::CloseReason;
use crate::dialect::Next;
use crate::out::Out;
use crate::request::{self, Refused};

/// How many times a step that must succeed is tried while the hub is busy.
const TRIES: u32 = 40;

impl Phoenix {
    /// Joins a topic. The answer comes once the hub has done it.
    pub(super) async fn join(
        &mut self,
        message: &Message<'_>,
        head: &str,
        out: &mut Out,
    ) -> Result<Next, Denied> {
        let place = PhoenixTopic::parse(&message.topic).ok_or(Denied::UNMATCHED_TOPIC)?;
        let join_ref = message.join_ref.clone().or_else(|| message.ref_.clone());
        let join_ref = join_ref.map_or_else(|| Ref::text(""), Ref::into_owned);
        let params = Params::read(message.payload)?;
        if let Some(newcomer) = &self.newcomer {
            if newcomer.has_expired(&self.app) {
                return Ok(Next::Close(CloseReason::Expired.into()));
            }
            self.authorized = Some(newcomer.enter(&self.app, &params, &place).await?);
            self.newcomer = None;
        }
        let before = self.topics.remove(&place);
        if let Some(before) = &before {
            wire::send(out, &before.close_head(), "{}");
        }
        let was_member = before.is_some_and(|it| it.is_member);
        let reference = self.unanswered.reference();
        let asking = match place {
            PhoenixTopic::Service(_) => Asking::Service,
            _ => Asking::Join,
        };
        let entered = self.enter(&place, &params, was_member, reference);
        let joined = Joined {
            place,
            join_ref,
            is_member: *entered.as_ref().unwrap_or(&was_member),
        };
        match entered {
            Ok(_) => {
                let head = Some(head.to_owned());
                self.unanswered.note(reference, Asked { asking, head });
                self.topics.insert(joined);
                Ok(Next::Continue)
            }
            Err(denied) => {
                self.release(joined).await;
                Err(denied.joining())
            }
        }
    }

    /// Asks the hub for what a join is about. Returns whether the join makes its user a member of a channel.
    fn enter(
        &mut self,
        place: &PhoenixTopic,
        params: &Params<'_>,
        was_member: bool,
        reference: Reference,
    ) -> Result<bool, Denied> {
        match place {
            PhoenixTopic::Roster(Topic::Channel(channel)) => {
                return self.enter_channel(channel.clone(), params, was_member, reference);
            }
            PhoenixTopic::Roster(topic) => self.watch(topic.clone(), reference)?,
            PhoenixTopic::User(user) => {
                let users = vec![user.clone()];
                self.authorized()?.watch_users(users, Some(reference))?;
            }
            PhoenixTopic::Service(user) => self.enter_service(user.clone(), params, reference)?,
        }
        Ok(false)
    }

    fn enter_channel(
        &mut self,
        channel: ChannelId,
        params: &Params<'_>,
        was_member: bool,
        reference: Reference,
    ) -> Result<bool, Denied> {
        self.is_user(params)?;
        if params.watch != Some(true) {
            let meta = params.meta()?;
            let watch = Some((Watching::Full, None));
            self.authorized()?
                .join(channel, Some(meta), watch, Some(reference))?;
            return Ok(true);
        }
        if was_member && !self.is_in_by_service(&channel) {
            self.authorized()?.leave(channel.clone(), None)?;
        }
        self.watch(Topic::Channel(channel), reference)?;
        Ok(false)
    }

    fn enter_service(
        &mut self,
        user: UserId,
        params: &Params<'_>,
        reference: Reference,
    ) -> Result<(), Denied> {
        self.is_user(params)?;
        let authorized = self.authorized()?;
        if authorized.identity().user != user {
            return Err(Denied::UNAUTHORIZED);
        }
        let workspace = match &params.workspace_id {
            Some(Text(id)) => {
                let workspace: WorkspaceId = request::id("workspace_id", id)?;
                let topic = Topic::Workspace(workspace.clone());
                authorized.watch(topic, Watching::Full, None, Some(reference))?;
                Some(workspace)
            }
            None => {
                let own = authorized.identity().workspaces.first().cloned();
                authorized.grant(Some(reference));
                own
            }
        };
        // The channels that it has joined through an earlier join of the service topic stay joined.
        let channels = self.service.take().map(|it| it.channels);
        self.service = Some(Box::new(Service {
            workspace,
            watches: params.workspace_id.is_some(),
            channels: channels.unwrap_or_default(),
            ..Service::of(user)
        }));
        Ok(())
    }

    fn watch(&mut self, topic: Topic, reference: Reference) -> Result<(), Denied> {
        let authorized = self.authorized()?;
        Ok(authorized.watch(topic, Watching::Full, None, Some(reference))?)
    }

    /// Checks that a join without tokens does not name another user than this connection has.
    fn is_user(&mut self, params: &Params<'_>) -> Result<(), Denied> {
        match params.is_of(self.authorized()?.identity()) {
            true => Ok(()),
            false => Err(Denied::UNAUTHORIZED),
        }
    }

    /// Leaves a topic. A topic that the client has not joined counts as left already.
    pub(super) async fn leave(&mut self, message: &Message<'_>, out: &mut Out) {
        let place = PhoenixTopic::parse(&message.topic);
        let joined = place.and_then(|it| self.topics.remove(&it));
        let joined = match joined {
            Some(joined) if message.is_for(&joined.join_ref) => Some(joined),
            Some(other) => {
                self.topics.insert(other);
                None
            }
            None => None,
        };
        if let Some(head) = message.answer_head() {
            wire::reply(out, &head, "{}");
        }
        if let Some(joined) = joined {
            wire::send(out, &joined.close_head(), "{}");
            self.release(joined).await;
        }
    }

    /// Releases what a topic was joined for, unless something else needs it.
    pub(super) async fn release(&mut self, joined: Joined) {
        match joined.place {
            PhoenixTopic::Roster(Topic::Channel(channel)) => {
                if !self.is_in_by_service(&channel) {
                    self.go_from(channel, joined.is_member).await;
                }
            }
            PhoenixTopic::Roster(topic) => {
                if !self.is_watched_by_service(&topic) {
                    self.surely(|authorized| authorized.unwatch(&topic, None))
                        .await;
                }
            }
            PhoenixTopic::User(user) => {
                self.surely(|authorized| {
                    authorized.unwatch_users(std::slice::from_ref(&user), None)
                })
                .await;
            }
            PhoenixTopic::Service(_) => {
                let Some(service) = self.service.take() else {
                    return;
                };
                for channel in service.channels {
                    self.leave_by_service(channel).await;
                }
                if let (true, Some(workspace)) = (service.watches, service.workspace) {
                    let topic = Topic::Workspace(workspace);
                    if self.topics.of(&topic).is_none() {
                        self.surely(|authorized| authorized.unwatch(&topic, None))
                            .await;
                    }
                }
            }
        }
    }

    /// Leaves a channel that was joined through the service, unless the client has joined the channel's own topic
    /// as a member.
    pub(super) async fn leave_by_service(&mut self, channel: ChannelId) {
        let topic = Topic::Channel(channel.clone());
        match self.topics.of(&topic).map(|it| it.is_member) {
            Some(true) => {}
            Some(false) => {
                self.go_from(channel, true).await;
                self.surely(|authorized| {
                    authorized.watch(topic.clone(), Watching::Full, None, None)
                })
                .await;
            }
            None => self.go_from(channel, true).await,
        }
    }

    async fn go_from(&mut self, channel: ChannelId, is_member: bool) {
        let topic = Topic::Channel(channel.clone());
        self.surely(|authorized| match is_member {
            true => authorized.leave(channel.clone(), None),
            false => authorized.unwatch(&topic, None),
        })
        .await;
    }

    /// Whether the client has joined the channel through the service.
    pub(super) fn is_in_by_service(&self, channel: &ChannelId) -> bool {
        let service = self.service.as_ref();
        service.is_some_and(|it| it.channels.contains(channel))
    }

    fn is_watched_by_service(&self, topic: &Topic) -> bool {
        let service = self.service.as_ref();
        let workspace = service.and_then(|it| it.workspace.as_ref().filter(|_| it.watches));
        matches!(topic, Topic::Workspace(it) if Some(it) == workspace)
    }

    /// Repeats `it` while the hub is busy: a client that has left cannot be told to try again.
    async fn surely(&mut self, mut it: impl FnMut(&mut Authorized) -> Result<(), Refused>) {
        let Some(authorized) = &mut self.authorized else {
            return;
        };
        for _ in 0..TRIES {
            match it(authorized) {
                Err(why) if why.code == ErrorCode::Overloaded => {
                    sleep(why.retry_after.unwrap_or(Duration::from_millis(50))).await;
                }
                _ => return,
            }
        }
    }
}

/// A request that the hub has not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) asking: Asking,
    /// The beginning of the answer, if the client wants one.
    pub(super) head: Option<String>,
}

/// The kind of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// A push, which needs nothing but the answer.
    Push,
    /// The join of a topic.
    Join,
    /// The join of the service topic.
    Service,
    /// A join of that channel through the service.
    Channel(ChannelId),
}
