//! A node's copy of one map: the entries of its own sessions, which it writes, and those of the others, which it reads.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
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
/// The same, where the store is known to have lost data: its owner has to notice that first.
const HOLD_AFTER_LOSS: Duration = Duration::from_secs(7);
/// What was written stays in mind so long: a server that takes over may have missed it, and shows that only then.
const REMEMBERED: Duration = Duration::from_secs(20);
/// An entry of a session that went to another node stays so long, for that node to write its own: a server may be away
/// meanwhile, and its replacement not there yet.
const HOLD_AFTER_MOVE: Duration = Duration::from_secs(30);
/// The store is asked again so long after it was away.
const RETRY: Duration = Duration::from_millis(500);
/// Patches that wait for the map to be read; with one more, it is read twice.
const EARLY_MAX: usize = 64;
/// Nodes that are remembered to be dead. What they wrote is long gone when one more makes the first forgotten.
const LOST_MAX: usize = 1024;

/// What a node knows of the cluster it is part of.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// As what it writes now.
    pub(crate) me: Incarnation,
    /// Those whose entries are void.
    lost: HashSet<Incarnation>,
    /// In the order in which they died.
    lost_order: VecDeque<Incarnation>,
}

impl Membership {
    /// A node that knows of no other.
    pub(crate) fn new(me: Incarnation) -> Self {
        Membership {
            me,
            lost: HashSet::new(),
            lost_order: VecDeque::new(),
        }
    }

    fn is_lost(&self, who: Incarnation) -> bool {
        self.lost.contains(&who)
    }

    /// Whether nobody else has a session of this node because of an entry with this stamp.
    fn is_void(&self, stamp: Stamp) -> bool {
        stamp.owner == self.me.node || self.is_lost(stamp.incarnation())
    }

    /// Which node this is.
    pub(crate) fn me(&self) -> Incarnation {
        self.me
    }

    /// Notes who is who.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Become(me) => self.me = me,
            News::Lost(who) if self.lost.insert(who) => {
                self.lost_order.push_back(who);
                if self.lost_order.len() > LOST_MAX
                    && let Some(first) = self.lost_order.pop_front()
                {
                    self.lost.remove(&first);
                }
            }
            News::Lost(_) => {}
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
    /// Those of them that are to be written.
    dirty: BTreeSet<SessionId>,
    /// Those that are being written.
    sent: Vec<SessionId>,
    /// Own entries that are to be removed from the store, or were removed of late.
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
    /// What is being written says that this node has nothing there.
    is_last: bool,
    /// The store has a note that this node has entries there, or may have one.
    is_noted: bool,
    /// The store was away: nothing more is asked of it before.
    retry_at: Option<Timestamp>,
    /// Something was written, and may have to be again: until then.
    minds_until: Option<Timestamp>,
    /// No entry that is held ends, and no cut is forgotten, before.
    looks_at: Option<Timestamp>,
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
    /// This very epoch of it was never in the store: whoever had the session before does not know that it is gone from there.
    is_new: bool,
    /// It is to be removed as soon as that is known.
    leaving: Option<Reason>,
    /// What stands in its way, and is void: it is removed first.
    obstacle: Option<Stamp>,
}

#[derive(Debug)]
struct Cut {
    stamp: Stamp,
    reason: Reason,
    state: Removal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removal {
    Due,
    Sent,
    /// Done, and remembered until then.
    Done(Timestamp),
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
            dirty: BTreeSet::new(),
            sent: Vec::new(),
            cuts: BTreeMap::new(),
            others: BTreeMap::new(),
            following: Following::No,
            ask: 0,
            reading: false,
            outdated: false,
            ahead: None,
            early: Vec::new(),
            writing: false,
            is_last: false,
            is_noted: false,
            retry_at: None,
            minds_until: None,
            looks_at: None,
        }
    }
}

