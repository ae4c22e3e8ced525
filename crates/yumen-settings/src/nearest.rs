//! What somebody may have meant who wrote a name that is not known.
//!
//! Pure. The one thing to know: a name that is nothing like the others has no nearest; a wrong
//! suggestion is worse than none.

/// The one of `names` that is most like `written`. `None` if all are unlike it.
pub fn of<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    let nearest = names.into_iter().map(|name| (distance(name), name)).min_by_key(|(far, _)| *far);
    // One slip for every three letters, and one at least.
    let slips = written.chars().count().div_euclid(3).max(1);
    nearest.filter(|(far, _)| *far <= slips).map(|(_, name)| name)
}
