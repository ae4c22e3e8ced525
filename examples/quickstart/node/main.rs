//! The node of the quick start: one route, which answers whoever greets it.
//!
//! It knows nothing of sockets: a gate finds it in the registry and sends it what clients say.

use std::process::ExitCode;
use yumen::prelude::*;
use yumen_plugins::{redis::RedisLocator, registries};

#[derive(serde::Deserialize)]
struct Hello {
    message: String,
}

#[derive(serde::Serialize)]
struct Answer {
    message: String,
}

async fn greet(Msg(hello): Msg<Hello>) -> Msg<Answer> {
    Msg(Answer { message: format!("I am the server, and you said: {}", hello.message) })
}

fn main() -> ExitCode {
    App::main(|settings| {
        let registry = registries::from_settings(settings).map_err(|wrong| wrong.join("\n"))?;
        let locator = RedisLocator::from_settings(settings).map_err(|wrong| wrong.join("\n"))?;
        let cluster = Cluster::new(registry, locator).settings(settings);
        let routes = Router::new().route(1, on(greet));
        let node = Node::builder(&cluster, "node", |_| ()).settings(settings).routes(routes);
        Ok(App::default().with(node.build()?))
    })
}
