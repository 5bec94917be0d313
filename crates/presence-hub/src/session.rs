//! The handle of one connection.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use presence_core::users::{Activity, Connection, Input};
use presence_core::{
    ChannelId, Clock as Version, Event, Meta, Pointer, Reason, Refusal, Selection, StatusChange,
    Topic, UserId, Watching, rosters,
};

use crate::outbox::{Ended, Found, Outbox, Undo};
use crate::people::{self, Asker};
use crate::places;
use crate::shards::Shards;
use crate::told::Told;

/// What an answer refers to: whatever the one who asked calls its question.
pub type Reference = Box<str>;

/// A mailbox is full. Nothing has changed; the same command may work a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub is busy")]
pub struct Busy {
    /// When it may.
    pub retry_after: Duration,
}

/// Something that a session is told.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An event, which it shares with everyone else who is told it.
    Told(Arc<Told>),
    /// A command that had a reference was done.
    Granted(Reference),
    /// A command was not done.
    Refused(Option<Reference>, Refusal),
    /// The session is over in this connection. Nothing comes after.
    Ended(Ended),
}

impl Delivery {
    pub(crate) fn weight(&self) -> usize {
        match self {
            Delivery::Told(told) => told.weight(),
            Delivery::Granted(reference) | Delivery::Refused(Some(reference), _) => {
                64 + reference.len()
            }
            Delivery::Refused(None, _) => 64,
            Delivery::Ended(_) => 0,
        }
    }
}

/// One connection of a session: says what its person does, and hears what it watches, in one order.
///
/// Commands with a `reference` are answered by a [`Delivery`]; without one, only refusals are.
/// Dropping it is losing the connection: the person stays for the grace time. [`leave`](Self::leave) is a goodbye.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    connection: Connection,
    restored: bool,
    people: Shards<people::Message>,
    outbox: Arc<Outbox>,
    /// The rosters it watches, with the state that it has been told.
    topics: Topics,
    users: HashSet<UserId>,
    /// The channels it is in, or has asked to be.
    joined: Vec<ChannelId>,
    /// What it has to be told again, because it lagged.
    owed: Vec<Owed>,
    /// What was asked for and has not come yet: one at a time, or two big ones would drop each other.
    catching_up: Option<Owed>,
    asks: u32,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    watching: Watching,
    /// The state that it has been told.
    known: Option<Version>,
    /// Which of the session's asks to watch something this is.
    ask: u32,
}

/// What a session watches, by topic: few of them as a rule, and looked up for every event.
#[derive(Debug, Default)]
struct Topics(Vec<(Topic, Watched)>);

impl Topics {
    fn place(&self, topic: &Topic) -> Result<usize, usize> {
        self.0.binary_search_by(|(it, _)| it.cmp(topic))
    }

    fn contains(&self, topic: &Topic) -> bool {
        self.place(topic).is_ok()
    }

    fn get(&self, topic: &Topic) -> Option<&Watched> {
        self.place(topic).ok().map(|index| &self.0[index].1)
    }

    fn get_mut(&mut self, topic: &Topic) -> Option<&mut Watched> {
        self.place(topic).ok().map(|index| &mut self.0[index].1)
    }

    fn insert(&mut self, topic: Topic, watched: Watched) {
        match self.place(&topic) {
            Ok(index) => self.0[index].1 = watched,
            Err(index) => {
                // One is what most have: not four, as a vector would make room for.
                self.0.reserve_exact(usize::from(self.0.is_empty()));
                self.0.insert(index, (topic, watched));
            }
        }
    }

