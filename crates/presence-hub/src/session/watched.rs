//! The topics and users that a session watches.

use presence_core::{Topic, TopicVersion, UserId, Watching, Window};

use super::{BUSY, Busy, Reference, Session};
use crate::delivery::Watched;
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage, Watch};

/// The topics that a session watches. They are few as a rule, and looked up for every event.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<(Topic, Watched)>);

impl Topics {
    fn place(&self, topic: &Topic) -> Result<usize, usize> {
        self.0.binary_search_by(|(it, _)| it.cmp(topic))
    }

    pub(super) fn contains(&self, topic: &Topic) -> bool {
        self.place(topic).is_ok()
    }

    pub(super) fn get(&self, topic: &Topic) -> Option<&Watched> {
        self.place(topic).ok().map(|index| &self.0[index].1)
    }

    pub(super) fn get_mut(&mut self, topic: &Topic) -> Option<&mut Watched> {
        self.place(topic).ok().map(|index| &mut self.0[index].1)
    }

    pub(super) fn insert(&mut self, topic: Topic, watched: Watched) {
        match self.place(&topic) {
            Ok(index) => self.0[index].1 = watched,
            Err(index) => {
                // One is what most have: not four, as a vector would make room for.
                self.0.reserve_exact(usize::from(self.0.is_empty()));
                self.0.insert(index, (topic, watched));
            }
        }
    }

    pub(super) fn remove(&mut self, topic: &Topic) {
        if let Ok(index) = self.place(topic) {
            self.0.remove(index);
        }
    }

    /// How many states are on their way.
    pub(super) fn coming(&self) -> usize {
        self.0.iter().filter(|(_, it)| it.is_coming).count()
    }

    /// Notes that the states on their way were dropped.
    pub(super) fn nothing_is_coming(&mut self) {
        self.0.iter_mut().for_each(|(_, it)| it.is_coming = false);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.0.iter().map(|(topic, _)| topic)
    }

    pub(super) fn into_topics(self) -> impl Iterator<Item = Topic> {
        self.0.into_iter().map(|(topic, _)| topic)
    }
}

/// What a connection watches, and the version of each topic that its client has: see [`Session::watched`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    /// The channels and workspaces, each with how much the client is told and the version that it has.
    pub topics: Vec<(Topic, Watching, Option<TopicVersion>)>,
    /// The users whose public view the client is told.
    pub users: Vec<UserId>,
    /// The windows, each with the number that the session gave it.
    pub windows: Vec<(Topic, u32, Window)>,
}

impl Session {
    /// What this connection watches, to take it along to the client's next connection. A client that keeps the pictures
    /// of what it watches is then told only what it has missed.
    ///
    /// ```text
    /// let (resume, mut watches) = (first.connection(), first.watched());
    /// drop(first);                                             // the connection broke
    /// let mut second = hub.connect(ConnectRequest { resume: Some(resume), ..request }).await?;
    /// second.watch_again(&mut watches)?;
    /// ```
    pub fn watched(&self) -> Watches {
        let topics = self.topics.0.iter();
        Watches {
            topics: topics
                .map(|(topic, it)| (topic.clone(), it.watching, it.known))
                .collect(),
            users: self.users.iter().cloned().collect(),
            windows: self
                .windows()
                .map(|(topic, number, window)| (topic.clone(), number, window.clone()))
                .collect(),
        }
    }

    /// Watches everything in `watches`, and takes each out as soon as it is watched. The missing changes of a topic follow
    /// if they are still kept, otherwise its whole state; the rows of a window are always sent again.
    ///
    /// # Errors
    ///
    /// [`Busy`]: `watches` has what is not watched yet. The call can be repeated.
    pub fn watch_again(&mut self, watches: &mut Watches) -> Result<(), Busy> {
        while let Some((topic, watching, have)) = watches.topics.last().cloned() {
            self.watch(topic, watching, have, None)?;
            watches.topics.pop();
        }
        while let Some(user) = watches.users.last().cloned() {
            self.watch_user(user, None)?;
            watches.users.pop();
        }
        while let Some((topic, number, window)) = watches.windows.last().cloned() {
            self.open_window(topic, number, window, None)?;
            watches.windows.pop();
        }
        Ok(())
    }

