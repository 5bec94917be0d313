//! Performs the commands of the native protocol.

use std::time::Duration;

use bytes::Bytes;
use presence_core::{
    ChannelId, Order, Pointer, Timestamp, Topic, TopicVersion, UserId, Watching, Window,
    users::Activity,
};
use presence_hub::Reference;
use presence_protocol::command::{self, Command};
use presence_protocol::event::{self, Answer};
use presence_protocol::{self as wire, DecodeError, DecodeErrorKind, Mode, Target, TopicId};

use super::events::{user_of, user_status_of};
use super::{Native, Next};
use crate::closing::{CloseReason, Closing};
use crate::frame::Frames;
use crate::host::{Host, Operation};
use crate::rates::CommandClass;
use crate::request::{self, Refused, StatusRequest};
use crate::rows::{AfterRequest, RowsRequest};

/// The answer to a command that was not refused.
enum Reply {
    /// The answer is this frame.
    Is(Bytes),
    /// The hub answers later, with the reference of the command.
    Follows,
}

impl<H: Host> Native<H> {
    /// Does what a frame asks for. Answers that are ready at once go to `out`.
    pub async fn obey(
        &mut self,
        frame: Result<Command, DecodeError>,
        out: &mut impl Frames,
    ) -> Next {
        let now = self.authorized.host().now();
        let command = match frame {
            Ok(command) => command,
            Err(error) => {
                let kind = error.kind;
                let host = self.authorized.host();
                host.refused(error.code());
                let message = wire::Event::Error(error.into());
                out.push(self.encoding.encode(&message));
                let is_too_much = match kind {
                    DecodeErrorKind::Malformed => {
                        return match self.buckets.malformed(now) {
                            true => Next::Close(CloseReason::Malformed.into()),
                            false => Next::Continue,
                        };
                    }
                    DecodeErrorKind::Unknown => true,
                    // A mistake in a value is a command like any other that is refused.
                    DecodeErrorKind::Invalid => {
                        let rates = host.rates();
                        self.buckets.take(now, CommandClass::Other, rates).is_err()
                    }
                };
                return match is_too_much && self.buckets.strike(now) {
                    true => Next::Close(Closing::flooding()),
                    false => Next::Continue,
                };
            }
        };
        // A goodbye is never too much.
        if matches!(
            &command,
            Command::Leave(command::Leave { channel: None, .. })
        ) {
            return Next::Leave;
        }
        let ref_ = command.ref_().cloned();
        let rates = self.authorized.host().rates();
        if let Err(why) = self.buckets.take(now, class_of(&command), rates) {
            self.count(&why);
            out.push(self.encoding.error(why, ref_));
            return match self.buckets.strike(now) {
                true => Next::Close(Closing::flooding()),
                false => Next::Continue,
            };
        }
        let reference = ref_.as_ref().map(|_| self.unanswered.reference());
        match self.perform(now, command, reference, out).await {
            Ok(Reply::Follows) => {
                if let (Some(reference), Some(ref_)) = (reference, ref_) {
                    self.unanswered.note(reference, ref_);
                }
            }
            Ok(Reply::Is(frame)) => out.push(frame),
            Err(why) => {
                self.count(&why);
                out.push(self.encoding.error(why, ref_));
            }
        }
        Next::Continue
    }

