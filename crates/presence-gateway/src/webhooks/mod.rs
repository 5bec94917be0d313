//! Sends webhooks over HTTP. The hub decides what to send and when; this module encodes and posts it.

mod native;
mod post;
mod pusher;

use std::error::Error;
use std::sync::Arc;

use anyhow::Context;
use presence_core::Timestamp;
use presence_core::hooks::Wanted;
use presence_core::ports::{Endpoint, NumberedEvent};
use presence_embedded::WebhookStore;

use self::post::{Letter, Post};
use crate::config::{Config, DataDir, PusherApp, Webhook, WebhookFormat};

pub(crate) use self::post::PostError;

/// The endpoint of webhooks, and the kinds of event that it is sent.
pub(crate) fn endpoint(config: &Config) -> anyhow::Result<Option<(Webhooks, Wanted)>> {
    let Some(webhook) = config.webhook.clone() else {
        return Ok(None);
    };
    let (wanted, endpoint) = (webhook.wanted, webhook.describe());
    let webhooks = Webhooks::new(webhook, config.pusher.apps.clone());
    let webhooks = webhooks.with_context(|| format!("cannot send webhooks to {endpoint}"))?;
    tracing::info!(endpoint, "webhooks");
    Ok(Some((webhooks, wanted)))
}

/// Opens the store in which a single gateway keeps what its endpoint of webhooks was told, and what waits for it.
pub(crate) fn store(config: &Config) -> anyhow::Result<Arc<WebhookStore>> {
    let DataDir::Folder(folder) = &config.data_dir else {
        return Ok(Arc::new(WebhookStore::in_memory()));
    };
    let path = folder.join("webhooks.redb");
    let (store, found) =
        WebhookStore::open(&path).context("webhooks cannot be kept until they are delivered")?;
    if let Some(aside) = &found.set_aside {
        tracing::error!(
            file = %path.display(),
            moved_to = %aside.display(),
            "the file of webhooks was damaged: events that waited are lost, and the endpoint is told once more who is here"
        );
    }
    if found.garbled > 0 {
        let records = found.garbled;
        tracing::warn!(
            records,
            "some of the webhooks that waited cannot be read, and are left out"
        );
    }
    if found.waiting > 0 {
        let events = found.waiting;
        tracing::info!(events, "webhooks of the previous process wait for delivery");
    }
    Ok(Arc::new(store))
}

/// The configured endpoint of webhooks.
pub(crate) struct Webhooks {
    webhook: Webhook,
    /// The Pusher applications whose events are sent, if the format is Pusher's.
    apps: Vec<PusherApp>,
    post: Post,
}

impl Webhooks {
    /// # Errors
    ///
    /// Fails if the system has no certificates of trusted authorities.
    pub(crate) fn new(webhook: Webhook, apps: Vec<PusherApp>) -> Result<Self, PostError> {
        let post = Post::to(webhook.url.clone())?;
        Ok(Webhooks {
            webhook,
            apps,
            post,
        })
    }

    fn letters(&self, now: Timestamp, events: &[NumberedEvent]) -> Vec<Letter> {
        match self.webhook.format {
            WebhookFormat::Presence => {
                let id = getrandom::u64().expect("the operating system has random numbers");
                vec![native::letter(now, id, events, &self.webhook.secrets)]
            }
            WebhookFormat::Pusher => {
                let apps = self.apps.iter();
                apps.filter_map(|app| pusher::letter(app, now, events))
                    .collect()
            }
        }
    }
}

impl Endpoint for Webhooks {
    async fn deliver(
        &self,
        now: Timestamp,
        events: &[NumberedEvent],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        for letter in self.letters(now, events) {
            self.post.send(letter).await?;
        }
        Ok(())
    }
}
