//! Programs that know the schemas of others: installed into `target`, pinned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use presence_testkit::run::answer_or_error;
use presence_testkit::tools;
use serde_json::Value;

use super::File;

/// From PyPI. The first brings the schemas of Compose and GitHub, the second those of Kubernetes, the last one Helm itself.
const PACKAGES: &[&str] = &[
    "check-jsonschema==0.39.0",
    "kubernetes-validate==1.37.0",
    "ruamel.yaml==0.19.1",
    "helm-python-sdk==0.2.2",
];

/// The oldest Kubernetes that has all we use, and the newest that the package knows.
const KUBERNETES_VERSIONS: &[&str] = &["1.30", "1.37"];

/// Kinds of which no package brings a schema: only what our own checks say of them is known.
const WITHOUT_SCHEMA: &[&str] = &["Kustomization", "ServiceMonitor"];

/// Folders of `.github`, and the schema of the YAML files in each.
const GITHUB: &[(&str, &str)] = &[
    ("vendor.dependabot", ".github"),
    ("vendor.github-workflows", ".github/workflows"),
    ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE"),
];

/// The settings of the page on which somebody chooses a form: no schema of it comes with the package.
const NO_FORM: &str = "config.yml";

/// YAML to JSON. Unlike the other parsers it takes the same key twice for an error.
const TO_JSON: &str = "
import json, sys
from ruamel.yaml import YAML
print(json.dumps([list(YAML(typ='safe', pure=True).load_all(open(path))) for path in sys.argv[1:]], default=str))
";

/// Renders the chart in the first argument with the values in the second one, after Helm's own checks of it.
const RENDER: &str = "
import json, sys
from helm_python.chart import Chart, lint
chart, values = sys.argv[1], json.loads(sys.argv[2])
try:
    found = lint(chart, values, strict=True)
    errors = found['errors'] + [it['error'] for it in found['messages'] if it['severity'] > 1]
    print(json.dumps({'error': errors} if errors else {'files': Chart.load(chart).render(values)}))
except Exception as error:
    print(json.dumps({'error': str(error)}))
";

/// The checkers, which are installed as programs in one folder.
pub(super) struct Checkers {
    programs: PathBuf,
}

impl Checkers {
    /// Installs them below `target`, unless they are there.
    pub(super) fn install(target: &Path) -> Result<Checkers> {
        let programs = tools::python_packages(&target.join("deploy-checks"), PACKAGES)?;
        Ok(Checkers { programs })
    }

    /// Reads what is in the YAML files.
    pub(super) fn parse(&self, folder: &Path, files: &mut [File]) -> Result<()> {
        let mut yaml: Vec<&mut File> = files.iter_mut().filter(|file| file.is_yaml()).collect();
        let mut python = self.program("python3");
        python.current_dir(folder).args(["-c", TO_JSON]);
        python.args(yaml.iter().map(|file| &file.name));
        let documents: Vec<Vec<Value>> = serde_json::from_str(&answer_or_error(&mut python)?)?;
        for (file, documents) in yaml.iter_mut().zip(documents) {
            file.documents = documents;
        }
        Ok(())
    }

    /// The files that Helm makes of `chart` with `values`, or why it refuses them.
    pub(super) fn helm(
        &self,
        chart: &Path,
        values: &Value,
    ) -> Result<Result<BTreeMap<String, String>, String>> {
        let mut python = self.program("python3");
        python
            .args(["-c", RENDER])
            .arg(chart)
            .arg(values.to_string());
        let answer: Value = serde_json::from_str(&answer_or_error(&mut python)?)?;
        Ok(match &answer["error"] {
            Value::Null => Ok(serde_json::from_value(answer["files"].clone())?),
            error => Err(error.to_string()),
        })
    }

    /// What the Compose specification says against the files, a line each.
    pub(super) fn compose(&self, folder: &Path, files: &[&File]) -> Result<Vec<String>> {
        let files: Vec<_> = names(files).cloned().collect();
        self.schema(folder, "vendor.compose-spec", &files)
    }

    /// What GitHub's schemas say against the files in `.github`, a line each. Paths are relative to `root`.
    pub(super) fn github(&self, root: &Path) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (schema, folder) in GITHUB {
            let mut files = Vec::new();
            let entries = root.join(folder).read_dir();
            for entry in entries.with_context(|| format!("cannot list {folder}"))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".yml") && name != NO_FORM {
                    files.push(format!("{folder}/{name}"));
                }
            }
            if files.is_empty() {
                bail!("there is nothing to check in {folder}");
            }
            wrong.extend(self.schema(root, schema, &files)?);
        }
        Ok(wrong)
    }

    /// What a schema that check-jsonschema brings says against `files`, a line each. Their paths are relative to `folder`.
    fn schema(&self, folder: &Path, schema: &str, files: &[String]) -> Result<Vec<String>> {
        let mut command = self.program("check-jsonschema");
        command.args(["--output-format", "json", "--builtin-schema", schema]);
        let (said, _) = said(command.current_dir(folder).args(files))?;
        let report: Value = serde_json::from_str(&said)
            .with_context(|| format!("check-jsonschema said something else than JSON: {said}"))?;
        let unread = super::items(&report["parse_errors"]);
        let errors = super::items(&report["errors"]).iter().chain(unread);
        let lines: Vec<String> = errors
            .map(|it| {
                let [file, path, message] =
                    ["filename", "path", "message"].map(|name| super::text(&it[name]));
                format!("{file}: {path} {message}")
            })
            .collect();
        if lines.is_empty() && report["status"] != "ok" {
            bail!("check-jsonschema is not content, but does not say why: {said}");
        }
        Ok(lines)
    }

    /// What the Kubernetes API says against the files, a line each.
    pub(super) fn kubernetes(&self, folder: &Path, files: &[&File]) -> Result<Vec<String>> {
        let has_schema = |file: &&&File| {
            let kinds = file.documents.iter().map(|it| super::text(&it["kind"]));
            !kinds
                .into_iter()
                .all(|kind| WITHOUT_SCHEMA.contains(&kind.as_str()))
        };
        let files: Vec<&File> = files.iter().filter(has_schema).copied().collect();
        let mut command = self.program("kubernetes-validate");
        // Fields that the API does not know are an error.
        command.args(["--strict", "--quiet"]);
        command.args(
            KUBERNETES_VERSIONS
                .iter()
                .flat_map(|version| ["-k", version]),
        );
        let (said, is_fine) = said(command.current_dir(folder).args(names(&files)))?;
        // It only warns of kinds that it does not know, and is quiet when all is well.
        let lines: Vec<String> = said
            .lines()
            .map(|line| {
                line.split_once(' ')
                    .map_or(line, |(_, rest)| rest)
                    .to_owned()
            })
            .collect();
        if lines.is_empty() && !is_fine {
            bail!("kubernetes-validate is not content, but does not say why");
        }
        println!(
            "Kubernetes {}: no schema is to be had for {}",
            KUBERNETES_VERSIONS.join(" and "),
            WITHOUT_SCHEMA.join(" and ")
        );
        Ok(lines)
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }
}

fn names<'a>(files: &'a [&File]) -> impl Iterator<Item = &'a String> {
    files.iter().map(|file| &file.name)
}

/// What it said on stdout, and whether it succeeded.
fn said(command: &mut Command) -> Result<(String, bool)> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Ok((String::from_utf8(output.stdout)?, output.status.success()))
}
