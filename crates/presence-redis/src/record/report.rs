//! What nodes ask each other for an explanation, and what they answer: a version byte, and what postcard makes of the
//! structs below. After the message comes what was added to it since the first release: earlier releases do not look there.

mod places;

use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::Incarnation;
use presence_core::explain::{
    About, Answer, ClientOrigin, Known, Mode, NodeMessage, RemoteMember, RoomMember, RoomReport,
    SessionReport, SessionState, UserReport, View, Watchers,
};
use presence_core::history::{Cause, RecentQuery, Transition, What};
use presence_core::{ChannelId, Clock, DeviceId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::entry::{ACTIVITIES, CHOSEN, VISIBLE, at, id, number_in};
use super::message::{number_of, reason_byte, reason_of, session_of};

/// The version byte that [`encode`] writes.
const VERSION: u8 = 1;
/// The biggest message that is read: sessions of a user, each with its channels, or the sessions in a room.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// All causes, by the number that stands for each.
const CAUSES: [Cause; 21] = [
    Cause::Client,
    Cause::Owner,
    Cause::Service,
    Cause::Broken,
    Cause::ClientClosed,
    Cause::Silence,
    Cause::Drain,
    Cause::TokenEnded,
    Cause::TooSlow,
    Cause::Misuse,
    Cause::GraceOver,
    Cause::Background,
    Cause::Expiry,
    Cause::Kick,
    Cause::Erasure,
    Cause::NodeLost,
    Cause::OtherNode,
    Cause::Restart,
    Cause::ProfileRead,
    Cause::Hid,
    Cause::Operator,
];

/// Appends the bytes of a message to `bytes`.
pub(super) fn encode(message: &NodeMessage, mut bytes: Vec<u8>) -> postcard::Result<Vec<u8>> {
    bytes.push(VERSION);
    let bytes = postcard::to_extend(&MessageRecord::of(message), bytes)?;
    places::append(message, bytes)
}

/// Reads a message; `None` if only a later release knows it.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<NodeMessage>, RecordError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    let (&version, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
    if version != VERSION {
        return Ok(None);
    }
    let (record, later_fields) = postcard::take_from_bytes::<MessageRecord>(rest)?;
    let mut message = record.message()?;
    if !later_fields.is_empty() {
        places::read_into(&mut message, later_fields)?;
    }
    Ok(Some(message))
}

#[derive(Serialize, Deserialize)]
enum MessageRecord {
    Ask {
        ask: u64,
        reply_to: u64,
        about: AboutRecord,
    },
    Answer {
        ask: u64,
        from: NodeRecord,
        answer: AnswerRecord,
    },
}

