//! What has to be right about the Kubernetes objects besides their schemas.

use std::time::Duration;

use serde_json::Value;

use super::container::Container;
use super::gateway::Route;
use super::{File, at, items, text};

/// What stands in for a value from elsewhere: a secret, or the name of a pod.
const FROM_ELSEWHERE: &str = "presence-gateway-5d8c7b9f4-0123456789abcdef";

/// What stands in for the URL of a Redis.
const REDIS_ELSEWHERE: &str = "redis://redis.example.org:6379/0";

/// What Kubernetes waits if it is not told.
const GRACE: u64 = 30;

const KUSTOMIZATION: &str = "kubernetes/kustomization.yaml";

/// An object and the file that it is in.
struct Object<'a> {
    file: &'a str,
    value: &'a Value,
}

impl<'a> Object<'a> {
    fn all(files: &[&'a File]) -> Vec<Object<'a>> {
        let all = files.iter().copied().flat_map(|file| {
            let file_name = file.name.as_str();
            file.documents.iter().map(move |value| Object {
                file: file_name,
                value,
            })
        });
        all.collect()
    }

    fn kind(&self) -> String {
        text(&self.value["kind"])
    }

    fn name(&self) -> String {
        text(at(self.value, "metadata/name"))
    }

    fn told_in(&self) -> String {
        format!("{}: {} {}", self.file, self.kind(), self.name())
    }

    fn is_workload(&self) -> bool {
        matches!(self.kind().as_str(), "Deployment" | "StatefulSet")
    }

    fn pod(&self) -> &'a Value {
        at(self.value, "spec/template/spec")
    }

    fn containers(&self) -> &'a [Value] {
        items(&self.pod()["containers"])
    }

    fn has_port(&self, port: &Value) -> bool {
        let mut ports = self.containers().iter().flat_map(|it| items(&it["ports"]));
        ports.any(|it| &it["name"] == port || &it["containerPort"] == port)
    }
}

/// The containers that `file` leads to.
pub(super) fn containers(file: &File) -> Vec<Container> {
    let mut all = Vec::new();
    for object in Object::all(&[file]) {
        let seconds = object.pod()["terminationGracePeriodSeconds"].as_u64();
        for container in object.containers() {
            let lingers = at(container, "lifecycle/preStop/sleep/seconds").as_u64();
            let words = [&container["command"], &container["args"]];
            let words = words.into_iter().flat_map(items).map(text);
            all.push(Container {
                told_in: format!("{}: {}", object.told_in(), text(&container["name"])),
                image: text(&container["image"]),
                env: items(&container["env"])
                    .iter()
                    .filter_map(variable)
                    .collect(),
                command: words.collect::<Vec<_>>().join(" "),
                grace: Some(Duration::from_secs(seconds.unwrap_or(GRACE))),
                lingers: Duration::from_secs(lingers.unwrap_or(0)),
            });
        }
    }
    all
}

/// `None` if it is there only where somebody has made what it is from: it has to work without.
fn variable(variable: &Value) -> Option<(String, String)> {
    let from = &variable["valueFrom"];
    let value = match from.is_null() {
        true => text(&variable["value"]),
        false if from["secretKeyRef"]["optional"] == true => return None,
        false if variable["name"] == "REDIS_URL" => REDIS_ELSEWHERE.to_owned(),
        false => FROM_ELSEWHERE.to_owned(),
    };
    Some((text(&variable["name"]), value))
}

/// The paths that the objects in `file` ask a gateway for.
pub(super) fn routes(file: &File) -> Vec<Route> {
    let mut routes = Vec::new();
    for object in Object::all(&[file]) {
        let probes = object.containers().iter().flat_map(probes);
        let mut paths: Vec<&Value> = probes.map(|(_, probe)| at(probe, "httpGet/path")).collect();
        let rules = items(at(object.value, "spec/rules")).iter();
        let whole = rules.flat_map(|rule| items(at(rule, "http/paths")));
        paths.extend(
            whole
                .filter(|it| it["pathType"] == "Exact")
                .map(|it| &it["path"]),
        );
        let endpoints = items(at(object.value, "spec/endpoints")).iter();
        paths.extend(endpoints.map(|it| &it["path"]));
        routes.extend(
            paths
                .into_iter()
                .filter(|it| !it.is_null())
                .map(|path| Route {
                    told_in: object.told_in(),
                    path: text(path),
                }),
        );
    }
    routes
}

fn probes(container: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let names = ["startupProbe", "readinessProbe", "livenessProbe"];
    let probes = names.into_iter().map(|name| (name, &container[name]));
    probes.filter(|(_, probe)| !probe.is_null())
}

