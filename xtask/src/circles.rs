//! Circles of modules: places where no file can be read before the others.
//!
//! An edge is a path that begins with `crate::` or `super::`, outside of tests; what a module exports again counts for the
//! module that has it. The modules of one folder are compared with each other, and a module and its children count as one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The largest circle that is allowed, in modules.
const SIZE_MAX: usize = 3;

/// Between its modules, though not within one of them, there is no circle at all.
const CORE: &str = "presence-core";

/// Modules that are compiled for tests only.
const OF_TESTS: &[&str] = &["tests", "hostile"];

/// From the root of a crate to a module, or to something in it.
type Names = Vec<String>;

/// A group of modules in which each can reach every other.
struct Circle {
    /// The module that they are in; empty for the root of the crate.
    folder: Names,
    names: Names,
}

/// What is wrong in the crates below `folder`, a line each.
pub(crate) fn check(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let entries = folder.read_dir();
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut files = BTreeMap::new();
        read(&entry.path().join("src"), &[], &mut files)?;
        wrong.extend(check_crate(&name, &files));
    }
    wrong.sort();
    Ok(wrong)
}

fn check_crate(name: &str, files: &BTreeMap<Names, String>) -> Vec<String> {
    let is_too_large =
        |it: &Circle| it.names.len() > SIZE_MAX || (name == CORE && it.folder.is_empty());
    let circles = circles(files).into_iter().filter(is_too_large);
    let told = |Circle { names, .. }: Circle| {
        let (size, names) = (names.len(), names.join(", "));
        format!("{name}: a circle of {size} modules: {names}")
    };
    circles.map(told).collect()
}

