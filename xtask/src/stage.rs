//! The stages of `cargo xtask test`, in the order a failure should be met: cheap and common first.
//!
//! A stage is a name, the tools it needs and what it runs. To add one: a variant, an arm in each
//! `match` below, and its place in the order is the variant's place in the list.

use clap::ValueEnum;

use crate::command::Line;
use crate::error::Error;
use crate::features::{self, Sets};
use crate::manifest::{Workspace, parse};
use crate::tool::{self, Tool};
use crate::{evening, guide, readme, tidy};

/// Seconds that each fuzz target runs here; `cargo xtask soak fuzz` runs them longer.
const FUZZ_SMOKE_SECONDS: u32 = 10;

/// Faults of `bench chaos --length ci`.
const CHAOS_FAULTS: usize = 14;
/// Its clients, unless told otherwise.
pub(crate) const CHAOS_CLIENTS: usize = 2_000;
/// Clients of the run over slow lines.
const LINES_CLIENTS: usize = 300;

/// Clients of a rolling update here; `cargo xtask soak roll` has as many as the others.
const ROLL_CLIENTS: usize = 300;

/// How many tests of real servers run at a time: they wait for leases and time-outs, not for a processor.
const SERVERS_AT_ONCE: usize = 4;

/// One step of `cargo xtask test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Formatting of every crate, `fuzz` included
    Fmt,
    /// The rules of ARCHITECTURE.md that no compiler knows
    Tidy,
    /// All targets with all features, warnings denied
    Clippy,
    /// Tests and doc tests with all features, but for those in modules called `servers`
    Test,
    /// The tests in modules called `servers`: they start real servers
    Servers,
    /// Documentation, warnings denied
    Docs,
    /// Each crate with each of its features alone
    Features,
    /// Licences, banned crates and sources of all dependencies
    Deny,
    /// Each fuzz target for ten seconds
    Fuzz,
    /// All examples built (their tests run with the others)
    Examples,
    /// README.md, README.zh-CN.md and examples/hello say the same
    Readme,
    /// A newcomer's first evening in a fresh clone, mistakes included (`cargo xtask evening`)
    Evening,
    /// Every link in Markdown; the guide's code, settings and commands, run and compared
    Guide,
    /// Instruction counts of the hot paths, under valgrind
    Icount,
    /// The demo for a moment and a gate among 10,000 bad clients, in release
    Bench,
    /// A fleet whose processes are killed and stopped in turn under 2,000 clients, then one whose processes
    /// are replaced under 300; both are judged by the clients' logs
    Chaos,
}

impl Stage {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What must be installed for it.
    pub(crate) fn tools(self) -> &'static [Tool] {
        match self {
            Self::Fmt => &[Tool::Rustfmt],
            Self::Clippy | Self::Features => &[Tool::Clippy],
            Self::Deny => &[Tool::CargoDeny],
            Self::Fuzz => &[Tool::CargoFuzz, Tool::Cxx],
            Self::Icount => &[Tool::Valgrind],
            Self::Servers => &[
                Tool::Etcd,
                Tool::Etcd36,
                Tool::Consul,
                Tool::Redis,
                Tool::Valkey,
                Tool::Maven,
                Tool::Nacos,
                Tool::Toxiproxy,
                Tool::Haproxy,
                Tool::Iproute,
            ],
            Self::Chaos => &[Tool::Etcd, Tool::Redis, Tool::Toxiproxy],
            Self::Guide => &[Tool::Etcd, Tool::Consul, Tool::Redis, Tool::Haproxy],
            Self::Tidy
            | Self::Test
            | Self::Docs
            | Self::Examples
            | Self::Readme
            | Self::Evening
            | Self::Bench => &[],
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// The first command or rule that failed.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let line = |words: &str| Line::new(&workspace.root, words);
        match self {
            Self::Fmt => {
                line("cargo fmt --all --check").run()?;
                line("cargo fmt --manifest-path fuzz/Cargo.toml --check").run()
            }
            Self::Tidy => tidy::run(workspace),
            Self::Clippy => {
                line("cargo clippy --workspace --all-targets --all-features -- -D warnings").run()
            }
            Self::Test => {
                line("cargo test --workspace --all-features --no-fail-fast -- --skip servers::")
                    .env("YUMEN_ETCD36", &tool::etcd36(&workspace.root).to_string_lossy())
                    .run()
            }
            Self::Servers => servers(workspace),
            Self::Docs => line("cargo doc --workspace --all-features --no-deps")
                .env("RUSTDOCFLAGS", "-D warnings")
                .run(),
            Self::Features => features::check(workspace, Sets::Each),
            Self::Deny => line("cargo deny --all-features check licenses bans sources").run(),
            Self::Fuzz => fuzz(workspace, FUZZ_SMOKE_SECONDS),
            Self::Examples => line("cargo build --workspace --all-features --examples").run(),
            Self::Readme => readme::run(workspace),
            Self::Evening => evening::run(workspace),
            Self::Guide => guide::run(workspace),
            Self::Icount => {
                line("cargo run --release -p yumen-bench --bin icount -- --check").run()
            }
            Self::Bench => {
                line("cargo run --release -- demo --seconds 3 --bots 50 --json").run()?;
                line("cargo run --release -- bench hostile").run()
            }
            Self::Chaos => {
                chaos(workspace, "ci", CHAOS_FAULTS)?;
                chaos(workspace, "failover", 2)?;
                lines(workspace, "lines", 3)?;
                roll(workspace, ROLL_CLIENTS, "target/chaos/roll/report.json")
            }
        }
    }
}

