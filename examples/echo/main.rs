//! Gate and node in one process: route 1 answers `{"message": …}` with the same.
use yumen::prelude::*;

#[derive(serde::Serialize, serde::Deserialize)]
struct Echo {
    message: String,
}

async fn echo(Msg(echo): Msg<Echo>) -> Msg<Echo> {
    Msg(echo)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::in_process();
    let layout = Layout { route: Width::Four, seq: Some(Width::Four), body_max: 100_000, receive_max: 100_000, ..Layout::default() };
    let node = Node::builder(&cluster, "echo", |_| ())
        .layout(layout)
        .routes(Router::new().route(1, on(echo)))
        .build()?;
    let gate = Gate::builder(&cluster).layout(layout).listen(Tcp::on("127.0.0.1:7001")).listen(Ws::on("127.0.0.1:7002")).build()?;
    App::default().pairs(gate, node).run_blocking()?;
    Ok(())
}
