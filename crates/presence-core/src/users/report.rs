//! What this node knows of a user, for an operator who may know everything.

use super::session::{Session, Stage};
use super::user::User;
use super::{Slot, Users};
use crate::explain::{CHANNELS_REPORTED_MAX, Known, SessionReport, SessionState, UserReport, View};
use crate::{Timestamp, Topic, UserId};

impl<A> Users<A> {
    /// What this node knows of `user`, without the transitions. It says whether they hide.
    pub fn report(&self, now: Timestamp, user: &UserId) -> UserReport {
        let (view, sessions) = match self.users.get(user) {
            None => (View::Unknown, Vec::new()),
            Some(Slot::Loading(_)) => (View::Loading, Vec::new()),
            Some(Slot::Known(user)) => {
                let sessions = user.sessions.iter().map(|it| it.report_of(now));
                (View::Known(user.known()), sessions.collect())
            }
        };
        UserReport {
            view,
            sessions,
            transitions: Vec::new(),
        }
    }
}

impl User {
    fn known(&self) -> Known {
        let status = &self.profile.status;
        let others = self.shared.iter().flat_map(|it| it.replica.others());
        let elsewhere = others.map(|(session, token, _)| (session, token.incarnation()));
        Known {
            shown: self.shown(),
            chosen: status.chosen,
            revision: status.revision,
            expires_at: status.expires_at,
            is_unsure: self.is_unsure(),
            watchers: self.watchers,
            elsewhere: elsewhere.collect(),
        }
    }
}

impl Session {
    fn report_of(&self, now: Timestamp) -> SessionReport {
        let channels = self.places.iter().filter_map(|place| match &place.topic {
            Topic::Channel(channel) => Some(channel),
            Topic::Workspace(_) => None,
        });
        SessionReport {
            session: self.id,
            device: self.device.clone(),
            origin: self.origin.as_deref().cloned(),
            by_service: self.by_service,
            connected_at: Some(self.connected_at),
            heard_at: self.heard_at,
            activity: self.activity,
            is_active: self.is_active(now),
            active_since: Some(self.active_since(now)),
            state: match self.stage {
                Stage::Live => SessionState::Connected,
                Stage::Grace { until, reason } => SessionState::Held {
                    since: self.lost_at,
                    until,
                    reason,
                },
                Stage::Ending { since, reason, .. } => SessionState::Ending { since, reason },
            },
            channels_total: channels.clone().count(),
            channels: channels.take(CHANNELS_REPORTED_MAX).cloned().collect(),
        }
    }
}
