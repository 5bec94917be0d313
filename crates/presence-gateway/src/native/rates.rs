//! How often a connection may do what.

use presence_client::wire::Command;
use presence_core::{Rate, Timestamp, TokenBucket};

use crate::config::Rates;
use crate::request::Refused;
use presence_client::wire::ErrorCode;

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
pub(super) struct Buckets {
    classes: [TokenBucket; 8],
    strikes: TokenBucket,
    malformed: TokenBucket,
}

/// Commands that share a bucket.
#[derive(Clone, Copy, Debug)]
enum Class {
    Join,
    Watch,
    Status,
    Typing,
    Cursor,
    Broadcast,
    Query,
    Other,
}

impl Class {
    fn of(command: &Command) -> Self {
        match command {
            Command::Join(_) | Command::Update(_) | Command::Leave(_) => Class::Join,
            Command::Watch(_) | Command::Unwatch(_) => Class::Watch,
            Command::Status(_) => Class::Status,
            Command::Typing(_) => Class::Typing,
            Command::Cursor(_) | Command::Selection(_) => Class::Cursor,
            Command::Broadcast(_) => Class::Broadcast,
            Command::List(_) | Command::Get(_) => Class::Query,
            Command::Activity(_)
            | Command::Heartbeat(_)
            | Command::Ping(_)
            | Command::Authenticate(_) => Class::Other,
        }
    }

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
    pub(super) fn full() -> Self {
        Buckets {
            classes: [TokenBucket::full(); 8],
            strikes: TokenBucket::full(),
            malformed: TokenBucket::full(),
        }
    }

    /// Takes a token for `command`.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        command: &Command,
        rates: &Rates,
    ) -> Result<(), Refused> {
        let class = Class::of(command);
        let taken = self.classes[class as usize].take(now, class.rate(rates));
        taken.map_err(|retry_after| {
            let message = format!("too many {} commands", class.name());
            Refused::new(ErrorCode::RateLimited, message).retry_after(retry_after)
        })
    }

    /// Notes a refusal for going too fast, or a command that is none; says whether that was one too many.
    pub(super) fn strike(&mut self, now: Timestamp) -> bool {
        self.strikes.take(now, STRIKES).is_err()
    }

    /// Notes a malformed frame; says whether that was one too many.
    pub(super) fn malformed(&mut self, now: Timestamp) -> bool {
        self.malformed.take(now, MALFORMED).is_err()
    }
}
