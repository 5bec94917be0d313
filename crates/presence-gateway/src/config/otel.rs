//! The configuration of traces.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::error::ConfigError;
use super::layers::Layers;
use super::{Secret, parse};

/// Where the protocol has its path if the URL of a collector names none.
const PATH: &str = "/v1/traces";

/// The collector of traces, and which traces it gets.
#[derive(Clone, Debug)]
pub struct Otel {
    /// The URL to which spans are posted: `http` or `https`, a host, and a path.
    pub endpoint: Uri,
    /// Headers of each request, such as the key of a hosted collector.
    pub headers: Vec<(String, Secret)>,
    /// The part of all traces that is exported, from 0 to 1. A caller that names a trace decides for it.
    pub ratio: f64,
}

impl Otel {
    /// The URL without the parts that may be secret, for the log.
    pub fn describe(&self) -> String {
        let authority = self.endpoint.authority().map_or("", |it| it.as_str());
        let scheme = self.endpoint.scheme_str().unwrap_or("");
        format!("{scheme}://{authority}/…")
    }
}

/// Reads the collector, if there is one.
pub(super) fn otel(it: &mut Layers) -> Result<Option<Otel>, ConfigError> {
    let endpoint = it.take_if_set("otel.endpoint", |text| {
        let url = parse::web_url(text)?;
        Ok(with_path(url))
    })?;
    let headers = it.take_list("otel.headers", header)?;
    let ratio = it.take("otel.sampling", ratio)?;
    let wrong = |it: &Layers, key: &'static str, what: String| ConfigError::Relation {
        what,
        origins: vec![it.origin(key)],
    };
    let Some(endpoint) = endpoint else {
        let alone = ["otel.headers", "otel.sampling"];
        return match alone.into_iter().find(|key| it.is_set(key)) {
            None => Ok(None),
            Some(key) => {
                let what = format!("{key} is of no use alone: otel.endpoint would do, too");
                Err(wrong(it, key, what))
            }
        };
    };
    if !cfg!(feature = "otel") {
        let what = "this program was built without traces: one that is built with `--features otel` would do";
        return Err(wrong(it, "otel.endpoint", what.to_owned()));
    }
    Ok(Some(Otel {
        endpoint,
        headers,
        ratio,
    }))
}

fn with_path(url: Uri) -> Uri {
    if url.path() != "/" || url.query().is_some() {
        return url;
    }
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static(PATH));
    Uri::from_parts(parts).unwrap_or(url)
}

fn header(text: &str) -> Result<(String, Secret), String> {
    let wants = "a header would do: `name=value`, with commas between several";
    let (name, value) = text.split_once('=').ok_or(wants)?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = HeaderName::from_bytes(name.as_bytes()).is_ok();
    if !is_name || HeaderValue::from_str(value).is_err() {
        return Err(wants.to_owned());
    }
    Ok((name.to_owned(), Secret::new(value)))
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok();
    let ratio = ratio.filter(|it| (0.0..=1.0).contains(it));
    ratio.ok_or_else(|| "a number from 0 to 1 would do".to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::Cli;
    use crate::config::Config;

    fn load(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let env = env.iter();
        let env = env.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::load_in(folder.path(), &Cli::default(), env)
    }

    #[track_caller]
    fn refused(env: &[(&str, &str)], why: &str) {
        let error = load(env).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_bad_value_is_named_and_a_header_is_never_shown() {
        refused(
            &[("PRESENCE_OTEL_ENDPOINT", "collector:4317")],
            "a URL of http",
        );
        refused(&[("PRESENCE_OTEL_SAMPLING", "1.5")], "a number from 0 to 1");
        refused(&[("PRESENCE_OTEL_SAMPLING", "NaN")], "a number from 0 to 1");
        refused(
            &[("PRESENCE_OTEL_SAMPLING", "0.5")],
            "otel.endpoint would do",
        );
        refused(
            &[("PRESENCE_OTEL_HEADERS", "x-key=abc")],
            "otel.endpoint would do",
        );
        for header in ["x-key", "a b=c", "=c"] {
            let why = load(&[("PRESENCE_OTEL_HEADERS", header)]).unwrap_err();
            let why = why.to_string();
            assert!(why.contains("name=value"), "{why}");
        }
        assert!(load(&[]).unwrap().otel.is_none());
    }

    #[cfg(not(feature = "otel"))]
    #[test]
    fn a_program_without_traces_says_so() {
        let endpoint = ("PRESENCE_OTEL_ENDPOINT", "http://127.0.0.1:4318");
        refused(&[endpoint], "--features otel");
    }

    #[cfg(feature = "otel")]
    #[test]
    fn a_collector_has_a_path_headers_and_a_part_of_the_traces() {
        const HIDDEN: &str = "7ad3773142a6692b25b8";
        let headers = format!("x-team=acme, x-key={HIDDEN}==");
        let env = |endpoint| [("PRESENCE_OTEL_ENDPOINT", endpoint)];
        let more = [
            ("PRESENCE_OTEL_HEADERS", &*headers),
            ("PRESENCE_OTEL_SAMPLING", "0.25"),
        ];
        let with = [&env("https://example.org")[..], &more].concat();
        let config = load(&with).unwrap();
        let otel = config.otel.as_ref().unwrap();
        assert_eq!(otel.endpoint, "https://example.org/v1/traces");
        assert_eq!((otel.ratio, otel.headers.len()), (0.25, 2));
        assert_eq!(otel.headers[1].1.expose(), format!("{HIDDEN}==").as_bytes());
        for shown in [format!("{config:?}"), config.to_string()] {
            assert!(!shown.contains(HIDDEN), "{shown}");
        }
        for (endpoint, url) in [
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/a", "http://127.0.0.1:4318/a"),
        ] {
            let otel = load(&env(endpoint)).unwrap().otel.unwrap();
            assert_eq!(
                (otel.endpoint.to_string(), otel.ratio),
                (url.to_owned(), 1.0)
            );
        }
    }
}
