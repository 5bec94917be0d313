//! Two nodes that share a Redis, as two processes of your server would: who joins on one is seen on the other.
//!
//! ```sh
//! cargo run -p presence-hub --example two_nodes redis://127.0.0.1:6379
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use presence_core::{Change, ChannelId, DeviceId, Event, UserId, Watching};
use presence_embedded::ProfileMemory;
use presence_hub::{ConnectRequest, Delivery, Hub, Session, Settings};
use presence_redis::RedisTopics;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1);
    run(&url.ok_or("name a Redis, such as redis://127.0.0.1:6379")?).await
}

/// Starts both nodes on the Redis at `url`, and returns when Ann has seen Bob come and go.
pub async fn run(url: &str) -> Result<(), Box<dyn Error>> {
    // Every node needs the same profiles, which are the statuses that people chose: presence-mongo keeps them for good.
    let profiles = Arc::new(ProfileMemory::default());
    let (here, there) =
        tokio::try_join!(node(url, "here", &profiles), node(url, "there", &profiles))?;
    let room = ChannelId::new("room:42")?;

    let mut ann = connect(&here, "ann").await?;
    let watch = Some((Watching::Full, None));
    ann.join(room.clone(), Arc::default(), watch, None)?;
    let mut bob = connect(&there, "bob").await?;
    bob.join(room, Arc::default(), None, None)?;
    until(
        &mut ann,
        |it| matches!(it, Change::Joined(who) if who.user.as_str() == "bob"),
    )
    .await;
    println!("Ann sees Bob, who is on the other node");

    bob.end().await;
    until(
        &mut ann,
        |it| matches!(it, Change::Left { person, .. } if person.user.as_str() == "bob"),
    )
    .await;
    println!("Bob has left");

    ann.end().await;
    for hub in [here, there] {
        hub.stop(Duration::from_secs(5)).await;
    }
    Ok(())
}

async fn node(url: &str, name: &str, profiles: &Arc<ProfileMemory>) -> Result<Hub, Box<dyn Error>> {
    let settings = presence_redis::Settings::from_url(url)?;
    let store = Arc::new(RedisTopics::connect(settings).await?);
    Ok(Hub::join(Settings::default(), profiles.clone(), store, name).await)
}

async fn connect(hub: &Hub, user: &str) -> Result<Session, Box<dyn Error>> {
    let device = DeviceId::new("desktop:example")?;
    Ok(hub
        .connect(ConnectRequest::new(UserId::new(user)?, device))
        .await?)
}

/// Reads what the session is told until it is told of a change like that.
async fn until(session: &mut Session, is_it: impl Fn(&Change) -> bool) {
    loop {
        let Delivery::Event(shared) = session.next().await else {
            continue;
        };
        if let Event::Changes { changes, .. } = &*shared.event
            && changes.iter().any(&is_it)
        {
            return;
        }
    }
}
