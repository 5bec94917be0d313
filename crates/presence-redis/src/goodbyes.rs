//! What nodes that stop on purpose leave for the others, so that nobody takes them for dead: a string that expires for each
//! incarnation, on the server of the leases. It has `stopping` or `stopped`, a space, and a moment in milliseconds; a later
//! release adds more after it.

use std::time::Duration;

use fred::types::Value;
use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_core::ports::StoreError;

use crate::survey::Target;
use crate::topics::RedisTopics;

/// How long a goodbye is kept: a dead node is remembered for an hour, counted from the end of its lease.
pub const GOODBYE_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// How far a node has got that stops on purpose, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// The gateway closes its connections.
    Stopping(Timestamp),
    /// Its process has ended, or is about to.
    Stopped(Timestamp),
}

impl Goodbye {
    fn text(self) -> String {
        let (word, at) = match self {
            Goodbye::Stopping(at) => ("stopping", at),
            Goodbye::Stopped(at) => ("stopped", at),
        };
        format!("{word} {}", at.as_millis())
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (word, at) = (words.next()?, words.next()?.parse().ok()?);
        let at = Timestamp::from_millis(at);
        match word {
            "stopping" => Some(Goodbye::Stopping(at)),
            "stopped" => Some(Goodbye::Stopped(at)),
            _ => None,
        }
    }
}

impl RedisTopics {
    /// Stores how far `who` has got that stops on purpose. Call it with one's own incarnation.
    ///
    /// # Errors
    ///
    /// The store does not answer. The goodbye may have been stored all the same.
    pub async fn say_goodbye(&self, who: Incarnation, goodbye: Goodbye) -> Result<(), StoreError> {
        let millis = i64::try_from(GOODBYE_KEPT.as_millis()).unwrap_or(i64::MAX);
        let args = vec![
            Value::from(self.keys.goodbye(who)),
            Value::from(goodbye.text()),
            Value::from("PX"),
            Value::from(millis),
        ];
        self.call(Target::Nodes, "SET", args).await?;
        Ok(())
    }

    /// What each of `nodes` has said of its stop, in their order; `None` for one that has said nothing.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn goodbyes(
        &self,
        nodes: &[Incarnation],
    ) -> Result<Vec<Option<Goodbye>>, StoreError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let keys = nodes.iter().map(|who| Value::from(self.keys.goodbye(*who)));
        let answer = self.call(Target::Nodes, "MGET", keys.collect()).await?;
        let mut said = answer.into_array().into_iter();
        let said = nodes.iter().map(|_| {
            let text = said.next()?;
            Goodbye::read(&text.as_str()?)
        });
        Ok(said.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_read_as_it_is_written_and_nothing_else_is() {
        let at = Timestamp::from_millis(1_763_800_015_000);
        for goodbye in [Goodbye::Stopping(at), Goodbye::Stopped(at)] {
            let text = goodbye.text();
            assert_eq!(Goodbye::read(&text), Some(goodbye));
            assert_eq!(Goodbye::read(&(text + " later")), Some(goodbye));
        }
        assert_eq!(Goodbye::Stopped(at).text(), "stopped 1763800015000");
        for text in ["", "stopped", "stopped x", "paused 5", "stopped -1"] {
            assert_eq!(Goodbye::read(text), None, "{text}");
        }
    }
}
