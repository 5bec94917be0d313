//! What is written to the shared store about a user, and how answers and changes of the store are applied.

mod hiding;
mod putting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::hiding::Hiding;
pub(super) use self::putting::{PENDING_MAX, Putting};
use super::Standstill;
use super::late_choice::LateChoice;
use super::session::Session;
use crate::cluster::{
    Author, Change, FencingToken, Guard, HOLD_AFTER_MOVE, Hold, Incarnation, Membership, News,
    Patch, Put, Record, Replica, ReplicaChanges, Reply, SessionRecord, Snapshot,
};
use crate::{Profile, Reason, SessionId, StatusChange, Timestamp, Topic};

/// A choice that waited for longer than this counts as made when it came. The clocks of nodes differ by
/// far less than this.
const WAITS_LATE_AFTER: Duration = Duration::from_secs(1);

/// What the shared store has of a user, and what it should have.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) replica: Replica<Arc<SessionRecord>>,
    /// Who made the newest change of the profile, as far as this node knows; nobody, before it is stored.
    pub(super) author: Author,
    /// The token of the profile that the store has, as far as this node knows.
    pub(super) known: Option<FencingToken>,
    /// Changes of the status that the store does not have, and when each was chosen.
    pub(super) pending: Vec<(StatusChange, Timestamp)>,
    /// Whether this node becomes the author of the profile's revision with the next write.
    pub(super) is_authored: bool,
    pub(super) profile: Putting,
    /// When the user was erased here, by the store's clock: other nodes' changes of the profile are dropped until the store
    /// has the tombstone.
    pub(super) erasing: Option<Timestamp>,
    /// Whether the store is known to have no profile of the user.
    pub(super) lacks_profile: bool,
    /// The token of the profile that the store has removed. A new profile has to have a greater one.
    pub(super) fenced: Option<FencingToken>,
    /// The latest revision of the profile that the store was seen to have.
    pub(super) seen: u64,
    pub(super) hiding: Hiding,
    early: EarlyProfile,
    /// How far the store's clock is ahead of this node's, in milliseconds.
    pub(super) store_ahead_ms: i64,
    late: Option<LateChoices>,
    /// The last choice of a status that was made here, if it came late.
    pub(super) late_choice: Option<Box<LateChoice>>,
    /// When the user was last heard from through nodes that have died since the map was last read.
    pub(super) orphaned_at: Option<Timestamp>,
    /// The moment of the last choice that was made here, by the store's clock.
    pub(super) chosen_at: Timestamp,
    /// The latest revision of the profile that is safely stored, with everything that was changed here until then.
    pub(super) kept: u64,
    pub(super) armed: Option<Timestamp>,
    /// The sessions that other nodes took over, while entries of this node wait for theirs.
    pub(super) handed_over: BTreeMap<SessionId, HandedOver>,
    /// Those of them that have ended since.
    pub(super) over: Vec<EndedElsewhere>,
}

/// Which choices may have been made while this node stood still, and as of when they count.
///
/// Nobody knows when a choice was made that this node read after it stood still. So it counts as made when the standstill
/// began. If another node answered a choice meanwhile, that one stays.
#[derive(Debug)]
struct LateChoices {
    /// Those that are handled up to this moment, by this node's clock.
    until: Timestamp,
    /// Whether some wait until the user's map is read. These are handled when it is.
    is_waiting: bool,
    /// As of when they count, by the store's clock.
    moment: Timestamp,
}

/// What the store has said of the profile before the user was known here.
#[derive(Clone, Debug, Default)]
enum EarlyProfile {
    /// Nothing, or that it has no profile; or the user is known here by now.
    #[default]
    Nothing,
    /// The store could not be read. The profile that is saved elsewhere may be older than a change that another node
    /// accepted: the user may hide, for instance.
    Away,
    /// The store has this profile.
    Profile(FencingToken, Arc<Profile>),
}

/// Where entries of this node wait for the node that took their session over.
#[derive(Debug)]
pub(super) struct HandedOver {
    places: Vec<Topic>,
    /// When the entries are removed in any case.
    pub(super) until: Timestamp,
}

/// A session that ended on the node that took it over, before that node had replaced the entries of this one.
#[derive(Debug)]
pub(super) struct EndedElsewhere {
    pub(super) session: SessionId,
    pub(super) reason: Reason,
    /// Where entries of this node still wait.
    pub(super) places: Vec<Topic>,
}

