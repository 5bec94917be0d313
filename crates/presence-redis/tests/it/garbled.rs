//! What nobody understands that is stored for the outside: it costs itself, and nothing beside it.

use std::slice::from_ref;
use std::time::Duration;

use presence_core::Edit;
use presence_core::cluster::Subject;
use presence_core::hooks::{HookEvent, LastNotified};
use presence_core::ports::{
    EnqueueOutcome, Hooks, Known, Notification, Outbox, Queue, Row, WaitingEvents,
};
use presence_core::{Look, Visible};
use presence_redis::{RedisTopics, Settings};

use crate::support::{Server, user_in};

/// More than there is.
const ALL: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_garbled_is_skipped_and_those_around_it_are_told() {
    let server = Server::start(&[]);
    let topics = connect(&server).await;
    let garble = |bytes: &str| drop(server.say(&["RPUSH", "presence:{7}:events", bytes]));
    garble("a number that is greater than any");
    tell(&server, &topics, 0).await;
    let first = waiting(&topics).await;
    assert_eq!((first.events.len(), first.count), (1, 1));
    // Too short for a number.
    garble("x");
    garble("x");
    let after = topics.known(&[user_in(7)]).await.remove(0).unwrap();
    tell(&server, &topics, after.revision).await;
    let queued = waiting(&topics).await;
    assert_eq!((queued.events, queued.count), (first.events.clone(), 4));
    let delivered = topics
        .remove_delivered(&[(7, first.events[0].number)])
        .await;
    assert!(delivered[0].is_ok());
    let second = waiting(&topics).await;
    assert_eq!((second.events.len(), second.count), (1, 1));
    assert!(second.events[0].number > first.events[0].number);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_counts_as_nothing_where_it_is_garbled() {
    let server = Server::start(&[]);
    let topics = connect(&server).await;
    let Subject::User(user) = user_in(7) else {
        unreachable!()
    };
    let name = format!("user:{user}");
    for (bytes, revision) in [("\0\0\0\0\0\0\0\x09garbled", 9), ("x", 0)] {
        server.say(&["HSET", "presence:{7}:told", &name, bytes]);
        let known = topics.known(&[user_in(7)]).await.remove(0).unwrap();
        let nothing = Known {
            last_notified: None,
            revision,
        };
        assert_eq!(known, nothing);
        tell(&server, &topics, revision).await;
        let known = topics.known(&[user_in(7)]).await.remove(0).unwrap();
        assert_eq!(known.last_notified, Some(LastNotified::Here(look())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_names_are_not_understood_keep_nobody_waiting() {
    let server = Server::start(&[]);
    let topics = connect(&server).await;
    let key = "presence:{7}:outbox:webhooks";
    for n in 0..30 {
        server.say(&["ZADD", key, "1", &format!("strange:{n}")]);
    }
    let Subject::User(user) = user_in(7) else {
        unreachable!()
    };
    server.say(&["ZADD", key, "2", &format!("user:{user}")]);
    let due = topics.due(Queue::Webhooks, &[7], Duration::ZERO, 10).await;
    let row = Row {
        subject: user_in(7),
        version: 2,
    };
    assert_eq!(due[0].as_ref().unwrap(), &[row]);
}

async fn connect(server: &Server) -> RedisTopics {
    let settings = Settings::from_url(&server.url()).unwrap();
    let settings = settings.with_timeout(Duration::from_secs(5)).unwrap();
    RedisTopics::connect(settings.with_webhooks())
        .await
        .unwrap()
}

fn look() -> Look {
    Look {
        status: Visible::Online,
        message: None,
        emoji: None,
    }
}

/// Tells of the user in partition 7.
async fn tell(server: &Server, topics: &RedisTopics, after: u64) {
    let Subject::User(user) = user_in(7) else {
        unreachable!()
    };
    let name = format!("user:{user}");
    server.say(&["ZADD", "presence:{7}:outbox:webhooks", "1", &name]);
    let row = Row {
        subject: user_in(7),
        version: 1,
    };
    let notification = Notification {
        row,
        after,
        is_exact: true,
        last_notified: Edit::Set(LastNotified::Here(look())),
        events: vec![HookEvent::UserOnline { user, look: look() }],
    };
    let told = topics
        .enqueue(from_ref(&notification))
        .await
        .remove(0)
        .unwrap();
    assert_eq!(told, EnqueueOutcome::Stored);
}

async fn waiting(topics: &RedisTopics) -> WaitingEvents {
    topics.waiting(&[7], ALL).await.remove(0).unwrap()
}
