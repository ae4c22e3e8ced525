//! `yumen bench bots`: the memory of a client that has called once and waits for nothing now.
//!
//! The bots are in this process and the server in another, so each needs one descriptor per bot.
//! What is counted is this process's anonymous memory. The allocator reads its settings before
//! `main`, so the program runs itself again with huge pages off.
use super::serve::Transport;
use super::side::Side;
use super::{LayoutArgs, note, result};
use crate::clock::Clock;
use crate::generator::BodyCodec;
use crate::machine::Machine;
use crate::number::{count, float, ratio};
use crate::process::{CpuTime, anonymous_memory, need_descriptors};
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::fs::{read_dir, read_to_string};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;
use tokio::runtime::Handle;
use yumen::client::{Client, Clients};

/// Letters in the message of each bot's one call.
const LETTERS: usize = 64;
/// Says that huge pages are off. Known to mimalloc, ignored by others.
const HUGE_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_THP", "0");

/// Options of `bench bots`.
#[derive(Debug, Clone, Args)]
pub struct BotsArgs {
    /// Bots. This process and the server's need a descriptor for each: see `ulimit -Hn`.
    #[arg(long, default_value_t = 15_000)]
    count: usize,
    /// How long all are idle, but for heartbeats, before the memory is read.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
}

/// What a process has besides memory.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Crew {
    threads: usize,
    /// Tasks of the runtime that the bots run on.
    tasks: usize,
}

#[derive(Debug, Serialize)]
struct BotsReport {
    bots: usize,
    /// Anonymous memory of this process with one bot, and with all of them.
    before_bytes: u64,
    idle_bytes: u64,
    bytes_per_bot: f64,
    /// With one bot, and with all of them.
    before: Crew,
    idle: Crew,
    /// How often this process was woken per second while all bots were idle: a timer per bot
    /// would show here.
    wakes_per_second: f64,
    /// CPU time of this process per second while all bots were idle, in microseconds.
    idle_cpu_us: f64,
    /// Anonymous memory that the server took for each.
    server_bytes_per_bot: f64,
    machine: Machine,
}

impl Display for BotsReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { bots, before_bytes, idle_bytes, bytes_per_bot, before, idle, .. } = self;
        writeln!(f, "{bots} idle bots that have called once: {bytes_per_bot:.0} bytes each")?;
        writeln!(
            f,
            "  anonymous memory {} KiB with one, {} KiB with all (huge pages off)",
            before_bytes / 1024,
            idle_bytes / 1024
        )?;
        writeln!(
            f,
            "  threads {} with one, {} with all; tasks {} and {}; none per bot",
            before.threads, idle.threads, before.tasks, idle.tasks
        )?;
        writeln!(
            f,
            "  idle: woken {:.1} times a second, {:.0} us of CPU time a second: no timer per bot",
            self.wakes_per_second, self.idle_cpu_us
        )?;
        writeln!(f, "  the server's side: {:.0} bytes each", self.server_bytes_per_bot)?;
        write!(f, "on {}", self.machine)
    }
}

pub(super) fn run(args: &BotsArgs) -> io::Result<ExitCode> {
    let (name, value) = HUGE_PAGES;
    if std::env::var(name).as_deref() != Ok(value) {
        let arguments = std::env::args_os().skip(1);
        // Only returns if it could not be started.
        return Err(Command::new(std::env::current_exe()?).args(arguments).env(name, value).exec());
    }
    need_descriptors(args.count)?;
    let machine = Machine::describe();
    let layout = LayoutArgs::wide();
    let server = Side::Yumen.start(&layout, BodyCodec::Json, Transport::Tcp)?;
    let pid = server.pids().first().copied().unwrap_or_default();
    let builder = Clients::builder().layout(layout.layout(LETTERS));
    let report = builder
        .run(async |clients| measure(args, &clients, &server.target().to_string(), pid).await)
        .map_err(io::Error::other)??;
    server.stop()?;
    let report = BotsReport { machine, ..report };
    result(args.json, &report, &report.to_string())?;
    let flat =
        report.before.threads == report.idle.threads && report.before.tasks == report.idle.tasks;
    if !flat {
        note("threads or tasks grew with the bots");
    }
    Ok(if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(
    args: &BotsArgs,
    clients: &Clients,
    address: &str,
    server: u32,
) -> io::Result<BotsReport> {
    let me = std::process::id();
    // One bot comes first, so that what is allocated once is not counted as a bot's.
    let first = speak(clients, address).await?;
    let (before, before_bytes, server_before) =
        (Crew::now()?, anonymous_memory(me)?, anonymous_memory(server)?);
    let mut bots = Vec::new();
    for _ in 0..args.count {
        bots.push(speak(clients, address).await?);
    }
    let (clock, wakes, cpu) = (Clock::start(), wakes()?, CpuTime::of(me)?);
    let idle = Duration::from_secs(args.seconds.max(1));
    tokio::time::sleep(idle).await;
    let idle_cpu = CpuTime::of(me)?.since(&cpu);
    let seconds = Duration::from_nanos(clock.ns()).as_secs_f64();
    let wakes_per_second = ratio(float(self::wakes()?.saturating_sub(wakes)), seconds);
    let (idle, idle_bytes, server_bytes) =
        (Crew::now()?, anonymous_memory(me)?, anonymous_memory(server)?);
    let lost = bots.iter().chain([&first]).filter(|bot| !bot.is_open()).count();
    if lost > 0 {
        return Err(io::Error::other(format!("{lost} bots lost their connection while idle")));
    }
    let each = |before: u64, after: u64| {
        ratio(float(after.saturating_sub(before)), float(count(args.count)))
    };
    Ok(BotsReport {
        bots: args.count,
        before_bytes,
        idle_bytes,
        bytes_per_bot: each(before_bytes, idle_bytes),
        before,
        idle,
        wakes_per_second,
        idle_cpu_us: ratio(idle_cpu.as_secs_f64() * 1e6, seconds),
        server_bytes_per_bot: each(server_before, server_bytes),
        machine: Machine::default(),
    })
}

/// Opens one bot, and has it call once.
async fn speak(clients: &Clients, address: &str) -> io::Result<Client> {
    let bot = clients.connect(address).await.map_err(io::Error::other)?;
    let body = BodyCodec::Json.echo(LETTERS);
    let reply = bot.call_raw(LayoutArgs::wide().route(), &body).await.map_err(io::Error::other)?;
    if reply == body { Ok(bot) } else { Err(io::Error::other("a reply was not the request")) }
}

impl Crew {
    fn now() -> io::Result<Self> {
        let threads = read_dir("/proc/self/task")?.count();
        Ok(Self { threads, tasks: Handle::current().metrics().num_alive_tasks() })
    }
}

/// How often this thread has waited so far: each time something had to wake it.
fn wakes() -> io::Result<u64> {
    let status = read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}
