//! Settings as a program has them: every key, real files, a directory of due's, and the pages.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "this is a test")]

mod directory;
mod pages;
mod table;
mod watch;
