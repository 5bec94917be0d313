//! Where epochs and the aliases of sessions come from.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{Outsider, SessionId};

/// A generator of epochs: random numbers for versions that are counted from the start again. Nobody who sees some of
/// them can tell how many others were generated in between, which would reveal what happened to users who hide.
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

    /// An alias for a session, which nobody can tell from the id of a new one.
    pub(crate) fn next_alias(&mut self) -> SessionId {
        loop {
            let number = u128::from(self.next()) << 64 | u128::from(self.next());
            let alias = SessionId::from_u128(number);
            if Outsider::of_shown(alias).is_none() {
                return alias;
            }
        }
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
