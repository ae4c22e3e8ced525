//! A whole server, as the README shows it: a gate on tcp and ws, and a node with one route.
//!
//! Route 1 greets whoever says a name, and counts. Needs no login and nothing installed; settings may
//! say otherwise than it does (`--etc`, `DUE_ETC`, `./etc`).
#![expect(clippy::arithmetic_side_effects, reason = "the shortest code that a reader can copy")]

#[cfg(test)]
#[path = "../client.rs"]
mod client;
#[cfg(test)]
mod tests;

// readme:begin
use std::{cell::Cell, process::ExitCode};
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

fn server(settings: &Settings) -> Result<(Gate, Node), BuildError> {
    let cluster = Cluster::in_process();
    let routes = Router::new().route(1, on(greet));
    let node = Node::builder(&cluster, "lobby", |_| Cell::new(0)).settings(settings).routes(routes);
    let gate = Gate::builder(&cluster)
        .settings(settings)
        .listen(Tcp::default_on("127.0.0.1:3553"))
        .listen(Ws::default_on("127.0.0.1:3653"));
    Ok((gate.build()?, node.build()?))
}

fn main() -> ExitCode {
    App::main(|settings| {
        let (gate, node) = server(settings)?;
        Ok(App::default().pairs(gate, node))
    })
}
// readme:end
