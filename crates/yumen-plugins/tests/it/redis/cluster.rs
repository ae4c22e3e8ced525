//! A real Redis Cluster for one test: primaries, each with as many replicas as asked for.

use super::launch::{Launched, Make, free_port};
use redis::aio::MultiplexedConnection;
use std::{process::Command, time::Duration};
use yumen_plugins::redis::{RedisLocator, RedisLocatorBuilder};

/// A server that is silent this long has failed, for the others.
const NODE_TIMEOUT_MS: u32 = 1_500;

/// See the module; ends when it is dropped.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Launched>,
    make: Make,
    /// What the command-line tool needs to be let in.
    cli: Vec<String>,
}

impl Cluster {
    /// Three primaries; their replicas come after them.
    pub(crate) async fn start(make: Make, replicas: usize) -> Self {
        let this = Self::launch(make, replicas, &[], &[]);
        this.settled(this.servers.len()).await;
        this
    }

    /// With further words for each server, and for the tool that makes one cluster of them.
    pub(crate) fn launch(make: Make, replicas: usize, more: &[String], cli: &[String]) -> Self {
        let start = |_| {
            Launched::start_with(make, |port, _| {
                let words = [
                    "--cluster-enabled yes --cluster-config-file".to_owned(),
                    format!("nodes-{port}.conf --cluster-port {}", free_port()),
                    format!("--cluster-node-timeout {NODE_TIMEOUT_MS}"),
                    // A copy without a file, at once.
                    "--repl-diskless-sync yes --repl-diskless-sync-delay 0".to_owned(),
                ];
                let port = port.to_string();
                let more = more.iter().map(|word| word.replace("PORT", &port));
                words.join(" ").split(' ').map(str::to_owned).chain(more).collect()
            })
        };
        let servers: Vec<_> = (0..3 * (1 + replicas)).map(start).collect();
        let this = Self { servers, make, cli: cli.to_vec() };
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(this.addrs());
        create.extend(["--cluster-replicas".to_owned(), replicas.to_string()]);
        this.cli(&create);
        this
    }

    /// Runs the command-line tool that administers clusters.
    pub(crate) fn cli(&self, words: &[String]) {
        let program = self.make.program("cli");
        let output = Command::new(program)
            .args(words)
            .args(&self.cli)
            .arg("--cluster-yes")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words:?}: {text}");
    }

    pub(crate) fn addrs(&self) -> Vec<String> {
        self.servers.iter().map(Launched::addr).collect()
    }

    /// How the servers call that one.
    pub(crate) async fn id(&self, server: usize) -> String {
        let mut conn = connect(&self.servers[server].addr()).await.unwrap();
        redis::cmd("CLUSTER").arg("MYID").query_async(&mut conn).await.unwrap()
    }

    /// Cuts the connections over which that server tells its replicas what it wrote.
    pub(crate) async fn drop_replicas(&self, server: usize) {
        let mut conn = connect(&self.servers[server].addr()).await.unwrap();
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("REPLICA");
        let killed: usize = kill.query_async(&mut conn).await.unwrap();
        assert!(killed > 0, "it had a replica");
    }

    /// Until every server that answers calls the cluster well, and all replicas have a copy.
    pub(crate) async fn settled(&self, alive: usize) {
        super::server::within(60, async {
            loop {
                let mut well = 0;
                for server in &self.servers {
                    well += usize::from(Self::is_well(&server.addr()).await.unwrap_or(false));
                }
                if well >= alive {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }

    async fn is_well(addr: &str) -> redis::RedisResult<bool> {
        let Ok(conn) = tokio::time::timeout(Duration::from_millis(500), connect(addr)).await else {
            return Ok(false);
        };
        let mut conn = conn?;
        let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut conn).await?;
        let copies: String = redis::cmd("INFO").arg("replication").query_async(&mut conn).await?;
        let copied = copies.contains("role:master") || copies.contains("master_link_status:up");
        Ok(copied && info.contains("cluster_state:ok"))
    }

    /// Which of the servers owns the slots of that one of three parts.
    pub(crate) async fn primary(&self, part: usize) -> usize {
        let slot = part * 5_461 + 100;
        super::server::within(60, async {
            loop {
                for server in &self.servers {
                    if let Some(owner) = self.owner(&server.addr(), slot).await {
                        return owner;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await
    }

    async fn owner(&self, asked: &str, slot: usize) -> Option<usize> {
        let limit = Duration::from_millis(500);
        let mut conn = tokio::time::timeout(limit, connect(asked)).await.ok()?.ok()?;
        let mut nodes = redis::cmd("CLUSTER");
        let nodes = nodes.arg("NODES").query_async::<String>(&mut conn);
        let nodes = tokio::time::timeout(limit, nodes).await.ok()?.ok()?;
        for line in nodes.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let owns = words[8..].iter().filter_map(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                Some(from.parse::<usize>().ok()?..=to.parse().ok()?)
            });
            if !words[2].contains("fail") && owns.into_iter().any(|range| range.contains(&slot)) {
                let addr = words[1].split('@').next()?;
                return self.servers.iter().position(|server| server.addr() == addr);
            }
        }
        None
    }

    pub(crate) fn builder(&self) -> RedisLocatorBuilder {
        RedisLocator::builder().addrs(self.addrs()).prefix("due")
    }

    pub(crate) fn locator(&self) -> RedisLocator {
        self.builder().build().unwrap()
    }

    /// Does what a process of due's does, on whichever server that key is.
    pub(crate) fn due(&self, words: &[&str]) -> redis::Value {
        let addrs = self.addrs().into_iter().map(|addr| format!("redis://{addr}"));
        let client = redis::cluster::ClusterClient::new(addrs).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut client.get_connection().unwrap()).unwrap()
    }

    /// All keys on all primaries, sorted.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for part in 0..3 {
            let primary = self.primary(part).await;
            let mut conn = connect(&self.servers[primary].addr()).await.unwrap();
            keys.extend(super::server::keys(&mut conn).await);
        }
        keys.sort();
        keys.dedup();
        keys
    }
}

async fn connect(addr: &str) -> redis::RedisResult<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{addr}"))?;
    client.get_multiplexed_async_connection().await
}
