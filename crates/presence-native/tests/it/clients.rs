//! What people do and see, with the client in Rust, in both encodings.

use presence_client::wire::{Chosen, Field, Json, Mode, command};
use presence_client::{
    Channel, Difference, Events, Presence, PresenceError, PresenceEvent, Protocol, Stay,
};
use presence_testkit::proxy::{Mode as Wire, Proxy};

use crate::{options, soon, start};

fn json(text: &str) -> Json {
    Json::new(text).unwrap()
}

/// Waits until the picture of `room` is up to date and has these people.
async fn sees(room: &Channel, people: &[&str]) {
    let seen = room.until(|state| {
        let users = state.picture.users();
        state.live && users.iter().map(|it| &*it.id).eq(people.iter().copied())
    });
    soon(format!("{people:?}"), seen).await.unwrap();
}

async fn hears<T>(events: &mut Events, wanted: impl Fn(&PresenceEvent) -> Option<T>) -> T {
    let heard = async {
        loop {
            let event = events.next().await.expect("no end");
            if let Some(it) = wanted(&event) {
                return it;
            }
        }
    };
    soon("an event", heard).await
}

fn busy() -> command::Status {
    command::Status {
        ref_: None,
        status: Field::Value(Chosen::Busy),
        custom_message: Field::Value("deep work".into()),
        emoji: Field::Absent,
        clear_after: Field::Absent,
        expires_at: Field::Absent,
    }
}

