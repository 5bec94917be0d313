//! Compares what was told with what is true, and says what was wrong.

mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::journal::{Ask, At, Fact, Look, Mark, People, Room, UserId, VuId};
use super::register::Possible;
use super::truth::{LifeId, Timeline, Truth, Users, Verdict};
use super::windows::{NEWS_MAX, Windows};

/// A promise that was broken in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) at: At,
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

/// The kind of promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Somebody who is in a room was not shown there.
    Missing,
    /// Somebody was shown in a room who is not there, or hides.
    Ghost,
    /// Somebody was shown with a meta from before one that was acknowledged.
    OldMeta,
    /// Somebody was shown with a status or a message that they do not have.
    WrongLook,
    /// A leave was told of somebody who is here.
    Flap,
    /// A join was told of somebody who was shown, or a leave or an update of somebody who was not.
    ToldTwice,
    /// Something that had been answered `ok` did not hold.
    Undone,
    /// Redis keeps what is of nobody.
    Leftover,
    /// A gateway panicked.
    Panic,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(
            f,
            "{at:>7.2} s  {:<9}  {}",
            format!("{:?}", self.kind),
            self.what
        )
    }
}

/// Everything that was wrong in a run, in order.
pub(crate) fn check(users: &Users, facts: &[(At, Fact)], now: At) -> Vec<Violation> {
    let windows = Windows::of(facts, now);
    let truth = Truth::of(users, facts, &windows);
    let visible = truth
        .choices
        .iter()
        .map(|(user, it)| (*user, it.visible()))
        .collect();
    let tells_sessions = |vu: &VuId| users.get(vu).is_none_or(|(_, it)| it.tells_sessions());
    let vus = facts.iter().filter_map(|(_, fact)| match fact {
        Fact::Connected(vu, ..) => Some(*vu),
        _ => None,
    });
    let mut judge = Judge {
        coarse: vus.filter(|vu| !tells_sessions(vu)).collect(),
        truth,
        windows,
        visible,
        now,
        found: BTreeSet::new(),
    };
    judge.pictures(facts);
    judge.samples(facts);
    judge.statuses(facts);
    judge.answers_about_users(facts);
    judge.answers(users, facts);
    judge.found.into_iter().collect()
}

struct Judge {
    /// Those who are told of people, and not of their sessions.
    coarse: BTreeSet<VuId>,
    truth: Truth,
    windows: Windows,
    visible: BTreeMap<UserId, Timeline<Verdict>>,
    now: At,
    found: BTreeSet<Violation>,
}

/// What somebody draws of a room, from each moment on; nothing while they see nothing.
type Drawn = Vec<(At, Option<People>)>;

/// The same of how a user is.
type Looks = Vec<(At, Option<Look>)>;

impl Judge {
    fn found(&mut self, at: At, kind: Kind, what: String) {
        let during = self.windows.shown_at(at);
        let what = format!("{what} ({during})");
        self.found.insert(Violation { at, kind, what });
    }

    /// What a session is in a room, hiding included.
    fn verdict(&self, id: LifeId, room: Room, at: At) -> Verdict {
        let Some(visit) = self.truth.visits.get(&(id, room)) else {
            return Verdict::Not;
        };
        let visible = self
            .visible
            .get(&visit.user)
            .map_or(Verdict::Must, |it| *it.at(at));
        both(*visit.verdicts.at(at), visible)
    }

