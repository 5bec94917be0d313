//! Continues a session after its connection was lost: on this gateway, or on another one that shares the store.
//!
//! With its `sid` a page continues its session on any of them. The subscriptions are not in the `sid`, but the first frame has
//! to name them. So each gateway keeps them in memory for its own connections, and in the shared store for those that come back
//! elsewhere. A client whose subscriptions are not found subscribes again, in the same session.

use std::time::Duration;

use presence_core::users::Connection;
use tokio::time::{Instant, timeout};

use super::Cable;
use super::subscriptions::{State, identifier_of};
use crate::lost_subscriptions::{self as kept, KeptSubscription};

/// Changes within this time are written together.
const SHARE_AFTER: Duration = Duration::from_millis(100);
/// How long the subscriptions of an open connection last in the store. They are written again before that.
const SHARED_FOR: Duration = Duration::from_secs(5 * 60);
const SHARE_AGAIN: Duration = Duration::from_secs(2 * 60);
/// How long to wait for what another gateway wrote. After that, subscribing again is faster.
const READ_WAIT: Duration = Duration::from_millis(500);
/// How much longer than the grace time they are kept, because a session may be taken over at the very end of it.
const SLACK: Duration = Duration::from_secs(5);

impl Cable {
    /// The subscriptions of the connection before this one.
    pub(super) async fn kept_before(&self) -> Vec<KeptSubscription> {
        let Some(before) = self.authorized.resumed() else {
            return Vec::new();
        };
        let app = self.authorized.host();
        if let Some(kept) = app.cables.take(before) {
            return kept;
        }
        let Some(store) = &app.shared else {
            return Vec::new();
        };
        let Connection { session, epoch } = before;
        match timeout(READ_WAIT, store.take_kept(session, epoch)).await {
            Ok(Ok(Some(bytes))) => kept::read(&bytes),
            _ => Vec::new(),
        }
    }

    /// Notes that the subscriptions have changed, so that they are written soon.
    pub(super) fn changed(&mut self) {
        if self.is_extended && self.authorized.host().shared.is_some() {
            let soon = Instant::now() + SHARE_AFTER;
            self.shares_at = Some(self.shares_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Writes the subscriptions to the store, where other gateways find them.
    pub(super) fn share(&mut self, now: Instant) {
        self.shares_at = Some(now + SHARE_AGAIN);
        self.write(self.to_keep(), SHARED_FOR);
    }

    /// Keeps the subscriptions for the time in which the session may come back.
    pub(super) fn keep(&self) {
        if !self.is_extended {
            return;
        }
        let all = self.to_keep();
        let app = self.authorized.host();
        let grace = app.config.timing.grace();
        self.write(all.clone(), grace + SLACK);
        let connection = self.authorized.session().connection();
        app.cables.put(Instant::now(), grace, connection, all);
    }

    fn to_keep(&self) -> Vec<KeptSubscription> {
        let confirmed = self.subscriptions.iter();
        let confirmed = confirmed.filter(|it| it.state == State::Confirmed);
        let kept = confirmed.map(|it| KeptSubscription {
            identifier: identifier_of(&it.head),
            is_present: it.is_present,
            meta: it.meta.as_deref().map(str::to_owned),
            said: it.said,
        });
        kept.collect()
    }

    /// Writes in the background. A failed write is not repeated before the next change: the data only saves work.
    fn write(&self, all: Vec<KeptSubscription>, span: Duration) {
        let app = self.authorized.host();
        let (Some(store), true) = (app.shared.clone(), self.shares_at.is_some()) else {
            return;
        };
        let Connection { session, epoch } = self.authorized.session().connection();
        tokio::spawn(async move {
            let _ = store.keep(session, epoch, kept::written(&all), span).await;
        });
    }
}
