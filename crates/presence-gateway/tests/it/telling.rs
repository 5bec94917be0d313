//! Webhooks of a gateway that is alone, told to a real server: down and up again, and across the ends of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::gateway::{options, soon};
use crate::people::Person;
use crate::program::{Program, ProgramFolder};
use crate::raw::{body, get};

/// What webhooks are signed with.
const SIGNS: &str = "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW";

/// A server that webhooks are told to. It checks what is promised of them.
struct Endpoint {
    address: SocketAddr,
    is_fine: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    /// What was told, without repetitions.
    words: Vec<String>,
    /// The greatest number of each user and channel.
    last: BTreeMap<String, u64>,
    ids: BTreeSet<String>,
    /// How many requests were answered with an error.
    refused: usize,
}

impl Endpoint {
    async fn new() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_fine, heard) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let task = tokio::spawn(serve(listener, is_fine.clone(), Arc::clone(&heard)));
        Endpoint {
            address,
            is_fine,
            heard,
            task,
        }
    }

    /// Takes what it is told from now on, or answers with an error.
    fn is(&self, is_fine: bool) {
        self.is_fine.store(is_fine, Relaxed);
    }

    /// Is not there any more: nobody listens at its address.
    async fn goes(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn comes_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let served = serve(listener, self.is_fine.clone(), self.heard.clone());
        self.task = tokio::spawn(served);
    }

    fn words(&self) -> Vec<String> {
        self.heard.lock().unwrap().words.clone()
    }

    async fn hears(&self, what: &str) {
        let heard = async {
            while !self.words().iter().any(|it| it == what) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon(format!("{what}, after {:?}", self.words()), heard).await;
    }

    /// The settings of a gateway that tells it everything.
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "PRESENCE_WEBHOOK_URL",
                format!("http://{}/in", self.address),
            ),
            ("PRESENCE_WEBHOOK_SECRET", SIGNS.to_owned()),
            ("PRESENCE_WEBHOOK_EVENTS", "user.*,channel.*".to_owned()),
        ]
    }

    fn start(&self, place: &ProgramFolder, more: &[(&str, &str)]) -> Program {
        let settings = self.settings();
        let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let settings: Vec<_> = settings.chain(more.iter().copied()).collect();
        place.start(&settings)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, is_fine: Arc<AtomicBool>, heard: Arc<Mutex<Heard>>) {
    // Ends its connections with itself.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, is_fine.clone(), heard.clone()));
    }
}

