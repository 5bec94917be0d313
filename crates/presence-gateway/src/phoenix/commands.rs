//! Performs what clients push to topics that they have joined.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use presence_core::{ChannelId, Pointer, Topic};
use presence_hub::Reference;
use presence_protocol::{Chosen, Field};
use serde::{Deserialize, Serialize};

use super::Phoenix;
use super::events::{InBase64, is_reserved, seconds};
use super::handshake::{Text, read};
use super::joining::{Asked, Asking};
use super::service::removed;
use super::topics::PhoenixTopic;
use super::wire::{self, Denied, Message, Payload, json};
use crate::authorized::Lost;
use crate::out::Out;
use crate::rates::CommandClass;
use crate::request::{self, Refused, StatusRequest};

impl Phoenix {
    /// Does what a message to a joined topic asks for. The answer comes once it is done.
    pub(super) async fn push(
        &mut self,
        place: PhoenixTopic,
        message: &Message<'_>,
        out: &mut Out,
    ) -> Result<(), Denied> {
        let head = message.answer_head();
        let reference = self.unanswered.reference();
        let wanted = head.as_ref().map(|_| reference);
        let asking = match (place, &*message.event) {
            (_, "access_token") => {
                let Renewal { access_token } = read(message.payload)?;
                let outcome = self.authorized()?.authenticate(&access_token);
                self.close_what_is_not_allowed(out);
                outcome?;
                self.authorized()?.grant(wanted);
                Asking::Push
            }
            (PhoenixTopic::Roster(Topic::Workspace(workspace)), "get_online_users") => {
                let topic = Topic::Workspace(workspace);
                return self.list(topic, message, out).await;
            }
            (PhoenixTopic::Roster(Topic::Channel(channel)), _) => {
                self.push_to_channel(channel, message, wanted)?;
                Asking::Push
            }
            (PhoenixTopic::Service(_), "get_online_users") => {
                let workspace = self.service.as_ref().and_then(|it| it.workspace.clone());
                let workspace =
                    workspace.ok_or_else(|| Refused::invalid("workspace_id", "is missing"))?;
                let topic = Topic::Workspace(workspace);
                return self.list(topic, message, out).await;
            }
            (PhoenixTopic::Service(_), "set_status") => {
                let status: SetStatus = read(message.payload)?;
                self.authorized()?.choose(status.into(), wanted)?;
                Asking::Push
            }
            (PhoenixTopic::Service(_), event @ ("typing_start" | "typing_stop")) => {
                let channel = channel(message.payload)?;
                let typing = event == "typing_start";
                self.authorized()?.typing(channel, typing, wanted)?;
                Asking::Push
            }
            (PhoenixTopic::Service(_), "join_channel") => {
                let channel = channel(message.payload)?;
                // Also for a push without a reference: a refusal removes the channel from the list.
                self.join_by_service(channel.clone(), Some(reference))?;
                Asking::Channel(channel)
            }
            (PhoenixTopic::Service(_), "leave_channel") => {
                let channel = channel(message.payload)?;
                let service = self.service.as_mut();
                let channels = service.map(|it| &mut it.channels);
                let known = channels
                    .and_then(|it| Some(it.swap_remove(it.iter().position(|it| *it == channel)?)));
                if let Some(channel) = known {
                    self.leave_by_service(channel).await;
                }
                self.authorized()?.grant(wanted);
                Asking::Push
            }
            (_, event) => {
                let message = format!("{event:?} means nothing here");
                return Err(Refused::invalid("event", message).into());
            }
        };
        if head.is_some() || asking != Asking::Push {
            self.unanswered.note(reference, Asked { asking, head });
        }
        Ok(())
    }

    fn push_to_channel(
        &mut self,
        channel: ChannelId,
        message: &Message<'_>,
        reference: Option<Reference>,
    ) -> Result<(), Denied> {
        let authorized = self.authorized()?;
        match &*message.event {
            event @ ("typing_start" | "typing_stop") => {
                authorized.typing(channel, event == "typing_start", reference)?;
            }
            "cursor" => {
                let Cursor { x, y, visible } = read(message.payload)?;
                let visible = visible.unwrap_or(true);
                authorized.point(channel, Pointer { x, y, visible }, reference)?;
            }
            "selection" => {
                let Selection { start, end } = read(message.payload)?;
                authorized.select(channel, (start, end), reference)?;
            }
            "update_meta" => {
                let Payload::Json(meta) = message.payload else {
                    return Err(Refused::invalid("payload", "must be JSON").into());
                };
                authorized.update(channel, request::json(meta, "meta")?, reference)?;
            }
            event if is_reserved(event) => {
                return Err(Refused::invalid("event", "is a reserved name").into());
            }
            event => authorized.say(channel, event, said(message.payload)?, reference)?,
        }
        Ok(())
    }

    fn join_by_service(
        &mut self,
        channel: ChannelId,
        reference: Option<Reference>,
    ) -> Result<(), Denied> {
        let topic = Topic::Channel(channel.clone());
        let is_member = self.topics.of(&topic).is_some_and(|it| it.is_member);
        let authorized = self.authorized()?;
        match is_member {
            // The session is in the channel already, and keeps its meta.
            true => authorized.grant(reference),
            false => {
                let watch = Some(Default::default());
                authorized.join(channel.clone(), None, watch, reference)?;
            }
        }
        if let Some(service) = &mut self.service
            && !service.channels.contains(&channel)
        {
            service.channels.push(channel);
        }
        Ok(())
    }

