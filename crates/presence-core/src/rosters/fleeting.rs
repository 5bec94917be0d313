//! What has no version: typing, cursors, broadcasts. It is told once per tick, and forgotten by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::roster::Roster;
use crate::{Cursor, Event, Limits, Move, SessionId, Topic, UserId};

/// The typing, pointing and broadcasting of one channel.
#[derive(Debug, Default)]
pub(super) struct Fleeting {
    /// Who types, through which sessions.
    typing: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// Who was typing when that was last told, of those for whom it changed since.
    typing_told: BTreeMap<UserId, bool>,
    cursors: BTreeMap<SessionId, Cursor>,
    moved: BTreeMap<SessionId, Moved>,
    /// The aliases of sessions that point no more.
    gone: BTreeSet<SessionId>,
    broadcasts: Vec<Event>,
}

/// What is new of a cursor.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    pointed: bool,
    selected: bool,
}

/// Something to tell, and who shall not hear it.
pub(super) struct Telling {
    pub(super) event: Event,
    pub(super) except: Vec<SessionId>,
    /// Those who are told something else instead.
    pub(super) instead: Vec<(SessionId, Event)>,
}

impl Telling {
    fn all(event: Event) -> Self {
        Telling {
            event,
            except: Vec::new(),
            instead: Vec::new(),
        }
    }
}

