//! Presence inside your own server: two people in one room, no sockets, no gateway.

use std::sync::Arc;

use presence_core::{Change, ChannelId, DeviceId, Event, UserId, Watching};
use presence_embedded::ProfileMemory;
use presence_hub::{ConnectRequest, Delivery, Hub, Session, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::start(Settings::default(), Arc::new(ProfileMemory::default()));
    let room = ChannelId::new("room:42")?;

    let mut ann = connect(&hub, "ann").await?;
    ann.join(
        room.clone(),
        Arc::default(),
        Some((Watching::Full, None)),
        None,
    )?;

    let mut bob = connect(&hub, "bob").await?;
    bob.join(room, Arc::default(), None, None)?;

    // Ann is told who is in the room, and then who comes and goes. If both join at the same time, Bob is in the first list.
    let is_bob = |user: &UserId| user.as_str() == "bob";
    let mut sees_bob = false;
    while !sees_bob {
        let shared = match ann.next().await {
            Delivery::Event(shared) => shared,
            Delivery::Ended(why) => return Err(format!("Ann's session ended: {why:?}").into()),
            Delivery::Granted(_) | Delivery::Refused(..) => continue,
        };
        match &*shared.event {
            Event::Everyone { people, .. } => {
                println!("{} in the room", people.len());
                sees_bob = people.iter().any(|it| is_bob(&it.user));
            }
            Event::Changes { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Joined(person) => println!("{} joined", person.user),
                        Change::Updated { to, .. } => println!("{} changed", to.user),
                        Change::Left { person, reason } => {
                            println!("{} left: {reason:?}", person.user)
                        }
                    }
                    sees_bob |= matches!(change, Change::Joined(it) if is_bob(&it.user));
                }
            }
            _ => {}
        }
    }
    bob.end().await;
    Ok(())
}

async fn connect(hub: &Hub, user: &str) -> Result<Session, Box<dyn std::error::Error>> {
    let device = DeviceId::new("desktop:example")?;
    Ok(hub
        .connect(ConnectRequest::new(UserId::new(user)?, device))
        .await?)
}
