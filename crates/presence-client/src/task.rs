//! The task of a [`Presence`](crate::Presence): one session over as many connections as it takes.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::Client;
use crate::ending::{Ended, Lost, Plan, backoff};
use crate::handle::{Ask, Connection, PresenceEvent, Shared, Trouble, Trying};
use crate::line::Line;
use crate::pace::Rates;
use crate::people::People;
use crate::place::Place;
use crate::requests::{Again, Asked, Outbox, Request, Told, result};
use crate::token::Tokens;
use crate::windows::Windows;
use crate::wire::{Event, Ref, Target, TopicId, command};
use crate::{Options, PresenceError};

/// A connection that was lost sooner goes on here with the back-off: it was let in, so the gateway is there.
const UNSTEADY_ATTEMPT: u32 = 2;

/// How long a goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// What the task is told when it starts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) options: Options,
    pub(crate) tokens: Tokens,
    /// How long connecting takes at most.
    pub(crate) opening_max: Duration,
    /// How long a gateway is silent after a heartbeat before the connection counts as lost.
    pub(crate) answer_max: Duration,
    /// How often commands are sent.
    pub(crate) rates: Rates,
}

pub(crate) struct Task {
    settings: Settings,
    asks: mpsc::Receiver<Ask>,
    /// What is over because its handle was dropped.
    drops: mpsc::UnboundedReceiver<Ask>,
    shared: Arc<Shared>,
    places: BTreeMap<TopicId, Place>,
    people: People,
    windows: Windows,
    out: Outbox,
    /// How many attempts have failed since the last steady connection.
    attempt: u32,
    typing_ttl: Duration,
    /// No place, person or window has something to do before this.
    due: Option<Instant>,
}

/// Why a connection, or the wait for one, is over.
enum Stop {
    /// Nobody holds the client any more.
    Dropped,
    /// The app said goodbye.
    Left(oneshot::Sender<()>),
    Lost(Lost),
    /// There is no token to connect with; the text says why.
    NoToken(String),
}

impl Task {
    pub(crate) fn new(
        settings: Settings,
        asks: mpsc::Receiver<Ask>,
        drops: mpsc::UnboundedReceiver<Ask>,
        shared: Arc<Shared>,
    ) -> Self {
        Task {
            out: Outbox::new(settings.rates.clone()),
            settings,
            asks,
            drops,
            shared,
            places: BTreeMap::new(),
            people: People::default(),
            windows: Windows::default(),
            attempt: 0,
            typing_ttl: Duration::ZERO,
            due: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let (mut wait, mut last) = (Duration::ZERO, None);
        loop {
            let stop = match self.open(wait, last.take()).await {
                Ok(client) => self.stay(client).await,
                Err(stop) => stop,
            };
            (wait, last) = match stop {
                Stop::Dropped => return,
                Stop::Left(answer) => {
                    self.end(Ended {
                        code: Some(1000),
                        reason: "left".into(),
                    });
                    let _ = answer.send(());
                    return;
                }
                Stop::NoToken(why) => (self.no_token(why), None),
                Stop::Lost(lost) => match self.lost(lost) {
                    Some((wait, ended)) => (wait, Some(ended)),
                    None => return,
                },
            };
        }
    }

    // --- until the hello

    /// Connects after `wait`.
    async fn open(&mut self, wait: Duration, last: Option<Ended>) -> Result<Client, Stop> {
        if !wait.is_zero() {
            let retry_at = std::time::Instant::now().checked_add(wait);
            self.say_trying(retry_at, last.clone());
            self.meanwhile(sleep(wait)).await?;
        }
        self.say_trying(None, last);
        let token = match self.settings.tokens.current() {
            Ok(token) => token,
            Err(fetched) => {
                let token = self.meanwhile(fetched).await?.map_err(Stop::NoToken)?;
                self.settings.tokens.keep(token.clone());
                Some(token)
            }
        };
        let mut options = self.settings.options.clone();
        if token.is_some() {
            // The token says who we are.
            (options.user_id, options.name, options.workspace_id) = (None, None, None);
        }
        options.token = token;
        let opened = timeout(self.settings.opening_max, async move {
            Client::open(&options).await
        });
        match self.meanwhile(opened).await? {
            Ok(Ok(client)) => Ok(client),
            Ok(Err((why, refusal))) => Err(Stop::Lost(Lost::unopened(&why, refusal))),
            Err(_) => Err(Stop::Lost(Lost::given_up("no hello in time"))),
        }
    }

    /// Waits for `it`, and serves the app as far as that goes without a connection.
    async fn meanwhile<T>(&mut self, it: impl Future<Output = T>) -> Result<T, Stop> {
        let mut it = pin!(it);
        loop {
            let due = self.due;
            tokio::select! {
                it = &mut it => return Ok(it),
                ask = self.asks.recv() => match ask {
                    None => return Err(Stop::Dropped),
                    Some(Ask::Close(answer)) => return Err(Stop::Left(answer)),
                    Some(ask) => self.serve(ask, false),
                },
                Some(ask) = self.drops.recv() => self.serve(ask, false),
                () = at(due) => self.on_time(false),
            }
        }
    }

    fn say_trying(&self, retry_at: Option<std::time::Instant>, last: Option<Ended>) {
        let trying = Trying {
            attempt: self.attempt,
            retry_at,
            last,
        };
        let first = self.shared.hello.borrow().is_none();
        self.shared.say(match first {
            true => Connection::Connecting(trying),
            false => Connection::Reconnecting(trying),
        });
    }

    /// The token function has failed. Returns when to call it again.
    fn no_token(&mut self, why: String) -> Duration {
        self.emit_trouble(None, Trouble::Token(why));
        let wait = backoff(self.attempt, fastrand::f64());
        self.attempt += 1;
        wait
    }

    // --- while there is a connection

    async fn stay(&mut self, mut client: Client) -> Stop {
        let mut line = self.welcome(&client);
        loop {
            if let Err(why) = self.flush(&mut client).await {
                return Stop::Lost(line.last_words(&mut client, &why).await);
            }
            let answer_max = self.settings.answer_max;
            let due = [self.due, self.out.due(), Some(line.due(answer_max))];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                event = client.next() => match event {
                    Some(event) => {
                        line.heard = Instant::now();
                        self.hear(event, &mut line);
                    }
                    None => return Stop::Lost(line.ended(&client)),
                },
                ask = self.asks.recv() => match ask {
                    None => return Stop::Dropped,
                    Some(Ask::Close(answer)) => {
                        // A gateway that does not answer has been told all the same.
                        let _ = timeout(CLOSE_MAX, client.close()).await;
                        return Stop::Left(answer);
                    }
                    Some(ask) => self.serve(ask, true),
                },
                Some(ask) = self.drops.recv() => self.serve(ask, true),
                token = some(&mut line.renewal) => self.renew(token, &mut line),
                answer = some(&mut line.renewed) => {
                    line.renewed = None;
                    // The gateway closes with 4401 when the time has come, and then another token is asked for.
                    if let Ok(Err(error)) = answer {
                        self.emit_trouble(None, error.into());
                    }
                }
                () = at(due) => {
                    self.on_time(true);
                    match line.on_time(answer_max, &mut self.out) {
                        Ok(true) => self.attempt = 0,
                        Ok(false) => {}
                        Err(why) => return Stop::Lost(Lost::given_up(why)),
                    }
                }
            }
        }
    }

