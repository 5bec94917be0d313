//! What has to be right about a Compose file besides its schema.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::container::Container;
use super::gateway::span;
use super::{File, at, items, text};

/// The value that stands in for a variable that the operator has to set.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

/// How a gateway knows its Redis.
const REDIS_URL: &str = "REDIS_URL";

/// The containers that it starts.
pub(super) fn containers(file: &File) -> Vec<Container> {
    let services = file
        .documents
        .iter()
        .filter_map(|it| it["services"].as_object());
    services
        .flatten()
        .map(|(name, service)| Container {
            told_in: format!("{}: {name}", file.name),
            image: text(&service["image"]),
            env: environment(service),
            command: command(service),
            grace: span(&text(&service["stop_grace_period"])),
            ..Container::default()
        })
        .collect()
}

/// What is wrong with it, a line each; `files` are those that it may mount.
pub(super) fn check(file: &File, files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    let nothing = Map::new();
    for document in &file.documents {
        let services = document["services"].as_object().unwrap_or(&nothing);
        wrong.extend(health(services));
        wrong.extend(volumes(services));
        wrong.extend(addresses(services));
        wrong.extend(sentinels(services));
        wrong.extend(proxies(services, files));
    }
    wrong
        .into_iter()
        .map(|line| format!("{}: {line}", file.name))
        .collect()
}

/// Whoever is asked for their health has a way to tell; servers of others have one in any case.
fn health(services: &Map<String, Value>) -> Vec<String> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for (name, service) in services {
        let does = command(service);
        let serves = ["redis-server", "redis-sentinel"]
            .iter()
            .any(|it| does.contains(it));
        if serves || text(&service["image"]).starts_with("haproxy") {
            wanted.insert(name);
        }
        let others = service["depends_on"].as_object().into_iter().flatten();
        let healthy = others.filter(|(_, how)| how["condition"] == "service_healthy");
        wanted.extend(healthy.map(|(other, _)| other.as_str()));
    }
    let lacks = |name: &&str| {
        services
            .get(*name)
            .is_none_or(|it| it["healthcheck"].is_null())
    };
    wanted
        .into_iter()
        .filter(lacks)
        .map(|name| format!("{name}: has no health check"))
        .collect()
}

/// Nobody opens the files of somebody else.
fn volumes(services: &Map<String, Value>) -> Vec<String> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, service) in services {
        let mounts = items(&service["volumes"]).iter().map(text);
        for mount in mounts.filter(|it| !it.starts_with('.') && !it.ends_with(":ro")) {
            let volume = mount.split(':').next().unwrap_or_default().to_owned();
            if let Some(other) = owners.insert(volume.clone(), name) {
                wrong.push(format!("{name}: has the volume {volume} of {other}"));
            }
        }
    }
    wrong
}

/// Every address and every host of a URL is that of a service.
fn addresses(services: &Map<String, Value>) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut wrong = Vec::new();
    for (name, service) in services {
        let networks = service["networks"].as_object().into_iter().flatten();
        for (_, network) in networks.filter(|(_, it)| !it["ipv4_address"].is_null()) {
            let address = text(&network["ipv4_address"]);
            if !known.insert(address.clone()) {
                wrong.push(format!("{name}: {address} is taken"));
            }
        }
    }
    for (name, service) in services {
        let env = environment(service);
        let told = env
            .iter()
            .map(|(_, value)| value.clone())
            .chain([command(service)]);
        let is_part = |c: char| !(c.is_ascii_digit() || c == '.');
        for text in told {
            let addresses = text
                .split(is_part)
                .filter(|it| it.parse::<Ipv4Addr>().is_ok());
            for address in addresses.filter(|it| !known.contains(*it)) {
                wrong.push(format!("{name}: nobody has the address {address}"));
            }
        }
        let urls = env.iter().filter(|(name, _)| name == REDIS_URL);
        for host in urls.flat_map(|(_, url)| hosts(url)) {
            if !services.contains_key(host) {
                wrong.push(format!(
                    "{name}: {REDIS_URL} names {host}, which is no service"
                ));
            }
        }
    }
    wrong
}

/// The hosts in a URL of a Redis.
fn hosts(url: &str) -> Vec<&str> {
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let first = before.rsplit(['@', '/']).next();
    let others = query.split('&').filter_map(|it| it.strip_prefix("node="));
    let hosts = first.into_iter().chain(others);
    hosts.filter_map(|it| it.split(':').next()).collect()
}

/// As many have to agree as are more than half.
fn sentinels(services: &Map<String, Value>) -> Vec<String> {
    let quorums: Vec<(&String, Option<usize>)> = services
        .iter()
        .filter_map(|(name, service)| {
            let command = command(service);
            let (_, rest) = command.split_once("sentinel monitor ")?;
            let quorum = rest.lines().next()?.split_whitespace().last()?;
            Some((name, quorum.parse().ok()))
        })
        .collect();
    let majority = quorums.len() / 2 + 1;
    quorums
        .iter()
        .filter(|(_, quorum)| *quorum != Some(majority))
        .map(|(name, _)| {
            format!(
                "{name}: {majority} of {} sentinels should have to agree",
                quorums.len()
            )
        })
        .collect()
}

