//! Tools that a Rust toolchain does not bring: how each is found and the one command that installs it.
//!
//! Versions of cargo tools are fixed, so that a run today and a run next year use the same. They are
//! built without optimisation: that halves the time to build them, and they run for seconds.

use std::path::Path;

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
}

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
        }
    }

    pub(crate) fn is_missing(self, root: &Path) -> bool {
        !Line::new(root, self.probe()).succeeds()
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
        line.run()
    }
}
