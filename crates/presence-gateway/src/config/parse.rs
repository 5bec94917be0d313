//! Parses the text of a setting. Every error says what is allowed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::Scheme;
use presence_core::Rate;

use crate::identity::Algorithm;

/// The unit of a bare number that stands for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A bare number counts milliseconds.
    Millis,
    /// A bare number counts seconds.
    Seconds,
}

/// The longest time that may be configured. A longer one is a mistake.
pub const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads a time: `500ms`, `15s`, `10m`, `1h`, `7d`, or a bare number in `unit`.
///
/// # Errors
///
/// The error says which values are allowed.
pub fn span(text: &str, unit: Unit) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let suffix = match (suffix.trim(), unit) {
        ("", Unit::Millis) => "ms",
        ("", Unit::Seconds) => "s",
        (suffix, _) => suffix,
    };
    let millis_of_one = match suffix {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" | "min" => Some(60 * 1000),
        "h" => Some(3600 * 1000),
        "d" => Some(24 * 3600 * 1000),
        _ => None,
    };
    let span = number
        .parse::<u64>()
        .ok()
        .zip(millis_of_one)
        .and_then(|(number, one)| number.checked_mul(one))
        .map(Duration::from_millis)
        .ok_or(match unit {
            Unit::Millis => "a time would do: `15s`, `500ms`, or a whole number of milliseconds",
            Unit::Seconds => "a time would do: `15s`, `10m`, or a whole number of seconds",
        })?;
    if span > SPAN_MAX {
        return Err("at most 366 days would do".into());
    }
    Ok(span)
}

/// Reads a whole number in `range`.
pub(super) fn count(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!(
                "a whole number from {} to {} would do",
                range.start(),
                range.end()
            )
        })
}

/// Reads `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| "`true` or `false` would do".to_owned())
}

/// Reads a port. Kubernetes puts a URL into this variable of every pod if there is a service called `redis`; such a
/// value counts as the default port.
pub(super) fn redis_port(text: &str) -> Result<u16, String> {
    match text.starts_with("tcp://") {
        true => Ok(6379),
        false => count(text, 1..=65535).map(|port| u16::try_from(port).unwrap_or(6379)),
    }
}

/// Reads a rate: `20/s` or `20/s burst 100`. A bucket counts in milliseconds, so no rate is higher than 1000 a second.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let read = || {
        let mut words = text.split_whitespace();
        let (number, per) = words.next()?.split_once('/')?;
        let number: u32 = number.parse().ok()?;
        let per_millis: u32 = match per {
            "s" => 1000,
            "m" | "min" => 60_000,
            _ => return None,
        };
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => number,
            (Some("burst"), Some(burst), None) => burst.parse().ok()?,
            _ => return None,
        };
        let fine = (1..=per_millis).contains(&number) && (1..=100_000).contains(&burst);
        fine.then(|| Rate {
            burst,
            every: Duration::from_millis((per_millis / number).into()),
        })
    };
    read().ok_or_else(|| {
        "a rate would do: `20/s`, `30/m burst 100`; 1 to 1000 a second, bursts of 1 to 100000"
            .into()
    })
}

/// Reads an address and port: `127.0.0.1:4001`, `[::1]:4001` or `localhost:4001`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text
        .strip_prefix("localhost:")
        .and_then(|it| it.parse().ok())
    {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "an address and a port would do: `127.0.0.1:4001`, `0.0.0.0:4001` for every interface, `[::]:4001`".into()
    })
}

/// Reads the addresses of DNS servers, with commas between: `10.0.0.53, [fd00::53]:5353`. The port is 53 unless one is given.
pub(super) fn dns_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let server = |text: &str| {
        let address = text.parse::<IpAddr>().map(|ip| (ip, 53).into());
        address.or_else(|_| text.parse()).map_err(|_| {
            "addresses of DNS servers would do: `10.0.0.53` or `127.0.0.1:5353`, with commas between".to_owned()
        })
    };
    text.split(',').map(|it| server(it.trim())).collect()
}

/// Reads a URL with http or https that the gateway sends requests to.
pub(super) fn web_url(text: &str) -> Result<Uri, String> {
    let wants = "a URL of http or https would do: `https://example.org/presence`";
    let url: Uri = text.parse().map_err(|_| wants.to_owned())?;
    let is_web = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&url.scheme());
    let authority = url.authority().filter(|_| is_web).ok_or(wants)?;
    if authority.as_str().contains('@') {
        return Err("a URL without a user in it would do".into());
    }
    let has_port = authority.as_str() != authority.host();
    match authority.port_u16() {
        None | Some(0) if has_port => Err("its port has to be one from 1 to 65535".into()),
        _ => Ok(url),
    }
}

