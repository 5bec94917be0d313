//! What one watcher makes of what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use presence_core::{Change, Event, Look, Person, PublicView, TopicVersion, UserId, Visible};

/// What a watcher of a topic would draw.
#[derive(Default)]
pub(super) struct View {
    clock: Option<TopicVersion>,
    pub(super) people: BTreeMap<UserId, Arc<Person>>,
}

/// What one event did to a view.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Joined(UserId),
    Updated(UserId),
    Left(UserId),
}

impl View {
    /// Whether anything was told yet.
    pub(super) fn is_blank(&self) -> bool {
        self.clock.is_none()
    }

    pub(super) fn look(&self, user: &UserId) -> Option<&Look> {
        self.people.get(user).map(|it| it.look())
    }

    /// Applies `event`; the error says which promise it breaks.
    pub(super) fn hear(&mut self, event: &Event) -> Result<Vec<Step>, String> {
        match event {
            Event::Everyone { clock, people, .. } => {
                if self.clock.is_some() {
                    return Err("was told everything once more without having asked".to_owned());
                }
                self.clock = Some(*clock);
                let people = people.iter().map(|it| (it.user.clone(), it.clone()));
                self.people = people.collect();
                Ok(Vec::new())
            }
            Event::EpochStarted { clock, .. } => {
                if !self.people.is_empty() {
                    return Err("was told that nobody was there, and somebody was".to_owned());
                }
                self.clock = Some(*clock);
                Ok(Vec::new())
            }
            Event::Changes { clock, changes, .. } => {
                let Some(before) = self.clock.replace(*clock) else {
                    return Err("was told of changes before everything".to_owned());
                };
                if (before.epoch, before.version + 1) != (clock.epoch, clock.version) {
                    return Err(format!("was told {clock:?} after {before:?}"));
                }
                changes.iter().map(|it| self.change(it)).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    fn change(&mut self, change: &Change) -> Result<Step, String> {
        match change {
            Change::Joined(person) => {
                let user = person.user.clone();
                match self.people.insert(user.clone(), person.clone()) {
                    None => Ok(Step::Joined(user)),
                    Some(_) => Err(format!("was told twice that {user} came")),
                }
            }
            Change::Updated { to: person, .. } => {
                let user = person.user.clone();
                match self.people.insert(user.clone(), person.clone()) {
                    None => Err(format!("was told of a change of {user}, who is not there")),
                    Some(before) if seen(&before) == seen(person) => {
                        Err(format!("was told of a change of {user} that is none"))
                    }
                    Some(_) => Ok(Step::Updated(user)),
                }
            }
            Change::Left { person, .. } => {
                let user = &person.user;
                match self.people.remove(user) {
                    Some(_) => Ok(Step::Left(user.clone())),
                    None => Err(format!("was told twice that {user} left")),
                }
            }
        }
    }
}

/// All that can be seen of a person, as text.
fn seen(person: &Person) -> String {
    let members = person.members.iter();
    let members = members.map(|it| (it.joined_at, it.alias, it.device, &**it.meta.json()));
    let members: Vec<_> = members.collect();
    format!("{:?} {:?} {members:?}", person.joined_at, person.look())
}

/// What a watcher of a user was last told.
#[derive(Default)]
pub(super) struct PublicViewCheck {
    pub(super) public_view: Option<PublicView>,
}

impl PublicViewCheck {
    /// Takes in `public_view`; says whether the user came, left, or changed.
    pub(super) fn hear(
        &mut self,
        public_view: &PublicView,
        is_first: bool,
    ) -> Result<Option<Step>, String> {
        let user = public_view.user.clone();
        let before = self.public_view.replace(public_view.clone());
        // Each is all there is to know: one that is told to all may come before the first.
        let Some(before) = before.filter(|_| !is_first) else {
            return Ok(None);
        };
        if before.clock.epoch == public_view.clock.epoch {
            return Err(format!(
                "was told {user} {:?} after {:?}",
                public_view.clock, before.clock
            ));
        }
        let shown = |public_view: &PublicView| public_view.look.status != Visible::Offline;
        Ok(Some(match (shown(&before), shown(public_view)) {
            (false, true) => Step::Joined(user),
            (true, false) => Step::Left(user),
            _ => Step::Updated(user),
        }))
    }
}
