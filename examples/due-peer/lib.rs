//! The parts of the `due-peer` example.
