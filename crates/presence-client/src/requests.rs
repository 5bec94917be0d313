//! Commands on their way: those that wait for a connection, and those that wait for their answer.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use crate::PresenceError;
use crate::wire::event;
use crate::wire::{Command, Event, Json, Mode, Ref, TopicId};

/// What the gateway has been told, with what to take back if it refuses.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Join,
    Update { before: Option<Json> },
    Leave,
    Watch,
    Unwatch { before: Option<Mode> },
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

/// What waits for an answer of the gateway.
#[derive(Debug)]
pub(crate) enum Asked {
    Request(Request),
    Place(TopicId, Told),
    /// The mending of a gap: the state that follows is the answer.
    Heal,
}

/// Commands to send, and those that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    next_ref: u64,
    asked: BTreeMap<u64, Asked>,
    queue: VecDeque<Request>,
    /// To be sent in this order on the connection that is there.
    pub(crate) commands: VecDeque<Command>,
}

impl Outbox {
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
        let ref_ = Some(self.new_ref().1);
        let heartbeat = crate::wire::command::Heartbeat { ref_ };
        self.commands.push_back(heartbeat.into());
    }

    fn new_ref(&mut self) -> (u64, Ref) {
        self.next_ref += 1;
        (self.next_ref, Ref::from(self.next_ref))
    }

    fn ask(&mut self, asked: Asked, mut command: Command) -> u64 {
        let (number, ref_) = self.new_ref();
        command.set_ref(Some(ref_));
        self.commands.push_back(command);
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
                .retain(|_, it| !matches!(it, Asked::Request(it) if it.answer.is_closed()));
        }
        self.queue.retain(|it| !it.answer.is_closed());
        let why = match online {
            true if self.asked.len() < ASKED_MAX => {
                let command = request.command.clone();
                self.ask(Asked::Request(request), command);
                return;
            }
            true => PresenceError::TooMany(ASKED_MAX),
            false if request.again == Again::Never => PresenceError::Disconnected,
            false if self.queue.len() < QUEUE_MAX => return self.queue.push_back(request),
            false => PresenceError::TooMany(QUEUE_MAX),
        };
        let _ = request.answer.send(Err(why));
    }

    /// What an `ok`, a `pong` or an `error` answers; `None` if it answers no command that is waited for.
    pub(crate) fn answered(&mut self, ref_: Option<&Ref>) -> Option<(u64, Asked)> {
        let number = ref_?.as_json().parse().ok()?;
        Some((number, self.asked.remove(&number)?))
    }

    /// There is a connection: what waited for one is sent.
    pub(crate) fn online(&mut self) {
        for request in std::mem::take(&mut self.queue) {
            self.request(request, true);
        }
    }

    /// The connection was lost: what may be repeated waits for the next one.
    pub(crate) fn lost(&mut self) {
        self.commands.clear();
        for (_, asked) in std::mem::take(&mut self.asked) {
            let Asked::Request(request) = asked else {
                continue;
            };
            match request.again {
                Again::Always => self.queue.push_back(request),
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

/// The result of a command, out of the event that answers it.
pub(crate) fn result(event: Event) -> Result<Event, PresenceError> {
    match event {
        Event::Error(it) => Err(PresenceError::Refused(event::Error { ref_: None, ..it })),
        event => Ok(event),
    }
}
