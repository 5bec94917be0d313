//! `presence-tools NAME`: finds a program that tests need, installs it where that is harmless, and prints where it is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use presence_testkit::mongo::MongoProgram;
use presence_testkit::tools;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match find(&name) {
        Ok(file) => {
            println!("{}", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\npresence-tools: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<PathBuf> {
    match name {
        "redis" => tools::redis().map(|it| it.server),
        "mongo" => {
            let program = MongoProgram::find()?;
            println!("MongoDB: {}", program.about);
            Ok(program.file)
        }
        "chromium" => tools::chromium(),
        other => bail!("there are redis, mongo and chromium, not `{other}`"),
    }
}
