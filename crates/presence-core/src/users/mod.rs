//! Users: their sessions and devices, what they chose, and what others may see.

mod claims;
mod held;
mod others;
mod report;
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
use crate::cluster::{Ephemeral, Incarnation, Membership, News, Reply, Request, Subject};
use crate::epochs::Epochs;
use crate::explain::Origin;
use crate::history::{Cause, Transition, What};
use crate::ports::{Note, Recalled};
use crate::{
    ChannelId, Clock, DeviceId, Event, Limits, Member, Meta, OwnView, Profile, PublicView, Reason,
    Refusal, SessionId, StatusChange, Timers, Timestamp, Timing, Topic, UserId, Watching,
    WorkspaceId,
};

/// What happened to a user. `A` is the caller's handle for an answer, which the core only hands back.
#[derive(Debug)]
pub enum Input<A> {
    /// A connection asks for a session.
    Connected {
        /// The id for a new session. It must not have been used before.
        session: SessionId,
        /// The earlier connection whose session is to go on, if it still can. The caller has checked that
        /// it is the client's.
        resume: Option<Connection>,
        /// What is known about a client whose protocol has no resume token. It goes on with the session that is held
        /// for such a client.
        likeness: Option<Likeness>,
        /// The device that the connection is on.
        device: DeviceId,
        /// The workspaces in whose online lists the user appears through this session.
        workspaces: Vec<WorkspaceId>,
        /// The meta of the session in those workspaces.
        card: Arc<Meta>,
        /// Where the connection comes from, if that is known.
        origin: Option<Arc<Origin>>,
        /// Gets [`Effect::Welcome`] or [`Effect::Refuse`].
        reply_to: A,
    },
    /// A service acts for the user through `session`. It needs no connection, and lasts while the service
    /// is heard from.
    ServiceActed {
        /// The service's session for the user: the same id each time.
        session: SessionId,
        /// The device that the service names.
        device: DeviceId,
    },
    /// A connection sent something, so its client is alive.
    Heard {
        /// The connection that was heard from.
        by: Connection,
    },
    /// A connection reported how active its person is.
    Reported {
        /// The connection that reported it.
        by: Connection,
        /// The activity that it reported.
        activity: Activity,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A new token of a connection names other workspaces, or another meta there.
    Moved {
        /// The connection with the new token.
        by: Connection,
        /// The workspaces in whose online lists the user appears through this session from now on.
        workspaces: Vec<WorkspaceId>,
        /// The meta of the session in those workspaces.
        card: Arc<Meta>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A connection broke. Its session is kept for the grace time.
    Vanished {
        /// The connection that broke.
        by: Connection,
        /// [`Reason::Lost`] or [`Reason::TimedOut`].
        reason: Reason,
        /// What ended the connection.
        cause: Cause,
    },
    /// A client ended its session.
    Left {
        /// The connection through which it did.
        by: Connection,
    },
    /// The user is kicked: all their sessions end.
    Kicked {
        /// Gets an answer; a refusal if the user has no session.
        reply_to: Option<A>,
    },
    /// The user is erased: all their sessions end, and nothing of theirs is kept.
    Erased {
        /// Erase the user only if they have no session, and were not seen since this moment.
        unseen_since: Option<Timestamp>,
        /// Gets an answer when the erasure is safely stored.
        reply_to: Option<A>,
    },
    /// A session joined a channel, or changed its meta there.
    Joined {
        /// The live connection of the session.
        by: Connection,
        /// The channel that it joined.
        channel: ChannelId,
        /// The meta of the session in the channel.
        meta: Arc<Meta>,
        /// How the session also watches the channel, and the version that its client has; `None` if it does
        /// not watch it.
        watch: Option<(Watching, Option<Clock>)>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session changed its meta in a channel that it is in.
    Updated {
        /// The live connection of the session.
        by: Connection,
        /// The channel that the session is in.
        channel: ChannelId,
        /// The meta of the session in the channel.
        meta: Arc<Meta>,
        /// Gets the answer; in a cluster, when the shared store has the change.
        reply_to: Option<A>,
    },
    /// A session left a channel.
    Departed {
        /// The live connection of the session.
        by: Connection,
        /// The channel that it left.
        channel: ChannelId,
        /// Gets the answer; in a cluster, when the shared store has the change.
        reply_to: Option<A>,
    },
    /// The user, or a service for them, changed the status.
    Chose {
        /// The change, which the caller has checked.
        change: StatusChange,
        /// Who asked for it: [`Cause::Client`], [`Cause::Owner`] or [`Cause::Service`].
        by: Cause,
        /// Gets an answer when the change is safely stored.
        reply_to: Option<A>,
    },
    /// Somebody asks for the state of the user.
    Asked {
        /// Whether the user asks: then the answer is [`Answer::OwnView`], otherwise [`Answer::PublicView`].
        as_owner: bool,
        /// Gets the answer, once the user's profile is known.
        reply_to: A,
    },
    /// A session began to watch the user.
    Watched {
        /// The session that watches.
        watcher: SessionId,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A watcher of the user is gone. There is one of these for each [`Input::Watched`].
    Unwatched,
    /// A service says that the user is still in a channel that the service has put them into.
    Prolonged {
        /// The service's session for the user.
        session: SessionId,
        /// The channel that the user is still in.
        channel: ChannelId,
        /// Gets an answer; a refusal if the user is not in the channel.
        reply_to: Option<A>,
    },
    /// An earlier process of this node has noted this session. It is held for its client.
    Restored {
        /// The session as it was noted.
        recalled: Box<Recalled>,
        /// When the session was last known to be alive.
        alive_at: Timestamp,
        /// Until when the session is held.
        until: Timestamp,
        /// Gets an answer when the session is restored.
        reply_to: Option<A>,
    },
    /// The store that nodes share answered, or announced a change, about the user.
    Stored(Reply),
    /// The profile that [`Effect::Load`] asked for cannot be read at present. It comes later.
    Unread,
    /// The profile that [`Effect::Load`] asked for is stored, but cannot be understood, so there is no use in
    /// waiting for it.
    Unreadable,
    /// The profile that [`Effect::Load`] asked for was read.
    Loaded {
        /// The profile; `None` if none is stored.
        profile: Option<Profile>,
    },
}

/// What the caller is to do. Effects must be performed in the order in which they were emitted.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Let a connection in.
    Welcome {
        /// The session, and the epoch of its new connection.
        connection: Connection,
        /// Whether an earlier session goes on.
        restored: bool,
        /// The handle of the connection that asked.
        reply_to: A,
    },
    /// Close a connection.
    Close {
        /// The connection to close.
        connection: Connection,
        /// The reason to give to the client.
        reason: Reason,
    },
    /// Write a session's entry in a topic to the rosters. A user who may not be seen has no entries. With
    /// [`Reason::Replaced`] the session is on another node now, which writes its own entry.
    Write {
        /// The topic that the entry is in.
        topic: Topic,
        /// The session that the entry belongs to.
        session: SessionId,
        /// The entry, or the reason for which it is removed.
        entry: Result<Arc<Member>, Reason>,
        /// Whether other nodes may be told: not before the user's map in the store names the topic.
        is_shared: bool,
    },
    /// Let a session watch a topic, after the entries that were written before.
    Watch {
        /// The topic to watch.
        topic: Topic,
        /// The session that watches.
        watcher: SessionId,
        /// How much the session is told.
        watching: Watching,
        /// The version that its client has, if any.
        have: Option<Clock>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// Store something about a session for the next process of this node. It must be stored before any other effect of
    /// the same call is performed. It is emitted only if [sessions are kept](Users::keep_sessions).
    Remember(Note),
    /// Add a transition to the [history](crate::history::History) of this partition. It is emitted only if
    /// [history is recorded](Users::record_history).
    Record(Transition),
    /// Stop the typing and remove the cursor of a session.
    Silence {
        /// The topic in which to do that.
        topic: Topic,
        /// The session that has no connection any more.
        session: SessionId,
    },
    /// Send an event to sessions.
    Tell {
        /// The sessions that get it.
        to: Audience,
        /// The event to send.
        event: Event,
    },
    /// Send a request to the store that nodes share.
    Ask(Request),
    /// Read the user's profile, and report it with [`Input::Loaded`], [`Input::Unread`] or [`Input::Unreadable`].
    Load,
    /// The same for somebody else, who is not to learn from the time it takes whether anything is known of the user here:
    /// ask whatever keeps profiles for good, even where the profile is at hand.
    LookUp,
    /// Keep the profile, or of one that is [blank](Profile::is_blank) nothing; when that is done, grant the reply-to.
    Save {
        /// The profile to store.
        profile: Profile,
        /// The version of the user's map in the shared store that has this profile. The row that waits there for that
        /// version may be removed then.
        version: Option<u64>,
        /// Gets an answer when the profile is stored.
        reply_to: Option<A>,
    },
    /// A request was granted.
    Grant {
        /// The handle that came with the request.
        reply_to: A,
        /// The answer to the request.
        answer: Answer,
    },
    /// A request was refused.
    Refuse {
        /// The handle that came with the request.
        reply_to: A,
        /// The reason for the refusal.
        why: Refusal,
    },
}

/// The sessions that an event is sent to.
#[derive(Debug, PartialEq, Eq)]
pub enum Audience {
    /// These sessions of the user.
    Sessions(Vec<SessionId>),
    /// Everyone who watches the user.
    Watchers,
    /// This session, which has just begun to watch the user.
    Watcher(SessionId),
}

/// The answer to a request that was granted.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The request was carried out.
    Done,
    /// How others see the user.
    PublicView(PublicView),
    /// How the user sees themselves.
    OwnView(OwnView),
}

/// The state machine of users. A node may have several; each knows only the users whose inputs it gets.
#[derive(Debug)]
pub struct Users<A> {
    timing: Timing,
    limits: Limits,
    users: HashMap<UserId, Slot<A>>,
    timers: Timers<Key>,
    epochs: Epochs,
    /// What this node knows of the cluster, if it is part of one.
    members: Option<Membership>,
    /// Requests that wait until the shared store has what they changed.
    waiting: HashMap<UserId, Vec<Waiting<A>>>,
    /// Connections that wait for a session that is on another node.
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
    /// Whether sessions are noted for the next process of this node.
    keeps_sessions: bool,
    /// Whether transitions are recorded.
    records_history: bool,
    /// When this process was told that it is about to stop.
    stops_from: Option<Timestamp>,
}

#[derive(Debug)]
enum Slot<A> {
    /// The profile is being read. Inputs wait for it, so that a user who hides is not shown.
    Loading(Box<Loading<A>>),
    Known(Box<User>),
}

impl<A> Slot<A> {
    /// Whether the state may change when other nodes have caught up with the store.
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
    /// Whether the shared store did not answer.
    is_unsure: bool,
    /// Whether the stored profile cannot be understood. Requests that cannot wait are refused then.
    is_unreadable: bool,
    /// Nobody but watchers has asked so far.
    is_for_watchers: bool,
}

impl<A> Loading<A> {
    /// Refuses the requests that wait for an answer. Inputs that may wait longer go on waiting.
    fn refuse_waiting(&mut self, out: &mut Vec<Effect<A>>) {
        self.is_unreadable = true;
        for input in std::mem::take(&mut self.waiting) {
            match input.can_wait() {
                true => self.waiting.push(input),
                false => refuse(input.reply_to(), Refusal::Unavailable, out),
            }
        }
    }

    /// Whether the shared store has not answered yet.
    fn is_reading(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| it.replica.is_reading())
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
            members: None,
            waiting: HashMap::new(),
            claims: HashMap::new(),
            others: HashMap::new(),
            peeks: 0,
            postponed: HashMap::new(),
            woke_at: Timestamp::default(),
            store_ahead_ms: 0,
            keeps_sessions: false,
            records_history: false,
            stops_from: None,
        }
    }

    /// Makes this node, which is `me`, part of a cluster. Must be called before any input.
    pub fn join_cluster(&mut self, me: Incarnation) {
        self.members = Some(Membership::new(me));
    }

    /// Lets this machine emit what is to be [recorded](Effect::Record). Must be called before any input.
    pub fn record_history(&mut self) {
        self.records_history = true;
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

    /// The channels that a session is in, visibly or not, with its meta in each.
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

    /// Has the last-seen time of everyone who can be seen kept: the node is about to stop.
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
            // The same path whether anything is known of them here or not.
            Input::Asked {
                as_owner: false,
                reply_to,
            } => self.probe(user, Probe::Asked(reply_to), out),
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
                            refuse(input.reply_to(), Refusal::Unavailable, out);
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
                        refuse(input.reply_to(), Refusal::Unavailable, out);
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
                    (input, _) => refuse(input.reply_to(), Refusal::Unavailable, out),
                },
            },
            Entry::Vacant(entry) => {
                if !input.introduces(self.members.is_some()) {
                    return refuse(input.reply_to(), Refusal::NoSession, out);
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

    /// Applies news that concern all users of a node. Each effect comes with the user that it is about.
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
            News::Invalidate(Some(partition)) => Subject::User(id.clone()).partition() == partition,
            News::StoredUpTo(_) => slot.awaits_others(),
            _ => true,
        };
        let slots = self.users.iter();
        let ids = slots.filter(|(id, slot)| concerns(id, slot));
        let mut ids: Vec<UserId> = ids.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        for id in ids {
            let mut effects = Vec::new();
            if self.hear_news_of(now, &id, news, &mut effects) {
                self.reconcile(now, &id, &mut effects);
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

    /// Applies `news` to one user. Returns whether anything may be different now.
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
        user.is_remote = true;
        user.cause = match news {
            News::Lost(_) | News::Become(_) => Cause::NodeLost,
            _ => Cause::OtherNode,
        };
        if let News::Become(_) = news {
            user.begin_again(now, self.woke_at, (&self.timing, members), out);
        }
        if let Some(shared) = &mut user.shared {
            user.own_changed |= shared.hear_news(now, news, members);
        }
        match news {
            News::StoredUpTo(_) => user.end_the_proven(now, members, out),
            News::Woke if !user.sessions.is_empty() => {
                self.postponed.entry(id.clone()).or_default();
            }
            _ => {}
        }
        true
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
            match key {
                Key::Session(_, session) => {
                    user.run_out(now, session, &self.timing, &mut effects);
                    if let Some(members) = &self.members {
                        user.end_the_proven(now, members, &mut effects);
                    }
                }
                Key::User(_) => {
                    let before = user.profile.status.revision;
                    user.expire(now);
                    user.cause = Cause::Expiry;
                    if user.profile.status.revision != before {
                        let what = What::Chose(user.profile.status.chosen);
                        user.record(now, None, None, what, &mut effects);
                    }
                }
                Key::Waiting(_) => self.give_up_waiting(now, &id, &mut effects),
                Key::Copy(_) => {
                    let Some(members) = &self.members else {
                        continue;
                    };
                    user.is_remote = true;
                    user.cause = Cause::OtherNode;
                    user.look_after_copy(now, members);
                }
            }
            self.reconcile(now, &id, &mut effects);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
    }

    /// Applies the inputs that waited for the profile: it has come, or with `None` it cannot be read.
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
        user.is_recorded = self.records_history;
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
            self.reconcile(now, id, out);
        }
    }

