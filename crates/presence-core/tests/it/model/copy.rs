//! A watcher's copy of what it is told.

use std::collections::BTreeMap;

use presence_core::TopicVersion;

/// A copy of a map that lives elsewhere: applies its patches in order, ignores old ones, notices a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy<K, V> {
    clock: Option<TopicVersion>,
    map: BTreeMap<K, V>,
}

/// An ordered change: what turns version `clock.version - 1` into `clock.version`. `None` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch<K, V> {
    /// The version it makes.
    pub(super) clock: TopicVersion,
    /// What becomes of each key it touches.
    pub(super) changes: Vec<(K, Option<V>)>,
}

/// A whole map at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot<K, V> {
    /// Which version.
    pub(super) clock: TopicVersion,
    /// All of it.
    pub(super) entries: Vec<(K, V)>,
}

/// What a patch did to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied<K, V> {
    /// It was the next one; this is what is different now.
    Changed(Vec<(K, Option<V>)>),
    /// It was known already.
    Old,
    /// Something before it is missing: ask for a snapshot. Nothing has changed.
    Gap,
}

impl<K, V> Default for Copy<K, V> {
    fn default() -> Self {
        Copy {
            clock: None,
            map: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Copy<K, V> {
    /// The version it is a copy of; `None` before the first snapshot.
    pub(super) fn clock(&self) -> Option<TopicVersion> {
        self.clock
    }

    /// Its entries, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Applies the next patch.
    pub(super) fn apply(&mut self, patch: Patch<K, V>) -> Applied<K, V> {
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
    pub(super) fn restore(&mut self, snapshot: Snapshot<K, V>) -> Vec<(K, Option<V>)> {
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
