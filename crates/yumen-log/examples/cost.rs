//! What a line costs the thread that logs it. `cargo run --release -p yumen-log --example cost`
//!
//! The one thing to know: it logs in bursts that fit the queue and waits for the writer between them,
//! so that no figure is that of a dropped line.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "it measures"
)]

use std::{
    hint::black_box,
    io,
    time::{Duration, Instant},
};
use yumen_log::{Format, LogError, Options};

const BURST: u32 = 10_000;
const BURSTS: u32 = 50;

/// Prints the median and the least of all bursts, in nanoseconds for each call.
fn measure(name: &str, options: Options, log: fn(u32)) -> Result<(), LogError> {
    let (subscriber, logs) = yumen_log::build(options)?;
    let mut costs = Vec::new();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..BURSTS {
            let start = Instant::now();
            (0..BURST).for_each(log);
            costs.push(start.elapsed());
            logs.flush(Duration::from_secs(60));
        }
    });
    costs.sort();
    let each = |cost: Option<&Duration>| {
        cost.map_or(0.0, |cost| cost.as_nanos() as f64 / f64::from(BURST))
    };
    let (median, least) = (each(costs.get(costs.len() / 2)), each(costs.first()));
    let (written, dropped) = (logs.written(), logs.dropped());
    println!("{name:<28} {median:>8.1} {least:>8.1}   {written} written, {dropped} dropped");
    Ok(())
}

fn options(format: Format) -> Options {
    let mut options = Options::default().console_out(io::sink());
    options.file = None;
    options.console_format = format;
    options.queue_bytes = 64 << 20;
    options
}

fn plain(n: u32) {
    tracing::info!("a player logged in {n}");
}

fn fields(n: u32) {
    tracing::info!(user = n, name = "ann", room = "lobby", "a player logged in");
}

fn spans(n: u32) {
    let _conn = tracing::info_span!("conn", id = n).entered();
    tracing::info!(user = n, "a player logged in");
}

fn disabled(n: u32) {
    tracing::debug!(user = black_box(n), "a player logged in");
}

fn failed(n: u32) {
    if n.is_multiple_of(1000) {
        tracing::error!(user = n, "a player could not log in");
    }
}

fn main() -> Result<(), LogError> {
    println!("{:<28} {:>8} {:>8}", "nanoseconds a call", "median", "least");
    measure("text", options(Format::Text), plain)?;
    measure("text, three fields", options(Format::Text), fields)?;
    measure("text, a span for each", options(Format::Text), spans)?;
    measure("json", options(Format::Json), plain)?;
    measure("json, three fields", options(Format::Json), fields)?;
    measure("disabled level", options(Format::Text), disabled)?;
    measure("error with stack, x 1/1000", options(Format::Text), failed)
}
