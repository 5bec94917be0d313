//! The people whose status is followed: what we want, and what the gateway has been told on this connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::PresenceError;
use crate::pace::Class;
use crate::requests::{Ids, Outbox};
use crate::wire::event::Status;
use crate::wire::{ErrorCode, Have, Target, command};

/// How many people one command may watch.
const USERS_MAX: usize = 1000;

/// How many bytes of ids one command has at most, so that it fits into a frame.
const IDS_BYTES_MAX: usize = 16 * 1024;

/// Where the outcome of a wish is sent.
pub(crate) type Answer = oneshot::Sender<Result<(), PresenceError>>;

/// What one who follows a person knows of them.
#[derive(Debug)]
pub(crate) struct Known {
    /// Tells this one from others who follow the same person.
    pub(crate) number: u64,
    pub(crate) id: Arc<str>,
    pub(crate) seen: watch::Sender<Seen>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) status: Option<Arc<Status>>,
    pub(crate) live: bool,
    /// Set when nothing more will come.
    pub(crate) error: Option<PresenceError>,
}

/// Everybody whose status is followed.
#[derive(Debug, Default)]
pub(crate) struct People {
    people: BTreeMap<Arc<str>, Person>,
    retry_at: Option<Instant>,
}

/// One person whose status is followed.
#[derive(Debug, Default)]
struct Person {
    /// Those who follow them; nobody if the gateway is yet to be told to stop.
    known: Vec<Arc<Known>>,
    answers: Vec<Answer>,
    told: Told,
    /// The gateway has told their status on this connection.
    live: bool,
    /// The gateway has refused them together with others, so they are asked for alone.
    alone: bool,
    /// What the gateway has told last, on this connection or before.
    version: Option<Have>,
    /// The last status that looked different from the one before.
    status: Option<Arc<Status>>,
}

/// What the gateway has been told of a person on this connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Told {
    #[default]
    Nothing,
    /// The command with this reference asks to watch them.
    Asked(u64),
    Watched,
}

impl People {
    /// Somebody follows a person from now on. [`tell`](Self::tell) says it to the gateway.
    pub(crate) fn follow(&mut self, known: Arc<Known>, answer: Answer) {
        // Whoever has given up has dropped what they would follow with.
        if answer.is_closed() {
            return;
        }
        let person = self.people.entry(known.id.clone()).or_default();
        known.seen.send_modify(|seen| {
            seen.live = person.live;
            seen.status.clone_from(&person.status);
        });
        person.known.push(known);
        match person.told {
            Told::Watched => drop(answer.send(Ok(()))),
            Told::Asked(_) | Told::Nothing => person.answers.push(answer),
        }
    }

    /// One of those who follow a person stops.
    pub(crate) fn unfollow(&mut self, id: &str, number: u64) {
        if let Some(person) = self.people.get_mut(id) {
            person.known.retain(|it| it.number != number);
        }
    }

    /// Tells the gateway what this connection has not been told yet; without a connection, forgets whom nobody follows.
    pub(crate) fn tell(&mut self, out: Option<&mut Outbox>) {
        self.retry_at = None;
        let unwanted = |it: &Person| it.known.is_empty();
        let gone = self.people.iter().filter(|(_, it)| unwanted(it));
        let told = gone.filter(|(_, it)| it.told != Told::Nothing);
        let told: Vec<_> = told.map(|(id, _)| id.clone()).collect();
        self.people.retain(|_, it| !unwanted(it));
        let Some(out) = out else { return };
        for ids in batches(told) {
            self.unwatch(ids, out);
        }
        let untold = || {
            let all = self.people.iter();
            all.filter(|(_, it)| it.told == Told::Nothing)
        };
        let together = untold().filter(|(_, it)| !it.alone);
        let mut asks = batches(together.map(|(id, _)| id.clone()).collect());
        let alone = untold().filter(|(_, it)| it.alone);
        asks.extend(alone.map(|(id, _)| Ids::from([id.clone()])));
        for ids in asks {
            let watch = command::Watch {
                ref_: None,
                target: target(&ids),
                mode: None,
                have: None,
            };
            let ref_ = out.watch_people(true, ids.clone(), watch.into());
            for id in &ids {
                if let Some(person) = self.people.get_mut(id) {
                    person.told = Told::Asked(ref_);
                }
            }
        }
    }

    fn unwatch(&self, ids: Ids, out: &mut Outbox) {
        let target = target(&ids);
        let unwatch = command::Unwatch { ref_: None, target };
        out.watch_people(false, ids, unwatch.into());
    }

