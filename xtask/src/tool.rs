//! Tools that a Rust toolchain does not bring: how each is found and the one command that installs it.
//!
//! Versions of cargo tools are fixed, so that a run today and a run next year use the same. They are
//! built without optimisation: that halves the time to build them, and they run for seconds. Servers
//! are for tests, which start their own on free ports: a service that an installation started is stopped.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::command::Line;
use crate::error::Error;

/// Something that must be installed before a stage can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Rustfmt,
    Clippy,
    CargoDeny,
    CargoFuzz,
    Cxx,
    Valgrind,
    /// Debian's etcd, 3.4.
    Etcd,
    /// A newer etcd, built from its published module.
    Etcd36,
    /// Built from its published module.
    Consul,
    Redis,
    /// Valkey 8, unpacked from Debian's backports.
    Valkey,
    /// Brings Nacos, and the compiler for the class that starts it.
    Maven,
    /// Nacos 2.3, from its published libraries.
    Nacos,
    /// A proxy that slows and cuts connections, built from its published module.
    Toxiproxy,
    /// A load balancer that speaks the PROXY protocol.
    Haproxy,
    /// Network namespaces and virtual cables.
    Iproute,
}

/// Where etcd 3.6 is built, from the root. Tests look for it here too, behind `YUMEN_ETCD36`.
const ETCD36: &str = "target/servers/etcd36";

/// Where Consul is built, likewise behind `YUMEN_CONSUL`.
const CONSUL: &str = "target/servers/consul";

/// Where Toxiproxy is built, likewise behind `YUMEN_TOXIPROXY`.
const TOXIPROXY: &str = "target/servers/toxiproxy";

/// What a server is built from, in its folder: it is built again when one of them is newer.
const SOURCES: [&str; 3] = ["go.mod", "go.sum", "main.go"];

/// Keeps `cargo install` short: cargo-deny takes one minute of CPU time instead of two.
const QUICK_BUILD: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

impl Tool {
    /// What answers with success when it is there.
    fn probe(self) -> &'static str {
        match self {
            Self::Rustfmt => "cargo fmt --version",
            Self::Clippy => "cargo clippy --version",
            Self::CargoDeny => "cargo deny --version",
            Self::CargoFuzz => "cargo fuzz --version",
            Self::Cxx => "c++ --version",
            Self::Valgrind => "valgrind --version",
            Self::Etcd => "etcd --version",
            Self::Etcd36 => "target/servers/etcd36 --version",
            Self::Consul => "target/servers/consul --version",
            Self::Redis => "redis-server --version",
            Self::Valkey => "target/servers/valkey/usr/bin/valkey-server --version",
            Self::Maven => "mvn --version",
            Self::Nacos => "test -e target/servers/nacos/.complete",
            Self::Toxiproxy => "target/servers/toxiproxy -version",
            Self::Haproxy => "haproxy -v",
            Self::Iproute => "ip -V",
        }
    }

    /// The one command that installs it.
    pub(crate) fn install_command(self) -> &'static str {
        match self {
            Self::Rustfmt => "rustup component add rustfmt",
            Self::Clippy => "rustup component add clippy",
            Self::CargoDeny => "cargo install --locked cargo-deny@0.20.2",
            Self::CargoFuzz => "cargo install --locked cargo-fuzz@0.13.2",
            Self::Cxx => "apt-get install -y g++",
            Self::Valgrind => "apt-get install -y valgrind",
            Self::Etcd => "apt-get install -y etcd-server",
            Self::Etcd36 => {
                "go -C tools/servers/etcd build -trimpath -o ../../../target/servers/etcd36 ."
            }
            Self::Consul => {
                "go -C tools/servers/consul build -trimpath -ldflags=-w -o ../../../target/servers/consul ."
            }
            Self::Redis => "apt-get install -y redis-server",
            Self::Valkey => "sh tools/servers/valkey/fetch target/servers/valkey",
            Self::Maven => "apt-get install -y maven default-jdk-headless gcc libc6-dev",
            Self::Nacos => "bash tools/servers/nacos/start --fetch",
            Self::Toxiproxy => {
                "go -C tools/servers/toxiproxy build -trimpath -o ../../../target/servers/toxiproxy \
                 github.com/Shopify/toxiproxy/v2/cmd/server"
            }
            Self::Haproxy => "apt-get install -y --no-install-recommends haproxy",
            Self::Iproute => "apt-get install -y iproute2",
        }
    }

    /// The service that Debian starts when it installs this, on a port that tests must find free.
    fn service(self) -> Option<&'static str> {
        match self {
            Self::Etcd => Some("etcd"),
            Self::Redis => Some("redis-server"),
            Self::Haproxy => Some("haproxy"),
            Self::Rustfmt
            | Self::Clippy
            | Self::CargoDeny
            | Self::CargoFuzz
            | Self::Cxx
            | Self::Valgrind
            | Self::Etcd36
            | Self::Valkey
            | Self::Maven
            | Self::Nacos
            | Self::Consul
            | Self::Iproute
            | Self::Toxiproxy => None,
        }
    }

    /// What is built from this repository: the folder of its sources, and the outcome.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others come from elsewhere")]
    fn built(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Etcd36 => Some(("tools/servers/etcd", ETCD36)),
            Self::Consul => Some(("tools/servers/consul", CONSUL)),
            Self::Toxiproxy => Some(("tools/servers/toxiproxy", TOXIPROXY)),
            _ => None,
        }
    }

    pub(crate) fn is_missing(self, root: &Path) -> bool {
        let stale = |(folder, built): (_, _)| is_older(root, built, folder);
        self.built().is_some_and(stale) || !Line::new(root, self.probe()).succeeds()
    }

    /// Installs it.
    ///
    /// # Errors
    /// When its command fails.
    pub(crate) fn install(self, root: &Path) -> Result<(), Error> {
        let words = self.install_command();
        if words.starts_with("apt-get") {
            // A fresh machine has no package lists.
            Line::new(root, "apt-get update").run()?;
        }
        let mut line = Line::new(root, words);
        if words.starts_with("cargo install") {
            for (key, value) in QUICK_BUILD {
                line = line.quiet_env(key, value);
            }
        }
        line.run()?;
        if let Some(service) = self.service() {
            // Where neither is there, nothing was started. Whatever a person runs is left alone: it
            // was installed before, and then this is not called.
            let disabled = Line::new(root, &format!("systemctl disable --now {service}"));
            let stopped = disabled.succeeds();
            let stopped = Line::new(root, &format!("service {service} stop")).succeeds() || stopped;
            println!("{service}: {}", if stopped { "stopped" } else { "was not started" });
        }
        Ok(())
    }
}

