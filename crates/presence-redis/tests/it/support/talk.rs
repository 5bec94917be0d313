//! Just enough of the protocol to tell a server something, without the code under test.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Text(String),
    Number(i64),
    Nothing,
    List(Vec<Answer>),
    Error(String),
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        match self {
            Answer::Text(text) => text,
            other => panic!("{other} is no text"),
        }
    }

    pub(crate) fn number(&self) -> i64 {
        match self {
            Answer::Number(number) => *number,
            other => panic!("{other} is no number"),
        }
    }

    pub(crate) fn list(&self) -> &[Answer] {
        match self {
            Answer::List(list) => list,
            other => panic!("{other} is no list"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Says `words` to the server on `port`.
pub(crate) fn say(port: u16, words: &[&str]) -> io::Result<Answer> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut frame = format!("*{}\r\n", words.len());
    for word in words {
        frame += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(frame.as_bytes())?;
    answer(&mut BufReader::new(stream))
}

fn answer(from: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = || rest.parse::<i64>().map_err(io::Error::other);
    Ok(match kind {
        "+" => Answer::Text(rest.to_owned()),
        "-" => Answer::Error(rest.to_owned()),
        ":" => Answer::Number(length()?),
        "$" => match usize::try_from(length()?) {
            Err(_) => Answer::Nothing,
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                Answer::Text(String::from_utf8_lossy(&bytes[..length]).into_owned())
            }
        },
        "*" => {
            let items = (0..length()?).map(|_| answer(from));
            Answer::List(items.collect::<io::Result<_>>()?)
        }
        _ => return Err(io::Error::other(format!("{line:?} is no answer"))),
    })
}
