//! The subscriptions of one connection.

use std::sync::Arc;

use presence_core::{Event, Topic, UserId};

use super::classes::{Identifier, Subject};

/// One subscription of a connection.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The beginning of each of its messages: `{"identifier":"…"`, byte for byte as the page sent it.
    pub(super) head: Box<str>,
    /// Its number on this connection. An answer to an earlier subscription of the same name does not match it.
    pub(super) ticket: u32,
    pub(super) wish: Identifier,
    pub(super) state: State,
    /// How often the page has asked without an answer.
    pub(super) asked: u8,
    /// Whether the page wants to know what it missed.
    pub(super) wants_history: bool,
    /// Whether the whole state was sent.
    pub(super) has_begun: bool,
    /// Whether it asks to be in its channel. The session is there as long as one subscription asks for it.
    pub(super) is_present: bool,
    /// The meta that was set through this subscription, as a JSON text.
    pub(super) meta: Option<Arc<str>>,
    /// The position of that meta among all that the connection has set; 0 if none was set.
    pub(super) said: u32,
}

/// The progress of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The hub was too busy: it is tried again.
    Due,
    /// The hub was asked and has not answered yet.
    Asked,
    /// The subscription is confirmed.
    Confirmed,
}

/// All subscriptions of a connection. They are few as a rule, so they are kept in a list.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: Vec<Subscription>,
    tickets: u32,
    sayings: u32,
}

/// The beginning of each message of a subscription.
pub(super) fn head_of(identifier: &str) -> Box<str> {
    let identifier = serde_json::to_string(identifier).expect("a text can be written");
    format!("{{\"identifier\":{identifier}").into()
}

/// The identifier in the beginning of a message.
pub(super) fn identifier_of(head: &str) -> String {
    let quoted = head.strip_prefix("{\"identifier\":").unwrap_or_default();
    serde_json::from_str(quoted).expect("it was written so")
}

impl Subscriptions {
    /// The most subscriptions of one connection.
    pub(super) const MAX: usize = 200;

    /// Adds a subscription; `None` if that would be more than [`MAX`](Self::MAX).
    pub(super) fn add(&mut self, head: Box<str>, wish: Identifier) -> Option<&mut Subscription> {
        if self.all.len() >= Subscriptions::MAX {
            return None;
        }
        self.tickets = self.tickets.wrapping_add(1);
        self.all.push(Subscription {
            head,
            ticket: self.tickets,
            is_present: !wish.only_looks,
            wish,
            state: State::Due,
            asked: 1,
            wants_history: false,
            has_begun: false,
            meta: None,
            said: 0,
        });
        self.all.last_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.all.iter_mut()
    }

    pub(super) fn find(&mut self, head: &str) -> Option<&mut Subscription> {
        self.all.iter_mut().find(|it| *it.head == *head)
    }

    pub(super) fn of_ticket(&mut self, ticket: u32) -> Option<&mut Subscription> {
        self.all.iter_mut().find(|it| it.ticket == ticket)
    }

    pub(super) fn remove(&mut self, ticket: u32) -> Option<Subscription> {
        let at = self.all.iter().position(|it| it.ticket == ticket)?;
        let removed = self.all.remove(at);
        if self.all.is_empty() {
            self.all = Vec::new();
        }
        Some(removed)
    }

    /// The tickets of the subscriptions that the hub has yet to be asked for.
    pub(super) fn due(&self) -> Vec<u32> {
        let due = self.all.iter().filter(|it| it.state == State::Due);
        due.map(|it| it.ticket).collect()
    }

    /// Whether a subscription is about `subject`.
    pub(super) fn need(&self, subject: &Subject) -> bool {
        self.all.iter().any(|it| it.wish.subject == *subject)
    }

    /// Whether a subscription asks to be in `subject`.
    pub(super) fn are_in(&self, subject: &Subject) -> bool {
        self.present_in(subject).next().is_some()
    }

    /// The subscription whose meta is shown in `subject`: of those that ask to be there, the one that set a meta last.
    pub(super) fn speaker(&self, subject: &Subject) -> Option<&Subscription> {
        self.present_in(subject).max_by_key(|it| it.said)
    }

    fn present_in(&self, subject: &Subject) -> impl Iterator<Item = &Subscription> {
        let all = self.all.iter();
        all.filter(move |it| it.is_present && it.wish.subject == *subject)
    }

    /// Notes the meta that a subscription has set.
    pub(super) fn say(&mut self, ticket: u32, meta: Arc<str>) {
        self.sayings += 1;
        let said = self.sayings;
        if let Some(it) = self.of_ticket(ticket) {
            it.meta = Some(meta);
            it.said = said;
        }
    }

    /// Notes the meta that a subscription had set on an earlier connection.
    pub(super) fn said(&mut self, ticket: u32, meta: Option<Arc<str>>, said: u32) {
        self.sayings = self.sayings.max(said);
        if let Some(it) = self.of_ticket(ticket) {
            it.meta = meta;
            it.said = said;
        }
    }

    /// Whether a subscription is about that user.
    pub(super) fn need_user(&self, user: &UserId) -> bool {
        self.all.iter().any(|it| it.shows_user(user))
    }
}

impl Subscription {
    /// Whether `event` is about the subject of this subscription.
    pub(super) fn shows(&self, event: &Event) -> bool {
        match event {
            Event::Everyone { topic, .. }
            | Event::Unchanged { topic, .. }
            | Event::EpochStarted { topic, .. }
            | Event::Changes { topic, .. }
            | Event::Summary { topic, .. }
            | Event::Typing { topic, .. }
            | Event::Cursors { topic, .. }
            | Event::Broadcast { topic, .. } => match (&self.wish.subject, topic) {
                (Subject::Channel(it), Topic::Channel(channel)) => it == channel,
                (Subject::Workspace(it), Topic::Workspace(workspace)) => it == workspace,
                _ => false,
            },
            Event::PublicView(public_view) => self.shows_user(&public_view.user),
            Event::StoreAway { .. } | Event::Window { .. } | Event::WindowChanges { .. } => false,
            Event::OwnView(_) => matches!(self.wish.subject, Subject::Statuses(_)),
        }
    }

    fn shows_user(&self, user: &UserId) -> bool {
        match &self.wish.subject {
            Subject::Statuses(users) => users.binary_search(user).is_ok(),
            Subject::Channel(_) | Subject::Workspace(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_comes_back_as_it_was() {
        for identifier in [
            "{\"channel\":\"X\"}",
            "\u{2028}ü\\\"\n\t/",
            "{ \"a\" : 1.0 }",
        ] {
            assert_eq!(identifier_of(&head_of(identifier)), identifier);
        }
    }

    #[test]
    fn there_may_be_so_many_and_each_has_a_ticket_of_its_own() {
        let wish = || Identifier::of(r#"{"channel":"AppearanceChannel"}"#).unwrap();
        let mut all = Subscriptions::default();
        for n in 0..Subscriptions::MAX {
            assert!(all.add(head_of(&n.to_string()), wish()).is_some());
        }
        assert!(all.add(head_of("more"), wish()).is_none());
        let first = all.find(&head_of("0")).unwrap().ticket;
        all.remove(first).unwrap();
        let again = all.add(head_of("0"), wish()).unwrap().ticket;
        assert_ne!(first, again);
        assert!(all.of_ticket(first).is_none());
    }
}
