//! What waits to be carried elsewhere: rows that the script of writes leaves, read and taken away.

use std::collections::BTreeMap;
use std::time::Duration;

use fred::types::Value;
use futures_util::future::join_all;
use presence_core::ports::{Outbox, Queue, Row, StoreError};

use crate::fault::Fault;
use crate::keys;
use crate::script;
use crate::survey::Place;
use crate::topics::RedisTopics;

/// How many rows one script takes away.
pub const ROWS_PER_SCRIPT_MAX: usize = 500;

impl Outbox for RedisTopics {
    async fn due(
        &self,
        queue: Queue,
        shards: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        let asked = shards.iter().map(|&shard| async move {
            let rows = self.due_in(queue, shard, age, max).await;
            rows.map_err(StoreError::from)
        });
        join_all(asked).await
    }

    async fn settle(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        let mut by_shard: BTreeMap<u16, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            by_shard.entry(row.subject.shard()).or_default().push(row);
        }
        let chunks = by_shard.iter().flat_map(|(shard, rows)| {
            let chunks = rows.chunks(ROWS_PER_SCRIPT_MAX);
            chunks.map(|chunk| (*shard, chunk))
        });
        let settled = chunks.map(|(shard, rows)| async move {
            let key = self.keys.outbox(shard, queue);
            let args: Vec<Value> = rows.iter().flat_map(|it| args_of(it)).collect();
            let place = Place::Shard(shard);
            self.run(place, &script::SETTLE, &[key], &args).await
        });
        let settled: Result<Vec<_>, Fault> = join_all(settled).await.into_iter().collect();
        settled?;
        Ok(())
    }
}

impl RedisTopics {
    /// The rows in `shard`. Most of the time there are none, and that is one small command.
    async fn due_in(
        &self,
        queue: Queue,
        shard: u16,
        age: Duration,
        max: usize,
    ) -> Result<Vec<Row>, Fault> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let place = Place::Shard(shard);
        let last = i64::try_from(max - 1).unwrap_or(i64::MAX);
        let args = vec![
            Value::from(self.keys.outbox(shard, queue)),
            Value::from(0),
            Value::from(last),
            Value::from("WITHSCORES"),
        ];
        let mut rows = rows_in(self.call(place, "ZRANGE", args).await?)?;
        if !rows.is_empty() && !age.is_zero() {
            let now = time_us(self.call(place, "TIME", vec![]).await?)?;
            let newest = now.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
            rows.retain(|it| it.version <= newest);
        }
        Ok(rows)
    }
}

/// What a server's clock says, in microseconds since 1970.
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

/// The rows in `answer`, pairs of name and version. A name that is not understood is a later release's, which knows it.
fn rows_in(answer: Value) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::new();
    for pair in answer.into_array() {
        let pair = pair.into_array();
        let [name, version] = &pair[..] else {
            return Err(Fault::Strange);
        };
        let name = name.as_str().ok_or(Fault::Strange)?;
        // A number of microseconds, which a double holds exactly for another two centuries.
        let version = version.as_f64().ok_or(Fault::Strange)? as u64;
        let subject = keys::subject_of(&name);
        rows.extend(subject.map(|subject| Row { subject, version }));
    }
    Ok(rows)
}
