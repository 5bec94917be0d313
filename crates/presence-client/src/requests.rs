//! Commands on their way: those that wait for a connection, and those that wait for their answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::PresenceError;
use crate::pace::{Class, Pace, Rates};
use crate::wire::event;
use crate::wire::{Command, Event, Json, Mode, Ref, TopicId};

/// What the gateway has been told, with what to take back if it refuses.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Join,
    Update {
        meta: Option<Json>,
        before: Option<Json>,
    },
    Leave,
    Watch,
    Unwatch {
        before: Option<Mode>,
    },
}

/// How many requests wait for a connection.
const QUEUE_MAX: usize = 100;

/// How many requests wait for an answer.
const ASKED_MAX: usize = 1000;

/// What to do with a request that has no connection, or whose answer was lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It waits for a connection, and is sent again if the answer was lost.
    Always,
    /// It waits for a connection, and is sent once.
    Once,
    /// It is worth nothing later.
    Never,
}

/// Where the answer to a request is sent.
pub(crate) type Answer = oneshot::Sender<Result<Event, PresenceError>>;

/// A command that is answered.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) again: Again,
    pub(crate) answer: Answer,
}

/// Some people, by their ids.
pub(crate) type Ids = BTreeSet<Arc<str>>;

/// A window as the gateway knows it: its place, and its number there.
pub(crate) type Number = (TopicId, u32);

/// What waits for an answer of the gateway.
#[derive(Debug)]
pub(crate) enum Asked {
    /// With its place among all commands, which it keeps when it is sent again.
    Request(Request, u64),
    /// To watch the status of these people, or not to.
    People(bool, Ids),
    Window(Number),
    Place(TopicId, Told),
    /// The mending of a gap: the state that follows is the answer.
    Heal,
}

impl Asked {
    /// The kind of the command, if it has to be kept from being sent too fast.
    pub(crate) fn class(&self) -> Option<Class> {
        Some(match self {
            Asked::Request(it, _) => Class::of(&it.command),
            Asked::Place(_, Told::Join | Told::Update { .. } | Told::Leave) => Class::Join,
            Asked::Place(..) | Asked::People(..) | Asked::Heal => Class::Watch,
            // Its refusal may be about the bytes of its rows, which hold up nothing else.
            Asked::Window(_) => return None,
        })
    }
}

/// Commands to send, and those that wait for their answer.
#[derive(Debug)]
pub(crate) struct Outbox {
    next_ref: u64,
    asked: BTreeMap<u64, Asked>,
    queue: VecDeque<Request>,
    /// To be sent on the connection that is there. Each has its place among all commands, in rising order.
    commands: VecDeque<(u64, Command)>,
    pace: Pace,
    /// When a command that waits for its turn can be sent.
    due: Option<Instant>,
}

impl Outbox {
    pub(crate) fn new(rates: Rates) -> Self {
        Outbox {
            next_ref: 0,
            asked: BTreeMap::new(),
            queue: VecDeque::new(),
            commands: VecDeque::new(),
            pace: Pace::new(rates),
            due: None,
        }
    }

