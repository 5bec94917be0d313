//! Users whose profile is being read, and inputs that wait for it.

use super::effect::{Effect, refuse};
use super::input::Input;
use super::shared::{Asked, Shared};
use super::user::{Entrance, LookedUp, Recorder, User};
use super::{Standstill, Users};
use crate::cluster::Subject;
use crate::history::Cause;
use crate::{Chosen, Profile, Refusal, Timestamp, UserId};

#[derive(Debug)]
pub(super) enum Slot<A> {
    /// The profile is being read. Inputs wait for it, so that a user who hides is not shown.
    Loading(Box<Loading<A>>),
    Known(Box<User>),
}

impl<A> Slot<A> {
    /// Whether the state may change when other nodes have caught up with the store.
    pub(super) fn awaits_others(&self) -> bool {
        match self {
            Slot::Known(user) => user.awaits_others(),
            Slot::Loading(_) => false,
        }
    }
}

/// What is known of the stored profile when the inputs that waited for it are applied.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The stored profile was read.
    Found(Profile),
    /// The store has no profile of the user.
    Absent,
    /// The stored profile was not read: the shared store has the profile, or the stored one cannot be read at present.
    Unread,
}

impl Loaded {
    fn of(profile: Option<Profile>) -> Self {
        profile.map_or(Loaded::Absent, Loaded::Found)
    }

    fn found(self) -> Option<Profile> {
        match self {
            Loaded::Found(profile) => Some(profile),
            Loaded::Absent | Loaded::Unread => None,
        }
    }
}

/// An input that waits until something is read.
#[derive(Debug)]
pub(super) struct HeldInput<A> {
    pub(super) since: Timestamp,
    pub(super) input: Input<A>,
}

#[derive(Debug)]
pub(super) struct Loading<A> {
    pub(super) waiting: Vec<HeldInput<A>>,
    pub(super) shared: Option<Box<Shared>>,
    /// Whether the stored profile cannot be understood. Requests that cannot wait are refused then.
    pub(super) is_unreadable: bool,
    /// Whether nobody but watchers has asked so far.
    pub(super) is_for_watchers: bool,
}

impl<A> Loading<A> {
    /// Whether the last status that was chosen meanwhile hides the user.
    fn ends_hidden(&self) -> bool {
        let chosen = self.waiting.iter().rev().find_map(|it| match &it.input {
            Input::Chose { change, .. } => change.chosen,
            _ => None,
        });
        chosen.is_some_and(Chosen::hides)
    }

    /// Refuses the requests that wait for an answer. Inputs that may wait longer go on waiting.
    pub(super) fn refuse_waiting(&mut self, out: &mut Vec<Effect<A>>) {
        self.is_unreadable = true;
        for held in std::mem::take(&mut self.waiting) {
            match held.input.can_wait() {
                true => self.waiting.push(held),
                false => refuse(held.input.reply_to(), Refusal::Unavailable, out),
            }
        }
    }

    /// Whether the shared store has not answered yet.
    pub(super) fn is_reading(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| it.replica.is_reading())
    }
}

