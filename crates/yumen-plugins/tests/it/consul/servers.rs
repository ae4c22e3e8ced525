//! What needs a server.

mod access;
mod away;
mod records;
