//! Links in Markdown that lead nowhere: files that are not there, and headings that nobody wrote.
//!
//! Only what is in the repository is looked at; the web is not asked.

use super::copy;
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every dead link of every Markdown file below `root`.
pub(super) fn check(root: &Path) -> Result<Vec<String>, Error> {
    let mut pages = BTreeMap::new();
    let files: BTreeSet<String> = copy::files(root)?.into_iter().collect();
    for name in files.iter().filter(|name| name.ends_with(".md")) {
        let path = root.join(name);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
        pages.insert(name.clone(), text);
    }
    Ok(dead(&pages, &files))
}

fn dead(pages: &BTreeMap<String, String>, files: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in pages {
        for (line, link) in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { name.clone() } else { resolve(name, path) };
            let folder = format!("{target}/");
            let exists =
                files.contains(&target) || files.iter().any(|file| file.starts_with(&folder));
            if !exists {
                problems.push(format!("{name}:{line}: no {target}"));
            } else if !anchor.is_empty()
                && !pages.get(&target).is_some_and(|page| anchors(page).contains(anchor))
            {
                problems.push(format!("{name}:{line}: no heading #{anchor} in {target}"));
            }
        }
    }
    problems
}

/// `path` as seen from the folder of `page`, named from the root.
fn resolve(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Lines outside fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Targets of `[words](target)`, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            // Code between backticks is no link.
            let before = line.get(..at).unwrap_or_default();
            let behind = line.get(at.saturating_add(2)..).unwrap_or_default();
            if before.matches('`').count().is_multiple_of(2)
                && let Some((target, _)) = behind.split_once(')')
            {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors of all headings, as GitHub makes them; a repeated one gets `-1`, `-2` behind it.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let words = line.trim_start_matches('#').trim();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String =
            kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect();
        let count = seen.entry(anchor.clone()).or_default();
        found.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count = count.saturating_add(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(page: &str) -> Vec<String> {
        let pages =
            [("docs/a.md".to_owned(), page.to_owned()), ("b.md".to_owned(), "# A `b`, c\n".into())];
        let files = ["docs/a.md", "b.md", "src/lib.rs"].map(str::to_owned);
        dead(&pages.into(), &files.into())
    }

    #[test]
    fn links_to_files_folders_headings_and_the_web_are_fine() {
        let page = "## Own\n[1](../b.md#a-b-c) [2](../src) [3](../src/lib.rs) [4](#own) [5](https://x.y/z)\n\
                    `[6](nowhere)`\n```sh\n[7](nowhere)\n```\n";
        assert_eq!(problems(page), [""; 0]);
    }

    #[test]
    fn a_missing_file_and_a_missing_heading_are_named_with_their_line() {
        assert_eq!(problems("x\n[1](b.md)"), ["docs/a.md:2: no docs/b.md"]);
        assert_eq!(problems("[1](../b.md#d)"), ["docs/a.md:1: no heading #d in b.md"]);
        assert_eq!(problems("[1](#d)"), ["docs/a.md:1: no heading #d in docs/a.md"]);
    }
}
