//! A user who hides does so with their whole page: also on the channels on which nobody has a name, but each page counts.

use presence_core::{OwnView, UserId};
use presence_protocol::{Chosen, Field};

use super::Pusher;
use crate::request::StatusRequest;

/// What is known of whether the users of one connection hide.
#[derive(Debug, Default)]
pub(super) struct Hiding {
    /// Of those who have told, a few as a rule.
    known: Vec<(UserId, bool)>,
    /// Whether the authorized session without a name was told to hide.
    nobody: bool,
}

impl Pusher {
    /// An authorized session was told the truth about themselves.
    pub(super) fn note_own(&mut self, authorized: usize, own_view: &OwnView) {
        if self.nobody.as_ref() == Some(self.sessions[authorized].session().user()) {
            return;
        }
        let known = &mut self.hiding.known;
        known.retain(|(user, _)| *user != own_view.user);
        known.push((own_view.user.clone(), own_view.chosen.hides()));
        self.hide_with_them();
    }

    /// Has the authorized session without a name hide if one of the others does, and come out once none of them does any longer.
    pub(super) fn hide_with_them(&mut self) {
        let sessions = &self.sessions;
        let is_here = |user: &UserId| sessions.iter().any(|it| it.session().user() == user);
        self.hiding.known.retain(|(user, _)| is_here(user));
        let Some(nobody) = self.find_nobody() else {
            self.hiding.nobody = false;
            return;
        };
        let others = self.sessions.len() - 1;
        // It is not known yet whether a new user hides. Until it is, the connection is counted as before.
        if self.hiding.known.len() == others {
            self.let_hide(nobody, self.hiding.known.iter().any(|(_, hides)| *hides));
        }
    }

    /// The authorized session without a name has only just come, and was seen by nobody: it hides if one of the others might.
    pub(super) fn enter_with_them(&mut self, nobody: usize) {
        let others = self.sessions.len() - 1;
        let known = &self.hiding.known;
        let hides = known.len() < others || known.iter().any(|(_, hides)| *hides);
        self.hiding.nobody = false;
        self.let_hide(nobody, hides);
    }

    pub(super) fn find_nobody(&self) -> Option<usize> {
        self.find(self.nobody.as_ref()?)
    }

    fn let_hide(&mut self, nobody: usize, hides: bool) {
        if self.hiding.nobody == hides {
            return;
        }
        let status = match hides {
            true => Chosen::Invisible,
            false => Chosen::Online,
        };
        let request = StatusRequest {
            status: Field::Value(status),
            custom_message: Field::Absent,
            emoji: Field::Absent,
            clear_after: Field::Absent,
            expires_at: Field::Absent,
        };
        // Where the hub is busy, it is tried again with whatever comes next.
        if self.sessions[nobody].choose(request, None).is_ok() {
            self.hiding.nobody = hides;
        }
    }
}