    fn happen(&mut self, now: Timestamp, id: &UserId, input: Input<A>, out: &mut Vec<Effect<A>>) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        user.cause = input.cause(user);
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
                origin,
                reply_to,
                likeness,
            } => {
                let newcomer = Newcomer {
                    session,
                    device,
                    workspaces,
                    card,
                    likeness,
                    origin,
                    reply_to,
                };
                return self.let_in(now, id, resume, newcomer, out);
            }
            Input::ServiceActed { session, device } => {
                if let Some(members) = &self.members {
                    user.take_over(now, Connection::of_service(session), members, out);
                }
                let room = user.sessions_anywhere() < self.limits.sessions_max;
                if let Some(session) = user.session(Connection::of_service(session)) {
                    session.heard_at = now;
                } else if room {
                    user.connect(now, session, device, true, out);
                }
            }
            Input::Prolonged {
                session,
                channel,
                reply_to,
            } => {
                let by = Connection::of_service(session);
                if let Some(members) = &self.members {
                    user.take_over(now, by, members, out);
                }
                let topic = Topic::Channel(channel);
                match user.session(by).filter(|it| it.is_in(&topic)) {
                    Some(session) => {
                        session.heard_at = now;
                        grant(reply_to, out);
                    }
                    None => refuse(reply_to, Refusal::NotJoined, out),
                }
            }
            Input::Reported {
                by,
                activity,
                reply_to,
            } => match user.session(by) {
                Some(session) => {
                    let is_new = session.activity != activity;
                    session.report(now, activity);
                    user.own_changed |= is_new;
                    if is_new {
                        let what = What::Reported(activity);
                        user.record(now, Some(by.session), None, what, out);
                    }
                    grant(reply_to, out);
                }
                None => refuse(reply_to, Refusal::NoSession, out),
            },
            Input::Moved {
                by,
                workspaces,
                card,
                reply_to,
            } => match user.session(by) {
                None => refuse(reply_to, Refusal::NoSession, out),
                Some(_) => {
                    user.move_to(now, by.session, &workspaces, &card, out);
                    grant(reply_to, out);
                }
            },
            Input::Vanished { by, reason, .. } => user.vanish(now, by, reason, &self.timing, out),
            Input::Left { by } => {
                if user.session(by).is_some() {
                    user.end(now, by.session, Reason::Left, out);
                }
            }
            Input::Kicked { reply_to } => {
                let is_here = user.sessions_anywhere() > 0;
                user.throw_out(now, out);
                if self.members.is_some() && reply_to.is_some() {
                    let subject = Subject::User(id.clone());
                    let ephemeral = Request::Ephemeral(subject, vec![Ephemeral::Kicked]);
                    out.push(Effect::Ask(ephemeral));
                }
                match is_here {
                    true => grant(reply_to, out),
                    false => refuse(reply_to, Refusal::NoSession, out),
                }
            }
            Input::Erased {
                unseen_since,
                reply_to,
            } => {
                if unseen_since.is_some_and(|since| user.is_seen_since(since)) {
                    grant(reply_to, out);
                } else {
                    user.throw_out(now, out);
                    user.erase(now);
                    user.record(now, None, None, What::Erased, out);
                    let reply_to = reply_to.map(|it| (Need::Profile, it));
                    return self.reconcile_with(now, id, reply_to, out);
                }
            }
            Input::Joined {
                by,
                channel,
                meta,
                watch,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let max = self.limits.channels_max;
                match user.session(by) {
                    None => refuse(reply_to, Refusal::NoSession, out),
                    Some(session) if session.is_full(&topic, max) => {
                        let what = "channels of one session";
                        refuse(reply_to, Refusal::TooMany { what, max }, out);
                    }
                    Some(session) => {
                        session.heard_at = now;
                        user.join(now, by.session, topic.clone(), &meta);
                        // Written first, watched second: who joins finds themselves there.
                        user.write(now, out);
                        match watch {
                            None => grant(reply_to, out),
                            Some((watching, have)) => out.push(Effect::Watch {
                                topic,
                                watcher: by.session,
                                watching,
                                have,
                                reply_to,
                            }),
                        }
                    }
                }
            }
            Input::Updated {
                by,
                channel,
                meta,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                match user.session(by) {
                    None => refuse(reply_to, Refusal::NoSession, out),
                    Some(session) if !session.is_in(&topic) => {
                        refuse(reply_to, Refusal::NotJoined, out);
                    }
                    Some(_) => {
                        user.join(now, by.session, topic, &meta);
                        let need = Need::Session(by.session);
                        return self.reconcile_with(now, id, reply_to.map(|it| (need, it)), out);
                    }
                }
            }
            Input::Departed {
                by,
                channel,
                reply_to,
            } => match user.session_here(now, by, self.members.as_ref(), out) {
                None => refuse(reply_to, Refusal::NoSession, out),
                Some(_) => {
                    user.depart(now, by.session, &Topic::Channel(channel), out);
                    let need = Need::Session(by.session);
                    return self.reconcile_with(now, id, reply_to.map(|it| (need, it)), out);
                }
            },
            Input::Chose {
                change, reply_to, ..
            } => {
                let is_new = user.choose(now, &change);
                if is_new {
                    let what = What::Chose(user.profile.status.chosen);
                    user.record(now, None, None, what, out);
                }
                if is_new || reply_to.is_some() {
                    // Even where nothing is new: a change that is told but not yet kept may be on its way.
                    let need = match user.profile.status.chosen.hides() {
                        true => Need::Hidden,
                        false => Need::Profile,
                    };
                    return self.reconcile_with(now, id, reply_to.map(|it| (need, it)), out);
                }
            }
            Input::Asked {
                as_owner: true,
                reply_to,
            } => {
                let answer = Answer::OwnView(user.own_view(now));
                out.push(Effect::Grant { reply_to, answer });
            }
            Input::Asked { reply_to, .. } => return self.probe(id, Probe::Asked(reply_to), out),
            Input::Watched { watcher, reply_to } => {
                user.watchers += 1;
                return self.probe(id, Probe::Watched(watcher, reply_to), out);
            }
            Input::Unwatched => user.watchers = user.watchers.saturating_sub(1),
            Input::Stored(Reply::Ephemeral(ephemerals)) => {
                if ephemerals.contains(&Ephemeral::Kicked) {
                    let reply_to = None;
                    return self.happen(now, id, Input::Kicked { reply_to }, out);
                }
            }
            Input::Stored(reply) => {
                let Some(members) = &self.members else {
                    return;
                };
                user.is_remote = true;
                let has_answered = matches!(reply, Reply::Read { .. });
                let mut requests = Vec::new();
                let outcome = user.hear(now, reply, members, &mut requests);
                out.extend(requests.into_iter().map(Effect::Ask));
                let mut taken = outcome.taken;
                taken.retain(|(session, token)| !user.insists(*session, *token));
                let taken: Vec<SessionId> = taken.iter().map(|(session, _)| *session).collect();
                for session in &taken {
                    user.hand_over(now, *session, out);
                }
                if !outcome.left.is_empty() {
                    // Whoever came meanwhile is written first: a user with another session in a place does not leave it.
                    user.write(now, out);
                }
                for (session, reason) in &outcome.left {
                    // That is news, and this node's to tell.
                    user.is_remote = false;
                    user.end(now, *session, *reason, out);
                }
                if outcome.is_erased {
                    user.cause = Cause::Erasure;
                    user.throw_out(now, out);
                    user.record(now, None, None, What::Erased, out);
                }
                if let Some((profile, version)) = outcome.saves.filter(|_| !id.is_anonymous()) {
                    out.push(Effect::Save {
                        profile: Profile::clone(&profile),
                        version: Some(version),
                        reply_to: None,
                    });
                }
                let is_read = has_answered && user.has_been_read();
                self.note_kept(id, outcome.kept);
                // Before anybody is told: a session that has come here is not gone from elsewhere.
                self.judge_claims(now, id, &outcome.claims, is_read, out);
                self.reconcile(now, id, out);
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
                reply_to,
            } => {
                user.restore(now, *recalled, alive_at, until, out);
                self.reconcile(now, id, out);
                return grant(reply_to, out);
            }
            Input::Loaded { profile } => user.learn(now, profile),
            Input::Unread | Input::Unreadable => {}
        }
        self.reconcile(now, id, out);
    }

    /// Applies the inputs that were held back: the map was read, or cannot be read.
    fn go_on(&mut self, now: Timestamp, id: &UserId, out: &mut Vec<Effect<A>>) {
        for input in self.postponed.remove(id).unwrap_or_default() {
            self.handle(now, id, input, out);
        }
    }

    fn reconcile(&mut self, now: Timestamp, id: &UserId, out: &mut Vec<Effect<A>>) {
        self.reconcile_with(now, id, None, out);
    }

    /// Compares what is true now with what was told, and emits what has to be told, written and stored.
    fn reconcile_with(
        &mut self,
        now: Timestamp,
        id: &UserId,
        reply_to: Option<(Need, A)>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        user.show(now, out);
        user.is_remote = false;
        user.orphaned_at = None;
        user.note(now, self.stops_from, out);
        user.write(now, out);
        user.remove_ended_elsewhere(out);
        user.tell_owner(now, out);
        let unsaved = std::mem::take(&mut user.unsaved);
        let is_of_profile = reply_to
            .as_ref()
            .is_some_and(|(need, _)| need.is_of_profile());
        if let (Some(shared), Some(members)) = (&mut user.shared, &self.members) {
            // What is told to other nodes comes first; what is kept for longer comes when they have it.
            if unsaved || is_of_profile {
                shared.put_profile();
            }
            let mut requests = Vec::new();
            let elsewhere = user.share(now, members, &mut requests);
            out.extend(requests.into_iter().map(Effect::Ask));
            for session in elsewhere {
                user.hand_over(now, session, out);
            }
            if let Some(deadline) = user.copy_deadline_to_arm() {
                self.timers.arm(Key::Copy(id.clone()), deadline.max(now));
            }
            if let Some((need, reply_to)) = reply_to {
                let waiting = Waiting::of(now, user, need, reply_to);
                self.wait(id, waiting, out);
            }
        } else if id.is_anonymous() || !(unsaved || is_of_profile) {
            grant(reply_to.map(|(_, reply_to)| reply_to), out);
        } else {
            let (saved_for, reply_to) = match is_of_profile {
                true => (reply_to.map(|(_, reply_to)| reply_to), None),
                false => (None, reply_to),
            };
            out.push(Effect::Save {
                profile: user.profile.clone(),
                version: None,
                reply_to: saved_for,
            });
            grant(reply_to.map(|(_, reply_to)| reply_to), out);
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
    /// What makes happen what comes of this input to `user`.
    fn cause(&self, user: &User) -> Cause {
        let of_session = |by: &Connection| match user.acts_through(by.session) {
            true => Cause::Service,
            false => Cause::Client,
        };
        match self {
            Input::Vanished { cause, .. } | Input::Chose { by: cause, .. } => *cause,
            Input::Joined { by, .. } | Input::Updated { by, .. } | Input::Departed { by, .. } => {
                of_session(by)
            }
            Input::ServiceActed { .. } | Input::Prolonged { .. } => Cause::Service,
            Input::Kicked { .. } => Cause::Kick,
            Input::Erased { .. } => Cause::Erasure,
            Input::Restored { .. } => Cause::Restart,
            Input::Stored(_) => Cause::OtherNode,
            Input::Loaded { .. } | Input::Unread | Input::Unreadable => Cause::ProfileRead,
            _ => Cause::Client,
        }
    }

    /// Whether this may be the first input about a user on this node.
    fn introduces(&self, is_shared: bool) -> bool {
        match self {
            Input::Connected { .. }
            | Input::Restored { .. }
            | Input::ServiceActed { .. }
            | Input::Chose { .. }
            | Input::Erased { .. }
            | Input::Asked { .. }
            | Input::Watched { .. } => true,
            // What a service does for a user may have begun on another node.
            Input::Departed { .. } | Input::Prolonged { .. } | Input::Kicked { .. } => is_shared,
            _ => false,
        }
    }

    /// Whether this has to wait until the user's map is read, if this node has stood still: the session may be on
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

    /// Whether this ends something that began earlier. There are no more of these than beginnings, and none
    /// may be lost.
    fn ends(&self) -> bool {
        matches!(
            self,
            Input::Vanished { .. } | Input::Left { .. } | Input::Unwatched
        )
    }

    /// Whether this may wait for a profile that cannot be read: a watcher is told when it can be read, and erasing a
    /// user who was not seen for long has time.
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

    fn reply_to(self) -> Option<A> {
        match self {
            Input::Connected { reply_to, .. } | Input::Asked { reply_to, .. } => Some(reply_to),
            Input::Reported { reply_to, .. }
            | Input::Moved { reply_to, .. }
            | Input::Kicked { reply_to, .. }
            | Input::Erased { reply_to, .. }
            | Input::Joined { reply_to, .. }
            | Input::Updated { reply_to, .. }
            | Input::Departed { reply_to, .. }
            | Input::Prolonged { reply_to, .. }
            | Input::Restored { reply_to, .. }
            | Input::Chose { reply_to, .. }
            | Input::Watched { reply_to, .. } => reply_to,
            Input::ServiceActed { .. }
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

fn grant<A>(reply_to: Option<A>, out: &mut Vec<Effect<A>>) {
    out.extend(reply_to.map(|reply_to| Effect::Grant {
        reply_to,
        answer: Answer::Done,
    }));
}

fn refuse<A>(reply_to: Option<A>, why: Refusal, out: &mut Vec<Effect<A>>) {
    out.extend(reply_to.map(|reply_to| Effect::Refuse { reply_to, why }));
}
