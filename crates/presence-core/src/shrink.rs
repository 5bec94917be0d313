//! Memory that hash maps keep after a burst.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// The number of entries for which a map always keeps room.
const KEPT: usize = 256;

/// Shrinks `map` when its capacity is more than eight times what it needs. Call it after removing entries: it is cheap
/// while there is nothing to shrink, and cheap on average.
pub fn shrink_after_burst<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    let needed = map.len().max(KEPT);
    if map.capacity() / 8 > needed {
        map.shrink_to(needed * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_gives_back_its_room_after_a_burst_and_not_before() {
        let mut map: HashMap<u32, u32> = (0..100_000).map(|it| (it, it)).collect();
        let full = map.capacity();
        for it in 20..100_000 {
            map.remove(&it);
            shrink_after_burst(&mut map);
            let is_small = map.capacity() < 16 * map.len().max(KEPT);
            assert!(is_small || map.capacity() == full);
        }
        assert!(map.capacity() < full / 50);
        assert_eq!(map.len(), 20);
    }
}
