//! The log file: opened at start, rotated by size and by time, opened anew when somebody moved it.
//!
//! It reads no clock: each call says what time it is. The one thing to know: only the start can fail.
//! Later a line that cannot be written is lost and counted, and a second after that the next is tried.

pub(crate) mod keep;
mod name;

use crate::{
    disk::{Disk, LogFile},
    render::Style,
    writer::Chunk,
};
use keep::{Keeper, Rules, Trouble};
use name::Names;
use std::{fs, io, path::Path, path::PathBuf, sync::Arc, time::Duration};

/// After a failure no line is tried for so long, in nanoseconds.
const PAUSE_NS: i64 = 1_000_000_000;
/// After a file could not be rotated it is not tried for so long.
const ROTATE_PAUSE_NS: i64 = 60_000_000_000;
/// The directory is swept at least so often.
const SWEEP_NS: i64 = 3_600_000_000_000;

/// For how long one file takes lines, whatever its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotate {
    /// Until it is full.
    #[default]
    None,
    /// A year, as all of these by the calendar of the log's time zone.
    Year,
    /// A month.
    Month,
    /// A week, from Monday (ISO 8601).
    Week,
    /// A day.
    Day,
    /// An hour.
    Hour,
}

/// Where the log file is and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// Default: `./log/due.log`. Directories that are missing are made.
    pub path: PathBuf,
    /// A file that was rotated is deleted when its last line is older. Zero keeps all. Default: 7 d.
    pub max_age: Duration,
    /// Bytes: a line with which the file would be larger begins a new one. 0 is no limit. Default:
    /// 500 MiB.
    pub max_size: u64,
    /// Default: none.
    pub rotate: Rotate,
    /// Whether files that were rotated are compressed (gzip). Default: no.
    pub compress: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./log/due.log"),
            max_age: Duration::from_secs(7 * 86_400),
            max_size: 500 << 20,
            rotate: Rotate::None,
            compress: false,
        }
    }
}

/// What became of some lines.
#[derive(Debug, Default)]
pub(crate) struct Wrote {
    pub(crate) written: u64,
    pub(crate) lost: u64,
    /// Why lines were lost, the first time.
    pub(crate) error: Option<io::Error>,
    /// Why the file could not be rotated; it takes lines all the same.
    pub(crate) not_rotated: Option<io::Error>,
}

struct Open {
    file: Box<dyn LogFile>,
    id: (u64, u64),
    regular: bool,
    len: u64,
    /// The time it is for.
    tag: String,
    /// Its last line has no end, and could not be removed.
    ragged: bool,
}

/// The log file.
pub(crate) struct LogPath {
    options: FileOptions,
    names: Names,
    disk: Box<dyn Disk>,
    style: Arc<Style>,
    open: Option<Open>,
    /// When something failed, until it works again.
    failed_ns: Option<i64>,
    rotate_failed_ns: Option<i64>,
    swept_ns: i64,
    keeper: Option<Keeper>,
}

impl LogPath {
    /// Opens the file.
    pub(crate) fn open(
        options: FileOptions,
        disk: Box<dyn Disk>,
        style: Arc<Style>,
        now_ns: i64,
    ) -> io::Result<Self> {
        let names = Names::of(&options.path);
        let mut path = Self {
            options,
            names,
            disk,
            style,
            open: None,
            failed_ns: None,
            rotate_failed_ns: None,
            swept_ns: now_ns,
            keeper: None,
        };
        path.open = Some(path.open_now(now_ns)?);
        Ok(path)
    }

