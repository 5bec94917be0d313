//! Those who are told, and what they make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use presence_core::rosters::Hearers;
use presence_core::{Change, Event, Person, SessionId, Topic, TopicVersion, UserId, Watching};

use super::copy::{Applied, Copy, Patch, Snapshot};

/// What one watcher knows of one topic.
pub(super) struct View {
    pub(super) watching: Watching,
    pub(super) picture: Picture,
    pub(super) typing: BTreeSet<UserId>,
    /// The cursors by the ids that others see. The ids of their sessions are known to this model only.
    pub(super) cursors: BTreeMap<SessionId, (SessionId, u64)>,
    /// Loses events now and then, as those do who read slowly.
    pub(super) lossy: bool,
    /// Has lost something, and has to ask again.
    pub(super) lost: bool,
    people: Copy<UserId, Arc<Person>>,
    /// The version, the count and the faces of the last summary.
    summarised: Option<(TopicVersion, usize, Vec<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Picture {
    /// Nothing was told yet.
    Blank,
    Listed,
    Summarised(usize),
}

impl View {
    pub(super) fn new(watching: Watching, lossy: bool) -> Self {
        View {
            watching,
            picture: Picture::Blank,
            typing: BTreeSet::new(),
            cursors: BTreeMap::new(),
            lossy,
            lost: false,
            people: Copy::default(),
            summarised: None,
        }
    }

    /// The state to catch up from.
    pub(super) fn have(&self) -> Option<TopicVersion> {
        match self.picture {
            Picture::Listed => self.people.clock(),
            Picture::Summarised(_) => self.summarised.as_ref().map(|it| it.0),
            Picture::Blank => None,
        }
    }

    /// Those whom the last summary showed.
    pub(super) fn faces(&self) -> &[String] {
        self.summarised.as_ref().map_or(&[], |it| &it.2)
    }

    /// Who is there, in the order they came.
    pub(super) fn people(&self) -> Vec<&Person> {
        let mut people: Vec<&Person> = self.people.iter().map(|it| &**it.1).collect();
        people.sort_by_key(|it| (it.joined_at, &it.user));
        people
    }

    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Everyone {
                clock,
                people,
                typing,
                cursors,
                ..
            } => {
                assert_ne!(self.watching, Watching::Summary);
                let entries = people.iter().map(|it| (it.user.clone(), it.clone()));
                let (clock, entries) = (*clock, entries.collect());
                self.people.restore(Snapshot { clock, entries });
                self.picture = Picture::Listed;
                self.lost = false;
                self.hear_doing(typing, cursors);
            }
            Event::Unchanged {
                clock,
                typing,
                cursors,
                ..
            } => {
                assert_eq!(self.people.clock(), Some(*clock), "not the same state");
                self.lost = false;
                self.hear_doing(typing, cursors);
            }
            Event::EpochStarted { clock, .. } => {
                assert!(self.lost || self.people().is_empty(), "somebody was there");
                let (clock, entries) = (*clock, Vec::new());
                self.people.restore(Snapshot { clock, entries });
            }
            Event::Changes {
                clock,
                changes,
                everyone,
                ..
            } => {
                self.hear_changes(*clock, changes);
                self.hear_everyone(*clock, everyone.as_deref());
            }
            Event::Summary {
                clock,
                count,
                sample,
                ..
            } => {
                assert!(sample.len() <= *count);
                let faces = sample.iter().map(|it| seen(it)).collect();
                let summary = (*clock, *count, faces);
                // A session drops the summary of a version that it has.
                if let Some(before) = self.summarised.replace(summary.clone())
                    && before.0 == *clock
                {
                    assert_eq!(before, summary, "one version names two states");
                }
                // It does not say who is typing: whoever lost something of that goes by the list that they ask for.
                self.picture = Picture::Summarised(*count);
            }
            Event::Typing {
                typing,
                started,
                stopped,
                ..
            } => {
                if started.is_empty() && stopped.is_empty() {
                    self.lost = false;
                }
                if !self.lost {
                    let known = &self.typing;
                    assert!(
                        started.iter().all(|it| !known.contains(it)),
                        "started twice"
                    );
                    assert!(stopped.iter().all(|it| known.contains(it)), "stopped twice");
                }
                self.typing = typing.iter().cloned().collect();
            }
            Event::Cursors {
                cursors,
                moves,
                gone,
                ..
            } => {
                assert!(!cursors.is_empty() || !gone.is_empty(), "tells nothing");
                let users: Vec<_> = cursors.iter().map(|it| &it.user).collect();
                let whose: Vec<_> = moves.iter().map(|it| &it.person.user).collect();
                assert_eq!(users, whose);
                assert!(moves.iter().all(|it| it.pointed && !it.selected));
                self.cursors.retain(|it, _| !gone.contains(it));
                self.point(cursors);
            }
            Event::Broadcast { .. } => {}
            Event::PublicView(_)
            | Event::OwnView(_)
            | Event::StoreAway { .. }
            | Event::Window { .. }
            | Event::WindowChanges { .. } => {
                panic!("not of a place: {event:?}")
            }
        }
    }