/// Answers the requests of one connection.
async fn answer(mut stream: TcpStream, is_fine: Arc<AtomicBool>, heard: Arc<Mutex<Heard>>) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut bytes).await {
        assert!(head.starts_with("post /in http/1.1"), "{head}");
        let said = match is_fine.load(Relaxed) {
            true => {
                heard.lock().unwrap().hear(&head, &body);
                "204 No Content"
            }
            false => {
                heard.lock().unwrap().refused += 1;
                "500 Internal Server Error"
            }
        };
        let answer = format!("HTTP/1.1 {said}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The head of the next request in small letters, and its body.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        if let Some(end) = end.map(|it| it + 4) {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = header(&head, "content-length").parse::<usize>().unwrap();
            if bytes.len() >= end + length {
                let rest = bytes.split_off(end + length);
                let body = std::mem::replace(bytes, rest).split_off(end);
                return Some((head, body));
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let start = format!("{name}: ");
    let line = head.lines().find_map(|it| it.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

impl Heard {
    fn hear(&mut self, head: &str, body: &[u8]) {
        let mut mac = Hmac::<Sha256>::new_from_slice(SIGNS.as_bytes()).unwrap();
        mac.update(header(head, "presence-timestamp").as_bytes());
        mac.update(b".");
        mac.update(body);
        let digest = mac.finalize().into_bytes();
        let digest: String = digest.iter().map(|it| format!("{it:02x}")).collect();
        let signature = format!("v1={digest}");
        assert_eq!(header(head, "presence-signature"), signature);
        let letter: Value = serde_json::from_slice(body).unwrap();
        for event in letter["events"].as_array().unwrap() {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let (user, channel) = (text("user_id"), text("channel_id"));
            let about = if channel.is_empty() { &user } else { &channel };
            let (seq, id) = (event["seq"].as_u64().unwrap(), text("id"));
            let is_new = self.ids.insert(id.clone());
            let last = self.last.entry(about.clone()).or_default();
            if seq <= *last {
                assert!(
                    !is_new,
                    "{id} is new, and older than what was told of {about}"
                );
                continue;
            }
            assert!(is_new, "{id} was told before what it follows");
            *last = seq;
            let words = [text("type"), user, channel, text("status")];
            let words = words.into_iter().filter(|it| !it.is_empty());
            self.words.push(words.collect::<Vec<_>>().join(" "));
        }
    }
}

/// The words about this user or room, in order.
fn about(words: &[String], what: &str) -> Vec<String> {
    let is_about = |it: &&String| it.split(' ').any(|it| it == what);
    words.iter().filter(is_about).cloned().collect()
}

async fn json(program: &Program, path: &str) -> Value {
    let answer = get(program.address, path).await;
    serde_json::from_str(body(&answer)).unwrap_or_else(|why| panic!("{why}: {answer}"))
}

/// Waits until so many events wait for the endpoint. Returns what `/health` says then.
async fn waits(program: &Program, events: u64) -> Value {
    let waits = async {
        loop {
            let health = json(program, "/health").await;
            if health["webhooks"]["waiting"] == events {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(format!("{events} events wait"), waits).await
}

/// The session of `person` goes on at `program`.
async fn goes_on(program: &Program, person: &Person, user: &str) -> Person {
    let options = presence_client::Options {
        resume: Some(person.client.hello().resume.to_string()),
        ..options(program.address, user)
    };
    let again = Person::comes_with(&options).await;
    assert!(again.client.restored(), "{}", program.log());
    again
}

#[tokio::test]
async fn a_gateway_alone_tells_who_comes_changes_and_goes() {
    let (place, endpoint) = (ProgramFolder::new(), Endpoint::new().await);
    let program = endpoint.start(&place, &[]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    endpoint.hears("channel.joined ann room:1").await;
    ann.does(r#"{"type":"presence:status","status":"busy"}"#)
        .await;
    endpoint.hears("user.changed ann busy").await;
    ann.says(r#"{"type":"presence:leave"}"#).await;
    ann.is_closed().await;
    endpoint.hears("user.offline ann offline").await;
    endpoint.hears("channel.vacated room:1").await;
    let words = endpoint.words();
    let of_users: Vec<_> = words.iter().filter(|it| it.starts_with("user.")).collect();
    assert_eq!(
        of_users,
        [
            "user.online ann online",
            "user.changed ann busy",
            "user.offline ann offline"
        ]
    );
    assert_eq!(
        about(&words, "room:1"),
        [
            "channel.occupied room:1",
            "channel.joined ann room:1",
            "channel.left ann room:1",
            "channel.vacated room:1"
        ]
    );
    // The endpoint hears of an event before the gateway hears that it was taken.
    let delivered = async {
        loop {
            let metrics = get(program.address, "/metrics").await;
            if metrics.contains("presence_webhook_events_delivered_total 7\n") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("7 events are delivered", delivered).await;
    let health = json(&program, "/health").await;
    assert_eq!(health["webhooks"]["connected"], true, "{health}");
}

#[tokio::test]
async fn an_endpoint_that_fails_or_is_gone_is_shown_and_told_later() {
    let (place, mut endpoint) = (ProgramFolder::new(), Endpoint::new().await);
    endpoint.is(false);
    let program = endpoint.start(&place, &[]);
    let _ann = Person::comes_with(&options(program.address, "ann")).await;
    let shown = async {
        loop {
            let overview = json(&program, "/admin/api/overview").await;
            let degraded = overview["degraded"].as_array().cloned().unwrap_or_default();
            let it = degraded.into_iter().find(|it| it["what"] == "webhooks");
            if let Some(it) = it {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let shown = soon("webhooks are degraded", shown).await;
    assert_eq!(shown["state"], "late", "{shown}");
    let health = waits(&program, 3).await;
    assert_eq!(health["webhooks"]["connected"], false, "{health}");
    let metrics = get(program.address, "/metrics").await;
    assert!(metrics.contains("presence_webhook_away 1"), "{metrics}");
    endpoint.goes().await;
    let _bob = Person::comes_with(&options(program.address, "bob")).await;
    assert_eq!(endpoint.words(), Vec::<String>::new());
    endpoint.is(true);
    endpoint.comes_back().await;
    endpoint.hears("user.online ann online").await;
    endpoint.hears("channel.joined bob room:1").await;
    assert!(endpoint.heard.lock().unwrap().refused > 0);
}

#[tokio::test]
async fn what_waits_outlives_kill_9_and_is_told_in_order() {
    let (place, mut endpoint) = (ProgramFolder::new(), Endpoint::new().await);
    endpoint.is(false);
    let mut program = endpoint.start(&place, &[]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    waits(&program, 3).await;
    for (n, status) in ["busy", "away", "busy"].into_iter().enumerate() {
        let change = format!(r#"{{"type":"presence:status","status":"{status}"}}"#);
        ann.does(&change).await;
        // Each change waits by itself.
        waits(&program, n as u64 + 4).await;
        if n == 1 {
            program.kill();
            program = endpoint.start(&place, &[]);
            ann = goes_on(&program, &ann, "ann").await;
        }
    }
    program.kill();
    endpoint.goes().await;
    let program = endpoint.start(&place, &[]);
    let mut ann = goes_on(&program, &ann, "ann").await;
    ann.says(r#"{"type":"presence:leave"}"#).await;
    ann.is_closed().await;
    endpoint.is(true);
    endpoint.comes_back().await;
    endpoint.hears("user.offline ann offline").await;
    let words = endpoint.words();
    let of_ann: Vec<_> = words.iter().filter(|it| it.starts_with("user.")).collect();
    assert_eq!(
        of_ann,
        [
            "user.online ann online",
            "user.changed ann busy",
            "user.changed ann away",
            "user.changed ann busy",
            "user.offline ann offline"
        ]
    );
    assert!(
        program.log().contains("wait for delivery"),
        "{}",
        program.log()
    );
}

#[tokio::test]
async fn restarts_are_no_event_for_who_comes_back() {
    let (place, endpoint) = (ProgramFolder::new(), Endpoint::new().await);
    let mut program = endpoint.start(&place, &[]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    endpoint.hears("channel.joined ann room:1").await;
    for n in 0..4 {
        match n % 2 {
            0 => program.kill(),
            _ => {
                program.signal("TERM");
                assert!(program.ends().await.success());
            }
        }
        program = endpoint.start(&place, &[]);
        ann = goes_on(&program, &ann, "ann").await;
        // Something later than all of that.
        let name = format!("eve-{n}");
        let mut eve = Person::comes_with(&options(program.address, &name)).await;
        endpoint.hears(&format!("user.online {name} online")).await;
        eve.says(r#"{"type":"presence:leave"}"#).await;
        eve.is_closed().await;
        endpoint
            .hears(&format!("user.offline {name} offline"))
            .await;
        endpoint.hears(&format!("channel.left {name} room:1")).await;
    }
    let words = endpoint.words();
    let mut of_ann = about(&words, "ann");
    // Users and channels have no order among each other.
    of_ann.sort();
    assert_eq!(
        of_ann,
        ["channel.joined ann room:1", "user.online ann online"]
    );
    assert!(
        !words.contains(&"channel.vacated room:1".into()),
        "{words:?}"
    );
}

#[tokio::test]
async fn without_a_folder_webhooks_are_told_and_the_gateway_says_what_is_lost() {
    let (place, endpoint) = (ProgramFolder::new(), Endpoint::new().await);
    let program = endpoint.start(&place, &[("PRESENCE_DATA_DIR", ":memory:")]);
    let _ann = Person::comes_with(&options(program.address, "ann")).await;
    endpoint.hears("user.online ann online").await;
    assert!(program.log().contains("webhooks that wait are lost"));
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named_and_a_damaged_one_is_set_aside() {
    let (place, endpoint) = (ProgramFolder::new(), Endpoint::new().await);
    let data = place.path().join("presence-data");
    let file = data.join("webhooks.redb");
    std::fs::create_dir_all(&file).unwrap();
    let settings = endpoint.settings();
    let settings: Vec<_> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (is_fine, _, complaint) = place.run(&settings, &[]);
    assert!(!is_fine);
    let says = |what: &str| assert!(complaint.contains(what), "{complaint}");
    says("webhooks cannot be kept until they are delivered");
    says("webhooks.redb cannot be opened: see that its place is a file");

    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, b"this is no database, and never was").unwrap();
    let program = endpoint.start(&place, &[]);
    let _ann = Person::comes_with(&options(program.address, "ann")).await;
    endpoint.hears("user.online ann online").await;
    assert!(data.join("webhooks.redb.damaged").is_file());
    let log = program.log();
    assert!(log.contains("the file of webhooks was damaged"), "{log}");
}
