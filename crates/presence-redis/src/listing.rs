//! Lists the channels that somebody is in, on any node.

use std::collections::BTreeSet;

use fred::types::Value;
use futures_util::{StreamExt, stream};
use presence_core::cluster::{Incarnation, PARTITIONS, Subject};
use presence_core::ports::StoreError;
use presence_core::{ChannelId, Topic};

use crate::fault::Fault;
use crate::keys;
use crate::survey::Target;
use crate::topics::RedisTopics;

/// The most channels that one listing finds.
pub const LISTED_CHANNELS_MAX: usize = 100_000;
/// The number of names that one command looks at.
const NAMES_PER_SCAN: i64 = 2000;
/// The number of commands that are under way at the same time.
const SCANS_AT_ONCE: usize = 32;

impl RedisTopics {
    /// The channels whose ids begin with `prefix` in which sessions of `nodes` have entries; more than
    /// [`LISTED_CHANNELS_MAX`] if there are more. Users who hide have no entries. It looks at the names of everything
    /// that `nodes` have in the store, so ask for it seldom.
    ///
    /// # Errors
    ///
    /// Part of the store did not answer.
    pub async fn channels(
        &self,
        nodes: &[Incarnation],
        prefix: &str,
    ) -> Result<BTreeSet<ChannelId>, StoreError> {
        let sets =
            (0..PARTITIONS).flat_map(|partition| nodes.iter().map(move |who| (partition, *who)));
        let sets: Vec<(u16, Incarnation)> = sets.collect();
        let mut scans = stream::iter(sets)
            .map(|(partition, who)| self.channels_of(partition, who, prefix))
            .buffer_unordered(SCANS_AT_ONCE);
        let mut found = BTreeSet::new();
        while let Some(channels) = scans.next().await {
            found.extend(channels?);
            if found.len() > LISTED_CHANNELS_MAX {
                break;
            }
        }
        Ok(found)
    }

    async fn channels_of(
        &self,
        partition: u16,
        who: Incarnation,
        prefix: &str,
    ) -> Result<Vec<ChannelId>, Fault> {
        let key = self.keys.owned(partition, who);
        let mut found = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let args = vec![
                Value::from(key.as_str()),
                Value::from(cursor.as_str()),
                Value::from("COUNT"),
                Value::from(NAMES_PER_SCAN),
            ];
            let answer = self
                .call(Target::Partition(partition), "SSCAN", args)
                .await?;
            let answer = <[Value; 2]>::try_from(answer.into_array());
            let [next, names] = answer.map_err(|_| Fault::Strange)?;
            for name in names.into_array() {
                let subject = name.as_str().and_then(|it| keys::subject_of(&it));
                match subject {
                    Some(Subject::Topic(Topic::Channel(channel)))
                        if channel.as_str().starts_with(prefix) =>
                    {
                        found.push(channel);
                    }
                    _ => {}
                }
            }
            cursor = next.as_str().ok_or(Fault::Strange)?.into_owned();
            if cursor == "0" || found.len() > LISTED_CHANNELS_MAX {
                return Ok(found);
            }
        }
    }
}
