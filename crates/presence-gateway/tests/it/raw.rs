//! HTTP and WebSocket byte by byte, for what no good client would say.

use std::net::SocketAddr;

use presence_client::wire::Event;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::soon;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A WebSocket connection of which the test writes every byte.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    /// The head of the answer that let it in.
    pub(crate) head: String,
    read: Vec<u8>,
}

/// A frame from the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// What a connection said before it ended, and how that was.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) events: Vec<Event>,
    /// `None`: without a close frame.
    pub(crate) code: Option<u16>,
}

impl Raw {
    /// Upgrades a new connection of `user`, speaking JSON.
    pub(crate) async fn connect(address: SocketAddr, user: &str) -> Raw {
        Raw::upgrade(
            address,
            &format!("/ws?user_id={user}&device_id=web:{user}"),
            "",
        )
        .await
    }

    /// The same in postcard.
    pub(crate) async fn connect_binary(address: SocketAddr, user: &str) -> Raw {
        let protocol = "sec-websocket-protocol: presence.v1.postcard\r\n";
        Raw::upgrade(address, &format!("/ws?user_id={user}"), protocol).await
    }

    pub(crate) async fn upgrade(address: SocketAddr, target: &str, headers: &str) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        Raw::upgrade_over(stream, target, headers).await
    }

    pub(crate) async fn upgrade_over(stream: TcpStream, target: &str, headers: &str) -> Raw {
        Raw::upgraded(stream, handshake(target, headers).as_bytes()).await
    }

    /// Sends what is left of a handshake, and more maybe, and reads the answer.
    pub(crate) async fn upgraded(mut stream: TcpStream, request: &[u8]) -> Raw {
        stream.set_nodelay(true).unwrap();
        stream.write_all(request).await.unwrap();
        let mut raw = Raw {
            stream,
            head: String::new(),
            read: Vec::new(),
        };
        let end = loop {
            if let Some(at) = raw.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(raw.more().await, "{:?}", String::from_utf8_lossy(&raw.read));
        };
        let head = String::from_utf8(raw.read.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw.head = head;
        raw
    }

    /// Sends bytes as they are; a connection that is gone takes them too.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends one whole masked frame.
    pub(crate) async fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.bytes(&frame(true, opcode, payload)).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes()).await;
    }

    pub(crate) async fn close(&mut self, code: u16) {
        self.frame(CLOSE, &code.to_be_bytes()).await;
    }

    /// The next frame; `None` when the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        soon("a frame", async {
            loop {
                if let Some(frame) = self.take() {
                    return Some(frame);
                }
                if !self.more().await {
                    return None;
                }
            }
        })
        .await
    }

    /// The next event; anything else fails.
    pub(crate) async fn event(&mut self) -> Event {
        match self.next().await {
            Some(frame) => event(&frame),
            None => panic!("the connection is over"),
        }
    }

    /// Reads until an event that `wanted` makes something of.
    pub(crate) async fn hears_of<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.event().await) {
                return found;
            }
        }
    }

    /// The next text, as JSON of whatever dialect; anything else fails.
    pub(crate) async fn json(&mut self) -> Value {
        match self.next().await {
            Some(frame) if frame.opcode == TEXT => serde_json::from_slice(&frame.payload).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Reads to the end in whatever dialect, answering a close: the texts, and the close code.
    pub(crate) async fn closes(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut texts = Vec::new();
        while let Some(frame) = self.next().await {
            match frame.opcode {
                TEXT => texts.push(serde_json::from_slice(&frame.payload).unwrap()),
                CLOSE => {
                    let code = frame.payload.first_chunk();
                    self.frame(CLOSE, &frame.payload).await;
                    return (texts, code.map(|it| u16::from_be_bytes(*it)));
                }
                _ => {}
            }
        }
        (texts, None)
    }

    /// Reads up to the answer to `ref`.
    pub(crate) async fn answer(&mut self, ref_: u64) -> Event {
        let ref_ = Some(ref_.into());
        self.hears_of(|event| match event {
            Event::Ok(it) if it.ref_ == ref_ => Some(event.clone()),
            Event::Error(it) if it.ref_ == ref_ => Some(event.clone()),
            Event::Pong(it) if it.ref_ == ref_ => Some(event.clone()),
            _ => None,
        })
        .await
    }

    /// The next error.
    pub(crate) async fn error(&mut self) -> presence_client::wire::event::Error {
        self.hears_of(|event| match event {
            Event::Error(it) => Some(it.clone()),
            _ => None,
        })
        .await
    }

    /// Reads to the end, answering a close.
    pub(crate) async fn ends(&mut self) -> Ended {
        let mut ended = Ended {
            events: Vec::new(),
            code: None,
        };
        while let Some(frame) = self.next().await {
            match frame.opcode {
                CLOSE => {
                    assert_eq!(ended.code, None, "closed twice");
                    let code = frame
                        .payload
                        .first_chunk()
                        .map_or(1005, |it| u16::from_be_bytes(*it));
                    ended.code = Some(code);
                    self.frame(CLOSE, &frame.payload).await;
                }
                _ if ended.code.is_some() => panic!("{frame:?} after a close"),
                TEXT | BINARY => ended.events.push(event(&frame)),
                _ => {}
            }
        }
        ended
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.read).await.unwrap_or(0) > 0
    }

    fn take(&mut self) -> Option<Frame> {
        let [first, second, rest @ ..] = &self.read[..] else {
            return None;
        };
        assert_eq!(
            first & 0xF0,
            0x80,
            "the gateway sends whole frames without extensions"
        );
        assert_eq!(second & 0x80, 0, "the gateway masks nothing");
        let (length, rest) = match second & 0x7F {
            126 => (
                usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
                &rest[2..],
            ),
            127 => (
                u64::from_be_bytes(*rest.first_chunk()?) as usize,
                &rest[8..],
            ),
            short => (usize::from(short), rest),
        };
        let frame = Frame {
            opcode: first & 0x0F,
            payload: rest.get(..length)?.to_vec(),
        };
        let used = self.read.len() - rest.len() + length;
        self.read.drain(..used);
        Some(frame)
    }
}

fn event(frame: &Frame) -> Event {
    match frame.opcode {
        TEXT => Event::from_json(std::str::from_utf8(&frame.payload).unwrap()).unwrap(),
        BINARY => Event::from_postcard(&frame.payload).unwrap(),
        _ => panic!("no event: {frame:?}"),
    }
}

/// The request that opens a WebSocket.
pub(crate) fn handshake(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A masked frame.
pub(crate) fn frame(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![(u8::from(last) << 7) | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// Sends bytes on a connection of their own, and reads one answer, or to the end.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // An answer may come, and the connection may be cut, before all is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    soon("an answer, or the end", async {
        while !is_whole(&answer) && stream.read_buf(&mut answer).await.is_ok_and(|it| it > 0) {}
    })
    .await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether all has come that an answer says will.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .split("\r\n")
        .find_map(|it| it.strip_prefix("content-length: "));
    match length {
        Some(length) => length.parse().is_ok_and(|it: usize| body.len() >= it),
        None => status(head) == 101,
    }
}

/// The answer to a GET.
pub(crate) async fn get(address: SocketAddr, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    exchange(address, request.as_bytes()).await
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The body of an answer.
pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
