//! Runs the guide: what its pages tell a reader to type is typed, and what they say appears must appear.
//!
//! It works in a copy of the repository below the target folder, so a page may write files. What a page
//! may say is in `docs/guide/README.md`. A page that nothing here would notice breaking is an error.

mod copy;
mod expect;
mod links;
mod page;
mod play;
mod shell;

pub(crate) use copy::{fresh_clone, scratch};
pub(crate) use play::complaint;
pub(crate) use shell::Shell;

use crate::command::Line;
use crate::error::Error;
use crate::manifest::Workspace;
use page::{Block, Kind};

const GUIDE: &str = "docs/guide";
/// Where the pages are included, so that their Rust is compiled as doc tests.
const DOC_TESTS: &str = "examples/guide.rs";

/// Checks links everywhere, then runs every page.
///
/// # Errors
/// [`Error::Rules`] if anything differs; each difference was printed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let mut problems = links::check(&workspace.root)?;
    let pages = pages(workspace)?;
    let doc_tests = workspace.read(DOC_TESTS)?;
    for (name, blocks) in &pages {
        problems.extend(coverage(name, blocks, &doc_tests));
        problems.extend(copies(name, blocks, |path| workspace.read(path).ok()));
    }
    for problem in &problems {
        println!("{problem}");
    }
    // The settings in the pages, then their Rust.
    Line::new(&workspace.root, "cargo test --quiet -p yumen-examples --lib").run()?;
    Line::new(&workspace.root, "cargo test --quiet -p yumen-examples --doc").run()?;
    for (name, blocks) in &pages {
        // Anew, without what the page before has written.
        let scratch = scratch(workspace)?;
        let wrong = play::play(&scratch, name, blocks)?;
        wrong.iter().for_each(|problem| println!("{problem}"));
        problems.extend(wrong);
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Rules { count: problems.len() }) }
}

/// Every page of the guide with its blocks, in the order of the names.
fn pages(workspace: &Workspace) -> Result<Vec<(String, Vec<Block>)>, Error> {
    let mut pages = Vec::new();
    for name in copy::files(&workspace.root)? {
        if name.starts_with(GUIDE) && name.ends_with(".md") {
            let text = workspace.read(&name)?;
            pages.push((name, page::blocks(&text)));
        }
    }
    Ok(pages)
}

/// What no check would see: a page without any checked block, and Rust that nobody compiles.
fn coverage(name: &str, blocks: &[Block], doc_tests: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let index = name.ends_with("/README.md");
    if !index && !blocks.iter().any(|block| block.is_checked()) {
        problems.push(format!("{name}: no block of it is checked; see {GUIDE}/README.md"));
    }
    let rust = blocks.iter().any(|block| block.kind == Kind::Rust);
    if rust && !doc_tests.contains(&format!("include_str!(\"../{name}\")")) {
        problems.push(format!("{name}: its Rust is not compiled; include it in {DOC_TESTS}"));
    }
    for block in blocks {
        if let Kind::Unknown(info) = &block.kind {
            problems.push(format!("{name}:{}: what is a block of `{info}`?", block.line));
        }
    }
    problems
}

/// Blocks that write a file of the repository, and say something else than it does.
fn copies(name: &str, blocks: &[Block], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let differs = |block: &&Block| {
        let there = block.file.as_deref().and_then(&read);
        there.is_some_and(|there| there.trim_end() != block.text.trim_end())
    };
    let told = |block: &Block| {
        let path = block.file.as_deref().unwrap_or_default();
        format!("{name}:{}: {path} says something else; copy it here", block.line)
    };
    blocks.iter().filter(differs).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_no_check_covers_is_named() {
        let plain = page::blocks("# Words\n\n```sh\nsystemctl stop game\n```\n");
        assert_eq!(coverage("docs/guide/a.md", &plain, "").len(), 1);
        let run = page::blocks("```sh\necho\n```\n```text\n```\n");
        assert_eq!(coverage("docs/guide/a.md", &run, ""), [""; 0]);
    }

    #[test]
    fn rust_that_nobody_compiles_and_odd_blocks_are_named() {
        let rust = page::blocks("```rust\nfn main() {}\n```\n");
        assert_eq!(coverage("docs/guide/a.md", &rust, "").len(), 1);
        let included = "#[doc = include_str!(\"../docs/guide/a.md\")]";
        assert_eq!(coverage("docs/guide/a.md", &rust, included), [""; 0]);
        let odd = page::blocks("```rust\n```\n```shell\nls\n```\n");
        assert_eq!(coverage("docs/guide/a.md", &odd, included).len(), 1);
    }

    #[test]
    fn a_page_that_shows_a_file_of_the_repository_otherwise_is_named() {
        let page = page::blocks("```toml file:a/b.toml\nx = 1\n```\n");
        let there =
            |text: &'static str| move |path: &str| (path == "a/b.toml").then(|| text.to_owned());
        assert_eq!(copies("p.md", &page, there("x = 1\n")), [""; 0]);
        assert_eq!(copies("p.md", &page, |_| None), [""; 0]);
        let told = "p.md:1: a/b.toml says something else; copy it here";
        assert_eq!(copies("p.md", &page, there("x = 2\n")), [told]);
    }
}
