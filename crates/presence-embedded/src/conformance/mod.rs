//! The contracts of the ports, as suites that every adapter and every wrapper of one must pass.
//!
//! A suite panics at the first clause that does not hold, and names it.
//!
//! ```
//! # use std::sync::Arc;
//! # use presence_embedded::{ProfileMemory, RevocationMemory, TopicMemory, conformance};
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
//! What cannot be seen from inside one process (that an acknowledged save survives a kill -9), or without breaking a
//! server (that one which is away delays nothing elsewhere), is for the adapter's own tests.

mod profiles;
mod revocations;
mod topics;

pub use self::profiles::{durable_profiles, profiles};
pub use self::revocations::{durable_revocations, revocations, shared_revocations};
pub use self::topics::{hooks, outbox, outbox_without_webhooks, topics, topics_after_loss};
