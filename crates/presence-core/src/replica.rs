//! A versioned copy of somebody else's map.

use std::collections::BTreeMap;

use crate::Clock;

/// A copy of a map that lives elsewhere: applies its patches in order, ignores old ones, notices a gap.
///
/// A gateway's clients keep one of each topic; gateways that share a store will keep one of each other's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica<K, V> {
    clock: Option<Clock>,
    map: BTreeMap<K, V>,
}

/// An ordered change: what turns version `clock.version - 1` into `clock.version`. `None` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch<K, V> {
    /// The version it makes.
    pub clock: Clock,
    /// What becomes of each key it touches.
    pub changes: Vec<(K, Option<V>)>,
}

/// A whole map at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot<K, V> {
    /// Which version.
    pub clock: Clock,
    /// All of it.
    pub entries: Vec<(K, V)>,
}

/// What a patch did to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied<K, V> {
    /// It was the next one; this is what is different now.
    Changed(Vec<(K, Option<V>)>),
    /// It was known already.
    Old,
    /// Something before it is missing: ask for a snapshot. Nothing has changed.
    Gap,
}

impl<K, V> Default for Replica<K, V> {
    fn default() -> Self {
        Replica {
            clock: None,
            map: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Replica<K, V> {
    /// The version it is a copy of; `None` before the first snapshot.
    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Its entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// The entry of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Applies the next patch.
    pub fn apply(&mut self, patch: Patch<K, V>) -> Applied<K, V> {
        let Some(clock) = self.clock else {
            return Applied::Gap;
        };
        if patch.clock.epoch != clock.epoch || patch.clock.version > clock.version + 1 {
            return Applied::Gap;
        }
        if patch.clock.version <= clock.version {
            return Applied::Old;
        }
        self.clock = Some(patch.clock);
        let mut changed = Vec::new();
        for (key, value) in patch.changes {
            if self.put(&key, value.clone()) {
                changed.push((key, value));
            }
        }
        Applied::Changed(changed)
    }

    /// Becomes a copy of `snapshot`; says only what is really different from before.
    pub fn restore(&mut self, snapshot: Snapshot<K, V>) -> Vec<(K, Option<V>)> {
        self.clock = Some(snapshot.clock);
        let new: BTreeMap<K, V> = snapshot.entries.into_iter().collect();
        let gone = self.map.keys().filter(|key| !new.contains_key(key));
        let mut changed: Vec<(K, Option<V>)> = gone.map(|key| (key.clone(), None)).collect();
        for (key, value) in &new {
            if self.map.get(key) != Some(value) {
                changed.push((key.clone(), Some(value.clone())));
            }
        }
        self.map = new;
        changed
    }

    fn put(&mut self, key: &K, value: Option<V>) -> bool {
        match value {
            None => self.map.remove(key).is_some(),
            Some(value) if self.map.get(key) == Some(&value) => false,
            Some(value) => {
                self.map.insert(key.clone(), value);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(epoch: u64, version: u64) -> Clock {
        Clock { epoch, version }
    }

    fn patch(epoch: u64, version: u64, key: &str, value: Option<u32>) -> Patch<String, u32> {
        Patch {
            clock: clock(epoch, version),
            changes: vec![(key.to_owned(), value)],
        }
    }

    fn replica() -> Replica<String, u32> {
        let mut replica = Replica::default();
        replica.restore(Snapshot {
            clock: clock(1, 7),
            entries: vec![("ann".to_owned(), 1), ("bob".to_owned(), 1)],
        });
        replica
    }

    #[test]
    fn patches_apply_in_order_and_once() {
        let mut replica = replica();
        let eve = || patch(1, 8, "eve", Some(1));
        assert_eq!(
            replica.apply(eve()),
            Applied::Changed(vec![("eve".to_owned(), Some(1))])
        );
        assert_eq!(replica.apply(eve()), Applied::Old);
        assert_eq!(
            replica.apply(patch(1, 9, "eve", Some(1))),
            Applied::Changed(vec![])
        );
    }

    #[test]
    fn a_missing_patch_or_another_epoch_is_a_gap_and_changes_nothing() {
        let mut it = replica();
        assert_eq!(it.apply(patch(1, 9, "ann", None)), Applied::Gap);
        assert_eq!(it.apply(patch(2, 8, "ann", None)), Applied::Gap);
        assert_eq!(it, replica());
        assert_eq!(
            Replica::default().apply(patch(1, 1, "ann", None)),
            Applied::Gap
        );
    }

    #[test]
    fn after_a_gap_only_what_really_changed_is_heard() {
        let mut replica = replica();
        let changed = replica.restore(Snapshot {
            clock: clock(2, 0),
            entries: vec![("bob".to_owned(), 1), ("eve".to_owned(), 1)],
        });
        assert_eq!(
            changed,
            [("ann".to_owned(), None), ("eve".to_owned(), Some(1))]
        );
        assert_eq!(replica.clock(), Some(clock(2, 0)));
    }
}
