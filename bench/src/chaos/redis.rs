//! One Redis Cluster out of servers that know of no other: three primaries, then a replica of each.
//!
//! Every server is told itself, by the commands that Redis' own tool uses; nothing is done to them afterwards.
use super::plan::REDIS_SERVERS;
use crate::backend::{Backend, Kind};
use crate::poll;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// The first and the last slot of each primary.
const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];
/// Longest wait until they are one.
const SETTLED_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts all of them below `scratch`, by name.
///
/// # Errors
/// As [`Backend::start`]; a server that refuses; `TimedOut` if they do not become one.
pub(super) fn start(scratch: &Path) -> io::Result<BTreeMap<&'static str, Backend>> {
    let mut servers = Vec::new();
    for name in REDIS_SERVERS {
        let dir = scratch.join(name);
        std::fs::create_dir(&dir)?;
        servers.push(Backend::start(Kind::RedisOfMany, &dir)?);
    }
    let first = servers.first().ok_or(ErrorKind::NotFound)?;
    for (epoch, server) in (1..).zip(&servers) {
        server.ask_redis(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}"))?;
    }
    for (server, (from, to)) in servers.iter().zip(SLOTS) {
        server.ask_redis(&format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?;
    }
    for server in servers.iter().skip(1) {
        let (at, gossip) = (first.address(), first.gossip());
        server.ask_redis(&format!("CLUSTER MEET {} {} {gossip}", at.ip(), at.port()))?;
    }
    until(|| all(&servers, "CLUSTER INFO", "cluster_known_nodes:6"))?;
    for (primary, replica) in servers.iter().zip(servers.iter().skip(SLOTS.len())) {
        let id = primary.ask_redis("CLUSTER MYID")?;
        replica.ask_redis(&format!("CLUSTER REPLICATE {id}"))?;
    }
    until(|| {
        let copies = servers.get(SLOTS.len()..).unwrap_or_default();
        Ok(all(&servers, "CLUSTER INFO", "cluster_state:ok")?
            && all(copies, "INFO replication", "master_link_status:up")?)
    })?;
    Ok(REDIS_SERVERS.into_iter().zip(servers).collect())
}

/// How many keys all of them hold together, each counted once.
///
/// # Errors
/// One that does not answer.
pub(super) fn keys<'a>(servers: impl Iterator<Item = &'a Backend>) -> io::Result<u64> {
    let mut sum = 0_u64;
    for server in servers {
        if server.ask_redis("INFO replication")?.contains("role:master") {
            sum = sum.saturating_add(server.keys()?);
        }
    }
    Ok(sum)
}

fn all(servers: &[Backend], question: &str, part: &str) -> io::Result<bool> {
    for server in servers {
        if !server.ask_redis(question)?.contains(part) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn until(mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    while !is_so()? {
        if waited >= SETTLED_MAX {
            let text = "the servers do not become one Redis Cluster";
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        poll::pass(LOOK_EVERY)?;
        waited = waited.saturating_add(LOOK_EVERY);
    }
    Ok(())
}
