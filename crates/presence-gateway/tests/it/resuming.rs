//! Connections that break, and sessions that go on.

use std::time::Duration;

use presence_client::wire::{Event, Reason};
use presence_client::{Difference, Ending, Options};

use crate::gateway::{Running, now, start};
use crate::people::Person;
use crate::raw::{CLOSE, Raw};

const GRACE: Duration = Duration::from_secs(2);

async fn short() -> Running {
    start(&[("PRESENCE_GRACE", "2s")]).await
}

/// How `person` comes back.
fn back(gateway: &Running, person: &Person) -> Options {
    let hello = person.client.hello();
    Options {
        resume: Some(hello.resume.to_string()),
        ..gateway.options(&hello.user_id)
    }
}

#[tokio::test]
async fn who_comes_back_in_time_was_never_away() {
    let gateway = short().await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    let session = bob.client.hello().session;
    let again = back(&gateway, &bob);
    bob.client.abort();

    let mut bob = Person::connects(&again).await;
    assert!(bob.client.restored());
    assert_eq!(bob.client.hello().session, session);
    ann.notices_nothing_for(GRACE * 2).await;

    // And is still in the room, without having said so.
    bob.tells("still here").await;
    ann.hears_word("still here").await;
    assert_eq!(ann.ids(), ["ann", "bob"]);
}

#[tokio::test]
async fn who_comes_back_too_late_has_left_once_and_is_new() {
    let gateway = short().await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    let again = back(&gateway, &bob);
    let vanished = now();
    bob.client.abort();
    ann.sees(&["ann"]).await;
    assert!(
        now().since(vanished) >= GRACE,
        "not before the grace is over"
    );
    let bob = Person::connects(&again).await;
    assert!(!bob.client.restored());
    ann.notices_nothing_for(GRACE * 2).await;
    let left: Vec<_> = ann
        .noticed
        .iter()
        .filter(|it| matches!(it, Difference::Left(..)))
        .collect();
    assert_eq!(left, [&Difference::Left("bob".into(), Some(Reason::Lost))]);
}

#[tokio::test]
async fn a_resume_token_is_good_once() {
    let gateway = start(&[]).await;
    let first = Person::comes(&gateway, "bob").await;
    let again = back(&gateway, &first);
    first.client.abort();
    let second = Person::connects(&again).await;
    let third = Person::connects(&again).await;
    assert!(second.client.restored() && !third.client.restored());
    assert_ne!(second.client.hello().session, third.client.hello().session);
    // The newer one has a token of its own.
    let fourth = Person::connects(&back(&gateway, &second)).await;
    assert!(fourth.client.restored());
    assert_eq!(fourth.client.hello().session, second.client.hello().session);
}

#[tokio::test]
async fn a_resume_token_is_of_one_user_on_one_device() {
    let gateway = start(&[]).await;
    let bob = Person::comes(&gateway, "bob").await;
    let token = back(&gateway, &bob).resume;
    let other_user = Options {
        user_id: Some("eve".into()),
        ..back(&gateway, &bob)
    };
    let other_device = Options {
        device_id: Some("web:other".into()),
        ..back(&gateway, &bob)
    };
    let forged = Options {
        resume: token.map(|it| it.replace('.', "A.")),
        ..back(&gateway, &bob)
    };
    for wrong in [other_user, other_device, forged] {
        let person = Person::connects(&wrong).await;
        assert!(!person.client.restored(), "{wrong:?}");
    }
    // None of that has used it up.
    assert!(
        Person::connects(&back(&gateway, &bob))
            .await
            .client
            .restored()
    );
}

#[tokio::test]
async fn who_does_not_name_a_device_comes_back_on_the_one_it_had() {
    let gateway = start(&[]).await;
    for device in [None, Some("web:mine".to_owned())] {
        let first = Options {
            device_id: device.clone(),
            ..gateway.options("bob")
        };
        let bob = Person::connects(&first).await;
        let hello = bob.client.hello();
        let (session, had) = (hello.session, hello.device_id.clone());
        assert!(device.is_none_or(|it| *it == *had));
        let again = Options {
            device_id: None,
            ..back(&gateway, &bob)
        };
        bob.client.abort();
        let bob = Person::connects(&again).await;
        assert!(bob.client.restored(), "{had}");
        let hello = bob.client.hello();
        assert_eq!((hello.session, &hello.device_id), (session, &had));
        // And once more, with the token of the restored connection.
        let again = Options {
            device_id: None,
            ..back(&gateway, &bob)
        };
        bob.client.abort();
        let bob = Person::connects(&again).await;
        assert_eq!(bob.client.hello().session, session);
    }
}

