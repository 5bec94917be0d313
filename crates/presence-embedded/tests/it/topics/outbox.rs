//! The contract of what waits to be carried elsewhere, against stores that break it.

use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::{Ephemeral, Incarnation, Snapshot, Subject, Write};
use presence_core::ports::{Leases, Notice, Outbox, Queue, Row, StoreError, Topics, Written};
use presence_embedded::{TopicLink, TopicMemory};
use presence_testkit::conformance;

/// What is wrong with a store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    VersionsUntold,
    RowsLost,
    OldVersions,
    AcknowledgedBlindly,
    NeverAcknowledged,
    OneQueue,
    AgeIgnored,
    NewestFirst,
    MaxIgnored,
    FirstPartitionOnly,
}

struct Broken {
    link: TopicLink,
    fault: Fault,
}

async fn check(fault: Fault) {
    let store = TopicMemory::with_webhooks();
    let link = || store.connect();
    conformance::outbox(async || Broken {
        link: link(),
        fault,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_wrapper_that_breaks_nothing_keeps_what_waits() {
    check(Fault::None).await;
}

/// A store with this fault is caught by the clause named.
macro_rules! caught {
    ($($name:ident: $fault:ident, $clause:literal;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            #[should_panic(expected = $clause)]
            async fn $name() {
                check(Fault::$fault).await;
            }
        )*
    };
}

caught! {
    versions_that_are_not_told_are_caught: VersionsUntold, "a_write_says_which_version_it_made";
    rows_that_are_lost_are_caught: RowsLost, "what_is_due_leaves_a_row_with_its_version";
    rows_with_old_versions_are_caught: OldVersions, "what_is_due_leaves_a_row_with_its_version";
    acknowledging_what_is_newer_is_caught: AcknowledgedBlindly, "a_row_is_acknowledged_unless_there_is_a_newer_one";
    acknowledging_nothing_is_caught: NeverAcknowledged, "what_is_not_due_leaves_no_row";
    a_single_queue_is_caught: OneQueue, "what_is_not_due_leaves_no_row";
    rows_that_are_due_at_once_are_caught: AgeIgnored, "a row is due before its time";
    the_newest_first_is_caught: NewestFirst, "the order of rows";
    more_rows_than_asked_for_are_caught: MaxIgnored, "the first 0 rows";
    a_partition_that_is_passed_over_is_caught: FirstPartitionOnly, "each_partition_has_its_rows";
}

impl Outbox for Broken {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        let queue = match self.fault {
            Fault::OneQueue => Queue::Webhooks,
            _ => queue,
        };
        let age = match self.fault {
            Fault::AgeIgnored => Duration::ZERO,
            _ => age,
        };
        let all = match self.fault {
            Fault::MaxIgnored => usize::MAX,
            _ => max,
        };
        let mut due = self.link.due(queue, partitions, age, all).await;
        for rows in due.iter_mut().flatten() {
            match self.fault {
                Fault::RowsLost => rows.clear(),
                Fault::NewestFirst => rows.reverse(),
                Fault::OldVersions => rows.iter_mut().for_each(|it| it.version -= 1),
                _ => {}
            }
        }
        if self.fault == Fault::FirstPartitionOnly {
            let others = due.iter_mut().skip(1);
            others.for_each(|it| *it = Ok(Vec::new()));
        }
        due
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        let mut rows = rows.to_vec();
        match self.fault {
            Fault::NeverAcknowledged => return Ok(()),
            Fault::AcknowledgedBlindly => rows.iter_mut().for_each(|it| it.version = u64::MAX),
            _ => {}
        }
        self.link.acknowledge(queue, &rows).await
    }
}

impl Topics for Broken {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let mut written = self.link.write(writes).await;
        if self.fault == Fault::VersionsUntold {
            written
                .iter_mut()
                .flatten()
                .for_each(|it| it.version = None);
        }
        written
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        self.link.read(subjects).await
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        self.link.follow(subjects).await
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        self.link.unfollow(subjects).await;
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        self.link.send_ephemeral(ephemerals).await;
    }

    async fn compare(&self) -> Result<(), StoreError> {
        self.link.compare().await
    }

    async fn next(&self) -> Notice {
        self.link.next().await
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        self.link.renew(me, name, ttl, stored_up_to).await
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        self.link.mark_dead(who).await
    }

    async fn reap(&self, who: Incarnation) -> Result<bool, StoreError> {
        self.link.reap(who).await
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        self.link.forget(who).await
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.link.secret(proposal).await
    }
}
