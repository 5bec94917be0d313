//! What is true, computed from what clients did and how they were answered, and from nothing else.
//!
//! Nobody outside knows what a gateway has done with a command that was not answered. So of each session in each room
//! the truth is one of three at every moment: it has to be shown, it must not be, or either is right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clients::Dialect;
use super::journal::{Ask, At, End, Fact, Mark, Outcome, Room, UserId, VuId};
use super::register::{Register, Write};
use super::windows::Windows;

/// How long a session keeps its place after its connection was lost: the grace time, and a little (I3).
pub(crate) const LOST_MAX: Duration = Duration::from_secs(12);

/// How long after Redis lost its data the evidence for a leave may take: one lease. Every gateway has to say that it has
/// written its own again.
const LOSS_MAX: Duration = Duration::from_secs(15);

/// How long a session keeps its place where neither side was told: ping, its answer, grace, and a little (I3).
pub(crate) const HALF_OPEN_MAX: Duration = Duration::from_secs(45);

/// The same where the gateway died or slept: lease, grace, and a little (I3).
pub(crate) const NODE_GONE_MAX: Duration = Duration::from_secs(27);

/// Who is back within that time has not been away: the grace time, less a second in which one may be late.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(9);

/// What has to be seen of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Must,
    May,
    Not,
}

/// A session of a virtual user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LifeId {
    pub(crate) vu: VuId,
    pub(crate) life: u32,
}

/// Values from the moments on at which they begin to hold.
#[derive(Clone, Debug)]
pub(crate) struct Timeline<T> {
    edges: Vec<(At, T)>,
}

/// The visit of one session in one room.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) user: UserId,
    /// Whether it has to be shown, as far as it depends on the session and not on hiding.
    pub(crate) verdicts: Timeline<Verdict>,
    /// The least number of the mark that has to be shown.
    pub(crate) numbers: Timeline<u32>,
    /// When its connection broke, other than with a goodbye.
    breaks: BTreeSet<At>,
}

/// What is true at each time of a run.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) visits: BTreeMap<(LifeId, Room), Visit>,
    /// Whether a person is connected at all, on whatever session.
    pub(crate) lives: BTreeMap<LifeId, (UserId, Timeline<Verdict>)>,
    /// The choices of each user.
    pub(crate) choices: BTreeMap<UserId, Register>,
    /// When somebody was in a room without a break that others may notice.
    pub(crate) held: BTreeMap<(UserId, Room), Vec<(At, At)>>,
}

impl<T: Clone + PartialEq> Timeline<T> {
    pub(crate) fn new(first: T) -> Timeline<T> {
        Timeline {
            edges: vec![(At::ZERO, first)],
        }
    }

    /// From then on it is that.
    pub(crate) fn turn(&mut self, at: At, value: T) {
        if *self.last() != value {
            self.edges.push((at, value));
        }
    }

    pub(crate) fn last(&self) -> &T {
        &self.edges[self.edges.len() - 1].1
    }

    /// What it is at a moment.
    pub(crate) fn at(&self, at: At) -> &T {
        let next = self.edges.partition_point(|(from, _)| *from <= at);
        &self.edges[next.max(1) - 1].1
    }

    /// The times at which the value changes, each with the new value.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (At, &T)> {
        self.edges.iter().map(|(at, value)| (*at, value))
    }

    /// Since when it last was that.
    fn since_last(&self, value: &T) -> Option<At> {
        let edge = self.edges.iter().rfind(|(_, it)| it == value)?;
        Some(edge.0)
    }

    /// Whether it is that all the time from one moment to another.
    pub(crate) fn is_all(&self, from: At, until: At, value: &T) -> bool {
        let within = self
            .edges
            .iter()
            .filter(|(at, _)| *at > from && *at <= until);
        self.at(from) == value && within.map(|(_, it)| it).all(|it| it == value)
    }
}

/// What is known of a virtual user while the journal is read.
#[derive(Default)]
struct Reading {
    life: u32,
    gateway: usize,
    asked: BTreeMap<u32, (At, Ask)>,
    /// What was asked last about each room: an answer to something older says nothing of how it is now.
    latest: BTreeMap<Room, u32>,
    /// When the session ends that is away now, if it does not come back.
    ends_at: Option<At>,
    /// How it was with each room when the connection ended.
    before: BTreeMap<Room, Verdict>,
}

