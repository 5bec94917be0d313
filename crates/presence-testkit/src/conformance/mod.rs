//! The contracts of the ports as test suites. Every adapter, and every wrapper of an adapter, must pass them.
//!
//! A suite panics at the first clause that does not hold; the panic names the clause.
//!
//! ```
//! # use std::sync::Arc;
//! # use presence_embedded::{ProfileMemory, RevocationMemory, TopicMemory};
//! # use presence_testkit::conformance;
//! # tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap().block_on(async {
//! conformance::profiles(&Arc::new(ProfileMemory::new())).await;
//! conformance::revocations(&RevocationMemory::new()).await;
//!
//! let store = TopicMemory::new();
//! conformance::topics(async || store.connect()).await;
//! conformance::topics_after_loss(async || store.connect(), async || store.wipe()).await;
//! conformance::outbox_without_webhooks(async || store.connect()).await;
//! let store = TopicMemory::with_webhooks();
//! conformance::outbox(async || store.connect()).await;
//! conformance::hooks(async || store.connect()).await;
//! # });
//! ```
//!
//! The adapter's own tests have to check what a suite cannot see: that an acknowledged save survives a `kill -9`, which
//! needs another process, and that one unreachable server delays nothing elsewhere, which needs a server to break.

mod profiles;
mod revocations;
mod topics;

pub use self::profiles::{durable_profiles, profiles};
pub use self::revocations::{durable_revocations, revocations, shared_revocations};
pub use self::topics::{hooks, outbox, outbox_without_webhooks, topics, topics_after_loss};
