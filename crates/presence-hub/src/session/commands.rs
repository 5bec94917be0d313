//! The commands of a session: what its person does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use presence_core::history::Cause;
use presence_core::users::{Activity, Input};
use presence_core::{
    ChannelId, Meta, Payload, Pointer, Selection, StatusChange, Topic, TopicVersion, Watching,
    WorkspaceId, rosters,
};

use super::{BUSY, Busy, Heartbeats, Reference, Session};
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage};

impl Session {
    /// Reports that the client is alive: a heartbeat.
    ///
    /// Call it when the client is heard from, which should be every
    /// [`Timing::heartbeat`](presence_core::Timing::heartbeat) (15 s by default). A session that is not heard from for
    /// [`Timing::ttl`](presence_core::Timing::ttl) (60 s; five times as long while it is [`Activity::Hidden`]) is closed
    /// with [`Reason::TimedOut`](presence_core::Reason::TimedOut), and leaves after the grace time.
    /// Every other command counts as a heartbeat too, so a client that keeps sending commands is not timed out. There is
    /// no answer to a heartbeat.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use presence_embedded::ProfileMemory;
    /// # use presence_hub::presence_core::{ChannelId, DeviceId, Event, Payload, UserId, Watching};
    /// # use presence_hub::{Delivery, ConnectRequest, Hub, Reference, Settings};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hub = Hub::start(Settings::default(), Arc::new(ProfileMemory::default()));
    /// # let request = ConnectRequest::new(UserId::new("ann")?, DeviceId::new("web:1")?);
    /// # let mut session = hub.connect(request).await?;
    /// # let room = ChannelId::new("room:42")?;
    /// // For each heartbeat that the client sends:
    /// session.heard()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Busy`]: the mailbox of the user's shard is full, or the hub has stopped. The next heartbeat is early enough,
    /// because one may be lost.
    pub fn heard(&self) -> Result<(), Busy> {
        let by = self.connection;
        let message = UserMessage::Happened(self.user.clone(), Input::Heard { by });
        let mailbox = self.people.of(&self.user);
        mailbox.try_send(message).map_err(|_| BUSY)?;
        let Heartbeats { clock, last, .. } = &self.heartbeats;
        last.store(clock.now().as_millis(), Relaxed);
        Ok(())
    }

