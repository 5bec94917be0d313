//! Several hubs that share a store, and what can happen to them.

use std::sync::Arc;
use std::time::Duration;

use presence_core::{Chosen, StatusChange, Topic, Visible};
use presence_embedded::{ProfileMemory, TopicLink, TopicMemory};
use presence_hub::{Ended, Hub, Settings};

use crate::support::{Watcher, channel, connect, resume, user};

const SECOND: Duration = Duration::from_secs(1);

/// Hubs, each with its own link to one store.
struct Cluster {
    store: TopicMemory,
    profiles: Arc<ProfileMemory>,
}

impl Cluster {
    fn new() -> Self {
        Cluster {
            store: TopicMemory::new(),
            profiles: Arc::new(ProfileMemory::new()),
        }
    }

    async fn hub(&self, name: &str) -> Hub {
        self.hub_through(name, Arc::new(self.store.connect())).await
    }

    async fn hub_through(&self, name: &str, link: Arc<TopicLink>) -> Hub {
        Hub::join(Settings::default(), self.profiles.clone(), link, name).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_is_one_on_all_nodes() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let mut bob = Watcher::join(&b, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;
    assert_eq!(bob.heard(), ["ann joined", "bob joined"]);

    bob.session.end().await;
    ann.sees(&["ann"]).await;
    assert_eq!(ann.heard(), ["ann joined", "bob joined", "bob left Left"]);
}

#[tokio::test(start_paused = true)]
async fn a_status_chosen_on_one_node_is_seen_on_another_and_hides_there_too() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let _bob = Watcher::join(&b, "bob").await;
    ann.sees(&["ann", "bob"]).await;

    let change = |chosen| StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    };
    a.choose(&user("bob"), change(Chosen::Busy)).await.unwrap();
    let public_view = b.public_view(&user("bob")).await.unwrap();
    assert_eq!(public_view.look.status, Visible::Busy);

