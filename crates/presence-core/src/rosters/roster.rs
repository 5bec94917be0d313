//! Members of a topic, folded into people.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::window::{Kind, NameKey, name_key};
use crate::{Member, Person, SessionId, Span, Timestamp, UserId};

/// The people in one topic: keyed by session, listed by user, ordered by when the users joined.
#[derive(Debug, Default)]
pub(super) struct Roster {
    sessions: HashMap<SessionId, UserId>,
    people: HashMap<UserId, Arc<Person>>,
    order: BTreeSet<(Timestamp, UserId)>,
    /// Everyone by name, while somebody wants that order.
    names: Option<BTreeSet<NameKey>>,
    /// The approximate size of the list of everyone, in bytes.
    weight: usize,
}

/// The approximate size of one session in the list, in bytes.
fn weigh(member: &Member) -> usize {
    256 + member.meta.json().len()
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    /// The approximate size of the list of everyone, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    pub(super) fn person(&self, user: &UserId) -> Option<&Arc<Person>> {
        self.people.get(user)
    }

    /// The user of the session, if the session is here.
    pub(super) fn user_of(&self, session: SessionId) -> Option<&UserId> {
        self.sessions.get(&session)
    }

    /// What others are shown as the id of a session, if it is here.
    pub(super) fn alias_of(&self, session: SessionId) -> Option<SessionId> {
        let person = self.people.get(self.sessions.get(&session)?)?;
        let mut members = person.members.iter();
        Some(members.find(|it| it.session == session)?.alias)
    }

    /// How many people the order has. It is checked against the number of people.
    #[cfg(debug_assertions)]
    pub(super) fn order_len(&self) -> usize {
        self.order.len()
    }

    /// The sessions that are here, in no order.
    #[cfg(debug_assertions)]
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    /// Everyone, in the order they came.
    pub(super) fn people(&self) -> impl Iterator<Item = &Arc<Person>> {
        self.order.iter().map(|(_, user)| &self.people[user])
    }

    /// At most `rows` people of `span`, after its first `offset`. If the span is by name, everyone must be sorted
    /// by name: see [`index_names`](Self::index_names).
    pub(super) fn rows(&self, span: &Span, offset: usize, rows: usize) -> Vec<Arc<Person>> {
        match &span.0 {
            Kind::Joined { after } => {
                let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let found = self.order.range((from, Bound::Unbounded));
                let found = found.skip(offset).take(rows);
                found.map(|(_, user)| self.people[user].clone()).collect()
            }
            Kind::Named { prefix, from } => {
                let names = self.names.iter();
                let found =
                    names.flat_map(|it| it.range((Bound::Excluded(from), Bound::Unbounded)));
                let found = found.take_while(|(name, _)| name.starts_with(&**prefix));
                let found = found.filter_map(|(_, user)| self.people.get(user.as_ref()?));
                found.skip(offset).take(rows).cloned().collect()
            }
        }
    }

    /// Begins to keep everyone sorted by name. The first time it takes O(n log n).
    pub(super) fn index_names(&mut self) {
        if self.names.is_none() {
            let names = self.people.values().map(|it| name_key(it)).collect();
            self.names = Some(names);
        }
    }

    /// Stops keeping everyone sorted by name.
    pub(super) fn forget_names(&mut self) {
        self.names = None;
    }

    /// How many people are sorted by name; `None` while nobody is.
    pub(super) fn names_len(&self) -> Option<usize> {
        self.names.as_ref().map(BTreeSet::len)
    }

    /// The place of `user` among the names, while these are sorted.
    fn name_of(&self, user: &UserId) -> Option<NameKey> {
        self.names.as_ref()?;
        self.people.get(user).map(|it| name_key(it))
    }

    /// Notes that the place of `user` among the names was `before`, and may be another one now.
    fn rename(&mut self, user: &UserId, before: Option<NameKey>) {
        let after = self.name_of(user);
        if let Some(names) = &mut self.names
            && before != after
        {
            if let Some(before) = before {
                names.remove(&before);
            }
            names.extend(after);
        }
    }

    /// Adds or replaces the entry of one session.
    pub(super) fn put(&mut self, member: Arc<Member>) {
        let user = member.user.clone();
        let before = self.name_of(&user);
        self.put_entry(member);
        self.rename(&user, before);
    }

    fn put_entry(&mut self, member: Arc<Member>) {
        let user = member.user.clone();
        self.weight += weigh(&member);
        self.sessions.insert(member.session, user.clone());
        let Some(person) = self.people.get_mut(&user) else {
            let joined_at = member.joined_at;
            self.order.insert((joined_at, user.clone()));
            let person = Arc::new(Person {
                user: user.clone(),
                joined_at,
                members: vec![member],
            });
            self.people.insert(user, person);
            return;
        };
        let person = Arc::make_mut(person);
        if member.joined_at < person.joined_at {
            self.order.remove(&(person.joined_at, user.clone()));
            self.order.insert((member.joined_at, user));
            person.joined_at = member.joined_at;
        }
        let mut members = person.members.iter_mut();
        match members.find(|it| it.session == member.session) {
            Some(place) => {
                self.weight -= weigh(place);
                *place = member;
            }
            None => {
                let key = |it: &Member| (it.joined_at, it.alias);
                let index = person.members.partition_point(|it| key(it) < key(&member));
                person.members.insert(index, member);
            }
        }
    }

    /// Removes the entry of one session, and returns its user.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<UserId> {
        let user = self.sessions.remove(&session)?;
        let before = self.name_of(&user);
        let person = Arc::make_mut(self.people.get_mut(&user)?);
        let gone = person.members.iter().find(|it| it.session == session);
        self.weight -= gone.map_or(0, |it| weigh(it));
        person.members.retain(|it| it.session != session);
        if person.members.is_empty() {
            self.order.remove(&(person.joined_at, user.clone()));
            self.people.remove(&user);
        }
        self.rename(&user, before);
        Some(user)
    }
}
