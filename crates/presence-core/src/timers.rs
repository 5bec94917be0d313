//! All deadlines of a state machine, in one hierarchical timing wheel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use crate::Timestamp;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 7;
/// The span of the wheel: 2^42 ms, 139 years. A later deadline is looked at again after that time.
const SPAN_MS: u64 = 1 << (SLOT_BITS as usize * LEVELS);

/// Deadlines by key, one for each key. Arming, moving and cancelling take the same time for any number of deadlines;
/// nothing is ever scanned.
///
/// Level 0 of the wheel has a slot for each of the next 64 ms. The slots of each level above are 64 times as long. An
/// entry moves down one level when the wheel turns to its slot, at most six times. Moving a deadline further away only
/// stores the new one, because the entry in the wheel is compared with it when its slot comes up. A heartbeat touches no
/// timer: when the deadline of its session is reached, the core looks at the time of the last heartbeat.
#[derive(Debug)]
pub struct Timers<K> {
    armed: HashMap<K, Armed>,
    slots: Vec<Vec<WheelEntry<K>>>,
    /// A bit for each slot of each level: whether the slot has entries.
    occupied: [u64; LEVELS],
    /// How far the wheel has turned, in milliseconds since 1970.
    turned: u64,
}

#[derive(Debug)]
struct Armed {
    /// The deadline of the key. `None` if it was cancelled; then the key is removed together with its entry
    /// in the wheel.
    deadline: Option<Timestamp>,
    /// The time of the key's valid entry in the wheel, in milliseconds since 1970. Any other entry of the
    /// key is obsolete.
    waits_at: u64,
}

#[derive(Debug)]
struct WheelEntry<K> {
    at: u64,
    key: K,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            armed: HashMap::new(),
            slots: (0..SLOTS * LEVELS).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            turned: 0,
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Timers<K> {
    /// Sets the deadline of `key`, in place of the one it had.
    pub fn arm(&mut self, key: K, deadline: Timestamp) {
        let at = deadline
            .as_millis()
            .clamp(self.turned, self.turned + SPAN_MS / 2);
        match self.armed.entry(key) {
            Entry::Occupied(mut entry) => {
                let armed = entry.get_mut();
                armed.deadline = Some(deadline);
                if armed.waits_at <= at {
                    return; // the entry in the wheel comes up first, and will see
                }
                armed.waits_at = at;
                let key = entry.key().clone();
                self.enter(WheelEntry { at, key });
            }
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                entry.insert(Armed {
                    deadline: Some(deadline),
                    waits_at: at,
                });
                self.enter(WheelEntry { at, key });
            }
        }
    }

    /// Cancels the deadline of `key`, if it has one.
    pub fn cancel(&mut self, key: &K) {
        if let Some(armed) = self.armed.get_mut(key) {
            armed.deadline = None;
        }
    }

