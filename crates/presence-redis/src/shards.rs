//! Sets of shards, as bit sets.

use presence_core::cluster::SHARDS;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet {
    bits: [u64; (SHARDS as usize).div_ceil(64)],
}

impl ShardSet {
    /// The set of all shards.
    pub(crate) fn all() -> Self {
        (0..SHARDS).collect()
    }

    pub(crate) fn insert(&mut self, shard: u16) {
        self.bits[usize::from(shard / 64)] |= 1 << (shard % 64);
    }

    pub(crate) fn contains(&self, shard: u16) -> bool {
        self.bits[usize::from(shard / 64)] & (1 << (shard % 64)) != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u16> {
        (0..SHARDS).filter(move |&shard| self.contains(shard))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits.iter().all(|&bits| bits == 0)
    }
}

impl FromIterator<u16> for ShardSet {
    fn from_iter<I: IntoIterator<Item = u16>>(shards: I) -> Self {
        let mut set = ShardSet::default();
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut set: ShardSet = [0, 63, 64, 255].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        set.insert(64);
        assert_eq!(set.iter().count(), 4);
        assert!(set.contains(64) && !set.contains(65));
        assert!(!set.is_empty() && ShardSet::default().is_empty());
        assert_eq!(ShardSet::all().iter().count(), usize::from(SHARDS));
    }
}
