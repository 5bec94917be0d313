//! Ephemeral events of a channel: typing, cursors and broadcasts. They have no version. They are sent with the next
//! event of the channel, as far as their limits allow it, and expire by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::roster::Roster;
use crate::{
    Cursor, Event, Limits, Move, Payload, Sender, SessionId, Timestamp, Timing, Topic, UserId,
};

/// The factor by which a window has more room for broadcasts than one node may accept. Each node accepts at most
/// [`Limits::broadcasts_max`], and every node announces what any node accepted, up to this many times as much. Further
/// broadcasts are dropped.
const BROADCASTING_NODES_MAX: usize = 16;

/// The typing, the cursors and the broadcasts of one channel.
#[derive(Debug, Default)]
pub(super) struct EphemeralEvents {
    /// The users who type, and the sessions in which they do.
    typing: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// Users whose typing changed since the last event, each with whether that event named them as typing.
    typing_told: BTreeMap<UserId, bool>,
    /// The last users that were told to have started, and to have stopped, if there was no room for all of them the last
    /// time.
    started_up_to: Option<UserId>,
    stopped_up_to: Option<UserId>,
    cursors: BTreeMap<SessionId, Cursor>,
    /// By the alias of the session: in which order cursors are told says nothing about an id that only its owner knows.
    moved: BTreeMap<SessionId, Moved>,
    /// The same for cursors that moved, and for those that are gone, by the aliases of their sessions.
    moved_up_to: Option<SessionId>,
    gone: BTreeSet<SessionId>,
    gone_up_to: Option<SessionId>,
    broadcasts: Vec<Event>,
    window: Window,
}

/// How much of each kind was told since the window began, or in the case of broadcasts accepted.
#[derive(Debug, Default)]
struct Window {
    /// The end of the window. What happens then or later begins the next one.
    ends_at: Timestamp,
    started: usize,
    stopped: usize,
    moved: usize,
    gone: usize,
    broadcasts: usize,
}

impl Window {
    /// The window at this moment: a new one if the last one is over.
    fn at(&mut self, now: Timestamp) -> &mut Self {
        if self.ends_at <= now {
            *self = Window {
                ends_at: now + Timing::RATE_WINDOW,
                ..Window::default()
            };
        }
        self
    }
}

/// What is new of a cursor.
#[derive(Clone, Copy, Debug)]
struct Moved {
    session: SessionId,
    pointed: bool,
    selected: bool,
}

/// An event to tell, and the sessions that do not get it.
pub(super) struct Outgoing {
    pub(super) event: Event,
    pub(super) except: Vec<SessionId>,
    /// The sessions that get another event instead.
    pub(super) instead: Vec<(SessionId, Event)>,
}

impl Outgoing {
    fn all(event: Event) -> Self {
        Outgoing {
            event,
            except: Vec::new(),
            instead: Vec::new(),
        }
    }
}

impl EphemeralEvents {
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

    /// The users who were typing when that was last told. What is told next applies to this list.
    pub(super) fn typing_as_told(&self) -> Vec<UserId> {
        let changed = &self.typing_told;
        let unchanged = self.typing.keys().filter(|it| !changed.contains_key(*it));
        let stopping = changed.iter().filter(|(_, was_typing)| **was_typing);
        let mut typing: Vec<_> = unchanged.chain(stopping.map(|(user, _)| user)).collect();
        typing.sort_unstable();
        typing.into_iter().cloned().collect()
    }

    /// How many users are typing.
    pub(super) fn typing_count(&self) -> usize {
        self.typing.len()
    }

    /// The users who are typing, at most `max`.
    pub(super) fn typing(&self, max: usize) -> Vec<UserId> {
        self.typing.keys().take(max).cloned().collect()
    }

    /// Where the cursors of all sessions are.
    pub(super) fn cursors(&self) -> Vec<Cursor> {
        let mut cursors: Vec<&Cursor> = self.cursors.values().collect();
        // In the order of what is shown of them, like those that move.
        cursors.sort_unstable_by_key(|it| it.alias);
        cursors.into_iter().cloned().collect()
    }

