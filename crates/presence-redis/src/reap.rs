//! Removes the entries of a dead node. It uses the same script as every other write, so the removals leave fences, too.

use fred::types::Value;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use presence_core::Reason;
use presence_core::cluster::{Field, Incarnation, Op, PARTITIONS, Record, Subject, Write};
use presence_core::ports::{Orphan, Reaped, StoreError, Topics};

use crate::survey::Target;
use crate::topics::{ENTRIES_PER_SCAN, RedisTopics};
use crate::{keys, record};

/// The number of maps of a partition that one call of [`reap`](Topics::reap) looks at.
pub const REAPED_PER_PARTITION_MAX: usize = 32;
/// The number of partitions that are looked at at the same time.
const PARTITIONS_AT_ONCE: usize = 32;

impl RedisTopics {
    pub(crate) async fn reap_all(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        let exists = (0..PARTITIONS).map(|partition| async move {
            let key = Value::from(self.keys.owned(partition, who));
            let answer = self
                .call(Target::Partition(partition), "EXISTS", vec![key])
                .await;
            (partition, answer.map(|it| it.as_i64() != Some(0)))
        });
        let mut failure = None;
        let mut partitions = Vec::new();
        for (partition, exists) in join_all(exists).await {
            match exists {
                Ok(true) => partitions.push(partition),
                Ok(false) => {}
                Err(fault) => failure = Some(fault.into()),
            }
        }
        let mut all = Reaped::default();
        let mut reaped = stream::iter(partitions)
            .map(|partition| self.reap_partition(partition, who))
            .buffer_unordered(PARTITIONS_AT_ONCE);
        while let Some(outcome) = reaped.next().await {
            match outcome {
                Ok(reaped) => {
                    all.more |= reaped.more;
                    all.orphans.extend(reaped.orphans);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => Ok(all),
            // What is left is removed by the next call, and what was removed is known only now.
            Some(_) if !all.orphans.is_empty() => Ok(Reaped { more: true, ..all }),
            Some(error) => Err(error),
        }
    }

    /// Removes what `who` has in some maps of `partition`.
    async fn reap_partition(&self, partition: u16, who: Incarnation) -> Result<Reaped, StoreError> {
        let args = vec![
            Value::from(self.keys.owned(partition, who)),
            Value::from(REAPED_PER_PARTITION_MAX as i64),
        ];
        let names = self
            .call(Target::Partition(partition), "SRANDMEMBER", args)
            .await?;
        let names = names.into_array();
        let mut reaped = Reaped {
            more: names.len() == REAPED_PER_PARTITION_MAX,
            orphans: Vec::new(),
        };
        let subjects = names
            .iter()
            .filter_map(|it| keys::subject_of(&it.as_str()?));
        let mut last = Vec::new();
        for (subject, ops, orphans) in join_all(subjects.map(|it| self.removals(it, who)))
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
        {
            reaped.orphans.extend(orphans);
            last.push(Write {
                subject,
                by: who,
                ops,
                is_last: true,
                until: None,
            });
        }
        for outcome in self.write(&last).await {
            outcome?;
        }
        Ok(reaped)
    }

    /// The removals in the map of `subject`. Of a big map they are only those of its last part: the others
    /// are done already.
    async fn removals(
        &self,
        subject: Subject,
        who: Incarnation,
    ) -> Result<(Subject, Vec<Op>, Vec<Orphan>), StoreError> {
        let mut cursor = "0".to_owned();
        let mut orphans = Vec::new();
        loop {
            let place = Target::Partition(subject.partition());
            let key = self.keys.map(&subject);
            let (next, entries) = self.scan(place, &key, &cursor, ENTRIES_PER_SCAN).await?;
            let ops = cuts_in(&entries, who);
            orphans.extend(orphans_in(&subject, &entries, &ops));
            cursor = next;
            if cursor == "0" {
                return Ok((subject, ops, orphans));
            }
            let write = Write {
                subject: subject.clone(),
                by: who,
                ops,
                is_last: false,
                until: None,
            };
            for outcome in self.write(&[write]).await {
                outcome?;
            }
        }
    }
}

/// The removals of the sessions of `who` among `entries`, which are fields and values in turn.
fn cuts_in(entries: &[Value], who: Incarnation) -> Vec<Op> {
    let pairs = entries.chunks_exact(2);
    pairs
        .filter_map(|pair| cut_in(&pair[0], &pair[1], who))
        .collect()
}

/// The sessions that `ops` remove from the map of a user, which has `entries`.
fn orphans_in(subject: &Subject, entries: &[Value], ops: &[Op]) -> Vec<Orphan> {
    let Subject::User(user) = subject else {
        return Vec::new();
    };
    let entries = entries.chunks_exact(2).filter_map(|pair| {
        let field = keys::field_of(pair[0].as_bytes()?)?;
        let (_, record) = record::decode(subject, field, pair[1].as_bytes()?).ok()?;
        Some((field, record))
    });
    let entries: Vec<(Field, Record)> = entries.collect();
    let profile = entries.iter().find_map(|(_, record)| match record {
        Record::Profile(profile) => Some(profile.clone()),
        Record::Session(_) | Record::Member(_) => None,
    });
    let sessions = entries.iter().filter_map(|(field, record)| {
        let (Field::Session(session), Record::Session(record)) = (field, record) else {
            return None;
        };
        let is_removed = ops.iter().any(|op| op.field() == *field);
        is_removed.then(|| Orphan::new(user, *session, record, profile.as_deref()))
    });
    sessions.collect()
}

fn cut_in(field: &Value, entry: &Value, who: Incarnation) -> Option<Op> {
    let field = keys::field_of(field.as_bytes()?)?;
    let (token, _) = record::split_token(entry.as_bytes()?).ok()?;
    let is_theirs = matches!(field, Field::Session(_)) && token.incarnation() == who;
    is_theirs.then_some(Op::Remove {
        field,
        token,
        reason: Reason::NodeLost,
    })
}
