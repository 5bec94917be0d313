//! A generator of epochs.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Generates an epoch whenever versions start again. The numbers are hashes, so whoever sees some of them cannot tell
/// how many others there were: that would reveal what users who hide have done.
#[derive(Debug)]
pub(crate) struct Epochs {
    seed: u64,
    given: u64,
}

impl Epochs {
    /// A generator with a secret random `seed`, so that no two runs have the same epochs.
    pub(crate) fn new(seed: u64) -> Self {
        Epochs { seed, given: 0 }
    }

    /// An epoch that was not generated before.
    pub(crate) fn next(&mut self) -> u64 {
        self.given += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, self.given).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_differ_and_are_no_count() {
        let mut epochs = Epochs::new(7);
        let mut given: Vec<u64> = (0..1000).map(|_| epochs.next()).collect();
        assert!(given.windows(2).all(|two| two[0].abs_diff(two[1]) > 1000));
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 1000);
        assert_ne!(Epochs::new(8).next(), Epochs::new(7).next());
    }
}