    /// Changes the cursor of `session`, and returns it as it is now.
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
        let moved = self.moved.entry(cursor.alias).or_insert(Moved {
            session,
            pointed: false,
            selected: false,
        });
        moved.selected |= selected;
        moved.pointed |= !selected || cursor.pointer != before.0;
        cursor
    }

    pub(super) fn forget_cursor(&mut self, session: SessionId) {
        if let Some(cursor) = self.cursors.remove(&session) {
            self.moved.remove(&cursor.alias);
            self.gone.insert(cursor.alias);
        }
    }

    /// When the window ends in which something was told or accepted last.
    pub(super) fn window_ends_at(&self) -> Timestamp {
        self.window.ends_at
    }

    /// The number of broadcasts that count against the limit: those of this window, or those that still wait, if the
    /// channel sends events less often than that.
    fn counted_broadcasts(&mut self, now: Timestamp) -> usize {
        let accepted = self.window.at(now).broadcasts;
        accepted.max(self.broadcasts.len())
    }

    /// Whether this node may accept another broadcast now.
    pub(super) fn has_room_to_broadcast(&mut self, now: Timestamp, max: usize) -> bool {
        self.counted_broadcasts(now) < max
    }

    /// Queues a broadcast that this node or another one has accepted, where each node accepts at most `max` in a window.
    /// If there is no room for it, it is dropped.
    pub(super) fn broadcast(&mut self, now: Timestamp, event: Event, max: usize) {
        if self.counted_broadcasts(now) < max.saturating_mul(BROADCASTING_NODES_MAX) {
            self.window.broadcasts += 1;
            self.broadcasts.push(event);
        }
    }

    /// Takes what there is to tell. Typing and cursors over their limits stay for the next window.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        limits: &Limits,
        roster: &Roster,
    ) -> Vec<Outgoing> {
        self.window.at(now);
        // Broadcasts are told before typing, because a broadcast may itself say that its sender types.
        let broadcasts = std::mem::take(&mut self.broadcasts).into_iter();
        let mut tellings: Vec<Outgoing> = broadcasts.map(Outgoing::all).collect();
        if !self.typing_told.is_empty() {
            tellings.extend(self.take_typing(topic, limits.typing_max));
        }
        if !self.moved.is_empty() || !self.gone.is_empty() {
            tellings.extend(self.take_cursors(topic, limits.cursors_max, roster));
        }
        tellings
    }

    /// Takes the changes of typing that this window has room for. Each user who started or stopped is named once, so a
    /// list that is kept by adding and removing stays right.
    fn take_typing(&mut self, topic: &Topic, max: usize) -> Option<Outgoing> {
        let (changed, window) = (&self.typing_told, &mut self.window);
        let room = max.saturating_sub(window.started);
        let started = next_of(
            |from| changed.range(from).filter(|(_, was)| !**was).map(first),
            &mut self.started_up_to,
            room,
        );
        let room = max.saturating_sub(window.stopped);
        let stopped = next_of(
            |from| changed.range(from).filter(|(_, was)| **was).map(first),
            &mut self.stopped_up_to,
            room,
        );
        window.started += started.len();
        window.stopped += stopped.len();
        for user in started.iter().chain(&stopped) {
            self.typing_told.remove(user);
        }
        let is_news = !started.is_empty() || !stopped.is_empty();
        is_news.then(|| {
            Outgoing::all(Event::Typing {
                topic: topic.clone(),
                typing: self.typing(max),
                started,
                stopped,
            })
        })
    }

    /// Takes the changes of cursors that this window has room for. Each session is told about all cursors but its own.
    fn take_cursors(&mut self, topic: &Topic, max: usize, roster: &Roster) -> Option<Outgoing> {
        let room = max.saturating_sub(self.window.moved);
        let moved = &self.moved;
        let movers = next_of(
            |from| moved.range(from).map(first),
            &mut self.moved_up_to,
            room,
        );
        self.window.moved += movers.len();
        let movers = movers.iter().filter_map(|alias| self.moved.remove(alias));
        let movers: Vec<Moved> = movers.collect();
        let news = movers.iter().filter_map(|moved| {
            let person = roster.person(roster.user_of(moved.session)?)?.clone();
            let news = Move {
                person,
                pointed: moved.pointed,
                selected: moved.selected,
            };
            Some((moved.session, news))
        });
        let news: Vec<(SessionId, Move)> = news.collect();
        let room = max.saturating_sub(self.window.gone);
        let all = &self.gone;
        let gone = next_of(|from| all.range(from), &mut self.gone_up_to, room);
        self.window.gone += gone.len();
        for alias in &gone {
            self.gone.remove(alias);
        }
        if movers.is_empty() && gone.is_empty() {
            return None;
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
        let movers: Vec<SessionId> = movers.iter().map(|it| it.session).collect();
        let instead = match is_news(movers.len()) {
            true => movers.iter().map(|&it| (it, event(Some(it)))).collect(),
            false => Vec::new(),
        };
        Some(Outgoing {
            event: event(None),
            except: movers.clone(),
            instead,
        })
    }
}

/// A range of keys, with both bounds borrowed.
type Between<'a, K> = (Bound<&'a K>, Bound<&'a K>);

/// The next keys that wait, at most `max`. `waiting` lists those of a range in order. If more than `max` wait, `up_to`
/// keeps the last one, and the next call goes on after it. So nobody waits for ever behind others who change all the time.
fn next_of<'a, K, I>(
    waiting: impl Fn(Between<'_, K>) -> I,
    up_to: &mut Option<K>,
    max: usize,
) -> Vec<K>
where
    K: Ord + Clone + 'a,
    I: Iterator<Item = &'a K>,
{
    let after = up_to.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let before = up_to.as_ref();
    let before = before.map(|it| waiting((Bound::Unbounded, Bound::Included(it))));
    let in_turn = waiting((after, Bound::Unbounded));
    let mut in_turn = in_turn.chain(before.into_iter().flatten());
    let next: Vec<K> = in_turn.by_ref().take(max).cloned().collect();
    let is_more = in_turn.next().is_some();
    *up_to = next.last().filter(|_| is_more).cloned();
    next
}

fn first<'a, K, V>((key, _): (&'a K, &'a V)) -> &'a K {
    key
}

/// The event for a broadcast.
pub(super) fn broadcast(
    topic: &Topic,
    user: &UserId,
    sender: Sender,
    event: Arc<str>,
    payload: Payload,
) -> Event {
    Event::Broadcast {
        topic: topic.clone(),
        event,
        payload,
        user: user.clone(),
        sender,
    }
}
