//! What can go wrong in a chore, told apart by what the reader must do about it.
//!
//! Nothing here is handled twice: `main` prints it and exits with 1.

use std::path::PathBuf;

/// Why a chore stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or folder of the repository could not be read.
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    /// A toml file does not say what it should.
    #[error("{path}: {problem}")]
    Manifest { path: String, problem: String },
    /// The repository's root was not found from here.
    #[error("no Cargo.toml with a [workspace] above {start}")]
    NoWorkspace { start: PathBuf },
    /// A program could not be started at all.
    #[error("cannot start `{line}`: {source}")]
    Start { line: String, source: std::io::Error },
    /// A program ran and said no.
    #[error("`{line}` ended with {status}")]
    Command { line: String, status: std::process::ExitStatus },
    /// Rules of ours are broken; each was printed already.
    #[error("{count} thing(s) to put right, listed above")]
    Rules { count: usize },
    /// Tools are missing where none may be.
    #[error("missing tools:\n{list}\nor let `cargo xtask test --install` install them")]
    Tools { list: String },
    /// A server was asked for that is not installed.
    #[error("{name} is not installed; install it with:\n  {command}")]
    NoServer { name: &'static str, command: &'static str },
    /// A stage failed.
    #[error("stage `{stage}` failed: {cause}\nrepeat it with `cargo xtask test --only {stage}`")]
    Stage { stage: String, cause: Box<Self> },
}
