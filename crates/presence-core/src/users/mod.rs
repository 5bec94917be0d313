//! Users: their sessions and devices, what they chose, and what others may see.

mod claims;
mod commands;
mod effect;
mod held;
mod input;
#[cfg(debug_assertions)]
mod invariants;
mod late_choice;
mod lifecycle;
mod loading;
mod others;
mod places;
mod profile;
mod profile_sync;
mod reconcile;
mod recording;
mod report;
mod session;
mod shared;
mod show;
pub(crate) mod stored;
mod user;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;

use self::claims::Claim;
pub use self::effect::{Answer, Audience, Effect};
use self::effect::{grant, refuse};
pub use self::held::Fingerprint;
use self::held::Keeping;
pub use self::input::Input;
use self::loading::{HeldInput, Loading, Slot};
use self::others::{Others, Probe};
use self::session::Stage;
pub use self::session::{Activity, Connection};
use self::show::Origin;
pub use self::stored::KnownBy;
use self::user::User;
use self::waiting::WaitingRequest;
use crate::cluster::{Incarnation, Membership, News, Subject};
use crate::epochs::Epochs;
use crate::history::Cause;
use crate::{ChannelId, Limits, Meta, SessionId, Timers, Timestamp, Timing, Topic, UserId};

/// The state machine of users. A node may have several; each knows only the users whose inputs it gets.
#[derive(Debug)]
pub struct Users<A> {
    timing: Timing,
    limits: Limits,
    users: HashMap<UserId, Slot<A>>,
    timers: Timers<Key>,
    epochs: Epochs,
    /// What this node knows of the cluster, if it is part of one.
    membership: Option<Membership>,
    /// Requests that wait until the shared store has what they changed.
    waiting: HashMap<UserId, Vec<WaitingRequest<A>>>,
    /// Connections that wait for a session that is on another node.
    claims: HashMap<UserId, Vec<Claim<A>>>,
    /// Questions from others about users who cannot be seen.
    others: HashMap<UserId, Others<A>>,
    /// The number of the last padded read that was requested for the questions in `others`.
    padded_reads: u32,
    /// Inputs about users whose map is being read again, because the process stood still.
    postponed: HashMap<UserId, Vec<HeldInput<A>>>,
    /// When the process last stood still, if it ever did: it was stopped, or frozen.
    standstill: Option<Standstill>,
    store_ahead_ms: i64,
    keeping: Keeping,
    /// Whether transitions are recorded.
    records_history: bool,
    /// Whether each change of how others see a user is announced.
    announces_looks: bool,
}

/// A time in which this node stood still.
#[derive(Clone, Copy, Debug)]
struct Standstill {
    since: Timestamp,
    woke_at: Timestamp,
}

