//! One user: the profile, the sessions, and what others were last shown.

use std::sync::Arc;

use super::session::{Connection, Session};
use super::shared::Shared;
use crate::cluster::SessionRecord;
use crate::epochs::Epochs;
use crate::history::Cause;
use crate::{
    DeviceKind, Look, Profile, Reason, SessionId, StatusChange, Timestamp, Timing, UserId, Visible,
};

#[derive(Debug)]
pub(super) struct User {
    pub(super) profile: Profile,
    /// The sessions on this node, in the order in which they came.
    pub(super) sessions: Vec<Session>,
    /// Sessions that ended since their timers were last looked after.
    pub(super) ended: Vec<(SessionId, Reason)>,
    pub(super) watchers: usize,
    /// Whether the profile is different from what was last saved.
    pub(super) unsaved: bool,
    /// What other nodes know of the user, where there are others.
    pub(super) shared: Option<Box<Shared>>,
    /// The changes of the status since the user came, each with its moment, if no store could say what the profile is. They
    /// are applied when it is read.
    pub(super) unread: Option<Vec<(StatusChange, Timestamp)>>,
    pub(super) entrance: Entrance,
    /// Whether the own view is different from the one that the owner was last told.
    pub(super) own_changed: bool,
    pub(super) recorder: Recorder,
    /// Whether each change of how others see the user is announced.
    pub(super) is_announced: bool,
    /// When the last session that ended was alive.
    pub(super) last_alive: Timestamp,
    /// What others were last shown.
    pub(super) look: Arc<Look>,
    pub(super) look_revision: u64,
    pub(super) kinds: Kinds,
    /// The last-seen time that others were last shown; `None` while they see the user as present.
    pub(super) last_seen: Option<Timestamp>,
    /// When the last-seen time was last noted.
    pub(super) seen_at: Timestamp,
    /// The source of the aliases of sessions, and of the epochs of views.
    pub(super) secrets: Epochs,
    pub(super) armed: Option<Timestamp>,
}

impl User {
    /// A user with `profile` and no session. `seed` is a random number that must not be told to anybody.
    pub(super) fn new(now: Timestamp, mut profile: Profile, seed: u64) -> Self {
        let unsaved = profile.expire(now);
        let (message, emoji) = profile.shown_words();
        let last_seen = profile.last_seen;
        User {
            profile,
            sessions: Vec::with_capacity(1),
            ended: Vec::new(),
            watchers: 0,
            unsaved,
            shared: None,
            unread: None,
            entrance: Entrance::default(),
            own_changed: false,
            recorder: Recorder::default(),
            is_announced: false,
            last_alive: now,
            look: Arc::new(Look {
                status: Visible::Offline,
                message,
                emoji,
            }),
            // A clock's reading, so that it is above what this user had on another node or before a restart.
            look_revision: now.as_millis(),
            kinds: Kinds::default(),
            last_seen,
            seen_at: now,
            secrets: Epochs::new(seed),
            armed: None,
        }
    }

    pub(super) fn id(&self) -> &UserId {
        &self.profile.user
    }

    /// Whether the shared store could not be read since the user came. They may be hiding, so they are not shown.
    pub(super) fn is_unsure(&self) -> bool {
        self.shared.as_ref().is_some_and(|it| it.is_unsure())
    }

    /// Whether anybody needs this user on this node.
    pub(super) fn is_needed(&self) -> bool {
        let is_shared = self.shared.as_ref().is_some_and(|it| it.is_needed());
        let is_to_learn = self.unread.as_ref().is_some_and(|it| !it.is_empty());
        !self.sessions.is_empty() || self.watchers > 0 || is_shared || is_to_learn
    }

    /// Whether anything may be different once other nodes have caught up with the store.
    pub(super) fn awaits_others(&self) -> bool {
        let is_missing = |it: &Shared| it.replica.has_missing();
        self.sessions.iter().any(Session::is_ending)
            || self.shared.as_deref().is_some_and(is_missing)
    }

    /// Whether the map of the user is not being read.
    pub(super) fn has_been_read(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| !it.replica.is_reading())
    }

    /// How many sessions the user has, on all nodes.
    pub(super) fn sessions_anywhere(&self) -> usize {
        self.sessions.len() + self.elsewhere().count()
    }

    /// The sessions that are on other nodes.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &Arc<SessionRecord>> {
        self.shared.iter().flat_map(|it| it.elsewhere())
    }

    /// The session whose live connection `by` is.
    pub(super) fn session(&mut self, by: Connection) -> Option<&mut Session> {
        let is_it = |it: &&mut Session| match it.by_service {
            // A service has no connection, so no older one either.
            true => it.id == by.session,
            false => it.connection() == by && it.is_live(),
        };
        self.sessions.iter_mut().find(is_it)
    }

    /// The live connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = Connection> {
        let live = |it: &&Session| it.is_live() && !it.by_service;
        self.sessions.iter().filter(live).map(Session::connection)
    }

    /// The deadline to arm the timer of the replica with, if that is another deadline than before.
    pub(super) fn copy_deadline_to_arm(&mut self) -> Option<Timestamp> {
        let shared = self.shared.as_mut()?;
        let deadline = shared.next_deadline()?;
        if shared.armed == Some(deadline) {
            return None;
        }
        shared.armed = Some(deadline);
        shared.armed
    }

    /// The deadline to arm the user's timer with, if that is another deadline than before.
    pub(super) fn deadline_to_arm(&mut self) -> Option<Timestamp> {
        let seen = self.is_shown().then_some(self.seen_at + Timing::SEEN_EVERY);
        let deadline = self.profile.next_expiry().into_iter().chain(seen).min()?;
        if self.armed == Some(deadline) {
            return None;
        }
        self.armed = Some(deadline);
        self.armed
    }
}

/// Whether a user, whose profile has just been read, may be shown yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Entrance {
    /// The inputs that waited for the profile have been applied.
    #[default]
    Over,
    /// The inputs are being applied, and what follows from each is shown.
    Shown(LookedUp),
    /// The inputs are being applied, and after the last one the user hides. Nothing is shown before that, so that
    /// nobody sees the user for a moment.
    Hidden(LookedUp),
}

impl Entrance {
    /// Whether the profile was read just now for questions about the user.
    pub(super) fn looked_up(self) -> LookedUp {
        match self {
            Entrance::Over => LookedUp::No,
            Entrance::Shown(looked_up) | Entrance::Hidden(looked_up) => looked_up,
        }
    }

    /// Whether nothing is shown yet.
    pub(super) fn is_hidden(self) -> bool {
        matches!(self, Entrance::Hidden(_))
    }
}

/// Whether the transitions of a user are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Recorder {
    #[default]
    Off,
    /// Transitions are recorded, with this cause.
    On(Cause),
}

/// Whether a user's profile was looked up for those who wait now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LookedUp {
    #[default]
    No,
    Yes,
    /// It could not be read.
    Failed,
}

/// A set of [`DeviceKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// The kinds that are in it.
    pub(super) fn iter(self) -> impl Iterator<Item = DeviceKind> {
        use DeviceKind::{Desktop, Mobile, Other, Web};
        let all = [Web, Mobile, Desktop, Other].into_iter();
        all.filter(move |&kind| self.0 & (1 << kind as u8) != 0)
    }
}

impl FromIterator<DeviceKind> for Kinds {
    fn from_iter<T: IntoIterator<Item = DeviceKind>>(kinds: T) -> Self {
        Kinds(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}
