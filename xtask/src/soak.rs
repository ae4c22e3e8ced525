//! `cargo xtask soak NAME`: the long versions of what `test` does for a moment.
//!
//! Whoever works on a part runs its soak by hand; nothing here runs in CI.

use clap::ValueEnum;

use crate::command::Line;
use crate::error::Error;
use crate::features::{self, Sets};
use crate::manifest::Workspace;
use crate::stage;

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which one; without it they are listed
    name: Option<Soak>,
    /// Seconds that each fuzz target runs
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Seeds of the simulator, from 201 on: `test` runs those before
    #[arg(long, default_value_t = 5000)]
    seeds: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Soak {
    /// Every fuzz target for ten minutes (or --seconds), on stable, from the corpus in fuzz/corpus
    Fuzz,
    /// Every crate with every combination of its features
    Features,
    /// Every process of a fleet killed and stopped for two minutes, then ten minutes of deaths
    Chaos,
    /// Every process of a fleet replaced under 2,000 clients; the report goes to bench/results
    Roll,
    /// Every server of a Redis Cluster killed and stopped three times under 2,000 clients who are claimed
    /// at gate after gate, for a quarter of an hour
    Failover,
    /// A fleet over slow lines through a Toxiproxy that are cut, for a quarter of an hour
    Lines,
    /// Whole clusters on the virtual network, 5,000 seeds (or --seeds), each twice
    Sim,
}

/// Runs one soak, or lists them all.
///
/// # Errors
/// The first command that failed.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<(), Error> {
    match args.name {
        Some(Soak::Fuzz) => stage::fuzz(workspace, args.seconds),
        Some(Soak::Features) => features::check(workspace, Sets::Powerset),
        Some(Soak::Chaos) => {
            stage::chaos(workspace, "long", 14)?;
            stage::chaos(workspace, "memory", 25)
        }
        Some(Soak::Roll) => {
            let today = Line::new(&workspace.root, "date -u +%F").output()?;
            let report = format!("bench/results/roll-{}.json", today.trim());
            stage::roll(workspace, stage::CHAOS_CLIENTS, &report)
        }
        Some(Soak::Failover) => stage::chaos(workspace, "failover-long", 36),
        Some(Soak::Lines) => stage::lines(workspace, "lines-long", 50),
        Some(Soak::Sim) => {
            let test = "cargo test -p yumen-sim --test it two_hundred -- --nocapture";
            let line = Line::new(&workspace.root, test);
            line.env("YUMEN_SIM_FROM", "201").env("YUMEN_SIM_SEEDS", &args.seeds.to_string()).run()
        }
        None => {
            for value in Soak::value_variants().iter().filter_map(Soak::to_possible_value) {
                let about = value.get_help().map(ToString::to_string).unwrap_or_default();
                println!("{:<10}{about}", value.get_name());
            }
            Ok(())
        }
    }
}
