//! What is in `deploy` fits the gateway: dashboards, alerts and the documentation name metrics that there are, and proxies
//! let through what is public and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use presence_client::{Client, Options};
use presence_gateway::exposure::{EXPOSED, Exposure, Reach, exposure_of};
use regex::Regex;

use crate::gateway::{Running, start_closed};
use crate::people::Person;
use crate::raw::{body, exchange, get};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files directly in a folder, by their paths from the root.
fn files_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// The part of the operator's documentation between two headings.
fn section(from: &str, to: &str) -> String {
    let page = read("docs/operations.md");
    let (_, rest) = page.split_once(&format!("\n## {from}\n")).unwrap();
    let (section, _) = rest.split_once(&format!("\n## {to}\n")).unwrap();
    section.to_owned()
}

/// The metrics that a text names, without what a histogram adds to its name.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"(?-u:\b)(?:presence|process)_[a-z0-9_]*[a-z0-9](?-u:\b)").unwrap();
    let ends = ["_bucket", "_sum", "_count"];
    let found = name.find_iter(text).map(|it| {
        let name = it.as_str();
        let end = ends.into_iter().find(|end| name.ends_with(end));
        end.map_or(name, |end| name.strip_suffix(end).unwrap())
            .to_owned()
    });
    found.collect()
}

/// The families of a scrape, after one of everything has happened that makes one.
async fn scraped() -> BTreeSet<String> {
    let gateway = start_closed(&[("PRESENCE_JWKS_URL", "http://127.0.0.1:9/keys")]).await;
    let token = |gateway: &Running, user: &str| {
        let hour = std::time::Duration::from_secs(3600);
        gateway.token_made_at(crate::gateway::now(), user, hour, |_| {})
    };
    let options = gateway.options_with(&token(&gateway, "ann"));
    let mut ann = Person::connects(&options).await;
    ann.is_refused(r#"{"type":"presence:update","channel":"room:2","meta":{}}"#)
        .await;
    ann.says(r#"{"type":"presence:leave"}"#).await;
    ann.is_closed().await;
    let nobody: Options = gateway.options_with("no token");
    assert!(Client::connect(&nobody).await.is_err());
    get(gateway.address(), "/livez").await;
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: text/plain\r\nconnection: close\r\n\r\n";
    let answer = exchange(gateway.address(), request.as_bytes()).await;
    let types = body(&answer).lines();
    let types = types.filter_map(|it| it.strip_prefix("# TYPE "));
    types
        .map(|it| it.split(' ').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_metric_that_is_named_anywhere_is_scraped() {
    let scraped = scraped().await;
    let mut texts = vec![("docs/operations.md".to_owned(), section("Metrics", "Logs"))];
    let folders = ["deploy/prometheus", "deploy/grafana"];
    let files = folders.into_iter().flat_map(files_in);
    texts.extend(files.map(|file| (file.clone(), read(&file))));
    assert!(texts.len() >= 7, "{texts:?}");
    for (file, text) in &texts {
        let named = metrics_in(text);
        assert!(!named.is_empty(), "{file} names no metric");
        let unknown: Vec<_> = named.difference(&scraped).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
    // And the documentation has each of them.
    let documented = metrics_in(&texts[0].1);
    let groups = ["presence_jwks_", "process_"];
    let is_documented = |name: &String| {
        documented.contains(name) || groups.iter().any(|group| name.starts_with(group))
    };
    let missing: Vec<_> = scraped.iter().filter(|it| !is_documented(it)).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}

#[test]
fn every_alert_is_explained_and_tested() {
    let rules = read("deploy/prometheus/presence.rules.yaml");
    let (explained, tests) = (
        section("Alerts", "Logs"),
        read("deploy/prometheus/presence.test.yaml"),
    );
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|it| it.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(
            explained.contains(&format!("| `{alert}` |")),
            "{alert} is not explained"
        );
        let tested = format!("alertname: {alert}\n");
        let (_, after) = tests.split_once(&tested).unwrap_or(("", ""));
        assert!(
            after.trim_start().starts_with("exp_alerts:"),
            "{alert} is not tested"
        );
    }
}

/// The paths of an ingress: each with whether what is below it is meant.
fn paths_of_ingress(text: &str) -> BTreeSet<(String, Reach)> {
    let mut paths = BTreeSet::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("- path: ") {
            let kind = lines.next().unwrap();
            paths.insert(match kind {
                "pathType: Exact" => (path.to_owned(), Reach::Exact),
                "pathType: Prefix" => (format!("{path}/"), Reach::Below),
                other => panic!("{path}: {other}"),
            });
        }
    }
    paths
}

/// The paths that a HAProxy calls public.
fn paths_of_haproxy(text: &str) -> BTreeSet<(String, Reach)> {
    let mut paths = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        let mut words = line.split(' ');
        if (words.next(), words.next()) == (Some("acl"), Some("public")) {
            let reach = match words.next() {
                Some("path") => Reach::Exact,
                Some("path_beg") => Reach::Below,
                other => panic!("{line}: {other:?}"),
            };
            paths.extend(words.map(|it| (it.to_owned(), reach)));
        }
    }
    let refuses = text.contains("http-request deny deny_status 404 unless public");
    assert!(refuses, "the rest is not refused");
    paths
}

#[test]
fn proxies_let_through_what_is_public_and_nothing_else() {
    let public: BTreeSet<(String, Reach)> = EXPOSED
        .iter()
        .filter(|it| it.exposure == Exposure::Public)
        .map(|it| (it.path.to_owned(), it.reach))
        .collect();
    let ingresses = [
        "deploy/kubernetes/ingress.yaml",
        "deploy/helm/presence/templates/ingress.yaml",
    ];
    for file in ingresses {
        assert_eq!(paths_of_ingress(&read(file)), public, "{file}");
    }
    let file = "deploy/haproxy.cfg";
    assert_eq!(paths_of_haproxy(&read(file)), public, "{file}");
    for path in [
        "/metrics",
        "/health",
        "/admin",
        "/admin/nodes",
        "/livez",
        "/",
    ] {
        assert_eq!(exposure_of(path), Exposure::Inside, "{path}");
    }
}
