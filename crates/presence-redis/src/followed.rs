//! The subjects that this process follows, and how far it has seen each partition.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use presence_core::TopicVersion;
use presence_core::cluster::{PARTITIONS, Subject};
use presence_core::ports::Notice;
use tokio::time::Instant;

use crate::keys::{self, Keys};
use crate::notices::Notices;
use crate::record;

/// How long a server remembers which maps have changed. The script has the same number.
const KEPT: Duration = Duration::from_secs(60);
/// How long at least comparisons report a change again: the receiver of the report may have been unable to act on it.
const AGAIN: Duration = Duration::from_secs(5);
/// The time after which a server may have forgotten a change that this process has not seen.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(50);

/// The number of rounds in which every partition is compared once, also if nothing is followed there: every 30 s, so that a
/// gateway without clients sends few commands. That is less than [`LOOK_AFTER_MAX`], so the last look is still valid
/// when something is followed there.
const ROUNDS: usize = 15;

/// The subjects that this process follows, and what it has received about them.
pub(crate) struct Followed {
    keys: Keys,
    notices: Notices,
    /// The number of rounds of comparisons so far.
    rounds: AtomicUsize,
    partitions: Box<[Mutex<Partition>]>,
}

struct Partition {
    subjects: HashMap<Arc<str>, Entry>,
    look: CompareState,
}

struct Entry {
    name: Arc<str>,
    subject: Subject,
    /// Whether it is subscribed to. From then on the caller relies on its messages.
    is_heard: bool,
    /// The last version of the map that was received.
    heard: Option<TopicVersion>,
}

/// How far this process has seen a partition.
#[derive(Clone)]
pub(crate) struct CompareState {
    /// The random number that was drawn when the data of the partition began.
    birth: Option<u64>,
    /// The version up to which comparisons have reported all changes, and will not report them again.
    told: u64,
    /// The version up to which comparisons have reported all changes at least once, and since when.
    telling: Option<(u64, Instant)>,
    /// The greatest version that was seen of any map, with the name of that map. It must not disappear.
    newest: Option<(u64, Arc<str>)>,
    /// When the partition was last compared; at first, when this process began.
    at: Instant,
}

/// What a server says has changed in a partition.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The number that was drawn when the partition's data began; `None` if it has no data.
    pub(crate) birth: Option<u64>,
    /// The names and versions of changed maps, from [`CompareState::since`] on.
    pub(crate) names: Vec<(Arc<str>, u64)>,
}

impl CompareState {
    /// A look that has seen nothing yet.
    fn new(now: Instant) -> Self {
        CompareState {
            birth: None,
            told: 0,
            telling: None,
            newest: None,
            at: now,
        }
    }

    /// The version from which on to ask for changes.
    pub(crate) fn since(&self) -> u64 {
        self.told
    }

    /// Notes the birth number of the partition. Returns whether it was another one before, so that data was lost.
    fn enter(&mut self, birth: u64) -> bool {
        let is_lost = self.birth.is_some_and(|before| before != birth);
        if is_lost {
            *self = CompareState::new(self.at);
        }
        self.birth = Some(birth);
        is_lost
    }

    /// Notes that all changes up to `version` were reported.
    fn tell(&mut self, version: u64, now: Instant) {
        match self.telling {
            Some((_, since)) if now - since < AGAIN => {}
            Some((before, _)) => {
                self.told = before;
                self.telling = Some((version, now));
            }
            None => self.telling = Some((version, now)),
        }
    }

    fn saw(&mut self, version: u64, name: &Arc<str>) {
        if self
            .newest
            .as_ref()
            .is_none_or(|(newest, _)| *newest < version)
        {
            self.newest = Some((version, Arc::clone(name)));
        }
    }