    fn hear_changes(&mut self, clock: TopicVersion, changes: &[Change]) {
        assert!(!changes.is_empty(), "tells nothing");
        if self.picture != Picture::Listed {
            assert!(self.lost, "changes of what was not listed");
            return;
        }
        let before: BTreeMap<_, _> = self
            .people
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let entries = changes.iter().map(|change| match change {
            Change::Joined(person) | Change::Updated { to: person, .. } => {
                (person.user.clone(), Some(person.clone()))
            }
            Change::Left { person, .. } => (person.user.clone(), None),
        });
        let changes_of = entries.collect();
        match self.people.apply(Patch {
            clock,
            changes: changes_of,
        }) {
            Applied::Gap => {
                assert!(self.lossy, "a gap for one who heard everything");
                self.lost = true;
            }
            Applied::Old => panic!("told twice"),
            Applied::Changed(_) => {
                for change in changes {
                    match change {
                        Change::Joined(it) => {
                            assert!(!before.contains_key(&it.user), "joined twice")
                        }
                        Change::Updated { from, to } => {
                            let before = before.get(&to.user).expect("updated who was not there");
                            assert_eq!(seen(before), seen(from), "from what was told");
                            assert_ne!(seen(before), seen(to), "nothing is new");
                        }
                        Change::Left { person, .. } => {
                            let before = before.get(&person.user).expect("left twice");
                            assert_eq!(seen(before), seen(person), "as was told");
                        }
                    }
                }
            }
        }
    }

    /// Whoever watches the whole is told what others make of the changes.
    fn hear_everyone(&mut self, clock: TopicVersion, everyone: Option<&[Arc<Person>]>) {
        assert!(everyone.is_some() || self.watching != Watching::Whole);
        if let Some(everyone) = everyone
            && self.people.clock() == Some(clock)
        {
            let everyone: Vec<_> = everyone.iter().map(|it| seen(it)).collect();
            let people: Vec<_> = self.people().into_iter().map(seen).collect();
            assert_eq!(everyone, people, "everyone is not who is there");
        }
    }

    fn hear_doing(&mut self, typing: &[UserId], cursors: &[presence_core::Cursor]) {
        self.typing = typing.iter().cloned().collect();
        self.cursors.clear();
        self.point(cursors);
    }

    fn point(&mut self, cursors: &[presence_core::Cursor]) {
        for cursor in cursors {
            let pointer = cursor.pointer.expect("nobody selects in this model");
            let what = (cursor.session, pointer.x as u64);
            self.cursors.insert(cursor.alias, what);
        }
    }
}

/// Everyone who watches a place.
#[derive(Default)]
pub(super) struct Watchers {
    pub(super) views: BTreeMap<(Topic, SessionId), View>,
}

impl Watchers {
    /// Has those hear `event` who are meant; `lose` says who is not reading just now.
    pub(super) fn tell(
        &mut self,
        topic: &Topic,
        to: &Hearers,
        event: &Event,
        mut lose: impl FnMut() -> bool,
    ) {
        for ((of, watcher), view) in &mut self.views {
            let is_meant = match to {
                Hearers::Full => view.watching != Watching::Summary,
                Hearers::Summary => view.watching == Watching::Summary,
                Hearers::FullBut(but) => view.watching != Watching::Summary && but != watcher,
                Hearers::AllBut(but) => !but.contains(watcher),
                Hearers::One(one) => one == watcher,
                Hearers::Window(..) => false,
            };
            if of != topic || !is_meant {
                continue;
            }
            if view.lossy && !matches!(to, Hearers::One(_)) && lose() {
                view.lost = true;
            } else {
                view.hear(event);
            }
        }
    }
}

/// All that can be seen of a person, as text.
pub(super) fn seen(person: &Person) -> String {
    let members = person.members.iter();
    let members = members.map(|it| (it.joined_at, it.session, it.device, &**it.meta.json()));
    let mut members: Vec<_> = members.collect();
    // Those that came at once are in the order of what they are called.
    members.sort();
    let look = (person.look().status, &person.look().message);
    format!("{} {look:?} {members:?}", person.user)
}