impl Fleeting {
    pub(super) fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.cursors.is_empty() && !self.is_dirty()
    }

    /// Whether there is something to tell.
    pub(super) fn is_dirty(&self) -> bool {
        !self.typing_told.is_empty()
            || !self.moved.is_empty()
            || !self.gone.is_empty()
            || !self.broadcasts.is_empty()
    }

    pub(super) fn start_typing(&mut self, user: &UserId, session: SessionId) {
        let typing = self.typing.contains_key(user);
        let sessions = self.typing.entry(user.clone()).or_default();
        sessions.insert(session);
        self.note_typing(user, typing, true);
    }

    pub(super) fn stop_typing(&mut self, user: &UserId, session: SessionId) {
        let Some(sessions) = self.typing.get_mut(user) else {
            return;
        };
        sessions.remove(&session);
        if sessions.is_empty() {
            self.typing.remove(user);
            self.note_typing(user, true, false);
        }
    }

    fn note_typing(&mut self, user: &UserId, before: bool, after: bool) {
        if before == after {
            return;
        }
        let told = *self.typing_told.entry(user.clone()).or_insert(before);
        if told == after {
            self.typing_told.remove(user); // there and back within a tick: nothing to tell
        }
    }

    /// Who was typing when that was last told, up to the limit: what is told next is right for who gets this.
    pub(super) fn typing_as_told(&self, max: usize) -> Vec<UserId> {
        let changed = &self.typing_told;
        let unchanged = self.typing.keys().filter(|it| !changed.contains_key(*it));
        let stopping = changed.iter().filter(|(_, was_typing)| **was_typing);
        let mut typing: Vec<_> = unchanged.chain(stopping.map(|(user, _)| user)).collect();
        typing.sort_unstable();
        typing.into_iter().take(max).cloned().collect()
    }

    /// Who is typing, up to the limit.
    pub(super) fn typing(&self, max: usize) -> Vec<UserId> {
        self.typing.keys().take(max).cloned().collect()
    }

    pub(super) fn cursors(&self, max: usize) -> Vec<Cursor> {
        let mut cursors: Vec<&Cursor> = self.cursors.values().collect();
        // Where somebody stands in a list says nothing about a session that only its owner knows.
        cursors.sort_unstable_by_key(|it| it.alias);
        cursors.into_iter().take(max).cloned().collect()
    }

    /// Changes what is known of the cursor of `session`; says what it is now.
    pub(super) fn point(
        &mut self,
        user: &UserId,
        (session, alias): (SessionId, SessionId),
        change: impl FnOnce(&mut Cursor),
    ) -> &Cursor {
        self.gone.remove(&alias);
        let cursor = self.cursors.entry(session).or_insert_with(|| Cursor {
            session,
            alias,
            user: user.clone(),
            pointer: None,
            selection: None,
        });
        let before = (cursor.pointer, cursor.selection);
        change(cursor);
        let selected = cursor.selection != before.1;
        let moved = self.moved.entry(session).or_default();
        moved.selected |= selected;
        moved.pointed |= !selected || cursor.pointer != before.0;
        cursor
    }

    pub(super) fn forget_cursor(&mut self, session: SessionId) {
        if let Some(cursor) = self.cursors.remove(&session) {
            self.moved.remove(&session);
            self.gone.insert(cursor.alias);
        }
    }

    /// Queues a broadcast; says whether there was room for it in this tick.
    pub(super) fn broadcast(&mut self, event: Event, max: usize) -> bool {
        let room = self.broadcasts.len() < max;
        if room {
            self.broadcasts.push(event);
        }
        room
    }

    /// Takes what there is to tell; cursors over the limit stay for the next tick.
    pub(super) fn take(&mut self, topic: &Topic, limits: &Limits, roster: &Roster) -> Vec<Telling> {
        let mut tellings = Vec::new();
        if !self.typing_told.is_empty() {
            let changed = std::mem::take(&mut self.typing_told);
            let (stopped, started): (Vec<_>, Vec<_>) =
                changed.into_iter().partition(|&(_, was_typing)| was_typing);
            // More than are named are not told one by one: the list says who is left.
            let users = |changed: Vec<(UserId, bool)>| {
                let named = changed.into_iter().take(limits.typing_max);
                named.map(|(user, _)| user).collect()
            };
            tellings.push(Telling::all(Event::Typing {
                topic: topic.clone(),
                typing: self.typing(limits.typing_max),
                started: users(started),
                stopped: users(stopped),
            }));
        }
        if !self.moved.is_empty() || !self.gone.is_empty() {
            tellings.push(self.take_cursors(topic, limits.cursors_max, roster));
        }
        tellings.extend(self.broadcasts.drain(..).map(Telling::all));
        tellings
    }

    /// Everyone hears of all cursors that moved, but of their own.
    fn take_cursors(&mut self, topic: &Topic, max: usize, roster: &Roster) -> Telling {
        let mut movers: Vec<SessionId> = self.moved.keys().copied().collect();
        movers.sort_unstable_by_key(|it| self.cursors.get(it).map(|it| it.alias));
        movers.truncate(max);
        let news = movers.iter().filter_map(|session| {
            let Moved { pointed, selected } = self.moved.remove(session)?;
            let person = roster.person(roster.user_of(*session)?)?.clone();
            let news = Move {
                person,
                pointed,
                selected,
            };
            Some((*session, news))
        });
        let news: Vec<(SessionId, Move)> = news.collect();
        let gone: Vec<SessionId> = self.gone.iter().take(max).copied().collect();
        for session in &gone {
            self.gone.remove(session);
        }
        let event = |except: Option<SessionId>| {
            let others = news.iter().filter(|(it, _)| Some(*it) != except);
            let others = others.map(|(it, news)| (self.cursors[it].clone(), news.clone()));
            let (cursors, moves) = others.unzip();
            Event::Cursors {
                topic: topic.clone(),
                cursors,
                moves,
                gone: gone.clone(),
            }
        };
        let is_news = |movers: usize| movers > 1 || !gone.is_empty();
        let instead = match is_news(movers.len()) {
            true => movers.iter().map(|&it| (it, event(Some(it)))).collect(),
            false => Vec::new(),
        };
        Telling {
            event: event(None),
            except: movers.clone(),
            instead,
        }
    }
}

/// A broadcast as an event.
pub(super) fn broadcast(
    topic: &Topic,
    user: &UserId,
    (session, alias): (SessionId, SessionId),
    event: Arc<str>,
    payload: Arc<str>,
) -> Event {
    Event::Broadcast {
        topic: topic.clone(),
        event,
        payload,
        user: user.clone(),
        session,
        alias,
    }
}
