//! What a store does with a write: the meaning that every adapter gives it, in its own words.

use std::collections::BTreeMap;

use super::{Change, Field, Op, Patch, Record, Snapshot, Stamp};
use crate::Clock;

/// The map of one subject, as a store keeps it.
#[derive(Clone, Debug, Default)]
pub struct TopicMap {
    clock: Option<Clock>,
    entries: BTreeMap<Field, (Stamp, Record)>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What is to be published; `None` where no op changed anything.
    pub patch: Option<Patch>,
    /// The puts that were refused, each with the stamp that stands in its way.
    pub refused: Vec<(Field, Stamp)>,
}

impl TopicMap {
    /// Applies `ops` in order. `next` is the clock it has after a change: its version is above all before it, and its epoch
    /// is only used where the map was empty.
    pub fn apply(&mut self, ops: &[Op], next: Clock) -> Applied {
        let mut changes: Vec<Change> = Vec::new();
        let mut refused = Vec::new();
        for op in ops {
            let field = op.field();
            let stored = self.entries.get(&field);
            let entry = match (op, stored) {
                (Op::Put { stamp, .. }, Some((fence, _))) if !stamp.supersedes(*fence) => {
                    refused.push((field, *fence));
                    continue;
                }
                (Op::Put { stamp, record, .. }, Some(same))
                    if *same == (*stamp, record.clone()) =>
                {
                    continue;
                }
                (Op::Put { stamp, record, .. }, _) => {
                    self.entries.insert(field, (*stamp, record.clone()));
                    Ok((*stamp, record.clone()))
                }
                (Op::Cut { stamp, reason, .. }, Some((fence, _))) if stamp.supersedes(*fence) => {
                    self.entries.remove(&field);
                    Err(*reason)
                }
                (Op::Cut { .. }, _) => continue,
            };
            changes.retain(|it| it.field != field);
            changes.push(Change { field, entry });
        }
        if changes.is_empty() {
            return Applied {
                patch: None,
                refused,
            };
        }
        let (epoch, from) = match self.clock {
            Some(clock) => (clock.epoch, clock.version),
            None => (next.epoch, 0),
        };
        let clock = Clock {
            epoch,
            version: next.version,
        };
        self.clock = (!self.entries.is_empty()).then_some(clock);
        let patch = Some(Patch {
            from,
            clock,
            changes,
        });
        Applied { patch, refused }
    }

    /// All of it.
    pub fn snapshot(&self) -> Snapshot {
        let entries = self.entries.iter();
        Snapshot {
            clock: self.clock,
            entries: entries
                .map(|(field, (stamp, record))| (*field, *stamp, record.clone()))
                .collect(),
        }
    }

    /// Which version it is; `None` while it is empty.
    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Its entries.
    pub fn entries(&self) -> impl Iterator<Item = (Field, Stamp)> {
        self.entries
            .iter()
            .map(|(field, (stamp, _))| (*field, *stamp))
    }
}
