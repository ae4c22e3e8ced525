//! What the log itself has to say, in lines like any other.
//!
//! The one thing to know: a remark goes to every terminal, whatever levels it takes.

use crate::{
    clock::Clock,
    queue::Queue,
    render::{Format, Head, MESSAGE, Said, Scalar, SpanData, Style},
    severity::Severity,
};
use std::sync::Arc;

/// What the log itself has to say.
pub(crate) struct Remark<'a> {
    pub(crate) message: &'a str,
    pub(crate) fields: &'a [(&'static str, Scalar<'a>)],
}

impl Said for Remark<'_> {
    fn each(&self, put: &mut dyn FnMut(&'static str, Scalar<'_>)) {
        put(MESSAGE, Scalar::Text(self.message));
        self.fields.iter().for_each(|(name, value)| put(name, *value));
    }

    fn spans(&self, _: &mut dyn FnMut(&SpanData)) {}
}

/// The head of a remark.
pub(crate) fn remark_head(severity: Severity, unix_ns: i64) -> Head<'static> {
    Head { severity, unix_ns, target: "yumen_log", file: None, line: None }
}

/// Says something through the queue, from whatever thread.
pub(crate) struct Voice {
    pub(crate) queue: Arc<Queue>,
    pub(crate) style: Arc<Style>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The bit and form of each terminal.
    pub(crate) terminals: Vec<(u8, Format)>,
}

impl Voice {
    /// A warning.
    pub(crate) fn warn(&self, message: &str, fields: &[(&'static str, Scalar<'_>)]) {
        let head = remark_head(Severity::Warn, self.clock.unix_ns());
        for (bit, format) in &self.terminals {
            let mut line = String::new();
            format.line(&self.style, &head, &Remark { message, fields }, &mut line);
            self.queue.push(Severity::Warn, &[(*bit, &line)], None);
        }
    }
}
