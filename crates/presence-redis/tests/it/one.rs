//! What can happen to one server.

use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{Ephemeral, Field, Incarnation, JoinedTopic, Op};
use presence_core::ports::{Notice, StoreError, Topics};
use presence_core::{ChannelId, META_BYTES_MAX, Meta, SessionId, Timestamp, Topic};
use presence_redis::{RedisTopics, Settings};
use presence_testkit::pulse::Pulse;
use tokio::time::{Instant, sleep};

use crate::support::{Node, Server, user_in, users};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_fails_calls_within_a_second_and_goes_on_when_it_is_back() {
    let pulse = Pulse::start();
    let server = Server::start(&[]);
    let (writer, reader) = pair(&server).await;
    server.pause();
    let users = users();
    for _ in 0..2 {
        let call = Instant::now();
        assert!(writer.write(&users[7]).await.0.is_err());
        check_unavailable(&writer.topics.read(&users).await);
        check_unavailable(&writer.topics.follow(&users).await);
        assert!(writer.topics.compare().await.is_err());
        let took = call.elapsed();
        assert!(
            took < Duration::from_secs(4) + pulse.slack(),
            "four calls took {took:?}"
        );
    }
    server.resume();
    let took = reader.hears_again(&writer, &users[7]).await;
    assert!(
        took < Duration::from_secs(3) + pulse.slack(),
        "heard again after {took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_with_nothing_everything_is_to_be_compared() {
    let mut server = Server::start(&[]);
    let (writer, reader) = pair(&server).await;
    let ann = user_in(7);
    writer.does(&ann).await;
    server.kill();
    check_unavailable(&[writer.write(&ann).await.0]);
    server.restart();
    reader.hear_forgot(7).await;
    let read = loop {
        let mut read = reader.topics.read(std::slice::from_ref(&ann)).await;
        match read.remove(0) {
            Ok(read) => break read,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    assert_eq!(read.clock, None);
    writer.does(&ann).await;
    reader.hear_patch(&ann).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_a_server_has_forgotten_are_told_again() {
    let server = Server::start(&[]);
    let (writer, reader) = pair(&server).await;
    let ann = user_in(7);
    let me = Incarnation {
        node: 1,
        generation: 0,
    };
    for _ in 0..3 {
        assert!(writer.write(&ann).await.0.is_ok());
        reader.hear_patch(&ann).await;
        assert!(
            writer
                .topics
                .renew(me, "a", Duration::from_secs(1), Timestamp::default())
                .await
                .is_ok()
        );
        server.says_ok(&["SCRIPT", "FLUSH"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_is_made_again_and_what_was_missed_is_to_be_compared() {
    let pulse = Pulse::start();
    let server = Server::start(&[]);
    let (writer, reader) = pair(&server).await;
    let ann = user_in(7);
    for kind in ["pubsub", "normal"] {
        server.say(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        let took = reader.hears_again(&writer, &ann).await;
        assert!(
            took < Duration::from_secs(2) + pulse.slack(),
            "heard again after {took:?}"
        );
        if kind == "pubsub" {
            reader.hear_forgot(7).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_a_server_that_hangs_fails_at_once() {
    let pulse = Pulse::start();
    let server = Server::start(&[]);
    let (writer, _) = pair(&server).await;
    server.pause();
    let longest = format!("{{\"x\":\"{}\"}}", "x".repeat(META_BYTES_MAX - 8));
    let stay = JoinedTopic {
        topic: Topic::Channel(ChannelId::new("room:42").unwrap()),
        joined_at: Timestamp::from_millis(0),
        meta: Arc::new(Meta::from_json(longest).unwrap()),
    };
    // More than there may be under way.
    let calls = (0..100).map(|partition| {
        let write = writer.change_with(&user_in(partition), vec![stay.clone(); 100]);
        let writer = writer.clone();
        tokio::spawn(async move {
            let start = Instant::now();
            let error = writer.topics.write(&[write]).await.remove(0).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            (cause, start.elapsed())
        })
    });
    let mut crowded = 0;
    for call in futures_util::future::join_all(calls).await {
        let (cause, took) = call.unwrap();
        if cause.contains("too much is waiting") {
            assert!(
                took < Duration::from_millis(300) + pulse.slack(),
                "it failed after {took:?}"
            );
            crowded += 1;
        }
    }
    assert!(crowded > 20, "{crowded} of 100 calls failed at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_of_a_server_that_is_away_are_dropped_and_later_ones_heard() {
    let mut server = Server::start(&[]);
    let (writer, reader) = pair(&server).await;
    let ann = user_in(7);
    server.kill();
    writer
        .topics
        .send_ephemeral(&[(ann.clone(), vec![Ephemeral::Kicked])])
        .await;
    server.restart();
    reader.hear_forgot(7).await;
    writer.does(&ann).await;
    writer
        .topics
        .send_ephemeral(&[(ann.clone(), vec![Ephemeral::Kicked])])
        .await;
    let kicked = Notice::Ephemeral(ann, vec![Ephemeral::Kicked]);
    reader
        .hear("an ephemeral message", |it| (*it == kicked).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_a_wrong_port_and_a_wrong_kind_are_told_at_once() {
    let pulse = Pulse::start();
    let server = Server::start(&["--requirepass", "hush"]);
    let port = server.port;
    let check = async |url: &str, problem: &str| {
        let start = Instant::now();
        let settings = Settings::from_url(url).unwrap();
        let error = RedisTopics::connect(settings)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains("wrong-one"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(3) + pulse.slack());
    };
    check(&format!("redis://127.0.0.1:{port}"), "NOAUTH").await;
    check(&format!("redis://:wrong-one@127.0.0.1:{port}"), "WRONGPASS").await;
    check(
        &format!("redis-cluster://:hush@127.0.0.1:{port}"),
        "cluster support disabled",
    )
    .await;
    drop(server);
    check(&format!("redis://:hush@127.0.0.1:{port}"), "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_no_more_rights_than_it_needs_is_enough() {
    // docs/data.md says so.
    let rights =
        "+@read +@write +@pubsub +@scripting +@connection +time +info +cluster|slots +cluster|info";
    let server = Server::start(&[]);
    let mut words = vec![
        "ACL",
        "SETUSER",
        "presence",
        "on",
        ">hush",
        "~presence:*",
        "&presence:*",
    ];
    words.extend(rights.split(' '));
    server.says_ok(&words);
    let url = format!("redis://presence:hush@127.0.0.1:{}", server.port);
    let (writer, reader) = (Node::connect(&url).await, Node::connect(&url).await);
    let ann = user_in(7);
    reader.follow(std::slice::from_ref(&ann)).await;
    writer.write(&ann).await.0.unwrap();
    reader.hear_patch(&ann).await;
    let read = reader.topics.read(std::slice::from_ref(&ann)).await;
    assert!(read[0].is_ok());
    assert!(reader.topics.compare().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_with_other_prefixes_and_databases_do_not_see_each_other() {
    let server = Server::start(&[]);
    let settings = |path: &str| Settings::from_url(&(server.url() + path)).unwrap();
    let plain = Node::with(settings("")).await;
    let other = Node::with(settings("").with_prefix("other").unwrap()).await;
    let database = Node::with(settings("/3")).await;
    let ann = user_in(7);
    for node in [&plain, &other, &database] {
        let read = node.topics.read(std::slice::from_ref(&ann)).await;
        assert_eq!(read.into_iter().next().unwrap().unwrap().clock, None);
        assert!(node.write(&ann).await.0.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_connections_do_the_same() {
    let server = Server::start(&[]);
    let settings = Settings::from_url(&server.url()).unwrap();
    let node = Node::with(settings.with_connections(4).unwrap()).await;
    let users = users();
    node.follow(&users).await;
    for user in &users {
        assert!(node.write(user).await.0.is_ok());
    }
    for user in &users {
        node.hear_patch(user).await;
    }
}

async fn pair(server: &Server) -> (Node, Node) {
    let (writer, reader) = (
        Node::connect(&server.url()).await,
        Node::connect(&server.url()).await,
    );
    let ann = user_in(7);
    reader.follow(std::slice::from_ref(&ann)).await;
    writer.does(&ann).await;
    reader.hear_patch(&ann).await;
    (writer, reader)
}

#[track_caller]
fn check_unavailable<T>(outcomes: &[Result<T, StoreError>]) {
    for outcome in outcomes {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_map_is_written_and_read_in_pieces() {
    let server = Server::start(&[]);
    let (writer, reader) = pair(&server).await;
    let ann = user_in(7);
    let mut write = writer.change(&ann);
    let put = write.ops[0].clone();
    let session = |n: u128| {
        let mut put = put.clone();
        if let Op::Put { field, .. } = &mut put {
            *field = Field::Session(SessionId::from_u128(n));
        }
        put
    };
    write.ops = (1000..6000).map(session).collect();
    let written = writer.topics.write(std::slice::from_ref(&write)).await;
    assert!(written[0].is_ok());
    let read = reader
        .topics
        .read(std::slice::from_ref(&ann))
        .await
        .remove(0);
    let read = read.unwrap();
    // The pair have one there too.
    assert_eq!(read.entries.len(), 5001);
    let clock = read.clock.unwrap();
    let mut heard = 0;
    while heard < clock.version {
        let clock = |it: &Notice| match it {
            Notice::Patched(_, patch) => Some(patch.clock.version),
            _ => None,
        };
        heard = reader.hear("a patch", clock).await;
    }
    assert_eq!(heard, clock.version);

    let Op::Put { token, .. } = put else {
        panic!("it is a put");
    };
    let dead = token.incarnation();
    while reader.topics.reap(dead).await.unwrap().more {}
    let read = reader
        .topics
        .read(std::slice::from_ref(&ann))
        .await
        .remove(0);
    assert_eq!(read.unwrap().clock, None);
}
