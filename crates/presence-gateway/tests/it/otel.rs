//! Traces, as a small collector of OpenTelemetry gets them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_testkit::redis::{Redis, Settings, Topology};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::soon;
use crate::program::ProgramFolder;
use crate::raw::{Raw, exchange, status};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A server that answers every POST with the next status of a list, and afterwards with 200.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug, Default)]
struct Request {
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    async fn start(statuses: &[u16]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let statuses = Arc::new(Mutex::new(statuses.to_vec()));
        let requests = server.requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, statuses.clone(), requests.clone()));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The spans of all requests.
    fn spans(&self) -> Vec<Span> {
        let requests = self.requests();
        let mut spans = Vec::new();
        for request in &requests {
            for resource in messages(&request.body, 1) {
                for scope in messages(resource, 2) {
                    spans.extend(messages(scope, 2).into_iter().map(Span::read));
                }
            }
        }
        spans
    }

    /// Waits until as many spans have come.
    async fn has(&self, count: usize) -> Vec<Span> {
        let come = async {
            while self.spans().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("spans", come).await;
        self.spans()
    }
}

async fn serve(
    stream: TcpStream,
    statuses: Arc<Mutex<Vec<u16>>>,
    requests: Arc<Mutex<Vec<Request>>>,
) -> Option<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let mut request = Request::default();
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .await
            .ok()
            .filter(|it| *it > 0)?;
        request.target = line.split(' ').nth(1)?.to_owned();
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            request
                .headers
                .insert(name.to_lowercase(), value.to_owned());
        }
        let length = request.headers.get("content-length")?.parse().ok()?;
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).await.ok()?;
        requests.lock().unwrap().push(request);
        let status = {
            let mut statuses = statuses.lock().unwrap();
            match statuses.is_empty() {
                true => 200,
                false => statuses.remove(0),
            }
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

/// A span, as `opentelemetry.proto.trace.v1.Span` has it.
#[derive(Debug)]
struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: u64,
    attributes: BTreeMap<String, String>,
    /// 0 says nothing, 2 is an error.
    status: u64,
}

const SERVER: u64 = 2;
const CLIENT: u64 = 3;