    /// Whether `changed`, the answer to a question with this look, shows that data is missing that was there.
    fn is_lost_in(&self, changed: &Changed) -> bool {
        if self.birth.is_some() && self.birth != changed.birth {
            return true;
        }
        let Some((version, name)) = &self.newest else {
            return false;
        };
        let versions = changed.names.iter().map(|(_, version)| *version);
        let Some(newest) = versions.max() else {
            return true;
        };
        let is_there = |(other, at): &(Arc<str>, u64)| other == name && at >= version;
        // What is old enough may have been dropped for its age.
        let is_kept = version.saturating_add(KEPT.as_micros() as u64) >= newest;
        is_kept && !changed.names.iter().any(is_there)
    }
}

/// What to report about a map that has changed.
enum Report {
    Nothing,
    At(Notice),
    /// The server has to be asked for its version.
    Ask(Subject),
}

impl Partition {
    /// What to report about `name`, which is at `version`.
    fn report(&self, name: &str, version: u64) -> Report {
        let Some(entry) = self.subjects.get(name) else {
            return Report::Nothing;
        };
        let subject = entry.subject.clone();
        match entry.heard {
            // Meanwhile it has changed again: that will be in the next answer.
            Some(heard) if heard.version > version => Report::Nothing,
            _ if record::is_empty_at(version) => Report::At(Notice::At(subject, None)),
            Some(heard) if heard.version == version => Report::At(Notice::At(subject, Some(heard))),
            _ => Report::Ask(subject),
        }
    }
}

impl Followed {
    pub(crate) fn new(keys: Keys) -> Self {
        let now = Instant::now();
        let partition = |_| {
            Mutex::new(Partition {
                subjects: HashMap::new(),
                look: CompareState::new(now),
            })
        };
        Followed {
            keys,
            notices: Notices::default(),
            rounds: AtomicUsize::new(0),
            partitions: (0..PARTITIONS).map(partition).collect(),
        }
    }

    /// The queue of notices that have not been taken yet.
    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Begins to follow, unless it is followed.
    pub(crate) fn insert(&self, subject: &Subject) {
        let mut partition = self.partition(subject.partition());
        let name: Arc<str> = keys::name_of(subject).into();
        partition
            .subjects
            .entry(Arc::clone(&name))
            .or_insert_with(|| Entry {
                name,
                subject: subject.clone(),
                is_heard: false,
                heard: None,
            });
    }

    /// Notes that `name` is subscribed to.
    pub(crate) fn hears(&self, number: u16, name: &str) {
        if let Some(entry) = self.partition(number).subjects.get_mut(name) {
            entry.is_heard = true;
        }
    }

    /// Stops following `subject` if it could not be subscribed to.
    pub(crate) fn give_up(&self, subject: &Subject) {
        let name = keys::name_of(subject);
        let mut partition = self.partition(subject.partition());
        if partition
            .subjects
            .get(&*name)
            .is_some_and(|it| !it.is_heard)
        {
            partition.subjects.remove(&*name);
        }
    }

    /// Stops following `subject`. Returns whether it was followed.
    pub(crate) fn remove(&self, subject: &Subject) -> bool {
        let name = keys::name_of(subject);
        self.partition(subject.partition())
            .subjects
            .remove(&*name)
            .is_some()
    }

    /// Whether `name` is followed.
    pub(crate) fn has(&self, partition: u16, name: &str) -> bool {
        self.partition(partition).subjects.contains_key(name)
    }

    /// The names of all subjects that are followed in `partition`.
    pub(crate) fn names(&self, partition: u16) -> Vec<Arc<str>> {
        self.partition(partition).subjects.keys().cloned().collect()
    }

    /// Takes a message that was received on `channel`.
    pub(crate) fn told(&self, channel: &str, message: Bytes) {
        let Some((number, name)) = self.keys.name_on(channel) else {
            return;
        };
        let mut partition = self.partition(number);
        let Partition { subjects, look } = &mut *partition;
        // What is not followed any longer may be told for some time.
        let Some(entry) = subjects.get_mut(name) else {
            return;
        };
        let subject = entry.subject.clone();
        if let Some(clock) = record::patched_clock(&message) {
            entry.heard = Some(clock);
            look.saw(clock.version, &entry.name);
        }
        drop(partition);
        self.notices.told(number, subject, message);
    }

