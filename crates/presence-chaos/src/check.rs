//! Compares what watchers were told with what was true. Pure: the same journal has the same verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::journal::{At, Cast, Change, Ending, Fact, User, Watcher};
use crate::truth::{Life, lives};

/// What is asked of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Who comes back within that time has not been away.
    pub(crate) grace: Duration,
    /// How long after a person's end others must still see them: before, it is not known to be one.
    pub(crate) not_before: BTreeMap<Ending, Duration>,
}

/// A moment at which a watcher saw something of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) at: At,
    pub(crate) watcher: Watcher,
    pub(crate) user: User,
}

/// What took how long to be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lag {
    pub(crate) what: Seen,
    pub(crate) watcher: Watcher,
    pub(crate) user: User,
    /// When it happened, or was due.
    pub(crate) from: At,
    pub(crate) took: Duration,
}

/// The kinds of change that a watcher may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// A person came into the room.
    Coming,
    /// A person left, after their connection had ended in this way.
    Going(Ending),
    /// Something about a person in the room changed.
    Change,
}

/// A time in which a picture of a person was not the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spell {
    pub(crate) watcher: Watcher,
    pub(crate) user: User,
    pub(crate) from: At,
    pub(crate) until: At,
}

/// A moment at which the picture of a watcher was not the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) at: Moment,
    /// The change that is shown, if the person is.
    pub(crate) shown: Option<Change>,
    /// The change that was acknowledged, if the person is here.
    pub(crate) is: Option<Change>,
}

/// How long news may take without anything being wrong (I1).
pub(crate) const NEWS_TIME_MAX: Duration = Duration::from_secs(1);

/// What the check of one run has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// I2: a join of somebody who is shown, a leave or an update of somebody who is not.
    pub(crate) told_twice: Vec<Moment>,
    /// I4: shown leaving, and nothing had ended that was not told before.
    pub(crate) flaps: Vec<Moment>,
    /// I4: shown leaving before it could be known.
    pub(crate) early: Vec<Moment>,
    /// I5, I3: shown though they had never come.
    pub(crate) unfounded: Vec<Moment>,
    /// How often somebody appeared in a picture, and disappeared from one, since the given time.
    pub(crate) appeared: Vec<Moment>,
    pub(crate) disappeared: Vec<Moment>,
    /// I1, I3: how long it took. Who is still shown at the end counts up to then.
    pub(crate) lags: Vec<Lag>,
    /// I1: what was wrong in the picture of somebody who looks, and for longer than news may take.
    pub(crate) spells: Vec<Spell>,
    /// Where pictures are not the truth at the end.
    pub(crate) wrong: Vec<Wrong>,
}

/// Checks `facts`, which go up to `now`.
pub(crate) fn check(cast: &Cast, facts: &[(At, Fact)], rules: &Rules, now: At) -> Findings {
    let mut rooms: BTreeMap<u32, Vec<&(At, Fact)>> = BTreeMap::new();
    let mut told: BTreeMap<Watcher, Vec<&(At, Fact)>> = BTreeMap::new();
    for fact in facts {
        if let Some(user) = fact.1.user() {
            let room = cast.users[user.0 as usize];
            rooms.entry(room).or_default().push(fact);
        } else if let Some(watcher) = fact.1.watcher() {
            told.entry(watcher).or_default().push(fact);
        }
    }
    let truths: BTreeMap<u32, Truth> = rooms
        .into_iter()
        .map(|(room, facts)| (room, Truth::of(facts.into_iter(), rules.grace)))
        .collect();
    let nobody = Truth::default();
    let mut findings = Findings::default();
    for (watcher, told) in told {
        let room = cast.watchers[watcher.0 as usize];
        let truth = truths.get(&room).unwrap_or(&nobody);
        Replay::new(watcher, truth, rules, &mut findings).run(&told, now);
    }
    findings
}

/// What is true of one room.
#[derive(Default)]
struct Truth {
    lives: BTreeMap<User, Life>,
    /// When something becomes true, in order.
    edges: Vec<(At, User, Edge)>,
}

#[derive(Clone, Copy)]
enum Edge {
    Comes,
    Goes(Ending),
    Changes(Change),
}

impl Truth {
    fn of<'a>(facts: impl Iterator<Item = &'a (At, Fact)>, grace: Duration) -> Truth {
        let lives = lives(facts, grace);
        let mut edges = Vec::new();
        for (user, life) in &lives {
            for visit in &life.visits {
                edges.push((visit.from, *user, Edge::Comes));
                edges.extend(visit.until.map(|(at, how)| (at, *user, Edge::Goes(how))));
            }
            for (change, _, acknowledged) in &life.changes {
                edges.push((*acknowledged, *user, Edge::Changes(*change)));
            }
        }
        edges.sort_by_key(|(at, user, _)| (*at, *user));
        Truth { lives, edges }
    }
}

