//! `yumen bench fanout`: one message to thousands, beside one thread that writes it to as many sockets.
//!
//! The raw writer is the limit: no framework can send over TCP without a write for each receiver. Both
//! take turns, with receivers of the same kind in this process, which only read and count bytes. A second
//! part has a room on two gates, and counts what crosses the links between node and gates.
pub(super) mod raw;
mod receivers;

use super::crowd::{Fleet, layout};
use super::keep::KeepArgs;
use super::neighbours::{Check, Unit};
use super::note;
use super::serve::crowd::{Crossed, Order, Ordered, TOLD};
use super::side::spawn;
use crate::clock::{shared_ns, thread_cpu, today};
use crate::machine::Machine;
use crate::number::{count, float, micros_each, ratio};
use crate::poll;
use crate::process::{CpuTimes, Server, need_descriptors};
use crate::report::Time;
use crate::stats::Spread;
use clap::Args;
use receivers::Receivers;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Options of `bench fanout`.
#[derive(Debug, Clone, Args)]
pub struct FanoutArgs {
    /// Receivers of each side. This process needs two descriptors for each: see `ulimit -Hn`.
    #[arg(long, default_value_t = 9_000)]
    receivers: usize,
    /// How often each side is measured; medians count.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Messages of one side in a round, each sent once all receivers have the one before.
    #[arg(long, default_value_t = 10)]
    messages: u32,
    /// Users in the room.
    #[arg(long, default_value_t = 1_000)]
    room: usize,
    /// Gates that the room's users are on.
    #[arg(long, default_value_t = 2)]
    gates: usize,
    /// Bytes of a message's body.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    size: usize,
    /// Exit with 1 if a target is missed, and not only if a message did not arrive.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Longest wait for the last receiver of a message.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the raw writer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A processor that works for a side but does not show in its time yet is given so long.
const SETTLE: Duration = Duration::from_millis(20);
/// Most that ours may take, as a multiple of the raw writer's.
const RATIO_MAX: f64 = 1.2;

/// One side in one round.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Run {
    /// From the order to the first and to the last receiver: medians of the messages.
    first_us: f64,
    last_us: f64,
    /// CPU time of the side's processes, and of the receivers, for one message to all.
    cpu_us: f64,
    receivers_cpu_us: f64,
    /// Receivers without a message that they were owed.
    lacking: u64,
}

/// One side.
#[derive(Debug, Clone, Serialize)]
struct Side {
    first_us: Spread,
    last_us: Spread,
    cpu_us: Spread,
    receivers_cpu_us: Spread,
    lacking: u64,
    runs: Vec<Run>,
}

impl Side {
    fn of(runs: Vec<Run>) -> Self {
        let spread =
            |figure: fn(&Run) -> f64| Spread::of(&runs.iter().map(figure).collect::<Vec<_>>());
        Self {
            first_us: spread(|run| run.first_us),
            last_us: spread(|run| run.last_us),
            cpu_us: spread(|run| run.cpu_us),
            receivers_cpu_us: spread(|run| run.receivers_cpu_us),
            lacking: runs.iter().map(|run| run.lacking).fold(0, u64::saturating_add),
            runs,
        }
    }
}

impl Display for Side {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let spread =
            |Spread { min, median, max }| format!("{} ({}-{})", Time(median), Time(min), Time(max));
        let Self { first_us, last_us, cpu_us, receivers_cpu_us, .. } = self;
        write!(
            f,
            "first {}, last {}, CPU {}; receivers' CPU {}",
            spread(*first_us),
            spread(*last_us),
            spread(*cpu_us),
            Time(receivers_cpu_us.median)
        )
    }
}

