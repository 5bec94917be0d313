//! Everything that a browser gets of Presence, inside the binary: the client and the page.
//!
//! The npm packages are in `packages`, the page is in `page`. What is bundled of them is in `served`, made with
//! `cargo xtask web` and committed, so that building this crate needs no Node. `build.rs` compresses it.

/// A file that is served.
#[derive(Debug)]
pub struct Asset {
    /// Where it is served, as `/presence.js`.
    pub path: &'static str,
    /// Its content type.
    pub kind: &'static str,
    /// How long browsers may keep it.
    pub caching: Caching,
    /// A hash of what is in it, as 16 hexadecimal digits.
    pub tag: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
    /// The same compressed with gzip, if that is smaller.
    pub gzip: Option<&'static [u8]>,
    /// The same compressed with brotli, if that is smaller.
    pub brotli: Option<&'static [u8]>,
}

/// How long browsers may keep a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// They ask each time whether it has changed: its name stays the same in every release.
    Revalidate,
    /// They keep it for good: its name has a hash of what is in it.
    Immutable,
}

/// The file that is served at `path`.
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|it| it.path == path)
}

/// The paths of all files that are served.
pub fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|it| it.path)
}

/// The hash of the only script that is part of the page itself, as a Content-Security-Policy names it: `sha256-` and base64.
pub const EARLY_SCRIPT_HASH: &str =
    include_str!(concat!(env!("OUT_DIR"), "/early_script_hash.txt"));

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};
    use std::io::Read;
    use std::path::Path;

    fn text(asset: &Asset) -> &'static str {
        std::str::from_utf8(asset.bytes).unwrap()
    }

    #[test]
    fn every_bundle_is_in_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("served");
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            if file.file_name() == "early.js" {
                continue; // part of the page
            }
            let bytes = std::fs::read(file.path()).unwrap();
            let serving = ASSETS.iter().filter(|it| it.bytes == bytes);
            assert_eq!(serving.count(), 1, "{:?} is not served", file.file_name());
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

    #[test]
    fn a_page_asks_for_one_script_and_one_style_whose_names_have_a_hash() {
        let hashed = ASSETS.iter().filter(|it| it.caching == Caching::Immutable);
        let hashed: Vec<_> = hashed.collect();
        assert_eq!(hashed.len(), 4);
        for (path, scripts) in [("/", 2), ("/admin", 1)] {
            let page = text(asset(path).unwrap());
            assert_eq!(page.matches("<script").count(), scripts);
            assert_eq!(page.matches("<script type=\"module\" src=").count(), 1);
            assert_eq!(page.matches("rel=\"stylesheet\"").count(), 1);
            let asked = hashed.iter().filter(|it| page.contains(it.path));
            assert_eq!(asked.count(), 2, "{path}");
        }
        for it in hashed {
            assert!(it.path.contains(it.tag), "{}", it.path);
        }
        let named = ["/", "/admin", "/presence.js", "/presence-elements.js"];
        assert!(
            named
                .iter()
                .all(|it| asset(it).unwrap().caching == Caching::Revalidate)
        );
    }

    #[test]
    fn the_script_in_the_page_is_the_one_with_the_hash_and_comes_before_the_style() {
        let page = text(asset("/").unwrap());
        let (before, rest) = page.split_once("<script>").unwrap();
        let (script, _) = rest.split_once("</script>").unwrap();
        let hash = BASE64_STANDARD.encode(Sha256::digest(script));
        assert_eq!(EARLY_SCRIPT_HASH, format!("sha256-{hash}"));
        // A script after a style waits for it.
        assert!(!before.contains("rel=\"stylesheet\""));
    }

    #[test]
    fn what_is_compressed_is_the_same() {
        for it in ASSETS {
            let mut plain = Vec::new();
            if let Some(packed) = it.gzip {
                flate2::read::GzDecoder::new(packed)
                    .read_to_end(&mut plain)
                    .unwrap();
                assert_eq!(plain, it.bytes, "{}", it.path);
            }
            plain.clear();
            if let Some(mut packed) = it.brotli {
                brotli::BrotliDecompress(&mut packed, &mut plain).unwrap();
                assert_eq!(plain, it.bytes, "{}", it.path);
            }
            let is_large = it.bytes.len() > 2_000;
            assert!(
                !is_large || it.gzip.is_some() && it.brotli.is_some(),
                "{}",
                it.path
            );
        }
    }
}
