//! `docs/http-api.md`, line by line.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::contract::{Contract, Operation};
use super::support::{Reply, send, token};
use crate::gateway::{Running, start_closed};

/// What stands between two fences: what was said after the first one, and the lines.
struct Block {
    kind: String,
    text: String,
}

#[tokio::test]
async fn the_page_describes_every_call_and_its_examples_work() {
    // It goes by the id in the example of a call to a gateway.
    let gateway = start_closed(&[("NODE_NAME", "3fdba35f04dc8c46.0")]).await;
    let mut contract = Contract::of(gateway.address()).await;
    let token = token(&gateway, "service", &["admin"], &[]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http-api.md");
    let page = std::fs::read_to_string(page).unwrap();
    let operations = contract.operations();
    let named = |name: &str| operations.iter().find(|it| it.name() == name);

    let mut described = BTreeSet::new();
    for section in page.split("\n### ").skip(1) {
        let (heading, rest) = section.split_once('\n').unwrap();
        let names = heading.split('`').skip(1).step_by(2);
        let here: Vec<&Operation> = names
            .map(|name| named(name).unwrap_or_else(|| panic!("{name} is not in the document")))
            .collect();
        described.extend(here.iter().map(|it| it.name()));
        let mut last = here[0];
        for block in blocks(rest) {
            match block.kind.as_str() {
                "sh" => {
                    let (method, reply) = curl(&gateway, &token, &block.text).await;
                    last = here.iter().find(|it| it.method == method).unwrap();
                    let status = last.success();
                    assert_eq!(reply.status, status, "{}{}", block.text, reply.text());
                    contract.check(last, &reply);
                }
                "text" => {}
                kind => {
                    let kind = kind.strip_prefix("json ").unwrap();
                    let example: Value = serde_json::from_str(&block.text).unwrap();
                    contract.check_example(last, kind, &example);
                }
            }
        }
    }
    let all = operations.iter().map(Operation::name);
    assert_eq!(described, all.collect());
}

fn blocks(text: &str) -> Vec<Block> {
    let fenced = text.split("```").skip(1).step_by(2);
    let blocks = fenced.map(|block| {
        let (kind, text) = block.split_once('\n').unwrap();
        Block {
            kind: kind.to_owned(),
            text: text.to_owned(),
        }
    });
    blocks.collect()
}

/// Does what curl would do; also says which method that is.
async fn curl(gateway: &Running, token: &str, line: &str) -> (String, Reply) {
    let line = line.replace("\\\n", " ").replace("$TOKEN", token);
    let mut words = words(&line).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"), "{line}");
    let mut method = "GET".to_owned();
    let mut target = String::new();
    let mut body = String::new();
    let mut headers = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = words.next().unwrap(),
            "-H" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(": ").unwrap();
                headers.push((name.to_owned(), value.to_owned()));
            }
            "--json" => {
                body = words.next().unwrap();
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
                if method == "GET" {
                    method = "POST".to_owned();
                }
            }
            url => {
                target = url
                    .strip_prefix("$PRESENCE")
                    .unwrap_or_else(|| panic!("{url}?"))
                    .to_owned()
            }
        }
    }
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let reply = send(
        gateway.address(),
        &method,
        &target,
        &headers,
        body.as_bytes(),
    )
    .await;
    (method, reply)
}

/// The words of a shell command; in quotes of either kind stands one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.chars().next().filter(|it| "'\"".contains(*it)) {
            Some(quote) => rest[1..].split_once(quote).unwrap(),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}