/// What is wrong with the objects in `files`, a line each.
pub(super) fn check(files: &[&File]) -> Vec<String> {
    let mut wrong = kustomization(files);
    wrong.extend(check_objects(files));
    wrong
}

/// The same without the kustomization.
pub(super) fn check_objects(files: &[&File]) -> Vec<String> {
    let objects = Object::all(files);
    let mut wrong = Vec::new();
    for object in &objects {
        let lines = match object.kind().as_str() {
            "Deployment" | "StatefulSet" => workload(object, &objects),
            "Service" => service(object, &objects),
            "Ingress" => ingress(object, &objects),
            "HorizontalPodAutoscaler" => scaler(object, &objects),
            "PodDisruptionBudget" | "NetworkPolicy" => selectors(object.value, &objects),
            "ServiceMonitor" => monitor(object, &objects),
            _ => Vec::new(),
        };
        wrong.extend(
            lines
                .into_iter()
                .map(|line| format!("{}: {line}", object.told_in())),
        );
    }
    wrong
}

/// Every file is among the resources, or at least spoken of; and what is among them is there.
fn kustomization(files: &[&File]) -> Vec<String> {
    let Some(all) = files.iter().find(|it| it.name == KUSTOMIZATION) else {
        return vec![format!("{KUSTOMIZATION} is missing")];
    };
    let in_folder = |file: &File| file.name.replace("kubernetes/", "");
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.name != KUSTOMIZATION) {
        if !all.text.contains(&format!("- {}", in_folder(file))) {
            wrong.push(format!(
                "{KUSTOMIZATION} does not mention {}",
                in_folder(file)
            ));
        }
    }
    let document = all.documents.first().unwrap_or(&Value::Null);
    for resource in items(&document["resources"]).iter().map(text) {
        if !files.iter().any(|file| in_folder(file) == resource) {
            wrong.push(format!(
                "{KUSTOMIZATION} names {resource}, which is not there"
            ));
        }
    }
    wrong
}

// Longer than a screen because it is a list: everything that a workload has to have.
fn workload(object: &Object, objects: &[Object]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut want = |is_so: bool, what: String| {
        if !is_so {
            wrong.push(what);
        }
    };
    let spec = &object.value["spec"];
    let selected = at(spec, "selector/matchLabels");
    want(
        fits(selected, at(spec, "template/metadata/labels")),
        "does not select its own pods".into(),
    );
    let pod = object.pod();
    want(
        at(pod, "securityContext/runAsNonRoot") == true,
        "may run as root".into(),
    );
    want(
        pod["enableServiceLinks"] == false,
        "takes REDIS_PORT from a service that is called redis".into(),
    );
    if object.kind() == "Deployment" {
        let at_once = at(spec, "strategy/rollingUpdate");
        want(
            at_once["maxUnavailable"] == 0 && at_once["maxSurge"] == 1,
            "does not replace one after another".into(),
        );
    } else {
        let service = text(&spec["serviceName"]);
        want(
            named(objects, "Service", &service).is_some(),
            format!("there is no service {service}"),
        );
    }
    for container in object.containers() {
        let name = text(&container["name"]);
        want(
            at(container, "securityContext/readOnlyRootFilesystem") == true,
            format!("{name} may write to its image"),
        );
        want(
            !at(container, "resources/requests").is_null(),
            format!("{name} does not say what it needs"),
        );
        for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
            let asked = at(&container[probe], "httpGet/path");
            let is_gateway = text(&container["image"]).starts_with("presence-gateway");
            want(
                !is_gateway || asked == path,
                format!("{name}: {probe} should ask {path}"),
            );
        }
        for (probe, how) in probes(container) {
            let port = at(how, "httpGet/port");
            want(
                port.is_null() || object.has_port(port),
                format!("{name}: {probe} asks the port {port}, which there is not"),
            );
        }
        let host = items(&container["env"])
            .iter()
            .find(|it| it["name"] == "REDIS_HOST");
        if let Some(host) = host.map(|it| text(&it["value"])) {
            want(
                named(objects, "Service", &host).is_some(),
                format!("{name}: there is no service {host}"),
            );
        }
        for mount in items(&container["volumeMounts"])
            .iter()
            .map(|it| &it["name"])
        {
            let given = items(&pod["volumes"]).iter().map(|it| &it["name"]);
            let claimed = items(&spec["volumeClaimTemplates"])
                .iter()
                .map(|it| at(it, "metadata/name"));
            want(
                given.chain(claimed).any(|it| it == mount),
                format!("{name}: there is no volume {mount}"),
            );
        }
    }
    wrong
}

