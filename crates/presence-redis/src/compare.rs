//! Checks whether what is followed is still as it was announced: with one small command for each partition in which
//! something is followed, and from time to time one for each of the other partitions.

use fred::types::Value;
use futures_util::future::join_all;
use presence_core::cluster::Subject;
use presence_core::ports::Notice;

use crate::batch::Batch;
use crate::fault::Fault;
use crate::followed::Changed;
use crate::survey::Target;
use crate::topics::RedisTopics;
use crate::{keys, record};

/// The number of names that one command asks for.
const NAMES_PER_PAGE: i64 = 1000;

impl RedisTopics {
    pub(crate) async fn compare_all(&self) -> Result<(), Fault> {
        let compared = self
            .followed
            .due()
            .map(|partition| self.compare_partition(partition));
        join_all(compared).await.into_iter().collect()
    }

    async fn compare_partition(&self, partition: u16) -> Result<(), Fault> {
        let look = self.followed.look(partition);
        let mut changed = Changed::default();
        let mut since = look.since().to_string();
        loop {
            let args = vec![
                Value::from(self.keys.changed(partition)),
                Value::from(since),
                Value::from("+inf"),
                Value::from("BYSCORE"),
                Value::from("LIMIT"),
                Value::from(0),
                Value::from(NAMES_PER_PAGE),
                Value::from("WITHSCORES"),
            ];
            let page = self
                .call(Target::Partition(partition), "ZRANGE", args)
                .await?;
            let last = changed.add(page)?;
            match last {
                // The birth is above all versions, so a page that ends before it is not the last one.
                Some(version) if changed.birth.is_none() => since = format!("({version}"),
                _ => break,
            }
        }
        let unknown = self.followed.compared(partition, &look, &changed);
        for outcome in join_all(unknown.into_iter().map(|it| self.tell(partition, it))).await {
            outcome?;
        }
        if changed.birth.is_none() {
            // So that it is seen if that is lost.
            self.write_batch(&Batch::empty(partition)).await?;
        }
        Ok(())
    }

    /// Adds a notice with the present version of the map of `subject`.
    async fn tell(&self, partition: u16, subject: Subject) -> Result<(), Fault> {
        let args = vec![
            Value::from(self.keys.map(&subject)),
            Value::from(keys::CLOCK),
        ];
        let clock = self
            .call(Target::Partition(partition), "HGET", args)
            .await?;
        let clock = match clock.as_bytes() {
            None => None,
            Some(bytes) => match record::clock(bytes) {
                Ok(clock) => Some(clock),
                Err(error) => {
                    let garbled = self.followed.notices().garbled();
                    garbled.note(format_args!("the version of {subject}"), &error);
                    return Ok(());
                }
            },
        };
        self.followed
            .notices()
            .say(partition, Notice::At(subject, clock));
        Ok(())
    }
}

impl Changed {
    /// Adds a page of the answer. Returns the version of its last name, if any.
    fn add(&mut self, page: Value) -> Result<Option<u64>, Fault> {
        let mut last = None;
        for pair in page.into_array() {
            let pair = pair.into_array();
            let [name, version] = &pair[..] else {
                return Err(Fault::Strange);
            };
            let version = version.as_f64().ok_or(Fault::Strange)?;
            if version.is_finite() {
                // A number of microseconds, which a double holds exactly for another two centuries.
                last = Some(version as u64);
                let Some(name) = name.as_str() else {
                    continue; // not a name of ours, so nobody follows it
                };
                self.names.push((name.into(), version as u64));
            } else {
                let name = name.as_str().ok_or(Fault::Strange)?;
                let birth = name.strip_prefix("birth:").and_then(|it| it.parse().ok());
                self.birth = Some(birth.ok_or(Fault::Strange)?);
            }
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_put_together() {
        let pair =
            |name: &str, version| Value::Array(vec![Value::from(name), Value::Double(version)]);
        let mut changed = Changed::default();
        let page = Value::Array(vec![
            pair("user:ann", 1.7e15),
            pair("user:bob", 1.7e15 + 1.0),
        ]);
        assert_eq!(changed.add(page).unwrap(), Some(1_700_000_000_000_001));
        assert_eq!(changed.birth, None);
        let page = Value::Array(vec![pair("birth:4294967295", f64::INFINITY)]);
        assert_eq!(changed.add(page).unwrap(), None);
        assert_eq!(changed.birth, Some(u64::from(u32::MAX)));
        assert_eq!(changed.names.len(), 2);
        assert_eq!(changed.add(Value::Array(vec![])).unwrap(), None);
        let strange = Value::Array(vec![pair("what", f64::INFINITY)]);
        assert!(changed.add(strange).is_err());
    }
}
