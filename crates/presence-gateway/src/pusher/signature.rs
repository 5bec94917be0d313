//! Verifies the signatures of an application's server.

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::config::PusherApp;
use crate::pusher_names::SocketId;

/// Whether `auth`, a key and a signature with a colon between, is the signature of `app`'s server for this connection,
/// channel and channel data.
pub(super) fn is_for_channel(
    app: &PusherApp,
    auth: &str,
    socket: SocketId,
    channel: &str,
    data: Option<&str>,
) -> bool {
    let socket = socket.to_string();
    let mut parts = vec![socket.as_str(), ":", channel];
    parts.extend(data.map(|_| ":"));
    parts.extend(data);
    is_auth(app, auth, &parts)
}

/// Whether `auth` is the signature of the server for a user's sign-in.
pub(super) fn is_for_user(app: &PusherApp, auth: &str, socket: SocketId, data: &str) -> bool {
    is_auth(app, auth, &[&socket.to_string(), "::user::", data])
}

fn is_auth(app: &PusherApp, auth: &str, parts: &[&str]) -> bool {
    match auth.split_once(':') {
        Some((key, signature)) => key == app.key && is_signature(app, signature, parts),
        None => false,
    }
}

/// Whether `signature` is that of the concatenated `parts`. The comparison takes the same time wherever they differ.
pub(super) fn is_signature(app: &PusherApp, signature: &str, parts: &[&str]) -> bool {
    let Some(signature) = bytes_of(signature) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(app.secret.expose()).expect("any key would do");
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac.verify_slice(&signature).is_ok()
}

/// Whether `digest` is the MD5 of `body`. It protects nothing by itself: it ties the body to the signature.
pub(super) fn is_digest(digest: &str, body: &[u8]) -> bool {
    bytes_of(digest).is_some_and(|it| it[..] == Md5::digest(body)[..])
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|two| match two {
            [a, b] => Some((digit(*a)? << 4) | digit(*b)?),
            _ => None,
        })
        .collect()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// The signature of a text, for tests.
#[cfg(test)]
pub(super) fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key would do");
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn app() -> PusherApp {
        PusherApp {
            id: "3".into(),
            key: "278d425bdf160c739803".into(),
            secret: Secret::new("7ad3773142a6692b25b8"),
            meets_others: true,
        }
    }

    fn socket() -> SocketId {
        SocketId::parse("1234.1234").unwrap()
    }

    fn auth(signature: &str) -> String {
        format!("278d425bdf160c739803:{signature}")
    }

    #[test]
    fn a_private_channel() {
        let auth = auth("58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4");
        assert!(is_for_channel(
            &app(),
            &auth,
            socket(),
            "private-foobar",
            None
        ));
        assert!(!is_for_channel(
            &app(),
            &auth,
            socket(),
            "private-foobaz",
            None
        ));
        let other = SocketId::parse("1234.1235").unwrap();
        assert!(!is_for_channel(
            &app(),
            &auth,
            other,
            "private-foobar",
            None
        ));
    }

    #[test]
    fn a_presence_channel_with_the_very_data() {
        let data = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
        let is_good = |signature: &str, data: &str| {
            let auth = auth(signature);
            is_for_channel(&app(), &auth, socket(), "presence-foobar", Some(data))
        };
        let signature = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80";
        assert!(is_good(signature, data));
        assert!(!is_good(signature, &data.replace(":10", ": 10")));
        // What the vendor's page prints is for another name.
        let printed = "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c";
        assert!(!is_good(printed, data));
        assert!(is_good(printed, &data.replace("Channels", "Pusher")));
    }

    #[test]
    fn a_user_who_signs_in() {
        let auth = auth("4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba");
        assert!(is_for_user(&app(), &auth, socket(), r#"{"id":"12345"}"#));
        assert!(!is_for_user(&app(), &auth, socket(), r#"{"id":"12346"}"#));
    }

    #[test]
    fn a_request_of_a_server() {
        let body = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        assert!(is_digest(
            "ec365a775a4cd0599faeb73354201b6f",
            body.as_bytes()
        ));
        assert!(!is_digest(
            "ec365a775a4cd0599faeb73354201b60",
            body.as_bytes()
        ));
        let query = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
                     &body_md5=ec365a775a4cd0599faeb73354201b6f";
        let signed = ["POST\n", "/apps/3/events\n", query];
        let signature = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
        assert!(is_signature(&app(), signature, &signed));
        assert!(!is_signature(
            &app(),
            signature,
            &["GET\n", signed[1], query]
        ));
    }

    #[test]
    fn what_is_no_signature_is_not_one() {
        for bad in [
            "",
            ":",
            "278d425bdf160c739803",
            "278d425bdf160c739803:",
            "x:y",
        ] {
            assert!(
                !is_for_channel(&app(), bad, socket(), "private-foobar", None),
                "{bad}"
            );
        }
        for bad in [
            "58df",
            "xyz",
            "5",
            "é",
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a",
        ] {
            assert!(
                !is_for_channel(&app(), &auth(bad), socket(), "private-foobar", None),
                "{bad}"
            );
        }
        let other_key = "key:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert!(!is_for_channel(
            &app(),
            other_key,
            socket(),
            "private-foobar",
            None
        ));
    }
}
