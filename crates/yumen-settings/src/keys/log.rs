//! Where log lines go and what they look like: `log.*`.

use crate::{
    form::{Bytes, Form, Read, Secret, quoted},
    key::{
        Standing::{Live, NoEffect, NotYet, Start},
        section,
    },
    nearest,
    tree::Value,
};
use std::time::Duration;

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Terminal {
    /// Standard output and standard error.
    Console,
    /// The file of `log.file.path`.
    File,
    /// Aliyun's log service.
    Aliyun,
    /// Tencent's log service.
    Tencent,
}

impl Terminal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Console, Self::File, Self::Aliyun, Self::Tencent];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::File => "file",
            Self::Aliyun => "aliyun",
            Self::Tencent => "tencent",
        }
    }

    fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|terminal| terminal.name() == text)
    }
}

/// A place for log lines, and which lines go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalSettings {
    /// The place.
    pub terminal: Terminal,
    /// The levels of its lines, by name. Empty: all that `log.level` lets through.
    pub levels: Vec<String>,
}

/// `log.terminals`: a list of places, or a table of the levels of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminals(pub Vec<TerminalSettings>);

impl Form for Terminals {
    const NAME: &'static str = "list, or table of lists";
    const WANTED: &'static str = "a list of console and file, as [\"console\", \"file\"], or a table of \
        their levels, as { console = [\"info\"], file = [\"warn\", \"error\"] }";

    fn read(value: &Value) -> Option<Read<Self>> {
        let place = |name: &str, levels| {
            Some(TerminalSettings { terminal: Terminal::named(name)?, levels })
        };
        let places = if let Value::Table(table) = value {
            let row =
                |(name, node): (&String, &crate::tree::Node)| place(name, levels(&node.value)?);
            table.iter().map(row).collect::<Option<Vec<_>>>()?
        } else {
            let names = Vec::<String>::read(value)?.value;
            names.iter().map(|name| place(name, Vec::new())).collect::<Option<Vec<_>>>()?
        };
        let absent = [Terminal::Aliyun, Terminal::Tencent];
        let named = places.iter().map(|place| place.terminal).find(|name| absent.contains(name));
        let note = named.map(|name| format!("{}: not honoured yet: {SERVICES}", name.name()));
        Some(Read { value: Self(places), note })
    }

    fn show(&self) -> String {
        let name = |place: &TerminalSettings| quoted(place.terminal.name());
        if self.0.iter().all(|place| place.levels.is_empty()) {
            return format!("[{}]", self.0.iter().map(name).collect::<Vec<_>>().join(", "));
        }
        let row = |place: &TerminalSettings| {
            format!("{} = {}", place.terminal.name(), place.levels.show())
        };
        format!("{{ {} }}", self.0.iter().map(row).collect::<Vec<_>>().join(", "))
    }
}

/// The names of levels, in small letters.
fn levels(value: &Value) -> Option<Vec<String>> {
    let names = Vec::<String>::read(value)?.value;
    names.iter().map(|name| is_level(name).then(|| name.to_ascii_lowercase())).collect()
}

/// Levels of lines, and `trace`, which is ours; `none` and `off` are none of them.
const LEVELS: [&str; 9] =
    ["trace", "debug", "info", "warn", "error", "fatal", "panic", "none", "off"];

/// One level.
fn level(text: &str) -> Result<(), String> {
    if is_level(text.trim()) { Ok(()) } else { Err(not_a_level("it", text.trim())) }
}

/// What to say of `level`, which is `which` of what was written.
fn not_a_level(which: &str, level: &str) -> String {
    let near = nearest::of(level, LEVELS);
    let near = near.map(|near| format!("; did you mean {}?", quoted(near))).unwrap_or_default();
    format!("{which} must be one of {}{near}", LEVELS.join(", "))
}

fn is_level(text: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text))
}

/// A level, and others for parts of the program behind it: `info,my_game::chat=debug`.
fn filter(text: &str) -> Result<(), String> {
    text.split(',').try_for_each(|part| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        let which = if part == text { "it" } else { &format!("{} in it", quoted(level)) };
        if is_level(level) { Ok(()) } else { Err(not_a_level(which, level)) }
    })
}

