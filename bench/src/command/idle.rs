//! `yumen bench idle`: the memory that a connection costs which has spoken once and is silent now.
//!
//! Clients and server are two processes, so each needs only one descriptor per connection. What is
//! counted is the server's anonymous memory: its own, without files and without the kernel's.
//! With `--sessions` there are as many gates and processes of clients as that takes.
pub(super) mod fleet;

use super::serve::Transport;
use super::side::Side;
use super::{LayoutArgs, result};
use crate::generator::{BodyCodec, Expect, Generator, Load, Request};
use crate::machine::Machine;
use crate::number::{count, float, ratio};
use crate::process::anonymous_memory;
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Options of `bench idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Connections. Each side needs as many descriptors: see `ulimit -n`.
    #[arg(long, default_value_t = 8_000)]
    connections: usize,
    /// Sessions over several gates, with a node, each a process: for more of them than one process has
    /// descriptors.
    #[arg(long, conflicts_with_all = ["connections", "server"])]
    sessions: Option<usize>,
    /// Most sessions of one gate, and of one process of clients.
    #[arg(long, default_value_t = 19_000, requires = "sessions")]
    per_gate: usize,
    /// Which server is measured.
    #[arg(long, value_enum, default_value_t = Side::Yumen)]
    server: Side,
    /// How long all are silent, but for heartbeats, before the memory is read, so that what is
    /// freed late is freed.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct IdleReport {
    server: Side,
    connections: usize,
    /// Anonymous memory of the server's processes before the connections and with them.
    before_bytes: u64,
    idle_bytes: u64,
    bytes_per_connection: f64,
    machine: Machine,
}

impl Display for IdleReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { server, connections, before_bytes, idle_bytes, bytes_per_connection, machine } =
            self;
        let kib = |bytes: &u64| bytes / 1024;
        writeln!(
            f,
            "{server:?}: {connections} idle connections that have spoken once: \
             {bytes_per_connection:.0} bytes each"
        )?;
        writeln!(
            f,
            "  anonymous memory {} KiB before, {} KiB with them (huge pages off)",
            kib(before_bytes),
            kib(idle_bytes)
        )?;
        write!(f, "on {machine}")
    }
}

pub(super) fn run(args: &IdleArgs) -> io::Result<ExitCode> {
    if let Some(sessions) = args.sessions {
        return fleet::run((sessions, args.per_gate), args.seconds, args.json);
    }
    let machine = Machine::describe();
    let layout = LayoutArgs::wide();
    let server = args.server.start(&layout, BodyCodec::Json, Transport::Tcp)?;
    let request = request();
    let memory =
        |pids: &[u32]| -> io::Result<u64> { pids.iter().map(|pid| anonymous_memory(*pid)).sum() };
    // One connection comes first, so that what is allocated once is not counted as a connection's.
    let first = speak(&server.target(), 1, &request)?;
    let before_bytes = memory(&server.pids())?;
    let mut all = speak(&server.target(), args.connections, &request)?;
    let silence = all.listen(Duration::from_secs(args.seconds), &mut |_| ())?;
    if silence.closed > 0 {
        let text = format!("the server closed {} idle connections", silence.closed);
        return Err(io::Error::other(text));
    }
    let idle_bytes = memory(&server.pids())?;
    drop((first, all));
    server.stop()?;
    let growth = float(idle_bytes.saturating_sub(before_bytes));
    let report = IdleReport {
        server: args.server,
        connections: args.connections,
        before_bytes,
        idle_bytes,
        bytes_per_connection: ratio(growth, float(count(args.connections))),
        machine,
    };
    result(args.json, &report, &report.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// What each connection says once.
fn request() -> Request {
    let (layout, body) = (LayoutArgs::wide(), BodyCodec::Json.echo(64));
    Request {
        layout: layout.layout(body.len()),
        route: layout.route(),
        body,
        expect: Expect::Echo,
        announce: false,
    }
}

/// Opens connections that each send one request and get its reply.
fn speak(
    target: &crate::generator::Target,
    connections: usize,
    request: &Request,
) -> io::Result<Generator> {
    let mut generator = Generator::connect(target, connections, request.clone())?;
    let load = Load::Closed { depth: 1, messages: count(connections) };
    let measured = generator.run(load, &mut |_| ())?;
    if measured.errors() > 0 || measured.closed > 0 {
        let text = format!("{} of {connections} requests failed", measured.errors());
        return Err(io::Error::other(text));
    }
    Ok(generator)
}
