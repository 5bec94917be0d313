//! What a user's row in the outbox asks for: what has to be done in the store of profiles.

use std::sync::Arc;

use super::{Author, Field, Op, Record, Snapshot};
use crate::{Profile, Reason};

/// What has to be done in the store of profiles for a user who has a row in the outbox of
/// [`Queue::Profiles`](crate::ports::Queue::Profiles). It is read from the user's map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileTask {
    /// Save this profile.
    Save(Arc<Profile>),
    /// Remove the stored profile of the user. Then apply this operation, if any: it removes the tombstone from the map.
    /// There is none if the user has come back.
    Remove(Option<Op>),
    /// Nothing yet: the profile was changed while the stored one could not be read, and waits until a node has read it.
    Wait,
    /// Nothing: another node has done it already.
    Done,
}

impl ProfileTask {
    /// Reads from `map` what has to be done.
    pub fn of(map: &Snapshot) -> Self {
        let mut profiles = map.entries.iter();
        let profile = profiles.find_map(|(_, token, record)| match record {
            Record::Profile(profile) => Some((*token, profile)),
            Record::Session(_) | Record::Member(_) => None,
        });
        let Some((token, profile)) = profile else {
            return ProfileTask::Done;
        };
        if token.author() == Author::Unread {
            return ProfileTask::Wait;
        }
        if !profile.is_blank() {
            return ProfileTask::Save(profile.clone());
        }
        let is_alone = map.entries.len() == 1;
        ProfileTask::Remove(is_alone.then_some(Op::Remove {
            field: Field::Profile,
            token,
            reason: Reason::Left,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{FencingToken, Incarnation, TopicMap};
    use crate::{Member, SessionId, TopicVersion, UserId};

    #[test]
    fn a_profile_is_saved_and_what_was_erased_removed_once_nobody_is_there() {
        let profile = Profile::new(UserId::new("ann").unwrap());
        let blank = profile.blank();
        assert_eq!(ProfileTask::of(&map(&[])), ProfileTask::Done);
        let busy = Arc::new(Profile {
            last_seen: Some(crate::Timestamp::from_millis(1)),
            ..blank.clone()
        });
        let put = put_profile(&busy);
        assert_eq!(ProfileTask::of(&map(&[put])), ProfileTask::Save(busy));
        let put = put_profile(&Arc::new(blank));
        let removal = Op::Remove {
            field: Field::Profile,
            token: profile_token(),
            reason: Reason::Left,
        };
        let only = map(std::slice::from_ref(&put));
        assert_eq!(ProfileTask::of(&only), ProfileTask::Remove(Some(removal)));
        let both = map(&[put, put_session()]);
        assert_eq!(ProfileTask::of(&both), ProfileTask::Remove(None));
    }

    #[test]
    fn a_guess_of_what_nobody_could_read_replaces_nothing_that_is_stored() {
        let guess = Arc::new(Profile::unread(UserId::new("ann").unwrap()));
        let mut put = put_profile(&guess);
        if let Op::Put { token, .. } = &mut put {
            *token = FencingToken::of_profile(1, Author::Unread, crate::Timestamp::default());
        }
        assert_eq!(ProfileTask::of(&map(&[put])), ProfileTask::Wait);
    }

    fn map(ops: &[Op]) -> Snapshot {
        let mut map = TopicMap::default();
        let (epoch, version) = (1, 1);
        map.apply(
            ops,
            TopicVersion { epoch, version },
            crate::Timestamp::default(),
        );
        map.snapshot()
    }

    fn put_profile(profile: &Arc<Profile>) -> Op {
        let record = Record::Profile(profile.clone());
        Op::put(Field::Profile, profile_token(), record)
    }

    fn profile_token() -> FencingToken {
        FencingToken::of_profile(1, Author::Node(7), crate::Timestamp::default())
    }

    fn put_session() -> Op {
        let (node, generation) = (7, 0);
        let session = SessionId::from_u128(1);
        let token = FencingToken::of_session(1, Incarnation { node, generation }, 0);
        let member = Member {
            session,
            alias: session,
            epoch: 1,
            user: UserId::new("ann").unwrap(),
            device: crate::DeviceKind::Web,
            joined_at: crate::Timestamp::default(),
            meta: Arc::default(),
            look: Arc::new(crate::Look {
                status: crate::Visible::Online,
                message: None,
                emoji: None,
            }),
            look_revision: 0,
            profile: 0,
        };
        Op::put(
            Field::Session(session),
            token,
            Record::Member(Arc::new(member)),
        )
    }
}