/// The modules below `folder`, which is that of the module `at`.
fn read(folder: &Path, at: &[String], files: &mut BTreeMap<Names, String>) -> Result<()> {
    // Not every crate has code in Rust.
    let Ok(entries) = folder.read_dir() else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let child: Names = at.iter().cloned().chain([stem.to_string()]).collect();
        if OF_TESTS.contains(&&*stem) || (at.is_empty() && matches!(&*stem, "bin" | "main")) {
            continue;
        }
        if path.is_dir() {
            read(&path, &child, files)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            let module = match &*stem {
                "mod" | "lib" => at.to_vec(),
                _ => child,
            };
            files.insert(module, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Circles between modules that are side by side, the largest first.
fn circles(files: &BTreeMap<Names, String>) -> Vec<Circle> {
    let tokens: BTreeMap<&Names, Vec<String>> =
        files.iter().map(|(at, text)| (at, tokens(text))).collect();
    let exports = tokens.iter().map(|(at, it)| (*at, exports(it))).collect();
    let mut folders: BTreeMap<Names, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (at, tokens) in &tokens {
        for path in paths(tokens) {
            let to = resolve(at, &path, files, &exports, 0);
            let same = at.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (at.get(same), to.get(same)) {
                let edges = folders.entry(at[..same].to_vec()).or_default();
                edges.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut circles = Vec::new();
    for (folder, edges) in &folders {
        circles.extend(circles_of(edges).into_iter().map(|names| {
            let folder = folder.clone();
            Circle { folder, names }
        }));
    }
    circles.sort_by_key(|it| usize::MAX - it.names.len());
    circles
}

/// Groups of nodes that reach each other.
fn circles_of(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Names> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(node) = next.pop() {
            let new = edges.get(node).into_iter().flatten();
            next.extend(new.filter(|it| seen.insert((*it).clone())));
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> =
        edges.keys().map(|node| (node, reached(node))).collect();
    let mut groups = BTreeSet::new();
    for (node, seen) in &reach {
        let back = |it: &&String| reach.get(*it).is_some_and(|seen| seen.contains(*node));
        let group: Names = seen.iter().filter(back).cloned().collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

/// The module that has what `path` names, seen from the module `at`.
fn resolve(
    at: &[String],
    path: &[String],
    files: &BTreeMap<Names, String>,
    exports: &BTreeMap<&Names, Vec<(String, Names)>>,
    depth: usize,
) -> Names {
    let mut found = match path[0].as_str() {
        "crate" => Vec::new(),
        _ => at.to_vec(),
    };
    let mut rest = path;
    while let Some(name) = rest.first() {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(found.pop()),
            name => {
                found.push(name.to_owned());
                if !files.contains_key(&found) {
                    found.pop();
                    break;
                }
            }
        }
        rest = &rest[1..];
    }
    let exported = exports.get(&found).into_iter().flatten();
    let name = rest.first();
    match exported.into_iter().find(|(it, _)| Some(it) == name) {
        Some((_, path)) if depth < 5 => resolve(&found, path, files, exports, depth + 1),
        _ => found,
    }
}

/// Names, `::` and single signs, without comments and without the tests at the end.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = text.unwrap_or_default().lines();
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    let mut tokens: Vec<String> = Vec::new();
    for line in code {
        let mut rest = line;
        while let Some(sign) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let length = match sign {
                ':' if rest.starts_with("::") => 2,
                c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            if !sign.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            rest = &rest[length..];
        }
    }
    tokens
}

/// Every path in it that begins with `crate` or `super`.
fn paths(tokens: &[String]) -> Vec<Names> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|it| tokens[it].as_str());
        if matches!(token.as_str(), "crate" | "super") && before != Some("::") {
            let mut leaves = Vec::new();
            tree(tokens, index, &[], &mut leaves);
            found.extend(leaves.into_iter().map(|(_, path)| path));
        }
    }
    found
}

/// What it exports again: under which name, and the path to it.
fn exports(tokens: &[String]) -> Vec<(String, Names)> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|it| tokens[it].as_str());
        if token == "use" && matches!(before, Some("pub" | ")")) {
            tree(tokens, index + 1, &[], &mut found);
        }
    }
    found
}

/// Reads `a::b` or `a::{b, c as d}` from the token `at` on; answers where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    before: &[String],
    leaves: &mut Vec<(String, Names)>,
) -> usize {
    let mut path = before.to_vec();
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    loop {
        match token(at) {
            "{" => {
                at += 1;
                while !matches!(token(at), "}" | "") {
                    let end = tree(tokens, at, &path, leaves);
                    // Whatever is no tree is passed over.
                    at = end.max(at + 1);
                    at += usize::from(token(at) == ",");
                }
                return at + 1;
            }
            name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(name.to_owned());
            }
            _ => break,
        }
        at += 1;
        if token(at) != "::" {
            break;
        }
        at += 1;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if token(at) == "as" {
        name = token(at + 1).to_owned();
        at += 2;
    }
    if path.len() > before.len() || token(at) == "*" {
        leaves.push((name, path));
    }
    at + usize::from(token(at) == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_use_each_other_are_a_circle() {
        check(
            &[
                ("a", "use crate::b::B;"),
                ("b", "fn f() -> crate::c::C {}"),
                ("c", "use super::{a::{self, A}, d};"),
                ("d", "use crate::e::E;"),
                ("e", ""),
            ],
            &["a b c"],
        );
    }

    #[test]
    fn a_module_and_its_children_are_one() {
        check(
            &[
                ("a", "mod x; use crate::b::B;"),
                ("a/x", "use super::A; use crate::a;"),
                ("b", ""),
            ],
            &[],
        );
        check(
            &[
                ("a", "mod x; mod y; use crate::b::B;"),
                ("a/x", "use super::y::Y;"),
                ("a/y", "use crate::a::x::X;"),
                ("b", "use crate::a::y::Y;"),
            ],
            &["a b", "x y"],
        );
    }

    #[test]
    fn what_is_exported_again_counts_where_it_is() {
        check(
            &[
                ("", "mod a; mod b; pub use a::{A, B as C};"),
                ("a", "use crate::b;"),
                ("b", "use crate::C;"),
            ],
            &["a b"],
        );
    }

    #[test]
    fn comments_and_tests_are_no_edges() {
        check(
            &[
                (
                    "a",
                    "// crate::b::B\n#[cfg(test)]\nmod tests {\n use crate::b::B;",
                ),
                ("b", "use crate::a::A;"),
            ],
            &[],
        );
    }

    #[test]
    fn a_large_circle_is_told() {
        let of = |size: usize| {
            let names: Vec<_> = (0..size).map(|it| format!("m{it}")).collect();
            let text = |it: usize| format!("use crate::m{};", (it + 1) % size);
            let files = names.iter().enumerate();
            files
                .map(|(it, name)| (vec![name.clone()], text(it)))
                .collect()
        };
        assert_eq!(check_crate("presence-x", &of(3)), [""; 0]);
        assert_eq!(
            check_crate("presence-x", &of(4)),
            ["presence-x: a circle of 4 modules: m0, m1, m2, m3"]
        );
    }

    #[test]
    fn between_modules_of_the_core_there_is_none() {
        let file = |at: &[&str], text: &str| {
            let at: Names = at.iter().map(|it| (*it).to_owned()).collect();
            (at, text.to_owned())
        };
        let inside = [
            file(&["a", "x"], "use super::y;"),
            file(&["a", "y"], "use super::x;"),
        ];
        let between = [file(&["a"], "use crate::b;"), file(&["b"], "use crate::a;")];
        let wrong = |files: [(Names, String); 2]| check_crate(CORE, &files.into()).join("; ");
        assert!(!wrong(inside).contains("a circle of"));
        assert!(wrong(between).contains("presence-core: a circle of 2 modules: a, b"));
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let names = |path: &str| {
            let names = path.split('/').filter(|it| !it.is_empty());
            names.map(str::to_owned).collect()
        };
        let files = files
            .iter()
            .map(|(at, text)| (names(at), (*text).to_owned()));
        let found: Vec<_> = circles(&files.collect())
            .iter()
            .map(|it| it.names.join(" "))
            .collect();
        assert_eq!(found, expected);
    }
}
