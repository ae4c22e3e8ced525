//! The functions that led to a line.
//!
//! The one thing to know: the caller only walks its stack, which takes microseconds; finding the names
//! takes milliseconds and is left to whoever writes the line.

use std::{
    backtrace::Backtrace,
    fmt::{self, Write},
    sync::{Arc, OnceLock},
};

/// The most functions that are named.
const FRAMES_MAX: usize = 32;
/// The most bytes that are read of what the standard library writes of a stack.
const TEXT_MAX: usize = 128 * 1024;
/// The most bytes of a function's name, or of a file's.
const NAME_MAX: usize = 256;

/// Functions between a line and whoever wrote it.
const BETWEEN: [&str; 12] = [
    "std::backtrace",
    "<std::backtrace",
    "yumen_log::",
    "<yumen_log::",
    "tracing",
    "<tracing",
    "core::",
    "<core::",
    "std::panicking",
    "__rustc::",
    "alloc::",
    "<alloc::",
];
/// Where a thread's or the process's own code begins.
const BEGIN: &str = "__rust_begin_short_backtrace";

/// A stack as it was when a line was made.
#[derive(Debug)]
pub(crate) struct Stack {
    trace: Backtrace,
    /// Where the line is made, as `/chat.rs:12`.
    place: String,
    frames: OnceLock<Vec<Frame>>,
}

/// One function of a stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) function: String,
    /// File, line and column; empty where they are not known.
    pub(crate) place: String,
}

impl Stack {
    /// The stack of this thread, for a line made in `file` at `line`.
    pub(crate) fn capture(file: &str, line: u32) -> Arc<Self> {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let place = format!("/{name}:{line}");
        Arc::new(Self { trace: Backtrace::force_capture(), place, frames: OnceLock::new() })
    }

    /// The functions, from the innermost out, without those between the line and its writer.
    pub(crate) fn frames(&self) -> &[Frame] {
        self.frames.get_or_init(|| {
            let mut text = Bounded { text: String::new(), end: TEXT_MAX };
            // The text that fits is enough.
            let _ = write!(text, "{}", self.trace);
            parse(&text.text, &self.place)
        })
    }
}

/// A text that takes so much and no more.
pub(crate) struct Bounded {
    pub(crate) text: String,
    pub(crate) end: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.end.saturating_sub(self.text.len());
        let kept = text.floor_char_boundary(room);
        self.text.push_str(text.get(..kept).unwrap_or_default());
        if kept == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Reads what the standard library writes: `  3: function`, and below it `at file:line:column`.
fn parse(text: &str, begin: &str) -> Vec<Frame> {
    let mut frames = Vec::<Frame>::new();
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.place = short(place);
            }
        } else if let Some((number, function)) = line.split_once(": ")
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            frames.push(Frame { function: short(function), place: String::new() });
        }
    }
    let is_begin = |frame: &Frame| {
        let rest = frame.place.find(begin).and_then(|at| frame.place.get(at..)?.get(begin.len()..));
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let between = |frame: &Frame| BETWEEN.iter().any(|name| frame.function.starts_with(name));
    // Without line numbers, names have to do.
    let known = frames.iter().position(is_begin);
    let first = known.or_else(|| frames.iter().position(|frame| !between(frame))).unwrap_or(0);
    let own = frames.into_iter().skip(first);
    own.take_while(|frame| !frame.function.contains(BEGIN)).take(FRAMES_MAX).collect()
}

fn short(name: &str) -> String {
    name.get(..name.floor_char_boundary(NAME_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_begins_with_whoever_wrote_the_line_and_ends_where_the_thread_began() {
        let text = "   0: std::backtrace::Backtrace::force_capture
   1: <yumen_log::layer::Lines as tracing_subscriber::layer::Layer<S>>::on_event
   2: tracing_core::dispatcher::get_default
   3: game::chat::say
             at ./src/chat.rs:12:5
   4: core::ops::function::FnOnce::call_once
   5: game::main
             at ./src/main.rs:3
   6: std::sys::backtrace::__rust_begin_short_backtrace
   7: std::rt::lang_start
";
        let frames = parse(text, "/other.rs:1");
        let names: Vec<_> = frames.iter().map(|frame| frame.function.as_str()).collect();
        assert_eq!(
            names,
            ["game::chat::say", "core::ops::function::FnOnce::call_once", "game::main"]
        );
        assert_eq!(frames[0].place, "./src/chat.rs:12:5");
        assert_eq!(frames[1].place, "");
        // The place of the line is known better than any name.
        assert_eq!(parse(text, "/main.rs:3").len(), 1);
        assert_eq!(parse(text, "/chat.rs:1").len(), 3, "12 is not 1");
    }

    #[test]
    fn a_stack_has_a_bounded_number_of_functions_with_bounded_names() {
        let deep: String = (0..500).map(|n| format!("{n}: {}\n", "ü".repeat(1000))).collect();
        let frames = parse(&deep, "");
        assert_eq!(frames.len(), FRAMES_MAX);
        assert!(frames.iter().all(|frame| frame.function.len() <= NAME_MAX));
        assert!(parse("", "").is_empty());
    }
}
