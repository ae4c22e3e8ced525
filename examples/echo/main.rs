//! Gate and node in one process, on one thread: route 1 answers `{"message": …}` in JSON with the same.
//!
//! A server to measure and to point clients of due at: `--etc` takes a directory with an `etc.toml` of
//! due's, of which `packet.*` and `network.{tcp,ws}.server.*` count. It never goes on with settings that
//! it does not understand.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use clap::Parser;
use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode};
use yumen::{node::IntoReply, prelude::*, settings::Settings};

#[cfg(test)]
#[path = "../client.rs"]
mod client;
#[cfg(test)]
mod tests;

/// A gate and a node that answer `{"message": …}` on route 1 with the same.
///
/// Stops on Ctrl-C: what it has read is answered first.
#[derive(Debug, Default, Parser)]
#[command(name = "echo")]
struct Arguments {
    /// Where to listen for tcp: HOST:PORT, :PORT for every interface, port 0 for a free one.
    ///
    /// Default: network.tcp.server.addr of --etc, or else 127.0.0.1:3553.
    #[arg(long, value_name = "ADDR")]
    tcp: Option<String>,
    /// Where to listen for WebSocket, as --tcp.
    ///
    /// Default: network.ws.server.addr of --etc, or else 127.0.0.1:3653.
    #[arg(long, value_name = "ADDR")]
    ws: Option<String>,
    /// A directory with an etc.toml of due's, or such a file.
    ///
    /// The tables packet, network.tcp.server and network.ws.server count; examples/etc/default
    /// explains every key, examples/etc/bench is for measuring. What is not given there is as with
    /// due: routes and sequence numbers of two bytes, bodies of up to 5000 bytes.
    #[arg(long, value_name = "DIR")]
    etc: Option<PathBuf>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Echo {
    message: String,
}

async fn echo(message: Msg<Echo>) -> impl IntoReply {
    message
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo cannot run:\n{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let settings = match &arguments.etc {
        Some(dir) => Settings::read(dir)?,
        None => Settings::default(),
    };
    for note in &settings.notes {
        eprintln!("note: {note}");
    }
    let (gate, node) = server(arguments, &settings)?;
    if let [tcp, ws] = gate.addresses() {
        println!("{}", introduction(*tcp, *ws, &settings));
    }
    App::default().pairs(gate, node).run_blocking()?;
    println!("stopped");
    Ok(())
}

/// Binds the listeners; what the command line says wins over the file.
fn server(arguments: &Arguments, settings: &Settings) -> Result<(Gate, Node), BuildError> {
    let (tcp_settings, ws_settings) = (&settings.network.tcp.server, &settings.network.ws.server);
    let choose = |flag: &Option<String>, key: &str, file: &str, default: &str| {
        let written = if settings.is_set(key) { file } else { default };
        flag.clone().unwrap_or_else(|| written.to_owned())
    };
    let tcp = "etc.network.tcp.server.addr";
    let tcp = choose(&arguments.tcp, tcp, &tcp_settings.addr, "127.0.0.1:3553");
    let ws = "etc.network.ws.server.addr";
    let ws = choose(&arguments.ws, ws, &ws_settings.addr, "127.0.0.1:3653");
    let layout = settings.packet.layout();
    let cluster = Cluster::in_process();
    let node = Node::builder(&cluster, "echo", |_| ())
        .layout(layout)
        .routes(Router::new().route(1, on(echo)))
        .build()?;
    let gate = Gate::builder(&cluster)
        .layout(layout)
        // A few of the largest replies may wait for a client.
        .backlog_max(layout.packet_max().saturating_mul(4).max(1024 * 1024))
        .listen(Tcp::with(tcp, tcp_settings))
        .listen(Ws::with(ws, ws_settings))
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
