//! How many system calls processes make while something is done, counted by the kernel.
//!
//! `perf stat` counts them, where it is installed and allowed; its cost is in the time of the processes,
//! so count and measure apart.
use crate::backend::{Signal, signal};
use crate::poll;
use std::io::{self, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long `perf` takes at most to attach itself.
const ATTACH: Duration = Duration::from_millis(300);

/// Does `work` and counts the system calls of each of `pids` meanwhile.
///
/// # Errors
/// Those of `work`; and `Unsupported` where `perf` is not installed or not allowed.
pub fn counted<T>(pids: &[u32], work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Vec<u64>)> {
    let counters: Vec<Child> = pids.iter().map(|pid| attach(*pid)).collect::<io::Result<_>>()?;
    poll::pass(ATTACH)?;
    let done = work();
    let counts = counters.into_iter().map(detach).collect::<io::Result<_>>();
    Ok((done?, counts?))
}

fn attach(pid: u32) -> io::Result<Child> {
    let arguments = ["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"];
    let spawned = Command::new("perf")
        .args(arguments)
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    spawned.map_err(|error| unsupported(&error.to_string()))
}

fn detach(counter: Child) -> io::Result<u64> {
    // One that has ended by itself says why.
    signal(counter.id(), Signal::INT).unwrap_or_default();
    let output = counter.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    count(&text).ok_or_else(|| unsupported(text.lines().next().unwrap_or_default()))
}

fn unsupported(why: &str) -> io::Error {
    io::Error::new(ErrorKind::Unsupported, format!("perf counts no system calls here: {why}"))
}

/// The number in a line of `perf stat -x,`.
fn count(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_event_is_read_and_no_other() {
        let text = "# started\n31337,,raw_syscalls:sys_enter,1000,100.00,,\n";
        assert_eq!(count(text), Some(31_337));
        assert_eq!(count("<not counted>,,raw_syscalls:sys_enter,0,100.00,,"), None);
        assert_eq!(count("7,,cycles,0,100.00,,"), None);
    }
}
