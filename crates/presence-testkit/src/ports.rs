//! Ports that nobody else has.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// For gateways. Below what Linux gives to outgoing connections (from 32768): while a gateway is down, none of its
/// thousands of returning clients can happen to take its port.
pub const GATEWAYS: Range<u16> = 30_000..32_768;

/// For Redis. The port of a node's cluster bus, [`BUS`] further, stays below 32768 too.
pub const REDIS: Range<u16> = 11_000..20_000;

/// Ports for MongoDB: the same range as those for Redis.
pub const MONGO: Range<u16> = REDIS;

/// How far the port of a Redis node's cluster bus is from its own.
pub const BUS: u16 = 10_000;

/// Takes `count` ports of `range` that are free now, and so are those `beside` them.
///
/// Nothing holds them until somebody listens, so the caller that starts a server must be ready to try again.
///
/// # Errors
///
/// There are not that many.
pub fn free(range: Range<u16>, count: usize, beside: Option<u16>) -> Result<Vec<u16>> {
    // Every process begins elsewhere, and no port is handed out twice in a row.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(97);
    let mut found = Vec::with_capacity(count);
    for _ in range.clone() {
        if found.len() == count {
            break;
        }
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = begin.wrapping_add(step) % u32::from(range.end - range.start);
        let port = range.start + u16::try_from(offset)?;
        if is_free(port) && beside.is_none_or(|distance| is_free(port + distance)) {
            found.push(port);
        }
    }
    if found.len() < count {
        bail!(
            "only {} of {count} ports are free in {range:?}",
            found.len()
        );
    }
    Ok(found)
}

/// Whether nobody listens on `port` of this machine.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_not_handed_out() {
        let taken: Vec<_> = free(GATEWAYS, 3, None)
            .unwrap()
            .into_iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap())
            .collect();
        let others = free(GATEWAYS, 200, None).unwrap();
        for listener in &taken {
            let port = listener.local_addr().unwrap().port();
            assert!(!is_free(port));
            assert!(!others.contains(&port));
        }
    }

    #[test]
    fn a_range_that_is_too_small_is_an_error() {
        let error = free(REDIS.start..REDIS.start + 2, 3, None).unwrap_err();
        assert!(error.to_string().contains("of 3 ports are free"), "{error}");
    }
}
