//! The log file under a clock and a disk of the tests' own.

use super::*;
use crate::{
    clock::Times,
    disk::{RealDisk, Status},
    time_format::TimeFormat,
};
use jiff::{civil::date, tz::TimeZone};
use std::{
    io::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

fn style() -> Arc<Style> {
    let times = Times::new(TimeFormat::new("15:04"), TimeZone::UTC);
    Arc::new(Style { times, odd_time: false, full_path: false })
}

fn options(dir: &Path) -> FileOptions {
    FileOptions { path: dir.join("due.log"), ..FileOptions::default() }
}

fn at(year: i16, month: i8, day: i8, hour: i8) -> i64 {
    let time = date(year, month, day).at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
    i64::try_from(time.timestamp().as_nanosecond()).unwrap()
}

fn open(options: FileOptions, now_ns: i64) -> LogPath {
    LogPath::open(options, Box::new(RealDisk), style(), now_ns).unwrap()
}

/// What is in each file.
fn files(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
}

#[test]
fn a_file_is_rotated_before_the_line_that_would_make_it_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(FileOptions { max_size: 8, ..options(dir.path()) }, 0);
    let lines = Chunk::of(&["aaa\n", "bbb\n", "ccc\n", "longer than a file\n", "d\n"]);
    let wrote = file.write(0, &lines);
    assert_eq!((wrote.written, wrote.lost), (5, 0));
    let wanted = [
        ("due.1.log", "aaa\nbbb\n"),
        ("due.2.log", "ccc\n"),
        ("due.3.log", "longer than a file\n"),
        ("due.log", "d\n"),
    ];
    assert_eq!(files(dir.path()), pairs(wanted));
    // A new start goes on in the file, and with the numbers.
    let mut file = open(FileOptions { max_size: 8, ..options(dir.path()) }, 0);
    file.write(0, &Chunk::of(&["eeeee\n", "f\n"]));
    assert_eq!(files(dir.path())[3], ("due.4.log".to_owned(), "d\neeeee\n".to_owned()));
}

#[test]
fn a_max_size_of_zero_is_no_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(FileOptions { max_size: 0, ..options(dir.path()) }, 0);
    for _ in 0..3 {
        file.write(0, &Chunk::of(&["x\n"]));
    }
    assert_eq!(files(dir.path()), pairs([("due.log", "x\nx\nx\n")]));
}

#[test]
fn each_period_has_its_file_and_size_counts_within_it() {
    let rows = [
        (Rotate::Hour, at(2026, 11, 22, 3), at(2026, 11, 22, 4), "2026112203"),
        (Rotate::Day, at(2026, 11, 22, 23), at(2026, 11, 23, 0), "20261122"),
        (Rotate::Week, at(2026, 11, 22, 23), at(2026, 11, 23, 0), "202647"),
        (Rotate::Month, at(2026, 11, 30, 23), at(2026, 12, 1, 0), "202611"),
        (Rotate::Year, at(2026, 12, 31, 23), at(2027, 1, 1, 0), "2026"),
    ];
    for (rotate, before, after, tag) in rows {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(FileOptions { rotate, max_size: 6, ..options(dir.path()) }, before);
        file.write(before, &Chunk::of(&["one\n"]));
        file.write(after - 1, &Chunk::of(&["two\n"]));
        file.write(after, &Chunk::of(&["three\n"]));
        let (first, second) = (format!("due.{tag}.1.log"), format!("due.{tag}.2.log"));
        let wanted =
            [(first.as_str(), "one\n"), (second.as_str(), "two\n"), ("due.log", "three\n")];
        assert_eq!(files(dir.path()), pairs(wanted), "{rotate:?}");
    }
}

