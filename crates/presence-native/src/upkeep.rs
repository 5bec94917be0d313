//! What happens to a connection as time passes: pings, silence, and the end of its token. All loops that serve
//! connections use this.

use std::time::Duration;

use presence_core::Timestamp;
use tokio::time::Instant;

use crate::authorized::Authorized;
use crate::closing::{CloseReason, Closing};
use crate::end::End;
use crate::host::Host;

/// A connection that sent nothing for this long is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// How long a connection may take to answer a ping.
pub const PONG_WAIT: Duration = Duration::from_secs(8);
/// A client that reads nothing for this long is closed.
pub const WRITE_WAIT: Duration = Duration::from_secs(10);
/// How long a client may take to close after it was told to.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How long before the end of a token the client is asked for a new one, at most.
const EXPIRING_BEFORE: Duration = Duration::from_secs(60);

/// The state of a connection that changes as time passes.
#[derive(Debug)]
pub struct Upkeep {
    /// A random number. It spreads out what many connections would do at the same time.
    jitter: u32,
    heard_at: Instant,
    /// When the hub was last told that the client was heard from.
    told_at: Instant,
    pinged: bool,
    /// The end of the token for which the client was asked for a new one.
    expiring_told: Option<Timestamp>,
}

/// What has to be done about a client that is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The client was heard from recently enough: nothing has to be done.
    Short,
    /// The client has been silent for the span of a ping: send one.
    Ping,
    /// The client has not answered: end the connection.
    Over,
}

/// The token of a connection that ends first.
#[derive(Clone, Copy, Debug)]
pub struct TokenEnd {
    /// When the token expires, by the clock of the host.
    pub expires_at: Timestamp,
    /// How long the connection may stay after that.
    pub leeway: Duration,
}

impl TokenEnd {
    /// The token that ends first of those that these sessions have. `None` if none of them ends.
    pub fn of<H: Host>(sessions: &[Authorized<H>]) -> Option<TokenEnd> {
        let ends = sessions.iter().filter_map(|it| it.identity().expires_at);
        let expires_at = ends.min()?;
        let leeway = sessions.first()?.host().token_leeway();
        Some(TokenEnd { expires_at, leeway })
    }

    /// When the connection ends with it.
    pub fn ends_at(self) -> Timestamp {
        self.expires_at + self.leeway
    }
}

impl Upkeep {
    /// The state of a connection that begins now.
    pub fn begin() -> Upkeep {
        let now = Instant::now();
        Upkeep {
            jitter: getrandom::u32().expect("the operating system has random numbers"),
            heard_at: now,
            told_at: now,
            pinged: false,
            expiring_told: None,
        }
    }

    /// The random number of the connection.
    pub fn jitter(&self) -> u32 {
        self.jitter
    }

    /// The client was heard from.
    pub fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.pinged = false;
    }

    /// Tells the hub at intervals that the client was heard from.
    pub fn tell_heard<H: Host>(&mut self, sessions: &[Authorized<H>]) {
        let Some(first) = sessions.first() else {
            return;
        };
        let heartbeat = first.host().hub().settings().timing.heartbeat();
        if self.told_at.elapsed() < heartbeat / 2 {
            return;
        }
        let told = sessions.iter().filter(|it| it.session().heard().is_ok());
        if told.count() == sessions.len() {
            self.told_at = Instant::now();
        }
    }

    /// When the connection has to be looked after next, if it is pinged after `ping_every` of silence.
    pub fn wakes_at(
        &self,
        ping_every: Duration,
        token: Option<TokenEnd>,
        now: impl FnOnce() -> Timestamp,
    ) -> Instant {
        let silence = match self.pinged {
            false => ping_every,
            true => ping_every + PONG_WAIT,
        };
        let silent = self.heard_at + silence;
        match token {
            None => silent,
            Some(token) => silent.min(Instant::now() + self.token_time(token, now())),
        }
    }

    /// How long until the client has to be asked for a new token, or its token ends.
    fn token_time(&self, token: TokenEnd, now: Timestamp) -> Duration {
        let left = token.ends_at().since(now);
        match self.expiring_told == Some(token.expires_at) {
            true => left,
            false => left.saturating_sub(self.expiring_before()),
        }
    }

    /// The end of the token, if it is time to ask the client for a new one. It is asked once for each token.
    pub fn expiring(&mut self, token: Option<TokenEnd>, now: Timestamp) -> Option<Timestamp> {
        let token = token?;
        let left = token.ends_at().since(now);
        let expires_at = Some(token.expires_at);
        if left > self.expiring_before() || self.expiring_told == expires_at {
            return None;
        }
        self.expiring_told = expires_at;
        expires_at
    }

    /// How long before its end to ask for a new token. It varies, so that many tokens that end together are not
    /// all refreshed together.
    fn expiring_before(&self) -> Duration {
        let part = self.jitter % 1000;
        EXPIRING_BEFORE / 2 + EXPIRING_BEFORE / 2 * part / 1000
    }

    /// What the silence of the client asks for. A ping is asked for once.
    pub fn silence(&mut self, ping_every: Duration) -> Silence {
        let silent = self.heard_at.elapsed();
        if silent >= ping_every + PONG_WAIT {
            return Silence::Over;
        }
        if silent >= ping_every && !self.pinged {
            self.pinged = true;
            return Silence::Ping;
        }
        Silence::Short
    }

    /// Checks that the sessions of the connection have not ended.
    ///
    /// # Errors
    ///
    /// The end of the connection, if one of them has.
    pub fn check_sessions<H: Host>(&self, sessions: &[Authorized<H>]) -> Result<(), End> {
        let ended = sessions.iter().find_map(|it| it.session().ended());
        match ended {
            Some(ended) => Err(End::Closed(Closing::of(ended, self.jitter))),
            None => Ok(()),
        }
    }

    /// Checks that the identities of the connection are still good: that no user was revoked, and no token has ended.
    ///
    /// # Errors
    ///
    /// The end of the connection, if one of them is not.
    pub fn check_identities<H: Host>(
        sessions: &[Authorized<H>],
        now: Timestamp,
    ) -> Result<(), End> {
        if sessions.iter().any(Authorized::is_revoked) {
            return Err(End::Closed(CloseReason::Kicked.into()));
        }
        match TokenEnd::of(sessions) {
            Some(token) if token.ends_at() <= now => Err(End::Closed(CloseReason::Expired.into())),
            _ => Ok(()),
        }
    }
}
