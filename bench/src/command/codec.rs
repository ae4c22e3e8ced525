//! `yumen bench codec`: what it costs to write and to read one message, by codec.
//!
//! Times are CPU time of this thread: what else the machine does costs a case less than a turn. The cases
//! take turns, the median of the rounds counts. Instructions are counted by callgrind, in runs of their
//! own; memory by the allocator, if this program's counts.
use super::{note, result};
use crate::clock::thread_cpu;
use crate::codec::{Case, Shape};
use crate::generator::BodyCodec;
use crate::icount;
use crate::machine::Machine;
use crate::number::{float, nanos, ratio};
use crate::stats::Spread;
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::{Command, ExitCode};

/// Messages of the two runs whose instructions are counted; their difference is what counts.
const COUNTED: (u64, u64) = (200, 1_200);
/// Messages of the run whose memory is counted.
const WEIGHED: u64 = 1_000;

const AFTER: &str =
    "encode-fresh writes into a new buffer, encode-reused into the one of the message \
before, as a node\nwrites its replies; decode reads a body into a value that owns its memory.

Memory is counted by yumen-bench, whose allocator counts and is therefore slower:
  cargo run --release -p yumen-bench -- bench codec";

/// Memory that was asked for while something was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Allocated {
    /// How often.
    pub count: u64,
    /// Bytes in all; what was given back meanwhile is not taken off.
    pub bytes: u64,
}

/// Does some work and says what memory it asked for: what a program with a counting allocator has.
pub type CountMemory = fn(&mut dyn FnMut()) -> Allocated;

/// Options of `bench codec`.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER)]
pub struct CodecArgs {
    /// Messages of each case in each round.
    #[arg(short = 'n', long, default_value_t = 1_000_000)]
    messages: u64,
    /// How often each case is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of the text, or of the fields as JSON; the codec adds a few bytes.
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// What each message holds.
    #[arg(long, value_enum, default_value_t = Shape::Letters)]
    shape: Shape,
    /// Only measure this codec. May be repeated.
    #[arg(long, value_enum)]
    codec: Vec<BodyCodec>,
    /// Do not count instructions, which takes a few seconds for each case.
    #[arg(long)]
    skip_instructions: bool,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
}

/// What callgrind is given to count.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// The case.
    case: Case,
    /// What each message holds.
    #[arg(value_enum)]
    shape: Shape,
    /// Length of the text in bytes.
    size: usize,
    /// How many messages.
    messages: u64,
}

/// What one message costs in one case.
#[derive(Debug, Clone, Serialize)]
struct Row {
    codec: &'static str,
    step: &'static str,
    body_bytes: usize,
    /// CPU time in nanoseconds.
    ns: Spread,
    /// Absent where they were not counted.
    instructions: Option<f64>,
    /// Bytes asked of the allocator, and how often. Absent where it does not count.
    allocated_bytes: Option<f64>,
    allocations: Option<f64>,
}

#[derive(Debug, Serialize)]
struct CodecReport {
    shape: Shape,
    messages: u64,
    rounds: u32,
    /// Whether the allocator of this program counts, which makes it slower.
    counting_allocator: bool,
    rows: Vec<Row>,
    machine: Machine,
}

/// One case while it is measured.
struct Measured {
    case: Case,
    body_bytes: usize,
    rounds: Vec<f64>,
}