#[test]
fn a_period_ends_without_a_line_too_and_an_empty_file_is_not_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (at(2026, 11, 22, 23), at(2026, 11, 23, 0));
    let mut file = open(FileOptions { rotate: Rotate::Day, ..options(dir.path()) }, before);
    file.write(before, &Chunk::of(&["one\n"]));
    assert!(file.tick(after).is_none());
    let wanted = pairs([("due.20261122.1.log", "one\n"), ("due.log", "")]);
    assert_eq!(files(dir.path()), wanted);
    assert!(file.tick(after + 24 * HOUR).is_none());
    assert_eq!(files(dir.path()), wanted);
}

#[test]
fn a_file_of_an_earlier_run_is_for_the_time_of_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("due.log");
    fs::write(&path, "old\n").unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_secs(86_400 * 365);
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    let now = at(2026, 11, 22, 3);
    let mut file = open(FileOptions { rotate: Rotate::Year, ..options(dir.path()) }, now);
    file.write(now, &Chunk::of(&["new\n"]));
    assert_eq!(files(dir.path()), pairs([("due.1971.1.log", "old\n"), ("due.log", "new\n")]));
}

#[test]
fn a_file_that_was_moved_or_deleted_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(options(dir.path()), 0);
    file.write(0, &Chunk::of(&["one\n"]));
    fs::rename(dir.path().join("due.log"), dir.path().join("elsewhere")).unwrap();
    file.write(0, &Chunk::of(&["two\n"]));
    fs::remove_file(dir.path().join("due.log")).unwrap();
    file.write(0, &Chunk::of(&["three\n"]));
    let wanted = [("due.log", "three\n"), ("elsewhere", "one\n")];
    assert_eq!(files(dir.path()), pairs(wanted));
    // Moved, and another one made in its place.
    fs::rename(dir.path().join("due.log"), dir.path().join("elsewhere")).unwrap();
    fs::write(dir.path().join("due.log"), "").unwrap();
    file.write(0, &Chunk::of(&["four\n"]));
    assert_eq!(files(dir.path()), pairs([("due.log", "four\n"), ("elsewhere", "three\n")]));
    fs::remove_dir_all(dir.path()).unwrap();
    file.write(0, &Chunk::of(&["five\n"]));
    assert_eq!(files(dir.path()), pairs([("due.log", "five\n")]), "the directory as well");
}

#[test]
fn a_file_that_was_cut_by_somebody_counts_from_its_new_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(FileOptions { max_size: 8, ..options(dir.path()) }, 0);
    file.write(0, &Chunk::of(&["one\n", "two\n"]));
    fs::write(dir.path().join("due.log"), "").unwrap();
    file.write(0, &Chunk::of(&["six\n"]));
    assert_eq!(files(dir.path()), pairs([("due.log", "six\n")]));
}

/// A disk with so much room.
#[derive(Clone)]
struct Small {
    room: Arc<AtomicU64>,
    cuts: Arc<AtomicBool>,
}

struct SmallFile {
    disk: Small,
    file: Box<dyn LogFile>,
}

impl Disk for Small {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(SmallFile { disk: self.clone(), file: RealDisk.open(path)? }))
    }

    fn status(&self, path: &Path) -> io::Result<Status> {
        RealDisk.status(path)
    }
}

impl Write for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.disk.room.load(Ordering::Relaxed)).unwrap();
        let bytes = &bytes[..bytes.len().min(room)];
        if bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.room.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile for SmallFile {
    fn status(&self) -> io::Result<Status> {
        self.file.status()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if !self.disk.cuts.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.file.truncate(len)
    }
}

fn small(room: u64, cuts: bool) -> Small {
    Small { room: Arc::new(AtomicU64::new(room)), cuts: Arc::new(AtomicBool::new(cuts)) }
}

