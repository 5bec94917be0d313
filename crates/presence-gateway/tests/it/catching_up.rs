//! Coming back with what is known already: as little as needs to be told is told.

use presence_client::Picture;
use presence_client::wire::{Event, Have, TopicId};

use crate::gateway::{Running, start};
use crate::people::{Person, ROOM};

/// What `watcher`, who has `have`, is told up to a word of ann's.
async fn told(gateway: &Running, ann: &mut Person, have: Have, word: &str) -> Vec<Event> {
    let mut watcher = Person::connects(&gateway.options("watcher")).await;
    let Have { epoch, version } = have;
    let json = format!(
        r#"{{"type":"presence:watch","channel":"room:1","have":{{"epoch":"{epoch}","version":{version}}}}}"#
    );
    watcher
        .client
        .request(crate::people::command(&json))
        .await
        .unwrap();
    ann.tells(word).await;
    let mut told = Vec::new();
    loop {
        match watcher.client.next().await.unwrap() {
            Event::Broadcast(it) if &*it.event == word => return told,
            Event::Own(_) | Event::Broadcast(_) => {}
            event => told.push(event),
        }
    }
}

#[tokio::test]
async fn what_is_known_is_not_told_again_what_was_missed_is_and_what_is_too_old_is_told_whole() {
    let gateway = start(&[("PRESENCE_VERSIONS_KEPT", "4"), ("PRESENCE_TICK", "50ms")]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    ann.sees(&["ann"]).await;
    ann.does(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    ann.until("ann typing", |it| !it.room.typing().is_empty())
        .await;
    let picture = ann.room.clone();
    let have = picture.have().unwrap();

    // Up to date: so says one small frame, with what never has a version.
    let events = told(&gateway, &mut ann, have, "one").await;
    assert!(
        matches!(&events[0], Event::Unchanged(it) if it.version == have.version && it.typing.len() == 1),
        "{events:?}"
    );

    // Some changes behind: those, in order, and the picture is right.
    let mut bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.does(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    ann.sees(&["ann"]).await;
    let mut eve = Person::comes(&gateway, "eve").await;
    ann.sees(&["ann", "eve"]).await;
    let events = told(&gateway, &mut ann, have, "two").await;
    let mut caught_up = picture.clone();
    for event in &events {
        caught_up.apply(event).unwrap();
    }
    assert!(
        !events.iter().any(|it| matches!(it, Event::CurrentUsers(_))),
        "{events:#?}"
    );
    assert_eq!(caught_up.users(), ann.room.users());
    assert_eq!(caught_up.have(), ann.room.have());

    // Further behind than is kept: everything.
    for _ in 0..5 {
        eve.does(r#"{"type":"presence:leave","channel":"room:1"}"#)
            .await;
        ann.sees(&["ann"]).await;
        eve.does(r#"{"type":"presence:join","channel":"room:1"}"#)
            .await;
        ann.sees(&["ann", "eve"]).await;
    }
    let ahead = Have {
        version: have.version + 1000,
        ..have
    };
    let elsewhere = Have {
        epoch: presence_client::wire::Epoch(1),
        ..have
    };
    for (have, word) in [(have, "three"), (ahead, "four"), (elsewhere, "five")] {
        let events = told(&gateway, &mut ann, have, word).await;
        assert!(
            matches!(&events[0], Event::CurrentUsers(_)),
            "{have:?}: {events:#?}"
        );
        let mut picture = Picture::of(TopicId::Channel(ROOM.into()));
        events
            .iter()
            .for_each(|it| drop(picture.apply(it).unwrap()));
        assert_eq!(picture.users(), ann.room.users(), "{have:?}");
    }
}

#[tokio::test]
async fn a_restored_session_says_its_joins_again_and_hears_what_it_missed() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    bob.sees(&["ann", "bob"]).await;
    ann.sees(&["ann", "bob"]).await;
    let mut options = gateway.options("bob");
    options.resume = Some(bob.client.hello().resume.to_string());
    let room = bob.room.clone();
    bob.client.abort();

    // While bob is away eve comes.
    let _eve = Person::comes(&gateway, "eve").await;
    ann.sees(&["ann", "bob", "eve"]).await;

    let mut bob = Person::connects(&options).await;
    assert!(bob.client.restored());
    let Have { epoch, version } = room.have().unwrap();
    bob.room = room;
    bob.does(&format!(
        r#"{{"type":"presence:join","channel":"room:1","have":{{"epoch":"{epoch}","version":{version}}}}}"#
    ))
    .await;
    bob.sees(&["ann", "bob", "eve"]).await;
    assert!(
        !bob.heard
            .iter()
            .any(|it| matches!(it, Event::CurrentUsers(_))),
        "{:#?}",
        bob.heard
    );
    assert_eq!(ann.departures(), 0);
}