    /// The pictures of all who look, and the events that made them.
    fn pictures(&mut self, facts: &[(At, Fact)]) {
        let mut drawn: BTreeMap<(VuId, Room), Drawn> = BTreeMap::new();
        for (at, fact) in facts {
            match fact {
                Fact::Whole(vu, room, people) => {
                    drawn
                        .entry((*vu, *room))
                        .or_default()
                        .push((*at, Some(people.clone())));
                }
                Fact::Joined(vu, room, user, view) => {
                    let mut people = last(&drawn, *vu, *room);
                    if people.insert(*user, view.clone()).is_some() {
                        let what = format!(
                            "{} joined {}, which vu {} knew",
                            user.name(),
                            room.name(),
                            vu.0
                        );
                        self.found(*at, Kind::ToldTwice, what);
                    }
                    put(&mut drawn, *vu, *room, *at, people);
                }
                Fact::Updated(vu, room, user, view) => {
                    let mut people = last(&drawn, *vu, *room);
                    if people.insert(*user, view.clone()).is_none() {
                        let what = format!(
                            "{} changed in {}, and vu {} did not see them",
                            user.name(),
                            room.name(),
                            vu.0
                        );
                        self.found(*at, Kind::ToldTwice, what);
                    }
                    put(&mut drawn, *vu, *room, *at, people);
                }
                Fact::Left(vu, room, user, why) => {
                    let mut people = last(&drawn, *vu, *room);
                    self.leave(*at, *vu, *room, *user, why, people.remove(user).is_some());
                    put(&mut drawn, *vu, *room, *at, people);
                }
                Fact::Ended(vu, _) => {
                    for (_, of_room) in drawn.range_mut((*vu, Room(0))..=(*vu, Room(u32::MAX))) {
                        of_room.push((*at, None));
                    }
                }
                Fact::Asked(vu, _, Ask::Leave(room)) => {
                    if let Some(drawn) = drawn.get_mut(&(*vu, *room)) {
                        drawn.push((*at, None));
                    }
                }
                _ => {}
            }
        }
        for ((vu, room), drawn) in drawn {
            self.picture(vu, room, &drawn);
        }
    }

    fn leave(&mut self, at: At, vu: VuId, room: Room, user: UserId, why: &str, was_shown: bool) {
        let name = user.name();
        let of = room.name();
        if !was_shown {
            let what = format!("{name} left {of} ({why}), and vu {} did not see them", vu.0);
            return self.found(at, Kind::ToldTwice, what);
        }
        let is_held = match self.windows.store_away_since(at) {
            None => {
                let since = at.saturating_sub(NEWS_MAX);
                self.truth.is_held(user, room, since, at)
            }
            // A gateway cannot know of a session that came through another one meanwhile.
            Some(away) => {
                let since = away.saturating_sub(NEWS_MAX);
                self.truth.is_held_by_one(user, room, since, at)
            }
        };
        if is_held && !self.windows.may_leave(at) {
            let what = format!("{name} left {of} ({why}) for vu {}, and is there", vu.0);
            self.found(at, Kind::Flap, what);
        }
    }

    /// Times in which one picture was wrong for too long.
    fn picture(&mut self, viewer: VuId, room: Room, drawn: &Drawn) {
        if self.coarse.contains(&viewer) {
            return self.coarse_picture(viewer, room, drawn);
        }
        let visits: Vec<LifeId> = self
            .truth
            .visits
            .keys()
            .filter(|(_, at)| *at == room)
            .map(|(id, _)| *id)
            .collect();
        for id in visits {
            let visit = &self.truth.visits[&(id, room)];
            let user = visit.user;
            let mut moments: BTreeSet<At> = drawn.iter().map(|(at, _)| *at).collect();
            moments.extend(visit.verdicts.edges().map(|(at, _)| at));
            moments.extend(visit.numbers.edges().map(|(at, _)| at));
            moments.extend(self.visible[&user].edges().map(|(at, _)| at));
            let spells = self.spells(&moments, |judge, at| {
                let people = drawn_at(drawn, at)?;
                judge.of_session(id, room, user, people, at)
            });
            for (from, until, kind) in spells {
                let what = format!(
                    "vu {} of {} {} in {} for vu {viewer}, from {:.1} s on for {:.1} s",
                    id.vu.0,
                    user.name(),
                    kind.words(),
                    room.name(),
                    from.as_secs_f64(),
                    (until - from).as_secs_f64(),
                    viewer = viewer.0,
                );
                self.found(from, kind, what);
            }
        }
        self.looks(viewer, room, drawn);
    }

