//! Relative links and anchors in the documentation lead somewhere.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

/// What is at a path of the repository.
enum Found {
    Nothing,
    /// A folder, or a file without headings.
    Something,
    /// The text of a Markdown file.
    Page(String),
}

/// Links that lead nowhere, a line each: in the Markdown files at the root, below `docs` and below `.github`, and in the
/// README of each crate.
///
/// # Errors
///
/// Those could not be listed or read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut pages = vec![PathBuf::from("README.md")];
    pages.extend(markdown_in(root, Path::new(""), false)?);
    pages.extend(markdown_in(root, Path::new("docs"), true)?);
    pages.extend(markdown_in(root, Path::new(".github"), true)?);
    pages.extend(readmes_of_crates(root)?);
    pages.sort();
    pages.dedup();
    let look = |path: &Path| {
        let full = root.join(path);
        match fs::read_to_string(&full) {
            Ok(text) if is_markdown(path) => Found::Page(text),
            _ if full.exists() => Found::Something,
            _ => Found::Nothing,
        }
    };
    Ok(pages
        .iter()
        .flat_map(|page| check_page(page, &look))
        .collect())
}

/// The paths of the READMEs of the crates, relative to `root`.
fn readmes_of_crates(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in root.join("crates").read_dir()? {
        let page = Path::new("crates")
            .join(entry?.file_name())
            .join("README.md");
        if root.join(&page).is_file() {
            pages.push(page);
        }
    }
    Ok(pages)
}

/// The Markdown files in `folder`, with paths relative to `root`.
fn markdown_in(root: &Path, folder: &Path, deep: bool) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in root.join(folder).read_dir()? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if deep && entry.file_type()?.is_dir() {
            pages.extend(markdown_in(root, &path, deep)?);
        } else if is_markdown(&path) {
            pages.push(path);
        }
    }
    Ok(pages)
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

fn check_page(page: &Path, look: &dyn Fn(&Path) -> Found) -> Vec<String> {
    let Found::Page(text) = look(page) else {
        return vec![format!("{} is missing", page.display())];
    };
    let mut wrong = Vec::new();
    for link in links(&text) {
        if let Some(why) = leads_nowhere(page, &link.target, look) {
            wrong.push(format!(
                "{}:{}: {} {why}",
                page.display(),
                link.line,
                link.target
            ));
        }
    }
    wrong
}

/// Why a link from `page` leads nowhere, if it does.
fn leads_nowhere(page: &Path, target: &str, look: &dyn Fn(&Path) -> Found) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("//") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let path = match path {
        "" => page.to_owned(),
        path => match resolve(page, path) {
            Some(path) => path,
            None => return Some("leads out of the repository"),
        },
    };
    match (look(&path), anchor) {
        (Found::Nothing, _) => Some("does not exist"),
        (Found::Page(text), Some(anchor)) if !anchors(&text).contains(anchor) => {
            Some("is not a heading there")
        }
        _ => None,
    }
}

/// The path, relative to the root, that `link` means on `page`; `None` if it is outside.
fn resolve(page: &Path, link: &str) -> Option<PathBuf> {
    let mut path = match link.starts_with('/') {
        true => PathBuf::new(),
        false => page.parent()?.to_owned(),
    };
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if !path.pop() => return None,
            _ => {}
        }
    }
    Some(path)
}

/// A link as it is written.
struct Link {
    line: usize,
    target: String,
}

/// Inline links and images, reference definitions, and `href` and `src` of HTML.
fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, content) in prose(text) {
        let content = without_code(content);
        let inline = content
            .match_indices("](")
            .map(|(at, found)| &content[at + found.len()..]);
        let definition = content
            .trim_start()
            .strip_prefix('[')
            .filter(|label| !label.starts_with('^'))
            .and_then(|label| label.split_once("]:"))
            .map(|(_, rest)| rest.trim_start());
        let targets = inline.chain(definition).map(target);
        let html = attributes(&content, "href").chain(attributes(&content, "src"));
        for target in targets.chain(html).filter(|target| !target.is_empty()) {
            links.push(Link {
                line,
                target: target.to_owned(),
            });
        }
    }
    links
}

/// The target that `rest` starts with: up to a title or the closing parenthesis.
fn target(rest: &str) -> &str {
    if let Some(rest) = rest.strip_prefix('<') {
        return rest.split('>').next().unwrap_or(rest);
    }
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return &rest[..at],
            ')' => depth -= 1,
            c if c.is_whitespace() => return &rest[..at],
            _ => {}
        }
    }
    rest
}

/// What a link may name after `#`: headings, spelled as GitHub does, and ids in HTML.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (_, content) in prose(text) {
        anchors.extend(attributes(content, "id").map(str::to_owned));
        anchors.extend(attributes(content, "name").map(str::to_owned));
        let Some(heading) = heading(content) else {
            continue;
        };
        let slug = slug(heading);
        let times = seen.entry(slug.clone()).or_default();
        anchors.insert(match *times {
            0 => slug,
            times => format!("{slug}-{times}"),
        });
        *times += 1;
    }
    anchors
}

/// The text of a line like `## Text ##`.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    if !(1..=6).contains(&level) || !text.starts_with(' ') {
        return None;
    }
    Some(text.trim_end().trim_end_matches('#').trim())
}

