//! Sends webhooks over HTTP. The hub decides what to send and when; this module encodes and posts it.

mod native;
mod post;
mod pusher;

use std::error::Error;

use presence_core::Timestamp;
use presence_core::ports::{Endpoint, Numbered};

use self::post::{Letter, Post};
use crate::config::{PusherApp, Webhook, WebhookFormat};

pub(crate) use self::post::PostError;

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

    fn letters(&self, now: Timestamp, events: &[Numbered]) -> Vec<Letter> {
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
        events: &[Numbered],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        for letter in self.letters(now, events) {
            self.post.send(letter).await?;
        }
        Ok(())
    }
}
