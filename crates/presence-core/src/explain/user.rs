//! The explanation of a user.

use std::sync::Arc;
use std::time::Duration;

use super::fact::{Difference, Fact, FactKind};
use super::report::{
    Gateway, GatewayState, Known, RECORDED_MAX, SessionReport, SessionState, UserReport, View,
};
use crate::history::{Cause, Transition, TransitionKind};
use crate::incarnation::Incarnation;
use crate::status::Here;
use crate::{Chosen, Profile, Reason, Timestamp, UserId, Visible};

/// Two gateways that record the same transition do it within this time.
const SAME_WITHIN: Duration = Duration::from_secs(30);

/// The answer of a store about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<T> {
    /// There is no such store.
    NotUsed,
    /// The store does not answer.
    Away,
    /// The store has nothing about the user.
    Absent,
    /// The store has this about the user.
    Has(T),
}

/// What the shared store has of a user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedUser {
    /// The profile, if it has one.
    pub profile: Option<Arc<Profile>>,
    /// The sessions in the order of their ids, each with the node that has it.
    pub sessions: Vec<(Incarnation, SessionReport)>,
}

/// Everything that is known of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserEvidence {
    /// The time, by the clock of the gateway that was asked.
    pub now: Timestamp,
    /// The user that was asked about.
    pub user: UserId,
    /// The status that the gateway that was asked shows others, and when others last saw the user; `None` if that
    /// cannot be known.
    pub public: Option<(Visible, Option<Timestamp>)>,
    /// The gateways that were asked, that one first, and those that are dead.
    pub gateways: Vec<Gateway<UserReport>>,
    /// What the shared store has.
    pub shared: Stored<SharedUser>,
    /// What the profile store has.
    pub profile: Stored<Profile>,
}

/// Why others are shown what they are shown of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserExplanation {
    /// The status that others are shown.
    pub shown: Visible,
    /// The chain of facts that leads to it, the most important first.
    pub why: Vec<Fact>,
    /// The status that the user chose.
    pub chosen: ChosenSource,
    /// The sessions, each with the place of its gateway in [`UserEvidence::gateways`], if that is there.
    pub sessions: Vec<(Option<usize>, SessionReport)>,
    /// Where gateways and stores disagree.
    pub differences: Vec<Difference>,
    /// The last transitions, newest first, each with the place of the gateway that recorded it.
    pub transitions: Vec<(usize, Transition)>,
}

/// The chosen status, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenSource {
    /// The status that the user chose last, as the newest record has it.
    pub chosen: Chosen,
    /// Its revision; 0 if it was never chosen.
    pub revision: u64,
    /// When the chosen status ends; `None` if it does not end by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was chosen, if a store or a gateway knows that.
    pub at: Option<Timestamp>,
    /// Who chose it, if a gateway has recorded that; or [`Cause::Expiry`], if the status before has ended.
    pub by: Option<Cause>,
    /// The place of the gateway that recorded it, in [`UserEvidence::gateways`].
    pub gateway: Option<usize>,
}

/// All transitions, newest first, each with the place of the gateway that recorded it. What two gateways have recorded
/// of the death of a third one is there once.
pub fn merged<'a>(
    recorded: impl IntoIterator<Item = (usize, &'a [Transition])>,
) -> Vec<(usize, Transition)> {
    let recorded = recorded.into_iter();
    let mut all: Vec<(usize, Transition)> = recorded
        .flat_map(|(gateway, transitions)| {
            let transitions = transitions.iter();
            transitions.map(move |it| (gateway, it.clone()))
        })
        .collect();
    // Stable, and each gateway's are newest first already.
    all.sort_by_key(|(_, it)| std::cmp::Reverse(it.at));
    let mut once: Vec<(usize, Transition)> = Vec::with_capacity(all.len());
    // From the oldest on, so that the first who noticed stays.
    for (gateway, it) in all.into_iter().rev() {
        let is_same = |(other, before): &&(usize, Transition)| {
            let mut same = before.clone();
            same.at = it.at;
            // A dead gateway that wakes up records the end that another one has recorded already.
            if let (TransitionKind::NodeDied(_), TransitionKind::Ended(Reason::NodeLost)) =
                (same.what, it.what)
            {
                same.what = it.what;
            }
            *other != gateway && same == it && it.at.since(before.at) <= SAME_WITHIN
        };
        let is_known = it.cause == Cause::NodeLost && once.iter().rev().any(|it| is_same(&it));
        if !is_known {
            once.push((gateway, it));
        }
    }
    once.reverse();
    once
}

