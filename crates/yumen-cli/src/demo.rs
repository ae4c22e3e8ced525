//! `yumen demo`: a gate on tcp and ws, a node, and bots, in one process over real sockets.
//!
//! This file is what a person sees; the servers and bots are in [`world`]. Everything goes to
//! standard error, so that with `--json` standard output holds one line: the summary.
pub(crate) mod game;
mod table;
mod world;

use clap::Args;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use table::{Summary, Table};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use world::World;
use yumen::settings::{Loader, SettingsErrors, Watcher};

const EXAMPLES: &str = "Examples:
  yumen demo                                    until Ctrl-C
  yumen demo --bots 50 --seconds 5 --json       for scripts
  yumen demo --tcp 127.0.0.1:0 --ws 127.0.0.1:0 where the usual ports are taken";

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// How many bots play. Each holds one connection, so `ulimit -n` must allow two per bot.
    #[arg(long, default_value_t = 1_000)]
    bots: usize,
    /// Stop after so many seconds. Default: on Ctrl-C.
    #[arg(long)]
    seconds: Option<u64>,
    /// Print the summary as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// Where the gate listens for tcp; port 0 lets the system choose. Default: what the settings say,
    /// or else 127.0.0.1:3553.
    #[arg(long, value_name = "ADDR")]
    tcp: Option<SocketAddr>,
    /// Where the gate listens for WebSocket; port 0 lets the system choose. Default: what the settings
    /// say, or else 127.0.0.1:3653.
    #[arg(long, value_name = "ADDR")]
    ws: Option<SocketAddr>,
    /// Directory of settings, or one file. Default: what DUE_ETC names, or else ./etc where it exists.
    #[arg(long, value_name = "DIR")]
    etc: Option<PathBuf>,
}

impl DemoArgs {
    /// The settings, and whatever becomes of their files. Environment variables count too.
    fn settings(&self) -> Result<Watcher, SettingsErrors> {
        let loader = Loader::new().env(std::env::vars_os());
        let loader = self.etc.iter().fold(loader, |loader, etc| loader.flag("etc", etc));
        let watcher = loader.watch()?;
        // What is about no file in particular is said by --help.
        for about in watcher.settings().notes.iter().filter(|about| about.origin.is_some()) {
            note(&format!("note: {about}"));
        }
        Ok(watcher)
    }
}

/// Runs the demo. Exit code 0 only if every request was answered.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let summary = runtime.and_then(|runtime| runtime.block_on(show(args)));
    match summary.and_then(|summary| print(args.json, &summary).map(|()| summary)) {
        Ok(summary) if summary.all_answered() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("demo cannot run:\n{error}"));
            if error.to_string().contains("cannot listen") {
                note("demo: choose other addresses with --tcp and --ws; port 0 takes a free one");
            }
            ExitCode::from(2)
        }
    }
}

/// Starts everything, shows a line a second until it is time to stop, and sums up.
async fn show(args: &DemoArgs) -> io::Result<Summary> {
    let world = World::start(args, args.settings().map_err(io::Error::other)?).await?;
    let mut table = Table::new(args.bots, world.tcp(), world.ws());
    table.begin()?;
    let start = Instant::now();
    // A century where no end was asked for: longer than any clock of tokio's is asked to wait.
    let seconds = args.seconds.unwrap_or(3_153_600_000);
    let end = start.checked_add(Duration::from_secs(seconds)).unwrap_or(start);
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tokio::select! {
            _ = tick.tick() => table.show(&world.sample().await)?,
            () = sleep_until(end) => break,
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                break;
            }
        }
    }
    let (last, failure) = world.stop().await?;
    failure.iter().for_each(|why| note(&format!("\nfirst failure: {why}")));
    Ok(Summary::new(args.bots, &last))
}

fn print(json: bool, summary: &Summary) -> io::Result<()> {
    note(&format!("\n{summary}"));
    if json {
        let mut output = io::stdout().lock();
        serde_json::to_writer(&mut output, summary)?;
        writeln!(output)?;
    }
    Ok(())
}

/// One line on standard error. A reader that went away is no reason to stop.
fn note(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