    fn welcome(&mut self, client: &Client) -> Line {
        let hello = Arc::new(client.hello().clone());
        let restored = client.restored();
        let settings = &mut self.settings;
        settings.options.resume = Some(hello.resume.to_string());
        let device = || hello.device_id.to_string();
        settings.options.device_id.get_or_insert_with(device);
        let left = |expires: u64| Duration::from_millis(expires.saturating_sub(hello.now));
        settings
            .tokens
            .expires_after(hello.token_expires_at.map(left));
        self.typing_ttl = Duration::from_millis(hello.typing_ttl);
        self.attempt = self.attempt.min(UNSTEADY_ATTEMPT);
        self.shared.hello.send_replace(Some(hello.clone()));

        for place in self.places.values_mut() {
            place.online(restored, &mut self.out);
        }
        self.places.retain(|_, it| !it.is_done());
        self.people.tell(Some(&mut self.out));
        self.windows.online(&mut self.out);
        self.out.online();
        self.shared.say(Connection::Online);
        self.shared.emit(PresenceEvent::Hello { restored });

        Line::new(Duration::from_millis(hello.heartbeat_interval))
    }

    /// Sends what may be sent now.
    async fn flush(&mut self, client: &mut Client) -> Result<(), String> {
        let bytes_max = client.hello().limits.frame_bytes_max;
        while let Some(command) = self.out.next(Instant::now()) {
            let message = client.encode(&command);
            let bytes = message.len();
            if bytes as u64 > bytes_max {
                // The gateway would close for good.
                let error = PresenceError::TooLarge { bytes, bytes_max };
                self.answered(command.ref_(), Err(error));
                continue;
            }
            match timeout(self.settings.answer_max, client.send_message(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err(why.to_string()),
                Err(_) => return Err("the gateway does not read".to_owned()),
            }
        }
        Ok(())
    }

    fn hear(&mut self, event: Event, line: &mut Line) {
        match event {
            Event::Ok(_) | Event::Pong(_) | Event::Error(_) => {
                let ref_ = match &event {
                    Event::Ok(it) => it.ref_.clone(),
                    Event::Pong(it) => it.ref_.clone(),
                    Event::Error(it) => it.ref_.clone(),
                    _ => None,
                };
                self.answered(ref_.as_ref(), result(event));
            }
            Event::Closing(it) => line.closing = Some(it),
            Event::Expiring(_) => {
                if self.settings.tokens.can_renew() {
                    self.settings.tokens.forget();
                    line.renewal = self.settings.tokens.current().err();
                }
            }
            Event::Own(own) => {
                self.shared.own.send_replace(Some(Arc::new(own.clone())));
                self.shared.emit(PresenceEvent::Own(own));
            }
            Event::Health(it) => {
                let degraded = it.degraded;
                self.shared.emit(PresenceEvent::Health { degraded });
            }
            Event::Broadcast(it) => self.shared.emit(PresenceEvent::Broadcast(it)),
            Event::Removed(it) => {
                let place = match it.target {
                    Target::Channel(id) => TopicId::Channel(id.into()),
                    Target::Workspace(id) => TopicId::Workspace(id.into()),
                    Target::Users(ids) => return self.people.removed(&ids),
                };
                self.windows.removed(&place);
                self.with_place(&place, |place, _, _| place.removed());
                self.shared.emit(PresenceEvent::Removed(place));
            }
            Event::Status(it) => self.people.hear(it),
            Event::Window(_) | Event::WindowChanges(_) => self.windows.hear(event),
            event => {
                if let Some(place) = place_of(&event).cloned() {
                    self.with_place(&place, |it, out, told| it.hear(&event, out, told));
                }
            }
        }
    }

    /// The gateway has answered the command with `ref_`, or it could not be sent.
    fn answered(&mut self, ref_: Option<&Ref>, result: Result<Event, PresenceError>) {
        let Some((number, asked)) = self.out.answered(ref_) else {
            if let Err(error) = result {
                self.emit_trouble(None, error.into());
            }
            return;
        };
        let too_fast = result.as_ref().err().and_then(PresenceError::too_fast);
        if let (Some(wait), Some(class)) = (too_fast, asked.class()) {
            self.out.hold(class, wait);
        }
        match asked {
            Asked::Request(it, order) if too_fast.is_some() => self.out.send_again(it, order),
            Asked::Request(it, _) => drop(it.answer.send(result)),
            Asked::Place(id, told) => self.place_answered(number, id, told, result.map(drop)),
            Asked::People(is_watch, ids) => {
                let (result, out) = (result.map(drop), &mut self.out);
                let unheard = self.people.answered(number, is_watch, ids, result, out);
                for error in unheard {
                    self.emit_trouble(None, error.into());
                }
            }
            Asked::Window(window) => {
                let (result, out) = (result.map(drop), &mut self.out);
                if let Some(error) = self.windows.answered(number, &window, result, out) {
                    self.emit_trouble(Some(window.0), error.into());
                }
            }
            Asked::Heal => {
                if let Err(error) = result {
                    self.emit_trouble(None, error.into());
                }
            }
        }
        self.set_due();
    }

    fn place_answered(
        &mut self,
        number: u64,
        id: TopicId,
        told: Told,
        result: Result<(), PresenceError>,
    ) {
        let mut unheard = None;
        self.with_place(&id, |place, out, _| {
            let is_final = place.answered(number, told, result);
            if let Some((error, is_heard)) = is_final {
                unheard = Some(error).filter(|_| !is_heard);
                // What else is wanted of the place still holds.
                place.tell(out);
            }
        });
        if let Some(error) = unheard {
            self.emit_trouble(Some(id), error.into());
        }
    }

    fn renew(&mut self, token: Result<String, String>, line: &mut Line) {
        line.renewal = None;
        match token {
            Ok(token) => {
                self.settings.tokens.keep(token.clone());
                let (answer, renewed) = oneshot::channel();
                let command = command::Authenticate { ref_: None, token }.into();
                let request = Request {
                    command,
                    again: Again::Never,
                    answer,
                };
                self.out.request(request, true);
                line.renewed = Some(renewed);
            }
            Err(why) => self.emit_trouble(None, Trouble::Token(why)),
        }
    }

    // --- with and without a connection

    fn serve(&mut self, ask: Ask, online: bool) {
        match ask {
            Ask::Wish { room, wish, answer } => {
                let id = room.id().clone();
                let place = self.places.entry(id.clone());
                place.or_insert_with(|| Place::new(room));
                self.with_place(&id, |place, out, _| {
                    place.wish(wish, answer);
                    match online {
                        true => place.tell(out),
                        false => place.settle_offline(),
                    }
                });
            }
            Ask::Request(request) => self.out.request(request, online),
            Ask::Follow { known, answer } => {
                self.people.follow(known, answer);
                self.people.tell(online.then_some(&mut self.out));
            }
            Ask::Unfollow { id, number } => {
                self.people.unfollow(&id, number);
                self.people.tell(online.then_some(&mut self.out));
            }
            Ask::OpenWindow { pane, rows, answer } => {
                let out = online.then_some(&mut self.out);
                self.windows.open(pane, rows, answer, out);
            }
            Ask::MoveWindow { pane, rows, answer } => {
                let out = online.then_some(&mut self.out);
                self.windows.show(&pane, rows, answer, out);
            }
            Ask::CloseWindow(pane) => {
                let out = online.then_some(&mut self.out);
                self.windows.close(&pane, out);
            }
            Ask::Keep(token) => self.settings.tokens.keep(token),
            // The callers handle it.
            Ask::Close(answer) => drop(answer),
        }
    }

    /// Does something with a place that there is, and what follows from it.
    fn with_place(
        &mut self,
        id: &TopicId,
        act: impl FnOnce(&mut Place, &mut Outbox, &mut Vec<PresenceEvent>),
    ) {
        let Some(place) = self.places.get_mut(id) else {
            return;
        };
        let mut told = Vec::new();
        act(place, &mut self.out, &mut told);
        self.due = self.due.into_iter().chain(place.deadline()).min();
        if place.is_done() {
            self.places.remove(id);
        }
        told.into_iter().for_each(|it| self.shared.emit(it));
    }

    fn on_time(&mut self, online: bool) {
        let now = Instant::now();
        if self.due.is_none_or(|it| it > now) {
            return;
        }
        let mut told = Vec::new();
        for place in self.places.values_mut() {
            let out = online.then_some(&mut self.out);
            place.on_time(now, out, &mut told);
        }
        self.people.on_time(now, online.then_some(&mut self.out));
        if online {
            self.windows.on_time(now, &mut self.out);
        }
        self.set_due();
        told.into_iter().for_each(|it| self.shared.emit(it));
    }

    /// Finds out anew when there is something to do.
    fn set_due(&mut self) {
        let places = self.places.values().filter_map(Place::deadline);
        let others = [self.people.deadline(), self.windows.deadline()];
        self.due = places.chain(others.into_iter().flatten()).min();
    }

    fn emit_trouble(&self, place: Option<TopicId>, error: Trouble) {
        self.shared.emit(PresenceEvent::Error { place, error });
    }

    // --- when it ends

    /// Returns after what time to come back, or ends the client.
    fn lost(&mut self, lost: Lost) -> Option<(Duration, Ended)> {
        let can_renew = self.settings.tokens.can_renew();
        let plan = lost.plan(self.attempt, can_renew, fastrand::f64());
        self.out.lost();
        for place in self.places.values_mut() {
            place.lost(self.typing_ttl);
        }
        self.people.lost();
        self.windows.lost();
        self.set_due();
        let refused = lost.refused();
        if let Some(reason) = refused {
            let said = lost.complaint.map(|it| it.message);
            self.shared.emit(PresenceEvent::Refused {
                reason,
                message: said.unwrap_or_else(|| lost.ended.reason.to_string()),
                retrying: plan != Plan::Stop,
            });
        } else if let Some(complaint) = lost.complaint {
            self.emit_trouble(None, PresenceError::Refused(complaint).into());
        }
        match plan {
            Plan::ComeBack { wait, new_token } => {
                if new_token {
                    self.settings.tokens.forget();
                }
                self.attempt = self.attempt.saturating_add(1);
                Some((wait, lost.ended))
            }
            Plan::Stop => {
                self.end(lost.ended);
                None
            }
        }
    }

    fn end(&mut self, ended: Ended) {
        self.shared.say(Connection::Closed(ended));
        let error = self.shared.closed_error();
        self.out.closed(&error);
        for place in self.places.values_mut() {
            place.closed(&error);
        }
        self.people.closed(&error);
        self.windows.closed(&error);
    }
}

impl Drop for Task {
    /// Whatever ended the task, nobody waits for it any longer.
    fn drop(&mut self) {
        let is_closed = matches!(*self.shared.connection.borrow(), Connection::Closed(_));
        if !is_closed {
            self.end(Ended {
                code: None,
                reason: "the task of the client has ended".into(),
            });
        }
        self.shared.end_events();
    }
}

/// The place that `event` tells of.
fn place_of(event: &Event) -> Option<&TopicId> {
    Some(match event {
        Event::CurrentUsers(it) => &it.place,
        Event::Unchanged(it) => &it.place,
        Event::UserJoined(it) | Event::UserUpdated(it) => &it.place,
        Event::UserLeft(it) => &it.place,
        Event::Changes(it) => &it.place,
        Event::Summary(it) => &it.place,
        Event::Typing(it) => &it.place,
        Event::Cursors(it) => &it.place,
        _ => return None,
    })
}

/// Waits until `due`, or for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Waits for the future, if there is one.
async fn some<T>(future: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
