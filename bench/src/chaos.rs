//! A fleet of real processes that are killed and stopped in turn while clients play and write down
//! what they see.
//!
//! Nothing here judges: the program `chaos-check` reads what was written and nothing else. Read in this
//! order: [`game`] (what the nodes do), [`clients`] (who plays), [`plan`] (what is done to whom),
//! [`world`] (who does it, over the lines of [`lines`] where they are slow).
pub(crate) mod clients;
pub(crate) mod game;
mod lines;
pub(crate) mod plan;
mod redis;
mod saves;
pub(crate) mod serve;
mod sheet;
pub(crate) mod world;

/// What the clients saw, in the directory of a run.
pub(crate) const CLIENTS_LOG: &str = "clients.log";
/// What was done to the processes, and how large they were.
pub(crate) const EVENTS_LOG: &str = "events.log";
