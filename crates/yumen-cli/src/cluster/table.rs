//! Who is where, for a person and for scripts, and how to play.
use super::crew::Crew;
use super::member::Doors;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use yumen_bench::backend::Backend;

/// Everybody with process id and addresses.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// By name.
    #[serde(flatten)]
    servers: BTreeMap<&'static str, Server>,
    gates: Vec<Member>,
    nodes: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Server {
    pid: u32,
    address: SocketAddr,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    pid: u32,
    #[serde(flatten)]
    doors: Doors,
}

impl Table {
    pub(super) fn of(crew: &Crew) -> Self {
        let server = |backend: &Backend| {
            (backend.kind().name(), Server { pid: backend.pid(), address: backend.address() })
        };
        let members = |gate: bool| {
            let all = crew.members.iter().map(|(name, member)| {
                let doors = member.doors.unwrap_or_default();
                Member { id: (*name).to_owned(), pid: member.child.id(), doors }
            });
            all.filter(|member| member.doors.tcp.is_some() == gate).collect()
        };
        Self {
            servers: [&crew.registry, &crew.redis].map(server).into(),
            gates: members(true),
            nodes: members(false),
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<8} {:>8}  where", "who", "pid")?;
        for (name, Server { pid, address }) in &self.servers {
            writeln!(f, "{name:<8} {pid:>8}  {address}")?;
        }
        for Member { id, pid, doors } in self.nodes.iter().chain(&self.gates) {
            writeln!(f, "{id:<8} {pid:>8}  {}", doors.text())?;
        }
        let program = std::env::args().next().unwrap_or_else(|| "yumen".to_owned());
        let door = self.gates.first().and_then(|gate| gate.doors.tcp);
        if let (Some(door), Some(node)) = (door, self.nodes.first()) {
            let echo = "--route 2 --rate 200 --seconds 60";
            writeln!(f, "\nplay, from another terminal:")?;
            writeln!(f, "  {program} bench call --connect {door} --route 5 --data '{{}}'")?;
            writeln!(f, "  {program} bench echo --connect {door} {echo}")?;
            writeln!(f, "break something meanwhile:")?;
            writeln!(f, "  kill -9 {}      kill -STOP {0}      kill -CONT {0}", node.pid)?;
        }
        writeln!(f, "replace every process meanwhile:\n  {program} cluster roll")?;
        write!(f, "Ctrl-C stops everything")
    }
}
