//! A copy of the repository for pages to run in: below the target folder, never the repository itself.
//!
//! Files that have not changed keep their times, so that a second run builds nothing again.

use crate::command::Line;
use crate::error::Error;
use crate::manifest::Workspace;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A copy of the repository, and the folder that builds in it go to.
pub(crate) struct Scratch {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Where servers for tests are built; commands find them on their PATH.
    pub(crate) servers: PathBuf,
}

/// All files of the repository that git knows or would add, named from the root, sorted.
pub(super) fn files(root: &Path) -> Result<Vec<String>, Error> {
    let listed = Line::new(root, "git ls-files --cached --others --exclude-standard").output()?;
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    // A file that was deleted and not yet committed is still listed.
    names.retain(|name| root.join(name).is_file());
    names.sort();
    names.dedup();
    Ok(names)
}

fn place(workspace: &Workspace) -> Scratch {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target =
        target.map_or_else(|| workspace.root.join("target"), |dir| workspace.root.join(dir));
    let servers = workspace.root.join("target/servers");
    Scratch { root: target.join("guide"), target, servers }
}

/// The copy as the repository is now, changes that are not committed included.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn scratch(workspace: &Workspace) -> Result<Scratch, Error> {
    let scratch = place(workspace);
    let names: BTreeSet<String> = files(&workspace.root)?.into_iter().collect();
    remove_others(&scratch.root, Path::new(""), &names)?;
    for name in &names {
        let (from, to) = (workspace.root.join(name), scratch.root.join(name));
        let failed = |source| Error::Read { path: from.clone(), source };
        let text = std::fs::read(&from).map_err(failed)?;
        if std::fs::read(&to).is_ok_and(|old| old == text) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::copy(&from, &to).map_err(failed)?;
    }
    Ok(scratch)
}

/// The copy as `git clone` makes it: what is committed, and nothing else.
///
/// # Errors
/// When git fails.
pub(crate) fn fresh_clone(workspace: &Workspace) -> Result<Scratch, Error> {
    let scratch = place(workspace);
    if scratch.root.exists() {
        let failed = |source| Error::Read { path: scratch.root.clone(), source };
        std::fs::remove_dir_all(&scratch.root).map_err(failed)?;
    }
    Line::new(&workspace.root, "git clone --quiet .").arg(&scratch.root).run()?;
    Ok(scratch)
}

/// Takes away what an earlier run has written.
fn remove_others(root: &Path, folder: &Path, names: &BTreeSet<String>) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return Ok(()) };
    for entry in entries {
        let path = root.join(folder);
        let entry = entry.map_err(|source| Error::Read { path: path.clone(), source })?;
        let name = folder.join(entry.file_name());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let shown = name.to_string_lossy().into_owned();
        let kept = if is_folder {
            let inside = format!("{shown}/");
            names.iter().any(|name| name.starts_with(&inside))
        } else {
            names.contains(&shown)
        };
        if kept && is_folder {
            remove_others(root, &name, names)?;
        } else if !kept {
            let path = entry.path();
            let removed = if is_folder {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(|source| Error::Read { path, source })?;
        }
    }
    Ok(())
}
