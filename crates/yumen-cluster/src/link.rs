//! How an instance is reached from other processes: what is decided, bound and announced.
//!
//! A gate and a node differ in nothing here. Nothing is bound or dialled where the cluster is of one process.
//! The one thing to know: what is listened on and what is announced are two things, and the second is
//! never looked up outside (W-27).

mod address;
mod listen;

pub(crate) use listen::{Door, follow, go_outside, say_farewell};

use crate::{
    cluster::{Cluster, Terms},
    instance::{INSTANCES_MAX, instance_id},
    secure::SecureLinks,
};
use listen::Listening;
use std::{net::SocketAddr, time::Duration};
use yumen_mesh::Tuning;
use yumen_net::tcp;
use yumen_proto::{
    id::InstanceId,
    link::{Kind, LinkSettings},
};
use yumen_settings::Settings;

/// What code has said of a component's links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    pub(crate) addr: Option<String>,
    pub(crate) advertise: Option<String>,
}

/// Everything decided for the instances of one component.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    kind: Kind,
    addr: String,
    /// Empty: what it listens on.
    advertise: String,
    tuning: Tuning,
    write_stall_max: Option<Duration>,
    terms: Terms,
}

/// The settings of links, which gates and nodes have under other names.
struct Written {
    addr: String,
    advertise: String,
    tuning: Tuning,
    write_timeout: Duration,
}

impl Written {
    fn new(settings: &Settings, kind: Kind) -> Self {
        macro_rules! read {
            ($kind:ident) => {{
                let links = &settings.cluster.$kind;
                let tuning = Tuning {
                    conns: usize::try_from(links.conn_num).unwrap_or(1),
                    call_max: links.call_timeout,
                    dial_max: links.dial_timeout,
                    dial_tries: u32::try_from(links.dial_retry_times).unwrap_or(1),
                    ..Tuning::default()
                };
                let advertise = settings.yumen.$kind.advertise.clone();
                let (addr, write_timeout) = (links.addr.clone(), links.write_timeout);
                Self { addr, advertise, tuning, write_timeout }
            }};
        }
        if kind == Kind::Gate { read!(gate) } else { read!(node) }
    }
}

/// The word in the names of keys.
fn word(kind: Kind) -> &'static str {
    if kind == Kind::Gate { "gate" } else { "node" }
}

impl Plan {
    /// `None` if the cluster is of one process. What is wrong is added to `problems`.
    pub(crate) fn decide(
        cluster: &Cluster,
        kind: Kind,
        code: Code,
        written: Option<&Settings>,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let terms = cluster.terms(written, problems)?;
        let usual = Written {
            addr: ":0".to_owned(),
            advertise: String::new(),
            tuning: Tuning::default(),
            write_timeout: Duration::ZERO,
        };
        let written = written.map_or(usual, |settings| Written::new(settings, kind));
        let advertise = code.advertise.unwrap_or(written.advertise);
        if !advertise.is_empty() && !address::is_dialled(&advertise) {
            problems.push(format!(
                "{advertise:?} cannot be announced to other instances: write the host:port that they \
                 dial into yumen.{}.advertise or `.advertise(...)`",
                word(kind)
            ));
        }
        let write_stall_max = Some(written.write_timeout).filter(|limit| !limit.is_zero());
        let addr = code.addr.unwrap_or(written.addr);
        Some(Self { kind, addr, advertise, tuning: written.tuning, write_stall_max, terms })
    }

