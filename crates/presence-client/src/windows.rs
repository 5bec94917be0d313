//! The windows of a connection: which rows we want, and what the gateway has been told on this connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::PresenceError;
use crate::requests::{Number, Outbox};
use crate::wire::event::{User, Window, WindowChanges};
use crate::wire::{After, ErrorCode, Event, Order, TopicId, command};

/// Where the outcome of a wish is sent.
type Answer = oneshot::Sender<Result<(), PresenceError>>;

/// Which rows of a list of people a [`Window`](crate::Window) shows. The default is the first 50, in the order in which they joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The order of the people; `None` means [`Order::Name`] with a prefix, and otherwise [`Order::Joined`].
    pub order: Option<Order>,
    /// What names begin with, in upper or lower case, up to 256 bytes; only by name.
    pub prefix: Option<String>,
    /// After whom the rows begin; `None` means at the first one.
    pub after: Option<After>,
    /// How many rows there are, 1 to 50; `None` means 50.
    pub limit: Option<u64>,
}

impl Rows {
    /// The first rows in the order in which people joined.
    pub fn joined() -> Self {
        Rows {
            order: Some(Order::Joined),
            ..Rows::default()
        }
    }

    /// The first rows by name.
    pub fn by_name() -> Self {
        Rows {
            order: Some(Order::Name),
            ..Rows::default()
        }
    }

    /// The people whose name begins with `prefix`, by name.
    pub fn named(prefix: &str) -> Self {
        Rows {
            prefix: Some(prefix.to_owned()),
            ..Rows::by_name()
        }
    }

    /// The same with at most this many rows.
    pub fn limit(self, limit: u64) -> Self {
        Rows {
            limit: Some(limit),
            ..self
        }
    }

    /// The same from after `user` on: the next page, if they are the last of this one.
    pub fn after(self, user: &User) -> Self {
        let is_by_name = match self.order {
            Some(order) => order == Order::Name,
            None => self.prefix.is_some(),
        };
        let name = || user.name.as_ref().unwrap_or(&user.id).to_string();
        let after = After {
            joined_at: (!is_by_name).then_some(user.joined_at),
            name: is_by_name.then(name),
            user_id: Some(user.id.to_string()),
        };
        Rows {
            after: Some(after),
            ..self
        }
    }
}

/// What a [`Window`](crate::Window) shows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WindowState {
    /// The people in the window, in its order; each with at most 4 of their sessions.
    pub users: Arc<[User]>,
    /// How many people are in the whole list.
    pub count: u64,
    /// Whether the rows are up to date. They are not until the first ones came, and while the connection is away.
    pub live: bool,
    /// Why the window was refused or closed for good.
    pub error: Option<PresenceError>,
}

/// What a window shows, shared between its handle and the task that keeps it right.
#[derive(Debug)]
pub(crate) struct Pane {
    /// Tells this window from all others of the client.
    pub(crate) number: u64,
    pub(crate) place: TopicId,
    pub(crate) state: watch::Sender<WindowState>,
}

/// All windows of a client.
#[derive(Debug, Default)]
pub(crate) struct Windows(BTreeMap<Number, Open>);

/// One window.
#[derive(Debug)]
struct Open {
    /// `None` once it is closed: then its number is free when the gateway has answered.
    pane: Option<Arc<Pane>>,
    rows: Rows,
    /// The last command about it, if it has not been answered.
    asked: Option<u64>,
    answers: Vec<Answer>,
    retry_at: Option<Instant>,
}

impl Windows {
    /// Opens a window. Equal windows with equal numbers cost a gateway least, so it gets the first number that is free.
    pub(crate) fn open(
        &mut self,
        pane: Arc<Pane>,
        rows: Rows,
        answer: Answer,
        out: Option<&mut Outbox>,
    ) {
        // Whoever has given up has dropped the window.
        if answer.is_closed() {
            return;
        }
        let free = (1..).find(|it| !self.0.contains_key(&(pane.place.clone(), *it)));
        let number = (pane.place.clone(), free.unwrap_or_default());
        let open = Open {
            pane: Some(pane),
            rows,
            asked: None,
            answers: vec![answer],
            retry_at: None,
        };
        let open = self.0.entry(number.clone()).or_insert(open);
        open.tell(&number, out);
    }

    /// Shows other rows in a window.
    pub(crate) fn show(
        &mut self,
        pane: &Pane,
        rows: Rows,
        answer: Answer,
        out: Option<&mut Outbox>,
    ) {
        match self.find(pane) {
            Some((number, open)) => {
                open.rows = rows;
                open.answers.retain(|it| !it.is_closed());
                open.answers.push(answer);
                open.tell(&number, out);
            }
            None => {
                let error = pane.state.borrow().error.clone();
                let _ = answer.send(error.map_or(Ok(()), Err));
            }
        }
    }

    pub(crate) fn close(&mut self, pane: &Pane, out: Option<&mut Outbox>) {
        let Some((number, open)) = self.find(pane) else {
            return;
        };
        open.pane = None;
        match out {
            Some(_) => open.tell(&number, out),
            None => drop(self.0.remove(&number)),
        }
    }

    fn find(&mut self, pane: &Pane) -> Option<(Number, &mut Open)> {
        let is_it = |it: &Open| {
            let shown = it.pane.as_ref();
            shown.is_some_and(|it| it.number == pane.number)
        };
        let mut all = self.0.iter_mut();
        let found = all.find(|(_, it)| is_it(it));
        found.map(|(number, open)| (number.clone(), open))
    }

