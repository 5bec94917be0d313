//! The entry points for bytes from strangers, each as a function: for the fuzz targets in `fuzz`, and for the tests below, which
//! repeat every input that was ever found.
//!
//! Each function decodes as far as it can without a connection. It may refuse the bytes, but it must not panic, and it must
//! not need more memory than a small multiple of their length.

use presence_protocol::Command;

/// Decodes a JSON frame of the native protocol.
pub fn native_json(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(command) = Command::from_json(text)
    {
        let again = Command::from_json(&command.to_json());
        assert!(again.is_ok(), "what we write can be read");
    }
}

/// Decodes a binary frame of the native protocol.
pub fn native_postcard(bytes: &[u8]) {
    if let Ok(command) = Command::from_postcard(bytes) {
        let again = Command::from_postcard(&command.to_postcard());
        assert!(again.is_ok(), "what we write can be read");
    }
}

/// Decodes a frame of Phoenix, text or binary.
pub fn phoenix(bytes: &[u8]) {
    crate::phoenix::hostile::frame(bytes);
}

/// Decodes a frame of Action Cable.
pub fn cable(bytes: &[u8]) {
    crate::cable::hostile::frame(bytes);
}

/// Decodes a frame of Pusher, and the data that an application's server signs.
pub fn pusher(bytes: &[u8]) {
    crate::pusher::hostile::frame(bytes);
}

/// Decodes the body of an HTTP request, for each call that has one.
pub fn http_body(bytes: &[u8]) {
    crate::api::hostile::body(bytes);
}

/// Decodes a token, the content of one, a set of keys, and a resume token.
pub fn token(bytes: &[u8]) {
    crate::identity::hostile::token(bytes);
}

/// Decodes a record of the store that gateways share.
pub fn redis_record(bytes: &[u8]) {
    presence_redis::hostile::record(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What reads the bytes of a target.
    type Read = fn(&[u8]);

    /// Every target, by the name that it has in `fuzz/Cargo.toml`.
    const TARGETS: [(&str, Read); 8] = [
        ("native_json", native_json),
        ("native_postcard", native_postcard),
        ("phoenix", phoenix),
        ("cable", cable),
        ("pusher", pusher),
        ("http_body", http_body),
        ("token", token),
        ("redis_record", redis_record),
    ];

    /// What was found and what is typical, whole, cut off and with single bytes changed.
    #[test]
    fn what_was_found_is_read_once_more_with_its_neighbours() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (name, read) in TARGETS {
            let files = fs::read_dir(folder.join(name)).unwrap();
            let mut count = 0;
            for file in files {
                let bytes = fs::read(file.unwrap().path()).unwrap();
                read(&bytes);
                for at in 0..bytes.len().min(400) {
                    read(&bytes[..at]);
                    let mut changed = bytes.clone();
                    for byte in [0, 0x22, 0x5b, 0x7b, 0x7f, 0x80, 0xff, bytes[at] ^ 1] {
                        changed[at] = byte;
                        read(&changed);
                    }
                }
                count += 1;
            }
            assert!(count > 0, "there are no seeds of {name}");
        }
    }

    #[test]
    fn every_target_is_built_for_the_fuzzer() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let target = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs")));
            assert!(
                target.unwrap().contains(&format!("hostile::{name}(")),
                "{name}"
            );
        }
    }
}