    fn remove(&mut self, topic: &Topic) {
        if let Ok(index) = self.place(topic) {
            self.0.remove(index);
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.0.iter().map(|(topic, _)| topic)
    }

    fn into_topics(self) -> impl Iterator<Item = Topic> {
        self.0.into_iter().map(|(topic, _)| topic)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owed {
    Topic(Topic),
    User(UserId),
    Own,
}

impl Session {
    pub(crate) fn new(
        user: UserId,
        connection: Connection,
        restored: bool,
        joined: Vec<ChannelId>,
        people: Shards<people::Message>,
        outbox: Arc<Outbox>,
    ) -> Self {
        Session {
            user,
            connection,
            restored,
            people,
            outbox,
            topics: Topics::default(),
            users: HashSet::new(),
            joined,
            owed: Vec::new(),
            catching_up: None,
            asks: 0,
            is_over: false,
        }
    }

    /// Whose it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Which session, and which connection of it.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// Whether an earlier connection's session goes on in this one.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// How many topics and users it watches.
    pub fn watches(&self) -> usize {
        self.topics.len() + self.users.len()
    }

    /// The channels that it is in, those of the connection before included, and maybe some that it was refused.
    pub fn joined(&self) -> &[ChannelId] {
        &self.joined
    }

    /// The users that it watches.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.users.iter()
    }

    /// The channels and workspaces that it watches.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Whether it watches `topic`.
    pub fn watches_topic(&self, topic: &Topic) -> bool {
        self.topics.contains(topic)
    }

    /// Whether it watches `user`.
    pub fn watches_user(&self, user: &UserId) -> bool {
        self.users.contains(user)
    }

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
        let watch = watch.map(|(watching, have)| (watching, self.usable(&topic, watching, have)));
        let known = self.joined.contains(&channel);
        let entered = (!known).then(|| channel.clone());
        let new = watch.is_some() && !self.topics.contains(&topic);
        let undo = new.then(|| {
            let ask = self.asks + 1;
            Box::new(Undo {
                topic: topic.clone(),
                ask,
            })
        });
        self.happened(Input::Joined {
            by: self.connection,
            channel,
            meta,
            watch,
            asker: Some(Asker::Connection {
                outbox: self.outbox.clone(),
                reference,
                undo,
            }),
        })?;
        self.joined.extend(entered);
        if let Some((watching, have)) = watch {
            self.note(topic, watching, have);
        }
        Ok(())
    }

    /// Changes the meta in a channel it is in.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn update(
        &self,
        channel: ChannelId,
        meta: Arc<Meta>,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        self.happened(Input::Updated {
            by: self.connection,
            channel,
            meta,
            asker: self.asker(reference),
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
        self.joined.retain(|it| *it != departed);
        self.unwatch_quietly(&topic)
    }

    /// Watches a channel or a workspace, from the state that the client has, if any.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn watch(
        &mut self,
        topic: Topic,
        watching: Watching,
        have: Option<Version>,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        let have = self.usable(&topic, watching, have);
        let message = self.watch_message(topic.clone(), watching, have, reference);
        self.send_to(&topic, message)?;
        self.note(topic, watching, have);
        Ok(())
    }

    fn note(&mut self, topic: Topic, watching: Watching, known: Option<Version>) {
        self.asks += 1;
        let ask = self.asks;
        let watched = Watched {
            watching,
            known,
            ask,
        };
        self.topics.insert(topic, watched);
    }

    /// What a client knows of a topic, unless it has only seen a summary and now wants everyone.
    fn usable(&self, topic: &Topic, watching: Watching, have: Option<Version>) -> Option<Version> {
        match self.topics.get(topic) {
            Some(it) if it.watching == Watching::Summary && watching == Watching::Full => None,
            _ => have,
        }
    }

    /// Stops watching a channel or a workspace.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn unwatch(&mut self, topic: &Topic, reference: Option<Reference>) -> Result<(), Busy> {
        self.unwatch_quietly(topic)?;
        self.grant(reference);
        Ok(())
    }

    fn unwatch_quietly(&mut self, topic: &Topic) -> Result<(), Busy> {
        if !self.topics.contains(topic) {
            return Ok(());
        }
        let message = self.unwatch_message(topic.clone());
        self.send_to(topic, message)?;
        self.topics.remove(topic);
        Ok(())
    }

