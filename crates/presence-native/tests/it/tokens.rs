//! Identities that expire, and fresh tokens: a server whose tokens are `user.seconds`, and prove nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use presence_client::wire::{Command, ErrorCode, Event, command};
use presence_client::{
    Client, ConnectError, Ending, Options, Presence, Protocol, RequestError, Stay,
};
use presence_hub::presence_core::{Timestamp, UserId};
use presence_native::{Handshake, Identity, Patterns, Refused, Server, Settings};

use crate::{Running, hub, soon, start_app};

/// The identity for a token, which is good from `now` on.
fn identity(token: Option<&str>, now: Timestamp) -> Result<Identity, Refused> {
    let refused = |why: &str| Refused::new(ErrorCode::Unauthorized, why);
    let token = token.ok_or_else(|| refused("sign in first"))?;
    let (user, seconds) = token.split_once('.').ok_or_else(|| refused("no token"))?;
    let seconds = seconds.parse().map_err(|_| refused("no token"))?;
    let user = UserId::new(user).map_err(|why| refused(&why.to_string()))?;
    Ok(Identity {
        channels: Patterns::new(["room:*"]).unwrap(),
        expires_at: Some(now + Duration::from_secs(seconds)),
        ..Identity::new(user)
    })
}

async fn presence(State(server): State<Server>, uri: Uri, upgrade: WebSocketUpgrade) -> Response {
    let offered = upgrade.requested_protocols().flat_map(|it| it.to_str());
    let handshake = Handshake::read(uri.query().unwrap_or_default(), offered).unwrap();
    let identity = identity(handshake.token.as_deref(), server.hub().clock().now());
    upgrade
        .protocols(handshake.protocol)
        .on_upgrade(async move |socket| server.serve(socket, handshake, identity).await)
}

/// Starts it, and counts how often a token is replaced by a fresh one.
async fn start() -> (Running, Arc<AtomicUsize>) {
    let renewed = Arc::new(AtomicUsize::new(0));
    let hub = hub();
    let clock = hub.clock();
    let settings = Settings {
        token_leeway: Duration::ZERO,
        ..Settings::default()
    };
    let counted = renewed.clone();
    let server = Server::renewing(hub.clone(), settings, move |_, token| {
        let identity = identity(Some(token), clock.now())?;
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(identity)
    });
    let app = Router::new().route("/ws", get(presence));
    (start_app(app.with_state(server), hub).await, renewed)
}

fn options(server: &Running, token: &str) -> Options {
    Options {
        protocol: Protocol::Json,
        token: Some(token.to_owned()),
        ..Options::new(&format!("ws://{}/ws", server.address))
    }
}

#[tokio::test]
async fn a_client_is_asked_for_a_fresh_token_and_stays_with_it() {
    let (server, renewed) = start().await;
    let ann = Presence::builder(options(&server, ""))
        .token(|| async { Ok::<_, std::convert::Infallible>("ann.3".to_owned()) })
        .connect();
    let room = ann.channel("room:1");
    soon("the room", room.join(Stay::default())).await.unwrap();
    let session = ann.hello().unwrap().session;
    let twice = async {
        while renewed.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("two fresh tokens", twice).await;
    assert!(room.state().live);
    assert_eq!(ann.hello().unwrap().session, session);
    ann.close().await;
}

#[tokio::test]
async fn who_brings_no_fresh_token_is_closed_when_the_old_one_ends() {
    let (server, _) = start().await;
    let mut ann = soon("ann", Client::connect(&options(&server, "ann.2")))
        .await
        .unwrap();
    let mut told = Vec::new();
    while let Some(event) = soon("an event", ann.next()).await {
        told.push(match event {
            Event::Closing(it) => format!("closing {}", it.code),
            event => event.kind().to_owned(),
        });
    }
    let asked = told.iter().filter(|it| *it == "presence:expiring");
    assert_eq!(asked.count(), 1, "{told:?}");
    assert_eq!(told.last().unwrap(), "closing 4401");
}

#[tokio::test]
async fn a_bad_token_is_refused_and_the_session_stays_as_it_is() {
    let (server, _) = start().await;
    let mut ann = soon("ann", Client::connect(&options(&server, "ann.3600")))
        .await
        .unwrap();
    for (token, message) in [
        ("nonsense", "no token"),
        ("bob.3600", "the token is of another user"),
    ] {
        let fresh = Command::Authenticate(command::Authenticate {
            ref_: None,
            token: token.to_owned(),
        });
        let refused = soon("an answer", ann.request(fresh)).await.unwrap_err();
        let RequestError::Refused(error) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(error.code, ErrorCode::Unauthorized);
        assert_eq!(error.field.as_deref(), Some("token"));
        assert_eq!(error.message, message);
    }
    let outside = Command::Join(command::Join {
        ref_: None,
        channel: "board:1".to_owned(),
        meta: None,
        watch: None,
        mode: None,
        have: None,
    });
    let refused = soon("an answer", ann.request(outside)).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused(it) if it.code == ErrorCode::Forbidden));
}

#[tokio::test]
async fn who_has_no_token_is_told_before_the_connection_is_closed() {
    let (server, _) = start().await;
    let nobody = Options {
        token: None,
        ..options(&server, "")
    };
    let refused = soon("a refusal", Client::connect(&nobody)).await;
    let Err(ConnectError::Ended(Ending::Closed { code, reason })) = refused else {
        panic!("let in")
    };
    assert_eq!((code, &*reason), (4401, "token refused"));
}
