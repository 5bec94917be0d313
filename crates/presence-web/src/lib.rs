//! Everything that a browser gets of Presence, inside the binary: the client and the page.
//!
//! The npm packages are in `packages`, the page is in `page`. What is bundled of the packages is in `served`, made with
//! `cargo xtask web` and committed, so that building this crate needs no Node.

/// A file that is served.
#[derive(Debug)]
pub struct Asset {
    /// Where it is served, as `/presence.js`.
    pub path: &'static str,
    /// Its content type.
    pub kind: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

/// The file that is served at `path`.
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|it| it.path == path)
}

/// The paths of all files that are served.
pub fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|it| it.path)
}

macro_rules! assets {
    ($($path:literal = $file:literal as $kind:expr,)+) => {
        &[$(Asset { path: $path, kind: $kind, bytes: include_bytes!(concat!("../", $file)) },)+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TYPES: &str = "text/plain; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

const ASSETS: &[Asset] = assets! {
    "/" = "page/index.html" as HTML,
    "/presence.js" = "served/presence.js" as SCRIPT,
    "/presence-elements.js" = "served/presence-elements.js" as SCRIPT,
    "/presence.d.ts" = "packages/presence-client/src/index.d.ts" as TYPES,
    "/page.css" = "page/page.css" as CSS,
    "/page.js" = "page/page.js" as SCRIPT,
    "/page/board.js" = "page/page/board.js" as SCRIPT,
    "/page/connection.js" = "page/page/connection.js" as SCRIPT,
    "/page/conversation.js" = "page/page/conversation.js" as SCRIPT,
    "/page/devices.js" = "page/page/devices.js" as SCRIPT,
    "/page/dom.js" = "page/page/dom.js" as SCRIPT,
    "/page/identity.js" = "page/page/identity.js" as SCRIPT,
    "/page/people.js" = "page/page/people.js" as SCRIPT,
    "/page/rooms.js" = "page/page/rooms.js" as SCRIPT,
    "/page/status.js" = "page/page/status.js" as SCRIPT,
    "/favicon.svg" = "page/favicon.svg" as PICTURE,
};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
    fn every_file_of_the_page_and_every_bundle_is_in_the_binary() {
        for folder in ["page", "served"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for file in files(&folder) {
                let name = file.strip_prefix(&folder).unwrap().to_str().unwrap();
                let path = match name {
                    "index.html" => "/".to_owned(),
                    name => format!("/{name}"),
                };
                assert!(asset(&path).is_some(), "{name} is not served");
            }
        }
    }

    #[test]
    fn a_path_serves_one_file() {
        for it in ASSETS {
            let files = ASSETS.iter().filter(|other| other.path == it.path);
            assert_eq!(files.count(), 1, "{}", it.path);
            assert_eq!(asset(it.path).unwrap().bytes, it.bytes, "{}", it.path);
        }
        assert!(asset("/page/test.js").is_none());
    }
}