impl Standstill {
    /// Until when this node reads what was sent to it meanwhile.
    fn reads_late_until(self) -> Timestamp {
        self.woke_at + Timing::AWAKE_AFTER
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    /// The copy of the user's map in the store needs attention.
    Copy(UserId),
    Session(UserId, SessionId),
    User(UserId),
    /// A request has waited for too long.
    Waiting(UserId),
}

impl<A> Users<A> {
    /// A state machine without users. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        Users {
            timing,
            limits,
            users: HashMap::new(),
            timers: Timers::default(),
            epochs: Epochs::new(seed),
            membership: None,
            waiting: HashMap::new(),
            claims: HashMap::new(),
            others: HashMap::new(),
            padded_reads: 0,
            postponed: HashMap::new(),
            standstill: None,
            store_ahead_ms: 0,
            keeping: Keeping::default(),
            records_history: false,
            announces_looks: false,
        }
    }

    /// Makes this node, which is `me`, part of a cluster. Must be called before any input.
    pub fn join_cluster(&mut self, me: Incarnation) {
        self.membership = Some(Membership::new(me));
    }

    /// Lets this machine emit what is to be [recorded](Effect::Record). Must be called before any input.
    pub fn record_history(&mut self) {
        self.records_history = true;
    }

    /// Lets this machine emit [`Effect::LooksDifferent`]. Must be called before any input.
    pub fn announce_looks(&mut self) {
        self.announces_looks = true;
    }

    /// How many users with a session here can be seen. Users who hide are not counted.
    pub fn online(&self) -> usize {
        let is_shown = |slot: &&Slot<A>| match slot {
            Slot::Known(user) => user.is_shown() && !user.sessions.is_empty(),
            Slot::Loading(_) => false,
        };
        self.users.values().filter(is_shown).count()
    }

    fn known(&self) -> impl Iterator<Item = &User> {
        self.users.values().filter_map(|slot| match slot {
            Slot::Known(user) => Some(&**user),
            Slot::Loading(_) => None,
        })
    }

    /// Makes every session that has lost its connection last at least until `until`.
    fn extend_grace(&mut self, until: Timestamp) {
        for slot in self.users.values_mut() {
            let Slot::Known(user) = slot else {
                continue;
            };
            let id = user.id().clone();
            for session in &mut user.sessions {
                if let Stage::Grace { until: ends, .. } = &mut session.stage
                    && *ends < until
                {
                    *ends = until;
                    self.timers.arm(Key::Session(id.clone(), session.id), until);
                }
            }
        }
    }

    /// The channels that a session is in, with its meta in each; also if its user hides.
    pub fn channels(&self, user: &UserId, session: SessionId) -> Vec<(ChannelId, Arc<Meta>)> {
        let Some(Slot::Known(user)) = self.users.get(user) else {
            return Vec::new();
        };
        let session = user.sessions.iter().find(|it| it.id == session);
        let places = session.into_iter().flat_map(|it| &it.places);
        let channel = |place: &session::SessionTopic| match &place.topic {
            Topic::Channel(channel) => Some((channel.clone(), place.meta.clone())),
            Topic::Workspace(_) => None,
        };
        places.filter_map(channel).collect()
    }

    /// What others are shown as the id of a session.
    pub fn alias(&self, user: &UserId, session: SessionId) -> SessionId {
        let Some(Slot::Known(user)) = self.users.get(user) else {
            return session;
        };
        let known = user.sessions.iter().find(|it| it.id == session);
        known.map_or(session, session::Session::alias)
    }

    /// Emits what saves the last-seen time of everyone who can be seen. It is meant for a node that is about to stop.
    pub fn note_last_seen(&mut self, now: Timestamp, out: &mut Vec<(UserId, Effect<A>)>) {
        let mut ids: Vec<UserId> = self.users.keys().cloned().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(Slot::Known(user)) = self.users.get_mut(&id) {
                user.note_last_seen();
                let mut effects = Vec::new();
                self.reconcile(now, &id, &mut effects);
                out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
            }
        }
    }

    /// When to call [`expire`](Self::expire) next; `None` if nothing is going to expire.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next_deadline()
    }

    /// Applies `input`, about `user`, at time `now`, and appends the resulting effects to `out`.
    ///
    /// `now` never goes back from one call to the next. The effects must be performed in their order, and each handle
    /// in an [`Effect::Grant`], [`Effect::Refuse`], [`Effect::Welcome`] or [`Effect::Save`] must get its answer.
    /// Nothing fails here: a request that is not granted becomes an [`Effect::Refuse`]. While the user's profile is
    /// being read, inputs wait for it, at most [`Limits::waiting_max`] of one user.
    ///
    /// ```text
    /// at  0 s  Connected { session, device, … }  emits  Load
    /// at  0 s  Loaded { profile: None }          emits  Welcome { restored: false, … }, Tell { event: OwnView(…) }, Save, …
    /// at 60 s  expire, after no more Heard       emits  Close { reason: TimedOut, … }
    /// at 70 s  expire, after the grace time      emits  Save with the last-seen time, …
    /// ```
    pub fn handle(
        &mut self,
        now: Timestamp,
        user: &UserId,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        match input {
            // Known and unknown users take the same path: the time of the answer must not tell them apart.
            Input::Asked {
                as_owner: false,
                reply_to,
            } => self.probe(user, Probe::Asked(reply_to), out),
            Input::Stored(reply) => {
                if let Some(reply) = self.read_padded(now, user, reply, out) {
                    self.take(now, now, user, Input::Stored(reply), out);
                }
            }
            Input::Loaded { profile } if self.others.contains_key(user) => {
                let looked_up = profile.clone();
                self.take(now, now, user, Input::Loaded { profile }, out);
                self.answer_others(now, user, looked_up.as_ref(), out);
            }
            Input::Unread | Input::Unreadable => {
                self.take(now, now, user, input, out);
                self.refuse_others(user, out);
            }
            input => self.take(now, now, user, input, out),
        }
        #[cfg(debug_assertions)]
        self.assert_invariants(user);
    }

    /// Applies news that concern all users of a node. Each effect comes with the user that it is about.
    pub fn hear_news(&mut self, now: Timestamp, news: News, out: &mut Vec<(UserId, Effect<A>)>) {
        let Some(membership) = &mut self.membership else {
            return;
        };
        membership.hear(news);
        match news {
            News::StoreAhead(ms) => return self.set_store_ahead(ms),
            News::Woke { since } => {
                let since = match self.standstill {
                    // What was sent during the one before may not be read yet.
                    Some(before) if since <= before.reads_late_until() => before.since,
                    _ => since,
                };
                self.standstill = Some(Standstill {
                    since,
                    woke_at: now,
                });
            }
            _ => {}
        }
        let concerns = |id: &UserId, slot: &Slot<A>| match news {
            News::StoredUpTo(_) | News::Reached(_) => slot.awaits_others(),
            _ => news.concerns(|| Subject::User(id.clone())),
        };
        let slots = self.users.iter();
        let ids = slots.filter(|(id, slot)| concerns(id, slot));
        let mut ids: Vec<UserId> = ids.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        for id in ids {
            let mut effects = Vec::new();
            if let Some(origin) = self.hear_news_of(now, &id, news, &mut effects) {
                self.reconcile_as(now, &id, origin, None, &mut effects);
            }
            #[cfg(debug_assertions)]
            self.assert_invariants(&id);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
    }

    fn set_store_ahead(&mut self, ms: i64) {
        self.store_ahead_ms = ms;
        for slot in self.users.values_mut() {
            let shared = match slot {
                Slot::Known(user) => &mut user.shared,
                Slot::Loading(loading) => &mut loading.shared,
            };
            if let Some(shared) = shared {
                shared.store_ahead_ms = ms;
            }
        }
    }

    /// Applies `news` to one user. Returns where the change comes from if anything may be different now.
    fn hear_news_of(
        &mut self,
        now: Timestamp,
        id: &UserId,
        news: News,
        out: &mut Vec<Effect<A>>,
    ) -> Option<Origin> {
        let (Some(slot), Some(membership)) = (self.users.get_mut(id), &self.membership) else {
            return None;
        };
        let user = match slot {
            Slot::Known(user) => user,
            Slot::Loading(loading) => {
                if let Some(shared) = &mut loading.shared {
                    if let (News::Woke { .. }, Some(standstill)) = (news, self.standstill) {
                        shared.stood_still(standstill, 0, true);
                    }
                    shared.hear_news(now, news, membership);
                }
                return None;
            }
        };
        let orphaned_at = match (news, &user.shared) {
            (News::Lost(who), Some(shared)) => shared.heard_at(who),
            _ => None,
        };
        user.note_cause(match news {
            News::Lost(_) | News::Become(_) => Cause::NodeLost,
            _ => Cause::OtherNode,
        });
        if let News::Become(_) = news {
            let woke_at = self.standstill.map(|it| it.woke_at);
            user.after_declared_dead(now, woke_at.unwrap_or_default(), &self.timing, out);
        }
        let is_followed = !user.sessions.is_empty() || user.watchers > 0;
        if let Some(shared) = &mut user.shared {
            if let (News::Woke { .. }, Some(standstill)) = (news, self.standstill) {
                let revision = user.profile.status.revision;
                shared.stood_still(standstill, revision, is_followed);
            }
            user.own_changed |= shared.hear_news(now, news, membership);
            if shared.replica.is_behind() {
                shared.orphaned_at = shared.orphaned_at.max(orphaned_at);
            }
        }
        match news {
            News::StoredUpTo(_) | News::Reached(_) => user.end_the_proven(now, membership, out),
            News::Woke { .. } if is_followed => {
                self.postponed.entry(id.clone()).or_default();
            }
            _ => {}
        }
        Some(Origin::Remote { orphaned_at })
    }

    /// Ends what has expired by `now`. Each effect comes with the user that it is about.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<(UserId, Effect<A>)>) {
        for key in self.timers.expire(now) {
            let id = match &key {
                Key::Session(id, _) | Key::User(id) | Key::Copy(id) | Key::Waiting(id) => {
                    id.clone()
                }
            };
            let Some(Slot::Known(user)) = self.users.get_mut(&id) else {
                continue;
            };
            let mut effects = Vec::new();
            let mut origin = Origin::Local;
            match key {
                Key::Session(_, session) => {
                    user.run_out(now, session, &self.timing, &mut effects);
                    if let Some(membership) = &self.membership {
                        user.end_the_proven(now, membership, &mut effects);
                    }
                }
                Key::User(_) => user.expire(now, &mut effects),
                Key::Waiting(_) => self.give_up_waiting(now, &id, &mut effects),
                Key::Copy(_) => {
                    let Some(membership) = &self.membership else {
                        continue;
                    };
                    origin = Origin::REMOTE;
                    user.note_cause(Cause::OtherNode);
                    user.look_after_copy(now, membership);
                }
            }
            self.reconcile_as(now, &id, origin, None, &mut effects);
            #[cfg(debug_assertions)]
            self.assert_invariants(&id);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
    }
}
