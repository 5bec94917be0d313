//! The origins of pages that may connect.
//!
//! A browser lets every page on the web open a WebSocket to us, and names the page's origin. Programs that are not
//! browsers send no origin; they are not stopped here but by tokens.

use std::fmt;
use std::net::IpAddr;

/// The origins of pages that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    /// Whether there are no tokens, so that only pages of this machine are let in.
    open: bool,
    listed: Vec<Listed>,
}

/// An origin of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    scheme: String,
    /// Whether it stands for every subdomain of the host.
    below: bool,
    authority: Authority,
}

/// A host, and a port unless it is the default port of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

/// The origin or the host of a request is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginRefused;

impl fmt::Display for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this page's origin is not among allowed_origins")
    }
}

impl std::error::Error for OriginRefused {}

impl AllowedOrigins {
    /// The origins of `list`: `https://example.org`, `https://*.example.org`, or `*` for all. It also allows:
    ///
    /// - with tokens, the pages that this gateway serves itself (the origin is that of the `Host` header);
    /// - without (`open`), the pages of this machine, on any port.
    ///
    /// # Errors
    ///
    /// Fails if a text of the list is not an origin, and says what is allowed.
    pub fn new(list: &[String], open: bool) -> Result<Self, String> {
        let mut origins = AllowedOrigins {
            any: false,
            open,
            listed: Vec::new(),
        };
        for text in list {
            if text == "*" {
                origins.any = true;
                continue;
            }
            let listed = listed(text).ok_or_else(|| {
                "origins would do: `https://example.org`, `https://*.example.org`, `http://localhost:3000`; no path, no slash at the end".to_owned()
            })?;
            origins.listed.push(listed);
        }
        Ok(origins)
    }

    /// Whether every page on the web may connect.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Whether a request with these `Origin` and `Host` headers may come in.
    ///
    /// Without tokens the host has to be this machine too: a page whose name has been pointed at 127.0.0.1
    /// would be of the same origin as we.
    ///
    /// # Errors
    ///
    /// Fails if the request may not come in.
    pub fn check(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), OriginRefused> {
        self.check_host(host)?;
        let origin_is_fine = match origin {
            None => true,
            Some(origin) => self.is_origin_of_ours(origin, host),
        };
        match self.any || origin_is_fine {
            true => Ok(()),
            false => Err(OriginRefused),
        }
    }

    /// Whether a request with this `Host` header may be answered at all. Without tokens the host has to be this machine, or
    /// in the list: a page whose name has been pointed at 127.0.0.1 would read whatever it is answered.
    ///
    /// # Errors
    ///
    /// Fails if the request may not be answered.
    pub fn check_host(&self, host: Option<&str>) -> Result<(), OriginRefused> {
        let is_fine = !self.open || self.any || host.is_none_or(|it| self.is_host_of_ours(it));
        match is_fine {
            true => Ok(()),
            false => Err(OriginRefused),
        }
    }

    fn is_host_of_ours(&self, host: &str) -> bool {
        ["http", "https"].iter().any(|scheme| {
            authority(scheme, host).is_some_and(|host| {
                host.is_this_machine() || self.listed.iter().any(|it| it.matches(scheme, &host))
            })
        })
    }

    fn is_origin_of_ours(&self, origin: &str, host: Option<&str>) -> bool {
        let Some((scheme, rest)) = split(origin) else {
            return false;
        };
        let Some(page) = authority(&scheme, rest) else {
            return false;
        };
        let is_listed = self.listed.iter().any(|it| it.matches(&scheme, &page));
        let is_ours = match self.open {
            true => page.is_this_machine(),
            false => host.and_then(|host| authority(&scheme, host)) == Some(page),
        };
        is_listed || is_ours
    }
}