    async fn list(
        &mut self,
        topic: Topic,
        message: &Message<'_>,
        out: &mut Out,
    ) -> Result<(), Denied> {
        let Page { limit, offset } = read(message.payload)?;
        let (limit, offset) = (limit.unwrap_or(request::PAGE), offset.unwrap_or(0));
        let page = Box::pin(self.authorized()?.list(topic, offset, limit)).await?;
        let users = page.people.iter().map(|it| Online {
            id: it.user.as_str(),
            timestamp: seconds(it.joined_at),
        });
        let answer = json(&Listed {
            users: users.collect(),
            total: page.total as u64,
            limit,
            offset,
        });
        if let Some(head) = message.answer_head() {
            wire::reply(out, &head, &answer);
        }
        Ok(())
    }

    /// Closes the topics that a fresh token no longer allows.
    fn close_what_is_not_allowed(&mut self, out: &mut Out) {
        let Some(authorized) = &mut self.authorized else {
            return;
        };
        let lost = authorized.take_lost();
        let session = authorized.session();
        let gone = self.topics.take_unless(|it| match &it.place {
            PhoenixTopic::Roster(topic) => session.watches_topic(topic),
            PhoenixTopic::User(user) => session.watches_user(user),
            PhoenixTopic::Service(_) => true,
        });
        for joined in gone {
            wire::send(out, &joined.close_head(), "{}");
        }
        let Some(service) = &mut self.service else {
            return;
        };
        service
            .channels
            .retain(|it| session.joined().any(|joined| joined == it));
        let watched = service.workspace.clone().map(Topic::Workspace);
        service.watches &= watched.is_some_and(|it| session.watches_topic(&it));
        // Places that it heard of on the service topic only: no topic of their own is closed.
        for lost in lost {
            if let Lost::Topic(topic) = lost {
                let head = format!("{}\"presence_update\",", service.address());
                wire::send(out, &head, &removed(&topic, session.user()));
            }
        }
    }
}

/// The class of a push, for the rates.
pub(super) fn class_of(place: &PhoenixTopic, event: &str) -> CommandClass {
    match (place, event) {
        (_, "typing_start" | "typing_stop") => CommandClass::Typing,
        (_, "cursor" | "selection") => CommandClass::Cursor,
        (_, "update_meta" | "join_channel" | "leave_channel") => CommandClass::Join,
        (_, "get_online_users") => CommandClass::Query,
        (_, "set_status") => CommandClass::Status,
        (_, "access_token") => CommandClass::Other,
        (PhoenixTopic::Roster(Topic::Channel(_)), _) => CommandClass::Broadcast,
        _ => CommandClass::Other,
    }
}

fn channel(payload: Payload<'_>) -> Result<ChannelId, Refused> {
    let Channel {
        channel_id: Text(id),
    } = read(payload)?;
    request::id("channel_id", &id)
}

/// The payload of a broadcast. Other dialects cannot carry bytes, so bytes become a base64 text in an object.
fn said(payload: Payload<'_>) -> Result<Arc<str>, Refused> {
    match payload {
        Payload::Json(text) => request::json(text, "payload"),
        Payload::Bytes(bytes) => {
            let bytes = STANDARD.encode(bytes);
            Ok(json(&InBase64 { bytes }).into())
        }
    }
}

#[derive(Deserialize)]
struct Renewal {
    access_token: String,
}

#[derive(Deserialize)]
struct Channel {
    channel_id: Text,
}

#[derive(Deserialize)]
struct Cursor {
    x: f64,
    y: f64,
    visible: Option<bool>,
}

#[derive(Deserialize)]
struct Selection {
    start: Option<u64>,
    end: Option<u64>,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u64>,
    offset: Option<u64>,
}

#[derive(Serialize)]
struct Listed<'a> {
    users: Vec<Online<'a>>,
    total: u64,
    limit: u64,
    offset: u64,
}

#[derive(Serialize)]
struct Online<'a> {
    id: &'a str,
    /// When the user came online, in seconds since 1970.
    timestamp: u64,
}

/// The fields of `set_status`. An absent field stays and `null` clears it, except for the end: a new status without an
/// end has none.
#[derive(Deserialize)]
#[serde(default)]
struct SetStatus {
    status: Field<Chosen>,
    custom_message: Field<String>,
    emoji: Field<String>,
    clear_after: Field<u64>,
}

impl Default for SetStatus {
    fn default() -> Self {
        SetStatus {
            status: Field::Absent,
            custom_message: Field::Absent,
            emoji: Field::Absent,
            clear_after: Field::Absent,
        }
    }
}

impl From<SetStatus> for StatusRequest {
    fn from(it: SetStatus) -> Self {
        let clear_after = match (it.clear_after, &it.status) {
            (Field::Absent, Field::Value(_)) => Field::Null,
            (said, _) => said.map(Duration::from_secs),
        };
        StatusRequest {
            status: it.status,
            custom_message: it.custom_message,
            emoji: it.emoji,
            clear_after,
            expires_at: Field::Absent,
        }
    }
}
