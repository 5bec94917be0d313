//! What belongs to one connection: its heartbeats, its fresh token, and how it ends.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::ending::Lost;
use crate::requests::Outbox;
use crate::token::Fetched;
use crate::wire::Event;
use crate::wire::event::Closing;
use crate::{Ending, PresenceError};

/// A connection that lasted that long starts the back-off afresh.
const STEADY: Duration = Duration::from_secs(2);

/// How long to read what a gateway said before it hung up.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// A timer that is this late means that the process slept: what the gateway said lies unread.
const LATE: Duration = Duration::from_secs(2);

/// No gateway makes the client send heartbeats more often.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// What belongs to one connection.
pub(crate) struct Line {
    heartbeat_interval: Duration,
    next_heartbeat: Instant,
    /// When the gateway was last heard.
    pub(crate) heard: Instant,
    /// When the gateway was asked whether it is there, until it has answered.
    asked: Option<Instant>,
    steady_at: Option<Instant>,
    pub(crate) closing: Option<Closing>,
    /// A fresh token on its way to us.
    pub(crate) renewal: Option<Fetched>,
    /// The gateway's answer to a fresh token.
    pub(crate) renewed: Option<oneshot::Receiver<Result<Event, PresenceError>>>,
}

impl Line {
    /// A connection that begins now.
    pub(crate) fn new(heartbeat_interval: Duration) -> Self {
        let interval = heartbeat_interval.max(HEARTBEAT_MIN);
        let now = Instant::now();
        Line {
            heartbeat_interval: interval,
            next_heartbeat: now + interval,
            heard: now,
            asked: None,
            steady_at: Some(now + STEADY),
            closing: None,
            renewal: None,
            renewed: None,
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn due(&self, answer_max: Duration) -> Instant {
        let answer = self.asked.map(|it| it + answer_max);
        let due = self.next_heartbeat;
        let others = answer.into_iter().chain(self.steady_at);
        others.fold(due, Instant::min)
    }

    /// Sends a heartbeat if it is time. Returns whether the connection has become steady, or why it counts as lost.
    pub(crate) fn on_time(
        &mut self,
        answer_max: Duration,
        out: &mut Outbox,
    ) -> Result<bool, &'static str> {
        let now = Instant::now();
        let is_steady = self.steady_at.take_if(|it| *it <= now).is_some();
        self.asked = self.asked.filter(|asked| self.heard < *asked);
        if let Some(asked) = self.asked {
            let late = now.saturating_duration_since(asked + answer_max);
            if late > LATE {
                self.asked = None;
                self.next_heartbeat = now;
            } else if now >= asked + answer_max {
                return Err("no answer to a heartbeat");
            }
        }
        if self.next_heartbeat <= now {
            self.next_heartbeat = now + self.heartbeat_interval;
            self.asked.get_or_insert(now);
            out.heartbeat();
        }
        Ok(is_steady)
    }

    /// What the gateway said of this connection, on which nothing can be sent because of `why`.
    pub(crate) async fn last_words(mut self, client: &mut Client, why: &str) -> Lost {
        let read = async {
            while let Some(event) = client.next().await {
                if let Event::Closing(it) = event {
                    self.closing = Some(it);
                }
            }
        };
        let _ = timeout(LAST_WORDS_MAX, read).await;
        match (client.ending(), self.closing) {
            (Some(ending @ Ending::Closed { .. }), closing) => Lost::open(ending, closing),
            (_, closing) => Lost::open(&Ending::Lost(why.to_owned()), closing),
        }
    }

    /// How the connection ended that has ended.
    pub(crate) fn ended(self, client: &Client) -> Lost {
        match client.ending() {
            Some(ending) => Lost::open(ending, self.closing),
            None => Lost::given_up("the connection ended"),
        }
    }
}