pub(super) fn run(args: &CodecArgs, memory: Option<CountMemory>) -> io::Result<ExitCode> {
    if args.messages == 0 || args.rounds == 0 {
        let text = "nothing to measure: messages and rounds are at least 1";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let machine = Machine::describe();
    let measured = time(args);
    let mut count = !args.skip_instructions;
    let mut rows = Vec::new();
    for Measured { case, body_bytes, rounds } in measured {
        let instructions = if count { instructions(args, case) } else { None };
        // What is missing is missing for all, and said once.
        count = instructions.is_some();
        let allocated = memory.map(|memory| weigh(args, case, memory));
        rows.push(Row {
            codec: case.codec_name(),
            step: case.step.name(),
            body_bytes,
            ns: Spread::of(&rounds),
            instructions,
            allocated_bytes: allocated.map(|each| each.0),
            allocations: allocated.map(|each| each.1),
        });
    }
    let report = CodecReport {
        shape: args.shape,
        messages: args.messages,
        rounds: args.rounds,
        counting_allocator: memory.is_some(),
        rows,
        machine,
    };
    result(args.json, &report, &report.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Only does the work of one case.
pub(super) fn work(args: &WorkArgs) -> ExitCode {
    args.case.run(args.shape, args.size, args.messages);
    ExitCode::SUCCESS
}

/// Times every case that was asked for, in turns.
fn time(args: &CodecArgs) -> Vec<Measured> {
    let wanted = |case: &Case| args.codec.is_empty() || args.codec.contains(&case.codec);
    let start = |case: Case| {
        // Caches and the allocator are warm before the first round.
        let body_bytes = case.run(args.shape, args.size, args.messages.min(10_000));
        Measured { case, body_bytes, rounds: Vec::new() }
    };
    let mut measured: Vec<_> = Case::all().filter(wanted).map(start).collect();
    for round in 1..=args.rounds {
        note(&format!("round {round}/{}", args.rounds));
        for Measured { case, rounds, .. } in &mut measured {
            let before = thread_cpu();
            case.run(args.shape, args.size, args.messages);
            let used = thread_cpu().saturating_sub(before);
            rounds.push(ratio(float(nanos(used)), float(args.messages)));
        }
    }
    measured
}

/// Instructions of one message, or nothing where they cannot be counted, which is said.
fn instructions(args: &CodecArgs, case: Case) -> Option<f64> {
    note(&format!("counting the instructions of {case}"));
    let (few, many) = COUNTED;
    let counted = |messages: u64| {
        let mut program = Command::new(std::env::current_exe()?);
        program.args(["bench", "codec-work", &case.to_string(), args.shape.name()]);
        program.args([args.size.to_string(), messages.to_string()]);
        icount::instructions(&program)
    };
    match counted(few).and_then(|few| Ok((few, counted(many)?))) {
        Ok((less, more)) => {
            let messages = float(many.saturating_sub(few));
            Some(ratio(float(more.saturating_sub(less)), messages))
        }
        Err(error) => {
            note(&format!("instructions are not available: {error}"));
            None
        }
    }
}

/// Bytes and allocations of one message.
fn weigh(args: &CodecArgs, case: Case, memory: CountMemory) -> (f64, f64) {
    let of = |messages: u64| {
        memory(&mut || {
            case.run(args.shape, args.size, messages);
        })
    };
    // The work prepares a value and a body, which cancel out.
    let (prepared, all) = (of(0), of(WEIGHED));
    let each = |all: u64, prepared: u64| ratio(float(all.saturating_sub(prepared)), float(WEIGHED));
    (each(all.bytes, prepared.bytes), each(all.count, prepared.count))
}

impl Display for CodecReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { shape, messages, rounds, machine, .. } = self;
        writeln!(
            f,
            "one message of {}, {messages} a round, median (min-max) of {rounds} rounds",
            shape.name()
        )?;
        let (ns, heads) = ("CPU ns", ["instructions", "bytes alloc.", "allocs"]);
        write!(f, "{:<10}{:<15}{:>6}{ns:>24}", "codec", "step", "bytes")?;
        writeln!(f, "{:>15}{:>15}{:>15}", heads[0], heads[1], heads[2])?;
        for row in &self.rows {
            let Spread { min, median, max } = row.ns;
            let ns = format!("{median:.1} ({min:.1}-{max:.1})");
            write!(f, "{:<10}{:<15}{:>6}{ns:>24}", row.codec, row.step, row.body_bytes)?;
            let known = |figure: Option<f64>, digits: usize| {
                figure.map_or_else(|| "not available".to_owned(), |it| format!("{it:.digits$}"))
            };
            write!(f, "{:>15}", known(row.instructions, 0))?;
            let allocations = known(row.allocations, 2);
            writeln!(f, "{:>15}{allocations:>15}", known(row.allocated_bytes, 0))?;
        }
        if self.counting_allocator {
            writeln!(f, "this program's allocator counts: times are longer than in a server")?;
        }
        write!(f, "on {machine}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Step;

    fn args(messages: u64) -> CodecArgs {
        CodecArgs {
            messages,
            rounds: 3,
            size: 64,
            shape: Shape::Letters,
            codec: vec![BodyCodec::Json],
            skip_instructions: true,
            json: false,
        }
    }

    #[test]
    fn each_case_of_the_codec_asked_for_is_timed_in_every_round_and_no_other() {
        let measured = time(&args(10));
        let steps: Vec<_> = measured.iter().map(|one| (one.case.codec, one.case.step)).collect();
        let json = |step| (BodyCodec::Json, step);
        assert_eq!(steps, [json(Step::EncodeFresh), json(Step::EncodeReused), json(Step::Decode)]);
        assert!(measured.iter().all(|one| one.rounds.len() == 3 && one.body_bytes == 64 + 14));
    }

    #[test]
    fn what_a_case_prepares_is_not_counted_as_memory_of_its_messages() {
        // An allocator that saw 500 bytes of preparation, and then 7 bytes and an allocation each.
        fn memory(work: &mut dyn FnMut()) -> Allocated {
            use std::cell::Cell;
            thread_local!(static CALLS: Cell<u64> = const { Cell::new(0) });
            work();
            let messages = if CALLS.replace(1) == 0 { 0 } else { WEIGHED };
            Allocated { count: 2 + messages, bytes: 500 + 7 * messages }
        }
        let case = Case { codec: BodyCodec::Json, step: Step::Decode };
        assert_eq!(weigh(&args(1), case, memory), (7.0, 1.0));
    }

    #[test]
    fn what_was_not_counted_is_said_and_not_shown_as_nothing() {
        let row = |instructions| Row {
            codec: "json",
            step: "decode",
            body_bytes: 1038,
            ns: Spread { min: 1.0, median: 2.0, max: 3.0 },
            instructions,
            allocated_bytes: None,
            allocations: None,
        };
        let report = CodecReport {
            shape: Shape::Letters,
            messages: 1,
            rounds: 1,
            counting_allocator: false,
            rows: vec![row(None), row(Some(0.0))],
            machine: Machine::default(),
        };
        let text = report.to_string();
        assert_eq!(text.matches("not available").count(), 5, "{text}");
        assert!(text.contains("2.0 (1.0-3.0)"), "{text}");
    }
}