/// Runs every fuzz target of `fuzz/Cargo.toml` for `seconds`, on the stable toolchain.
///
/// New inputs go below `target`, so that a run leaves the repository's corpus as it is.
///
/// # Errors
/// The first target that finds something, an input that takes ten seconds included; the input is
/// below `fuzz/artifacts`.
pub(crate) fn fuzz(workspace: &Workspace, seconds: u32) -> Result<(), Error> {
    for target in fuzz_targets(&workspace.read("fuzz/Cargo.toml")?)? {
        let found = format!("target/fuzz-found/{target}");
        let corpus = format!("fuzz/corpus/{target}");
        for folder in [&found, &corpus] {
            let path = workspace.root.join(folder);
            std::fs::create_dir_all(&path).map_err(|source| Error::Read { path, source })?;
        }
        let words = format!(
            "cargo fuzz run --sanitizer none {target} {found} {corpus} -- -max_total_time={seconds} \
             -timeout=10"
        );
        // cargo-fuzz needs two unstable compiler flags; this lets the stable toolchain accept them.
        Line::new(&workspace.root, &words).env("RUSTC_BOOTSTRAP", "1").run()?;
    }
    Ok(())
}

/// A fleet in trouble for so long; then a program of its own judges by the logs of its clients.
///
/// # Errors
/// A fleet that does not start, and rules that do not hold; they were printed.
pub(crate) fn chaos(workspace: &Workspace, length: &str, faults: usize) -> Result<(), Error> {
    let dir = format!("target/chaos/{length}");
    let line = |words: &str| Line::new(&workspace.root, words).run();
    line(&format!("cargo run --release -- bench chaos --length {length} --dir {dir}"))?;
    line(&format!(
        "cargo run --release -p yumen-bench --bin chaos-check -- {dir} --faults-min {faults} \
         --clients-min {CHAOS_CLIENTS}"
    ))
}

/// Every process of a fleet replaced as an update does; the same program judges, and writes to `report` what
/// clients noticed.
///
/// # Errors
/// As [`chaos`].
pub(crate) fn roll(workspace: &Workspace, clients: usize, report: &str) -> Result<(), Error> {
    let dir = "target/chaos/roll";
    let line = |words: &str| Line::new(&workspace.root, words).run();
    line(&format!(
        "cargo run --release -- bench chaos --length roll --clients {clients} --dir {dir}"
    ))?;
    line(&format!(
        "cargo run --release -p yumen-bench --bin chaos-check -- {dir} --faults-min 5 \
         --clients-min {clients} --report {report}"
    ))
}

/// The same over lines that are slow and are cut: a round trip between two processes takes 80 ms.
///
/// # Errors
/// As [`chaos`].
pub(crate) fn lines(workspace: &Workspace, length: &str, faults: usize) -> Result<(), Error> {
    let dir = format!("target/chaos/{length}");
    let toxiproxy = tool::toxiproxy(&workspace.root);
    let run = format!(
        "cargo run --release -- bench chaos --length {length} --slow 80 --clients {LINES_CLIENTS} --dir {dir}"
    );
    Line::new(&workspace.root, &run).env("YUMEN_TOXIPROXY", &toxiproxy.to_string_lossy()).run()?;
    let check = format!(
        "cargo run --release -p yumen-bench --bin chaos-check -- {dir} --faults-min {faults} \
         --clients-min {LINES_CLIENTS}"
    );
    Line::new(&workspace.root, &check).run()
}

/// The tests that start real servers: of every crate, those in a module called `servers`.
///
/// # Errors
/// The first test that failed, and a selection that is empty: it would look like a success.
fn servers(workspace: &Workspace) -> Result<(), Error> {
    // Some of them start an example as a process of its own; tests alone do not build it.
    Line::new(&workspace.root, "cargo build --workspace --all-features --examples").run()?;
    let words = "cargo test --workspace --all-features --tests --no-fail-fast -- servers::";
    let listed = Line::new(&workspace.root, &format!("{words} --list")).output()?;
    if !listed.lines().any(|line| line.ends_with(": test")) {
        let problem = "no test stands in a module called `servers`".to_owned();
        return Err(Error::Manifest { path: "Cargo.toml".to_owned(), problem });
    }
    Line::new(&workspace.root, words)
        .env("RUST_TEST_THREADS", &SERVERS_AT_ONCE.to_string())
        .env("YUMEN_ETCD36", &tool::etcd36(&workspace.root).to_string_lossy())
        .env("YUMEN_NACOS", &tool::nacos(&workspace.root).to_string_lossy())
        .env("YUMEN_VALKEY", &tool::valkey(&workspace.root).to_string_lossy())
        .env("YUMEN_CONSUL", &tool::consul(&workspace.root).to_string_lossy())
        .env("YUMEN_TOXIPROXY", &tool::toxiproxy(&workspace.root).to_string_lossy())
        .run()
}

/// The names of all fuzz targets, in the order of the manifest.
fn fuzz_targets(manifest: &str) -> Result<Vec<String>, Error> {
    let table = parse(manifest, "fuzz/Cargo.toml")?;
    let bins = table.get("bin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let names = bins.iter().filter_map(|bin| bin.get("name")?.as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        // Passing without having run anything would look like a success.
        let problem = "no fuzz target".to_owned();
        return Err(Error::Manifest { path: "fuzz/Cargo.toml".to_owned(), problem });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_targets_are_the_binaries_of_the_manifest() {
        let text = "[package]\nname = \"f\"\n[[bin]]\nname = \"b\"\npath = \"b.rs\"\n[[bin]]\nname = \"a\"";
        assert_eq!(fuzz_targets(text).unwrap(), ["b", "a"]);
        assert!(fuzz_targets("[package]\nname = \"f\"").is_err());
    }

    #[test]
    fn every_stage_has_a_name_of_its_own() {
        let mut names: Vec<String> = Stage::value_variants().iter().map(|s| s.name()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(!names.contains(&String::new()));
    }
}
