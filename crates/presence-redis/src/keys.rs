//! The names of keys. Only this file knows them; `docs/data.md` describes them.
//!
//! A key that belongs to a partition has the number of the partition as its hash tag. So all of a partition is in one slot, and one
//! script writes it in one step. The channel for patches and ephemeral messages of a subject has the same name as the
//! key of its map.

use presence_core::cluster::{Field, Incarnation, PARTITIONS, Subject};
use presence_core::ports::Queue;
use presence_core::{ChannelId, SessionId, Topic, UserId, WorkspaceId};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The field of a map that has its version.
pub(crate) const CLOCK: &str = "clock";
/// The field that has the profile, in the map of a user.
const PROFILE: &str = "profile";

/// The keys with one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Keys {
            prefix: prefix.into(),
        }
    }

    /// The map of `subject`: a hash. Its patches and ephemeral messages are on the channel with the same name.
    pub(crate) fn map(&self, subject: &Subject) -> String {
        self.in_partition(subject.partition(), &name_of(subject))
    }

    /// The fences of the map with the name `name` in `partition`: a hash by field. It expires soon after the last fence.
    pub(crate) fn fences(&self, partition: u16, name: &str) -> String {
        self.in_partition(partition, &format!("fences:{name}"))
    }

    /// Which maps of `partition` have changed: a sorted set of names, by version.
    pub(crate) fn changed(&self, partition: u16) -> String {
        self.in_partition(partition, "changed")
    }

    /// The maps of `partition` in which sessions of `who` have entries: a set of names.
    pub(crate) fn owned(&self, partition: u16, who: Incarnation) -> String {
        self.in_partition(partition, &format!("owned:{who}"))
    }

    /// The rows of `partition` in `queue`: a sorted set of names, by version.
    pub(crate) fn outbox(&self, partition: u16, queue: Queue) -> String {
        let queue = match queue {
            Queue::Profiles => "outbox:profiles",
            Queue::Webhooks => "outbox:webhooks",
        };
        self.in_partition(partition, queue)
    }

    /// What the endpoint of webhooks was told of the subjects of `partition`: a hash by name, which also has the number of
    /// the last event.
    pub(crate) fn told(&self, partition: u16) -> String {
        self.in_partition(partition, "told")
    }

    /// The webhook events of `partition` that wait for delivery: a list.
    pub(crate) fn events(&self, partition: u16) -> String {
        self.in_partition(partition, "events")
    }

    /// What is stored of a connection of `session` for the gateway that resumes the session: a string that expires.
    pub(crate) fn kept(&self, partition: u16, session: SessionId, epoch: u32) -> String {
        self.in_partition(partition, &format!("kept:{session}:{epoch}"))
    }

    /// The leases of the nodes: a hash.
    pub(crate) fn leases(&self) -> String {
        format!("{}:{{nodes}}:leases", self.prefix)
    }

    /// The secret with which nodes sign what all nodes accept: a string.
    pub(crate) fn secret(&self) -> String {
        format!("{}:{{nodes}}:secret", self.prefix)
    }

    /// What `who` has said of its stop: a string that expires.
    pub(crate) fn goodbye(&self, who: Incarnation) -> String {
        format!("{}:{{nodes}}:goodbye:{who}", self.prefix)
    }

    /// The users whose older tokens are refused: a hash.
    pub(crate) fn revoked(&self) -> String {
        format!("{}:{{nodes}}:revoked", self.prefix)
    }

    /// The channel, and the key of the map, of the subject with the name `name` in `partition`.
    pub(crate) fn channel(&self, partition: u16, name: &str) -> String {
        self.in_partition(partition, name)
    }

    /// The partition and the name of the subject that a channel belongs to.
    pub(crate) fn name_on<'a>(&self, channel: &'a str) -> Option<(u16, &'a str)> {
        let rest = channel.strip_prefix(&*self.prefix)?.strip_prefix(":{")?;
        let (partition, name) = rest.split_once("}:")?;
        let partition = partition.parse().ok()?;
        (partition < PARTITIONS).then_some((partition, name))
    }

    /// The slot of a Redis Cluster that has `partition`.
    pub(crate) fn slot(&self, partition: u16) -> u16 {
        fred::util::redis_keyslot(self.changed(partition).as_bytes())
    }

    /// The slot of a Redis Cluster that has the leases.
    pub(crate) fn slot_of_nodes(&self) -> u16 {
        fred::util::redis_keyslot(self.leases().as_bytes())
    }

    fn in_partition(&self, partition: u16, rest: &str) -> String {
        format!("{}:{{{partition}}}:{rest}", self.prefix)
    }
}

/// The name of `subject` in its partition.
pub(crate) fn name_of(subject: &Subject) -> String {
    match subject {
        Subject::User(user) => format!("user:{user}"),
        Subject::Topic(Topic::Channel(channel)) => format!("channel:{channel}"),
        Subject::Topic(Topic::Workspace(workspace)) => format!("workspace:{workspace}"),
        Subject::Node(number) => format!("node:{number:016x}"),
    }
}

