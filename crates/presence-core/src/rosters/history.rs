//! The last versions of a topic, for watchers who come back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, Timestamp, Timing};

/// The number of versions that are kept of one [`Timing::RATE_WINDOW`], at most.
const PER_WINDOW_MAX: usize = 50;
/// The number of missed changes up to which a watcher who comes back gets them one by one, even if the whole state is
/// smaller.
const CHANGES_AT_LEAST: usize = 256;

/// The last versions, each with the event that made it, which is an [`Event::Changes`].
#[derive(Debug, Default)]
pub(super) struct History {
    told: VecDeque<(Timestamp, Arc<Event>)>,
}

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn clear(&mut self) {
        // A topic that was busy once does not keep the room that it needed then.
        self.told = VecDeque::new();
    }

    /// Adds the newest version. Of the others the last `kept` stay, and those of the last `kept` windows.
    pub(super) fn add(&mut self, now: Timestamp, event: Arc<Event>, kept: usize) {
        self.told.push_back((now, event));
        let span = Timing::RATE_WINDOW.saturating_mul(u32::try_from(kept).unwrap_or(u32::MAX));
        let max = kept.saturating_mul(PER_WINDOW_MAX);
        while self.told.len() > kept
            && let Some((at, _)) = self.told.front()
            && (now.since(*at) >= span || self.told.len() > max)
        {
            self.told.pop_front();
        }
        if self.told.capacity() > 4 * self.told.len().max(kept) {
            self.told.shrink_to(2 * self.told.len());
        }
    }

    /// The last `behind` versions, if all of them are kept. More than the last `kept` are only worth it if they are not
    /// many more changes than the topic has `people`: otherwise the whole state is smaller.
    pub(super) fn last(
        &self,
        behind: usize,
        kept: usize,
        people: usize,
    ) -> Option<Vec<Arc<Event>>> {
        let first = self.told.len().checked_sub(behind)?;
        let last = || self.told.range(first..).map(|(_, event)| event);
        let changes = || last().map(|it| changes_of(it)).sum::<usize>();
        let is_worth_it = behind <= kept || changes() <= people.max(CHANGES_AT_LEAST);
        is_worth_it.then(|| last().cloned().collect())
    }
}

fn changes_of(event: &Event) -> usize {
    match event {
        Event::Changes { changes, .. } => changes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelId, Topic, TopicVersion};

    /// A history to which a version was added at each of these moments, with two kept.
    fn history(moments: impl IntoIterator<Item = u64>) -> History {
        let mut history = History::default();
        for (version, at) in moments.into_iter().enumerate() {
            let clock = TopicVersion {
                epoch: 1,
                version: version as u64,
            };
            let event = Arc::new(Event::Changes {
                topic: Topic::Channel(ChannelId::new("room:1").unwrap()),
                clock,
                changes: Vec::new(),
                everyone: None,
            });
            history.add(Timestamp::from_millis(at), event, 2);
        }
        history
    }

    #[test]
    fn the_last_ones_are_kept_however_old_they_are_and_all_of_the_last_windows() {
        assert_eq!(history([0, 10_000, 20_000]).told.len(), 2);
        assert_eq!(history([0, 30, 60, 99]).told.len(), 4);
        assert_eq!(history([0, 30, 60, 100]).told.len(), 3);
        assert_eq!(history([0, 30, 60, 100, 10_000]).told.len(), 2);
        assert_eq!(history((0..100_000).map(|_| 7)).told.len(), 100);
    }

    #[test]
    fn a_burst_does_not_leave_its_room_behind() {
        let burst = (0..100).map(|_| 7).chain((1..100).map(|it| it * 1000));
        assert!(history(burst).told.capacity() <= 8);
    }
}
