//! The thread that writes lines to console and file.
//!
//! The one thing to know: it alone may wait for a disk or a terminal. What a terminal could not take is
//! counted, told on the other terminals when it begins, and in one line when it is over.

use crate::{
    clock::Clock,
    file::LogPath,
    line::LINE_MAX,
    queue::{Batch, Next, Queue, Record},
    remark::{Remark, remark_head},
    render::{Format, Scalar, Style},
    severity::Severity,
};
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Lines are handed to a terminal in portions of about so many bytes.
const CHUNK: usize = 256 * 1024;
/// How long the thread sleeps without a line, before it looks at the calendar.
const PATIENCE: Duration = Duration::from_secs(30);

/// Some lines for one terminal.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    text: String,
    /// Where each line ends.
    pub(crate) ends: Vec<usize>,
}

impl Chunk {
    /// These lines.
    #[cfg(test)]
    pub(crate) fn of(lines: &[&str]) -> Self {
        let mut chunk = Self::default();
        for line in lines {
            chunk.text.push_str(line);
            chunk.finish_line();
        }
        chunk
    }

    fn finish_line(&mut self) {
        self.ends.push(self.text.len());
    }

    fn start(&self, line: usize) -> usize {
        let before = line.checked_sub(1);
        before.and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    /// The lines from number `from` up to and without number `upto`.
    pub(crate) fn text(&self, from: usize, upto: usize) -> &str {
        self.text.get(self.start(from)..self.start(upto)).unwrap_or_default()
    }

    /// The number behind the last line that ends within `len` bytes from the beginning of line `from`.
    pub(crate) fn upto(&self, from: usize, len: usize) -> usize {
        let end = self.start(from).saturating_add(len);
        self.ends.partition_point(|line| *line <= end).max(from)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(CHUNK.saturating_add(2 * LINE_MAX));
        self.ends.clear();
    }
}

/// Where lines end up.
pub(crate) enum Out {
    Console { out: Box<dyn Write + Send>, colours: bool },
    File(Box<LogPath>),
}

/// One of the places where lines are wanted.
pub(crate) struct Terminal {
    pub(crate) bit: u8,
    pub(crate) format: Format,
    pub(crate) out: Out,
    /// Lines lost since it last worked.
    lost: u64,
}

/// What happened at a terminal that others should know.
enum News {
    Fails(String),
    WorksAgain { lost: u64 },
    NotRotated(String),
}

impl Terminal {
    pub(crate) fn new(bit: u8, format: Format, out: Out) -> Self {
        Self { bit, format, out, lost: 0 }
    }

    fn name(&self) -> String {
        match &self.out {
            Out::Console { .. } => "the console".to_owned(),
            Out::File(file) => format!("the log file {}", file.path().display()),
        }
    }

    fn add(&self, record: &Record, line: &str, chunk: &mut Chunk) {
        let painted = matches!(self.out, Out::Console { colours: true, .. });
        match line.split_at_checked(4).filter(|_| painted && self.format == Format::Text) {
            Some((label, rest)) => {
                chunk.text.push_str(colour(record.severity));
                chunk.text.push_str(label);
                chunk.text.push_str("\u{1b}[0m");
                chunk.text.push_str(rest);
            }
            None => chunk.text.push_str(line),
        }
        if let Some(stack) = &record.stack {
            self.format.stack(stack.frames(), &mut chunk.text);
        }
        chunk.finish_line();
    }

    fn write(&mut self, now_ns: i64, chunk: &Chunk, counts: &Counts, news: &mut Vec<News>) {
        let (written, lost, error) = match &mut self.out {
            Out::Console { out, .. } => {
                let all = u64::try_from(chunk.ends.len()).unwrap_or_default();
                match out.write_all(chunk.text.as_bytes()).and_then(|()| out.flush()) {
                    Ok(()) => (all, 0, None),
                    Err(error) => (0, all, Some(error)),
                }
            }
            Out::File(file) => {
                let wrote = file.write(now_ns, chunk);
                news.extend(wrote.not_rotated.map(|error| News::NotRotated(error.to_string())));
                (wrote.written, wrote.lost, wrote.error)
            }
        };
        counts.written.fetch_add(written, Ordering::Relaxed);
        counts.lost.fetch_add(lost, Ordering::Relaxed);
        let before = std::mem::take(&mut self.lost);
        if before > 0 && written > 0 {
            news.push(News::WorksAgain { lost: before });
        }
        self.lost = if written > 0 { lost } else { before.saturating_add(lost) };
        if lost > 0 && (before == 0 || written > 0) {
            let why =
                error.map_or_else(|| "it failed before".to_owned(), |error| error.to_string());
            news.push(News::Fails(why));
        }
    }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Trace | Severity::Debug => "\u{1b}[37m",
        Severity::Info => "\u{1b}[36m",
        Severity::Warn => "\u{1b}[33m",
        Severity::Error | Severity::Fatal | Severity::Panic => "\u{1b}[31m",
    }
}

