//! Requests that no good client sends: each has its answer, in bounded time and memory.

use std::time::{Duration, Instant};

use presence_testkit::pulse::Pulse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{start, start_closed};
use crate::raw::{body, exchange, get, handshake, status};

#[tokio::test]
async fn a_handshake_that_is_none_is_answered_with_what_would_do() {
    let gateway = start(&[]).await;
    let good = handshake("/ws", "");
    let without = |header: &str| {
        let lines = good.split("\r\n").filter(|it| !it.starts_with(header));
        lines.collect::<Vec<_>>().join("\r\n")
    };
    for (what, request, code, hint) in [
        (
            "no version",
            without("sec-websocket-version"),
            426,
            "sec-websocket-version: 13",
        ),
        (
            "another version",
            good.replace("version: 13", "version: 8"),
            426,
            "sec-websocket-version: 13",
        ),
        (
            "no key",
            without("sec-websocket-key"),
            426,
            "sec-websocket-version: 13",
        ),
        ("no upgrade", without("upgrade"), 426, "upgrade: websocket"),
        (
            "no connection: upgrade",
            without("connection"),
            426,
            "WebSocket",
        ),
        (
            "another upgrade",
            good.replace("upgrade: websocket", "upgrade: h2c"),
            426,
            "WebSocket",
        ),
        ("a POST", good.replace("GET", "POST"), 405, "allow: GET"),
        (
            "HTTP/1.0",
            good.replace("HTTP/1.1", "HTTP/1.0"),
            426,
            "WebSocket",
        ),
        (
            "an unknown subprotocol",
            handshake("/ws", "sec-websocket-protocol: graphql-ws\r\n"),
            400,
            "presence.v1.json",
        ),
        (
            "a token and no protocol",
            handshake("/ws", "sec-websocket-protocol: presence.bearer.x\r\n"),
            400,
            "presence.v1.json",
        ),
        (
            "an origin of the web",
            handshake("/ws", "origin: https://evil.example\r\n"),
            403,
            "forbidden",
        ),
        (
            "a name pointed here",
            good.replace("host: localhost", "host: evil.example"),
            403,
            "forbidden",
        ),
        ("another path", handshake("/ws2", ""), 404, ""),
        ("a path out of here", handshake("/ws/../ws", ""), 404, ""),
    ] {
        let answer = exchange(gateway.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), code, "{what}: {answer}");
        assert!(answer.contains(hint), "{what}: {answer}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_needs_to_be_allowed() {
    let gateway = start_closed(&[("PRESENCE_ALLOWED_ORIGINS", "https://app.example.org")]).await;
    for (origin, host, code) in [
        ("https://app.example.org", "presence.example.org", 101),
        ("https://presence.example.org", "presence.example.org", 101),
        (
            "https://app.example.org.evil.example",
            "presence.example.org",
            403,
        ),
        ("null", "presence.example.org", 403),
        ("http://app.example.org", "presence.example.org", 403),
    ] {
        let request = handshake("/ws", &format!("origin: {origin}\r\n")).replace("localhost", host);
        let answer = exchange(gateway.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), code, "{origin}: {answer}");
    }
}

#[tokio::test]
async fn there_is_nothing_beside_the_page() {
    let gateway = start(&[]).await;
    for path in [
        "/../Cargo.toml",
        "/..%2fCargo.toml",
        "/page/../../Cargo.toml",
        "//etc/passwd",
        "/page.js/",
        "/index.html",
        "/%2e%2e/",
        "/page/%00board.js",
        "/PAGE.JS",
        "/\u{e9}",
        "/api",
        "/api/",
        "/api/presence/nothing",
    ] {
        let answer = get(gateway.address(), path).await;
        let code = status(&answer);
        assert!(code == 404 || code == 400, "{path}: {answer}");
    }
    let page = get(gateway.address(), "/?any=thing").await;
    assert_eq!(status(&page), 200);
    for method in ["POST", "DELETE", "TRACE", "FROB"] {
        let request =
            format!("{method} / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = exchange(gateway.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 405, "{method}: {answer}");
    }
    let request = b"HEAD /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = exchange(gateway.address(), request).await;
    assert_eq!((status(&answer), body(&answer)), (200, ""));
}

#[tokio::test]
async fn endless_headers_are_cut_with_431() {
    let gateway = start(&[]).await;
    let line = format!("x-long: {}\r\n", "x".repeat(1000));
    let endless = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\n{}",
        line.repeat(20_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
        "x-many: 1\r\n".repeat(200)
    );
    let target = format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "x".repeat(100_000)
    );
    for (what, request, codes) in [
        ("20 MB of headers", endless, [431, 431]),
        ("200 headers", many, [431, 431]),
        ("a path of 100 kB", target, [414, 431]),
    ] {
        let answer = patient(gateway.address(), request.as_bytes()).await;
        assert!(codes.contains(&status(&answer)), "{what}: {answer}");
    }
    assert_eq!(status(&get(gateway.address(), "/livez").await), 200);
}

/// Sends for as long as it is taken, and reads what is answered meanwhile.
async fn patient(address: std::net::SocketAddr, request: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let mut answer = Vec::new();
    let send = async { drop(to.write_all(request).await) };
    let read = async { drop(from.read_to_end(&mut answer).await) };
    crate::gateway::soon("an answer", async { tokio::join!(send, read) }).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn garbage_is_a_bad_request() {
    let gateway = start(&[]).await;
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken header\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /api/presence/bulk HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let answer = exchange(gateway.address(), request).await;
        let shown = String::from_utf8_lossy(request);
        assert!(answer.is_empty() || status(&answer) == 400, "{shown}: {answer}");
    }
    let upgrade = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let answer = exchange(gateway.address(), upgrade).await;
    assert!(
        answer.is_empty() || (400..600).contains(&status(&answer)),
        "{answer}"
    );
}

#[tokio::test]
async fn who_takes_too_long_to_ask_is_cut() {
    let gateway = start(&[]).await;
    let silent = async {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    };
    let trickle = async {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        let request = handshake("/ws", &"x-slow: 1\r\n".repeat(50));
        for byte in request.as_bytes() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a trickle of headers was waited for");
    };
    let kept_alive = async {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(status(&String::from_utf8_lossy(&answer)), 200);
    };
    let pulse = Pulse::start();
    let began = Instant::now();
    let all = async { tokio::join!(silent, trickle, kept_alive) };
    crate::gateway::soon("the end of slow connections", all).await;
    assert!(
        began.elapsed() < Duration::from_secs(15) + pulse.slack(),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn who_shuts_down_its_side_after_asking_gets_its_answer() {
    let gateway = start(&[]).await;
    let body = r#"{"user_ids":["ann"]}"#;
    let post = format!(
        "POST /api/presence/bulk HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let get = "GET /api/presence/users/ann HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (request, answers) in [
        (get.to_owned(), 1),
        (get.replace("1.1", "1.0"), 1),
        (get.repeat(3), 3),
        (post, 1),
        (get.replace("/api/presence/users/ann", "/health"), 1),
        // Half a request is none.
        (get[..40].to_owned(), 0),
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let outcome = crate::gateway::soon(&request, read).await;
        let got = answer.matches(" 200 OK\r\n").count();
        assert_eq!(got, answers, "{request}: {answer} {outcome:?}");
    }
    gateway.is_left_with(0).await;
}
