//! The servers that are measured: a raw relay of two processes, or a gate and a node of ours.
//!
//! Both are this program itself, started as children.
use super::serve::{Question, Transport};
use super::{LayoutArgs, Order};
use crate::backend::Scratch;
use crate::generator::{BodyCodec, Target};
use crate::process::Server;
use clap::ValueEnum;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind};
use std::process::Command;
use std::time::Duration;

/// Longest wait for a node's record.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A server to start for a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    /// Gate and node in one process, on one thread.
    Yumen,
    /// A raw relay: two processes that only move bytes.
    Relay,
    /// Gate and node in a process each, which find each other in a list.
    #[value(skip)]
    Apart,
    /// The same with two instances of the gate, each on a thread of its own, which share the listener.
    #[value(skip)]
    Twins,
}

/// A started server; stopped by [`Running::stop`], killed when dropped.
pub(super) struct Running {
    /// The one that clients connect to is first.
    servers: Vec<Server>,
    target: Target,
    /// What the servers read while they run.
    _files: Option<Scratch>,
}

impl Side {
    /// Starts it for packets of `layout` with bodies in `codec`.
    pub(super) fn start(
        self,
        layout: &LayoutArgs,
        codec: BodyCodec,
        transport: Transport,
    ) -> io::Result<Running> {
        match self {
            Self::Relay => {
                if layout.byte_order != Order::Big || transport != Transport::Tcp {
                    let text = "the relay knows only tcp and packets with a big-endian size";
                    return Err(io::Error::new(ErrorKind::Unsupported, text));
                }
                let node = spawn(&["relay-node".to_owned()])?;
                let to_node = format!("--node={}", node.address());
                let gate = spawn(&["relay-gate".to_owned(), to_node])?;
                let target = Target::tcp(gate.address());
                Ok(Running { target, servers: vec![gate, node], _files: None })
            }
            Self::Apart | Self::Twins => {
                let mut arguments = layout.arguments();
                arguments.extend(named("codec", codec));
                arguments.extend(named("transport", transport));
                apart(&arguments, transport, if self == Self::Twins { 2 } else { 1 })
            }
            Self::Yumen => {
                let mut arguments = vec!["serve".to_owned()];
                arguments.extend(layout.arguments());
                arguments.extend(named("codec", codec));
                arguments.extend(named("transport", transport));
                let server = spawn(&arguments)?;
                let target = match transport {
                    Transport::Tcp => Target::tcp(server.address()),
                    Transport::Ws => Target::web(server.address()),
                };
                Ok(Running { target, servers: vec![server], _files: None })
            }
        }
    }

    /// What its processes are called, in the order of [`Running::pids`].
    pub(super) fn processes(self) -> &'static [&'static str] {
        match self {
            Self::Yumen => &["server"],
            Self::Relay | Self::Apart | Self::Twins => &["gate", "node"],
        }
    }
}

/// A node, and `gates` instances of a gate in one process with a list that has the node's record.
fn apart(arguments: &[String], transport: Transport, gates: u16) -> io::Result<Running> {
    let with = |head: &[String]| [head, arguments].concat();
    let mut node = spawn(&with(&["serve-node".to_owned()]))?;
    let record = node.ask("record", ANSWER_MAX)?;
    let files = Scratch::new("yumen-bench")?;
    let list = files.path().join("nodes.json");
    std::fs::write(&list, format!("[{record}]"))?;
    let list = format!("--list={}", list.display());
    let gate = spawn(&with(&["serve-gate".to_owned(), list, format!("--instances={gates}")]))?;
    let target = match transport {
        Transport::Tcp => Target::tcp(gate.address()),
        Transport::Ws => Target::web(gate.address()),
    };
    Ok(Running { target, servers: vec![gate, node], _files: Some(files) })
}

fn named(name: &str, value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| format!("--{name}={}", value.get_name()))
}

/// This program with these arguments behind `bench`.
pub(super) fn spawn(arguments: &[String]) -> io::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench").args(arguments);
    // Huge pages would round its memory up to 2 MiB steps. Known to mimalloc, ignored by others.
    command.env("MIMALLOC_ALLOW_THP", "0");
    Server::spawn(command)
}

impl Running {
    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    /// Asks the one that clients connect to, which has to be a server of ours.
    pub(super) fn ask<A: DeserializeOwned>(
        &mut self,
        question: &Question,
        wait_max: Duration,
    ) -> io::Result<A> {
        let server = self.servers.first_mut().ok_or(ErrorKind::NotFound)?;
        let answer = server.ask(&serde_json::to_string(question)?, wait_max)?;
        Ok(serde_json::from_str(&answer)?)
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// Stops all of it, what faces the clients first.
    pub(super) fn stop(self) -> io::Result<()> {
        self.servers.into_iter().try_for_each(Server::stop)
    }
}