/// One watcher's run through the journal.
struct Replay<'a> {
    watcher: Watcher,
    truth: &'a Truth,
    rules: &'a Rules,
    findings: &'a mut Findings,
    looks_since: Option<At>,
    people: BTreeMap<User, Person>,
    /// Who is shown wrongly, and since when.
    wrong: BTreeMap<User, At>,
}

/// A person, in truth and in one picture.
#[derive(Clone, Copy, Default)]
struct Person {
    is_here: bool,
    /// The latest change that was acknowledged.
    change: Change,
    /// When and how they last ended.
    ended: Option<(At, Ending)>,
    /// The change that is shown, if they are.
    shown: Option<Change>,
    /// How many stays were seen to begin, and to end.
    comings_seen: usize,
    goings_seen: usize,
    /// How many of their changes were seen.
    changes_seen: usize,
}

impl Person {
    fn is_right(&self) -> bool {
        match self.shown {
            None => !self.is_here,
            Some(change) => self.is_here && change >= self.change,
        }
    }
}

impl<'a> Replay<'a> {
    fn new(
        watcher: Watcher,
        truth: &'a Truth,
        rules: &'a Rules,
        findings: &'a mut Findings,
    ) -> Self {
        Replay {
            watcher,
            truth,
            rules,
            findings,
            looks_since: None,
            people: BTreeMap::new(),
            wrong: BTreeMap::new(),
        }
    }

    fn run(mut self, told: &[&(At, Fact)], now: At) {
        let mut edges = self.truth.edges.iter().peekable();
        for (at, fact) in told.iter().copied() {
            while let Some((at, user, edge)) = edges.next_if(|edge| edge.0 <= *at) {
                self.turn(*at, *user, *edge);
            }
            self.hear(*at, fact);
        }
        for (at, user, edge) in edges {
            self.turn(*at, *user, *edge);
        }
        self.end(now);
    }

    /// Applies one edge of the truth: from `at` on, it holds.
    fn turn(&mut self, at: At, user: User, edge: Edge) {
        let person = self.people.entry(user).or_default();
        match edge {
            Edge::Comes => {
                let ghost = person.shown.and(person.ended);
                person.is_here = true;
                // Shown all the time: nobody will tell that they are back.
                if person.shown.is_some() {
                    person.comings_seen = self.truth.lives[&user].stays_begun(at);
                }
                self.ghost(at, user, ghost);
            }
            Edge::Goes(how) => {
                person.is_here = false;
                person.ended = Some((at, how));
            }
            Edge::Changes(change) => person.change = change,
        }
        self.look_at(at, user);
    }

    /// Applies one fact that the watcher was told at `at`.
    fn hear(&mut self, at: At, fact: &Fact) {
        match fact {
            Fact::Looks(_) => self.looks_since = Some(at),
            Fact::Blind(_) => {
                self.ghosts(at);
                self.spells(at);
                self.looks_since = None;
            }
            Fact::Joined(_, user, change) => match self.is_shown(*user) {
                true => self.told_twice(at, *user),
                false => self.appear(at, *user, *change),
            },
            Fact::Updated(_, user, change) => match self.is_shown(*user) {
                true => self.show(at, *user, *change),
                false => self.told_twice(at, *user),
            },
            Fact::Left(_, user) => match self.is_shown(*user) {
                true => self.disappear(at, *user),
                false => self.told_twice(at, *user),
            },
            Fact::Whole(_, users) => self.hear_all(at, users),
            Fact::Came(_) | Fact::Gone(..) | Fact::Made(..) => {}
        }
    }

    fn hear_all(&mut self, at: At, users: &[(User, Change)]) {
        let users: BTreeMap<User, Change> = users.iter().copied().collect();
        let shown = self.people.iter().filter(|(_, it)| it.shown.is_some());
        let gone: Vec<_> = shown
            .map(|(user, _)| *user)
            .filter(|user| !users.contains_key(user))
            .collect();
        for user in gone {
            self.disappear(at, user);
        }
        for (user, change) in users {
            match self.is_shown(user) {
                true => self.show(at, user, change),
                false => self.appear(at, user, change),
            }
        }
    }

    fn appear(&mut self, at: At, user: User, change: Change) {
        let moment = self.moment(at, user);
        self.findings.appeared.push(moment);
        let begun = self
            .truth
            .lives
            .get(&user)
            .map_or(0, |it| it.stays_begun(at));
        if begun == 0 {
            self.findings.unfounded.push(moment);
        }
        let person = self.people.entry(user).or_default();
        if begun > person.comings_seen && person.is_here {
            person.comings_seen = begun;
            let from = self.truth.lives[&user].visits[begun - 1].from;
            self.lag(Seen::Coming, user, from, at);
        }
        self.show(at, user, change);
    }

