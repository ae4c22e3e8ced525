//! One process of the fleet: any number of gates and nodes on one cluster.
//!
//! With etcd and Redis they belong to the fleet; without, to this process alone. It follows the protocol
//! of [`crate::process`]: the first line of its output is where clients connect (a node prints port 0),
//! and the end of its input is its end.
use super::game;
use super::plan::CLOSES_PER_SECOND;
use super::saves::Saves;
use crate::process::{announce, answer_until_input_ends};
use clap::Args;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use yumen::app::{Control, Phase};
use yumen::prelude::*;
use yumen::settings::Loader;

/// What the process is made of.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Ids of its gates.
    #[arg(long, value_name = "ID")]
    gate: Vec<String>,
    /// Ids of its nodes.
    #[arg(long, value_name = "ID")]
    node: Vec<String>,
    /// The fleet's etcd and Redis; without them everything stays in this process.
    /// Several servers of Redis are one cluster.
    #[arg(long, value_names = ["ETCD", "REDIS"], num_args = 2..)]
    fleet: Vec<SocketAddr>,
    /// Where users' counts are kept when they move from node to node; without it they die with a node.
    #[arg(long, value_name = "DIR")]
    saves: Option<PathBuf>,
    /// Where it listens for the others of the fleet.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    link: SocketAddr,
    /// Where they dial it; without it, where it listens.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<SocketAddr>,
    /// The process to die with.
    #[arg(long, value_name = "PID")]
    parent: u32,
}

/// Serves until its input ends.
pub(crate) fn run(args: &ServeArgs) -> io::Result<ExitCode> {
    crate::backend::die_with_parent(args.parent)?;
    let mut loader = Loader::new();
    if let [etcd, redis @ ..] = args.fleet.as_slice() {
        let redis: Vec<_> = redis.iter().map(SocketAddr::to_string).collect();
        for set in [
            format!("registry.etcd.addrs={etcd}"),
            format!("locate.redis.addrs={}", redis.join(",")),
            format!("cluster.gate.addr={}", args.link),
            format!("cluster.node.addr={}", args.link),
            format!("yumen.gate.closesPerSecondMax={CLOSES_PER_SECOND}"),
        ] {
            loader = loader.flag("set", set);
        }
        if let Some(address) = args.advertise {
            for kind in ["gate", "node"] {
                loader = loader.flag("set", format!("yumen.{kind}.advertise={address}"));
            }
        }
    }
    let settings = loader.load().map_err(io::Error::other)?;
    let cluster = if args.fleet.is_empty() {
        Cluster::in_process()
    } else {
        crate::backend::cluster(&settings)?
    };
    let mut app = App::default().settings(&settings);
    let mut addresses = Vec::new();
    for id in &args.node {
        let saves = args.saves.as_deref().map(Saves::new);
        app = app.with(game::node(&cluster, &settings, id, saves).map_err(io::Error::other)?);
    }
    for id in &args.gate {
        let gate = Gate::builder(&cluster)
            .id(id.clone())
            .settings(&settings)
            .duplicate_login(DuplicateLogin::Displace)
            .listen(Tcp::on("127.0.0.1:0").connections_max(0));
        let gate = gate.build().map_err(io::Error::other)?;
        addresses.extend(gate.addresses().first().copied());
        app = app.with(gate);
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (known, control) = (addresses.clone(), app.control());
    std::thread::spawn(move || {
        answer_until_input_ends(|question| match question {
            "ready" => Ok(is_ready(&control).to_string()),
            // Every other question is the one for the addresses of the gates.
            _ => Ok(serde_json::to_string(&known)?),
        })
        .unwrap_or_default();
        drop(stop);
    });
    announce(addresses.first().copied().unwrap_or((Ipv4Addr::LOCALHOST, 0).into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = async { stopped.await.unwrap_or_default() };
    runtime.block_on(app.run_until(stop)).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether it serves and the registry knows all of it.
fn is_ready(control: &Control) -> bool {
    control.phase() == Phase::Serving
        && control.instances().iter().all(|instance| instance.unregistered.is_none())
}
