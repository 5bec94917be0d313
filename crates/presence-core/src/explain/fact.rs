//! The facts of an explanation, as data and as a sentence.

use std::sync::Arc;

use super::text::clock_time;
use crate::activity::Activity;
use crate::history::{Cause, Transition, TransitionKind};
use crate::incarnation::Incarnation;
use crate::{Chosen, Reason, SessionId, Timestamp, Visible};

/// One link of the chain that leads to what others are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The kind of fact, with its details.
    pub why: FactKind,
    /// Since when, if that is known.
    pub at: Option<Timestamp>,
    /// The name of the gateway that it is about.
    pub gateway: Option<Arc<str>>,
    /// The session that it is about.
    pub session: Option<SessionId>,
}

/// The kind of a fact, with its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// Others are shown this status, because at least one session is active.
    Active {
        /// How many sessions are active.
        active: usize,
        /// How many sessions there are.
        total: usize,
    },
    /// Others are shown `away`, because all sessions are idle.
    AllIdle {
        /// How many sessions there are.
        total: usize,
    },
    /// Others are shown the status that the user chose.
    AsChosen {
        /// The status that others are shown.
        shown: Visible,
        /// How many sessions there are.
        total: usize,
    },
    /// Others are shown `offline`, because the user hides.
    Hides {
        /// The status that the user chose.
        chosen: Chosen,
        /// How many sessions there are.
        total: usize,
    },
    /// Others are shown `offline`, because there is no session.
    NoSession,
    /// Others are shown `offline`, because the profile cannot be read, and the user might hide.
    ProfileUnread,
    /// Nobody can say what others are shown: the stores do not answer.
    Unknown,
    /// No session that decides what is shown has a connection: they are held for their clients.
    OnlyHeld {
        /// How many sessions decide it: the active ones, or all if none is active.
        held: usize,
        /// How many sessions there are.
        total: usize,
        /// When the last of them ends.
        until: Timestamp,
    },
    /// Only services say that the user is here.
    OnlyServices {
        /// How many sessions services have.
        total: usize,
    },
    /// The user chose the status, or somebody did for them.
    Chose {
        /// The status that the user chose last.
        chosen: Chosen,
        /// Who chose it, if that is known.
        by: Option<Cause>,
        /// When the chosen status ends; `None` if it does not end by itself.
        until: Option<Timestamp>,
    },
    /// The last session ended.
    LastEnded {
        /// The reason that watchers were told.
        reason: Reason,
        /// The event that ended the session.
        cause: Cause,
        /// When its connection was lost, and what ended the connection, if it was lost before.
        lost: Option<(Timestamp, Cause)>,
    },
    /// The user was last seen at this moment, and no gateway has recorded how they left.
    LastSeen,
    /// No gateway has recorded anything of the user, and no store knows them.
    NothingKnown,
    /// A gateway did not answer in time, so what it knows is missing.
    Silent {
        /// The number of sessions that the shared store says are there.
        sessions: usize,
        /// Whether its lease has lapsed, so that it may be dead.
        has_lapsed: bool,
    },
    /// So many people are in the channel.
    People {
        /// The number of people in the channel.
        people: usize,
        /// How many sessions they have in the channel.
        sessions: usize,
        /// The number of gateways that have their connections.
        gateways: usize,
    },
    /// The room is too big to list, so its watchers get a summary.
    TooBigToList,
}

impl Fact {
    pub(super) fn new(why: FactKind) -> Self {
        Fact {
            why,
            at: None,
            gateway: None,
            session: None,
        }
    }

