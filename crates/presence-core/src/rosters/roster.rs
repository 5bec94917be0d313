//! Members of a topic, folded into people.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::{Member, Person, SessionId, Timestamp, UserId};

/// The people in one topic: keyed by session, listed by user, ordered by when the users joined.
#[derive(Debug, Default)]
pub(super) struct Roster {
    sessions: HashMap<SessionId, UserId>,
    people: HashMap<UserId, Arc<Person>>,
    order: BTreeSet<(Timestamp, UserId)>,
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

    /// Adds or replaces the entry of one session.
    pub(super) fn put(&mut self, member: Arc<Member>) {
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
        let person = Arc::make_mut(self.people.get_mut(&user)?);
        let gone = person.members.iter().find(|it| it.session == session);
        self.weight -= gone.map_or(0, |it| weigh(it));
        person.members.retain(|it| it.session != session);
        if person.members.is_empty() {
            self.order.remove(&(person.joined_at, user.clone()));
            self.people.remove(&user);
        }
        Some(user)
    }
}
