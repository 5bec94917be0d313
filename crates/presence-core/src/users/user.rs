//! One user: the profile, the sessions, and what others were last shown.

use std::sync::Arc;
use std::time::Duration;

use super::others::LookedUp;
use super::session::{Connection, Session, SessionTopic, Share, Stage};
use super::shared::{PENDING_MAX, Shared};
use super::{Audience, Effect};
use crate::cluster::{FencingToken, Membership, SessionRecord, Stay};
use crate::epochs::Epochs;
use crate::explain::Origin;
use crate::history::{Cause, Transition, What};
use crate::ports::Note;
use crate::status::Here;
use crate::{
    Chosen, Clock, DeviceId, DeviceKind, Event, Look, Member, Meta, OwnDevice, OwnView, Profile,
    PublicView, Reason, SessionId, StatusChange, Timestamp, Timing, Topic, UserId, Visible,
    WorkspaceId,
};

#[derive(Debug)]
pub(super) struct User {
    pub(super) profile: Profile,
    /// In the order they came.
    pub(super) sessions: Vec<Session>,
    /// Sessions that ended since their timers were last looked after.
    pub(super) ended: Vec<(SessionId, Reason)>,
    pub(super) watchers: usize,
    /// Whether the profile is different from what was last saved.
    pub(super) unsaved: bool,
    /// What other nodes know of the user, where there are others.
    pub(super) shared: Option<Box<Shared>>,
    /// Whether the profile could not be read. The user may be hiding, so they are not shown.
    pub(super) is_unsure: bool,
    /// The changes of the status since then, if no store could say what the profile is. They are applied when
    /// it is read.
    pub(super) unread: Option<Vec<StatusChange>>,
    /// Whether the profile was read just now for those who want to know how the user is.
    pub(super) looked_up: LookedUp,
    /// What happened is another node's doing, which keeps what is to be kept of it.
    pub(super) is_remote: bool,
    /// When the user was last heard from through a node that has just died. Every node that still has a record of it
    /// stores the same value.
    pub(super) orphaned_at: Option<Timestamp>,
    /// What the owner sees is different from what they were last told.
    pub(super) own_changed: bool,
    /// The sessions are kept for the process that comes after this one.
    pub(super) is_kept: bool,
    /// What happens to the user is recorded.
    pub(super) is_recorded: bool,
    /// What makes happen what happens now.
    pub(super) cause: Cause,
    /// When the last session that ended was alive.
    pub(super) last_alive: Timestamp,
    /// What others were last shown.
    look: Arc<Look>,
    look_revision: u64,
    kinds: Kinds,
    /// When the last-seen time was last noted.
    seen_at: Timestamp,
    /// Where the aliases of sessions come from, and the epochs of what others are told.
    secrets: Epochs,
    armed: Option<Timestamp>,
}

impl User {
    /// `seed` is a random number and stays a secret.
    pub(super) fn new(now: Timestamp, mut profile: Profile, seed: u64) -> Self {
        let unsaved = profile.expire(now);
        let (message, emoji) = profile.shown_words();
        User {
            profile,
            sessions: Vec::with_capacity(1),
            ended: Vec::new(),
            watchers: 0,
            unsaved,
            shared: None,
            is_unsure: false,
            unread: None,
            looked_up: LookedUp::No,
            is_remote: false,
            orphaned_at: None,
            own_changed: false,
            is_kept: false,
            is_recorded: false,
            cause: Cause::ProfileRead,
            last_alive: now,
            look: Arc::new(Look {
                status: Visible::Offline,
                message,
                emoji,
            }),
            // A clock's reading, so that it is above what this user had on another node or before a restart.
            look_revision: now.as_millis(),
            kinds: Kinds::default(),
            seen_at: now,
            secrets: Epochs::new(seed),
            armed: None,
        }
    }

    pub(super) fn id(&self) -> &UserId {
        &self.profile.user
    }

    /// Records that something has happened to the user, or to one of the sessions.
    pub(super) fn record<A>(
        &self,
        now: Timestamp,
        session: Option<SessionId>,
        channel: Option<&Topic>,
        what: What,
        out: &mut Vec<Effect<A>>,
    ) {
        let channel = match channel {
            Some(Topic::Channel(channel)) => Some(channel.clone()),
            // Who is in a workspace follows from their sessions.
            Some(Topic::Workspace(_)) => return,
            None => None,
        };
        if self.is_recorded {
            out.push(Effect::Record(Transition {
                at: now,
                user: self.id().clone(),
                session,
                channel,
                what,
                cause: self.cause,
            }));
        }
    }