    /// The same for somebody who is not told of sessions.
    fn coarse_picture(&mut self, viewer: VuId, room: Room, drawn: &Drawn) {
        let mut people: BTreeMap<UserId, Vec<LifeId>> = BTreeMap::new();
        for ((id, at), visit) in &self.truth.visits {
            // Nobody is told of themselves, or always is: that says nothing.
            if *at == room && id.vu != viewer {
                people.entry(visit.user).or_default().push(*id);
            }
        }
        people.retain(|user, _| {
            let visits = self.truth.visits.iter();
            !visits
                .clone()
                .any(|((id, _), visit)| id.vu == viewer && visit.user == *user)
        });
        for (user, lives) in people {
            let mut moments: BTreeSet<At> = drawn.iter().map(|(at, _)| *at).collect();
            for id in &lives {
                let edges = self.truth.visits[&(*id, room)].verdicts.edges();
                moments.extend(edges.map(|(at, _)| at));
            }
            moments.extend(self.visible[&user].edges().map(|(at, _)| at));
            let spells = self.spells(&moments, |judge, at| {
                let is_shown = drawn_at(drawn, at)?.contains_key(&user);
                let verdicts = lives.iter().map(|id| judge.verdict(*id, room, at));
                match (verdicts.fold(Verdict::Not, either), is_shown) {
                    (Verdict::Must, false) => Some(Kind::Missing),
                    (Verdict::Not, true) => Some(Kind::Ghost),
                    _ => None,
                }
            });
            for (from, until, kind) in spells {
                let what = format!(
                    "{} {} in {} for vu {} (Pusher), from {:.1} s on for {:.1} s",
                    user.name(),
                    kind.words(),
                    room.name(),
                    viewer.0,
                    from.as_secs_f64(),
                    (until - from).as_secs_f64(),
                );
                self.found(from, kind, what);
            }
        }
    }

    fn of_session(
        &self,
        id: LifeId,
        room: Room,
        user: UserId,
        people: &People,
        at: At,
    ) -> Option<Kind> {
        let view = people.get(&user);
        let shown = view.and_then(|view| number_of(&view.marks, id));
        match (self.verdict(id, room, at), shown) {
            (Verdict::Must, None) => Some(Kind::Missing),
            (Verdict::Not, Some(_)) => Some(Kind::Ghost),
            (Verdict::Must, Some(number)) => {
                let least = *self.truth.visits[&(id, room)].numbers.at(at);
                (number < least).then_some(Kind::OldMeta)
            }
            _ => None,
        }
    }

    fn looks(&mut self, viewer: VuId, room: Room, drawn: &Drawn) {
        let users: BTreeSet<UserId> = drawn
            .iter()
            .filter_map(|(_, people)| people.as_ref())
            .flat_map(|it| it.keys().copied())
            .collect();
        for user in users {
            let mut moments: BTreeSet<At> = drawn.iter().map(|(at, _)| *at).collect();
            moments.extend(self.truth.choices[&user].moments());
            let spells = self.spells(&moments, |judge, at| {
                let view = drawn_at(drawn, at)?.get(&user)?;
                let possible = judge.truth.choices[&user].at(at);
                (!fits(&view.look, &possible)).then_some(Kind::WrongLook)
            });
            for (from, until, kind) in spells {
                let look = drawn_at(drawn, until)
                    .and_then(|it| it.get(&user))
                    .map(|it| it.look.to_string());
                let what = format!(
                    "{} {} in {} for vu {viewer}: {}, not one of {:?}, from {:.1} s on for {:.1} s",
                    user.name(),
                    kind.words(),
                    room.name(),
                    look.unwrap_or_default(),
                    self.truth.choices[&user].at(until),
                    from.as_secs_f64(),
                    (until - from).as_secs_f64(),
                    viewer = viewer.0,
                );
                self.found(from, kind, what);
            }
        }
    }

    /// The times in which something is wrong for longer than it may be; `is_wrong` is asked at each moment at which it
    /// can change.
    fn spells(
        &self,
        moments: &BTreeSet<At>,
        is_wrong: impl Fn(&Judge, At) -> Option<Kind>,
    ) -> Vec<(At, At, Kind)> {
        let mut spells = Vec::new();
        let mut open: Option<(At, Kind)> = None;
        let mut close = |open: &mut Option<(At, Kind)>, until: At| {
            if let Some((from, kind)) = open.take()
                && until > self.windows.counts_from(from) + NEWS_MAX
            {
                spells.push((from, until, kind));
            }
        };
        for at in moments.iter().copied().filter(|at| *at <= self.now) {
            match (is_wrong(self, at), &open) {
                (None, _) => close(&mut open, at),
                (Some(kind), Some((_, same))) if kind == *same => {}
                (Some(kind), _) => {
                    close(&mut open, at);
                    open = Some((at, kind));
                }
            }
        }
        close(&mut open, self.now);
        spells
    }

