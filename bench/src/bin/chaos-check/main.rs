//! Judges a chaos run by what its clients wrote down, and by nothing else.
//!
//! `chaos-check DIR` reads `clients.log` (what each client sent and saw) and `events.log` (what was done
//! to which process and when, and how large each was). It shares no code with those who wrote them. It
//! ends with 0 if every rule holds, with 1 if one is broken, and with 2 if there is nothing to judge.
//!
//! A line of `clients.log` is `MICROSECONDS CLIENT WORD …`:
//!
//! | Words | Meaning |
//! |---|---|
//! | `open GATE`, `shut GATE` | connected; could not connect |
//! | `lost WHY` | left the gate: `cut`, `silent`, as told: `home`, `stop`; or of its own will: `roam` |
//! | `enter N`, `free N`, `held N` | request N: log in and take a node; to any node; to the own node |
//! | `in` | logged in, with a node |
//! | `ok N LIFE COUNT` | N took effect in that life of a node, as the user's COUNT-th |
//! | `told N CODE OUTCOME …` | N was refused, or nobody answered in time |
//! | `push WORD N LIFE COUNT` | what N pushed |
//! | `unpushed N WHY` | the node says why it pushed nothing for N |
//! | `done` | the client has ended, and nothing of it waits |
//!
//! A run in which processes were replaced and nothing else was done has a report as well: [`report`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks")]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "tests"
    )
)]
mod events;
mod report;
mod rules;
mod story;
#[cfg(test)]
mod tests;

use clap::Parser;
use events::Events;
use report::Report;
use rules::{Verdict, judge};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use story::Stories;

/// Judge a chaos run by the logs of its clients.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory with clients.log and events.log.
    dir: PathBuf,
    /// Fewest faults that prove anything.
    #[arg(long, default_value_t = 1)]
    faults_min: usize,
    /// Fewest clients that prove anything.
    #[arg(long, default_value_t = 1)]
    clients_min: usize,
    /// Write what clients noticed of replaced processes to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match read(&arguments.dir) {
        Ok((stories, events)) => {
            let (faults, clients) = (arguments.faults_min, arguments.clients_min);
            let verdict = judge(&stories, &events, (faults, clients));
            if events.is_roll() {
                let report = report::report(&stories, &events, &verdict);
                let written = tell(&report, arguments.report.as_deref());
                if let Err(error) = written {
                    eprintln!("chaos-check: the report cannot be written: {error}");
                    return ExitCode::from(2);
                }
            }
            show(&verdict)
        }
        Err(error) => {
            eprintln!("chaos-check: {}: {error}", arguments.dir.display());
            ExitCode::from(2)
        }
    }
}

fn read(dir: &Path) -> io::Result<(Stories, Events)> {
    let mut stories = Stories::default();
    for line in BufReader::new(File::open(dir.join("clients.log"))?).lines() {
        stories.line(&line?);
    }
    let mut events = Events::default();
    for line in BufReader::new(File::open(dir.join("events.log"))?).lines() {
        events.line(&line?);
    }
    Ok((stories, events))
}

/// Prints the report, and writes it to a file if there is to be one.
fn tell(report: &Report, file: Option<&Path>) -> io::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    if let Some(file) = file {
        std::fs::write(file, format!("{text}\n"))?;
    }
    let Report { took_ms, acknowledged, acknowledged_lost, duplicates, .. } = report;
    let Report { refused, unknown, reconnects, reconnects_peak_per_second, interrupted, .. } =
        report;
    let report::Spread { p50, p99, max } = &report.without_service_ms;
    println!(
        "replaced in {took_ms} ms; {acknowledged} requests acknowledged, {acknowledged_lost} of them lost"
    );
    println!("{duplicates} done twice, {refused} refused, {unknown} without an answer");
    println!("{reconnects} reconnects, {reconnects_peak_per_second} in a second at most");
    println!(
        "{interrupted} clients interrupted; the longest time of each: p50 {p50}, p99 {p99}, max {max} ms\n"
    );
    Ok(())
}

fn show(verdict: &Verdict) -> ExitCode {
    for line in &verdict.recoveries {
        println!("{line}");
    }
    println!();
    for line in &verdict.sizes {
        println!("{line}");
    }
    println!();
    for rule in &verdict.rules {
        let word = if rule.broken == 0 { "holds" } else { "BROKEN" };
        println!("{word:<7} {}: {} looked at, {} wrong", rule.name, rule.looked, rule.broken);
        for example in &rule.examples {
            println!("          {example}");
        }
    }
    if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