    /// Reports whether the person is active or idle, or has the client in the background.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn report(&self, activity: Activity, reference: Option<Reference>) -> Result<(), Busy> {
        self.happened(Input::Reported {
            by: self.connection,
            activity,
            reply_to: self.reply_to(reference),
        })
    }

    /// Joins a channel, or changes the meta of the session in a channel that it is in. With `watch` it also
    /// watches the channel.
    ///
    /// - `meta` is what the session says about itself to everyone who watches the channel: a JSON object of at
    ///   most 4 KiB.
    /// - `watch` says how much the session is told, and which version of the channel its client has, if any. The
    ///   missing changes follow if they are still kept, otherwise the whole state. A state has to wait while
    ///   [`Settings::states`](crate::Settings::states) is used up.
    /// - `reference` names the command in its answer, which is a [`Delivery`](crate::Delivery):
    ///   granted, or refused with [`Refusal::TooMany`](presence_core::Refusal::TooMany) (channels of
    ///   one session, 100 by default), [`Refusal::NoSession`](presence_core::Refusal::NoSession) or
    ///   [`Refusal::Unavailable`](presence_core::Refusal::Unavailable). Without a reference only a
    ///   refusal is delivered.
    ///
    /// If the user hides, the session is in the channel, but nobody sees it there.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use presence_embedded::ProfileMemory;
    /// # use presence_hub::presence_core::{ChannelId, DeviceId, Event, Payload, UserId, Watching};
    /// # use presence_hub::{Delivery, ConnectRequest, Hub, Reference, Settings};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hub = Hub::start(Settings::default(), Arc::new(ProfileMemory::default()));
    /// # let request = ConnectRequest::new(UserId::new("ann")?, DeviceId::new("web:1")?);
    /// # let mut session = hub.connect(request).await?;
    /// # let room = ChannelId::new("room:42")?;
    /// let watch = Some((Watching::Full, None));
    /// session.join(room, Arc::default(), watch, Some(Reference(1)))?;
    /// loop {
    ///     match session.next().await {
    ///         Delivery::Granted(reference) => assert_eq!(reference, Reference(1)),
    ///         Delivery::Event(told) => {
    ///             if let Event::Everyone { people, .. } = &*told.event {
    ///                 assert_eq!(people[0].user.as_str(), "ann");
    ///                 break;
    ///             }
    ///         }
    ///         other => panic!("{other:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn join(
        &mut self,
        channel: ChannelId,
        meta: Arc<Meta>,
        watch: Option<(Watching, Option<TopicVersion>)>,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        let topic = Topic::Channel(channel.clone());
        let wanted = watch;
        let waits = wanted.is_some() && self.has_to_wait(&topic);
        let watch = watch.filter(|_| !waits);
        let watch = watch.map(|(watching, have)| (watching, self.usable(&topic, watching, have)));
        let said = (channel.clone(), meta.clone());
        let ask = self.asks + 1;
        self.happened(Input::Joined {
            by: self.connection,
            channel,
            meta,
            watch,
            reply_to: match wanted {
                Some(_) => self.reply_to_undoing(&topic, ask, reference),
                None => self.reply_to(reference),
            },
        })?;
        self.note_said(said);
        self.asks = ask;
        match (watch, wanted) {
            (Some((watching, have)), _) => self.note(topic, watching, have, ask),
            (None, Some(wanted)) => self.ask_for_later(topic, wanted, ask, None),
            (None, None) => {}
        }
        Ok(())
    }

    /// Changes the meta of the session in a channel that it is in.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn update(
        &mut self,
        channel: ChannelId,
        meta: Arc<Meta>,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        let said = (channel.clone(), meta.clone());
        self.happened(Input::Updated {
            by: self.connection,
            channel,
            meta,
            reply_to: self.reply_to(reference),
        })?;
        if self.joined().any(|it| *it == said.0) {
            self.note_said(said);
        }
        Ok(())
    }

    fn note_said(&mut self, (channel, meta): (ChannelId, Arc<Meta>)) {
        match self.joined.iter_mut().find(|(it, _)| *it == channel) {
            Some((_, said)) => *said = meta,
            None => self.joined.push((channel, meta)),
        }
    }

    /// Lets the session appear in the online lists of these workspaces and no others, with `card` as its meta there.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn set_workspaces(
        &self,
        workspaces: Vec<WorkspaceId>,
        card: Arc<Meta>,
    ) -> Result<(), Busy> {
        self.happened(Input::WorkspacesChanged {
            by: self.connection,
            workspaces,
            card,
            reply_to: None,
        })
    }

    /// Leaves a channel, and stops watching it. Windows on it stay open.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed, except that the channel may have been left and is still watched.
    pub fn leave(&mut self, channel: ChannelId, reference: Option<Reference>) -> Result<(), Busy> {
        let topic = Topic::Channel(channel.clone());
        let left = channel.clone();
        self.happened(Input::LeftChannel {
            by: self.connection,
            channel,
            reply_to: self.reply_to(reference),
        })?;
        self.joined.retain(|(it, _)| *it != left);
        self.unwatch_quietly(&topic)
    }

    /// Changes the status of the user. The answer comes when the change is safely stored.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn choose(&self, change: StatusChange, reference: Option<Reference>) -> Result<(), Busy> {
        // One that nobody waits for is only kept if it changes anything.
        let reply_to = match reference {
            Some(_) => self.reply_to(reference),
            None => None,
        };
        let by = Cause::Client;
        self.happened(Input::Chose {
            change,
            by,
            reply_to,
        })
    }

    /// Reports that the person types in a channel, or has stopped. Typing ends by itself after
    /// [`Timing::typing`](presence_core::Timing::typing) (5 s by default) unless it is reported again.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn typing(
        &self,
        channel: ChannelId,
        typing: bool,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        self.happened_in(
            &channel.clone(),
            rosters::Input::Typed {
                channel,
                session: self.connection.session,
                typing,
                reply_to: self.reply_to(reference),
            },
        )
    }

    /// Moves the session's cursor in a channel. A cursor that does not move for 10 s is removed.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn point(
        &self,
        channel: ChannelId,
        pointer: Pointer,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        self.happened_in(
            &channel.clone(),
            rosters::Input::Pointed {
                channel,
                session: self.connection.session,
                pointer,
                reply_to: self.reply_to(reference),
            },
        )
    }

    /// Changes the session's selection in a channel; `None` selects nothing.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn select(
        &self,
        channel: ChannelId,
        selection: Option<Selection>,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        self.happened_in(
            &channel.clone(),
            rosters::Input::Selected {
                channel,
                session: self.connection.session,
                selection,
                reply_to: self.reply_to(reference),
            },
        )
    }

    /// Sends a broadcast to everyone who watches a channel, this session included if it watches it. It is not stored:
    /// who watches later does not get it.
    ///
    /// - `event` is a name that the application chooses, of at most [`EVENT_BYTES_MAX`](presence_core::EVENT_BYTES_MAX)
    ///   bytes (255). The length is not checked here; other nodes drop a broadcast with a longer name. Any name but
    ///   [`TYPING_EVENT`](presence_core::rosters::TYPING_EVENT) ends the typing of the session.
    /// - `payload` is a JSON value of at most 1 MiB, or empty.
    /// - `reference` names the command in its answer, which is a [`Delivery`](crate::Delivery): granted, or refused
    ///   with [`Refusal::NotJoined`](presence_core::Refusal::NotJoined) if the session is not in the channel or its
    ///   user hides, or with [`Refusal::TooFast`](presence_core::Refusal::TooFast) if the node has accepted
    ///   [`Limits::broadcasts_max`](presence_core::Limits::broadcasts_max) broadcasts (64 by default) for this channel
    ///   within the last [`Timing::RATE_WINDOW`](presence_core::Timing::RATE_WINDOW) (50 ms).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use presence_embedded::ProfileMemory;
    /// # use presence_hub::presence_core::{ChannelId, DeviceId, Event, Payload, UserId, Watching};
    /// # use presence_hub::{Delivery, ConnectRequest, Hub, Reference, Settings};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hub = Hub::start(Settings::default(), Arc::new(ProfileMemory::default()));
    /// # let request = ConnectRequest::new(UserId::new("ann")?, DeviceId::new("web:1")?);
    /// # let mut session = hub.connect(request).await?;
    /// # let room = ChannelId::new("room:42")?;
    /// # session.join(room.clone(), Arc::default(), Some((Watching::Full, None)), None)?;
    /// let payload = Payload::from_json(r#"{"text": "hello"}"#)?;
    /// session.say(room, "chat".into(), payload, None)?;
    /// // Everyone who watches the channel is told: at once, unless the channel has just told something.
    /// loop {
    ///     match session.next().await {
    ///         Delivery::Event(told) => {
    ///             if let Event::Broadcast { user, event, .. } = &*told.event {
    ///                 assert_eq!((user.as_str(), &**event), ("ann", "chat"));
    ///                 break;
    ///             }
    ///         }
    ///         other => panic!("{other:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn say(
        &self,
        channel: ChannelId,
        event: Arc<str>,
        payload: Payload,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        self.happened_in(
            &channel.clone(),
            rosters::Input::Said {
                channel,
                session: self.connection.session,
                event,
                payload,
                reply_to: self.reply_to(reference),
            },
        )
    }

    /// Answers a command that needs nobody else. The answer is delivered in order with everything else that the
    /// session is told.
    pub fn grant(&self, reference: Option<Reference>) {
        self.send_queue.answer(reference, Ok(()), None);
    }

    fn happened(&self, input: Input<ReplyTo>) -> Result<(), Busy> {
        self.send_to_own(UserMessage::Happened(self.user.clone(), input))
    }

    fn happened_in(&self, channel: &ChannelId, input: rosters::Input<ReplyTo>) -> Result<(), Busy> {
        let topic = Topic::Channel(channel.clone());
        self.send_to(&topic, RosterMessage::Happened(input))
    }
}
