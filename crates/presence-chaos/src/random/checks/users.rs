//! Compares what was told about users, and what was answered to them, with what is true.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, Kind, Looks, both, either, fits};
use crate::random::journal::{Ask, At, Fact, Look, Outcome, Room, UserId, VuId};
use crate::random::register::Register;
use crate::random::truth::{LifeId, Users, Verdict};
use crate::random::windows::NEWS_MAX;

impl Judge {
    /// How watchers, and gateways over HTTP, said that users are.
    pub(super) fn statuses(&mut self, facts: &[(At, Fact)]) {
        let mut seen: BTreeMap<(VuId, UserId), Looks> = BTreeMap::new();
        for (at, fact) in facts {
            match fact {
                Fact::Saw(vu, user, look) => {
                    seen.entry((*vu, *user))
                        .or_default()
                        .push((*at, Some(look.clone())));
                }
                Fact::Ended(vu, _) => {
                    let all = (*vu, UserId(0))..=(*vu, UserId(u32::MAX));
                    for (_, of_user) in seen.range_mut(all) {
                        of_user.push((*at, None));
                    }
                }
                _ => {}
            }
        }
        for ((vu, user), seen) in seen {
            let mut moments: BTreeSet<At> = seen.iter().map(|(at, _)| *at).collect();
            moments.extend(
                self.truth
                    .choices
                    .get(&user)
                    .into_iter()
                    .flat_map(Register::moments),
            );
            let lives = self.truth.lives.values().filter(|(of, _)| *of == user);
            moments
                .extend(lives.flat_map(|(_, it)| it.edges().map(|(at, _)| at).collect::<Vec<_>>()));
            let spells = self.spells(&moments, |judge, at| {
                let index = seen
                    .partition_point(|(from, _)| *from <= at)
                    .checked_sub(1)?;
                let look = seen[index].1.as_ref()?;
                (!judge.is_so(user, look, at)).then_some(Kind::WrongLook)
            });
            for (from, until, kind) in spells {
                let index = seen
                    .partition_point(|(at, _)| *at <= from)
                    .saturating_sub(1);
                let look = seen[index]
                    .1
                    .as_ref()
                    .map(Look::to_string)
                    .unwrap_or_default();
                let what = format!(
                    "{} {}: {look}, as vu {} was told, not one of {:?}, from {:.1} s on for {:.1} s",
                    user.name(),
                    kind.words(),
                    vu.0,
                    self.truth.choices[&user].at(until),
                    from.as_secs_f64(),
                    (until - from).as_secs_f64(),
                );
                self.found(from, kind, what);
            }
        }
    }

    /// How gateways said over HTTP that users are: never so while the answer was made.
    pub(super) fn answers_about_users(&mut self, facts: &[(At, Fact)]) {
        for (at, fact) in facts {
            let Fact::Told(gateway, user, asked, look) = fact else {
                continue;
            };
            let since = asked.saturating_sub(NEWS_MAX);
            if self.windows.counts_from(since) > since {
                continue;
            }
            let mut moments = BTreeSet::from([since, *at]);
            moments.extend(
                self.truth
                    .choices
                    .get(user)
                    .into_iter()
                    .flat_map(Register::moments),
            );
            for (_, life) in self.truth.lives.values().filter(|(of, _)| of == user) {
                moments.extend(life.edges().map(|(at, _)| at));
            }
            let mut moments = moments.range(since..=*at);
            if !moments.any(|moment| self.is_so(*user, look, *moment)) {
                let what = format!(
                    "{} is {look} over HTTP at gateway-{}",
                    user.name(),
                    gateway + 1
                );
                self.found(*at, Kind::WrongLook, what);
            }
        }
    }

    /// Whether somebody may look like that.
    fn is_so(&self, user: UserId, look: &Look, at: At) -> bool {
        let Some(register) = self.truth.choices.get(&user) else {
            return true;
        };
        let lives = self.truth.lives.values().filter(|(of, _)| *of == user);
        let is_here = lives.fold(Verdict::Not, |all, (_, life)| either(all, *life.at(at)));
        let possible = register.at(at);
        match (both(is_here, possible.visible()), look.status.as_str()) {
            (Verdict::Must, "offline") | (Verdict::Not, "online" | "away" | "busy") => false,
            // Their words stay as they were when they went.
            (_, "offline") => true,
            _ => fits(look, &possible),
        }
    }

    /// Answers that contradict an earlier `ok`.
    pub(super) fn answers(&mut self, users: &Users, facts: &[(At, Fact)]) {
        let mut lives: BTreeMap<VuId, u32> = BTreeMap::new();
        let mut asked: BTreeMap<(VuId, u32), (At, Room)> = BTreeMap::new();
        for (at, fact) in facts {
            match fact {
                Fact::Connected(vu, _, life, _) => {
                    lives.insert(*vu, *life);
                }
                Fact::Asked(vu, number, Ask::Update(room, _)) => {
                    asked.insert((*vu, *number), (*at, *room));
                }
                Fact::Answered(vu, number, Outcome::Refused(code)) if code == "not_joined" => {
                    let Some((since, room)) = asked.remove(&(*vu, *number)) else {
                        continue;
                    };
                    let id = LifeId {
                        vu: *vu,
                        life: lives.get(vu).copied().unwrap_or_default(),
                    };
                    if users.contains_key(vu) && self.verdict(id, room, since) == Verdict::Must {
                        let what = format!(
                            "an update of vu {} in {} was refused: not_joined",
                            vu.0,
                            room.name()
                        );
                        self.found(*at, Kind::Undone, what);
                    }
                }
                _ => {}
            }
        }
    }
}