impl UserEvidence {
    /// Computes the explanation from the evidence.
    pub fn explain(&self) -> UserExplanation {
        let reports = self.gateways.iter().enumerate();
        let recorded = reports.filter_map(|(index, it)| {
            let report = it.report.as_ref()?;
            Some((index, &report.transitions[..]))
        });
        let mut transitions = merged(recorded);
        let sessions = self.sessions();
        let chosen = self.chosen(&transitions);
        let (shown, computed) = self.shown(&sessions, &chosen);
        let mut why = Vec::new();
        self.first(shown, &sessions, &chosen, &mut why);
        self.connections(&sessions, &mut why);
        self.choice(&chosen, &mut why);
        if sessions.is_empty() {
            self.departure(&transitions, &mut why);
        }
        self.silence(&mut why);
        let differences = self.differences(shown, computed, &chosen);
        transitions.truncate(RECORDED_MAX);
        UserExplanation {
            shown,
            why,
            chosen,
            sessions,
            differences,
            transitions,
        }
    }

    fn known(&self) -> impl Iterator<Item = (&Gateway<UserReport>, &Known)> {
        self.gateways.iter().filter_map(|gateway| {
            let report = gateway.report.as_ref()?;
            match &report.view {
                View::Known(known) => Some((gateway, known)),
                View::Unknown | View::Loading => None,
            }
        })
    }

    /// The sessions that gateways have, and those that only the shared store knows, because their gateway is silent.
    fn sessions(&self) -> Vec<(Option<usize>, SessionReport)> {
        let mut sessions: Vec<(Option<usize>, SessionReport)> = Vec::new();
        for (index, gateway) in self.gateways.iter().enumerate() {
            let reported = gateway.report.iter().flat_map(|it| &it.sessions);
            sessions.extend(reported.map(|it| (Some(index), it.clone())));
        }
        if let Stored::Has(shared) = &self.shared {
            for (owner, stored) in &shared.sessions {
                let index = self.gateways.iter().position(|it| it.who == *owner);
                let state = index.map(|it| self.gateways[it].state);
                let is_there = sessions.iter().any(|(_, it)| it.session == stored.session);
                let has_nobody_else = matches!(state, None | Some(GatewayState::Silent { .. }));
                if has_nobody_else && !is_there {
                    sessions.push((index, stored.clone()));
                }
            }
        }
        sessions
    }

