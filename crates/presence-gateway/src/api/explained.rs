//! The JSON of explanations. It is read by people, so times are text in UTC, and every fact is also a sentence.

use presence_core::cluster::Incarnation;
use presence_core::explain::{
    Difference, Fact, Gateway, GatewayState, Mode, RoomEvidence, RoomExplanation, RoomMember,
    RoomReport, SessionReport, SessionState, Stored, UserEvidence, UserExplanation, UserReport,
    View, rfc3339, sentence,
};
use presence_core::history::{Cause, Transition, TransitionKind};
use presence_core::{Profile, Timestamp};
use presence_protocol::{Activity, DeviceKind};
use serde::Serialize;

use crate::native::events::{activity_of, kind_of};

/// The names of the gateways of an explanation.
struct Names<'a> {
    /// Each gateway, and its name for people.
    all: Vec<(Incarnation, &'a str)>,
}

impl<'a> Names<'a> {
    fn of<R>(gateways: &'a [Gateway<R>]) -> Self {
        let all = gateways.iter().map(|it| (it.who, &*it.name));
        Names { all: all.collect() }
    }

    fn at(&self, index: Option<usize>) -> Option<&'a str> {
        index.and_then(|it| self.all.get(it)).map(|(_, name)| *name)
    }

    fn text(&self, who: Incarnation) -> String {
        let known = self.all.iter().find(|(it, _)| *it == who);
        known.map_or_else(|| who.to_string(), |(_, name)| (*name).to_owned())
    }
}

/// The explanation of a user.
#[derive(Debug, Serialize)]
pub(super) struct User<'a> {
    user_id: &'a str,
    asked_at: String,
    gateway: &'a str,
    shown: &'static str,
    why: Vec<FactShape>,
    chosen: ChosenShape<'a>,
    sessions: Vec<SessionShape<'a>>,
    says: Says<'a>,
    differences: Vec<DifferenceShape>,
    history: Vec<TransitionShape<'a>>,
    gateways: Vec<GatewayShape<'a>>,
    silent: Vec<&'a str>,
}

impl<'a> User<'a> {
    /// The answer of the gateway with the name `here`. Of the dead gateways, those in `stopped` have ended on purpose. An
    /// owner is not told who watches them.
    pub(super) fn of(
        evidence: &'a UserEvidence,
        explanation: &'a UserExplanation,
        here: &'a str,
        stopped: &[Incarnation],
        is_owner: bool,
    ) -> Self {
        let names = Names::of(&evidence.gateways);
        let now = evidence.now;
        let UserExplanation { chosen, .. } = explanation;
        let sessions = explanation.sessions.iter();
        let history = explanation.transitions.iter();
        User {
            user_id: evidence.user.as_str(),
            asked_at: rfc3339(now),
            gateway: here,
            shown: explanation.shown.as_str(),
            why: facts(now, &explanation.why),
            chosen: ChosenShape {
                status: chosen.chosen.as_str(),
                revision: chosen.revision,
                since: chosen.at.map(rfc3339),
                by: chosen.by.map(Cause::as_str),
                gateway: names.at(chosen.gateway),
                expires_at: chosen.expires_at.map(rfc3339),
            },
            sessions: sessions
                .map(|(gateway, it)| SessionShape::of(it, names.at(*gateway)))
                .collect(),
            says: Says::of(evidence, &names, is_owner),
            differences: differences(&explanation.differences),
            history: history
                .map(|(gateway, it)| TransitionShape::of(now, it, *gateway, &names))
                .collect(),
            gateways: gateways(&evidence.gateways, &names, stopped),
            silent: silent(&evidence.gateways, &names),
        }
    }
}

#[derive(Debug, Serialize)]
struct FactShape {
    fact: &'static str,
    text: String,
    at: Option<String>,
    gateway: Option<String>,
    session: Option<String>,
}

fn facts(now: Timestamp, facts: &[Fact]) -> Vec<FactShape> {
    let facts = facts.iter().map(|fact| FactShape {
        fact: fact.code(),
        text: fact.text(now),
        at: fact.at.map(rfc3339),
        gateway: fact.gateway.as_deref().map(str::to_owned),
        session: fact.session.map(|it| it.to_string()),
    });
    facts.collect()
}

