//! Why others are shown what they are shown, asked of any node.

use std::sync::Arc;
use std::time::Duration;

use presence_core::explain::{GatewayState, UserExplanation};
use presence_core::history::{Cause, TransitionKind};
use presence_core::users::Activity;
use presence_core::{Chosen, Reason, StatusChange, Visible};
use presence_embedded::{ProfileMemory, TopicLink, TopicMemory};
use presence_hub::{Hub, Settings};

use crate::support::{Watcher, channel, connect, user};

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes, the second through a link of its own.
async fn nodes() -> (Hub, Hub, Arc<TopicLink>) {
    let (store, profiles) = (TopicMemory::new(), Arc::new(ProfileMemory::new()));
    let link = Arc::new(store.connect());
    let settings = Settings::default();
    let a = Hub::join(settings, profiles.clone(), Arc::new(store.connect()), "a").await;
    let b = Hub::join(settings, profiles, link.clone(), "b").await;
    // Each reads the leases again, and knows the other.
    tokio::time::sleep(5 * SECOND).await;
    (a, b, link)
}

async fn explained(hub: &Hub, id: &str) -> UserExplanation {
    hub.explain_user(&user(id)).await.unwrap().explain()
}

/// What was recorded of them, the oldest first: by which node, and why.
async fn history(hub: &Hub, id: &str) -> Vec<String> {
    let evidence = hub.explain_user(&user(id)).await.unwrap();
    let explained = evidence.explain();
    let history = explained.transitions.iter().rev();
    let history = history.map(|(gateway, it)| {
        let name = &evidence.gateways[*gateway].name;
        let reason = it.what.reason().map(|it| format!(" {}", it.as_str()));
        let reason = reason.unwrap_or_default();
        format!(
            "{name}: {}{reason} ({})",
            it.what.as_str(),
            it.cause.as_str()
        )
    });
    history.collect()
}

fn facts(explained: &UserExplanation) -> Vec<&'static str> {
    explained.why.iter().map(|it| it.code()).collect()
}

fn chose(chosen: Chosen) -> StatusChange {
    StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    }
}