    /// What gateways and Redis answered when they were asked.
    fn samples(&mut self, facts: &[(At, Fact)]) {
        for (at, fact) in facts {
            let (who, room, asked, marks) = match fact {
                Fact::Listed(gateway, room, asked, people) => {
                    let marks: BTreeSet<Mark> =
                        people.values().flat_map(|it| it.marks.clone()).collect();
                    (
                        format!("the list of gateway-{}", gateway + 1),
                        *room,
                        *asked,
                        marks,
                    )
                }
                Fact::Stored(room, asked, marks) => {
                    ("Redis".to_owned(), *room, *asked, marks.clone())
                }
                _ => continue,
            };
            // What has been so for a while has to be known.
            let since = asked.saturating_sub(NEWS_MAX);
            if self.windows.counts_from(since) > since {
                continue;
            }
            let visits: Vec<LifeId> = self
                .truth
                .visits
                .keys()
                .filter(|(_, of)| *of == room)
                .map(|(id, _)| *id)
                .collect();
            for id in visits {
                let verdict = self.steady(id, room, since, *at);
                let user = self.truth.visits[&(id, room)].user.name();
                let kind = match (verdict, number_of(&marks, id)) {
                    (Verdict::Must, None) => Kind::Missing,
                    (Verdict::Not, Some(_)) => Kind::Ghost,
                    _ => continue,
                };
                let what = format!(
                    "vu {} of {user} {} in {}: {who}",
                    id.vu.0,
                    kind.words(),
                    room.name()
                );
                self.found(*at, kind, what);
            }
        }
    }

    /// The verdict, if it is the same all the time.
    fn steady(&self, id: LifeId, room: Room, from: At, until: At) -> Verdict {
        let visit = &self.truth.visits[&(id, room)];
        let visible = &self.visible[&visit.user];
        let is = |verdict: Verdict| {
            let of_visit = visit.verdicts.is_all(from, until, &verdict);
            let of_user = visible.is_all(from, until, &verdict);
            match verdict {
                Verdict::Must => of_visit && of_user,
                _ => of_visit || of_user,
            }
        };
        match (is(Verdict::Must), is(Verdict::Not)) {
            (true, _) => Verdict::Must,
            (_, true) => Verdict::Not,
            _ => Verdict::May,
        }
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Missing => "is not shown",
            Kind::Ghost => "is shown and is not there",
            Kind::OldMeta => "is shown with an old meta",
            Kind::WrongLook => "looks wrong",
            Kind::Flap => "was shown leaving",
            Kind::ToldTwice => "was told twice",
            Kind::Undone => "was undone",
            Kind::Leftover => "is left",
            Kind::Panic => "panicked",
        }
    }
}

fn last(drawn: &BTreeMap<(VuId, Room), Drawn>, vu: VuId, room: Room) -> People {
    let last = drawn.get(&(vu, room)).and_then(|it| it.last()?.1.clone());
    last.unwrap_or_default()
}

fn put(drawn: &mut BTreeMap<(VuId, Room), Drawn>, vu: VuId, room: Room, at: At, people: People) {
    drawn
        .entry((vu, room))
        .or_default()
        .push((at, Some(people)));
}

fn drawn_at(drawn: &Drawn, at: At) -> Option<&People> {
    let index = drawn
        .partition_point(|(from, _)| *from <= at)
        .checked_sub(1)?;
    drawn[index].1.as_ref()
}

/// The number of the mark of a session, if it is there.
fn number_of(marks: &BTreeSet<Mark>, id: LifeId) -> Option<u32> {
    let of_it = marks
        .iter()
        .filter(|it| (it.vu, it.life) == (id.vu, id.life));
    of_it.map(|it| it.number).max()
}

fn fits(look: &Look, possible: &Possible) -> bool {
    let has_status =
        possible.statuses.contains(&look.status) || possible.visible() != Verdict::Must;
    has_status && possible.messages.contains(&look.message)
}

/// What is so if both have to be.
fn both(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Not, _) | (_, Verdict::Not) => Verdict::Not,
        (Verdict::Must, Verdict::Must) => Verdict::Must,
        _ => Verdict::May,
    }
}

/// What is so if one of them is enough.
fn either(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Must, _) | (_, Verdict::Must) => Verdict::Must,
        (Verdict::Not, Verdict::Not) => Verdict::Not,
        _ => Verdict::May,
    }
}

#[cfg(test)]
mod tests;
