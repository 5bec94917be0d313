//! A shard of rosters: the task that owns them.

mod windows;

use std::collections::HashMap;
use std::sync::Arc;

use presence_core::cluster::{Request, Subject};
use presence_core::explain::RoomReport;
use presence_core::rosters::{Effect, Hearers, Input, Page, Rosters};
use presence_core::users::Answer;
use presence_core::{
    ChannelId, Event, SessionId, Span, Timestamp, Topic, UserId, Watching, shrink_after_burst,
};
use tokio::sync::{mpsc, oneshot};

use self::windows::TopicWindows;
use crate::backlog::Backlog;
use crate::clock::WallClock;
use crate::counters::Counters;
use crate::hooks::Changes;
use crate::link::Link;
use crate::mailbox::{Occupied, ReplyTo, RosterCount, RosterMessage, Watch};
use crate::pending::sleep_until;
use crate::send_queue::SendQueue;
use crate::shared_event::SharedEvent;

/// The number of messages that the list of those that were found together keeps room for.
const MESSAGES_KEPT: usize = 256;

/// A caller that wants to read the state of a topic.
#[derive(Debug)]
enum Looker {
    List {
        offset: usize,
        limit: usize,
        reply: oneshot::Sender<Page>,
    },
    Rows {
        span: Span,
        offset: usize,
        limit: usize,
        reply: oneshot::Sender<Page>,
    },
    Typing(oneshot::Sender<Vec<UserId>>),
    Report(ChannelId, oneshot::Sender<RoomReport>),
}

pub(crate) struct RosterShard {
    clock: WallClock,
    /// The time at which this turn of the loop began. Everything that is found together happens at that moment.
    now: Timestamp,
    rosters: Rosters,
    /// The way to the shared store, if there is one.
    link: Option<Link>,
    /// Requests that had no room on their way to the store, and must not be lost.
    unsent: Vec<Request>,
    /// How often the process had stood still when this shard last looked.
    stops: u64,
    /// Callers that wait until the state of a topic is known.
    lookers: HashMap<Topic, Vec<Looker>>,
    counters: Arc<Counters>,
    backlog: Arc<Backlog>,
    watchers: HashMap<Topic, HashMap<SessionId, (Watching, Arc<SendQueue>)>>,
    /// The last whole state of each topic that was told, until something else is told: many sessions join at once, and
    /// share its encoding.
    snapshots: HashMap<Topic, Arc<SharedEvent>>,
    windows: HashMap<Topic, TopicWindows>,
    /// Where changes of who is in a channel are noted for webhooks, on a node that is alone.
    changes: Option<Arc<Changes>>,
}

impl RosterShard {
    pub(crate) fn new(
        clock: WallClock,
        rosters: Rosters,
        link: Option<Link>,
        counters: Arc<Counters>,
        backlog: Arc<Backlog>,
    ) -> Self {
        RosterShard {
            now: clock.now(),
            clock,
            rosters,
            stops: 0,
            link,
            unsent: Vec::new(),
            lookers: HashMap::new(),
            counters,
            backlog,
            watchers: HashMap::new(),
            snapshots: HashMap::new(),
            windows: HashMap::new(),
            changes: None,
        }
    }

    /// The same shard, which notes in `changes` which channels have changed.
    pub(crate) fn announcing(mut self, changes: Arc<Changes>) -> Self {
        self.changes = Some(changes);
        self
    }

