//! A channel or a workspace: what we want of it, what the gateway has been told on this connection, and what it
//! told us. Wishes are compared with what was told, so that a reconnect is only telling again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::requests::{Outbox, Told};
use crate::room::{Room, RoomState};
use crate::stays::{Stay, Stays, Whose};
use crate::wire::{Command, ErrorCode, Event, Have, Json, Mode, Target, TopicId, command};
use crate::{Difference, Gap, Picture, PresenceError, PresenceEvent};

/// How many callers may wait for one place at once.
const WAITERS_MAX: usize = 100;

/// The time between two attempts to mend a gap.
const HEAL_EVERY: Duration = Duration::from_secs(1);

/// Where the outcome of a wish is sent.
pub(crate) type Answer = oneshot::Sender<Result<(), PresenceError>>;

/// What an app wants of a place.
#[derive(Debug)]
pub(crate) enum Wish {
    Join(Whose, Stay),
    Exit(Whose),
    Update(Json),
    Leave,
    Watch(Mode),
    Unwatch,
}

/// A channel or a workspace as the gateway knows it.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    /// Who wants to be in it, and how.
    stays: Stays,
    /// How we want to watch it without being in it.
    watch: Option<Mode>,
    told_joined: bool,
    told_meta: Option<Json>,
    told_mode: Option<Mode>,
    /// The gateway may believe that our session is inside: it did once, and a restored session still is.
    inside: bool,
    /// Callers who wait until the gateway can be told.
    waiting: Vec<Answer>,
    /// Callers who wait for answers, with the references of these.
    asking: Vec<(Vec<u64>, Answer)>,
    unanswered: Vec<u64>,
    /// A version that the gateway has announced; the picture may be behind it.
    announced: Option<Have>,
    retry_at: Option<Instant>,
    heal_at: Option<Instant>,
    forget_at: Option<Instant>,
}

impl Place {
    pub(crate) fn new(room: Arc<Room>) -> Self {
        Place {
            room,
            stays: Stays::default(),
            watch: None,
            told_joined: false,
            told_meta: None,
            told_mode: None,
            inside: false,
            waiting: Vec::new(),
            asking: Vec::new(),
            unanswered: Vec::new(),
            announced: None,
            retry_at: None,
            heal_at: None,
            forget_at: None,
        }
    }

    fn id(&self) -> &TopicId {
        self.room.id()
    }

