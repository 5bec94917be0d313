//! A fresh token that allows less: what its user is told to be out of, they are out of, in every dialect.

use std::time::Duration;

use presence_client::wire::{ErrorCode, Event, Target};
use serde_json::json;

use crate::gateway::{Running, start_closed};
use crate::people::Person;
use crate::phoenix::Page;

const HOUR: Duration = Duration::from_secs(3600);

fn token(gateway: &Running, scopes: &[&str], device: Option<&str>) -> String {
    gateway.token("ann", HOUR, |it| {
        it.scopes = scopes.iter().map(|it| (*it).to_owned()).collect();
        it.device = device.map(|it| it.parse().unwrap());
    })
}

fn renewal(token: &str) -> String {
    json!({"type": "presence:authenticate", "token": token}).to_string()
}

fn removed(person: &Person) -> Vec<Target> {
    let removed = person.heard.iter().filter_map(|event| match event {
        Event::Removed(it) => Some(it.target.clone()),
        _ => None,
    });
    removed.collect()
}

async fn bob(gateway: &Running) -> Person {
    Person::comes_with(&gateway.options_with(&gateway.token("bob", HOUR, |_| {}))).await
}

#[tokio::test]
async fn who_may_join_and_not_see_any_more_stays_only_where_they_did_not_look() {
    let gateway = start_closed(&[]).await;
    let mut bob = bob(&gateway).await;
    bob.does(r#"{"type":"presence:watch","channel":"room:2"}"#)
        .await;
    let mut ann = Person::comes_with(&gateway.options_with(&token(&gateway, &[], None))).await;
    ann.does(r#"{"type":"presence:join","channel":"room:2","watch":false}"#)
        .await;
    bob.sees(&["bob", "ann"]).await;
    ann.does(&renewal(&token(&gateway, &["join"], None))).await;
    ann.until("what she lost", |it| {
        removed(it) == [Target::Channel("room:1".into())]
    })
    .await;
    bob.sees(&["bob"]).await;
    let list = bob
        .does(r#"{"type":"presence:list","channel":"room:2"}"#)
        .await;
    assert!(list.to_json().contains(r#""id":"ann""#), "{list:?}");
}

#[tokio::test]
async fn on_phoenix_whose_topic_is_closed_is_not_shown_there_any_more() {
    let gateway = start_closed(&[]).await;
    let mut bob = bob(&gateway).await;
    let params = format!("token={}", token(&gateway, &[], None));
    let mut page = Page::connects_with(&gateway, &params).await;
    page.joins("room:1", json!({})).await;
    bob.sees(&["bob", "ann"]).await;
    let fresh = token(&gateway, &["join"], None);
    page.asks(json!(["1", "8", "room:1", "access_token", {"access_token": fresh}]))
        .await;
    bob.sees(&["bob"]).await;
}

#[tokio::test]
async fn a_token_of_another_device_does_not_renew_a_connection() {
    let gateway = start_closed(&[]).await;
    let bound = token(&gateway, &[], Some("web:1"));
    let mut ann = Person::comes_with(&gateway.options_with(&bound)).await;
    let other = ann
        .is_refused(&renewal(&token(&gateway, &[], Some("mobile:1"))))
        .await;
    assert_eq!(other.code, ErrorCode::Unauthorized, "{other:?}");
    assert_eq!(other.field.as_deref(), Some("token"));
    for same in [Some("web:1"), None] {
        ann.does(&renewal(&token(&gateway, &[], same))).await;
    }
    // A page that named no device is on a random one.
    let params = format!("token={}", token(&gateway, &[], None));
    let mut page = Page::connects_with(&gateway, &params).await;
    page.joins("room:1", json!({})).await;
    let fresh = token(&gateway, &[], Some("mobile:1"));
    page.is_refused(json!(["1", "8", "room:1", "access_token", {"access_token": fresh}]))
        .await;
}
