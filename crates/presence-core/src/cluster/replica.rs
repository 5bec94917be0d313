//! A node's copy of one map: the entries of its own sessions, which it writes, and those of the others, which it reads.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{
    Change, Field, Incarnation, News, Op, Patch, Record, Request, SessionRecord, Snapshot, Stamp,
    Subject, Write,
};
use crate::ports::Written;
use crate::{Clock, Member, Reason, SessionId, Timestamp};

/// An entry that is missing where nothing says that it was removed stays so long, for its owner to write it again.
const HOLD_AFTER_GAP: Duration = Duration::from_secs(3);
/// The same, where the store is known to have lost data.
const HOLD_AFTER_LOSS: Duration = Duration::from_secs(10);
/// The store is asked again so long after it was away.
const RETRY: Duration = Duration::from_millis(500);
/// Patches that wait for the map to be read; with one more, it is read twice.
const EARLY_MAX: usize = 64;

/// What a node knows of the cluster it is part of.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// As what it writes now.
    pub(crate) me: Incarnation,
    /// Those whose entries are void.
    pub(crate) lost: HashSet<Incarnation>,
}

impl Membership {
    /// A node that knows of no other.
    pub(crate) fn new(me: Incarnation) -> Self {
        Membership {
            me,
            lost: HashSet::new(),
        }
    }

    /// Which node this is.
    pub(crate) fn me(&self) -> Incarnation {
        self.me
    }

    /// Notes who is who.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Become(me) => self.me = me,
            News::Lost(who) => {
                self.lost.insert(who);
            }
            News::Distrust(_) => {}
        }
    }
}

/// What can be kept as the entry of a session.
pub(crate) trait Kept: Clone + PartialEq {
    fn to_record(&self) -> Record;
    fn of_record(record: Record) -> Option<Self>;
}

impl Kept for Arc<Member> {
    fn to_record(&self) -> Record {
        Record::Member(self.clone())
    }

    fn of_record(record: Record) -> Option<Self> {
        match record {
            Record::Member(member) => Some(member),
            Record::Session(_) | Record::Profile(_) => None,
        }
    }
}

impl Kept for Arc<SessionRecord> {
    fn to_record(&self) -> Record {
        Record::Session(self.clone())
    }

    fn of_record(record: Record) -> Option<Self> {
        match record {
            Record::Session(session) => Some(session),
            Record::Member(_) | Record::Profile(_) => None,
        }
    }
}

/// One node's copy of one map.
///
/// It trusts what it is told to be removed, and nothing else: an entry that is merely missing may have been lost by the
/// store, so it is held for a while. Of its own entries the node itself is the truth: where the store has another one, or
/// none, it is written again, unless somebody else has the session now.
#[derive(Debug)]
pub(crate) struct Replica<V> {
    clock: Option<Clock>,
    own: BTreeMap<SessionId, Own<V>>,
    /// Own entries that are to be removed from the store.
    cuts: BTreeMap<SessionId, Cut>,
    others: BTreeMap<SessionId, Other<V>>,
    following: Following,
    ask: u32,
    reading: bool,
    /// It has to be read, because something was missed.
    outdated: bool,
    /// A later version is known to exist; it is waited for before the map is read.
    ahead: Option<Option<Clock>>,
    /// Patches that came while it was being read.
    early: Vec<Patch>,
    writing: bool,
    /// The store was away: nothing more is asked of it before.
    retry_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Following {
    No,
    /// Asked for, and not read yet.
    Opening,
    Yes,
}

#[derive(Debug)]
struct Own<V> {
    epoch: u32,
    value: V,
    state: State,
    /// Some version of it may be in the store.
    may_be_stored: bool,
}

#[derive(Debug)]
struct Cut {
    stamp: Stamp,
    reason: Reason,
    is_sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Dirty,
    Writing,
    Clean,
}

#[derive(Debug)]
struct Other<V> {
    stamp: Stamp,
    value: V,
    /// It was missing when the map was last read, and goes then unless it is heard of again.
    held_until: Option<Timestamp>,
}

/// What is different now.
#[derive(Debug)]
pub(crate) struct Heard<V> {
    /// Entries of others that came, changed or went.
    pub(crate) changes: Vec<(SessionId, Result<V, Reason>)>,
    /// Sessions that were this node's and are another's now.
    pub(crate) taken: Vec<SessionId>,
}

impl<V> Default for Heard<V> {
    fn default() -> Self {
        Heard {
            changes: Vec::new(),
            taken: Vec::new(),
        }
    }
}

impl<V> Default for Replica<V> {
    fn default() -> Self {
        Replica {
            clock: None,
            own: BTreeMap::new(),
            cuts: BTreeMap::new(),
            others: BTreeMap::new(),
            following: Following::No,
            ask: 0,
            reading: false,
            outdated: false,
            ahead: None,
            early: Vec::new(),
            writing: false,
            retry_at: None,
        }
    }
}

impl<V: Kept> Replica<V> {
    /// Whether it waits for the map.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    /// Whether the store has, or may have, something else of this node's than it should.
    pub(crate) fn is_dirty(&self) -> bool {
        let unwritten = |it: &Own<V>| it.state != State::Clean;
        self.writing || !self.cuts.is_empty() || self.own.values().any(unwritten)
    }