    /// Runs until nobody is left who could send a message.
    ///
    /// Each turn of the loop takes everything that is in the mailbox, and only then do the topics speak. So what was
    /// found together is one event, and the more there is to do, the more is found together.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<RosterMessage>) {
        let mut effects = Vec::new();
        let mut messages = Vec::with_capacity(MESSAGES_KEPT);
        let turn_max = inbox.max_capacity();
        loop {
            let deadline = self.rosters.next_deadline();
            let wakes = deadline.map(|it| self.clock.instant(it));
            let found = tokio::select! {
                received = inbox.recv_many(&mut messages, turn_max) => match received {
                    0 => return,
                    received => received,
                },
                () = sleep_until(wakes) => 0,
            };
            self.now = self.clock.now();
            self.look_whether_it_woke(&mut effects);
            for message in messages.drain(..) {
                self.take(message, &mut effects);
                self.perform(&mut effects);
            }
            messages.shrink_to(MESSAGES_KEPT);
            for request in std::mem::take(&mut self.unsent) {
                self.ask(request);
            }
            // A message that was found alone did not have to wait.
            let waiting = found.saturating_sub(1) + self.backlog.woken();
            self.rosters.note_backlog(waiting);
            self.rosters.expire(self.now, &mut effects);
            self.perform(&mut effects);
        }
    }

    /// Checks whether the process stood still, before anything else is looked at.
    fn look_whether_it_woke(&mut self, effects: &mut Vec<Effect<ReplyTo>>) {
        let Some(link) = &self.link else {
            return;
        };
        if let Some(news) = link.pulse().woke(&mut self.stops, self.now) {
            self.rosters.hear_news(self.now, news, effects);
            self.perform(effects);
        }
    }

    // Longer than a screen because it is a table: an arm for each message.
    fn take(&mut self, message: RosterMessage, effects: &mut Vec<Effect<ReplyTo>>) {
        let now = self.now;
        match message {
            RosterMessage::Happened(input) => self.happened(input, effects),
            RosterMessage::Stored(topic, reply) => {
                let input = Input::Stored { topic, reply };
                self.rosters.handle(now, input, effects);
            }
            RosterMessage::Announced(announced) => {
                for (topic, reply) in announced {
                    let input = Input::Stored { topic, reply };
                    self.rosters.handle(now, input, effects);
                }
            }
            RosterMessage::News(news) => self.rosters.hear_news(now, news, effects),
            RosterMessage::Watch(watch) => self.watch(watch, effects),
            RosterMessage::Unwatch {
                topic,
                watcher,
                send_queue,
            } => {
                self.unwatch(topic, watcher, &send_queue, effects);
            }
            RosterMessage::List {
                topic,
                offset,
                limit,
                reply,
            } => {
                let looker = Looker::List {
                    offset,
                    limit,
                    reply,
                };
                self.look(topic, looker, effects);
            }
            RosterMessage::OpenWindow(open) => self.open_window(open, effects),
            RosterMessage::CloseWindow {
                topic,
                session,
                number,
                send_queue,
            } => self.close_window(topic, (session, number), &send_queue, effects),
            RosterMessage::Rows {
                topic,
                span,
                offset,
                limit,
                reply,
            } => {
                let looker = Looker::Rows {
                    span,
                    offset,
                    limit,
                    reply,
                };
                self.look(topic, looker, effects);
            }
            RosterMessage::Typing { topic, reply } => {
                self.look(topic, Looker::Typing(reply), effects);
            }
            RosterMessage::Report {
                channel,
                looks: true,
                reply,
            } => {
                let topic = Topic::Channel(channel.clone());
                self.look(topic, Looker::Report(channel, reply), effects);
            }
            RosterMessage::Report { channel, reply, .. } => {
                let _ = reply.send(self.rosters.report(&channel));
            }
            RosterMessage::TellAtOnce(done) => {
                self.rosters.tell_at_once(now, effects);
                let _ = done.send(());
            }
            RosterMessage::Count(reply) => {
                let _ = reply.send(self.count());
            }
            RosterMessage::Channels(reply) => {
                let _ = reply.send(self.occupied());
            }
            RosterMessage::Levels(limit, reply) => {
                let _ = reply.send(self.rosters.room_levels(now, limit));
            }
        }
    }

    fn happened(&mut self, input: Input<ReplyTo>, effects: &mut Vec<Effect<ReplyTo>>) {
        let written = match (&self.changes, &input) {
            (Some(changes), Input::Wrote { topic, .. }) => Some((changes, topic.clone())),
            _ => None,
        };
        self.rosters.handle(self.now, input, effects);
        // Afterwards, so that a reader that finds the note reads the new state.
        if let Some((changes, Topic::Channel(channel))) = written {
            changes.note_channel(self.now, &channel);
        }
    }

    fn count(&self) -> RosterCount {
        RosterCount {
            channels: self.rosters.active_channels(),
            typing: self.rosters.typing_count(),
        }
    }

    /// The channels of this shard in which somebody can be seen.
    fn occupied(&self) -> Vec<Occupied> {
        let channels = self.rosters.channels();
        let occupied = channels.map(|(channel, people, sessions)| Occupied {
            channel: channel.clone(),
            people,
            sessions,
        });
        occupied.collect()
    }

    fn watch(&mut self, watch: Watch, effects: &mut Vec<Effect<ReplyTo>>) {
        let Watch {
            topic,
            watcher,
            watching,
            have,
            send_queue,
            reply_to,
        } = watch;
        let watchers = self.watchers.entry(topic.clone()).or_default();
        let before = watchers.insert(watcher, (watching, send_queue));
        let input = Input::Watched {
            topic,
            watcher,
            watching,
            before: before.map(|(watching, _)| watching),
            have,
            reply_to,
        };
        self.rosters.handle(self.now, input, effects);
    }

    /// Forgets a watcher, unless it watches through a newer connection.
    fn unwatch(
        &mut self,
        topic: Topic,
        watcher: SessionId,
        send_queue: &Arc<SendQueue>,
        effects: &mut Vec<Effect<ReplyTo>>,
    ) {
        let Some(watchers) = self.watchers.get_mut(&topic) else {
            return;
        };
        match watchers.get(&watcher) {
            Some((_, it)) if Arc::ptr_eq(it, send_queue) => {}
            _ => return,
        }
        let Some((watching, _)) = watchers.remove(&watcher) else {
            return;
        };
        shrink_after_burst(watchers);
        if watchers.is_empty() {
            self.watchers.remove(&topic);
            self.snapshots.remove(&topic);
            shrink_after_burst(&mut self.watchers);
        }
        let input = Input::Unwatched { topic, watching };
        self.rosters.handle(self.now, input, effects);
    }

    /// Answers at once if this node is alone; otherwise when the state of the topic on other nodes is known.
    fn look(&mut self, topic: Topic, looker: Looker, effects: &mut Vec<Effect<ReplyTo>>) {
        if self.link.is_none() {
            return self.show(&topic, looker);
        }
        let lookers = self.lookers.entry(topic.clone()).or_default();
        lookers.push(looker);
        self.rosters
            .handle(self.now, Input::Looked { topic }, effects);
    }

    fn show(&mut self, topic: &Topic, looker: Looker) {
        match looker {
            Looker::List {
                offset,
                limit,
                reply,
            } => {
                let _ = reply.send(self.rosters.list(topic, offset, limit));
            }
            Looker::Rows {
                span,
                offset,
                limit,
                reply,
            } => {
                let page = self.rosters.rows(self.now, topic, &span, offset, limit);
                let _ = reply.send(page);
            }
            Looker::Typing(reply) => {
                let _ = reply.send(self.rosters.typing(topic));
            }
            Looker::Report(channel, reply) => {
                let _ = reply.send(self.rosters.report(&channel));
            }
        }
    }

    fn ask(&mut self, request: Request) {
        let Some(link) = &self.link else {
            return;
        };
        let subject = request.subject().clone();
        if matches!(request, Request::Open { .. }) {
            // A close that has been waiting for room would end what begins now.
            self.unsent.retain(|it| *it.subject() != subject);
        }
        match (link.ask(request), subject) {
            (Ok(None), _) => {}
            (Ok(Some(reply)), Subject::Topic(topic)) => {
                let mut effects = Vec::new();
                let input = Input::Stored { topic, reply };
                self.rosters.handle(self.now, input, &mut effects);
                self.perform(&mut effects);
            }
            (Ok(Some(_)), Subject::User(_) | Subject::Node(_)) => {}
            (Err(request), _) => self.unsent.push(request),
        }
    }

    fn perform(&mut self, effects: &mut Vec<Effect<ReplyTo>>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Ask(request) => self.ask(request),
                Effect::Known { topic } => {
                    for looker in self.lookers.remove(&topic).into_iter().flatten() {
                        self.show(&topic, looker);
                    }
                }
                Effect::Tell {
                    topic,
                    to: Hearers::Window(number, sessions),
                    event,
                } => self.tell_windows(&topic, number, &sessions, event),
                Effect::Tell { topic, to, event } => self.tell(&topic, &to, event),
                Effect::Grant { reply_to } => reply_to.answer(Ok(Answer::Done)),
                Effect::Refuse { reply_to, why } => reply_to.answer(Err(why)),
            }
        }
    }

    fn tell(&mut self, topic: &Topic, to: &Hearers, event: Arc<Event>) {
        let Some(watchers) = self.watchers.get(topic) else {
            self.snapshots.remove(topic);
            return;
        };
        Counters::add(&self.counters.told, 1);
        let shared = match self.snapshots.get(topic) {
            Some(shared) if Arc::ptr_eq(&shared.event, &event) => shared.clone(),
            _ => Arc::new(SharedEvent::new(event)),
        };
        if matches!(*shared.event, Event::Everyone { .. }) {
            self.snapshots.insert(topic.clone(), shared.clone());
        } else if !matches!(to, Hearers::One(_)) {
            self.snapshots.remove(topic);
        }
        let all = || watchers.iter();
        let want = |summary| {
            all().filter(move |(_, (watching, _))| (*watching == Watching::Summary) == summary)
        };
        let mut reached = 0;
        let mut give = |send_queue: &SendQueue| {
            send_queue.tell(&shared);
            reached += 1;
        };
        match to {
            Hearers::Full => want(false).for_each(|(_, (_, send_queue))| give(send_queue)),
            Hearers::Summary => want(true).for_each(|(_, (_, send_queue))| give(send_queue)),
            Hearers::FullBut(one) => want(false)
                .filter(|(watcher, _)| *watcher != one)
                .for_each(|(_, (_, send_queue))| give(send_queue)),
            Hearers::AllBut(except) => all()
                .filter(|(watcher, _)| !except.contains(watcher))
                .for_each(|(_, (_, send_queue))| give(send_queue)),
            Hearers::One(one) => {
                if let Some((_, send_queue)) = watchers.get(one) {
                    give(send_queue);
                }
            }
            // These are told through their windows.
            Hearers::Window(..) => {}
        }
        // What one watcher gets is an answer to it, and no event of the room.
        if !matches!(to, Hearers::One(_)) {
            let measured = &self.counters.measured;
            measured.fanout.observe(reached);
            if let Some(waited) = self.rosters.told_after(topic) {
                measured.change_to_told.observe_span(waited);
            }
        }
    }
}