    /// The next command that may be sent at `now`. Commands of one kind keep their order, and what is done in a channel comes after
    /// joining it and before leaving it. What its caller has given up is not sent any more.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Command> {
        loop {
            let index = self.find_next(now)?;
            let (_, command) = self.commands.remove(index)?;
            if !self.is_given_up(&command) {
                return Some(command);
            }
            self.answered(command.ref_());
        }
    }

    fn find_next(&mut self, now: Instant) -> Option<usize> {
        self.due = None;
        let (mut lanes, mut joins, mut others) = (0, BTreeSet::new(), BTreeSet::new());
        for (index, (_, command)) in self.commands.iter().enumerate() {
            let class = Class::of(command);
            let channel = channel_of(command);
            let waits = |it| joins.contains(it) || class == Class::Join && others.contains(it);
            if lanes & class.lane() == 0 && !channel.is_some_and(waits) {
                if self.is_given_up(command) {
                    return Some(index);
                }
                match self.pace.take(now, class) {
                    Ok(()) => return Some(index),
                    Err(until) => self.due = self.due.into_iter().chain([until]).min(),
                }
            }
            lanes |= class.lane();
            match class {
                Class::Join => joins.extend(channel),
                _ => others.extend(channel),
            }
        }
        None
    }

    fn is_given_up(&self, command: &Command) -> bool {
        let asked = number(command).and_then(|it| self.asked.get(&it));
        matches!(asked, Some(Asked::Request(it, _)) if it.answer.is_closed())
    }

    /// When [`next`](Self::next) has another command, if it had none because of the pace.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The gateway has refused a command of `class` as sent too fast: no other is sent before `wait` is over.
    pub(crate) fn hold(&mut self, class: Class, wait: Duration) {
        self.pace.hold(Instant::now() + wait, class);
    }

    /// Sends a request again that was refused as sent too fast, at its place among the others.
    pub(crate) fn send_again(&mut self, request: Request, order: u64) {
        if request.answer.is_closed() {
            return;
        }
        let (number, ref_) = self.new_ref();
        let mut command = request.command.clone();
        command.set_ref(Some(ref_));
        let index = self.commands.partition_point(|(it, _)| *it < order);
        self.commands.insert(index, (order, command));
        self.asked.insert(number, Asked::Request(request, order));
    }

    /// Watches the status of people, or ends that. Returns the reference that the answer will have.
    pub(crate) fn watch_people(&mut self, is_watch: bool, ids: Ids, command: Command) -> u64 {
        self.ask(Asked::People(is_watch, ids), command)
    }

    /// Opens or closes a window. Returns the reference that the answer will have.
    pub(crate) fn tell_window(&mut self, window: Number, command: Command) -> u64 {
        self.ask(Asked::Window(window), command)
    }

    /// Tells the gateway what is wanted of a place. Returns the reference that the answer will have.
    pub(crate) fn tell(&mut self, place: &TopicId, told: Told, command: Command) -> u64 {
        self.ask(Asked::Place(place.clone(), told), command)
    }

    /// Watches a place again.
    pub(crate) fn heal(&mut self, command: Command) {
        self.ask(Asked::Heal, command);
    }

    /// Sends a heartbeat. Its answer shows that the gateway is there.
    pub(crate) fn heartbeat(&mut self) {
        let (number, ref_) = self.new_ref();
        let ref_ = Some(ref_);
        let heartbeat = crate::wire::command::Heartbeat { ref_ };
        self.commands.push_back((number, heartbeat.into()));
    }

    fn new_ref(&mut self) -> (u64, Ref) {
        self.next_ref += 1;
        (self.next_ref, Ref::from(self.next_ref))
    }

    fn ask(&mut self, asked: Asked, mut command: Command) -> u64 {
        let (number, ref_) = self.new_ref();
        command.set_ref(Some(ref_));
        self.commands.push_back((number, command));
        self.asked.insert(number, asked);
        number
    }

    /// Sends `request`, or lets it wait if there is no connection. A request whose caller has given up is dropped.
    pub(crate) fn request(&mut self, request: Request, online: bool) {
        if request.answer.is_closed() {
            return;
        }
        // Some have stopped waiting.
        if self.asked.len() >= ASKED_MAX {
            self.asked
                .retain(|_, it| !matches!(it, Asked::Request(it, _) if it.answer.is_closed()));
        }
        self.queue.retain(|it| !it.answer.is_closed());
        let why = match online {
            true if self.asked.len() < ASKED_MAX => {
                self.replace_older(&request.command);
                let command = request.command.clone();
                let order = self.next_ref + 1;
                self.ask(Asked::Request(request, order), command);
                return;
            }
            true => PresenceError::TooMany(ASKED_MAX),
            false if request.again == Again::Never => PresenceError::Disconnected,
            false if self.queue.len() < QUEUE_MAX => return self.queue.push_back(request),
            false => PresenceError::TooMany(QUEUE_MAX),
        };
        let _ = request.answer.send(Err(why));
    }

    /// Of cursors and of typing in one channel only the latest that waits is sent. The others are as good as done.
    fn replace_older(&mut self, newer: &Command) {
        let is_older = |it: &Command| match (it, newer) {
            (Command::Cursor(it), Command::Cursor(newer)) => it.channel == newer.channel,
            (Command::Typing(it), Command::Typing(newer)) => it.channel == newer.channel,
            _ => false,
        };
        let Some(index) = self.commands.iter().position(|(_, it)| is_older(it)) else {
            return;
        };
        let older = self.commands.remove(index);
        let ref_ = older.as_ref().and_then(|(_, it)| it.ref_());
        if let Some((_, Asked::Request(it, _))) = self.answered(ref_) {
            let (ref_, result) = (None, None);
            let _ = it.answer.send(Ok(Event::Ok(event::Ok { ref_, result })));
        }
    }

    /// What an `ok`, a `pong` or an `error` answers; `None` if it answers no command that is waited for.
    pub(crate) fn answered(&mut self, ref_: Option<&Ref>) -> Option<(u64, Asked)> {
        let number = number_of(ref_?)?;
        Some((number, self.asked.remove(&number)?))
    }

    /// There is a connection: what waited for one is sent.
    pub(crate) fn online(&mut self) {
        self.pace.reset();
        for request in std::mem::take(&mut self.queue) {
            self.request(request, true);
        }
    }

    /// The connection was lost: what may be repeated waits for the next one.
    pub(crate) fn lost(&mut self) {
        let unsent = std::mem::take(&mut self.commands).into_iter();
        let unsent: BTreeSet<u64> = unsent.filter_map(|(_, it)| number(&it)).collect();
        self.due = None;
        let asked = std::mem::take(&mut self.asked).into_iter();
        let requests = asked.filter_map(|(number, it)| match it {
            Asked::Request(request, order) => Some((order, number, request)),
            _ => None,
        });
        let mut requests: Vec<_> = requests.collect();
        // What was refused as sent too fast has a later number than its place.
        requests.sort_unstable_by_key(|(order, ..)| *order);
        for (_, number, request) in requests {
            match request.again {
                Again::Always => self.queue.push_back(request),
                Again::Once if unsent.contains(&number) => self.queue.push_back(request),
                _ => drop(request.answer.send(Err(PresenceError::Disconnected))),
            }
        }
    }

    /// No connection will come.
    pub(crate) fn closed(&mut self, error: &PresenceError) {
        self.lost();
        for request in self.queue.drain(..) {
            let _ = request.answer.send(Err(error.clone()));
        }
    }
}