section! {
    /// Where log lines go and what they look like: `log.*`.
    LogSettings "etc.log" {
        /// Least level of lines: `trace`, `debug`, `info`, `warn`, `error`, `fatal`, `panic`, or `off`
        /// for none. Parts of the program may have their own behind it: `info,my_game::chat=debug`.
        level "level": String = "info", Live => check(filter);
        /// Least level of lines that carry a stack.
        stack_level "stackLevel": String = "error", Start => check(level);
        /// How times are written, as the moment 2006-01-02 15:04:05 would be.
        time_format "timeFormat": String = "2006/01/02 15:04:05.000000", Start;
        /// Whether lines name the whole path of a source file, not just its name.
        call_full_path "callFullPath": bool = false, Start;
        /// Stack frames that are skipped to find who logged.
        call_skip "callSkip": i64 = 2, NoEffect("the place is where the log line is written in the source");
        /// Where lines go: a list, or a table of the levels of each place.
        terminals "terminals": Terminals = ["console", "file"], Live;
    }
    tables {
        /// The console: `log.console.*`.
        console: LogConsoleSettings;
        /// The log file: `log.file.*`.
        file: LogFileSettings;
        /// Aliyun's log service: `log.aliyun.*`.
        aliyun: LogAliyunSettings;
        /// Tencent's log service: `log.tencent.*`.
        tencent: LogTencentSettings;
    }
}

section! {
    /// The console: `log.console.*`.
    LogConsoleSettings "etc.log.console" {
        /// `text` or `json`.
        format "format": String = "text", Start => words(&["text", "json"]);
    }
}

section! {
    /// The log file: `log.file.*`.
    LogFileSettings "etc.log.file" {
        /// The file that is written; older ones stand beside it.
        path "path": String = "./log/due.log", Start;
        /// `text` or `json`.
        format "format": String = "text", Start => words(&["text", "json"]);
        /// When a new file is begun, beside when it is full.
        rotate "rotate": String = "none", Start
            => words(&["none", "year", "month", "week", "day", "hour"]);
        /// Most bytes of one file.
        max_size "maxSize": Bytes = "500M", Start
            => due("due's documents say 100M, its code 500M; the code's default holds.");
        /// How long older files are kept; 0 is for ever.
        max_age "maxAge": Duration = "7d", Start
            => due("due reads it and deletes nothing (W-22); here it is applied.");
        /// Whether older files are compressed.
        compress "compress": bool = false, Start;
    }
}

/// Why lines do not go there.
const SERVICES: &str = "lines go to console and file only";

section! {
    /// Aliyun's log service: `log.aliyun.*`.
    LogAliyunSettings "etc.log.aliyun" {
        /// Address of the service.
        endpoint "endpoint": String = "", NotYet(SERVICES);
        /// Name of the access key.
        access_key_id "accessKeyID": Secret = "", NotYet(SERVICES);
        /// The access key.
        access_key_secret "accessKeySecret": Secret = "", NotYet(SERVICES);
        /// Project in the service.
        project "project": String = "", NotYet(SERVICES);
        /// Store in the project.
        logstore "logstore": String = "", NotYet(SERVICES);
        /// Topic of the lines.
        topic "topic": String = "", NotYet(SERVICES);
        /// Source of the lines.
        source "source": String = "", NotYet(SERVICES);
    }
}

section! {
    /// Tencent's log service: `log.tencent.*`.
    LogTencentSettings "etc.log.tencent" {
        /// Address of the service.
        endpoint "endpoint": String = "", NotYet(SERVICES);
        /// Name of the access key.
        access_key_id "accessKeyID": Secret = "", NotYet(SERVICES);
        /// The access key.
        access_key_secret "accessKeySecret": Secret = "", NotYet(SERVICES);
        /// Topic of the lines.
        topic_id "topicID": String = "", NotYet(SERVICES);
    }
}
