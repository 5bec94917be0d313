//! The people in one place, as a watcher sees them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::wire::event::{Change, Cursor, User};
use crate::wire::{Event, Have, Mode, Reason, Session, TopicId};

/// The people in one place, as a watcher sees them. The events of the topic keep it up to date.
#[derive(Clone, Debug)]
pub struct Picture {
    place: TopicId,
    have: Option<Have>,
    mode: Mode,
    count: u64,
    /// In the order in which they joined.
    users: Vec<User>,
    typing: Vec<Arc<str>>,
    cursors: BTreeMap<Session, Cursor>,
    surprises: u64,
}

/// A change of the picture that an event has made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Difference {
    /// A user has joined, or is listed for the first time.
    Joined(User),
    /// A listed user looks different.
    Updated(User),
    /// A user has left; the reason is `None` if the whole state shows it and the event of the leave was missed.
    Left(Arc<str>, Option<Reason>),
    /// The number of people in a summarised place has changed to this.
    Count(u64),
    /// The users who are typing have changed to these.
    Typing(Vec<Arc<str>>),
    /// A cursor is new, has moved, or has another selection.
    Pointed(Cursor),
    /// The cursor of this session is gone.
    Unpointed(Session),
}

/// Changes are missing between the picture and an event: watch again with [`Picture::have`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// The version of the picture, if it has one.
    pub have: Option<Have>,
    /// The version of the event that does not fit.
    pub got: Have,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Have { epoch, version } = self.got;
        match self.have {
            Some(have) => write!(
                f,
                "have {}/{}, got {epoch}/{version}",
                have.epoch, have.version
            ),
            None => write!(f, "have nothing, got {epoch}/{version}"),
        }
    }
}

impl std::error::Error for Gap {}

impl Picture {
    /// An empty picture of `place`. It fills when the whole state arrives.
    pub fn of(place: TopicId) -> Self {
        Picture {
            place,
            have: None,
            mode: Mode::Full,
            count: 0,
            users: Vec::new(),
            typing: Vec::new(),
            cursors: BTreeMap::new(),
            surprises: 0,
        }
    }

    /// The place that this picture shows.
    pub fn place(&self) -> &TopicId {
        &self.place
    }

    /// The version of the state that it shows. Send it when you watch the place again.
    pub fn have(&self) -> Option<Have> {
        self.have
    }

