//! `yumen bench echo`: one run, or the rows of due's published table.
use super::job::Job;
use super::serve::Transport;
use super::side::Side;
use super::{LayoutArgs, note, result, target};
use crate::generator::{BodyCodec, Expect, Load, Request, Target};
use crate::machine::Machine;
use crate::report::{EchoReport, LoadReport, Shape, Time};
use crate::slo::Slo;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  yumen bench echo                            a server of our own, the usual load
  yumen bench echo --processes                gate and node in a process each
  yumen bench echo --preset due               the loads of due's own benchmark
  yumen bench echo --connect 127.0.0.1:3553   a gate that runs already";

/// Options of `bench echo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct EchoArgs {
    /// A gate that speaks due's packets: HOST:PORT, tcp://HOST:PORT or ws://HOST:PORT/PATH.
    ///
    /// Its route has to answer each request with the same body.
    #[arg(long, value_parser = target, value_name = "TARGET")]
    connect: Option<Target>,
    /// Which server is started where --connect is not given.
    #[arg(long, value_enum, default_value_t = Side::Yumen, conflicts_with = "connect")]
    server: Side,
    /// Start gate and node as a process each, and report what each of them used.
    ///
    /// System calls are counted in a second, shorter run, where `perf` is installed and allowed.
    #[arg(long, conflicts_with_all = ["connect", "server"])]
    processes: bool,
    /// What the server that is started listens for.
    #[arg(long, value_enum, default_value_t = Transport::Tcp, conflicts_with = "connect")]
    transport: Transport,
    /// Process whose CPU time is the server's, with --connect. May be repeated.
    #[arg(long, value_name = "PID", requires = "connect")]
    server_pid: Vec<u32>,
    /// Letters in the message of each request; the codec adds a few bytes.
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// Codec of the body.
    #[arg(long, value_enum, default_value_t = BodyCodec::Json)]
    codec: BodyCodec,
    /// Do not announce the client: behave like a client of due in every byte.
    #[arg(long)]
    plain: bool,
    /// Run a known table of loads instead of one.
    #[arg(long, value_enum, conflicts_with_all = ["connections", "messages", "rate", "size"])]
    preset: Option<Preset>,
    /// Exit with 1 if a bound is exceeded, for example p99=50ms,errors=0.1%.
    #[arg(long, value_name = "BOUNDS")]
    slo: Option<Slo>,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
    // Groups with a heading of their own come last: what follows one would stand under it.
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    layout: LayoutArgs,
}

/// How requests are paced.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Connections.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Closed loop: requests outstanding per connection. Default: 64, or what the preset says.
    #[arg(long)]
    depth: Option<u32>,
    /// Closed loop: requests in total.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Open loop: requests per second in all, timed from when each was meant to be sent.
    #[arg(long, conflicts_with_all = ["depth", "messages"])]
    rate: Option<NonZeroU32>,
    /// Open loop: for how long requests are sent.
    #[arg(long, default_value_t = 10, requires = "rate")]
    seconds: u64,
}

/// A known table of loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// The eight rows of due's README: a million messages each, routes and numbers of four bytes.
    Due,
}

/// A row of the table in due's README: connections, letters, and the rate published for v2.3.2,
/// measured on an i5-13400F with 16 GB.
const DUE_ROWS: [(usize, usize, u32); 8] = [
    (50, 1024, 245_490),
    (100, 1024, 229_559),
    (200, 1024, 213_961),
    (300, 1024, 226_005),
    (400, 1024, 230_223),
    (500, 1024, 225_138),
    (1000, 1024, 204_830),
    (1000, 2048, 159_147),
];

/// Requests outstanding in all when due's rows are run. Its own client sends without waiting for
/// replies; with a bound, latencies mean something and no queue fills for its own sake.
const DUE_OUTSTANDING: usize = 8_192;

impl EchoArgs {
    /// Which server is started.
    fn side(&self) -> Side {
        if self.processes { Side::Apart } else { self.server }
    }
}

impl LoadArgs {
    fn load(&self) -> Load {
        match self.rate {
            Some(rate) => Load::Open { rate, duration: Duration::from_secs(self.seconds) },
            None => Load::Closed { depth: self.depth.unwrap_or(64), messages: self.messages },
        }
    }
}

