//! The parts that only `actioncable-v1-ext-json` has: presence as AnyCable does it, whispers, history.
//!
//! Here a presence id is the user's id, whatever a page asks for. Everyone in the channel is present,
//! through any client.

use std::sync::Arc;

use bytes::Bytes;
use presence_core::{Change, ChannelId, Event, Person};
use presence_protocol::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::classes::{Id, Subject};
use super::messages::WHISPER;
use super::subscribing::NO_HISTORY;
use super::tails::{For, Tails};
use super::{Asked, Cable};
use crate::authorized::Authorized;
use crate::out::Out;
use crate::rates::CommandClass;
use crate::request::{self, Refused};

/// The most people in one answer.
const RECORDS_MAX: u64 = 500;

/// Encodes `event` for pages that follow presence.
pub(super) fn tails_of(event: &Event) -> Bytes {
    let mut tails = Tails::default();
    match event {
        Event::Everyone { people, .. } => {
            tails.push(For::Lost, None, &info(people.len(), Some(people)));
        }
        Event::Summary { count, sample, .. } => {
            tails.push(For::All, None, &info(*count, Some(sample)));
        }
        Event::Changes { changes, .. } => {
            for change in changes {
                match change {
                    Change::Joined(person) => tails.push(For::All, None, &join(person)),
                    Change::Left { person, .. } => {
                        let id = person.user.as_str();
                        let left = message(&json!({ "type": "leave", "id": id }));
                        tails.push(For::All, None, &left);
                    }
                    // AnyCable sends nothing for an update either: a page that wants to know asks.
                    Change::Updated { .. } => {}
                }
            }
        }
        _ => {}
    }
    tails.into_bytes()
}

fn join(person: &Person) -> String {
    let id = person.user.as_str();
    message(&json!({ "type": "join", "id": id, "info": info_of(person) }))
}

fn info(total: usize, people: Option<&[Arc<Person>]>) -> String {
    let record = |it: &Arc<Person>| json!({ "id": it.user.as_str(), "info": info_of(it) });
    let mut info = json!({ "type": "info", "total": total });
    if let Some(people) = people {
        info["records"] = people.iter().map(record).collect();
    }
    message(&info)
}

fn error() -> String {
    message(&json!({ "type": "error" }))
}

fn message(it: &Value) -> String {
    format!(",\"type\":\"presence\",\"message\":{it}}}")
}

/// The newest meta of a person, with the name that they really have.
fn info_of(person: &Person) -> Map<String, Value> {
    let newest = person.members.last().map(|it| &**it.meta.json());
    let newest = newest.and_then(|it| serde_json::from_str(it).ok());
    let mut info: Map<String, Value> = newest.unwrap_or_default();
    let known = [
        ("name", person.newest(|meta| meta.name())),
        ("color", person.newest(|meta| meta.color())),
        ("avatar", person.newest(|meta| meta.avatar())),
    ];
    for (name, value) in known {
        match value {
            Some(value) => info.insert(name.to_owned(), json!(**value)),
            None => info.remove(name),
        };
    }
    info
}

/// What a page sends when it joins.
#[derive(Deserialize)]
pub(super) struct Presence<'a> {
    id: Option<Id>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

impl Presence<'_> {
    /// The meta in it, if the page may set it.
    pub(super) fn meta(&self, authorized: &Authorized) -> Result<Option<Arc<str>>, Refused> {
        let user = authorized.identity().user.as_str();
        let is_own = self.id.as_ref().is_none_or(|Id(id)| id == user);
        if !is_own {
            let why = format!("must be the id of the user, {user}");
            return Err(Refused::invalid("presence.id", why));
        }
        let info = self.info.filter(|it| it.get() != "null");
        info.map(|it| request::json(it.get(), "presence.info"))
            .transpose()
    }
}

impl Cable {
    /// Joins the channel of a subscription, or changes the meta there.
    pub(super) fn join(
        &mut self,
        head: &str,
        presence: Option<&RawValue>,
        out: &mut Out,
    ) -> Result<(), Refused> {
        let (ticket, channel) = self.place_of(head)?;
        self.afford(CommandClass::Join)?;
        let joined = self.enter(ticket, &channel, presence);
        match joined {
            Ok(updated) => {
                if let Some(it) = self.subscriptions.of_ticket(ticket) {
                    it.is_present = true;
                }
                self.changed();
                // Others are not told of a join of somebody who is there already, but the page that asked to
                // join expects one.
                if let Some(meta) = updated {
                    let id = self.authorized.identity().user.as_str();
                    let info: Option<Value> = serde_json::from_str(&meta).ok();
                    let joined = json!({ "type": "join", "id": id, "info": info });
                    self.say(head, &message(&joined), out);
                }
                Ok(())
            }
            Err(why) => {
                self.say(head, &error(), out);
                Err(why)
            }
        }
    }

