//! What this node knows of a channel, for an operator, who may know which node has which session; and which channels
//! are the biggest and the busiest.

use std::cmp::Reverse;

use super::Rosters;
use super::pace::Load;
use super::topic_state::TopicState;
use crate::explain::{Mode, ROOM_SESSIONS_REPORTED_MAX, RemoteMember, RoomMember, RoomReport};
use crate::{ChannelId, Timestamp, Topic};

/// How big a channel is, and how many events it sends, as this node knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomLevel {
    /// The channel that the levels are of.
    pub channel: ChannelId,
    /// The number of people in it who can be seen.
    pub people: usize,
    /// The number of sessions of this node that watch it.
    pub watchers: usize,
    /// How many events this node makes of it in a second, on average over about the last ten seconds.
    pub events_per_second: f64,
}

impl Rosters {
    /// What this node knows of `channel`, without the transitions. Users who hide are not in it.
    pub fn report(&self, channel: &ChannelId) -> RoomReport {
        let topic = Topic::Channel(channel.clone());
        match self.places.get(&topic) {
            Some(place) => place.report(self.load),
            None => RoomReport {
                tick: self.load.at_rest().floor(0, false),
                is_followed: self.membership.is_none(),
                ..RoomReport::default()
            },
        }
    }

    /// The `limit` biggest channels and the `limit` busiest ones that this node knows, in no order; a channel that is
    /// both is returned once. Users who hide are not counted.
    pub fn room_levels(&self, now: Timestamp, limit: usize) -> Vec<RoomLevel> {
        let places = self.places.iter().filter_map(|(topic, place)| match topic {
            Topic::Channel(channel) if !place.roster.is_empty() => Some((channel, place)),
            _ => None,
        });
        let mut levels: Vec<_> = places
            .map(|(channel, place)| (channel, place, place.told.per_second(now)))
            .collect();
        let mut taken = 0;
        if levels.len() > limit {
            levels.select_nth_unstable_by_key(limit, |(_, it, _)| Reverse(it.roster.len()));
            taken = limit;
        }
        let rest = &mut levels[taken..];
        let busiest = limit.min(rest.len());
        if rest.len() > limit {
            rest.select_nth_unstable_by(limit, |(.., a), (.., b)| b.total_cmp(a));
        }
        levels.truncate(taken + busiest);
        let levels = levels.into_iter().map(|(channel, place, rate)| {
            let watchers = place.watchers();
            RoomLevel {
                channel: channel.clone(),
                people: place.roster.len(),
                watchers: watchers.full + watchers.summary,
                events_per_second: rate,
            }
        });
        levels.collect()
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
