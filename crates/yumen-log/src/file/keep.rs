//! What becomes of files that were rotated: compressed, if that is wanted, and deleted when too old.
//!
//! It runs beside the writer, since compressing takes seconds. The one thing to know: all it knows is
//! in the directory, so a sweep that was cut short by the end of the process is made good by the next.

use super::name::{GZ, Names, PART, Rotated, State};
use crate::disk;
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{self, File, FileTimes, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// A file half compressed that nobody has written to for so long has been abandoned.
const ABANDONED: Duration = Duration::from_secs(600);

/// What is done with the files.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) names: Names,
    /// Zero keeps all.
    pub(super) max_age: Duration,
    pub(super) compress: bool,
}

/// What could not be done.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

/// The thread that sweeps.
#[derive(Debug)]
pub(super) struct Keeper {
    /// One wish may wait while another one is met; more would change nothing.
    wishes: SyncSender<i64>,
}

impl Keeper {
    /// Starts the thread, which ends when all that was wished is done and the keeper is gone.
    pub(super) fn start(
        rules: Rules,
        report: impl Fn(&Trouble) + Send + 'static,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (wishes, wanted) = sync_channel(1);
        let thread = thread::Builder::new().name("yumen-log-keeper".to_owned());
        let thread = thread.spawn(move || {
            for now_ns in wanted {
                rules.sweep(now_ns).iter().for_each(&report);
            }
        })?;
        Ok((Self { wishes }, thread))
    }

    /// Has the directory swept soon.
    pub(super) fn wish(&self, now_ns: i64) {
        // Full means that a sweep is about to begin anyway.
        let _ = self.wishes.try_send(now_ns);
    }
}

impl Rules {
    /// Deletes what is too old and compresses the rest, as wanted. Returns what could not be done.
    pub(super) fn sweep(&self, now_ns: i64) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let entries = match fs::read_dir(&self.names.dir) {
            Ok(entries) => entries,
            Err(error) => return vec![Trouble { path: self.names.dir.clone(), error }],
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(rotated) = name.to_str().and_then(|name| self.names.read(name)) else {
                continue;
            };
            let path = entry.path();
            if let Err(error) = self.attend(&path, rotated, now_ns) {
                troubles.push(Trouble { path, error });
            }
        }
        troubles
    }

    fn attend(&self, path: &Path, rotated: Rotated<'_>, now_ns: i64) -> io::Result<()> {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let age = now_ns.saturating_sub(disk::status(&metadata).modified_ns);
        let age = Duration::from_nanos(u64::try_from(age).unwrap_or_default());
        match rotated.state {
            State::Part if age > ABANDONED => fs::remove_file(path),
            State::Part => Ok(()),
            _ if !self.max_age.is_zero() && age > self.max_age => fs::remove_file(path),
            State::Plain if self.compress => compress(path),
            State::Plain | State::Compressed => Ok(()),
        }
    }
}

