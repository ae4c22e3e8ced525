//! What belongs to the whole program: `mode`, `pid`, `shutdownMaxWaitTime`, `timezone`.

use crate::{
    form::{Form, Read},
    key::{Standing::Start, section},
    tree::Value,
};
use std::{fmt, str::FromStr, time::Duration};

/// In which surroundings the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// On a developer's machine.
    #[default]
    Debug,
    /// Under test.
    Test,
    /// For players.
    Release,
}

impl Mode {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Test => "test",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be debug, test or release")]
pub struct NotAMode;

impl FromStr for Mode {
    type Err = NotAMode;

    fn from_str(text: &str) -> Result<Self, NotAMode> {
        let modes = [Self::Debug, Self::Test, Self::Release];
        modes.into_iter().find(|mode| mode.name() == text).ok_or(NotAMode)
    }
}

impl Form for Mode {
    const NAME: &'static str = "text";
    const WANTED: &'static str = "debug, test or release";

    fn read(value: &Value) -> Option<Read<Self>> {
        String::read(value)?.value.trim().parse().ok().map(Read::new)
    }

    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

section! {
    /// What belongs to the whole program: the keys that stand above all tables.
    GeneralSettings "etc" {
        /// In which surroundings the program runs. The environment variable `DUE_MODE` and the flag
        /// `--mode` win over the file.
        mode "mode": Mode = "debug", Start => words(&["debug", "test", "release"]);
        /// File that holds the process's number while it runs. Empty: none.
        pid "pid": String = "", Start;
        /// Longest time for draining at the end, before what is left is closed; replaces
        /// `yumen.gate.drainMax` and `yumen.node.drainMax`. 0 leaves those as they are.
        shutdown_max_wait_time "shutdownMaxWaitTime": Duration = "0s", Start
            => due("0 means for ever to due, so that one bound user keeps a node from ending. Here 0 \
                leaves `yumen.gate.drainMax` and `yumen.node.drainMax` in force.");
        /// Time zone of times that are shown, as `Asia/Shanghai`, `UTC` or `Local`.
        timezone "timezone": String = "Local", Start;
    }
}