/// Requests outstanding per connection for a row of due's.
fn due_depth(connections: usize) -> u32 {
    let share = DUE_OUTSTANDING.checked_div(connections).unwrap_or(1);
    u32::try_from(share.clamp(8, 64)).unwrap_or(8)
}

pub(super) fn run(mut args: EchoArgs) -> io::Result<ExitCode> {
    if args.preset.is_some() {
        args.layout = LayoutArgs { route: args.layout.route, ..LayoutArgs::wide() };
    }
    let server = match &args.connect {
        Some(_) => None,
        None => Some(args.side().start(&args.layout, args.codec, args.transport)?),
    };
    let (target, pids) = match (&server, &args.connect) {
        (Some(server), _) => (server.target(), server.pids()),
        (None, Some(target)) => (target.clone(), args.server_pid.clone()),
        (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut report = EchoReport { machine: Machine::describe(), runs: Vec::new() };
    match args.preset {
        None => {
            let (connections, load) = (args.load.connections, args.load.load());
            report.runs.push(one(&args, &target, &pids, (connections, args.size, load))?);
        }
        Some(Preset::Due) => {
            for (connections, size, _) in DUE_ROWS {
                note(&format!("{connections} connections, {size} bytes"));
                let depth = args.load.depth.unwrap_or_else(|| due_depth(connections));
                let load = Load::Closed { depth, messages: args.load.messages };
                report.runs.push(one(&args, &target, &pids, (connections, size, load))?);
            }
        }
    }
    if let Some(server) = server {
        server.stop()?;
    }
    let mut text = match args.preset {
        None => report.runs.iter().map(|run| format!("{run}\n")).collect(),
        Some(Preset::Due) => due_table(&report.runs),
    };
    // Writing to a String cannot fail.
    write!(text, "on {}", report.machine).unwrap_or_default();
    result(args.json, &report, &text)?;
    Ok(judge(args.slo.as_ref(), &report.runs))
}

/// Runs one load: connections, letters, pace.
fn one(
    args: &EchoArgs,
    target: &Target,
    pids: &[u32],
    (connections, size, load): (usize, usize, Load),
) -> io::Result<LoadReport> {
    let body = args.codec.echo(size);
    let shape = Shape::of(load, connections, body.len(), Some(args.codec));
    let request = Request {
        layout: args.layout.layout(body.len()),
        route: args.layout.route(),
        body,
        expect: Expect::Echo,
        announce: !args.plain,
    };
    let job = Job {
        target: target.clone(),
        request,
        connections,
        load,
        pids: pids.to_vec(),
        progress: true,
    };
    let names = if args.processes { args.side().processes() } else { &[] };
    let mut report = job.report(&job.measure()?, shape, names);
    if args.processes {
        job.count_system_calls(&mut report);
    }
    Ok(report)
}

/// Says which bounds were exceeded.
fn judge(slo: Option<&Slo>, runs: &[LoadReport]) -> ExitCode {
    let missed: Vec<_> =
        slo.into_iter().flat_map(|slo| runs.iter().flat_map(|run| slo.missed(run))).collect();
    for bound in &missed {
        note(&format!("objective missed: {bound}"));
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn due_table(runs: &[LoadReport]) -> String {
    let mut text = format!(
        "{:>6}{:>7}{:>7}{:>11}{:>11}{:>10}{:>10}{:>8}{:>12}{:>10}\n",
        "conns",
        "bytes",
        "depth",
        "here/s",
        "due's/s",
        "p50",
        "p99",
        "errors",
        "server us",
        "gen us"
    );
    for (run, (connections, size, published)) in runs.iter().zip(DUE_ROWS) {
        let depth = run.shape.depth.unwrap_or_default();
        let server = run.server_cpu_us.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{connections:>6}{size:>7}{depth:>7}{:>11.0}{published:>11}{:>10}{:>10}{:>8}{server:>12}{:>10.2}",
            run.rate,
            Time(run.latency.p50_us),
            Time(run.latency.p99_us),
            run.errors(),
            run.generator_cpu_us
        )
        .unwrap_or_default();
    }
    text.push_str(
        "due's: as published for v2.3.2 on an i5-13400F; another machine, so no comparison.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_due_keep_a_bounded_number_of_requests_outstanding() {
        for (connections, _, _) in DUE_ROWS {
            let outstanding = connections * due_depth(connections) as usize;
            assert!((3_200..=8_192).contains(&outstanding), "{connections}: {outstanding}");
        }
    }
}
