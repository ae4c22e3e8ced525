//! Whole clusters under faults, one run for each seed; and the simulator itself.
//!
//! `YUMEN_SIM_SEEDS` is how many seeds are run (200), `YUMEN_SIM_FROM` the first (1), and
//! `YUMEN_SIM_SEED` runs one alone and writes its whole trace beside the build.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests may be short"
)]

mod leaving;
mod rolling;
mod seeds;
mod stores;
mod users;
