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

pub mod format;
mod packet;
mod problem;
mod section;
mod server;
pub mod tree;
pub mod value;

pub use packet::PacketSettings;
pub use problem::{Note, Position, Problem, SettingsErrors};
pub use server::{TcpServerSettings, WsServerSettings};

use section::{Report, Section};
use std::path::Path;
use toml::Table;
use tree::Origin;

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
    /// What was accepted and has no effect, or another one than its text suggests. Empty where there is
    /// nothing to say.
    pub notes: Vec<Note>,
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
    SettingsErrors { problems: vec![Problem::new(Some(Origin::File(file.into())), "", what)] }
}

#[cfg(test)]
mod tests;
