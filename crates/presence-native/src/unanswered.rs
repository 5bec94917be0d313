//! What the commands of a connection were about, until the hub answers them.

use std::collections::BTreeMap;

use presence_hub::Reference;

/// The commands of a connection that the hub has not answered yet. A connection that waits for nothing has no memory
/// here; the hub's mailboxes and the rates of the connection bound how many there are.
#[derive(Debug)]
pub struct Unanswered<T> {
    next: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Default for Unanswered<T> {
    fn default() -> Self {
        Unanswered {
            next: 0,
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Unanswered<T> {
    /// A reference for the next command.
    pub fn reference(&mut self) -> Reference {
        self.next += 1;
        Reference(self.next)
    }

    /// Notes that the hub has taken the command with this reference, and will answer it.
    pub fn note(&mut self, reference: Reference, what: T) {
        self.waiting.insert(reference.0, what);
    }

    /// What the answered command was about.
    pub fn answered(&mut self, reference: Reference) -> Option<T> {
        self.waiting.remove(&reference.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_answered_once() {
        let mut unanswered = Unanswered::default();
        let [first, refused, second] = [0; 3].map(|_| unanswered.reference());
        unanswered.note(first, "first");
        unanswered.note(second, "second");
        assert_eq!(unanswered.answered(second), Some("second"));
        assert_eq!(unanswered.answered(second), None);
        assert_eq!(unanswered.answered(refused), None);
        assert_eq!(unanswered.answered(first), Some("first"));
        assert!(unanswered.waiting.is_empty());
    }
}
