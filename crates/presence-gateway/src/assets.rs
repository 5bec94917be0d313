//! Serves the page and the browser client, which `presence-web` has inside the binary.

use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use presence_protocol::ErrorCode;
use presence_web::{Asset, Caching};

use crate::http::{self, Answer};
use crate::request::Refused;

/// The Content-Security-Policy of our pages: they may load from this gateway, show pictures, and open sockets. The only script
/// that may stand in a page is the one that opens its socket early.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let early = presence_web::EARLY_SCRIPT_HASH;
    let policy = format!(
        "default-src 'self'; script-src 'self' '{early}'; style-src 'self'; img-src 'self' data: https:; \
         connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 and words are fine")
});

/// Answers a request for `path` with the file, or with status 404.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Answer {
    let Some(asset) = presence_web::asset(path) else {
        let why = Refused::new(ErrorCode::UnknownCommand, "there is nothing at this path");
        return http::error(StatusCode::NOT_FOUND, &why);
    };
    let coding = Coding::wanted(asset, headers);
    let (bytes, tag) = match coding {
        Coding::Identity => (asset.bytes, format!("\"{}\"", asset.tag)),
        Coding::Gzip(bytes) => (bytes, format!("\"{}-gzip\"", asset.tag)),
        Coding::Brotli(bytes) => (bytes, format!("\"{}-br\"", asset.tag)),
    };
    let known = is_known(headers, &tag);
    let body = match known {
        true => Full::default(),
        false => Full::new(Bytes::from_static(bytes)),
    };
    let mut answer = Response::new(body);
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fixed = [
        (CONTENT_TYPE, asset.kind),
        // Pages of other origins import the browser client from here.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CACHE_CONTROL, caching_of(asset)),
        (VARY, "accept-encoding"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let headers = answer.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    if let Some(name) = coding.name() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits are fine");
    headers.insert(ETAG, tag);
    answer
}

fn caching_of(asset: &Asset) -> &'static str {
    match asset.caching {
        // They see a new release at once, and an unchanged file costs no more than the question.
        Caching::Revalidate => "no-cache",
        Caching::Immutable => "public, max-age=31536000, immutable",
    }
}

/// How a file is compressed on its way. The bytes were compressed when the gateway was built.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Identity,
    Gzip(&'static [u8]),
    Brotli(&'static [u8]),
}

impl Coding {
    /// The coding of `asset` that the client likes best; among those it likes equally, the smallest one.
    fn wanted(asset: &Asset, headers: &HeaderMap) -> Coding {
        let accepted = Accepted::read(headers);
        let offers = [
            asset
                .brotli
                .map(|it| (accepted.weight("br"), Coding::Brotli(it))),
            asset
                .gzip
                .map(|it| (accepted.weight("gzip"), Coding::Gzip(it))),
        ];
        // A client that does not name `identity` takes it, but likes what it has named better.
        let identity = accepted.named("identity").unwrap_or(0);
        offers
            .into_iter()
            .flatten()
            .filter(|(weight, _)| *weight > 0 && *weight >= identity)
            .rev()
            .max_by_key(|(weight, _)| *weight)
            .map_or(Coding::Identity, |(_, coding)| coding)
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Gzip(_) => Some("gzip"),
            Coding::Brotli(_) => Some("br"),
        }
    }
}

/// What a client says of the codings that it reads, with weights in thousandths.
struct Accepted(Vec<(String, u16)>);

impl Accepted {
    fn read(headers: &HeaderMap) -> Accepted {
        Accepted(
            parts(headers, &ACCEPT_ENCODING)
                .filter_map(weighted)
                .collect(),
        )
    }

    fn named(&self, coding: &str) -> Option<u16> {
        let named = self.0.iter().find(|(name, _)| name == coding);
        named.map(|(_, weight)| *weight)
    }

    fn weight(&self, coding: &str) -> u16 {
        self.named(coding).or_else(|| self.named("*")).unwrap_or(0)
    }
}

/// A coding and its weight from `gzip;q=0.5`. `None` if the weight is no number from 0 to 1.
fn weighted(part: &str) -> Option<(String, u16)> {
    let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
    let name = name.trim().to_ascii_lowercase();
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return Some((name, 1000));
    }
    let (key, weight) = parameters.split_once('=')?;
    let weight: f32 = weight.trim().parse().ok()?;
    let is_weight = key.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&weight);
    is_weight.then_some((name, (weight * 1000.0) as u16))
}

