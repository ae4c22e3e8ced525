//! A whole server, as the README shows it: a gate on tcp and ws, and a node with one route.
//!
//! Route 1 greets whoever says a name, and counts. Needs no login, no settings and nothing installed.
#![expect(clippy::arithmetic_side_effects, reason = "the shortest code that a reader can copy")]

#[cfg(test)]
#[path = "../client.rs"]
mod client;
#[cfg(test)]
mod tests;

// readme:begin
use std::{cell::Cell, error::Error};
use yumen::prelude::*;

#[derive(serde::Deserialize)]
struct Hello {
    name: String,
}

/// The state belongs to one instance, and an instance is one thread: no locks, no `Send`.
async fn greet(State(count): State<Cell<u64>>, Msg(hello): Msg<Hello>) -> Msg<String> {
    count.update(|greeted| greeted + 1);
    Msg(format!("Hello, {}! You are number {}.", hello.name, count.get()))
}

fn server(tcp: &str, ws: &str) -> Result<(Gate, Node), BuildError> {
    let cluster = Cluster::in_process();
    let routes = Router::new().route(1, on(greet));
    let node = Node::builder(&cluster, "lobby", |_| Cell::new(0)).routes(routes).build()?;
    let gate = Gate::builder(&cluster).listen(Tcp::on(tcp)).listen(Ws::on(ws)).build()?;
    Ok((gate, node))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (gate, node) = server("127.0.0.1:3553", "127.0.0.1:3653")?;
    Ok(App::default().pairs(gate, node).run_blocking()?)
}
// readme:end
