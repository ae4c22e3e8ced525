//! A whole cluster on a virtual network with a seed: the real gate, node, link and locator code.
//!
//! Every instance is a process on a host of its own. It runs as the app runs it, with its own tasks and
//! its own `Cluster` value; what hosts exchange goes over the virtual network, and registry and locator
//! are simulated too. A test of a game looks like this:
//!
//! ```
//! use std::time::Duration;
//! use yumen_cluster::{gate::{Gate, Tcp}, node::{Node, Raw, Router, on}};
//! use yumen_sim::cluster::Sim;
//!
//! async fn echo(body: Raw) -> Raw {
//!     body
//! }
//!
//! Sim::run(5, false, async |sim| {
//!     sim.start("node", |boot| {
//!         let node = Node::builder(&boot.cluster, "game", |_| ()).id("node");
//!         node.routes(Router::new().route(1, on(echo))).build_unbound().expect("a node").into()
//!     });
//!     sim.start("gate", |boot| {
//!         let gate = Gate::builder(&boot.cluster).id("gate").listen(Tcp::on("0.0.0.0:3553"));
//!         gate.build_unbound().expect("a gate").into()
//!     });
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     let client = sim.clients("phone").connect("tcp://gate:3553").await.expect("a connection");
//!     assert_eq!(client.call_raw(1, b"hello").await.expect("an answer"), "hello");
//!     sim.kill("node");
//!     assert!(client.call_raw(1, b"hello").await.is_err());
//! });
//! ```
//!
//! [`play::run`] is the project's own test: a small game under faults that the seed chooses, its clients'
//! histories checked. `YUMEN_SIM_SEED=7 cargo test -p yumen-sim --test it two_hundred` repeats one seed
//! and writes its trace; `cargo xtask soak sim` runs thousands.
//!
//! # What is deterministic
//!
//! The same seed gives the same run; each seed is run twice and its trace hashes are compared.
//!
//! | What | How |
//! |---|---|
//! | time, timers | tokio's paused clock; it moves on when nothing is ready. `Env.clock` reads it |
//! | order of tasks | one `LocalRuntime` on one thread; `select!` is biased |
//! | sockets | [`net`]: delays, cuts of reads and faults from the dice of the seed |
//! | random numbers, nonces | `Env.dice`; each process has dice of its own from those of the run |
//! | registry, locator | [`stores`]: delays, outages, leases in virtual time |
//! | tables | ordered, or hashed without a random key |
//! | requests to stores | `Backend::here()`: on the instance itself, no thread |
//! | handlers, `.on_workers()` too | on the instance itself |
//!
//! # What is not simulated
//!
//! Threads and their races, the kernel's socket buffers and errors other than those of [`net`], disks, real
//! etcd and Redis and their clients, signals, DNS, clock skew between hosts, WebSocket clients, several
//! instances in one process, and instances of due. Those are tested with real processes and servers.
//! A handler that reads the machine's clock or keeps a `HashMap` of the standard library makes its own
//! run differ; the trace says at which event.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::wildcard_enum_match_arm,
        clippy::disallowed_methods,
        reason = "tests may be short"
    )
)]
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        reason = "a test tool: an overflow has to fail, and a checker looks for the few events it names"
    )
)]

pub mod cluster;
pub mod net;
pub mod play;
pub mod stores;
pub mod trace;
