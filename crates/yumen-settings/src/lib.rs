//! Settings from a file, under due's keys and in due's value forms, so that an `etc.toml` moves over
//! unchanged.
//!
//! It reads and checks; it never binds, starts or logs anything. The one thing to know: a file that
//! does not parse and a key that nobody reads are refused, all at once (due skips both: W-45). What is
//! accepted without having an effect is listed in [`Settings::notes`].
//!
//! To add a section: a struct with a `read` in a file below `settings/`, its field in [`Settings`], and
//! its rows in the tests.

#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "tests may be short"
    )
)]

mod packet;
mod section;
mod server;
pub mod tree;
pub mod value;

pub use packet::PacketSettings;
pub use server::{TcpServerSettings, WsServerSettings};

use section::{Report, Section};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use toml::Table;

/// The file in a directory of settings. Its stem is the first part of due's keys: `etc.packet.…`.
const FILE: &str = "etc.toml";

/// What a program of due reads from its `etc` directory, as far as Yumen honours it.
///
/// The default is due's: that of an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Layout of client packets: `packet.*`.
    pub packet: PacketSettings,
    /// The tcp listener: `network.tcp.server.*`.
    pub tcp: TcpServerSettings,
    /// The ws listener: `network.ws.server.*`.
    pub ws: WsServerSettings,
    /// What was accepted and has no effect, or another one than its text suggests; one line each, for
    /// a person. Empty where there is nothing to say.
    pub notes: Vec<String>,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The key inside the file; empty if the file as a whole is at fault.
    pub key: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, what } = self;
        let file = file.display();
        if key.is_empty() {
            write!(f, "{file}: {what}")
        } else {
            write!(f, "{file}: {key}: {what}")
        }
    }
}

/// Everything that is wrong with the settings, not just the first thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct SettingsErrors {
    /// At least one, in the order of the sections.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Settings {
    /// Reads `etc.toml` in the directory `dir`. As with due, `dir` may also name the file itself.
    ///
    /// # Errors
    /// [`SettingsErrors`] if the file cannot be read, and as [`Settings::parse`].
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, SettingsErrors> {
        let dir = dir.as_ref();
        let file = if dir.is_file() { dir.to_owned() } else { dir.join(FILE) };
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) => Err(whole(&file, format!("cannot be read: {error}"))),
        }
    }

    /// The settings in `text`, which stands in `file`. Other tables than those of the fields above are
    /// left to whoever reads them.
    ///
    /// # Errors
    /// [`SettingsErrors`] lists every key that is unknown, every value that is out of range, and every
    /// key that would make clients safer and is not honoured yet.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsErrors> {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return Err(whole(file, error.to_string().trim_end().to_owned())),
        };
        let mut report = Report::new(file);
        let packet = PacketSettings::read(Section::at(&table, "packet", &mut report));
        let tcp = TcpServerSettings::read(Section::at(&table, "network.tcp.server", &mut report));
        let ws = WsServerSettings::read(Section::at(&table, "network.ws.server", &mut report));
        let Report { problems, notes, .. } = report;
        if problems.is_empty() {
            Ok(Self { packet, tcp, ws, notes })
        } else {
            Err(SettingsErrors { problems })
        }
    }
}

/// The file itself is at fault.
fn whole(file: &Path, what: String) -> SettingsErrors {
    SettingsErrors { problems: vec![Problem { file: file.to_owned(), key: String::new(), what }] }
}

#[cfg(test)]
mod tests;