#[derive(Debug, Serialize)]
struct DifferenceShape {
    difference: &'static str,
    text: String,
}

fn differences(differences: &[Difference]) -> Vec<DifferenceShape> {
    let differences = differences.iter().map(|it| DifferenceShape {
        difference: it.code(),
        text: it.text(),
    });
    differences.collect()
}

#[derive(Debug, Serialize)]
struct ChosenShape<'a> {
    status: &'static str,
    revision: u64,
    since: Option<String>,
    by: Option<&'static str>,
    gateway: Option<&'a str>,
    expires_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct SessionShape<'a> {
    session: String,
    gateway: Option<&'a str>,
    device_id: &'a str,
    device: DeviceKind,
    dialect: Option<&'a str>,
    address: Option<&'a str>,
    by_service: bool,
    state: &'static str,
    connected_since: Option<String>,
    last_heard: String,
    activity: Activity,
    active: bool,
    active_since: Option<String>,
    lost_at: Option<String>,
    lost_reason: Option<&'static str>,
    held_until: Option<String>,
    channels: Vec<&'a str>,
    channels_total: usize,
}

impl<'a> SessionShape<'a> {
    fn of(it: &'a SessionReport, gateway: Option<&'a str>) -> Self {
        let (state, lost_at, held_until, reason) = match it.state {
            SessionState::Connected => ("connected", None, None, None),
            SessionState::Held {
                since,
                until,
                reason,
            } => ("held", since, Some(until), Some(reason)),
            SessionState::Ending { since, reason } => ("ending", None, Some(since), Some(reason)),
            SessionState::Unanswered => ("unanswered", None, None, None),
        };
        let origin = it.origin.as_ref();
        SessionShape {
            session: it.session.to_string(),
            gateway,
            device_id: it.device.as_str(),
            device: kind_of(it.device.kind()),
            dialect: origin.map(|it| &*it.dialect),
            address: origin.and_then(|it| it.address.as_deref()),
            by_service: it.by_service,
            state,
            connected_since: it.connected_at.map(rfc3339),
            last_heard: rfc3339(it.heard_at),
            activity: activity_of(it.activity),
            active: it.is_active,
            active_since: it.active_since.map(rfc3339),
            lost_at: lost_at.map(rfc3339),
            lost_reason: reason.map(|it| it.as_str()),
            held_until: held_until.map(rfc3339),
            channels: it.channels.iter().map(|it| it.as_str()).collect(),
            channels_total: it.channels_total,
        }
    }
}

/// What each of those who know something says by itself.
#[derive(Debug, Serialize)]
struct Says<'a> {
    gateways: Vec<GatewaySays<'a>>,
    shared_store: StoreSays,
    profile_store: StoreSays,
}

#[derive(Debug, Serialize)]
struct GatewaySays<'a> {
    gateway: Option<&'a str>,
    knows: &'static str,
    shown: Option<&'static str>,
    chosen: Option<&'static str>,
    revision: Option<u64>,
    sessions: usize,
    sessions_elsewhere: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watchers: Option<usize>,
}

#[derive(Debug, Serialize)]
struct StoreSays {
    state: &'static str,
    chosen: Option<&'static str>,
    revision: Option<u64>,
    expires_at: Option<String>,
    last_seen: Option<String>,
    sessions: Option<usize>,
}

impl<'a> Says<'a> {
    fn of(evidence: &'a UserEvidence, names: &Names<'a>, is_owner: bool) -> Self {
        let gateways = evidence.gateways.iter().enumerate();
        let gateways = gateways.filter_map(|(index, it)| {
            let says = GatewaySays::of(it.report.as_ref()?, names.at(Some(index)), is_owner);
            Some(says)
        });
        Says {
            gateways: gateways.collect(),
            shared_store: match &evidence.shared {
                Stored::NotUsed => StoreSays::nothing("none"),
                Stored::Away => StoreSays::nothing("away"),
                Stored::Absent => StoreSays::nothing("nothing"),
                Stored::Has(user) => StoreSays {
                    sessions: Some(user.sessions.len()),
                    ..StoreSays::of(user.profile.as_deref())
                },
            },
            profile_store: match &evidence.profile {
                Stored::NotUsed => StoreSays::nothing("none"),
                Stored::Away => StoreSays::nothing("away"),
                Stored::Absent => StoreSays::nothing("nothing"),
                Stored::Has(profile) => StoreSays::of(Some(profile)),
            },
        }
    }
}

