//! Where lines go, and what happens when they cannot go there.

use crate::{PATIENCE, Screen, Still, logged, options, with_file, within};
use serde_json::Value;
use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};
use yumen_log::{Format, LogError, Options};

#[test]
fn console_and_file_each_have_their_format_and_the_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/due.log");
    let (mut options, screen) = options();
    with_file(&mut options, &path);
    options.file_format = Format::Json;
    let logs = logged(options, |_| {
        tracing::info!("one");
        tracing::info!("two");
    });
    assert_eq!(screen.text().lines().count(), 2);
    let file = fs::read_to_string(path).unwrap();
    let said: Vec<Value> = file
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["msg"].take())
        .collect();
    assert_eq!(said, ["one", "two"]);
    assert_eq!((logs.written(), logs.lost(), logs.dropped()), (4, 0, 0));
    assert_eq!(logs.queue_bytes(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_refuses_the_start_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    fs::write(&blocked, "").unwrap();
    let (mut options, _) = options();
    with_file(&mut options, &blocked.join("due.log"));
    let Err(error) = yumen_log::build(options) else { panic!("it began") };
    assert!(matches!(error, LogError::File { .. }));
    let text = error.to_string();
    for word in ["file/due.log", "log.file.path", "log.terminals"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn an_unknown_time_zone_refuses_the_start_and_says_what_to_write() {
    let (mut options, _) = options();
    options.timezone = "Middle/Earth".to_owned();
    let Err(error) = yumen_log::build(options) else { panic!("it began") };
    assert!(error.to_string().contains("\"Middle/Earth\""), "{error}");
    assert!(error.to_string().contains("Europe/Berlin"), "{error}");
}

#[test]
fn a_full_disk_loses_the_files_lines_and_the_console_says_so_and_goes_on() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let (mut options, screen) = options();
    with_file(&mut options, full);
    let logs = logged(options, |logs| {
        tracing::info!("one");
        assert!(logs.flush(PATIENCE));
        tracing::info!("two");
    });
    let text = screen.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].ends_with(" one") && lines[2].ends_with(" two"), "{text}");
    assert!(lines[1].starts_with("ERRO[") && lines[1].contains("/dev/full"), "{text}");
    assert!(lines[1].contains("No space left"), "{text}");
    assert_eq!((logs.written(), logs.lost(), logs.dropped()), (3, 2, 0));
}

/// A console that takes nothing until it is told to, and says when somebody writes to it.
struct Stuck {
    waiting: SyncSender<()>,
    go: Receiver<()>,
    screen: Screen,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once released, it stays so.
        let _ = self.waiting.try_send(());
        let _ = self.go.recv();
        self.screen.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_terminal_makes_nobody_wait_and_what_was_dropped_is_told_afterwards() {
    let (waiting, is_waiting) = sync_channel(1);
    let (go, wait) = sync_channel(1);
    let screen = Screen::default();
    let stuck = Stuck { waiting, go: wait, screen: screen.clone() };
    let mut options = Options::default().clock(Still).console_out(stuck);
    options.file = None;
    options.queue_bytes = 256 * 1024;
    let (subscriber, logs) = yumen_log::build(options).unwrap();
    within(subscriber, &logs, |logs| {
        tracing::info!("first");
        is_waiting.recv().unwrap();
        // Nothing is taken from here on, and each of these returns at once.
        for n in 0..1000 {
            tracing::info!("{n} {}", "x".repeat(1000));
        }
        assert!(logs.dropped() > 500 && logs.dropped() < 1000, "{}", logs.dropped());
        assert!(logs.queue_bytes() <= 256 * 1024);
        assert!(!logs.flush(std::time::Duration::from_millis(1)));
        drop(go);
        assert!(logs.flush(PATIENCE));
        tracing::info!("last");
    });
    let text = screen.text();
    let lines: Vec<_> = text.lines().collect();
    let told: Vec<_> = lines.iter().filter(|line| line.contains(" were dropped: ")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(&format!(" dropped={}", logs.dropped())), "{}", told[0]);
    assert!(told[0].starts_with("WARN["), "{}", told[0]);
    assert!(
        lines[lines.len() - 2].contains(" were dropped: ")
            && lines.last().unwrap().ends_with("last")
    );
    // The oldest are kept: what led to the flood is worth more than its end.
    assert!(lines[1].contains(" 0 xx") && lines[2].contains(" 1 xx"));
    assert_eq!(lines.len() as u64 + logs.dropped(), 1003);
}

#[test]
fn a_closed_console_loses_its_lines_and_the_file_says_so() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("due.log");
    let mut options = Options::default().clock(Still).console_out(Closed);
    with_file(&mut options, &path);
    let logs = logged(options, |_| tracing::info!("one"));
    let file = fs::read_to_string(path).unwrap();
    assert_eq!(file.lines().count(), 2, "{file}");
    assert!(file.contains("place=\"the console\" error=\"broken pipe\""), "{file}");
    assert_eq!((logs.written(), logs.lost()), (2, 1));
}

#[test]
fn lines_of_many_threads_are_whole_and_each_threads_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("due.log");
    let (mut options, screen) = options();
    with_file(&mut options, &path);
    options.file_format = Format::Json;
    options.file_options.max_size = 100_000;
    options.queue_bytes = 64 << 20;
    let (subscriber, logs) = yumen_log::build(options).unwrap();
    let dispatch = tracing::Dispatch::new(subscriber);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = &dispatch;
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    for n in 0..2000 {
                        tracing::info!(thread, n, "{}", "x".repeat(n % 300));
                    }
                });
            });
        }
    });
    assert!(logs.flush(PATIENCE));
    assert_eq!((logs.written(), logs.lost(), logs.dropped()), (16_000, 0, 0));
    assert_eq!(screen.text().lines().count(), 8000);
    // Files are numbered in the order of their lines; the last one has no number.
    let number = |name: &str| name.split('.').nth(1).and_then(|n| n.parse().ok()).unwrap_or(999);
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.collect();
    files.sort_by_key(|path| number(path.file_name().unwrap().to_str().unwrap()));
    assert!(files.len() > 5, "{files:?}");
    let mut next = [0; 4];
    for line in
        files.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<String>().lines()
    {
        let line: Value = serde_json::from_str(line).unwrap();
        let thread = line["fields"]["thread"].as_u64().unwrap() as usize;
        assert_eq!(line["fields"]["n"], next[thread]);
        next[thread] += 1;
    }
    assert_eq!(next, [2000; 4]);
}

#[test]
fn a_terminal_that_is_not_there_yet_is_named_in_the_first_line() {
    let text = "log.terminals = [\"aliyun\"]";
    let settings = yumen_settings::Settings::parse(text, Path::new("etc.toml")).unwrap();
    let screen = Screen::default();
    let options = Options::try_from(&settings).unwrap().console_out(screen.clone());
    logged(options, |_| tracing::info!("one"));
    let text = screen.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("WARN[") && lines[0].contains("names aliyun"), "{text}");
}

#[test]
fn a_log_without_terminals_is_silent() {
    let (mut options, screen) = options();
    options.console = None;
    let logs = logged(options, |_| tracing::error!("x"));
    assert_eq!((screen.text().as_str(), logs.written()), ("", 0));
}