impl Shared {
    /// Whether a write or a removal about the user is not confirmed by the store yet.
    pub(super) fn is_needed(&self) -> bool {
        let is_hiding = self.hiding != Hiding::No;
        // Until the new owner has replaced the entries, this node listens whether it ends the session instead.
        let is_waiting = !self.handed_over.is_empty();
        let is_putting = !matches!(self.profile, Putting::Done);
        is_putting || is_hiding || is_waiting || self.replica.is_needed()
    }

    /// What the store's clock says at `now`, as far as is known.
    pub(super) fn store_time(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis().saturating_add_signed(self.store_ahead_ms))
    }

    /// This node stood still, and knew the profile up to `revision` then. `is_waiting`: inputs wait until the user's map is
    /// read.
    pub(super) fn stood_still(&mut self, standstill: Standstill, revision: u64, is_waiting: bool) {
        let known = Timestamp::from_millis(revision);
        let moment = self.store_time(standstill.since).max(known) + Duration::from_millis(1);
        let before = self.late.as_ref();
        let before = before.filter(|it| it.is_waiting || standstill.since <= it.until);
        self.late = Some(LateChoices {
            until: standstill.reads_late_until(),
            is_waiting,
            moment: before.map_or(moment, |it| it.moment),
        });
    }

    /// What waited until the user's map was read is handled now.
    pub(super) fn reads_late(&mut self, now: Timestamp) {
        if let Some(late) = self.late.as_mut().filter(|it| it.is_waiting) {
            late.is_waiting = false;
            late.until = late.until.max(now);
        }
    }

    /// The moment of a choice that came at `since` and is handled now, if it is late: it may have been made while this node
    /// stood still, or has waited for longer than clocks differ. It is later than the last choice that was made here.
    pub(super) fn late_moment(&self, now: Timestamp, since: Timestamp) -> Option<Timestamp> {
        let moment = self.late_since(now, since)?;
        Some(moment.max(self.chosen_at + Duration::from_millis(1)))
    }

    /// The moment as of which an input counts that came at `since` and is handled now; `None` if it is not late.
    pub(super) fn late_since(&self, now: Timestamp, since: Timestamp) -> Option<Timestamp> {
        let late = self.late.as_ref();
        let late = late.filter(|it| it.is_waiting || now <= it.until);
        let has_waited = now.since(since) > WAITS_LATE_AFTER;
        let waited = has_waited.then(|| self.store_time(since));
        late.map(|it| it.moment).into_iter().chain(waited).min()
    }

    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &Arc<SessionRecord>> {
        self.replica.others().map(|(_, _, record)| record)
    }

    /// Whether this is a session of another node through which a service acts.
    pub(super) fn is_by_service(&self, session: SessionId) -> bool {
        let other = self.replica.other(session);
        other.is_some_and(|(_, record)| record.by_service)
    }

    /// When a session of the nodes that died was last heard from.
    pub(super) fn heard_at(&self, who: Incarnation) -> Option<Timestamp> {
        let its = self.replica.others();
        let its = its.filter(|(_, token, _)| token.incarnation() == who);
        its.map(|(_, _, record)| record.heard_at).max()
    }

    /// Puts the record of a session through which a service acts, and which another node had.
    pub(super) fn take_over(
        &mut self,
        now: Timestamp,
        session: &Session,
        record: Arc<SessionRecord>,
        from: FencingToken,
        membership: &Membership,
    ) {
        let how = Put {
            guard: Guard::Replaces(Some(from)),
            profile: 0,
            hold: Hold::No,
        };
        self.replica
            .put(now, session.id, session.epoch, record, how, membership);
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let waits = self.handed_over.values().map(|it| it.until);
        waits.chain(self.replica.next_deadline()).min()
    }

    /// Notes where entries of this node wait for the node that has taken a session over; nowhere, if it is this
    /// node's again.
    pub(super) fn wait_for_new_owner(
        &mut self,
        now: Timestamp,
        session: SessionId,
        places: Vec<Topic>,
    ) {
        let until = now + HOLD_AFTER_MOVE;
        match places.is_empty() {
            true => self.handed_over.remove(&session),
            false => self
                .handed_over
                .insert(session, HandedOver { places, until }),
        };
    }

    /// Notes which of the sessions that other nodes took over have ended.
    pub(super) fn note_ended(&mut self, heard: &ReplicaChanges<Arc<SessionRecord>>) {
        for (session, change) in &heard.changes {
            let Err(reason) = *change else {
                continue;
            };
            if let Some(HandedOver { places, .. }) = self.handed_over.remove(session) {
                self.over.push(EndedElsewhere {
                    session: *session,
                    reason,
                    places,
                });
            }
        }
    }

    /// Has every entry of this node removed that waits for the node that took its session over.
    pub(super) fn end_all_handed_over(&mut self) {
        let handed_over = std::mem::take(&mut self.handed_over).into_iter();
        let ended = handed_over.map(|(session, HandedOver { places, .. })| EndedElsewhere {
            session,
            reason: Reason::Left,
            places,
        });
        self.over.extend(ended);
    }

    /// The profile that the store has, before the user is known here; and whether it was changed without being read.
    pub(super) fn take_read(&mut self) -> Option<(Profile, bool)> {
        let (token, profile) = match std::mem::take(&mut self.early) {
            EarlyProfile::Profile(token, profile) => (token, profile),
            other => {
                self.early = other;
                return None;
            }
        };
        self.author = token.author();
        self.known = Some(token);
        Some((Profile::clone(&profile), token.author() == Author::Unread))
    }

    /// Whether the store has a profile, before the user is known here.
    pub(super) fn has_read(&self) -> bool {
        matches!(self.early, EarlyProfile::Profile(..))
    }

    /// Whether the store could not be read when the user became known here, and was not read since.
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self.early, EarlyProfile::Away)
    }

    /// Notes that the map was read. Returns whether that was not possible until now.
    pub(super) fn mark_sure(&mut self) -> bool {
        let was_unsure = self.is_unsure();
        self.early = EarlyProfile::Nothing;
        was_unsure
    }

    /// Applies news of the node. Returns whether a session of another node is gone.
    pub(super) fn hear_news(
        &mut self,
        now: Timestamp,
        news: News,
        membership: &Membership,
    ) -> bool {
        let heard = self.replica.hear_news(now, news, membership);
        self.note_ended(&heard);
        !heard.changes.is_empty()
    }

    /// Applies a reply of the store that comes before the user is known here. Returns how far the store has answered.
    pub(super) fn prepare(
        &mut self,
        now: Timestamp,
        reply: Reply,
        membership: &Membership,
    ) -> Asked {
        let (profile, asked) = match &reply {
            Reply::Read { snapshot, .. } => (
                snapshot.as_ref().and_then(stored_profile),
                match snapshot {
                    Some(_) => Asked::Known,
                    None => Asked::Away,
                },
            ),
            Reply::Patched(patch) => (patched_profile(patch), Asked::Waiting),
            _ => (None, Asked::Waiting),
        };
        if let Reply::Read {
            snapshot: Some(_), ..
        } = reply
        {
            self.lacks_profile = profile.is_none();
        }
        let before = match &self.early {
            EarlyProfile::Profile(before, _) => Some(*before),
            EarlyProfile::Nothing | EarlyProfile::Away => None,
        };
        if let Some((token, profile)) = profile.filter(|(token, _)| before <= Some(*token)) {
            self.early = EarlyProfile::Profile(token, profile);
            self.lacks_profile = false;
        }
        let was_reading = self.replica.is_reading();
        self.hear(now, reply, membership);
        if !was_reading || self.replica.is_reading() {
            return Asked::Waiting;
        }
        if asked == Asked::Away && !self.has_read() {
            self.early = EarlyProfile::Away;
        }
        asked
    }

    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        reply: Reply,
        membership: &Membership,
    ) -> ReplicaChanges<Arc<SessionRecord>> {
        if let Reply::PlaceHidden { topic, is_done } = &reply {
            self.place_hidden(now, topic, *is_done);
        }
        self.replica.hear(now, reply, membership)
    }
}

/// How far the store has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Waiting,
    Known,
    Away,
}

pub(super) fn stored_profile(snapshot: &Snapshot) -> Option<(FencingToken, Arc<Profile>)> {
    let mut entries = snapshot.entries.iter();
    entries.find_map(|(_, token, record)| match record {
        Record::Profile(profile) => Some((*token, profile.clone())),
        Record::Session(_) | Record::Member(_) => None,
    })
}

pub(super) fn patched_profile(patch: &Patch) -> Option<(FencingToken, Arc<Profile>)> {
    let mut changes = patch.changes.iter();
    changes.find_map(|Change { entry, .. }| match entry {
        Ok((token, Record::Profile(profile))) => Some((*token, profile.clone())),
        _ => None,
    })
}
