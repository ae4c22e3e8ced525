//! Which files a directory of settings has, and what they hold.
//!
//! It reads and never writes. The one thing to know: nothing in the directory is skipped in silence.
//! What cannot be read, or shares its name with another file, is a problem; what is no settings file is
//! a note. Hidden names are the exception, since editors and orchestrators use them.

use crate::{
    format::{FILE_MAX, Format},
    problem::{Note, Problem},
    tree::{Node, Origin},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Most levels of directories below the first.
const LEVELS_MAX: usize = 8;

/// Most names that are looked at, of files and directories together.
const NAMES_MAX: usize = 4096;

/// The stem under which a file that was named itself is known, whatever its name.
pub(crate) const STEM: &str = "etc";

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The content of each file that could be read, by its stem.
    pub(crate) read: BTreeMap<String, Node>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Note>,
    /// The path of each stem that was seen, readable or not.
    seen: BTreeMap<String, PathBuf>,
    names: usize,
}

impl Files {
    /// Reads `path`, which exists: all files below a directory, or one file.
    pub(crate) fn read(path: &Path) -> Self {
        let mut files = Self::default();
        if path.is_dir() {
            files.directory(path, LEVELS_MAX);
        } else if let Some(format) = Format::of(path) {
            files.file(path, STEM.to_owned(), format);
        } else {
            files.problem(
                path,
                "is no settings file: its name must end in .toml, .yaml, .yml, .json or .xml",
            );
        }
        files
    }

    fn problem(&mut self, path: &Path, what: impl Into<String>) {
        self.problems.push(Problem::new(Some(Origin::File(path.into())), "", what));
    }

    fn note(&mut self, path: &Path, what: impl Into<String>) {
        self.notes.push(Note::new(Some(Origin::File(path.into())), "", what));
    }

    fn directory(&mut self, dir: &Path, levels: usize) {
        let paths = match listing(dir, NAMES_MAX.saturating_sub(self.names)) {
            Ok(Some(paths)) => paths,
            Ok(None) => {
                let what = format!("more than {NAMES_MAX} names; keep only settings in there");
                return self.problem(dir, what);
            }
            Err(error) => return self.problem(dir, format!("cannot be read: {error}")),
        };
        self.names = self.names.saturating_add(paths.len());
        for path in paths {
            if is_hidden(&path) {
                continue;
            }
            match fs::metadata(&path) {
                Err(error) => self.problem(&path, format!("cannot be read: {error}")),
                Ok(meta) if meta.is_dir() => match levels.checked_sub(1) {
                    Some(levels) => self.directory(&path, levels),
                    None => self.problem(&path, format!("is deeper than {LEVELS_MAX} directories")),
                },
                Ok(_) => self.entry(&path),
            }
        }
    }

    fn entry(&mut self, path: &Path) {
        let Some(format) = Format::of(path) else {
            return self.note(path, "not read: no extension of a settings file");
        };
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            return self.problem(path, "its name is not UTF-8; rename it");
        };
        if stem.contains('.') {
            return self.note(path, "not read: no key reaches a file with a dot in its name");
        }
        self.file(path, stem.to_owned(), format);
    }

    fn file(&mut self, path: &Path, stem: String, format: Format) {
        if let Some(other) = self.seen.get(&stem) {
            let what = format!(
                "has the same keys `{stem}.…` as {}; put both into one file, or rename one",
                other.display()
            );
            return self.problem(path, what);
        }
        self.seen.insert(stem.clone(), path.to_owned());
        let origin = Origin::File(path.into());
        match bounded(path).map(|bytes| format.parse(&bytes, &origin)) {
            Ok(Ok(node)) => {
                self.read.insert(stem, node);
            }
            Ok(Err(problem)) => self.problems.push(problem),
            Err(error) => self.problem(path, format!("cannot be read: {error}")),
        }
    }
}

/// The paths in `dir`, sorted; `None` if there are more than `most`.
fn listing(dir: &Path, most: usize) -> io::Result<Option<Vec<PathBuf>>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        if paths.len() >= most {
            return Ok(None);
        }
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(Some(paths))
}

/// Whether the last part of `path` begins with a dot.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The file's bytes, or just more than are allowed.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