    /// The gateway has answered the command with `ref_`. Returns an error that nobody waited for.
    pub(crate) fn answered(
        &mut self,
        ref_: u64,
        number: &Number,
        result: Result<(), PresenceError>,
        out: &mut Outbox,
    ) -> Option<PresenceError> {
        let open = self.0.get_mut(number)?;
        // Other rows are wanted since.
        if open.asked != Some(ref_) {
            return None;
        }
        open.asked = None;
        let later = result.as_ref().err().and_then(PresenceError::retry_after);
        if let Some(wait) = later {
            let wait = wait.mul_f64(1.0 + fastrand::f64() / 5.0);
            open.retry_at = Instant::now().checked_add(wait);
            return None;
        }
        if open.pane.is_none() {
            self.0.remove(number);
            return None;
        }
        let is_heard = open.answer(&result);
        let error = result.err()?;
        if let Some(pane) = open.pane.take() {
            pane.end(&error);
        }
        // One that was refused to move still has its old rows.
        open.tell(number, Some(out));
        Some(error).filter(|_| !is_heard)
    }

    /// Applies an event about a window.
    pub(crate) fn hear(&mut self, event: Event) {
        let (place, window) = match &event {
            Event::Window(it) => (&it.place, it.window),
            Event::WindowChanges(it) => (&it.place, it.window),
            _ => return,
        };
        let open = self.0.get(&(place.clone(), window));
        let Some(pane) = open.and_then(|it| it.pane.as_ref()) else {
            return;
        };
        match event {
            Event::Window(it) => pane.replace(it),
            Event::WindowChanges(it) => pane.change(it),
            _ => {}
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|it| it.retry_at).min()
    }

    pub(crate) fn on_time(&mut self, now: Instant, out: &mut Outbox) {
        for (number, open) in &mut self.0 {
            if open.retry_at.is_some_and(|it| it <= now) {
                open.tell(number, Some(out));
            }
        }
    }

    /// There is a connection, which knows of no window.
    pub(crate) fn online(&mut self, out: &mut Outbox) {
        for (number, open) in &mut self.0 {
            open.tell(number, Some(out));
        }
    }

    /// The connection is gone. The rows stay, and are not live.
    pub(crate) fn lost(&mut self) {
        self.0.retain(|_, it| it.pane.is_some());
        for open in self.0.values_mut() {
            (open.asked, open.retry_at) = (None, None);
            if let Some(pane) = &open.pane {
                pane.state.send_modify(|it| it.live = false);
            }
        }
    }

    /// The gateway does not let us see `place` any more.
    pub(crate) fn removed(&mut self, place: &TopicId) {
        let why = "you may not watch this any more";
        let error = PresenceError::refused(ErrorCode::Forbidden, why);
        self.0.retain(|(it, _), open| {
            let is_here = it == place;
            if is_here {
                open.end(&error);
            }
            !is_here
        });
    }

    /// No connection will come.
    pub(crate) fn closed(&mut self, error: &PresenceError) {
        let all = std::mem::take(&mut self.0).into_values();
        all.for_each(|mut open| open.end(error));
    }
}

impl Open {
    /// Tells the gateway what is wanted, if there is a connection.
    fn tell(&mut self, (place, window): &Number, out: Option<&mut Outbox>) {
        let Some(out) = out else { return };
        self.retry_at = None;
        let (place, window) = (place.clone(), *window);
        let number = (place.clone(), window);
        let command = match &self.pane {
            Some(_) => {
                let Rows {
                    order,
                    prefix,
                    after,
                    limit,
                } = self.rows.clone();
                command::OpenWindow {
                    ref_: None,
                    place,
                    window,
                    order,
                    prefix,
                    after,
                    limit,
                }
                .into()
            }
            None => command::CloseWindow {
                ref_: None,
                place,
                window,
            }
            .into(),
        };
        self.asked = Some(out.tell_window(number, command));
    }

    /// Answers whoever waits for it. Returns whether anybody did.
    fn answer(&mut self, result: &Result<(), PresenceError>) -> bool {
        let answers = std::mem::take(&mut self.answers).into_iter();
        answers.fold(false, |is_heard, it| {
            is_heard | it.send(result.clone()).is_ok()
        })
    }

    fn end(&mut self, error: &PresenceError) {
        self.answer(&Err(error.clone()));
        if let Some(pane) = self.pane.take() {
            pane.end(error);
        }
    }
}

impl Pane {
    fn replace(&self, it: Window) {
        self.state.send_modify(|state| {
            state.users = it.users.into();
            (state.count, state.live) = (it.count, true);
        });
    }

    fn change(&self, it: WindowChanges) {
        self.state.send_if_modified(|state| {
            // Changes of rows that we do not have.
            if !state.live {
                return false;
            }
            let is_moved = |user: &User| {
                it.gone.contains(&user.id) || it.rows.iter().any(|row| row.user.id == user.id)
            };
            let stay = state.users.iter().filter(|it| !is_moved(it));
            let mut users: Vec<_> = stay.cloned().collect();
            for row in it.rows.clone() {
                let at = usize::try_from(row.at).unwrap_or(usize::MAX);
                users.insert(at.min(users.len()), row.user);
            }
            state.users = users.into();
            state.count = it.count.unwrap_or(state.count);
            true
        });
    }

    fn end(&self, error: &PresenceError) {
        self.state
            .send_modify(|it| (it.live, it.error) = (false, Some(error.clone())));
    }
}