    /// The name of the fact in answers, such as `all_idle`.
    pub fn code(&self) -> &'static str {
        match self.why {
            FactKind::Active { .. } => "active",
            FactKind::AllIdle { .. } => "all_idle",
            FactKind::AsChosen { .. } => "as_chosen",
            FactKind::Hides { .. } => "hides",
            FactKind::NoSession => "no_session",
            FactKind::ProfileUnread => "profile_unread",
            FactKind::Unknown => "unknown",
            FactKind::OnlyHeld { .. } => "only_held",
            FactKind::OnlyServices { .. } => "only_services",
            FactKind::Chose { .. } => "chose",
            FactKind::LastEnded { .. } => "last_ended",
            FactKind::LastSeen => "last_seen",
            FactKind::NothingKnown => "nothing_known",
            FactKind::Silent { .. } => "silent_gateway",
            FactKind::People { .. } => "people",
            FactKind::TooBigToList => "too_big_to_list",
        }
    }

    /// The fact as a sentence, with times as seen from `now`.
    // Longer than a screen because it is a table: an arm for each kind of fact.
    pub fn text(&self, now: Timestamp) -> String {
        let time = |moment| clock_time(now, moment);
        let at = self.at.map(time).unwrap_or_default();
        let on = match &self.gateway {
            Some(gateway) => format!(" on gateway {gateway}"),
            None => String::new(),
        };
        match self.why {
            FactKind::Active { active, total } => {
                let is = if active == 1 { "is" } else { "are" };
                format!("shown online: {active} of {} {is} active", sessions(total))
            }
            FactKind::AllIdle { total: 1 } => {
                format!("shown away: the only session is idle{}", since(&at))
            }
            FactKind::AllIdle { total } => {
                let last = match at.is_empty() {
                    true => String::new(),
                    false => format!(", the last since {at}"),
                };
                format!("shown away: all {total} sessions are idle{last}")
            }
            FactKind::AsChosen { shown, total } => {
                let shown = shown.as_str();
                format!("shown {shown}: this status was chosen, and there {} {}", is(total), sessions(total))
            }
            FactKind::Hides { chosen, total: 0 } => {
                let chosen = chosen.as_str();
                format!("shown offline: no session on any gateway, and the chosen status {chosen} hides them anyway")
            }
            FactKind::Hides { chosen, total } => {
                let chosen = chosen.as_str();
                format!("shown offline: they hide with the chosen status {chosen}, and have {}", sessions(total))
            }
            FactKind::NoSession => "shown offline: no session on any gateway".to_owned(),
            FactKind::ProfileUnread => {
                "shown offline: their profile cannot be read, and they might hide".to_owned()
            }
            FactKind::Unknown => "what others are shown is not known: the stores do not answer".to_owned(),
            FactKind::OnlyHeld { held, total, until } => {
                let (since, until) = (since(&at), time(until));
                let which = match (held, total) {
                    (1, 1) => format!("their only session has no connection{since}: it is"),
                    (1, _) => format!("the only active session has no connection{since}: it is"),
                    (held, total) if held == total => {
                        format!("none of their {} has a connection: the last is", sessions(held))
                    }
                    (held, _) => {
                        format!("none of the {held} active sessions has a connection: the last is")
                    }
                };
                format!("{which} held until {until}, in case the client comes back")
            }
            FactKind::OnlyServices { total } => {
                format!("only services say that they are here, through {}", sessions(total))
            }
            FactKind::Chose { chosen, by, until } => {
                let chosen = chosen.as_str();
                let until = until.map(|it| format!(", until {}", time(it))).unwrap_or_default();
                match (by, at.is_empty()) {
                    (None, true) => format!("chosen status {chosen}{until}"),
                    (None, false) => format!("chosen status {chosen}, since {at}{until}"),
                    (Some(by), _) => {
                        format!("chosen status {chosen}, since {at}{on} {}{until}", by_whom(by))
                    }
                }
            }
            FactKind::LastEnded { reason, cause, lost } => {
                let how = ended(reason, cause);
                let lost = lost.map(|(at, cause)| {
                    format!(" (the connection was lost at {}: {})", time(at), words(cause))
                });
                format!("their last session ended at {at}{on}: {how}{}", lost.unwrap_or_default())
            }
            FactKind::LastSeen => {
                format!("last seen at {at}; no gateway that answered has recorded how they left")
            }
            FactKind::NothingKnown => {
                "no gateway that answered has recorded anything of them, and no store that answered knows them".to_owned()
            }
            FactKind::Silent { sessions: there, has_lapsed } => {
                let gateway = self.gateway.as_deref().unwrap_or("?");
                let has = match there {
                    0 => String::new(),
                    _ => format!("; the shared store says that {} {} there", sessions(there), is(there)),
                };
                let lapsed = match has_lapsed {
                    true => format!(", and its lease lapsed at {at}, so it is probably dead"),
                    false => String::new(),
                };
                format!("gateway {gateway} did not answer in time{lapsed}: what only it knows is missing here{has}")
            }
            FactKind::People { people, sessions: there, gateways } => {
                let through = match gateways {
                    0 => String::new(),
                    1 => ", through 1 gateway".to_owned(),
                    many => format!(", through {many} gateways"),
                };
                let people = match people {
                    0 => return "nobody is shown in the channel".to_owned(),
                    1 => "1 person".to_owned(),
                    many => format!("{many} people"),
                };
                format!("{people} with {}{through}", sessions(there))
            }
            FactKind::TooBigToList => {
                "the room is too big to list: its watchers get a count and some of the people".to_owned()
            }
        }
    }
}

