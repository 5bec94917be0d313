//! A whole node in virtual time: two devices of Ann's in a room, through idling, typing and two lost connections.

use std::sync::Arc;
use std::time::Duration;

use presence_core::history::Cause;
use presence_core::node::{Effect, Input, Node};
use presence_core::users::{self, Activity, Connection};
use presence_core::{
    ChannelId, DeviceId, Limits, Meta, Reason, SessionId, Timestamp, Timing, Topic, UserId,
    Visible, rosters,
};

/// The node, the time, and what the node wants done. What is asked of it needs no name here, so `A` is `()`.
struct World {
    node: Node<()>,
    now: Timestamp,
    effects: Vec<Effect<()>>,
}

impl World {
    /// Tells the node a fact. Whenever it asks for Ann's profile, nobody has ever saved one.
    fn tell(&mut self, input: Input<()>) {
        self.effects.clear();
        self.node.handle(self.now, input, &mut self.effects);
        if let [Effect::User(user, users::Effect::Load)] = &self.effects[..] {
            let loaded = users::Input::Loaded { profile: None };
            self.tell(Input::User(user.clone(), loaded));
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.effects.clear();
        self.node.expire(self.now, &mut self.effects);
    }

    fn connect(&mut self, user: &UserId, device: &str, room: &ChannelId) -> Connection {
        let device: DeviceId = device.parse().expect("a device id");
        let connected = users::Input::Connected {
            session: SessionId::from_u128((1 << 100) + self.now.as_millis() as u128),
            resume: None,
            fingerprint: None,
            device,
            workspaces: Vec::new(),
            card: Arc::new(Meta::default()),
            origin: None,
            reply_to: (),
        };
        self.tell(Input::User(user.clone(), connected));
        let welcome = self.effects.iter().find_map(|effect| match effect {
            Effect::User(_, users::Effect::Welcome { connection, .. }) => Some(*connection),
            _ => None,
        });
        let by = welcome.expect("the connection is let in");
        let joined = users::Input::Joined {
            by,
            channel: room.clone(),
            meta: Arc::new(Meta::default()),
            watch: None,
            reply_to: None,
        };
        self.tell(Input::User(user.clone(), joined));
        by
    }

    /// How the room shows Ann: `None` if she is not in it.
    fn shown(&self, room: &ChannelId) -> Option<Visible> {
        let page = self.node.list(&Topic::Channel(room.clone()), 0, 1);
        page.people.first().map(|it| it.look().status)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ann, room) = (UserId::new("ann")?, ChannelId::new("room:42")?);
    let mut world = World {
        node: Node::new(Timing::default(), Limits::default(), 7),
        now: Timestamp::from_millis(1_764_000_000_000),
        effects: Vec::new(),
    };
    let laptop = world.connect(&ann, "web:laptop", &room);
    world.wait(1);
    let phone = world.connect(&ann, "mobile:phone", &room);
    assert_eq!(world.shown(&room), Some(Visible::Online));

    // Ann is away when all of her devices are idle, and not before.
    for (device, then) in [(laptop, Visible::Online), (phone, Visible::Away)] {
        let idle = users::Input::Reported {
            by: device,
            activity: Activity::Idle,
            reply_to: None,
        };
        world.tell(Input::User(ann.clone(), idle));
        assert_eq!(world.shown(&room), Some(then));
    }

    // Typing ends by itself after five seconds.
    world.tell(Input::Roster(rosters::Input::Typed {
        channel: room.clone(),
        session: phone.session,
        typing: true,
        reply_to: None,
    }));
    let topic = Topic::Channel(room.clone());
    assert_eq!(world.node.typing(&topic).len(), 1);
    world.wait(6);
    assert!(world.node.typing(&topic).is_empty());

    // Both connections break. She stays for the grace time of ten seconds after the last one.
    for device in [laptop, phone] {
        let vanished = users::Input::Vanished {
            by: device,
            reason: Reason::Lost,
            cause: Cause::Broken,
        };
        world.tell(Input::User(ann.clone(), vanished));
        world.wait(4);
    }
    assert_eq!(world.shown(&room), Some(Visible::Away));
    world.wait(6);
    assert_eq!(world.shown(&room), None);
    println!("Ann came, idled, typed, and left when the grace time was over");
    Ok(())
}
