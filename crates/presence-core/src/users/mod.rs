//! People: their sessions and devices, what they chose, what others may see of it.

mod claims;
mod held;
mod others;
mod session;
mod shared;
mod user;
mod waiting;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use self::claims::{Claim, Newcomer};
pub use self::held::{KnownBy, Likeness};
use self::others::{LookedUp, Others, Probe};
use self::session::Stage;
pub use self::session::{Activity, Connection};
use self::shared::{Asked, Shared};
use self::user::User;
use self::waiting::{Need, Waiting};
use crate::cluster::{Incarnation, Membership, Murmur, News, Reply, Request, Subject};
use crate::epochs::Epochs;
use crate::ports::{Note, Recalled};
use crate::{
    ChannelId, Clock, DeviceId, Event, Face, Limits, Member, Meta, Owned, Profile, Reason, Refusal,
    SessionId, StatusChange, Timers, Timestamp, Timing, Topic, UserId, Watching, WorkspaceId,
};

/// What happened to a user. `A` is whoever wants an answer: the core only hands it back.
#[derive(Debug)]
pub enum Input<A> {
    /// A connection was let in.
    Connected {
        /// The id for a new session, never used before.
        session: SessionId,
        /// The connection whose session shall go on, if it still can.
        resume: Option<Connection>,
        /// What a client says of itself that has no word for that: it goes on with a session that is held for it.
        likeness: Option<Likeness>,
        /// On which device.
        device: DeviceId,
        /// In whose online lists the user appears through it.
        workspaces: Vec<WorkspaceId>,
        /// What it says about itself there.
        card: Arc<Meta>,
        /// Is welcomed or refused.
        asker: A,
    },
    /// A service acts for the user through `session`, which needs no connection and lives as long as it is heard of.
    Acted {
        /// The session, the same one each time.
        session: SessionId,
        /// On which device.
        device: DeviceId,
    },
    /// Something was heard from a connection.
    Heard {
        /// Which.
        by: Connection,
    },
    /// A connection said how its person is doing.
    Reported {
        /// Which.
        by: Connection,
        /// How.
        activity: Activity,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A fresh token of a connection names other workspaces, or another name.
    Moved {
        /// Which.
        by: Connection,
        /// In whose online lists the user appears through it from now on.
        workspaces: Vec<WorkspaceId>,
        /// What it says about itself there.
        card: Arc<Meta>,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A connection broke.
    Vanished {
        /// Which.
        by: Connection,
        /// [`Reason::Lost`] or [`Reason::TimedOut`].
        reason: Reason,
    },
    /// A session said goodbye.
    Left {
        /// Through which connection.
        by: Connection,
    },
    /// The user was thrown out.
    Kicked {
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// The user is to be forgotten: is thrown out, and nothing of theirs is kept.
    Erased {
        /// Only if they are nowhere, and were not seen since then.
        unseen_since: Option<Timestamp>,
        /// Wants to know when that is safely kept.
        asker: Option<A>,
    },
    /// A session entered a channel, or changed its meta there.
    Joined {
        /// Through which connection.
        by: Connection,
        /// Which channel.
        channel: ChannelId,
        /// What it says about itself.
        meta: Arc<Meta>,
        /// Whether and how it watches what goes on there, with the state it knows.
        watch: Option<(Watching, Option<Clock>)>,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A session changed its meta in a channel it is in.
    Updated {
        /// Through which connection.
        by: Connection,
        /// Which channel.
        channel: ChannelId,
        /// What it says about itself.
        meta: Arc<Meta>,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A session left a channel.
    Departed {
        /// Through which connection.
        by: Connection,
        /// Which channel.
        channel: ChannelId,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// The user, or a service for them, changed the status.
    Chose {
        /// Checked already.
        change: StatusChange,
        /// Wants to know when it is safely kept.
        asker: Option<A>,
    },
    /// Somebody wants to know how the user is.
    Asked {
        /// Whether that is the user.
        as_owner: bool,
        /// Gets the answer.
        asker: A,
    },
    /// A session began to watch the user.
    Watched {
        /// Which.
        watcher: SessionId,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A watcher of the user is gone. Once for each [`Input::Watched`].
    Unwatched,
    /// A service says that the user is still in a channel it put them into.
    Prolonged {
        /// Its session for the user.
        session: SessionId,
        /// Which channel.
        channel: ChannelId,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A session that an earlier process of this node has noted: it is held for its client.
    Restored {
        /// The session as it was.
        recalled: Box<Recalled>,
        /// When it was last known to be alive.
        alive_at: Timestamp,
        /// How long it is held.
        until: Timestamp,
        /// Wants to know when that is done.
        asker: Option<A>,
    },
    /// Something was heard of the store about the user.
    Stored(Reply),
    /// The profile that [`Effect::Load`] asked for cannot be read for now; it comes later.
    Unread,
    /// The same, and waiting is of no use to anybody: the store has answered, and its answer cannot be used.
    Unreadable,
    /// The profile that [`Effect::Load`] asked for.
    Loaded {
        /// `None`: nobody ever saved one.
        profile: Option<Profile>,
    },
}

/// What is to be done about it, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Let a connection in.
    Welcome {
        /// Its session, and which connection of it this is.
        connection: Connection,
        /// Whether the session went on.
        restored: bool,
        /// Who asked.
        asker: A,
    },
    /// Close a connection.
    Close {
        /// Which.
        connection: Connection,
        /// Why.
        reason: Reason,
    },
    /// Write a session's entry of a topic. Never one of a user who may not be seen. With [`Reason::Replaced`] the session is
    /// on another node now, which writes its entry itself.
    Write {
        /// Where.
        topic: Topic,
        /// Whose entry.
        session: SessionId,
        /// The entry, or why it is gone.
        entry: Result<Arc<Member>, Reason>,
        /// Whether the other nodes may be told: not before the store's map of the user names the place.
        is_shared: bool,
    },
    /// Have a session watch a topic, after what was written before.
    Watch {
        /// Which topic.
        topic: Topic,
        /// Which session.
        watcher: SessionId,
        /// How.
        watching: Watching,
        /// The state it knows.
        have: Option<Clock>,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// Note something of a session for the process that comes after this one. To be done before any other effect of the same
    /// call. Only where [sessions are kept](Users::keep_sessions).
    Remember(Note),
    /// A session types and points no longer.
    Silence {
        /// Where.
        topic: Topic,
        /// Which.
        session: SessionId,
    },
    /// Tell something.
    Tell {
        /// To whom.
        to: Audience,
        /// What.
        event: Event,
    },
    /// Ask the store that this node shares with others.
    Ask(Request),
    /// Read the user's profile, and come back with [`Input::Loaded`].
    Load,
    /// The same for somebody else, who is not to learn from the time it takes whether anything is known of the user here:
    /// ask whatever keeps profiles for good, even where the profile is at hand.
    LookUp,
    /// Keep the profile, or of one that is [blank](Profile::is_blank) nothing; when that is done, grant the asker.
    Save {
        /// What to keep.
        profile: Profile,
        /// The version of the user's map in the shared store that says so: what waits there for that is done then.
        version: Option<u64>,
        /// Who waits for it.
        asker: Option<A>,
    },
    /// Yes.
    Grant {
        /// To whom.
        asker: A,
        /// With what.
        answer: Answer,
    },
    /// No.
    Refuse {
        /// To whom.
        asker: A,
        /// Why.
        why: Refusal,
    },
}

/// Who is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Audience {
    /// These sessions of the user.
    Sessions(Vec<SessionId>),
    /// Everyone who watches the user.
    Watchers,
    /// One who has just begun to.
    Watcher(SessionId),
}

/// What is granted.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// How others see the user.
    Face(Face),
    /// How the user sees themselves.
    Owned(Owned),
}

/// The machine that knows people. One of them knows all about the users it is asked about, and nothing of others.
#[derive(Debug)]
pub struct Users<A> {
    timing: Timing,
    limits: Limits,
    users: HashMap<UserId, Slot<A>>,
    timers: Timers<Key>,
    epochs: Epochs,
    /// Where there is a store that it shares with other nodes.
    members: Option<Membership>,
    /// Who waits for something to be in that store.
    waiting: HashMap<UserId, Vec<Waiting<A>>>,
    /// Connections whose session is on another node.
    claims: HashMap<UserId, Vec<Claim<A>>>,
    /// Others who want to know how somebody is who cannot be seen.
    others: HashMap<UserId, Others<A>>,
    /// The number of the last request that was made for them.
    peeks: u32,
    /// What happened to users whose map is being read, because this node stood still.
    postponed: HashMap<UserId, Vec<Input<A>>>,
    /// When this node last stood still.
    woke_at: Timestamp,
    store_ahead_ms: i64,
    /// Sessions are kept for the process that comes after this one.
    keeps_sessions: bool,
    /// Since when this one has been about to stop.
    stops_from: Option<Timestamp>,
}

#[derive(Debug)]
enum Slot<A> {
    /// The profile is being read; what happened since waits for it, so that nobody is shown who hides.
    Loading(Box<Loading<A>>),
    Known(Box<User>),
}

impl<A> Slot<A> {
    /// Whether anything may be different once other nodes have caught up with the store.
    fn awaits_others(&self) -> bool {
        match self {
            Slot::Known(user) => user.awaits_others(),
            Slot::Loading(_) => false,
        }
    }
}

#[derive(Debug)]
struct Loading<A> {
    waiting: Vec<Input<A>>,
    shared: Option<Box<Shared>>,
    /// The shared store was away.
    is_unsure: bool,
    /// There is a profile that cannot be read: whoever wants something now is refused it.
    is_unreadable: bool,
    /// Nobody but watchers has asked so far.
    is_for_watchers: bool,
}

impl<A> Loading<A> {
    /// Refuses those who wait for an answer. What is not lost by waiting goes on waiting.
    fn refuse_waiting(&mut self, out: &mut Vec<Effect<A>>) {
        self.is_unreadable = true;
        for input in std::mem::take(&mut self.waiting) {
            match input.can_wait() {
                true => self.waiting.push(input),
                false => refuse(input.asker(), Refusal::Unavailable, out),
            }
        }
    }

    /// Whether the shared store has yet to answer.
    fn is_reading(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| it.replica.is_reading())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    /// The copy of what the store has is to be looked after.
    Copy(UserId),
    Session(UserId, SessionId),
    User(UserId),
    /// Somebody has waited for too long.
    Waiting(UserId),
}

impl<A> Users<A> {
    /// A machine that knows nobody. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        Users {
            timing,
            limits,
            users: HashMap::new(),
            timers: Timers::default(),
            epochs: Epochs::new(seed),
            members: None,
            waiting: HashMap::new(),
            claims: HashMap::new(),
            others: HashMap::new(),
            peeks: 0,
            postponed: HashMap::new(),
            woke_at: Timestamp::default(),
            store_ahead_ms: 0,
            keeps_sessions: false,
            stops_from: None,
        }
    }

    /// Takes part in a cluster, as `me`. To be called before anything else.
    pub fn join_cluster(&mut self, me: Incarnation) {
        self.members = Some(Membership::new(me));
    }

    /// How many users with a session here can be seen. Whoever hides is not counted.
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

    /// Sees to it that no session which has lost its connection ends before `until`.
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

    /// The channels that a session is in, visibly or not, with what it says about itself there.
    pub fn channels(&self, user: &UserId, session: SessionId) -> Vec<(ChannelId, Arc<Meta>)> {
        let Some(Slot::Known(user)) = self.users.get(user) else {
            return Vec::new();
        };
        let session = user.sessions.iter().find(|it| it.id == session);
        let places = session.into_iter().flat_map(|it| &it.places);
        let channel = |place: &session::Place| match &place.topic {
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

    /// Has the last-seen time of everyone who can be seen kept: the node is about to stop.
    pub fn note_last_seen(&mut self, now: Timestamp, out: &mut Vec<(UserId, Effect<A>)>) {
        let mut ids: Vec<UserId> = self.users.keys().cloned().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(Slot::Known(user)) = self.users.get_mut(&id) {
                user.note_last_seen();
                let mut effects = Vec::new();
                self.settle(now, &id, &mut effects);
                out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
            }
        }
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next_deadline()
    }

    /// Takes one fact about `user`.
    pub fn handle(
        &mut self,
        now: Timestamp,
        user: &UserId,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        match input {
            // The same path whether anything is known of them here or not.
            Input::Asked {
                as_owner: false,
                asker,
            } => self.probe(user, Probe::Asked(asker), out),
            Input::Stored(reply) => {
                if let Some(reply) = self.peeked(now, user, reply, out) {
                    self.take(now, user, Input::Stored(reply), out);
                }
            }
            Input::Loaded { profile } if self.others.contains_key(user) => {
                let looked_up = profile.clone();
                self.take(now, user, Input::Loaded { profile }, out);
                self.answer_others(now, user, looked_up.as_ref(), out);
            }
            Input::Unread | Input::Unreadable => {
                self.take(now, user, input, out);
                self.refuse_others(user, out);
            }
            input => self.take(now, user, input, out),
        }
    }

    fn take(&mut self, now: Timestamp, user: &UserId, input: Input<A>, out: &mut Vec<Effect<A>>) {
        match self.users.entry(user.clone()) {
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Slot::Known(_) => match self.postponed.get_mut(user) {
                    Some(held) if input.is_held() => {
                        if held.len() < self.limits.waiting_max || input.ends() {
                            held.push(input);
                        } else {
                            refuse(input.asker(), Refusal::Unavailable, out);
                        }
                    }
                    _ => self.happen(now, user, input, out),
                },
                Slot::Loading(loading) => match (input, &self.members) {
                    // Asked for when they were here before: what the shared store says comes first.
                    (Input::Loaded { .. } | Input::Unread | Input::Unreadable, Some(_))
                        if loading.is_reading() => {}
                    (Input::Loaded { profile }, _) => self.meet(now, user, Some(profile), out),
                    // Alone, nobody else has shown them: they wait until it is known whether they hide.
                    (Input::Unread, None) => {}
                    (Input::Unreadable, None) => loading.refuse_waiting(out),
                    (Input::Unread | Input::Unreadable, Some(_)) => {
                        self.meet(now, user, None, out);
                    }
                    (Input::Stored(reply), Some(members)) => {
                        let Some(shared) = &mut loading.shared else {
                            return;
                        };
                        match shared.prepare(now, reply, members) {
                            Asked::Waiting => {}
                            Asked::Known if shared.has_read() && !loading.is_for_watchers => {
                                self.meet(now, user, None, out);
                            }
                            Asked::Known => out.push(loading.load()),
                            Asked::Away => {
                                loading.is_unsure = true;
                                out.push(loading.load());
                            }
                        }
                    }
                    (input, None) if loading.is_unreadable && !input.can_wait() => {
                        refuse(input.asker(), Refusal::Unavailable, out);
                    }
                    (input, _)
                        if loading.waiting.len() < self.limits.waiting_max || input.ends() =>
                    {
                        match loading.wait(input) {
                            Some(Effect::Load) if loading.has_read() => {
                                self.meet(now, user, None, out);
                            }
                            load => out.extend(load),
                        }
                    }
                    (input, _) => refuse(input.asker(), Refusal::Unavailable, out),
                },
            },
            Entry::Vacant(entry) => {
                if !input.introduces(self.members.is_some()) {
                    return refuse(input.asker(), Refusal::NoSession, out);
                }
                let is_for_watchers = input.is_of_watcher();
                let mut shared = None;
                if let Some(members) = &self.members {
                    let subject = Subject::User(user.clone());
                    let mut requests = Vec::new();
                    let shared: &mut Shared = shared.get_or_insert_with(Box::default);
                    shared.store_ahead_ms = self.store_ahead_ms;
                    let replica = &mut shared.replica;
                    replica.follow(true, &subject, members, &mut requests);
                    out.extend(requests.into_iter().map(Effect::Ask));
                }
                let loading = Loading {
                    waiting: vec![input],
                    shared,
                    is_unsure: false,
                    is_unreadable: false,
                    is_for_watchers,
                };
                if !loading.is_reading() {
                    out.push(loading.load());
                }
                entry.insert(Slot::Loading(Box::new(loading)));
            }
        }
    }

    /// Something that all of a node has to hear.
    pub fn hear_news(&mut self, now: Timestamp, news: News, out: &mut Vec<(UserId, Effect<A>)>) {
        let Some(members) = &mut self.members else {
            return;
        };
        members.hear(news);
        match news {
            News::StoreAhead(ms) => return self.set_store_ahead(ms),
            News::Woke => self.woke_at = now,
            _ => {}
        }
        let concerns = |id: &UserId, slot: &Slot<A>| match news {
            News::Distrust(Some(shard)) => Subject::User(id.clone()).shard() == shard,
            News::Settled(_) => slot.awaits_others(),
            _ => true,
        };
        let slots = self.users.iter();
        let ids = slots.filter(|(id, slot)| concerns(id, slot));
        let mut ids: Vec<UserId> = ids.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        for id in ids {
            let mut effects = Vec::new();
            if self.hear_news_of(now, &id, news, &mut effects) {
                self.settle(now, &id, &mut effects);
            }
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

    /// What `news` mean for one user; says whether anything may be different now.
    fn hear_news_of(
        &mut self,
        now: Timestamp,
        id: &UserId,
        news: News,
        out: &mut Vec<Effect<A>>,
    ) -> bool {
        let (Some(slot), Some(members)) = (self.users.get_mut(id), &self.members) else {
            return false;
        };
        let user = match slot {
            Slot::Known(user) => user,
            Slot::Loading(loading) => {
                if let Some(shared) = &mut loading.shared {
                    shared.hear_news(now, news, members);
                }
                return false;
            }
        };
        if let (News::Lost(who), Some(shared)) = (news, &user.shared) {
            user.orphaned_at = shared.heard_at(who);
        }
        user.is_hearsay = true;
        if let News::Become(_) = news {
            user.begin_again(now, self.woke_at, &self.timing, out);
        }
        if let Some(shared) = &mut user.shared {
            user.own_changed |= shared.hear_news(now, news, members);
        }
        match news {
            News::Settled(_) => user.end_the_proven(now, members, out),
            News::Woke if !user.sessions.is_empty() => {
                self.postponed.entry(id.clone()).or_default();
            }
            _ => {}
        }
        true
    }

    /// Ends what has run out by `now`. Each effect comes with the user it is about.
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
            match key {
                Key::Session(_, session) => {
                    user.run_out(now, session, &self.timing, &mut effects);
                    if let Some(members) = &self.members {
                        user.end_the_proven(now, members, &mut effects);
                    }
                }
                Key::User(_) => user.expire(now),
                Key::Waiting(_) => self.give_up_waiting(now, &id, &mut effects),
                Key::Copy(_) => {
                    let Some(members) = &self.members else {
                        continue;
                    };
                    user.is_hearsay = true;
                    user.look_after_copy(now, members);
                }
            }
            self.settle(now, &id, &mut effects);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
    }

    /// The profile has come, or with `None` it cannot: what waited for it happens now.
    fn meet(
        &mut self,
        now: Timestamp,
        id: &UserId,
        loaded: Option<Option<Profile>>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Loading(loading)) = self.users.remove(id) else {
            return;
        };
        let mut shared = loading.shared;
        let read = shared.as_mut().and_then(|it| it.take_read());
        let looked_up = match (&loaded, &read) {
            (Some(_), _) => LookedUp::Yes,
            (None, Some(_)) => LookedUp::No,
            (None, None) => LookedUp::Failed,
        };
        let (read, changes) = match read {
            // Whoever changed it has not come to read it, or not yet.
            Some((profile, true)) => {
                let change = profile.as_change_of_unread();
                out.push(Effect::Load);
                (Some(profile), Some(vec![change]))
            }
            Some((profile, false)) => (Some(profile), None),
            None => (None, loaded.is_none().then(Vec::new)),
        };
        // What is kept here may be older than what another node was told: that they hide, for instance.
        let is_unsure = loading.is_unsure && read.is_none();
        let profile = match read.or(loaded.flatten()) {
            Some(profile) => profile,
            None if changes.is_some() => Profile::unread(id.clone()),
            None => Profile::new(id.clone()),
        };
        let mut user = User::new(now, profile, self.epochs.next());
        user.is_unsure = is_unsure;
        user.unread = changes;
        user.is_kept = self.keeps_sessions && !id.is_anonymous();
        user.shared = shared;
        user.looked_up = looked_up;
        user.meet_others(now, out);
        self.users.insert(id.clone(), Slot::Known(Box::new(user)));
        for input in loading.waiting {
            if let Some(Slot::Known(_)) = self.users.get(id) {
                self.happen(now, id, input, out);
            } else {
                // The one before was the last to be interested; begin again.
                self.handle(now, id, input, out);
            }
        }
        if let Some(Slot::Known(user)) = self.users.get_mut(id) {
            user.looked_up = LookedUp::No;
            self.settle(now, id, out);
        }
    }

    fn happen(&mut self, now: Timestamp, id: &UserId, input: Input<A>, out: &mut Vec<Effect<A>>) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        match input {
            Input::Heard { by } => {
                // The most frequent fact by far, and it changes nothing: the session's timer looks at `heard_at` when it ends.
                if let Some(session) = user.session(by) {
                    session.heard_at = now;
                }
                return;
            }
            Input::Connected {
                session,
                resume,
                device,
                workspaces,
                card,
                asker,
                likeness,
            } => {
                let newcomer = Newcomer {
                    session,
                    device,
                    workspaces,
                    card,
                    likeness,
                    asker,
                };
                return self.let_in(now, id, resume, newcomer, out);
            }
            Input::Acted { session, device } => {
                if let Some(members) = &self.members {
                    user.take_over(now, Connection::acted(session), members);
                }
                let room = user.sessions_anywhere() < self.limits.sessions_max;
                if let Some(session) = user.session(Connection::acted(session)) {
                    session.heard_at = now;
                } else if room {
                    user.connect(now, session, device, true);
                }
            }
            Input::Prolonged {
                session,
                channel,
                asker,
            } => {
                let by = Connection::acted(session);
                if let Some(members) = &self.members {
                    user.take_over(now, by, members);
                }
                let topic = Topic::Channel(channel);
                match user.session(by).filter(|it| it.is_in(&topic)) {
                    Some(session) => {
                        session.heard_at = now;
                        grant(asker, out);
                    }
                    None => refuse(asker, Refusal::NotJoined, out),
                }
            }
            Input::Reported {
                by,
                activity,
                asker,
            } => match user.session(by) {
                Some(session) => {
                    let is_new = session.activity != activity;
                    session.report(now, activity);
                    user.own_changed |= is_new;
                    grant(asker, out);
                }
                None => refuse(asker, Refusal::NoSession, out),
            },
            Input::Moved {
                by,
                workspaces,
                card,
                asker,
            } => match user.session(by) {
                None => refuse(asker, Refusal::NoSession, out),
                Some(_) => {
                    user.move_to(now, by.session, &workspaces, &card, out);
                    grant(asker, out);
                }
            },
            Input::Vanished { by, reason } => user.vanish(now, by, reason, &self.timing, out),
            Input::Left { by } => {
                if user.session(by).is_some() {
                    user.end(now, by.session, Reason::Left, out);
                }
            }
            Input::Kicked { asker } => {
                let is_here = user.sessions_anywhere() > 0;
                user.throw_out(now, out);
                if self.members.is_some() && asker.is_some() {
                    let subject = Subject::User(id.clone());
                    let murmur = Request::Murmur(subject, vec![Murmur::Kicked]);
                    out.push(Effect::Ask(murmur));
                }
                match is_here {
                    true => grant(asker, out),
                    false => refuse(asker, Refusal::NoSession, out),
                }
            }
            Input::Erased {
                unseen_since,
                asker,
            } => {
                if unseen_since.is_some_and(|since| user.is_seen_since(since)) {
                    grant(asker, out);
                } else {
                    user.throw_out(now, out);
                    user.erase(now);
                    let asker = asker.map(|it| (Need::Profile, it));
                    return self.settle_with(now, id, asker, out);
                }
            }
            Input::Joined {
                by,
                channel,
                meta,
                watch,
                asker,
            } => {
                let topic = Topic::Channel(channel);
                let max = self.limits.channels_max;
                match user.session(by) {
                    None => refuse(asker, Refusal::NoSession, out),
                    Some(session) if session.is_full(&topic, max) => {
                        let what = "channels of one session";
                        refuse(asker, Refusal::TooMany { what, max }, out);
                    }
                    Some(session) => {
                        session.heard_at = now;
                        user.join(now, by.session, topic.clone(), &meta);
                        // Written first, watched second: who joins finds themselves there.
                        user.write(out);
                        match watch {
                            None => grant(asker, out),
                            Some((watching, have)) => out.push(Effect::Watch {
                                topic,
                                watcher: by.session,
                                watching,
                                have,
                                asker,
                            }),
                        }
                    }
                }
            }
            Input::Updated {
                by,
                channel,
                meta,
                asker,
            } => {
                let topic = Topic::Channel(channel);
                match user.session(by) {
                    None => refuse(asker, Refusal::NoSession, out),
                    Some(session) if !session.is_in(&topic) => {
                        refuse(asker, Refusal::NotJoined, out);
                    }
                    Some(_) => {
                        user.join(now, by.session, topic, &meta);
                        let need = Need::Session(by.session);
                        return self.settle_with(now, id, asker.map(|it| (need, it)), out);
                    }
                }
            }
            Input::Departed { by, channel, asker } => {
                match user.session_here(now, by, self.members.as_ref(), out) {
                    None => refuse(asker, Refusal::NoSession, out),
                    Some(_) => {
                        user.depart(now, by.session, &Topic::Channel(channel), out);
                        let need = Need::Session(by.session);
                        return self.settle_with(now, id, asker.map(|it| (need, it)), out);
                    }
                }
            }
            Input::Chose { change, asker } => {
                if user.choose(now, &change) || asker.is_some() {
                    // Even where nothing is new: a change that is told but not yet kept may be on its way.
                    let need = match user.profile.status.chosen.hides() {
                        true => Need::Hidden,
                        false => Need::Profile,
                    };
                    return self.settle_with(now, id, asker.map(|it| (need, it)), out);
                }
            }
            Input::Asked {
                as_owner: true,
                asker,
            } => {
                let answer = Answer::Owned(user.owned(now));
                out.push(Effect::Grant { asker, answer });
            }
            Input::Asked { asker, .. } => return self.probe(id, Probe::Asked(asker), out),
            Input::Watched { watcher, asker } => {
                user.watchers += 1;
                return self.probe(id, Probe::Watched(watcher, asker), out);
            }
            Input::Unwatched => user.watchers = user.watchers.saturating_sub(1),
            Input::Stored(Reply::Murmured(murmurs)) => {
                if murmurs.contains(&Murmur::Kicked) {
                    let asker = None;
                    return self.happen(now, id, Input::Kicked { asker }, out);
                }
            }
            Input::Stored(reply) => {
                let Some(members) = &self.members else {
                    return;
                };
                user.is_hearsay = true;
                let has_answered = matches!(reply, Reply::Read { .. });
                let mut requests = Vec::new();
                let outcome = user.hear(now, reply, members, &mut requests);
                out.extend(requests.into_iter().map(Effect::Ask));
                let mut taken = outcome.taken;
                taken.retain(|(session, stamp)| !user.insists(*session, *stamp));
                let taken: Vec<SessionId> = taken.iter().map(|(session, _)| *session).collect();
                for session in &taken {
                    user.hand_over(*session, out);
                }
                if !outcome.left.is_empty() {
                    // Whoever came meanwhile is written first: a user with another session in a place does not leave it.
                    user.write(out);
                }
                for (session, reason) in &outcome.left {
                    // That is news, and this node's to tell.
                    user.is_hearsay = false;
                    user.end(now, *session, *reason, out);
                }
                for (session, reason, topics) in outcome.over {
                    out.extend(topics.into_iter().map(|topic| Effect::Write {
                        topic,
                        session,
                        entry: Err(reason),
                        is_shared: true,
                    }));
                }
                if outcome.is_erased {
                    user.throw_out(now, out);
                }
                if let Some((profile, version)) = outcome.saves.filter(|_| !id.is_anonymous()) {
                    out.push(Effect::Save {
                        profile: Profile::clone(&profile),
                        version: Some(version),
                        asker: None,
                    });
                }
                let is_read = has_answered && user.has_been_read();
                self.note_kept(id, outcome.kept);
                // Before anybody is told: a session that has come here is not gone from elsewhere.
                self.judge_claims(now, id, &outcome.claims, is_read, out);
                self.settle(now, id, out);
                self.answer(id, &outcome.stored, &taken, out);
                if is_read {
                    self.go_on(now, id, out);
                }
                return;
            }
            Input::Restored {
                recalled,
                alive_at,
                until,
                asker,
            } => {
                user.restore(now, *recalled, alive_at, until, out);
                self.settle(now, id, out);
                return grant(asker, out);
            }
            Input::Loaded { profile } => user.learn(now, profile),
            Input::Unread | Input::Unreadable => {}
        }
        self.settle(now, id, out);
    }

    /// The map was read, or cannot be: what was held back happens now.
    fn go_on(&mut self, now: Timestamp, id: &UserId, out: &mut Vec<Effect<A>>) {
        for input in self.postponed.remove(id).unwrap_or_default() {
            self.handle(now, id, input, out);
        }
    }

    fn settle(&mut self, now: Timestamp, id: &UserId, out: &mut Vec<Effect<A>>) {
        self.settle_with(now, id, None, out);
    }

    /// The one place where it is decided who needs to know: compares what is true now with what was told.
    fn settle_with(
        &mut self,
        now: Timestamp,
        id: &UserId,
        asker: Option<(Need, A)>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        user.show(now, out);
        user.is_hearsay = false;
        user.orphaned_at = None;
        user.note(now, self.stops_from, out);
        user.write(out);
        user.tell_owner(now, out);
        let unsaved = std::mem::take(&mut user.unsaved);
        let is_of_profile = asker.as_ref().is_some_and(|(need, _)| need.is_of_profile());
        if let (Some(shared), Some(members)) = (&mut user.shared, &self.members) {
            // What is told to other nodes comes first; what is kept for longer comes when they have it.
            if unsaved || is_of_profile {
                shared.put_profile();
            }
            let mut requests = Vec::new();
            let elsewhere = user.share(now, members, &mut requests);
            out.extend(requests.into_iter().map(Effect::Ask));
            for session in elsewhere {
                user.hand_over(session, out);
            }
            if let Some(deadline) = user.copy_deadline_to_arm() {
                self.timers.arm(Key::Copy(id.clone()), deadline.max(now));
            }
            if let Some((need, asker)) = asker {
                let waiting = Waiting::of(now, user, need, asker);
                self.wait(id, waiting, out);
            }
        } else if id.is_anonymous() || !(unsaved || is_of_profile) {
            grant(asker.map(|(_, asker)| asker), out);
        } else {
            let (saved_for, asker) = match is_of_profile {
                true => (asker.map(|(_, asker)| asker), None),
                false => (None, asker),
            };
            out.push(Effect::Save {
                profile: user.profile.clone(),
                version: None,
                asker: saved_for,
            });
            grant(asker.map(|(_, asker)| asker), out);
        }
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        for session in &mut user.sessions {
            if let Some(deadline) = session.deadline_to_arm(now, &self.timing) {
                let key = Key::Session(id.clone(), session.id);
                self.timers.arm(key, deadline);
            }
        }
        for (session, _) in user.ended.drain(..) {
            self.timers.cancel(&Key::Session(id.clone(), session));
        }
        if user.is_needed() || self.claims.contains_key(id) {
            if let Some(deadline) = user.deadline_to_arm() {
                self.timers.arm(Key::User(id.clone()), deadline);
            }
        } else {
            self.timers.cancel(&Key::User(id.clone()));
            self.timers.cancel(&Key::Copy(id.clone()));
            if let (Some(shared), Some(members)) = (&mut user.shared, &self.members) {
                let subject = Subject::User(id.clone());
                let mut requests = Vec::new();
                let replica = &mut shared.replica;
                replica.follow(false, &subject, members, &mut requests);
                out.extend(requests.into_iter().map(Effect::Ask));
            }
            self.postponed.remove(id);
            self.forget_watchers(id, out);
            self.users.remove(id);
            crate::shrink_after_burst(&mut self.users);
        }
    }
}

impl<A> Input<A> {
    /// Whether this may be the first that is heard of a user on this node.
    fn introduces(&self, is_shared: bool) -> bool {
        match self {
            Input::Connected { .. }
            | Input::Restored { .. }
            | Input::Acted { .. }
            | Input::Chose { .. }
            | Input::Erased { .. }
            | Input::Asked { .. }
            | Input::Watched { .. } => true,
            // What a service does for a user may have begun on another node.
            Input::Departed { .. } | Input::Prolonged { .. } | Input::Kicked { .. } => is_shared,
            _ => false,
        }
    }

    /// Whether this has to wait until the map of its user is read, where this node has stood still: the session may be on
    /// another node by now.
    fn is_held(&self) -> bool {
        !matches!(
            self,
            Input::Stored(_)
                | Input::Loaded { .. }
                | Input::Unread
                | Input::Unreadable
                | Input::Asked { .. }
                | Input::Watched { .. }
                | Input::Unwatched
        )
    }

    /// Whether this ends something that began before: there are no more of them than beginnings, and none may be lost.
    fn ends(&self) -> bool {
        matches!(
            self,
            Input::Vanished { .. } | Input::Left { .. } | Input::Unwatched
        )
    }

    /// Whether this waits for a profile that cannot be read: who watches is told when it can, and who is to be forgotten
    /// some day has time.
    fn can_wait(&self) -> bool {
        let is_patient = matches!(
            self,
            Input::Watched { .. }
                | Input::Erased {
                    unseen_since: Some(_),
                    ..
                }
        );
        is_patient || self.ends()
    }

    fn asker(self) -> Option<A> {
        match self {
            Input::Connected { asker, .. } | Input::Asked { asker, .. } => Some(asker),
            Input::Reported { asker, .. }
            | Input::Moved { asker, .. }
            | Input::Kicked { asker, .. }
            | Input::Erased { asker, .. }
            | Input::Joined { asker, .. }
            | Input::Updated { asker, .. }
            | Input::Departed { asker, .. }
            | Input::Prolonged { asker, .. }
            | Input::Restored { asker, .. }
            | Input::Chose { asker, .. }
            | Input::Watched { asker, .. } => asker,
            Input::Acted { .. }
            | Input::Heard { .. }
            | Input::Vanished { .. }
            | Input::Left { .. }
            | Input::Unwatched
            | Input::Stored(_)
            | Input::Unread
            | Input::Unreadable
            | Input::Loaded { .. } => None,
        }
    }
}

fn grant<A>(asker: Option<A>, out: &mut Vec<Effect<A>>) {
    out.extend(asker.map(|asker| Effect::Grant {
        asker,
        answer: Answer::Done,
    }));
}

fn refuse<A>(asker: Option<A>, why: Refusal, out: &mut Vec<Effect<A>>) {
    out.extend(asker.map(|asker| Effect::Refuse { asker, why }));
}
