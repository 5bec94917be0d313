//! The OpenAPI document, and whether the gateway keeps it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::schema;
use super::support::{Reply, send, token};
use super::together::Cluster;
use crate::gateway::start_closed;

/// The document, and which answers that it describes have been seen.
pub(super) struct Contract {
    document: Value,
    seen: BTreeSet<String>,
}

/// One way to use one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) schema: Value,
}

/// How a request is made, where that is not as the document's examples have it.
#[derive(Clone, Default)]
struct How<'a> {
    token: Option<&'a str>,
    /// The id in the path.
    id: Option<&'a str>,
    /// The query, with its question mark.
    query: &'a str,
    body: Option<Value>,
    content_type: Option<&'a str>,
}

impl Contract {
    pub(super) async fn of(address: SocketAddr) -> Contract {
        let reply = send(address, "GET", "/openapi.json", &[], b"").await;
        Contract {
            document: reply.json(),
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods
                .filter(|(key, _)| *key != "parameters")
                .map(|(method, schema)| Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    schema: schema.clone(),
                })
        });
        operations.collect()
    }

    /// Those that have an answer of this status.
    fn with(&self, status: u16) -> Vec<Operation> {
        let has = |it: &Operation| it.schema["responses"].get(status.to_string()).is_some();
        let mut operations = self.operations();
        let has_token =
            |it: &Operation| it.path.starts_with("/api/") || it.path.starts_with("/admin/");
        operations.retain(|it| has(it) && has_token(it));
        operations
    }

    fn operation(&self, name: &str) -> Operation {
        let mut operations = self.operations().into_iter();
        operations.find(|it| it.name() == name).unwrap()
    }

    fn resolved<'a>(&'a self, it: &'a Value) -> &'a Value {
        match it.get("$ref") {
            Some(to) => self.document.pointer(&to.as_str().unwrap()[1..]).unwrap(),
            None => it,
        }
    }

    async fn ask(&mut self, address: SocketAddr, operation: &Operation, how: How<'_>) -> Reply {
        let shared = &self.document["paths"][&operation.path]["parameters"];
        let parameter = shared.get(0).map(|it| self.resolved(it));
        let id = how.id.or_else(|| parameter?["example"].as_str());
        let path = operation.path.replace("{id}", id.unwrap_or("")) + how.query;
        let content = &operation.schema["requestBody"]["content"]["application/json"];
        let body = how.body.or_else(|| content.get("example").cloned());
        let body = body.map_or_else(Vec::new, |it| it.to_string().into_bytes());
        let authorization = how.token.map(|it| format!("Bearer {it}"));
        let mut headers = Vec::new();
        if let Some(authorization) = &authorization {
            headers.push(("authorization", authorization.as_str()));
        }
        if !body.is_empty() {
            headers.push((
                "content-type",
                how.content_type.unwrap_or("application/json"),
            ));
        }
        let reply = send(address, &operation.method, &path, &headers, &body).await;
        self.check(operation, &reply);
        reply
    }

    /// Fails unless the document says that this may be answered.
    pub(super) fn check(&mut self, operation: &Operation, reply: &Reply) {
        let name = format!("{} {}", operation.name(), reply.status);
        let responses = &operation.schema["responses"];
        let response = responses.get(reply.status.to_string());
        let response =
            response.unwrap_or_else(|| panic!("{name} is not in the document: {}", reply.text()));
        let response = self.resolved(response);
        for (header, it) in response["headers"].as_object().into_iter().flatten() {
            let value = reply.header(&header.to_lowercase());
            let value = value.unwrap_or_else(|| panic!("{name} has no {header}"));
            let value = value
                .parse::<u64>()
                .map_or_else(|_| json!(value), Value::from);
            schema::check(&self.document, &it["schema"], &value, header).unwrap();
        }
        let Some(contents) = response["content"].as_object() else {
            assert_eq!((reply.text(), reply.header("content-type")), ("", None));
            self.seen.insert(name);
            return;
        };
        let (kind, content) = contents.iter().next().unwrap();
        let got = reply.header("content-type").unwrap();
        assert_eq!(got.split(';').next(), Some(kind.as_str()), "{name}");
        let body = match kind.as_str() {
            "application/json" => reply.json(),
            _ => json!(reply.text()),
        };
        if let Err(why) = schema::check(&self.document, &content["schema"], &body, &name) {
            panic!("{why}\n{body}");
        }
        self.seen.insert(name);
    }

    /// Fails unless `example` is as the document says of a request, an answer or an error.
    pub(super) fn check_example(&self, operation: &Operation, kind: &str, example: &Value) {
        let content = match kind {
            "body" => &operation.schema["requestBody"]["content"],
            "answer" => &operation.schema["responses"]["200"]["content"],
            "error" => &self.document["components"]["responses"]["Other"]["content"],
            unknown => panic!("{unknown}"),
        };
        let schema = &content["application/json"]["schema"];
        let name = operation.name();
        if let Err(why) = schema::check(&self.document, schema, example, &name) {
            panic!("{name} {kind}: {why}");
        }
    }
}