    /// Whether everyone is listed, or only the count and the first people.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How many people are in the place.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Everyone, or the first people of a summarised place, in the order in which they joined.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The listed user with this id.
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|it| &*it.id == id)
    }

    /// The ids of the users who are typing.
    pub fn typing(&self) -> &[Arc<str>] {
        &self.typing
    }

    /// The cursor of each session that has one.
    pub fn cursors(&self) -> &BTreeMap<Session, Cursor> {
        &self.cursors
    }

    /// How many changes did not fit the picture, such as a leave of a person who was not there. A gateway without faults causes none.
    pub fn surprises(&self) -> u64 {
        self.surprises
    }

    /// Applies `event`, and returns what is really different. Events of other topics, and old ones, change nothing.
    ///
    /// # Errors
    ///
    /// Changes before this event are missing. The picture stays as it was.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Difference>, Gap> {
        let mut out = Vec::new();
        match event {
            Event::CurrentUsers(it) if it.place == self.place => {
                let got = have(it.epoch, it.version);
                if !self.is_older(got) {
                    self.count = it.count;
                    self.replace_users(got, Mode::Full, &it.users, &mut out);
                    self.replace_typing(&it.typing, &mut out);
                    self.replace_cursors(&it.cursors, &mut out);
                }
            }
            Event::Summary(it) if it.place == self.place => {
                let got = have(it.epoch, it.version);
                if !self.is_older(got) {
                    if (self.count, self.mode) != (it.count, Mode::Summary) {
                        out.push(Difference::Count(it.count));
                    }
                    self.count = it.count;
                    // People who are no longer among the first have not left.
                    self.replace_users(got, Mode::Summary, &it.users, &mut Vec::new());
                }
            }
            Event::Unchanged(it) if it.place == self.place => {
                let got = have(it.epoch, it.version);
                // A later version is no gap: the changes in between follow.
                if self.have.is_none_or(|have| have.epoch != got.epoch) {
                    return Err(self.gap(got));
                }
                self.replace_typing(&it.typing, &mut out);
                self.replace_cursors(&it.cursors, &mut out);
            }
            Event::UserJoined(it) if it.place == self.place => {
                self.step(have(it.epoch, it.version), |me| {
                    me.put(&it.user, true, &mut out)
                })?;
            }
            Event::UserUpdated(it) if it.place == self.place => {
                self.step(have(it.epoch, it.version), |me| {
                    me.put(&it.user, false, &mut out)
                })?;
            }
            Event::UserLeft(it) if it.place == self.place => {
                let got = have(it.epoch, it.version);
                self.step(got, |me| me.remove(&it.user_id, it.reason, &mut out))?;
            }
            Event::Changes(it) if it.place == self.place => {
                let got = have(it.epoch, it.version);
                self.step(got, |me| me.change(&it.changes, &mut out))?;
            }
            Event::Typing(it) if it.place == self.place => self.replace_typing(&it.users, &mut out),
            Event::Cursors(it) if it.place == self.place => {
                for cursor in &it.cursors {
                    self.point(cursor, &mut out);
                }
                for session in &it.gone {
                    if self.cursors.remove(session).is_some() {
                        out.push(Difference::Unpointed(*session));
                    }
                }
            }
            _ => {}
        }
        Ok(out)
    }

    /// Drops who is typing and pointing, for a picture that is no longer kept up to date. Returns what is different.
    pub fn forget_fleeting(&mut self) -> Vec<Difference> {
        let mut out = Vec::new();
        self.replace_typing(&[], &mut out);
        self.replace_cursors(&[], &mut out);
        out
    }

    fn is_older(&self, got: Have) -> bool {
        let same = self.have.filter(|have| have.epoch == got.epoch);
        same.is_some_and(|have| got.version < have.version)
    }

    /// Applies `change` if `got` is the next version. An older version changes nothing.
    fn step(&mut self, got: Have, change: impl FnOnce(&mut Self)) -> Result<(), Gap> {
        let same = self.have.filter(|have| have.epoch == got.epoch);
        let Some(have) = same else {
            return Err(self.gap(got));
        };
        if got.version <= have.version {
            return Ok(());
        }
        if got.version != have.version + 1 || self.mode == Mode::Summary {
            return Err(self.gap(got));
        }
        self.have = Some(got);
        change(self);
        Ok(())
    }

    fn change(&mut self, changes: &[Change], out: &mut Vec<Difference>) {
        for change in changes {
            match change {
                Change::Joined(user) => self.put(user, true, out),
                Change::Updated(user) => self.put(user, false, out),
                Change::Left { user_id, reason } => self.remove(user_id, *reason, out),
            }
        }
    }

    fn gap(&self, got: Have) -> Gap {
        Gap {
            have: self.have,
            got,
        }
    }

    fn replace_users(&mut self, got: Have, mode: Mode, users: &[User], out: &mut Vec<Difference>) {
        let faces_only = self.mode == Mode::Summary;
        self.have = Some(got);
        self.mode = mode;
        let before = std::mem::replace(&mut self.users, users.to_vec());
        let mut before: HashMap<_, _> = before.into_iter().map(|it| (it.id.clone(), it)).collect();
        let mut news = Vec::new();
        for user in users {
            match before.remove(&user.id) {
                None => news.push(Difference::Joined(user.clone())),
                Some(old) if old != *user => news.push(Difference::Updated(user.clone())),
                Some(_) => {}
            }
        }
        let mut gone: Vec<_> = before.into_values().collect();
        gone.sort_by(|a, b| (a.joined_at, &a.id).cmp(&(b.joined_at, &b.id)));
        if !faces_only {
            out.extend(gone.into_iter().map(|it| Difference::Left(it.id, None)));
        }
        out.append(&mut news);
    }

    fn put(&mut self, user: &User, joined: bool, out: &mut Vec<Difference>) {
        let old = self.users.iter().position(|it| it.id == user.id);
        self.surprises += u64::from(joined == old.is_some());
        if let Some(index) = old {
            if self.users[index] == *user {
                return;
            }
            self.users.remove(index);
        }
        let key = |it: &User| (it.joined_at, it.id.clone());
        let index = self.users.partition_point(|it| key(it) < key(user));
        self.users.insert(index, user.clone());
        self.count = self.users.len() as u64;
        out.push(match old {
            None => Difference::Joined(user.clone()),
            Some(_) => Difference::Updated(user.clone()),
        });
    }

    fn remove(&mut self, id: &Arc<str>, reason: Reason, out: &mut Vec<Difference>) {
        match self.users.iter().position(|it| it.id == *id) {
            Some(index) => {
                self.users.remove(index);
                self.count = self.users.len() as u64;
                out.push(Difference::Left(id.clone(), Some(reason)));
            }
            None => self.surprises += 1,
        }
    }

    fn replace_typing(&mut self, users: &[Arc<str>], out: &mut Vec<Difference>) {
        if self.typing != users {
            self.typing = users.to_vec();
            out.push(Difference::Typing(self.typing.clone()));
        }
    }

    fn replace_cursors(&mut self, cursors: &[Cursor], out: &mut Vec<Difference>) {
        let here = |session: &Session| cursors.iter().any(|it| it.session == *session);
        self.cursors.retain(|session, _| {
            let stays = here(session);
            if !stays {
                out.push(Difference::Unpointed(*session));
            }
            stays
        });
        for cursor in cursors {
            self.point(cursor, out);
        }
    }

    fn point(&mut self, cursor: &Cursor, out: &mut Vec<Difference>) {
        let old = self.cursors.insert(cursor.session, cursor.clone());
        if old.as_ref() != Some(cursor) {
            out.push(Difference::Pointed(cursor.clone()));
        }
    }
}

fn have(epoch: crate::wire::Epoch, version: u64) -> Have {
    Have { epoch, version }
}
