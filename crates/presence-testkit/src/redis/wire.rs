//! Questions to a Redis server. Small and our own, because it must not wait for a server that is paused, and a client
//! library would more than double what this crate is made of.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A server that takes longer is not there.
const TIME_MAX: Duration = Duration::from_millis(1000);

/// A reply of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A word or a text.
    Text(String),
    /// An integer.
    Number(i64),
    /// A null.
    Nothing,
    /// A list of replies.
    List(Vec<Reply>),
}

impl Reply {
    /// It, if it is a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    /// It, if it is a number.
    pub fn number(&self) -> Option<i64> {
        match self {
            Reply::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// It, if it is a list.
    pub fn list(&self) -> Option<&[Reply]> {
        match self {
            Reply::List(list) => Some(list),
            _ => None,
        }
    }
}

/// A connection to a server of this machine.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: BufReader<S>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
}

impl Connection {
    /// Connects to `port`.
    ///
    /// # Errors
    ///
    /// Nobody is there.
    pub fn open(port: u16) -> Result<Connection> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, TIME_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(TIME_MAX))?;
        let mut connection = Connection {
            stream: BufReader::new(stream),
            partial: Vec::new(),
        };
        connection.wait_at_most(TIME_MAX)?;
        Ok(connection)
    }

    /// How long to wait for a reply from now on.
    ///
    /// # Errors
    ///
    /// The system refuses that.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(Some(limit))?)
    }
}

impl<S: Read + Write> Connection<S> {
    /// Says `command` and returns the reply.
    ///
    /// # Errors
    ///
    /// There was none in time, or it was an error.
    pub fn ask(&mut self, command: &[&str]) -> Result<Reply> {
        let mut bytes = format!("*{}\r\n", command.len());
        for word in command {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        let shown = || command.join(" ");
        self.stream
            .get_mut()
            .write_all(bytes.as_bytes())
            .with_context(shown)?;
        self.read().with_context(shown)
    }

    /// The next reply, or what a `MONITOR` shows.
    ///
    /// # Errors
    ///
    /// There was none in time, or it was an error.
    pub fn read(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line
            .split_at_checked(1)
            .context("Redis said an empty line")?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => bail!("Redis says: {rest}"),
            ":" => Ok(Reply::Number(rest.parse()?)),
            "$" => match rest.parse::<i64>()? {
                -1 => Ok(Reply::Nothing),
                length => Ok(Reply::Text(self.bytes(usize::try_from(length)?)?)),
            },
            "*" => match rest.parse::<i64>()? {
                -1 => Ok(Reply::Nothing),
                count => (0..count)
                    .map(|_| self.read())
                    .collect::<Result<_>>()
                    .map(Reply::List),
            },
            _ => bail!("Redis said `{line}`, which is not RESP"),
        }
    }

    /// The next line as it is, for a `MONITOR`; `None` if there is none in time. A line that has begun to come is kept.
    pub(super) fn line_in_time(&mut self) -> Result<Option<String>> {
        let read = self.stream.read_until(b'\n', &mut self.partial);
        match read {
            Ok(0) => bail!("Redis hung up"),
            Ok(_) => {
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                Ok(Some(line))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("Redis hung up");
        }
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, length: usize) -> Result<String> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Asks the server on `port` one thing.
///
/// # Errors
///
/// Nobody is there, there was no reply in time, or it was an error.
pub fn ask(port: u16, command: &[&str]) -> Result<Reply> {
    Connection::open(port)?.ask(command)
}

/// The same, for a reply that is a text.
///
/// # Errors
///
/// The same, or it is no text.
pub fn ask_text(port: u16, command: &[&str]) -> Result<String> {
    match ask(port, command)? {
        Reply::Text(text) => Ok(text),
        other => bail!("{} was answered with {other:?}", command.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn replies_of_every_kind_are_understood() {
        check("+PONG\r\n", Reply::Text("PONG".into()));
        check(":-7\r\n", Reply::Number(-7));
        check("$-1\r\n", Reply::Nothing);
        check("$4\r\na\r\nb\r\n", Reply::Text("a\r\nb".into()));
        check(
            "*3\r\n:1\r\n*1\r\n+x\r\n*-1\r\n",
            Reply::List(vec![
                Reply::Number(1),
                Reply::List(vec![Reply::Text("x".into())]),
                Reply::Nothing,
            ]),
        );
    }

    #[test]
    fn what_redis_complains_of_is_an_error() {
        let mut connection = says("-LOADING Redis is loading\r\n");
        let error = format!("{:#}", connection.ask(&["PING"]).unwrap_err());
        assert_eq!(error, "PING: Redis says: LOADING Redis is loading");
        assert!(says("").read().is_err());
    }

    #[test]
    fn a_command_says_how_long_its_words_are() {
        let mut connection = says("+OK\r\n");
        connection.ask(&["SET", "k", "a b"]).unwrap();
        let said = &connection.stream.get_ref().said;
        assert_eq!(
            str::from_utf8(said),
            Ok("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na b\r\n")
        );
    }

    #[track_caller]
    fn check(reply: &'static str, expected: Reply) {
        assert_eq!(says(reply).read().unwrap(), expected);
    }

    struct Double {
        says: Cursor<&'static str>,
        said: Vec<u8>,
    }

    fn says(reply: &'static str) -> Connection<Double> {
        let double = Double {
            says: Cursor::new(reply),
            said: Vec::new(),
        };
        Connection {
            stream: BufReader::new(double),
            partial: Vec::new(),
        }
    }

    impl Read for Double {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.says.read(out)
        }
    }

    impl Write for Double {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.said.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
