//! `yumen bench call`: one request of the user's, many times.
use super::job::Job;
use super::{LayoutArgs, note, result, target};
use crate::generator::{Expect, Load, Request, Target};
use crate::report::Shape;
use clap::Args;
use std::io;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  yumen bench call --connect 127.0.0.1:3553 --route 1 --data '{\"name\":\"Ada\"}'
  yumen bench call --connect ws://127.0.0.1:3653/ -n 100000 -c 200 --depth 8";

/// Options of `bench call`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CallArgs {
    /// A gate that speaks due's packets: HOST:PORT, tcp://HOST:PORT or ws://HOST:PORT/PATH.
    #[arg(long, value_parser = target, value_name = "TARGET")]
    connect: Target,
    /// Body of each request, sent as it is given: JSON for a route that reads JSON.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    data: String,
    /// Requests in total.
    #[arg(short = 'n', long, default_value_t = 10_000)]
    messages: u64,
    /// Connections.
    #[arg(short = 'c', long, default_value_t = 50)]
    connections: usize,
    /// Requests outstanding per connection.
    #[arg(long, default_value_t = 1)]
    depth: u32,
    /// Process whose CPU time is the server's. May be repeated.
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Do not announce the client: behave like a client of due in every byte.
    #[arg(long)]
    plain: bool,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    layout: LayoutArgs,
}

pub(super) fn run(args: CallArgs) -> io::Result<ExitCode> {
    let load = Load::Closed { depth: args.depth, messages: args.messages };
    let shape = Shape::of(load, args.connections, args.data.len(), None);
    let job = Job {
        target: args.connect,
        request: Request {
            layout: args.layout.layout(args.data.len()),
            route: args.layout.route(),
            body: args.data.into_bytes(),
            expect: Expect::Any,
            announce: !args.plain,
        },
        connections: args.connections,
        load,
        pids: args.server_pid,
        progress: true,
    };
    let run = job.measure()?;
    if let Some(reply) = &run.measured.first_reply {
        note(&format!("first reply: {}", String::from_utf8_lossy(reply)));
    }
    let report = job.report(&run, shape, &[]);
    result(args.json, &report, &report.to_string())?;
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