impl<V: Kept> Replica<V> {
    /// Whether it waits for the map.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    /// Whether the store has, or may have, something else of this node's than it should, or may yet turn out to.
    pub(crate) fn is_needed(&self) -> bool {
        let is_clean = self.dirty.is_empty() && self.cuts.is_empty();
        self.writing || !is_clean || self.has_stray_note() || self.looks_at.is_some()
    }

    /// Whether the store has a note that this node has entries there, and it has none.
    fn has_stray_note(&self) -> bool {
        self.is_noted && self.own.is_empty()
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
            Some(own) if own.epoch == epoch && own.value == value => own.leaving = None,
            Some(own) => {
                own.leaving = None;
                own.epoch = epoch;
                own.value = value;
                own.state = State::Dirty;
                self.dirty.insert(session);
            }
            None => {
                let own = Own {
                    epoch,
                    value,
                    state: State::Dirty,
                    // An earlier connection of it may have written one, on whichever node that was.
                    may_be_stored: was_cut || was_other || epoch > 0,
                    is_new: epoch > 0,
                    leaving: None,
                    obstacle: None,
                };
                self.own.insert(session, own);
                self.dirty.insert(session);
            }
        }
    }

    /// Wants no entry of a session of this node to be there; says whether there was one.
    pub(crate) fn cut(&mut self, session: SessionId, reason: Reason, members: &Membership) -> bool {
        let Some(own) = self.own.get_mut(&session) else {
            return false;
        };
        if own.is_new {
            // It came from another node, which would write its own again if it only heard that something is removed.
            own.leaving = Some(reason);
            return true;
        }
        let (epoch, may_be_stored) = (own.epoch, own.may_be_stored);
        self.own.remove(&session);
        self.dirty.remove(&session);
        if may_be_stored {
            self.remove_from_store(session, epoch, reason, members);
        }
        true
    }

    /// A session of this node is another's now. Its entry is left for that node to replace, and removed if it does not.
    pub(crate) fn hand_over(&mut self, now: Timestamp, session: SessionId, members: &Membership) {
        let Some(own) = self.own.remove(&session) else {
            return;
        };
        self.dirty.remove(&session);
        let until = now + HOLD_AFTER_MOVE;
        let other = Other {
            stamp: Stamp::of_session(own.epoch, members.me),
            value: own.value,
            held_until: Some(until),
        };
        self.others.insert(session, other);
        self.look_at(until);
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
            state: Removal::Due,
        };
        self.cuts.insert(session, cut);
    }

    /// The node is another incarnation, or the store has lost data: what was written is to be written again.
    pub(crate) fn rewrite(&mut self) {
        for (session, own) in &mut self.own {
            own.state = State::Dirty;
            self.dirty.insert(*session);
        }
        for cut in self.cuts.values_mut() {
            if let Removal::Done(_) = cut.state {
                cut.state = Removal::Due;
            }
        }
    }

    /// The store has something else of a session of this node than it was told.
    fn soil(&mut self, session: SessionId) {
        if let Some(own) = self.own.get_mut(&session)
            && own.state == State::Clean
        {
            own.state = State::Dirty;
            self.dirty.insert(session);
        }
    }

    /// The store may have something else than was heard. Where the map is followed it is read, and tells what is missing.
    pub(crate) fn distrust(&mut self) {
        // A note that was taken back may be there again.
        self.is_noted |= self.minds_until.is_some();
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
        members: &Membership,
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
                // What it wrote itself is still to be replaced or removed, whoever has the session now.
                let others = std::mem::take(&mut self.others).into_iter();
                let (mine, others): (_, BTreeMap<_, _>) =
                    others.partition(|(_, it)| it.stamp.owner == members.me.node);
                self.others = mine;
                others.into_keys().collect()
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
            if let Removal::Due = cut.state {
                cut.state = Removal::Sent;
                ops.push(Op::Cut {
                    field: Field::Session(*session),
                    stamp: cut.stamp,
                    reason: cut.reason,
                });
            }
        }
        for session in std::mem::take(&mut self.dirty) {
            if let Some(own) = self.own.get_mut(&session) {
                own.state = State::Writing;
                own.may_be_stored = true;
                let field = Field::Session(session);
                ops.extend(own.obstacle.take().map(|stamp| Op::Cut {
                    field,
                    stamp,
                    reason: Reason::NodeLost,
                }));
                ops.push(Op::Put {
                    field,
                    stamp: Stamp::of_session(own.epoch, members.me),
                    record: own.value.to_record(),
                });
                self.sent.push(session);
            }
        }
        if ops.is_empty() && !self.has_stray_note() {
            return false;
        }
        self.writing = true;
        self.is_last = self.own.is_empty();
        self.is_noted |= !self.own.is_empty();
        out.push(Request::Write(Write {
            subject: subject.clone(),
            by: members.me,
            ops,
            is_last: self.is_last,
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
        let sent = std::mem::take(&mut self.sent);
        let mut heard = Heard::default();
        for (field, stamp) in outcome.iter().flat_map(|it| &it.refused) {
            let Field::Session(session) = field else {
                continue;
            };
            let own = self.own.get_mut(session);
            let Some(own) = own.filter(|it| it.state == State::Writing) else {
                continue;
            };
            if members.is_void(*stamp) {
                own.obstacle = Some(*stamp);
                own.state = State::Dirty;
                self.dirty.insert(*session);
            } else {
                // They look as they did until the map says more.
                let value = own.value.clone();
                self.outdated |= self.following != Following::No;
                self.lose(now, *session, *stamp, value, &mut heard);
            }
        }
        for session in sent {
            if let Some(own) = self.own.get_mut(&session)
                && own.state == State::Writing
            {
                own.state = match outcome {
                    Some(_) => State::Clean,
                    None => State::Dirty,
                };
                if outcome.is_none() {
                    self.dirty.insert(session);
                    continue;
                }
                own.is_new = false;
                if let Some(reason) = own.leaving {
                    self.cut(session, reason, members);
                }
            }
        }
        let until = now + REMEMBERED;
        for cut in self.cuts.values_mut() {
            if cut.state == Removal::Sent {
                cut.state = match outcome {
                    Some(_) => Removal::Done(until),
                    None => Removal::Due,
                };
            }
        }
        match outcome {
            Some(_) => {
                self.is_noted &= !self.is_last;
                self.minds_until = Some(until);
                self.look_at(until);
            }
            None => self.retry_at = Some(now + RETRY),
        }
        heard
    }

    /// Something is to be looked after then.
    fn look_at(&mut self, at: Timestamp) {
        self.looks_at = Some(self.looks_at.map_or(at, |it| it.min(at)));
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
        self.dirty.remove(&session);
        heard.taken.push(session);
        let until = now + HOLD_AFTER_GAP;
        let other = Other {
            stamp,
            value,
            held_until: Some(until),
        };
        self.others.insert(session, other);
        self.look_at(until);
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
        let is_first = std::mem::replace(&mut self.following, Following::Yes) == Following::Opening;
        if is_first {
            self.forget_missing(&snapshot, &mut heard);
        }
        self.restore(now, snapshot, members, &mut heard);
        let early = std::mem::take(&mut self.early);
        // The store may have lost data since it was asked.
        self.outdated |= early.len() == EARLY_MAX;
        for patch in early {
            self.apply(patch, members, &mut heard);
        }
        heard
    }

    /// Nothing of others was known of the map before it was followed, but what their sessions had left here.
    fn forget_missing(&mut self, snapshot: &Snapshot, heard: &mut Heard<V>) {
        let is_there = |session: &SessionId| {
            let mut fields = snapshot.entries.iter().map(|(field, ..)| field);
            fields.any(|it| *it == Field::Session(*session))
        };
        self.others.retain(|session, _| {
            let is_there = is_there(session);
            if !is_there {
                heard.changes.push((*session, Err(Reason::Left)));
            }
            is_there
        });
    }

    /// Somebody changed the map.
    pub(crate) fn patched(&mut self, patch: Patch, members: &Membership) -> Heard<V> {
        let mut heard = Heard::default();
        if self.reading {
            if self.early.len() < EARLY_MAX {
                self.early.push(patch);
            }
        } else if self.following == Following::Yes {
            self.apply(patch, members, &mut heard);
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
        if self.looks_at.is_none_or(|at| now < at) {
            return heard;
        }
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
        self.cuts
            .retain(|_, it| !matches!(it.state, Removal::Done(until) if until <= now));
        self.minds_until = self.minds_until.filter(|until| now < *until);
        let held = self.others.values().filter_map(|it| it.held_until);
        let cuts = self.cuts.values().filter_map(|it| match it.state {
            Removal::Done(until) => Some(until),
            Removal::Due | Removal::Sent => None,
        });
        self.looks_at = held.chain(cuts).chain(self.minds_until).min();
        heard
    }

    /// When to call [`expire`](Self::expire), or to ask the store again.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.looks_at.into_iter().chain(self.retry_at).min()
    }

    fn apply(&mut self, patch: Patch, members: &Membership, heard: &mut Heard<V>) {
        let is_next = match self.clock {
            None => patch.from == 0,
            Some(clock) if clock.epoch != patch.clock.epoch => {
                // A map that begins anew: either everyone had gone, or it was lost. Or it is something very late.
                let is_news = patch.clock.version > clock.version;
                self.outdated |= !is_news || self.has_stored();
                is_news && patch.from == 0 && self.others.is_empty()
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
                        self.hear(session, stamp, value, members, heard);
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
        let mut is_held = false;
        for (session, other) in &mut self.others {
            if !there.contains_key(session) {
                other.held_until.get_or_insert(until);
                is_held = true;
            }
        }
        if is_held {
            self.look_at(until);
        }
        for (session, own) in &mut self.own {
            if !there.contains_key(session) && own.state == State::Clean {
                own.state = State::Dirty;
                self.dirty.insert(*session);
            }
        }
        for (session, (stamp, value)) in there {
            let is_mine = stamp.owner == members.me.node;
            let is_older = self.is_older(session, stamp);
            match self.own.get_mut(&session) {
                Some(own) if is_mine => {
                    let same = stamp == Stamp::of_session(own.epoch, members.me);
                    if own.state == State::Clean && !(same && own.value == value) {
                        own.state = State::Dirty;
                        self.dirty.insert(session);
                    }
                }
                None if is_mine && !self.others.contains_key(&session) => {
                    let cut = self.cuts.get(&session);
                    let reason = cut.map_or(Reason::Lost, |it| it.reason);
                    if cut.is_none_or(|it| matches!(it.state, Removal::Done(_))) {
                        let epoch = u32::try_from(stamp.epoch).unwrap_or(u32::MAX);
                        self.remove_from_store(session, epoch, reason, members);
                    }
                }
                None if is_older => {
                    // The store has gone back to what was before: whoever has the session now writes it again.
                    if let Some(known) = self.others.get_mut(&session) {
                        known.held_until.get_or_insert(until);
                    }
                    self.look_at(until);
                }
                _ => self.hear(session, stamp, value, members, heard),
            }
        }
    }

    /// Whether somebody is known to have begun a later epoch of the session.
    fn is_older(&self, session: SessionId, stamp: Stamp) -> bool {
        let known = self.others.get(&session);
        known.is_some_and(|it| it.stamp.epoch > stamp.epoch)
    }

    fn hear(
        &mut self,
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
                self.soil(session);
                return;
            }
            if members.is_void(stamp) {
                own.obstacle = Some(stamp);
                self.soil(session);
                return;
            }
            self.own.remove(&session);
            self.dirty.remove(&session);
            heard.taken.push(session);
        }
        if members.is_lost(stamp.incarnation()) {
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
        if self.own.contains_key(&session) {
            // Somebody swept it away, or it is an echo of an older leave: here it is, all the same.
            self.soil(session);
        } else if self.others.remove(&session).is_some() {
            heard.changes.push((session, Err(reason)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceKind, Look, Meta, UserId, Visible};

    const ME: u64 = 1;
    const OTHER: u64 = 2;

    /// A replica, and the requests that it made since they were last looked at.
    struct Desk {
        replica: Replica<Arc<Member>>,
        members: Membership,
        now: Timestamp,
    }

    impl Desk {
        fn new() -> Self {
            Desk {
                replica: Replica::default(),
                members: Membership::new(node(ME)),
                now: Timestamp::from_millis(1_000_000),
            }
        }

        fn followed(snapshot: Snapshot) -> Self {
            let mut desk = Desk::new();
            let mut requests = Vec::new();
            let (subject, members) = (subject(), &desk.members);
            desk.replica.follow(true, &subject, members, &mut requests);
            desk.read(snapshot);
            desk
        }

        fn read(&mut self, snapshot: Snapshot) -> Heard<Arc<Member>> {
            let ask = self.replica.ask;
            self.replica
                .read(self.now, ask, Some(snapshot), &self.members)
        }

        fn asks(&mut self) -> Vec<Request> {
            let mut requests = Vec::new();
            let replica = &mut self.replica;
            replica.ask(self.now, &subject(), &self.members, None, &mut requests);
            requests
        }

        /// What is written now, and goes well.
        fn writes(&mut self) -> Vec<Op> {
            let mut requests = self.asks();
            let Some(Request::Write(write)) = requests.pop() else {
                return Vec::new();
            };
            let done = Written {
                version: Some(1),
                refused: Vec::new(),
            };
            let members = &self.members;
            self.replica.written(self.now, Some(&done), members);
            write.ops
        }

        fn wait(&mut self, secs: u64) -> Heard<Arc<Member>> {
            self.now = self.now + Duration::from_secs(secs);
            self.replica.expire(self.now, &self.members)
        }
    }

    fn node(node: u64) -> Incarnation {
        let generation = 0;
        Incarnation { node, generation }
    }

    fn subject() -> Subject {
        Subject::User(UserId::new("ann").unwrap())
    }

    fn session(number: u128) -> SessionId {
        SessionId::from_u128(number)
    }

    fn member(number: u128) -> Arc<Member> {
        Arc::new(Member {
            session: session(number),
            alias: session(number),
            epoch: 0,
            user: UserId::new("ann").unwrap(),
            device: DeviceKind::Web,
            joined_at: Timestamp::default(),
            meta: Arc::new(Meta::default()),
            look: Arc::new(Look {
                status: Visible::Online,
                message: None,
                emoji: None,
            }),
            look_revision: 0,
        })
    }

    fn snapshot(version: u64, entries: &[(u128, u32, u64)]) -> Snapshot {
        let entries = entries.iter().map(|(number, epoch, owner)| {
            let field = Field::Session(session(*number));
            let stamp = Stamp::of_session(*epoch, node(*owner));
            (field, stamp, Record::Member(member(*number)))
        });
        let epoch = 7;
        Snapshot {
            clock: Some(Clock { epoch, version }),
            entries: entries.collect(),
        }
    }

    fn is_cut(op: &Op) -> bool {
        matches!(op, Op::Cut { .. })
    }

    #[test]
    fn what_was_removed_is_removed_again_where_the_store_has_gone_back() {
        let mut desk = Desk::new();
        desk.replica.put(session(1), 0, member(1));
        assert!(!is_cut(&desk.writes()[0]));
        desk.replica.cut(session(1), Reason::Left, &desk.members);
        assert!(is_cut(&desk.writes()[0]));
        assert_eq!(desk.writes(), []);
        desk.wait(10);
        desk.replica.distrust();
        assert!(is_cut(&desk.writes()[0]));
        desk.wait(30);
        desk.replica.distrust();
        assert!(desk.writes().is_empty() && !desk.replica.is_needed());
    }

    #[test]
    fn entries_that_nobody_follows_are_written_again_where_the_store_has_lost_them() {
        let mut desk = Desk::new();
        desk.replica.put(session(1), 0, member(1));
        assert_eq!(desk.writes().len(), 1);
        assert_eq!(desk.writes(), []);
        desk.replica.distrust();
        assert_eq!(desk.writes().len(), 1);
    }

    #[test]
    fn a_loss_that_is_told_while_the_map_is_being_read_is_not_forgotten() {
        let mut desk = Desk::new();
        let mut requests = Vec::new();
        let members = &desk.members;
        desk.replica
            .follow(true, &subject(), members, &mut requests);
        desk.replica.distrust();
        desk.read(snapshot(1, &[]));
        assert!(matches!(desk.asks()[..], [Request::Read { .. }]));
    }

    #[test]
    fn an_entry_that_is_merely_missing_is_held_for_its_owner_to_write_it_again() {
        let mut desk = Desk::followed(snapshot(5, &[(1, 0, OTHER)]));
        assert!(desk.read_again(snapshot(9, &[])).changes.is_empty());
        assert!(desk.wait(2).changes.is_empty());
        assert_eq!(desk.wait(2).changes.len(), 1);
    }

    #[test]
    fn a_session_that_went_elsewhere_and_ended_there_is_not_written_again() {
        let mut desk = Desk::new();
        desk.replica.put(session(1), 0, member(1));
        desk.writes();
        let members = desk.members.clone();
        desk.replica.hand_over(desk.now, session(1), &members);
        let mut requests = Vec::new();
        desk.replica
            .follow(true, &subject(), &members, &mut requests);
        desk.read(snapshot(9, &[]));
        assert_eq!(desk.writes(), []);
        assert_eq!(desk.replica.others().count(), 0);
    }

    #[test]
    fn what_a_session_left_behind_is_removed_if_its_new_node_does_not_replace_it() {
        let mut desk = Desk::new();
        desk.replica.put(session(1), 0, member(1));
        desk.writes();
        let members = desk.members.clone();
        desk.replica.hand_over(desk.now, session(1), &members);
        assert_eq!(desk.writes(), []); // but the note that it has entries there is taken back
        desk.wait(31);
        assert!(is_cut(&desk.writes()[0]));
    }

    #[test]
    fn what_a_dead_node_left_is_cleared_out_of_the_way() {
        let mut desk = Desk::new();
        desk.members.hear(News::Lost(node(OTHER)));
        desk.replica.put(session(1), 0, member(1));
        desk.asks();
        let field = Field::Session(session(1));
        let refused = Written {
            version: None,
            refused: vec![(field, Stamp::of_session(0, node(OTHER)))],
        };
        let members = desk.members.clone();
        let heard = desk.replica.written(desk.now, Some(&refused), &members);
        assert_eq!(heard.taken, []);
        let ops = desk.writes();
        assert!(is_cut(&ops[0]) && !is_cut(&ops[1]));
    }

    #[test]
    fn a_patch_of_a_past_that_is_over_is_not_believed() {
        let mut desk = Desk::followed(snapshot(9, &[]));
        let change = Change {
            field: Field::Session(session(1)),
            entry: Ok((Stamp::of_session(0, node(OTHER)), Record::Member(member(1)))),
        };
        let late = Patch {
            from: 0,
            clock: Clock {
                epoch: 3,
                version: 4,
            },
            changes: vec![change],
        };
        let members = desk.members.clone();
        assert!(desk.replica.patched(late, &members).changes.is_empty());
        assert!(matches!(desk.asks()[..], [Request::Read { .. }]));
    }

    impl Desk {
        fn read_again(&mut self, snapshot: Snapshot) -> Heard<Arc<Member>> {
            self.replica.distrust();
            self.asks();
            self.read(snapshot)
        }
    }
}
