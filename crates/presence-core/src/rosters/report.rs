//! What this node knows of a channel, for whoever may know which node has which session.

use super::Rosters;
use super::pace::Load;
use super::topic_state::TopicState;
use crate::explain::{Mode, ROOM_SESSIONS_REPORTED_MAX, RemoteMember, RoomMember, RoomReport};
use crate::{ChannelId, Topic};

impl Rosters {
    /// What this node knows of `channel`, without the transitions. Users who hide are not in it.
    pub fn report(&self, channel: &ChannelId) -> RoomReport {
        let topic = Topic::Channel(channel.clone());
        match self.places.get(&topic) {
            Some(place) => place.report(self.load),
            None => RoomReport {
                tick: self.load.at_rest().floor(0, false),
                is_followed: self.members.is_none(),
                ..RoomReport::default()
            },
        }
    }
}

impl TopicState {
    fn report(&self, load: Load) -> RoomReport {
        let mut report = RoomReport {
            people: self.roster.len(),
            mode: match self.is_big() {
                true => Mode::Summarised,
                false => Mode::Listed,
            },
            tick: self.tick(load),
            watchers: self.watchers(),
            clock: Some(self.version()),
            is_followed: self.copy.as_ref().is_none_or(|it| it.is_followed),
            ..RoomReport::default()
        };
        for member in self.roster.people().flat_map(|it| &it.members) {
            report.sessions += 1;
            let owner = self.copy.as_ref().and_then(|it| it.owner(member.session));
            let member = RoomMember {
                user: member.user.clone(),
                session: member.session,
                joined_at: member.joined_at,
            };
            match owner {
                None => {
                    report.members_total += 1;
                    if report.members.len() < ROOM_SESSIONS_REPORTED_MAX {
                        report.members.push(member);
                    }
                }
                Some(owner) => {
                    report.elsewhere_total += 1;
                    if report.elsewhere.len() < ROOM_SESSIONS_REPORTED_MAX {
                        report.elsewhere.push(RemoteMember { member, owner });
                    }
                }
            }
        }
        report
    }
}
