//! `yumen cluster up`: a whole cluster of processes on this machine, to play with and to break.
//!
//! etcd or Consul, and Redis, as they are installed, two gates and two nodes as children of this program, all on
//! free ports of 127.0.0.1 and in a temporary directory. Nothing outlives this process. What a person
//! reads goes to standard error; with `--json` standard output holds one line: who is where.
mod crew;
mod member;
mod table;

use clap::{Args, Subcommand};
use crew::{Crew, Told};
use member::MemberArgs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;
use table::Table;
use yumen_bench::backend::{Kind, Scratch};

const EXAMPLES: &str = "Examples:
  yumen cluster up                  until Ctrl-C; says how to play
  yumen cluster up --restart        whoever dies is started again
  yumen cluster up --registry consul
  yumen cluster up --json           who is where as one JSON object, for scripts";

/// Between a death and the next start, with --restart.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// Most lines of children that wait to be shown; then the children wait.
const LINES_MAX: usize = 1_024;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start etcd or Consul, Redis, two gates and two nodes on this machine, and stop them on Ctrl-C.
    Up(UpArgs),
    /// A gate of `up`.
    #[command(hide = true)]
    Gate(MemberArgs),
    /// A node of `up`.
    #[command(hide = true)]
    Node(MemberArgs),
}

/// A registry that `cluster up` can start.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RegistryKind {
    Etcd,
    Consul,
}

impl RegistryKind {
    fn backend(self) -> Kind {
        match self {
            Self::Etcd => Kind::Etcd,
            Self::Consul => Kind::Consul,
        }
    }
}

/// Options of `cluster up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Where gates and nodes find each other.
    #[arg(long, value_enum, default_value = "etcd")]
    registry: RegistryKind,
    /// Start whoever dies again, after a second.
    #[arg(long)]
    restart: bool,
    /// Show what gates and nodes log at the level info, not only warnings.
    #[arg(long)]
    verbose: bool,
    /// Print who is where as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &ClusterCommand) -> ExitCode {
    match command {
        ClusterCommand::Up(args) => up(args),
        ClusterCommand::Gate(args) => member::gate(args),
        ClusterCommand::Node(args) => member::node(args),
    }
}

fn up(args: &UpArgs) -> ExitCode {
    let missing: Vec<Kind> = [args.registry.backend(), Kind::Redis]
        .into_iter()
        .filter(|kind| kind.find().is_none())
        .collect();
    for kind in &missing {
        note(&format!("{} is not on the PATH; install it with:", kind.program()));
        note(&format!("  {}", kind.install()));
    }
    if !missing.is_empty() {
        return ExitCode::from(2);
    }
    match play(args) {
        Ok(code) => code,
        Err(error) => {
            note(&format!("cluster up: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn play(args: &UpArgs) -> io::Result<ExitCode> {
    let (tell, told) = mpsc::sync_channel(LINES_MAX);
    listen_for_signals(tell.clone())?;
    let scratch = Scratch::new("yumen-cluster")?;
    let registry = args.registry.backend();
    note(&format!("starting {} and Redis", registry.name()));
    let mut crew = Crew::start(registry, scratch.path(), args.verbose, tell)?;
    note("starting two nodes and two gates");
    if !crew.until_it_plays(&told, &mut show)? {
        return stop(crew);
    }
    let table = Table::of(&crew);
    if args.json {
        let mut output = io::stdout().lock();
        serde_json::to_writer(&mut output, &table)?;
        writeln!(output)?;
        output.flush()?;
    }
    note(&table.to_string());
    loop {
        match told.recv_timeout(RESTART_AFTER) {
            Ok(Told::Line { name, text }) => show(&name, &text),
            Ok(Told::Signal) => return stop(crew),
            Ok(Told::Ready { name, place }) => {
                note(&format!("{name} is back: {}", place.text()));
                crew.placed(&name, place);
            }
            Err(_) => {}
        }
        for death in crew.deaths()? {
            note(&death.text());
            if args.restart {
                crew.again(&death)?;
            } else {
                note("  it stays away: --restart starts whoever dies again");
            }
        }
    }
}

fn stop(crew: Crew) -> io::Result<ExitCode> {
    crew.stop(&mut |what| note(&format!("stopping {what}")))?;
    Ok(ExitCode::SUCCESS)
}

/// A line of a child, with its name before it.
fn show(name: &str, text: &str) {
    note(&format!("{name} | {text}"));
}

/// Ctrl-C and SIGTERM stop everything in order; the second one ends this process, and so the others.
fn listen_for_signals(tell: SyncSender<Told>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ready = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(ready);
    let next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut next = next;
        runtime.block_on(next());
        // Nobody listens any more: everything is being stopped already.
        tell.send(Told::Signal).unwrap_or_default();
        runtime.block_on(next());
        std::process::exit(130);
    })?;
    Ok(())
}

/// One line on standard error. A reader that went away is no reason to end.
fn note(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}

/// What went wrong with a child, for whoever started it.
fn failed(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}