    // Longer than a screen because it is a table: an arm for each command.
    async fn perform(
        &mut self,
        now: Timestamp,
        command: Command,
        reference: Option<Reference>,
        out: &mut impl Frames,
    ) -> Result<Reply, Refused> {
        let authorized = &mut self.authorized;
        let asked = match command {
            Command::Join(it) => {
                let watch = it.watch.unwrap_or(true);
                let watch = watch.then(|| (watching(it.mode), it.have.map(clock)));
                let meta = it.meta.map(wire::Json::into_text);
                authorized.join(channel(&it.channel)?, meta, watch, reference)
            }
            Command::Update(it) => {
                authorized.update(channel(&it.channel)?, it.meta.into_text(), reference)
            }
            Command::Leave(it) => {
                authorized.leave(channel(&it.channel.unwrap_or_default())?, reference)
            }
            Command::Watch(it) => {
                let (watching, have) = (watching(it.mode), it.have.map(clock));
                match it.target {
                    Target::Users(ids) => authorized.watch_users(users(&ids)?, reference),
                    Target::Channel(id) => {
                        authorized.watch(topic_of_channel(&id)?, watching, have, reference)
                    }
                    Target::Workspace(id) => {
                        authorized.watch(topic_of_workspace(&id)?, watching, have, reference)
                    }
                }
            }
            Command::Unwatch(it) => match it.target {
                Target::Users(ids) => authorized.unwatch_users(&users(&ids)?, reference),
                Target::Channel(id) => authorized.unwatch(&topic_of_channel(&id)?, reference),
                Target::Workspace(id) => authorized.unwatch(&topic_of_workspace(&id)?, reference),
            },
            Command::Status(it) => {
                let request = StatusRequest {
                    status: it.status,
                    custom_message: it.custom_message,
                    emoji: it.emoji,
                    clear_after: it.clear_after.map(Duration::from_secs),
                    expires_at: it.expires_at.map(Timestamp::from_millis),
                };
                authorized.choose(request, reference)
            }
            Command::Typing(it) => authorized.typing(channel(&it.channel)?, it.typing, reference),
            Command::Cursor(it) => {
                let pointer = Pointer {
                    x: it.x,
                    y: it.y,
                    visible: it.visible.unwrap_or(true),
                };
                authorized.point(channel(&it.channel)?, pointer, reference)
            }
            Command::Selection(it) => {
                authorized.select(channel(&it.channel)?, (it.start, it.end), reference)
            }
            Command::Activity(it) => {
                let activity = match it.activity {
                    wire::Activity::Active => Activity::Active,
                    wire::Activity::Idle => Activity::Idle,
                    wire::Activity::Hidden => Activity::Hidden,
                };
                authorized.report(activity, reference)
            }
            Command::Broadcast(it) => {
                let payload = it.payload.map_or_else(|| "".into(), wire::Json::into_text);
                authorized.say(channel(&it.channel)?, &it.event, payload, reference)
            }
            Command::List(it) => {
                return Ok(Reply::Is(Box::pin(self.list(it)).await?));
            }
            Command::Get(it) => {
                return Ok(Reply::Is(Box::pin(self.get(it)).await?));
            }
            Command::Channels(it) => {
                let ref_ = it.ref_.clone();
                return self.operate(ref_, Operation::Channels(it)).await;
            }
            Command::Nodes(it) => {
                let ref_ = it.ref_.clone();
                return self.operate(ref_, Operation::Nodes(it)).await;
            }
            Command::Connections(it) => {
                let ref_ = it.ref_.clone();
                return self.operate(ref_, Operation::Connections(it)).await;
            }
            Command::Disconnect(it) => {
                let ref_ = it.ref_.clone();
                return self.operate(ref_, Operation::Disconnect(it)).await;
            }
            Command::OpenWindow(it) => {
                let topic = topic_of(&it.place)?;
                let number = it.window;
                let (window, reference) = (window(it)?, reference);
                authorized.open_window(topic, number, window, reference)
            }
            Command::CloseWindow(it) => {
                authorized.close_window(&topic_of(&it.place)?, it.window, reference)
            }
            // That something was heard is noted for every frame.
            Command::Heartbeat(_) => {
                authorized.host().heartbeat();
                authorized.grant(reference);
                Ok(())
            }
            Command::Ping(it) => {
                let pong = event::Pong {
                    ref_: it.ref_,
                    now: now.as_millis(),
                };
                let pong = self.encoding.encode(&wire::Event::Pong(pong));
                return Ok(Reply::Is(pong));
            }
            Command::Authenticate(it) => {
                let outcome = authorized.authenticate(&it.token);
                self.tell_lost(out);
                outcome?;
                self.authorized.grant(reference);
                Ok(())
            }
        };
        asked.map(|()| Reply::Follows)
    }

