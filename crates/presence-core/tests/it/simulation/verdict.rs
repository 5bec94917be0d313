//! What has to be seen, stored and left at each moment, and whether it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use presence_core::cluster::{ProfileTask, Subject};
use presence_core::users::Activity;
use presence_core::{Chosen, Event as Told, Moments, Profile, Status, UserId, Visible};

use super::client::user_id;
use super::script::{TOPICS, USERS};
use super::truth::{PROFILE, SPOTS, Spot, Sure, possible};
use super::view::Step;
use super::world::{Broken, CONVERGENCE, HEALS_MS, SEEN_MS, World, log};

/// How long a node remembers what it has removed.
const REMEMBERED_MS: u64 = 20_000;
/// How much later than it is a watcher may hear something, without any fault.
const LAG_MS: u64 = 3_000;

impl World<'_> {
    pub(super) fn breaks(&mut self, invariant: &'static str, how: String) {
        log!(self, "BROKEN {invariant}: {how}");
        let (seconds, millis) = (self.now / 1000, self.now % 1000);
        let how = format!("at {seconds}.{millis:03}s {how}");
        self.broken.get_or_insert(Broken { invariant, how });
    }

    /// What may be a user's status. Nothing that a visitor said outlives their sessions, so it may be any of that.
    pub(super) fn possible(&self, user: usize) -> Vec<(Chosen, Option<String>)> {
        let said = &self.said[user];
        match user_id(user).is_anonymous() {
            true => said
                .iter()
                .map(|it| (it.chosen, it.message.clone()))
                .collect(),
            false => possible(said, self.now),
        }
    }

    /// Whether a user may be seen, as far as can be said.
    pub(super) fn shown(&self, user: usize) -> Sure {
        let possible = self.possible(user);
        let hides = possible.iter().filter(|(chosen, _)| chosen.hides());
        match hides.count() {
            0 => Sure::Yes,
            all if all == possible.len() => Sure::No,
            _ => Sure::Maybe,
        }
    }

    /// Something has happened to a user.
    pub(super) fn refresh(&mut self, user: usize, is_clean: bool, bound_ms: u64) {
        let shown = self.shown(user);
        for spot in 0..SPOTS {
            let here = self.clients.iter().filter(|it| it.user == user);
            let mut here = here.filter(|it| it.is_in(spot));
            let on = match here.next() {
                None => Sure::No,
                Some(_) => shown,
            };
            let was = self.spots[user][spot].on;
            // Whoever hides does so on purpose.
            let is_clean = is_clean || shown != Sure::Yes;
            self.spots[user][spot].become_(self.now, on, is_clean, bound_ms);
            if shown != Sure::Yes {
                self.spots[user][spot].unsettle();
            }
            if was != on {
                log!(self, "    {} in {spot}: {on:?}", USERS[user]);
            }
        }
    }

    /// What a watcher was told: is that so, or can they know no better?
    pub(super) fn judge(&mut self, node: usize, spot: usize, steps: Result<Vec<Step>, String>) {
        let steps = match steps {
            Ok(steps) => steps,
            Err(how) => {
                return self.breaks(
                    "I2 one transition, one event",
                    format!("a watcher on node {node} in {} {how}", spot_name(spot)),
                );
            }
        };
        for step in steps {
            let (Step::Left(user) | Step::Joined(user) | Step::Updated(user)) = &step;
            let index = USERS.iter().position(|it| *it == user.as_str()).unwrap();
            let it = self.spots[index][spot];
            match step {
                Step::Left(_) => self.judge_leave(node, index, spot, it),
                Step::Joined(_) => self.judge_join(node, index, spot),
                Step::Updated(_) => {}
            }
        }
    }

    fn judge_leave(&mut self, node: usize, user: usize, spot: usize, it: Spot) {
        let Some(since) = it.steady_since(self.now) else {
            return;
        };
        // Who began to watch while the store was away was not told of those on other nodes.
        let watch = match spot {
            PROFILE => PROFILE + user,
            room => room,
        };
        let began_at = self.began_at.get(&(node, watch));
        let is_new = began_at.is_some_and(|at| self.is_deaf_to(node, *at, *at));
        // A move while the store was away cannot be known of.
        let mut gaps = self.gaps[user].iter();
        let is_move = gaps.any(|(off, on)| self.is_unheard(*off, *on));
        // Who was gone before is told to have left late.
        let is_late = self.is_deaf_to(node, since, since);
        let is_excused = is_new || is_move || is_late || self.now < self.blurred_until;
        if since + LAG_MS <= self.now && !is_excused {
            let how = format!(
                "a watcher on node {node} is told that {} left {}, and they have been there since {}.{:03}s",
                USERS[user],
                spot_name(spot),
                since / 1000,
                since % 1000
            );
            self.breaks("I4 no flaps", how);
        }
    }

    /// Whether what happened in that time could not get to the store, or out of it, and may not be known yet.
    fn is_unheard(&self, from: u64, to: u64) -> bool {
        self.is_within(&self.faults, from, to)
    }

    /// Whether `node` could not hear what happened in that time, and may not know yet.
    fn is_deaf_to(&self, node: usize, from: u64, to: u64) -> bool {
        self.is_unheard(from, to) || self.is_within(&self.nodes[node].slept, from, to)
    }

    /// Whether that time overlaps with one of `spans`, and what began with that one has not healed. Spans that follow each
    /// other closely are one.
    fn is_within(&self, spans: &[(u64, u64)], from: u64, to: u64) -> bool {
        let overlaps = |(start, end): &&(u64, u64)| *start <= to + LAG_MS && *end + LAG_MS >= from;
        let heals = |(_, end): &(u64, u64)| {
            let mut end = *end;
            while let Some((_, later)) =
                spans.iter().find(|it| it.0 <= end + HEALS_MS && it.1 > end)
            {
                end = *later;
            }
            end + HEALS_MS
        };
        spans
            .iter()
            .filter(overlaps)
            .any(|it| self.now <= heals(it))
    }

    fn judge_join(&mut self, node: usize, user: usize, spot: usize) {
        // Hidden for so long, and everyone could know.
        let is_hidden = self.shown(user) == Sure::No;
        let said = &self.said[user];
        let since = said.iter().filter_map(|it| it.confirmed_at).max();
        let since = since.unwrap_or(0).max(self.calm_at);
        if is_hidden && since + SEEN_MS < self.now {
            let how = format!(
                "a watcher on node {node} is told that {} came to {}, and they hide",
                USERS[user],
                spot_name(spot)
            );
            self.breaks("I5 no leaks", how);
        }
    }

    /// Compares what everyone draws with what is true.
    pub(super) fn sample(&mut self) {
        if self.now < self.calm_at || self.is_over {
            self.wrong_since.clear();
            return;
        }
        let watched: Vec<(usize, usize)> = self.views.keys().copied().collect();
        for (node, spot) in watched {
            for user in 0..USERS.len() {
                let view = &self.views[&(node, spot)];
                let drawn = view.look(&user_id(user));
                let is_blank = view.is_blank();
                let look = drawn.map(|it| (it.status, it.message.clone()));
                self.compare_drawn(node, spot, spot, user, look, is_blank);
            }
        }
        let watched: Vec<(usize, usize)> = self.public_views.keys().copied().collect();
        for (node, user) in watched {
            let public_view = self.public_views[&(node, user)].public_view.as_ref();
            let is_blank = public_view.is_none();
            let look = public_view.filter(|it| it.look.status != Visible::Offline);
            let look = look.map(|it| (it.look.status, it.look.message.clone()));
            self.compare_drawn(node, PROFILE, PROFILE + user, user, look, is_blank);
        }
    }

    fn compare_drawn(
        &mut self,
        node: usize,
        spot: usize,
        watch: usize,
        user: usize,
        drawn: Option<(Visible, Option<Arc<str>>)>,
        is_blank: bool,
    ) {
        let it = self.spots[user][spot];
        let key = (node, watch, user);
        let is_wrong = match (it.on, &drawn) {
            _ if is_blank => Some("nothing yet".to_owned()),
            (Sure::Yes, None) => Some("as gone".to_owned()),
            (Sure::Yes, Some((status, message))) => {
                let possible = self.possible(user);
                let fits = |(chosen, words): &(Chosen, Option<String>)| {
                    words.as_deref() == message.as_deref() && self.fits(user, *chosen, *status)
                };
                (!possible.iter().any(fits)).then(|| format!("as {status:?} {message:?}"))
            }
            (Sure::No, Some((status, _))) if self.now > it.open_until => {
                Some(format!("as {status:?}"))
            }
            _ => None,
        };
        let Some(how) = is_wrong else {
            self.wrong_since.remove(&key);
            return;
        };
        let since = *self.wrong_since.entry(key).or_insert(self.now);
        if since + SEEN_MS < self.now {
            let truth = match it.on {
                Sure::Yes => format!("may be {:?}", self.possible(user)),
                _ => "are not there".to_owned(),
            };
            let invariant = match it.on {
                Sure::No => "I3 no ghosts",
                _ => CONVERGENCE,
            };
            let how = format!(
                "a watcher on node {node} still draws {} in {} {how}, and they {truth}",
                USERS[user],
                spot_name(spot)
            );
            self.breaks(invariant, how);
        }
    }

    /// Whether a status can be what others see of a choice. Who is active is not looked at that closely.
    fn fits(&self, user: usize, chosen: Chosen, status: Visible) -> bool {
        match chosen {
            Chosen::Online => {
                let its = self.clients.iter().filter(|it| it.user == user);
                let mut open = its.filter(|it| it.is_in(PROFILE));
                let is_settled = self.spots[user][PROFILE].open_until < self.now;
                let all_active = open.all(|it| it.activity == Activity::Active);
                status == Visible::Online
                    || (status == Visible::Away && !(all_active && is_settled))
            }
            Chosen::Away => status == Visible::Away,
            Chosen::Busy => status == Visible::Busy,
            Chosen::Invisible | Chosen::Offline => false,
        }
    }

    /// What a node answers who asks for a list is what its watchers draw.
    fn lists_are_as_drawn(&mut self) {
        let mut wrong = None;
        for ((node, spot), view) in &self.views {
            let Some(machine) = &self.nodes[*node].machine else {
                continue;
            };
            let mut listed = machine.list(&super::topic(*spot));
            listed.sort_unstable();
            let drawn: Vec<UserId> = view.people.keys().cloned().collect();
            if listed != drawn {
                let name = spot_name(*spot);
                wrong = Some(format!(
                    "node {node} lists {listed:?} in {name}, and draws {drawn:?}"
                ));
            }
        }
        if let Some(how) = wrong {
            self.breaks(CONVERGENCE, how);
        }
    }

    /// At the end: all nodes say the same, and what was confirmed is kept.
    pub(super) fn agree(&mut self) {
        self.lists_are_as_drawn();
        for (user, name) in USERS.iter().enumerate() {
            if user_id(user).is_anonymous() {
                continue;
            }
            let public_views: Vec<_> = self
                .public_views
                .iter()
                .filter(|(key, _)| key.1 == user)
                .collect();
            // Who was left by the others may hear of it late that somebody was seen there meanwhile, and nobody is told that.
            let all_sound = self.nodes.iter().all(|it| it.unsound_until == 0);
            let is_exact = self.faults.is_empty() && all_sound;
            let text = |public_view: &presence_core::PublicView| {
                let seen = public_view.last_seen.filter(|_| is_exact);
                format!("{:?} {seen:?} {:?}", public_view.look, public_view.devices)
            };
            let texts: BTreeSet<_> = public_views
                .iter()
                .filter_map(|(_, it)| it.public_view.as_ref().map(text))
                .collect();
            if texts.len() > 1 {
                let how = format!("watchers of {} draw {texts:?}", name);
                return self.breaks(CONVERGENCE, how);
            }
            let stored = self.store.read(&Subject::User(user_id(user)));
            let stored = stored
                .entries
                .iter()
                .find_map(|(_, _, record)| match record {
                    presence_core::cluster::Record::Profile(profile) => Some((**profile).clone()),
                    _ => None,
                });
            let kept = self.profiles.get(&user_id(user)).cloned();
            let newest = stored.into_iter().chain(kept);
            let newest = newest.max_by_key(|it| it.status.revision);
            let status = newest.as_ref().map(|it| it.status.clone());
            let Status {
                chosen, message, ..
            } = status.unwrap_or_default();
            let time = self.store.time(self.now);
            let ends_at = newest.as_ref().and_then(|it| it.status.expires_at);
            // What has ended is over for whoever asks, even if nobody has asked yet.
            let may_be_over = ends_at.is_some_and(|at| at <= time);
            let possible = self.possible(user);
            let is_kept = possible.iter().any(|(said, words)| {
                let has_come = *said == Chosen::Offline && chosen == Chosen::Online;
                let is_said = chosen == *said || has_come;
                is_said && words.as_deref() == message.as_deref() || may_be_over && words.is_none()
            });
            if !is_kept {
                let how = format!(
                    "the status of {} is kept as {chosen:?} {message:?}, and may be {possible:?}",
                    name
                );
                return self.breaks("I6 acknowledged is kept", how);
            }
        }
    }

    /// After everything has healed, the database has what the store has, and nothing waits.
    pub(super) fn everything_is_saved(&mut self) {
        if self.nodes.iter().all(|it| it.machine.is_none()) {
            return;
        }
        let waiting = self.store.waiting(self.now);
        if !waiting.is_empty() {
            let how = format!("{waiting:?} waits to be saved, and nobody saves it");
            return self.breaks("I6 acknowledged is kept", how);
        }
        for user in (0..USERS.len()).map(user_id) {
            let map = self.store.read(&Subject::User(user.clone()));
            let kept = self.profiles.get(&user);
            let is_kept = |profile: &Profile| {
                let moments = Moments::default();
                let saved = Profile {
                    moments,
                    ..profile.clone()
                };
                kept == Some(&saved)
            };
            let how = match ProfileTask::of(&map) {
                ProfileTask::Save(profile) if !user.is_anonymous() && !is_kept(&profile) => {
                    format!("{user} is kept as {kept:?}, and was last {profile:?}")
                }
                _ => continue,
            };
            return self.breaks("I6 acknowledged is kept", how);
        }
    }

    /// After everyone has gone, there is nothing left but profiles.
    pub(super) fn nothing_is_left(&mut self) {
        let mut left = Vec::new();
        // A node remembers for so long what it has removed, in case a server that takes over does not know of it.
        let is_forgotten = self.lost_at > 0
            && self.faults.iter().any(|(start, end)| {
                *start <= self.lost_at + REMEMBERED_MS
                    && self.lost_at + REMEMBERED_MS <= *end + HEALS_MS
            });
        if is_forgotten {
            return;
        }
        for (subject, map) in self.store.maps() {
            for (field, token) in map.entries() {
                let is_kept = matches!(
                    (subject, field),
                    (Subject::User(user), presence_core::cluster::Field::Profile) if !user.is_anonymous()
                );
                // Nobody may be left to remove what a visitor said, when their node has died.
                let is_orphaned =
                    field == presence_core::cluster::Field::Profile && !self.lapses.is_empty();
                if !is_kept && !is_orphaned {
                    left.push(format!("{subject}: {field:?} {token:?}"));
                }
            }
        }
        for (who, subject) in self.store.notes() {
            left.push(format!("the note that {who} has entries in {subject}"));
        }
        for (node, it) in self.nodes.iter().enumerate() {
            if let Some(machine) = &it.machine {
                let text = machine.users_text() + &machine.rosters_text();
                for empty in ["users: {}", "places: {}", "waiting: {}"] {
                    if !text.contains(empty) {
                        let at = text.find(empty.trim_end_matches("{}")).unwrap_or(0);
                        let what: String = text[at..].chars().take(300).collect();
                        left.push(format!("on node {node}: {what}"));
                    }
                }
            }
        }
        if !left.is_empty() {
            self.breaks("I7 bounded", format!("there is left {}", left.join("; ")));
        }
    }
}

fn spot_name(spot: usize) -> String {
    match spot < TOPICS {
        true => super::topic(spot).to_string(),
        false => "their public views".to_owned(),
    }
}

pub(super) fn told(event: &Told) -> String {
    match event {
        Told::Everyone { people, .. } => {
            let people: Vec<_> = people.iter().map(|it| it.user.as_str()).collect();
            format!("everyone: {people:?}")
        }
        Told::Changes { changes, .. } => {
            let changes = changes.iter().map(|it| match it {
                presence_core::Change::Joined(it) => format!("+{}", it.user),
                presence_core::Change::Updated { to: it, .. } => {
                    format!("~{} {:?}", it.user, it.look())
                }
                presence_core::Change::Left { person, reason } => {
                    format!("-{} {reason:?}", person.user)
                }
            });
            changes.collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}"),
    }
}
