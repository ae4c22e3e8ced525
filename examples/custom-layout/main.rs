//! Packets laid out otherwise than by default: little-endian, route and sequence number of four bytes.
//!
//! Nothing on the wire says which layout it is, so gate, node and client must be given the same one. Keep
//! it in one function and give it to all three, as here.

#[cfg(test)]
#[path = "../client.rs"]
mod client;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use yumen::prelude::*;

/// The one place where the layout is written down. Settings say it as `packet.byteOrder`,
/// `packet.routeBytes` and `packet.seqBytes`.
fn layout() -> Layout {
    Layout {
        order: ByteOrder::Little,
        route: Width::Four,
        // `None` leaves sequence numbers out: smaller packets, but no replies that can be told apart.
        seq: Some(Width::Four),
        ..Layout::default()
    }
}

/// Routes may now be any number of 32 bits; `build` refuses those that do not fit the layout.
const DOUBLE: i32 = 1_000_000;

async fn double(Msg(number): Msg<i32>) -> Result<Msg<i32>, Status> {
    let doubled = number.checked_mul(2);
    doubled.map(Msg).ok_or_else(|| Status::invalid_argument("too large to be doubled"))
}

fn server(settings: &Settings, layout: Layout) -> Result<(Gate, Node), BuildError> {
    let cluster = Cluster::in_process();
    let routes = Router::new().route(DOUBLE, on(double));
    // What code says wins over the settings.
    let node = Node::builder(&cluster, "math", |_| ()).settings(settings).layout(layout);
    let node = node.routes(routes).build()?;
    let gate = Gate::builder(&cluster)
        .settings(settings)
        .layout(layout)
        .listen(Tcp::default_on("127.0.0.1:3553"))
        .listen(Ws::default_on("127.0.0.1:3653"));
    Ok((gate.build()?, node))
}

fn main() -> ExitCode {
    App::main(|settings| {
        let (gate, node) = server(settings, layout())?;
        Ok(App::default().pairs(gate, node))
    })
}
