//! `cargo xtask up etcd|etcd36|consul|nacos|redis|valkey [PORT]`: a real server in the foreground, for a person
//! to play with.
//!
//! It never listens outside this machine. etcd and Nacos keep their data below `target/servers`, the others none.
//! This process becomes the server, so Ctrl-C and signals reach the server itself.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::error::Error;
use crate::manifest::Workspace;
use crate::tool::{self, Tool};

/// Options of `cargo xtask up`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which server
    server: Server,
    /// Where it listens on 127.0.0.1 (default: 2379 for etcd, 8500 for Consul, 8848 for Nacos, 6379 for
    /// Redis and Valkey)
    port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// The etcd on the PATH; Debian has 3.4
    Etcd,
    /// etcd 3.6, built from its module
    Etcd36,
    /// Consul 1.13, built from its module; it also takes the ports 200 and 199 below
    Consul,
    /// Nacos 2.3, from its published libraries; it also takes the ports 1000 below, 1000 and 1001 above
    Nacos,
    /// The redis-server on the PATH
    Redis,
    /// Valkey 8, from Debian's backports
    Valkey,
}

impl Server {
    fn tool(self) -> Tool {
        match self {
            Self::Etcd => Tool::Etcd,
            Self::Etcd36 => Tool::Etcd36,
            Self::Consul => Tool::Consul,
            Self::Nacos => Tool::Nacos,
            Self::Redis => Tool::Redis,
            Self::Valkey => Tool::Valkey,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcd36 => "etcd36",
            Self::Consul => "consul",
            Self::Nacos => "nacos",
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Etcd | Self::Etcd36 => 2379,
            Self::Consul => 8500,
            Self::Nacos => 8848,
            Self::Redis | Self::Valkey => 6379,
        }
    }
}

/// Becomes the server.
///
/// # Errors
/// [`Error::NoServer`] where it is not installed, [`Error::Start`] if it does not start.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<(), Error> {
    let root = &workspace.root;
    let tool = args.server.tool();
    if tool.is_missing(root) {
        let command = tool.install_command();
        return Err(Error::NoServer { name: args.server.name(), command });
    }
    let port = args.port.unwrap_or_else(|| args.server.default_port());
    let words = words(args.server, port, root);
    println!("{}\n$ {}", advice(args.server, port), shown(&words));
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    // Returns only if it failed.
    let source = Command::new(&program).args(words).exec();
    Err(Error::Start { line: program, source })
}

/// The server's command line.
fn words(server: Server, port: u16, root: &Path) -> Vec<String> {
    let data = root.join(format!("target/servers/{}-{port}", server.name()));
    let data = data.to_string_lossy();
    let program = match server {
        Server::Etcd | Server::Redis => server.name().to_owned(),
        Server::Etcd36 => tool::etcd36(root).to_string_lossy().into_owned(),
        Server::Consul => tool::consul(root).to_string_lossy().into_owned(),
        Server::Nacos => root.join("tools/servers/nacos/start").to_string_lossy().into_owned(),
        Server::Valkey => {
            tool::valkey(root).join("usr/bin/valkey-server").to_string_lossy().into_owned()
        }
    };
    let url = format!("http://127.0.0.1:{port}");
    let arguments = match server {
        Server::Redis | Server::Valkey => {
            format!("--bind 127.0.0.1 --port {port} --appendonly no --save")
                .split(' ')
                .map(str::to_owned)
                .chain([String::new()])
                .collect()
        }
        // The script keeps it on this machine.
        Server::Nacos => vec![port.to_string(), data.into_owned()],
        // As far from the first one as by default.
        Server::Consul => format!(
            "-dev -bind=127.0.0.1 -client=127.0.0.1 -http-port={port} -server-port={} \
             -serf-lan-port={} -serf-wan-port=-1 -dns-port=-1 -grpc-port=-1 -log-level=warn",
            port.saturating_sub(200),
            port.saturating_sub(199)
        )
        .split(' ')
        .map(str::to_owned)
        .collect(),
        // Its peers' port is the system's choice: nobody joins it.
        Server::Etcd | Server::Etcd36 => vec![
            format!("--data-dir={data}"),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            "--log-level=warn".to_owned(),
        ],
    };
    std::iter::once(program).chain(arguments).collect()
}

/// The settings that lead a program of ours to it.
fn advice(server: Server, port: u16) -> String {
    match server {
        Server::Etcd | Server::Etcd36 => {
            format!("registry.etcd.addrs = [\"127.0.0.1:{port}\"]; Ctrl-C stops it")
        }
        Server::Consul => format!(
            "yumen.registry.backends = [\"consul\"], registry.consul.addr = \"127.0.0.1:{port}\"; \
             Ctrl-C stops it"
        ),
        Server::Nacos => format!(
            "yumen.registry.backends = [\"nacos\"], registry.nacos.urls = [\"http://127.0.0.1:{port}/nacos\"]; \
             Ctrl-C stops it"
        ),
        Server::Redis | Server::Valkey => {
            format!("locate.redis.addrs = [\"127.0.0.1:{port}\"]; Ctrl-C stops it")
        }
    }
}

/// The command as a person would type it.
fn shown(words: &[String]) -> String {
    words.iter().fold(String::new(), |mut line, word| {
        let between = if line.is_empty() { "" } else { " " };
        let quotes = if word.is_empty() { "''" } else { "" };
        write!(line, "{between}{word}{quotes}").unwrap_or_default();
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_listens_on_loopback_alone() {
        for server in Server::value_variants() {
            let line = shown(&words(*server, 7777, Path::new("/r")));
            let script = include_str!("../../tools/servers/nacos/start");
            let told = if *server == Server::Nacos { script } else { &line };
            assert!(told.contains("127.0.0.1") && line.contains("7777"), "{line}");
            assert!(!line.contains("0.0.0.0"), "{line}");
        }
    }

    #[test]
    fn redis_is_told_to_save_nothing() {
        let line = shown(&words(Server::Redis, 7777, Path::new("/r")));
        assert!(line.ends_with("--save ''"), "{line}");
    }
}
