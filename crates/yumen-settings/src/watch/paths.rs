//! Which names decide what a path of settings holds: files, links on the way to them, and the place
//! itself.
//!
//! It looks at the file system and changes nothing. The one thing to know: a directory of settings
//! counts as a whole, and of the directories above it only the names that lead to it, since others may
//! be written to all the time.

use crate::files::is_hidden;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf, absolute},
};

/// Most links on the way to one file, as for the system itself.
const LINKS_MAX: u32 = 40;

/// Most levels of directories, and most names in all of them together. Beyond these nothing is read
/// either.
const LEVELS_MAX: u32 = 9;
const NAMES_MAX: usize = 4096;

/// The names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    /// Directories in which every name counts.
    whole: BTreeSet<PathBuf>,
    /// Paths that count wherever they are.
    names: BTreeSet<PathBuf>,
    /// Names in all directories so far.
    listed: usize,
}

impl Paths {
    /// What decides about `path`, which may be a directory, a file, or not there.
    pub(super) fn of(path: &Path) -> Self {
        let mut paths = Self::default();
        // Only an empty path has no absolute one.
        let path = absolute(path).unwrap_or_else(|_| path.to_owned());
        paths.follow(&path, LINKS_MAX);
        paths.directory(&path, LEVELS_MAX);
        paths
    }

    /// The directories that have the names, as far as they exist.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        let parents = self.names.iter().filter_map(|name| name.parent()).map(Path::to_owned);
        self.whole.iter().cloned().chain(parents).filter(|dir| dir.is_dir()).collect()
    }

    /// Whether something happened to a name that counts. An event without names may mean any.
    pub(super) fn count(&self, event: &notify::Event) -> bool {
        event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|at| self.has(at))
    }

    fn has(&self, path: &Path) -> bool {
        let parent = path.parent();
        self.names.contains(path)
            || self.whole.contains(path)
            || parent.is_some_and(|parent| self.whole.contains(parent))
            // Gone or moved away, and with it a name below.
            || self.names.iter().any(|name| name.parent() == Some(path))
    }

    /// Every link on the way to `path`, the first part of the way that is missing, and its end.
    fn follow(&mut self, path: &Path, links: u32) {
        let mut parts: Vec<_> = path.ancestors().collect();
        parts.reverse();
        for part in parts {
            let Ok(meta) = fs::symlink_metadata(part) else {
                self.names.insert(part.to_owned());
                return;
            };
            if !meta.is_symlink() {
                continue;
            }
            self.names.insert(part.to_owned());
            let rest = path.strip_prefix(part);
            if let (Ok(to), Some(parent), Ok(rest)) = (fs::read_link(part), part.parent(), rest)
                && let Some(links) = links.checked_sub(1)
            {
                let to = parent.join(to);
                // Joining nothing would add a slash.
                let to = if rest == Path::new("") { to } else { to.join(rest) };
                self.follow(&to, links);
            }
            return;
        }
        self.names.insert(path.to_owned());
    }

    /// Everything in `path` if it is a directory, and where the links in it lead.
    fn directory(&mut self, path: &Path, levels: u32) {
        let (Some(levels), Ok(entries)) = (levels.checked_sub(1), fs::read_dir(path)) else {
            return;
        };
        self.whole.insert(path.to_owned());
        let room = NAMES_MAX.saturating_sub(self.listed);
        let listed: Vec<_> = entries.flatten().map(|entry| entry.path()).take(room).collect();
        self.listed = self.listed.saturating_add(listed.len());
        for path in listed {
            if is_hidden(&path) {
                continue;
            }
            if path.is_symlink() {
                self.follow(&path, LINKS_MAX);
            }
            self.directory(&path, levels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// The paths relative to `root`, which is shown as it is reached, directories with a slash.
    fn names(paths: &Paths, root: &Path) -> (Vec<String>, Vec<String>) {
        let text = |path: &PathBuf| {
            path.strip_prefix(root).ok().map(|path| path.to_str().unwrap().to_owned())
        };
        (
            paths.whole.iter().filter_map(text).collect(),
            paths.names.iter().filter_map(text).collect(),
        )
    }

    fn root() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        (dir, root)
    }

    #[test]
    fn a_mounted_config_map_is_seen_at_its_links() {
        let (_dir, root) = root();
        fs::create_dir_all(root.join("etc/..1")).unwrap();
        fs::write(root.join("etc/..1/etc.toml"), "").unwrap();
        symlink("..1", root.join("etc/..data")).unwrap();
        symlink("..data/etc.toml", root.join("etc/etc.toml")).unwrap();
        let paths = Paths::of(&root.join("etc"));
        let (whole, of_names) = names(&paths, &root);
        assert_eq!(whole, ["etc"]);
        assert_eq!(of_names, ["etc", "etc/..1/etc.toml", "etc/..data", "etc/etc.toml"]);
        let watched: Vec<_> = paths.directories().into_iter().collect();
        assert_eq!(watched, [root.clone(), root.join("etc"), root.join("etc/..1")]);
    }

    #[test]
    fn links_above_the_directory_count_and_their_neighbours_do_not() {
        let (_dir, root) = root();
        fs::create_dir_all(root.join("releases/7/etc/sub/.hidden")).unwrap();
        symlink("releases/7", root.join("current")).unwrap();
        let paths = Paths::of(&root.join("current/etc"));
        let (whole, of_names) = names(&paths, &root);
        assert_eq!(whole, ["current/etc", "current/etc/sub"]);
        assert_eq!(of_names, ["current", "releases/7/etc"]);
        let event =
            |path: &str| paths.count(&notify::Event::new(EventKind::Any).add_path(root.join(path)));
        use notify::EventKind;
        for path in ["current", "releases/7/etc", "current/etc/etc.toml", "current/etc/sub/x"] {
            assert!(event(path), "{path}");
        }
        for path in ["nohup.out", "releases/8", "releases/7/log", "current/etc/sub/.hidden/x"] {
            assert!(!event(path), "{path}");
        }
        assert!(paths.count(&notify::Event::new(EventKind::Any)), "names were lost");
    }

    #[test]
    fn a_tree_without_end_is_not_followed_for_ever() {
        let (_dir, root) = root();
        for name in ["a", "b", "c", "d"] {
            symlink(".", root.join(name)).unwrap();
        }
        let paths = Paths::of(&root);
        assert!(paths.whole.len() <= NAMES_MAX + 1, "{}", paths.whole.len());
    }

    #[test]
    fn what_is_missing_is_waited_for_where_the_way_ends() {
        let (_dir, root) = root();
        let paths = Paths::of(&root.join("a/b/etc"));
        assert_eq!(names(&paths, &root), (vec![], vec!["a".to_owned()]));
        assert_eq!(paths.directories(), [root.clone()].into());
        symlink("round", root.join("round")).unwrap();
        let (_, of_names) = names(&Paths::of(&root.join("round")), &root);
        assert_eq!(of_names, ["round"]);
    }
}