/// Whether the client has the file with `tag`. It compares weakly, as the method asks for.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    parts(headers, &IF_NONE_MATCH).any(|it| it == "*" || it.trim_start_matches("W/") == tag)
}

/// The parts of a header that is a list, which may be sent several times.
fn parts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(str::trim)
        .filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, pairs: &[(HeaderName, &'static str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        answer(path, &headers)
    }

    fn header(answer: &Answer, name: HeaderName) -> Option<&str> {
        answer.headers().get(name).map(|it| it.to_str().unwrap())
    }

    #[test]
    fn a_file_is_compressed_as_the_client_likes() {
        for (accepted, coding) in [
            (&["gzip, deflate, br, zstd"][..], Some("br")),
            (&["br"], Some("br")),
            (&["GZIP"], Some("gzip")),
            (&["gzip", "br"], Some("br")),
            (&["gzip;q=1.0, br;q=0.5"], Some("gzip")),
            (&["gzip ; q=0.5 , br ; q=0.5"], Some("br")),
            (&["br;q=0, gzip;q=0.001"], Some("gzip")),
            (&["*"], Some("br")),
            (&["*;q=0"], None),
            (&["br;q=0, *"], Some("gzip")),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.2, gzip;q=0.5"], Some("gzip")),
            (&["identity;q=0"], None),
            (&["deflate"], None),
            (&["br;q=2, gzip;q=x, brotli, br2"], None),
            (&[""], None),
            (&[], None),
        ] {
            let pairs: Vec<_> = accepted.iter().map(|it| (ACCEPT_ENCODING, *it)).collect();
            let answer = asked("/presence.js", &pairs);
            assert_eq!(header(&answer, CONTENT_ENCODING), coding, "{accepted:?}");
            assert_eq!(header(&answer, VARY), Some("accept-encoding"));
            assert_eq!(header(&answer, CACHE_CONTROL), Some("no-cache"));
        }
    }

    #[test]
    fn each_coding_has_a_tag_of_its_own_and_is_known_by_it() {
        let codings = ["identity", "gzip", "br"];
        let tags = codings.map(|it| {
            let answer = asked("/", &[(ACCEPT_ENCODING, it)]);
            header(&answer, ETAG).unwrap().to_owned()
        });
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
        for (coding, tag) in codings.iter().zip(&tags) {
            let status = |known: String| {
                let mut headers = HeaderMap::new();
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
                headers.insert(IF_NONE_MATCH, HeaderValue::from_str(&known).unwrap());
                let answer = answer("/", &headers);
                assert_eq!(header(&answer, VARY), Some("accept-encoding"));
                assert_eq!(header(&answer, ETAG), Some(&**tag));
                answer.status()
            };
            for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
                assert_eq!(status(known.clone()), StatusCode::NOT_MODIFIED, "{known}");
            }
            for other in tags.iter().filter(|it| *it != tag) {
                assert_eq!(status(other.clone()), StatusCode::OK, "{coding}: {other}");
            }
        }
    }

    #[test]
    fn only_names_with_a_hash_are_kept_for_good() {
        let page = String::from_utf8(presence_web::asset("/").unwrap().bytes.to_vec()).unwrap();
        let hashed: Vec<_> = page
            .split('"')
            .filter(|it| it.starts_with("/page-"))
            .collect();
        assert_eq!(hashed.len(), 2, "{hashed:?}");
        for path in hashed {
            let answer = asked(path, &[]);
            let caching = header(&answer, CACHE_CONTROL).unwrap();
            assert!(caching.contains("immutable"), "{path}: {caching}");
        }
        for path in [
            "/",
            "/presence.js",
            "/presence-elements.js",
            "/presence.d.ts",
            "/favicon.svg",
        ] {
            assert_eq!(
                header(&asked(path, &[]), CACHE_CONTROL),
                Some("no-cache"),
                "{path}"
            );
        }
        assert_eq!(asked("/page.js", &[]).status(), StatusCode::NOT_FOUND);
    }
}
