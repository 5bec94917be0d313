//! A person in a room: a client, and the picture it draws of what it is told.

use std::time::Duration;

use presence_client::wire::event::Error;
use presence_client::wire::{Command, Event, TopicId};
use presence_client::{Client, Difference, Ending, Options, Picture, RequestError};

use crate::gateway::{Running, soon};

/// The room where everybody is.
pub(crate) const ROOM: &str = "room:1";

/// A person in [`ROOM`].
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) room: Picture,
    /// Everything they were told, in order.
    pub(crate) heard: Vec<Event>,
    /// What of it changed the picture.
    pub(crate) noticed: Vec<Difference>,
}

/// A command, from its JSON.
#[track_caller]
pub(crate) fn command(json: &str) -> Command {
    Command::from_json(json).unwrap_or_else(|why| panic!("{json}: {why}"))
}

/// Joining [`ROOM`].
pub(crate) fn join() -> Command {
    command(r#"{"type":"presence:join","channel":"room:1"}"#)
}

pub(crate) async fn connect(options: &Options) -> Client {
    soon("a connection", Client::connect(options))
        .await
        .unwrap()
}

impl Person {
    /// Somebody who is connected and nowhere yet.
    pub(crate) async fn connects(options: &Options) -> Person {
        Person {
            client: connect(options).await,
            room: Picture::of(TopicId::Channel(ROOM.into())),
            heard: Vec::new(),
            noticed: Vec::new(),
        }
    }

    /// Somebody who has joined the room and sees it.
    pub(crate) async fn comes(gateway: &Running, user: &str) -> Person {
        Person::comes_with(&gateway.options(user)).await
    }

    pub(crate) async fn comes_with(options: &Options) -> Person {
        let mut person = Person::connects(options).await;
        person.does(&join().to_json()).await;
        let me = person.client.hello().user_id.clone();
        person
            .until("themselves in the room", |it| it.room.user(&me).is_some())
            .await;
        person
    }

    /// Says something that is granted, and returns the answer.
    #[track_caller]
    pub(crate) fn does(&mut self, json: &str) -> impl Future<Output = Event> {
        let asked = command(json);
        let text = json.to_owned();
        let answer = soon(text.clone(), self.client.request(asked));
        async move { answer.await.unwrap_or_else(|why| panic!("{text}: {why}")) }
    }

    /// Says something that is not granted, and returns why.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, json: &str) -> impl Future<Output = Error> {
        let asked = command(json);
        let text = json.to_owned();
        let answer = soon(text.clone(), self.client.request(asked));
        async move {
            match answer.await {
                Err(RequestError::Refused(why)) => why,
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    /// Says something and waits for nothing.
    pub(crate) async fn says(&mut self, json: &str) {
        self.client.send(&command(json)).await.unwrap();
    }

    /// The next event. It is in the picture already.
    pub(crate) async fn hears(&mut self) -> Option<Event> {
        let event = self.client.next().await?;
        match self.room.apply(&event) {
            Ok(differences) => self.noticed.extend(differences),
            Err(gap) => panic!("a gap: {gap}, after {:#?}", self.heard),
        }
        self.heard.push(event.clone());
        Some(event)
    }

    /// Reads until `holds`.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        what: impl Into<String>,
        holds: impl Fn(&Person) -> bool,
    ) -> impl Future<Output = ()> {
        let what = what.into();
        let caller = std::panic::Location::caller();
        async move {
            let read = async {
                while !holds(self) {
                    if self.hears().await.is_none() {
                        panic!("at {caller}: {:?} before {what}", self.client.ending());
                    }
                }
            };
            let patience = crate::gateway::PATIENCE;
            if tokio::time::timeout(patience, read).await.is_err() {
                panic!("at {caller}: never {what}; room {:#?}", self.room);
            }
        }
    }

    /// Reads until exactly these people are in the picture, in this order.
    #[track_caller]
    pub(crate) fn sees(&mut self, people: &[&str]) -> impl Future<Output = ()> {
        let people: Vec<String> = people.iter().map(|&it| it.to_owned()).collect();
        self.until(format!("{people:?}"), move |it| it.ids() == people)
    }

    /// Reads until an event that `wanted` makes something of.
    #[track_caller]
    pub(crate) fn hears_of<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> impl Future<Output = T> {
        let what = what.to_owned();
        let caller = std::panic::Location::caller();
        async move {
            let read = async {
                loop {
                    match self.hears().await {
                        Some(event) => {
                            if let Some(found) = wanted(&event) {
                                return found;
                            }
                        }
                        None => panic!("at {caller}: {:?} before {what}", self.client.ending()),
                    }
                }
            };
            match tokio::time::timeout(crate::gateway::PATIENCE, read).await {
                Ok(found) => found,
                Err(_) => panic!("never {what}"),
            }
        }
    }

    /// Reads until `from` has told the room `word`: everything that was told before that has been heard.
    pub(crate) async fn hears_word(&mut self, word: &str) {
        self.hears_of(word, |event| match event {
            Event::Broadcast(it) if &*it.event == word => Some(()),
            _ => None,
        })
        .await;
    }

    /// Tells the room `word`.
    pub(crate) async fn tells(&mut self, word: &str) {
        let json =
            format!(r#"{{"type":"presence:broadcast","channel":"room:1","event":"{word}"}}"#);
        self.does(&json).await;
    }

    /// Reads for `span`, in which nothing may be noticed. It is long enough for what must not happen.
    #[track_caller]
    pub(crate) fn notices_nothing_for(&mut self, span: Duration) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let before = self.noticed.len();
            let read = async { while self.hears().await.is_some() {} };
            let over = tokio::time::timeout(span, read).await.is_ok();
            assert!(!over, "at {caller}: it ended: {:?}", self.client.ending());
            assert_eq!(self.noticed[before..], [], "at {caller}");
        }
    }

    /// Reads to the end of the connection.
    pub(crate) async fn ends(&mut self) -> Ending {
        soon("the end of a connection", async {
            while self.hears().await.is_some() {}
        })
        .await;
        self.client.ending().unwrap().clone()
    }

    /// Reads to the end of the connection, which has a close code.
    pub(crate) async fn is_closed(&mut self) -> u16 {
        match self.ends().await {
            Ending::Closed { code, .. } => code,
            other => panic!("{other:?}, after {:#?}", self.heard),
        }
    }

    /// Who is in the picture.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.room
            .users()
            .iter()
            .map(|it| it.id.to_string())
            .collect()
    }

    /// How often somebody was told to have left.
    pub(crate) fn departures(&self) -> usize {
        let left = |it: &&Difference| matches!(it, Difference::Left(..));
        self.noticed.iter().filter(left).count()
    }
}
