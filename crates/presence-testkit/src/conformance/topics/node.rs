//! A node on the store, as clauses use it: a call that fails where none may fail ends the suite.

use std::sync::Arc;
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::{
    Change, Ephemeral, Fence, FencingToken, Field, Incarnation, Op, Patch, Snapshot, Subject, Write,
};
use presence_core::ports::{Leases, Notice, Outbox, Queue, Row, StoreError, Topics, Written};
use tokio::time::{Instant, timeout, timeout_at};

/// How long the suite waits for what has to come. It is long enough for a busy machine, and not a measurement.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The length of a lease whose end nobody waits for.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// More calls than any store needs to reap a node, however small its steps.
pub(super) const REAPS_MAX: usize = 5_000;

/// The name of the nodes of the suite.
const NAME: &str = "a node of a test";
/// The moment until which the node says that all its writes are in the store.
pub(super) const STORED_UP_TO_MS: u64 = 1_700_000_000_123;

/// The tokens of the entries that a write was refused for.
pub(super) fn tokens(refused: Vec<(Field, Fence)>) -> Vec<(Field, FencingToken)> {
    let refused = refused.into_iter();
    refused.map(|(field, fence)| (field, fence.token)).collect()
}

/// Whether two changes are the same except for the fence that a removal has left.
pub(super) fn says_the_same(told: &Change, meant: &Change) -> bool {
    let is_same = match (&told.entry, &meant.entry) {
        (Err(told), Err(meant)) => told.reason == meant.reason,
        (told, meant) => told == meant,
    };
    told.field == meant.field && is_same
}

/// One node on the store.
pub(super) struct Node<T> {
    clause: &'static str,
    pub(super) link: Arc<T>,
    pub(super) me: Incarnation,
}

impl<T: Topics> Node<T> {
    pub(super) fn new(clause: &'static str, link: Arc<T>, me: Incarnation) -> Self {
        Node { clause, link, me }
    }

    /// The token of a session whose connection number `epoch` is on this node.
    pub(super) fn token(&self, epoch: u32) -> FencingToken {
        FencingToken::of_session(epoch, self.me, 1)
    }

    /// Writes in the name of this node, and returns what was refused.
    pub(super) async fn write(&self, subject: &Subject, ops: &[Op]) -> Vec<(Field, FencingToken)> {
        let written = self.written(subject, ops).await;
        tokens(written.refused)
    }

    /// Writes in the name of this node, and returns the whole outcome.
    pub(super) async fn written(&self, subject: &Subject, ops: &[Op]) -> Written {
        let write = Write {
            subject: subject.clone(),
            by: self.me,
            ops: ops.to_vec(),
            is_last: false,
            until: None,
        };
        self.written_as(write).await
    }

    pub(super) async fn write_as(&self, write: Write) -> Vec<(Field, FencingToken)> {
        tokens(self.written_as(write).await.refused)
    }

    async fn written_as(&self, write: Write) -> Written {
        let mut written = self.write_all(&[write]).await;
        let count = written.len();
        assert_eq!(count, 1, "{}: one write has {count} outcomes", self.clause);
        written.remove(0)
    }

    /// Writes `ops`, and checks that none was refused.
    pub(super) async fn does(&self, subject: &Subject, ops: &[Op]) {
        let refused = self.write(subject, ops).await;
        let clause = self.clause;
        assert_eq!(refused, [], "{clause}: a write of {subject} was refused");
    }

    pub(super) async fn write_all(&self, writes: &[Write]) -> Vec<Written> {
        let written = self.link.write(writes).await;
        let written = written.into_iter();
        written.map(|it| self.ok("a write", it)).collect()
    }

    pub(super) async fn read(&self, subject: &Subject) -> Snapshot {
        let mut read = self.read_all(std::slice::from_ref(subject)).await;
        assert_eq!(read.len(), 1, "{}: one read has one outcome", self.clause);
        read.remove(0)
    }

    /// The maps of `subjects`, each with its entries in order of their fields.
    pub(super) async fn read_all(&self, subjects: &[Subject]) -> Vec<Snapshot> {
        let read = self.link.read(subjects).await.into_iter();
        let sorted = |it| {
            let mut read: Snapshot = self.ok("a read", it);
            read.entries.sort_by_key(|(field, ..)| *field);
            read
        };
        read.map(sorted).collect()
    }

    /// Checks the entries of `subject`, whatever its version.
    pub(super) async fn check_entries(&self, subject: &Subject, ops: &[Op]) {
        let meant = ops.iter().filter_map(|op| match op {
            Op::Put {
                field,
                token,
                record,
                ..
            } => Some((*field, *token, record.clone())),
            Op::Remove { .. } | Op::Hide { .. } => None,
        });
        let mut meant: Vec<_> = meant.collect();
        meant.sort_by_key(|(field, ..)| *field);
        let read = self.read(subject).await.entries;
        let clause = self.clause;
        assert!(
            read == meant,
            "{clause}: {subject} has {read:#?} where {meant:#?} should be"
        );
    }