#[tokio::test(start_paused = true)]
async fn any_node_says_which_sessions_there_are_and_where() {
    let (a, b, _) = nodes().await;
    let _one = Watcher::join(&a, "ann").await;
    let two = connect(&b, "ann").await;
    two.report(Activity::Idle, None).unwrap();
    tokio::time::sleep(SECOND).await;
    for hub in [&a, &b] {
        let evidence = hub.explain_user(&user("ann")).await.unwrap();
        let explained = evidence.explain();
        assert_eq!(explained.shown, Visible::Online);
        assert_eq!(explained.differences, []);
        assert_eq!(facts(&explained), ["active", "chose"]);
        let mut names: Vec<_> = explained
            .sessions
            .iter()
            .map(|(gateway, it)| (&*evidence.gateways[gateway.unwrap()].name, it.is_active))
            .collect();
        names.sort_unstable();
        assert_eq!(names, [("a", true), ("b", false)]);
        assert_eq!(evidence.gateways[0].state, GatewayState::Here);
        assert_eq!(evidence.gateways[1].state, GatewayState::Answered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_just_joined_asks_those_that_were_there() {
    let (store, profiles) = (TopicMemory::new(), Arc::new(ProfileMemory::new()));
    let join = |name| {
        let (profiles, link) = (profiles.clone(), Arc::new(store.connect()));
        Hub::join(Settings::default(), profiles, link, name)
    };
    let a = join("a").await;
    let _ann = Watcher::join(&a, "ann").await;
    let b = join("b").await;
    let evidence = b.explain_user(&user("ann")).await.unwrap();
    let gateways = evidence.gateways.iter();
    let gateways: Vec<_> = gateways.map(|it| (&*it.name, it.state)).collect();
    assert_eq!(
        gateways,
        [("b", GatewayState::Here), ("a", GatewayState::Answered)]
    );
    assert_eq!(evidence.explain().sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_left_on_one_node_is_explained_by_the_other() {
    let (a, b, _) = nodes().await;
    let ann = Watcher::join(&a, "ann").await;
    tokio::time::sleep(SECOND).await;
    b.choose(&user("ann"), chose(Chosen::Busy)).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let chosen = explained(&a, "ann").await.chosen;
    assert_eq!((chosen.by, chosen.gateway), (Some(Cause::Service), Some(1)));
    ann.session
        .vanish_by(Reason::Lost, Cause::ClientClosed)
        .await;
    tokio::time::sleep(30 * SECOND).await;
    let expected = [
        "a: session_began (client)",
        "a: shown (client)",
        "a: joined (client)",
        "b: chose (service)",
        "b: shown (service)",
        "a: disconnected (client_closed)",
        "a: left lost (grace_over)",
        "a: session_ended lost (grace_over)",
        "a: shown (grace_over)",
    ];
    assert_eq!(history(&b, "ann").await, expected);
    assert_eq!(history(&a, "ann").await, expected);
    let explained = explained(&b, "ann").await;
    assert_eq!(facts(&explained), ["no_session", "chose", "last_ended"]);
    let text = explained.why[2].text(b.clock().now());
    assert!(
        text.contains("on gateway a: the client was not back"),
        "{text}"
    );
    assert!(
        text.contains("the client closed it without a goodbye"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kick_ends_the_session_on_the_other_node_and_both_say_so() {
    let (a, b, _) = nodes().await;
    let _ann = connect(&a, "ann").await;
    tokio::time::sleep(SECOND).await;
    b.kick(&user("ann")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let history = history(&b, "ann").await;
    assert_eq!(
        history[2..],
        ["a: session_ended kicked (kick)", "a: shown (kick)"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_listed_and_its_sessions_are_those_of_the_store() {
    let (a, b, link) = nodes().await;
    let mut bob = Watcher::join(&a, "bob").await;
    let _ann = Watcher::join(&b, "ann").await;
    bob.sees(&["ann", "bob"]).await;
    link.set_away(true);
    let asked_at = tokio::time::Instant::now();
    let evidence = a.explain_user(&user("ann")).await.unwrap();
    let waited = asked_at.elapsed();
    let within = presence_hub::ANSWERED_WITHIN;
    assert!(within <= waited && waited < 2 * within, "{waited:?}");
    assert!(matches!(
        evidence.gateways[1].state,
        GatewayState::Silent { .. }
    ));
    let explained = evidence.explain();
    assert_eq!(explained.shown, Visible::Online);
    assert_eq!(explained.sessions.len(), 1);
    assert_eq!(facts(&explained), ["active", "chose", "silent_gateway"]);

    let room = a.explain_channel(&channel()).await.unwrap().explain();
    let mut members: Vec<_> = room
        .members
        .iter()
        .map(|(at, it)| (*at, it.user.as_str()))
        .collect();
    members.sort_unstable();
    assert_eq!(members, [(Some(0), "bob"), (Some(1), "ann")]);
    assert_eq!((room.people, room.differences), (2, vec![]));
}

#[tokio::test(start_paused = true)]
async fn who_was_on_a_node_that_died_is_explained_by_the_one_that_cleaned_up() {
    let (a, b, link) = nodes().await;
    let mut bob = Watcher::join(&a, "bob").await;
    let _ann = Watcher::join(&b, "ann").await;
    // Somebody whom nobody here has ever watched.
    let _eve = connect(&b, "eve").await;
    bob.sees(&["ann", "bob"]).await;
    b.stop(Duration::ZERO).await;
    link.set_away(true);
    bob.is_here_for(60 * SECOND).await;
    for id in ["ann", "eve"] {
        let evidence = a.explain_user(&user(id)).await.unwrap();
        let explained = evidence.explain();
        let ends = explained.transitions.iter();
        let ends = ends.filter(|(_, it)| matches!(it.what, TransitionKind::NodeDied(_)));
        assert_eq!(ends.count(), 1, "{id}");
        assert_eq!(facts(&explained), ["no_session", "chose", "last_ended"]);
        let text = explained.why[2].text(a.clock().now());
        assert!(text.contains("on gateway b: its gateway died"), "{text}");
    }
    let room = a.explain_channel(&channel()).await.unwrap().explain();
    let (_, last) = &room.transitions[0];
    assert_eq!(
        (last.user.as_str(), last.what),
        ("ann", TransitionKind::Left(Reason::NodeLost))
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_erased_has_no_history_on_any_node() {
    let (a, b, link) = nodes().await;
    for hub in [&a, &b] {
        let ann = connect(hub, "ann").await;
        let _bob = connect(hub, "bob").await;
        ann.end().await;
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(history(&a, "ann").await.len(), 8);
    // One of them does not hear of it at first.
    link.set_away(true);
    a.erase(&user("ann")).await.unwrap();
    link.set_away(false);
    tokio::time::sleep(10 * SECOND).await;
    for hub in [&a, &b] {
        assert_eq!(history(hub, "ann").await, [""; 0]);
        assert!(!history(hub, "bob").await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_answers_by_itself_and_at_once() {
    let hub = crate::support::hub();
    let _ann = Watcher::join(&hub, "ann").await;
    hub.choose_by(&user("ann"), chose(Chosen::Invisible), Cause::Owner)
        .await
        .unwrap();
    let explained = explained(&hub, "ann").await;
    assert_eq!(
        (explained.shown, explained.sessions.len()),
        (Visible::Offline, 1)
    );
    assert_eq!(facts(&explained), ["hides", "chose"]);
    assert_eq!(explained.differences, []);
    let room = hub.explain_channel(&channel()).await.unwrap().explain();
    assert_eq!((room.people, room.members.len()), (0, 0));
    let (_, last) = &room.transitions[0];
    assert_eq!(
        (last.what, last.cause),
        (TransitionKind::Left(Reason::Left), Cause::Hid)
    );
}

#[tokio::test(start_paused = true)]
async fn without_room_for_a_history_everything_else_is_explained() {
    let settings = Settings {
        history_bytes_max: 0,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let _ann = Watcher::join(&hub, "ann").await;
    let explained = explained(&hub, "ann").await;
    assert_eq!(
        (explained.shown, explained.transitions.len()),
        (Visible::Online, 0)
    );
}