    /// Whether `session` is this node's.
    pub(crate) fn owns(&self, session: SessionId) -> bool {
        self.own.contains_key(&session)
    }

    /// The sessions of others.
    pub(crate) fn others(&self) -> impl Iterator<Item = (SessionId, Stamp, &V)> {
        let others = self.others.iter();
        others.map(|(session, it)| (*session, it.stamp, &it.value))
    }

    /// The entry of a session of another node.
    pub(crate) fn other(&self, session: SessionId) -> Option<(Stamp, &V)> {
        self.others.get(&session).map(|it| (it.stamp, &it.value))
    }

    /// Wants the entry of a session of this node to say `value`.
    pub(crate) fn put(&mut self, session: SessionId, epoch: u32, value: V) {
        let was_cut = self.cuts.remove(&session).is_some();
        let was_other = self.others.remove(&session).is_some();
        match self.own.get_mut(&session) {
            Some(own) if own.epoch == epoch && own.value == value => {}
            Some(own) => {
                own.epoch = epoch;
                own.value = value;
                own.state = State::Dirty;
            }
            None => {
                let own = Own {
                    epoch,
                    value,
                    state: State::Dirty,
                    may_be_stored: was_cut || was_other,
                };
                self.own.insert(session, own);
            }
        }
    }

    /// Wants no entry of a session of this node to be there; says whether there was one.
    pub(crate) fn cut(&mut self, session: SessionId, reason: Reason, members: &Membership) -> bool {
        let Some(own) = self.own.remove(&session) else {
            return false;
        };
        if own.may_be_stored {
            self.remove_from_store(session, own.epoch, reason, members);
        }
        true
    }

    fn remove_from_store(
        &mut self,
        session: SessionId,
        epoch: u32,
        reason: Reason,
        members: &Membership,
    ) {
        let cut = Cut {
            stamp: Stamp::of_session(epoch, members.me),
            reason,
            is_sent: false,
        };
        self.cuts.insert(session, cut);
    }

    /// The node is another incarnation: its entries are to be written again.
    pub(crate) fn rewrite(&mut self) {
        for own in self.own.values_mut() {
            own.state = State::Dirty;
        }
    }

    /// The store may have something else than was heard. Where the map is followed it is read, and tells what is missing.
    pub(crate) fn distrust(&mut self) {
        match self.following {
            Following::No => self.rewrite(),
            Following::Opening | Following::Yes => self.outdated = true,
        }
    }

