//! Servers under test: how a child is started and stopped, and what a process has used.
//!
//! The protocol between `yumen bench` and a child of its own: the child binds, prints the address
//! as the first line of its standard output, and ends when its standard input ends (or on
//! SIGTERM). A parent that dies closes the pipe, so no child outlives it. A child may also answer
//! questions: each is one line of its input, each answer one line of its output.
use crate::poll;
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open, setrlimit};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{read_dir, read_to_string};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Longest wait for a child's address, and for its end.
const CHILD_MAX: Duration = Duration::from_secs(10);
/// Descriptors for everything but the connections that are counted.
const DESCRIPTORS_SPARE: u64 = 64;

/// A server started for a measurement; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// Where answers come from; also kept open so that a child that prints once more does not end.
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `program` with `arguments` and waits for its address.
    ///
    /// # Errors
    /// If it cannot be started, or prints no address within ten seconds.
    pub fn start<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a prepared command, whose standard streams are replaced as the protocol asks.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let found = child.stdout.take().ok_or_else(|| io::Error::from(ErrorKind::BrokenPipe));
        match found.and_then(first_line) {
            Ok((address, output)) => Ok(Self { child, address, output }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// Those of the system.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Writes one line and waits up to `wait_max` for the line that answers it.
    ///
    /// # Errors
    /// `TimedOut` without an answer, `UnexpectedEof` from a child that has ended.
    pub fn ask(&mut self, question: &str, wait_max: Duration) -> io::Result<String> {
        let input = self.child.stdin.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        writeln!(input, "{question}")?;
        // An answer is one line and read whole, so nothing of it can be left in the buffer.
        if !poll::readable(self.output.get_ref(), wait_max)? {
            return Err(io::Error::new(ErrorKind::TimedOut, "the server gave no answer"));
        }
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    /// Ends it and waits until it has ended; kills it after ten seconds.
    ///
    /// # Errors
    /// `TimedOut` if it had to be killed; otherwise those of the system.
    pub fn stop(self) -> io::Result<()> {
        self.stop_within(CHILD_MAX)
    }

    /// As [`Server::stop`], but kills it after `max`.
    ///
    /// # Errors
    /// As [`Server::stop`], and a status that is not 0: it had work left.
    pub fn stop_within(mut self, max: Duration) -> io::Result<()> {
        drop(self.child.stdin.take());
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let handle = pidfd_open(pid, PidfdFlags::empty())?;
            if !poll::readable(&handle, max)? {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both do nothing where the child has ended and was waited for.
        let killed = self.child.kill();
        if killed.is_ok() {
            // Its status is of no interest: it was killed.
            drop(self.child.wait());
        }
    }
}

fn first_line(output: ChildStdout) -> io::Result<(SocketAddr, BufReader<ChildStdout>)> {
    if !poll::readable(&output, CHILD_MAX)? {
        return Err(io::Error::new(ErrorKind::TimedOut, "the server printed no address"));
    }
    let (mut output, mut line) = (BufReader::new(output), String::new());
    output.read_line(&mut line)?;
    match line.trim().parse() {
        Ok(address) => Ok((address, output)),
        Err(_) => {
            let text = format!("the server printed {line:?} instead of its address");
            Err(io::Error::new(ErrorKind::InvalidData, text))
        }
    }
}

/// The child's side: prints where it listens, for the parent to read.
///
/// # Errors
/// Those of writing to standard output.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{address}")?;
    output.flush()
}

/// The child's side: answers each line of standard input with a line until the input has ended,
/// which is when to stop. Call it on a thread of its own where the main thread has something else
/// to do.
///
/// # Errors
/// Those of reading and of printing; to stop is right then as well.
pub fn answer_until_input_ends(
    mut answer: impl FnMut(&str) -> io::Result<String>,
) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let text = answer(&line?)?;
        let mut output = io::stdout().lock();
        writeln!(output, "{text}")?;
        output.flush()?;
    }
    Ok(())
}

/// Raises this process's limit of open descriptors as far as it may, for itself and its children.
/// Returns the limit; `None` where there is none.
pub fn raise_descriptors() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Where this is refused the old limit holds, and is what is returned.
        setrlimit(Resource::Nofile, limit).unwrap_or_default();
    }
    getrlimit(Resource::Nofile).current
}

/// Checks that `needed` descriptors, and some for what every process has open, are allowed.
///
/// # Errors
/// Says what is missing and what to do.
pub fn need_descriptors(needed: usize) -> io::Result<()> {
    let needed = crate::number::count(needed).saturating_add(DESCRIPTORS_SPARE);
    match raise_descriptors() {
        Some(limit) if limit < needed => {
            let text = format!(
                "{needed} open descriptors are needed and {limit} allowed: see `ulimit -Hn`"
            );
            Err(io::Error::other(text))
        }
        _ => Ok(()),
    }
}

/// The CPU time, user and system, that a process had used at one moment.
#[derive(Debug, Clone, Default)]
pub struct CpuTime {
    /// By thread, in nanoseconds: exact, but silent about threads that have ended.
    threads: BTreeMap<u32, u64>,
    /// Of the whole process, ended threads included: exact to two ticks of 10 ms.
    ticks: u64,
}

