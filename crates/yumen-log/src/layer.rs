//! The side that `tracing` sees: makes lines of events and puts them into the queue.
//!
//! It runs on the threads that log, so it never waits for a disk. The one thing to know: what is not
//! wanted is refused where `tracing` asks once for each place in the code; after that it costs a load.

use crate::{
    clock::Clock,
    filter::Filter,
    queue::Queue,
    render::{Each, Format, Head, Said, Scalar, SpanData, Style, Value, bare},
    severity::{Severities, Severity},
    writer::Counts,
};
use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The fields with which [`crate::panic`] says where it was; they stand at the head of its line.
pub(crate) const PANIC_FILE: &str = "panic.file";
pub(crate) const PANIC_LINE: &str = "panic.line";

/// A buffer that grew beyond this for a long line is given back.
const SCRATCH_MAX: usize = 16 * 1024;

thread_local! {
    /// The line being made, kept so that the next one needs no allocation. It is taken out while in
    /// use: a value that logs while it is being logged finds an empty one.
    static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
}

/// What the layer, the handle and the panic hook share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) style: Arc<Style>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) filter: RwLock<Filter>,
    /// What the settings said last, to know what changes in them.
    pub(crate) settled: Mutex<Filter>,
    /// The levels each terminal takes: eight bits for each, by number.
    pub(crate) takes: AtomicU64,
    /// The terminals of each form, a bit for each.
    pub(crate) text: u8,
    pub(crate) json: u8,
    pub(crate) stack_from: Option<Severity>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Shared {
    /// The terminals that take lines of this level, a bit for each.
    fn takers(&self, severity: Severity) -> u8 {
        let takes = self.takes.load(Ordering::Relaxed).to_le_bytes();
        let mut bit = 1_u8;
        let mut takers = 0;
        for levels in takes {
            if Severities(levels).has(severity) {
                takers |= bit;
            }
            bit = bit.rotate_left(1);
        }
        takers & (self.text | self.json)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let severity = Severity::of(metadata);
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        filter.lets(metadata.target(), severity)
            && (metadata.is_span() || self.takers(severity) != 0)
    }

    /// Makes the lines of one event and gives them to the writer.
    pub(crate) fn say(&self, head: &Head<'_>, said: &dyn Said) {
        let takers = self.takers(head.severity);
        let (text, json) = (takers & self.text, takers & self.json);
        if takers == 0 {
            return;
        }
        let wanted = self.stack_from.is_some_and(|from| head.severity >= from);
        let (file, line) = (head.file.unwrap_or_default(), head.line.unwrap_or_default());
        let stack = wanted.then(|| self.queue.stack(file, line)).flatten();
        let mut buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        if text != 0 {
            Format::Text.line(&self.style, head, said, &mut buffer);
        }
        let middle = buffer.len();
        if json != 0 {
            Format::Json.line(&self.style, head, said, &mut buffer);
        }
        let (a, b) = buffer.split_at_checked(middle).unwrap_or_default();
        match (text, json) {
            (0, _) => self.queue.push(head.severity, &[(json, b)], stack),
            (_, 0) => self.queue.push(head.severity, &[(text, a)], stack),
            (_, _) => self.queue.push(head.severity, &[(text, a), (json, b)], stack),
        }
        if buffer.capacity() <= SCRATCH_MAX {
            // At the end of a thread there is nothing to keep it in.
            let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
        }
    }
}

/// Makes lines of events.
pub(crate) struct Lines {
    pub(crate) shared: Arc<Shared>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shared.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shared.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let filter = self.shared.filter.read().unwrap_or_else(PoisonError::into_inner);
        Some(match filter.least() {
            None => LevelFilter::OFF,
            Some(Severity::Trace) => LevelFilter::TRACE,
            Some(Severity::Debug) => LevelFilter::DEBUG,
            Some(Severity::Info) => LevelFilter::INFO,
            Some(Severity::Warn) => LevelFilter::WARN,
            Some(Severity::Error | Severity::Fatal | Severity::Panic) => LevelFilter::ERROR,
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Vec::new();
        attributes
            .record(&mut Each(|field: &Field, value: Scalar<'_>| keep(&mut fields, field, value)));
        if let Some(span) = context.span(id) {
            let name = attributes.metadata().name();
            span.extensions_mut().insert(SpanData { name, fields });
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        // Values are made before the span is locked: making one may run any code.
        let mut fields = Vec::new();
        record
            .record(&mut Each(|field: &Field, value: Scalar<'_>| keep(&mut fields, field, value)));
        if let Some(span) = context.span(id)
            && let Some(data) = span.extensions_mut().get_mut::<SpanData>()
        {
            fields.into_iter().for_each(|(name, value)| put(&mut data.fields, name, value));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut head = Head {
            severity: Severity::of(metadata),
            unix_ns: self.shared.clock.unix_ns(),
            target: metadata.target(),
            file: metadata.file(),
            line: metadata.line(),
        };
        let said = EventSaid { event, context: &context };
        if head.severity == Severity::Panic {
            let mut place = Place::default();
            event.record(&mut place);
            head.file = place.file.as_deref().or(head.file);
            head.line = place.line.or(head.line);
            self.shared.say(&head, &said);
        } else {
            self.shared.say(&head, &said);
        }
    }
}

fn keep(fields: &mut Vec<(&'static str, Value)>, field: &Field, value: Scalar<'_>) {
    put(fields, bare(field.name()), value.into());
}

/// A field that is recorded again has its new value.
fn put(fields: &mut Vec<(&'static str, Value)>, name: &'static str, value: Value) {
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name, value)),
    }
}

/// Where a panic was.
#[derive(Default)]
struct Place {
    file: Option<String>,
    line: Option<u32>,
}

impl Visit for Place {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == PANIC_FILE {
            self.file = Some(value.to_owned());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == PANIC_LINE {
            self.line = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// What an event says, in the spans it stands in.
struct EventSaid<'a, 'e, S> {
    event: &'a Event<'e>,
    context: &'a Context<'a, S>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Said for EventSaid<'_, '_, S> {
    fn each(&self, give: &mut dyn FnMut(&'static str, Scalar<'_>)) {
        let mut each = Each(|field: &Field, value: Scalar<'_>| {
            let name = bare(field.name());
            if name != PANIC_FILE && name != PANIC_LINE {
                give(name, value);
            }
        });
        self.event.record(&mut each);
    }

    fn spans(&self, give: &mut dyn FnMut(&SpanData)) {
        for span in self.context.event_scope(self.event).into_iter().flat_map(|it| it.from_root()) {
            if let Some(data) = span.extensions().get::<SpanData>() {
                give(data);
            }
        }
    }
}
