//! The file that holds the process's number while it runs, for scripts that send it signals.
//!
//! It never overwrites what it does not understand, and never takes the place of a process that lives.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Why the file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidError {
    /// The system refused it.
    #[error("the file {}, named by etc.pid, cannot be written: {source}; name another one, or none", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process in it lives.
    #[error(
        "the file {}, named by etc.pid, names process {pid}, which is running: stop that one first; if it \
         is not a copy of this program, remove the file",
        path.display()
    )]
    Running {
        /// The file.
        path: PathBuf,
        /// The number in it.
        pid: u32,
    },
    /// It holds something else.
    #[error("the file {}, named by etc.pid, holds no process number: name another one, or remove it", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
}

/// A file that was written; it is removed with this value.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the number of this process. A number of a process that is gone is replaced.
    pub(super) fn write(path: &Path) -> Result<Self, PidError> {
        let failed = |source| PidError::Write { path: path.to_owned(), source };
        match create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check(path)?;
                fs::remove_file(path).map_err(failed)?;
                // Whoever was faster meanwhile wins.
                create(path).map_err(failed)?;
            }
            created => created.map_err(failed)?,
        }
        // So that a later change of the working directory does not matter.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the file if it is this process's.
pub(super) fn remove(path: &Path) {
    if read(path).ok().flatten() == Some(std::process::id())
        && let Err(error) = fs::remove_file(path)
    {
        tracing::warn!(%error, "{} cannot be removed", path.display());
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    writeln!(file, "{}", std::process::id())
}

/// The number in the file; `None` if it is something else.
fn read(path: &Path) -> io::Result<Option<u32>> {
    // Whatever is longer is no number.
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, 64), &mut text)?;
    Ok(std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()))
}

/// Whether the file may be replaced.
fn check(path: &Path) -> Result<(), PidError> {
    let failed = |source| PidError::Write { path: path.to_owned(), source };
    let Some(pid) = read(path).map_err(failed)? else {
        // Empty: its process ended between creating and writing it.
        let empty = fs::metadata(path).map_err(failed)?.len() == 0;
        return if empty { Ok(()) } else { Err(PidError::NotOurs { path: path.to_owned() }) };
    };
    // In a container each run may have the number of the one before.
    if pid != std::process::id() && is_running(pid) {
        return Err(PidError::Running { path: path.to_owned(), pid });
    }
    tracing::info!("{} named process {pid}, which is gone", path.display());
    Ok(())
}

#[cfg(unix)]
fn is_running(pid: u32) -> bool {
    use rustix::{
        io::Errno,
        process::{Pid, test_kill_process},
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Not being allowed to signal it means that it is there.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
}

#[cfg(not(unix))]
fn is_running(_: u32) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_our_number_and_goes_with_the_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_that_lives_is_not_replaced_and_one_that_is_gone_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.pid");
        let mut child = std::process::Command::new("cat");
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        fs::write(&path, child.id().to_string()).unwrap();
        let error = PidFile::write(&path).unwrap_err().to_string();
        assert!(error.contains(&child.id().to_string()) && error.contains("game.pid"), "{error}");
        assert!(path.exists());
        drop(child.stdin.take());
        child.wait().unwrap();
        drop(PidFile::write(&path).unwrap());
    }

    #[test]
    fn what_is_no_number_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        fs::write(&path, "buy milk").unwrap();
        assert!(matches!(PidFile::write(&path), Err(PidError::NotOurs { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "buy milk");
        fs::write(&path, "").unwrap();
        drop(PidFile::write(&path).unwrap());
    }

    #[test]
    fn a_file_of_another_process_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.pid");
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = PidFile::write(Path::new("/nowhere/at/all.pid")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all.pid") && error.contains("etc.pid"), "{error}");
    }
}