/// Those who are sent to are the gateways, all of them.
fn proxies(services: &Map<String, Value>, files: &[File]) -> Vec<String> {
    let gateways: BTreeSet<&str> = services
        .iter()
        .filter(|(_, it)| text(&it["image"]).starts_with("presence-gateway"))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for (name, service) in services {
        for mount in items(&service["volumes"]).iter().map(text) {
            let Some(mounted) = mount.strip_prefix("./").and_then(|it| it.split(':').next()) else {
                continue;
            };
            let Some(file) = files.iter().find(|it| it.name == mounted) else {
                wrong.push(format!("{name}: there is no {mounted}"));
                continue;
            };
            let servers = file.text.lines().filter_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some("server")).then(|| words.nth(1))?
            });
            let served: BTreeSet<&str> = servers.filter_map(|it| it.split(':').next()).collect();
            if served != gateways {
                wrong.push(format!(
                    "{name}: {mounted} sends to {served:?}; the gateways are {gateways:?}"
                ));
            }
        }
    }
    wrong
}

/// As the container would see it.
fn environment(service: &Value) -> Vec<(String, String)> {
    let environment = service["environment"].as_object().into_iter().flatten();
    environment
        .map(|(name, value)| (name.clone(), interpolated(&text(value))))
        .collect()
}

/// As the container would see it, with spaces between the words.
fn command(service: &Value) -> String {
    let words = items(at(service, "command")).iter().map(text);
    interpolated(&words.collect::<Vec<_>>().join(" "))
}

/// With defaults in place of variables that have one, [`SECRET`] in place of others, and `$` in place of `$$`.
fn interpolated(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done += before;
        if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            rest = after;
        } else if let Some((variable, after)) =
            after.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            done += variable
                .split_once(":-")
                .map_or(SECRET, |(_, default)| default);
            rest = after;
        } else {
            done.push('$');
            rest = after;
        }
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_replaced_as_compose_does() {
        assert_eq!(interpolated("a ${B:-c d} $$E"), "a c d $E");
        assert_eq!(interpolated("${A:?set it}${A}"), [SECRET, SECRET].concat());
        assert_eq!(interpolated("$"), "$");
    }

    #[test]
    fn hosts_of_every_kind_of_url_are_found() {
        assert_eq!(hosts("redis://a"), ["a"]);
        assert_eq!(
            hosts("redis-cluster://:pw@a:1?node=b:2&node=c:3"),
            ["a", "b", "c"]
        );
        assert_eq!(
            hosts("redis-sentinel://u:pw@a?sentinelServiceName=m&node=b:2"),
            ["a", "b"]
        );
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let fine = json!({
            "redis-1": { "command": ["redis-server"], "healthcheck": {}, "networks": { "back": { "ipv4_address": "10.0.0.1" } } },
            "sentinel-1": {
                "command": ["sentinel monitor presence 10.0.0.1 6379 2\nexec redis-sentinel"],
                "healthcheck": {}, "volumes": ["s-1:/data"],
            },
            "sentinel-2": {
                "command": ["sentinel monitor presence 10.0.0.1 6379 2\nexec redis-sentinel"],
                "healthcheck": {}, "volumes": ["s-2:/data"],
            },
            "gateway-1": {
                "image": "presence-gateway:1.0",
                "environment": { "REDIS_URL": "redis-sentinel://sentinel-1?sentinelServiceName=presence&node=sentinel-2:26379" },
                "depends_on": { "redis-1": { "condition": "service_healthy" } },
            },
            "proxy": { "image": "haproxy:3.0.1", "healthcheck": {}, "volumes": ["./haproxy.cfg:/haproxy.cfg:ro"] },
        });
        let check = |path: &str, value: Value, expected: &[&str]| {
            let mut services = fine.clone();
            *services.pointer_mut(path).unwrap() = value;
            let told = super::check(
                &file("compose.yaml", json!({ "services": services })),
                &[proxy()],
            );
            let expected: Vec<_> = expected
                .iter()
                .map(|it| format!("compose.yaml: {it}"))
                .collect();
            assert_eq!(told, expected);
        };
        check("/proxy/image", json!("haproxy:3.0.2"), &[]);
        check(
            "/redis-1/healthcheck",
            Value::Null,
            &["redis-1: has no health check"],
        );
        check(
            "/sentinel-2/volumes/0",
            json!("s-1:/data"),
            &["sentinel-2: has the volume s-1 of sentinel-1"],
        );
        check(
            "/sentinel-2/command/0",
            json!("sentinel monitor presence 10.0.0.2 6379 1\nexec redis-sentinel"),
            &[
                "sentinel-2: nobody has the address 10.0.0.2",
                "sentinel-2: 2 of 2 sentinels should have to agree",
            ],
        );
        check(
            "/gateway-1/environment/REDIS_URL",
            json!("redis://redis-2:6379"),
            &["gateway-1: REDIS_URL names redis-2, which is no service"],
        );
        check(
            "/gateway-1/image",
            json!("another:1.0"),
            &["proxy: haproxy.cfg sends to {\"gateway-1\"}; the gateways are {}"],
        );
    }

    fn proxy() -> File {
        File {
            name: "haproxy.cfg".to_owned(),
            text: "backend gateways\n    server gateway-1 gateway-1:4001\n".to_owned(),
            documents: Vec::new(),
        }
    }

    fn file(name: &str, document: Value) -> File {
        File {
            name: name.to_owned(),
            text: String::new(),
            documents: vec![document],
        }
    }
}
