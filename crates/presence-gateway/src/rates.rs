//! How often a connection may do what, in whichever dialect.

use presence_client::wire::ErrorCode;
use presence_core::{Rate, Timestamp, TokenBucket};

use crate::config::Rates;
use crate::request::Refused;

/// Refusals for going too fast and commands that are none, before a connection that does not listen is closed.
const STRIKES: Rate = Rate {
    burst: 500,
    every: std::time::Duration::from_millis(20),
};
/// Malformed frames, before a connection is closed.
const MALFORMED: Rate = Rate {
    burst: 20,
    every: std::time::Duration::from_secs(1),
};

/// The token buckets of one connection.
#[derive(Debug)]
pub(crate) struct Buckets {
    classes: [TokenBucket; 8],
    strikes: TokenBucket,
    malformed: TokenBucket,
}

/// Commands that share a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Class {
    /// Entering a channel, changing one's meta there, leaving.
    Join,
    /// Watching, and no longer.
    Watch,
    /// Choosing a status.
    Status,
    /// Typing.
    Typing,
    /// Pointing and selecting.
    Cursor,
    /// Telling a channel something.
    Broadcast,
    /// Asking for a list.
    Query,
    /// Everything else.
    Other,
}

impl Class {
    fn rate(self, rates: &Rates) -> Rate {
        match self {
            Class::Join => rates.join,
            Class::Watch => rates.watch,
            Class::Status => rates.status,
            Class::Typing => rates.typing,
            Class::Cursor => rates.cursor,
            Class::Broadcast => rates.broadcast,
            Class::Query => rates.query,
            Class::Other => rates.other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Class::Join => "join, update and leave",
            Class::Watch => "watch and unwatch",
            Class::Status => "status",
            Class::Typing => "typing",
            Class::Cursor => "cursor and selection",
            Class::Broadcast => "broadcast",
            Class::Query => "list and get",
            Class::Other => "activity, heartbeat, ping and authenticate",
        }
    }
}

impl Buckets {
    pub(crate) fn full() -> Self {
        Buckets {
            classes: [TokenBucket::full(); 8],
            strikes: TokenBucket::full(),
            malformed: TokenBucket::full(),
        }
    }

    /// Takes a token for a command of that class.
    ///
    /// # Errors
    ///
    /// There is none; says how long until there is.
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        class: Class,
        rates: &Rates,
    ) -> Result<(), Refused> {
        let taken = self.classes[class as usize].take(now, class.rate(rates));
        taken.map_err(|retry_after| {
            let message = format!("too many {} commands", class.name());
            Refused::new(ErrorCode::RateLimited, message).retry_after(retry_after)
        })
    }

    /// Notes a refusal for going too fast, or a command that is none; says whether that was one too many.
    pub(crate) fn strike(&mut self, now: Timestamp) -> bool {
        self.strikes.take(now, STRIKES).is_err()
    }

    /// Notes a malformed frame; says whether that was one too many.
    pub(crate) fn malformed(&mut self, now: Timestamp) -> bool {
        self.malformed.take(now, MALFORMED).is_err()
    }
}