impl<A> Users<A> {
    /// Applies `input`, which came at `since`, or has it wait until the profile or the map of the user is read.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        user: &UserId,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        match self.users.get_mut(user) {
            Some(Slot::Known(_)) => match self.postponed.get_mut(user) {
                Some(held) if input.is_held() => {
                    if held.len() < self.limits.waiting_max || input.ends() {
                        held.push(HeldInput { since, input });
                    } else {
                        refuse(input.reply_to(), Refusal::Unavailable, out);
                    }
                }
                _ => self.happen(now, since, user, input, out),
            },
            Some(Slot::Loading(_)) => self.take_while_loading(now, since, user, input, out),
            None => self.introduce(now, since, user, input, out),
        }
    }

    /// Applies an input about a user whose profile is being read.
    fn take_while_loading(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        user: &UserId,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Loading(loading)) = self.users.get_mut(user) else {
            return;
        };
        match (input, &self.membership) {
            // This answer is to an earlier load. The shared store is still being read, and comes first.
            (Input::Loaded { .. } | Input::Unread | Input::Unreadable, Some(_))
                if loading.is_reading() => {}
            (Input::Loaded { profile }, _) => self.meet(now, user, Loaded::of(profile), out),
            // A node that is alone lets them wait until it is known whether they hide: no other node shows them.
            (Input::Unread, None) => {}
            (Input::Unreadable, None) => loading.refuse_waiting(out),
            (Input::Unread | Input::Unreadable, Some(_)) => {
                self.meet(now, user, Loaded::Unread, out);
            }
            (Input::Stored(reply), Some(membership)) => {
                let Some(shared) = &mut loading.shared else {
                    return;
                };
                match shared.prepare(now, reply, membership) {
                    Asked::Waiting => {}
                    Asked::Known if shared.has_read() && !loading.is_for_watchers => {
                        self.meet(now, user, Loaded::Unread, out);
                    }
                    Asked::Known | Asked::Away => out.push(loading.load()),
                }
            }
            (input, None) if loading.is_unreadable && !input.can_wait() => {
                refuse(input.reply_to(), Refusal::Unavailable, out);
            }
            (input, _) if loading.waiting.len() < self.limits.waiting_max || input.ends() => {
                match loading.wait(HeldInput { since, input }) {
                    Some(Effect::Load) if loading.has_read() => {
                        self.meet(now, user, Loaded::Unread, out);
                    }
                    load => out.extend(load),
                }
            }
            (input, _) => refuse(input.reply_to(), Refusal::Unavailable, out),
        }
    }

    /// Applies the first input about a user: reads the profile.
    fn introduce(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        user: &UserId,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        if !input.introduces(self.membership.is_some()) {
            return refuse(input.reply_to(), Refusal::NoSession, out);
        }
        let is_for_watchers = input.is_of_watcher();
        let mut shared = None;
        if let Some(membership) = &self.membership {
            let subject = Subject::User(user.clone());
            let mut requests = Vec::new();
            let shared: &mut Shared = shared.get_or_insert_with(Box::default);
            shared.store_ahead_ms = self.store_ahead_ms;
            let is_late = |it: &Standstill| now <= it.reads_late_until();
            if let Some(standstill) = self.standstill.filter(is_late) {
                shared.stood_still(standstill, 0, true);
            }
            let replica = &mut shared.replica;
            replica.follow(true, &subject, membership, &mut requests);
            out.extend(requests.into_iter().map(Effect::Ask));
        }
        let loading = Loading {
            waiting: vec![HeldInput { since, input }],
            shared,
            is_unreadable: false,
            is_for_watchers,
        };
        if !loading.is_reading() {
            out.push(loading.load());
        }
        let slot = Slot::Loading(Box::new(loading));
        self.users.insert(user.clone(), slot);
    }

    /// Applies the inputs that waited for the profile.
    pub(super) fn meet(
        &mut self,
        now: Timestamp,
        id: &UserId,
        loaded: Loaded,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Loading(loading)) = self.users.remove(id) else {
            return;
        };
        let comes_hidden = loading.ends_hidden();
        let mut shared = loading.shared;
        if let Some(shared) = &mut shared {
            shared.reads_late(now);
        }
        let read = shared.as_mut().and_then(|it| it.take_read());
        let looked_up = match (&loaded, &read) {
            (Loaded::Found(_) | Loaded::Absent, _) => LookedUp::Yes,
            (Loaded::Unread, Some(_)) => LookedUp::No,
            (Loaded::Unread, None) => LookedUp::Failed,
        };
        let (read, changes) = match read {
            // The node that changed the profile has not read the stored one (yet).
            Some((profile, true)) => {
                let changes = profile.as_changes_of_unread();
                out.push(Effect::Load);
                (Some(profile), Some(changes))
            }
            Some((profile, false)) => (Some(profile), None),
            None => (None, matches!(loaded, Loaded::Unread).then(Vec::new)),
        };
        let profile = match read.or(loaded.found()) {
            Some(profile) => profile,
            None if changes.is_some() => Profile::unread(id.clone()),
            None => Profile::new(id.clone()),
        };
        let mut user = User::new(now, profile, self.epochs.next());
        user.unread = changes;
        if self.records_history {
            user.recorder = Recorder::On(Cause::ProfileRead);
        }
        user.is_announced = self.announces_looks;
        user.shared = shared;
        user.meet_others(now, out);
        user.entrance = match comes_hidden && !user.is_shown() {
            true => Entrance::Hidden(looked_up),
            false => Entrance::Shown(looked_up),
        };
        self.users.insert(id.clone(), Slot::Known(Box::new(user)));
        for HeldInput { since, input } in loading.waiting {
            if let Some(Slot::Known(_)) = self.users.get(id) {
                self.happen(now, since, id, input, out);
            } else {
                // The input before removed the last reason to keep this user, so the user begins again.
                self.handle(now, id, input, out);
            }
        }
        if let Some(Slot::Known(user)) = self.users.get_mut(id) {
            user.entrance = Entrance::Over;
            self.reconcile(now, id, out);
        }
    }

    /// Applies the inputs that were held back: the map was read, or cannot be read.
    pub(super) fn go_on(&mut self, now: Timestamp, id: &UserId, out: &mut Vec<Effect<A>>) {
        let postponed = self.postponed.remove(id).unwrap_or_default();
        if let Some(Slot::Known(user)) = self.users.get_mut(id)
            && let Some(shared) = &mut user.shared
        {
            shared.reads_late(now);
        }
        for HeldInput { since, input } in postponed {
            self.take(now, since, id, input, out);
        }
    }
}
