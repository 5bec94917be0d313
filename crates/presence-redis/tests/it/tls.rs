//! Over TLS.

use std::slice::from_ref;

use presence_redis::{RedisTopics, Settings};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::support::{Node, Server, free_port, user_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_the_authorities_vouch_for_is_used_and_another_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (file, authority) = certificate(&directory, "127.0.0.1");
    let port = free_port();
    let tls_port = port.to_string();
    let words = ["--tls-port", &tls_port, "--tls-auth-clients", "no"];
    let files = [
        "--tls-cert-file",
        &file.0,
        "--tls-key-file",
        &file.1,
        "--tls-ca-cert-file",
        &file.0,
    ];
    let _server = Server::start(&[&words[..], &files[..]].concat());

    let url = format!("rediss://127.0.0.1:{port}");
    let settings = || Settings::from_url(&url).unwrap();
    let node = Node::with(settings().with_authorities(authority.as_bytes()).unwrap()).await;
    let ann = user_in(7);
    node.follow(from_ref(&ann)).await;
    assert!(node.write(&ann).await.0.is_ok());
    node.hear_patch(&ann).await;

    let (_, other) = certificate(&directory, "127.0.0.1");
    let settings = settings().with_authorities(other.as_bytes()).unwrap();
    let error = RedisTopics::connect(settings)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("InvalidCertificate"), "{error}");
    // Speaking plainly to it is no way around.
    let plain = Settings::from_url(&format!("redis://127.0.0.1:{port}")).unwrap();
    assert!(RedisTopics::connect(plain).await.is_err());
}

/// A certificate and its key in files of `directory`, and the certificate itself: it vouches for itself.
fn certificate(directory: &tempfile::TempDir, host: &str) -> ((String, String), String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([host.to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = (
        file("certificate.pem", &cert.pem()),
        file("key.pem", &signing_key.serialize_pem()),
    );
    (files, cert.pem())
}
