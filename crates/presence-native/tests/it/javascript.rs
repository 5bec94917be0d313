//! `presence.js` in Node, against the example.

use std::path::Path;
use std::process::Stdio;

use presence_testkit::proxy::{Mode, Proxy};
use presence_testkit::tools::on_path;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::{soon, start};

/// What it says before it waits for its connection to be cut.
const READY: &str = "cut me";

#[tokio::test]
async fn presence_js_joins_sees_types_and_resumes() {
    let Some(node) = on_path("node") else {
        println!("without Node there is nothing to run presence.js with");
        return;
    };
    let server = start().await;
    let proxy = Proxy::start(server.address).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut running = Command::new(node)
        .arg("--experimental-websocket") // Node 20 has it behind this
        .arg(folder.join("tests/it/presence.mjs"))
        .arg(folder.join("../presence-web/packages/presence-client/src/index.js"))
        .arg(format!("ws://{}/ws", server.address))
        .arg(format!("ws://{}/ws", proxy.address()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = soon("a line", lines.next_line()).await.unwrap() {
        if line == READY {
            proxy.set(Mode::Cut);
            let cut = async {
                while proxy.connections() > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            soon("the cut", cut).await;
            proxy.set(Mode::Pass);
        }
        said.push(line);
    }
    let mut errors = String::new();
    let mut stderr = running.stderr.take().unwrap();
    stderr.read_to_string(&mut errors).await.unwrap();
    let status = soon("its end", running.wait()).await.unwrap();
    assert!(status.success(), "{said:#?}\n{errors}");
    assert_eq!(said.last().map(String::as_str), Some("done"), "{said:#?}");
}
