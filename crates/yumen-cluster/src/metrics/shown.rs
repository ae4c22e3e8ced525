//! Where the plain counters of gates and nodes are found on the page.

use super::{
    family::Family,
    page::{Page, Whose},
};

/// Where a counter is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// In this family, under this value of its label if it has one.
    As(&'static Family, Option<&'static str>),
    /// Among others that have more labels.
    Elsewhere,
    /// Nowhere: somebody has added a counter and not said.
    Nowhere,
}

/// Says where the counter of this name is found.
pub(super) type Find = fn(&'static str) -> Shown;

/// Writes what has a place.
pub(super) fn write(
    page: &mut Page<'_>,
    whose: Whose<'_>,
    counters: &[(&'static str, u64)],
    find: Find,
) {
    for (name, count) in counters {
        if let Shown::As(family, label) = find(name) {
            page.sample(family, whose, label.as_slice(), *count);
        }
    }
}

/// The values of a family's label, with what each means.
pub(super) fn reasons(
    family: &Family,
    described: Vec<(&'static str, &'static str)>,
    find: Find,
) -> Vec<(&'static str, &'static str)> {
    let of = |(name, help)| match find(name) {
        Shown::As(this, Some(reason)) if this.name == family.name => Some((reason, help)),
        Shown::As(..) | Shown::Elsewhere | Shown::Nowhere => None,
    };
    described.into_iter().filter_map(of).collect()
}