    /// Joins or updates. Returns the new meta if the session was in the channel already.
    fn enter(
        &mut self,
        ticket: u32,
        channel: &ChannelId,
        presence: Option<&RawValue>,
    ) -> Result<Option<Arc<str>>, Refused> {
        let presence: Option<Presence<'_>> = presence
            .map(|it| serde_json::from_str(it.get()))
            .transpose()
            .map_err(|error| Refused::invalid("presence", error))?;
        let meta = presence.map(|it| it.meta(&self.authorized)).transpose()?;
        let meta = meta.flatten();
        // The session may be there through another subscription.
        let is_in = self
            .subscriptions
            .are_in(&Subject::Channel(channel.clone()));
        match (is_in, &meta) {
            (true, None) => return Ok(None),
            (true, Some(meta)) => {
                let reference = self.unanswered.reference();
                self.authorized
                    .update(channel.clone(), meta.clone(), Some(reference))?;
                self.unanswered.note(reference, Asked::Update(ticket));
            }
            (false, meta) => {
                let reference = self.unanswered.reference();
                self.authorized
                    .join(channel.clone(), meta.clone(), None, Some(reference))?;
                self.unanswered.note(reference, Asked::Join(ticket));
            }
        }
        if let Some(meta) = &meta {
            self.subscriptions.say(ticket, meta.clone());
        }
        Ok(meta.filter(|_| is_in))
    }

    /// Leaves the channel of a subscription, and goes on watching it.
    pub(super) fn leave(&mut self, head: &str) -> Result<(), Refused> {
        let (ticket, channel) = self.place_of(head)?;
        if !self.find(head).is_some_and(|it| it.is_present) {
            return Ok(());
        }
        self.afford(CommandClass::Join)?;
        let to_release = self.to_release_after(ticket, Subject::Channel(channel));
        self.mark_absent(ticket);
        self.release(to_release);
        Ok(())
    }

    /// Notes that a subscription does not ask to be in its channel, or was refused that.
    pub(super) fn mark_absent(&mut self, ticket: u32) {
        if let Some(it) = self.subscriptions.of_ticket(ticket) {
            it.is_present = false;
            it.meta = None;
            it.said = 0;
        }
        self.changed();
    }

    /// Answers the question who is there.
    pub(super) async fn records(
        &mut self,
        head: &str,
        data: Option<&RawValue>,
        out: &mut Out,
    ) -> Result<(), Refused> {
        #[derive(Default, Deserialize)]
        struct Data {
            return_records: Option<bool>,
        }
        let data = data.and_then(|it| serde_json::from_str(it.get()).ok());
        let Data { return_records } = data.unwrap_or_default();
        let found = match (self.topic_of(head), self.afford(CommandClass::Query)) {
            (Ok(topic), Ok(())) => self.authorized.list(topic, 0, RECORDS_MAX).await,
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
        match found {
            Ok(page) => {
                let people = (return_records != Some(false)).then_some(&page.people[..]);
                self.say(head, &info(page.total, people), out);
                Ok(())
            }
            Err(why) => {
                self.say(head, &error(), out);
                Err(why)
            }
        }
    }

    /// Sends a whisper to the others in a channel.
    pub(super) fn whisper(&mut self, head: &str, data: Option<&RawValue>) -> Result<(), Refused> {
        let (_, channel) = self.place_of(head)?;
        self.afford(CommandClass::Broadcast)?;
        let data = data.ok_or_else(|| Refused::invalid("data", "is missing"))?;
        let data = request::json(data.get(), "data")?;
        self.authorized.say(channel, WHISPER, data, None)
    }

    /// Answers that there is no history: the state of a place is sent as a whole, and past messages are not kept.
    pub(super) fn history(&mut self, head: &str, out: &mut Out) -> Result<(), Refused> {
        let found = self.find(head).map(|it| it.head.clone());
        let head = found.ok_or_else(not_subscribed)?;
        self.say(&head, NO_HISTORY, out);
        Ok(())
    }

    /// Reports that a request about presence was refused.
    pub(super) fn presence_refused(&mut self, head: &str, out: &mut Out) {
        self.say(head, &error(), out);
    }
}

/// The refusal for a subscription that does not exist.
pub(super) fn not_subscribed() -> Refused {
    Refused::new(ErrorCode::NotJoined, "there is no such subscription")
}
