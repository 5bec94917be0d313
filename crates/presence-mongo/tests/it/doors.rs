//! Who may come in, and how.

use mongodb::Client;
use mongodb::bson::doc;
use presence_core::ports::Profiles;
use presence_testkit::mongo::{Mongo, Settings};

use crate::support::{Server, check_unavailable, connect, profile, user};

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_are_those_of_the_uri() {
    let server = Server::start();
    let admin = Client::with_uri_str(server.mongo.uri()).await.unwrap();
    let create = doc! {
        "createUser": "presence",
        "pwd": "hush/hush",
        "roles": [{ "role": "readWrite", "db": "presence" }],
    };
    admin.database("admin").run_command(create).await.unwrap();
    // Its connections would keep the server from going.
    admin.shutdown().immediate(true).await;
    let Server { mongo, folder } = server;
    mongo.stop().unwrap();
    let settings = Settings {
        auth: true,
        ..Settings::default()
    };
    let mongo = Mongo::start(folder.path(), &settings).unwrap();
    let uri = |login: &str| {
        mongo
            .uri()
            .replace("mongodb://", &format!("mongodb://{login}"))
    };

    let profiles = connect(&uri("presence:hush%2Fhush@")).await;
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    let loaded = profiles.load(&[user("ann")]).await.unwrap();
    assert_eq!(loaded, [Some(profile("ann", 1))]);

    for login in ["presence:hushed@", ""] {
        let profiles = connect(&uri(login)).await;
        let said = check_unavailable(profiles.load(&[user("ann")]).await);
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_whom_the_authority_vouches_for() {
    // It begins without: the stand-in has to have its collection before anybody comes, and is not told over TLS.
    let Server { mongo, folder } = Server::start();
    mongo.stop().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .unwrap();
    let pem = folder.path().join("server.pem");
    std::fs::write(&pem, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let settings = Settings {
        tls: Some(pem),
        ..Settings::default()
    };
    let mongo = Mongo::start(folder.path(), &settings).unwrap();

    let uri = format!("{}&tls=true", mongo.uri());
    let profiles = connect(&format!("{uri}&tlsCAFile={}", authority.display())).await;
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    let loaded = profiles.load(&[user("ann")]).await.unwrap();
    assert_eq!(loaded, [Some(profile("ann", 1))]);

    let stranger = connect(&uri).await;
    check_unavailable(stranger.load(&[user("ann")]).await);
    let plain = connect(&mongo.uri()).await;
    check_unavailable(plain.load(&[user("ann")]).await);
}