#[tokio::test]
async fn the_older_connection_of_a_session_is_replaced_and_nobody_notices() {
    let gateway = short().await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut old = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    let mut new = Person::connects(&back(&gateway, &old)).await;
    assert!(new.client.restored());
    assert_eq!(old.is_closed().await, 4409);
    let closing = old.heard.iter().find_map(|it| match it {
        Event::Closing(it) => Some((it.code, it.reconnect)),
        _ => None,
    });
    assert_eq!(closing, Some((4409, false)));
    ann.notices_nothing_for(GRACE * 2).await;
    new.tells("hi").await;
    ann.hears_word("hi").await;
    assert_eq!(ann.departures(), 0);
}

#[tokio::test]
async fn a_close_with_1000_is_a_goodbye() {
    let gateway = start(&[("PRESENCE_GRACE", "1h")]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.client.close().await;
    ann.sees(&["ann"]).await;
    assert_eq!(
        ann.noticed.last(),
        Some(&Difference::Left("bob".into(), Some(Reason::Left)))
    );
}

#[tokio::test]
async fn a_close_without_a_goodbye_waits_for_the_grace_as_a_reload_needs() {
    let gateway = short().await;
    for code in [Some(1001_u16), None, Some(3000)] {
        let mut ann = Person::comes(&gateway, "ann").await;
        let mut bob = Raw::connect(gateway.address(), "bob").await;
        bob.text(r#"{"type":"presence:join","ref":1,"channel":"room:1"}"#)
            .await;
        bob.answer(1).await;
        ann.sees(&["ann", "bob"]).await;
        let vanished = now();
        match code {
            Some(code) => bob.close(code).await,
            None => bob.frame(CLOSE, &[]).await,
        }
        // The close is answered as it should be, with nothing after it.
        let ended = bob.ends().await;
        assert_eq!(ended.code, Some(code.unwrap_or(1005)));
        ann.sees(&["ann"]).await;
        assert!(now().since(vanished) >= GRACE, "{code:?}");
        assert_eq!(
            ann.noticed.last(),
            Some(&Difference::Left("bob".into(), Some(Reason::Lost)))
        );
        ann.client.close().await;
    }
}

#[tokio::test]
async fn a_close_with_1000_is_answered_with_it_and_nothing_after() {
    let gateway = start(&[]).await;
    let mut bob = Raw::connect(gateway.address(), "bob").await;
    bob.hears_of(|it| matches!(it, Event::Own(_)).then_some(()))
        .await;
    bob.close(1000).await;
    let ended = bob.ends().await;
    assert_eq!(
        (ended.code, ended.events.len()),
        (Some(1000), 0),
        "{ended:?}"
    );
}

#[tokio::test]
async fn with_no_grace_a_broken_connection_is_a_leave_at_once() {
    let gateway = start(&[("PRESENCE_GRACE", "0s")]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    let again = back(&gateway, &bob);
    bob.client.abort();
    ann.sees(&["ann"]).await;
    assert!(!Person::connects(&again).await.client.restored());
}

#[tokio::test]
async fn a_session_that_flaps_is_never_seen_to_leave() {
    let gateway = short().await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    for _ in 0..20 {
        let again = back(&gateway, &bob);
        bob.client.abort();
        bob = Person::connects(&again).await;
        assert!(bob.client.restored());
    }
    bob.tells("steady").await;
    ann.hears_word("steady").await;
    ann.notices_nothing_for(GRACE * 2).await;
    assert_eq!(ann.departures(), 0);
    assert!(!matches!(bob.client.ending(), Some(Ending::Closed { .. })));
}