/// The path of etcd 3.6, for tests that are told of it by `YUMEN_ETCD36`.
pub(crate) fn etcd36(root: &Path) -> PathBuf {
    root.join(ETCD36)
}

/// The path of Consul, for tests that are told of it by `YUMEN_CONSUL`.
pub(crate) fn consul(root: &Path) -> PathBuf {
    root.join(CONSUL)
}

/// The path of Toxiproxy, for tests that are told of it by `YUMEN_TOXIPROXY`.
pub(crate) fn toxiproxy(root: &Path) -> PathBuf {
    root.join(TOXIPROXY)
}

/// Where the libraries of Nacos are, for tests that are told of it by `YUMEN_NACOS`.
pub(crate) fn nacos(root: &Path) -> PathBuf {
    root.join("target/servers/nacos")
}

/// Where Valkey is unpacked, for tests that are told of it by `YUMEN_VALKEY`.
pub(crate) fn valkey(root: &Path) -> PathBuf {
    root.join("target/servers/valkey")
}

/// Is `built` missing, or older than one of its sources in `folder`?
fn is_older(root: &Path, built: &str, folder: &str) -> bool {
    let changed = |path: PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let Some(built) = changed(root.join(built)) else { return true };
    let folder = root.join(folder);
    let newest: Option<SystemTime> =
        SOURCES.iter().filter_map(|name| changed(folder.join(name))).max();
    newest.is_none_or(|newest| newest > built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_stale_when_a_source_is_newer_or_it_is_not_there() {
        let root = std::env::temp_dir().join(format!("yumen-xtask-{}", std::process::id()));
        let folder = root.join("sources");
        std::fs::create_dir_all(&folder).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let put = |path: PathBuf, seconds| {
            let file = std::fs::File::create(path).unwrap();
            file.set_modified(at(seconds)).unwrap();
        };
        put(folder.join("go.sum"), 100);
        assert!(is_older(&root, "built", "sources"), "it is not there");
        put(root.join("built"), 200);
        assert!(!is_older(&root, "built", "sources"));
        put(folder.join("go.sum"), 300);
        assert!(is_older(&root, "built", "sources"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_tool_that_debian_starts_as_a_service_comes_from_debian() {
        for tool in [Tool::Etcd, Tool::Redis, Tool::Haproxy] {
            assert!(tool.service().is_some());
            assert!(tool.install_command().starts_with("apt-get install"));
        }
    }
}