    /// The chosen status as the newest of all records has it.
    fn chosen(&self, transitions: &[(usize, Transition)]) -> ChosenSource {
        let (mut newest, mut at) = ((0, Chosen::Online, None), None);
        let mut consider = |revision, chosen, expires_at| {
            let is_newer = revision > newest.0;
            if is_newer {
                newest = (revision, chosen, expires_at);
            }
            is_newer
        };
        for (_, known) in self.known().filter(|(_, it)| !it.is_unsure) {
            consider(known.revision, known.chosen, known.expires_at);
        }
        for profile in self
            .shared_profile()
            .into_iter()
            .chain(self.stored_profile())
        {
            let status = &profile.status;
            consider(status.revision, status.chosen, status.expires_at);
        }
        let (revision, chosen, expires_at) = newest;
        // The status of a user without a session ends when somebody reads it, so no gateway records the end.
        if let Some(end) = expires_at.filter(|end| *end <= self.now) {
            return ChosenSource {
                chosen: Chosen::Online,
                revision,
                expires_at: None,
                at: Some(end),
                by: Some(Cause::Expiry),
                gateway: None,
            };
        }
        for profile in self
            .shared_profile()
            .into_iter()
            .chain(self.stored_profile())
        {
            let moment = profile.moments.chosen;
            if profile.status.chosen == chosen && moment > Timestamp::default() {
                at = at.max(Some(moment));
            }
        }
        // The first of the last choices that chose the same: the others changed the message, for instance.
        let choices = transitions
            .iter()
            .filter_map(|(gateway, it)| match it.what {
                TransitionKind::Chose(chosen) => Some((*gateway, it, chosen)),
                _ => None,
            });
        let same = choices.take_while(|(.., it)| *it == chosen);
        let first = same.last();
        ChosenSource {
            chosen,
            revision,
            expires_at,
            at: first.map(|(_, it, _)| it.at).or(at),
            by: first.map(|(_, it, _)| it.cause),
            gateway: first.map(|(gateway, ..)| gateway),
        }
    }

    fn shared_profile(&self) -> Option<&Profile> {
        match &self.shared {
            Stored::Has(shared) => shared.profile.as_deref(),
            _ => None,
        }
    }

    fn stored_profile(&self) -> Option<&Profile> {
        match &self.profile {
            Stored::Has(profile) if !profile.is_blank() => Some(profile),
            _ => None,
        }
    }

    /// What others are shown, and what follows from the sessions.
    fn shown(
        &self,
        sessions: &[(Option<usize>, SessionReport)],
        chosen: &ChosenSource,
    ) -> (Visible, Visible) {
        let here = sessions.iter().map(|(_, it)| match it.is_active {
            true => Here::Active,
            false => Here::Idle,
        });
        let computed = chosen.chosen.shown(here.max().unwrap_or(Here::Nowhere));
        let shown = self.public.map(|(shown, _)| shown);
        let known = || self.known().next().map(|(_, it)| it.shown);
        (shown.or_else(known).unwrap_or(computed), computed)
    }

    /// The fact that others are shown this, and why.
    fn first(
        &self,
        shown: Visible,
        sessions: &[(Option<usize>, SessionReport)],
        chosen: &ChosenSource,
        why: &mut Vec<Fact>,
    ) {
        let total = sessions.len();
        let active = sessions.iter().filter(|(_, it)| it.is_active).count();
        let is_unsure = self.known().any(|(_, it)| it.is_unsure) && total > 0;
        let because = match (shown, chosen.chosen) {
            _ if self.public.is_none() && self.known().next().is_none() && total == 0 => {
                FactKind::Unknown
            }
            (Visible::Offline, _) if is_unsure => FactKind::ProfileUnread,
            (Visible::Offline, chosen) if chosen.hides() => FactKind::Hides { chosen, total },
            (Visible::Offline, _) => FactKind::NoSession,
            (Visible::Busy, _) | (Visible::Away, Chosen::Away) => {
                FactKind::AsChosen { shown, total }
            }
            (Visible::Away, _) => FactKind::AllIdle { total },
            (Visible::Online, _) => FactKind::Active { active, total },
        };
        let since = sessions.iter().filter_map(|(_, it)| it.active_since).max();
        why.push(Fact {
            at: match because {
                FactKind::AllIdle { .. } => since,
                _ => None,
            },
            ..Fact::new(because)
        });
    }

