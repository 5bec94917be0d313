//! One fault: something that a run breaks on purpose.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fault. What lasts is mended later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A gateway is killed (-9), and started again when this is mended.
    Kill { gateway: usize },
    /// A gateway is told to go (SIGTERM), and started again likewise.
    Term { gateway: usize },
    /// A gateway is stopped where it is (SIGSTOP), and goes on.
    Sleep { gateway: usize },
    /// A gateway is killed and started again with its clock off by so many seconds, until it is started once more.
    ClockOff { gateway: usize, seconds: i64 },
    /// Redis is killed, and comes back with what it had, or with nothing.
    RedisKill { keeps: Keeps },
    /// Redis forgets everything.
    FlushAll,
    /// Redis is stopped where it is (SIGSTOP), and goes on.
    RedisSleep,
    /// Everything to and from Redis takes so much longer.
    Slow { ms: u64 },
    /// Nothing comes through to or from Redis, and nobody is told.
    BlackHole,
    /// Nothing comes through between one gateway and Redis.
    BlackHoleFor { gateway: usize },
    /// A Redis master of a cluster is killed, and comes back as a replica.
    FailOver,
    /// Nobody's doing: the machine let this program wait, and so everybody else.
    Stall,
}

/// What a Redis that was killed has when it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keeps {
    Everything,
    Nothing,
}

impl Kind {
    /// The gateway that it is about; `None` if it is about all.
    pub(crate) fn gateway(&self) -> Option<usize> {
        match self {
            Kind::Kill { gateway }
            | Kind::Term { gateway }
            | Kind::Sleep { gateway }
            | Kind::ClockOff { gateway, .. }
            | Kind::BlackHoleFor { gateway } => Some(*gateway),
            _ => None,
        }
    }

    /// Whether somebody cannot reach Redis meanwhile.
    pub(crate) fn is_of_store(&self) -> bool {
        match self {
            Kind::Kill { .. }
            | Kind::Term { .. }
            | Kind::Sleep { .. }
            | Kind::ClockOff { .. }
            | Kind::Stall => false,
            Kind::RedisKill { .. }
            | Kind::FlushAll
            | Kind::RedisSleep
            | Kind::Slow { .. }
            | Kind::BlackHole
            | Kind::BlackHoleFor { .. }
            | Kind::FailOver => true,
        }
    }

    /// Whether a gateway ends without handing over its sessions.
    pub(crate) fn loses_sessions(&self) -> bool {
        matches!(
            self,
            Kind::Kill { .. } | Kind::ClockOff { .. } | Kind::Term { .. }
        )
    }

    /// Whether a gateway that lives does not renew its lease meanwhile while others do.
    pub(crate) fn stops_renewal(&self) -> bool {
        matches!(self, Kind::Sleep { .. } | Kind::BlackHoleFor { .. })
    }

    /// Whether Redis has lost what was acknowledged when it is over.
    pub(crate) fn loses_data(&self) -> bool {
        matches!(
            self,
            Kind::FlushAll
                | Kind::RedisKill {
                    keeps: Keeps::Nothing
                }
                | Kind::FailOver
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |gateway: &usize| format!("gateway-{}", gateway + 1);
        match self {
            Kind::Kill { gateway } => write!(f, "{} killed", name(gateway)),
            Kind::Term { gateway } => write!(f, "{} told to go", name(gateway)),
            Kind::Sleep { gateway } => write!(f, "{} asleep", name(gateway)),
            Kind::ClockOff { gateway, seconds } => {
                write!(
                    f,
                    "{} restarted with its clock off by {seconds} s",
                    name(gateway)
                )
            }
            Kind::RedisKill {
                keeps: Keeps::Everything,
            } => f.write_str("Redis killed, with its data"),
            Kind::RedisKill {
                keeps: Keeps::Nothing,
            } => f.write_str("Redis killed, without its data"),
            Kind::FlushAll => f.write_str("FLUSHALL"),
            Kind::RedisSleep => f.write_str("Redis asleep"),
            Kind::Slow { ms } => write!(f, "Redis {ms} ms away"),
            Kind::BlackHole => f.write_str("nothing comes through to Redis"),
            Kind::BlackHoleFor { gateway } => {
                write!(f, "nothing comes through to Redis from {}", name(gateway))
            }
            Kind::FailOver => f.write_str("a Redis master killed"),
            Kind::Stall => f.write_str("this machine overloaded"),
        }
    }
}