    /// Notes that the map of `subject` was read at `clock`.
    pub(crate) fn saw(&self, subject: &Subject, clock: TopicVersion) {
        let mut partition = self.partition(subject.partition());
        if let Some(entry) = partition.subjects.get_mut(&*keys::name_of(subject))
            && entry
                .heard
                .is_none_or(|heard| heard.version < clock.version)
        {
            entry.heard = Some(clock);
        }
    }

    /// Notes that maps were written at these versions (0 if nothing changed), and the birth number of the partition
    /// at that time.
    pub(crate) fn wrote<'a>(
        &self,
        number: u16,
        birth: u64,
        names: impl Iterator<Item = (&'a str, u64)>,
    ) {
        let mut partition = self.partition(number);
        let is_lost = partition.look.enter(birth);
        if let Some((name, version)) = names.max_by_key(|(_, version)| *version)
            && version > 0
        {
            partition.look.saw(version, &name.into());
        }
        drop(partition);
        if is_lost {
            self.notices.forget(number);
        }
    }

    /// Notes that messages of partition `number` may have been lost.
    pub(crate) fn missed(&self, number: u16) {
        let is_relied_on = self
            .partition(number)
            .subjects
            .values()
            .any(|it| it.is_heard);
        if is_relied_on {
            self.notices.forget(number);
        }
    }

    /// The partitions to compare in the next round: those in which something is followed, and some of the others.
    pub(crate) fn due(&self) -> impl Iterator<Item = u16> {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let is_next = move |number: u16| (usize::from(number) + round).is_multiple_of(ROUNDS);
        // The channel of a node has no map that could change.
        let is_followed = |number| {
            let partition = self.partition(number);
            let mut subjects = partition.subjects.values();
            subjects.any(|it| !matches!(it.subject, Subject::Node(_)))
        };
        (0..PARTITIONS).filter(move |&number| is_next(number) || is_followed(number))
    }

    /// How far partition `number` has been seen.
    pub(crate) fn look(&self, number: u16) -> CompareState {
        self.partition(number).look.clone()
    }

    /// Takes the answer of a server to the question with `asked`: what has `changed` in partition `number`. Returns the
    /// subjects whose version the server has to be asked for.
    pub(crate) fn compared(
        &self,
        number: u16,
        asked: &CompareState,
        changed: &Changed,
    ) -> Vec<Subject> {
        let now = Instant::now();
        let newest = changed.names.iter().max_by_key(|(_, version)| *version);
        let is_new = |version: u64| asked.telling.is_none_or(|(told, _)| told < version);
        let is_late =
            now - asked.at > LOOK_AFTER_MAX && newest.is_some_and(|(_, version)| is_new(*version));
        let is_lost = asked.is_lost_in(changed);
        let mut partition = self.partition(number);
        if is_lost {
            partition.look = CompareState::new(now);
        }
        let look = &mut partition.look;
        look.birth = changed.birth;
        look.at = now;
        if let Some((name, version)) = newest {
            look.saw(*version, name);
            look.tell(*version, now);
        }
        if is_lost || is_late {
            // Until then what was heard is of a past that is gone.
            partition
                .subjects
                .values_mut()
                .for_each(|it| it.heard = None);
            // Where nothing is followed nobody relies on what was heard.
            let is_relied_on = !partition.subjects.is_empty();
            drop(partition);
            if is_relied_on {
                self.notices.forget(number);
            }
            return Vec::new();
        }
        let mut unknown = Vec::new();
        for (name, version) in &changed.names {
            match partition.report(name, *version) {
                _ if *version <= asked.told => {}
                Report::Nothing => {}
                Report::At(notice) => self.notices.say(number, notice),
                Report::Ask(subject) => unknown.push(subject),
            }
        }
        unknown
    }

