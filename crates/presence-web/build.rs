//! Compresses the files that are served, and names those that only the page asks for after what is in them.
//!
//! Bundling needs Node and is done by `cargo xtask web`, which commits what it writes. This needs nothing but what is here.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Error, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TYPES: &str = "text/plain; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// What others ask for by name: where it is served, the file and its content type.
const NAMED: [(&str, &str, &str); 4] = [
    ("/presence.js", "served/presence.js", SCRIPT),
    (
        "/presence-elements.js",
        "served/presence-elements.js",
        SCRIPT,
    ),
    (
        "/presence.d.ts",
        "packages/presence-client/src/index.d.ts",
        TYPES,
    ),
    ("/favicon.svg", "page/favicon.svg", PICTURE),
];

/// A page.
struct Page {
    /// Where it is served.
    path: &'static str,
    file: &'static str,
    /// What only the page asks for: how it calls it, the file and its content type. It is served under a name with a hash.
    own: [(&'static str, &'static str, &'static str); 2],
}

const PAGES: [Page; 2] = [
    Page {
        path: "/",
        file: "page/index.html",
        own: [
            ("/page.js", "served/page.js", SCRIPT),
            ("/page.css", "served/page.css", CSS),
        ],
    },
    Page {
        path: "/admin",
        file: "page/admin.html",
        own: [
            ("/admin/admin.js", "served/admin.js", SCRIPT),
            ("/admin/admin.css", "served/admin.css", CSS),
        ],
    },
];

/// What is part of `index.html` itself: how it calls it, and the file.
const WITHIN_THE_PAGE: (&str, &str) = ("<script src=\"/early.js\"></script>", "served/early.js");

fn main() -> Result<(), Error> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut table = String::from("&[\n");
    for (path, file, kind) in NAMED {
        add(
            &mut table,
            &out,
            path,
            kind,
            "Caching::Revalidate",
            &read(file)?,
        )?;
    }
    let (called, file) = WITHIN_THE_PAGE;
    let early = String::from_utf8(read(file)?).expect("the script is UTF-8");
    assert!(
        !early.contains("</script"),
        "{file} would end where it says so"
    );
    let hash_of_early = BASE64_STANDARD.encode(Sha256::digest(&early));
    fs::write(
        out.join("early_script_hash.txt"),
        format!("sha256-{hash_of_early}"),
    )?;
    for page in PAGES {
        let html = String::from_utf8(read(page.file)?).expect("a page is UTF-8");
        let calls = usize::from(page.path == "/");
        assert_eq!(html.matches(called).count(), calls, "{called}");
        let html = html.replace(called, &format!("<script>{early}</script>"));
        add_page(&mut table, &out, &page, html)?;
    }
    table.push_str("]\n");
    fs::write(out.join("assets.rs"), table)
}

/// Adds a page, and what only the page asks for.
fn add_page(table: &mut String, out: &Path, page: &Page, mut html: String) -> Result<(), Error> {
    for (path, file, kind) in page.own {
        let bytes = read(file)?;
        let (stem, extension) = path.rsplit_once('.').expect("it has an extension");
        let hashed = format!("{stem}-{:016x}.{extension}", hash(&bytes));
        let quoted = format!("\"{path}\"");
        assert_eq!(html.matches(&quoted).count(), 1, "{path} in {}", page.file);
        html = html.replace(&quoted, &format!("\"{hashed}\""));
        add(table, out, &hashed, kind, "Caching::Immutable", &bytes)?;
    }
    let html = html.as_bytes();
    add(table, out, page.path, HTML, "Caching::Revalidate", html)
}

fn read(file: &str) -> Result<Vec<u8>, Error> {
    println!("cargo::rerun-if-changed={file}");
    fs::read(file).map_err(|why| Error::new(why.kind(), format!("{file}: {why}")))
}

/// Writes `bytes` and what they are compressed to into `out`, and a row about them into `table`.
fn add(
    table: &mut String,
    out: &Path,
    path: &str,
    kind: &str,
    caching: &str,
    bytes: &[u8],
) -> Result<(), Error> {
    let tag = hash(bytes);
    let keep = |extension: &str, bytes: &[u8]| {
        let file = out.join(format!("{tag:016x}.{extension}"));
        fs::write(&file, bytes)?;
        Ok::<String, Error>(format!("include_bytes!({file:?})"))
    };
    // What compression does not make smaller is served as it is.
    let smaller = |extension: &str, packed: Vec<u8>| match packed.len() < bytes.len() {
        true => Ok::<String, Error>(format!("Some({})", keep(extension, &packed)?)),
        false => Ok("None".to_owned()),
    };
    let plain = keep("plain", bytes)?;
    let gzip = smaller("gz", gzip(bytes)?)?;
    let brotli = smaller("br", brotli(bytes)?)?;
    let _ = writeln!(
        table,
        "    Asset {{ path: {path:?}, kind: {kind:?}, caching: {caching}, tag: \"{tag:016x}\", bytes: {plain}, gzip: {gzip}, brotli: {brotli} }},"
    );
    Ok(())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn brotli(mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packed = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        size_hint: bytes.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut bytes, &mut packed, &params)?;
    Ok(packed)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
