//! Serves the page and the browser client, which are inside the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use presence_client::wire::ErrorCode;

use crate::http::{self, Answer};
use crate::request::Refused;

/// The Content-Security-Policy of our pages: they may load from this gateway, show pictures, and open sockets.
const POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data: https:; \
    connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'";

struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal = $file:literal as $kind:literal,)+) => {
        &[$(Asset { path: $path, kind: $kind, bytes: include_bytes!(concat!("../web/", $file)) },)+]
    };
}

const ASSETS: &[Asset] = assets! {
    "/" = "index.html" as "text/html; charset=utf-8",
    "/presence.js" = "presence.js" as "text/javascript; charset=utf-8",
    "/presence.d.ts" = "presence.d.ts" as "text/plain; charset=utf-8",
    "/page.css" = "page.css" as "text/css; charset=utf-8",
    "/page.js" = "page.js" as "text/javascript; charset=utf-8",
    "/page/board.js" = "page/board.js" as "text/javascript; charset=utf-8",
    "/page/connection.js" = "page/connection.js" as "text/javascript; charset=utf-8",
    "/page/conversation.js" = "page/conversation.js" as "text/javascript; charset=utf-8",
    "/page/devices.js" = "page/devices.js" as "text/javascript; charset=utf-8",
    "/page/dom.js" = "page/dom.js" as "text/javascript; charset=utf-8",
    "/page/identity.js" = "page/identity.js" as "text/javascript; charset=utf-8",
    "/page/people.js" = "page/people.js" as "text/javascript; charset=utf-8",
    "/page/rooms.js" = "page/rooms.js" as "text/javascript; charset=utf-8",
    "/page/status.js" = "page/status.js" as "text/javascript; charset=utf-8",
    "/favicon.svg" = "favicon.svg" as "image/svg+xml",
};

/// Answers a request for `path` with the file, or with status 404.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Answer {
    let Some(asset) = ASSETS.iter().find(|it| it.path == path) else {
        let why = Refused::new(ErrorCode::UnknownCommand, "there is nothing at this path");
        return http::error(StatusCode::NOT_FOUND, &why);
    };
    let tag = tag(asset.bytes);
    let known = headers.get(IF_NONE_MATCH).is_some_and(|it| *it == tag);
    let body = match known {
        true => Full::default(),
        false => Full::new(Bytes::from_static(asset.bytes)),
    };
    let mut answer = Response::new(body);
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fixed = [
        (CONTENT_TYPE, asset.kind),
        // Pages of other origins import the browser client from here.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        // Browsers revalidate each time: they see a new release at once, and an unchanged file costs nothing.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let headers = answer.headers_mut();
    headers.insert(ETAG, tag);
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn tag(bytes: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    HeaderValue::from_str(&tag).expect("hexadecimal digits are fine")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => files(&path),
                false => vec![path],
            })
            .collect()
    }

    #[test]
    fn every_file_of_the_page_is_in_the_binary() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        for file in files(&web) {
            let name = file.strip_prefix(&web).unwrap().to_str().unwrap();
            if name.starts_with("test/") {
                continue;
            }
            let path = match name {
                "index.html" => "/".to_owned(),
                name => format!("/{name}"),
            };
            assert!(
                ASSETS.iter().any(|it| it.path == path),
                "{name} is not served"
            );
        }
    }
}