    /// Watches a user: how they look now, and whenever that changes.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn watch_user(&mut self, user: UserId, reference: Option<Reference>) -> Result<(), Busy> {
        let message = self.watch_user_message(user.clone(), reference);
        let mailbox = self.people.of(&user);
        mailbox.try_send(message).map_err(|_| BUSY)?;
        self.users.insert(user);
        Ok(())
    }

    /// Stops watching a user.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn unwatch_user(
        &mut self,
        user: &UserId,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        if self.users.contains(user) {
            let message = self.unwatch_user_message(user.clone());
            let mailbox = self.people.of(user);
            mailbox.try_send(message).map_err(|_| BUSY)?;
            self.users.remove(user);
        }
        self.grant(reference);
        Ok(())
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

    /// Tells everyone who watches a channel it is in. `payload` is a JSON text.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn say(
        &self,
        channel: ChannelId,
        event: Arc<str>,
        payload: Arc<str>,
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

    /// Why it is over in this connection, for somebody who is too busy to read that far.
    pub fn ended(&self) -> Option<Ended> {
        self.outbox.ended()
    }

    /// What it is told next. Cancelling it loses nothing. After [`Delivery::Ended`] it never returns.
    pub async fn next(&mut self) -> Delivery {
        loop {
            if !self.owed.is_empty() && !self.is_catching_up() {
                Box::pin(self.settle_debts()).await;
            }
            let outbox = self.outbox.clone();
            let found = poll_fn(|context| outbox.poll(Some(context.waker()))).await;
            if let Some(delivery) = self.sort(found) {
                return delivery;
            }
        }
    }

    /// What it is told next, if that is there already: what can go out in the same write.
    pub fn try_next(&mut self) -> Option<Delivery> {
        loop {
            let std::task::Poll::Ready(found) = self.outbox.poll(None) else {
                return None;
            };
            if let Some(delivery) = self.sort(found) {
                return Some(delivery);
            }
        }
    }

    /// Says goodbye: the session is over at once, everywhere.
    pub async fn leave(mut self) {
        let by = self.connection;
        self.close(Input::Left { by }).await;
    }

    /// The connection broke: the person stays for the grace time, in case it comes back.
    pub async fn vanish(mut self, reason: Reason) {
        let by = self.connection;
        self.close(Input::Vanished { by, reason }).await;
    }

    async fn close(&mut self, input: Input<Asker>) {
        self.is_over = true;
        let farewell = self.farewell(input);
        farewell.await;
    }

    /// Everything to be said at the end, for which it waits until there is room.
    fn farewell(&mut self, input: Input<Asker>) -> impl Future<Output = ()> + Send + 'static {
        let own = self.people.of(&self.user).clone();
        let mut messages = Vec::new();
        for topic in std::mem::take(&mut self.topics).into_topics() {
            let message = people::Message::Forward(topic.clone(), self.unwatch_message(topic));
            messages.push((own.clone(), message));
        }
        for user in std::mem::take(&mut self.users) {
            let mailbox = self.people.of(&user).clone();
            messages.push((mailbox, self.unwatch_user_message(user)));
        }
        messages.push((own, people::Message::Happened(self.user.clone(), input)));
        async move {
            for (mailbox, message) in messages {
                // A shard that has ended takes nothing, and nobody is there to miss it.
                let _ = mailbox.send(message).await;
            }
        }
    }

    /// Decides what to make of what was found: keeps the picture of each topic whole.
    fn sort(&mut self, found: Found) -> Option<Delivery> {
        match found {
            Found::Lagged => {
                self.owed
                    .extend(self.topics.iter().cloned().map(Owed::Topic));
                self.owed.extend(self.users.iter().cloned().map(Owed::User));
                self.owed.push(Owed::Own);
                None
            }
            Found::Ended(why) => {
                self.is_over |= matches!(why, Ended::Closed(_));
                Some(Delivery::Ended(why))
            }
            Found::Delivery(Delivery::Told(told), _) => {
                self.follows(&told.event).then_some(Delivery::Told(told))
            }
            Found::Delivery(delivery, undo) => {
                if let Some(Undo { topic, ask }) = undo.map(|it| *it)
                    && self.topics.get(&topic).is_some_and(|it| it.ask == ask)
                {
                    self.topics.remove(&topic);
                }
                Some(delivery)
            }
        }
    }

    /// Notes the version that `event` brings its topic to. What does not follow on what the client has is not for it:
    /// it no longer watches, or a catching-up that covers it is on its way.
    fn follows(&mut self, event: &Event) -> bool {
        match event {
            Event::Everyone { topic, clock, .. }
            | Event::Summary { topic, clock, .. }
            | Event::Unchanged { topic, clock, .. } => match self.topics.get_mut(topic) {
                Some(watched) => {
                    watched.known = Some(*clock);
                    self.caught_up(|it| matches!(it, Owed::Topic(it) if it == topic));
                    true
                }
                None => false,
            },
            Event::Changes { topic, clock, .. } => match self.known(topic) {
                Some(known) if known.epoch == clock.epoch && known.version + 1 == clock.version => {
                    *known = *clock;
                    true
                }
                _ => false,
            },
            Event::Typing { topic, .. }
            | Event::Cursors { topic, .. }
            | Event::Broadcast { topic, .. } => self.topics.contains(topic),
            Event::Face(face) => {
                self.caught_up(|it| matches!(it, Owed::User(it) if *it == face.user));
                self.users.contains(&face.user)
            }
            Event::Own(_) => {
                self.caught_up(|it| *it == Owed::Own);
                true
            }
        }
    }

    fn known(&mut self, topic: &Topic) -> Option<&mut Version> {
        self.topics.get_mut(topic)?.known.as_mut()
    }

    /// Asks again for what was dropped while it lagged, from the state that the client has.
    async fn settle_debts(&mut self) {
        while let (Some(owed), false) = (self.owed.last(), self.is_catching_up()) {
            match owed {
                Owed::Topic(topic) => {
                    if let Some(&Watched {
                        watching, known, ..
                    }) = self.topics.get(topic)
                    {
                        let message = self.watch_message(topic.clone(), watching, known, None);
                        let message = people::Message::Forward(topic.clone(), message);
                        let _ = self.people.of(&self.user).send(message).await;
                    }
                }
                Owed::User(user) => {
                    if self.users.contains(user) {
                        let message = self.watch_user_message(user.clone(), None);
                        let _ = self.people.of(user).send(message).await;
                    }
                }
                Owed::Own => {
                    let asker = Asker::Reader(self.outbox.clone());
                    let as_owner = true;
                    let input = Input::Asked { as_owner, asker };
                    let message = people::Message::Happened(self.user.clone(), input);
                    let _ = self.people.of(&self.user).send(message).await;
                }
            }
            self.catching_up = self.owed.pop();
        }
    }

    /// Whether something was asked for and is still to come.
    fn is_catching_up(&self) -> bool {
        match &self.catching_up {
            None => false,
            Some(Owed::Own) => true,
            Some(Owed::Topic(topic)) => self.topics.contains(topic),
            Some(Owed::User(user)) => self.users.contains(user),
        }
    }

    fn caught_up(&mut self, with: impl FnOnce(&Owed) -> bool) {
        if self.catching_up.as_ref().is_some_and(with) {
            self.catching_up = None;
        }
    }

    fn asker(&self, reference: Option<Reference>) -> Option<Asker> {
        Some(Asker::Connection {
            outbox: self.outbox.clone(),
            reference,
            undo: None,
        })
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

    fn send_to(&self, topic: &Topic, message: places::Message) -> Result<(), Busy> {
        let message = people::Message::Forward(topic.clone(), message);
        let mailbox = self.people.of(&self.user);
        mailbox.try_send(message).map_err(|_| BUSY)
    }

    fn watch_message(
        &self,
        topic: Topic,
        watching: Watching,
        have: Option<Version>,
        reference: Option<Reference>,
    ) -> places::Message {
        places::Message::Watch(places::Watch {
            topic,
            watcher: self.connection.session,
            watching,
            have,
            outbox: self.outbox.clone(),
            asker: self.asker(reference),
        })
    }

    fn watch_user_message(&self, user: UserId, reference: Option<Reference>) -> people::Message {
        people::Message::Watch {
            user,
            watcher: self.connection.session,
            outbox: self.outbox.clone(),
            asker: self.asker(reference),
        }
    }

    fn unwatch_user_message(&self, user: UserId) -> people::Message {
        people::Message::Unwatch {
            user,
            watcher: self.connection.session,
            outbox: self.outbox.clone(),
        }
    }

    fn unwatch_message(&self, topic: Topic) -> places::Message {
        places::Message::Unwatch {
            topic,
            watcher: self.connection.session,
            outbox: self.outbox.clone(),
        }
    }
}

/// A full mailbox has room again within a tick.
pub(crate) const BUSY: Busy = Busy {
    retry_after: Duration::from_millis(50),
};

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_over && self.topics.is_empty() && self.users.is_empty() {
            return;
        }
        let by = self.connection;
        let reason = Reason::Lost;
        let farewell = self.farewell(Input::Vanished { by, reason });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(farewell);
        }
    }
}