    /// The gateway has answered the command with `ref_` about `ids`, which were to be watched or not. Returns errors that nobody
    /// waited for.
    pub(crate) fn answered(
        &mut self,
        ref_: u64,
        is_watch: bool,
        mut ids: Ids,
        result: Result<(), PresenceError>,
        out: &mut Outbox,
    ) -> Vec<PresenceError> {
        let later = result.as_ref().err().and_then(PresenceError::retry_after);
        if !is_watch {
            if let Some(wait) = later {
                out.hold(Class::Watch, wait);
                // Whoever is followed again since then stays watched.
                ids.retain(|it| !self.people.contains_key(it));
                if !ids.is_empty() {
                    self.unwatch(ids, out);
                }
            }
            return Vec::new();
        }
        if let Some(wait) = later {
            let retry_at = Instant::now() + wait.mul_f64(1.0 + fastrand::f64() / 5.0);
            self.retry_at = Some(self.retry_at.map_or(retry_at, |it| it.min(retry_at)));
        }
        let mut unheard = Vec::new();
        let is_one = ids.len() == 1;
        for id in ids {
            let Some(person) = self.people.get_mut(&id) else {
                continue;
            };
            if person.told != Told::Asked(ref_) {
                continue;
            }
            match &result {
                Ok(()) => {
                    person.told = Told::Watched;
                    person.answer(&Ok(()));
                }
                Err(_) if later.is_some() => person.told = Told::Nothing,
                Err(_) if !is_one => (person.told, person.alone) = (Told::Nothing, true),
                Err(error) => {
                    if let Some(mut person) = self.people.remove(&id) {
                        if !person.answer(&Err(error.clone())) {
                            unheard.push(error.clone());
                        }
                        person.end(error);
                    }
                }
            }
        }
        if later.is_none() && result.is_err() {
            self.tell(Some(out));
        }
        unheard
    }

    /// The gateway has told a status.
    pub(crate) fn hear(&mut self, status: Status) {
        let Some(person) = self.people.get_mut(&status.user_id) else {
            return;
        };
        // A late event of somebody whom this connection was not asked to watch.
        if person.told == Told::Nothing {
            return;
        }
        let (epoch, version) = (status.epoch, status.version);
        if person
            .version
            .is_some_and(|it| it.epoch == epoch && version < it.version)
        {
            return;
        }
        person.version = Some(Have { epoch, version });
        let looks_the_same = person.status.as_ref().is_some_and(|old| {
            let (epoch, version) = (old.epoch, old.version);
            let status = status.clone();
            **old
                == Status {
                    epoch,
                    version,
                    ..status
                }
        });
        if !looks_the_same {
            person.status = Some(Arc::new(status));
        }
        person.live = true;
        person.show(|seen| {
            seen.live = true;
            seen.status.clone_from(&person.status);
        });
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(crate) fn on_time(&mut self, now: Instant, out: Option<&mut Outbox>) {
        if self.retry_at.is_some_and(|it| it <= now) {
            self.tell(out);
        }
    }

    /// The connection is gone. The last statuses stay, and are not live.
    pub(crate) fn lost(&mut self) {
        self.retry_at = None;
        for person in self.people.values_mut() {
            (person.told, person.live, person.alone) = (Told::Nothing, false, false);
            person.show(|seen| seen.live = false);
        }
        self.tell(None);
    }

    /// The gateway does not let us watch these people any more.
    pub(crate) fn removed(&mut self, ids: &[String]) {
        let why = "you may not watch this user any more";
        let error = PresenceError::refused(ErrorCode::Forbidden, why);
        for id in ids {
            if let Some(mut person) = self.people.remove(&**id) {
                person.answer(&Err(error.clone()));
                person.end(&error);
            }
        }
    }

    /// No connection will come.
    pub(crate) fn closed(&mut self, error: &PresenceError) {
        for mut person in std::mem::take(&mut self.people).into_values() {
            person.answer(&Err(error.clone()));
            person.end(error);
        }
    }
}

impl Person {
    /// Answers whoever waits for it. Returns whether anybody did.
    fn answer(&mut self, result: &Result<(), PresenceError>) -> bool {
        let answers = std::mem::take(&mut self.answers).into_iter();
        answers.fold(false, |is_heard, it| {
            is_heard | it.send(result.clone()).is_ok()
        })
    }

    fn show(&self, change: impl Fn(&mut Seen)) {
        self.known
            .iter()
            .for_each(|it| it.seen.send_modify(&change));
    }

    fn end(&self, error: &PresenceError) {
        self.show(|seen| (seen.live, seen.error) = (false, Some(error.clone())));
    }
}

fn target(ids: &Ids) -> Target {
    Target::Users(ids.iter().map(ToString::to_string).collect())
}

/// The ids in as few parts as fit into a command each.
fn batches(ids: Vec<Arc<str>>) -> Vec<Ids> {
    let mut batches = Vec::<Ids>::new();
    let mut bytes = 0;
    for id in ids {
        bytes += id.len();
        match batches.last_mut() {
            Some(last) if last.len() < USERS_MAX && bytes <= IDS_BYTES_MAX => {
                last.insert(id);
            }
            _ => {
                bytes = id.len();
                batches.push(Ids::from([id]));
            }
        }
    }
    batches
}
