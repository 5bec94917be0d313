//! The metrics of a gateway, and the alert rules: checked by Prometheus' own promtool, where there is one.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use presence_testkit::workspace::Workspace;
use presence_testkit::{http, tools};

use super::gateway::Gateway;

/// In the folder of what is checked.
const RULES: &str = "prometheus/presence.rules.yaml";
const TESTS: &str = "prometheus/presence.test.yaml";

/// What promtool says against the rules, their tests, and the metrics of a running gateway; a line each.
pub(super) fn check(
    workspace: &Workspace,
    folder: &Path,
    gateway: &Gateway,
) -> Result<Vec<String>> {
    let Some(promtool) = tools::promtool(&workspace.target)? else {
        println!("no promtool, and none to be had: metrics and alert rules are not checked by it");
        return Ok(Vec::new());
    };
    let mut wrong = Vec::new();
    for (what, file) in [("check", RULES), ("test", TESTS)] {
        let mut command = Command::new(&promtool);
        command.args([what, "rules"]).arg(folder.join(file));
        let output = command.output().context("cannot start promtool")?;
        if !output.status.success() {
            wrong.push(format!("{file}: {}", said(&output)));
        }
    }
    let page = gateway.running(|address| Ok(http::get_as(address, "/metrics", "text/plain")?.1))?;
    let mut command = Command::new(&promtool);
    command.args(["check", "metrics"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("promtool has no stdin")?;
    stdin.write_all(page.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        wrong.push(format!("the metrics of the gateway: {}", said(&output)));
    }
    Ok(wrong)
}

fn said(output: &std::process::Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{} {}", out.trim(), err.trim()).trim().to_owned()
}
