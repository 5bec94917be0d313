//! The configuration of webhooks.

use std::fmt;

use hyper::Uri;
use presence_core::hooks::{HookKind, Wanted};

use super::error::ConfigError;
use super::layers::Layers;
use super::parse;
use super::{Pusher, Secret};
use crate::identity::{SECRET_BYTES_MIN, weak_secret};

/// The most secrets that sign at once: the current one, and the previous one.
const SECRETS_MAX: usize = 2;

/// The endpoint of webhooks, and what it is sent.
#[derive(Clone)]
pub struct Webhook {
    /// The URL of the endpoint: `http` or `https`, and a host.
    pub url: Uri,
    /// The secrets that sign each request, one or two.
    pub secrets: Vec<Secret>,
    /// The kinds of event that are sent.
    pub wanted: Wanted,
    /// The format of the requests.
    pub format: WebhookFormat,
}

/// How webhook requests are encoded and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFormat {
    /// Our own format, see `docs/webhooks.md`.
    Presence,
    /// The format of Pusher's webhooks.
    Pusher,
}

impl Webhook {
    /// The URL without the parts that may be secret, for the log.
    pub fn describe(&self) -> String {
        let authority = self.url.authority().map_or("", |it| it.as_str());
        format!("{}://{authority}/…", self.url.scheme_str().unwrap_or(""))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.describe())
            .field("secrets", &self.secrets)
            .field("wanted", &self.wanted)
            .field("format", &self.format)
            .finish()
    }
}

/// Reads the endpoint, if there is one.
pub(super) fn webhook(it: &mut Layers, pusher: &Pusher) -> Result<Option<Webhook>, ConfigError> {
    let url = it.take_if_set("webhook.url", parse::web_url)?;
    let secrets = it.take_list("webhook.secret", secret)?;
    let kinds = it.take_list("webhook.events", kind)?;
    let format = it.take("webhook.format", format)?;
    let wrong = |it: &Layers, key, what: &str| ConfigError::Relation {
        what: what.into(),
        origins: vec![it.origin(key)],
    };
    let Some(url) = url else {
        return match secrets.is_empty() {
            true => Ok(None),
            false => {
                let what = "webhook.secret is of no use alone: webhook.url would do, too";
                Err(wrong(it, "webhook.secret", what))
            }
        };
    };
    match format {
        WebhookFormat::Presence if secrets.is_empty() => {
            let what = "nobody could tell your webhooks from anybody else's: webhook.secret would do, too: \
                        PRESENCE_WEBHOOK_SECRET=$(openssl rand -base64 32)";
            return Err(wrong(it, "webhook.url", what));
        }
        WebhookFormat::Pusher if pusher.apps.is_empty() => {
            let what = "webhooks of Pusher's form are of an application and signed by it: \
                        pusher.app_id, pusher.key and pusher.secret would do, too";
            return Err(wrong(it, "webhook.format", what));
        }
        WebhookFormat::Pusher if !secrets.is_empty() => {
            let what = "webhooks of Pusher's form are signed with the secret of their application: \
                        no webhook.secret would do";
            return Err(wrong(it, "webhook.secret", what));
        }
        _ => {}
    }
    if secrets.len() > SECRETS_MAX {
        let what = "a new secret and the one before would do";
        return Err(wrong(it, "webhook.secret", what));
    }
    let wanted: Wanted = match (kinds.is_empty(), format) {
        (false, _) => kinds.into_iter().flatten().collect(),
        (true, WebhookFormat::Presence) => DEFAULT.into_iter().collect(),
        (true, WebhookFormat::Pusher) => HookKind::OF_CHANNELS.into_iter().collect(),
    };
    if format == WebhookFormat::Pusher && wanted.has_any(&HookKind::OF_USERS) {
        let what = "Pusher's form knows channels only: `channel.*` would do";
        return Err(wrong(it, "webhook.events", what));
    }
    Ok(Some(Webhook {
        url,
        secrets,
        wanted,
        format,
    }))
}

/// The kinds that are sent by default: all except who is in which channel, which may be many events.
const DEFAULT: [HookKind; 5] = [
    HookKind::UserOnline,
    HookKind::UserChanged,
    HookKind::UserOffline,
    HookKind::ChannelOccupied,
    HookKind::ChannelVacated,
];

fn secret(text: &str) -> Result<Secret, String> {
    match weak_secret(text.as_bytes()) {
        false => Ok(Secret::new(text)),
        true => Err(format!(
            "{} bytes can be guessed: at least {SECRET_BYTES_MIN} random ones would do, `openssl rand -base64 32` makes some",
            text.len()
        )),
    }
}

/// Reads a kind of event, or `user.*` or `channel.*` for several.
fn kind(text: &str) -> Result<Vec<HookKind>, String> {
    let section = text.strip_suffix('*');
    let is_meant = |it: &HookKind| match section {
        Some(section) => section.ends_with('.') && it.as_str().starts_with(section),
        None => it.as_str() == text,
    };
    let kinds: Vec<HookKind> = HookKind::ALL.into_iter().filter(is_meant).collect();
    match kinds.is_empty() {
        false => Ok(kinds),
        true => {
            let names = HookKind::ALL.map(HookKind::as_str).join(", ");
            Err(format!("of {names}, `user.*` or `channel.*` would do"))
        }
    }
}

fn format(text: &str) -> Result<WebhookFormat, String> {
    match text {
        "presence" => Ok(WebhookFormat::Presence),
        "pusher" => Ok(WebhookFormat::Pusher),
        _ => Err("`presence` or `pusher` would do".into()),
    }
}
