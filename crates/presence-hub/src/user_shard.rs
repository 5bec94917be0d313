//! A shard of users: the task that owns them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{Incarnation, News, Request, Subject};
use presence_core::explain::{RECORDED_MAX, UserReport};
use presence_core::history::{Cause, History, Transition, TransitionKind};
use presence_core::ports::{Orphan, Profiles};
use presence_core::users::{Answer, Audience, Connection, Effect, Input, Users};
use presence_core::{
    Event, Reason, Refusal, SessionId, Topic, UserId, rosters, shrink_after_burst,
};
use tokio::sync::{mpsc, oneshot};

use crate::clock::WallClock;
use crate::counters::Counters;
use crate::delivery::Ended;
use crate::hooks::Changes;
use crate::link::Link;
use crate::mailbox::{PeopleCount, ReplyTo, RosterMessage, UserMessage, Watch, Welcome};
use crate::pending::sleep_until;
use crate::profile_writer::{Answers, ProfileWriter, Unread, WriterEvent};
use crate::save_outcomes::SaveOutcomes;
use crate::send_queue::SendQueue;
use crate::session_journal::SessionJournal;
use crate::shards::Shards;
use crate::shared_event::SharedEvent;

/// The number of messages that the list of those that were found together keeps room for.
const MESSAGES_KEPT: usize = 256;

/// The queue of a connection that wants to be let in, and who waits for the answer.
type WaitingConnection = (Arc<SendQueue>, oneshot::Sender<Result<Welcome, Refusal>>);

pub(crate) struct UserShard<P> {
    clock: WallClock,
    users: Users<ReplyTo>,
    writer: ProfileWriter<P>,
    rosters: Shards<RosterMessage>,
    /// The way to the shared store, if there is one.
    link: Option<Link>,
    /// How often the process had stood still when that was last checked.
    stops: u64,
    /// Where the outcomes of saves are reported, to acknowledge the rows of the outbox.
    save_outcomes: Option<SaveOutcomes>,
    /// Where the sessions are stored for the next process, if they are.
    journal: Option<SessionJournal>,
    /// Requests that had no room on their way to the store, and must not be lost.
    unsent: Vec<Request>,
    /// Whether the shared store does not answer.
    is_store_away: bool,
    counters: Arc<Counters>,
    /// The live connection of each session.
    connections: HashMap<SessionId, (u32, Arc<SendQueue>)>,
    watchers: HashMap<UserId, Vec<(SessionId, Arc<SendQueue>)>>,
    /// What happened lately to the users of this shard.
    history: History,
    /// Where changes of how others see users are noted for webhooks, on a node that is alone.
    changes: Option<Arc<Changes>>,
}

impl<P: Profiles> UserShard<P> {
    pub(crate) fn new(
        clock: WallClock,
        users: Users<ReplyTo>,
        store: Arc<P>,
        rosters: Shards<RosterMessage>,
        link: Option<Link>,
        save_outcomes: Option<SaveOutcomes>,
        counters: Arc<Counters>,
    ) -> Self {
        UserShard {
            stops: 0,
            clock,
            users,
            writer: ProfileWriter::new(store, counters.clone()),
            rosters,
            link,
            save_outcomes,
            journal: None,
            unsent: Vec::new(),
            is_store_away: false,
            counters,
            connections: HashMap::new(),
            watchers: HashMap::new(),
            history: History::new(0, None),
            changes: None,
        }
    }

    /// The same shard. It reports to `changes` which users look different to others.
    pub(crate) fn announcing(mut self, changes: Arc<Changes>) -> Self {
        self.users.announce_looks();
        self.changes = Some(changes);
        self
    }

    /// The same shard, which keeps what happens to its users: at most so many bytes, and for at most this long.
    pub(crate) fn recording(mut self, bytes_max: usize, age_max: Option<Duration>) -> Self {
        self.history = History::new(bytes_max, age_max);
        self
    }

    /// The same shard, which stores its sessions for the next process.
    pub(crate) fn remembering(mut self, journal: SessionJournal) -> Self {
        self.users.keep_sessions();
        self.journal = Some(journal);
        self
    }

