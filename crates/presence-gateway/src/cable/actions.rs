//! Performs the `message` command: the actions of the channel classes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use presence_core::users::Activity;
use presence_core::{ChannelId, Pointer, Timestamp};
use presence_hub::Reference;
use presence_protocol::{Chosen, ErrorCode, Field, mend};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::classes::Subject;
use super::messages;
use super::presence::not_subscribed;
use super::subscriptions::Subscription;
use super::{Asked, Cable};
use crate::out::Out;
use crate::rates::CommandClass;
use crate::request::{self, Refused, StatusRequest};

/// The action of a message that does not name one.
const RECEIVE: &str = "receive";

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Move {
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
struct Typing {
    typing: Option<bool>,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    meta: &'a RawValue,
}

#[derive(Deserialize)]
struct Broadcast<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status: Field<Chosen>,
    #[serde(default)]
    custom_message: Field<String>,
    #[serde(default)]
    message: Field<String>,
    #[serde(default)]
    emoji: Field<String>,
    #[serde(default)]
    clear_after: Field<u64>,
    #[serde(default)]
    expires_at: Field<u64>,
}

impl Cable {
    /// Does what a message asks for. A refusal is sent only to subscriptions that get more than the roster; Rails
    /// itself sends nothing.
    pub(super) fn act(
        &mut self,
        head: &str,
        data: Option<&RawValue>,
        out: &mut Out,
    ) -> Result<(), Refused> {
        let subscription = self.find(head).ok_or_else(not_subscribed)?;
        let (ticket, is_curious) = (subscription.ticket, subscription.wish.is_curious);
        let subject = subscription.wish.subject.clone();
        let data = data.ok_or_else(|| Refused::invalid("data", "is missing"))?;
        // A text of JSON, by the protocol; some servers take the JSON itself, too.
        let text: Cow<'_, str> = match data.get().starts_with('"') {
            true => serde_json::from_str::<String>(data.get())
                .map_err(|error| Refused::invalid("data", error))?
                .into(),
            false => data.get().into(),
        };
        let text = mend(&text);
        let Named { action } = read(&text)?;
        let action = action.unwrap_or(RECEIVE.into());
        let done = match subject {
            Subject::Channel(channel) => self.act_in(channel, ticket, &action, &text),
            Subject::Workspace(_) => self.look_after(ticket, &action, &text),
            Subject::Statuses(_) => self.look_after(ticket, &action, &text),
        };
        if let Err(why) = &done
            && is_curious
        {
            self.say(head, &refusal(&action, why), out);
        }
        done
    }

    fn act_in(
        &mut self,
        channel: ChannelId,
        ticket: u32,
        action: &str,
        text: &str,
    ) -> Result<(), Refused> {
        match action {
            "move" | "cursor_move" => {
                self.afford(CommandClass::Cursor)?;
                let Move { x, y, visible } = read(text)?;
                let visible = visible.unwrap_or(true);
                self.authorized
                    .point(channel, Pointer { x, y, visible }, None)
            }
            "selection" | "select" => {
                self.afford(CommandClass::Cursor)?;
                let Selection { start, end } = read(text)?;
                self.authorized.select(channel, (start, end), None)
            }
            "typing" | "typing_start" | "typing_stop" => {
                self.afford(CommandClass::Typing)?;
                let typing = match action {
                    "typing" => read::<Typing>(text)?.typing.unwrap_or(true),
                    _ => action == "typing_start",
                };
                self.authorized.typing(channel, typing, None)
            }
            "update" => {
                self.afford(CommandClass::Join)?;
                let meta = request::json(read::<Update<'_>>(text)?.meta.get(), "meta")?;
                let reference = self.unanswered.reference();
                self.authorized
                    .update(channel.clone(), meta.clone(), Some(reference))?;
                self.note_action(reference, ticket, action);
                self.spoke(channel, ticket, meta);
                Ok(())
            }
            "broadcast" => {
                self.afford(CommandClass::Broadcast)?;
                let Broadcast { event, payload } = read(text)?;
                let payload = payload.map(|it| request::json(it.get(), "payload"));
                let payload = payload.transpose()?;
                let payload = payload.unwrap_or_else(|| "".into());
                let reference = self.unanswered.reference();
                self.authorized
                    .say(channel, &event, payload, Some(reference))?;
                self.note_action(reference, ticket, action);
                Ok(())
            }
            // Every frame counts as a sign of life, so there is nothing more to do.
            "heartbeat" => {
                self.authorized.host().metrics.heartbeat();
                self.afford(CommandClass::Other)
            }
            _ => Err(unknown(action)),
        }
    }

    fn note_action(&mut self, reference: Reference, ticket: u32, action: &str) {
        let asked = Asked::Action(ticket, action.into());
        self.unanswered.note(reference, asked);
    }

    /// Notes the meta that a subscription has set in a place. A subscription that only watches sets it for the one
    /// that is present.
    fn spoke(&mut self, channel: ChannelId, ticket: u32, meta: Arc<str>) {
        let asks = |it: &mut Subscription| it.is_present;
        let is_present = self.subscriptions.of_ticket(ticket).is_some_and(asks);
        let speaker = self.subscriptions.speaker(&Subject::Channel(channel));
        let by = match (is_present, speaker) {
            (false, Some(speaker)) => speaker.ticket,
            _ => ticket,
        };
        self.subscriptions.say(by, meta);
        self.changed();
    }

    /// Changes the status of the user, or the activity of the session.
    fn look_after(&mut self, ticket: u32, action: &str, text: &str) -> Result<(), Refused> {
        let activity = match action {
            "set_status" | "update_status" | "update_presence" => {
                self.afford(CommandClass::Status)?;
                let Status {
                    status,
                    custom_message,
                    message,
                    emoji,
                    clear_after,
                    expires_at,
                } = read(text)?;
                let request = StatusRequest {
                    status,
                    custom_message: match custom_message {
                        Field::Absent => message,
                        said => said,
                    },
                    emoji,
                    clear_after: clear_after.map(Duration::from_secs),
                    expires_at: expires_at.map(Timestamp::from_millis),
                };
                let reference = self.unanswered.reference();
                self.authorized.choose(request, Some(reference))?;
                self.note_action(reference, ticket, action);
                return Ok(());
            }
            "heartbeat" => {
                self.authorized.host().metrics.heartbeat();
                return self.afford(CommandClass::Other);
            }
            "appear" => Activity::Active,
            "away" => Activity::Idle,
            "hide" => Activity::Hidden,
            _ => return Err(unknown(action)),
        };
        self.afford(CommandClass::Other)?;
        self.authorized.report(activity, None)
    }
}

/// The rest of a message that reports that an action was refused, and why.
pub(super) fn refusal(action: &str, why: &Refused) -> String {
    let millis = why.retry_after.map(|it| it.as_millis().max(1));
    messages::data(&json!({
        "type": "error",
        "action": action,
        "code": why.code.as_str(),
        "message": why.message,
        "field": why.field,
        "retry_after": millis.map(|it| u64::try_from(it).unwrap_or(u64::MAX)),
    }))
}

fn unknown(action: &str) -> Refused {
    let shown: String = action.chars().take(64).collect();
    Refused::new(
        ErrorCode::UnknownCommand,
        format!("unknown action {shown:?}"),
    )
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refused> {
    serde_json::from_str(text).map_err(|error| request::unreadable(text, "data", error))
}
