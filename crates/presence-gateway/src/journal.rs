//! The journal: one structured event in the log for the beginning and the end of each connection, and for each that is
//! not let in.
//!
//! Nothing here is on the way of an event to a watcher. How many events are logged in a second is bounded, so that a
//! storm of connections costs no more than a line now and then; what was left out is counted in the next line.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, Mac};
use presence_core::{Rate, Timestamp, TokenBucket, UserId};
use presence_hub::Session;
use sha2::Sha256;
use tokio::time::Instant;

use crate::closing::Farewell;
use crate::config::{JournalLevel, JournalSettings, UserIds};
use crate::dialect_name::DialectName;
use crate::identity::{IdentityError, ResumeKey};

/// What is counted of one connection for the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail {
    pub(crate) id: ConnectionId,
    began: Instant,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// The id of a connection: a random number, so that it is the only one of its kind on any gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    fn random() -> Self {
        ConnectionId(getrandom::u64().expect("the operating system has random numbers"))
    }

    /// Reads an id as it is written in the log and in lists.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_one = text.len() == 16
            && text
                .bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok()?;
        is_one.then_some(ConnectionId(number))
    }

    /// Which of `parts` parts of a list it is in.
    pub(crate) fn part(self, parts: usize) -> usize {
        (self.0 % parts as u64) as usize
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Trail {
    /// A connection that begins now.
    pub(crate) fn begin() -> Self {
        Trail {
            id: ConnectionId::random(),
            began: Instant::now(),
            frames_in: 0,
            frames_out: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// How long the connection has lasted.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Throws a user out.
    Kick,
    /// Erases a user.
    Erase,
    /// Ends a connection.
    Disconnect,
    /// Stops a gateway.
    Drain,
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Act::Kick => "kick",
            Act::Erase => "erase",
            Act::Disconnect => "disconnect",
            Act::Drain => "drain",
        }
    }
}

/// To whom or what an operator does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    User(UserId),
    /// A connection or a gateway.
    Id(String),
}

/// Writes the events of connections.
pub(crate) struct Journal {
    settings: JournalSettings,
    key: ResumeKey,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    bucket: TokenBucket,
    left_out: u64,
}

/// Logs an event at the level of the journal; a macro of `tracing` needs its level as a constant.
macro_rules! log {
    ($journal:expr, $($event:tt)+) => {
        match $journal.settings.level {
            JournalLevel::Info => tracing::info!($($event)+),
            JournalLevel::Debug => tracing::debug!($($event)+),
            JournalLevel::Off => {}
        }
    };
}

impl Journal {
    /// A journal whose hashes are made with `key`.
    pub(crate) fn new(settings: JournalSettings, key: ResumeKey) -> Self {
        let bucket = TokenBucket::full();
        Journal {
            settings,
            key,
            pace: Mutex::new(Pace {
                bucket,
                left_out: 0,
            }),
        }
    }