    /// Follows the map, or does so no longer; says whose sessions it then does not know any more.
    pub(crate) fn follow(
        &mut self,
        wanted: bool,
        subject: &Subject,
        out: &mut Vec<Request>,
    ) -> Vec<SessionId> {
        match (wanted, self.following) {
            (true, Following::No) => {
                self.following = Following::Opening;
                let ask = self.start_reading();
                let subject = subject.clone();
                out.push(Request::Open { subject, ask });
                Vec::new()
            }
            (false, Following::Opening | Following::Yes) => {
                self.following = Following::No;
                self.reading = false;
                self.outdated = false;
                self.ahead = None;
                self.clock = None;
                self.early = Vec::new();
                out.push(Request::Close(subject.clone()));
                std::mem::take(&mut self.others).into_keys().collect()
            }
            (true, _) | (false, Following::No) => Vec::new(),
        }
    }

    fn start_reading(&mut self) -> u32 {
        self.ask = self.ask.wrapping_add(1);
        self.reading = true;
        self.outdated = false;
        self.ahead = None;
        self.ask
    }

    /// Asks of the store what is to be asked now: to be called after everything that happened. `extra` is written along;
    /// says whether it was.
    pub(crate) fn ask(
        &mut self,
        now: Timestamp,
        subject: &Subject,
        members: &Membership,
        extra: Option<Op>,
        out: &mut Vec<Request>,
    ) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        self.retry_at = None;
        if self.outdated && !self.reading && self.following != Following::No {
            let ask = self.start_reading();
            let subject = subject.clone();
            out.push(match self.following {
                Following::Opening => Request::Open { subject, ask },
                _ => Request::Read { subject, ask },
            });
        }
        if self.writing {
            return false;
        }
        let has_extra = extra.is_some();
        let mut ops = Vec::from_iter(extra);
        for (session, cut) in &mut self.cuts {
            cut.is_sent = true;
            ops.push(Op::Cut {
                field: Field::Session(*session),
                stamp: cut.stamp,
                reason: cut.reason,
            });
        }
        for (session, own) in &mut self.own {
            if own.state == State::Dirty {
                own.state = State::Writing;
                own.may_be_stored = true;
                ops.push(Op::Put {
                    field: Field::Session(*session),
                    stamp: Stamp::of_session(own.epoch, members.me),
                    record: own.value.to_record(),
                });
            }
        }
        if ops.is_empty() {
            return false;
        }
        self.writing = true;
        out.push(Request::Write(Write {
            subject: subject.clone(),
            by: members.me,
            ops,
            is_last: self.own.is_empty(),
        }));
        has_extra
    }

    /// The write was done; with `None` nobody knows.
    pub(crate) fn written(
        &mut self,
        now: Timestamp,
        outcome: Option<&Written>,
        members: &Membership,
    ) -> Heard<V> {
        self.writing = false;
        let mut heard = Heard::default();
        let after = match outcome {
            Some(_) => State::Clean,
            None => State::Dirty,
        };
        for (field, stamp) in outcome.iter().flat_map(|it| &it.refused) {
            if let Field::Session(session) = field
                && let Some(own) = self.own.get(session)
                && own.state == State::Writing
                && stamp.owner != members.me.node
            {
                // They look as they did until the map says more.
                let value = own.value.clone();
                self.outdated = self.following == Following::Yes;
                self.lose(now, *session, *stamp, value, &mut heard);
            }
        }
        for own in self.own.values_mut() {
            if own.state == State::Writing {
                own.state = after;
            }
        }
        match outcome {
            Some(_) => self.cuts.retain(|_, cut| !cut.is_sent),
            None => self.retry_at = Some(now + RETRY),
        }
        heard
    }

    /// A session that was this node's is another's.
    fn lose(
        &mut self,
        now: Timestamp,
        session: SessionId,
        stamp: Stamp,
        value: V,
        heard: &mut Heard<V>,
    ) {
        self.own.remove(&session);
        heard.taken.push(session);
        let other = Other {
            stamp,
            value,
            held_until: Some(now + HOLD_AFTER_GAP),
        };
        self.others.insert(session, other);
    }

