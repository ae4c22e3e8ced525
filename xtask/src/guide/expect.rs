//! Compares an output with what a page says it is.
//!
//! `…` stands for any text within a line, also none; a line that is nothing but `…` stands for any
//! number of lines, also none. Everything else is compared letter by letter, blanks at the end aside.

/// The first line that does not fit, in words; `None` if the output is what is expected.
pub(crate) fn difference(expected: &str, output: &str) -> Option<String> {
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let lines: Vec<&str> = output.trim_end().lines().map(str::trim_end).collect();
    let mut best = 0;
    if fits(&expected, &lines, 0, &mut best) {
        return None;
    }
    // `best` is how far the output could be followed.
    let seen = lines.get(best).map_or("the end", |line| *line);
    Some(format!("line {} of the output does not fit: {seen}", best.saturating_add(1)))
}

fn fits(expected: &[&str], lines: &[&str], at: usize, best: &mut usize) -> bool {
    *best = (*best).max(at);
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=lines.len()).any(|skip| {
            let Some(behind) = lines.get(skip..) else { return false };
            fits(rest, behind, at.saturating_add(skip), best)
        }),
        (Some((pattern, rest)), Some((line, behind))) if line_fits(pattern, line) => {
            fits(rest, behind, at.saturating_add(1), best)
        }
        _ => false,
    }
}

fn line_fits(pattern: &str, line: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(line) = line.strip_prefix(head) else { return false };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.filter_map(|at| line.get(at..)).any(|behind| line_fits(rest, behind))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn dots_stand_for_a_part_of_a_line_and_for_lines() {
        for (expected, output) in [
            ("a\nb", "a\nb\n\n"),
            ("took … s, … messages", "took 1.5 s, 77 messages"),
            ("…", ""),
            ("a\n…\nz", "a\nz"),
            ("a\n…\nz", "a\nb\nc\nz"),
            ("…\nlast …", "x\nlast y\nlast z"),
        ] {
            assert_eq!(difference(expected, output), None, "{expected}");
        }
    }

    #[test]
    fn anything_else_is_a_difference_and_its_line_is_named() {
        let named = |expected, output| difference(expected, output).unwrap();
        assert!(named("a\nb", "a\nc").contains("line 2 of the output does not fit: c"));
        assert!(named("a", "a\nb").contains(": b"));
        assert!(named("a\nb", "a").contains("the end"));
        assert!(named("took … s", "took 3 ms").contains("line 1"));
        assert!(named("a\n…\nz", "a\nb").contains("line 3"));
    }
}