fn sessions(count: usize) -> String {
    match count {
        1 => "1 session".to_owned(),
        many => format!("{many} sessions"),
    }
}

fn is(count: usize) -> &'static str {
    match count {
        1 => "is",
        _ => "are",
    }
}

fn since(at: &str) -> String {
    match at.is_empty() {
        true => String::new(),
        false => format!(" since {at}"),
    }
}

fn by_whom(by: Cause) -> &'static str {
    match by {
        Cause::Client => "by a client of theirs",
        Cause::Owner => "by themselves, over the HTTP API",
        Cause::Service => "by a service, over the HTTP API",
        Cause::Expiry => "because the status before had an end, which came",
        _ => "by something else",
    }
}

fn ended(reason: Reason, cause: Cause) -> &'static str {
    match (reason, cause) {
        (Reason::Left, Cause::Service) => "a service took them out",
        (Reason::Left, Cause::Operator) => "an operator ended the connection",
        (Reason::Left, _) => "the client left",
        (Reason::Lost | Reason::TimedOut, Cause::GraceOver) => {
            "the client was not back within the grace time"
        }
        (Reason::Lost | Reason::TimedOut, Cause::Silence) => "it was not heard from for too long",
        (Reason::Lost, _) => "the connection was lost",
        (Reason::TimedOut, _) => "the client was silent for too long",
        (Reason::Replaced, _) => "a newer connection took it over",
        (Reason::NodeLost, _) => "its gateway died",
        (Reason::Kicked, Cause::Erasure) => "the user was erased",
        (Reason::Kicked, _) => "the user was kicked",
    }
}

