//! `yumen cluster up` and `roll`: a whole cluster of processes on this machine, to play with and to break.
//!
//! etcd or Consul, and Redis, as they are installed, two gates and two nodes as children of this program, all on
//! free ports of 127.0.0.1 and in a temporary directory. Nothing outlives this process. What a person
//! reads goes to standard error; with `--json` standard output holds one line: who is where.
mod control;
mod crew;
mod member;
mod roll;
mod table;

use clap::{Args, Subcommand};
use control::{Asker, Request, Word};
use crew::{Crew, Told};
use member::MemberArgs;
use roll::Roll;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use table::Table;
use yumen_bench::backend::{Kind, Scratch};

const EXAMPLES: &str = "Examples:
  yumen cluster up                  until Ctrl-C; says how to play
  yumen cluster up --restart        whoever dies is started again
  yumen cluster up --registry consul
  yumen cluster up --json           who is where as one JSON object, for scripts";

const ROLL_EXAMPLES: &str = "\
Examples:
  yumen cluster roll                replace every process of the cluster that runs here
  yumen cluster roll --dry-run      say who would be replaced, in which order
  yumen cluster roll --json         every step as one JSON object a line, for scripts

What is started is the file that `cluster up` was started from: build a newer program there first. Gates
keep their addresses. Exit codes: 0 all replaced, 1 the roll stopped on the way, 2 no cluster was found.";

/// Between a death and the next start, with --restart.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// Most lines of children that wait to be shown; then the children wait.
const LINES_MAX: usize = 1_024;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start etcd or Consul, Redis, two gates and two nodes on this machine, and stop them on Ctrl-C.
    Up(UpArgs),
    /// Replace every node and then every gate of the cluster of `up`, one at a time.
    ///
    /// Each process is told to drain, ends, and another takes its place; the next follows when that is
    /// ready and all others see it. Stops at the first that does not become ready.
    Roll(RollArgs),
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

/// Options of `cluster roll`.
#[derive(Debug, Clone, Args)]
#[command(after_help = ROLL_EXAMPLES)]
pub(crate) struct RollArgs {
    /// The cluster's directory. Default: that of the only cluster that runs on this machine.
    #[arg(long, value_name = "DIR")]
    cluster: Option<PathBuf>,
    /// Say who would be replaced, in which order, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Longest time until a new process is ready, in seconds; then the roll stops.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    ready_max: u64,
    /// Print every step as one JSON object a line on standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &ClusterCommand) -> ExitCode {
    match command {
        ClusterCommand::Up(args) => up(args),
        ClusterCommand::Roll(args) => ask_to_roll(args),
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
    let scratch = Scratch::new(control::DIR)?;
    let registry = args.registry.backend();
    note(&format!("starting {} and Redis", registry.name()));
    let asked = tell.clone();
    let mut crew = Crew::start(registry, scratch.path(), args.verbose, tell)?;
    note("starting two nodes and two gates");
    if !crew.until_it_plays(&told, &mut show)? {
        return stop(crew);
    }
    control::listen(scratch.path(), move |asker| asked.send(Told::Asked(asker)).is_ok())?;
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
            Ok(Told::Asked(asker)) => {
                if !roll(&mut crew, &told, asker)? {
                    return stop(crew);
                }
            }
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

/// Replaces all members, for somebody who asked. False if the cluster is to stop.
fn roll(crew: &mut Crew, told: &Receiver<Told>, mut asker: Asker) -> io::Result<bool> {
    let request = asker.request;
    let mut say = |word: &Word| {
        note(&word.to_string());
        asker.tell(word);
    };
    Roll { crew, told, request, show: &mut show, say: &mut say }.run()
}

/// Asks a running cluster to replace its members, and shows what it says.
fn ask_to_roll(args: &RollArgs) -> ExitCode {
    let found = args.cluster.clone().map_or_else(
        || control::clusters().map_err(|error| error.to_string()).and_then(control::only),
        Ok,
    );
    let dir = match found {
        Ok(dir) => dir,
        Err(why) => {
            note(&format!("cluster roll: {why}"));
            return ExitCode::from(2);
        }
    };
    let mut last = None;
    let request = Request { dry_run: args.dry_run, ready_max: args.ready_max };
    let asked = control::ask(&dir, request, &mut |word| {
        let text = if args.json {
            serde_json::to_string(word).unwrap_or_default()
        } else {
            word.to_string()
        };
        // A reader that went away is no reason to stop: the cluster goes on.
        writeln!(io::stdout(), "{text}").unwrap_or_default();
        last = Some(word.clone());
    });
    match (asked, last) {
        (Ok(()), Some(Word::Done { .. } | Word::Plan { .. })) => ExitCode::SUCCESS,
        (Err(error), None) if control::is_gone(&error) => {
            note(&format!("cluster roll: no cluster answers at {}: {error}", dir.display()));
            ExitCode::from(2)
        }
        (Ok(()), Some(Word::Stopped { .. })) => ExitCode::FAILURE,
        _ => {
            note("cluster roll: the cluster ended before all were replaced");
            ExitCode::FAILURE
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
