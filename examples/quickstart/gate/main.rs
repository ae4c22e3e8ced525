//! The gate of the quick start: clients over WebSocket on port 3553, the registry that the settings name.
//!
//! Never runs game code. due's hello world has the same three programs; docs/guide/hello-from-due.md shows
//! both side by side.

use std::process::ExitCode;
use yumen::prelude::*;
use yumen_plugins::{redis::RedisLocator, registries};

fn main() -> ExitCode {
    App::main(|settings| {
        let registry = registries::from_settings(settings).map_err(|wrong| wrong.join("\n"))?;
        let locator = RedisLocator::from_settings(settings).map_err(|wrong| wrong.join("\n"))?;
        let cluster = Cluster::new(registry, locator).settings(settings);
        let gate = Gate::builder(&cluster).settings(settings).listen(Ws::default_on(":3553"));
        Ok(App::default().with(gate.build()?))
    })
}
