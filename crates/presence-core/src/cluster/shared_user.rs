//! What the map of a user says, for an explanation.

use super::{Field, Record, SessionRecord, Snapshot};
use crate::explain::{CHANNELS_REPORTED_MAX, SessionReport, SessionState, SharedUser};
use crate::{SessionId, Topic};

impl Snapshot {
    /// What this map of a user says; `None` if it is empty.
    pub fn shared_user(&self) -> Option<SharedUser> {
        let mut user = SharedUser::default();
        for (field, token, record) in &self.entries {
            match (field, record) {
                (_, Record::Profile(profile)) if !profile.is_blank() => {
                    user.profile = Some(profile.clone());
                }
                (Field::Session(session), Record::Session(record)) => {
                    let report = unanswered(*session, record);
                    user.sessions.push((token.incarnation(), report));
                }
                _ => {}
            }
        }
        user.sessions.sort_by_key(|(_, it)| it.session);
        let has_any = user.profile.is_some() || !user.sessions.is_empty();
        has_any.then_some(user)
    }
}

/// What the shared store says of a session whose gateway did not answer.
fn unanswered(session: SessionId, record: &SessionRecord) -> SessionReport {
    let channels = record
        .places
        .iter()
        .filter_map(|joined| match &joined.topic {
            Topic::Channel(channel) => Some(channel.clone()),
            Topic::Workspace(_) => None,
        });
    let channels: Vec<_> = channels.collect();
    SessionReport {
        session,
        device: record.device.clone(),
        origin: None,
        by_service: record.by_service,
        connected_at: None,
        heard_at: record.heard_at,
        activity: record.activity,
        is_active: record.is_active,
        active_since: None,
        state: SessionState::Unanswered,
        channels_total: channels.len(),
        channels: channels.into_iter().take(CHANNELS_REPORTED_MAX).collect(),
    }
}
