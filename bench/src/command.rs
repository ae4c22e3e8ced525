//! `yumen bench`: what a person types, and what becomes of it.
//!
//! Results go to standard output, everything else to standard error. With `--json` the last line
//! of standard output is one JSON object. Exit code 0 is success, 1 a missed objective, 2 a failure.
mod bots;
mod call;
mod chaos;
mod codec;
mod compare;
mod crowd;
mod echo;
mod fanout;
mod hostile;
mod idle;
mod job;
mod keep;
mod kick;
mod neighbours;
mod serve;
mod side;
mod storm;

pub use codec::{Allocated, CountMemory};

use crate::generator::Target;
use crate::relay;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;
use yumen::proto::{ByteOrder, Layout, RouteId, Width};

/// What `yumen bench` can do.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Load a gate with echo requests, and check and time every reply.
    ///
    /// Without --connect a server of our own is started for the run and stopped behind it.
    Echo(echo::EchoArgs),
    /// Load any route of a gate with one request.
    Call(call::CallArgs),
    /// Compare a gate and a node of ours with a raw relay, which is the limit.
    ///
    /// Relay and server take turns, each in a fresh process, so that a machine that gets slower or
    /// faster meanwhile does so for both.
    Compare(compare::CompareArgs),
    /// Measure what it costs to write and to read one message, by codec.
    Codec(codec::CodecArgs),
    /// The work of one case of `codec`, for callgrind to count.
    #[command(hide = true)]
    CodecWork(codec::WorkArgs),
    /// Measure the memory that an idle connection costs the server.
    Idle(idle::IdleArgs),
    /// Send a message to thousands of receivers, beside one thread that writes it to as many sockets.
    ///
    /// Gate and node are processes; both sides take turns. Then a message to a room whose users are on
    /// two gates, and how many frames crossed the links for it.
    Fanout(fanout::FanoutArgs),
    /// Time how long a client stays that the node throws out while the server is under load.
    Kick(kick::KickArgs),
    /// Let 10,000 clients come at once, and see whether all are served and how fast.
    Storm(storm::StormArgs),
    /// Measure what a bad neighbour costs the other clients of a gate.
    ///
    /// Clients that stop reading, one that sends without a pause, broadcasts to thousands: each is
    /// measured with and without, in turns. Exits with 1 if a target is missed.
    Neighbours(neighbours::NeighboursArgs),
    /// Measure the memory that an idle bot costs the process it runs in.
    ///
    /// Bots are clients of `yumen::client` in this process, connected to a server in another.
    Bots(bots::BotsArgs),
    /// Attack a gate with 10,000 bad clients and see whether anybody else notices.
    ///
    /// Random bytes, half packets, endless headers, a byte a second, broken WebSocket requests and
    /// frames, clients that never read, and storms of resets; beside them a few clients that log in
    /// and call. Exits with 1 if one of those fails, if the server's memory grows too much, or if a
    /// connection that ended is not counted under a reason.
    Hostile(hostile::HostileArgs),
    /// Kill and stop the processes of a fleet in turn, while clients write down what they see.
    ///
    /// etcd, Redis, two gates and three nodes as processes of their own. The program chaos-check reads
    /// what was written, and judges.
    Chaos(chaos::ChaosArgs),
    /// Gates and nodes of the fleet of `chaos`. Ends with its standard input.
    #[command(hide = true)]
    ChaosServe(crate::chaos::serve::ServeArgs),
    /// The clients of `chaos`. Ends with its standard input.
    #[command(hide = true)]
    ChaosClients(crate::chaos::clients::ClientsArgs),
    /// A gate of `fanout`, `idle`, `kick` and `storm`. Ends with its standard input.
    #[command(hide = true)]
    CrowdGate(serve::crowd::MemberArgs),
    /// The node of `fanout`, `idle`, `kick` and `storm`. Ends with its standard input.
    #[command(hide = true)]
    CrowdNode(serve::crowd::MemberArgs),
    /// The clients of one gate of `idle --sessions`. Ends with its standard input.
    #[command(hide = true)]
    IdleClients(idle::fleet::ClientsArgs),
    /// The raw writer of `fanout`. Ends with its standard input.
    #[command(hide = true)]
    FanoutRaw(fanout::raw::RawArgs),
    /// Becomes another program that dies with its parent.
    #[command(hide = true)]
    Leash {
        /// The process to die with.
        parent: u32,
        /// What to become.
        program: std::ffi::OsString,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// A raw relay's gate, for `compare`. Ends with its standard input.
    #[command(hide = true)]
    RelayGate {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where the relay's node listens.
        #[arg(long)]
        node: SocketAddr,
    },
    /// A raw relay's node, for `compare`. Ends with its standard input.
    #[command(hide = true)]
    RelayNode {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// The gate that `hostile` attacks. Ends with its standard input.
    #[command(hide = true)]
    HostileServer,
    /// The attackers of `hostile`.
    #[command(hide = true)]
    HostileAttack(hostile::attack::AttackArgs),
    /// Gate and node in one process, for the other commands. Ends with its standard input.
    #[command(hide = true)]
    Serve(serve::ServeArgs),
    /// The gate of `echo --processes`. Ends with its standard input.
    #[command(hide = true)]
    ServeGate(serve::apart::GateArgs),
    /// The node of `echo --processes`. Ends with its standard input.
    #[command(hide = true)]
    ServeNode(serve::ServeArgs),
}

/// How packets are laid out. Both ends have to agree: nothing on the wire tells.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Packets")]
struct LayoutArgs {
    /// Route of every request.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    route: i32,
    /// Width of the route field in bytes: 1, 2 or 4.
    #[arg(long, default_value_t = 2, value_parser = width)]
    route_bytes: u8,
    /// Width of the sequence field in bytes: 0 (none), 1, 2 or 4.
    #[arg(long, default_value_t = 2, value_parser = width_or_none)]
    seq_bytes: u8,
    /// Byte order of every number in a packet.
    #[arg(long, value_enum, default_value_t = Order::Big)]
    byte_order: Order,
}

/// Byte order of the numbers in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Most significant byte first, as due does by default.
    Big,
    /// Least significant byte first.
    Little,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Big => "big",
            Self::Little => "little",
        }
    }
}

