//! Which sets of features to check a crate with: each alone, or every combination.
//!
//! A crate's features are additive (ARCHITECTURE.md), so each alone finds what is missing; the
//! powerset finds what only fails in company and grows fast, so it belongs to `soak`.

use crate::command::Line;
use crate::error::Error;
use crate::manifest::{Manifest, Workspace};

/// How thorough to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sets {
    /// No feature, then each by itself.
    Each,
    /// Every combination, the empty one included.
    Powerset,
}

/// Checks every crate that has features with each set of them, warnings denied.
///
/// # Errors
/// The first set that does not build.
pub(crate) fn check(workspace: &Workspace, sets: Sets) -> Result<(), Error> {
    for member in workspace.members.iter().filter(|member| !member.features.is_empty()) {
        for set in choose(member, sets) {
            // clippy and not check: it alone can deny warnings without rebuilding the dependencies.
            let name = &member.name;
            let words = format!(
                "cargo clippy --quiet -p {name} --no-default-features --features={set} -- -D warnings"
            );
            Line::new(&workspace.root, &words).run()?;
        }
    }
    Ok(())
}

/// The sets, each as cargo wants it: names separated by commas.
fn choose(member: &Manifest, sets: Sets) -> Vec<String> {
    let mut chosen: Vec<String> = vec![String::new()];
    for feature in &member.features {
        let grown = match sets {
            Sets::Each => vec![feature.clone()],
            Sets::Powerset => chosen.iter().map(|set| join(set, feature)).collect(),
        };
        chosen.extend(grown);
    }
    chosen
}

fn join(set: &str, feature: &str) -> String {
    if set.is_empty() { feature.to_owned() } else { format!("{set},{feature}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Manifest {
        let text = "[package]\nname = \"m\"\n[features]\na = []\nb = []\nc = []\ndefault = [\"a\"]";
        Manifest::parse("m", text, &toml::Table::new()).unwrap()
    }

    #[test]
    fn each_is_none_and_every_feature_alone() {
        assert_eq!(choose(&member(), Sets::Each), ["", "a", "b", "c"]);
    }

    #[test]
    fn the_powerset_has_every_combination_once() {
        let sets = choose(&member(), Sets::Powerset);
        assert_eq!(sets, ["", "a", "b", "a,b", "c", "a,c", "b,c", "a,b,c"]);
    }
}