impl<'a> GatewaySays<'a> {
    fn of(report: &UserReport, gateway: Option<&'a str>, is_owner: bool) -> Self {
        let (knows, known) = match &report.view {
            View::Unknown => ("nothing", None),
            View::Loading => ("loading", None),
            View::Known(known) => ("user", Some(known)),
        };
        GatewaySays {
            gateway,
            knows,
            shown: known.map(|it| it.shown.as_str()),
            chosen: known.map(|it| it.chosen.as_str()),
            revision: known.map(|it| it.revision),
            sessions: report.sessions.len(),
            sessions_elsewhere: known.map(|it| it.elsewhere.len()),
            watchers: known.filter(|_| !is_owner).map(|it| it.watchers),
        }
    }
}

impl StoreSays {
    fn nothing(state: &'static str) -> Self {
        StoreSays {
            state,
            chosen: None,
            revision: None,
            expires_at: None,
            last_seen: None,
            sessions: None,
        }
    }

    fn of(profile: Option<&Profile>) -> Self {
        let status = profile.map(|it| &it.status);
        StoreSays {
            state: "present",
            chosen: status.map(|it| it.chosen.as_str()),
            revision: status.map(|it| it.revision),
            expires_at: status.and_then(|it| it.expires_at).map(rfc3339),
            last_seen: profile.and_then(|it| it.last_seen).map(rfc3339),
            sessions: None,
        }
    }
}

#[derive(Debug, Serialize)]
struct TransitionShape<'a> {
    at: String,
    gateway: Option<&'a str>,
    user_id: &'a str,
    what: &'static str,
    text: String,
    session: Option<String>,
    channel: Option<&'a str>,
    cause: &'static str,
    reason: Option<&'static str>,
    from: Option<&'static str>,
    to: Option<&'static str>,
    held_until: Option<String>,
}

impl<'a> TransitionShape<'a> {
    fn of(now: Timestamp, it: &'a Transition, gateway: usize, names: &Names<'a>) -> Self {
        let (from, to) = match it.what {
            TransitionKind::Shown { from, to } => (Some(from.as_str()), Some(to.as_str())),
            TransitionKind::Chose(chosen) => (None, Some(chosen.as_str())),
            _ => (None, None),
        };
        let held_until = match it.what {
            TransitionKind::Disconnected { until } => Some(rfc3339(until)),
            _ => None,
        };
        TransitionShape {
            at: rfc3339(it.at),
            gateway: names.at(Some(gateway)),
            user_id: it.user.as_str(),
            what: it.what.as_str(),
            text: sentence(now, it, |who| names.text(who)),
            session: it.session.map(|it| it.to_string()),
            channel: it.channel.as_ref().map(|it| it.as_str()),
            cause: it.cause.as_str(),
            reason: it.what.reason().map(|it| it.as_str()),
            from,
            to,
            held_until,
        }
    }
}

#[derive(Debug, Serialize)]
struct GatewayShape<'a> {
    gateway: &'a str,
    id: String,
    state: &'static str,
    lease_until: Option<String>,
    dead_since: Option<String>,
}

fn gateways<'a, R>(
    gateways: &[Gateway<R>],
    names: &Names<'a>,
    stopped: &[Incarnation],
) -> Vec<GatewayShape<'a>> {
    let gateways = gateways.iter().zip(&names.all).map(|(it, (_, name))| {
        let (state, lease_until, dead_since) = match it.state {
            GatewayState::Here => ("here", None, None),
            GatewayState::Answered => ("answered", None, None),
            GatewayState::Silent { until } => ("silent", Some(until), None),
            GatewayState::Dead { since } if stopped.contains(&it.who) => {
                ("stopped", None, Some(since))
            }
            GatewayState::Dead { since } => ("dead", None, Some(since)),
        };
        GatewayShape {
            gateway: name,
            id: it.who.to_string(),
            state,
            lease_until: lease_until.map(rfc3339),
            dead_since: dead_since.map(rfc3339),
        }
    });
    gateways.collect()
}

