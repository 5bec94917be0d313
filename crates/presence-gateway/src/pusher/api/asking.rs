//! The calls with which a server asks about channels.

use hyper::StatusCode;
use presence_core::{ChannelId, Topic};
use serde_json::{Map, Value, json};

use super::{Call, Problem};
use crate::http::{self, Answer};
use crate::pusher_names::{Kind, channel_of, id_of, is_of, kind, name_of};

/// The attributes of a channel that `info` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    user_count: bool,
    subscription_count: bool,
}

impl Info {
    /// Parses names with commas between.
    pub(super) fn parse(text: &str) -> Result<Info, Problem> {
        let mut info = Info::default();
        for name in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            match name {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" => return Err(Problem::bad("channels do not keep their last event here")),
                _ => {
                    return Err(Problem::bad(
                        "info is user_count, subscription_count or both",
                    ));
                }
            }
        }
        Ok(info)
    }

    /// Checks that a channel of this kind has the attributes.
    fn checked(self, name: &str) -> Result<Info, Problem> {
        match self.user_count && kind(name) != Kind::Presence {
            true => Err(Problem::bad("user_count is of presence channels only")),
            false => Ok(self),
        }
    }

    fn of(self, people: usize, sessions: usize) -> Map<String, Value> {
        let mut counts = Map::new();
        if self.user_count {
            counts.insert("user_count".to_owned(), json!(people));
        }
        if self.subscription_count {
            counts.insert("subscription_count".to_owned(), json!(sessions));
        }
        counts
    }
}

/// Lists the channels with somebody in them.
pub(super) async fn channels(call: &Call<'_>) -> Result<Answer, Problem> {
    let info = Info::parse(call.query.get("info").unwrap_or_default())?;
    let prefix = call.query.get("filter_by_prefix").unwrap_or_default();
    if info.user_count && !prefix.starts_with("presence-") {
        let message = "user_count needs a filter_by_prefix that begins with presence-";
        return Err(Problem::bad(message));
    }
    let mut channels = Map::new();
    for it in call.app.hub.channels().await {
        let (name, _) = name_of(&it.channel);
        if is_of(call.by, &it.channel) && name.starts_with(prefix) {
            let counts = info.of(it.people, it.sessions);
            channels.insert(name.into_owned(), counts.into());
        }
    }
    Ok(http::json(StatusCode::OK, &json!({ "channels": channels })))
}

/// Answers the attributes of one channel.
pub(super) async fn channel(call: &Call<'_>, name: &str) -> Result<Answer, Problem> {
    let info = Info::parse(call.query.get("info").unwrap_or_default())?.checked(name)?;
    let channel = named(call, name)?;
    let (people, sessions) = count(call, &channel).await?;
    let mut answer = info.of(people, sessions);
    answer.insert("occupied".to_owned(), json!(sessions > 0));
    Ok(http::json(StatusCode::OK, &answer))
}

/// Lists who is on a presence channel.
pub(super) async fn users(call: &Call<'_>, name: &str) -> Result<Answer, Problem> {
    let channel = named(call, name)?;
    if kind(name) != Kind::Presence {
        return Err(Problem::bad("users are on presence channels only"));
    }
    let page = call
        .app
        .hub
        .list(Topic::Channel(channel), 0, usize::MAX)
        .await?;
    let users = page
        .people
        .iter()
        .map(|it| json!({ "id": id_of(&it.user) }));
    let users: Vec<Value> = users.collect();
    Ok(http::json(StatusCode::OK, &json!({ "users": users })))
}

/// The attributes of a channel that `info` asks for.
pub(super) async fn info_of(
    call: &Call<'_>,
    name: &str,
    channel: &ChannelId,
    info: Info,
) -> Result<Value, Problem> {
    // Of several channels that are told something, each says what it can.
    let info = Info {
        user_count: info.user_count && kind(name) == Kind::Presence,
        ..info
    };
    let (people, sessions) = count(call, channel).await?;
    Ok(info.of(people, sessions).into())
}

fn named(call: &Call<'_>, name: &str) -> Result<ChannelId, Problem> {
    channel_of(call.by, name).map_err(|why| Problem::bad(why.to_string()))
}

async fn count(call: &Call<'_>, channel: &ChannelId) -> Result<(usize, usize), Problem> {
    let topic = Topic::Channel(channel.clone());
    let page = call.app.hub.list(topic, 0, usize::MAX).await?;
    let sessions = page.people.iter().map(|it| it.members.len()).sum();
    Ok((page.total, sessions))
}
