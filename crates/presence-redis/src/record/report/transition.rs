//! What has happened to a user or in a channel.

use presence_core::history::{Cause, Transition, TransitionKind};
use serde::{Deserialize, Serialize};

use super::{NodeRecord, channel, incarnation, millis, moment, node, user};
use crate::record::RecordError;
use crate::record::entry::{ACTIVITIES, CHOSEN, VISIBLE, at, number_in};
use crate::record::message::{number_of, reason_byte, reason_of, session_of};

/// All causes, by the number that stands for each.
pub(super) const CAUSES: [Cause; 21] = [
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

#[derive(Serialize, Deserialize)]
pub(super) struct TransitionRecord {
    at_ms: u64,
    user: String,
    session: Option<[u8; 16]>,
    channel: Option<String>,
    what: WhatRecord,
    cause: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) enum WhatRecord {
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

pub(super) fn transitions_of<'a>(
    transitions: impl IntoIterator<Item = &'a Transition>,
) -> Vec<TransitionRecord> {
    transitions.into_iter().map(TransitionRecord::of).collect()
}

impl TransitionRecord {
    pub(super) fn of(it: &Transition) -> Self {
        TransitionRecord {
            at_ms: millis(it.at),
            user: it.user.to_string(),
            session: it.session.map(number_of),
            channel: it.channel.as_ref().map(ToString::to_string),
            what: WhatRecord::of(it.what),
            cause: number_in(&CAUSES, it.cause),
        }
    }

    pub(super) fn transition(self) -> Result<Transition, RecordError> {
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
    pub(super) fn of(what: TransitionKind) -> Self {
        match what {
            TransitionKind::Shown { from, to } => {
                WhatRecord::Shown(number_in(&VISIBLE, from), number_in(&VISIBLE, to))
            }
            TransitionKind::Began => WhatRecord::Began,
            TransitionKind::Resumed => WhatRecord::Resumed,
            TransitionKind::CameFrom(who) => WhatRecord::CameFrom(node(who)),
            TransitionKind::WentTo(who) => WhatRecord::WentTo(node(who)),
            TransitionKind::Restored => WhatRecord::Restored,
            TransitionKind::Disconnected { until } => WhatRecord::Disconnected(millis(until)),
            TransitionKind::Ended(reason) => WhatRecord::Ended(reason_byte(reason)),
            TransitionKind::NodeDied(who) => WhatRecord::NodeDied(node(who)),
            TransitionKind::Joined => WhatRecord::Joined,
            TransitionKind::Left(reason) => WhatRecord::Left(reason_byte(reason)),
            TransitionKind::Reported(activity) => {
                WhatRecord::Reported(number_in(&ACTIVITIES, activity))
            }
            TransitionKind::Chose(chosen) => WhatRecord::Chose(number_in(&CHOSEN, chosen)),
            TransitionKind::Erased => WhatRecord::Erased,
        }
    }

    fn what(self) -> Result<TransitionKind, RecordError> {
        Ok(match self {
            WhatRecord::Shown(from, to) => TransitionKind::Shown {
                from: at(&VISIBLE, from, "status")?,
                to: at(&VISIBLE, to, "status")?,
            },
            WhatRecord::Began => TransitionKind::Began,
            WhatRecord::Resumed => TransitionKind::Resumed,
            WhatRecord::CameFrom(who) => TransitionKind::CameFrom(incarnation(who)),
            WhatRecord::WentTo(who) => TransitionKind::WentTo(incarnation(who)),
            WhatRecord::Restored => TransitionKind::Restored,
            WhatRecord::Disconnected(until) => TransitionKind::Disconnected {
                until: moment(until),
            },
            WhatRecord::Ended(reason) => TransitionKind::Ended(reason_of(reason)?),
            WhatRecord::NodeDied(who) => TransitionKind::NodeDied(incarnation(who)),
            WhatRecord::Joined => TransitionKind::Joined,
            WhatRecord::Left(reason) => TransitionKind::Left(reason_of(reason)?),
            WhatRecord::Reported(activity) => {
                TransitionKind::Reported(at(&ACTIVITIES, activity, "activity")?)
            }
            WhatRecord::Chose(chosen) => TransitionKind::Chose(at(&CHOSEN, chosen, "choice")?),
            WhatRecord::Erased => TransitionKind::Erased,
        })
    }
}