/// A room over several gates.
#[derive(Debug, Serialize)]
struct Room {
    users: usize,
    gates: usize,
    messages: u32,
    last_us: Spread,
    lacking: u64,
    /// What the node sent to its gates.
    crossed: Crossed,
    frames_per_message: f64,
    bytes_per_message: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    date: String,
    machine: Machine,
    receivers: usize,
    body_bytes: usize,
    rounds: u32,
    messages: u32,
    raw: Side,
    yumen: Side,
    /// Ours over the raw writer's, round by round: the medians are what is judged.
    last_ratio: Spread,
    cpu_ratio: Spread,
    room: Room,
    checks: Vec<Check>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { date, machine, receivers, body_bytes, rounds, messages, room, .. } = self;
        writeln!(
            f,
            "{body_bytes} bytes to {receivers} receivers: median (min-max) of {rounds} rounds of \
             {messages} messages, in turns\n{date}, {machine}\n"
        )?;
        writeln!(f, "raw    {}", self.raw)?;
        writeln!(f, "yumen  {}", self.yumen)?;
        let rounds = |Spread { min, median, max }| format!("{median:.2} ({min:.2}-{max:.2})");
        writeln!(f, "ratio  last {}, CPU {}\n", rounds(self.last_ratio), rounds(self.cpu_ratio))?;
        let Room { users, gates, messages, last_us, .. } = room;
        writeln!(
            f,
            "room of {users} users on {gates} gates, {messages} messages: last {} ({}-{}); {:.2} \
             frames and {:.0} bytes from node to gates for each",
            Time(last_us.median),
            Time(last_us.min),
            Time(last_us.max),
            room.frames_per_message,
            room.bytes_per_message
        )?;
        self.checks.iter().try_for_each(|check| writeln!(f, "  {check}"))?;
        f.write_str(
            "raw: one thread writes to each socket. yumen: a node, and a gate, as processes",
        )
    }
}

