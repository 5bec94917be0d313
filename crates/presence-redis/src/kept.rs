//! What a gateway stores of a connection, for whichever gateway its client connects to next.

use std::time::Duration;

use fred::types::Value;
use presence_core::SessionId;
use presence_core::cluster::PARTITIONS;
use presence_core::ports::StoreError;

use crate::RedisTopics;
use crate::survey::Target;

impl RedisTopics {
    /// Stores `bytes` for `span`, for the gateway that resumes the session after its connection with this epoch. Later bytes
    /// replace earlier ones.
    ///
    /// # Errors
    ///
    /// The store does not answer. The bytes may have been stored all the same.
    pub async fn keep(
        &self,
        session: SessionId,
        epoch: u32,
        bytes: Vec<u8>,
        span: Duration,
    ) -> Result<(), StoreError> {
        let (place, key) = self.place_of_kept(session, epoch);
        let millis = i64::try_from(span.as_millis().max(1)).unwrap_or(i64::MAX);
        let args = vec![
            Value::from(key),
            Value::Bytes(bytes.into()),
            Value::from("PX"),
            Value::from(millis),
        ];
        self.call(place, "SET", args).await?;
        Ok(())
    }

    /// Removes and returns the bytes that are stored for that connection; `None` if there are none.
    ///
    /// # Errors
    ///
    /// The store does not answer. The bytes may have been removed all the same.
    pub async fn take_kept(
        &self,
        session: SessionId,
        epoch: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (place, key) = self.place_of_kept(session, epoch);
        let found = self.call(place, "GETDEL", vec![Value::from(key)]).await?;
        Ok(found.as_bytes().map(<[u8]>::to_vec))
    }

    fn place_of_kept(&self, session: SessionId, epoch: u32) -> (Target, String) {
        let partition = (session.as_u128() % u128::from(PARTITIONS)) as u16;
        let key = self.keys.kept(partition, session, epoch);
        (Target::Partition(partition), key)
    }
}
