//! `yumen bench kick`: how long it takes to throw out a client while the server is under load.
//!
//! The node, in a process of its own, is told to close one client's connection; the time runs from its
//! call until the client's socket has seen the end. First with nothing else to do, then while other
//! clients keep both processes busy: what is wanted is a lane for control that no load can fill.
use super::crowd::{Fleet, enter};
use super::keep::KeepArgs;
use super::neighbours::{Check, Unit};
use super::serve::crowd::Order;
use super::{LayoutArgs, note};
use crate::clock::{shared_ns, today};
use crate::generator::{BodyCodec, Expect, Generator, Load, Measured, Request, Target};
use crate::machine::Machine;
use crate::number::{count, float, micros_each, nanos, ratio};
use crate::poll;
use crate::process::need_descriptors;
use crate::stats::{Latencies, Percentiles};
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Options of `bench kick`.
#[derive(Debug, Clone, Args)]
pub struct KickArgs {
    /// Connections that load the server.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Requests that each of them keeps unanswered.
    #[arg(long, default_value_t = 8)]
    depth: u32,
    /// Clients that are thrown out under load, one after the other; a fifth as many without.
    #[arg(long, default_value_t = 300)]
    kicks: u32,
    /// Letters in the message of each request.
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// Exit with 1 if the target is missed, and not only if something went wrong.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Longest wait for the end of a connection.
const END_MAX: Duration = Duration::from_secs(10);
/// How long a client that was refused waits before it comes again.
const AGAIN: Duration = Duration::from_millis(20);
/// One stretch of load; there are as many as the kicks need.
const STRETCH: Duration = Duration::from_secs(5);
/// Most that 99 of 100 may take, in microseconds.
const P99_MAX_US: f64 = 20e3;

/// Kicks, and how long they took.
#[derive(Debug, Serialize)]
struct Kicks {
    kicks: u64,
    latency: Percentiles,
}

impl Display for Kicks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} kicks, {}", self.kicks, self.latency)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    date: String,
    machine: Machine,
    connections: usize,
    depth: u32,
    calm: Kicks,
    loaded: Kicks,
    /// Of the load: replies per second, requests that went wrong, CPU time of the generator for each.
    rate: f64,
    errors: u64,
    generator_cpu_us: f64,
    /// Of the load's replies.
    echo: Percentiles,
    checks: Vec<Check>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { date, machine, connections, depth, calm, loaded, .. } = self;
        writeln!(
            f,
            "from the call at the node until the client sees the end; {date}, {machine}\n"
        )?;
        writeln!(f, "calm    {calm}")?;
        writeln!(f, "loaded  {loaded}")?;
        writeln!(
            f,
            "load    {connections} x {depth}: {:.0}/s, echo {}; generator {:.2} us of CPU for each",
            self.rate, self.echo, self.generator_cpu_us
        )?;
        self.checks.iter().try_for_each(|check| writeln!(f, "  {check}"))?;
        f.write_str("gate, node, and all clients together: a process each, on the same machine")
    }
}