    fn show(&mut self, at: At, user: User, change: Change) {
        let person = self.people.entry(user).or_default();
        person.shown = Some(change);
        let changes = self
            .truth
            .lives
            .get(&user)
            .map_or(&[][..], |it| &it.changes);
        let unseen = &changes[person.changes_seen.min(changes.len())..];
        let new: Vec<_> = unseen
            .iter()
            .take_while(|(number, _, _)| *number <= change)
            .map(|(_, due, _)| *due)
            .collect();
        person.changes_seen += new.len();
        for due in new {
            self.lag(Seen::Change, user, due, at);
        }
        self.look_at(at, user);
    }

    fn disappear(&mut self, at: At, user: User) {
        let moment = self.moment(at, user);
        self.findings.disappeared.push(moment);
        let person = self.people.entry(user).or_default();
        person.shown = None;
        let ghost = person.ended.filter(|_| !person.is_here);
        let visits = self.truth.lives.get(&user).map_or(&[][..], |it| &it.visits);
        let ended = visits
            .iter()
            .enumerate()
            .filter_map(|(index, visit)| Some((index, visit.until?)))
            .rfind(|(_, (end, _))| *end <= at);
        match ended {
            Some((index, (end, how))) if index >= person.goings_seen => {
                person.goings_seen = index + 1;
                let not_before = self.rules.not_before.get(&how);
                if not_before.is_some_and(|least| at - end < *least) {
                    self.findings.early.push(moment);
                }
            }
            _ => self.findings.flaps.push(moment),
        }
        self.ghost(at, user, ghost);
        self.look_at(at, user);
    }

    /// A person who has ended was shown until `at`.
    fn ghost(&mut self, at: At, user: User, ended: Option<(At, Ending)>) {
        if let (Some((end, how)), Some(since)) = (ended, self.looks_since) {
            let from = end.max(since);
            self.findings.lags.push(Lag {
                what: Seen::Going(how),
                watcher: self.watcher,
                user,
                from,
                took: at.saturating_sub(from),
            });
        }
    }

    /// The same for all who are shown and not here.
    fn ghosts(&mut self, at: At) {
        let shown = self
            .people
            .iter()
            .filter(|(_, it)| it.shown.is_some() && !it.is_here);
        let ghosts: Vec<_> = shown.map(|(user, it)| (*user, it.ended)).collect();
        for (user, ended) in ghosts {
            self.ghost(at, user, ended);
        }
    }

    /// What is still wrong is so until `at`, as far as this watcher is concerned.
    fn spells(&mut self, at: At) {
        for (user, since) in self.wrong.clone() {
            self.spell(since, at, user);
        }
    }

    fn end(&mut self, now: At) {
        self.ghosts(now);
        self.spells(now);
        if self.looks_since.is_some() {
            let people = &self.people;
            let wrong = self.wrong.keys().map(|user| {
                let person = people.get(user).copied().unwrap_or_default();
                Wrong {
                    at: self.moment(now, *user),
                    shown: person.shown,
                    is: person.is_here.then_some(person.change),
                }
            });
            let wrong: Vec<_> = wrong.collect();
            self.findings.wrong.extend(wrong);
        }
    }

    /// What happened while the watcher saw nothing took no time.
    fn lag(&mut self, what: Seen, user: User, from: At, at: At) {
        if self.looks_since.is_some_and(|since| since <= from) {
            self.findings.lags.push(Lag {
                what,
                watcher: self.watcher,
                user,
                from,
                took: at.saturating_sub(from),
            });
        }
    }

    fn told_twice(&mut self, at: At, user: User) {
        let moment = self.moment(at, user);
        self.findings.told_twice.push(moment);
    }

    fn look_at(&mut self, at: At, user: User) {
        match self.people.get(&user).is_none_or(Person::is_right) {
            false => {
                self.wrong.entry(user).or_insert(at);
            }
            true => {
                if let Some(since) = self.wrong.remove(&user) {
                    self.spell(since, at, user);
                }
            }
        }
    }

    /// What was wrong while nobody looked was not seen.
    fn spell(&mut self, from: At, until: At, user: User) {
        let Some(since) = self.looks_since else {
            return;
        };
        let from = from.max(since);
        if until.saturating_sub(from) > NEWS_TIME_MAX {
            self.findings.spells.push(Spell {
                watcher: self.watcher,
                user,
                from,
                until,
            });
        }
    }

    fn is_shown(&self, user: User) -> bool {
        self.people.get(&user).is_some_and(|it| it.shown.is_some())
    }

    fn moment(&self, at: At, user: User) -> Moment {
        Moment {
            at,
            watcher: self.watcher,
            user,
        }
    }
}

impl Life {
    /// How many stays had begun at `at`.
    fn stays_begun(&self, at: At) -> usize {
        self.visits.partition_point(|visit| visit.from <= at)
    }
}

#[cfg(test)]
mod tests;
