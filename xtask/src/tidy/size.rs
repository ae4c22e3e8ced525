//! Files of at most 600 lines, functions of at most 70 lines of code: both as ratchets.
//!
//! What is larger today stands in `xtask/ratchet.toml` with its exact size. It may only shrink: a size
//! that differs from the file's, in either direction, is a complaint, so progress is written down.

use std::collections::BTreeMap;

use toml::Table;

use super::Complaint;
use crate::error::Error;
use crate::manifest::{parse, table_at};
use crate::source::Source;

/// Lines of a file, everything counted.
const FILE_MAX: usize = 600;
/// Lines of code in a function's body; blank lines and comments do not count.
const FUNCTION_MAX: usize = 70;
/// Where today's offenders stand.
pub(super) const RATCHET: &str = "xtask/ratchet.toml";

/// Today's offenders with their sizes: files by path, functions by `path::name`.
pub(super) struct Ratchet {
    files: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
}

impl Ratchet {
    /// # Errors
    /// [`Error::Manifest`] when it is not toml.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let table = parse(text, RATCHET)?;
        Ok(Self { files: sizes(&table, "files"), functions: sizes(&table, "functions") })
    }
}

fn sizes(table: &Table, key: &str) -> BTreeMap<String, usize> {
    let entries = table_at(table, &[key]);
    let size = |value: &toml::Value| value.as_integer().and_then(|size| usize::try_from(size).ok());
    entries.iter().filter_map(|(name, value)| Some((name.clone(), size(value)?))).collect()
}

/// Compares every file and function with its limit and its ratchet.
pub(super) fn check(sources: &[Source], ratchet: &Ratchet) -> Vec<Complaint> {
    let files = sources.iter().map(|source| (source.path.clone(), source.text.lines().count()));
    let mut complaints = compare(files.collect(), &ratchet.files, FILE_MAX, "files");
    let mut functions = BTreeMap::new();
    for source in sources {
        for function in source.functions() {
            // Two functions of one name in a file share an entry: the longer one counts.
            let size = functions.entry(format!("{}::{}", source.path, function.name)).or_insert(0);
            *size = function.lines.max(*size);
        }
    }
    complaints.extend(compare(functions, &ratchet.functions, FUNCTION_MAX, "functions"));
    complaints
}

fn compare(
    sizes: BTreeMap<String, usize>,
    known: &BTreeMap<String, usize>,
    max: usize,
    section: &str,
) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (name, size) in &sizes {
        let what = match known.get(name) {
            None if *size > max => format!("{size} lines, more than {max}: split it"),
            Some(known) if size > known => format!("grew from {known} to {size} lines: split it"),
            Some(_) if *size <= max => format!("is small now: take it off {RATCHET} [{section}]"),
            Some(known) if size < known => {
                format!(
                    "shrank from {known} to {size} lines: write {size} in {RATCHET} [{section}]"
                )
            }
            _ => continue,
        };
        complaints.push(Complaint::new(name, what));
    }
    for name in known.keys().filter(|name| !sizes.contains_key(*name)) {
        let what = format!("is gone: take it off {RATCHET} [{section}]");
        complaints.push(Complaint::new(name, what));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, ratchet: &str) -> usize {
        check(&[Source::new("a.rs", text)], &Ratchet::parse(ratchet).unwrap()).len()
    }

    #[test]
    fn a_file_over_the_limit_is_named_unless_the_ratchet_knows_its_size() {
        let long = "//! x\n".repeat(601);
        assert_eq!(found(&"//! x\n".repeat(600), ""), 0);
        assert_eq!(found(&long, ""), 1);
        assert_eq!(found(&long, "[files]\n\"a.rs\" = 601"), 0);
    }

    #[test]
    fn a_function_over_the_limit_is_named_unless_the_ratchet_knows_its_size() {
        let of = |lines: usize| format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines));
        assert_eq!(found(&of(70), ""), 0);
        assert_eq!(found(&of(71), ""), 1);
        assert_eq!(found(&of(71), "[functions]\n\"a.rs::long\" = 71"), 0);
        assert_eq!(found(&of(72), "[functions]\n\"a.rs::long\" = 71"), 1);
    }

    #[test]
    fn a_ratchet_that_could_be_tighter_is_named() {
        let long = "//! x\n".repeat(610);
        assert_eq!(found(&long, "[files]\n\"a.rs\" = 700"), 1);
        assert_eq!(found("//! x\n", "[files]\n\"a.rs\" = 700"), 1);
        assert_eq!(found("//! x\n", "[files]\n\"gone.rs\" = 700"), 1);
    }
}
