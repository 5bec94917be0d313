//! What a session's person does.

use std::sync::Arc;

use presence_core::users::{Activity, Input};
use presence_core::{
    ChannelId, Clock as Version, Meta, Payload, Pointer, Selection, StatusChange, Topic, Watching,
    WorkspaceId, rosters,
};

use super::{BUSY, Busy, Reference, Session};
use crate::people::{self, Asker};
use crate::places;

impl Session {
    /// Says that its client is alive.
    ///
    /// # Errors
    ///
    /// [`Busy`]; the next time will do.
    pub fn heard(&self) -> Result<(), Busy> {
        self.happened(Input::Heard {
            by: self.connection,
        })
    }

    /// Says whether its person is active, idle, or has it in the background.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn report(&self, activity: Activity, reference: Option<Reference>) -> Result<(), Busy> {
        self.happened(Input::Reported {
            by: self.connection,
            activity,
            asker: self.asker(reference),
        })
    }

    /// Enters a channel, or changes the meta there; with `watch` also watches it, from the state that the client has, if any.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn join(
        &mut self,
        channel: ChannelId,
        meta: Arc<Meta>,
        watch: Option<(Watching, Option<Version>)>,
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
            asker: match wanted {
                Some(_) => self.asker_undoing(&topic, ask, reference),
                None => self.asker(reference),
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

    /// Changes the meta in a channel it is in.
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
            asker: self.asker(reference),
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

    /// Is in the online lists of these workspaces from now on and in no others, and says `card` about itself there.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn move_to(&self, workspaces: Vec<WorkspaceId>, card: Arc<Meta>) -> Result<(), Busy> {
        self.happened(Input::Moved {
            by: self.connection,
            workspaces,
            card,
            asker: None,
        })
    }

    /// Leaves a channel, and stops watching it.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn depart(&mut self, channel: ChannelId, reference: Option<Reference>) -> Result<(), Busy> {
        let topic = Topic::Channel(channel.clone());
        let departed = channel.clone();
        self.happened(Input::Departed {
            by: self.connection,
            channel,
            asker: self.asker(reference),
        })?;
        self.joined.retain(|(it, _)| *it != departed);
        self.unwatch_quietly(&topic)
    }

    /// Changes the status of its user; answered when that is safely kept.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn choose(&self, change: StatusChange, reference: Option<Reference>) -> Result<(), Busy> {
        // One that nobody waits for is only kept if it changes anything.
        let asker = match reference {
            Some(_) => self.asker(reference),
            None => None,
        };
        self.happened(Input::Chose { change, asker })
    }

    /// Says that its person types in a channel, or has stopped.
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
                asker: self.asker(reference),
            },
        )
    }

    /// Says where its person points in a channel.
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
                asker: self.asker(reference),
            },
        )
    }

    /// Says what its person has selected in a channel.
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
                asker: self.asker(reference),
            },
        )
    }

    /// Tells everyone who watches a channel it is in.
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
                asker: self.asker(reference),
            },
        )
    }

    /// Answers a command that needed nobody else, in the order of everything else it is told.
    pub fn grant(&self, reference: Option<Reference>) {
        self.outbox.answer(reference, Ok(()), None);
    }

    fn happened(&self, input: Input<Asker>) -> Result<(), Busy> {
        let message = people::Message::Happened(self.user.clone(), input);
        self.people
            .of(&self.user)
            .try_send(message)
            .map_err(|_| BUSY)
    }

    fn happened_in(&self, channel: &ChannelId, input: rosters::Input<Asker>) -> Result<(), Busy> {
        let topic = Topic::Channel(channel.clone());
        self.send_to(&topic, places::Message::Happened(input))
    }
}
