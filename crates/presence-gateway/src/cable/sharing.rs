//! Going on with a session after its connection was lost: at this gateway, or at another one that shares the store.
//!
//! The `sid` of a page goes on with its session at any of them. What the page has subscribed to is in no `sid`, as that is told
//! in the first frame: each gateway keeps it in memory for its own connections, and in the shared store for those that come
//! back elsewhere. Who is not found there subscribes again, in the same session.

use std::time::Duration;

use presence_core::users::Connection;
use tokio::time::{Instant, timeout};

use super::Cable;
use super::kept::{self, KeptSubscription};
use super::subscriptions::{State, identifier_of};

/// Subscriptions that come and go in that time are written once.
const SHARE_AFTER: Duration = Duration::from_millis(100);
/// What is written for a connection that is there lasts so long in the store, and is written again before that.
const SHARED_FOR: Duration = Duration::from_secs(5 * 60);
const SHARE_AGAIN: Duration = Duration::from_secs(2 * 60);
/// How long to wait for what another gateway wrote. Who waits longer would rather subscribe again.
const READ_WAIT: Duration = Duration::from_millis(500);
/// For how much longer than the grace time it is kept: a session is taken over at the very end of it, too.
const SLACK: Duration = Duration::from_secs(5);

impl Cable {
    /// What the connection before this one had subscribed to.
    pub(super) async fn kept_before(&self) -> Vec<KeptSubscription> {
        let Some(before) = self.guest.resumed() else {
            return Vec::new();
        };
        let app = self.guest.app();
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

    /// Notes that there is something else to go on with.
    pub(super) fn changed(&mut self) {
        if self.is_extended && self.guest.app().shared.is_some() {
            let soon = Instant::now() + SHARE_AFTER;
            self.shares_at = Some(self.shares_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Writes where other gateways find it what there is to go on with.
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
        let app = self.guest.app();
        let grace = app.config.timing.grace();
        self.write(all.clone(), grace + SLACK);
        let connection = self.guest.session().connection();
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

    /// Writes in the background. What fails is not tried again before the next change: it saves work and decides nothing.
    fn write(&self, all: Vec<KeptSubscription>, span: Duration) {
        let app = self.guest.app();
        let (Some(store), true) = (app.shared.clone(), self.shares_at.is_some()) else {
            return;
        };
        let Connection { session, epoch } = self.guest.session().connection();
        tokio::spawn(async move {
            let _ = store.keep(session, epoch, kept::written(&all), span).await;
        });
    }
}