fn width(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        "4" => Ok(4),
        _ => Err("a width is 1, 2 or 4 bytes".to_owned()),
    }
}

fn width_or_none(text: &str) -> Result<u8, String> {
    if text == "0" { Ok(0) } else { width(text) }
}

impl LayoutArgs {
    /// Four bytes each: the layout of due's own benchmark.
    fn wide() -> Self {
        Self { route: 1, route_bytes: 4, seq_bytes: 4, byte_order: Order::Big }
    }

    /// The layout, with room for bodies of `body_len` bytes and for longer replies.
    fn layout(&self, body_len: usize) -> Layout {
        let width = |bytes: u8| Width::from_bytes(usize::from(bytes));
        let default = Layout::default();
        let receive_max = body_len.saturating_mul(2).max(1024 * 1024);
        Layout {
            order: match self.byte_order {
                Order::Big => ByteOrder::Big,
                Order::Little => ByteOrder::Little,
            },
            route: width(self.route_bytes).unwrap_or(default.route),
            seq: width(self.seq_bytes),
            body_max: body_len.max(default.body_max),
            receive_max,
            heartbeat_time: false,
        }
    }

    fn route(&self) -> RouteId {
        RouteId(self.route)
    }

    /// The same layout as arguments for a child.
    fn arguments(&self) -> Vec<String> {
        let Self { route, route_bytes, seq_bytes, byte_order } = self;
        vec![
            format!("--route={route}"),
            format!("--route-bytes={route_bytes}"),
            format!("--seq-bytes={seq_bytes}"),
            format!("--byte-order={}", byte_order.name()),
        ]
    }
}

fn target(text: &str) -> Result<Target, crate::generator::TargetError> {
    text.parse()
}

/// Does what was asked for.
pub fn run(command: BenchCommand) -> ExitCode {
    run_counting(command, None)
}

/// Does what was asked for in a program whose allocator counts, if it does.
pub fn run_counting(command: BenchCommand, memory: Option<CountMemory>) -> ExitCode {
    // Benchmarks need descriptors by the thousand; those that need more than there are say so.
    crate::process::raise_descriptors();
    let done = match command {
        BenchCommand::Echo(args) => echo::run(args),
        BenchCommand::Call(args) => call::run(args),
        BenchCommand::Compare(args) => compare::run(&args),
        BenchCommand::Codec(args) => codec::run(&args, memory),
        BenchCommand::CodecWork(args) => Ok(codec::work(&args)),
        BenchCommand::Idle(args) => idle::run(&args),
        BenchCommand::Fanout(args) => fanout::run(&args),
        BenchCommand::Storm(args) => storm::run(&args),
        BenchCommand::Kick(args) => kick::run(&args),
        BenchCommand::CrowdGate(args) => serve::crowd::run_gate(&args),
        BenchCommand::CrowdNode(args) => serve::crowd::run_node(&args),
        BenchCommand::IdleClients(args) => idle::fleet::run_clients(&args),
        BenchCommand::FanoutRaw(args) => fanout::raw::run(&args),
        BenchCommand::Neighbours(args) => neighbours::run(&args),
        BenchCommand::Bots(args) => bots::run(&args),
        BenchCommand::Hostile(args) => hostile::run(&args),
        BenchCommand::Chaos(args) => chaos::run(&args),
        BenchCommand::ChaosServe(args) => crate::chaos::serve::run(&args),
        BenchCommand::ChaosClients(args) => crate::chaos::clients::run(&args),
        BenchCommand::Leash { parent, program, arguments } => {
            Err(crate::backend::become_leashed(parent, &program, &arguments))
        }
        BenchCommand::HostileServer => hostile::server::run(),
        BenchCommand::HostileAttack(args) => hostile::attack::run(&args),
        BenchCommand::RelayGate { listen, node } => relay_gate(listen, node),
        BenchCommand::RelayNode { listen } => relay_node(listen),
        BenchCommand::Serve(args) => serve::run(&args),
        BenchCommand::ServeGate(args) => serve::apart::run_gate(&args),
        BenchCommand::ServeNode(args) => serve::apart::run_node(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            note(&format!("bench: {error}"));
            ExitCode::from(2)
        }
    }
}

fn relay_gate(listen: SocketAddr, node: SocketAddr) -> io::Result<ExitCode> {
    let listener = relay::listen(listen)?;
    crate::process::announce(listener.local_addr()?)?;
    let stdin = io::stdin();
    match relay::run_gate(listener, node, stdin.as_fd()) {
        // The node was stopped first, which is how a parent that dies ends both.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(ExitCode::SUCCESS),
        done => done.map(|()| ExitCode::SUCCESS),
    }
}

fn relay_node(listen: SocketAddr) -> io::Result<ExitCode> {
    let listener = relay::listen(listen)?;
    crate::process::announce(listener.local_addr()?)?;
    relay::run_node(listener, io::stdin().as_fd())?;
    Ok(ExitCode::SUCCESS)
}

/// One line on standard error. A reader that went away is no reason to stop measuring.
fn note(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}

/// The result: as JSON in one line, or as text.
fn result(json: bool, report: &impl Serialize, text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if json {
        note(text);
        serde_json::to_writer(&mut output, report)?;
        writeln!(output)
    } else {
        writeln!(output, "{text}")
    }
}