/// What came of lines, one count for each terminal that a line was for.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) lost: AtomicU64,
}

/// All that the thread has.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) style: Arc<Style>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) terminals: Vec<Terminal>,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let (mut batch, mut chunk) = (Batch::default(), Chunk::default());
        loop {
            match self.queue.next(&mut batch, PATIENCE) {
                Next::Lines { dropped, upto } => {
                    self.write(&batch, dropped, &mut chunk);
                    batch.clear();
                    self.queue.done(upto);
                }
                Next::Nothing => self.tick(),
                Next::End => return,
            }
        }
    }

    /// Writes a batch, behind which so many lines were dropped.
    pub(crate) fn write(&mut self, batch: &Batch, dropped: u64, chunk: &mut Chunk) {
        for stack in batch.lines().filter_map(|(record, _)| record.stack.as_ref()) {
            self.queue.name(stack);
        }
        let now_ns = self.clock.unix_ns();
        let mut news = Vec::new();
        for terminal in &mut self.terminals {
            let mut told = Vec::new();
            let bit = terminal.bit;
            chunk.clear();
            for (record, line) in batch.lines().filter(|(record, _)| record.takers & bit != 0) {
                terminal.add(record, line, chunk);
                if chunk.text.len() >= CHUNK {
                    terminal.write(now_ns, chunk, &self.counts, &mut told);
                    chunk.clear();
                }
            }
            if !chunk.ends.is_empty() {
                terminal.write(now_ns, chunk, &self.counts, &mut told);
            }
            let name = terminal.name();
            news.extend(told.into_iter().map(|item| (bit, name.clone(), item)));
        }
        for (bit, name, item) in news {
            self.tell(now_ns, bit, &name, &item, chunk);
        }
        if dropped > 0 {
            let message = "log lines were dropped: they came faster than they could be written";
            let fields = [("dropped", Scalar::U64(dropped))];
            let remark = Remark { message, fields: &fields };
            self.remark(now_ns, Severity::Warn, &remark, u8::MAX, chunk);
        }
    }

    fn tick(&mut self) {
        let now_ns = self.clock.unix_ns();
        let mut news = Vec::new();
        for terminal in &mut self.terminals {
            let name = terminal.name();
            if let Out::File(file) = &mut terminal.out
                && let Some(error) = file.tick(now_ns)
            {
                news.push((terminal.bit, name, News::NotRotated(error.to_string())));
            }
        }
        for (bit, name, item) in news {
            self.tell(now_ns, bit, &name, &item, &mut Chunk::default());
        }
    }

    /// Says what happened at the terminal `bit` to whoever reads the log.
    fn tell(&mut self, now_ns: i64, bit: u8, name: &str, news: &News, chunk: &mut Chunk) {
        let place = ("place", Scalar::Text(name));
        match news {
            News::Fails(error) => {
                let fields = [place, ("error", Scalar::Text(error))];
                let message = "log lines are being lost: they cannot be written to one place; \
                               it is tried again";
                let remark = Remark { message, fields: &fields };
                self.remark(now_ns, Severity::Error, &remark, !bit, chunk);
            }
            News::WorksAgain { lost } => {
                let fields = [place, ("lost", Scalar::U64(*lost))];
                let message = "log lines were lost; what could not be written to works again";
                let remark = Remark { message, fields: &fields };
                self.remark(now_ns, Severity::Warn, &remark, u8::MAX, chunk);
            }
            News::NotRotated(error) => {
                let fields = [place, ("error", Scalar::Text(error))];
                let message = "the log file could not be rotated and grows on";
                let remark = Remark { message, fields: &fields };
                self.remark(now_ns, Severity::Warn, &remark, u8::MAX, chunk);
            }
        }
    }

    /// Writes a line of the log's own to the terminals in `takers`, or to standard error if there is
    /// none of them.
    fn remark(
        &mut self,
        now_ns: i64,
        severity: Severity,
        remark: &Remark<'_>,
        takers: u8,
        chunk: &mut Chunk,
    ) {
        let head = remark_head(severity, now_ns);
        let mut told = false;
        for terminal in self.terminals.iter_mut().filter(|it| it.bit & takers != 0) {
            let mut line = String::new();
            terminal.format.line(&self.style, &head, remark, &mut line);
            let record = Record { len: line.len(), takers, severity, stack: None };
            chunk.clear();
            terminal.add(&record, &line, chunk);
            // What fails here fails for other lines too, and is told with them.
            terminal.write(now_ns, chunk, &self.counts, &mut Vec::new());
            told = true;
        }
        if !told {
            let mut line = String::new();
            Format::Text.line(&self.style, &head, remark, &mut line);
            // Nobody is left to tell if this fails as well.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
