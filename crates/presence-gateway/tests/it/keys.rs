//! Keys that are fetched from a URL.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::gateway::{Running, now, soon, start};
use crate::raw;
use crate::walls::call;

/// Who has the keys: answers everybody the same, until that is changed.
struct Issuer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn with(kids: &[&str]) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Issuer::on(listener, kids)
    }

    fn on(listener: TcpListener, kids: &[&str]) -> Issuer {
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let issuer = Issuer {
            url,
            answer: Arc::default(),
            asked: Arc::default(),
        };
        issuer.has(kids);
        let (answer, asked) = (issuer.answer.clone(), issuer.asked.clone());
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut request).await.is_ok_and(|it| it > 0)
                {}
                if request.is_empty() {
                    continue;
                }
                assert!(request.starts_with(b"GET /jwks.json HTTP/1.1\r\n"));
                asked.fetch_add(1, SeqCst);
                let answer = answer.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn has(&self, kids: &[&str]) {
        let keys: Vec<Value> = kids.iter().map(|kid| jwk(kid)).collect();
        self.says("200 OK", &json!({ "keys": keys }).to_string());
    }

    fn says(&self, status: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\nlocation: /jwks.json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        *self.answer.lock().unwrap() = head + body;
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    async fn is_asked_more_than(&self, times: usize) {
        soon("another fetch", async {
            while self.asked() <= times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn keys_are_fetched_and_fetched_again_and_a_bad_fetch_keeps_the_last_good_ones() {
    let issuer = Issuer::with(&["one"]).await;
    let gateway = start(&[
        ("PRESENCE_JWKS_URL", &issuer.url),
        ("PRESENCE_JWKS_REFRESH", "1s"),
    ])
    .await;
    assert_eq!(issuer.asked(), 1, "before anybody is let in");
    assert!(lets_in(&gateway, "one").await);
    assert!(!lets_in(&gateway, "gone").await);

    let set = |keys: Value| json!({ "keys": keys }).to_string();
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for (status, body) in [
        ("500 Internal Server Error", "oops".to_owned()),
        ("404 Not Found", set(json!([jwk("evil")]))),
        ("302 Found", set(json!([jwk("evil")]))),
        ("200 OK", "<html>sign in</html>".to_owned()),
        ("200 OK", String::new()),
        ("200 OK", set(json!([]))),
        (
            "200 OK",
            set(json!([{"kty": "oct", "kid": "evil", "k": "AAAA"}])),
        ),
        ("200 OK", set(json!([jwk("evil"), jwk("evil")]))),
        ("200 OK", huge),
    ] {
        issuer.says(status, &body);
        let asked = issuer.asked();
        issuer.is_asked_more_than(asked).await;
        assert!(lets_in(&gateway, "one").await, "{status} {:.40}", body);
        assert!(!lets_in(&gateway, "evil").await, "{status} {:.40}", body);
    }
    let metrics = raw::get(gateway.address(), "/metrics").await;
    assert!(metrics.contains("presence_jwks_keys 1\n"), "{metrics}");
    assert!(
        !metrics.contains("presence_jwks_fetch_failures_total 0\n"),
        "{metrics}"
    );

    // It is changed: the old one is believed no longer.
    issuer.has(&["two"]);
    soon("the new key", async {
        while !lets_in(&gateway, "two").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(!lets_in(&gateway, "one").await);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_and_not_too_often() {
    let issuer = Issuer::with(&["one"]).await;
    let gateway = start(&[("PRESENCE_JWKS_URL", &issuer.url)]).await;
    issuer.has(&["one", "two"]);
    assert!(!lets_in(&gateway, "two").await, "it is not there yet");
    soon("the new key", async {
        while !lets_in(&gateway, "two").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let asked = issuer.asked();
    for n in 0..50 {
        assert!(!lets_in(&gateway, &format!("gone-{n}")).await);
    }
    assert!(
        issuer.asked() <= asked + 1,
        "{} after {asked}",
        issuer.asked()
    );
}

#[tokio::test]
async fn a_gateway_whose_keys_cannot_be_fetched_starts_and_is_ready_when_they_can() {
    // A port that somebody had a moment ago, and nobody has now.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/jwks.json");
    let gateway = start(&[("PRESENCE_JWKS_URL", &url)]).await;
    assert_eq!(
        raw::status(&raw::get(gateway.address(), "/readyz").await),
        503
    );
    assert_eq!(
        raw::status(&raw::get(gateway.address(), "/livez").await),
        200
    );
    let (status, body) = ask(&gateway, &token("one")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("unavailable")),
        "{body}"
    );
    let health = raw::get(gateway.address(), "/health").await;
    let health: Value = serde_json::from_str(raw::body(&health)).unwrap();
    assert_eq!(health["jwks"], json!({"keys": 0, "age_seconds": null}));

    let _issuer = Issuer::on(TcpListener::bind(address).await.unwrap(), &["one"]);
    soon("readiness", async {
        while raw::status(&raw::get(gateway.address(), "/readyz").await) != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(lets_in(&gateway, "one").await);
}

async fn lets_in(gateway: &Running, kid: &str) -> bool {
    let (status, body) = ask(gateway, &token(kid)).await;
    match status {
        200 => true,
        401 => false,
        _ => panic!("{status}: {body}"),
    }
}

async fn ask(gateway: &Running, token: &str) -> (u16, Value) {
    call(
        gateway.address(),
        "GET",
        "/api/presence/channel/room:1/count",
        token,
        None,
    )
    .await
}

fn token(kid: &str) -> String {
    let header = Header {
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    // As many users as tokens, so that none of them asks too often.
    let id = getrandom::u64().unwrap();
    let claims = json!({"sub": format!("user-{id}"), "exp": now().as_millis() / 1000 + 3600});
    encode(&header, &claims, &key()).unwrap()
}

fn jwk(kid: &str) -> Value {
    let jwk = Jwk::from_encoding_key(&key(), Algorithm::EdDSA).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn key() -> EncodingKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/ed25519.pem");
    EncodingKey::from_ed_pem(&std::fs::read(path).unwrap()).unwrap()
}