/// Who the virtual users are, and what they speak. Watchers are none of them.
pub(crate) type Users = BTreeMap<VuId, (UserId, Dialect)>;

impl Truth {
    /// Computes the truth from the facts of a journal.
    pub(crate) fn of(users: &Users, facts: &[(At, Fact)], windows: &Windows) -> Truth {
        let mut truth = Truth::default();
        let mut vus: BTreeMap<VuId, Reading> = BTreeMap::new();
        for (user, _) in users.values() {
            truth.choices.entry(*user).or_default();
        }
        for (at, fact) in facts {
            let (Fact::Connected(vu, ..)
            | Fact::Ended(vu, _)
            | Fact::Asked(vu, ..)
            | Fact::Answered(vu, ..)) = fact
            else {
                continue;
            };
            let Some(who) = users.get(vu) else {
                continue;
            };
            let reading = vus.entry(*vu).or_default();
            truth.read(*at, *vu, *who, fact, reading, windows);
        }
        for (vu, reading) in vus {
            let id = LifeId {
                vu,
                life: reading.life,
            };
            truth.lapse(id, reading.ends_at);
        }
        for at in windows.losses() {
            truth.lose(at);
        }
        truth.held = truth.hold();
        truth
    }

    // Longer than a screen because it is a table: an arm for each kind of fact.
    fn read(
        &mut self,
        at: At,
        vu: VuId,
        (user, dialect): (UserId, Dialect),
        fact: &Fact,
        reading: &mut Reading,
        windows: &Windows,
    ) {
        let id = |life| LifeId { vu, life };
        match fact {
            Fact::Connected(_, gateway, life, is_restored) => {
                if *is_restored {
                    self.restore(id(*life), at, &reading.before, windows);
                } else {
                    self.lapse(id(reading.life), reading.ends_at);
                }
                let register = self.choices.entry(user).or_default();
                register.goes_on(vu, at, *is_restored);
                *reading = Reading {
                    life: *life,
                    gateway: *gateway,
                    ..Reading::default()
                };
                let verdict = match dialect.is_somebody_at_once() {
                    true => Verdict::Must,
                    false => Verdict::May,
                };
                self.live(id(*life), user).turn(at, verdict);
            }
            Fact::Ended(_, end) => {
                let max = match end {
                    End::Goodbye => Duration::ZERO,
                    End::HalfOpen => HALF_OPEN_MAX,
                    End::Vanished | End::Lost(_) => LOST_MAX,
                };
                // A gateway that is gone or asleep knows nothing of how it ended.
                let ends_at = match windows.gone(reading.gateway, at) {
                    Some(until) => (at + max).max(until.max(at) + NODE_GONE_MAX),
                    None => at + max,
                };
                let losses = windows.losses().into_iter();
                let loss = losses.filter(|loss| at <= *loss && *loss <= ends_at).max();
                let ends_at = match end {
                    End::Goodbye => ends_at,
                    _ => ends_at.max(loss.map_or(at, |loss| loss + LOSS_MAX)),
                };
                reading.ends_at = Some(ends_at);
                reading.before = self.break_off(id(reading.life), at, end, ends_at);
            }
            Fact::Asked(_, number, ask) => {
                reading.asked.insert(*number, (at, ask.clone()));
                if let Ask::Join(room, _) | Ask::Update(room, _) | Ask::Leave(room) = ask {
                    reading.latest.insert(*room, *number);
                }
                match ask {
                    Ask::Choose(choice) => {
                        let is_awake = !windows.is_asleep(reading.gateway, at);
                        let write = Write::asked(at, vu, choice, *number, is_awake);
                        self.choices.entry(user).or_default().ask(write);
                    }
                    Ask::Join(room, _) | Ask::Update(room, _) => {
                        let visit = self.visit(id(reading.life), *room, user);
                        if *visit.verdicts.last() == Verdict::Not {
                            visit.verdicts.turn(at, Verdict::May);
                        }
                    }
                    Ask::Leave(room) => {
                        let visit = self.visit(id(reading.life), *room, user);
                        if *visit.verdicts.last() == Verdict::Must {
                            visit.verdicts.turn(at, Verdict::May);
                        }
                    }
                }
            }
            Fact::Answered(_, number, outcome) => {
                let Some((asked, ask)) = reading.asked.remove(number) else {
                    return;
                };
                if let Ask::Choose(_) = ask {
                    let known = windows.known_after(at);
                    let register = self.choices.entry(user).or_default();
                    return register.answer(vu, *number, at, outcome, known);
                }
                if let Ask::Join(room, _) | Ask::Update(room, _) | Ask::Leave(room) = &ask
                    && reading.latest.get(room) != Some(number)
                {
                    return;
                }
                self.answer(id(reading.life), user, at, asked, &ask, outcome);
            }
            _ => {}
        }
    }

