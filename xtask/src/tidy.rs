//! The rules that no compiler knows, run by `cargo xtask tidy` and by `cargo test -p xtask`.
//!
//! Every rule is a function from data to complaints, so each is tested on input that breaks it. This
//! file alone reads the repository. Tables that rules compare with stand in ARCHITECTURE.md.

mod graph;
mod size;
mod table;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::manifest::Workspace;
use crate::source::Source;

/// One broken rule, as it is printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// File from the root, and the line if one is to blame.
    place: String,
    /// What is wrong and what to do.
    what: String,
}

impl Complaint {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }

    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self::new(format!("{path}:{line}"), what)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Checks every rule and prints what is broken.
///
/// # Errors
/// [`Error::Rules`] if anything is.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let complaints = check(workspace)?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() { Ok(()) } else { Err(Error::Rules { count: complaints.len() }) }
}

/// All complaints about the repository, in the order of the rules.
fn check(workspace: &Workspace) -> Result<Vec<Complaint>, Error> {
    let sources = rust_files(&workspace.root)?;
    let architecture = workspace.read("ARCHITECTURE.md")?;
    let ratchet = size::Ratchet::parse(&workspace.read(size::RATCHET)?)?;
    let mut found = Vec::new();
    for source in &sources {
        found.extend(text::header(source));
        found.extend(text::no_mod_rs(source));
        found.extend(text::pure(source));
        found.extend(text::additive_features(source));
    }
    found.extend(size::check(&sources, &ratchet));
    found.extend(graph::edges(&workspace.members, &architecture));
    found.extend(graph::foreign(&workspace.members, &architecture));
    found.extend(graph::lints(&workspace.members));
    found.extend(text::sockets(&sources, &architecture));
    Ok(found)
}

/// Every Rust file below `root` that people write, sorted by path.
fn rust_files(root: &Path) -> Result<Vec<Source>, Error> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    let mut sources = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        sources.push(Source::new(name, text));
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Folders that hold what programs wrote: builds, recorded traffic, fuzz inputs.
const NOT_OURS: [&str; 5] = ["target", "golden", "corpus", "artifacts", "coverage"];

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().map_err(failed)?.is_dir() {
            if !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()) {
                walk(&path, found)?;
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let complaints = check(&Workspace::load().unwrap()).unwrap();
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }

    #[test]
    fn the_walk_finds_this_file_and_nothing_built() {
        let sources = rust_files(&Workspace::load().unwrap().root).unwrap();
        assert!(sources.iter().any(|source| source.path == "xtask/src/tidy.rs"));
        assert!(!sources.iter().any(|source| source.path.starts_with("target/")));
    }
}
