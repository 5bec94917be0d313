//! A user begins to hide: their entries are removed from all places, also those that other nodes wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::Shared;
use crate::cluster::{Field, Membership, Op, Request, Subject, Write};
use crate::users::session::Session;
use crate::{SessionId, Timestamp, Topic, UserId};

/// The places from which the entries of a user who hides have yet to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::users) enum Hiding {
    #[default]
    No,
    /// The store has this revision, in which the user hides. The map is being read, to find the places of the user.
    Noted(u64),
    /// The entries of the user are being removed from these places.
    UnderWay {
        revision: u64,
        left: BTreeSet<Topic>,
    },
}

impl Shared {
    /// Whether there are places that have yet to be told that the user hides.
    pub(in crate::users) fn is_hiding(&self) -> bool {
        self.hiding != Hiding::No
    }

    /// The places that the user's map names, with the sessions that are in each.
    fn places(&self, sessions: &[Session]) -> BTreeMap<Topic, Vec<SessionId>> {
        let mut places: BTreeMap<Topic, Vec<SessionId>> = BTreeMap::new();
        for session in sessions {
            for place in &session.places {
                let there = places.entry(place.topic.clone()).or_default();
                there.push(session.id);
            }
        }
        for (session, _, record) in self.replica.others() {
            for joined in &record.places {
                let there = places.entry(joined.topic.clone()).or_default();
                there.push(session);
            }
        }
        places
    }

    /// The map was read: tells the places that it names that the user hides, if that is to be done.
    pub(in crate::users) fn hide_places(
        &mut self,
        user: &UserId,
        sessions: &[Session],
        membership: &Membership,
        out: &mut Vec<Request>,
    ) {
        let Hiding::Noted(revision) = self.hiding else {
            return;
        };
        let places = self.places(sessions);
        let left: BTreeSet<Topic> = places.keys().cloned().collect();
        for (topic, there) in places {
            let ops = there.into_iter().map(|session| Op::Hide {
                field: Field::Session(session),
                profile: revision,
            });
            out.push(Request::HidePlace {
                user: user.clone(),
                write: Write {
                    subject: Subject::Topic(topic),
                    by: membership.me(),
                    ops: ops.collect(),
                    is_last: false,
                    until: None,
                },
            });
        }
        self.hiding = match left.is_empty() {
            true => Hiding::No,
            false => Hiding::UnderWay { revision, left },
        };
    }

    /// Handles the answer to [`Request::HidePlace`].
    pub(super) fn place_hidden(&mut self, now: Timestamp, topic: &Topic, is_done: bool) {
        let Hiding::UnderWay { revision, left } = &mut self.hiding else {
            return;
        };
        if !is_done {
            self.hiding = Hiding::Noted(*revision);
            return self.replica.refresh_later(now);
        }
        left.remove(topic);
        if left.is_empty() {
            self.hiding = Hiding::No;
        }
    }
}
