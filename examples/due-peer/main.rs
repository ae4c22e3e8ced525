//! A gate or a node that stands among due's, configured by due's own keys alone.
//!
//! `due-peer gate|node --etc DIR`: the registry is etcd or Consul, users are found through Redis, and every client
//! packet is due's. It takes the place of one process of a due cluster, or of all of them; README.md
//! beside it tells how.

use clap::{Parser, ValueEnum};
use std::{error::Error, path::PathBuf, process::ExitCode};
use yumen::{prelude::*, settings::Loader};
use yumen_due_peer::{Net, gate, node};
use yumen_plugins::{redis::RedisLocator, registries};

/// A gate or a node among due's processes: etcd or Consul as registry, Redis as locator, due's keys as settings.
///
/// Its links to others prove nothing, because due's cannot: let nobody but the cluster reach their ports.
#[derive(Debug, Parser)]
#[command(name = "due-peer")]
struct Flags {
    /// What it is
    #[arg(value_enum)]
    role: Role,
    /// Directory of settings, as due has it; otherwise what DUE_ETC names, otherwise ./etc
    #[arg(long, value_name = "DIR")]
    etc: Option<PathBuf>,
    /// What the gate's clients speak; where it listens stands in network.tcp.server or network.ws.server
    #[arg(long, value_enum, default_value = "tcp")]
    net: Net,
    /// Writes one setting, as --set cluster.gate.id=gate-2; any number of times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Holds the clients' connections
    Gate,
    /// Runs the game: ten routes, and the events of connections on standard output
    Node,
}

/// The cluster that due's keys describe. Peers that prove nothing are served: due's are such.
fn cluster(settings: &Settings) -> Result<Cluster, Box<dyn Error>> {
    let registry = registries::from_settings(settings).map_err(|all| all.join("; "))?;
    let locator = RedisLocator::from_settings(settings).map_err(|all| all.join("; "))?;
    Ok(Cluster::new(registry, locator).settings(settings).insecure(true))
}

fn main() -> ExitCode {
    // Checked and explained here; settings are read by the loader, which knows due's ways to write them.
    let Flags { role, net, .. } = Flags::parse();
    let (loader, _ours) = Loader::process();
    App::main_with(&loader, |settings| {
        let cluster = cluster(settings)?;
        Ok(match role {
            Role::Gate => App::default().with(gate(&cluster, settings, net)?),
            Role::Node => App::default().with(node(&cluster, settings)?),
        })
    })
}
