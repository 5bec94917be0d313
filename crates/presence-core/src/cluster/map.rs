//! How a store applies a write. Every adapter gives writes this meaning, in its own terms.

use std::collections::BTreeMap;

use super::record::FENCE_TTL;
use super::{Change, Fence, FencingToken, Field, Op, Patch, Record, Removed, Snapshot};
use crate::{Timestamp, TopicVersion};

/// The map of one subject, as a store keeps it.
#[derive(Clone, Debug, Default)]
pub struct TopicMap {
    clock: Option<TopicVersion>,
    entries: BTreeMap<Field, (FencingToken, Record)>,
    /// The fences of removed entries, and when each expires. Fences do not count for snapshots or versions, or for
    /// whether the map is empty.
    fences: BTreeMap<Field, (Fence, Timestamp)>,
}

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The patch to publish; `None` if no operation changed anything.
    pub patch: Option<Patch>,
    /// The operations that were refused, each with the fence that refused it, in the order of the operations.
    pub refused: Vec<(Field, Fence)>,
    /// The fields that were to be removed, where there was neither an entry nor a fence.
    pub absent: Vec<Field>,
    /// The revision of the profile that the map has now, if it is the map of a user.
    pub profile: Option<u64>,
}

enum Outcome {
    Changed(Result<(FencingToken, Record), Removed>),
    Unchanged,
    Refused(Fence),
    Absent,
}

impl TopicMap {
    /// Applies `ops` in order at `now`, by the store's clock. `next` is the version of the map after a change. Its
    /// version must be greater than all before it; its epoch is used only if the map was empty.
    pub fn apply(&mut self, ops: &[Op], next: TopicVersion, now: Timestamp) -> Applied {
        self.fences.retain(|_, (_, until)| now < *until);
        let mut changes: Vec<Change> = Vec::new();
        let (mut refused, mut absent) = (Vec::new(), Vec::new());
        for op in ops {
            let field = op.field();
            match self.apply_one(op, now) {
                Outcome::Changed(entry) => {
                    changes.retain(|it| it.field != field);
                    changes.push(Change { field, entry });
                }
                Outcome::Unchanged => {}
                Outcome::Refused(fence) => refused.push((field, fence)),
                Outcome::Absent => absent.push(field),
            }
        }
        let profile = self.entries.get(&Field::Profile);
        let profile = profile.map(|(token, _)| token.epoch);
        let patch = (!changes.is_empty()).then(|| self.advance(changes, next));
        Applied {
            patch,
            refused,
            absent,
            profile,
        }
    }

    fn advance(&mut self, changes: Vec<Change>, next: TopicVersion) -> Patch {
        let (epoch, from) = match self.clock {
            Some(clock) => (clock.epoch, clock.version),
            None => (next.epoch, 0),
        };
        let clock = TopicVersion {
            epoch,
            version: next.version,
        };
        self.clock = (!self.entries.is_empty()).then_some(clock);
        Patch {
            from,
            clock,
            changes,
        }
    }

    fn apply_one(&mut self, op: &Op, now: Timestamp) -> Outcome {
        match op {
            Op::Put {
                field,
                token,
                record,
                guard,
                profile,
            } => {
                if let Some((stored, before)) = self.entries.get(field) {
                    if (*stored, before) == (*token, record) {
                        return Outcome::Unchanged;
                    }
                    if !guard.admits(*token, *stored) {
                        return Outcome::Refused(Fence {
                            token: *stored,
                            profile: 0,
                        });
                    }
                } else if let Some((fence, _)) = self.fences.get(field)
                    && (!guard.admits(*token, fence.token) || *profile < fence.profile)
                {
                    return Outcome::Refused(*fence);
                }
                self.fences.remove(field);
                self.entries.insert(*field, (*token, record.clone()));
                Outcome::Changed(Ok((*token, record.clone())))
            }
            Op::Remove {
                field,
                token,
                reason,
            } => {
                if let Some((stored, _)) = self.entries.get(field) {
                    if token < stored {
                        return Outcome::Refused(Fence {
                            token: *stored,
                            profile: 0,
                        });
                    }
                    self.entries.remove(field);
                    let fence = self.raise_fence(*field, *token, 0, now);
                    let reason = *reason;
                    return Outcome::Changed(Err(Removed { reason, fence }));
                }
                let before = self.fences.get(field).map(|(fence, _)| *fence);
                let fence = self.raise_fence(*field, *token, 0, now);
                match before {
                    Some(_) if fence.token > *token => Outcome::Refused(fence),
                    Some(_) => Outcome::Unchanged,
                    None => Outcome::Absent,
                }
            }
            Op::Hide { field, profile } => {
                if let Some((_, Record::Member(member))) = self.entries.get(field)
                    && *profile <= member.profile
                {
                    return Outcome::Unchanged; // they have come out since
                }
                let removed = self.entries.remove(field);
                let lowest = FencingToken {
                    epoch: 0,
                    owner: 0,
                    order: 0,
                };
                let token = removed.as_ref().map_or(lowest, |(token, _)| *token);
                let fence = self.raise_fence(*field, token, *profile, now);
                match removed {
                    Some(_) => Outcome::Changed(Err(Removed {
                        reason: crate::Reason::Left,
                        fence,
                    })),
                    None => Outcome::Unchanged,
                }
            }
        }
    }

    fn raise_fence(
        &mut self,
        field: Field,
        token: FencingToken,
        profile: u64,
        now: Timestamp,
    ) -> Fence {
        let new = (Fence { token, profile }, now + FENCE_TTL);
        let (fence, until) = self.fences.entry(field).or_insert(new);
        fence.token = fence.token.max(token);
        fence.profile = fence.profile.max(profile);
        *until = now + FENCE_TTL;
        *fence
    }

    /// The version and all entries of the map.
    pub fn snapshot(&self) -> Snapshot {
        let entries = self.entries.iter();
        Snapshot {
            clock: self.clock,
            entries: entries
                .map(|(field, (token, record))| (*field, *token, record.clone()))
                .collect(),
        }
    }

    /// The version of the map; `None` while it is empty.
    pub fn clock(&self) -> Option<TopicVersion> {
        self.clock
    }

    /// The fields of all entries, each with its token.
    pub fn entries(&self) -> impl Iterator<Item = (Field, FencingToken)> {
        self.entries
            .iter()
            .map(|(field, (token, _))| (*field, *token))
    }

    /// The same map without its fences. Tests use it to break the rules.
    pub fn without_fences(&self) -> Self {
        TopicMap {
            fences: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// Until when the map is to be kept although it is empty: when its last fence expires.
    pub fn fenced_until(&self) -> Option<Timestamp> {
        self.fences.values().map(|(_, until)| *until).max()
    }
}
