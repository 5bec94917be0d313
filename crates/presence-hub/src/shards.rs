//! The mailboxes of tasks that own parts of a key space.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::mpsc;

/// The mailboxes of all shards of one kind.
#[derive(Debug)]
pub(crate) struct Shards<M>(Arc<[mpsc::Sender<M>]>);

impl<M> Clone for Shards<M> {
    fn clone(&self) -> Self {
        Shards(self.0.clone())
    }
}

/// The same mailboxes, without keeping them open.
#[derive(Debug)]
pub(crate) struct WeakShards<M>(Arc<[mpsc::WeakSender<M>]>);

impl<M> WeakShards<M> {
    /// The mailboxes, while anybody else can still send to them.
    pub(crate) fn upgrade(&self) -> Option<Shards<M>> {
        let mailboxes = self.0.iter().map(mpsc::WeakSender::upgrade);
        Some(Shards::new(mailboxes.collect::<Option<_>>()?))
    }
}

impl<M> Shards<M> {
    pub(crate) fn downgrade(&self) -> WeakShards<M> {
        WeakShards(self.0.iter().map(mpsc::Sender::downgrade).collect())
    }

    pub(crate) fn new(mailboxes: Vec<mpsc::Sender<M>>) -> Self {
        Shards(mailboxes.into())
    }

    /// The mailbox of the shard that owns `key`. It is the same one as long as the process lives.
    pub(crate) fn of(&self, key: &impl Hash) -> &mpsc::Sender<M> {
        &self.0[self.number_of(key)]
    }

    /// The position of that shard in [`all`](Self::all).
    pub(crate) fn number_of(&self, key: &impl Hash) -> usize {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        (hasher.finish() % self.0.len() as u64) as usize
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &mpsc::Sender<M>> {
        self.0.iter()
    }
}