    /// Whether any session has a connection.
    fn connections(&self, sessions: &[(Option<usize>, SessionReport)], why: &mut Vec<Fact>) {
        let is_any_active = sessions.iter().any(|(_, it)| it.is_active);
        let deciding = sessions
            .iter()
            .filter(|(_, it)| it.is_active == is_any_active);
        let held = deciding.map(|(_, it)| match it.state {
            SessionState::Held { since, until, .. } => Some((since, until)),
            SessionState::Ending { since, .. } => Some((Some(since), since)),
            SessionState::Connected | SessionState::Unanswered => None,
        });
        if let Some(held) = held.collect::<Option<Vec<_>>>().filter(|it| !it.is_empty()) {
            let until = held.iter().map(|(_, until)| *until).max();
            why.push(Fact {
                at: held.iter().filter_map(|(since, _)| *since).max(),
                ..Fact::new(FactKind::OnlyHeld {
                    held: held.len(),
                    total: sessions.len(),
                    until: until.unwrap_or_default(),
                })
            });
        }
        let total = sessions.len();
        if total > 0 && sessions.iter().all(|(_, it)| it.by_service) {
            why.push(Fact::new(FactKind::OnlyServices { total }));
        }
    }

    fn choice(&self, chosen: &ChosenSource, why: &mut Vec<Fact>) {
        why.push(Fact {
            at: chosen.at,
            gateway: chosen.gateway.map(|it| self.gateways[it].name.clone()),
            ..Fact::new(FactKind::Chose {
                chosen: chosen.chosen,
                by: chosen.by,
                until: chosen.expires_at,
            })
        });
    }

    /// How the last session ended.
    fn departure(&self, transitions: &[(usize, Transition)], why: &mut Vec<Fact>) {
        let last = transitions.iter().find_map(|(gateway, it)| {
            let is_end = matches!(
                it.what,
                TransitionKind::Ended(_) | TransitionKind::NodeDied(_)
            );
            Some((gateway, it, it.what.reason()?)).filter(|_| is_end)
        });
        let Some((gateway, last, reason)) = last else {
            let seen = self.public.and_then(|(_, seen)| seen);
            let stored = |profile: Option<&Profile>| profile.and_then(|it| it.last_seen);
            let seen = seen
                .or_else(|| stored(self.shared_profile()))
                .or_else(|| stored(self.stored_profile()));
            let is_known = self.shared_profile().or(self.stored_profile()).is_some();
            match seen {
                Some(at) => why.push(Fact {
                    at: Some(at),
                    ..Fact::new(FactKind::LastSeen)
                }),
                None if transitions.is_empty() && !is_known => {
                    why.push(Fact::new(FactKind::NothingKnown));
                }
                None => {}
            }
            return;
        };
        let lost = transitions.iter().find_map(|(_, it)| {
            let is_of = it.session == last.session && it.at <= last.at;
            let is_loss = matches!(it.what, TransitionKind::Disconnected { .. });
            (is_of && is_loss).then_some((it.at, it.cause))
        });
        let died = match last.what {
            TransitionKind::NodeDied(who) => self.gateways.iter().find(|it| it.who == who),
            _ => self.gateways.get(*gateway),
        };
        why.push(Fact {
            at: Some(last.at),
            gateway: died.map(|it| it.name.clone()),
            session: last.session,
            ..Fact::new(FactKind::LastEnded {
                reason,
                cause: last.cause,
                lost,
            })
        });
    }

    fn silence(&self, why: &mut Vec<Fact>) {
        for gateway in &self.gateways {
            let GatewayState::Silent { until } = gateway.state else {
                continue;
            };
            let sessions = match &self.shared {
                Stored::Has(shared) => shared.sessions.iter(),
                _ => [].iter(),
            };
            let sessions = sessions.filter(|(owner, _)| *owner == gateway.who);
            let has_lapsed = until < self.now;
            why.push(Fact {
                gateway: Some(gateway.name.clone()),
                at: has_lapsed.then_some(until),
                ..Fact::new(FactKind::Silent {
                    sessions: sessions.count(),
                    has_lapsed,
                })
            });
        }
    }

