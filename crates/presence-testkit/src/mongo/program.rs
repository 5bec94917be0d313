//! Which server there is to run: found on PATH, or installed into `target`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Settings;
use crate::run::{answer, answer_or_error};
use crate::tools::on_path;
use crate::workspace::Workspace;

/// The oldest MongoDB that we say anything about.
const MONGOD_MAJOR_MIN: u32 = 6;

/// From PyPI: a server in Python on the storage engine of MongoDB.
const STAND_IN: &str = "secantusdb==0.7.0b3";

/// A program that speaks the protocol of MongoDB.
#[derive(Clone, Debug)]
pub struct MongoProgram {
    /// Whether it is MongoDB's own server or the stand-in.
    pub kind: Kind,
    /// The path of the program.
    pub file: PathBuf,
    /// What it is, for a log.
    pub about: String,
}

/// The kinds of servers that tests can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `mongod`, the server of MongoDB itself.
    Mongod,
    /// SecantusDB of PyPI, where there is no `mongod`.
    SecantusDb,
}

impl MongoProgram {
    /// The `mongod` on PATH, or else the stand-in, installed below `target` if it is not yet.
    ///
    /// # Errors
    ///
    /// There is neither, or it is too old.
    pub fn find() -> Result<MongoProgram> {
        match on_path("mongod") {
            Some(file) => mongod(file),
            None => stand_in(&Workspace::read()?.target),
        }
    }

    pub(super) fn args(&self, port: u16, data: &Path, settings: &Settings) -> Vec<String> {
        let data = data.to_string_lossy().into_owned();
        let port = port.to_string();
        let pem = settings.tls.as_ref().map(|pem| pem.to_string_lossy());
        let mut args: Vec<&str> = match self.kind {
            Kind::Mongod => vec![
                "--bind_ip",
                "127.0.0.1",
                "--dbpath",
                &data,
                "--nounixsocket",
            ],
            Kind::SecantusDb => vec![
                "--host",
                "127.0.0.1",
                "--storage-path",
                &data,
                "--log-level",
                "WARNING",
            ],
        };
        args.extend(["--port", &port]);
        if settings.auth {
            args.push("--auth");
        }
        if let Some(pem) = &pem {
            args.extend(match self.kind {
                Kind::Mongod => ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", pem],
                Kind::SecantusDb => ["--tls-cert-file", pem, "--tls-key-file", pem],
            });
        }
        args.into_iter().map(str::to_owned).collect()
    }
}

fn mongod(file: PathBuf) -> Result<MongoProgram> {
    let said = answer(Command::new(&file).arg("--version")).unwrap_or_default();
    let version = mongod_version(&said).unwrap_or("of no known version");
    let major = version.split('.').next().and_then(|it| it.parse().ok());
    if major.is_none_or(|major: u32| major < MONGOD_MAJOR_MIN) {
        bail!(
            "{} is {version}; MongoDB {MONGOD_MAJOR_MIN} or newer is needed, or none on PATH for the stand-in {STAND_IN}",
            file.display()
        );
    }
    Ok(MongoProgram {
        kind: Kind::Mongod,
        about: format!("mongod {version} ({})", file.display()),
        file,
    })
}

/// Of `db version v7.0.14` and more lines.
fn mongod_version(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| line.strip_prefix("db version v"))
}

/// Tests of one run are many processes, and all may want it at the same time: the first one installs it.
fn stand_in(target: &Path) -> Result<MongoProgram> {
    let folder = target.join("mongo-stand-in");
    fs::create_dir_all(&folder)?;
    let turn = File::create(folder.join("lock"))?;
    turn.lock()?;
    let (venv, installed) = (folder.join("venv"), folder.join("installed"));
    if !fs::read_to_string(&installed).is_ok_and(|it| it == STAND_IN) {
        install(&venv)?;
        fs::write(installed, STAND_IN)?;
    }
    Ok(MongoProgram {
        kind: Kind::SecantusDb,
        file: venv.join("bin/secantusd-py"),
        about: format!("the stand-in {STAND_IN}, for want of a mongod on PATH"),
    })
}

fn install(venv: &Path) -> Result<()> {
    const PYTHON: &str = "for want of a mongod on PATH the tests need python3 with its module venv \
        (Debian: `apt-get install python3-venv`) and PyPI, once";
    println!("installing {STAND_IN} into {}", venv.display());
    answer_or_error(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(venv),
    )
    .context(PYTHON)?;
    // Nothing is built here.
    answer_or_error(
        Command::new(venv.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary=:all:",
            ])
            .arg(STAND_IN),
    )
    .context(PYTHON)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_mongod_is_read_from_its_answer() {
        let said = "db version v7.0.14\nBuild Info: {\n    \"version\": \"7.0.14\"\n}";
        assert_eq!(mongod_version(said), Some("7.0.14"));
        assert_eq!(mongod_version("mongod"), None);
    }
}