impl Operation {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// What is answered where nothing is wrong.
    pub(super) fn success(&self) -> u16 {
        let codes = self.schema["responses"].as_object().unwrap().keys();
        let mut codes = codes.filter_map(|code| code.parse().ok());
        codes.find(|code| (200..300).contains(code)).unwrap()
    }

    fn has_body(&self) -> bool {
        self.schema.get("requestBody").is_some()
    }
}

#[tokio::test]
async fn the_gateway_answers_as_its_document_says() {
    // It goes by the id in the example of a call to a gateway.
    let gateway = start_closed(&[("NODE_NAME", "3fdba35f04dc8c46.0")]).await;
    let address = gateway.address();
    let mut contract = Contract::of(address).await;
    let service = token(&gateway, "service", &["admin"], &[]);
    let eve = token(&gateway, "eve", &["join"], &[]);
    let service = How {
        token: Some(&service),
        ..How::default()
    };

    // The document's own examples, in an order in which they make sense.
    let order = ["join", "heartbeat", "broadcast"];
    let place = |it: &Operation| {
        order
            .iter()
            .position(|end| it.path.ends_with(end))
            .unwrap_or(9)
    };
    let mut operations = contract.operations();
    operations.sort_by_key(place);
    for operation in &operations {
        let reply = contract.ask(address, operation, service.clone()).await;
        let status = operation.success();
        assert_eq!(
            reply.status,
            status,
            "{}: {}",
            operation.name(),
            reply.text()
        );
    }

    for operation in contract.with(400) {
        let how = match operation.path.contains("{id}") {
            true => How {
                id: Some("a%20b"),
                ..service.clone()
            },
            false if operation.method == "GET" => How {
                query: "?limit=0",
                ..service.clone()
            },
            false => How {
                body: Some(json!({ "user_ids": [] })),
                ..service.clone()
            },
        };
        let reply = contract.ask(address, &operation, how).await;
        assert_eq!(reply.status, 400, "{}", operation.name());
    }
    for operation in contract.with(401) {
        let reply = contract.ask(address, &operation, How::default()).await;
        assert_eq!(reply.status, 401, "{}", operation.name());
    }
    for operation in contract.with(403) {
        let how = How {
            token: Some(&eve),
            ..How::default()
        };
        let reply = contract.ask(address, &operation, how).await;
        assert_eq!(reply.status, 403, "{}", operation.name());
    }
    for operation in contract.with(404) {
        let how = How {
            id: Some("3fdba35f04dc8c46.1"),
            ..service.clone()
        };
        let reply = contract.ask(address, &operation, how).await;
        assert_eq!(reply.status, 404, "{}", operation.name());
    }
    for operation in contract.with(413) {
        assert!(operation.has_body());
        let body = Some(json!({ "user_id": "x".repeat(1_100_000) }));
        let reply = contract
            .ask(
                address,
                &operation,
                How {
                    body,
                    ..service.clone()
                },
            )
            .await;
        assert_eq!(reply.status, 413, "{}", operation.name());
    }
    for operation in contract.with(415) {
        let content_type = Some("text/plain");
        let reply = contract
            .ask(
                address,
                &operation,
                How {
                    content_type,
                    ..service.clone()
                },
            )
            .await;
        assert_eq!(reply.status, 415, "{}", operation.name());
    }
    conflicts(&mut contract).await;
    a_full_gateway(&mut contract).await;
    a_gateway_that_stops(&mut contract).await;
    a_gateway_that_hangs(&mut contract).await;

    let all = contract.operations().into_iter().flat_map(|operation| {
        let responses = operation.schema["responses"].as_object().unwrap().clone();
        let codes = responses
            .into_iter()
            .map(|(code, _)| code)
            .filter(|it| it != "default");
        codes.map(move |code| format!("{} {code}", operation.name()))
    });
    let unseen: Vec<String> = all.filter(|it| !contract.seen.contains(it)).collect();
    assert_eq!(
        unseen, [""; 0],
        "are in the document, and nobody has seen them"
    );
}

