//! How connections end, and what they are told.

use std::time::Duration;

use presence_client::wire::{Command, ErrorCode, Event, command};
use presence_client::{Client, ConnectError, Ending, Protocol, RequestError};
use presence_hub::presence_core::{Rate, UserId};
use presence_native::{Rates, Settings};

use crate::{Running, soon, start, start_with};

/// Reads to the end: the code of the last `presence:closing`.
async fn closing_of(client: &mut Client) -> u16 {
    let read = async {
        let mut code = 0;
        while let Some(event) = client.next().await {
            if let Event::Closing(closing) = event {
                code = closing.code;
            }
        }
        code
    };
    soon("the end", read).await
}

fn heartbeat() -> Command {
    Command::Heartbeat(command::Heartbeat { ref_: None })
}

async fn is_left_with(server: &Running, users: usize) {
    let left = async {
        while server.hub.counts().await.users != users {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(format!("{users} users"), left).await;
}

#[tokio::test]
async fn who_is_kicked_is_told_and_whoever_leaves_has_no_session_any_more() {
    let server = start().await;
    let mut ann = server.client("ann").await;
    let bob = server.client("bob").await;
    is_left_with(&server, 2).await;
    server.hub.kick(&UserId::new("ann").unwrap()).await.unwrap();
    assert_eq!(closing_of(&mut ann).await, 4410);
    is_left_with(&server, 1).await;
    bob.close().await;
    is_left_with(&server, 0).await;
}

#[tokio::test]
async fn a_hub_that_stops_asks_everybody_to_come_back() {
    let server = start().await;
    let mut ann = server.client("ann").await;
    let hub = server.hub.clone();
    let stopped = tokio::spawn(async move { hub.stop(Duration::from_secs(5)).await });
    assert_eq!(closing_of(&mut ann).await, 1012);
    assert!(stopped.await.unwrap());
}

#[tokio::test]
async fn who_is_too_fast_or_too_long_is_closed_with_the_code_for_it() {
    let rare = Rate {
        burst: 1,
        every: Duration::from_secs(60),
    };
    let rates = Rates {
        other: rare,
        ..Rates::default()
    };
    let server = start_with(Settings {
        rates,
        ..Settings::default()
    })
    .await;
    let mut ann = server.client("ann").await;
    ann.send(&heartbeat()).await.unwrap();
    let too_fast = soon("an answer", ann.request(heartbeat()))
        .await
        .unwrap_err();
    assert!(matches!(too_fast, RequestError::Refused(it) if it.code == ErrorCode::RateLimited));
    for _ in 0..600 {
        if ann.send(&heartbeat()).await.is_err() {
            break;
        }
    }
    assert_eq!(closing_of(&mut ann).await, 4429);

    let mut bob = server.client("bob").await;
    let long = command::Authenticate {
        ref_: None,
        token: "x".repeat(70_000),
    };
    bob.send(&Command::Authenticate(long)).await.unwrap();
    assert_eq!(closing_of(&mut bob).await, 1009);
}

#[tokio::test]
async fn lists_of_operators_are_refused_in_words() {
    let server = start().await;
    let mut ann = server.client("ann").await;
    let nodes = Command::Nodes(command::Nodes { ref_: None });
    let refused = soon("an answer", ann.request(nodes)).await.unwrap_err();
    let RequestError::Refused(error) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(error.code, ErrorCode::UnknownCommand);
    assert_eq!(
        error.message,
        "this server has no list of nodes for operators"
    );
}

#[tokio::test]
async fn a_bad_id_is_told_and_the_client_is_not_let_in() {
    let server = start().await;
    for protocol in [Protocol::Json, Protocol::Binary] {
        let options = server.options("a b", protocol);
        let refused = soon("a refusal", Client::connect(&options)).await;
        let Err(ConnectError::Ended(Ending::Closed { code, .. })) = refused else {
            panic!("let in")
        };
        assert_eq!(code, 4403);
    }
    is_left_with(&server, 0).await;
}
