//! Gate and node in one process, on one thread: route 1 answers `{"message": …}` in JSON with the same.
//!
//! A server to measure and to point clients of due at: `--etc` takes a directory of due's settings. It never
//! goes on with settings that it does not understand. It shows a program with flags of its own.
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use clap::Parser;
use std::{ffi::OsString, iter, net::SocketAddr, process::ExitCode};
use yumen::{node::IntoReply, prelude::*, settings::Loader};

#[cfg(test)]
#[path = "../client.rs"]
mod client;
#[cfg(test)]
mod tests;

const SETTINGS: &str = "Settings:
  --etc DIR, --mode MODE and --set KEY=VALUE are as for every program of Yumen, and so are DUE_ETC and
  YUMEN_... variables. examples/etc/default explains the keys for listeners and packets.

Examples:
  cargo run --release --example echo -- --etc examples/etc/bench
  cargo run --release --example echo -- --tcp 127.0.0.1:0 --set packet.routeBytes=4";

/// A gate and a node that answer `{"message": …}` on route 1 with the same.
///
/// Stops on Ctrl-C: what it has read is answered first.
#[derive(Debug, Default, Parser)]
#[command(name = "echo", max_term_width = 100, after_help = SETTINGS)]
struct Arguments {
    /// Where to listen for tcp: HOST:PORT, :PORT for every interface, port 0 for a free one.
    ///
    /// Default: network.tcp.server.addr, or else 127.0.0.1:3553.
    #[arg(long, value_name = "ADDR")]
    tcp: Option<String>,
    /// Where to listen for WebSocket, as --tcp.
    ///
    /// Default: network.ws.server.addr, or else 127.0.0.1:3653.
    #[arg(long, value_name = "ADDR")]
    ws: Option<String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Echo {
    message: String,
}

async fn echo(message: Msg<Echo>) -> impl IntoReply {
    message
}

fn main() -> ExitCode {
    let (loader, rest) = Loader::process();
    let arguments = Arguments::parse_from(iter::once(OsString::from("echo")).chain(rest));
    App::main_with(&loader, |settings| {
        let (gate, node) = server(&arguments, settings)?;
        if let [tcp, ws] = gate.addresses() {
            println!("{}", introduction(*tcp, *ws, settings));
        }
        Ok(App::default().pairs(gate, node))
    })
}

/// Binds the listeners; what the command line says wins over the settings.
fn server(arguments: &Arguments, settings: &Settings) -> Result<(Gate, Node), BuildError> {
    let tcp = arguments.tcp.as_ref().map(Tcp::on);
    let ws = arguments.ws.as_ref().map(Ws::on);
    let cluster = Cluster::in_process();
    let routes = Router::new().route(1, on(echo));
    let node = Node::builder(&cluster, "echo", |_| ()).settings(settings).routes(routes).build()?;
    let gate = Gate::builder(&cluster)
        .settings(settings)
        // A few of the largest replies may wait for a client.
        .backlog_max(settings.packet.layout().packet_max().saturating_mul(4).max(1024 * 1024))
        .listen(tcp.unwrap_or_else(|| Tcp::default_on("127.0.0.1:3553")))
        .listen(ws.unwrap_or_else(|| Ws::default_on("127.0.0.1:3653")))
        .build()?;
    Ok((gate, node))
}

/// Where it listens, and a line to try from another terminal.
fn introduction(tcp: SocketAddr, ws: SocketAddr, settings: &Settings) -> String {
    let Layout { order, route, seq, body_max, .. } = settings.packet.layout();
    let (route, seq) = (route.bytes(), seq.map_or(0, Width::bytes));
    let path = &settings.network.ws.server.path;
    let mut line = format!(
        "cargo run --release -- bench echo --connect {} --route-bytes {route} --seq-bytes {seq}",
        reachable(tcp)
    );
    if order == ByteOrder::Little {
        line.push_str(" --byte-order little");
    }
    // The generator sends 1024 letters unless told otherwise, in 14 bytes of JSON.
    if body_max < 1024 + 14 {
        line.push_str(&format!(" --size {}", body_max.saturating_sub(14)));
    }
    format!(
        "echo on tcp {tcp} and ws://{ws}{path} (route of {route} bytes, seq of {seq}); Ctrl-C stops\n\
         from another terminal: {line}"
    )
}

/// An address that a client on this machine can use.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let local =
        if addr.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    if addr.ip().is_unspecified() { SocketAddr::new(local, addr.port()) } else { addr }
}
