//! A server on axum that `presence.js` and the other clients of Presence connect to, at `/ws`.
//!
//! ```sh
//! cargo run -p presence-native --features axum --example axum 127.0.0.1:4002
//! ```

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use presence_embedded::ProfileMemory;
use presence_hub::Hub;
use presence_native::{Handshake, Server, Settings};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:4002")).await?;
    println!("ws://{}/ws", listener.local_addr()?);
    let hub = Hub::start(
        presence_hub::Settings::default(),
        Arc::new(ProfileMemory::default()),
    );
    axum::serve(listener, app(Server::new(hub, Settings::default()))).await?;
    Ok(())
}

pub(crate) fn app(server: Server) -> Router {
    Router::new().route("/ws", get(presence)).with_state(server)
}

async fn presence(State(server): State<Server>, uri: Uri, upgrade: WebSocketUpgrade) -> Response {
    let offered = upgrade.requested_protocols().flat_map(|it| it.to_str());
    let handshake = match Handshake::read(uri.query().unwrap_or_default(), offered) {
        Ok(handshake) => handshake,
        Err(why) => return (StatusCode::BAD_REQUEST, why.to_string()).into_response(),
    };
    // Your server knows better who this is: from a cookie, or from `handshake.token`.
    let identity = handshake.claimed();
    upgrade
        .max_message_size(server.message_bytes_max())
        .protocols(handshake.protocol)
        .on_upgrade(async move |socket| server.serve(socket, handshake, identity).await)
}
