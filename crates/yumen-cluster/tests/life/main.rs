//! The life of a program, seen from outside: signals, exit codes, the order of what it says.
//!
//! This binary is both sides. Started with `LIFE_OF_A_PROGRAM` it is the program under test ([`program`]);
//! otherwise it runs the tests, which start it anew. So it has no test harness: `fn main` is the one
//! of the program, exit code included. Unix only, for its signals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is what it is for"
)]

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod processes;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod stores;
#[cfg(unix)]
mod tests;

use std::process::ExitCode;

#[cfg(not(unix))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(unix)]
fn main() -> ExitCode {
    if std::env::var_os(child::ROLE).is_some() {
        return program::main();
    }
    // As the usual harness: a word chooses, and the one behind --skip leaves out.
    let (mut words, mut skipped) = (Vec::new(), Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(word) = args.next() {
        if word == "--skip" {
            skipped.extend(args.next());
        } else if !word.starts_with('-') {
            words.push(word);
        }
    }
    let any = |words: &[String], name: &str| words.iter().any(|word| name.contains(word));
    let wanted = |name: &str| (words.is_empty() || any(&words, name)) && !any(&skipped, name);
    let chosen: Vec<_> = tests::ALL.iter().filter(|(name, _)| wanted(name)).collect();
    let mut failed: Vec<&str> = Vec::new();
    for (name, test) in &chosen {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed.extend((!passed).then_some(name));
    }
    println!("\n{} passed, {} failed {failed:?}", chosen.len() - failed.len(), failed.len());
    // Words may be meant for another binary of the workspace; without one, nothing chosen is a mistake.
    let nothing = chosen.is_empty() && words.is_empty();
    if failed.is_empty() && !nothing { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
