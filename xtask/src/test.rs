//! `cargo xtask test`: runs the stages in order, stops at the first failure, says what did not run.
//!
//! A missing tool costs its own stage only, on a person's machine; with `CI=true` nothing may be
//! missing, and that is said before anything runs.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::command::ci;
use crate::error::Error;
use crate::manifest::Workspace;
use crate::stage::Stage;
use crate::tool::Tool;

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install missing tools first (cargo tools by cargo, the others by apt-get)
    #[arg(long)]
    install: bool,
    /// Run this stage only; may be given several times
    #[arg(long, value_name = "STAGE")]
    only: Vec<Stage>,
}

/// How a stage ended.
enum End {
    Passed(Duration),
    Failed(Duration),
    Skipped(Vec<Tool>),
}

/// Runs the chosen stages.
///
/// # Errors
/// The first stage that failed; with `CI=true`, also tools that are missing.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<(), Error> {
    let stages = choose(&args.only);
    let missing = missing_tools(workspace, &stages, args.install)?;
    if ci() && !missing.is_empty() {
        return Err(Error::Tools { list: commands(&missing) });
    }
    let mut ends = Vec::new();
    let mut result = Ok(());
    for stage in stages {
        let name = stage.name();
        let lacking: Vec<Tool> =
            stage.tools().iter().copied().filter(|tool| missing.contains(tool)).collect();
        if !lacking.is_empty() {
            println!("\n=== {name}: skipped, see the end");
            ends.push((name, End::Skipped(lacking)));
            continue;
        }
        println!("\n=== {name}");
        let begin = now();
        if let Err(cause) = stage.run(workspace) {
            ends.push((name.clone(), End::Failed(begin.elapsed())));
            result = Err(Error::Stage { stage: name, cause: Box::new(cause) });
            break;
        }
        ends.push((name, End::Passed(begin.elapsed())));
    }
    println!("{}", summary(&ends));
    result
}

/// Those asked for, or all, in their own order.
fn choose(only: &[Stage]) -> Vec<Stage> {
    let all = Stage::value_variants().iter().copied();
    all.filter(|stage| only.is_empty() || only.contains(stage)).collect()
}

/// What the stages need and is not there, after installing if that was asked for.
fn missing_tools(
    workspace: &Workspace,
    stages: &[Stage],
    install: bool,
) -> Result<Vec<Tool>, Error> {
    let mut missing: Vec<Tool> = Vec::new();
    for tool in stages.iter().flat_map(|stage| stage.tools()).copied() {
        if missing.contains(&tool) || !tool.is_missing(&workspace.root) {
            continue;
        }
        if install {
            tool.install(&workspace.root)?;
        } else {
            missing.push(tool);
        }
    }
    Ok(missing)
}

fn commands(tools: &[Tool]) -> String {
    let lines: Vec<String> =
        tools.iter().map(|tool| format!("  {}", tool.install_command())).collect();
    lines.join("\n")
}

/// Duration of every stage, then what did not run and the command that changes it.
fn summary(ends: &[(String, End)]) -> String {
    let mut lines = vec![String::new()];
    let mut total = Duration::ZERO;
    for (name, end) in ends {
        let (took, note) = match end {
            End::Passed(took) => (*took, ""),
            End::Failed(took) => (*took, "  FAILED"),
            End::Skipped(_) => (Duration::ZERO, "  did not run"),
        };
        total = total.saturating_add(took);
        lines.push(format!("{name:<10}{:>8.1} s{note}", took.as_secs_f64()));
    }
    lines.push(format!("{:<10}{:>8.1} s", "all", total.as_secs_f64()));
    for (name, end) in ends {
        if let End::Skipped(tools) = end {
            lines.push(format!("\n`{name}` did not run; install what it needs:"));
            lines.push(commands(tools));
        }
    }
    lines.join("\n")
}

#[expect(clippy::disallowed_methods, reason = "durations of stages are for people, not decisions")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_stages_keep_the_order_of_the_list() {
        assert_eq!(choose(&[Stage::Test, Stage::Fmt]), [Stage::Fmt, Stage::Test]);
        assert_eq!(choose(&[]).len(), Stage::value_variants().len());
    }

    #[test]
    fn the_summary_names_what_did_not_run_and_the_command() {
        let ends = [
            ("fmt".to_owned(), End::Passed(Duration::from_millis(1500))),
            ("docs".to_owned(), End::Failed(Duration::from_secs(2))),
            ("icount".to_owned(), End::Skipped(vec![Tool::Valgrind])),
        ];
        let text = summary(&ends);
        assert!(text.contains("fmt            1.5 s\ndocs           2.0 s  FAILED\n"), "{text}");
        assert!(text.contains("`icount` did not run"), "{text}");
        assert!(text.contains("\n  apt-get install -y valgrind"), "{text}");
    }
}