    /// When to call [`expire`](Self::expire) next: never after the next deadline, and possibly before it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.next_slot().map(|(_, at)| Timestamp::from_millis(at))
    }

    /// Removes the keys whose deadlines are at `now` or before, and returns them in the order of their deadlines.
    pub fn expire(&mut self, now: Timestamp) -> Vec<K> {
        let mut due = Vec::new();
        while let Some((slot, at)) = self.next_slot() {
            if at > now.as_millis() {
                break;
            }
            self.turned = at;
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
            for waiting in std::mem::take(&mut self.slots[slot]) {
                self.come_up(now, waiting, &mut due);
            }
        }
        self.turned = self.turned.max(now.as_millis());
        crate::shrink_after_burst(&mut self.armed);
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    fn come_up(&mut self, now: Timestamp, waiting: WheelEntry<K>, due: &mut Vec<(Timestamp, K)>) {
        let Some(armed) = self.armed.get_mut(&waiting.key) else {
            return; // an older entry of a key that is done
        };
        if armed.waits_at != waiting.at {
            return; // an older entry of a key that was armed for earlier
        }
        match armed.deadline {
            None => {
                self.armed.remove(&waiting.key);
            }
            Some(deadline) if deadline <= now => {
                self.armed.remove(&waiting.key);
                due.push((deadline, waiting.key));
            }
            Some(deadline) => {
                let at = deadline
                    .as_millis()
                    .clamp(self.turned, self.turned + SPAN_MS / 2);
                armed.waits_at = at;
                self.enter(WheelEntry {
                    at,
                    key: waiting.key,
                });
            }
        }
    }

    fn enter(&mut self, waiting: WheelEntry<K>) {
        // The highest bit in which the time differs from now says how coarse a slot will do.
        let apart = (waiting.at ^ self.turned) | (SLOTS as u64 - 1);
        let level = ((63 - apart.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let index = (waiting.at >> (level * SLOT_BITS)) as usize % SLOTS;
        self.occupied[level as usize] |= 1 << index;
        self.slots[level as usize * SLOTS + index].push(waiting);
    }

    /// The occupied slot that comes first, and the time at which it begins.
    fn next_slot(&self) -> Option<(usize, u64)> {
        // All timers of a lower level come before those of a higher one.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let shift = level as u32 * SLOT_BITS;
        let here = (self.turned >> shift) as u32 % SLOTS as u32;
        let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
        let slot_begins = ((self.turned >> shift) + u64::from(ahead)) << shift;
        let index = (here + ahead) as usize % SLOTS;
        Some((level * SLOTS + index, slot_begins.max(self.turned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NOW: u64 = 1_764_000_000_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(NOW + ms)
    }

    #[test]
    fn deadlines_end_in_order_once_and_not_before() {
        let mut timers = Timers::default();
        timers.arm("b", at(20_000));
        timers.arm("a", at(5));
        timers.arm("c", at(20_000));
        timers.arm("year", at(365 * 24 * 3_600_000));
        assert_eq!(timers.expire(at(4)), [""; 0]);
        assert_eq!(timers.expire(at(5)), ["a"]);
        assert_eq!(timers.expire(at(19_999)), [""; 0]);
        assert_eq!(timers.expire(at(20_000)), ["b", "c"]);
        assert_eq!(timers.expire(at(20_000)), [""; 0]);
        assert_eq!(timers.expire(at(365 * 24 * 3_600_000)), ["year"]);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_deadline_moves_both_ways_and_can_be_cancelled() {
        let mut timers = Timers::default();
        timers.arm("later", at(10));
        timers.arm("later", at(1000));
        timers.arm("sooner", at(1000));
        timers.arm("sooner", at(10));
        timers.arm("never", at(10));
        timers.cancel(&"never");
        assert_eq!(timers.expire(at(999)), ["sooner"]);
        assert_eq!(timers.expire(at(1000)), ["later"]);
    }

    #[test]
    fn what_is_too_far_to_write_never_comes_and_a_clock_that_jumps_back_ends_nothing() {
        let mut timers = Timers::default();
        timers.arm("never", Timestamp::from_millis(u64::MAX));
        timers.arm("soon", at(10));
        assert_eq!(timers.expire(Timestamp::from_millis(5)), [""; 0]);
        assert_eq!(timers.expire(at(10)), ["soon"]);
        assert_eq!(timers.expire(at(SPAN_MS)), [""; 0]);
    }

    #[test]
    fn it_agrees_with_a_sorted_map_over_random_scripts() {
        let seed = 20_261_122_u64;
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut timers = Timers::default();
        let mut model: BTreeMap<u64, Timestamp> = BTreeMap::new();
        let mut now = 0;
        for step in 0..200_000 {
            let key = random(50);
            match random(4) {
                0 | 1 => {
                    let scale = 1 << random(22);
                    let deadline = at(now + random(scale));
                    timers.arm(key, deadline);
                    model.insert(key, deadline);
                }
                2 => {
                    timers.cancel(&key);
                    model.remove(&key);
                }
                _ => {
                    let scale = 1 << random(18);
                    now += random(scale);
                    let mut want: Vec<_> = model
                        .iter()
                        .filter(|&(_, &deadline)| deadline <= at(now))
                        .map(|(&key, &deadline)| (deadline, key))
                        .collect();
                    want.sort_unstable();
                    model.retain(|_, &mut deadline| deadline > at(now));
                    let want: Vec<_> = want.into_iter().map(|(_, key)| key).collect();
                    assert_eq!(timers.expire(at(now)), want, "seed {seed}, step {step}");
                }
            }
            let first = model.values().min().copied();
            assert!(
                first.is_none() || timers.next_deadline() <= first,
                "seed {seed}, step {step}: would sleep through a deadline"
            );
        }
    }
}
