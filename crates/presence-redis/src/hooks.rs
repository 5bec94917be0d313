//! Webhook events: stored until they are delivered.

use fred::types::Value;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use presence_core::Edit;
use presence_core::cluster::Subject;
use presence_core::ports::{
    EVENTS_WAITING_MAX, EnqueueOutcome, Hooks, Known, Notification, NumberedEvent, Queue,
    StoreError, WaitingEvents,
};

use crate::fault::Fault;
use crate::keys;
use crate::record::{self, RecordError};
use crate::script;
use crate::survey::Target;
use crate::topics::{READING_MAX, RedisTopics};

impl Hooks for RedisTopics {
    async fn known(&self, subjects: &[Subject]) -> Vec<Result<Known, StoreError>> {
        let known: Vec<_> = subjects.iter().map(|it| self.known_of(it)).collect();
        stream::iter(known).buffered(READING_MAX).collect().await
    }

    async fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> Vec<Result<EnqueueOutcome, StoreError>> {
        let told: Vec<_> = notifications
            .iter()
            .map(|it| self.enqueue_one(it))
            .collect();
        stream::iter(told).buffered(READING_MAX).collect().await
    }

    async fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        let keys = [
            self.keys.told(partition),
            self.keys.outbox(partition, Queue::Webhooks),
        ];
        let count = i64::try_from(max.max(1)).unwrap_or(i64::MAX);
        let args = [Value::from(cursor.to_string()), Value::from(count)];
        let place = Target::Partition(partition);
        let answer = self.run(place, &script::AUDIT, &keys, &args).await?;
        let next = answer.as_str().and_then(|it| it.parse().ok());
        let next: u64 = next.ok_or(Fault::Strange)?;
        Ok((next > 0).then_some(next))
    }

    async fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> Vec<Result<WaitingEvents, StoreError>> {
        join_all(
            partitions
                .iter()
                .map(|&partition| self.waiting_in(partition, max)),
        )
        .await
    }

    async fn remove_delivered(&self, upto: &[(u16, u64)]) -> Vec<Result<(), StoreError>> {
        let delivered = upto.iter().map(|&(partition, number)| async move {
            let key = self.keys.events(partition);
            let number = Value::from(i64::try_from(number).unwrap_or(i64::MAX));
            let place = Target::Partition(partition);
            self.run(place, &script::DELIVERED, &[key], &[number])
                .await?;
            Ok(())
        });
        join_all(delivered).await
    }
}

impl RedisTopics {
    async fn known_of(&self, subject: &Subject) -> Result<Known, StoreError> {
        let partition = subject.partition();
        let (key, name) = (self.keys.told(partition), keys::name_of(subject));
        let args = vec![Value::from(key.as_str()), Value::from(name.as_str())];
        let answer = self
            .call(Target::Partition(partition), "HGET", args)
            .await?;
        match answer.as_bytes() {
            None => Ok(Known::default()),
            Some(bytes) => Ok(record::decode_last_notified(bytes).unwrap_or_else(|error| {
                let garbled = self.followed.notices().garbled();
                garbled.note(format_args!("what was told of {subject}"), &error);
                Known {
                    last_notified: None,
                    revision: record::number_of(bytes).unwrap_or(0),
                }
            })),
        }
    }

    async fn enqueue_one(&self, notification: &Notification) -> Result<EnqueueOutcome, StoreError> {
        let Notification { row, after, .. } = notification;
        let partition = row.subject.partition();
        let keys = [
            self.keys.outbox(partition, Queue::Webhooks),
            self.keys.told(partition),
            self.keys.events(partition),
        ];
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let after = match after {
            0 => Vec::new(),
            after => after.to_be_bytes().to_vec(),
        };
        let known = match &notification.last_notified {
            Edit::Keep => Vec::new(),
            Edit::Clear => b"-".to_vec(),
            Edit::Set(last) => record::encode_last_notified(last),
        };
        let mut args = vec![
            Value::from(keys::name_of(&row.subject)),
            number(row.version),
            Value::from_static_str(if notification.is_exact { "!" } else { "" }),
            Value::Bytes(after.into()),
            Value::Bytes(known.into()),
            number(EVENTS_WAITING_MAX as u64),
        ];
        let events = notification.events.iter().map(record::encode_event);
        args.extend(events.map(|it| Value::Bytes(it.into())));
        let place = Target::Partition(partition);
        let answer = self.run(place, &script::ENQUEUE, &keys, &args).await?;
        Ok(match answer.as_i64() {
            Some(0) => EnqueueOutcome::Overtaken,
            Some(1) => EnqueueOutcome::Stored,
            Some(2) => EnqueueOutcome::Full,
            _ => return Err(Fault::Strange.into()),
        })
    }

    async fn waiting_in(&self, partition: u16, max: usize) -> Result<WaitingEvents, StoreError> {
        let (key, place) = (self.keys.events(partition), Target::Partition(partition));
        let count = self.call(place, "LLEN", vec![Value::from(key.as_str())]);
        let last = i64::try_from(max).unwrap_or(i64::MAX) - 1;
        let range = vec![
            Value::from(key.as_str()),
            Value::from(0),
            // -1 would be all of them.
            Value::from(last.max(0)),
        ];
        let range = self.call(place, "LRANGE", range);
        let (count, range) = futures_util::future::try_join(count, range).await?;
        let count = count.as_i64().and_then(|it| usize::try_from(it).ok());
        let mut queued = WaitingEvents {
            events: Vec::new(),
            count: count.ok_or(Fault::Strange)?,
        };
        for value in range.into_array().into_iter().take(max) {
            let bytes = value.as_bytes().ok_or(Fault::Strange)?;
            match record::decode_event(bytes) {
                Ok((number, event)) => queued.events.push(NumberedEvent {
                    partition,
                    number,
                    event,
                }),
                // What comes before it is delivered first.
                Err(_) if !queued.events.is_empty() => break,
                Err(error) => {
                    self.skip(partition, bytes, &error).await?;
                    queued.count = queued.count.saturating_sub(1);
                }
            }
        }
        Ok(queued)
    }

    /// Removes an event that cannot be understood, because the events behind it would wait for ever. It is found by its
    /// bytes: its number may be wrong, too, and greater than that of all that follow.
    async fn skip(&self, partition: u16, bytes: &[u8], error: &RecordError) -> Result<(), Fault> {
        let (key, number) = (self.keys.events(partition), record::number_of(bytes));
        let garbled = self.followed.notices().garbled();
        garbled.note(
            format_args!("event {} of {key}", number.unwrap_or(0)),
            error,
        );
        let args = vec![Value::from(key), Value::from(1), Value::from(bytes)];
        self.call(Target::Partition(partition), "LREM", args)
            .await?;
        Ok(())
    }
}
