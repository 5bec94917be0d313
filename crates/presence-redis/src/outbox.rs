//! The transactional outbox: rows that the script of writes leaves, read and acknowledged.

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use fred::types::Value;
use futures_util::future::join_all;
use presence_core::ports::{Outbox, Queue, Row, StoreError};

use crate::fault::Fault;
use crate::keys;
use crate::script;
use crate::survey::Target;
use crate::topics::RedisTopics;

/// The number of rows that one script removes.
pub const ROWS_PER_SCRIPT_MAX: usize = 500;

/// How often at most further rows are read if the names of some cannot be understood.
const READS_MAX: usize = 16;

impl Outbox for RedisTopics {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        let asked = partitions
            .iter()
            .map(|&partition| self.due_in(queue, partition, max));
        let mut outcomes = join_all(asked).await;
        let are_there = outcomes.iter().flatten().any(|rows| !rows.is_empty());
        if are_there && !age.is_zero() {
            let newest = self.version_before(age).await;
            for outcome in &mut outcomes {
                match (&newest, outcome.as_mut()) {
                    (Ok(newest), Ok(rows)) => rows.retain(|it| it.version <= *newest),
                    (Err(fault), Ok(rows)) if !rows.is_empty() => *outcome = Err(fault.clone()),
                    _ => {}
                }
            }
        }
        let outcomes = outcomes.into_iter();
        outcomes.map(|it| it.map_err(StoreError::from)).collect()
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        let mut by_partition: BTreeMap<u16, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            by_partition
                .entry(row.subject.partition())
                .or_default()
                .push(row);
        }
        let chunks = by_partition.iter().flat_map(|(partition, rows)| {
            let chunks = rows.chunks(ROWS_PER_SCRIPT_MAX);
            chunks.map(|chunk| (*partition, chunk))
        });
        let acknowledged = chunks.map(|(partition, rows)| async move {
            let key = self.keys.outbox(partition, queue);
            let args: Vec<Value> = rows.iter().flat_map(|it| args_of(it)).collect();
            let place = Target::Partition(partition);
            self.run(place, &script::ACKNOWLEDGE, &[key], &args).await
        });
        let acknowledged: Result<Vec<_>, Fault> =
            join_all(acknowledged).await.into_iter().collect();
        acknowledged?;
        Ok(())
    }
}

impl RedisTopics {
    /// The rows in `partition`. Usually there are none, which takes one small command.
    async fn due_in(&self, queue: Queue, partition: u16, max: usize) -> Result<Vec<Row>, Fault> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let number = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let mut rows = Vec::new();
        for from in (0..READS_MAX).map(|it| it.saturating_mul(max)) {
            let args = vec![
                Value::from(self.keys.outbox(partition, queue)),
                number(from),
                number(from.saturating_add(max - 1)),
                Value::from("WITHSCORES"),
            ];
            let answer = self
                .call(Target::Partition(partition), "ZRANGE", args)
                .await?;
            let pairs = answer.into_array();
            let is_last = pairs.len() < max;
            rows.extend(rows_in(pairs)?);
            if is_last || rows.len() >= max {
                break;
            }
        }
        rows.truncate(max);
        Ok(rows)
    }

    /// The last version that was made at least `age` ago. One server is asked for all partitions, because the clocks
    /// differ by little.
    async fn version_before(&self, age: Duration) -> Result<u64, Fault> {
        let now = time_us(self.topology.map().any_of("TIME").await?)?;
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        Ok(now.saturating_sub(age))
    }
}

/// The time of a server's clock, in microseconds since 1970.
fn time_us(answer: Value) -> Result<u64, Fault> {
    let answer = answer.into_array();
    let number = |value: &Value| value.as_u64().ok_or(Fault::Strange);
    match &answer[..] {
        [secs, micros] => Ok(number(secs)? * 1_000_000 + number(micros)?),
        _ => Err(Fault::Strange),
    }
}

fn args_of(row: &Row) -> [Value; 2] {
    let version = i64::try_from(row.version).unwrap_or(i64::MAX);
    [
        Value::from(keys::name_of(&row.subject)),
        Value::from(version),
    ]
}

/// The rows in `pairs` of name and version. A name that cannot be understood is of a later release, which
/// will handle it.
fn rows_in(pairs: Vec<Value>) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::new();
    for pair in pairs {
        let pair = pair.into_array();
        let [name, version] = &pair[..] else {
            return Err(Fault::Strange);
        };
        let name = name.as_bytes().ok_or(Fault::Strange)?;
        let name = String::from_utf8_lossy(name);
        // A number of microseconds, which a double holds exactly for another two centuries.
        let version = version.as_f64().ok_or(Fault::Strange)? as u64;
        let subject = keys::subject_of(&name);
        if subject.is_none() {
            static ONCE: Once = Once::new();
            ONCE.call_once(
                || tracing::warn!(%name, "cannot understand the name of an outbox row, so it stays"),
            );
        }
        rows.extend(subject.map(|subject| Row { subject, version }));
    }
    Ok(rows)
}