    /// How many topics and users the session watches.
    pub fn watches(&self) -> usize {
        self.topics.len() + self.users.len()
    }

    /// The users that the session watches.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.users.iter()
    }

    /// The channels and workspaces that the session watches.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Whether the session watches `topic`.
    pub fn watches_topic(&self, topic: &Topic) -> bool {
        self.topics.contains(topic)
    }

    /// Whether the session watches `user`.
    pub fn watches_user(&self, user: &UserId) -> bool {
        self.users.contains(user)
    }

    /// Watches a channel or a workspace. `have` is the version that the client has, if any: the missing changes follow
    /// if they are still kept, otherwise the whole state.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn watch(
        &mut self,
        topic: Topic,
        watching: Watching,
        have: Option<TopicVersion>,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        if self.has_to_wait(&topic) {
            self.asks += 1;
            let ask = self.asks;
            self.ask_for_later(topic, (watching, have), ask, reference);
            return Ok(());
        }
        let have = self.usable(&topic, watching, have);
        let ask = self.asks + 1;
        let reply_to = self.reply_to_undoing(&topic, ask, reference);
        let message = self.watch_message(topic.clone(), watching, have, reply_to);
        self.send_to(&topic, message)?;
        self.asks = ask;
        self.note(topic, watching, have, ask);
        Ok(())
    }

    /// Notes that a state of `topic` was asked for.
    pub(super) fn note(
        &mut self,
        topic: Topic,
        watching: Watching,
        known: Option<TopicVersion>,
        ask: u32,
    ) {
        let watched = Watched {
            watching,
            known,
            ask,
            is_coming: true,
        };
        self.topics.insert(topic, watched);
    }

    /// The version of a topic that the client has. It is of no use if the client has only seen a summary and
    /// now wants everyone.
    pub(super) fn usable(
        &self,
        topic: &Topic,
        watching: Watching,
        have: Option<TopicVersion>,
    ) -> Option<TopicVersion> {
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

    pub(super) fn unwatch_quietly(&mut self, topic: &Topic) -> Result<(), Busy> {
        if !self.topics.contains(topic) {
            return Ok(());
        }
        let message = self.unwatch_message(topic.clone());
        self.send_to(topic, message)?;
        self.topics.remove(topic);
        self.forget_later(topic);
        Ok(())
    }

    /// Watches a user: the session is told how the user looks now, and whenever that changes.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn watch_user(&mut self, user: UserId, reference: Option<Reference>) -> Result<(), Busy> {
        let message = self.watch_user_message(user.clone(), reference);
        let mailbox = self.people.of(&user);
        mailbox.try_send(message).map_err(|_| BUSY)?;
        self.counts_as_heard();
        self.users.insert(user);
        Ok(())
    }

    /// Stops watching a user, and answers the command.
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
            self.counts_as_heard();
            self.users.remove(user);
        }
        self.grant(reference);
        Ok(())
    }

    pub(super) fn watch_message(
        &self,
        topic: Topic,
        watching: Watching,
        have: Option<TopicVersion>,
        reply_to: Option<ReplyTo>,
    ) -> RosterMessage {
        RosterMessage::Watch(Watch {
            topic,
            watcher: self.connection.session,
            watching,
            have,
            send_queue: self.send_queue.clone(),
            reply_to,
        })
    }

    pub(super) fn watch_user_message(
        &self,
        user: UserId,
        reference: Option<Reference>,
    ) -> UserMessage {
        UserMessage::Watch {
            user,
            watcher: self.connection.session,
            send_queue: self.send_queue.clone(),
            reply_to: self.reply_to(reference),
        }
    }

    pub(super) fn unwatch_user_message(&self, user: UserId) -> UserMessage {
        UserMessage::Unwatch {
            user,
            watcher: self.connection.session,
            send_queue: self.send_queue.clone(),
        }
    }

    pub(super) fn unwatch_message(&self, topic: Topic) -> RosterMessage {
        RosterMessage::Unwatch {
            topic,
            watcher: self.connection.session,
            send_queue: self.send_queue.clone(),
        }
    }
}
