//! The Lua scripts, and how they are called.

use std::sync::LazyLock;

use fred::types::Value;

/// A script that the servers keep by its hash.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

/// Applies writes to one partition.
pub(crate) static WRITE: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("write.lua")));
/// Removes rows from an outbox.
pub(crate) static ACKNOWLEDGE: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("acknowledge.lua")));
/// Stores webhook events of a subject.
pub(crate) static ENQUEUE: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("enqueue.lua")));
/// Has some subjects checked again that webhooks have told about.
pub(crate) static AUDIT: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("audit.lua")));
/// Removes delivered webhook events.
pub(crate) static DELIVERED: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("delivered.lua")));
/// Extends a lease, and returns all leases.
pub(crate) static RENEW: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("renew.lua")));
/// Declares a node dead, unless its lease is running.
pub(crate) static MARK_DEAD: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("mark_dead.lua")));

/// Adds revocations to the list of users whose older tokens are refused.
pub(crate) static REVOKE: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("revoke.lua")));

impl Script {
    fn of(text: &'static str) -> Self {
        Script {
            text,
            hash: fred::util::sha1_hash(text),
        }
    }

    /// The arguments of `EVALSHA`, or with `is_whole` of `EVAL`, which makes the server keep the script.
    pub(crate) fn args(&self, is_whole: bool, keys: &[String], args: &[Value]) -> Vec<Value> {
        let script = if is_whole { self.text } else { &self.hash };
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let mut all = Vec::with_capacity(2 + keys.len() + args.len());
        all.push(Value::from(script));
        all.push(Value::from(count));
        all.extend(keys.iter().map(|key| Value::from(key.as_str())));
        all.extend_from_slice(args);
        all
    }
}