    fn answer(
        &mut self,
        id: LifeId,
        user: UserId,
        at: At,
        asked: At,
        ask: &Ask,
        outcome: &Outcome,
    ) {
        match (ask, outcome) {
            (
                Ask::Join(room, Mark { number, .. }) | Ask::Update(room, Mark { number, .. }),
                Outcome::Ok,
            ) => {
                let visit = self.visit(id, *room, user);
                visit.verdicts.turn(at, Verdict::Must);
                let number = (*number).max(*visit.numbers.last());
                visit.numbers.turn(at, number);
            }
            (Ask::Leave(room), Outcome::Ok) => {
                self.visit(id, *room, user).verdicts.turn(at, Verdict::Not);
            }
            // What was certainly not done: it is as it was before.
            (
                Ask::Join(room, _) | Ask::Update(room, _) | Ask::Leave(room),
                Outcome::Refused(code),
            ) if !["unavailable", "overloaded"].contains(&code.as_str()) => {
                let visit = self.visit(id, *room, user);
                let before = *visit
                    .verdicts
                    .at(asked.saturating_sub(Duration::from_nanos(1)));
                visit.verdicts.turn(at, before);
            }
            _ => {}
        }
    }

    /// The connection of a session ended: it may be shown until then, and not for longer. Returns how it was before.
    fn break_off(&mut self, id: LifeId, at: At, end: &End, ends_at: At) -> BTreeMap<Room, Verdict> {
        let verdict = if ends_at > at {
            Verdict::May
        } else {
            Verdict::Not
        };
        let mut before = BTreeMap::new();
        for (room, visit) in self.visits_of(id) {
            before.insert(room, *visit.verdicts.last());
            let mut since = at;
            if *end != End::Goodbye {
                visit.breaks.insert(at);
            } else if *visit.verdicts.last() != Verdict::Not {
                // They left, even if nobody is sure to hear of it: whoever comes next is not back from a break before.
                visit.verdicts.turn(at, Verdict::Not);
                since = at + Duration::from_nanos(1);
            }
            if *visit.verdicts.last() != Verdict::Not || since > at {
                visit.verdicts.turn(since, verdict);
            }
        }
        if let Some((_, life)) = self.lives.get_mut(&id) {
            life.turn(at, verdict);
        }
        before
    }

    /// A session did not come back.
    fn lapse(&mut self, id: LifeId, ends_at: Option<At>) {
        let Some(ends_at) = ends_at else { return };
        for (_, visit) in self.visits_of(id) {
            visit.verdicts.turn(ends_at, Verdict::Not);
        }
        if let Some((_, life)) = self.lives.get_mut(&id) {
            life.turn(ends_at, Verdict::Not);
        }
    }

    /// A session came back: it is where it was, and may be where it may have been.
    fn restore(&mut self, id: LifeId, at: At, before: &BTreeMap<Room, Verdict>, windows: &Windows) {
        for (room, visit) in self.visits_of(id) {
            let verdict = before.get(&room).copied().unwrap_or(Verdict::Not);
            let since = visit.verdicts.since_last(&Verdict::Must);
            // A join that was answered while the store was away is known to that gateway only.
            let is_firm = since.is_none_or(|since| !windows.store_is_away(since));
            visit.verdicts.turn(
                at,
                match verdict {
                    Verdict::Must if !is_firm => Verdict::May,
                    verdict => verdict,
                },
            );
        }
    }

    fn visits_of(&mut self, id: LifeId) -> impl Iterator<Item = (Room, &mut Visit)> {
        let visits = self.visits.range_mut((id, Room(0))..=(id, Room(u32::MAX)));
        visits.map(|((_, room), visit)| (*room, visit))
    }

