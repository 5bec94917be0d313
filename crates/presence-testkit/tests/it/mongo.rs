use std::net::TcpListener;
use std::time::Duration;

use presence_testkit::mongo::{Mongo, Settings};
use presence_testkit::process::State;

#[test]
fn a_server_is_there_with_its_data_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut mongo = Mongo::start(folder.path(), &Settings::default()).unwrap();
    let port = mongo.port;
    assert!(mongo.answers());
    assert_eq!(
        mongo.uri(),
        format!("mongodb://127.0.0.1:{port}/?directConnection=true")
    );
    mongo.process.kill().unwrap();
    assert_eq!(mongo.process.state(), State::Gone);
    assert!(!mongo.answers());
    mongo.start_again().unwrap();
    assert!(mongo.answers());
    assert!(folder.path().join("mongo/data").is_dir());
    mongo.process.pause().unwrap();
    assert!(!mongo.answers());
    mongo.process.resume().unwrap();
    drop(mongo);
    let is_free = || presence_testkit::ports::is_free(port);
    presence_testkit::wait::until_true(Duration::from_secs(5), "the port is free", is_free)
        .unwrap();
}

#[test]
fn a_port_that_somebody_has_is_refused_by_its_number() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        port: Some(port),
        ..Settings::default()
    };
    let error = Mongo::start(folder.path(), &settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("port {port}, wanted for MongoDB, is in use")
    );
}