/// Replaces a file by its compressed self, which keeps its time.
fn compress(path: &Path) -> io::Result<()> {
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (whole, part) = (with(GZ), with(&format!("{GZ}{PART}")));
    let mut plain = File::open(path)?;
    let mut options = OpenOptions::new();
    let out = match options.write(true).create_new(true).mode(0o644).open(&part) {
        Ok(out) => out,
        // Another process is at it, or was; what it left is deleted when it is old enough.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    };
    let done = squeeze(&mut plain, out).and_then(|()| fs::rename(&part, &whole));
    if let Err(error) = done {
        // What failed is reported; the rest of the attempt goes, so that a full disk gets room.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::remove_file(path)
}

fn squeeze(plain: &mut File, out: File) -> io::Result<()> {
    let mut encoder = GzEncoder::new(out, Compression::default());
    io::copy(plain, &mut encoder)?;
    let out = encoder.finish()?;
    out.set_times(FileTimes::new().set_modified(plain.metadata()?.modified()?))?;
    // The plain file goes next: what replaces it has to be on the disk.
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::{
        io::Read,
        time::{SystemTime, UNIX_EPOCH},
    };

    const DAY: i64 = 86_400_000_000_000;

    fn rules(dir: &Path, days: u64, compress: bool) -> Rules {
        let names = Names::of(&dir.join("due.log"));
        Rules { names, max_age: Duration::from_secs(days * 86_400), compress }
    }

    /// Writes a file that was last changed so many days after 1970.
    fn aged(dir: &Path, name: &str, text: &str, day: u64) {
        fs::write(dir.join(name), text).unwrap();
        let file = File::options().write(true).open(dir.join(name)).unwrap();
        let at: SystemTime = UNIX_EPOCH + Duration::from_secs(day * 86_400);
        file.set_modified(at).unwrap();
    }

    fn listed(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn w22_old_files_are_removed_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let old = ["due.1.log", "due.2.log.gz", "due.20260101.1.log"];
        let kept =
            ["due.log", "due.log.gz", "due.gate.1.log", "other.1.log", "due.01.log", "due.txt"];
        for name in old.iter().chain(&kept) {
            aged(dir, name, "old", 100);
        }
        aged(dir, "due.3.log", "new", 101);
        aged(dir, "due.9.log", "from the future", 200);
        fs::create_dir(dir.join("due.4.log")).unwrap();
        assert!(rules(dir, 7, false).sweep(107 * DAY).is_empty(), "seven days is not too old");
        assert_eq!(listed(dir).len(), 12);
        assert!(rules(dir, 7, false).sweep(107 * DAY + 1).is_empty());
        let mut wanted: Vec<_> = kept.map(str::to_owned).to_vec();
        wanted.extend(["due.3.log", "due.4.log", "due.9.log"].map(str::to_owned));
        wanted.sort();
        assert_eq!(listed(dir), wanted);
    }

    #[test]
    fn a_max_age_of_zero_keeps_every_file() {
        let dir = tempfile::tempdir().unwrap();
        aged(dir.path(), "due.1.log", "old", 1);
        rules(dir.path(), 0, false).sweep(20_000 * DAY);
        assert_eq!(listed(dir.path()), ["due.1.log"]);
    }

    #[test]
    fn a_compressed_file_says_the_same_and_keeps_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, text) = (dir.path(), "a line of the log\n".repeat(1000));
        aged(dir, "due.1.log", &text, 100);
        aged(dir, "due.log", "the file in use", 100);
        assert!(rules(dir, 7, true).sweep(101 * DAY).is_empty());
        assert_eq!(listed(dir), ["due.1.log.gz", "due.log"]);
        let file = File::open(dir.join("due.1.log.gz")).unwrap();
        assert!(file.metadata().unwrap().len() < 1000);
        let mut read = String::new();
        GzDecoder::new(file).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        rules(dir, 7, true).sweep(108 * DAY);
        assert_eq!(listed(dir), ["due.log"], "its age is that of its lines");
    }

    #[test]
    fn a_compression_cut_short_is_made_good_by_a_later_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        aged(dir, "due.1.log", "whole", 100);
        aged(dir, "due.1.log.gz.part", "ha", 100);
        let minute = DAY / 1440;
        rules(dir, 7, true).sweep(100 * DAY + minute);
        assert_eq!(listed(dir), ["due.1.log", "due.1.log.gz.part"], "somebody may be at it");
        rules(dir, 7, true).sweep(100 * DAY + 11 * minute);
        rules(dir, 7, true).sweep(100 * DAY + 12 * minute);
        assert_eq!(listed(dir), ["due.1.log.gz"]);
    }

    #[test]
    fn what_cannot_be_swept_is_reported() {
        let gone = rules(Path::new("/nowhere/at/all"), 7, true).sweep(0);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].error.kind(), io::ErrorKind::NotFound);
    }
}
