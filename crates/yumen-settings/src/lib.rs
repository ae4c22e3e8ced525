//! Settings under due's keys and in due's value forms, so that an `etc` directory moves over unchanged.
//!
//! It reads and checks; it never binds, starts or logs anything. The one thing to know: a file that
//! does not parse and a key that nobody reads are refused, all at once (due skips both: W-45). What is
//! accepted without having an effect is listed in [`Settings::notes`].
//!
//! [`keys`] has the tables from which everything else comes. To add a key: a row there.

#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "tests may be short"
    )
)]

mod changes;
pub mod explain;
mod files;
pub mod form;
pub mod format;
mod get;
pub mod key;
pub mod keys;
mod layers;
mod loader;
pub mod nearest;
mod problem;
pub mod reference;
mod section;
mod settings;
pub mod tree;
pub mod value;
mod watch;

pub use changes::Change;
pub use form::{Bytes, Secret};
pub use key::{Key, Standing, Table};
pub use keys::{
    cluster::{ClusterGateSettings, ClusterNodeSettings, ClusterSettings},
    general::{GeneralSettings, Mode},
    log::{LogSettings, Terminal, TerminalSettings, Terminals},
    network::{NetworkSettings, TcpServerSettings, WsServerSettings},
    packet::PacketSettings,
    yumen::YumenSettings,
};
pub use layers::variable;
pub use loader::Loader;
pub use problem::{Note, Position, Problem, SettingsErrors};
pub use settings::{Settings, keys as all_keys, tables as all_tables};
pub use watch::{Changes, Event, Watcher};

#[cfg(test)]
mod tests;