/// Reads the name of a node, which tells it from the others in logs and keys.
pub(super) fn node_name(text: &str) -> Result<String, String> {
    let fine = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b));
    fine.then(|| text.to_owned())
        .ok_or_else(|| "1 to 64 of `A-Z a-z 0-9 - _ . : @` would do".into())
}

/// A file with a public key, and the one algorithm that the key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The algorithm whose signatures the key verifies.
    pub algorithm: Algorithm,
    /// The path of a PEM file.
    pub path: PathBuf,
}

impl fmt::Display for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.path.display())
    }
}

/// Reads a key and its algorithm, such as `ES256:/etc/presence/key.pub.pem`.
pub(super) fn key_file(text: &str) -> Result<KeyFile, String> {
    text.split_once(':')
        .and_then(|(algorithm, path)| {
            let algorithm: Algorithm = algorithm.trim().parse().ok()?;
            let path = path.trim();
            (algorithm != Algorithm::HS256 && !path.is_empty()).then(|| KeyFile {
                algorithm,
                path: path.into(),
            })
        })
        .ok_or_else(|| {
            "an algorithm and the PEM file of a public key would do: `RS256:key.pem`, `ES256:key.pem` or `EdDSA:key.pem`".into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_or_count_in_the_one_users_know() {
        let ms = Duration::from_millis;
        assert_eq!(span("15000", Unit::Millis), Ok(ms(15_000)));
        assert_eq!(span("60", Unit::Seconds), Ok(ms(60_000)));
        for unit in [Unit::Millis, Unit::Seconds] {
            assert_eq!(span("500ms", unit), Ok(ms(500)));
            assert_eq!(span("15 s", unit), Ok(ms(15_000)));
            assert_eq!(span("10m", unit), Ok(ms(600_000)));
            assert_eq!(span("1h", unit), Ok(ms(3_600_000)));
            assert_eq!(span("366d", unit), Ok(SPAN_MAX));
            for bad in [
                "",
                "s",
                "-1",
                "1.5s",
                "15 parsecs",
                "367d",
                "99999999999999999999",
                "18446744073709551615d",
            ] {
                assert!(span(bad, unit).is_err(), "{bad:?}");
            }
        }
    }

    #[test]
    fn rates_say_how_often_and_how_many_at_once() {
        let every = Duration::from_millis;
        assert_eq!(
            rate("20/s"),
            Ok(Rate {
                burst: 20,
                every: every(50)
            })
        );
        assert_eq!(
            rate("20/s burst 200"),
            Ok(Rate {
                burst: 200,
                every: every(50)
            })
        );
        assert_eq!(
            rate("30/m burst 5"),
            Ok(Rate {
                burst: 5,
                every: every(2000)
            })
        );
        for bad in [
            "",
            "20",
            "0/s",
            "1001/s",
            "20/h",
            "20/s 200",
            "20/s burst",
            "20/s burst 0",
            "20/s burst 1 2",
            "-1/s",
        ] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_dns_server_has_port_53_unless_it_says_otherwise() {
        let read = |text| dns_servers(text).map(|it| it.iter().map(ToString::to_string).collect());
        let servers: Result<Vec<String>, String> = read("10.0.0.53, [fd00::53]:5353,fd00::1");
        let expected = ["10.0.0.53:53", "[fd00::53]:5353", "[fd00::1]:53"];
        assert_eq!(servers.unwrap(), expected);
        for wrong in ["", "10.0.0.53,", "dns.internal", "10.0.0.53:x"] {
            assert!(dns_servers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("localhost:80").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for bad in [
            "",
            "4001",
            ":4001",
            "127.0.0.1",
            "example.org:80",
            "localhost:99999",
        ] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_public_key_has_one_asymmetric_algorithm() {
        assert_eq!(
            key_file("ES256: /k.pem").unwrap().to_string(),
            "ES256:/k.pem"
        );
        for bad in [
            "",
            "/k.pem",
            "HS256:/k.pem",
            "none:/k.pem",
            "RS512:/k.pem",
            "ES256:",
        ] {
            assert!(key_file(bad).is_err(), "{bad:?}");
        }
    }
}