    /// Logs that a connection begins, and as whom: the user of its `first` session.
    pub(crate) fn begins(
        &self,
        now: Timestamp,
        dialect: DialectName,
        trail: &Trail,
        first: Option<&Session>,
    ) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "connection_begin",
            connection = %trail.id,
            dialect = dialect.name(),
            user = first.and_then(|it| self.name(it.user())),
            resumed = first.is_some_and(|it| it.is_restored()),
            left_out,
            "a connection begins"
        );
    }

    /// Logs that a connection was refused with `farewell` before it was let in.
    pub(crate) fn refuses(&self, now: Timestamp, dialect: DialectName, farewell: &Farewell) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "connection_refused",
            dialect = dialect.name(),
            code = farewell.code,
            reason = farewell.reason,
            left_out,
            "a connection is refused"
        );
    }

    /// Logs that a handshake was answered with an HTTP status, and got no WebSocket.
    pub(crate) fn refuses_handshake(&self, now: Timestamp, dialect: DialectName, status: u16) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "connection_refused",
            dialect = dialect.name(),
            status,
            left_out,
            "a handshake is refused"
        );
    }

    /// Logs why somebody is not who they say: as a rule because a token is missing or refused.
    pub(crate) fn refuses_identity(&self, now: Timestamp, why: &IdentityError) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "token_refused",
            reason = %why,
            left_out,
            "a token is refused"
        );
    }

    /// Logs that a connection was turned away because there are too many.
    pub(crate) fn turns_away(&self, now: Timestamp, reason: &'static str) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "connection_refused",
            status = 503,
            reason,
            left_out,
            "a connection is turned away"
        );
    }

    /// Logs that a connection has ended: for which reason, and with which close code if the gateway closed it.
    pub(crate) fn ends(
        &self,
        now: Timestamp,
        (dialect, trail, first): (DialectName, &Trail, Option<&Session>),
        (reason, code): (&'static str, Option<u16>),
    ) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "connection_end",
            connection = %trail.id,
            dialect = dialect.name(),
            user = first.and_then(|it| self.name(it.user())),
            reason,
            code,
            seconds = trail.age().as_secs_f64(),
            frames_in = trail.frames_in,
            frames_out = trail.frames_out,
            bytes_in = trail.bytes_in,
            bytes_out = trail.bytes_out,
            left_out,
            "a connection ends"
        );
    }

    /// Logs that a connection goes on with an earlier session.
    pub(crate) fn takes_over(&self, now: Timestamp, session: &Session) {
        let Some(left_out) = self.admits(now) else {
            return;
        };
        log!(
            self,
            event = "session_takeover",
            user = self.name(session.user()),
            epoch = session.connection().epoch,
            left_out,
            "a connection goes on with an earlier session"
        );
    }

    /// Logs what an operator does, as which user, to whom or what. It is logged whatever the settings of the journal are.
    pub(crate) fn acts(&self, act: Act, by: &UserId, subject: &Subject, outcome: &'static str) {
        let by = self.name(by);
        let subject = match subject {
            Subject::User(user) => self.name(user),
            Subject::Id(id) => Some(id.clone()),
        };
        let act = act.word();
        tracing::info!(
            event = "operator_act",
            act,
            by,
            subject,
            outcome,
            "an operator acts"
        );
    }

    /// Logs that an operator asked this gateway to stop, and as which user if that is known.
    pub(crate) fn drain_asked(&self, by: Option<&UserId>) {
        let by = by.and_then(|it| self.name(it));
        tracing::info!(
            event = "drain_asked",
            by,
            "an operator asked this gateway to stop"
        );
    }

    /// Whether one more event may be logged at `now`: then how many were left out since the last one.
    fn admits(&self, now: Timestamp) -> Option<u64> {
        if self.settings.level == JournalLevel::Off {
            return None;
        }
        let rate = Rate {
            burst: self.settings.per_second,
            every: Duration::from_secs(1) / self.settings.per_second,
        };
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        match pace.bucket.take(now, rate) {
            Ok(()) => Some(std::mem::take(&mut pace.left_out)),
            Err(_) => {
                pace.left_out += 1;
                None
            }
        }
    }

    /// The id of a user as it is written; `None` if it is not.
    fn name(&self, user: &UserId) -> Option<String> {
        match self.settings.user_ids {
            UserIds::Plain => Some(user.as_str().to_owned()),
            UserIds::Hashed => Some(hashed(&self.key, user)),
            UserIds::Off => None,
        }
    }
}

/// A hash of a user's id that only who has the key can make: the first 8 bytes of a MAC, in hexadecimal.
fn hashed(key: &ResumeKey, user: &UserId) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&key.secret()).expect("a key of any length would do");
    // Other bytes than those of a resume token, which the same key signs.
    mac.update(b"user id in the log:");
    mac.update(user.as_str().as_bytes());
    let mac = mac.finalize().into_bytes();
    mac[..8].iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(level: JournalLevel, per_second: u32) -> Journal {
        let settings = JournalSettings {
            level,
            per_second,
            user_ids: UserIds::Hashed,
        };
        Journal::new(settings, ResumeKey::shared([7; 32]))
    }

    #[test]
    fn what_is_over_the_rate_is_left_out_and_counted() {
        let journal = journal(JournalLevel::Info, 10);
        let at = |ms: u64| Timestamp::from_millis(1_000_000 + ms);
        let admitted = (0..100).filter(|_| journal.admits(at(0)).is_some()).count();
        assert_eq!(admitted, 10);
        assert_eq!(journal.admits(at(100)), Some(90));
        assert_eq!(journal.admits(at(200)), Some(0));
    }

    #[test]
    fn nothing_is_counted_while_the_journal_is_off() {
        let journal = journal(JournalLevel::Off, 10);
        assert_eq!(journal.admits(Timestamp::from_millis(1)), None);
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_user_and_key_only() {
        let ann = UserId::new("ann").unwrap();
        let of = |key| hashed(&ResumeKey::shared([key; 32]), &ann);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1).len(), 16);
        assert!(!of(1).contains("ann"));
    }

    #[test]
    fn a_connection_id_is_read_as_it_is_written() {
        let id = ConnectionId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!(ConnectionId::read(&id.to_string()), Some(id));
        for wrong in [
            "",
            "ab",
            "00000000000000AB",
            "+0000000000000ab",
            "00000000000000abc",
        ] {
            assert_eq!(ConnectionId::read(wrong), None, "{wrong}");
        }
    }
}
