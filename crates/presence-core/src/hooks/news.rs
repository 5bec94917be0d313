//! The difference between what an endpoint was told and the present state.

use std::collections::{BTreeMap, BTreeSet};

use super::{HookEvent, HookKind, Wanted};
use crate::cluster::{Author, Record, Snapshot, Subject};
use crate::status::Here;
use crate::{ChannelId, Look, Profile, Timestamp, Topic, UserId, Visible};

/// The number of users in one channel that the endpoint is told about. In a bigger channel these are the users who
/// joined first; when one of them leaves, another user is told in their place.
pub const PEOPLE_NOTIFIED_MAX: usize = 500;

/// What the endpoint knows of a subject. It knows nothing of a user who is offline, or of an empty channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastNotified {
    /// A user is online, and looks like this.
    Here(Look),
    /// A channel is occupied. These users were told to be in it, at most [`PEOPLE_NOTIFIED_MAX`].
    Occupied(BTreeSet<UserId>),
}

/// The news of a subject: the events to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What the endpoint knows after the events.
    pub last_notified: Option<LastNotified>,
    /// The events, in order. Kinds that are not wanted are left out.
    pub events: Vec<HookEvent>,
}

/// The present state of a subject, as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// A user who can be seen, and how.
    Here(Look),
    /// A user who cannot be seen: offline, or hiding.
    Gone {
        /// When others last saw the user, if that is known.
        last_seen: Option<Timestamp>,
    },
    /// A channel: the users in it who can be seen, and when each of them joined. There may be none.
    People(BTreeMap<UserId, Timestamp>),
    /// A subject that no event is about.
    Nothing,
}

impl Present {
    /// The present state of `subject`, which has this `map` in the store that nodes share.
    pub fn in_map(now: Timestamp, subject: &Subject, map: &Snapshot) -> Self {
        match subject {
            Subject::User(_) => {
                let profile = profile_in(now, map);
                match profile.as_ref().and_then(|it| look_in(it, map)) {
                    Some(look) => Present::Here(look),
                    None => Present::Gone {
                        last_seen: profile.and_then(|it| it.last_seen),
                    },
                }
            }
            Subject::Topic(Topic::Channel(_)) => Present::People(people_in(map)),
            Subject::Topic(Topic::Workspace(_)) | Subject::Node(_) => Present::Nothing,
        }
    }
}

/// Compares what the endpoint was told `before` with the `present` state of `subject`.
pub fn news(
    subject: &Subject,
    before: Option<&LastNotified>,
    present: &Present,
    wanted: Wanted,
) -> News {
    let mut news = match (subject, present) {
        (Subject::User(user), Present::Here(look)) => of_user(user, before, Ok(look), wanted),
        (Subject::User(user), Present::Gone { last_seen }) => {
            of_user(user, before, Err(*last_seen), wanted)
        }
        (Subject::Topic(Topic::Channel(channel)), Present::People(people)) => {
            of_channel(channel, before, people, wanted)
        }
        _ => News {
            last_notified: None,
            events: Vec::new(),
        },
    };
    news.events.retain(|it| wanted.has(it.kind()));
    news
}

/// The news of a user who looks like this now, or was last seen then.
fn of_user(
    user: &UserId,
    before: Option<&LastNotified>,
    present: Result<&Look, Option<Timestamp>>,
    wanted: Wanted,
) -> News {
    let look = present.ok().filter(|_| wanted.has_any(&HookKind::OF_USERS));
    let was = match before {
        Some(LastNotified::Here(look)) => Some(look),
        _ => None,
    };
    let user = user.clone();
    let event = match (was, look) {
        (None, Some(look)) => Some(HookEvent::UserOnline {
            user,
            look: look.clone(),
        }),
        (Some(was), Some(look)) if was != look => Some(HookEvent::UserChanged {
            user,
            look: look.clone(),
        }),
        (Some(_), None) => Some(HookEvent::UserOffline {
            user,
            last_seen: present.err().flatten(),
        }),
        _ => None,
    };
    News {
        last_notified: look.cloned().map(LastNotified::Here),
        events: event.into_iter().collect(),
    }
}

fn profile_in(now: Timestamp, map: &Snapshot) -> Option<Profile> {
    let found = map
        .entries
        .iter()
        .find_map(|(_, token, record)| match record {
            // A profile that was changed without being read does not say whether the user was hiding before.
            Record::Profile(profile) if token.author() != Author::Unread => {
                Some(Profile::clone(profile))
            }
            _ => None,
        });
    found.map(|mut profile| {
        profile.expire(now);
        profile
    })
}

/// How others see the user with `profile`, if they can be seen. Without a profile nobody is seen: a visible user has
/// written one together with the first session, and any other user might be hiding.
fn look_in(profile: &Profile, map: &Snapshot) -> Option<Look> {
    let here = map
        .entries
        .iter()
        .filter_map(|(_, _, record)| match record {
            Record::Session(session) if session.is_active => Some(Here::Active),
            Record::Session(_) => Some(Here::Idle),
            _ => None,
        });
    let here = here.max().unwrap_or(Here::Nowhere);
    let (message, emoji) = profile.shown_words();
    let look = Look {
        status: profile.status.chosen.shown(here),
        message,
        emoji,
    };
    (look.status != Visible::Offline).then_some(look)
}

fn of_channel(
    channel: &ChannelId,
    before: Option<&LastNotified>,
    came: &BTreeMap<UserId, Timestamp>,
    wanted: Wanted,
) -> News {
    let were: Option<&BTreeSet<UserId>> = match before {
        Some(LastNotified::Occupied(users)) => Some(users),
        _ => None,
    };
    let names_people = wanted.has_any(&[HookKind::ChannelJoined, HookKind::ChannelLeft]);
    let stay = |user: &&UserId| came.contains_key(*user);
    let mut told: BTreeSet<UserId> = match names_people {
        true => were.into_iter().flatten().filter(stay).cloned().collect(),
        false => BTreeSet::new(),
    };
    let mut events = Vec::new();
    if were.is_none() && !came.is_empty() {
        let channel = channel.clone();
        events.push(HookEvent::ChannelOccupied { channel });
    }
    let left = were.into_iter().flatten();
    let left = left.filter(|user| !told.contains(*user));
    events.extend(left.map(|user| HookEvent::ChannelLeft {
        channel: channel.clone(),
        user: user.clone(),
    }));
    if names_people {
        let new = came.iter().filter(|(user, _)| !told.contains(*user));
        let mut new: Vec<(Timestamp, UserId)> =
            new.map(|(user, &since)| (since, user.clone())).collect();
        new.sort();
        new.truncate(PEOPLE_NOTIFIED_MAX.saturating_sub(told.len()));
        for (_, user) in new {
            told.insert(user.clone());
            let channel = channel.clone();
            events.push(HookEvent::ChannelJoined { channel, user });
        }
    }
    if were.is_some() && came.is_empty() {
        let channel = channel.clone();
        events.push(HookEvent::ChannelVacated { channel });
    }
    News {
        last_notified: (!came.is_empty() && wanted.has_any(&HookKind::OF_CHANNELS))
            .then_some(LastNotified::Occupied(told)),
        events,
    }
}

/// The users in a channel, and when each joined.
fn people_in(map: &Snapshot) -> BTreeMap<UserId, Timestamp> {
    let mut people = BTreeMap::new();
    for (_, _, record) in &map.entries {
        if let Record::Member(member) = record {
            let since = people.entry(member.user.clone());
            let since = since.or_insert(member.joined_at);
            *since = member.joined_at.min(*since);
        }
    }
    people
}
