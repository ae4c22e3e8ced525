//! The server under test: gate and node in one process on one thread, with an echo route.
//!
//! As a child it follows the protocol of [`crate::process`]: the address is the first line of
//! standard output, and the end of standard input is the end of the server. What it runs is what a
//! user would write, with every default but the limit of connections. Until its input ends it
//! answers a [`Question`] in each line of it.
pub(super) mod apart;
mod control;
pub(super) mod crowd;

pub(super) use control::{Look, Noise, Noticed, Question, Stamp};

use super::LayoutArgs;
use crate::generator::BodyCodec;
use crate::process::{announce, answer_until_input_ends};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use yumen::gate::GateBuilder;
use yumen::node::NodeBuilder;
use yumen::node::{PackMsg, ProtoMsg};
use yumen::prelude::{App, Cluster, Gate, Layout, Msg, Node, Raw, Router, Tcp, Ws, on};

/// Largest body that is accepted, in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// What the server is started with.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What to listen for.
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    transport: Transport,
    /// How bodies are encoded.
    #[arg(long, value_enum, default_value_t = BodyCodec::Json)]
    codec: BodyCodec,
    #[command(flatten)]
    layout: LayoutArgs,
}

/// How packets travel between client and gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    /// As they are.
    #[default]
    Tcp,
    /// Each in a WebSocket message.
    Ws,
}

/// The message of every codec but protobuf and raw.
#[derive(Serialize, Deserialize)]
struct Echo {
    message: String,
}

/// The same message for protobuf.
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoEcho {
    #[prost(string, tag = "1")]
    message: String,
}

async fn json(Msg(echo): Msg<Echo>) -> Msg<Echo> {
    Msg(echo)
}

async fn msgpack(PackMsg(echo): PackMsg<Echo>) -> PackMsg<Echo> {
    PackMsg(echo)
}

async fn protobuf(ProtoMsg(echo): ProtoMsg<ProtoEcho>) -> ProtoMsg<ProtoEcho> {
    ProtoMsg(echo)
}

async fn raw(body: Raw) -> Raw {
    body
}

/// The echo node, with nothing else.
fn node(cluster: &Cluster, args: &ServeArgs, layout: Layout) -> NodeBuilder<()> {
    let route = args.layout.route();
    let routes = match args.codec {
        BodyCodec::Json => Router::new().route(route, on(json)),
        BodyCodec::Msgpack => Router::new().route(route, on(msgpack)),
        BodyCodec::Protobuf => Router::new().route(route, on(protobuf)),
        BodyCodec::Raw => Router::new().route(route, on(raw)),
    };
    Node::builder(cluster, "echo", |_| ()).layout(layout).routes(routes)
}

/// The gate, with every default but the limit of connections: how many there are is the generator's
/// choice.
fn gate(cluster: &Cluster, args: &ServeArgs, layout: Layout) -> GateBuilder {
    let gate = Gate::builder(cluster).layout(layout);
    match args.transport {
        Transport::Tcp => gate.listen(Tcp::on(args.listen.to_string()).connections_max(0)),
        Transport::Ws => gate.listen(Ws::on(args.listen.to_string()).connections_max(0)),
    }
}

/// Serves until standard input ends.
pub(super) fn run(args: &ServeArgs) -> io::Result<ExitCode> {
    let layout = args.layout.layout(BODY_MAX);
    let cluster = Cluster::in_process();
    let node = node(&cluster, args, layout).build();
    let gate = gate(&cluster, args, layout).build().map_err(io::Error::other)?;
    let address = gate.addresses().first().copied().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let node = node.map_err(io::Error::other)?;
    let desk = control::Desk::new(args, &gate, &node)?;
    std::thread::spawn(move || {
        // An input that cannot be read has ended as well.
        answer_until_input_ends(|line| desk.answer(line)).unwrap_or_default();
        drop(stop);
    });
    let app = App::default().pairs(gate, node);
    // Clients that connect from now on wait in the listener's backlog until the app runs.
    announce(address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = async { stopped.await.unwrap_or_default() };
    runtime.block_on(app.run_until(stop)).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}
