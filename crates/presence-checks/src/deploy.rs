//! What is in `deploy` is right: its files parse and fit their schemas, the gateway accepts what they set, and they agree
//! with each other and with it. The workflows and forms in `.github` fit their schemas, too.
//!
//! Nothing is deployed, and neither Docker nor Kubernetes is needed. What only they could tell stays unchecked: whether an
//! image with that tag exists, whether the Dockerfile builds, whether a scheduler finds room.

mod chart;
mod checkers;

mod compose;
mod kubernetes;
mod prometheus;

mod container;
mod gateway;

mod texts;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use presence_testkit::folder::Folder;
use presence_testkit::workspace::Workspace;
use serde_json::Value;

use self::checkers::Checkers;
use self::container::Container;
use self::gateway::{Gateway, Route};

/// The folder of the deployments, relative to the root of the repository.
const FOLDER: &str = "deploy";

/// A file of the deployments, with its content.
struct File {
    /// The path of the file, relative to [`FOLDER`].
    name: String,
    text: String,
    /// What is in it, if it is YAML.
    documents: Vec<Value>,
}

/// Checks all of it.
///
/// # Errors
///
/// Something is wrong, which is told a line each on stdout, or cannot be checked.
pub(crate) fn check(workspace: &Workspace, gateway: PathBuf) -> Result<()> {
    let checkers = Checkers::install(&workspace.target)?;
    let scratch = format!("deploy-{}", std::process::id());
    let scratch = Folder::empty(workspace.target.join("xtask").join(scratch))?;
    let gateway = Gateway::ask(gateway, scratch.path().to_owned())?;

    let folder = workspace.root.join(FOLDER);
    let files = read(&folder, &checkers)?;
    let (composed, in_kubernetes) = (yaml(&files, ""), yaml(&files, "kubernetes/"));
    if composed.is_empty() || in_kubernetes.is_empty() {
        bail!("there is nothing to check in {}", folder.display());
    }
    let mut wrong = checkers.compose(&folder, &composed)?;
    wrong.extend(checkers.kubernetes(&folder, &in_kubernetes)?);
    let (rendered, refused) = chart::render(&checkers, &folder, scratch.path())?;
    let rendered: Vec<&File> = rendered.iter().collect();
    wrong.extend(refused);
    wrong.extend(checkers.kubernetes(scratch.path(), &rendered)?);

    let (mut containers, mut routes): (Vec<Container>, Vec<Route>) = Default::default();
    for file in &composed {
        containers.extend(compose::containers(file));
        wrong.extend(compose::check(file, &files));
    }
    let of_kubernetes = || in_kubernetes.iter().chain(&rendered).copied();
    containers.extend(of_kubernetes().flat_map(kubernetes::containers));
    wrong.extend(kubernetes::check(&in_kubernetes));
    for values in ["default", "all"] {
        let start = format!("chart-{values}-");
        let files = rendered.iter().filter(|it| it.name.starts_with(&start));
        wrong.extend(kubernetes::check_objects(&Vec::from_iter(files.copied())));
    }
    for container in &containers {
        wrong.extend(container.check(&gateway)?);
    }
    routes.extend(of_kubernetes().flat_map(kubernetes::routes));
    routes.extend(files.iter().flat_map(texts::routes));
    wrong.extend(gateway.lacks(&routes)?);
    wrong.extend(texts::check(&files, &gateway, &folder)?);
    wrong.extend(prometheus::check(workspace, &folder, &gateway)?);
    let github = checkers.github(&workspace.root)?;
    wrong.extend(github.into_iter().map(|line| format!("../{line}")));

    println!(
        "{} files, {} containers, {} routes",
        files.len(),
        containers.len(),
        routes.len()
    );
    for line in &wrong {
        println!("{FOLDER}/{line}");
    }
    match wrong.len() {
        0 => Ok(()),
        1 => bail!("{FOLDER}/{}", wrong[0]),
        n => bail!("{n} things are wrong in {FOLDER}, listed above"),
    }
}

/// Every file below `folder`.
fn read(folder: &Path, checkers: &Checkers) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for below in ["", "kubernetes/", "prometheus/"] {
        for entry in folder
            .join(below)
            .read_dir()
            .context("cannot list deploy")?
        {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            files.push(File {
                name: format!("{below}{}", entry.file_name().to_string_lossy()),
                text: fs::read_to_string(entry.path())?,
                documents: Vec::new(),
            });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    checkers.parse(folder, &mut files)?;
    Ok(files)
}

impl File {
    fn is_yaml(&self) -> bool {
        [".yaml", ".yml"].iter().any(|end| self.name.ends_with(end))
    }
}

/// The YAML files that are directly in a folder below [`FOLDER`].
fn yaml<'a>(files: &'a [File], below: &str) -> Vec<&'a File> {
    let files = files.iter().filter(|file| file.is_yaml());
    files
        .filter(|file| {
            let name = file.name.strip_prefix(below);
            name.is_some_and(|name| !name.contains('/'))
        })
        .collect()
}

/// What is at `path`, with `/` between the names, or null.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, name| &value[name])
}

/// The items of a list; none if it is none.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text, or a number as a text; empty if it is neither.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => String::new(),
    }
}
