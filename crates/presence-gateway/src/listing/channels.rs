//! The channels that somebody is in.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use presence_core::{ChannelId, Topic};
use presence_protocol::ErrorCode;
use presence_redis::LISTED_CHANNELS_MAX;

use super::unavailable;
use crate::app::App;
use crate::identity::Identity;
use crate::request::Refused;

/// A page of channels.
#[derive(Debug)]
pub(crate) struct ChannelPage {
    /// The channels of the page, ordered by their ids, and how many people are in each who can be seen.
    pub(crate) channels: Vec<(ChannelId, usize)>,
    /// How many channels there are on all pages.
    pub(crate) total: usize,
}

/// Lists the channels that somebody is in, on any gateway, whose ids begin with `prefix`. Hidden users are in none of them.
///
/// # Errors
///
/// Fails without the scope `read`, where the store does not answer, or if there are too many.
pub(crate) async fn channels(
    app: &App,
    identity: &Identity,
    prefix: &str,
    (limit, offset): (usize, usize),
) -> Result<ChannelPage, Refused> {
    identity.may_read()?;
    let mut found = known(app, prefix).await?;
    found.retain(|it| identity.may_watch_channel(it).is_ok());
    let page: Vec<&ChannelId> = found.iter().skip(offset).take(limit).collect();
    let pages = page.iter().map(|&channel| {
        let topic = Topic::Channel(channel.clone());
        app.hub.list(topic, 0, 0)
    });
    let mut channels = Vec::with_capacity(page.len());
    for (id, people) in page.iter().zip(join_all(pages).await) {
        let count = people?.total;
        // The people who were there a moment ago may have left.
        if count > 0 {
            channels.push(((*id).clone(), count));
        }
    }
    Ok(ChannelPage {
        channels,
        total: found.len(),
    })
}

/// The channels that somebody is in, on any gateway, whose ids begin with `prefix`.
async fn known(app: &App, prefix: &str) -> Result<Vec<ChannelId>, Refused> {
    let here = app.hub.channels().await.into_iter();
    let here = here.map(|it| it.channel);
    let mut found: BTreeSet<ChannelId> =
        here.filter(|it| it.as_str().starts_with(prefix)).collect();
    if let Some(shared) = &app.shared {
        let nodes: Vec<_> = app.hub.leases().map_or_else(Vec::new, |(_, it)| {
            it.nodes.iter().map(|lease| lease.who).collect()
        });
        let elsewhere = shared.channels(&nodes, prefix).await;
        found.extend(elsewhere.map_err(|_| unavailable("Redis does not answer"))?);
        if found.len() > LISTED_CHANNELS_MAX {
            let message = format!(
                "there are more than {LISTED_CHANNELS_MAX} channels: ask for those with a prefix"
            );
            return Err(Refused::new(ErrorCode::TooMany, message));
        }
    }
    Ok(found.into_iter().collect())
}