    /// Binds the listener of one instance: `index` ports behind the one that is written, if one is.
    pub(crate) fn bind(
        &self,
        id: &InstanceId,
        index: u16,
        problems: &mut Vec<String>,
    ) -> Option<Door> {
        let addr = address::shifted(&self.addr, index);
        let bound = tcp::bind(&addr).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (local, socket) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                let key = format!("cluster.{}.addr or `.link_addr(...)`", word(self.kind));
                problems.push(address::advice(&addr, &key, &error));
                return None;
            }
        };
        if let Some(problem) = self.exposed(local) {
            // Said once for all instances.
            problems.extend((index == 0).then_some(problem));
            return None;
        }
        let host = address::split(&addr).map_or("", |(host, _)| host);
        let announced =
            address::announced(host, local, self.advertised(index), yumen_net::local::sources);
        let mut door = self.door(id, Listening::Bound(socket, announced.endpoint));
        door.warnings.extend(announced.warning.filter(|_| index == 0));
        if index == 0 {
            door.warnings.extend(self.terms.links.notes.iter().cloned());
        }
        if index == 0 && self.terms.insecure && !local.ip().is_loopback() {
            door.warnings.push(format!(
                "yumen.cluster.insecure is true and {local} listens for other machines: whoever reaches it{} \
                 can act as a gate or a node of this cluster without any proof",
                if self.terms.allow == Default::default() { "" } else { " from the addresses of yumen.cluster.allow" },
            ));
        }
        Some(door)
    }

    /// For a virtual network: the instance listens through its own `Env`.
    pub(crate) fn unbound(&self, id: &InstanceId, index: u16) -> Door {
        let addr = address::shifted(&self.addr, index);
        let advertise = self.advertised(index).map(|(host, port)| (host.to_owned(), port));
        self.door(id, Listening::Through { addr, advertise })
    }

    /// What is announced instead of the address that is listened on; port 0 is the one of the listener.
    fn advertised(&self, index: u16) -> Option<(&str, u16)> {
        let (host, port) = address::split(&self.advertise)?;
        Some((host, address::behind(port, index)))
    }

    /// What is wrong with listening there, if nobody has to prove anything.
    fn exposed(&self, local: SocketAddr) -> Option<String> {
        let kind = word(self.kind);
        let safe =
            local.ip().is_loopback() || self.terms.insecure || !self.terms.secrets.is_empty();
        let guard = self.terms.links.guard();
        let safe = safe || (guard.is_on() && !guard.allows_plain());
        (!safe).then(|| {
            format!(
                "cluster.{kind}.addr {:?} listens for other machines, and there is no cluster secret: whoever \
                 reaches the port could act as a gate or a node of this cluster. Give every process the \
                 same yumen.cluster.secret (at least 16 bytes; `openssl rand -hex 32` makes one), or \
                 listen for this machine only with cluster.{kind}.addr = \"127.0.0.1:0\", or accept it with \
                 yumen.cluster.insecure = true, which instances of due need",
                self.addr
            )
        })
    }

    fn door(&self, id: &InstanceId, listening: Listening) -> Door {
        let mut settings = LinkSettings::new(self.kind, id.as_str());
        settings.cluster = self.terms.name.as_str().into();
        settings.secrets.clone_from(&self.terms.secrets);
        settings.insecure = self.terms.insecure;
        settings.write_stall_max = self.write_stall_max.unwrap_or(settings.write_stall_max);
        let (allow, tuning) = (self.terms.allow.clone(), self.tuning);
        Door {
            settings,
            allow,
            tuning,
            listening,
            links: self.terms.links.clone(),
            warnings: Vec::new(),
        }
    }
}

/// Binds the listeners of a component's instances, its `id` being that of the first.
pub(crate) fn bind(
    plan: Option<&Plan>,
    (id, instances): (&str, u16),
    problems: &mut Vec<String>,
) -> Vec<Option<Door>> {
    let door = |index| plan.and_then(|plan| plan.bind(&instance_id(id, index), index, problems));
    (0..instances.min(INSTANCES_MAX)).map(door).collect()
}

/// The same for a virtual network.
pub(crate) fn unbound(plan: Option<&Plan>, (id, instances): (&str, u16)) -> Vec<Option<Door>> {
    let door = |index| plan.map(|plan| plan.unbound(&instance_id(id, index), index));
    (0..instances).map(door).collect()
}

/// What the process has to know of the links of an instance before it starts.
pub(crate) fn facts(door: Option<&Door>) -> Option<Facts> {
    let door = door?;
    Some(Facts {
        endpoint: door.endpoint().map(str::to_owned),
        conns: door.tuning.conns,
        warnings: door.warnings.clone(),
        links: door.links.clone(),
    })
}

