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

mod files;
pub mod format;
mod get;
mod layers;
mod loader;
mod packet;
mod problem;
mod section;
mod server;
pub mod tree;
pub mod value;

pub use layers::variable;
pub use loader::Loader;
pub use packet::PacketSettings;
pub use problem::{Note, Position, Problem, SettingsErrors};
pub use server::{TcpServerSettings, WsServerSettings};

use section::{Report, Section};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Table;
use tree::{Origin, Tree, Value};

/// What a program of due reads from its `etc` directory, as far as Yumen honours it.
///
/// The default is due's: that of an empty file.
#[derive(Clone, Debug, Default, PartialEq)]
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
    tree: Tree,
}

impl Settings {
    /// What this process is told, by its files, its environment and its command line; see [`Loader`].
    /// Arguments that are not about settings are passed over.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn load() -> Result<Self, SettingsErrors> {
        Loader::process().0.load()
    }

    /// Reads the files of the directory `dir`, or one file, and nothing else.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn read(dir: impl Into<PathBuf>) -> Result<Self, SettingsErrors> {
        Loader::new().dir(dir).load()
    }

    /// What `tree` means.
    ///
    /// # Errors
    /// As [`Settings::parse`].
    pub fn from_tree(tree: Tree, notes: Vec<Note>) -> Result<Self, SettingsErrors> {
        let etc = tree.get("etc");
        let file = match etc.map(|etc| &etc.origin) {
            Some(Origin::File(file)) => file.to_path_buf(),
            Some(other) => other.to_string().into(),
            None => PathBuf::new(),
        };
        let table = match etc.map(|etc| plain(&etc.value)) {
            Some(Some(toml::Value::Table(table))) => table,
            _ => Table::new(),
        };
        let mut settings = Self::sections(&table, &file)?;
        settings.notes.splice(0..0, notes);
        settings.tree = tree;
        Ok(settings)
    }

    /// The user's own value under `key`, or `None` if nothing was written there. The first part of the
    /// key names the file, as in `game.maxPlayers` for `maxPlayers` in `game.toml`; without such a file
    /// the key stands in `etc`.
    ///
    /// # Errors
    /// A [`Problem`] with the file and the key of the value that does not fit.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Problem> {
        self.tree.find(key).map(|node| get::typed(key, node)).transpose()
    }

    /// Where the value under `key` was written. `None` for a default.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.tree.find(key).map(|node| &node.origin)
    }

    /// Everything that was written.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The settings in `text`, which stands in `file`. Other tables than those of the fields above are
    /// left to whoever reads them.
    ///
    /// # Errors
    /// [`SettingsErrors`] lists every key that is unknown, every value that is out of range, and every
    /// key that would make clients safer and is not honoured yet.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsErrors> {
        let mut tree = Tree::default();
        let origin = Origin::File(file.into());
        match format::Format::Toml.parse(text.as_bytes(), &origin) {
            Ok(node) => tree.insert("etc", node),
            Err(problem) => return Err(SettingsErrors { problems: vec![problem] }),
        }
        Self::from_tree(tree, Vec::new())
    }

    fn sections(table: &Table, file: &Path) -> Result<Self, SettingsErrors> {
        let mut report = Report::new(file);
        let packet = PacketSettings::read(Section::at(table, "packet", &mut report));
        let tcp = TcpServerSettings::read(Section::at(table, "network.tcp.server", &mut report));
        let ws = WsServerSettings::read(Section::at(table, "network.ws.server", &mut report));
        let Report { problems, notes, .. } = report;
        if problems.is_empty() {
            Ok(Self { packet, tcp, ws, notes, tree: Tree::default() })
        } else {
            Err(SettingsErrors { problems })
        }
    }
}

fn plain(value: &Value) -> Option<toml::Value> {
    let plain = |node: &tree::Node| plain(&node.value);
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::List(list) => toml::Value::Array(list.iter().filter_map(plain).collect()),
        Value::Table(table) => toml::Value::Table(
            table.iter().filter_map(|(key, node)| Some((key.clone(), plain(node)?))).collect(),
        ),
    })
}

/// Every key that an environment variable can write to.
fn known_keys() -> Vec<&'static str> {
    vec!["etc.mode", "etc.packet.routeBytes", "etc.packet.seqBytes", "etc.packet.byteOrder"]
}

/// Whether the first part of a key names a table or a value of due's or Yumen's in `etc`.
fn is_own(first: &str) -> bool {
    known_keys().iter().any(|key| key.split('.').nth(1) == Some(first))
}

#[cfg(test)]
mod tests;
