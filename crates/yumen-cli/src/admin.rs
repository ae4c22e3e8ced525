//! `yumen admin`: asks a running process over its admin address, for people and scripts.
//!
//! This file is what a person types; how it asks is in [`http`], what it prints in [`show`]. Exit code
//! 0: it was done, or all is well; 1: the process says no; 2: the process could not be asked.
pub(crate) mod http;
mod show;

use clap::{Args, Subcommand};
use http::{Reply, Request};
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  yumen admin --addr 127.0.0.1:9100 health
  yumen admin --addr 127.0.0.1:9100 sessions --user 7
  yumen admin --addr 127.0.0.1:9100 log debug --for 10m
  YUMEN_ADMIN_ADDR=10.0.0.5:9100 YUMEN_ADMIN_TOKEN=… yumen admin --json instances

The address is the process's etc.yumen.admin.addr. Exit codes: 0 done, or all is well; 1 the process
says no; 2 it could not be asked.";

/// Options of `admin`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AdminArgs {
    /// Where the process's admin listens. Default: the environment's YUMEN_ADMIN_ADDR.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    addr: Option<String>,
    /// The process's admin token. Better in the environment, as YUMEN_ADMIN_TOKEN: other users of this
    /// machine see command lines.
    #[arg(long, global = true)]
    token: Option<String>,
    /// Print the answer as it came: JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    /// Longest wait, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600), global = true)]
    timeout: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Is any instance dead or stuck?
    Health,
    /// Are clients served? No while it starts, and while it drains.
    Ready,
    /// Every instance of the cluster.
    Instances,
    /// Who is connected to the gates of this process.
    Sessions {
        /// Most sessions shown, up to 10,000.
        #[arg(long, default_value_t = 100)]
        max: usize,
        /// Only this user's.
        #[arg(long)]
        user: Option<i64>,
        /// Only those with this connection id.
        #[arg(long)]
        conn: Option<i64>,
        /// Only those of this gate instance.
        #[arg(long)]
        gate: Option<String>,
    },
    /// Every route, and who serves it.
    Routes,
    /// Show the log level, or set it: debug, or info,yumen_cluster::gate=debug.
    Log {
        /// The level; without it the present one is shown.
        level: Option<String>,
        /// Go back to the former level after this time, as 10m.
        #[arg(long = "for", value_name = "TIME", requires = "level")]
        after: Option<String>,
    },
    /// Stop the process as SIGTERM does: it finishes what is there, then ends.
    Drain,
    /// Everything that is counted, in Prometheus' text format.
    Metrics,
}

impl Command {
    fn request(&self) -> Request {
        match self {
            Self::Health => Request::get("/healthz"),
            Self::Ready => Request::get("/readyz"),
            Self::Instances => Request::get("/instances"),
            Self::Routes => Request::get("/routes"),
            Self::Metrics => Request::get("/metrics"),
            Self::Drain => Request::new("POST", "/drain"),
            Self::Sessions { max, user, conn, gate } => Request::get("/sessions")
                .with("max", Some(max))
                .with("user", user.as_ref())
                .with("conn", conn.as_ref())
                .with("gate", gate.as_ref()),
            Self::Log { level: None, .. } => Request::get("/log"),
            Self::Log { level: Some(level), after } => {
                Request::new("PUT", "/log").with("for", after.as_ref()).body(level)
            }
        }
    }

    /// The answer for a person; `None` if it reads well as it is.
    fn show(&self, reply: &Reply) -> Option<String> {
        match self {
            Self::Instances => show::instances(&reply.body),
            Self::Sessions { .. } => show::sessions(&reply.body),
            Self::Routes => show::routes(&reply.body),
            Self::Log { .. } => show::log(&reply.body),
            Self::Drain => show::drain(&reply.body),
            Self::Health | Self::Ready | Self::Metrics => None,
        }
    }
}

/// Asks, and prints the answer.
pub(crate) fn run(args: &AdminArgs) -> ExitCode {
    let from_env = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let Some(addr) = args.addr.clone().or_else(|| from_env("YUMEN_ADMIN_ADDR")) else {
        note("admin: where is it? Give --addr HOST:PORT, or YUMEN_ADMIN_ADDR in the environment:");
        note("admin: the value of etc.yumen.admin.addr, also in the process's banner and log");
        return ExitCode::from(2);
    };
    let token = args.token.clone().or_else(|| from_env("YUMEN_ADMIN_TOKEN"));
    let limit = Duration::from_secs(args.timeout);
    match http::ask(&addr, token.as_deref(), &args.command.request(), limit) {
        Ok(reply) => print(args, &reply),
        Err(error) => {
            note(&format!("admin: {addr}: {error}"));
            ExitCode::from(2)
        }
    }
}

fn print(args: &AdminArgs, reply: &Reply) -> ExitCode {
    let well = (200..300).contains(&reply.status);
    let text = if args.json {
        None
    } else if well {
        args.command.show(reply)
    } else {
        show::refusal(&reply.body)
    };
    let text = text.unwrap_or_else(|| reply.body.clone());
    if well || args.json {
        let mut output = io::stdout().lock();
        // A reader that went away has seen enough.
        output.write_all(text.as_bytes()).and_then(|()| output.flush()).unwrap_or_default();
    } else {
        note(text.trim_end());
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line on standard error. A reader that went away is no reason to stop.
fn note(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
