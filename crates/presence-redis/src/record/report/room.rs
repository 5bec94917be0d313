//! What a node knows of a channel, as it answers.

use std::time::Duration;

use presence_core::TopicVersion;
use presence_core::explain::{Mode, RemoteMember, RoomMember, RoomReport, Watchers};
use serde::{Deserialize, Serialize};

use super::transition::{TransitionRecord, transitions_of};
use super::{ClockRecord, NodeRecord, all, incarnation, millis, moment, node, user};
use crate::record::RecordError;
use crate::record::message::{number_of, session_of};

#[derive(Serialize, Deserialize)]
pub(super) struct RoomRecord {
    people: usize,
    sessions: usize,
    is_summarised: bool,
    tick_ms: u64,
    /// How many watchers get full, whole and summary events, as in `explain::Watchers`.
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
pub(super) struct MemberRecord {
    user: String,
    session: [u8; 16],
    joined_at_ms: u64,
}

impl RoomRecord {
    pub(super) fn of(report: &RoomReport) -> Self {
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

    pub(super) fn report(self) -> Result<RoomReport, RecordError> {
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
            clock: self
                .clock
                .map(|(epoch, version)| TopicVersion { epoch, version }),
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
    pub(super) fn of(member: &RoomMember) -> Self {
        MemberRecord {
            user: member.user.to_string(),
            session: number_of(member.session),
            joined_at_ms: millis(member.joined_at),
        }
    }

    pub(super) fn member(self) -> Result<RoomMember, RecordError> {
        Ok(RoomMember {
            user: user(&self.user)?,
            session: session_of(self.session),
            joined_at: moment(self.joined_at_ms),
        })
    }
}