    /// The map was read; with `None` the store was away.
    pub(crate) fn read(
        &mut self,
        now: Timestamp,
        ask: u32,
        snapshot: Option<Snapshot>,
        members: &Membership,
    ) -> Heard<V> {
        let mut heard = Heard::default();
        if !self.reading || ask != self.ask {
            return heard;
        }
        self.reading = false;
        let Some(snapshot) = snapshot else {
            self.retry_at = Some(now + RETRY);
            self.outdated = true;
            return heard;
        };
        self.following = Following::Yes;
        self.restore(now, snapshot, members, &mut heard);
        let early = std::mem::take(&mut self.early);
        self.outdated = early.len() == EARLY_MAX;
        for patch in early {
            self.apply(now, patch, members, &mut heard);
        }
        heard
    }

    /// Somebody changed the map.
    pub(crate) fn patched(
        &mut self,
        now: Timestamp,
        patch: Patch,
        members: &Membership,
    ) -> Heard<V> {
        let mut heard = Heard::default();
        if self.reading {
            if self.early.len() < EARLY_MAX {
                self.early.push(patch);
            }
        } else if self.following == Following::Yes {
            self.apply(now, patch, members, &mut heard);
        }
        heard
    }

    /// The map is said to be at `clock`. A patch may be on its way: it has until the next look.
    pub(crate) fn at(&mut self, clock: Option<Clock>) {
        if self.following != Following::Yes || self.reading || clock == self.clock {
            self.ahead = None;
        } else if clock.is_none() && self.others.is_empty() && !self.has_stored() {
            self.ahead = None; // nothing is there, and nothing is known to be
        } else if self.ahead == Some(clock) {
            self.outdated = true;
        } else {
            self.ahead = Some(clock);
        }
    }

    fn has_stored(&self) -> bool {
        self.own.values().any(|it| it.state == State::Clean)
    }

    /// Everything that `who` wrote is void.
    pub(crate) fn lost(&mut self, who: Incarnation) -> Heard<V> {
        let mut heard = Heard::default();
        self.others.retain(|session, other| {
            let is_void = other.stamp.incarnation() == who;
            if is_void {
                heard.changes.push((*session, Err(Reason::NodeLost)));
            }
            !is_void
        });
        heard
    }

    /// Lets go of what was held for long enough.
    pub(crate) fn expire(&mut self, now: Timestamp, members: &Membership) -> Heard<V> {
        let mut heard = Heard::default();
        let due = |it: &Other<V>| it.held_until.is_some_and(|until| until <= now);
        let gone: Vec<_> = self
            .others
            .iter()
            .filter(|(_, it)| due(it))
            .map(|(session, it)| (*session, it.stamp))
            .collect();
        for (session, stamp) in gone {
            self.others.remove(&session);
            heard.changes.push((session, Err(Reason::Lost)));
            if stamp.owner == members.me.node {
                let epoch = u32::try_from(stamp.epoch).unwrap_or(u32::MAX);
                self.remove_from_store(session, epoch, Reason::Lost, members);
            }
        }
        heard
    }

