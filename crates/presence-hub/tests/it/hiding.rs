//! What it costs others to ask about somebody who cannot be seen.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::{Chosen, Refusal, StatusChange};
use presence_hub::{Hub, Settings};

use crate::support::{FlakyStore, connect, user};

fn chose(chosen: Chosen) -> StatusChange {
    StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_as_often_about_who_hides_as_about_who_is_gone() {
    let store = Arc::new(FlakyStore::default());
    let hub = Hub::start(Settings::default(), store.clone());
    let hidden = connect(&hub, "hidden").await;
    let gone = connect(&hub, "gone").await;
    hub.choose(&user("hidden"), chose(Chosen::Invisible))
        .await
        .unwrap();
    gone.end().await;
    // What they did is on its way to the store at first, and is there later.
    for round in 0..6 {
        for id in ["hidden", "gone"] {
            let before = store.loads.load(Relaxed);
            let public_view = hub.public_view(&user(id)).await.unwrap();
            assert_eq!(public_view.look.status, presence_core::Visible::Offline);
            assert_eq!(store.loads.load(Relaxed), before + 1, "{id}, round {round}");
            let sample = [user(id), user("nobody")];
            hub.public_views(&sample).await.unwrap();
            // Which of the two come in one batch depends on their shards.
            assert!(store.loads.load(Relaxed) > before + 1);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // Where the store is away nobody is told of either, whatever the hidden one does meanwhile.
    store.away.store(true, Relaxed);
    let other = connect(&hub, "hidden").await;
    other.end().await;
    for _ in 0..3 {
        for id in ["hidden", "gone"] {
            let asked = hub.public_view(&user(id)).await;
            assert_eq!(asked, Err(Refusal::Unavailable), "{id}");
        }
    }
    // Themselves they can always ask.
    assert!(hub.own_view(&user("hidden")).await.is_ok());
    store.away.store(false, Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(hub.public_view(&user("hidden")).await.is_ok());
    assert!(hub.public_view(&user("gone")).await.is_ok());
    drop(hidden);
}