/// A transition as a sentence without a subject, with times as seen from `now`. `name_of` has the names of gateways.
pub fn sentence(
    now: Timestamp,
    it: &Transition,
    name_of: impl Fn(Incarnation) -> String,
) -> String {
    let channel = it.channel.as_ref().map(ToString::to_string);
    let channel = channel.unwrap_or_default();
    let why = words(it.cause);
    // What a client does is a transition of its own, at the same moment.
    let because = match it.cause {
        Cause::Client => String::new(),
        _ => format!(": {why}"),
    };
    match it.what {
        TransitionKind::Shown { from, to } => {
            format!("shown {}, was {}{because}", to.as_str(), from.as_str())
        }
        TransitionKind::Began => format!("a session began{because}"),
        TransitionKind::Resumed => "a session went on in a new connection".to_owned(),
        TransitionKind::CameFrom(who) => {
            format!("a session came from gateway {}, and went on", name_of(who))
        }
        TransitionKind::WentTo(who) => format!("a session went on at gateway {}", name_of(who)),
        TransitionKind::Restored => {
            "a session was restored after a restart, and is held".to_owned()
        }
        TransitionKind::Disconnected { until } => {
            let until = clock_time(now, until);
            format!("the connection was lost: {why}; the session is held until {until}")
        }
        TransitionKind::Ended(reason) => format!("a session ended: {}", ended(reason, it.cause)),
        TransitionKind::NodeDied(who) => {
            format!("a session ended: its gateway {} died", name_of(who))
        }
        TransitionKind::Joined => match it.cause {
            Cause::Client | Cause::Service => format!("joined {channel}{because}"),
            _ => format!("shown in {channel} again: {why}"),
        },
        TransitionKind::Left(_) if it.cause == Cause::Hid => format!("left {channel}: {why}"),
        TransitionKind::Left(reason) => format!("left {channel}: {}", ended(reason, it.cause)),
        TransitionKind::Reported(Activity::Active) => "the client says: active".to_owned(),
        TransitionKind::Reported(Activity::Idle) => "the client says: idle".to_owned(),
        TransitionKind::Reported(Activity::Hidden) => {
            "the client says: in the background".to_owned()
        }
        TransitionKind::Chose(chosen) => format!("chose {}: {why}", chosen.as_str()),
        TransitionKind::Erased => "was erased".to_owned(),
    }
}

/// What a cause means, in words that follow a colon.
fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Client => "the client asked for it",
        Cause::Owner => "the user asked for it, over the HTTP API",
        Cause::Service => "a service asked for it",
        Cause::Broken => "it broke",
        Cause::ClientClosed => "the client closed it without a goodbye, as a reload does",
        Cause::Silence => "the client was silent for too long",
        Cause::Drain => "the gateway stopped",
        Cause::TokenEnded => "the token ended",
        Cause::TooSlow => "the client did not read",
        Cause::Misuse => "the client broke the protocol or its limits",
        Cause::Hid => "they began to hide",
        Cause::GraceOver => "the client was not back within the grace time",
        Cause::Background => "the client was in the background for long",
        Cause::Expiry => "the status had an end, which came",
        Cause::Operator => "an operator ended the connection",
        Cause::Kick => "the user was kicked",
        Cause::Erasure => "the user was erased",
        Cause::NodeLost => "its gateway died",
        Cause::OtherNode => "another gateway or the shared store said so",
        Cause::Restart => "the gateway was started again",
        Cause::ProfileRead => "the stored profile was read",
    }
}

/// What the gateways and the stores do not agree about. A difference that is gone a few seconds later is a change on
/// its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The shared store does not answer.
    SharedAway,
    /// The profile store does not answer.
    ProfilesAway,
    /// The profile store has another revision of the status than the newest that is known.
    ProfileBehind {
        /// The revision in the profile store; `None` if it has no profile.
        stored: Option<u64>,
        /// The newest revision that is known.
        newest: u64,
    },
    /// The shared store has another revision of the status than the newest that is known.
    SharedBehind {
        /// The revision in the shared store; `None` if it has no profile.
        stored: Option<u64>,
        /// The newest revision that is known.
        newest: u64,
    },
    /// A gateway has an older revision of the status than the newest that is known.
    GatewayBehind {
        /// The name of the gateway.
        gateway: Arc<str>,
        /// The revision that it has.
        has: u64,
        /// The newest revision that is known.
        newest: u64,
    },
    /// A gateway shows another status than the one that was asked.
    ShownElsewhere {
        /// The name of the gateway.
        gateway: Arc<str>,
        /// The status that it shows.
        shown: Visible,
        /// The status that the gateway that was asked shows.
        here: Visible,
    },
    /// The status that is shown does not follow from the sessions and the chosen status.
    NotAsComputed {
        /// The status that is shown.
        shown: Visible,
        /// The status that follows from the sessions and the chosen status.
        computed: Visible,
    },
    /// The shared store has a session of a gateway that answered and does not have it.
    OnlyInStore {
        /// The session that only the shared store has.
        session: SessionId,
        /// The name of the gateway.
        gateway: Arc<str>,
    },
    /// The shared store has a session of a gateway that is dead.
    OfDead {
        /// The session that nobody has any more.
        session: SessionId,
        /// The name of the gateway.
        gateway: Arc<str>,
    },
    /// A gateway has a session that the shared store does not have.
    NotInStore {
        /// The session that the shared store lacks.
        session: SessionId,
        /// The name of the gateway.
        gateway: Arc<str>,
    },
    /// A gateway shows a session of another one, which answered and does not have it.
    ShownNotThere {
        /// The session that is shown though nobody has it.
        session: SessionId,
        /// The name of the gateway that should have it.
        gateway: Arc<str>,
    },
    /// A gateway has a session in the channel that the gateway that was asked does not show.
    ThereNotShown {
        /// The session that is there and is not shown.
        session: SessionId,
        /// The name of the gateway that has it.
        gateway: Arc<str>,
    },
}

