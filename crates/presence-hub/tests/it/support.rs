//! People who join one room and keep a picture of it, and a store that can go away.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_core::ports::{Profiles, StoreError};
use presence_core::users::Connection;
use presence_core::{Change, ChannelId, Event, Profile, Refusal, Timestamp, UserId, Watching};
use presence_embedded::ProfileMemory;
use presence_hub::{ConnectRequest, Delivery, Ended, Hub, Session, Settings};

pub(crate) fn hub() -> Hub {
    Hub::start(Settings::default(), Arc::new(ProfileMemory::new()))
}

pub(crate) fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

pub(crate) fn channel() -> ChannelId {
    "room:42".parse().unwrap()
}

pub(crate) async fn connect(hub: &Hub, id: &str) -> Session {
    hub.connect(request(id, None)).await.unwrap()
}

pub(crate) async fn resume(hub: &Hub, id: &str, before: Connection) -> Session {
    hub.connect(request(id, Some(before))).await.unwrap()
}

/// Why the hub lets nobody in as that user.
pub(crate) async fn refused(hub: &Hub, id: &str) -> Refusal {
    hub.connect(request(id, None)).await.unwrap_err()
}

fn request(id: &str, resume: Option<Connection>) -> ConnectRequest {
    ConnectRequest {
        user: user(id),
        device: "web:1".parse().unwrap(),
        workspaces: Vec::new(),
        card: Arc::default(),
        resume,
        origin: None,
    }
}

/// A session that joined the room, and what it has made of what it was told.
pub(crate) struct Watcher {
    pub(crate) session: Session,
    people: BTreeSet<String>,
    heard: Vec<String>,
    is_store_away: bool,
}

impl Watcher {
    pub(crate) async fn join(hub: &Hub, id: &str) -> Self {
        let mut session = connect(hub, id).await;
        let watch = Some((Watching::Full, None));
        session
            .join(channel(), Arc::default(), watch, None)
            .unwrap();
        Watcher {
            session,
            people: BTreeSet::new(),
            heard: Vec::new(),
            is_store_away: false,
        }
    }

    /// Reads until it sees exactly these people; fails after a minute.
    pub(crate) async fn sees(&mut self, people: &[&str]) {
        let want: BTreeSet<String> = people.iter().map(|&it| it.to_owned()).collect();
        let seen = async {
            while self.people != want {
                self.read().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
        assert!(seen.is_ok(), "sees {:?}, not {want:?}", self.people);
    }

    /// Reads until told that the shared store of its node is away, or is back.
    pub(crate) async fn hears_of_store_away(&mut self, want: bool) {
        let heard = async {
            while self.is_store_away != want {
                self.read().await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(60), heard).await;
        assert!(heard.is_ok(), "was not told that the store is away: {want}");
    }

    /// Keeps alive and reads for `span`, in which nothing may change.
    pub(crate) async fn is_quiet_for(&mut self, span: Duration) {
        let before = self.heard.len();
        let quiet = async {
            loop {
                self.session.heard().unwrap();
                let _ = tokio::time::timeout(Duration::from_secs(10), self.read()).await;
            }
        };
        let _ = tokio::time::timeout(span, quiet).await;
        assert_eq!(self.heard[before..], [""; 0]);
    }

    /// Keeps alive and reads for `span`, whatever happens.
    pub(crate) async fn is_here_for(&mut self, span: Duration) {
        let reads = async {
            loop {
                self.session.heard().unwrap();
                let _ = tokio::time::timeout(Duration::from_secs(1), self.read()).await;
            }
        };
        let _ = tokio::time::timeout(span, reads).await;
    }

    /// Who came and went, in its eyes.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.clone()
    }

    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            if let Delivery::Ended(ended) = self.session.next().await {
                return ended;
            }
        }
    }

    async fn read(&mut self) {
        let Delivery::Event(told) = self.session.next().await else {
            return;
        };
        match &*told.event {
            Event::Everyone { people, .. } => {
                let now: BTreeSet<String> = people.iter().map(|it| it.user.to_string()).collect();
                let came: Vec<_> = now.difference(&self.people).collect();
                let gone: Vec<_> = self.people.difference(&now).collect();
                self.heard
                    .extend(came.iter().map(|it| format!("{it} joined")));
                self.heard
                    .extend(gone.iter().map(|it| format!("{it} is gone")));
                self.people = now;
            }
            Event::Changes { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Joined(person) => {
                            let user = person.user.to_string();
                            self.heard.push(format!("{user} joined"));
                            assert!(self.people.insert(user), "joined twice");
                        }
                        Change::Left { person, reason } => {
                            let user = &person.user;
                            self.heard.push(format!("{user} left {reason:?}"));
                            assert!(self.people.remove(user.as_str()), "left twice");
                        }
                        Change::Updated { .. } => {}
                    }
                }
            }
            Event::StoreAway { is_away } => self.is_store_away = *is_away,
            _ => {}
        }
    }
}

/// A store in memory that fails while it is told to.
#[derive(Default)]
pub(crate) struct FlakyStore {
    pub(crate) away: AtomicBool,
    /// Saves fail, and nothing else does.
    pub(crate) is_full: AtomicBool,
    /// How many times it was asked to save something.
    pub(crate) saves: AtomicUsize,
    /// And to load something.
    pub(crate) loads: AtomicUsize,
    /// How long it thinks before it says anything.
    pub(crate) thinks: Mutex<Duration>,
    /// Whose records cannot be read.
    pub(crate) corrupt: Mutex<BTreeSet<UserId>>,
    profiles: Mutex<HashMap<UserId, Profile>>,
}

impl FlakyStore {
    pub(crate) fn saved(&self, user: &UserId) -> Option<Profile> {
        self.profiles.lock().unwrap().get(user).cloned()
    }

    async fn think(&self) {
        let thinks = *self.thinks.lock().unwrap();
        tokio::time::sleep(thinks).await;
    }

    fn check(&self, users: impl Iterator<Item = UserId>) -> Result<(), StoreError> {
        if self.away.load(Relaxed) {
            return Err(StoreError::Unavailable("it is away".into()));
        }
        let corrupt = self.corrupt.lock().unwrap();
        match users.into_iter().find(|it| corrupt.contains(it)) {
            None => Ok(()),
            Some(user) => Err(StoreError::Corrupt {
                key: user.to_string(),
                source: "half a record".into(),
            }),
        }
    }
}

impl Profiles for FlakyStore {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        self.think().await;
        self.saves.fetch_add(1, Relaxed);
        if self.is_full.load(Relaxed) {
            return Err(StoreError::Unavailable("it is full".into()));
        }
        self.check(profiles.iter().map(|it| it.user.clone()))?;
        let mut kept = self.profiles.lock().unwrap();
        for profile in profiles {
            let stored = kept.get(&profile.user);
            if stored.is_none_or(|it| profile.supersedes(it)) {
                kept.insert(profile.user.clone(), profile.clone());
            }
        }
        Ok(())
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        self.think().await;
        self.loads.fetch_add(1, Relaxed);
        self.check(users.iter().cloned())?;
        Ok(users.iter().map(|user| self.saved(user)).collect())
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        // What cannot be read can be removed.
        self.check(std::iter::empty())?;
        let mut kept = self.profiles.lock().unwrap();
        users.iter().for_each(|user| drop(kept.remove(user)));
        Ok(())
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        self.check(std::iter::empty())?;
        let kept = self.profiles.lock().unwrap();
        // Whoever was not seen counts as just saved.
        let unseen = kept.values().filter(|it| it.known_at(before) < before);
        Ok(unseen.take(max).map(|it| it.user.clone()).collect())
    }
}
