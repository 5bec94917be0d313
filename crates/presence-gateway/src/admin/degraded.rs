//! What is degraded on a gateway, and since when.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::{Timestamp, Timing};
use serde::{Deserialize, Serialize};

use crate::app::App;

/// How long a delivery of webhooks may take before it counts as late: the endpoint has ten seconds to answer.
const WEBHOOK_LATE_AFTER: Duration = Duration::from_secs(3);
/// How long the lease of this gateway may go without a renewal, which comes every three seconds.
const RENEWAL_LATE_AFTER: Duration = Duration::from_millis(4500);
/// How long something is called late before it is called dead: as long as a lease.
pub(crate) const DEAD_AFTER: Duration = Timing::LEASE;

/// A part of the gateway that is degraded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Degradation {
    /// The name of the part, as one word for programs.
    pub(crate) what: String,
    /// `late`, and `dead` after [`DEAD_AFTER`]; `note` for what is no fault.
    pub(crate) state: String,
    pub(crate) since_ms: u64,
    /// What is wrong, as a sentence for people.
    pub(crate) text: String,
}

/// One reason for which a gateway counts as degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    SharedStore,
    ProfileStore,
    Webhooks,
    DataFolder,
    Revocations,
    Keys,
    Mailboxes,
    Full,
    Draining,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::SharedStore => "shared_store",
            Kind::ProfileStore => "profile_store",
            Kind::Webhooks => "webhooks",
            Kind::DataFolder => "data_folder",
            Kind::Revocations => "revocations",
            Kind::Keys => "keys",
            Kind::Mailboxes => "mailboxes",
            Kind::Full => "full",
            Kind::Draining => "draining",
        }
    }

    fn is_fault(self) -> bool {
        !matches!(self, Kind::Draining | Kind::Full)
    }
}

/// Remembers since when something is degraded.
#[derive(Debug, Default)]
pub(super) struct Beginnings(BTreeMap<Kind, Timestamp>);

/// A degradation that was found, with its beginning if that is known.
type Found = (Kind, Option<Timestamp>, String);

impl Beginnings {
    /// What is degraded now. If the beginning is not known, the time of the first look that found it counts.
    pub(super) fn look(&mut self, app: &App) -> Vec<Degradation> {
        let now = app.now();
        let found = found(app, now);
        self.0
            .retain(|kind, _| found.iter().any(|it| it.0 == *kind));
        let degradations = found.into_iter().map(|(kind, since, text)| {
            let first = *self.0.entry(kind).or_insert(now);
            let since = since.map_or(first, |it| it.min(first));
            Degradation {
                what: kind.word().to_owned(),
                state: state(kind.is_fault(), since, now).to_owned(),
                since_ms: since.as_millis(),
                text,
            }
        });
        degradations.collect()
    }
}

/// The state of what is degraded since `since`.
fn state(is_fault: bool, since: Timestamp, now: Timestamp) -> &'static str {
    match (is_fault, now.since(since) >= DEAD_AFTER) {
        (false, _) => "note",
        (true, false) => "late",
        (true, true) => "dead",
    }
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(span))
}

fn found(app: &App, now: Timestamp) -> Vec<Found> {
    let hub = app.hub.counters();
    let mut found: Vec<Found> = Vec::new();
    let mut note = |kind, since, text: String| found.push((kind, since, text));
    if let Some(since) = shared_store_since(app, now) {
        let text = "Redis does not answer: this gateway works on its own";
        note(Kind::SharedStore, Some(since), text.into());
    }
    let away = hub.store_away_for();
    if !away.is_zero() {
        let text = "the profile store does not answer: changed profiles wait";
        note(Kind::ProfileStore, Some(before(now, away)), text.into());
    }
    if let Some((since, text)) = webhooks(app, now) {
        note(Kind::Webhooks, since, text);
    }
    if app.kept.is_gone() {
        let text = "the content of the data folder is gone: nothing can be stored";
        note(Kind::DataFolder, None, text.into());
    }
    if app.revoking.is_away() {
        let text = "the list of revoked users cannot be read or kept";
        note(Kind::Revocations, None, text.into());
    }
    if app.gate.is_waiting_for_keys() {
        let text = "the keys of tokens were never fetched: every token is refused";
        note(Kind::Keys, None, text.into());
    }
    let depth = app.hub.mailbox_depth();
    if depth.fullest * 2 > depth.max {
        let text = format!(
            "a shard has {} messages waiting, of {} that it takes",
            depth.fullest, depth.max
        );
        note(Kind::Mailboxes, None, text);
    }
    let (open, max) = (app.connections.open(), app.config.socket.connections_max);
    if open >= max {
        let text = format!("all {max} connections are taken: further ones are turned away");
        note(Kind::Full, None, text);
    }
    if app.is_draining() {
        note(Kind::Draining, None, "this gateway is stopping".into());
    }
    found
}

/// Since when the shared store does not answer, or has not renewed the lease of this gateway in time.
fn shared_store_since(app: &App, now: Timestamp) -> Option<Timestamp> {
    let away = app.hub.counters().shared_away_for();
    let away = (!away.is_zero()).then(|| before(now, away));
    let (me, leases) = app.hub.leases()?;
    let mine = leases.nodes.iter().find(|it| it.who == me);
    let renewed = mine.map(|it| before(it.until, Timing::LEASE));
    let late = renewed.filter(|it| now.since(*it) >= RENEWAL_LATE_AFTER && !app.is_draining());
    match (away, late) {
        (Some(away), Some(late)) => Some(away.min(late)),
        (away, late) => away.or(late),
    }
}

/// Whether webhooks fail or hang, and since when as far as that is known.
fn webhooks(app: &App, now: Timestamp) -> Option<(Option<Timestamp>, String)> {
    let hooks = &app.hub.counters().hooks;
    let waiting = hooks.waiting.load(Relaxed);
    let age = hooks.oldest_age(now);
    if hooks.is_away.load(Relaxed) {
        let text = format!("the endpoint of webhooks fails (events that wait: {waiting})");
        return Some((None, text));
    }
    (age >= WEBHOOK_LATE_AFTER).then(|| {
        let text =
            format!("the endpoint of webhooks does not answer (events that wait: {waiting})");
        (Some(before(now, age)), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_late_and_after_a_lease_dead_and_a_note_is_neither() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        for (is_fault, now, said) in [
            (true, 10, "late"),
            (true, 24, "late"),
            (true, 25, "dead"),
            (false, 100, "note"),
        ] {
            assert_eq!(state(is_fault, at(10), at(now)), said);
        }
    }
}
