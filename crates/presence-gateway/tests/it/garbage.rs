//! What somebody else writes to the Redis that gateways share: no JSON, too large, of no known version. Whoever reads the
//! room goes on as if nothing had been there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use presence_client::{Options, Protocol};
use presence_testkit::redis::{Redis, Settings, Topology};
use serde_json::Value;

use crate::gateway::{Running, soon};
use crate::people::Person;
use crate::raw::{body, get};
use crate::{cable, phoenix, pusher};

/// Takes the entry in which a text stands, puts another text in its place, stores that as the entry of another session and
/// tells it, as a gateway would.
const GARBLE: &str = r#"
local map, changed, name, text, other, field, version = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local function counted(text)
  local length, bytes = #text, ''
  while length > 127 do
    bytes = bytes .. string.char(length % 128 + 128)
    length = math.floor(length / 128)
  end
  return bytes .. string.char(length) .. text
end
local entry
for _, it in ipairs(redis.call('HVALS', map)) do
  local at = it:find(counted(text), 1, true)
  if at then entry = it:sub(1, at - 1) .. counted(other) .. it:sub(at + #counted(text)) end
end
if not entry then return redis.error_reply('there is no such text') end
if version ~= '' then entry = entry:sub(1, 24) .. string.char(tonumber(version)) .. entry:sub(26) end
local epoch, before = struct.unpack('>I4I8', redis.call('HGET', map, 'clock'))
local after = before + 2
redis.call('HSET', map, field, entry, 'clock', struct.pack('>I4I8', epoch, after))
redis.call('ZADD', changed, after, name)
local patch = struct.pack('>c1BI4I8I8', 'P', 1, epoch, before, after)
patch = patch .. string.char(#field) .. field .. '\0' .. struct.pack('>I4', #entry) .. entry
return redis.call('SPUBLISH', map, patch)
"#;

/// Says something through a session, as a gateway would.
const SAY: &str = r#"
local function hex(text) return (text:gsub('..', function(it) return string.char(tonumber(it, 16)) end)) end
local function counted(text)
  local length, bytes = #text, ''
  while length > 127 do
    bytes = bytes .. string.char(length % 128 + 128)
    length = math.floor(length / 128)
  end
  return bytes .. string.char(length) .. text
end
local said = '\2' .. hex(ARGV[1]) .. counted('eve') .. counted(ARGV[2]) .. counted(ARGV[3])
return redis.call('SPUBLISH', KEYS[1], 'M\1\1' .. counted(said))
"#;

/// What an embedder might say about itself in the room, and shows how in the store.
const META: &str = r#"{"is":"an embedder","name":"Eve"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_a_room_with_garbage_in_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let start = move || Redis::start(&path, &Settings::of(Topology::Single));
    let redis = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str())];
    let here = pusher::start_with_apps(&settings).await;
    let there = pusher::start_with_apps(&settings).await;
    let mut readers = Readers::come(&here).await;
    let mut eve = Person::connects(&there.options("eve")).await;
    let join = format!(r#"{{"type":"presence:join","channel":"room:1","meta":{META}}}"#);
    eve.does(&join).await;
    eve.until("everybody", |it| it.ids().len() == readers.count() + 1)
        .await;
    readers.see(&here, "eve").await;

    let before = garbled(&here).await;
    let garbage = garbage();
    for (n, (text, version)) in garbage.iter().enumerate() {
        garble(&redis, text, version, n);
    }
    let session = eve.client.hello().session.to_string();
    for payload in ["", "{", "no JSON", "\"\\ud800\"", &"[".repeat(100)] {
        if !payload.is_empty() {
            say(&redis, &session, "wave", payload);
        }
    }
    say(&redis, &session, &"x".repeat(300), "1");
    say(&redis, &session, "wave", r#"{"at":"all"}"#);

    // Everybody still hears of what comes after, here and there, and nobody of the garbage.
    let ids = readers.see(&here, "after").await;
    eve.until("who came after", |it| it.room.user("after").is_some())
        .await;
    assert!(!ids.iter().any(|it| it.contains("garbage")), "{ids:?}");
    assert_eq!(ids, eve.ids());
    readers.hear_one_wave().await;
    // And so does who comes now, and reads all of it.
    let late = Person::comes(&here, "late").await;
    assert!(late.room.user("eve").is_some());
    let got = garbled(&here).await - before;
    assert!(got >= garbage.len() as u64 + 5, "{got} were counted");
    let answer = get(here.address(), "/health").await;
    assert!(body(&answer).contains("healthy"), "{answer}");
}

/// Texts that stand where a meta should, and versions that records should have, as far as that is what is wrong.
fn garbage() -> Vec<(String, &'static str)> {
    let texts = [
        "this is no JSON, and as long as one".to_owned(),
        META[..META.len() - 1].to_owned(),
        META.replace("{", "["),
        format!("{META}{META}"),
        META.replace("embedder", "\\ud83c"),
        META.replace("\"an embedder\"", &"[".repeat(1000)),
        META.replace("embedder", &"x".repeat(5000)),
        META.replace("embedder", "\n\u{0}"),
        String::new() + "\"" + META,
    ];
    let texts = texts.into_iter().map(|text| (text, ""));
    texts
        .chain([(META.to_owned(), "2"), (META.to_owned(), "255")])
        .collect()
}

fn garble(redis: &Redis, text: &str, version: &str, n: usize) {
    // A session of which nobody knows: 16 bytes in base64.
    let field = format!("garbage{n:02}AAAAAAAAAAAAw");
    let (map, changed) = keys(redis);
    let args = ["channel:room:1", META, text, &field, version];
    run(redis, GARBLE, &[&map, &changed], &args);
}

fn say(redis: &Redis, session: &str, event: &str, payload: &str) {
    let (map, _) = keys(redis);
    run(redis, SAY, &[&map], &[session, event, payload]);
}

/// The map of the room, and what has changed in its partition of the store.
fn keys(redis: &Redis) -> (String, String) {
    let keys = run(
        redis,
        "return redis.call('KEYS', '*channel:room:1')[1]",
        &[],
        &[],
    );
    let map = keys.split("\r\n").nth(1).unwrap().to_owned();
    let changed = map.replace("channel:room:1", "changed");
    (map, changed)
}

/// Runs a script, and returns the answer as it stands in the protocol.
fn run(redis: &Redis, script: &str, keys: &[&str], args: &[&str]) -> String {
    let port = redis.url().rsplit(':').next().unwrap().to_owned();
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let count = keys.len().to_string();
    let words = [&["EVAL", script, &count][..], keys, args].concat();
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(command.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with('-'), "{answer}");
    answer
}

async fn garbled(gateway: &Running) -> u64 {
    let answer = get(gateway.address(), "/metrics").await;
    let mut lines = body(&answer).lines();
    let count = lines.find_map(|it| it.strip_prefix("presence_garbled_records_total "));
    count.expect("it is counted").parse().unwrap()
}

/// Somebody in the room for each dialect.
struct Readers {
    json: Person,
    binary: Person,
    phoenix: phoenix::Page,
    cable: cable::Page,
    pusher: pusher::Page,
}

impl Readers {
    async fn come(gateway: &Running) -> Readers {
        let binary = Options {
            protocol: Protocol::Binary,
            ..gateway.options("binary")
        };
        let mut cable = cable::Page::of(gateway.address(), "cable").await;
        assert!(cable.subscribes(&cable::room(1)).await);
        Readers {
            json: Person::comes(gateway, "json").await,
            binary: Person::comes_with(&binary).await,
            phoenix: phoenix::Page::enters(gateway, "phoenix", "room:1").await,
            cable,
            pusher: pusher::Page::enters(gateway, "pusher", "presence-room;1").await,
        }
    }

    fn count(&self) -> usize {
        5
    }

    /// Reads until all of them have seen `user`, who comes if they are not there; returns whom they see.
    async fn see(&mut self, gateway: &Running, user: &str) -> Vec<String> {
        let _authorized = match user {
            "eve" => None,
            user => Some(Person::comes(gateway, user).await),
        };
        let sees = |it: &Person| it.room.user(user).is_some();
        self.json.until(user, sees).await;
        self.binary.until(user, sees).await;
        soon("phoenix", self.phoenix.sees(user)).await;
        let id = cable::room(1);
        let seen = |it: &Value| cable::ids(&it["users"]).iter().any(|it| it == user);
        soon("cable", self.cable.receives(&id, seen)).await;
        let added = async {
            loop {
                let message = self.pusher.raw.json().await;
                let is_it = message["event"] == "pusher_internal:member_added";
                if is_it && pusher::data(&message)["user_id"] == user {
                    return;
                }
            }
        };
        soon("pusher", added).await;
        self.json.ids()
    }

    /// One that could be understood was said among many that could not.
    async fn hear_one_wave(&mut self) {
        for person in [&mut self.json, &mut self.binary] {
            // What was said in a tick is told after who came in it.
            let is_said = |it: &presence_client::wire::Event| {
                matches!(it, presence_client::wire::Event::Broadcast(_))
            };
            let has_heard = move |it: &Person| it.heard.iter().any(is_said);
            person.until("a wave", has_heard).await;
            let broadcasts = person.heard.iter().filter_map(|event| match event {
                presence_client::wire::Event::Broadcast(it) => Some(it),
                _ => None,
            });
            let broadcasts: Vec<_> = broadcasts.collect();
            assert_eq!(broadcasts.len(), 1, "{broadcasts:?}");
            let payload = broadcasts[0].payload.as_ref().unwrap();
            assert_eq!(payload.as_str(), r#"{"at":"all"}"#);
        }
    }
}