    /// Begins to compress and delete what was rotated.
    pub(crate) fn keep(
        &mut self,
        now_ns: i64,
        report: impl Fn(&Trouble) + Send + 'static,
    ) -> io::Result<()> {
        let FileOptions { max_age, compress, .. } = self.options;
        let regular = self.open.as_ref().is_some_and(|open| open.regular);
        if regular && (compress || !max_age.is_zero()) {
            let rules = Rules { names: self.names.clone(), max_age, compress };
            // Nobody waits for it: what it leaves undone is done at the next start.
            let (keeper, _) = Keeper::start(rules, report)?;
            self.keeper = Some(keeper);
            self.sweep(now_ns);
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.options.path
    }

    /// Writes lines, or says how many are lost.
    pub(crate) fn write(&mut self, now_ns: i64, lines: &Chunk) -> Wrote {
        let mut wrote = Wrote::default();
        let (mut next, all) = (0_usize, lines.ends.len());
        if !self.is_paused(now_ns) {
            while next < all && wrote.error.is_none() {
                next = self.some(now_ns, lines, next, &mut wrote);
            }
        }
        wrote.written = u64::try_from(next).unwrap_or_default();
        wrote.lost = u64::try_from(all.saturating_sub(next)).unwrap_or_default();
        self.failed_ns = match (&wrote.error, self.failed_ns) {
            (Some(_), _) => Some(now_ns),
            (None, before) if wrote.lost > 0 => before,
            (None, _) => None,
        };
        wrote
    }

    /// What is to be done without a line: a new period, and the hourly sweep.
    pub(crate) fn tick(&mut self, now_ns: i64) -> Option<io::Error> {
        let mut wrote = Wrote::default();
        if !self.is_paused(now_ns)
            && let Err(error) = self.make_ready(now_ns, 0, &mut wrote)
        {
            // Nothing is lost yet; the next line finds out and says so.
            self.open = None;
            drop(error);
        }
        if now_ns.saturating_sub(self.swept_ns).saturating_abs() >= SWEEP_NS {
            self.sweep(now_ns);
        }
        wrote.not_rotated
    }

    fn is_paused(&self, now_ns: i64) -> bool {
        // A clock that jumped back ends the pause as well.
        self.failed_ns.is_some_and(|at| now_ns.saturating_sub(at).saturating_abs() < PAUSE_NS)
    }

    fn sweep(&mut self, now_ns: i64) {
        self.swept_ns = now_ns;
        if let Some(keeper) = &self.keeper {
            keeper.wish(now_ns);
        }
    }

    /// Writes lines from number `from` on, as many as go into the file. Returns the number of the next.
    fn some(&mut self, now_ns: i64, lines: &Chunk, from: usize, wrote: &mut Wrote) -> usize {
        let first = lines.text(from, from.saturating_add(1)).len();
        if let Err(error) = self.make_ready(now_ns, length(first), wrote) {
            wrote.error = Some(error);
            return from;
        }
        let max = if self.rotate_failed_ns.is_some() { 0 } else { self.options.max_size };
        let Some(open) = &mut self.open else { return from };
        let room = if max == 0 || !open.regular {
            usize::MAX
        } else {
            usize::try_from(max.saturating_sub(open.len)).unwrap_or(usize::MAX)
        };
        let upto = lines.upto(from, room).max(from.saturating_add(1));
        let text = lines.text(from, upto);
        let Err((done, error)) = open.append(text) else { return upto };
        wrote.error = Some(error);
        let next = lines.upto(from, done);
        open.take_back(done, lines.text(from, next).len());
        next
    }

    /// Sees to it that a line of so many bytes finds the right file open.
    fn make_ready(&mut self, now_ns: i64, len: u64, wrote: &mut Wrote) -> io::Result<()> {
        if let Some(open) = &mut self.open
            && open.regular
        {
            match self.disk.status(&self.options.path) {
                Ok(status) if status.id == open.id => open.len = status.len,
                // Moved, deleted or replaced.
                Ok(_) => self.open = None,
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.open = None,
                Err(_) => {}
            }
        }
        if self.open.is_none() {
            self.open = Some(self.open_now(now_ns)?);
        }
        self.rotate(now_ns, len, wrote)
    }

    fn open_now(&self, now_ns: i64) -> io::Result<Open> {
        let file = self.disk.open(&self.options.path)?;
        let status = file.status()?;
        // A file with lines in it is for the time of the last of them.
        let at = if status.len > 0 { status.modified_ns } else { now_ns };
        let tag = self.tag(at);
        let (id, regular, len) = (status.id, status.regular, status.len);
        Ok(Open { file, id, regular, len, tag, ragged: false })
    }

    fn tag(&self, at_ns: i64) -> String {
        name::tag(self.options.rotate, self.style.times.civil(at_ns))
    }

    /// Begins a new file if this one is for another time, or would grow too large.
    fn rotate(&mut self, now_ns: i64, len: u64, wrote: &mut Wrote) -> io::Result<()> {
        let tag = self.tag(now_ns);
        let max = self.options.max_size;
        let Some(open) = self.open.as_mut().filter(|open| open.regular) else { return Ok(()) };
        if open.len == 0 {
            open.tag = tag;
            return Ok(());
        }
        let full = max > 0 && len > 0 && open.len.saturating_add(len) > max;
        let recent = |at: i64| now_ns.saturating_sub(at).saturating_abs() < ROTATE_PAUSE_NS;
        if !(full || open.tag != tag) || self.rotate_failed_ns.is_some_and(recent) {
            return Ok(());
        }
        let old = std::mem::take(&mut open.tag);
        match self.rename(&old) {
            Ok(()) => {
                self.rotate_failed_ns = None;
                self.open = None;
                self.open = Some(self.open_now(now_ns)?);
                self.sweep(now_ns);
            }
            Err(error) => {
                self.rotate_failed_ns = Some(now_ns);
                wrote.not_rotated = Some(error);
                if let Some(open) = &mut self.open {
                    open.tag = old;
                }
            }
        }
        Ok(())
    }

    /// Gives the file the first name behind all that are taken.
    fn rename(&self, tag: &str) -> io::Result<()> {
        let mut last = 0;
        for entry in fs::read_dir(&self.names.dir)? {
            let name = entry?.file_name();
            let rotated = name.to_str().and_then(|name| self.names.read(name));
            last =
                rotated.filter(|rotated| rotated.tag == tag).map_or(last, |it| it.number.max(last));
        }
        let name = self.names.rotated(tag, last.saturating_add(1));
        fs::rename(&self.options.path, self.names.dir.join(name))
    }
}

impl Open {
    /// Appends lines. On failure, says how many bytes of them are in the file.
    fn append(&mut self, text: &str) -> Result<(), (usize, io::Error)> {
        if self.ragged {
            self.file.write_all(b"\n").map_err(|error| (0, error))?;
            self.ragged = false;
        }
        let mut rest = text.as_bytes();
        let error = loop {
            if rest.is_empty() {
                self.len = self.len.saturating_add(length(text.len()));
                return Ok(());
            }
            match self.file.write(rest) {
                Ok(0) => break io::Error::from(io::ErrorKind::WriteZero),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        Err((text.len().saturating_sub(rest.len()), error))
    }

    /// Of `done` bytes that were appended, only the first `whole` are whole lines: takes out the rest.
    fn take_back(&mut self, done: usize, whole: usize) {
        let (end, len) = (self.len.saturating_add(length(done)), length(whole));
        self.len = self.len.saturating_add(len);
        if done > whole {
            // Somebody else's line behind it must not be cut.
            let last = self.file.status().is_ok_and(|status| status.len == end);
            let cut = self.regular && last && self.file.truncate(self.len).is_ok();
            self.ragged = !cut;
        }
    }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
