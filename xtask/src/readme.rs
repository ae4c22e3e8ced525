//! Compares README.md, README.zh-CN.md and the example they show.
//!
//! The code a new user copies is the code that CI compiles: the region of `examples/hello` between
//! `// readme:begin` and `// readme:end`. Words may differ between the languages; headings, commands
//! and figures may not.

use crate::error::Error;
use crate::manifest::Workspace;

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";
const EXAMPLE: &str = "examples/hello/main.rs";

/// Compares the three files and prints every difference.
///
/// # Errors
/// [`Error::Rules`] if there is any.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let problems =
        compare(&workspace.read(ENGLISH)?, &workspace.read(CHINESE)?, &workspace.read(EXAMPLE)?);
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Rules { count: problems.len() }) }
}

/// Every difference, in words.
fn compare(english: &str, chinese: &str, example: &str) -> Vec<String> {
    let mut problems = Vec::new();
    match marked(example) {
        None => problems.push(format!("{EXAMPLE}: no `// readme:begin` … `// readme:end`")),
        Some(code) => {
            for (name, text) in [(ENGLISH, english), (CHINESE, chinese)] {
                if blocks(text, "rust") != [code.clone()] {
                    let what = "its one Rust block must equal the marked region of";
                    problems.push(format!("{name}: {what} {EXAMPLE}"));
                }
            }
        }
    }
    let pairs: [(&str, Vec<String>, Vec<String>); 3] = [
        ("headings (their levels)", headings(english), headings(chinese)),
        ("commands", commands(english), commands(chinese)),
        ("figures in tables", figures(english), figures(chinese)),
    ];
    for (what, left, right) in pairs {
        if left != right {
            let first = left.iter().zip(&right).find(|(l, r)| l != r);
            let shown = first.map_or_else(
                || format!("{} against {}", left.len(), right.len()),
                |(l, r)| format!("first difference `{l}` against `{r}`"),
            );
            problems.push(format!("{ENGLISH} and {CHINESE} differ in {what}: {shown}"));
        }
    }
    problems
}

/// The marked region of the example, without the indentation that all its lines share.
fn marked(example: &str) -> Option<String> {
    let (_, rest) = example.split_once("// readme:begin")?;
    let (region, _) = rest.split_once("// readme:end")?;
    let lines: Vec<&str> = region.lines().skip(1).collect();
    // The last piece is the indentation of the closing marker.
    let lines = lines.split_last().map_or(lines.as_slice(), |(last, before)| {
        if last.trim().is_empty() { before } else { lines.as_slice() }
    });
    let full = lines.iter().filter(|line| !line.trim().is_empty());
    let shared = full.map(|line| line.len().saturating_sub(line.trim_start().len())).min();
    let cut = |line: &&str| line.get(shared.unwrap_or(0)..).unwrap_or("").trim_end().to_owned();
    Some(lines.iter().map(cut).collect::<Vec<_>>().join("\n"))
}

/// Contents of the fenced blocks in `language`.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let behind = text.split(&fence).skip(1);
    behind.filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect()
}

/// Command lines of the `sh` blocks, without their comments.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let blocks = blocks(text, "sh");
    let lines = blocks.iter().flat_map(|block| block.lines());
    let bare = lines.map(|line| line.split(" #").next().unwrap_or(line).trim());
    bare.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// `#`, `##` … of all headings outside code.
fn headings(text: &str) -> Vec<String> {
    let levels = prose(text).filter(|line| line.starts_with('#'));
    levels.map(|line| line.chars().take_while(|c| *c == '#').collect()).collect()
}

/// Numbers in table rows, one entry per row.
fn figures(text: &str) -> Vec<String> {
    let rows = prose(text).filter(|line| line.starts_with('|'));
    rows.map(|row| {
        let numbers = row.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','));
        let numbers = numbers.map(|n| n.trim_matches(['.', ','])).filter(|n| !n.is_empty());
        numbers.collect::<Vec<_>>().join(" ")
    })
    .collect()
}

/// Lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE_TEXT: &str =
        "//! x\n    // readme:begin\n    fn main() {\n\n        run();\n    }\n    // readme:end\n";

    fn page(title: &str, code: &str, command: &str, figure: &str) -> String {
        format!(
            "# {title}\n\n```sh\n{command} # {title}\n# {title}\n```\n## {title}\n```rust\n{code}\n```\n\
             | {title} | {title} |\n|---|---|\n| {title} 1 KiB | {figure} |\n"
        )
    }

    fn problems(code: &str, command: &str, figure: &str) -> usize {
        let english = page("Words", "fn main() {\n\n    run();\n}", "cargo run", "1,000.5 µs");
        compare(&english, &page("词语", code, command, figure), EXAMPLE_TEXT).len()
    }

    #[test]
    fn pages_that_differ_in_words_only_are_equal() {
        assert_eq!(problems("fn main() {\n\n    run();\n}", "cargo run", "1,000.5 微秒"), 0);
    }

    #[test]
    fn a_difference_in_code_command_or_figure_is_named() {
        assert_eq!(problems("fn main() {}", "cargo run", "1,000.5"), 1);
        assert_eq!(problems("fn main() {\n\n    run();\n}", "cargo test", "1,000.5"), 1);
        assert_eq!(problems("fn main() {\n\n    run();\n}", "cargo run", "1,000.6"), 1);
    }

    #[test]
    fn a_missing_heading_or_marker_is_named() {
        let page = page("x", "fn main() {\n\n    run();\n}", "y", "1");
        assert_eq!(compare(&page, &format!("{page}### z\n"), EXAMPLE_TEXT).len(), 1);
        assert_eq!(compare(&page, &page, "fn main() {}").len(), 1);
    }
}
