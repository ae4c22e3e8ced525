//! The servers that are measured: a raw relay of two processes, or a gate and a node of ours.
//!
//! Both are this program itself, started as children.
use super::LayoutArgs;
use crate::generator::{BodyCodec, Target};
use crate::process::Server;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::Command;

/// A server to start for a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    /// Gate and node in one process, on one thread.
    Yumen,
    /// A raw relay: two processes that only move bytes.
    Relay,
}

/// A started server; stopped by [`Running::stop`], killed when dropped.
pub(super) struct Running {
    /// The one that clients connect to is first.
    servers: Vec<Server>,
    address: SocketAddr,
}

impl Side {
    /// Starts it for packets of `layout` with bodies in `codec`.
    pub(super) fn start(self, layout: &LayoutArgs, codec: BodyCodec) -> io::Result<Running> {
        match self {
            Self::Relay => {
                if layout.byte_order != super::Order::Big {
                    let text = "the relay frames packets by a big-endian size";
                    return Err(io::Error::new(ErrorKind::Unsupported, text));
                }
                let node = spawn(&["relay-node".to_owned()])?;
                let to_node = format!("--node={}", node.address());
                let gate = spawn(&["relay-gate".to_owned(), to_node])?;
                Ok(Running { address: gate.address(), servers: vec![gate, node] })
            }
            Self::Yumen => {
                let mut arguments = vec!["serve".to_owned()];
                arguments.extend(layout.arguments());
                let codec = codec.to_possible_value();
                arguments.extend(codec.map(|codec| format!("--codec={}", codec.get_name())));
                let server = spawn(&arguments)?;
                Ok(Running { address: server.address(), servers: vec![server] })
            }
        }
    }
}

fn spawn(arguments: &[String]) -> io::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench").args(arguments);
    // Huge pages would round its memory up to 2 MiB steps. Known to mimalloc, ignored by others.
    command.env("MIMALLOC_ALLOW_THP", "0");
    Server::spawn(command)
}

impl Running {
    pub(super) fn target(&self) -> Target {
        Target::tcp(self.address)
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// Stops all of it, what faces the clients first.
    pub(super) fn stop(self) -> io::Result<()> {
        self.servers.into_iter().try_for_each(Server::stop)
    }
}