    pub(super) async fn follow(&self, subjects: &[Subject]) {
        let followed = self.link.follow(subjects).await;
        let (clause, count) = (self.clause, followed.len());
        assert_eq!(
            count,
            subjects.len(),
            "{clause}: following has an outcome each"
        );
        for it in followed {
            self.ok("following", it);
        }
    }

    pub(super) async fn send_ephemeral(&self, subject: &Subject, ephemerals: &[Ephemeral]) {
        let ephemerals = (subject.clone(), ephemerals.to_vec());
        self.link.send_ephemeral(&[ephemerals]).await;
    }

    pub(super) async fn compare(&self) {
        let compared = self.link.compare().await;
        self.ok("comparing", compared);
    }

    /// The first notice that `pick` accepts; earlier ones are dropped.
    pub(super) async fn hear<R>(
        &self,
        what: &str,
        mut pick: impl FnMut(&Notice) -> Option<R>,
    ) -> R {
        let deadline = Instant::now() + PATIENCE;
        let mut passed = Vec::new();
        loop {
            let Ok(notice) = timeout_at(deadline, self.link.next()).await else {
                let clause = self.clause;
                let passed = &passed[passed.len().saturating_sub(5)..];
                panic!(
                    "{clause}: {what} was not heard in {PATIENCE:?}; the last to be heard was {passed:#?}"
                );
            };
            if let Some(picked) = pick(&notice) {
                return picked;
            }
            passed.push(notice);
        }
    }

    /// Drops the notices that wait already.
    pub(super) async fn drop_waiting(&self) {
        while timeout(Duration::ZERO, self.link.next()).await.is_ok() {}
    }

    /// The next patch or ephemeral of `subject`.
    pub(super) async fn hear_of(&self, subject: &Subject) -> Notice {
        let told = |notice: &Notice| match notice {
            Notice::Patched(it, _) | Notice::Ephemeral(it, _) if it == subject => {
                Some(notice.clone())
            }
            _ => None,
        };
        self.hear(
            &format!("a patch or an ephemeral message of {subject}"),
            told,
        )
        .await
    }

    /// The next patch of `subject`, its changes in order of their fields. No ephemeral message of it may come before.
    pub(super) async fn hear_patch(&self, subject: &Subject) -> Patch {
        match self.hear_of(subject).await {
            Notice::Patched(_, mut patch) => {
                patch.changes.sort_by_key(|it| it.field);
                patch
            }
            other => panic!("{}: a patch was to be heard, not {other:?}", self.clause),
        }
    }

    /// Checks that the next patch of `subject` makes these changes.
    pub(super) async fn check_patch(&self, subject: &Subject, changes: &[Change]) -> Patch {
        let patch = self.hear_patch(subject).await;
        let mut meant = changes.to_vec();
        meant.sort_by_key(|it| it.field);
        let clause = self.clause;
        let is_same = patch.changes.len() == meant.len();
        let mut pairs = patch.changes.iter().zip(&meant);
        assert!(
            is_same && pairs.all(|(told, meant)| says_the_same(told, meant)),
            "{clause}: heard was {:#?} where {meant:#?} should be",
            patch.changes
        );
        patch
    }

    pub(super) async fn renew(&self, who: Incarnation, ttl: Duration) -> Leases {
        let stored_up_to = Timestamp::from_millis(STORED_UP_TO_MS);
        let renewed = self.link.renew(who, NAME, ttl, stored_up_to).await;
        self.ok("renewing a lease", renewed)
    }

    pub(super) async fn mark_dead(&self, who: Incarnation) -> bool {
        let marked = self.link.mark_dead(who).await;
        self.ok("marking a node dead", marked)
    }

    pub(super) async fn forget(&self, who: Incarnation) {
        let forgotten = self.link.forget(who).await;
        self.ok("forgetting a node", forgotten);
    }

    /// Reaps a part of the entries of `who`, and returns whether there may be more.
    pub(super) async fn reap_some(&self, who: Incarnation) -> bool {
        let reaped = self.link.reap(who).await;
        self.ok("reaping", reaped)
    }

    /// Reaps `who` until nothing is left.
    pub(super) async fn reap(&self, who: Incarnation) {
        for _ in 0..REAPS_MAX {
            if !self.reap_some(who).await {
                return;
            }
        }
        panic!(
            "{}: reaping said {REAPS_MAX} times that there may be more",
            self.clause
        );
    }

    pub(super) async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Vec<Row>>
    where
        T: Outbox,
    {
        let due = self.link.due(queue, partitions, age, max).await.into_iter();
        due.map(|it| self.ok("asking what is due", it)).collect()
    }

    pub(super) async fn acknowledge(&self, queue: Queue, rows: &[Row])
    where
        T: Outbox,
    {
        let acknowledged = self.link.acknowledge(queue, rows).await;
        self.ok("acknowledging", acknowledged);
    }

    fn ok<R>(&self, what: &str, outcome: Result<R, StoreError>) -> R {
        match outcome {
            Ok(it) => it,
            Err(error) => panic!("{}: {what} failed: {error:?}", self.clause),
        }
    }
}
