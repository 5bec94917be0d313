//! What the gateway says about itself, and what it keeps to itself.

use serde_json::Value;

use crate::gateway::{soon, start};
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
            assert!(
                [
                    "code", "route", "status", "le", "dialect", "reason", "version"
                ]
                .contains(&name),
                "{line}"
            );
            let word = value.trim_matches('"');
            let fine = ["le", "version"].contains(&name)
                || word
                    .bytes()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
            assert!(fine && word.len() < 32, "{line}");
        }
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let gateway = start(&[]).await;
    let asked = async |accept: &str| {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\n{accept}connection: close\r\n\r\n"
        );
        exchange(gateway.address(), request.as_bytes()).await
    };
    for accept in ["text/plain", "text/plain;version=0.0.4"] {
        let answer = asked(&format!("accept: {accept}\r\n")).await;
        let kind = "content-type: text/plain; version=0.0.4";
        assert!(answer.contains(kind), "{answer}");
        let page = body(&answer);
        assert!(!page.contains("# EOF"), "{page}");
        let declared = "# TYPE presence_heartbeats_total counter";
        assert!(page.contains(declared), "{page}");
        is_declared_before_its_samples(page);
    }
    for accept in [
        "",
        "accept: */*\r\n",
        "accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n",
    ] {
        let answer = asked(accept).await;
        let kind = "content-type: application/openmetrics-text; version=1.0.0";
        assert!(answer.contains(kind), "{answer}");
        let page = body(&answer);
        assert!(
            page.contains("# TYPE presence_heartbeats counter"),
            "{page}"
        );
        assert!(page.trim_end().ends_with("# EOF"), "{page}");
    }
}

/// Fails unless each sample of the format 0.0.4 stands below the declaration of its family, which is there once.
fn is_declared_before_its_samples(page: &str) {
    let (mut family, mut seen) = ("", std::collections::BTreeSet::new());
    for line in page.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            family = declared.split(' ').next().unwrap();
            assert!(seen.insert(family), "{family} is declared twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let parts = ["", "_bucket", "_sum", "_count"];
            let is_of_it = parts.iter().any(|it| name == format!("{family}{it}"));
            assert!(is_of_it, "{line} is below {family}");
        }
    }
}

/// What is counted while somebody is told something, and types.
#[tokio::test]
async fn what_happens_is_counted() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    bob.does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    for person in [&mut ann, &mut bob] {
        person
            .does(r#"{"type":"presence:join","channel":"room:1"}"#)
            .await;
    }
    ann.does(r#"{"type":"presence:heartbeat"}"#).await;
    ann.does(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    let counted = async {
        loop {
            let answer = get(gateway.address(), "/metrics").await;
            let page = body(&answer).to_owned();
            let is_told = value(&page, "presence_change_to_told_seconds_count") > Some(0.0);
            // The system counts the time in hundredths of a second.
            let has_worked = value(&page, "process_cpu_seconds_total") > Some(0.0);
            if value(&page, "presence_typing_users") == Some(1.0) && is_told && has_worked {
                return page;
            }
        }
    };
    let page = soon("the metrics", counted).await;
    let is =
        |name: &str, wanted: f64| assert_eq!(value(&page, name), Some(wanted), "{name}: {page}");
    // Who hides is not counted.
    is("presence_online_users", 1.0);
    is("presence_users_online", 1.0);
    is("presence_heartbeats_total", 1.0);
    is("presence_websockets{dialect=\"native\"}", 2.0);
    is("presence_websockets_opened_total{dialect=\"native\"}", 2.0);
    is("presence_websockets{dialect=\"phoenix\"}", 0.0);
    is("presence_redis_latency_seconds_count", 0.0);
    is(
        &format!(
            "presence_build_info{{version=\"{}\"}}",
            env!("CARGO_PKG_VERSION")
        ),
        1.0,
    );
    for name in [
        "presence_command_to_answer_seconds_count",
        "presence_fanout_watchers_count",
        "presence_fanout_watchers_sum",
        "presence_profile_store_latency_seconds_count",
        "presence_http_request_seconds_count",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(value(&page, name) > Some(0.0), "{name}: {page}");
    }
}

/// The value of a sample.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|it| it.strip_prefix(name))?;
    line.trim().parse().ok()
}