pub(super) fn run(args: &FanoutArgs) -> io::Result<ExitCode> {
    need_descriptors(args.receivers.saturating_mul(2).max(args.room))?;
    let (date, machine, rounds) = (today(), Machine::describe(), args.rounds.max(1));
    let (raw, yumen) = beside(args, rounds)?;
    let room = room(args)?;
    let last_ratio = ratios(&yumen, &raw, |run| run.last_us);
    let cpu_ratio = ratios(&yumen, &raw, |run| run.cpu_us);
    let lacking = [raw.lacking, yumen.lacking, room.lacking].iter().sum::<u64>();
    let checks = vec![
        Check::new("messages that did not arrive", float(lacking), 0.0, Unit::Count),
        Check::new("time to the last receiver", last_ratio.median, RATIO_MAX, Unit::Ratio),
        Check::new("CPU time", cpu_ratio.median, RATIO_MAX, Unit::Ratio),
        Check::new(
            "frames per gate for a message to a room",
            ratio(room.frames_per_message, float(count(args.gates))),
            1.0,
            Unit::Ratio,
        ),
    ];
    let (receivers, body_bytes, messages) = (args.receivers, args.size, args.messages);
    let report = Report {
        date,
        machine,
        receivers,
        body_bytes,
        rounds,
        messages,
        raw,
        yumen,
        last_ratio,
        cpu_ratio,
        room,
        checks,
    };
    args.keep.finish("fanout", &report)?;
    let failed = lacking > 0 || (args.check && !report.checks.iter().all(Check::met));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One side's figure over the other's, for each round.
fn ratios(ours: &Side, limit: &Side, figure: fn(&Run) -> f64) -> Spread {
    let rounds = ours.runs.iter().zip(&limit.runs);
    Spread::of(&rounds.map(|(ours, limit)| ratio(figure(ours), figure(limit))).collect::<Vec<_>>())
}

/// A message as receivers get it.
fn told(len: usize) -> io::Result<Vec<u8>> {
    let mut packet = Vec::new();
    layout().encode_data(TOLD, 0, &vec![0; len], &mut packet).map_err(io::Error::other)?;
    Ok(packet)
}

/// The raw writer and ours, in turns.
fn beside(args: &FanoutArgs, rounds: u32) -> io::Result<(Side, Side)> {
    let len = count(told(args.size)?.len());
    let mut writer = spawn(&["fanout-raw".to_owned(), format!("--size={}", args.size)])?;
    let mut fleet = Fleet::start(1)?;
    let mut of_raw = Receivers::connect(writer.address(), args.receivers)?;
    let mut of_ours = Receivers::connect(fleet.address()?, args.receivers)?;
    note(&format!("{} receivers of each side are connected", args.receivers));
    let (raw_pids, our_pids) = (vec![writer.pid()], fleet.pids());
    let (mut raw, mut yumen) = (Vec::new(), Vec::new());
    // The first round of each warms up and does not count.
    for round in 0..=rounds {
        let limit = one(&mut of_raw, (&raw_pids, len, args.messages), || order_raw(&mut writer))?;
        of_ours.beat()?;
        let ours = one(&mut of_ours, (&our_pids, len, args.messages), || {
            fleet.order(Order::Broadcast(args.size))
        })?;
        if round > 0 {
            note(&format!(
                "fanout round {round}/{rounds}: last raw {}, yumen {}; CPU raw {}, yumen {}",
                Time(limit.last_us),
                Time(ours.last_us),
                Time(limit.cpu_us),
                Time(ours.cpu_us)
            ));
            raw.push(limit);
            yumen.push(ours);
        }
    }
    drop((of_raw, of_ours));
    fleet.stop()?;
    writer.stop()?;
    Ok((Side::of(raw), Side::of(yumen)))
}

fn order_raw(writer: &mut Server) -> io::Result<Ordered> {
    Ok(serde_json::from_str(&writer.ask("write", ANSWER_MAX)?)?)
}

/// So many messages, each to all, one after the other.
fn one(
    all: &mut Receivers,
    (pids, len, messages): (&[u32], u64, u32),
    mut order: impl FnMut() -> io::Result<Ordered> + Send,
) -> io::Result<Run> {
    let (mut first, mut last, mut lacking) = (Vec::new(), Vec::new(), 0_u64);
    let mut receivers_cpu = Duration::ZERO;
    let before = CpuTimes::of(pids)?;
    for _ in 0..messages.max(1) {
        let (ordered, arrival, cpu) = thread::scope(|scope| {
            let ordered = scope.spawn(&mut order);
            let cpu = thread_cpu();
            let arrival = all.receive(len, ARRIVAL_MAX)?;
            let cpu = thread_cpu().saturating_sub(cpu);
            let ordered = ordered.join().map_err(|_| io::Error::other("an order panicked"))?;
            Ok::<_, io::Error>((ordered?, arrival, cpu))
        })?;
        first.push(float(arrival.first_ns.saturating_sub(ordered.at_ns)) / 1e3);
        last.push(float(arrival.last_ns.saturating_sub(ordered.at_ns)) / 1e3);
        lacking = lacking.saturating_add(arrival.lacking);
        receivers_cpu = receivers_cpu.saturating_add(cpu);
    }
    poll::pass(SETTLE)?;
    let messages = count(first.len());
    Ok(Run {
        first_us: Spread::of(&first).median,
        last_us: Spread::of(&last).median,
        cpu_us: micros_each(CpuTimes::of(pids)?.since(&before), messages),
        receivers_cpu_us: micros_each(receivers_cpu, messages),
        lacking,
    })
}

/// A room whose users are spread over several gates.
fn room(args: &FanoutArgs) -> io::Result<Room> {
    let (users, gates) = (args.room, args.gates.max(1));
    let len = count(told(args.size)?.len());
    let mut fleet = Fleet::start(gates)?;
    let mut all = Receivers::enter(&fleet.addresses(), users)?;
    let pids = fleet.pids();
    // Links open at the first message.
    let order = Order::Publish(args.size);
    one(&mut all, (&pids, len, 1), || fleet.order(order))?;
    let messages = args.messages.saturating_mul(args.rounds).max(1);
    let (before, start) = (fleet.crossed()?, shared_ns());
    let mut runs = Vec::new();
    for _ in 0..messages {
        runs.push(one(&mut all, (&pids, len, 1), || fleet.order(order))?);
    }
    let crossed = fleet.crossed()?.since(before);
    let passed = Duration::from_nanos(shared_ns().saturating_sub(start));
    note(&format!("room: {messages} messages in {:.1} s", passed.as_secs_f64()));
    drop(all);
    fleet.stop()?;
    Ok(Room {
        users,
        gates,
        messages,
        last_us: Spread::of(&runs.iter().map(|run| run.last_us).collect::<Vec<_>>()),
        lacking: runs.iter().map(|run| run.lacking).fold(0, u64::saturating_add),
        crossed,
        frames_per_message: ratio(float(crossed.frames), f64::from(messages)),
        bytes_per_message: ratio(float(crossed.bytes), f64::from(messages)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round_and_their_median_counts() {
        let side = |last: &[f64]| {
            Side::of(last.iter().map(|us| Run { last_us: *us, ..Run::default() }).collect())
        };
        let found =
            ratios(&side(&[12.0, 30.0, 11.0]), &side(&[10.0, 20.0, 10.0]), |run| run.last_us);
        assert_eq!((found.min, found.median, found.max), (1.1, 1.2, 1.5));
    }

    #[test]
    fn what_receivers_lack_is_summed_over_the_rounds() {
        let run = |lacking| Run { lacking, ..Run::default() };
        assert_eq!(Side::of(vec![run(2), run(0), run(3)]).lacking, 5);
    }
}
