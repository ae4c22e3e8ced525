//! What a terminal gets of a batch, and what is told when it takes nothing.

use super::*;
use crate::{clock::Times, time_format::TimeFormat};
use jiff::tz::TimeZone;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicI64},
};

struct Pretend(AtomicI64);

impl Clock for Pretend {
    fn unix_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A console that can be read, and can be out of order.
#[derive(Clone, Default)]
struct Screen {
    text: Arc<Mutex<String>>,
    broken: Arc<AtomicBool>,
}

impl Screen {
    fn take(&self) -> String {
        std::mem::take(&mut self.text.lock().unwrap())
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal(bit: u8, format: Format, colours: bool) -> (Terminal, Screen) {
    let screen = Screen::default();
    let out = Out::Console { out: Box::new(screen.clone()), colours };
    (Terminal::new(bit, format, out), screen)
}

fn writer(terminals: Vec<Terminal>) -> Writer {
    let times = Times::new(TimeFormat::new("15:04"), TimeZone::UTC);
    Writer {
        queue: Arc::new(Queue::new(1 << 20)),
        style: Arc::new(Style { times, odd_time: false, full_path: false }),
        clock: Arc::new(Pretend(AtomicI64::new(0))),
        counts: Arc::default(),
        terminals,
    }
}

/// Has the writer write one line for each terminal, behind which so many were dropped.
fn write(writer: &mut Writer, text: &str, dropped: u64) {
    let mut batch = Batch::default();
    for terminal in &writer.terminals {
        let remark = Remark { message: text, fields: &[] };
        let mut line = String::new();
        let head = remark_head(Severity::Error, 0);
        terminal.format.line(&writer.style, &head, &remark, &mut line);
        writer.queue.push(Severity::Error, &[(terminal.bit, &line)], None);
    }
    writer.queue.next(&mut batch, Duration::ZERO);
    writer.write(&batch, dropped, &mut Chunk::default());
}

#[test]
fn w22_colours_are_for_text_on_a_terminal_and_never_in_json() {
    let (plain, plain_screen) = terminal(1, Format::Text, false);
    let (text, text_screen) = terminal(2, Format::Text, true);
    let (json, json_screen) = terminal(4, Format::Json, true);
    let mut writer = writer(vec![plain, text, json]);
    write(&mut writer, "x", 3);
    let dropped = "log lines were dropped: they came faster than they could be written dropped=3";
    assert_eq!(plain_screen.take(), format!("ERRO[00:00] x\nWARN[00:00] {dropped}\n"));
    let red = "\u{1b}[31mERRO\u{1b}[0m[00:00] x\n";
    let yellow = format!("\u{1b}[33mWARN\u{1b}[0m[00:00] {dropped}\n");
    assert_eq!(text_screen.take(), format!("{red}{yellow}"));
    let json = json_screen.take();
    assert!(!json.contains('\u{1b}'), "{json}");
    assert_eq!(json.lines().count(), 2);
    for line in json.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
}

#[test]
fn a_terminal_that_fails_is_told_of_once_and_once_more_when_it_works_again() {
    let (broken, broken_screen) = terminal(1, Format::Text, false);
    let (other, other_screen) = terminal(2, Format::Text, false);
    let mut writer = writer(vec![broken, other]);
    broken_screen.broken.store(true, Ordering::Relaxed);
    for word in ["one", "two", "three"] {
        write(&mut writer, word, 0);
    }
    let text = other_screen.take();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].ends_with(" one") && lines[2].ends_with(" two"));
    assert!(lines[1].contains("are being lost") && lines[1].contains("\"the console\""), "{text}");
    assert_eq!(writer.counts.lost.load(Ordering::Relaxed), 3);
    broken_screen.broken.store(false, Ordering::Relaxed);
    write(&mut writer, "four", 0);
    write(&mut writer, "five", 0);
    for screen in [&broken_screen, &other_screen] {
        let text = screen.take();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with(" four") && lines[2].ends_with(" five"));
        assert!(lines[1].contains("works again") && lines[1].ends_with(" lost=3"), "{text}");
    }
    assert_eq!(writer.counts.lost.load(Ordering::Relaxed), 3);
}

#[test]
fn a_chunk_is_cut_between_lines() {
    let chunk = Chunk::of(&["aa\n", "b\n", "cccc\n"]);
    assert_eq!(chunk.text(0, 3), "aa\nb\ncccc\n");
    assert_eq!(chunk.text(1, 2), "b\n");
    let rows = [(0, 0, 0), (0, 2, 0), (0, 3, 1), (0, 9, 2), (0, 10, 3), (1, 1, 1), (1, 2, 2)];
    for (from, len, upto) in rows {
        assert_eq!(chunk.upto(from, len), upto, "{from} {len}");
    }
    assert_eq!(chunk.upto(0, usize::MAX), 3);
}

#[test]
fn a_batch_larger_than_a_portion_arrives_whole_and_in_order() {
    let (terminal, screen) = terminal(1, Format::Text, false);
    let mut writer = writer(vec![terminal]);
    let queue = Queue::new(64 << 20);
    let line = "x".repeat(1000);
    for n in 0..1000 {
        queue.push(Severity::Info, &[(1, &format!("INFO {n} {line}\n"))], None);
    }
    let mut batch = Batch::default();
    queue.next(&mut batch, Duration::ZERO);
    writer.write(&batch, 0, &mut Chunk::default());
    let text = screen.take();
    for (n, line) in text.lines().enumerate() {
        assert!(line.starts_with(&format!("INFO {n} ")), "{line}");
    }
    assert_eq!(text.lines().count(), 1000);
    assert_eq!(writer.counts.written.load(Ordering::Relaxed), 1000);
}