    fn partition(&self, number: u16) -> MutexGuard<'_, Partition> {
        self.partitions[usize::from(number)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use presence_core::UserId;

    use super::*;
    use crate::record::encode_ephemerals;

    const S: u64 = 1_000_000;
    const T: u64 = 1_700_000_000 * S;

    #[tokio::test(start_paused = true)]
    async fn what_has_changed_is_told_for_some_seconds_and_then_no_more() {
        let followed = followed();
        for pause in [0, 2, 2, 2] {
            tokio::time::advance(Duration::from_secs(pause)).await;
            compare(&followed, &[("user:user-375", T + 2)]);
        }
        // The first comparison has begun five seconds, the third fixed what is not told again.
        let told = std::iter::from_fn(|| said(&followed)).count();
        assert_eq!(told, 4);
        tokio::time::advance(Duration::from_secs(6)).await;
        compare(&followed, &[("user:user-375", T + 2)]);
        compare(&followed, &[("user:user-375", T + 2)]);
        assert_eq!(said(&followed), None);
        compare(&followed, &[("user:user-375", T + 4)]);
        assert!(matches!(said(&followed), Some(Notice::At(..))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_was_seen_and_is_gone_is_a_loss() {
        for seen in ["told", "written", "compared"] {
            let followed = followed();
            compare(&followed, &[("user:user-375", T)]);
            match seen {
                "told" => followed.told("presence:{7}:user:user-375", patch(T + 2)),
                "written" => followed.wrote(7, 1, [("user:user-375", T + 2)].into_iter()),
                _ => compare(&followed, &[("user:user-375", T + 2)]),
            }
            while said(&followed).is_some() {}
            compare(&followed, &[("user:user-375", T), ("user:other", T + 4)]);
            assert_eq!(said(&followed), Some(Notice::Forgot(7)), "{seen}");
            compare(&followed, &[("user:user-375", T), ("user:other", T + 4)]);
            assert!(!matches!(said(&followed), Some(Notice::Forgot(_))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_changed_again_or_is_long_ago_is_no_loss() {
        let followed = followed();
        compare(&followed, &[("user:user-375", T)]);
        compare(&followed, &[("user:user-375", T + 2)]);
        compare(&followed, &[("user:other", T + 61 * S)]);
        while let Some(said) = said(&followed) {
            assert!(matches!(said, Notice::At(..)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_began_anew_or_are_gone_are_a_loss_once() {
        let followed = followed();
        compare(&followed, &[]);
        for birth in [Some(2), None] {
            let changed = Changed {
                birth,
                names: vec![],
            };
            for _ in 0..2 {
                followed.compared(7, &followed.look(7), &changed);
            }
            assert_eq!(said(&followed), Some(Notice::Forgot(7)));
            assert_eq!(said(&followed), None);
        }
        followed.wrote(7, 3, [].into_iter());
        assert_eq!(said(&followed), None);
        followed.wrote(7, 4, [].into_iter());
        assert_eq!(said(&followed), Some(Notice::Forgot(7)));
    }

    #[test]
    fn partitions_in_which_nothing_is_followed_are_compared_in_turn() {
        let followed = followed();
        let mut compared = vec![0; usize::from(PARTITIONS)];
        for _ in 0..ROUNDS {
            let due: Vec<u16> = followed.due().collect();
            assert!(due.len() <= usize::from(PARTITIONS).div_ceil(ROUNDS) + 1);
            due.iter().for_each(|it| compared[usize::from(*it)] += 1);
        }
        assert_eq!(compared[7], ROUNDS);
        compared[7] = 1;
        assert!(compared.iter().all(|it| *it == 1), "{compared:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_where_nothing_is_followed_troubles_nobody() {
        let followed = followed();
        compare(&followed, &[]);
        followed.remove(&user());
        let lost = Changed {
            birth: Some(2),
            names: vec![],
        };
        followed.compared(7, &followed.look(7), &lost);
        assert_eq!(said(&followed), None);
        // And whoever follows something there later begins with what is there now.
        followed.insert(&user());
        followed.compared(7, &followed.look(7), &lost);
        assert_eq!(said(&followed), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_looked_for_too_long_compares_everything() {
        let followed = followed();
        compare(&followed, &[("user:other", T)]);
        tokio::time::advance(Duration::from_secs(51)).await;
        compare(&followed, &[("user:other", T)]);
        assert_eq!(said(&followed), None);
        tokio::time::advance(Duration::from_secs(51)).await;
        compare(&followed, &[("user:other", T + 51 * S)]);
        assert_eq!(said(&followed), Some(Notice::Forgot(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_is_told_without_asking_and_what_was_not_is_asked() {
        let followed = followed();
        followed.told("presence:{7}:user:user-375", patch(T));
        said(&followed);
        let clock = TopicVersion {
            epoch: 9,
            version: T,
        };
        compare(&followed, &[("user:user-375", T)]);
        assert_eq!(said(&followed), Some(Notice::At(user(), Some(clock))));
        let names = vec![("user:user-375".into(), T + 2)];
        let changed = Changed {
            birth: Some(1),
            names,
        };
        let unknown = followed.compared(7, &followed.look(7), &changed);
        assert_eq!((unknown, said(&followed)), (vec![user()], None));
        compare(&followed, &[("user:user-375", T + 3)]);
        assert_eq!(said(&followed), Some(Notice::At(user(), None)));
    }

    #[test]
    fn what_is_not_followed_is_not_heard() {
        let followed = followed();
        let ephemeral = Bytes::from(encode_ephemerals(&[]));
        followed.told("presence:{7}:user:other", ephemeral.clone());
        followed.told("elsewhere", ephemeral.clone());
        assert_eq!(said(&followed), None);
        followed.told("presence:{7}:user:user-375", ephemeral);
        assert!(said(&followed).is_some());
        assert!(followed.remove(&user()) && !followed.remove(&user()));
    }

    #[test]
    fn what_could_not_be_subscribed_to_is_not_missed() {
        let followed = Followed::new(Keys::new("presence"));
        followed.insert(&user());
        followed.missed(7);
        assert_eq!(said(&followed), None);
        followed.hears(7, "user:user-375");
        followed.insert(&user());
        followed.give_up(&user());
        assert!(followed.has(7, "user:user-375"));
        followed.missed(7);
        assert_eq!(said(&followed), Some(Notice::Forgot(7)));
    }

    /// Follows one user, in partition 7.
    fn followed() -> Followed {
        let followed = Followed::new(Keys::new("presence"));
        followed.insert(&user());
        followed.hears(7, "user:user-375");
        followed
    }

    fn user() -> Subject {
        Subject::User(UserId::new("user-375").unwrap())
    }

    /// A comparison that finds `names` at these versions; what must be asked is answered.
    fn compare(followed: &Followed, names: &[(&str, u64)]) {
        let look = followed.look(7);
        let is_asked = |it: &&(&str, u64)| it.1 >= look.since();
        let names = names.iter().filter(is_asked);
        let changed = Changed {
            birth: Some(1),
            names: names.map(|(name, at)| ((*name).into(), *at)).collect(),
        };
        for subject in followed.compared(7, &look, &changed) {
            followed.notices().say(7, Notice::At(subject, None));
        }
    }

    fn patch(version: u64) -> Bytes {
        let mut bytes = b"P\x01\0\0\0\x09\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.into()
    }

    fn said(followed: &Followed) -> Option<Notice> {
        use futures_util::FutureExt;
        followed.notices().next().now_or_never()
    }
}