#[derive(Serialize, Deserialize)]
enum AboutRecord {
    User(String),
    Channel(String),
    Erase(String),
    /// In milliseconds since 1970, and the filter.
    Recent(u64, String),
    Program(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
enum AnswerRecord {
    User(UserRecord),
    Channel(RoomRecord),
    Erased,
    Recent {
        transitions: Vec<TransitionRecord>,
        is_cut: bool,
    },
    Program(Vec<u8>),
}

/// The number and the generation of a node.
type NodeRecord = (u64, u32);
/// An epoch and a version.
type ClockRecord = (u64, u64);

#[derive(Serialize, Deserialize)]
struct UserRecord {
    view: ViewRecord,
    sessions: Vec<SessionBytes>,
    transitions: Vec<TransitionRecord>,
}

#[derive(Serialize, Deserialize)]
enum ViewRecord {
    Unknown,
    Loading,
    Known {
        shown: u8,
        chosen: u8,
        revision: u64,
        expires_at_ms: Option<u64>,
        is_unsure: bool,
        watchers: usize,
        elsewhere: Vec<([u8; 16], NodeRecord)>,
    },
}

#[derive(Serialize, Deserialize)]
struct SessionBytes {
    session: [u8; 16],
    device: String,
    /// The dialect, and the address.
    origin: Option<(String, Option<String>)>,
    by_service: bool,
    connected_at_ms: Option<u64>,
    heard_at_ms: u64,
    activity: u8,
    is_active: bool,
    active_since_ms: Option<u64>,
    state: StateRecord,
    channels: Vec<String>,
    channels_total: usize,
}

#[derive(Serialize, Deserialize)]
enum StateRecord {
    Connected,
    Held {
        since_ms: Option<u64>,
        until_ms: u64,
        reason: u8,
    },
    Ending {
        since_ms: u64,
        reason: u8,
    },
    Unanswered,
}

#[derive(Serialize, Deserialize)]
struct RoomRecord {
    people: usize,
    sessions: usize,
    is_summarised: bool,
    tick_ms: u64,
    /// Full, whole, summary.
    watchers: (usize, usize, usize),
    clock: Option<ClockRecord>,
    is_followed: bool,
    members: Vec<MemberRecord>,
    members_total: usize,
    elsewhere: Vec<(MemberRecord, NodeRecord)>,
    elsewhere_total: usize,
    transitions: Vec<TransitionRecord>,
}

#[derive(Serialize, Deserialize)]
struct MemberRecord {
    user: String,
    session: [u8; 16],
    joined_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct TransitionRecord {
    at_ms: u64,
    user: String,
    session: Option<[u8; 16]>,
    channel: Option<String>,
    what: WhatRecord,
    cause: u8,
}

#[derive(Serialize, Deserialize)]
enum WhatRecord {
    Shown(u8, u8),
    Began,
    Resumed,
    CameFrom(NodeRecord),
    WentTo(NodeRecord),
    Restored,
    Disconnected(u64),
    Ended(u8),
    NodeDied(NodeRecord),
    Joined,
    Left(u8),
    Reported(u8),
    Chose(u8),
    Erased,
}

fn millis(moment: Timestamp) -> u64 {
    moment.as_millis()
}

fn moment(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn node(who: Incarnation) -> NodeRecord {
    (who.node, who.generation)
}

fn incarnation((node, generation): NodeRecord) -> Incarnation {
    Incarnation { node, generation }
}

fn user(text: &str) -> Result<UserId, RecordError> {
    id(UserId::new(text))
}

fn channel(text: &str) -> Result<ChannelId, RecordError> {
    id(ChannelId::new(text))
}

fn all<A, B>(
    records: Vec<A>,
    read: impl Fn(A) -> Result<B, RecordError>,
) -> Result<Vec<B>, RecordError> {
    records.into_iter().map(read).collect()
}

impl MessageRecord {
    fn of(message: &NodeMessage) -> Self {
        match message {
            NodeMessage::Ask {
                ask,
                reply_to,
                about,
            } => MessageRecord::Ask {
                ask: *ask,
                reply_to: *reply_to,
                about: match about {
                    About::User(user) => AboutRecord::User(user.to_string()),
                    About::Channel(channel) => AboutRecord::Channel(channel.to_string()),
                    About::Erase(user) => AboutRecord::Erase(user.to_string()),
                    About::Recent(query) => {
                        AboutRecord::Recent(millis(query.after()), query.filter())
                    }
                    About::Program(bytes) => AboutRecord::Program(bytes.clone()),
                },
            },
            NodeMessage::Answer { ask, from, answer } => MessageRecord::Answer {
                ask: *ask,
                from: node(*from),
                answer: match &**answer {
                    Answer::User(report) => AnswerRecord::User(UserRecord::of(report)),
                    Answer::Channel(report) => AnswerRecord::Channel(RoomRecord::of(report)),
                    Answer::Erased => AnswerRecord::Erased,
                    Answer::Recent(recent) => AnswerRecord::Recent {
                        transitions: transitions_of(
                            recent.transitions.iter().map(|it| &it.transition),
                        ),
                        is_cut: recent.reached.is_some(),
                    },
                    Answer::Program(bytes) => AnswerRecord::Program(bytes.clone()),
                },
            },
        }
    }

    fn message(self) -> Result<NodeMessage, RecordError> {
        Ok(match self {
            MessageRecord::Ask {
                ask,
                reply_to,
                about,
            } => NodeMessage::Ask {
                ask,
                reply_to,
                about: match about {
                    AboutRecord::User(it) => About::User(user(&it)?),
                    AboutRecord::Channel(it) => About::Channel(channel(&it)?),
                    AboutRecord::Erase(it) => About::Erase(user(&it)?),
                    AboutRecord::Recent(after, filter) => {
                        let query = RecentQuery::new(moment(after), &filter);
                        About::Recent(query.map_err(|_| RecordError::Malformed)?)
                    }
                    AboutRecord::Program(bytes) => About::Program(bytes),
                },
            },
            MessageRecord::Answer { ask, from, answer } => NodeMessage::Answer {
                ask,
                from: incarnation(from),
                answer: Box::new(match answer {
                    AnswerRecord::User(record) => Answer::User(record.report()?),
                    AnswerRecord::Channel(record) => Answer::Channel(record.report()?),
                    AnswerRecord::Erased => Answer::Erased,
                    AnswerRecord::Recent {
                        transitions,
                        is_cut,
                    } => {
                        let transitions = all(transitions, TransitionRecord::transition)?;
                        Answer::Recent(places::missing(incarnation(from), transitions, is_cut))
                    }
                    AnswerRecord::Program(bytes) => Answer::Program(bytes),
                }),
            },
        })
    }
}

impl UserRecord {
    fn of(report: &UserReport) -> Self {
        UserRecord {
            view: match &report.view {
                View::Unknown => ViewRecord::Unknown,
                View::Loading => ViewRecord::Loading,
                View::Known(known) => ViewRecord::Known {
                    shown: number_in(&VISIBLE, known.shown),
                    chosen: number_in(&CHOSEN, known.chosen),
                    revision: known.revision,
                    expires_at_ms: known.expires_at.map(millis),
                    is_unsure: known.is_unsure,
                    watchers: known.watchers,
                    elsewhere: known
                        .elsewhere
                        .iter()
                        .map(|(session, who)| (number_of(*session), node(*who)))
                        .collect(),
                },
            },
            sessions: report.sessions.iter().map(SessionBytes::of).collect(),
            transitions: transitions_of(&report.transitions),
        }
    }

    fn report(self) -> Result<UserReport, RecordError> {
        let view = match self.view {
            ViewRecord::Unknown => View::Unknown,
            ViewRecord::Loading => View::Loading,
            ViewRecord::Known {
                shown,
                chosen,
                revision,
                expires_at_ms,
                is_unsure,
                watchers,
                elsewhere,
            } => View::Known(Known {
                shown: at(&VISIBLE, shown, "status")?,
                chosen: at(&CHOSEN, chosen, "choice")?,
                revision,
                expires_at: expires_at_ms.map(moment),
                is_unsure,
                watchers,
                elsewhere: elsewhere
                    .into_iter()
                    .map(|(session, who)| (session_of(session), incarnation(who)))
                    .collect(),
            }),
        };
        Ok(UserReport {
            view,
            sessions: all(self.sessions, SessionBytes::report)?,
            transitions: all(self.transitions, TransitionRecord::transition)?,
        })
    }
}

impl SessionBytes {
    fn of(it: &SessionReport) -> Self {
        let origin = it.origin.as_ref().map(|it| {
            let address = it.address.as_deref().map(str::to_owned);
            (it.dialect.to_string(), address)
        });
        SessionBytes {
            session: number_of(it.session),
            device: it.device.to_string(),
            origin,
            by_service: it.by_service,
            connected_at_ms: it.connected_at.map(millis),
            heard_at_ms: millis(it.heard_at),
            activity: number_in(&ACTIVITIES, it.activity),
            is_active: it.is_active,
            active_since_ms: it.active_since.map(millis),
            state: match it.state {
                SessionState::Connected => StateRecord::Connected,
                SessionState::Held {
                    since,
                    until,
                    reason,
                } => StateRecord::Held {
                    since_ms: since.map(millis),
                    until_ms: millis(until),
                    reason: reason_byte(reason),
                },
                SessionState::Ending { since, reason } => StateRecord::Ending {
                    since_ms: millis(since),
                    reason: reason_byte(reason),
                },
                SessionState::Unanswered => StateRecord::Unanswered,
            },
            channels: it.channels.iter().map(ToString::to_string).collect(),
            channels_total: it.channels_total,
        }
    }

    fn report(self) -> Result<SessionReport, RecordError> {
        Ok(SessionReport {
            session: session_of(self.session),
            device: id(DeviceId::new(&self.device))?,
            origin: self.origin.map(|(dialect, address)| ClientOrigin {
                dialect: dialect.into(),
                address: address.map(Arc::from),
            }),
            by_service: self.by_service,
            connected_at: self.connected_at_ms.map(moment),
            heard_at: moment(self.heard_at_ms),
            activity: at(&ACTIVITIES, self.activity, "activity")?,
            is_active: self.is_active,
            active_since: self.active_since_ms.map(moment),
            state: match self.state {
                StateRecord::Connected => SessionState::Connected,
                StateRecord::Held {
                    since_ms,
                    until_ms,
                    reason,
                } => SessionState::Held {
                    since: since_ms.map(moment),
                    until: moment(until_ms),
                    reason: reason_of(reason)?,
                },
                StateRecord::Ending { since_ms, reason } => SessionState::Ending {
                    since: moment(since_ms),
                    reason: reason_of(reason)?,
                },
                StateRecord::Unanswered => SessionState::Unanswered,
            },
            channels: all(self.channels, |it| channel(&it))?,
            channels_total: self.channels_total,
        })
    }
}

impl RoomRecord {
    fn of(report: &RoomReport) -> Self {
        let Watchers {
            full,
            whole,
            summary,
        } = report.watchers;
        let elsewhere = report.elsewhere.iter();
        RoomRecord {
            people: report.people,
            sessions: report.sessions,
            is_summarised: report.mode == Mode::Summarised,
            tick_ms: u64::try_from(report.tick.as_millis()).unwrap_or(u64::MAX),
            watchers: (full, whole, summary),
            clock: report.clock.map(|it| (it.epoch, it.version)),
            is_followed: report.is_followed,
            members: report.members.iter().map(MemberRecord::of).collect(),
            members_total: report.members_total,
            elsewhere: elsewhere
                .map(|it| (MemberRecord::of(&it.member), node(it.owner)))
                .collect(),
            elsewhere_total: report.elsewhere_total,
            transitions: transitions_of(&report.transitions),
        }
    }

    fn report(self) -> Result<RoomReport, RecordError> {
        let (full, whole, summary) = self.watchers;
        Ok(RoomReport {
            people: self.people,
            sessions: self.sessions,
            mode: match self.is_summarised {
                true => Mode::Summarised,
                false => Mode::Listed,
            },
            tick: Duration::from_millis(self.tick_ms),
            watchers: Watchers {
                full,
                whole,
                summary,
            },
            clock: self.clock.map(|(epoch, version)| Clock { epoch, version }),
            is_followed: self.is_followed,
            members: all(self.members, MemberRecord::member)?,
            members_total: self.members_total,
            elsewhere: all(self.elsewhere, |(member, owner)| {
                Ok(RemoteMember {
                    member: member.member()?,
                    owner: incarnation(owner),
                })
            })?,
            elsewhere_total: self.elsewhere_total,
            transitions: all(self.transitions, TransitionRecord::transition)?,
        })
    }
}

impl MemberRecord {
    fn of(member: &RoomMember) -> Self {
        MemberRecord {
            user: member.user.to_string(),
            session: number_of(member.session),
            joined_at_ms: millis(member.joined_at),
        }
    }

    fn member(self) -> Result<RoomMember, RecordError> {
        Ok(RoomMember {
            user: user(&self.user)?,
            session: session_of(self.session),
            joined_at: moment(self.joined_at_ms),
        })
    }
}

fn transitions_of<'a>(
    transitions: impl IntoIterator<Item = &'a Transition>,
) -> Vec<TransitionRecord> {
    transitions.into_iter().map(TransitionRecord::of).collect()
}

impl TransitionRecord {
    fn of(it: &Transition) -> Self {
        TransitionRecord {
            at_ms: millis(it.at),
            user: it.user.to_string(),
            session: it.session.map(number_of),
            channel: it.channel.as_ref().map(ToString::to_string),
            what: WhatRecord::of(it.what),
            cause: number_in(&CAUSES, it.cause),
        }
    }

    fn transition(self) -> Result<Transition, RecordError> {
        Ok(Transition {
            at: moment(self.at_ms),
            user: user(&self.user)?,
            session: self.session.map(session_of),
            channel: self.channel.map(|it| channel(&it)).transpose()?,
            what: self.what.what()?,
            cause: at(&CAUSES, self.cause, "cause")?,
        })
    }
}

impl WhatRecord {
    fn of(what: What) -> Self {
        match what {
            What::Shown { from, to } => {
                WhatRecord::Shown(number_in(&VISIBLE, from), number_in(&VISIBLE, to))
            }
            What::Began => WhatRecord::Began,
            What::Resumed => WhatRecord::Resumed,
            What::CameFrom(who) => WhatRecord::CameFrom(node(who)),
            What::WentTo(who) => WhatRecord::WentTo(node(who)),
            What::Restored => WhatRecord::Restored,
            What::Disconnected { until } => WhatRecord::Disconnected(millis(until)),
            What::Ended(reason) => WhatRecord::Ended(reason_byte(reason)),
            What::NodeDied(who) => WhatRecord::NodeDied(node(who)),
            What::Joined => WhatRecord::Joined,
            What::Left(reason) => WhatRecord::Left(reason_byte(reason)),
            What::Reported(activity) => WhatRecord::Reported(number_in(&ACTIVITIES, activity)),
            What::Chose(chosen) => WhatRecord::Chose(number_in(&CHOSEN, chosen)),
            What::Erased => WhatRecord::Erased,
        }
    }

    fn what(self) -> Result<What, RecordError> {
        Ok(match self {
            WhatRecord::Shown(from, to) => What::Shown {
                from: at(&VISIBLE, from, "status")?,
                to: at(&VISIBLE, to, "status")?,
            },
            WhatRecord::Began => What::Began,
            WhatRecord::Resumed => What::Resumed,
            WhatRecord::CameFrom(who) => What::CameFrom(incarnation(who)),
            WhatRecord::WentTo(who) => What::WentTo(incarnation(who)),
            WhatRecord::Restored => What::Restored,
            WhatRecord::Disconnected(until) => What::Disconnected {
                until: moment(until),
            },
            WhatRecord::Ended(reason) => What::Ended(reason_of(reason)?),
            WhatRecord::NodeDied(who) => What::NodeDied(incarnation(who)),
            WhatRecord::Joined => What::Joined,
            WhatRecord::Left(reason) => What::Left(reason_of(reason)?),
            WhatRecord::Reported(activity) => {
                What::Reported(at(&ACTIVITIES, activity, "activity")?)
            }
            WhatRecord::Chose(chosen) => What::Chose(at(&CHOSEN, chosen, "choice")?),
            WhatRecord::Erased => What::Erased,
        })
    }
}

#[cfg(test)]
mod tests;
