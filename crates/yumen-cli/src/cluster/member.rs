//! One gate or node of `cluster up`: what a studio's own program would be.
//!
//! One line of its standard output, in JSON, says where it is, for the parent; the others are its log. SIGTERM
//! drains it, and the kernel kills it when the parent is gone.
use crate::demo::game;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use yumen::prelude::*;
use yumen::settings::Loader;

/// What a member is started with.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemberArgs {
    /// Its id in the cluster.
    #[arg(long)]
    id: String,
    /// Directory of settings: those of this cluster, whatever else whoever plays has.
    #[arg(long)]
    etc: PathBuf,
    /// The process to die with.
    #[arg(long, value_name = "PID")]
    parent: u32,
}

/// Where clients find a member: a gate has both, a node neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doors {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ws: Option<SocketAddr>,
}

impl Doors {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        match (self.tcp, self.ws) {
            (Some(tcp), Some(ws)) => format!("tcp {tcp}, ws://{ws}"),
            _ => "no clients: gates know where it is".to_owned(),
        }
    }
}

/// Runs a gate until it is told to stop.
pub(crate) fn gate(args: &MemberArgs) -> ExitCode {
    serve(args, "gate", |settings, cluster| {
        let gate = Gate::builder(cluster)
            .settings(settings)
            .listen(Tcp::on("127.0.0.1:0"))
            .listen(Ws::on("127.0.0.1:0"))
            .build()?;
        let mut addresses = gate.addresses().iter().copied();
        let doors = Doors { tcp: addresses.next(), ws: addresses.next() };
        Ok((App::default().with(gate), doors))
    })
}

/// Runs a node until it is told to stop.
pub(crate) fn node(args: &MemberArgs) -> ExitCode {
    serve(args, "node", |settings, cluster| {
        let node = game::node(cluster, settings)?;
        Ok((App::default().with(node), Doors::default()))
    })
}

fn serve(
    args: &MemberArgs,
    role: &str,
    build: impl FnOnce(&Settings, &Cluster) -> Result<(App, Doors), BuildError>,
) -> ExitCode {
    if let Err(error) = yumen_bench::backend::die_with_parent(args.parent) {
        super::note(&format!("{}: its parent is gone: {error}", args.id));
        return ExitCode::FAILURE;
    }
    let loader = Loader::new().dir(&args.etc).flag("set", format!("cluster.{role}.id={}", args.id));
    App::main_with(&loader, |settings| {
        let cluster = yumen_bench::backend::cluster(settings)?;
        let (app, doors) = build(settings, &cluster)?;
        say(&doors)?;
        Ok(app)
    })
}

fn say(doors: &Doors) -> io::Result<()> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, doors)?;
    writeln!(output)?;
    output.flush()
}
