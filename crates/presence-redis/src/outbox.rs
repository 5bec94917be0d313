//! What waits to be carried elsewhere: rows that the script of writes leaves, read and taken away.

use std::collections::BTreeMap;
use std::time::Duration;

use fred::types::Value;
use futures_util::future::join_all;
use presence_core::cluster::Subject;
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
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let asked = shards.iter().map(|&shard| async move {
            let key = self.keys.outbox(shard, queue);
            let args = [Value::from(age_us), Value::from(max)];
            let place = Place::Shard(shard);
            let answer = self.run(place, &script::DUE, &[key], &args).await?;
            Ok(rows_in(&answer.into_array())?)
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

fn args_of(row: &Row) -> [Value; 2] {
    let version = i64::try_from(row.version).unwrap_or(i64::MAX);
    [
        Value::from(keys::name_of(&row.subject)),
        Value::from(version),
    ]
}

/// The rows in `answer`, names and versions by turns. A name that is not understood is a later release's, which knows it.
fn rows_in(answer: &[Value]) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::with_capacity(answer.len() / 2);
    for pair in answer.chunks_exact(2) {
        let name = pair[0].as_str().ok_or(Fault::Strange)?;
        let version = pair[1].as_f64().ok_or(Fault::Strange)?;
        let subject: Option<Subject> = keys::subject_of(&name);
        rows.extend(subject.map(|subject| Row {
            subject,
            // A version is a whole number below 2^53.
            version: version as u64,
        }));
    }
    Ok(rows)
}
