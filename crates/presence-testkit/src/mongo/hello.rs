//! As much of MongoDB's protocol as it takes to hear that somebody is there.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(1);

/// What a command is, and its answer.
const OP_MSG: i32 = 2013;

/// Asks the program that listens on `port` whether it is a MongoDB server.
///
/// # Errors
///
/// Nobody is there, or it is something else.
pub(super) fn say(port: u16) -> io::Result<()> {
    let mut hello = b"\x10hello\0".to_vec();
    hello.extend(1_i32.to_le_bytes());
    command(port, "admin", &hello)
}

/// Makes an empty collection. If it is there already, that changes nothing.
///
/// # Errors
///
/// Nobody is there, or it is something else.
pub(super) fn create(port: u16, database: &str, collection: &str) -> io::Result<()> {
    command(port, database, &text("create", collection))
}

/// Gives a command whose document begins with `fields`, and waits for the answer.
fn command(port: u16, database: &str, fields: &[u8]) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIME_MAX)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    stream.set_write_timeout(Some(TIME_MAX))?;
    stream.write_all(&message(&[fields, &text("$db", database)].concat()))?;
    // How long it is, its number, the number of the question, and what it is.
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    match i32::from_le_bytes([head[12], head[13], head[14], head[15]]) {
        OP_MSG => Ok(()),
        other => Err(io::Error::other(format!("a message of kind {other}"))),
    }
}

fn message(fields: &[u8]) -> Vec<u8> {
    let document_length = fields.len() as i32 + 5;
    let message_length = 16 + 4 + 1 + document_length;
    let mut message = Vec::new();
    // The last is no flag at all.
    for number in [message_length, 1, 0, OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    // One document, which is all of it.
    message.push(0);
    message.extend(document_length.to_le_bytes());
    message.extend(fields);
    message.push(0);
    message
}

/// A field with a text in it.
fn text(name: &str, value: &str) -> Vec<u8> {
    let length = value.len() as i32 + 1;
    let mut field = vec![2];
    field.extend(name.as_bytes());
    field.push(0);
    field.extend(length.to_le_bytes());
    field.extend(value.as_bytes());
    field.push(0);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_spelt_as_the_protocol_says() {
        let expected = b"\x33\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
            \x1e\0\0\0\x02create\0\x02\0\0\0p\0\x02$db\0\x02\0\0\0d\0\0";
        let fields = [text("create", "p"), text("$db", "d")].concat();
        assert_eq!(message(&fields), expected);
    }
}
