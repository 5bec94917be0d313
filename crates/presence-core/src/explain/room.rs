//! The explanation of a channel.

use std::collections::BTreeSet;

use super::fact::{Difference, Fact, FactKind};
use super::report::{Gateway, GatewayState, Mode, RECORDED_MAX, RoomMember, RoomReport};
use super::user::merged;
use crate::history::Transition;
use crate::{ChannelId, Timestamp};

/// Everything that is known of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomEvidence {
    /// The time, by the clock of the gateway that was asked.
    pub now: Timestamp,
    /// The channel that was asked about.
    pub channel: ChannelId,
    /// The gateways that were asked, that one first, and those that are dead. The first one follows the channel.
    pub gateways: Vec<Gateway<RoomReport>>,
}

/// Who is in a channel, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomExplanation {
    /// The number of people that the watchers are shown.
    pub people: usize,
    /// The number of their sessions.
    pub sessions: usize,
    /// What there is to say about it.
    pub why: Vec<Fact>,
    /// The sessions, each with the place of its gateway in [`RoomEvidence::gateways`], if that is there. Some may be
    /// left out where a gateway has many.
    pub members: Vec<(Option<usize>, RoomMember)>,
    /// Where gateways and stores disagree.
    pub differences: Vec<Difference>,
    /// The last transitions, newest first, each with the place of the gateway that recorded it.
    pub transitions: Vec<(usize, Transition)>,
}

impl RoomEvidence {
    /// Computes the explanation from the evidence.
    pub fn explain(&self) -> RoomExplanation {
        let here = self.gateways.first().and_then(|it| it.report.as_ref());
        let empty = RoomReport::default();
        let here = here.unwrap_or(&empty);
        let members = self.members(here);
        let through: BTreeSet<_> = members.iter().filter_map(|(index, _)| *index).collect();
        let mut why = vec![Fact::new(FactKind::People {
            people: here.people,
            sessions: here.sessions,
            gateways: through.len(),
        })];
        if here.mode == Mode::Summarised {
            why.push(Fact::new(FactKind::TooBigToList));
        }
        for gateway in &self.gateways {
            let GatewayState::Silent { until } = gateway.state else {
                continue;
            };
            let theirs = here.elsewhere.iter();
            let theirs = theirs.filter(|it| it.owner == gateway.who);
            let has_lapsed = until < self.now;
            why.push(Fact {
                gateway: Some(gateway.name.clone()),
                at: has_lapsed.then_some(until),
                ..Fact::new(FactKind::Silent {
                    sessions: theirs.count(),
                    has_lapsed,
                })
            });
        }
        let reports = self.gateways.iter().enumerate();
        let recorded = reports.filter_map(|(index, it)| {
            let report = it.report.as_ref()?;
            Some((index, &report.transitions[..]))
        });
        let mut transitions = merged(recorded);
        transitions.truncate(RECORDED_MAX);
        RoomExplanation {
            people: here.people,
            sessions: here.sessions,
            why,
            differences: self.differences(here),
            members,
            transitions,
        }
    }

    /// The sessions that gateways have, and those that the one that was asked shows of silent ones.
    fn members(&self, here: &RoomReport) -> Vec<(Option<usize>, RoomMember)> {
        let mut members: Vec<(Option<usize>, RoomMember)> = Vec::new();
        for (index, gateway) in self.gateways.iter().enumerate() {
            let reported = gateway.report.iter().flat_map(|it| &it.members);
            members.extend(reported.map(|it| (Some(index), it.clone())));
        }
        for member in &here.elsewhere {
            let index = self.gateways.iter().position(|it| it.who == member.owner);
            let is_silent = index.is_none_or(|it| self.gateways[it].report.is_none());
            let mut known = members.iter();
            if is_silent && !known.any(|(_, it)| it.session == member.member.session) {
                members.push((index, member.member.clone()));
            }
        }
        members.sort_by(|(_, a), (_, b)| (a.joined_at, &a.user).cmp(&(b.joined_at, &b.user)));
        members
    }

    fn differences(&self, here: &RoomReport) -> Vec<Difference> {
        let mut found = Vec::new();
        for gateway in self.gateways.iter().skip(1) {
            let Some(report) = &gateway.report else {
                continue;
            };
            let is_whole = report.members.len() == report.members_total;
            let has = |session| report.members.iter().any(|it| it.session == session);
            let shown = || here.elsewhere.iter().filter(|it| it.owner == gateway.who);
            found.extend(
                shown()
                    .filter(|it| is_whole && !has(it.member.session))
                    .map(|it| Difference::ShownNotThere {
                        session: it.member.session,
                        gateway: gateway.name.clone(),
                    }),
            );
            let is_here_whole = here.is_followed && here.elsewhere_total == here.elsewhere.len();
            let missing = report.members.iter();
            let missing = missing.filter(|it| {
                is_here_whole && !shown().any(|shown| shown.member.session == it.session)
            });
            found.extend(missing.map(|it| Difference::ThereNotShown {
                session: it.session,
                gateway: gateway.name.clone(),
            }));
        }
        found
    }
}
