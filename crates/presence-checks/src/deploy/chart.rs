//! The Helm chart: rendered by Helm itself, and checked like what is applied as it is.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::File;
use super::checkers::Checkers;

/// The folder of the chart, in that of what is checked.
const CHART: &str = "helm/presence";

/// Values with which everything of the chart is there.
fn all() -> Value {
    json!({
        "ingress": { "enabled": true },
        "serviceMonitor": { "enabled": true },
        "image": { "pullSecrets": ["registry"] },
        "settings": { "PRESENCE_RATE_JOIN": "5/s burst 200", "PRESENCE_PUSHER_CLIENT_EVENTS": false },
    })
}

/// Values that the schema has to refuse, each with what its refusal names.
fn refused() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "drainSeconds": 0 }), "drainSeconds"),
        (json!({ "drain": 10 }), "drain"),
        (json!({ "allowedOrigins": [] }), "allowedOrigins"),
        (
            json!({ "settings": { "PRESENCE_LISTEN": "x" } }),
            "PRESENCE_LISTEN",
        ),
        (
            json!({ "autoscaling": { "cpuPercent": 101 } }),
            "cpuPercent",
        ),
        (json!({ "ingress": { "host": "A host" } }), "host"),
    ]
}

/// Renders the chart with its own values and with everything in it, into `scratch`. Returns the files, and what is wrong,
/// a line each.
pub(super) fn render(
    checkers: &Checkers,
    folder: &Path,
    scratch: &Path,
) -> Result<(Vec<File>, Vec<String>)> {
    let chart = folder.join(CHART);
    let mut wrong = Vec::new();
    let mut files = Vec::new();
    for (name, values) in [("default", json!({})), ("all", all())] {
        let rendered = match checkers.helm(&chart, &values)? {
            Ok(rendered) => rendered,
            Err(why) => {
                wrong.push(format!("{CHART}: with {values}: {why}"));
                continue;
            }
        };
        for (file, text) in rendered {
            let Some((_, file)) = file.rsplit_once('/') else {
                continue;
            };
            if text.trim().is_empty() || !file.ends_with(".yaml") {
                continue;
            }
            let name = format!("chart-{name}-{file}");
            fs::write(scratch.join(&name), &text)?;
            files.push(File {
                name,
                text,
                documents: Vec::new(),
            });
        }
    }
    for (values, named) in refused() {
        match checkers.helm(&chart, &values)? {
            Ok(_) => wrong.push(format!("{CHART}: the schema takes {values}")),
            Err(why) if !why.contains(named) => {
                wrong.push(format!(
                    "{CHART}: {values} is refused without {named}: {why}"
                ));
            }
            Err(_) => {}
        }
    }
    checkers.parse(scratch, &mut files)?;
    Ok((files, wrong))
}