/// The subject with this name.
pub(crate) fn subject_of(name: &str) -> Option<Subject> {
    let (kind, id) = name.split_once(':')?;
    Some(match kind {
        "user" => Subject::User(UserId::new(id).ok()?),
        "channel" => Subject::Topic(Topic::Channel(ChannelId::new(id).ok()?)),
        "workspace" => Subject::Topic(Topic::Workspace(WorkspaceId::new(id).ok()?)),
        "node" if id.len() == 16 => Subject::Node(u64::from_str_radix(id, 16).ok()?),
        _ => return None,
    })
}

/// The field of the hash that has the entry of `field`.
pub(crate) fn field(field: Field) -> String {
    match field {
        Field::Profile => PROFILE.to_owned(),
        Field::Session(session) => URL_SAFE_NO_PAD.encode(session.as_u128().to_be_bytes()),
    }
}

/// The entry that a field of the hash has; `None` for [`CLOCK`].
pub(crate) fn field_of(text: &[u8]) -> Option<Field> {
    if text == PROFILE.as_bytes() {
        return Some(Field::Profile);
    }
    let mut number = [0; 16];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut number).ok()?;
    let session = SessionId::from_u128(u128::from_be_bytes(number));
    (length == number.len()).then_some(Field::Session(session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelt_like_this_for_ever() {
        let keys = Keys::new("presence");
        let who = Incarnation {
            node: 0x1f,
            generation: 2,
        };
        for (key, spelling) in [
            (keys.map(&user("ann")), "presence:{241}:user:ann"),
            (
                keys.map(&channel("room:42")),
                "presence:{29}:channel:room:42",
            ),
            (
                keys.map(&workspace("acme")),
                "presence:{184}:workspace:acme",
            ),
            (keys.changed(17), "presence:{17}:changed"),
            (
                keys.owned(17, who),
                "presence:{17}:owned:000000000000001f.2",
            ),
            (
                keys.outbox(17, Queue::Profiles),
                "presence:{17}:outbox:profiles",
            ),
            (
                keys.outbox(17, Queue::Webhooks),
                "presence:{17}:outbox:webhooks",
            ),
            (keys.told(17), "presence:{17}:told"),
            (keys.events(17), "presence:{17}:events"),
            (
                keys.kept(17, SessionId::from_u128(1), 2),
                "presence:{17}:kept:00000000000000000000000000000001:2",
            ),
            (keys.leases(), "presence:{nodes}:leases"),
            (keys.secret(), "presence:{nodes}:secret"),
            (
                keys.goodbye(who),
                "presence:{nodes}:goodbye:000000000000001f.2",
            ),
            (
                field(Field::Session(SessionId::from_u128(1))),
                "AAAAAAAAAAAAAAAAAAAAAQ",
            ),
            (field(Field::Profile), "profile"),
        ] {
            assert_eq!(key, spelling);
        }
    }

    #[test]
    fn all_of_a_partition_is_in_one_slot_whatever_it_is_called() {
        let keys = Keys::new("a:b");
        let subject = channel("x#$%:y");
        let slot = keys.slot(subject.partition());
        assert_eq!(
            fred::util::redis_keyslot(keys.map(&subject).as_bytes()),
            slot
        );
    }

    #[test]
    fn names_fields_and_channels_are_read_back() {
        let node = Subject::Node(0x1f);
        assert_eq!(name_of(&node), "node:000000000000001f");
        for subject in [user("ann"), channel("room:42"), workspace("acme:eu"), node] {
            assert_eq!(subject_of(&name_of(&subject)), Some(subject.clone()));
            let keys = Keys::new("presence");
            let name = name_of(&subject);
            let channel = keys.map(&subject);
            assert_eq!(keys.name_on(&channel), Some((subject.partition(), &*name)));
            assert_eq!(keys.channel(subject.partition(), &name), channel);
        }
        for session in [0, 1, u128::MAX] {
            let it = Field::Session(SessionId::from_u128(session));
            assert_eq!(field_of(field(it).as_bytes()), Some(it));
        }
        assert_eq!(field_of(b"profile"), Some(Field::Profile));
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let keys = Keys::new("presence");
        for channel in [
            "",
            "presence",
            "presence:{256}:user:ann",
            "other:{17}:user:ann",
        ] {
            assert_eq!(keys.name_on(channel), None, "{channel}");
        }
        for name in [
            "",
            "user",
            "user:",
            "planet:mars",
            "user:a b",
            "node:1f",
            "node:x00000000000001f",
        ] {
            assert_eq!(subject_of(name), None, "{name}");
        }
        for field in ["", CLOCK, "AAAA", "AAAAAAAAAAAAAAAAAAAAAQAA"] {
            assert_eq!(field_of(field.as_bytes()), None, "{field}");
        }
    }

    fn user(id: &str) -> Subject {
        Subject::User(UserId::new(id).unwrap())
    }

    fn channel(id: &str) -> Subject {
        Subject::Topic(Topic::Channel(ChannelId::new(id).unwrap()))
    }

    fn workspace(id: &str) -> Subject {
        Subject::Topic(Topic::Workspace(WorkspaceId::new(id).unwrap()))
    }
}
