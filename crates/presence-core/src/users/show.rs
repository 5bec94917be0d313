//! What others and the owner are shown of a user, compared with what they were last shown.

use std::sync::Arc;

use super::session::{RosterEntry, Share};
use super::user::{Kinds, User};
use super::{Audience, Effect};
use crate::cluster::Membership;
use crate::history::TransitionKind;
use crate::status::Here;
use crate::{
    Event, Look, Member, OwnDevice, OwnView, PublicView, Reason, Timestamp, TopicVersion, Visible,
};

/// Where a change of a user comes from. It decides which node notes when the user was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The change was made here.
    Local,
    /// Another node made the change, and keeps what is to be kept of it.
    Remote {
        /// When the user was last heard from through a node that has just died. Every node that still has a record of
        /// it stores the same value.
        orphaned_at: Option<Timestamp>,
    },
}

impl Origin {
    /// A change that a living node made.
    pub(super) const REMOTE: Origin = Origin::Remote { orphaned_at: None };
}

impl User {
    /// Shows the user as other nodes do, before anything happens here.
    pub(super) fn meet_others<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        self.show(now, Origin::REMOTE, out);
    }

    /// The origin of what the map of the user says, with what was missed while it was read: once nothing is left of the
    /// nodes that died.
    pub(super) fn remote_origin(&mut self, membership: &Membership) -> Origin {
        let shared = self.shared.as_mut();
        let orphaned_at = shared.and_then(|it| {
            let mut others = it.replica.others();
            match others.any(|(_, token, _)| membership.is_lost(token.incarnation())) {
                true => None,
                false => it.orphaned_at.take(),
            }
        });
        Origin::Remote { orphaned_at }
    }

    /// The status that others are shown.
    pub(super) fn shown(&self) -> Visible {
        self.look.status
    }

    /// Whether others see the user as present.
    pub(super) fn is_shown(&self) -> bool {
        self.look.status != Visible::Offline
    }

    /// When the user was last seen, as others are shown it.
    fn shown_last_seen(&self) -> Option<Timestamp> {
        self.profile.last_seen.filter(|_| !self.is_shown())
    }

    pub(super) fn here(&self, now: Timestamp) -> Here {
        let each = self.sessions.iter().map(|it| match it.is_active(now) {
            true => Here::Active,
            false => Here::Idle,
        });
        let elsewhere = self.elsewhere().map(|it| match it.is_active {
            true => Here::Active,
            false => Here::Idle,
        });
        each.chain(elsewhere).max().unwrap_or(Here::Nowhere)
    }

    pub(super) fn heard_at(&self) -> Option<Timestamp> {
        self.sessions.iter().map(|it| it.heard_at).max()
    }

    /// Compares how the user looks now with what others were shown, and tells the watchers if it is different.
    pub(super) fn show<A>(&mut self, now: Timestamp, origin: Origin, out: &mut Vec<Effect<A>>) {
        if self.entrance.is_hidden() {
            return;
        }
        let (message, emoji) = self.profile.shown_words();
        let here = match self.is_unsure() {
            true => Here::Nowhere,
            false => self.here(now),
        };
        let look = Look {
            status: self.profile.status.chosen.shown(here),
            message,
            emoji,
        };
        let was_shown = self.is_shown();
        let new_look = look != *self.look;
        if look.status != self.look.status && origin != Origin::REMOTE {
            let (from, to) = (self.look.status, look.status);
            self.record(now, None, None, TransitionKind::Shown { from, to }, out);
        }
        if new_look {
            self.own_changed = true;
            if self.is_announced {
                out.push(Effect::LooksDifferent);
            }
            self.look = Arc::new(look);
            let time = self.shared.as_ref().map_or(now, |it| it.store_time(now));
            self.look_revision = time.as_millis().max(self.look_revision + 1);
        }
        if was_shown != self.is_shown() {
            // A user who hides is last seen at the moment of hiding; a user who is gone, when they were last alive.
            let gone = was_shown && self.sessions_anywhere() == 0;
            let seen = match origin {
                Origin::Local if gone => Some(self.last_alive),
                Origin::Local => Some(now),
                Origin::Remote { orphaned_at } => {
                    orphaned_at.filter(|_| was_shown && !self.profile.is_blank())
                }
            };
            if seen.is_some() {
                // Never back: of two records, the one that was seen later counts, whatever the clock of this node says.
                self.profile.last_seen = self.profile.last_seen.max(seen);
                self.unsaved = true;
            }
            self.seen_at = now;
            // A user who comes out of hiding has just come: others must not learn since when they were hidden.
            if self.is_shown() {
                self.come_out(now);
            }
        }
        let kinds = match self.is_shown() {
            true => {
                let here = self.sessions.iter().map(|it| it.device.kind());
                let elsewhere = self.elsewhere().map(|it| it.device.kind());
                here.chain(elsewhere).collect()
            }
            false => Kinds::default(),
        };
        let last_seen = self.shown_last_seen();
        if new_look || kinds != self.kinds || last_seen != self.last_seen {
            self.kinds = kinds;
            self.last_seen = last_seen;
            if self.watchers > 0 {
                let event = Event::PublicView(self.public_view());
                out.push(Effect::Tell {
                    to: Audience::Watchers,
                    event,
                });
            }
        }
    }

    pub(super) fn come_out(&mut self, now: Timestamp) {
        for session in &mut self.sessions {
            session.come_out(&mut self.secrets);
            for place in &mut session.places {
                if place.joined_at != now {
                    place.joined_at = now;
                    place.is_journaled = false;
                    session.is_news = true;
                }
            }
        }
    }

    /// Brings every entry of every session to what others may see of it.
    pub(super) fn write<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        if self.entrance.is_hidden() {
            return;
        }
        let shown = self.is_shown();
        let recorder = (now, self.recorder);
        for session in &mut self.sessions {
            let mut is_seen = false;
            let alias = session.alias();
            for place in &mut session.places {
                let entry = match place.entry {
                    RosterEntry::Absent if !shown => continue,
                    RosterEntry::Written(look) if shown && look == self.look_revision => continue,
                    RosterEntry::Stale | RosterEntry::Written(_) if !shown => {
                        place.entry = RosterEntry::Absent;
                        place.record(session.id, &self.profile.user, recorder, out);
                        Err(Reason::Left)
                    }
                    before => {
                        place.entry = RosterEntry::Written(self.look_revision);
                        let is_new = before == RosterEntry::Absent;
                        if is_new && !std::mem::take(&mut place.was_shown) {
                            place.record(session.id, &self.profile.user, recorder, out);
                        }
                        is_seen = true;
                        Ok(Arc::new(Member {
                            session: session.id,
                            alias,
                            epoch: session.epoch,
                            user: self.profile.user.clone(),
                            device: session.device.kind(),
                            joined_at: place.joined_at,
                            meta: place.meta.clone(),
                            look: self.look.clone(),
                            look_revision: self.look_revision,
                            profile: self.profile.status.revision,
                        }))
                    }
                };
                out.push(Effect::Write {
                    topic: place.topic.clone(),
                    session: session.id,
                    entry,
                    is_shared: place.share == Share::Open,
                });
            }
            if is_seen {
                session.mark_seen();
            }
        }
    }

    pub(super) fn tell_owner<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        if !std::mem::take(&mut self.own_changed) {
            return;
        }
        let sessions: Vec<_> = self.connections().map(|it| it.session).collect();
        if !sessions.is_empty() {
            out.push(Effect::Tell {
                to: Audience::Sessions(sessions),
                event: Event::OwnView(self.own_view(now)),
            });
        }
    }

    /// The projection for everybody else. Each view begins a new epoch, because it is the whole state. An epoch that
    /// continued would tell a new watcher that somebody else had watched the user before.
    pub(super) fn public_view(&mut self) -> PublicView {
        let epoch = self.secrets.next();
        PublicView {
            user: self.id().clone(),
            clock: TopicVersion { epoch, version: 0 },
            look: self.look.clone(),
            last_seen: self.shown_last_seen(),
            devices: self.kinds.iter().collect(),
        }
    }

    /// The projection for the user.
    pub(super) fn own_view(&self, now: Timestamp) -> OwnView {
        let status = &self.profile.status;
        let mut devices: Vec<OwnDevice> = Vec::new();
        let here = self.sessions.iter();
        let here = here.map(|it| (&it.device, it.activity, it.heard_at));
        let elsewhere = self.elsewhere();
        let elsewhere = elsewhere.map(|it| (&it.device, it.activity, it.heard_at));
        for (id, activity, heard_at) in here.chain(elsewhere) {
            match devices.iter_mut().find(|it| it.id == *id) {
                Some(device) => {
                    device.sessions += 1;
                    device.activity = device.activity.max(activity);
                    device.heard_at = device.heard_at.max(heard_at);
                }
                None => devices.push(OwnDevice {
                    id: id.clone(),
                    sessions: 1,
                    activity,
                    heard_at,
                }),
            }
        }
        OwnView {
            user: self.id().clone(),
            chosen: status.chosen,
            shown: status.chosen.shown(self.here(now)),
            message: status.message.clone(),
            emoji: status.emoji.clone(),
            expires_at: status.expires_at,
            revision: status.revision,
            last_seen: match self.is_shown() {
                true => self.heard_at(),
                false => self.profile.last_seen,
            },
            devices,
            aliases: self
                .sessions
                .iter()
                .map(|it| (it.id, it.alias()))
                .filter(|(id, alias)| id != alias)
                .collect(),
        }
    }
}