impl Listed {
    fn matches(&self, scheme: &str, page: &Authority) -> bool {
        let host = match self.below {
            false => page.host == self.authority.host,
            true => page
                .host
                .strip_suffix(self.authority.host.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        };
        host && self.scheme == scheme && self.authority.port == page.port
    }
}

impl Authority {
    fn is_this_machine(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || address
                .parse()
                .is_ok_and(|it: IpAddr| it.to_canonical().is_loopback())
    }
}

fn listed(text: &str) -> Option<Listed> {
    let (scheme, rest) = split(text)?;
    let (below, rest) = match rest.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    Some(Listed {
        below,
        authority: authority(&scheme, rest)?,
        scheme,
    })
}

/// The scheme, in lower case, and the rest.
fn split(origin: &str) -> Option<(String, &str)> {
    let (scheme, rest) = origin.split_once("://")?;
    let fine = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    fine.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// Parses `example.org`, `example.org:8443` or `[::1]:80`.
fn authority(scheme: &str, text: &str) -> Option<Authority> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (text, None),
    };
    let name = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let fine = match name {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        }
    };
    let usual = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    fine.then(|| Authority {
        host: host.to_ascii_lowercase(),
        port: port.filter(|port| Some(*port) != usual),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_tokens_a_page_of_ours_or_of_the_list_may_connect() {
        let origins = allowed(
            &[
                "https://app.example.org",
                "https://*.example.net:8443",
                "capacitor://localhost",
            ],
            false,
        );
        let ours = Some("presence.example.org");
        for fine in [
            None,
            Some("https://presence.example.org"),
            Some("https://presence.example.org:443"),
            Some("http://presence.example.org"),
            Some("https://app.example.org"),
            Some("HTTPS://App.Example.ORG"),
            Some("https://a.b.example.net:8443"),
            Some("capacitor://localhost"),
        ] {
            assert_eq!(origins.check(fine, ours), Ok(()), "{fine:?}");
        }
        for bad in [
            "null",
            "",
            "https://example.org",
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.com",
            "https://evilapp.example.org",
            "https://evil.com/https://app.example.org",
            "https://app.example.org@evil.com",
            "https://example.net:8443",
            "https://.example.net:8443",
            "https://evilexample.net:8443",
            "https://presence.example.org:4001",
            "http://localhost",
            "http://127.0.0.1:4001",
        ] {
            assert_eq!(
                origins.check(Some(bad), ours),
                Err(OriginRefused),
                "{bad:?}"
            );
        }
        assert_eq!(
            origins.check(Some("https://presence.example.org"), None),
            Err(OriginRefused)
        );
    }

    #[test]
    fn without_tokens_a_page_of_this_machine_may_connect() {
        let origins = allowed(&[], true);
        for fine in [
            None,
            Some("http://localhost:3000"),
            Some("http://app.localhost"),
            Some("http://127.0.0.1:4001"),
            Some("https://[::1]:4001"),
        ] {
            for host in [
                None,
                Some("localhost:4001"),
                Some("127.0.0.1:4001"),
                Some("[::1]:4001"),
            ] {
                assert_eq!(origins.check(fine, host), Ok(()), "{fine:?} {host:?}");
            }
        }
        for bad in [
            "null",
            "http://evil.com",
            "http://localhost.evil.com",
            "http://notlocalhost",
            "http://10.0.0.1",
        ] {
            assert_eq!(
                origins.check(Some(bad), Some("localhost:4001")),
                Err(OriginRefused),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_name_that_was_pointed_at_this_machine_is_not_this_machine() {
        let origins = allowed(&[], true);
        let host = Some("evil.com:4001");
        assert_eq!(
            origins.check(Some("http://evil.com:4001"), host),
            Err(OriginRefused)
        );
        // A page's own GET requests carry no origin.
        assert_eq!(origins.check(None, host), Err(OriginRefused));
        for bad in [
            "evil.com",
            "127.0.0.1.evil.com",
            "evil.com:80",
            "?",
            "",
            "localhost:x",
        ] {
            assert_eq!(origins.check_host(Some(bad)), Err(OriginRefused), "{bad}");
            assert_eq!(allowed(&[], false).check_host(Some(bad)), Ok(()), "{bad}");
        }
        for fine in [
            None,
            Some("localhost"),
            Some("127.0.0.1:4001"),
            Some("[::1]:80"),
        ] {
            assert_eq!(origins.check_host(fine), Ok(()), "{fine:?}");
        }
        let listed = allowed(&["http://dev.example.org:4001"], true);
        assert_eq!(listed.check_host(Some("dev.example.org:4001")), Ok(()));
        assert_eq!(
            listed.check(
                Some("http://dev.example.org:4001"),
                Some("dev.example.org:4001")
            ),
            Ok(())
        );
        assert_eq!(
            listed.check(Some("http://localhost:4001"), Some("localhost:4001")),
            Ok(())
        );
    }

    #[test]
    fn a_star_lets_everybody_in() {
        for open in [true, false] {
            let origins = allowed(&["*"], open);
            assert!(origins.any());
            assert_eq!(origins.check(Some("null"), Some("evil.com")), Ok(()));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_when_it_is_configured() {
        for bad in [
            "example.org",
            "https://",
            "https://example.org/",
            "https://*",
            "https://a.*.org",
            "https://a:b",
            "https://a b",
            "://x",
            "https://u@x",
        ] {
            assert!(
                AllowedOrigins::new(&[bad.to_owned()], false).is_err(),
                "{bad}"
            );
        }
    }

    fn allowed(list: &[&str], open: bool) -> AllowedOrigins {
        let list: Vec<String> = list.iter().map(|it| (*it).to_owned()).collect();
        AllowedOrigins::new(&list, open).unwrap()
    }
}
