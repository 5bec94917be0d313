//! What the gateway says about itself, and what it keeps to itself.

use serde_json::Value;

use crate::gateway::start;
use crate::people::Person;
use crate::raw::{Raw, body, exchange, get, status};

#[tokio::test]
async fn health_counts_what_there_is() {
    let gateway = start(&[("NODE_NAME", "gateway-1")]).await;
    let health = |answer: String| -> Value {
        assert_eq!(status(&answer), 200);
        serde_json::from_str(body(&answer)).unwrap()
    };
    let empty = health(get(gateway.address(), "/health").await);
    assert_eq!(empty["status"], "healthy");
    assert_eq!(empty["store"]["kind"], "embedded");
    assert_eq!(empty["store"]["connected"], true);
    assert_eq!(empty["presence"]["online_users"], 0);
    assert_eq!(empty["presence"]["active_channels"], 0);
    assert_eq!(empty["node"], "gateway-1");
    assert!(empty["version"].is_string());

    let _ann = Person::comes(&gateway, "ann").await;
    let mut hidden = Person::comes(&gateway, "bob").await;
    hidden
        .does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    let two = health(get(gateway.address(), "/health").await);
    // Nobody counts who hides.
    assert_eq!(two["presence"]["online_users"], 1);
    assert_eq!(two["presence"]["active_channels"], 1);
    gateway.is_left_with(2).await;

    for path in ["/livez", "/readyz"] {
        assert_eq!(status(&get(gateway.address(), path).await), 200, "{path}");
    }
}

#[tokio::test]
async fn no_label_has_anything_in_it_that_a_client_chose() {
    const MARK: &str = "zebra";
    let gateway = start(&[]).await;
    let user = format!("{MARK}-user");
    let mut ann = Person::comes(&gateway, &user).await;
    ann.does(&format!(
        r#"{{"type":"presence:join","channel":"{MARK}:1","meta":{{"name":"{MARK}"}}}}"#
    ))
    .await;
    ann.does(&format!(
        r#"{{"type":"presence:status","custom_message":"{MARK}"}}"#
    ))
    .await;
    ann.does(&format!(
        r#"{{"type":"presence:broadcast","channel":"{MARK}:1","event":"{MARK}"}}"#
    ))
    .await;
    ann.is_refused(&format!(
        r#"{{"type":"presence:update","channel":"{MARK}:2","meta":{{}}}}"#
    ))
    .await;
    let mut raw = Raw::connect(gateway.address(), &user).await;
    raw.text(&format!(r#"{{"type":"{MARK}"}}"#)).await;
    raw.error().await;
    raw.close(4321).await;
    raw.ends().await;
    for request in [
        format!("GET /{MARK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        format!(
            "GET /api/presence/users/{MARK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ),
        format!("GET /api/{MARK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        format!(
            "{} / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            MARK.to_uppercase()
        ),
    ] {
        exchange(gateway.address(), request.as_bytes()).await;
    }

    let answer = get(gateway.address(), "/metrics").await;
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    let page = body(&answer);
    assert!(!page.to_lowercase().contains(MARK), "{page}");
    assert!(page.trim_end().ends_with("# EOF"), "{page}");
    assert_eq!(value(page, "presence_users_online"), Some(1.0), "{page}");
    assert_eq!(value(page, "presence_channels_active"), Some(2.0), "{page}");
    assert_eq!(
        value(page, "presence_connections_total"),
        Some(2.0),
        "{page}"
    );
    assert_eq!(
        value(page, "presence_refusals_total{code=\"not_joined\"}"),
        Some(1.0),
        "{page}"
    );
    assert_eq!(
        value(page, "presence_closes_total{code=\"0\"}"),
        Some(1.0),
        "{page}"
    );
    for line in page.lines().filter(|it| !it.starts_with('#')) {
        let labels = line
            .split_once('{')
            .map_or("", |(_, rest)| rest.split('}').next().unwrap());
        for label in labels.split(',').filter(|it| !it.is_empty()) {
            let (name, value) = label.split_once('=').unwrap();
            assert!(["code", "route", "status", "le"].contains(&name), "{line}");
            let word = value.trim_matches('"');
            let fine = word
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
            assert!(fine && word.len() < 32, "{line}");
        }
    }
}

/// The value of a sample.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|it| it.strip_prefix(name))?;
    line.trim().parse().ok()
}