fn service(object: &Object, objects: &[Object]) -> Vec<String> {
    let spec = &object.value["spec"];
    let behind: Vec<&Object> = selected(&spec["selector"], objects).collect();
    if behind.is_empty() {
        return vec!["nobody is behind it".to_owned()];
    }
    let targets = items(&spec["ports"]).iter().map(|it| &it["targetPort"]);
    targets
        .filter(|port| !behind.iter().all(|it| it.has_port(port)))
        .map(|port| format!("nobody behind it has the port {port}"))
        .collect()
}

fn ingress(object: &Object, objects: &[Object]) -> Vec<String> {
    let rules = items(at(object.value, "spec/rules")).iter();
    let paths = rules.flat_map(|rule| items(at(rule, "http/paths")));
    let backends = paths.map(|it| at(it, "backend/service"));
    backends
        .filter(|it| !has_service_port(&text(&it["name"]), at(it, "port/name"), objects))
        .map(|it| format!("there is no service {it}"))
        .collect()
}

fn scaler(object: &Object, objects: &[Object]) -> Vec<String> {
    let target = at(object.value, "spec/scaleTargetRef");
    match named(objects, &text(&target["kind"]), &text(&target["name"])) {
        None => vec![format!("there is no {target}")],
        Some(it) if !at(it.value, "spec/replicas").is_null() => {
            vec!["what it scales has a number of replicas of its own".to_owned()]
        }
        Some(_) => Vec::new(),
    }
}

/// Pods that are selected anywhere below `value`, by name, are there.
fn selectors(value: &Value, objects: &[Object]) -> Vec<String> {
    let mut wrong = Vec::new();
    match value {
        Value::Array(values) => values
            .iter()
            .for_each(|it| wrong.extend(selectors(it, objects))),
        Value::Object(fields) => {
            for (name, field) in fields {
                let labels = &field["matchLabels"];
                let is_of_pods = matches!(name.as_str(), "selector" | "podSelector");
                if is_of_pods && selected(labels, objects).next().is_none() {
                    wrong.push(format!("there are no pods with {labels}"));
                }
                wrong.extend(selectors(field, objects));
            }
        }
        _ => {}
    }
    wrong
}

fn monitor(object: &Object, objects: &[Object]) -> Vec<String> {
    let wanted = at(object.value, "spec/selector/matchLabels");
    let mut services = objects.iter().filter(|it| it.kind() == "Service");
    let Some(service) = services.find(|it| fits(wanted, at(it.value, "metadata/labels"))) else {
        return vec![format!("there is no service with {wanted}")];
    };
    let endpoints = items(at(object.value, "spec/endpoints")).iter();
    endpoints
        .filter(|it| !has_service_port(&service.name(), &it["port"], objects))
        .map(|it| format!("the service has no port {}", it["port"]))
        .collect()
}

fn has_service_port(service: &str, port: &Value, objects: &[Object]) -> bool {
    let Some(service) = named(objects, "Service", service) else {
        return false;
    };
    let mut ports = items(at(service.value, "spec/ports")).iter();
    ports.any(|it| &it["name"] == port)
}

fn named<'a>(objects: &'a [Object<'a>], kind: &str, name: &str) -> Option<&'a Object<'a>> {
    objects
        .iter()
        .find(|it| it.kind() == kind && it.name() == name)
}

/// The workloads whose pods have `labels`.
fn selected<'a>(
    labels: &'a Value,
    objects: &'a [Object<'a>],
) -> impl Iterator<Item = &'a Object<'a>> {
    let workloads = objects.iter().filter(|it| it.is_workload());
    workloads.filter(|it| fits(labels, at(it.value, "spec/template/metadata/labels")))
}

