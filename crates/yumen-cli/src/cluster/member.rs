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
use yumen::admin::Admin;
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
    /// Where a gate listens for tcp.
    #[arg(long, default_value = "127.0.0.1:0")]
    tcp: SocketAddr,
    /// Where a gate listens for WebSocket.
    #[arg(long, default_value = "127.0.0.1:0")]
    ws: SocketAddr,
    /// The process to die with.
    #[arg(long, value_name = "PID")]
    parent: u32,
}

/// Where a member is found: by clients, which is for gates, and by whoever asks how it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doors {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ws: Option<SocketAddr>,
    /// Where a member's admin answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<SocketAddr>,
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
            .listen(Tcp::on(args.tcp.to_string()))
            .listen(Ws::on(args.ws.to_string()))
            .build()?;
        let mut addresses = gate.addresses().iter().copied();
        let doors = Doors { tcp: addresses.next(), ws: addresses.next(), admin: None };
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
        let admin = Admin::bind("127.0.0.1:0", "")?;
        say(&Doors { admin: Some(admin.addr()), ..doors })?;
        Ok(app.admin(admin))
    })
}

fn say(doors: &Doors) -> io::Result<()> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, doors)?;
    writeln!(output)?;
    output.flush()
}
