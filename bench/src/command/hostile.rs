//! `yumen bench hostile`: a gate among ten thousand clients that mean no good.
//!
//! Three processes: the server, with every default; the attackers; and this one, in which a few
//! clients behave and are served or not. Nothing is timed: it passes if nobody who behaves notices,
//! if memory stays within bounds and comes back, and if every connection that ended is counted
//! under a reason.
pub(super) mod attack;
mod deed;
mod good;
pub(super) mod server;

use super::{note, result};
use crate::machine::Machine;
use crate::number::{count, float};
use crate::poll;
use crate::process::{Server, anonymous_memory, need_descriptors};
use crate::report::Time;
use attack::Outcome;
use clap::Args;
use good::Good;
use serde::Serialize;
use server::Look;
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Options of `bench hostile`.
#[derive(Debug, Clone, Args)]
pub struct HostileArgs {
    /// Bad connections held at once. Attackers and server each need as many descriptors: see
    /// `ulimit -Hn`.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// More connections that are opened and closed or reset at once, beside those.
    #[arg(long, default_value_t = 6_000)]
    storm: usize,
    /// Longest attack in seconds. The server has to end the last silent connection after 20.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The same seed gives the same attack.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most memory that the server may take for it, in MiB.
    #[arg(long, default_value_t = 64)]
    growth_max: u64,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
}

const MIB: u64 = 1024 * 1024;
/// Descriptors beside those of the connections that are held: storms, sockets that linger.
const SPARE: usize = 2_000;
/// How long those who behave play alone before memory is read, and after the attack.
const WARM_UP: Duration = Duration::from_secs(3);
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Longest wait for the server to be rid of all connections, and for its answer.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Anonymous memory of the server, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Memory {
    before: u64,
    most: u64,
    after: u64,
}

/// What has to be so, and whether it is.
#[derive(Debug, Clone, Serialize)]
struct Check {
    what: &'static str,
    found: String,
    met: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    seed: u64,
    attack: Outcome,
    good: Good,
    memory: Memory,
    /// The gate at the end.
    gate: Look,
    checks: Vec<Check>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { attack, good, memory, gate, .. } = self;
        let Outcome { at_once, opening_s, seconds, .. } = attack;
        writeln!(
            f,
            "{at_once} bad connections at once (opened in {opening_s:.1} s), {seconds:.0} s"
        )?;
        writeln!(f, "  {:<22} {:>8} {:>8} {:>8}", "kind", "opened", "ended", "left")?;
        for (deed, fate) in &attack.fates {
            let name = deed.name().replace('_', " ");
            writeln!(f, "  {name:<22} {:>8} {:>8} {:>8}", fate.opened, fate.ended, fate.left)?;
        }
        writeln!(f, "closed by reason")?;
        for (reason, count) in &gate.closed_by_reason {
            writeln!(f, "  {:<22} {count:>8}", reason.replace('_', " "))?;
        }
        let Good { clients, opened, calls, latency, .. } = good;
        writeln!(
            f,
            "{clients} clients that behave: {opened} connections, {calls} calls, p50 {}, p99 {}, at \
             most {}",
            Time(latency.p50_us),
            Time(latency.p99_us),
            Time(latency.max_us)
        )?;
        good.first_failures.iter().try_for_each(|failure| writeln!(f, "  {failure}"))?;
        let mib = |bytes: u64| float(bytes) / float(MIB);
        let Memory { before, most, after } = *memory;
        writeln!(
            f,
            "server: {:.1} MiB before, {:.1} MiB at most, {:.1} MiB after",
            mib(before),
            mib(most),
            mib(after)
        )?;
        for Check { what, found, met } in &self.checks {
            writeln!(f, "  {what}: {found}: {}", if *met { "met" } else { "MISSED" })?;
        }
        write!(f, "on {}", self.machine)
    }
}

/// A server under attack, and how to look at it.
struct Target {
    server: Server,
    web: SocketAddr,
}