impl Span {
    fn read(bytes: &[u8]) -> Span {
        let first = |number| messages(bytes, number).into_iter().next().unwrap_or(&[]);
        let hex = |number| {
            let bytes = first(number).iter();
            bytes.map(|it| format!("{it:02x}")).collect::<String>()
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let attributes = messages(bytes, 9).into_iter().map(|attribute| {
            let key = text(messages(attribute, 1)[0]);
            let value = messages(attribute, 2)[0];
            let value = match messages(value, 1).first() {
                Some(string) => text(string),
                None => number(value, 3).unwrap().to_string(),
            };
            (key, value)
        });
        Span {
            name: text(first(5)),
            trace: hex(1),
            id: hex(2),
            parent: hex(4),
            kind: number(bytes, 6).unwrap_or(0),
            attributes: attributes.collect(),
            status: number(first(15), 3).unwrap_or(0),
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The value of a field of a message of protocol buffers.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            number |= u64::from(first & 0x7F) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        number
    }
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(count);
        *bytes = rest;
        taken
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            1 => Value::Bytes(take(&mut bytes, 8)),
            2 => {
                let length = varint(&mut bytes) as usize;
                Value::Bytes(take(&mut bytes, length))
            }
            5 => Value::Bytes(take(&mut bytes, 4)),
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn messages(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let fields = fields(bytes).into_iter();
    let found = fields.filter_map(|(it, value)| match value {
        Value::Bytes(bytes) if it == number => Some(bytes),
        _ => None,
    });
    found.collect()
}

fn number(bytes: &[u8], number: u64) -> Option<u64> {
    fields(bytes)
        .into_iter()
        .find_map(|(it, value)| match value {
            Value::Number(value) if it == number => Some(value),
            _ => None,
        })
}

/// Sends one request, and returns the status of the answer.
async fn call(address: SocketAddr, method: &str, target: &str, traceparent: Option<&str>) -> u16 {
    let more = traceparent.map_or(String::new(), |it| format!("traceparent: {it}\r\n"));
    let request =
        format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
    status(&exchange(address, request.as_bytes()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_span_in_the_trace_of_its_caller() {
    let collector = Server::start(&[]).await;
    let place = ProgramFolder::new();
    let url = collector.url();
    let mut program = place.start(&[
        ("PRESENCE_OTEL_ENDPOINT", &url),
        ("PRESENCE_OTEL_HEADERS", "x-team=acme, x-key=a=b"),
        // Only what its caller samples.
        ("PRESENCE_OTEL_SAMPLING", "0"),
        ("NODE_NAME", "eu-1"),
    ]);
    let address = program.address;
    let user = "/api/presence/users/secret-ann?user_id=bob&token=secret-token";
    let sampled = format!("00-{TRACE}-{CALLER}-01");
    let unsampled = format!("00-{TRACE}-{CALLER}-00");
    assert_eq!(call(address, "GET", user, Some(&sampled)).await, 200);
    assert_eq!(call(address, "GET", user, Some(&unsampled)).await, 200);
    assert_eq!(call(address, "GET", user, None).await, 200);
    assert_eq!(
        call(address, "GET", user, Some("00-nonsense-01")).await,
        200
    );
    let room = "/api/presence/channel/secret:room/explain?user_id=bob";
    assert_eq!(call(address, "GET", room, Some(&sampled)).await, 403);
    let nothing = "/api/presence/secret-nothing";
    assert_eq!(call(address, "FROB", nothing, Some(&sampled)).await, 404);
    collector.has(3).await;
    // What waits is sent before the process ends.
    assert_eq!(call(address, "GET", user, Some(&sampled)).await, 200);
    program.signal("TERM");
    assert!(program.ends().await.success());
    let spans = collector.spans();
    let names: Vec<String> = spans
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it.name,
                it.attribute("http.response.status_code").unwrap()
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            "GET /api/presence/users/{id} 200",
            "GET /api/presence/channel/{id}/explain 403",
            "HTTP api 404",
            "GET /api/presence/users/{id} 200",
        ]
    );
    for span in &spans {
        assert_eq!((&*span.trace, &*span.parent), (TRACE, CALLER), "{span:?}");
        assert_eq!((span.kind, span.status), (SERVER, 0), "{span:?}");
        assert_ne!(span.id, CALLER);
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
    for request in collector.requests() {
        assert_eq!(request.target, "/v1/traces");
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        assert_eq!(header("content-type"), Some("application/x-protobuf"));
        assert_eq!(header("x-team"), Some("acme"));
        assert_eq!(header("x-key"), Some("a=b"));
        let body = String::from_utf8_lossy(&request.body).into_owned();
        assert!(body.contains("presence-gateway") && body.contains("eu-1"));
        assert!(!body.contains("secret") && !body.contains("bob"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_to_deliver_webhooks_is_a_span_that_the_endpoint_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), &Settings::of(Topology::Single)).unwrap();
    let (collector, endpoint) = (Server::start(&[]).await, Server::start(&[500]).await);
    let place = ProgramFolder::new();
    let (traces, hooks) = (collector.url() + "/custom/path", endpoint.url() + "/hooks");
    let program = place.start(&[
        ("PRESENCE_OTEL_ENDPOINT", &traces),
        ("REDIS_URL", &redis.url()),
        ("PRESENCE_WEBHOOK_URL", &hooks),
        (
            "PRESENCE_WEBHOOK_SECRET",
            "wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg",
        ),
    ]);
    let _ann = Raw::connect(program.address, "secret-ann").await;
    let delivered = async {
        while endpoint.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a second attempt", delivered).await;
    let spans = collector.has(2).await;
    assert!(
        collector
            .requests()
            .iter()
            .all(|it| it.target == "/custom/path")
    );
    let port = endpoint.address.port().to_string();
    for (span, request) in spans.iter().zip(endpoint.requests()) {
        assert_eq!((&*span.name, span.kind), ("POST webhook", CLIENT));
        assert_eq!(span.parent, "");
        let told = format!("00-{}-{}-01", span.trace, span.id);
        assert_eq!(request.headers.get("traceparent"), Some(&told));
        assert_eq!(span.attribute("server.port"), Some(&*port));
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
    let outcome = |span: &Span| {
        let status = span.attribute("http.response.status_code");
        let error = span.attribute("error.type");
        (
            status.map(str::to_owned),
            error.map(str::to_owned),
            span.status,
        )
    };
    assert_eq!(
        outcome(&spans[0]),
        (Some("500".to_owned()), Some("answered".to_owned()), 2)
    );
    assert_eq!(outcome(&spans[1]), (Some("200".to_owned()), None, 0));
    assert_ne!(spans[0].trace, spans[1].trace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_a_warning_and_nothing_else() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", away.local_addr().unwrap());
    drop(away);
    let place = ProgramFolder::new();
    let mut program = place.start(&[("PRESENCE_OTEL_ENDPOINT", &url)]);
    let users = "/api/presence/users/ann?user_id=bob";
    assert_eq!(call(program.address, "GET", users, None).await, 200);
    let said = async {
        while !program
            .log()
            .contains("cannot export traces to the collector")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a warning", said).await;
    assert_eq!(call(program.address, "GET", users, None).await, 200);
    let began = std::time::Instant::now();
    program.signal("TERM");
    assert!(program.ends().await.success());
    assert!(began.elapsed() < Duration::from_secs(10));
}