    async fn list(&self, it: command::List) -> Result<Bytes, Refused> {
        let topic = topic_of(&it.place)?;
        let limit = it.limit.unwrap_or(request::PAGE);
        let offset = it.offset.unwrap_or(0);
        let page = self.authorized.list(topic, offset, limit).await?;
        let page = Answer::Page(event::Page {
            users: page.people.iter().map(|it| user_of(it)).collect(),
            total: page.total as u64,
            limit,
            offset,
        });
        Ok(self.answer(it.ref_, page))
    }

    async fn get(&self, it: command::Get) -> Result<Bytes, Refused> {
        let public_views = self.authorized.public_views(&users(&it.users)?).await?;
        let statuses = public_views.iter().map(user_status_of).collect();
        Ok(self.answer(it.ref_, Answer::Statuses(event::Statuses { statuses })))
    }

    /// Answers a command of an operator. The bytes of the answer count against the [budget](presence_hub::Budget) of the
    /// connection.
    async fn operate(
        &self,
        ref_: Option<wire::Ref>,
        operation: Operation,
    ) -> Result<Reply, Refused> {
        let host = self.authorized.host();
        let result = Box::pin(host.operate(&self.authorized, operation)).await?;
        let frame = self.answer(ref_, result);
        self.authorized.spend(frame.len());
        Ok(Reply::Is(frame))
    }

    fn answer(&self, ref_: Option<wire::Ref>, result: Answer) -> Bytes {
        let result = Some(result);
        self.encoding
            .encode(&wire::Event::Ok(event::Ok { ref_, result }))
    }
}

fn class_of(command: &Command) -> CommandClass {
    match command {
        Command::Join(_) | Command::Update(_) | Command::Leave(_) => CommandClass::Join,
        Command::Watch(_)
        | Command::Unwatch(_)
        | Command::OpenWindow(_)
        | Command::CloseWindow(_) => CommandClass::Watch,
        Command::Status(_) => CommandClass::Status,
        Command::Typing(_) => CommandClass::Typing,
        Command::Cursor(_) | Command::Selection(_) => CommandClass::Cursor,
        Command::Broadcast(_) => CommandClass::Broadcast,
        Command::List(_)
        | Command::Get(_)
        | Command::Channels(_)
        | Command::Nodes(_)
        | Command::Connections(_)
        | Command::Disconnect(_) => CommandClass::Query,
        Command::Activity(_)
        | Command::Heartbeat(_)
        | Command::Ping(_)
        | Command::Authenticate(_) => CommandClass::Other,
    }
}

fn channel(text: &str) -> Result<ChannelId, Refused> {
    request::id("channel", text)
}

fn topic_of(place: &TopicId) -> Result<Topic, Refused> {
    match place {
        TopicId::Channel(id) => topic_of_channel(id),
        TopicId::Workspace(id) => topic_of_workspace(id),
    }
}

/// The window that a command asks for.
fn window(it: command::OpenWindow) -> Result<Window, Refused> {
    let after = it.after.map(|it| AfterRequest {
        joined_at: it.joined_at,
        name: it.name,
        user_id: it.user_id,
    });
    let rows = RowsRequest {
        order: it.order.map(|it| match it {
            wire::Order::Joined => Order::Joined,
            wire::Order::Name => Order::Name,
        }),
        prefix: it.prefix,
        after,
    };
    rows.window(it.limit)
}

fn topic_of_channel(text: &str) -> Result<Topic, Refused> {
    Ok(Topic::Channel(channel(text)?))
}

fn topic_of_workspace(text: &str) -> Result<Topic, Refused> {
    Ok(Topic::Workspace(request::id("workspace", text)?))
}

fn users(ids: &[String]) -> Result<Vec<UserId>, Refused> {
    request::users("users", ids)
}

fn watching(mode: Option<Mode>) -> Watching {
    match mode {
        Some(Mode::Summary) => Watching::Summary,
        Some(Mode::Full) | None => Watching::Full,
    }
}

fn clock(have: wire::Have) -> TopicVersion {
    TopicVersion {
        epoch: have.epoch.0,
        version: have.version,
    }
}