    fn visit(&mut self, id: LifeId, room: Room, user: UserId) -> &mut Visit {
        self.visits.entry((id, room)).or_insert_with(|| Visit {
            user,
            verdicts: Timeline::new(Verdict::Not),
            numbers: Timeline::new(0),
            breaks: BTreeSet::new(),
        })
    }

    fn live(&mut self, id: LifeId, user: UserId) -> &mut Timeline<Verdict> {
        let fresh = || (user, Timeline::new(Verdict::Not));
        &mut self.lives.entry(id).or_insert_with(fresh).1
    }
}

impl Truth {
    /// Redis lost its data: what people had chosen who are not here is known to single gateways only.
    fn lose(&mut self, at: At) {
        for (user, register) in &mut self.choices {
            let mut lives = self.lives.values().filter(|(of, _)| of == user);
            if !lives.any(|(_, life)| *life.at(at) == Verdict::Must) {
                register.lose(at);
            }
        }
    }

    /// When somebody was in each room, of whichever session, without a break that others may notice.
    fn hold(&self) -> BTreeMap<(UserId, Room), Vec<(At, At)>> {
        let mut all: BTreeMap<(UserId, Room), Vec<Span>> = BTreeMap::new();
        for ((_, room), visit) in &self.visits {
            let mut spans: Vec<Span> = Vec::new();
            let mut since = None;
            for (at, verdict) in visit.verdicts.edges() {
                match (verdict, since) {
                    // Back in time: how the session ends then is another matter.
                    (Verdict::Must, None) => {
                        let away = spans.pop_if(|it| at <= it.lasts);
                        since = Some(away.map_or(at, |it| it.from));
                    }
                    // They left, so nobody is back from the break before.
                    (Verdict::Not, None) => {
                        if let Some(span) = spans.last_mut() {
                            span.lasts = span.lasts.min(at);
                        }
                    }
                    (Verdict::Must, Some(_)) | (Verdict::May, None) => {}
                    (_, Some(from)) => {
                        let is_break = visit.breaks.contains(&at);
                        let lasts = if is_break { at + BACK_WITHIN } else { at };
                        spans.push(Span {
                            from,
                            until: at,
                            lasts,
                        });
                        since = None;
                    }
                }
            }
            spans.extend(since.map(|from| Span {
                from,
                until: At::MAX,
                lasts: At::MAX,
            }));
            all.entry((visit.user, *room)).or_default().extend(spans);
        }
        let all = all.into_iter();
        all.map(|(of, spans)| (of, joined(spans))).collect()
    }

    /// Whether somebody was in a room all the time, of whichever session, and not hidden.
    pub(crate) fn is_held(&self, user: UserId, room: Room, from: At, until: At) -> bool {
        let spans = self.held.get(&(user, room)).map_or(&[][..], Vec::as_slice);
        let is_there = spans
            .iter()
            .any(|(since, end)| *since <= from && until <= *end);
        let choices = self.choices.get(&user);
        is_there && choices.is_some_and(|it| it.is_visible(from, until) == Verdict::Must)
    }

    /// Whether one and the same session of somebody was in a room all the time, and not hidden.
    pub(crate) fn is_held_by_one(&self, user: UserId, room: Room, from: At, until: At) -> bool {
        let is_there = self.visits.iter().any(|((_, of), visit)| {
            let is_it = *of == room && visit.user == user;
            is_it && visit.verdicts.is_all(from, until, &Verdict::Must)
        });
        let choices = self.choices.get(&user);
        is_there && choices.is_some_and(|it| it.is_visible(from, until) == Verdict::Must)
    }
}

/// A time in which somebody was in a room.
struct Span {
    from: At,
    until: At,
    /// Who is back until then has not been away.
    lasts: At,
}

/// Spans in order, those that overlap or follow each other without a break that others may notice being one.
fn joined(mut spans: Vec<Span>) -> Vec<(At, At)> {
    spans.sort_by_key(|it| (it.from, it.until));
    let mut all: Vec<Span> = Vec::new();
    for span in spans {
        match all.last_mut() {
            Some(last) if span.from <= last.lasts => {
                last.until = last.until.max(span.until);
                last.lasts = last.lasts.max(span.lasts);
            }
            _ => all.push(span),
        }
    }
    all.into_iter().map(|it| (it.from, it.until)).collect()
}
