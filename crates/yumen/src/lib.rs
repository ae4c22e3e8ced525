//! Yumen: a framework for game servers. This crate is the door to all of it and has no code of its own.
//!
//! A *gate* holds client connections (tcp, ws) and routes messages; a *node* runs game logic as async
//! functions; a *client* drives tests and bots. All of it runs in one process with nothing else
//! installed.
//!
//! ```
//! use yumen::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! struct Hello { name: String }
//!
//! async fn greet(Msg(hello): Msg<Hello>) -> Msg<String> {
//!     Msg(format!("Hello, {}!", hello.name))
//! }
//!
//! fn server(cluster: &Cluster) -> Result<App, BuildError> {
//!     let node = Node::builder(cluster, "lobby", |_| ())
//!         .routes(Router::new().route(1, on(greet)))
//!         .build()?;
//!     let gate = Gate::builder(cluster).listen(Tcp::on("127.0.0.1:0")).build()?;
//!     Ok(App::default().pairs(gate, node))
//! }
//! # server(&Cluster::in_process()).unwrap();
//! ```

#[cfg(feature = "admin")]
pub use yumen_cluster::admin;
pub use yumen_cluster::{app, client, cluster, gate, instance, metrics, node};
pub use yumen_core::{codec, health, locator, memory, registry, status};
pub use yumen_log as log;
pub use yumen_mesh as mesh;
pub use yumen_net as net;
pub use yumen_proto as proto;
pub use yumen_settings as settings;

/// What most programs need: `use yumen::prelude::*;`.
pub mod prelude {
    #[cfg(feature = "ws")]
    pub use yumen_cluster::gate::Ws;
    #[cfg(feature = "json")]
    pub use yumen_cluster::node::{Msg, Valid};
    #[cfg(feature = "msgpack")]
    pub use yumen_cluster::node::{PackMsg, ValidPack};
    #[cfg(feature = "protobuf")]
    pub use yumen_cluster::node::{ProtoMsg, ValidProto};
    pub use yumen_cluster::{
        app::App,
        cluster::Cluster,
        gate::{DuplicateLogin, Gate, Tcp},
        instance::BuildError,
        node::{Clients, Head, Invalid, Node, Place, Raw, Router, Session, State, Validate, on},
    };
    pub use yumen_core::{
        cluster::Event,
        status::{Code, Status},
    };
    pub use yumen_proto::{
        conn::{Heartbeat, Mechanism},
        id::{ConnId, RouteId, UserId},
        packet::{ByteOrder, Layout, Width},
    };
    pub use yumen_settings::Settings;
}