fn slug(heading: &str) -> String {
    let mut slug = String::new();
    let mut rest = heading;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            // The target of a link is not part of the heading.
            ']' if rest.starts_with('(') => {
                rest = rest[1 + target(&rest[1..]).len()..].trim_start_matches(')')
            }
            ' ' => slug.push('-'),
            '-' | '_' => slug.push(c),
            c if c.is_alphanumeric() => slug.extend(c.to_lowercase()),
            _ => {}
        }
    }
    slug
}

/// The lines outside fenced code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let marker = fence_marker(line);
        match (fence, marker) {
            (None, Some(opening)) => fence = Some(opening),
            (None, None) => return Some((index + 1, line)),
            (Some(opening), Some(closing))
                if closing.starts_with(opening) && line.trim() == closing =>
            {
                fence = None;
            }
            (Some(_), _) => {}
        }
        None
    })
}

/// The run of backticks or tildes that makes a line a fence.
fn fence_marker(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let c = line.chars().next().filter(|c| "`~".contains(*c))?;
    let marker = &line[..line.len() - line.trim_start_matches(c).len()];
    (marker.len() >= 3).then_some(marker)
}

/// The line with its code spans blanked out.
fn without_code(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let (before, span) = rest.split_at(start + ticks);
        match span.find(&before[start..]) {
            Some(end) => {
                kept += &rest[..start];
                rest = &span[end + ticks..];
            }
            None => break,
        }
    }
    kept + rest
}

/// Values of an HTML attribute in a line.
fn attributes<'a>(line: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    let ends = line
        .match_indices(&start)
        .map(|(at, found)| at + found.len())
        .collect::<Vec<_>>();
    ends.into_iter()
        .filter_map(|at| line[at..].split_once('"').map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_folders_and_headings_are_followed() {
        let readme = "
# Presence
[a](docs/a.md) [its end](docs/a.md#the-end \"title\") [top](#presence) ![image](docs) [web](https://example.org/x.md)
[by reference][ref]

[ref]: <docs/a.md>
[^note]: not a link
";
        let a = "# A\n[back](../README.md#presence) [from the root](/docs/a.md)\n## The end\n";
        check_pages(&[("README.md", readme), ("docs/a.md", a)], &[]);
    }

    #[test]
    fn what_does_not_exist_is_told_with_its_line() {
        let readme = "# Presence\n\nSee [b](docs/b.md) and [c](../c.md).\n<img width=\"9\" src=\"logo.svg\">\n[x]: docs/x.md\n";
        check_pages(
            &[("README.md", readme)],
            &[
                "README.md:3: docs/b.md does not exist",
                "README.md:3: ../c.md leads out of the repository",
                "README.md:4: logo.svg does not exist",
                "README.md:5: docs/x.md does not exist",
            ],
        );
    }

    #[test]
    fn an_anchor_must_be_a_heading_there() {
        let a = "# A\n[here](#b) [there](../README.md#gone)\n";
        check_pages(
            &[("README.md", "# Presence"), ("docs/a.md", a)],
            &[
                "docs/a.md:2: #b is not a heading there",
                "docs/a.md:2: ../README.md#gone is not a heading there",
            ],
        );
    }

    #[test]
    fn code_has_no_links_and_no_headings() {
        let text = "
`[a](gone.md)` and ``[`b`](gone.md)``
````sh
```
[c](gone.md)
# not-a-heading
````
[d](#not-a-heading)
";
        check_pages(
            &[("README.md", text)],
            &["README.md:8: #not-a-heading is not a heading there"],
        );
    }

    #[test]
    fn a_missing_page_is_told() {
        check_pages(&[("README.md", "")], &[]);
        let nothing = |_: &Path| Found::Nothing;
        assert_eq!(
            check_page(Path::new("README.md"), &nothing),
            ["README.md is missing"]
        );
    }

    #[test]
    fn headings_are_spelled_as_github_does() {
        let text = "
# Who is here, right now?
## `presence:join` & `snake_case` ##
### [Linked](a.md) heading
## Again
## Again
<a id=\"by-hand\"></a>
## Größe – 5 s
";
        let expected = [
            "again",
            "again-1",
            "by-hand",
            "größe--5-s",
            "linked-heading",
            "presencejoin--snake_case",
            "who-is-here-right-now",
        ];
        assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_target_ends_at_its_own_parenthesis() {
        assert_eq!(target("a_(b).md) and (more)"), "a_(b).md");
        assert_eq!(target("<a b.md>)"), "a b.md");
        assert_eq!(target("a.md \"title\")"), "a.md");
    }

    /// Checks every page of a repository that consists of `pages` only.
    #[track_caller]
    fn check_pages(pages: &[(&str, &str)], expected: &[&str]) {
        let look = |path: &Path| match pages.iter().find(|(name, _)| Path::new(name) == path) {
            Some((_, text)) => Found::Page((*text).to_owned()),
            None if pages
                .iter()
                .any(|(name, _)| Path::new(name).starts_with(path)) =>
            {
                Found::Something
            }
            None => Found::Nothing,
        };
        let wrong: Vec<_> = pages
            .iter()
            .flat_map(|(name, _)| check_page(Path::new(name), &look))
            .collect();
        assert_eq!(wrong, expected);
    }
}
