//! The gate under attack: tcp and ws on ports of their own, a node with login and echo.
//!
//! What a user would write, with every default but the limit of connections. It follows the
//! protocol of [`crate::process`]; each line of its input is answered with a [`Look`].
use crate::process::{announce, answer_until_input_ends};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use yumen::gate::GateHandle;
use yumen::prelude::{App, Cluster, Gate, Node, Raw, Router, Session, Status, Tcp, UserId, Ws, on};

/// Binds the connection to the user whose number is the body.
pub(super) const LOGIN: u16 = 1;
/// Answers with the same bytes.
pub(super) const ECHO: u16 = 2;

/// What the gate has counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Look {
    /// Where its WebSocket listener is.
    pub(super) web: Option<SocketAddr>,
    pub(super) connections: u64,
    pub(super) accepted: u64,
    pub(super) closed: u64,
    /// The connections that have ended, by reason.
    pub(super) closed_by_reason: BTreeMap<String, u64>,
    pub(super) refused: u64,
    pub(super) accept_errors: u64,
    /// Messages that went no further.
    pub(super) dropped: u64,
}

async fn login(session: Session, body: Raw) -> Result<Raw, Status> {
    let number = std::str::from_utf8(&body.0).ok().and_then(|text| text.parse().ok());
    let user = number.ok_or_else(|| Status::invalid_argument("not a number"))?;
    session.bind(UserId(user)).await?;
    Ok(body)
}

async fn echo(body: Raw) -> Raw {
    body
}

/// Serves until standard input ends.
pub(in crate::command) fn run() -> io::Result<ExitCode> {
    let cluster = Cluster::in_process();
    let routes = Router::new().route(i32::from(LOGIN), on(login)).route(i32::from(ECHO), on(echo));
    let node = Node::builder(&cluster, "game", |_| ()).routes(routes).build();
    let gate = Gate::builder(&cluster)
        .listen(Tcp::on("127.0.0.1:0").connections_max(0))
        .listen(Ws::on("127.0.0.1:0").path(super::deed::PATH).connections_max(0))
        .build()
        .map_err(io::Error::other)?;
    let (handle, (stop, stopped)) = (gate.handle(), tokio::sync::oneshot::channel::<()>());
    let address = gate.addresses().first().copied().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let desk = tokio::runtime::Builder::new_current_thread().build()?;
    std::thread::spawn(move || {
        let answer = |_: &str| Ok(serde_json::to_string(&desk.block_on(look(&handle)))?);
        // An input that cannot be read has ended as well.
        answer_until_input_ends(answer).unwrap_or_default();
        drop(stop);
    });
    let app = App::default().pairs(gate, node.map_err(io::Error::other)?);
    announce(address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = async { stopped.await.unwrap_or_default() };
    runtime.block_on(app.run_until(stop)).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

async fn look(gate: &GateHandle) -> Look {
    let stats = gate.stats().await;
    let named = |(name, count): (&str, u64)| (count > 0).then(|| (name.to_owned(), count));
    Look {
        web: gate.addresses().get(1).copied(),
        connections: stats.connections,
        accepted: stats.accepted,
        closed: stats.closed,
        closed_by_reason: stats.closed_by_reason().into_iter().filter_map(named).collect(),
        refused: stats.refused,
        accept_errors: stats.accept_errors,
        dropped: stats.dropped(),
    }
}
