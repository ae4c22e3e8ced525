//! The fenced blocks of a Markdown page, and what each of them is for.
//!
//! The first word behind the fence is the language; the words behind it say what to do with the block.

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Line of the opening fence, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
    /// The file that it is the content of.
    pub(super) file: Option<String>,
    /// The output that is expected, of a `text` block right behind.
    pub(super) expected: Option<String>,
}

/// What a block is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `sh`: run if an output is expected or it says `run`.
    Shell { run: bool },
    /// `sh background`: started, and stopped at the page's end.
    Background {
        /// Somebody else's program: how it ends is its own matter.
        foreign: bool,
    },
    /// `rust`: compiled as a doc test.
    Rust,
    /// `toml`: read as settings by a test of the examples.
    Settings,
    /// Shown only.
    Shown,
    /// Not a language that this knows.
    Unknown(String),
}

impl Block {
    /// Whether some check would notice that it is wrong.
    pub(super) fn is_checked(&self) -> bool {
        match &self.kind {
            Kind::Shell { run } => *run || self.expected.is_some(),
            Kind::Background { .. } | Kind::Rust | Kind::Settings => true,
            Kind::Shown | Kind::Unknown(_) => false,
        }
    }

    /// The file that the block is the content of: `file:PATH` behind the language.
    pub(super) fn file(info: &str) -> Option<&str> {
        info.split([' ', ',']).find_map(|word| word.strip_prefix("file:"))
    }
}

/// All blocks of a page, each `text` block with the block before it if only blank lines are between.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut adjacent = false;
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            adjacent &= line.trim().is_empty();
            continue;
        };
        let text: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.starts_with("```"))
            .collect();
        let text = text.join("\n");
        if info == "text"
            && adjacent
            && let Some(before) = found.last_mut()
        {
            before.expected = Some(text);
            adjacent = false;
            continue;
        }
        found.extend(written(at, info, &text));
        found.push(Block {
            line: at.saturating_add(1),
            kind: kind(info),
            text,
            file: Block::file(info).map(str::to_owned),
            expected: None,
        });
        adjacent = true;
    }
    found
}

fn kind(info: &str) -> Kind {
    let mut words = info.split([' ', ',']).filter(|word| !word.is_empty());
    let language = words.next().unwrap_or("");
    let rest: Vec<&str> = words.collect();
    match language {
        "sh" if rest.contains(&"background") => {
            Kind::Background { foreign: rest.contains(&"foreign") }
        }
        "sh" => Kind::Shell { run: rest.contains(&"run") },
        // Fragments for the eye only; the reason must stand in the page.
        "rust" if rest.contains(&"ignore") => Kind::Unknown(info.to_owned()),
        "rust" => Kind::Rust,
        "toml" if Block::file(info).is_some_and(|file| file.ends_with("Cargo.toml")) => Kind::Shown,
        "toml" => Kind::Settings,
        "text" | "go" | "yaml" | "json" | "xml" | "ini" | "dockerfile" => Kind::Shown,
        _ => Kind::Unknown(info.to_owned()),
    }
}

/// A block with `file:PATH` is also a command that writes that file.
fn written(at: usize, info: &str, text: &str) -> Option<Block> {
    let file = Block::file(info)?;
    // Lines that rustdoc hides are hidden from the reader, too.
    let shown: Vec<&str> = text.lines().filter(|line| !line.starts_with("# ")).collect();
    let text = format!(
        "mkdir -p \"$(dirname {file})\" && cat > {file} <<'END-OF-FILE'\n{}\nEND-OF-FILE",
        shown.join("\n")
    );
    let kind = Kind::Shell { run: true };
    Some(Block { line: at.saturating_add(1), kind, text, file: None, expected: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_belongs_to_the_block_right_before_it() {
        let found = blocks("```sh\na\nb\n```\n\n```text\nout\n```\nwords\n```text\nshown\n```\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].text, "a\nb");
        assert_eq!(found[0].expected.as_deref(), Some("out"));
        assert_eq!((found[1].line, &found[1].kind), (10, &Kind::Shown));
    }

    #[test]
    fn a_block_with_a_file_is_written_and_is_what_its_language_says() {
        let found = blocks("```rust file:game/src/main.rs\nfn main() {}\n```\n");
        assert!(found[0].text.contains("cat > game/src/main.rs <<'END-OF-FILE'\nfn main() {}\n"));
        assert_eq!(found[0].kind, Kind::Shell { run: true });
        assert_eq!(found[1].kind, Kind::Rust);
    }

    #[test]
    fn languages_that_nobody_checks_by_mistake_are_unknown() {
        assert_eq!(kind("shell"), Kind::Unknown("shell".to_owned()));
        assert_eq!(kind("rust ignore"), Kind::Unknown("rust ignore".to_owned()));
        assert_eq!(kind("sh background"), Kind::Background { foreign: false });
        assert_eq!(kind("sh background foreign"), Kind::Background { foreign: true });
        assert_eq!(kind("sh run"), Kind::Shell { run: true });
    }
}