#[test]
fn a_full_disk_loses_lines_counts_them_and_is_tried_again_a_second_later() {
    let dir = tempfile::tempdir().unwrap();
    let disk = small(10, true);
    let mut file = LogPath::open(options(dir.path()), Box::new(disk.clone()), style(), 0).unwrap();
    let wrote = file.write(0, &Chunk::of(&["aaa\n", "bbb\n", "ccc\n", "ddd\n"]));
    assert_eq!((wrote.written, wrote.lost), (2, 2));
    assert_eq!(wrote.error.map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
    assert_eq!(files(dir.path()), pairs([("due.log", "aaa\nbbb\n")]), "no half of a line");
    disk.room.store(100, Ordering::Relaxed);
    let wrote = file.write(SECOND - 1, &Chunk::of(&["eee\n"]));
    assert_eq!((wrote.written, wrote.lost, wrote.error.is_some()), (0, 1, false));
    let wrote = file.write(SECOND, &Chunk::of(&["fff\n", "ggg\n"]));
    assert_eq!((wrote.written, wrote.lost), (2, 0));
    let wrote = file.write(SECOND, &Chunk::of(&["hhh\n"]));
    assert_eq!(wrote.written, 1);
    let wanted = "aaa\nbbb\nfff\nggg\nhhh\n";
    assert_eq!(files(dir.path()), pairs([("due.log", wanted)]));
}

#[test]
fn half_a_line_that_cannot_be_taken_back_is_ended_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let disk = small(6, false);
    let mut file = LogPath::open(options(dir.path()), Box::new(disk.clone()), style(), 0).unwrap();
    assert_eq!(file.write(0, &Chunk::of(&["aaa\n", "bbb\n"])).lost, 1);
    disk.room.store(100, Ordering::Relaxed);
    assert_eq!(file.write(SECOND, &Chunk::of(&["ccc\n"])).written, 1);
    assert_eq!(files(dir.path()), pairs([("due.log", "aaa\nbb\nccc\n")]));
}

#[test]
fn a_clock_that_jumps_back_does_not_make_a_failure_last() {
    let dir = tempfile::tempdir().unwrap();
    let disk = small(0, true);
    let mut file = LogPath::open(options(dir.path()), Box::new(disk.clone()), style(), 0).unwrap();
    assert_eq!(file.write(1000 * HOUR, &Chunk::of(&["a\n"])).lost, 1);
    disk.room.store(100, Ordering::Relaxed);
    assert_eq!(file.write(0, &Chunk::of(&["b\n"])).written, 1);
}

#[test]
fn a_file_that_cannot_be_rotated_grows_on_and_is_tried_again_a_minute_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(FileOptions { max_size: 4, ..options(dir.path()) }, 0);
    // A name that is taken by a directory cannot be given; it counts as taken, so break the listing.
    file.names.dir = dir.path().join("gone");
    let wrote = file.write(0, &Chunk::of(&["aaa\n", "bbb\n", "ccc\n"]));
    assert_eq!((wrote.written, wrote.lost), (3, 0));
    assert!(wrote.not_rotated.is_some());
    file.names.dir = dir.path().to_owned();
    assert!(file.write(59 * SECOND, &Chunk::of(&["ddd\n"])).not_rotated.is_none());
    file.write(60 * SECOND, &Chunk::of(&["eee\n"]));
    let wanted = [("due.1.log", "aaa\nbbb\nccc\nddd\n"), ("due.log", "eee\n")];
    assert_eq!(files(dir.path()), pairs(wanted));
}

#[test]
fn a_rotation_has_the_old_file_compressed_and_older_ones_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("due.7.log"), "old").unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1);
    fs::File::options()
        .write(true)
        .open(path.join("due.7.log"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    // What is rotated now is younger than this clock says.
    let now = at(2000, 1, 1, 0);
    let mut file = open(FileOptions { max_size: 4, ..options(path) }, now);
    let rules = Rules {
        names: Names::of(&path.join("due.log")),
        max_age: Duration::from_secs(1),
        compress: true,
    };
    let (keeper, thread) = Keeper::start(rules, |trouble| panic!("{trouble:?}")).unwrap();
    file.keeper = Some(keeper);
    file.write(now, &Chunk::of(&["aaa\n", "bbb\n"]));
    drop(file);
    thread.join().unwrap();
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["due.8.log.gz", "due.log"]);
}