    /// Whether nothing is wanted of the place and the gateway need not be told anything.
    pub(crate) fn is_done(&self) -> bool {
        self.stays.is_empty()
            && self.watch.is_none()
            && !self.told_joined
            && !self.inside
            && self.told_mode.is_none()
            && self.unanswered.is_empty()
            && self.waiting.is_empty()
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.retry_at, self.heal_at, self.forget_at];
        deadlines.into_iter().flatten().min()
    }

    /// The app wants something else from now on. [`tell`](Self::tell) says it to the gateway.
    pub(crate) fn wish(&mut self, wish: Wish, answer: Answer) {
        // An exit follows by itself when an `enter` was refused, whose error is to be read after that.
        let is_new = !matches!(wish, Wish::Exit(_) | Wish::Leave);
        match wish {
            // Whoever has given up has dropped what they would be in with.
            Wish::Join(Whose::Entered(_), _) if answer.is_closed() => {}
            Wish::Join(whose, stay) => self.stays.add(whose, stay),
            Wish::Exit(whose) => self.stays.remove(whose),
            Wish::Update(meta) => {
                if !self.stays.update(meta) {
                    let first = "join the channel first";
                    let error = PresenceError::refused(ErrorCode::NotJoined, first);
                    let _ = answer.send(Err(error));
                    return;
                }
            }
            Wish::Leave => self.stays.clear(),
            Wish::Watch(mode) => self.watch = Some(mode),
            Wish::Unwatch => self.watch = None,
        }
        if is_new {
            self.publish(|state| state.error = None);
        }
        // Some have stopped waiting.
        self.waiting.retain(|it| !it.is_closed());
        if self.waiting.len() + self.asking.len() < WAITERS_MAX {
            self.waiting.push(answer);
        } else {
            let _ = answer.send(Err(PresenceError::TooMany(WAITERS_MAX)));
        }
    }

    /// Whether a wish needs no gateway: there is nothing to undo.
    pub(crate) fn settle_offline(&mut self) {
        if self.stays.is_empty() && self.watch.is_none() && !self.inside {
            self.reset();
            self.waiting.drain(..).for_each(|it| drop(it.send(Ok(()))));
        }
    }

    /// Tells the gateway what this connection has not been told yet.
    pub(crate) fn tell(&mut self, out: &mut Outbox) {
        self.retry_at = None;
        let mut refs = Vec::new();
        for (told, command) in self.untold() {
            refs.push(out.tell(self.room.id(), told, command));
        }
        self.unanswered.extend(&refs);
        if self.told_mode.is_none() && self.have().is_some() {
            self.reset();
        }
        let joined = self.told_joined;
        self.publish(|state| state.joined &= joined);
        // If the commands were sent already, the caller waits for their answers.
        let needs = match refs.is_empty() {
            true => self.unanswered.clone(),
            false => refs,
        };
        for answer in std::mem::take(&mut self.waiting) {
            match needs.is_empty() {
                true => drop(answer.send(Ok(()))),
                false => self.asking.push((needs.clone(), answer)),
            }
        }
    }

    /// What this connection has yet to be told. From now on it counts as told.
    fn untold(&mut self) -> Vec<(Told, Command)> {
        let join = self.stays.wish();
        let mode = match &join {
            Some(stay) if stay.watch.is_some() => stay.watch,
            _ => self.watch,
        };
        let mut untold = Vec::new();
        if let (Some(stay), TopicId::Channel(id)) = (join, self.room.id()) {
            let channel = id.to_string();
            let meta = stay.meta;
            if !self.told_joined {
                let join = command::Join {
                    ref_: None,
                    channel,
                    meta: meta.clone(),
                    watch: Some(mode.is_some()),
                    mode,
                    have: self.have_for(mode),
                };
                untold.push((Told::Join, join.into()));
                (self.told_joined, self.told_mode, self.inside) = (true, mode, true);
                self.told_meta = meta;
            } else if meta != self.told_meta {
                let before = std::mem::replace(&mut self.told_meta, meta.clone());
                let update = command::Update {
                    ref_: None,
                    channel,
                    meta: meta.clone().unwrap_or_else(|| Json::checked("{}".into())),
                };
                untold.push((Told::Update { meta, before }, update.into()));
            }
        } else if let (true, TopicId::Channel(id)) = (self.told_joined, self.room.id()) {
            let leave = command::Leave {
                ref_: None,
                channel: Some(id.to_string()),
            };
            untold.push((Told::Leave, leave.into()));
            self.told_joined = false;
            // The watch goes with it, and what follows puts right what does not.
            if mode.is_some() {
                self.told_mode = None;
            }
        }
        if mode.is_some() && self.told_mode != mode {
            untold.push((Told::Watch, self.watch_again(mode, self.have_for(mode))));
        } else if let (None, before @ Some(_)) = (mode, self.told_mode) {
            let unwatch = command::Unwatch {
                ref_: None,
                target: self.target(),
            };
            untold.push((Told::Unwatch { before }, unwatch.into()));
        }
        self.told_mode = mode;
        untold
    }

    fn watch_again(&self, mode: Option<Mode>, have: Option<Have>) -> Command {
        command::Watch {
            ref_: None,
            target: self.target(),
            mode,
            have,
        }
        .into()
    }

    fn target(&self) -> Target {
        match self.id() {
            TopicId::Channel(id) => Target::Channel(id.to_string()),
            TopicId::Workspace(id) => Target::Workspace(id.to_string()),
        }
    }

    fn have(&self) -> Option<Have> {
        self.room.read(|state| state.picture.have())
    }

    /// The version that we have, if it is of what we ask for: a count is no substitute for a list.
    fn have_for(&self, mode: Option<Mode>) -> Option<Have> {
        self.room.read(|state| {
            let picture = &state.picture;
            picture.have().filter(|_| mode == Some(picture.mode()))
        })
    }

    /// The gateway has answered what it was told. Returns the error of a final refusal, and whether a caller has heard of it.
    pub(crate) fn answered(
        &mut self,
        ref_: u64,
        told: Told,
        answer: Result<(), PresenceError>,
    ) -> Option<(PresenceError, bool)> {
        self.unanswered.retain(|it| *it != ref_);
        let came = answer.is_ok() && matches!(told, Told::Join);
        let result = match answer {
            Ok(()) => {
                if let Told::Leave = told {
                    self.inside = self.told_joined;
                }
                Ok(())
            }
            Err(error) => match error.retry_after() {
                Some(wait) => {
                    self.take_back(&told, false);
                    let wait = wait.mul_f64(1.0 + fastrand::f64() / 5.0);
                    self.retry_at = Instant::now().checked_add(wait);
                    Err(None)
                }
                // A client that is not inside, or does not watch, has what it wants.
                None if matches!(told, Told::Leave | Told::Unwatch { .. }) => {
                    if let Told::Leave = told {
                        self.inside = self.told_joined;
                    }
                    Ok(())
                }
                None => {
                    self.take_back(&told, true);
                    Err(Some(error))
                }
            },
        };
        let is_heard = self.settle(ref_, &result);
        let error = result.err().flatten();
        let joined = self.told_joined;
        self.publish(|state| {
            state.joined = joined && (state.joined || came);
            if error.is_some() {
                state.error.clone_from(&error);
            }
        });
        error.map(|it| (it, is_heard))
    }

    /// The gateway has refused something: it is said again later, or the wish is dropped if the refusal is final.
    fn take_back(&mut self, told: &Told, is_final: bool) {
        match told {
            Told::Join => {
                (self.told_joined, self.told_mode) = (false, None);
                if is_final {
                    self.stays.clear();
                    self.inside = false;
                }
            }
            Told::Update { meta, before } => {
                if self.told_meta == *meta {
                    self.told_meta.clone_from(before);
                }
                if is_final {
                    self.stays.forget_meta(meta, before);
                }
            }
            Told::Leave => self.told_joined = true,
            Told::Watch => {
                self.told_mode = None;
                if is_final {
                    self.watch = None;
                    self.stays.forget_watch();
                }
            }
            Told::Unwatch { before } => self.told_mode = *before,
        }
    }

    /// Answers the callers who waited for `ref_`; those whose wish is told again later go on waiting.
    /// Returns whether anybody has heard of an error.
    fn settle(&mut self, ref_: u64, result: &Result<(), Option<PresenceError>>) -> bool {
        let mut is_heard = false;
        for (mut needs, answer) in std::mem::take(&mut self.asking) {
            if !needs.contains(&ref_) {
                self.asking.push((needs, answer));
                continue;
            }
            needs.retain(|it| *it != ref_);
            match result {
                Err(Some(error)) => is_heard |= answer.send(Err(error.clone())).is_ok(),
                Err(None) => self.waiting.push(answer),
                Ok(()) if needs.is_empty() => drop(answer.send(Ok(()))),
                Ok(()) => self.asking.push((needs, answer)),
            }
        }
        is_heard
    }

    /// Applies an event of this place, and appends to `told` what an app would want to hear.
    pub(crate) fn hear(&mut self, event: &Event, out: &mut Outbox, told: &mut Vec<PresenceEvent>) {
        // A late event of a place that we no longer watch would begin a picture that nobody keeps up to date.
        if self.told_mode.is_none() {
            return;
        }
        let is_whole = matches!(event, Event::CurrentUsers(_) | Event::Summary(_));
        let is_synced = is_whole || matches!(event, Event::Unchanged(_));
        // The whole state is on its way.
        if !is_synced && self.have().is_none() {
            return;
        }
        let mut result = Ok(Vec::new());
        self.room.change(|state| {
            let (had, mode) = (state.picture.have(), state.picture.mode());
            result = Arc::make_mut(&mut state.picture).apply(event);
            let Ok(differences) = &mut result else {
                return false;
            };
            // Nobody has come who was there before we looked, or who only is among the first faces now.
            let both_listed = mode == Mode::Full && state.picture.mode() == Mode::Full;
            if is_whole && (had.is_none() || !both_listed) {
                differences.retain(|it| !is_about_a_user(it));
            }
            state.live |= is_synced;
            is_synced || had != state.picture.have() || !differences.is_empty()
        });
        match result {
            Ok(differences) => {
                let place = self.id();
                told.extend(differences.into_iter().map(|difference| {
                    let place = place.clone();
                    PresenceEvent::Changed { place, difference }
                }));
                match event {
                    Event::Unchanged(it) => {
                        self.announced = Some(Have {
                            epoch: it.epoch,
                            version: it.version,
                        })
                    }
                    _ if is_whole => self.announced = None,
                    _ => {}
                }
                if is_synced {
                    self.forget_at = None;
                    told.push(PresenceEvent::Synced(self.id().clone()));
                }
                if self.is_behind() && self.heal_at.is_none() {
                    self.heal_at = Some(Instant::now() + HEAL_EVERY);
                }
            }
            Err(Gap { got, .. }) => {
                self.announced = Some(got);
                self.heal(self.have_for(self.told_mode), out);
            }
        }
    }

    fn is_behind(&self) -> bool {
        let Some(announced) = self.announced else {
            return false;
        };
        self.have()
            .is_none_or(|it| it.epoch != announced.epoch || it.version < announced.version)
    }

    /// Watches again, at most once a second.
    fn heal(&mut self, have: Option<Have>, out: &mut Outbox) {
        if self.heal_at.is_none() {
            self.heal_at = Some(Instant::now() + HEAL_EVERY);
            out.heal(self.watch_again(self.told_mode, have));
        }
    }

    /// Does what is due at `now`.
    pub(crate) fn on_time(
        &mut self,
        now: Instant,
        mut out: Option<&mut Outbox>,
        told: &mut Vec<PresenceEvent>,
    ) {
        let is_due = |it: Option<Instant>| it.is_some_and(|it| it <= now);
        if is_due(self.heal_at) {
            self.heal_at = None;
            // The version that we have did not help.
            if let (true, Some(out)) = (self.is_behind(), &mut out) {
                self.heal(None, out);
            }
        }
        if is_due(self.retry_at) {
            self.retry_at = None;
            if let Some(out) = &mut out {
                self.tell(out);
            }
        }
        if is_due(self.forget_at) {
            self.forget_at = None;
            self.forget_fleeting(told);
        }
    }

    /// There is a connection; `restored` says whether it goes on with the session that we had.
    pub(crate) fn online(&mut self, restored: bool, out: &mut Outbox) {
        self.inside &= restored;
        // Left while the connection was away: the gateway is yet to be told.
        self.told_joined = self.inside && self.stays.is_empty();
        self.tell(out);
    }

    /// The connection is gone. People stay in the picture; typing and cursors stay for `typing_ttl`.
    pub(crate) fn lost(&mut self, typing_ttl: Duration) {
        (self.told_joined, self.told_meta, self.told_mode) = (false, None, None);
        (self.retry_at, self.heal_at, self.announced) = (None, None, None);
        self.unanswered.clear();
        let asking = std::mem::take(&mut self.asking);
        self.waiting
            .extend(asking.into_iter().map(|(_, answer)| answer));
        self.forget_at = Instant::now().checked_add(typing_ttl);
        self.publish(|state| (state.joined, state.live) = (false, false));
    }

    /// The gateway has removed us: asking again would be refused every time.
    pub(crate) fn removed(&mut self) {
        self.stays.clear();
        (self.watch, self.inside) = (None, false);
        (self.told_joined, self.told_meta, self.told_mode) = (false, None, None);
        (self.retry_at, self.heal_at) = (None, None);
        self.reset();
        self.publish(|state| state.joined = false);
    }

    /// No connection will come.
    pub(crate) fn closed(&mut self, error: &PresenceError) {
        self.lost(Duration::ZERO);
        self.forget_fleeting(&mut Vec::new());
        self.waiting
            .drain(..)
            .for_each(|it| drop(it.send(Err(error.clone()))));
    }

    fn forget_fleeting(&mut self, told: &mut Vec<PresenceEvent>) {
        let mut differences = Vec::new();
        self.room.change(|state| {
            differences = Arc::make_mut(&mut state.picture).forget_fleeting();
            !differences.is_empty()
        });
        let place = self.id();
        told.extend(differences.into_iter().map(|difference| {
            let place = place.clone();
            PresenceEvent::Changed { place, difference }
        }));
    }

    fn reset(&mut self) {
        (self.announced, self.heal_at, self.forget_at) = (None, None, None);
        let id = self.id().clone();
        self.publish(|state| {
            state.picture = Arc::new(Picture::of(id));
            state.live = false;
        });
    }

    fn publish(&self, change: impl FnOnce(&mut RoomState)) {
        self.room.change(|state| {
            let before = (state.joined, state.live, state.error.is_some());
            let picture = state.picture.clone();
            change(state);
            before != (state.joined, state.live, state.error.is_some())
                || !Arc::ptr_eq(&picture, &state.picture)
        });
    }
}

fn is_about_a_user(difference: &Difference) -> bool {
    matches!(
        difference,
        Difference::Joined(_) | Difference::Updated(_) | Difference::Left(..)
    )
}
