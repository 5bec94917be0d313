//! Sets of partitions, as bit sets.

use presence_core::cluster::PARTITIONS;

/// A set of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionSet {
    bits: [u64; (PARTITIONS as usize).div_ceil(64)],
}

impl PartitionSet {
    /// The set of all partitions.
    pub(crate) fn all() -> Self {
        (0..PARTITIONS).collect()
    }

    pub(crate) fn insert(&mut self, partition: u16) {
        self.bits[usize::from(partition / 64)] |= 1 << (partition % 64);
    }

    pub(crate) fn contains(&self, partition: u16) -> bool {
        self.bits[usize::from(partition / 64)] & (1 << (partition % 64)) != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u16> {
        (0..PARTITIONS).filter(move |&partition| self.contains(partition))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits.iter().all(|&bits| bits == 0)
    }
}

impl FromIterator<u16> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = u16>>(partitions: I) -> Self {
        let mut set = PartitionSet::default();
        partitions
            .into_iter()
            .for_each(|partition| set.insert(partition));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut set: PartitionSet = [0, 63, 64, 255].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        set.insert(64);
        assert_eq!(set.iter().count(), 4);
        assert!(set.contains(64) && !set.contains(65));
        assert!(!set.is_empty() && PartitionSet::default().is_empty());
        assert_eq!(PartitionSet::all().iter().count(), usize::from(PARTITIONS));
    }
}