    fn differences(
        &self,
        shown: Visible,
        computed: Visible,
        chosen: &ChosenSource,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        let newest = chosen.revision;
        match &self.profile {
            Stored::Away => found.push(Difference::ProfilesAway),
            Stored::Absent if newest > 0 && !self.user.is_anonymous() => {
                let stored = None;
                found.push(Difference::ProfileBehind { stored, newest });
            }
            Stored::Has(profile) if profile.is_blank() => {}
            Stored::Has(profile) if profile.status.revision != newest => {
                let stored = Some(profile.status.revision);
                found.push(Difference::ProfileBehind { stored, newest });
            }
            Stored::NotUsed | Stored::Absent | Stored::Has(_) => {}
        }
        for (gateway, known) in self.known() {
            if known.revision < newest {
                found.push(Difference::GatewayBehind {
                    gateway: gateway.name.clone(),
                    has: known.revision,
                    newest,
                });
            }
            if known.shown != shown && gateway.state != GatewayState::Here {
                found.push(Difference::ShownElsewhere {
                    gateway: gateway.name.clone(),
                    shown: known.shown,
                    here: shown,
                });
            }
        }
        let is_unsure = self.known().any(|(_, it)| it.is_unsure);
        if shown != computed && !is_unsure {
            found.push(Difference::NotAsComputed { shown, computed });
        }
        match &self.shared {
            Stored::Away => found.push(Difference::SharedAway),
            Stored::Has(shared) => self.differences_of_store(shared, newest, &mut found),
            Stored::Absent => {
                let empty = SharedUser::default();
                self.differences_of_store(&empty, 0, &mut found);
            }
            Stored::NotUsed => {}
        }
        found
    }

    fn differences_of_store(&self, shared: &SharedUser, newest: u64, found: &mut Vec<Difference>) {
        let profile = shared.profile.as_ref();
        let stored = profile.map(|it| it.status.revision);
        // The store need not have a user without a session who changes nothing.
        if stored.is_some_and(|it| it < newest) {
            found.push(Difference::SharedBehind { stored, newest });
        }
        for (owner, stored) in &shared.sessions {
            let gateway = self.gateways.iter().find(|it| it.who == *owner);
            let Some(gateway) = gateway else {
                continue;
            };
            let (session, name) = (stored.session, gateway.name.clone());
            let report = gateway.report.as_ref();
            let has = report.map(|it| it.sessions.iter().any(|it| it.session == session));
            match (gateway.state, has) {
                (GatewayState::Dead { .. }, _) => found.push(Difference::OfDead {
                    session,
                    gateway: name,
                }),
                (_, Some(false)) => found.push(Difference::OnlyInStore {
                    session,
                    gateway: name,
                }),
                _ => {}
            }
        }
        for gateway in &self.gateways {
            for it in gateway.report.iter().flat_map(|it| &it.sessions) {
                let mut stored = shared.sessions.iter();
                if !stored.any(|(_, stored)| stored.session == it.session) {
                    found.push(Difference::NotInStore {
                        session: it.session,
                        gateway: gateway.name.clone(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionId;

    #[test]
    fn an_end_that_the_dead_gateway_records_when_it_wakes_up_is_there_once() {
        let dead = Incarnation {
            node: 1,
            generation: 0,
        };
        let ended = |at, session, what| Transition {
            at: Timestamp::from_millis(at),
            user: UserId::new("ann").unwrap(),
            session: Some(SessionId::from_u128(session)),
            channel: None,
            what,
            cause: Cause::NodeLost,
        };
        let reaped = [ended(5_000, 1, TransitionKind::NodeDied(dead))];
        let woken = [
            ended(9_000, 2, TransitionKind::Ended(Reason::NodeLost)),
            ended(9_000, 1, TransitionKind::Ended(Reason::NodeLost)),
        ];
        let all = merged([(0, &reaped[..]), (1, &woken[..])]);
        assert_eq!(all, [(1, woken[0].clone()), (0, reaped[0].clone())]);
    }
}
