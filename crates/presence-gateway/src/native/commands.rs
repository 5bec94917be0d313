//! From the words of the wire to what a session does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use presence_client::wire::command::{self, Command};
use presence_client::wire::event::{self, Answer};
use presence_client::wire::{self, DecodeError, DecodeErrorKind, ErrorCode, Mode, Place, Target};
use presence_core::{
    ChannelId, Clock, META_BYTES_MAX, Pointer, Selection, Timestamp, Topic, UserId, Watching,
    users::Activity,
};
use presence_hub::{Busy, Reference, Session};

use super::Encoding;
use super::events::{session_of, user_of, user_status_of};
use super::rates::Buckets;
use crate::app::App;
use crate::closing::Closing;
use crate::identity::Identity;
use crate::request::{self, Refused, StatusRequest};

/// How a connection is closed that goes on after many errors.
const FLOODING: Closing = Closing::FLOODING.after(Duration::from_secs(5));

/// The native side of one connection.
pub(crate) struct Native {
    pub(crate) encoding: Encoding,
    app: Arc<App>,
    pub(crate) identity: Identity,
    buckets: Buckets,
}

/// What a connection does after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    Continue,
    /// The client left.
    Leave,
    /// The client is closed.
    Close(Closing),
}

impl Native {
    pub(crate) fn new(encoding: Encoding, app: Arc<App>, identity: Identity) -> Self {
        Native {
            encoding,
            app,
            identity,
            buckets: Buckets::full(),
        }
    }

    /// The first frame.
    pub(crate) fn hello(&self, session: &Session, device: Arc<str>, resume: String) -> Bytes {
        let settings = self.app.hub.settings();
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let limits = &self.app.config.socket;
        let hello = event::Hello {
            session: session_of(session.connection().session),
            resume: resume.into(),
            user_id: self.identity.user.text(),
            device_id: device,
            workspaces: self
                .identity
                .workspaces
                .iter()
                .map(|it| it.text())
                .collect(),
            now: self.app.now().as_millis(),
            heartbeat_interval: millis(settings.timing.heartbeat()),
            presence_ttl: millis(settings.timing.ttl()),
            typing_ttl: millis(settings.timing.typing()),
            grace: millis(settings.timing.grace()),
            token_expires_at: self.identity.expires_at.map(Timestamp::as_millis),
            limits: event::Limits {
                frame_bytes_max: limits.frame_bytes_max as u64,
                meta_bytes_max: META_BYTES_MAX as u64,
                channels_max: settings.limits.channels_max as u64,
                watches_max: limits.watches_max as u64,
                listed_max: settings.limits.listed_max as u64,
            },
        };
        self.encoding.encode(&match session.is_restored() {
            true => wire::Event::Restored(hello),
            false => wire::Event::Hello(hello),
        })
    }

    /// Asks for a fresh token.
    pub(crate) fn expiring(&self, at: Timestamp) -> Bytes {
        self.encoding
            .encode(&wire::Event::Expiring(event::Expiring {
                token_expires_at: at.as_millis(),
            }))
    }