impl Difference {
    /// The name of the difference in answers, such as `profile_behind`.
    pub fn code(&self) -> &'static str {
        match self {
            Difference::SharedAway => "shared_store_away",
            Difference::ProfilesAway => "profile_store_away",
            Difference::ProfileBehind { .. } => "profile_store_behind",
            Difference::SharedBehind { .. } => "shared_store_behind",
            Difference::GatewayBehind { .. } => "gateway_behind",
            Difference::ShownElsewhere { .. } => "shown_otherwise",
            Difference::NotAsComputed { .. } => "not_as_computed",
            Difference::OnlyInStore { .. } => "only_in_store",
            Difference::OfDead { .. } => "of_dead_gateway",
            Difference::NotInStore { .. } => "not_in_store",
            Difference::ShownNotThere { .. } => "shown_not_there",
            Difference::ThereNotShown { .. } => "there_not_shown",
        }
    }

    /// The difference as a sentence.
    pub fn text(&self) -> String {
        let revision = |it: &Option<u64>| match it {
            Some(revision) => format!("revision {revision}"),
            None => "no profile".to_owned(),
        };
        match self {
            Difference::SharedAway => "the shared store does not answer".to_owned(),
            Difference::ProfilesAway => "the profile store does not answer".to_owned(),
            Difference::ProfileBehind { stored, newest } => format!(
                "the profile store has {}, and the newest is {newest}: a change is saved about a second after it was made",
                revision(stored)
            ),
            Difference::SharedBehind { stored, newest } => format!(
                "the shared store has {}, and the newest is {newest}",
                revision(stored)
            ),
            Difference::GatewayBehind {
                gateway,
                has,
                newest,
            } => {
                format!(
                    "gateway {gateway} has revision {has} of the status, and the newest is {newest}"
                )
            }
            Difference::ShownElsewhere {
                gateway,
                shown,
                here,
            } => format!(
                "gateway {gateway} shows {}, and this one {}",
                shown.as_str(),
                here.as_str()
            ),
            Difference::NotAsComputed { shown, computed } => format!(
                "shown is {}, and from the sessions and the chosen status follows {}",
                shown.as_str(),
                computed.as_str()
            ),
            Difference::OnlyInStore { session, gateway } => format!(
                "the shared store has session {session} of gateway {gateway}, which does not have it"
            ),
            Difference::OfDead { session, gateway } => format!(
                "the shared store still has session {session} of gateway {gateway}, which is dead"
            ),
            Difference::NotInStore { session, gateway } => format!(
                "gateway {gateway} has session {session}, which the shared store does not have"
            ),
            Difference::ShownNotThere { session, gateway } => format!(
                "this gateway shows session {session} of gateway {gateway}, which does not have it"
            ),
            Difference::ThereNotShown { session, gateway } => {
                format!("gateway {gateway} has session {session}, which this gateway does not show")
            }
        }
    }
}
