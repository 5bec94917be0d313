//! What a node knows of a user, as it answers.

use std::sync::Arc;

use presence_core::DeviceId;
use presence_core::explain::{ClientOrigin, Known, SessionReport, SessionState, UserReport, View};
use serde::{Deserialize, Serialize};

use super::transition::{TransitionRecord, transitions_of};
use super::{NodeRecord, all, channel, incarnation, millis, moment, node};
use crate::record::RecordError;
use crate::record::entry::{ACTIVITIES, CHOSEN, VISIBLE, at, id, number_in};
use crate::record::message::{number_of, reason_byte, reason_of, session_of};

#[derive(Serialize, Deserialize)]
pub(super) struct UserRecord {
    view: ViewRecord,
    sessions: Vec<SessionBytes>,
    transitions: Vec<TransitionRecord>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum ViewRecord {
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
pub(super) struct SessionBytes {
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
pub(super) enum StateRecord {
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

impl UserRecord {
    pub(super) fn of(report: &UserReport) -> Self {
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

    pub(super) fn report(self) -> Result<UserReport, RecordError> {
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
    pub(super) fn of(it: &SessionReport) -> Self {
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

    pub(super) fn report(self) -> Result<SessionReport, RecordError> {
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