/// 409 and 429, of a gateway with narrow limits.
async fn conflicts(contract: &mut Contract) {
    let narrow = [
        ("PRESENCE_CHANNELS_MAX", "1"),
        ("PRESENCE_BROADCASTS_MAX", "1"),
    ];
    let gateway = start_closed(&narrow).await;
    let token = token(&gateway, "service", &["admin"], &[]);
    let service = How {
        token: Some(&token),
        ..How::default()
    };
    for name in ["heartbeat", "broadcast"] {
        let operation = contract.operation(&format!("POST /api/presence/channel/{{id}}/{name}"));
        let reply = contract
            .ask(gateway.address(), &operation, service.clone())
            .await;
        assert_eq!(reply.json()["error"]["code"], "not_joined");
    }
    let join = contract.operation("POST /api/presence/channel/{id}/join");
    contract
        .ask(gateway.address(), &join, service.clone())
        .await;
    let how = How {
        id: Some("room:43"),
        ..service.clone()
    };
    let reply = contract.ask(gateway.address(), &join, how).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (409, &json!("too_many"))
    );

    let broadcast = contract.operation("POST /api/presence/channel/{id}/broadcast");
    let mut statuses = BTreeSet::new();
    while !statuses.contains(&429) {
        let reply = contract
            .ask(gateway.address(), &broadcast, service.clone())
            .await;
        statuses.insert(reply.status);
    }
    assert_eq!(statuses, [200, 429].into());
}

/// 503 to everything.
async fn a_full_gateway(contract: &mut Contract) {
    let gateway = start_closed(&[("PRESENCE_CONNECTIONS_MAX", "1")]).await;
    let mut only = TcpStream::connect(gateway.address()).await.unwrap();
    only.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    only.read_u8().await.unwrap();
    for operation in contract.with(503) {
        let reply = contract
            .ask(gateway.address(), &operation, How::default())
            .await;
        assert_eq!(reply.status, 503, "{}", operation.name());
    }
}

/// Health is told until the end.
async fn a_gateway_that_stops(contract: &mut Contract) {
    let gateway = start_closed(&[("PRESENCE_DRAIN", "10s")]).await;
    let address = gateway.address();
    // Keeps the gateway waiting: a request that is never complete.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /").await.unwrap();
    send(address, "GET", "/livez", &[], b"").await;
    let stopping = tokio::spawn(gateway.stop());
    tokio::task::yield_now().await;
    for name in ["GET /health", "GET /readyz"] {
        let operation = contract.operation(name);
        let reply = contract.ask(address, &operation, How::default()).await;
        assert_eq!(reply.status, 503, "{name}");
    }
    drop(slow);
    stopping.await.unwrap();
}

/// 202: it was asked, and nobody knows yet whether it will.
async fn a_gateway_that_hangs(contract: &mut Contract) {
    let cluster = Cluster::start().await;
    let (two, _place) = cluster.another("eu-2").await;
    let id = cluster.node("eu-2").await["id"].clone();
    two.pauses().await;
    let drain = contract.operation("POST /admin/api/nodes/{id}/drain");
    let token = token(&cluster.one, "service", &["admin"], &[]);
    let how = How {
        id: id.as_str(),
        token: Some(&token),
        ..How::default()
    };
    let reply = contract.ask(cluster.one.address(), &drain, how).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
}
