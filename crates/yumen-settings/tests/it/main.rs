//! Settings of real files, as a program has them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

mod watch;
