//! The server under test as two processes: a gate and a node that find each other in a list.
//!
//! The node is started first and answers any question with its record, as JSON. The gate is started with
//! a file that lists it. Both follow the protocol of [`crate::process`].
use super::{BODY_MAX, ServeArgs, gate, node};
use crate::process::{announce, answer_until_input_ends};
use clap::Args;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use tokio::sync::oneshot;
use yumen::app::App;
use yumen::cluster::Cluster;
use yumen::memory::MemoryLocator;
use yumen::proto::link::Kind;
use yumen::registry::StaticRegistry;

/// Where both listen for each other.
const LINKS: &str = "127.0.0.1:0";
/// What both prove to each other that they know, as the processes of a real cluster do.
const SECRET: &str = "gate and node of one benchmark";

/// What the gate is started with.
#[derive(Debug, Clone, Args)]
pub struct GateArgs {
    /// The file that lists the node.
    #[arg(long)]
    list: PathBuf,
    /// Instances of the gate, each on a thread of its own.
    #[arg(long, default_value_t = 1)]
    instances: u16,
    #[command(flatten)]
    serve: ServeArgs,
}

/// A node in a process of its own, until its input ends.
pub(in crate::command) fn run_node(args: &ServeArgs) -> io::Result<ExitCode> {
    let list = StaticRegistry::new([]).map_err(io::Error::other)?;
    let cluster = Cluster::new(list, MemoryLocator::default()).secret(SECRET);
    let node = node(&cluster, args, args.layout.layout(BODY_MAX)).link_addr(LINKS).build();
    let node = node.map_err(io::Error::other)?;
    let (tell, told) = mpsc::sync_channel::<String>(1);
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // The record is there once the node has started.
        let record = told.recv().unwrap_or_default();
        answer_until_input_ends(|_| Ok(record.clone())).unwrap_or_default();
        drop(stop);
    });
    // Where a node listens is nobody's business but the gate's, which reads it in the record.
    announce((Ipv4Addr::LOCALHOST, 0).into())?;
    let registry = cluster.registry().clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = async {
        if let Ok(mut nodes) = registry.watch(Kind::Node).await {
            while nodes.current().is_empty() && nodes.changed().await {}
            let record = nodes.current().first().and_then(|node| serde_json::to_string(node).ok());
            tell.send(record.unwrap_or_default()).unwrap_or_default();
        }
        stopped.await.unwrap_or_default();
    };
    runtime.block_on(App::default().with(node).run_until(served)).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

/// A gate in a process of its own, until its input ends.
pub(in crate::command) fn run_gate(args: &GateArgs) -> io::Result<ExitCode> {
    let list = StaticRegistry::from_file(&args.list).map_err(io::Error::other)?;
    let cluster = Cluster::new(list, MemoryLocator::default()).secret(SECRET);
    let layout = args.serve.layout.layout(BODY_MAX);
    let gate = gate(&cluster, &args.serve, layout).link_addr(LINKS).instances(args.instances);
    let gate = gate.build().map_err(io::Error::other)?;
    let address = gate.addresses().first().copied().ok_or(ErrorKind::AddrNotAvailable)?;
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        answer_until_input_ends(|_| Ok(String::new())).unwrap_or_default();
        drop(stop);
    });
    announce(address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = async { stopped.await.unwrap_or_default() };
    runtime.block_on(App::default().with(gate).run_until(stop)).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}