fn silent<'a, R>(gateways: &[Gateway<R>], names: &Names<'a>) -> Vec<&'a str> {
    let gateways = gateways.iter().zip(&names.all);
    let silent = gateways.filter(|(it, _)| matches!(it.state, GatewayState::Silent { .. }));
    silent.map(|(_, (_, name))| *name).collect()
}

/// The explanation of a channel.
#[derive(Debug, Serialize)]
pub(super) struct Room<'a> {
    channel_id: &'a str,
    asked_at: String,
    gateway: &'a str,
    people: usize,
    sessions: usize,
    why: Vec<FactShape>,
    members: Vec<MemberShape<'a>>,
    by_gateway: Vec<RoomSays<'a>>,
    differences: Vec<DifferenceShape>,
    history: Vec<TransitionShape<'a>>,
    gateways: Vec<GatewayShape<'a>>,
    silent: Vec<&'a str>,
}

impl<'a> Room<'a> {
    /// The answer of the gateway with the name `here`. Of the dead gateways, those in `stopped` have ended on purpose.
    pub(super) fn of(
        evidence: &'a RoomEvidence,
        explanation: &'a RoomExplanation,
        here: &'a str,
        stopped: &[Incarnation],
    ) -> Self {
        let names = Names::of(&evidence.gateways);
        let now = evidence.now;
        let members = explanation.members.iter();
        let history = explanation.transitions.iter();
        let reports = evidence.gateways.iter().enumerate();
        Room {
            channel_id: evidence.channel.as_str(),
            asked_at: rfc3339(now),
            gateway: here,
            people: explanation.people,
            sessions: explanation.sessions,
            why: facts(now, &explanation.why),
            members: members
                .map(|(gateway, it)| MemberShape::of(it, names.at(*gateway)))
                .collect(),
            by_gateway: reports
                .filter_map(|(index, it)| {
                    Some(RoomSays::of(it.report.as_ref()?, names.at(Some(index))))
                })
                .collect(),
            differences: differences(&explanation.differences),
            history: history
                .map(|(gateway, it)| TransitionShape::of(now, it, *gateway, &names))
                .collect(),
            gateways: gateways(&evidence.gateways, &names, stopped),
            silent: silent(&evidence.gateways, &names),
        }
    }
}

#[derive(Debug, Serialize)]
struct MemberShape<'a> {
    user_id: &'a str,
    session: String,
    gateway: Option<&'a str>,
    joined_at: String,
}

impl<'a> MemberShape<'a> {
    fn of(it: &'a RoomMember, gateway: Option<&'a str>) -> Self {
        MemberShape {
            user_id: it.user.as_str(),
            session: it.session.to_string(),
            gateway,
            joined_at: rfc3339(it.joined_at),
        }
    }
}

#[derive(Debug, Serialize)]
struct RoomSays<'a> {
    gateway: Option<&'a str>,
    follows: bool,
    people: usize,
    sessions: usize,
    sessions_here: usize,
    mode: &'static str,
    tick_ms: u64,
    watchers: WatchersShape,
    version: Option<u64>,
}

#[derive(Debug, Serialize)]
struct WatchersShape {
    full: usize,
    whole: usize,
    summary: usize,
}

impl<'a> RoomSays<'a> {
    fn of(report: &RoomReport, gateway: Option<&'a str>) -> Self {
        let watchers = report.watchers;
        RoomSays {
            gateway,
            follows: report.is_followed,
            people: report.people,
            sessions: report.sessions,
            sessions_here: report.members_total,
            mode: match report.mode {
                Mode::Listed => "listed",
                Mode::Summarised => "summarised",
            },
            tick_ms: u64::try_from(report.tick.as_millis()).unwrap_or(u64::MAX),
            watchers: WatchersShape {
                full: watchers.full - watchers.whole.min(watchers.full),
                whole: watchers.whole,
                summary: watchers.summary,
            },
            version: report.clock.map(|it| it.version),
        }
    }
}