    /// When to call [`expire`](Self::expire), or to ask the store again.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let held = self.others.values().filter_map(|it| it.held_until);
        held.chain(self.retry_at).min()
    }

    fn apply(&mut self, now: Timestamp, patch: Patch, members: &Membership, heard: &mut Heard<V>) {
        let is_next = match self.clock {
            None => patch.from == 0,
            Some(clock) if clock.epoch != patch.clock.epoch => {
                self.outdated = true;
                // A map that begins anew: either everyone had gone, or it was lost.
                patch.from == 0 && self.others.is_empty()
            }
            Some(clock) if patch.clock.version <= clock.version => return, // known already
            Some(clock) => clock.version == patch.from,
        };
        if !is_next {
            self.outdated = true;
            return;
        }
        self.clock = Some(patch.clock);
        self.ahead = None;
        for Change { field, entry } in patch.changes {
            let Field::Session(session) = field else {
                continue;
            };
            match entry {
                Ok((stamp, record)) => {
                    if let Some(value) = V::of_record(record) {
                        self.hear(now, session, stamp, value, members, heard);
                    }
                }
                Err(reason) => self.hear_gone(session, reason, heard),
            }
        }
    }

    fn restore(
        &mut self,
        now: Timestamp,
        snapshot: Snapshot,
        members: &Membership,
        heard: &mut Heard<V>,
    ) {
        let is_loss = match (self.clock, snapshot.clock) {
            (Some(before), Some(after)) => {
                before.epoch != after.epoch || before.version > after.version
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.clock = snapshot.clock;
        let until = now
            + match is_loss {
                true => HOLD_AFTER_LOSS,
                false => HOLD_AFTER_GAP,
            };
        let mut there = BTreeMap::new();
        for (field, stamp, record) in snapshot.entries {
            if let (Field::Session(session), Some(value)) = (field, V::of_record(record)) {
                there.insert(session, (stamp, value));
            }
        }
        for (session, other) in &mut self.others {
            if !there.contains_key(session) {
                other.held_until.get_or_insert(until);
            }
        }
        for (session, own) in &mut self.own {
            if !there.contains_key(session) && own.state == State::Clean {
                own.state = State::Dirty;
            }
        }
        for (session, (stamp, value)) in there {
            let is_mine = stamp.owner == members.me.node;
            match self.own.get_mut(&session) {
                Some(own) if is_mine => {
                    let same = stamp == Stamp::of_session(own.epoch, members.me);
                    if own.state == State::Clean && !(same && own.value == value) {
                        own.state = State::Dirty;
                    }
                }
                None if is_mine && !self.others.contains_key(&session) => {
                    if !self.cuts.contains_key(&session) {
                        let epoch = u32::try_from(stamp.epoch).unwrap_or(u32::MAX);
                        self.remove_from_store(session, epoch, Reason::Lost, members);
                    }
                }
                _ => self.hear(now, session, stamp, value, members, heard),
            }
        }
    }

    fn hear(
        &mut self,
        now: Timestamp,
        session: SessionId,
        stamp: Stamp,
        value: V,
        members: &Membership,
        heard: &mut Heard<V>,
    ) {
        if stamp.owner == members.me.node {
            return; // an echo
        }
        if let Some(own) = self.own.get_mut(&session) {
            if stamp.epoch < u64::from(own.epoch) {
                if own.state == State::Clean {
                    own.state = State::Dirty;
                }
                return;
            }
            self.cuts.remove(&session);
            self.lose(now, session, stamp, value.clone(), heard);
            if let Some(other) = self.others.get_mut(&session) {
                other.held_until = None;
            }
            heard.changes.push((session, Ok(value)));
            return;
        }
        if members.lost.contains(&stamp.incarnation()) {
            if self.others.remove(&session).is_some() {
                heard.changes.push((session, Err(Reason::NodeLost)));
            }
            return;
        }
        let other = Other {
            stamp,
            value,
            held_until: None,
        };
        let same = self
            .others
            .get(&session)
            .is_some_and(|it| it.value == other.value);
        if !same {
            heard.changes.push((session, Ok(other.value.clone())));
        }
        self.others.insert(session, other);
    }

    fn hear_gone(&mut self, session: SessionId, reason: Reason, heard: &mut Heard<V>) {
        if let Some(own) = self.own.get_mut(&session) {
            // Somebody swept it away, or it is an echo of an older leave: here it is, all the same.
            if own.state == State::Clean {
                own.state = State::Dirty;
            }
        } else if self.others.remove(&session).is_some() {
            heard.changes.push((session, Err(reason)));
        }
    }
}