    a.choose(&user("bob"), change(Chosen::Invisible))
        .await
        .unwrap();
    ann.sees(&["ann"]).await;
    let public_view = b.public_view(&user("bob")).await.unwrap();
    assert_eq!(public_view.look.status, Visible::Offline);
    b.choose(&user("bob"), change(Chosen::Online))
        .await
        .unwrap();
    ann.sees(&["ann", "bob"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_wish_on_two_nodes_at_once_is_granted_on_both() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let _one = Watcher::join(&a, "ann").await;
    let _two = Watcher::join(&b, "ann").await;
    let away = || StatusChange {
        chosen: Some(Chosen::Away),
        ..StatusChange::default()
    };
    let ann = user("ann");
    let both = async { tokio::join!(a.choose(&ann, away()), b.choose(&ann, away())) };
    let (first, second) = tokio::time::timeout(5 * SECOND, both).await.unwrap();
    assert!(first.is_ok() && second.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_on_another_node_in_time_was_never_gone() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let bob = Watcher::join(&a, "bob").await;
    ann.sees(&["ann", "bob"]).await;

    let before = bob.session.connection();
    drop(bob);
    tokio::time::sleep(5 * SECOND).await;
    let bob = resume(&b, "bob", before).await;
    assert!(bob.is_restored());
    assert!(bob.joined().eq([&channel()]));
    ann.is_quiet_for(40 * SECOND).await;

    bob.end().await;
    ann.sees(&["ann"]).await;
    assert_eq!(ann.heard().last().unwrap(), "bob left Left");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_goes_on_elsewhere_is_over_here() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let mut old = Watcher::join(&a, "bob").await;
    ann.sees(&["ann", "bob"]).await;

    let new = resume(&b, "bob", old.session.connection()).await;
    assert!(new.is_restored());
    let ended = tokio::time::timeout(5 * SECOND, old.ended()).await.unwrap();
    assert_eq!(ended, Ended::Closed(presence_core::Reason::Replaced));
    drop(old);
    ann.is_quiet_for(30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_store_is_away_everybody_stays_and_neighbours_see_each_other() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let mut bob = Watcher::join(&b, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;

    cluster.store.set_away(true);
    ann.hears_of_store_away(true).await;
    ann.is_quiet_for(40 * SECOND).await;
    let eve = Watcher::join(&b, "eve").await;
    assert_eq!(eve.session.user(), &user("eve"));
    bob.session.heard().unwrap();
    cluster.store.set_away(false);
    ann.hears_of_store_away(false).await;
    ann.sees(&["ann", "bob", "eve"]).await;
    bob.sees(&["ann", "bob", "eve"]).await;
    ann.is_quiet_for(40 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_everything_is_written_again_and_nobody_notices() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let mut bob = Watcher::join(&b, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;

    cluster.store.wipe();
    ann.is_quiet_for(20 * SECOND).await;
    let c = cluster.hub("c").await;
    let mut eve = Watcher::join(&c, "eve").await;
    eve.sees(&["ann", "bob", "eve"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_heard_of_is_found_within_seconds() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    ann.sees(&["ann"]).await;
    cluster.store.lose(u64::MAX);
    let _bob = Watcher::join(&b, "bob").await;
    let seen = tokio::time::timeout(6 * SECOND, ann.sees(&["ann", "bob"])).await;
    assert!(seen.is_ok(), "not within six seconds");
}

#[tokio::test(start_paused = true)]
async fn the_people_of_a_node_that_died_leave_once_after_its_lease() {
    let cluster = Cluster::new();
    let a = cluster.hub("a").await;
    let link = Arc::new(cluster.store.connect());
    let b = cluster.hub_through("b", link.clone()).await;
    let mut ann = Watcher::join(&a, "ann").await;
    let bob = Watcher::join(&b, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    // The node has to have been healthy for a lease before it judges another.
    ann.is_quiet_for(20 * SECOND).await;

    link.set_away(true); // to the others a node that is cut off is a node that died
    ann.is_quiet_for(11 * SECOND).await;
    let seen = tokio::time::timeout(16 * SECOND, ann.sees(&["ann"])).await;
    assert!(seen.is_ok(), "not within lease, grace and two seconds");
    assert_eq!(ann.heard().last().unwrap(), "bob left NodeLost");

    // It was not dead after all: its people come back, once.
    link.set_away(false);
    let seen = tokio::time::timeout(10 * SECOND, ann.sees(&["ann", "bob"])).await;
    assert!(seen.is_ok(), "not within ten seconds");
    bob.session.heard().unwrap();
    ann.is_quiet_for(30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn the_people_of_a_node_that_stopped_have_the_grace_time_to_come_back_elsewhere() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let bob = Watcher::join(&b, "bob").await;
    let eve = Watcher::join(&b, "eve").await;
    ann.sees(&["ann", "bob", "eve"]).await;
    ann.is_quiet_for(20 * SECOND).await;

    let before = bob.session.connection();
    assert!(b.stop(SECOND).await);
    drop((bob, eve));
    tokio::time::sleep(5 * SECOND).await;
    let bob = resume(&a, "bob", before).await;
    assert!(bob.is_restored());
    ann.sees(&["ann", "bob"]).await;
    let heard = ann.heard();
    assert!(
        !heard.iter().any(|it| it.starts_with("bob left")),
        "{heard:?}"
    );
    assert_eq!(
        heard.iter().filter(|it| it.starts_with("eve left")).count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_can_be_asked_of_a_node_that_has_nobody_there() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    ann.sees(&["ann"]).await;
    let page = b.list(Topic::Channel(channel()), 0, 10).await.unwrap();
    assert_eq!(page.total, 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_is_thrown_out_wherever_they_are() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut bob = Watcher::join(&b, "bob").await;
    bob.sees(&["bob"]).await;
    a.kick(&user("bob")).await.unwrap();
    let ended = tokio::time::timeout(5 * SECOND, bob.ended()).await.unwrap();
    assert_eq!(ended, Ended::Closed(presence_core::Reason::Kicked));
    assert!(a.kick(&user("nobody")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_service_did_through_one_node_it_may_undo_through_another() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let device = "mobile:1".parse().unwrap();
    a.act_join(&user("bob"), device, channel(), Arc::default())
        .await
        .unwrap();
    ann.sees(&["ann", "bob"]).await;
    b.act_leave(&user("bob"), channel()).await.unwrap();
    let seen = tokio::time::timeout(2 * SECOND, ann.sees(&["ann"])).await;
    assert!(seen.is_ok(), "not within two seconds");
    ann.is_quiet_for(40 * SECOND).await;
    assert_eq!(
        b.public_view(&user("bob")).await.unwrap().look.status,
        Visible::Offline
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_may_use_another_node_each_time() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.hub("a").await, cluster.hub("b").await);
    let mut ann = Watcher::join(&a, "ann").await;
    let device = || "mobile:1".parse().unwrap();
    a.act_join(&user("bob"), device(), channel(), Arc::default())
        .await
        .unwrap();
    ann.sees(&["ann", "bob"]).await;
    b.act_heartbeat(&user("bob"), &channel()).await.unwrap();
    ann.is_quiet_for(20 * SECOND).await;
    b.act_leave(&user("bob"), channel()).await.unwrap();
    ann.sees(&["ann"]).await;
    let _ = connect(&a, "eve").await;
}