impl Target {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "hostile-server"]);
        // Huge pages would round its memory up to 2 MiB steps. Known to mimalloc, ignored by others.
        command.env("MIMALLOC_ALLOW_THP", "0");
        let mut server = Server::spawn(command)?;
        let look: Look = serde_json::from_str(&server.ask("look", ANSWER_MAX)?)?;
        let web = look.web.ok_or(ErrorKind::AddrNotAvailable)?;
        Ok(Self { server, web })
    }

    fn look(&mut self) -> io::Result<Look> {
        Ok(serde_json::from_str(&self.server.ask("look", ANSWER_MAX)?)?)
    }

    fn memory(&self) -> io::Result<u64> {
        anonymous_memory(self.server.pid())
    }

    /// Waits until no more connections are left than `most`.
    fn until_left(&mut self, most: u64) -> io::Result<Look> {
        let mut waited = Duration::ZERO;
        loop {
            let look = self.look()?;
            if look.connections <= most || waited > RECOVERY_MAX {
                return Ok(look);
            }
            poll::pass(LOOK_EVERY)?;
            waited = waited.saturating_add(LOOK_EVERY);
        }
    }
}

pub(super) fn run(args: &HostileArgs) -> io::Result<ExitCode> {
    need_descriptors(args.connections.saturating_add(SPARE))?;
    let machine = Machine::describe();
    let mut target = Target::start()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (tcp, web, told) = (target.server.address(), target.web, Arc::clone(&stop));
    let good = thread::spawn(move || good::play(tcp, web, told));
    let attacked = under_attack(args, &mut target);
    stop.store(true, Ordering::Relaxed);
    let good = good.join().map_err(|_| io::Error::other("the good clients panicked"))??;
    let (attack, memory) = attacked?;
    let gate = target.until_left(0)?;
    target.server.stop()?;
    let checks = judge(args, &attack, &good, memory, &gate);
    let report = Report { machine, seed: args.seed, attack, good, memory, gate, checks };
    result(args.json, &report, &report.to_string())?;
    let met = report.checks.iter().all(|check| check.met);
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays alone, is attacked, and plays alone again.
fn under_attack(args: &HostileArgs, target: &mut Target) -> io::Result<(Outcome, Memory)> {
    poll::pass(WARM_UP)?;
    let before = target.memory()?;
    let mut memory = Memory { before, most: before, after: before };
    let mut attackers = Attackers::start(args, target)?;
    while attackers.0.try_wait()?.is_none() {
        poll::pass(LOOK_EVERY)?;
        memory.most = memory.most.max(target.memory()?);
    }
    let attack = attackers.outcome()?;
    note("the attack is over");
    // Six of them stay or come and go; whoever is just going may be there twice.
    target.until_left(8)?;
    poll::pass(AFTERWARDS)?;
    memory.after = target.memory()?;
    Ok((attack, memory))
}

/// The attackers' process; killed when dropped.
struct Attackers(Child);

impl Attackers {
    fn start(args: &HostileArgs, target: &Target) -> io::Result<Self> {
        let HostileArgs { connections, storm, seconds, seed, .. } = args;
        let child = Command::new(std::env::current_exe()?)
            .args(["bench", "hostile-attack"])
            .arg(format!("--tcp={}", target.server.address()))
            .arg(format!("--web={}", target.web))
            .arg(format!("--connections={connections}"))
            .arg(format!("--storm={storm}"))
            .arg(format!("--seconds={seconds}"))
            .arg(format!("--seed={seed}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// What it printed; it has ended.
    fn outcome(&mut self) -> io::Result<Outcome> {
        let output = self.0.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let text = io::read_to_string(output)?;
        serde_json::from_str(&text).map_err(|_| io::Error::other("the attackers failed"))
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

fn judge(
    args: &HostileArgs,
    attack: &Outcome,
    good: &Good,
    memory: Memory,
    gate: &Look,
) -> Vec<Check> {
    let fates = || attack.fates.iter();
    let opened: u64 = fates().map(|(_, fate)| fate.opened).sum();
    let opened = opened.saturating_add(good.opened);
    let owed: u64 = fates().filter(|(deed, _)| deed.must_end()).map(|(_, fate)| fate.left).sum();
    let reasons: u64 = gate.closed_by_reason.values().sum();
    let internal = gate.closed_by_reason.get("internal").copied().unwrap_or(0);
    let growth = |bytes: u64| bytes.saturating_sub(memory.before);
    let max = args.growth_max.saturating_mul(MIB);
    let most = |what, found: u64, max: u64| Check {
        what,
        found: format!("{found}, at most {max}"),
        met: found <= max,
    };
    let equal = |what, found: u64, right: u64| Check {
        what,
        found: format!("{found} of {right}"),
        met: found == right,
    };
    vec![
        equal("bad connections at once", attack.at_once, count(args.connections)),
        equal("failures of those who behave", good.failures, 0),
        most("growth of the server's memory in bytes", growth(memory.most), max),
        most("growth that is left in bytes", growth(memory.after), max / 2),
        equal("connections that were opened and are closed", gate.closed, opened),
        equal("closed connections that are counted under a reason", reasons, gate.closed),
        equal("connections that the server should have ended and did not", owed, 0),
        equal("connections ended by a fault of the server", internal, 0),
        equal("connections left at the end", gate.connections, 0),
        equal("errors of accepting", gate.accept_errors, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::attack::Fate;
    use super::deed::Deed;
    use super::*;
    use std::collections::BTreeMap;

    /// What is missed after an attack of three connections, changed by `change`.
    fn missed(change: impl FnOnce(&mut Outcome, &mut Good, &mut Memory, &mut Look)) -> Vec<String> {
        let args = HostileArgs {
            connections: 2,
            storm: 1,
            seconds: 1,
            seed: 1,
            growth_max: 64,
            json: false,
        };
        let fate = |ended, left| Fate { opened: ended + left, ended, left };
        let fates = BTreeMap::from([(Deed::Silence, fate(2, 0)), (Deed::ResetStorm, fate(0, 1))]);
        let mut attack = Outcome { fates, at_once: 2, ..Outcome::default() };
        let mut good = Good { opened: 4, ..Good::default() };
        let mut memory = Memory { before: MIB, most: 65 * MIB, after: 33 * MIB };
        let closed_by_reason = BTreeMap::from([("idle".to_owned(), 2), ("gone".to_owned(), 5)]);
        let mut gate = Look { closed: 7, closed_by_reason, ..Look::default() };
        change(&mut attack, &mut good, &mut memory, &mut gate);
        let checks = judge(&args, &attack, &good, memory, &gate);
        checks.into_iter().filter(|check| !check.met).map(|check| check.what.to_owned()).collect()
    }

    #[test]
    fn whatever_is_not_as_it_has_to_be_is_missed() {
        assert!(missed(|_, _, _, _| ()).is_empty());
        assert_eq!(missed(|_, good, _, _| good.failures = 1), ["failures of those who behave"]);
        assert_eq!(missed(|_, _, memory, _| memory.most += 1).len(), 1);
        assert_eq!(missed(|_, _, memory, _| memory.after += 1).len(), 1);
        assert_eq!(missed(|_, good, _, _| good.opened = 5).len(), 1, "one is not counted");
        assert_eq!(missed(|_, _, _, gate| gate.closed = 8).len(), 2, "one has no reason");
        assert_eq!(missed(|_, _, _, gate| gate.connections = 1).len(), 1);
        let kept = |attack: &mut Outcome| {
            attack.fates.insert(Deed::Silence, Fate { opened: 2, ended: 1, left: 1 });
        };
        assert_eq!(missed(|attack, _, _, _| kept(attack)).len(), 1, "one was not ended");
    }
}
