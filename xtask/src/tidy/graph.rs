//! Rules about manifests: who uses whom, what each may take from others, and that lints are inherited.
//!
//! The walls between crates hold only as long as the edges are few and known, so both tables in
//! ARCHITECTURE.md must equal what the manifests say: an edge too many and an edge too few are wrong.

use std::collections::BTreeSet;

use super::{Complaint, table};
use crate::manifest::{Dependency, Manifest, Section};

/// Uses between crates of this repository equal the table `graph`.
///
/// Tests may use what the crate uses anyway, and the crate's own features; nothing more.
pub(super) fn edges(members: &[Manifest], architecture: &str) -> Vec<Complaint> {
    let mut complaints = compare(members, architecture, "graph", |member| {
        member.local(Section::Normal).into_iter().map(str::to_owned).collect()
    });
    for member in members {
        let normal = member.local(Section::Normal);
        for extra in member.local(Section::Test).difference(&normal) {
            if *extra != member.name {
                let what = format!("tests use `{extra}`, which the crate itself does not");
                complaints.push(Complaint::new(format!("{}/Cargo.toml", member.folder), what));
            }
        }
    }
    complaints
}

/// What crates take from others equals the table `dependencies`, features included where it names them.
pub(super) fn foreign(members: &[Manifest], architecture: &str) -> Vec<Complaint> {
    let rows = table::rows(architecture, "dependencies").unwrap_or_default();
    compare(members, architecture, "dependencies", |member| {
        let row = rows.iter().find(|row| row.name == member.name);
        let with_features = |dependency: &Dependency| {
            let prefix = format!("{}(", dependency.name);
            row.is_some_and(|row| row.values.iter().any(|value| value.starts_with(&prefix)))
        };
        let shown = |dependency: &Dependency| {
            if with_features(dependency) { signature(dependency) } else { dependency.name.clone() }
        };
        member.foreign().map(shown).collect()
    })
}

/// `tokio(net rt)`: a dependency with its features in alphabetical order.
fn signature(dependency: &Dependency) -> String {
    let features: Vec<&str> = dependency.features.iter().map(String::as_str).collect();
    format!("{}({})", dependency.name, features.join(" "))
}

/// Every crate obeys the lints of the workspace.
pub(super) fn lints(members: &[Manifest]) -> Vec<Complaint> {
    let free = members.iter().filter(|member| !member.lints_inherited);
    let place = |member: &Manifest| format!("{}/Cargo.toml", member.folder);
    free.map(|member| Complaint::new(place(member), "add `[lints] workspace = true`")).collect()
}

/// The table `name` says of each member exactly what `actual` says.
fn compare(
    members: &[Manifest],
    architecture: &str,
    name: &str,
    actual: impl Fn(&Manifest) -> BTreeSet<String>,
) -> Vec<Complaint> {
    let rows = match table::rows(architecture, name) {
        Ok(rows) => rows,
        Err(complaint) => return vec![complaint],
    };
    let mut complaints = Vec::new();
    let mut complain = |what: String| complaints.push(Complaint::new("ARCHITECTURE.md", what));
    for member in members {
        let Some(row) = rows.iter().find(|row| row.name == member.name) else {
            complain(format!("table tidy:{name} has no row for `{}`", member.name));
            continue;
        };
        let listed: BTreeSet<String> = row.values.iter().cloned().collect();
        let actual = actual(member);
        for extra in actual.difference(&listed) {
            complain(format!("`{}` uses `{extra}`, which tidy:{name} does not allow", member.name));
        }
        for unused in listed.difference(&actual) {
            complain(format!(
                "tidy:{name} gives `{}` the use of `{unused}`, which it has not",
                member.name
            ));
        }
    }
    for row in rows.iter().filter(|row| !members.iter().any(|member| member.name == row.name)) {
        complain(format!("table tidy:{name} has a row for `{}`, which does not exist", row.name));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn members() -> Vec<Manifest> {
        let shared = "a = { path = \"a\" }\nfar = { version = \"1\", features = [\"y\"] }";
        let shared = parse(shared, "x").unwrap();
        let read = |name: &str, rest: &str| {
            let text = format!("[package]\nname = \"{name}\"\n{rest}");
            Manifest::parse(name, &text, &shared).unwrap()
        };
        let b = "[dependencies]\na.workspace = true\nfar = { workspace = true, features = [\"x\"] }\n\
            [dev-dependencies]\nprobe = \"1\"\na.workspace = true\n[lints]\nworkspace = true";
        vec![read("a", "[lints]\nworkspace = true"), read("b", b)]
    }

    fn document(name: &str, rows: &[(&str, &str)]) -> String {
        let rows: String =
            rows.iter().map(|(name, uses)| format!("| `{name}` | {uses} |\n")).collect();
        format!("<!-- tidy:{name} -->\n| Crate | Uses |\n|---|---|\n{rows}<!-- tidy:end -->")
    }

    #[test]
    fn the_graph_must_equal_its_table() {
        let check = |rows: &[(&str, &str)]| edges(&members(), &document("graph", rows)).len();
        assert_eq!(check(&[("a", "–"), ("b", "`a`")]), 0);
        assert_eq!(check(&[("a", "–"), ("b", "–")]), 1, "an edge too many");
        assert_eq!(check(&[("a", "`b`"), ("b", "`a`")]), 1, "an edge too few");
        assert_eq!(check(&[("b", "`a`")]), 1, "a crate without a row");
        assert_eq!(check(&[("a", "–"), ("b", "`a`"), ("c", "–")]), 1, "a row without a crate");
        assert_eq!(edges(&members(), "no table").len(), 1);
    }

    #[test]
    fn tests_may_not_use_a_crate_that_the_crate_does_not() {
        let shared = parse("a = { path = \"a\" }", "x").unwrap();
        let text = "[package]\nname = \"c\"\n[dev-dependencies]\na.workspace = true";
        let member = Manifest::parse("c", text, &shared).unwrap();
        assert_eq!(edges(&[member], &document("graph", &[("c", "–")])).len(), 1);
    }

    #[test]
    fn what_a_crate_takes_from_others_must_equal_its_table() {
        let check = |uses: &str| {
            foreign(&members(), &document("dependencies", &[("a", "–"), ("b", uses)])).len()
        };
        assert_eq!(check("`far`"), 0);
        assert_eq!(check("`far(x y)`"), 0);
        assert_eq!(check("–"), 1, "not allowed");
        assert_eq!(check("`far`, `near`"), 1, "allowed and not used");
        assert_eq!(check("`far(y)`"), 2, "a feature too many");
    }

    #[test]
    fn a_crate_without_our_lints_is_named() {
        assert_eq!(lints(&members()), []);
        let free = Manifest::parse("c", "[package]\nname = \"c\"", &toml::Table::new()).unwrap();
        assert_eq!(lints(&[free]).len(), 1);
    }
}
