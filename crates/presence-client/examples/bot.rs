//! A bot: it enters a room, greets whoever comes, and answers who broadcasts `ping`. It survives restarts of the gateway.
//!
//! ```sh
//! cargo run -p presence-client --example bot ws://127.0.0.1:4001/ws room:42
//! ```

use presence_client::wire::Json;
use presence_client::{Connection, Difference, Options, Presence, PresenceEvent};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or("ws://127.0.0.1:4001/ws".into());
    run(&url, &args.next().unwrap_or("room:42".into())).await
}

/// The bot, until the gateway says that it may not come back.
pub async fn run(url: &str, room: &str) -> Result<(), Error> {
    let presence = Presence::connect(Options::user(url, "bot"));
    let mut events = presence.events();
    let room = presence.channel(room);
    room.join(Json::new(r#"{"name":"Bot"}"#)?).await?;

    while let Some(event) = events.next().await {
        let (word, text) = match event {
            PresenceEvent::Changed { place, difference } if place == *room.id() => {
                let Difference::Joined(user) = difference else {
                    continue;
                };
                if &*user.id == "bot" {
                    continue;
                }
                let name = user.name.unwrap_or(user.id);
                ("greeting", format!("Hello, {name}"))
            }
            PresenceEvent::Broadcast(it) if &*it.event == "ping" => (
                "pong",
                format!("{} people are here", room.state().picture.count()),
            ),
            PresenceEvent::Connection(Connection::Closed(why)) => {
                println!("closed for good: {}", why.reason);
                continue;
            }
            _ => continue,
        };
        // Nobody is greeted twice: what was not heard before the connection was lost is not repeated.
        if let Err(why) = room.broadcast(word, Json::of(&text)?).await {
            eprintln!("not said: {why}");
        }
    }
    Ok(())
}