    /// Does what a frame asks for. What can be answered at once goes to `out`.
    pub(crate) async fn take(
        &mut self,
        frame: Result<Command, DecodeError>,
        session: &mut Session,
        out: &mut Vec<Bytes>,
    ) -> Next {
        let now = self.app.now();
        let command = match frame {
            Ok(command) => command,
            Err(error) => {
                let hopeless = error.kind == DecodeErrorKind::Malformed;
                self.app.metrics.refused(error.code());
                let message = wire::Event::Error(error.into());
                out.push(self.encoding.encode(&message));
                return match hopeless {
                    true if self.buckets.malformed(now) => Next::Close(Closing::MALFORMED),
                    false if self.buckets.strike(now) => Next::Close(FLOODING),
                    _ => Next::Continue,
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
        let rates = &self.app.config.rates;
        if let Err(why) = self.buckets.take(now, &command, rates) {
            self.count(&why);
            out.push(self.encoding.error(why, ref_));
            return match self.buckets.strike(now) {
                true => Next::Close(FLOODING),
                false => Next::Continue,
            };
        }
        let reference = ref_.as_ref().map(|it| Reference::from(it.as_json()));
        if let Err(why) = self.perform(now, command, reference, session, out).await {
            self.count(&why);
            out.push(self.encoding.error(why, ref_));
        }
        Next::Continue
    }

    /// Counts a refusal.
    pub(super) fn count(&self, why: &Refused) {
        self.app.metrics.refused(why.code);
    }

    async fn perform(
        &mut self,
        now: Timestamp,
        command: Command,
        reference: Option<Reference>,
        session: &mut Session,
        out: &mut Vec<Bytes>,
    ) -> Result<(), Refused> {
        match command {
            Command::Join(it) => self.join(it, reference, session)?,
            Command::Update(it) => {
                let meta = request::meta(Some(it.meta.into_text()), &self.identity)?;
                session.update(channel(&it.channel)?, meta, reference)?;
            }
            Command::Leave(it) => {
                let channel = channel(&it.channel.unwrap_or_default())?;
                session.depart(channel, reference)?;
            }
            Command::Watch(it) => self.watch(it, reference, session)?,
            Command::Unwatch(it) => unwatch(it.target, reference, session)?,
            Command::Status(it) => {
                self.identity.may_set_status_of(&self.identity.user)?;
                let request = StatusRequest {
                    status: it.status,
                    custom_message: it.custom_message,
                    emoji: it.emoji,
                    clear_after: it.clear_after.map(Duration::from_secs),
                    expires_at: it.expires_at.map(Timestamp::from_millis),
                };
                session.choose(request.checked(now)?, reference)?;
            }
            Command::Typing(it) => session.typing(channel(&it.channel)?, it.typing, reference)?,
            Command::Cursor(it) => {
                for (field, value) in [("x", it.x), ("y", it.y)] {
                    if !value.is_finite() {
                        return Err(Refused::invalid(field, "must be finite"));
                    }
                }
                let pointer = Pointer {
                    x: it.x,
                    y: it.y,
                    visible: it.visible.unwrap_or(true),
                };
                session.point(channel(&it.channel)?, pointer, reference)?;
            }
            Command::Selection(it) => {
                let selection = selection(it.start, it.end)?;
                session.select(channel(&it.channel)?, selection, reference)?;
            }
            Command::Activity(it) => {
                let activity = match it.activity {
                    wire::Activity::Active => Activity::Active,
                    wire::Activity::Idle => Activity::Idle,
                    wire::Activity::Hidden => Activity::Hidden,
                };
                session.report(activity, reference)?;
            }
            Command::Broadcast(it) => {
                let channel = channel(&it.channel)?;
                self.identity.may_broadcast(&channel)?;
                let event = request::event_name(&it.event)?;
                let payload = it.payload.map_or_else(|| "".into(), wire::Json::into_text);
                session.say(channel, event, payload, reference)?;
            }
            Command::List(it) => out.push(Box::pin(self.list(it)).await?),
            Command::Get(it) => out.push(Box::pin(self.get(it)).await?),
            // That something was heard is noted for every frame.
            Command::Heartbeat(_) => session.grant(reference),
            Command::Ping(it) => {
                let pong = event::Pong {
                    ref_: it.ref_,
                    now: now.as_millis(),
                };
                out.push(self.encoding.encode(&wire::Event::Pong(pong)));
            }
            Command::Authenticate(it) => {
                self.authenticate(now, &it.token)?;
                confine(&self.identity, session)?;
                session.grant(reference);
            }
        }
        Ok(())
    }

    fn join(
        &self,
        it: command::Join,
        reference: Option<Reference>,
        session: &mut Session,
    ) -> Result<(), Refused> {
        let channel = channel(&it.channel)?;
        self.identity.may_join(&channel)?;
        let meta = request::meta(it.meta.map(wire::Json::into_text), &self.identity)?;
        let watch = match it.watch {
            Some(false) => None,
            Some(true) | None => {
                self.identity.may_watch_channel(&channel)?;
                let topic = Topic::Channel(channel.clone());
                self.room_for(usize::from(!session.watches_topic(&topic)), session)?;
                Some((watching(it.mode), it.have.map(clock)))
            }
        };
        Ok(session.join(channel, meta, watch, reference)?)
    }

    fn watch(
        &self,
        it: command::Watch,
        reference: Option<Reference>,
        session: &mut Session,
    ) -> Result<(), Refused> {
        let have = it.have.map(clock);
        let watching = watching(it.mode);
        match it.target {
            Target::Channel(id) => {
                let channel = channel(&id)?;
                self.identity.may_watch_channel(&channel)?;
                self.watch_topic(Topic::Channel(channel), watching, have, reference, session)?;
            }
            Target::Workspace(id) => {
                let workspace = request::id("workspace", &id)?;
                self.identity.may_watch_workspace(&workspace)?;
                let topic = Topic::Workspace(workspace);
                self.watch_topic(topic, watching, have, reference, session)?;
            }
            Target::Users(ids) => {
                let users = users(&ids)?;
                for user in &users {
                    self.identity.may_watch_user(user)?;
                }
                let new = users.iter().filter(|it| !session.watches_user(it));
                self.room_for(new.count(), session)?;
                for user in users {
                    session.watch_user(user, None)?;
                }
                session.grant(reference);
            }
        }
        Ok(())
    }

    fn watch_topic(
        &self,
        topic: Topic,
        watching: Watching,
        have: Option<Clock>,
        reference: Option<Reference>,
        session: &mut Session,
    ) -> Result<(), Refused> {
        self.room_for(usize::from(!session.watches_topic(&topic)), session)?;
        Ok(session.watch(topic, watching, have, reference)?)
    }

    fn room_for(&self, more: usize, session: &Session) -> Result<(), Refused> {
        let max = self.app.config.socket.watches_max;
        if session.watches() + more <= max {
            return Ok(());
        }
        let message = format!("at most {max} topics and users are watched by one session");
        Err(Refused::new(ErrorCode::TooMany, message))
    }

    async fn list(&self, it: command::List) -> Result<Bytes, Refused> {
        let topic = match &it.place {
            Place::Channel(id) => {
                let channel = channel(id)?;
                self.identity.may_watch_channel(&channel)?;
                Topic::Channel(channel)
            }
            Place::Workspace(id) => {
                let workspace = request::id("workspace", id)?;
                self.identity.may_watch_workspace(&workspace)?;
                Topic::Workspace(workspace)
            }
        };
        let limit = it.limit.unwrap_or(request::PAGE);
        let count = request::page_size(limit)?;
        let offset = it.offset.unwrap_or(0);
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let page = self.app.hub.list(topic, skip, count).await?;
        let page = Answer::Page(event::Page {
            users: page.people.iter().map(|it| user_of(it)).collect(),
            total: page.total as u64,
            limit,
            offset,
        });
        Ok(self.answer(it.ref_, page))
    }

    async fn get(&self, it: command::Get) -> Result<Bytes, Refused> {
        let users = users(&it.users)?;
        for user in &users {
            self.identity.may_watch_user(user)?;
        }
        let faces = self.app.hub.faces(&users).await?;
        let statuses = faces.iter().map(user_status_of).collect();
        Ok(self.answer(it.ref_, Answer::Statuses(event::Statuses { statuses })))
    }

    fn answer(&self, ref_: Option<wire::Ref>, result: Answer) -> Bytes {
        let result = Some(result);
        self.encoding
            .encode(&wire::Event::Ok(event::Ok { ref_, result }))
    }

    fn authenticate(&mut self, now: Timestamp, token: &str) -> Result<(), Refused> {
        let renewed = self.app.gate.renew(&self.identity, token, now);
        self.identity = renewed.map_err(|why| Refused {
            field: Some("token".to_owned()),
            ..Refused::from(why)
        })?;
        Ok(())
    }
}

/// Takes a session out of what its identity does not allow: a newer token may allow less than the one before.
pub(crate) fn confine(identity: &Identity, session: &mut Session) -> Result<(), Busy> {
    let joined = session.joined().iter();
    let left: Vec<ChannelId> = joined
        .filter(|channel| identity.may_join(channel).is_err())
        .cloned()
        .collect();
    for channel in left {
        session.depart(channel, None)?;
    }
    let forbidden = |topic: &&Topic| match topic {
        Topic::Channel(channel) => identity.may_watch_channel(channel).is_err(),
        Topic::Workspace(workspace) => identity.may_watch_workspace(workspace).is_err(),
    };
    let topics: Vec<Topic> = session.topics().filter(forbidden).cloned().collect();
    for topic in topics {
        session.unwatch(&topic, None)?;
    }
    let users = session.users();
    let users: Vec<UserId> = users
        .filter(|user| identity.may_watch_user(user).is_err())
        .cloned()
        .collect();
    for user in users {
        session.unwatch_user(&user, None)?;
    }
    Ok(())
}

fn unwatch(
    target: Target,
    reference: Option<Reference>,
    session: &mut Session,
) -> Result<(), Refused> {
    match target {
        Target::Channel(id) => {
            session.unwatch(&Topic::Channel(channel(&id)?), reference)?;
        }
        Target::Workspace(id) => {
            let workspace = request::id("workspace", &id)?;
            session.unwatch(&Topic::Workspace(workspace), reference)?;
        }
        Target::Users(ids) => {
            for user in users(&ids)? {
                session.unwatch_user(&user, None)?;
            }
            session.grant(reference);
        }
    }
    Ok(())
}

fn channel(text: &str) -> Result<ChannelId, Refused> {
    request::id("channel", text)
}

fn users(ids: &[String]) -> Result<Vec<UserId>, Refused> {
    request::users("users", ids)
}

fn selection(start: Option<u64>, end: Option<u64>) -> Result<Option<Selection>, Refused> {
    match (start, end) {
        (None, None) => Ok(None),
        (Some(start), Some(end)) if start <= end => Ok(Some(Selection { start, end })),
        (Some(_), Some(_)) => Err(Refused::invalid("end", "must not be before start")),
        (None, Some(_)) => Err(Refused::invalid("start", "is missing")),
        (Some(_), None) => Err(Refused::invalid("end", "is missing")),
    }
}

fn watching(mode: Option<Mode>) -> Watching {
    match mode {
        Some(Mode::Summary) => Watching::Summary,
        Some(Mode::Full) | None => Watching::Full,
    }
}

fn clock(have: wire::Have) -> Clock {
    Clock {
        epoch: have.epoch.0,
        version: have.version,
    }
}
