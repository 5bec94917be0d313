//! What an endpoint outside is told of a hub that is alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::hooks::HookKind;
use presence_core::{Chosen, Topic};
use presence_embedded::{ProfileMemory, SessionFiles, TopicMemory, WebhookStore};
use presence_hub::{Hub, Settings};
use tempfile::TempDir;

use super::{Cluster, Mood, Outside, SECOND, chooses};
use crate::support::{Watcher, channel, connect, resume};

fn settings() -> Settings {
    Settings {
        shards: 2,
        ..Settings::default()
    }
}

/// A hub that tells `outside` what happens, and keeps nothing.
fn alone(outside: &Arc<Outside>) -> Hub {
    let hub = Hub::start(settings(), Arc::new(ProfileMemory::new()));
    let store = Arc::new(WebhookStore::in_memory());
    let wanted = HookKind::ALL.into_iter().collect();
    assert!(hub.deliver_local_webhooks(store, outside.clone(), wanted));
    hub
}

#[tokio::test(start_paused = true)]
async fn who_comes_changes_and_goes_is_told_in_this_order() {
    let outside = Outside::new(Mood::Fine);
    let hub = alone(&outside);
    let ann = Watcher::join(&hub, "ann").await;
    outside.hears("ann joined room:42").await;
    chooses(&hub, "ann", Chosen::Busy).await;
    outside.hears("ann Busy").await;
    ann.session.end().await;
    outside.hears("ann gone").await;
    outside.hears("room:42 vacated").await;
    let mut told = outside.words();
    let of_room: Vec<String> = told.extract_if(.., |it| it.contains("room")).collect();
    assert_eq!(told, ["ann Online", "ann Busy", "ann gone"]);
    assert_eq!(
        of_room,
        [
            "room:42 occupied",
            "ann joined room:42",
            "ann left room:42",
            "room:42 vacated"
        ]
    );
    let counters = hub.counters();
    assert_eq!(counters.hooks.delivered.load(Relaxed), 7);
    // No call of that went to a store that nodes share.
    assert_eq!(counters.measured.shared_calls.read().sum, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_in_time_is_no_event_outside() {
    let outside = Outside::new(Mood::Fine);
    let hub = alone(&outside);
    let ann = Watcher::join(&hub, "ann").await;
    outside.hears("ann joined room:42").await;
    let before = ann.session.connection();
    drop(ann);
    tokio::time::sleep(5 * SECOND).await;
    let _ann = resume(&hub, "ann", before).await;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(outside.words().len(), 3, "{:?}", outside.words());
}

#[tokio::test(start_paused = true)]
async fn whoever_hides_is_never_told() {
    let outside = Outside::new(Mood::Fine);
    let hub = alone(&outside);
    chooses(&hub, "eve", Chosen::Invisible).await;
    let eve = Watcher::join(&hub, "eve").await;
    let ann = Watcher::join(&hub, "ann").await;
    outside.hears("ann joined room:42").await;
    chooses(&hub, "ann", Chosen::Invisible).await;
    outside.hears("ann left room:42").await;
    outside.hears("ann gone").await;
    let before = outside.words();
    // Whatever they do now is nobody's business.
    let _phone = connect(&hub, "ann").await;
    chooses(&hub, "ann", Chosen::Invisible).await;
    ann.session.end().await;
    eve.session.end().await;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(outside.words(), before);
    assert!(!format!("{before:?}").contains("eve"), "{before:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_the_outside_ends_up_with_the_truth() {
    let outside = Outside::new(Mood::FailsEveryOther);
    let hub = alone(&outside);
    let mut here: Vec<Option<Watcher>> = (0..8).map(|_| None).collect();
    for round in 0..40_u64 {
        for (n, place) in here.iter_mut().enumerate() {
            // As good as chance, and the same each time.
            let n = n as u64;
            let is_here = !(round * 7 + n * 13 + round * n).is_multiple_of(3);
            match (is_here, place.take()) {
                (true, None) => *place = Some(Watcher::join(&hub, &format!("user-{n}")).await),
                (true, watcher) => *place = watcher,
                (false, Some(watcher)) => watcher.session.end().await,
                (false, None) => {}
            }
        }
        tokio::time::sleep(SECOND / 2).await;
        for watcher in here.iter().flatten() {
            watcher.session.heard().unwrap();
        }
    }
    let truth = here.iter().enumerate().filter(|(_, it)| it.is_some());
    let truth: BTreeSet<String> = truth.map(|(n, _)| format!("user-{n}")).collect();
    let settled = async {
        while outside.picture() != (truth.clone(), truth.clone()) {
            here.iter()
                .flatten()
                .for_each(|it| it.session.heard().unwrap());
            tokio::time::sleep(SECOND).await;
        }
    };
    let settled = tokio::time::timeout(600 * SECOND, settled).await;
    assert!(settled.is_ok(), "{:?}, not {truth:?}", outside.picture());
    assert!(outside.repeated.load(Relaxed) > 0, "nothing was repeated");
}

#[tokio::test]
async fn an_endpoint_is_told_once_and_by_a_hub_that_is_alone() {
    let outside = Outside::new(Mood::Fine);
    let wanted = HookKind::ALL.into_iter().collect();
    let again = Arc::new(WebhookStore::in_memory());
    let hub = alone(&outside);
    assert!(!hub.deliver_local_webhooks(again.clone(), outside.clone(), wanted));
    let shared = Cluster::new().hub("a", &outside).await;
    assert!(!shared.deliver_local_webhooks(again, outside, wanted));
    // A store that is shared is for hubs that share it.
    let link = Arc::new(TopicMemory::with_webhooks().connect());
    assert!(!hub.deliver_webhooks(link, Outside::new(Mood::Fine), wanted));
}

/// A folder, and the hubs of one process after the other that use it.
struct Place {
    folder: TempDir,
    profiles: Arc<ProfileMemory>,
}

impl Place {
    fn new() -> Self {
        Place {
            folder: TempDir::new().unwrap(),
            profiles: Arc::new(ProfileMemory::new()),
        }
    }

    async fn start(&self, outside: &Arc<Outside>) -> Hub {
        let settings = settings();
        let sessions = self.folder.path().join("sessions");
        let (files, left) = SessionFiles::open(&sessions, settings.shards).unwrap();
        let hub = Hub::start_keeping(settings, self.profiles.clone(), Arc::new(files));
        let (store, _) = WebhookStore::open(self.folder.path().join("webhooks.redb")).unwrap();
        let wanted = HookKind::ALL.into_iter().collect();
        assert!(hub.deliver_local_webhooks(Arc::new(store), outside.clone(), wanted));
        let away = left.away.unwrap_or_default();
        hub.restore(left.sessions, away, left.ended_at).await;
        hub
    }
}

/// Ends `hub` as the end of its process would: nothing is saved or told any more.
async fn kill(hub: Hub) {
    hub.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn who_goes_on_after_a_restart_is_no_event_outside() {
    let (place, outside) = (Place::new(), Outside::new(Mood::Fine));
    let hub = place.start(&outside).await;
    let ann = Watcher::join(&hub, "ann").await;
    outside.hears("ann joined room:42").await;
    let before = ann.session.connection();
    hub.hold(Duration::from_secs(10)).await;
    kill(hub).await;
    drop(ann);
    let hub = place.start(&outside).await;
    let ann = resume(&hub, "ann", before).await;
    assert!(ann.is_restored());
    // Something later than all of that.
    let bob = Watcher::join(&hub, "bob").await;
    outside.hears("bob joined room:42").await;
    bob.session.end().await;
    outside.hears("bob left room:42").await;
    let words = outside.words();
    let mut of_ann: Vec<_> = words.iter().filter(|it| it.starts_with("ann")).collect();
    // Users and channels have no order among each other.
    of_ann.sort();
    assert_eq!(of_ann, ["ann Online", "ann joined room:42"], "{words:?}");
    assert!(!words.contains(&"room:42 vacated".into()), "{words:?}");
}

#[tokio::test]
async fn what_waits_or_was_not_looked_at_is_told_after_a_restart() {
    let (place, outside) = (Place::new(), Outside::new(Mood::Away));
    let hub = place.start(&outside).await;
    let _ann = Watcher::join(&hub, "ann").await;
    while outside.deliveries.load(Relaxed) == 0 {
        tokio::time::sleep(SECOND / 20).await;
    }
    // Nobody has looked at this when the process ends.
    let _bob = Watcher::join(&hub, "bob").await;
    let room = Topic::Channel(channel());
    while hub.list(room.clone(), 0, 10).await.unwrap().total < 2 {
        tokio::time::sleep(SECOND / 100).await;
    }
    kill(hub).await;
    assert_eq!(outside.words(), Vec::<String>::new());

    outside.set(Mood::Fine);
    let _hub = place.start(&outside).await;
    outside.hears("ann Online").await;
    outside.hears("ann joined room:42").await;
    outside.hears("bob Online").await;
    outside.hears("bob joined room:42").await;
    let words = outside.words();
    assert_eq!(words.len(), 5, "{words:?}");
}

#[tokio::test]
async fn who_is_gone_when_the_next_process_begins_is_told_as_gone() {
    let (place, outside) = (Place::new(), Outside::new(Mood::Fine));
    let hub = place.start(&outside).await;
    let _ann = Watcher::join(&hub, "ann").await;
    outside.hears("ann joined room:42").await;
    hub.stop(Duration::from_secs(5)).await;
    drop(hub);
    // The sessions are lost, as they are after half a minute.
    std::fs::remove_dir_all(place.folder.path().join("sessions")).unwrap();
    let _hub = place.start(&outside).await;
    outside.hears("ann gone").await;
    outside.hears("ann left room:42").await;
    outside.hears("room:42 vacated").await;
}