/// Whether there are some `wanted`, and `labels` has all of them.
fn fits(wanted: &Value, labels: &Value) -> bool {
    let wanted = wanted.as_object();
    wanted.is_some_and(|it| !it.is_empty() && it.iter().all(|(name, value)| &labels[name] == value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_together_is_told() {
        check(
            "/0/metadata/name",
            json!("other"),
            &["HorizontalPodAutoscaler g: there is no {\"kind\":\"Deployment\",\"name\":\"g\"}"],
        );
        check(
            "/0/spec/template/spec/enableServiceLinks",
            json!(true),
            &["Deployment g: takes REDIS_PORT from a service that is called redis"],
        );
        check(
            "/0/spec/strategy/rollingUpdate/maxUnavailable",
            json!(1),
            &["Deployment g: does not replace one after another"],
        );
        check(
            "/0/spec/replicas",
            json!(3),
            &["HorizontalPodAutoscaler g: what it scales has a number of replicas of its own"],
        );
        check(
            "/0/spec/template/spec/containers/0/livenessProbe/httpGet/path",
            json!("/health"),
            &["Deployment g: gateway: livenessProbe should ask /livez"],
        );
        check(
            "/1/spec/ports/0/targetPort",
            json!("web"),
            &["Service g: nobody behind it has the port \"web\""],
        );
        check(
            "/1/spec/selector/app",
            json!("h"),
            &["Service g: nobody is behind it"],
        );
        check(
            "/3/spec/podSelector/matchLabels/app",
            json!("h"),
            &["NetworkPolicy g: there are no pods with {\"app\":\"h\"}"],
        );
        check(
            "/4/spec/rules/0/http/paths/0/backend/service/port/name",
            json!("web"),
            &["Ingress g: there is no service {\"name\":\"g\",\"port\":{\"name\":\"web\"}}"],
        );
    }

    #[test]
    fn containers_and_routes_are_found() {
        let file = file("kubernetes/g.yaml", fine());
        let containers = containers(&file);
        assert_eq!(containers.len(), 1);
        assert_eq!(containers[0].grace, Some(Duration::from_secs(30)));
        assert_eq!(containers[0].lingers, Duration::from_secs(5));
        assert_eq!(
            containers[0].env,
            [("A".to_owned(), FROM_ELSEWHERE.to_owned())]
        );
        let paths: Vec<_> = routes(&file).into_iter().map(|it| it.path).collect();
        assert_eq!(paths, ["/readyz", "/livez", "/ws"]);
    }

    #[test]
    fn a_file_that_nobody_would_apply_is_told() {
        let kustomization = |text: &str, resources: Value| File {
            name: KUSTOMIZATION.to_owned(),
            text: text.to_owned(),
            documents: vec![json!({ "resources": resources })],
        };
        let g = file("kubernetes/g.yaml", json!([]));
        let all = kustomization("- g.yaml", json!(["g.yaml"]));
        assert_eq!(super::check(&[&g, &all]), [""; 0]);
        let none = kustomization("", json!(["h.yaml"]));
        let told = super::check(&[&g, &none]);
        assert!(told[0].ends_with("does not mention g.yaml"), "{told:?}");
        assert!(
            told[1].ends_with("names h.yaml, which is not there"),
            "{told:?}"
        );
    }

    /// Checks objects that are fine but for what is at `path`, which is not an item of a list.
    #[track_caller]
    fn check(path: &str, value: Value, expected: &[&str]) {
        let mut objects = fine();
        let (parent, name) = path.rsplit_once('/').unwrap();
        objects.pointer_mut(parent).unwrap()[name] = value;
        let told: Vec<String> = super::check(&[&file("g.yaml", objects)]);
        let expected: Vec<_> = expected.iter().map(|it| format!("g.yaml: {it}")).collect();
        assert_eq!(told[1..], expected);
    }

    fn fine() -> Value {
        json!([
            {
                "kind": "Deployment", "metadata": { "name": "g" },
                "spec": {
                    "selector": { "matchLabels": { "app": "g" } },
                    "strategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
                    "template": {
                        "metadata": { "labels": { "app": "g" } },
                        "spec": {
                            "enableServiceLinks": false,
                            "securityContext": { "runAsNonRoot": true },
                            "containers": [{
                                "name": "gateway", "image": "presence-gateway:0.1.0",
                                "ports": [{ "name": "http", "containerPort": 4001 }],
                                "env": [{ "name": "A", "valueFrom": {} }],
                                "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http" } },
                                "livenessProbe": { "httpGet": { "path": "/livez", "port": 4001 } },
                                "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
                                "resources": { "requests": {} },
                                "securityContext": { "readOnlyRootFilesystem": true },
                            }],
                        },
                    },
                },
            },
            {
                "kind": "Service", "metadata": { "name": "g" },
                "spec": { "selector": { "app": "g" }, "ports": [{ "name": "http", "targetPort": "http" }] },
            },
            {
                "kind": "HorizontalPodAutoscaler", "metadata": { "name": "g" },
                "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "g" } },
            },
            {
                "kind": "NetworkPolicy", "metadata": { "name": "g" },
                "spec": { "podSelector": { "matchLabels": { "app": "g" } } },
            },
            {
                "kind": "Ingress", "metadata": { "name": "g" },
                "spec": { "rules": [{ "http": { "paths": [
                    { "path": "/ws", "pathType": "Exact", "backend": { "service": { "name": "g", "port": { "name": "http" } } } },
                    { "path": "/api", "pathType": "Prefix", "backend": { "service": { "name": "g", "port": { "name": "http" } } } },
                ] } }] },
            },
        ])
    }

    fn file(name: &str, objects: Value) -> File {
        File {
            name: name.to_owned(),
            text: String::new(),
            documents: items(&objects).to_vec(),
        }
    }
}
