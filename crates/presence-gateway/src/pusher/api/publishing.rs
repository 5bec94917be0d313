//! The calls with which a server sends events to channels.

use std::sync::Arc;

use hyper::StatusCode;
use presence_core::{ChannelId, Payload};
use presence_protocol::mend;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use super::asking::{Info, info_of};
use super::{Call, Problem};
use crate::http::{self, Answer};
use crate::pusher::words::payload_of;
use crate::pusher_names::{SocketId, channel_of, speaker};
use crate::request::is_fit_name;

/// The most channels that one event may be sent to.
const CHANNELS_MAX: usize = 100;
/// The most events of one batch.
const BATCH_MAX: usize = 10;
/// The longest data of an event, in bytes.
const DATA_BYTES_MAX: usize = 10 * 1024;
/// The longest name of an event, in bytes.
const NAME_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
struct Event {
    name: String,
    data: String,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct Batch {
    batch: Vec<Event>,
}

/// An event of a server, checked.
struct Checked {
    name: String,
    payload: Payload,
    channels: Vec<(String, ChannelId)>,
    socket: Option<SocketId>,
    info: Option<Info>,
}

/// Sends one event, to one channel or several.
pub(super) async fn one(call: &Call<'_>) -> Result<Answer, Problem> {
    let event = check(call, read(&call.body)?)?;
    announce(call, &event).await?;
    let mut answer = Map::new();
    if let Some(info) = event.info {
        let mut channels = Map::new();
        for (name, channel) in &event.channels {
            channels.insert(name.clone(), info_of(call, name, channel, info).await?);
        }
        answer.insert("channels".to_owned(), channels.into());
    }
    Ok(http::json(StatusCode::OK, &answer))
}

/// Sends several events, each to one channel. If one of them is bad, none is sent.
pub(super) async fn batch(call: &Call<'_>) -> Result<Answer, Problem> {
    let Batch { batch } = read(&call.body)?;
    if batch.len() > BATCH_MAX {
        let message = format!("a batch has at most {BATCH_MAX} events");
        return Err(Problem::bad(message));
    }
    let events = batch.into_iter().map(|it| match it.channels {
        Some(_) => Err(Problem::bad("an event of a batch has one channel")),
        None => check(call, it),
    });
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let mut infos = Vec::new();
    for event in &events {
        announce(call, event).await?;
        let (name, channel) = &event.channels[0];
        infos.push(match event.info {
            Some(info) => info_of(call, name, channel, info).await?,
            None => json!({}),
        });
    }
    let is_asked = events.iter().any(|it| it.info.is_some());
    let answer = match is_asked {
        true => json!({ "batch": infos }),
        false => json!({}),
    };
    Ok(http::json(StatusCode::OK, &answer))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let read = match str::from_utf8(body) {
        Ok(text) => serde_json::from_str(&mend(text)),
        Err(_) => serde_json::from_slice(body),
    };
    read.map_err(|error| Problem::bad(format!("the body is not as it should be: {error}")))
}

fn check(call: &Call<'_>, event: Event) -> Result<Checked, Problem> {
    let Event {
        name,
        data,
        channel,
        channels,
        socket_id,
        info,
    } = event;
    if data.len() > DATA_BYTES_MAX {
        let message = format!("the data of an event are at most {DATA_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_fit_name(&name) {
        let message = format!(
            "the name of an event is 1 to {NAME_BYTES_MAX} bytes, without control or invisible characters"
        );
        return Err(Problem::bad(message));
    }
    // What those say, clients believe.
    if name.starts_with("pusher:") || name.starts_with("pusher_internal:") {
        return Err(Problem::bad("names that begin with pusher: are reserved"));
    }
    let mut names: Vec<String> = channels.unwrap_or_default();
    names.extend(channel);
    if names.is_empty() || names.len() > CHANNELS_MAX {
        let message = format!("an event has 1 to {CHANNELS_MAX} channels");
        return Err(Problem::bad(message));
    }
    let channels = names
        .into_iter()
        .map(|name| match channel_of(call.by, &name) {
            Ok(channel) => Ok((name, channel)),
            Err(why) => Err(Problem::bad(why.to_string())),
        });
    let socket = socket_id
        .filter(|it| !it.is_empty())
        .map(|text| SocketId::parse(&text).ok_or_else(|| Problem::bad("the socket_id is none")));
    Ok(Checked {
        name,
        payload: Payload::from_json(payload_of(&data))
            .map_err(|why| Problem::bad(format!("the data of an event {why}")))?,
        channels: channels.collect::<Result<_, _>>()?,
        socket: socket.transpose()?,
        info: info.as_deref().map(Info::parse).transpose()?,
    })
}

async fn announce(call: &Call<'_>, event: &Checked) -> Result<(), Problem> {
    let outsider = SocketId::outsider(event.socket);
    let name: Arc<str> = event.name.as_str().into();
    for (_, channel) in &event.channels {
        let who = (outsider, speaker(call.by));
        let said = call
            .app
            .hub
            .announce(channel.clone(), who, name.clone(), event.payload.clone());
        said.await?;
    }
    Ok(())
}