/// The kernel's `USER_HZ`, the same on every Linux platform that Rust's tier 1 knows.
const TICKS_PER_SECOND: u64 = 100;

impl CpuTime {
    /// What process `pid` has used so far.
    ///
    /// # Errors
    /// If there is no such process, or this one may not look at it.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, field 2, is in parentheses and may hold spaces: the rest starts behind them.
        let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
        let field = |at| fields.split(' ').nth(at).and_then(|text| text.parse::<u64>().ok());
        let (Some(user), Some(system)) = (field(11), field(12)) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let mut threads = BTreeMap::new();
        for entry in read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            // A thread may end between listing and reading.
            let Ok(used) = read_to_string(entry.path().join("schedstat")) else { continue };
            let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
            let ns = used.split(' ').next().and_then(|ns| ns.parse().ok());
            if let (Some(id), Some(ns)) = (id, ns) {
                threads.insert(id, ns);
            }
        }
        Ok(Self { threads, ticks: user.saturating_add(system) })
    }

    /// What was used between `earlier` and this. Exact as long as no thread ended in between.
    pub fn since(&self, earlier: &Self) -> Duration {
        let none_ended = earlier.threads.keys().all(|id| self.threads.contains_key(id));
        if none_ended && !self.threads.is_empty() {
            let used = self
                .threads
                .iter()
                .map(|(id, ns)| ns.saturating_sub(earlier.threads.get(id).copied().unwrap_or(0)));
            return Duration::from_nanos(used.sum());
        }
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
    }
}

/// The CPU times of several processes at one moment.
#[derive(Debug, Clone, Default)]
pub struct CpuTimes(Vec<CpuTime>);

impl CpuTimes {
    /// What each of `pids` has used so far.
    ///
    /// # Errors
    /// As [`CpuTime::of`].
    pub fn of(pids: &[u32]) -> io::Result<Self> {
        pids.iter().map(|pid| CpuTime::of(*pid)).collect::<io::Result<_>>().map(Self)
    }

    /// What all of them used between `earlier`, which lists the same processes, and this.
    pub fn since(&self, earlier: &Self) -> Duration {
        self.each_since(earlier).into_iter().sum()
    }

    /// What each of them used between `earlier`, which lists the same processes, and this.
    pub fn each_since(&self, earlier: &Self) -> Vec<Duration> {
        self.0.iter().zip(&earlier.0).map(|(now, then)| now.since(then)).collect()
    }
}

/// Anonymous memory resident for process `pid`, in bytes: what it holds itself, without files.
///
/// # Errors
/// If there is no such process.
pub fn anonymous_memory(pid: u32) -> io::Result<u64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024)).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// How many descriptors process `pid` has open.
///
/// # Errors
/// If there is no such process.
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_this_process_shows_in_its_cpu_time() {
        let before = CpuTime::of(std::process::id()).unwrap();
        let start = crate::clock::thread_cpu();
        let mut sum = 0_u64;
        while crate::clock::thread_cpu() - start < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = CpuTime::of(std::process::id()).unwrap().since(&before);
        assert!(used >= Duration::from_millis(40), "{used:?}");
    }

    #[test]
    fn an_ended_thread_is_counted_in_ticks() {
        let thread = |id, ns| BTreeMap::from([(id, ns)]);
        let before = CpuTime { threads: thread(1, 5), ticks: 10 };
        let after = CpuTime { threads: thread(2, 7), ticks: 13 };
        assert_eq!(after.since(&before), Duration::from_millis(30));
        let after = CpuTime { threads: BTreeMap::from([(1, 9), (2, 7)]), ticks: 13 };
        assert_eq!(after.since(&before), Duration::from_nanos(11));
    }

    #[test]
    fn memory_of_this_process_is_found() {
        assert!(anonymous_memory(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_child_is_known_by_its_first_line_and_ends_with_its_input() {
        let server = Server::start(Path::new("/bin/sh"), &["-c", "echo 127.0.0.1:7; cat"]).unwrap();
        assert_eq!(server.address().port(), 7);
        server.stop().unwrap();
    }

    #[test]
    fn a_child_answers_questions_line_by_line_until_it_has_ended() {
        let script = "echo 127.0.0.1:7; read a; echo \"1 $a\"; read b; echo \"2 $b\"";
        let mut server = Server::start(Path::new("/bin/sh"), &["-c", script]).unwrap();
        assert_eq!(server.ask("x", CHILD_MAX).unwrap(), "1 x\n");
        assert_eq!(server.ask("y", CHILD_MAX).unwrap(), "2 y\n");
        assert!(server.ask("z", CHILD_MAX).is_err());
    }

    #[test]
    fn more_descriptors_than_are_allowed_are_refused_by_number() {
        let Some(limit) = raise_descriptors() else { return };
        assert!(need_descriptors(1).is_ok());
        let error = need_descriptors(usize::try_from(limit).unwrap()).unwrap_err();
        assert!(error.to_string().contains(&format!("{limit} allowed")), "{error}");
    }

    #[test]
    fn a_child_that_prints_no_address_is_an_error() {
        let error = Server::start(Path::new("/bin/sh"), &["-c", "echo hello; cat"]).unwrap_err();
        assert!(error.to_string().contains("hello"), "{error}");
        let error = Server::start(Path::new("/bin/sh"), &["-c", "exit 3"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