fn number_of(ref_: &Ref) -> Option<u64> {
    ref_.as_json().parse().ok()
}

/// The number by which the answer to a command is recognised.
fn number(command: &Command) -> Option<u64> {
    command.ref_().and_then(number_of)
}

/// The channel that a command of somebody who is in it is about.
fn channel_of(command: &Command) -> Option<&str> {
    Some(match command {
        Command::Join(it) => &it.channel,
        Command::Update(it) => &it.channel,
        Command::Leave(it) => it.channel.as_deref()?,
        Command::Typing(it) => &it.channel,
        Command::Cursor(it) => &it.channel,
        Command::Selection(it) => &it.channel,
        Command::Broadcast(it) => &it.channel,
        _ => return None,
    })
}

/// The result of a command, out of the event that answers it.
pub(crate) fn result(event: Event) -> Result<Event, PresenceError> {
    match event {
        Event::Error(it) => Err(PresenceError::Refused(event::Error { ref_: None, ..it })),
        event => Ok(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_as_too_fast_keeps_its_place_over_a_reconnect() {
        let mut out = Outbox::new(Rates::default());
        let mut callers = Vec::new();
        for event in ["one", "two"] {
            let (answer, caller) = oneshot::channel();
            callers.push(caller);
            let broadcast = crate::wire::command::Broadcast {
                ref_: None,
                channel: "room:1".to_owned(),
                event: event.to_owned(),
                payload: None,
            };
            let request = Request {
                command: broadcast.into(),
                again: Again::Always,
                answer,
            };
            out.request(request, true);
        }
        let first = out.next(Instant::now());
        let ref_ = first.as_ref().and_then(Command::ref_);
        let Some((_, Asked::Request(request, order))) = out.answered(ref_) else {
            panic!("{first:?}");
        };
        out.send_again(request, order);
        out.lost();
        out.online();
        let sent = std::iter::from_fn(|| out.next(Instant::now()));
        let sent = sent.map(|it| match it {
            Command::Broadcast(it) => it.event,
            other => panic!("{other:?}"),
        });
        assert_eq!(sent.collect::<Vec<_>>(), ["one", "two"]);
    }
}
