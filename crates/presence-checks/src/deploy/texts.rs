//! What has to be right about files that have no schema.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::File;
use super::container::AFTER_DRAIN;
use super::gateway::{Gateway, Route, span};

/// The file that shows every setting.
const EXAMPLE: &str = "presence.example.toml";

/// The paths that a proxy asks a gateway for.
pub(super) fn routes(file: &File) -> Vec<Route> {
    let checks = file
        .text
        .lines()
        .filter(|line| line.trim().starts_with("http-check send"));
    let paths = checks.filter_map(|line| word_after(line, "uri"));
    paths
        .map(|path| Route {
            told_in: file.name.clone(),
            path: path.to_owned(),
        })
        .collect()
}

/// What is wrong, a line each: settings that there are not, an example that the gateway refuses, too little time to stop.
pub(super) fn check(files: &[File], gateway: &Gateway, folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in files {
        let unknown = settings(&file.text)
            .into_iter()
            .filter(|name| !gateway.knows(name));
        wrong.extend(
            unknown.map(|name| format!("{}: {name} is no setting of the gateway", file.name)),
        );
    }
    let values = match gateway.accepts_file(&folder.join(EXAMPLE))? {
        Ok(values) => values,
        Err(why) => {
            wrong.push(format!("{EXAMPLE}: the gateway would not start: {why}"));
            return Ok(wrong);
        }
    };
    let drain = values
        .get("drain")
        .and_then(|it| span(it))
        .unwrap_or_default();
    for file in files.iter().filter(|file| file.name.ends_with(".service")) {
        let line = file
            .text
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="));
        if line
            .and_then(span)
            .is_none_or(|it| it <= drain + AFTER_DRAIN)
        {
            wrong.push(format!(
                "{}: TimeoutStopSec has to be more than {:?}",
                file.name,
                drain + AFTER_DRAIN
            ));
        }
    }
    Ok(wrong)
}

/// The words in `text` that look like settings.
fn settings(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words
        .filter(|word| {
            ["PRESENCE_", "REDIS_", "MONGODB_"]
                .iter()
                .any(|it| word.starts_with(it))
        })
        .collect()
}

fn word_after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|it| *it == word)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_in_comments_too() {
        let text = "# PRESENCE_DRAIN, or\nENV REDIS_URL=${REDIS_URL} REDISCLI_AUTH=x presence_ttl";
        assert_eq!(settings(text), ["PRESENCE_DRAIN", "REDIS_URL"].into());
    }

    #[test]
    fn the_path_that_a_proxy_asks_for_is_found() {
        let file = File {
            name: "haproxy.cfg".to_owned(),
            text: "option httpchk\n  http-check send meth GET uri /readyz\n".to_owned(),
            documents: Vec::new(),
        };
        assert_eq!(routes(&file)[0].path, "/readyz");
        assert_eq!(routes(&file).len(), 1);
    }
}