    /// Whether anybody needs this user on this node.
    pub(super) fn is_needed(&self) -> bool {
        let is_shared = self.shared.as_ref().is_some_and(|it| it.is_needed());
        let is_to_learn = self.unread.as_ref().is_some_and(|it| !it.is_empty());
        !self.sessions.is_empty() || self.watchers > 0 || is_shared || is_to_learn
    }

    /// Whether anything may be different once other nodes have caught up with the store.
    pub(super) fn awaits_others(&self) -> bool {
        let is_missing = |it: &Shared| it.replica.has_missing();
        self.sessions.iter().any(Session::is_ending)
            || self.shared.as_deref().is_some_and(is_missing)
    }

    /// Whether the map of the user is not being read.
    pub(super) fn has_been_read(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| !it.replica.is_reading())
    }

    /// Whether a service acts through this session of the user, here or on another node.
    pub(super) fn acts_through(&self, session: SessionId) -> bool {
        let here = self.sessions.iter().find(|it| it.id == session);
        let elsewhere = || {
            self.shared
                .as_ref()
                .is_some_and(|it| it.is_by_service(session))
        };
        here.map_or_else(elsewhere, |it| it.by_service)
    }

    /// How many sessions the user has, on all nodes.
    pub(super) fn sessions_anywhere(&self) -> usize {
        self.sessions.len() + self.elsewhere().count()
    }

    /// The sessions that are on other nodes.
    fn elsewhere(&self) -> impl Iterator<Item = &Arc<SessionRecord>> {
        self.shared.iter().flat_map(|it| it.elsewhere())
    }

    /// The session whose live connection `by` is.
    pub(super) fn session(&mut self, by: Connection) -> Option<&mut Session> {
        let is_it = |it: &&mut Session| match it.by_service {
            // A service has no connection, so no older one either.
            true => it.id == by.session,
            false => it.connection() == by && it.is_live(),
        };
        self.sessions.iter_mut().find(is_it)
    }

    /// The live connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = Connection> {
        let live = |it: &&Session| it.is_live() && !it.by_service;
        self.sessions.iter().filter(live).map(Session::connection)
    }

    pub(super) fn connect<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        device: DeviceId,
        by_service: bool,
        out: &mut Vec<Effect<A>>,
    ) -> Connection {
        self.record(now, Some(id), None, What::Began, out);
        let before = self.profile.status.chosen;
        self.come_back(now);
        let chosen = self.profile.status.chosen;
        if chosen != before {
            self.record(now, None, None, What::Chose(chosen), out);
        }
        let mut session = Session::new(now, id, device, by_service);
        if let Some(shared) = self.shared.as_ref().filter(|_| by_service) {
            // Its id is the same each time: what is left of the last time is of an earlier epoch.
            let secs = shared.store_time(now).as_millis() / 1000;
            session.epoch = u32::try_from(secs).unwrap_or(u32::MAX);
        }
        let connection = session.connection();
        self.sessions.push(session);
        self.own_changed = true;
        self.note_hiding();
        connection
    }

    /// Sets a status of `offline` back to `online`, because the user has connected.
    fn come_back(&mut self, now: Timestamp) {
        if self.profile.status.chosen == Chosen::Offline {
            let back = StatusChange {
                chosen: Some(Chosen::Online),
                ..StatusChange::default()
            };
            self.choose(now, &back);
        }
    }

    /// Lets a session of this node go on in a new connection; also says which live connection that replaces.
    pub(super) fn resume<A>(
        &mut self,
        now: Timestamp,
        before: Connection,
        out: &mut Vec<Effect<A>>,
    ) -> Option<(Connection, Option<Connection>)> {
        let mut sessions = self.sessions.iter_mut();
        let session = sessions.find(|it| it.connection() == before && !it.by_service)?;
        let replaced = session.is_live().then_some(before);
        session.come_back(now);
        let connection = session.connection();
        self.own_changed = true;
        self.record(now, Some(connection.session), None, What::Resumed, out);
        Some((connection, replaced))
    }

    /// A session of another node is this node's, in the connection `epoch`: the store has granted that.
    pub(super) fn arrive(
        &mut self,
        now: Timestamp,
        id: SessionId,
        epoch: u32,
        record: &SessionRecord,
    ) -> Connection {
        let revision = self
            .shared
            .as_ref()
            .map_or(0, |it| it.replica.revision_of(id));
        let mut session = Session::take_over(now, id, epoch, record);
        session.is_stored_as(record, revision);
        let connection = session.connection();
        self.sessions.push(session);
        if let Some(shared) = &mut self.shared {
            shared.wait_for_new_owner(now, id, Vec::new());
        }
        self.own_changed = true;
        connection
    }

    /// Like [`session`](Self::session), but takes over the session from another node if a service acts through it.
    pub(super) fn session_here<A>(
        &mut self,
        now: Timestamp,
        by: Connection,
        members: Option<&Membership>,
        out: &mut Vec<Effect<A>>,
    ) -> Option<&mut Session> {
        let is_here = self.sessions.iter().any(|it| it.id == by.session);
        let by_service = self
            .shared
            .as_ref()
            .filter(|it| !is_here && it.is_by_service(by.session));
        if let (Some(_), Some(members)) = (by_service, members) {
            self.take_over(now, by, members, out);
            // It writes its entries, so that it may remove them.
            self.write(now, out);
        }
        self.session(by)
    }

    /// Shows the user as other nodes do, before anything happens here.
    pub(super) fn meet_others<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        self.is_remote = true;
        self.show(now, out);
        self.is_remote = false;
    }

    /// The deadline to arm the timer of the copy with, if it has another one.
    pub(super) fn copy_deadline_to_arm(&mut self) -> Option<Timestamp> {
        let shared = self.shared.as_mut()?;
        let deadline = shared.next_deadline()?;
        if shared.armed == Some(deadline) {
            return None;
        }
        shared.armed = Some(deadline);
        shared.armed
    }

    /// Takes over the session from another node if a service acts through it: it has no connection that could be older.
    pub(super) fn take_over<A>(
        &mut self,
        now: Timestamp,
        by: Connection,
        members: &Membership,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let Some((token, record)) = shared.replica.other(by.session) else {
            return;
        };
        let (epoch, record) = (
            u32::try_from(token.epoch).unwrap_or(u32::MAX),
            record.clone(),
        );
        if !record.by_service {
            return;
        }
        let session = Session::take_over(now, by.session, epoch.saturating_add(1), &record);
        // It may end at once, and then the other node's record of it is to be removed.
        let record = Arc::new(session.record(now));
        shared.take_over(now, &session, record, token, members);
        self.sessions.push(session);
        let what = What::CameFrom(token.incarnation());
        self.record(now, Some(by.session), None, what, out);
    }

    /// Notes where the connection of a session comes from.
    pub(super) fn comes_from(&mut self, id: SessionId, origin: Option<Arc<Origin>>) {
        if let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) {
            session.origin = origin;
        }
    }

    /// Whether a session goes on here although the store has another entry of it.
    pub(super) fn insists(&mut self, id: SessionId, stored: FencingToken) -> bool {
        let mut sessions = self.sessions.iter_mut();
        let session = sessions.find(|it| it.id == id);
        session.is_some_and(|it| it.insist(stored))
    }

    /// A session is on another node now.
    pub(super) fn hand_over<A>(&mut self, now: Timestamp, id: SessionId, out: &mut Vec<Effect<A>>) {
        let Some(index) = self.sessions.iter().position(|it| it.id == id) else {
            return;
        };
        let session = self.sessions.remove(index);
        if session.is_live() && !session.by_service {
            out.push(Effect::Close {
                connection: session.connection(),
                reason: Reason::Replaced,
            });
        }
        let record = self.shared.as_ref().and_then(|it| it.replica.other(id));
        if let Some((token, _)) = record {
            let what = What::WentTo(token.incarnation());
            self.record(now, Some(id), None, what, out);
        }
        let is_there = |topic: &Topic| {
            let mut stays = record.iter().flat_map(|(_, record)| &record.places);
            stays.any(|it| it.topic == *topic)
        };
        let hides = self.profile.status.chosen.hides();
        let written = session.places.into_iter().filter(|it| it.written.is_some());
        let mut waiting = Vec::new();
        for SessionTopic { topic, .. } in written {
            // Where it is no more, or must not be seen, nobody is about to replace the entry.
            let reason = match is_there(&topic) && !hides {
                true => Reason::Replaced,
                false => Reason::Left,
            };
            if reason == Reason::Replaced {
                waiting.push(topic.clone());
            }
            out.push(Effect::Write {
                topic,
                session: id,
                entry: Err(reason),
                is_shared: true,
            });
        }
        if let Some(shared) = &mut self.shared {
            shared.wait_for_new_owner(now, id, waiting);
        }
        self.own_changed = true;
        self.ended.push((id, Reason::Left));
    }

    /// Removes the entries that wait for other nodes which have ended the sessions meanwhile.
    pub(super) fn remove_ended_elsewhere<A>(&mut self, out: &mut Vec<Effect<A>>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        for ended in shared.over.drain(..) {
            let removals = ended.places.into_iter().map(|topic| Effect::Write {
                topic,
                session: ended.session,
                entry: Err(ended.reason),
                is_shared: true,
            });
            out.extend(removals);
        }
    }

    pub(super) fn vanish<A>(
        &mut self,
        now: Timestamp,
        by: Connection,
        reason: Reason,
        timing: &Timing,
        out: &mut Vec<Effect<A>>,
    ) {
        if self.session(by).is_none() {
            return;
        }
        if timing.grace().is_zero() && self.shared.is_none() {
            return self.end(now, by.session, reason, out);
        }
        let Some(session) = self.session(by) else {
            return;
        };
        let until = now + timing.grace();
        session.vanish(until, reason);
        session.lost_at = Some(now);
        let written = session.places.iter().filter(|it| it.written.is_some());
        out.extend(written.map(|place| Effect::Silence {
            topic: place.topic.clone(),
            session: by.session,
        }));
        let what = What::Disconnected { until };
        self.record(now, Some(by.session), None, what, out);
    }

    /// Handles the end of a session's timer: of its grace time, its ttl, or its time as an active background tab.
    pub(super) fn run_out<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        timing: &Timing,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        session.disarm();
        let connection = session.connection();
        self.cause = Cause::Background;
        if session.claims_end.is_some_and(|at| at <= now) {
            self.leave_unclaimed(now, id, out);
        }
        let Some(session) = self.sessions.iter().find(|it| it.id == id) else {
            return;
        };
        match session.stage {
            Stage::Grace { until, reason } if until <= now => {
                self.grace_is_over(now, id, reason, out);
            }
            Stage::Live if session.lease_ends(timing) <= now => match session.by_service {
                true => self.grace_is_over(now, id, Reason::TimedOut, out),
                false => {
                    let reason = Reason::TimedOut;
                    self.cause = Cause::Silence;
                    out.push(Effect::Close { connection, reason });
                    self.vanish(now, connection, reason, timing, out);
                }
            },
            Stage::Grace { .. } | Stage::Live | Stage::Ending { .. } => {}
        }
    }

    /// Handles the end of a session's grace time. A node that is alone ends the session; in a cluster another node
    /// may have it.
    fn grace_is_over<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        reason: Reason,
        out: &mut Vec<Effect<A>>,
    ) {
        if self.shared.is_none() {
            return self.end(now, id, reason, out);
        }
        if let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) {
            session.begin_to_end(now, reason);
        }
    }

    /// Asks the store to remove the sessions about which every other node has caught up. Returns those that only this
    /// node knows, which have ended.
    fn ask_the_ending(&mut self, now: Timestamp, members: &Membership) -> Vec<(SessionId, Reason)> {
        let mut ended = Vec::new();
        let (is_shown, last_alive) = (self.is_shown(), self.last_alive);
        let Some(shared) = &mut self.shared else {
            return ended;
        };
        for session in &mut self.sessions {
            let Some(reason) = session.is_to_be_asked(now, members) else {
                continue;
            };
            match shared.replica.leave(now, session.id, reason, members) {
                true => {
                    session.is_asked();
                    // In the same write, so that whoever hears that they are gone hears since when.
                    let alive = last_alive.max(session.heard_at);
                    let seen = self.profile.last_seen.max(Some(alive));
                    self.unsaved |= is_shown && seen != self.profile.last_seen;
                    if is_shown {
                        self.profile.last_seen = seen;
                    }
                }
                false => ended.push((session.id, reason)),
            }
        }
        ended
    }

    /// Ends the sessions that nobody has, as far as that is proven.
    pub(super) fn end_the_proven<A>(
        &mut self,
        now: Timestamp,
        members: &Membership,
        out: &mut Vec<Effect<A>>,
    ) {
        for (session, reason) in self.ask_the_ending(now, members) {
            self.end(now, session, reason, out);
        }
    }

    /// Handles that this node was declared dead. Sessions that were heard from since it last stood still are written
    /// again; the clients of the others have to connect again, because they may have gone elsewhere.
    pub(super) fn begin_again<A>(
        &mut self,
        now: Timestamp,
        woke_at: Timestamp,
        (timing, members): (&Timing, &Membership),
        out: &mut Vec<Effect<A>>,
    ) {
        let gone = self.sessions.iter().filter(|it| !it.is_live());
        let gone: Vec<SessionId> = gone.map(|it| it.id).collect();
        for session in gone {
            // The others have seen them leave.
            self.end(now, session, Reason::NodeLost, out);
        }
        if let Some(shared) = &mut self.shared {
            shared.replica.void(now, members);
        }
        let mut unheard = Vec::new();
        for session in &mut self.sessions {
            session.void();
            session.is_news = session.by_service || woke_at <= session.heard_at;
            if !session.is_news {
                unheard.push(session.connection());
            }
        }
        for connection in unheard {
            let reason = Reason::NodeLost;
            out.push(Effect::Close { connection, reason });
            self.vanish(now, connection, Reason::Lost, timing, out);
        }
    }

    pub(super) fn end<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        reason: Reason,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(index) = self.sessions.iter().position(|it| it.id == id) else {
            return;
        };
        let session = self.sessions.remove(index);
        let alive = match reason {
            Reason::Left | Reason::Kicked => now,
            _ => session.heard_at,
        };
        self.last_alive = self.last_alive.max(alive);
        if self.sessions.is_empty() {
            self.note_hiding();
        }
        self.ended.push((id, reason));
        self.own_changed = true;
        self.cause = match reason {
            Reason::Lost | Reason::TimedOut if session.by_service => Cause::Silence,
            Reason::Lost | Reason::TimedOut => Cause::GraceOver,
            Reason::NodeLost => Cause::NodeLost,
            Reason::Left | Reason::Replaced | Reason::Kicked => self.cause,
        };
        let written = session.places.into_iter().filter(|it| it.written.is_some());
        for SessionTopic { topic, .. } in written {
            self.record(now, Some(id), Some(&topic), What::Left(reason), out);
            out.push(Effect::Write {
                topic,
                session: id,
                entry: Err(reason),
                is_shared: true,
            });
        }
        self.record(now, Some(id), None, What::Ended(reason), out);
    }

    /// Ends every session that is here.
    pub(super) fn throw_out<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        for connection in self.connections() {
            let reason = Reason::Kicked;
            out.push(Effect::Close { connection, reason });
        }
        while let Some(session) = self.sessions.last().map(|it| it.id) {
            self.end(now, session, Reason::Kicked, out);
        }
    }

    /// Replaces the profile by a tombstone. The last-seen time is removed too, and is not set when the user goes.
    pub(super) fn erase(&mut self, now: Timestamp) {
        self.profile = self.profile.blank();
        self.unread = None;
        // Nobody's change that is still on its way may bring anything back.
        self.profile.outdate(now);
        if let Some(shared) = &mut self.shared {
            shared.erase();
        }
        self.is_remote = true;
        self.own_changed = true;
        self.unsaved = true;
    }

    /// Whether the user has a session anywhere, or was seen after `since`, or that is not known.
    pub(super) fn is_seen_since(&self, since: Timestamp) -> bool {
        let is_unknown = self.is_unsure || self.unread.is_some();
        let is_seen = self.profile.last_seen.is_some_and(|it| it >= since);
        is_unknown || is_seen || self.sessions_anywhere() > 0
    }

    pub(super) fn join(&mut self, now: Timestamp, id: SessionId, topic: Topic, meta: &Arc<Meta>) {
        let here = self.sessions.iter().flat_map(|it| &it.places);
        let here = here.map(|place| (&place.topic, place.joined_at));
        let elsewhere = self.elsewhere().flat_map(|it| &it.places);
        let elsewhere = elsewhere.map(|stay| (&stay.topic, stay.joined_at));
        let there = here.chain(elsewhere).filter(|(it, _)| **it == topic);
        let joined_at = there.map(|(_, joined_at)| joined_at).min().unwrap_or(now);
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        match session.places.iter_mut().find(|it| it.topic == topic) {
            Some(place) => {
                place.is_unclaimed = false;
                if place.meta == *meta {
                    return;
                }
                place.meta = meta.clone();
                place.written = place.written.map(|_| 0);
                place.is_noted = false;
            }
            None => session.places.push(SessionTopic::new(Stay {
                topic,
                joined_at,
                meta: meta.clone(),
            })),
        }
        session.is_news = true;
    }

    /// Sees to it that a session is in these workspaces and no others, and says `card` about itself in each.
    pub(super) fn move_to<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        workspaces: &[WorkspaceId],
        card: &Arc<Meta>,
        out: &mut Vec<Effect<A>>,
    ) {
        let places = self.sessions.iter().find(|it| it.id == id);
        let places = places.into_iter().flat_map(|it| &it.places);
        let left: Vec<Topic> = places
            .map(|place| &place.topic)
            .filter(|topic| matches!(topic, Topic::Workspace(it) if !workspaces.contains(it)))
            .cloned()
            .collect();
        for topic in left {
            self.depart(now, id, &topic, out);
        }
        for workspace in workspaces {
            self.join(now, id, Topic::Workspace(workspace.clone()), card);
        }
    }

    pub(super) fn depart<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        topic: &Topic,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        let index = session.places.iter().position(|it| it.topic == *topic);
        let place = index.map(|index| session.places.remove(index));
        session.is_news |= place.is_some();
        if let Some(place) = place.as_ref().filter(|it| it.is_noted) {
            let topic = place.topic.clone();
            out.push(Effect::Remember(Note::Departed { session: id, topic }));
        }
        let is_over = session.by_service && session.places.is_empty();
        if let Some(SessionTopic { topic, .. }) = place.filter(|it| it.written.is_some()) {
            self.record(now, Some(id), Some(&topic), What::Left(Reason::Left), out);
            out.push(Effect::Write {
                topic,
                session: id,
                entry: Err(Reason::Left),
                is_shared: true,
            });
        }
        if is_over {
            self.end(now, id, Reason::Left, out);
        }
    }

    /// Applies a change of the status. Returns whether anything is different.
    pub(super) fn choose(&mut self, now: Timestamp, change: &StatusChange) -> bool {
        self.expire_status(now);
        let moment = self.moment(now);
        let mut changed = match moment {
            Some(moment) => self.profile.choose_at(now, moment, change),
            None => self.profile.choose(now, change),
        };
        if let Some(changes) = &mut self.unread {
            // What is stored may say the opposite, so it is a change even where nothing is different.
            if change.chosen.is_some() {
                self.profile.is_no_guess();
            }
            changes.push(change.at(now));
            if changes.len() > PENDING_MAX {
                *changes = vec![self.profile.as_change_of_unread()];
            }
            self.profile.outdate(now);
            changed = true;
        }
        if let Some(shared) = self.shared.as_mut().filter(|_| changed) {
            shared.chose(&change.at(now), moment.unwrap_or(now), &self.profile.status);
        }
        self.own_changed |= changed;
        self.unsaved |= changed;
        changed
    }

    /// The moment of a choice that is made now, by the clock of the shared store, if there is one. It is later than any
    /// known choice, because clocks differ.
    fn moment(&self, now: Timestamp) -> Option<Timestamp> {
        let shared = self.shared.as_ref()?;
        let known = Timestamp::from_millis(self.profile.status.revision);
        Some(shared.store_time(now).max(known + Duration::from_millis(1)))
    }

    /// Applies the changes that waited for the profile, which has now been read.
    pub(super) fn learn(&mut self, now: Timestamp, stored: Option<Profile>) {
        let Some(changes) = self.unread.take() else {
            return;
        };
        let stored = stored.unwrap_or_else(|| Profile::new(self.id().clone()));
        let before = std::mem::replace(&mut self.profile, stored);
        if self.profile.is_blank() {
            // What was chosen by somebody who was erased since is nobody's wish any more.
            self.own_changed = true;
            return;
        }
        self.profile.last_seen = self.profile.last_seen.max(before.last_seen);
        if !changes.is_empty() {
            let revision = self.profile.status.revision.max(before.status.revision);
            for change in &changes {
                match self.moment(now) {
                    Some(moment) => self.profile.choose_at(now, moment, change),
                    None => self.profile.choose(now, change),
                };
            }
            self.profile.status.revision = revision.max(self.profile.status.revision) + 1;
            if let Some(shared) = &mut self.shared {
                shared.authored();
            }
            self.unsaved = true;
        }
        self.own_changed = true;
        self.expire_status(now);
        if !self.sessions.is_empty() {
            self.come_back(now);
        }
    }

    fn expire_status(&mut self, now: Timestamp) {
        let changed = self.profile.expire(now);
        if let Some(shared) = self.shared.as_mut().filter(|_| changed) {
            shared.authored();
        }
        self.own_changed |= changed;
        self.unsaved |= changed;
    }

    /// The user's own timer has ended: the status, or the time until the last-seen time is noted again.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.armed = None;
        self.expire_status(now);
        if self.is_shown() && self.seen_at + Timing::SEEN_EVERY <= now {
            self.seen_at = now;
            self.note_heard();
        }
    }

    fn note_heard(&mut self) {
        let seen = self.heard_at().max(self.profile.last_seen);
        // Whoever has no session of theirs knows nothing new.
        self.unsaved |= seen != self.profile.last_seen;
        self.profile.last_seen = seen;
    }

    /// Notes when somebody who can be seen was last alive, because nobody will be there to do it later.
    pub(super) fn note_last_seen(&mut self) {
        if self.is_shown() {
            self.note_heard();
        }
    }

    /// Has the profile of a user who hides saved once more. Their last-seen time stands still, so nothing else says
    /// that they were here, and retention would delete them.
    fn note_hiding(&mut self) {
        let is_known = self.unread.is_none() && !self.is_unsure;
        self.unsaved |= is_known && self.profile.status.chosen.hides();
    }

    /// The deadline to arm the user's timer with, if it has another one.
    pub(super) fn deadline_to_arm(&mut self) -> Option<Timestamp> {
        let seen = self.is_shown().then_some(self.seen_at + Timing::SEEN_EVERY);
        let deadline = self.profile.next_expiry().into_iter().chain(seen).min()?;
        if self.armed == Some(deadline) {
            return None;
        }
        self.armed = Some(deadline);
        self.armed
    }

    /// The status that others are shown.
    pub(super) fn shown(&self) -> Visible {
        self.look.status
    }

    /// Whether others see the user as present.
    pub(super) fn is_shown(&self) -> bool {
        self.look.status != Visible::Offline
    }

    fn here(&self, now: Timestamp) -> Here {
        let each = self.sessions.iter().map(|it| match it.is_active(now) {
            true => Here::Active,
            false => Here::Idle,
        });
        let elsewhere = self.elsewhere().map(|it| match it.is_active {
            true => Here::Active,
            false => Here::Idle,
        });
        each.chain(elsewhere).max().unwrap_or(Here::Nowhere)
    }

    fn heard_at(&self) -> Option<Timestamp> {
        self.sessions.iter().map(|it| it.heard_at).max()
    }

    /// Compares how the user looks now with what others were shown, and tells the watchers if it is different.
    pub(super) fn show<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let (message, emoji) = self.profile.shown_words();
        let here = match self.is_unsure {
            true => Here::Nowhere,
            false => self.here(now),
        };
        let look = Look {
            status: self.profile.status.chosen.shown(here),
            message,
            emoji,
        };
        let was_shown = self.is_shown();
        let new_look = look != *self.look;
        if look.status != self.look.status && (!self.is_remote || self.orphaned_at.is_some()) {
            let (from, to) = (self.look.status, look.status);
            self.record(now, None, None, What::Shown { from, to }, out);
        }
        if new_look {
            self.own_changed = true;
            self.look = Arc::new(look);
            let time = self.shared.as_ref().map_or(now, |it| it.store_time(now));
            self.look_revision = time.as_millis().max(self.look_revision + 1);
        }
        if was_shown != self.is_shown() {
            // Whoever hides is last seen at the moment of hiding; whoever is gone, when they were last alive.
            if !self.is_remote {
                let gone = was_shown && self.sessions_anywhere() == 0;
                // Never back: of two records, the one that was seen later counts, whatever the clock of this node says.
                let seen = if gone { self.last_alive } else { now };
                self.profile.last_seen = self.profile.last_seen.max(Some(seen));
                self.unsaved = true;
            } else if let Some(alive) = self.orphaned_at.filter(|_| was_shown) {
                self.profile.last_seen = self.profile.last_seen.max(Some(alive));
                self.unsaved = true;
            }
            self.seen_at = now;
            // Whoever comes out of hiding has just come: since when they were hidden there is nobody's business.
            if self.is_shown() {
                self.come_out(now);
            }
        }
        let kinds = match self.is_shown() {
            true => {
                let here = self.sessions.iter().map(|it| it.device.kind());
                let elsewhere = self.elsewhere().map(|it| it.device.kind());
                here.chain(elsewhere).collect()
            }
            false => Kinds::default(),
        };
        if new_look || kinds != self.kinds {
            self.kinds = kinds;
            if self.watchers > 0 {
                let event = Event::PublicView(self.public_view());
                out.push(Effect::Tell {
                    to: Audience::Watchers,
                    event,
                });
            }
        }
    }

    fn come_out(&mut self, now: Timestamp) {
        for session in &mut self.sessions {
            session.come_out(&mut self.secrets);
            for place in &mut session.places {
                if place.joined_at != now {
                    place.joined_at = now;
                    place.is_noted = false;
                    session.is_news = true;
                }
            }
        }
    }

    /// Brings every entry of every session to what others may see of it.
    pub(super) fn write<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let shown = self.is_shown();
        let recorder = self.is_recorded.then_some((now, self.cause));
        for session in &mut self.sessions {
            let mut is_seen = false;
            let alias = session.alias();
            for place in &mut session.places {
                let entry = match place.written {
                    None if !shown => continue,
                    Some(revision) if shown && revision == self.look_revision => continue,
                    Some(_) if !shown => {
                        place.written = None;
                        place.record(session.id, &self.profile.user, recorder, out);
                        Err(Reason::Left)
                    }
                    before => {
                        place.written = Some(self.look_revision);
                        if before.is_none() && !std::mem::take(&mut place.was_shown) {
                            place.record(session.id, &self.profile.user, recorder, out);
                        }
                        is_seen = true;
                        Ok(Arc::new(Member {
                            session: session.id,
                            alias,
                            epoch: session.epoch,
                            user: self.profile.user.clone(),
                            device: session.device.kind(),
                            joined_at: place.joined_at,
                            meta: place.meta.clone(),
                            look: self.look.clone(),
                            look_revision: self.look_revision,
                            profile: self.profile.status.revision,
                        }))
                    }
                };
                out.push(Effect::Write {
                    topic: place.topic.clone(),
                    session: session.id,
                    entry,
                    is_shared: place.share == Share::Open,
                });
            }
            if is_seen {
                session.is_seen_now();
            }
        }
    }

    pub(super) fn tell_owner<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        if !std::mem::take(&mut self.own_changed) {
            return;
        }
        let sessions: Vec<_> = self.connections().map(|it| it.session).collect();
        if !sessions.is_empty() {
            out.push(Effect::Tell {
                to: Audience::Sessions(sessions),
                event: Event::OwnView(self.own_view(now)),
            });
        }
    }

    /// The projection for everybody else. Each begins an epoch: it is all there is to know, and if one went on, it would tell
    /// who watches that somebody else has watched all the time.
    pub(super) fn public_view(&mut self) -> PublicView {
        let epoch = self.secrets.next();
        PublicView {
            user: self.id().clone(),
            clock: Clock { epoch, version: 0 },
            look: self.look.clone(),
            last_seen: match self.is_shown() {
                true => None,
                false => self.profile.last_seen,
            },
            devices: self.kinds.iter().collect(),
        }
    }

    /// The projection for the user.
    pub(super) fn own_view(&self, now: Timestamp) -> OwnView {
        let status = &self.profile.status;
        let mut devices: Vec<OwnDevice> = Vec::new();
        let here = self.sessions.iter();
        let here = here.map(|it| (&it.device, it.activity, it.heard_at));
        let elsewhere = self.elsewhere();
        let elsewhere = elsewhere.map(|it| (&it.device, it.activity, it.heard_at));
        for (id, activity, heard_at) in here.chain(elsewhere) {
            match devices.iter_mut().find(|it| it.id == *id) {
                Some(device) => {
                    device.sessions += 1;
                    device.activity = device.activity.max(activity);
                    device.heard_at = device.heard_at.max(heard_at);
                }
                None => devices.push(OwnDevice {
                    id: id.clone(),
                    sessions: 1,
                    activity,
                    heard_at,
                }),
            }
        }
        OwnView {
            user: self.id().clone(),
            chosen: status.chosen,
            shown: status.chosen.shown(self.here(now)),
            message: status.message.clone(),
            emoji: status.emoji.clone(),
            expires_at: status.expires_at,
            revision: status.revision,
            last_seen: match self.is_shown() {
                true => self.heard_at(),
                false => self.profile.last_seen,
            },
            devices,
            aliases: self
                .sessions
                .iter()
                .map(|it| (it.id, it.alias()))
                .filter(|(id, alias)| id != alias)
                .collect(),
        }
    }
}

/// A set of [`DeviceKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds(u8);

impl Kinds {
    fn iter(self) -> impl Iterator<Item = DeviceKind> {
        use DeviceKind::{Desktop, Mobile, Other, Web};
        let all = [Web, Mobile, Desktop, Other].into_iter();
        all.filter(move |&kind| self.0 & (1 << kind as u8) != 0)
    }
}

impl FromIterator<DeviceKind> for Kinds {
    fn from_iter<T: IntoIterator<Item = DeviceKind>>(kinds: T) -> Self {
        Kinds(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}
