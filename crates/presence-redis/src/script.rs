//! Scripts, and how they are called.

use std::sync::LazyLock;

use fred::types::Value;

/// A script that servers keep by its hash.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

/// Does writes of one shard.
pub(crate) static WRITE: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("write.lua")));
/// Takes rows out of an outbox.
pub(crate) static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("settle.lua")));
/// Tells the outside of a subject.
pub(crate) static TELL: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("tell.lua")));
/// Has some of what it was told looked at again.
pub(crate) static DOUBT: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("doubt.lua")));
/// Takes away what it was told.
pub(crate) static DELIVERED: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("delivered.lua")));
/// Prolongs a lease.
pub(crate) static RENEW: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!("renew.lua")));
/// Declares a node dead.
pub(crate) static CONDEMN: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("condemn.lua")));

/// Adds to the list of users whose older tokens are refused.
pub(crate) static REVOKE: LazyLock<Script> =
    LazyLock::new(|| Script::of(include_str!("revoke.lua")));

impl Script {
    fn of(text: &'static str) -> Self {
        Script {
            text,
            hash: fred::util::sha1_hash(text),
        }
    }

    /// The arguments of `EVALSHA`; with `is_whole`, of `EVAL`, after which the server knows it.
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
