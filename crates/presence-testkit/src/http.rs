//! One HTTP question to a server of ours.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// A server of ours that takes longer does not answer.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The status and the body of `GET path` at `address`.
///
/// # Errors
///
/// There was no answer, or it is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    get_as(address, path, "*/*")
}

/// The same with the types of content that are accepted.
///
/// # Errors
///
/// There was no answer, or it is not HTTP.
pub fn get_as(address: SocketAddr, path: &str, accept: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIME_MAX)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    stream.set_write_timeout(Some(TIME_MAX))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer)
        .with_context(|| format!("{address} answered {path} with something else than HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    Some((status.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(parse(answer), Some((503, "no".to_owned())));
        assert_eq!(parse("SSH-2.0"), None);
    }
}
