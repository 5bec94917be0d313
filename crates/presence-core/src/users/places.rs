//! The channels and workspaces that the sessions of a user are in.

use std::sync::Arc;

use super::Effect;
use super::session::SessionTopic;
use super::stored::SessionChange;
use super::user::User;
use crate::cluster::JoinedTopic;
use crate::history::TransitionKind;
use crate::{Meta, Reason, SessionId, Timestamp, Topic, WorkspaceId};

impl User {
    pub(super) fn join(&mut self, now: Timestamp, id: SessionId, topic: Topic, meta: &Arc<Meta>) {
        let here = self.sessions.iter().flat_map(|it| &it.places);
        let here = here.map(|place| (&place.topic, place.joined_at));
        let elsewhere = self.elsewhere().flat_map(|it| &it.places);
        let elsewhere = elsewhere.map(|joined| (&joined.topic, joined.joined_at));
        let there = here.chain(elsewhere).filter(|(it, _)| **it == topic);
        let joined_at = there.map(|(_, joined_at)| joined_at).min().unwrap_or(now);
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        match session.places.iter_mut().find(|it| it.topic == topic) {
            Some(place) => {
                place.is_unclaimed = false;
                if place.meta == *meta {
                    return;
                }
                place.meta = meta.clone();
                place.write_again();
                place.is_journaled = false;
            }
            None => session.places.push(SessionTopic::new(JoinedTopic {
                topic,
                joined_at,
                meta: meta.clone(),
            })),
        }
        session.is_news = true;
    }

    /// Sees to it that a session is in these workspaces and no others, and says `card` about itself in each.
    pub(super) fn set_workspaces<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        workspaces: &[WorkspaceId],
        card: &Arc<Meta>,
        out: &mut Vec<Effect<A>>,
    ) {
        let left: Vec<Topic> = self.others(id, workspaces).cloned().collect();
        for topic in left {
            self.leave(now, id, &topic, out);
        }
        for workspace in workspaces {
            self.join(now, id, Topic::Workspace(workspace.clone()), card);
        }
    }

    /// Whether a session is in a workspace that is none of these.
    pub(super) fn is_in_others(&self, id: SessionId, workspaces: &[WorkspaceId]) -> bool {
        self.others(id, workspaces).next().is_some()
    }

    /// The workspaces of a session that are none of these.
    fn others(&self, id: SessionId, workspaces: &[WorkspaceId]) -> impl Iterator<Item = &Topic> {
        let session = self.sessions.iter().find(|it| it.id == id);
        let places = session.into_iter().flat_map(|it| &it.places);
        let topics = places.map(|place| &place.topic);
        topics
            .filter(move |topic| matches!(topic, Topic::Workspace(it) if !workspaces.contains(it)))
    }

    pub(super) fn leave<A>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        topic: &Topic,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|it| it.id == id) else {
            return;
        };
        let index = session.places.iter().position(|it| it.topic == *topic);
        let place = index.map(|index| session.places.remove(index));
        session.is_news |= place.is_some();
        if let Some(place) = place.as_ref().filter(|it| it.is_journaled) {
            let topic = place.topic.clone();
            out.push(Effect::Remember(SessionChange::Left { session: id, topic }));
        }
        let is_over = session.by_service && session.places.is_empty();
        if let Some(SessionTopic { topic, .. }) = place.filter(SessionTopic::has_entry) {
            self.record(
                now,
                Some(id),
                Some(&topic),
                TransitionKind::Left(Reason::Left),
                out,
            );
            out.push(Effect::Write {
                topic,
                session: id,
                entry: Err(Reason::Left),
                is_shared: true,
            });
        }
        if is_over {
            self.end(now, id, Reason::Left, out);
        }
    }
}
