//! What it takes to ask a gateway over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use presence_client::Client;
use presence_client::wire::Command;
use presence_core::{Timestamp, WorkspaceId};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Running, now, soon};

/// A token of somebody in `acme`. No scopes or channels mean the usual ones.
pub(super) fn token(gateway: &Running, user: &str, scopes: &[&str], channels: &[&str]) -> String {
    token_made_at(gateway, now(), user, scopes, channels)
}

fn token_made_at(
    gateway: &Running,
    when: Timestamp,
    user: &str,
    scopes: &[&str],
    channels: &[&str],
) -> String {
    let texts = |list: &[&str]| list.iter().map(|&it| it.to_owned()).collect();
    let hour = Duration::from_secs(3600);
    gateway.token_made_at(when, user, hour, |grant| {
        grant.name = Some(format!("The real {user}"));
        grant.workspaces = vec![WorkspaceId::new("acme").unwrap()];
        grant.channels = texts(channels);
        grant.scopes = texts(scopes);
    })
}

/// Somebody with a socket.
pub(super) struct Socket(Client);

impl Socket {
    /// A user on `web:laptop`.
    pub(super) async fn of(gateway: &Running, user: &str) -> Socket {
        let mut options = gateway.options_with(&token(gateway, user, &[], &[]));
        options.device_id = Some("web:laptop".to_owned());
        Socket(
            soon("a connection", Client::connect(&options))
                .await
                .unwrap(),
        )
    }

    /// Says something that is granted.
    pub(super) async fn says(&mut self, json: &str) {
        let command = Command::from_json(json).unwrap();
        self.0.request(command).await.unwrap();
    }

    /// Reads until an event of that type.
    pub(super) async fn hears(&mut self, kind: &str) -> Value {
        let listening = async {
            loop {
                let event = self.0.next().await.expect("an open connection");
                if event.kind() == kind {
                    return serde_json::from_str(&event.to_json()).unwrap();
                }
            }
        };
        soon(kind, listening).await
    }

    /// Ends the session, and reads until the gateway ends the connection.
    pub(super) async fn leaves(mut self) {
        let leave = Command::from_json(r#"{"type":"presence:leave"}"#).unwrap();
        self.0.send(&leave).await.unwrap();
        self.is_over().await;
    }

    /// Reads until the gateway ends it.
    pub(super) async fn is_over(&mut self) {
        let over = async { while self.0.next().await.is_some() {} };
        soon("an end", over).await;
    }
}

/// Somebody who asks.
pub(super) struct Caller<'a> {
    gateway: &'a Running,
    authorization: Option<String>,
}

impl<'a> Caller<'a> {
    /// A user with a usual token.
    pub(super) fn of(gateway: &'a Running, user: &str) -> Self {
        Caller::with(gateway, user, &[], &[])
    }

    /// A user with a token of these scopes and channels.
    pub(super) fn with(
        gateway: &'a Running,
        user: &str,
        scopes: &[&str],
        channels: &[&str],
    ) -> Self {
        let token = token(gateway, user, scopes, channels);
        Caller {
            gateway,
            authorization: Some(format!("Bearer {token}")),
        }
    }

    /// Somebody without a token.
    pub(super) fn nobody(gateway: &'a Running) -> Self {
        Caller {
            gateway,
            authorization: None,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Reply {
        self.call("PUT", path, Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call("PATCH", path, Some(body)).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, Some(body)).await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let body = body.map_or_else(String::new, |it| it.to_string());
        let mut headers = vec![("content-type", "application/json")];
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        let body = body.as_bytes();
        send(self.gateway.address(), method, path, &headers, body).await
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All of it, but for the time: the status, the headers and the body.
    pub(super) fn everything(&self) -> (u16, Vec<&(String, String)>, &str) {
        let headers = self.headers.iter().filter(|(name, _)| name != "date");
        (self.status, headers.collect(), self.text())
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// What was asked for.
    #[track_caller]
    pub(super) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Why it is not granted.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        error
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {} {}", self.status, self.text()),
        }
    }
}

/// Sends one request over a connection of its own.
pub(super) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let is_chunked = headers.iter().any(|(name, _)| *name == "transfer-encoding");
    if !body.is_empty() && !is_chunked {
        request += &format!("content-length: {}\r\n", body.len());
    }
    request += "\r\n";
    // Who is turned away at once may not be able to write all of it, and can read why.
    let _ = stream.write_all(&[request.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let outcome = soon(target, stream.read_to_end(&mut answer)).await;
    let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") else {
        panic!("{method} {target}: no answer: {outcome:?}");
    };
    let head = str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Reply {
        status: status.parse().unwrap(),
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    }
}
