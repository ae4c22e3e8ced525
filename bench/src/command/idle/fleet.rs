//! Idle sessions by the hundred thousand: as many gates as their descriptors ask for, as processes, and
//! as many processes of clients.
use super::{request, speak};
use crate::clock::shared_ns;
use crate::command::crowd::Fleet;
use crate::command::side::spawn;
use crate::command::{note, result};
use crate::generator::Target;
use crate::machine::Machine;
use crate::number::{count, float, nanos, ratio};
use crate::poll;
use crate::process::{
    CpuTimes, Server, announce, anonymous_memory, answer_until_input_ends, need_descriptors,
};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::fs::read_to_string;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

/// Longest wait until all clients of one gate are there.
const CONNECT_MAX: Duration = Duration::from_secs(300);
/// How long clients stay at most. They go with their process.
const STAY: Duration = Duration::from_secs(3600);

/// The clients of one gate.
#[derive(Debug, Clone, Args)]
pub struct ClientsArgs {
    /// Where the gate listens.
    #[arg(long)]
    gate: SocketAddr,
    /// How many they are.
    #[arg(long)]
    connections: usize,
}

/// Answered once all clients of a process have spoken.
#[derive(Debug, Serialize, Deserialize)]
struct There {
    /// Since the process was started, in nanoseconds.
    after_ns: u64,
    /// Why they are not all there.
    failure: Option<String>,
}

/// What the sessions cost, in the sum of all processes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Cost {
    /// Anonymous memory of gates and node.
    memory_bytes: u64,
    /// The kernel's slabs, of the whole machine: both ends of each connection and whatever else.
    slab_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    sessions: usize,
    gates: usize,
    /// From the start of the clients until the last one has spoken.
    connect_s: f64,
    sessions_per_s: f64,
    before: Cost,
    idle: Cost,
    bytes_per_session: f64,
    slab_bytes_per_session: f64,
    seconds: f64,
    /// The part of one core that gates and node used meanwhile, and that the clients did.
    server_cores: f64,
    clients_cores: f64,
    /// Sessions at the end that were not there any more.
    lost: u64,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { machine, sessions, gates, connect_s, sessions_per_s, .. } = self;
        writeln!(
            f,
            "{sessions} idle sessions on {gates} gates: {:.0} bytes each of the gates' and the node's \
             memory, {:.0} of the kernel's for both ends",
            self.bytes_per_session, self.slab_bytes_per_session
        )?;
        writeln!(
            f,
            "  all there after {connect_s:.1} s: {sessions_per_s:.0}/s, clients on the same machine"
        )?;
        writeln!(
            f,
            "  idle for {:.0} s, each with a heartbeat every 5 s: {:.3} cores for gates and node, {:.3} \
             for the clients",
            self.seconds, self.server_cores, self.clients_cores
        )?;
        writeln!(f, "  lost: {}", self.lost)?;
        write!(f, "on {machine}")
    }
}

/// How many sessions each gate has: as even as can be, and none more than `most`.
fn shares(sessions: usize, most: usize) -> Vec<usize> {
    let gates = sessions.div_ceil(most.max(1)).max(1);
    let each = sessions.checked_div(gates).unwrap_or(0);
    let more = sessions.checked_rem(gates).unwrap_or(0);
    (0..gates).map(|gate| each.saturating_add(usize::from(gate < more))).collect()
}