pub(super) fn run(args: &KickArgs) -> io::Result<ExitCode> {
    need_descriptors(args.connections)?;
    let (date, machine) = (today(), Machine::describe());
    let mut fleet = Fleet::start(1)?;
    let calm = kicks(&mut fleet, (args.kicks / 5).max(1))?;
    note(&format!("calm: {calm}"));
    let mut load =
        Generator::connect(&Target::tcp(fleet.address()?), args.connections, echo(args))?;
    load.run(Load::Closed { depth: 1, messages: count(args.connections) }, &mut |_| ())?;
    let over = AtomicBool::new(false);
    let (loaded, stretches) = thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let mut stretches = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let stretch = Load::Timed { depth: args.depth, duration: STRETCH };
                stretches.push(load.run(stretch, &mut |_| ())?);
            }
            Ok::<_, io::Error>(stretches)
        });
        let loaded = kicks(&mut fleet, args.kicks.max(1));
        over.store(true, Ordering::Relaxed);
        let stretches = loading.join().map_err(|_| io::Error::other("the load panicked"))??;
        Ok::<_, io::Error>((loaded?, stretches))
    })?;
    drop(load);
    fleet.stop()?;
    let report = judge(args, (date, machine), (calm, loaded), &stretches);
    args.keep.finish("kick", &report)?;
    let failed = report.errors > 0 || (args.check && !report.checks.iter().all(Check::met));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn judge(
    args: &KickArgs,
    (date, machine): (String, Machine),
    (calm, loaded): (Kicks, Kicks),
    stretches: &[Measured],
) -> Report {
    let sum =
        |figure: fn(&Measured) -> u64| stretches.iter().map(figure).fold(0, u64::saturating_add);
    let time = |figure: fn(&Measured) -> Duration| stretches.iter().map(figure).sum::<Duration>();
    let received = sum(|run| run.received);
    let errors = sum(|run| run.errors().saturating_add(run.closed));
    let p99 = Check::new("p99 of a kick under load", loaded.latency.p99_us, P99_MAX_US, Unit::Us);
    Report {
        date,
        machine,
        connections: args.connections,
        depth: args.depth,
        calm,
        loaded,
        rate: ratio(float(received), time(|run| run.elapsed).as_secs_f64()),
        errors,
        generator_cpu_us: micros_each(time(|run| run.cpu), received),
        echo: stretches.first().map(|run| run.latencies.summary()).unwrap_or_default(),
        checks: vec![Check::new("requests that failed", float(errors), 0.0, Unit::Count), p99],
    }
}

fn echo(args: &KickArgs) -> Request {
    let (layout, body) = (LayoutArgs::wide(), BodyCodec::Json.echo(args.size));
    Request {
        layout: layout.layout(body.len()),
        route: layout.route(),
        body,
        expect: Expect::Echo,
        announce: true,
    }
}

/// Lets so many clients in and throws each out.
fn kicks(fleet: &mut Fleet, kicks: u32) -> io::Result<Kicks> {
    let (address, mut all) = (fleet.address()?, Latencies::default());
    for _ in 0..kicks {
        all.record(kick(fleet, address)?);
    }
    Ok(Kicks { kicks: all.count(), latency: all.summary() })
}

/// One client, in and out: nanoseconds from the call to the end.
fn kick(fleet: &mut Fleet, address: SocketAddr) -> io::Result<u64> {
    let (socket, number) = let_in(address)?;
    socket.set_read_timeout(Some(END_MAX))?;
    thread::scope(|scope| {
        // It waits in its read before the order is given, as a client would.
        let ended = scope.spawn(move || end(&socket));
        let ordered = fleet.order(Order::Kick(number))?;
        let ended = ended.join().map_err(|_| io::Error::other("a client panicked"))??;
        let early = || io::Error::other("a client was closed before it was thrown out");
        ended.checked_sub(ordered.at_ns).ok_or_else(early)
    })
}

/// A client that has entered. One that is refused, because the server is busy, comes again: how long that
/// takes is not measured here.
fn let_in(address: SocketAddr) -> io::Result<(TcpStream, usize)> {
    let until = shared_ns().saturating_add(nanos(END_MAX));
    loop {
        let socket = TcpStream::connect_timeout(&address, END_MAX)?;
        socket.set_nodelay(true)?;
        match enter(&socket) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && shared_ns() < until => {
                poll::pass(AGAIN)?;
            }
            entered => return Ok((socket, entered?)),
        }
    }
}

/// When the connection ended.
fn end(mut socket: &TcpStream) -> io::Result<u64> {
    let mut part = [0_u8; 512];
    loop {
        match socket.read(&mut part) {
            Ok(0) => return Ok(shared_ns()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(shared_ns()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn the_end_is_seen_behind_what_was_sent_before_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"last words").unwrap();
        let before = shared_ns();
        drop(server);
        assert!(end(&client).unwrap() >= before);
    }
}