/// What the process has to know of the links of an instance before it starts.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Where other instances reach it, as its record says; `None` while nothing is bound.
    pub(crate) endpoint: Option<String>,
    /// Connections to each of due's instances.
    pub(crate) conns: usize,
    /// What is to be said at the start.
    pub(crate) warnings: Vec<String>,
    /// Files that are to be followed.
    pub(crate) links: SecureLinks,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use yumen_core::memory::{MemoryLocator, MemoryRegistry};

    fn cluster() -> Cluster {
        Cluster::new(MemoryRegistry::default(), MemoryLocator::default())
    }

    fn code(addr: &str) -> Code {
        Code { addr: Some(addr.to_owned()), advertise: None }
    }

    /// What comes of these, and what is wrong with it.
    fn bind(cluster: &Cluster, code: Code, index: u16) -> (Option<Door>, Vec<String>) {
        let mut problems = Vec::new();
        let plan = Plan::decide(cluster, Kind::Node, code, None, &mut problems).unwrap();
        let door = plan.bind(&"room".into(), index, &mut problems);
        (door, problems)
    }

    #[test]
    fn what_is_written_reaches_the_links() {
        let text = "[cluster.gate]\naddr = '127.0.0.1:0'\nconnNum = 2\ncallTimeout = '4s'\n\
            dialTimeout = '5s'\ndialRetryTimes = 6\nwriteTimeout = '7s'\n\
            [yumen.cluster]\nname = 'blue'\nsecret = 'sixteen bytes or more'\nallow = ['10.0.0.0/8']\n\
            [yumen.gate]\nadvertise = 'gate.example:9'";
        let settings = Settings::parse(text, Path::new("etc.toml")).unwrap();
        let mut problems = Vec::new();
        let plan =
            Plan::decide(&cluster(), Kind::Gate, Code::default(), Some(&settings), &mut problems);
        let door = plan.unwrap().bind(&"gate".into(), 1, &mut problems).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let (links, tuning) = (&door.settings, &door.tuning);
        assert_eq!((&*links.cluster, links.secrets.len(), &*links.id), ("blue", 1, "gate"));
        assert_eq!(links.write_stall_max, Duration::from_secs(7));
        let times = [tuning.call_max, tuning.dial_max].map(|time| time.as_secs());
        assert_eq!((tuning.conns, tuning.dial_tries, times), (2, 6, [4, 5]));
        assert!(!door.allow.admits("192.168.0.1".parse().unwrap()));
        assert_eq!(door.endpoint(), Some("drpc://gate.example:10?is_secure=false"));
    }

    #[test]
    fn a_cluster_of_one_process_binds_nothing() {
        let mut problems = Vec::new();
        let plan =
            Plan::decide(&Cluster::in_process(), Kind::Node, code("nonsense"), None, &mut problems);
        assert!(plan.is_none() && problems.is_empty());
    }

    #[test]
    fn who_listens_for_others_without_a_secret_is_refused_with_three_ways_out() {
        let (door, problems) = bind(&cluster(), code("0.0.0.0:0"), 0);
        assert!(door.is_none());
        for part in [
            "cluster.node.addr \"0.0.0.0:0\"",
            "yumen.cluster.secret",
            "127.0.0.1:0",
            "yumen.cluster.insecure",
        ] {
            assert!(problems[0].contains(part), "{part}: {problems:?}");
        }
        let (door, problems) = bind(&cluster(), code("127.0.0.1:0"), 0);
        assert!(door.unwrap().warnings.is_empty() && problems.is_empty());
        let (door, _) = bind(&cluster().secret("sixteen bytes or more"), code(":0"), 0);
        let said = door.unwrap().warnings;
        assert!(said.iter().all(|line| !line.contains("insecure")), "{said:?}");
        let (door, problems) = bind(&cluster().insecure(true), code(":0"), 0);
        let said = door.unwrap().warnings;
        assert!(
            problems.is_empty() && said.iter().any(|line| line.contains("without any proof")),
            "{said:?}"
        );
    }

    #[test]
    fn what_cannot_be_bound_or_announced_is_said_with_its_key() {
        let taken = tcp::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let (_, problems) = bind(&cluster(), code(&addr), 0);
        assert!(
            problems[0].contains("in use") && problems[0].contains("cluster.node.addr"),
            "{problems:?}"
        );
        for advertise in [":7", "host", "host:port", "0.0.0.0:7", "[::]:7"] {
            let code = Code { advertise: Some(advertise.to_owned()), ..code("127.0.0.1:0") };
            let (_, problems) = bind(&cluster(), code, 0);
            assert!(problems[0].contains("yumen.node.advertise"), "{advertise}: {problems:?}");
        }
    }
}