pub(super) fn run(
    (sessions, per_gate): (usize, usize),
    seconds: u64,
    json: bool,
) -> io::Result<ExitCode> {
    let shares = shares(sessions, per_gate);
    need_descriptors(shares.iter().copied().max().unwrap_or(0))?;
    let machine = Machine::describe();
    let mut fleet = Fleet::start(shares.len())?;
    let (pids, addresses) = (fleet.pids(), fleet.addresses());
    // One session of each gate comes first, so that what is allocated once is not a session's.
    let first = addresses.iter().map(|gate| speak(&Target::tcp(*gate), 1, &request()));
    let first: Vec<_> = first.collect::<io::Result<_>>()?;
    let before = Cost::of(&pids)?;
    drop(first);
    let start = shared_ns();
    let mut clients = Vec::new();
    for (gate, share) in addresses.iter().zip(&shares) {
        let arguments = [format!("--gate={gate}"), format!("--connections={share}")];
        clients.push(spawn(&[vec!["idle-clients".to_owned()], arguments.to_vec()].concat())?);
    }
    let mut there = 0_usize;
    for (process, share) in clients.iter_mut().zip(&shares) {
        wait_for(process)?;
        there = there.saturating_add(*share);
        note(&format!("{there} of {sessions} sessions have spoken"));
    }
    let connect_s = seconds_since(start);
    let clients_pids: Vec<_> = clients.iter().map(Server::pid).collect();
    let (server_cpu, clients_cpu) = (CpuTimes::of(&pids)?, CpuTimes::of(&clients_pids)?);
    let calm = shared_ns();
    poll::pass(Duration::from_secs(seconds.max(1)))?;
    let seconds = seconds_since(calm);
    let server = CpuTimes::of(&pids)?.since(&server_cpu).as_secs_f64();
    let of_clients = CpuTimes::of(&clients_pids)?.since(&clients_cpu).as_secs_f64();
    let idle = Cost::of(&pids)?;
    let connections = fleet.doors()?.connections;
    let expected = count(sessions);
    for process in clients {
        process.stop()?;
    }
    fleet.stop()?;
    let each = |from: u64, to: u64| ratio(float(to.saturating_sub(from)), float(expected));
    let report = Report {
        machine,
        sessions,
        gates: shares.len(),
        connect_s,
        sessions_per_s: ratio(float(expected), connect_s),
        before,
        idle,
        bytes_per_session: each(before.memory_bytes, idle.memory_bytes),
        slab_bytes_per_session: each(before.slab_bytes, idle.slab_bytes),
        seconds,
        server_cores: ratio(server, seconds),
        clients_cores: ratio(of_clients, seconds),
        lost: expected.saturating_sub(connections),
    };
    result(json, &report, &report.to_string())?;
    Ok(if report.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seconds_since(start: u64) -> f64 {
    Duration::from_nanos(shared_ns().saturating_sub(start)).as_secs_f64()
}

fn wait_for(clients: &mut Server) -> io::Result<()> {
    let there: There = serde_json::from_str(&clients.ask("there?", CONNECT_MAX)?)?;
    there.failure.map_or(Ok(()), |failure| Err(io::Error::other(failure)))
}

impl Cost {
    fn of(pids: &[u32]) -> io::Result<Self> {
        let memory = pids.iter().map(|pid| anonymous_memory(*pid));
        let meminfo = read_to_string("/proc/meminfo")?;
        let slab_bytes = slab(&meminfo).ok_or(ErrorKind::InvalidData)?;
        Ok(Self { memory_bytes: memory.sum::<io::Result<u64>>()?, slab_bytes })
    }
}

/// The kernel's slabs in bytes.
fn slab(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// The process of one gate's clients: they connect, speak once, and stay until its input ends.
pub(in crate::command) fn run_clients(args: &ClientsArgs) -> io::Result<ExitCode> {
    need_descriptors(args.connections)?;
    let (start, target, connections) = (shared_ns(), Target::tcp(args.gate), args.connections);
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let spoken = speak(&target, connections, &request());
        let failure = spoken.as_ref().err().map(ToString::to_string);
        let after_ns = shared_ns().saturating_sub(start).min(nanos(STAY));
        tell.send(There { after_ns, failure }).unwrap_or_default();
        if let Ok(mut all) = spoken {
            // Whoever goes meanwhile is missed by the gate.
            all.listen(STAY, &mut |_| ()).map(drop).unwrap_or_default();
        }
    });
    announce((Ipv4Addr::LOCALHOST, 0).into())?;
    answer_until_input_ends(|_| {
        let there = told.recv().map_err(io::Error::other)?;
        Ok(serde_json::to_string(&there)?)
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_spread_evenly_over_as_few_gates_as_carry_them() {
        assert_eq!(shares(100_000, 19_000), [16_667, 16_667, 16_667, 16_667, 16_666, 16_666]);
        assert_eq!(shares(19_000, 19_000), [19_000]);
        assert_eq!(shares(19_001, 19_000), [9_501, 9_500]);
        assert_eq!(shares(0, 0), [0]);
    }

    #[test]
    fn the_kernels_slabs_are_read_in_bytes() {
        let meminfo = "MemTotal:  24000 kB\nSlab:            2048 kB\nSReclaimable:  7 kB\n";
        assert_eq!(slab(meminfo), Some(2 * 1024 * 1024));
        assert_eq!(slab("SReclaimable: 7 kB\n"), None);
    }
}