#[tokio::test]
async fn people_meet_in_a_room_whatever_encoding_each_of_them_speaks() {
    let server = start().await;
    let ann = Presence::connect(server.options("ann", Protocol::Json));
    let bob = Presence::connect(server.options("bob", Protocol::Binary));
    let (of_ann, of_bob) = (ann.channel("room:1"), bob.channel("room:1"));
    let stay = json(r#"{"name":"Ann","color":"tomato","tool":"pen"}"#);
    soon("ann's room", of_ann.join(stay)).await.unwrap();
    soon("bob's room", of_bob.join(Stay::default()))
        .await
        .unwrap();
    sees(&of_ann, &["ann", "bob"]).await;
    sees(&of_bob, &["ann", "bob"]).await;
    let state = of_bob.state();
    let user = state.picture.user("ann").unwrap();
    assert_eq!(user.name.as_deref(), Some("Ann"));
    assert_eq!(user.color.as_deref(), Some("#ff6347"));

    soon("an update", of_ann.update(json(r#"{"name":"Annie"}"#)))
        .await
        .unwrap();
    let renamed = of_bob.until(|it| {
        let ann = it.picture.user("ann");
        ann.is_some_and(|it| it.name.as_deref() == Some("Annie"))
    });
    soon("the new name", renamed).await.unwrap();

    soon("a status", ann.set_status(busy())).await.unwrap();
    let busy = of_bob.until(|it| {
        let ann = it.picture.user("ann");
        ann.is_some_and(|it| it.status.as_str() == "busy")
    });
    soon("busy", busy).await.unwrap();
    let statuses = soon("statuses", bob.statuses(vec!["ann".into()]))
        .await
        .unwrap();
    assert_eq!(statuses[0].custom_message.as_deref(), Some("deep work"));

    of_ann.typing(true).await.unwrap();
    let typing = of_bob.until(|it| it.picture.typing().iter().any(|it| &**it == "ann"));
    soon("typing", typing).await.unwrap();

    let mut heard = ann.events();
    let said = of_bob.broadcast("wave", json(r#"{"hello":"ann"}"#));
    soon("a broadcast", said).await.unwrap();
    let payload = hears(&mut heard, |it| match it {
        PresenceEvent::Broadcast(it) if &*it.event == "wave" => it.payload.clone(),
        _ => None,
    });
    assert_eq!(payload.await.as_str(), r#"{"hello":"ann"}"#);

    soon("a goodbye", of_bob.leave()).await.unwrap();
    sees(&of_ann, &["ann"]).await;
    soon("a watch", of_bob.watch(Mode::Summary)).await.unwrap();
    let page = soon("a page", of_bob.list(Some(10), None)).await.unwrap();
    assert_eq!(page.total, 1);
    ann.close().await;
    bob.close().await;
}

#[tokio::test]
async fn who_loses_the_connection_comes_back_and_others_hear_of_nothing() {
    let server = start().await;
    let proxy = Proxy::start(server.address).unwrap();
    for protocol in [Protocol::Json, Protocol::Binary] {
        let bob = Presence::connect(server.options("bob", protocol));
        let of_bob = bob.channel("room:1");
        soon("bob's room", of_bob.join(Stay::default()))
            .await
            .unwrap();
        let ann = Presence::connect(options(proxy.address(), "ann", protocol));
        let of_ann = ann.channel("room:1");
        soon("ann's room", of_ann.join(Stay::default()))
            .await
            .unwrap();
        sees(&of_bob, &["bob", "ann"]).await;
        let session = ann.hello().unwrap().session;
        let (mut of_bob_heard, mut of_ann_heard) = (bob.events(), ann.events());

        proxy.set(Wire::Cut);
        soon("the loss", of_ann.until(|it| !it.live)).await.unwrap();
        soon("words", of_bob.broadcast("missed", json("1")))
            .await
            .unwrap();
        proxy.set(Wire::Pass);
        let restored = hears(&mut of_ann_heard, |it| match it {
            PresenceEvent::Hello { restored } => Some(*restored),
            _ => None,
        });
        assert!(restored.await);
        sees(&of_ann, &["bob", "ann"]).await;
        assert_eq!(ann.hello().unwrap().session, session);
        assert_eq!(of_ann.state().picture.surprises(), 0);

        // Something later than all of that: nobody was told that ann had left.
        let joined = soon("in again", of_ann.until(|it| it.joined));
        joined.await.unwrap();
        soon("words", of_ann.broadcast("later", json("1")))
            .await
            .unwrap();
        let about_people = hears(&mut of_bob_heard, |it| match it {
            PresenceEvent::Broadcast(it) if &*it.event == "later" => Some(false),
            PresenceEvent::Changed {
                difference: Difference::Joined(_) | Difference::Left(..),
                ..
            } => Some(true),
            _ => None,
        });
        assert!(!about_people.await);
        ann.close().await;
        bob.close().await;
        // A goodbye is told at once.
        let gone = server.hub.list(topic("room:1"), 0, 0).await.unwrap();
        assert!(gone.total <= 2);
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_named() {
    let server = start().await;
    let ann = Presence::connect(server.options("ann", Protocol::Json));
    let refused = |outcome: Result<(), PresenceError>| match outcome {
        Err(PresenceError::Refused(why)) => (why.code.as_str(), why.field.unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    let room = ann.channel("room:1");
    let bad = soon("a bad meta", room.join(json("[1]"))).await;
    assert_eq!(refused(bad), ("invalid", "meta".to_owned()));
    let long = json(&format!("{{\"x\":\"{}\"}}", "x".repeat(5000)));
    let long = soon("a long meta", room.join(long)).await;
    assert_eq!(refused(long), ("too_large", "meta".to_owned()));
    let nowhere = soon("nowhere", ann.channel("a b").join(Stay::default())).await;
    assert_eq!(refused(nowhere), ("invalid", "channel".to_owned()));
    let apart = ann.channel("pusher/1/private-x");
    let apart = soon("apart", apart.join(Stay::default())).await;
    assert_eq!(refused(apart), ("forbidden", "channel".to_owned()));
    let outside = soon("outside", ann.workspace("acme").watch(Mode::Full)).await;
    assert_eq!(refused(outside), ("forbidden", "workspace".to_owned()));
    let token = soon("a token", ann.authenticate("x.y.z")).await;
    assert_eq!(refused(token), ("unauthorized", "token".to_owned()));
    ann.close().await;
}

fn topic(channel: &str) -> presence_hub::presence_core::Topic {
    presence_hub::presence_core::Topic::Channel(channel.parse().unwrap())
}