    /// Runs until it is told to stop, or until nobody is left who could send a message. Each turn of the loop takes
    /// everything that is in the mailbox, and then ends what has expired.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<UserMessage>) {
        let mut effects = Vec::new();
        let mut messages = Vec::with_capacity(MESSAGES_KEPT);
        let turn_max = inbox.max_capacity();
        loop {
            let deadline = self.users.next_deadline();
            let wakes = deadline.map(|it| self.clock.instant(it));
            tokio::select! {
                received = inbox.recv_many(&mut messages, turn_max) => {
                    if received == 0 {
                        return self.keep_everything().await;
                    }
                    self.look_whether_it_woke().await;
                    for message in messages.drain(..) {
                        if let UserMessage::Stop(done) = message {
                            self.keep_everything().await;
                            let _ = done.send(());
                            return;
                        }
                        self.take(message, &mut effects).await;
                    }
                    messages.shrink_to(MESSAGES_KEPT);
                }
                kept = self.writer.done() => self.kept(kept, &mut effects).await,
                () = sleep_until(wakes) => {}
            }
            for request in std::mem::take(&mut self.unsent) {
                self.ask(request).await;
            }
            self.look_whether_it_woke().await;
            self.expire().await;
        }
    }

    /// Checks whether the process stood still, before anything else is looked at.
    async fn look_whether_it_woke(&mut self) {
        let Some(link) = &self.link else {
            return;
        };
        let now = self.clock.now();
        if let Some(news) = link.pulse().woke(&mut self.stops, now) {
            self.hear(news).await;
        }
    }

    async fn hear(&mut self, news: News) {
        let mut effects = Vec::new();
        self.users.hear_news(self.clock.now(), news, &mut effects);
        for (user, effect) in effects {
            self.perform(&user, effect).await;
        }
    }

    async fn take(&mut self, message: UserMessage, effects: &mut Vec<Effect<ReplyTo>>) {
        match message {
            UserMessage::Happened(user, input) => {
                if let Input::Ended { by, .. } | Input::Vanished { by, .. } = &input {
                    self.forget(*by);
                }
                self.handle(&user, input, effects).await;
            }
            UserMessage::Stored(user, reply) => {
                self.handle(&user, Input::Stored(reply), effects).await;
            }
            UserMessage::News(news) => self.hear(news).await,
            UserMessage::Away(is_away) => {
                self.is_store_away = is_away;
                let shared = store_away(is_away);
                for (_, send_queue) in self.connections.values() {
                    send_queue.tell(&shared);
                }
            }
            UserMessage::Forward(topic, message) => {
                let _ = self.rosters.of(&topic).send(message).await;
            }
            UserMessage::Watch {
                user,
                watcher,
                send_queue,
                reply_to,
            } => {
                let watcher = (watcher, send_queue);
                self.watch(user, watcher, reply_to, effects).await;
            }
            UserMessage::Unwatch {
                user,
                watcher,
                send_queue,
            } => {
                if self.unwatch(&user, watcher, &send_queue) {
                    self.handle(&user, Input::Unwatched, effects).await;
                }
            }
            UserMessage::Count(reply) => {
                let _ = reply.send(PeopleCount {
                    online: self.users.online(),
                    waiting_since: self.writer.oldest(),
                });
            }
            UserMessage::Report(user, reply) => {
                let now = self.clock.now();
                self.history.expire(now);
                let _ = reply.send(UserReport {
                    transitions: self.history.of_user(&user, RECORDED_MAX),
                    ..self.users.report(now, &user)
                });
            }
            UserMessage::Recorded(channel, reply) => {
                self.history.expire(self.clock.now());
                let _ = reply.send(self.history.of_channel(&channel, RECORDED_MAX));
            }
            UserMessage::Recent {
                query,
                place: (node, ring),
                reply,
            } => {
                self.history.expire(self.clock.now());
                let _ = reply.send(self.history.recent(&query, node, ring));
            }
            UserMessage::Unrecord(user, done) => {
                self.history.erase(&user);
                let _ = done.send(());
            }
            UserMessage::Orphaned(who, orphan) => self.record_orphan(who, orphan),
            UserMessage::Hold(span, done) => {
                self.users.hold(self.clock.now(), span);
                let _ = done.send(());
            }
            UserMessage::Stop(_) => {}
        }
    }

    async fn watch(
        &mut self,
        user: UserId,
        (watcher, send_queue): (SessionId, Arc<SendQueue>),
        reply_to: Option<ReplyTo>,
        effects: &mut Vec<Effect<ReplyTo>>,
    ) {
        let watchers = self.watchers.entry(user.clone()).or_default();
        // Watching again, as those do who lost track, is answered again but counts once.
        let again = watchers.iter().position(|(it, _)| *it == watcher);
        if let Some(index) = again {
            watchers.swap_remove(index);
            self.handle(&user, Input::Unwatched, effects).await;
        }
        let watchers = self.watchers.entry(user.clone()).or_default();
        watchers.push((watcher, send_queue));
        let input = Input::Watched { watcher, reply_to };
        self.handle(&user, input, effects).await;
    }

    /// Forgets a watcher of `user`. Returns false if it does not watch them, or does so through a newer connection.
    fn unwatch(&mut self, user: &UserId, watcher: SessionId, send_queue: &Arc<SendQueue>) -> bool {
        let Some(watchers) = self.watchers.get_mut(user) else {
            return false;
        };
        let is_it =
            |(id, it): &(SessionId, Arc<SendQueue>)| *id == watcher && Arc::ptr_eq(it, send_queue);
        let Some(index) = watchers.iter().position(is_it) else {
            return false;
        };
        watchers.swap_remove(index);
        if watchers.is_empty() {
            self.watchers.remove(user);
            shrink_after_burst(&mut self.watchers);
        }
        true
    }

    async fn handle(
        &mut self,
        user: &UserId,
        input: Input<ReplyTo>,
        effects: &mut Vec<Effect<ReplyTo>>,
    ) {
        let is_erasing = matches!(input, Input::Erased { .. });
        self.users.handle(self.clock.now(), user, input, effects);
        if let Some(journal) = &mut self.journal {
            let changes = effects.extract_if(.., |it| matches!(it, Effect::Remember(_)));
            journal.collect(changes);
            journal.write(&self.users, self.clock.now(), is_erasing);
        }
        for effect in effects.drain(..) {
            self.perform(user, effect).await;
        }
    }

    async fn expire(&mut self) {
        let mut effects = Vec::new();
        self.users.expire(self.clock.now(), &mut effects);
        self.remember(&mut effects);
        for (user, effect) in effects {
            self.perform(&user, effect).await;
        }
    }

    /// Takes the effects out that have to be remembered, and writes them before anything else is performed.
    fn remember(&mut self, effects: &mut Vec<(UserId, Effect<ReplyTo>)>) {
        if let Some(journal) = &mut self.journal {
            let changes = effects.extract_if(.., |(_, it)| matches!(it, Effect::Remember(_)));
            journal.collect(changes.map(|(_, effect)| effect));
            journal.write(&self.users, self.clock.now(), false);
        }
    }

    async fn kept(&mut self, kept: WriterEvent, effects: &mut Vec<Effect<ReplyTo>>) {
        match kept {
            WriterEvent::Loaded(profiles, unread) => {
                for (user, profile) in profiles {
                    self.handle(&user, Input::Loaded { profile }, effects).await;
                }
                self.unread(unread, effects).await;
            }
            WriterEvent::Unread(users) => self.unread(users, effects).await,
            WriterEvent::Saved(Answers { granted, refused }, outcomes) => {
                let granted = granted.into_iter();
                granted.for_each(|reply_to| reply_to.answer(Ok(Answer::Done)));
                let refused = refused.into_iter();
                refused.for_each(|reply_to| reply_to.answer(Err(Refusal::Unavailable)));
                if let Some(save_outcomes) = &self.save_outcomes {
                    save_outcomes.tell(outcomes);
                }
            }
            WriterEvent::Nothing => {}
        }
    }

    async fn unread(&mut self, users: Vec<(UserId, Unread)>, effects: &mut Vec<Effect<ReplyTo>>) {
        for (user, why) in users {
            let input = match why {
                Unread::Away => Input::Unread,
                Unread::Unreadable => Input::Unreadable,
            };
            self.handle(&user, input, effects).await;
        }
    }

    async fn ask(&mut self, request: Request) {
        let Some(link) = &self.link else {
            return;
        };
        let subject = match &request {
            Request::HidePlace { user, .. } => Subject::User(user.clone()),
            request => request.subject().clone(),
        };
        if matches!(request, Request::Open { .. }) {
            // A close that has been waiting for room would end what begins now.
            self.unsent.retain(|it| *it.subject() != subject);
        }
        match (link.ask(request), subject) {
            (Ok(None), _) => {}
            (Ok(Some(reply)), Subject::User(user)) => {
                let input = Input::Stored(reply);
                Box::pin(self.handle(&user, input, &mut Vec::new())).await;
            }
            (Ok(Some(_)), Subject::Topic(_) | Subject::Node(_)) => {}
            (Err(request), _) => self.unsent.push(request),
        }
    }

    /// Records that a session ended with its node.
    fn record_orphan(&mut self, who: Incarnation, orphan: Orphan) {
        let Orphan {
            user,
            session,
            channels,
        } = orphan;
        let at = self.clock.now();
        let transition = |channel, what| Transition {
            at,
            user: user.clone(),
            session: Some(session),
            channel,
            what,
            cause: Cause::NodeLost,
        };
        for channel in channels {
            let what = TransitionKind::Left(Reason::NodeLost);
            self.history.push(transition(Some(channel), what));
        }
        self.history
            .push(transition(None, TransitionKind::NodeDied(who)));
    }

    // Longer than a screen because it is a table: an arm for each effect.
    async fn perform(&mut self, user: &UserId, effect: Effect<ReplyTo>) {
        match effect {
            Effect::Record(transition) => self.history.push(transition),
            Effect::Ask(request) => self.ask(request).await,
            Effect::LooksDifferent => {
                if let Some(changes) = &self.changes {
                    changes.note_user(self.clock.now(), user);
                }
            }
            // It has been written already, or nobody wants it.
            Effect::Remember(_) => {}
            Effect::Welcome {
                connection,
                restored,
                reply_to,
            } => {
                if let ReplyTo::Welcome { send_queue, reply } = reply_to {
                    let waiting = (send_queue, reply);
                    self.welcome(user, connection, restored, waiting).await;
                }
            }
            Effect::Close { connection, reason } => self.close(connection, reason),
            Effect::Write {
                topic,
                session,
                entry,
                is_shared,
            } => {
                let input = rosters::Input::Wrote {
                    topic: topic.clone(),
                    session,
                    entry,
                    is_shared,
                };
                self.happened_in(&topic, input).await;
            }
            Effect::Watch {
                topic,
                watcher,
                watching,
                have,
                reply_to,
            } => {
                if let Some((_, send_queue)) = self.connections.get(&watcher) {
                    let mailbox = self.rosters.of(&topic);
                    let watch = Watch {
                        topic,
                        watcher,
                        watching,
                        have,
                        send_queue: send_queue.clone(),
                        reply_to,
                    };
                    let _ = mailbox.send(RosterMessage::Watch(watch)).await;
                }
            }
            Effect::Silence { topic, session } => {
                let input = rosters::Input::Silenced {
                    topic: topic.clone(),
                    session,
                };
                self.happened_in(&topic, input).await;
            }
            Effect::Tell { to, event } => self.tell(user, &to, event),
            Effect::Load => {
                let event = self.writer.load(user.clone());
                self.read_at_once(event).await;
            }
            Effect::LookUp => {
                let event = self.writer.look_up(user.clone());
                self.read_at_once(event).await;
            }
            Effect::Save {
                profile,
                version,
                reply_to,
            } => self.writer.save(profile, version, reply_to),
            Effect::Grant { reply_to, answer } => self.grant(reply_to, answer),
            Effect::Refuse { reply_to, why } => reply_to.answer(Err(why)),
        }
    }

    /// Handles a profile that the writer has at hand, if it has.
    async fn read_at_once(&mut self, event: Option<WriterEvent>) {
        if let Some(event) = event {
            Box::pin(self.kept(event, &mut Vec::new())).await;
        }
    }

    /// Answers a request that was granted. Before its answer, a client is told whether the shared store is away.
    fn grant(&self, reply_to: ReplyTo, answer: Answer) {
        if let ReplyTo::Reader(send_queue) = &reply_to
            && self.link.is_some()
        {
            send_queue.tell(&store_away(self.is_store_away));
        }
        reply_to.answer(Ok(answer));
    }

    /// Lets a waiting connection in. If its client was gone before, its session has lost its connection.
    async fn welcome(
        &mut self,
        user: &UserId,
        connection: Connection,
        restored: bool,
        (send_queue, reply): WaitingConnection,
    ) {
        if self.is_store_away {
            send_queue.tell(&store_away(true));
        }
        let entry = (connection.epoch, send_queue);
        self.connections.insert(connection.session, entry);
        let welcome = Welcome {
            connection,
            alias: self.users.alias(user, connection.session),
            restored,
            joined: self.users.channels(user, connection.session),
        };
        if reply.send(Ok(welcome)).is_err() {
            self.forget(connection);
            let input = Input::Vanished {
                by: connection,
                reason: Reason::Lost,
                cause: Cause::Broken,
            };
            Box::pin(self.handle(user, input, &mut Vec::new())).await;
        }
    }

    /// Ends a connection, unless a newer one has its session.
    fn close(&mut self, connection: Connection, reason: Reason) {
        if let Some((epoch, send_queue)) = self.connections.get(&connection.session)
            && *epoch == connection.epoch
        {
            send_queue.end(Ended::Closed(reason));
            self.connections.remove(&connection.session);
        }
    }

    async fn happened_in(&mut self, topic: &Topic, input: rosters::Input<ReplyTo>) {
        let message = RosterMessage::Happened(input);
        let _ = self.rosters.of(topic).send(message).await;
    }

    fn tell(&self, user: &UserId, to: &Audience, event: Event) {
        Counters::add(&self.counters.told, 1);
        let shared = Arc::new(SharedEvent::new(event.into()));
        let watchers = || self.watchers.get(user).into_iter().flatten();
        match to {
            Audience::Sessions(sessions) => sessions
                .iter()
                .filter_map(|session| self.connections.get(session))
                .for_each(|(_, send_queue)| send_queue.tell(&shared)),
            Audience::Watchers => watchers().for_each(|(_, send_queue)| send_queue.tell(&shared)),
            Audience::Watcher(one) => watchers()
                .filter(|(watcher, _)| watcher == one)
                .for_each(|(_, send_queue)| send_queue.tell(&shared)),
        }
    }

    fn forget(&mut self, by: Connection) {
        let known = self.connections.get(&by.session);
        if known.is_some_and(|(epoch, _)| *epoch == by.epoch) {
            self.connections.remove(&by.session);
            shrink_after_burst(&mut self.connections);
        }
    }

    async fn keep_everything(&mut self) {
        for (_, send_queue) in self.connections.values() {
            send_queue.end(Ended::Stopped);
        }
        let mut effects = Vec::new();
        self.users.note_last_seen(self.clock.now(), &mut effects);
        self.remember(&mut effects);
        for (user, effect) in effects.drain(..) {
            self.perform(&user, effect).await;
        }
        let mut effects = Vec::new();
        self.writer.hurry();
        while !self.writer.is_idle() {
            let kept = self.writer.done().await;
            self.kept(kept, &mut effects).await;
        }
    }
}

impl<P> Drop for UserShard<P> {
    /// Ends the connections of the shard with it, however it ends: nobody would tell them anything any more.
    fn drop(&mut self) {
        for (_, send_queue) in self.connections.values() {
            send_queue.end(Ended::Stopped);
        }
    }
}

/// The event that tells sessions whether the shared store is away.
fn store_away(is_away: bool) -> Arc<SharedEvent> {
    Arc::new(SharedEvent::new(Event::StoreAway { is_away }.into()))
}
