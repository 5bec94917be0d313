//! How often a connection may do each kind of thing, in every dialect.

use std::time::Duration;

use presence_core::{Rate, Timestamp, TokenBucket};
use presence_protocol::ErrorCode;

use crate::request::Refused;

/// How many refusals for going too fast, and unknown commands, a connection may cause before it is closed.
const STRIKES: Rate = Rate {
    burst: 500,
    every: Duration::from_millis(20),
};
/// How many malformed frames a connection may send before it is closed.
const MALFORMED: Rate = Rate {
    burst: 20,
    every: Duration::from_secs(1),
};

/// How often a connection may do each kind of thing, in all dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The rate of join, update and leave.
    pub join: Rate,
    /// The rate of watch and unwatch.
    pub watch: Rate,
    /// The rate of changes of the chosen status.
    pub status: Rate,
    /// The rate of typing commands.
    pub typing: Rate,
    /// The rate of cursor and selection commands.
    pub cursor: Rate,
    /// The rate of broadcasts to channels.
    pub broadcast: Rate,
    /// The rate of list and get.
    pub query: Rate,
    /// The rate of heartbeat, ping, activity and authenticate.
    pub other: Rate,
}

impl Default for Rates {
    /// The rates that a gateway has if it is configured with none.
    fn default() -> Self {
        let per_second = |rate: u64, burst| Rate {
            burst,
            every: Duration::from_millis(1000 / rate),
        };
        Rates {
            join: per_second(20, 200),
            watch: per_second(100, 500),
            status: per_second(1, 10),
            typing: per_second(5, 20),
            cursor: per_second(60, 120),
            broadcast: per_second(20, 40),
            query: per_second(10, 20),
            other: per_second(5, 20),
        }
    }
}

/// The token buckets of one connection.
#[derive(Debug)]
pub struct Buckets {
    classes: [TokenBucket; 8],
    strikes: TokenBucket,
    malformed: TokenBucket,
}

/// A class of commands that share a token bucket.
#[derive(Clone, Copy, Debug)]
pub enum CommandClass {
    /// Joining a channel, changing the meta there, and leaving it.
    Join,
    /// Watching a topic, and ending that.
    Watch,
    /// Changing the chosen status.
    Status,
    /// Starting and stopping to type.
    Typing,
    /// Moving the cursor, and selecting.
    Cursor,
    /// Broadcasting to a channel.
    Broadcast,
    /// Asking for a list or for the status of users.
    Query,
    /// All other commands, such as heartbeats.
    Other,
}

impl CommandClass {
    fn rate(self, rates: &Rates) -> Rate {
        match self {
            CommandClass::Join => rates.join,
            CommandClass::Watch => rates.watch,
            CommandClass::Status => rates.status,
            CommandClass::Typing => rates.typing,
            CommandClass::Cursor => rates.cursor,
            CommandClass::Broadcast => rates.broadcast,
            CommandClass::Query => rates.query,
            CommandClass::Other => rates.other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            CommandClass::Join => "join, update and leave",
            CommandClass::Watch => "watch and unwatch",
            CommandClass::Status => "status",
            CommandClass::Typing => "typing",
            CommandClass::Cursor => "cursor and selection",
            CommandClass::Broadcast => "broadcast",
            CommandClass::Query => "list and get",
            CommandClass::Other => "activity, heartbeat, ping and authenticate",
        }
    }
}

impl Buckets {
    pub fn full() -> Self {
        Buckets {
            classes: [TokenBucket::full(); 8],
            strikes: TokenBucket::full(),
            malformed: TokenBucket::full(),
        }
    }

    /// Takes a token for a command of this class.
    ///
    /// # Errors
    ///
    /// Fails if there is none, and says how long until there is one.
    pub fn take(
        &mut self,
        now: Timestamp,
        class: CommandClass,
        rates: &Rates,
    ) -> Result<(), Refused> {
        let taken = self.classes[class as usize].take(now, class.rate(rates));
        taken.map_err(|retry_after| {
            let message = format!("too many {} commands", class.name());
            Refused::new(ErrorCode::RateLimited, message).retry_after(retry_after)
        })
    }

    /// Counts a refusal for going too fast, or an unknown command. Returns whether that was one too many.
    pub fn strike(&mut self, now: Timestamp) -> bool {
        self.strikes.take(now, STRIKES).is_err()
    }

    /// Counts a malformed frame. Returns whether that was one too many.
    pub fn malformed(&mut self, now: Timestamp) -> bool {
        self.malformed.take(now, MALFORMED).is_err()
    }
}
