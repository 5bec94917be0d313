//! Presence inside your own server: two people in one room, no sockets, no gateway.

use std::sync::Arc;

use presence_core::{ChannelId, DeviceId, Meta, UserId, Watching};
use presence_embedded::ProfileMemory;
use presence_hub::{Delivery, Entry, Hub, Session, Settings};

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

    // Ann hears who is in the room, and then of everyone who comes and goes.
    loop {
        if let Delivery::Event(shared) = ann.next().await {
            println!("ann hears {:?}", shared.event);
            if format!("{:?}", shared.event).contains("bob") {
                break;
            }
        }
    }
    bob.leave().await;
    Ok(())
}

async fn connect(hub: &Hub, user: &str) -> Result<Session, Box<dyn std::error::Error>> {
    let entry = Entry {
        user: UserId::new(user)?,
        device: DeviceId::new("desktop:example")?,
        workspaces: Vec::new(),
        card: Arc::new(Meta::default()),
        resume: None,
        origin: None,
    };
    Ok(hub.connect(entry).await?)
}
