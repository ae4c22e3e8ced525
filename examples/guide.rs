//! The pages of the guide as doc tests, and their settings as a test: no code of its own.
//!
//! A page with Rust in it is included here, so that what a reader copies has been compiled. `cargo xtask
//! test --only guide` says when a page is missing, and runs the commands in the pages.

#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/guide/configure.md")]
    mod configure {}
    #[doc = include_str!("../docs/guide/first-game.md")]
    mod first_game {}
    #[doc = include_str!("../docs/guide/from-due.md")]
    mod from_due {}
    #[doc = include_str!("../docs/guide/hello-from-due.md")]
    mod hello_from_due {}
    #[doc = include_str!("../docs/guide/limits.md")]
    mod limits {}
    #[doc = include_str!("../docs/guide/one-to-many.md")]
    mod one_to_many {}
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use yumen::settings::Settings;

    /// The `toml` blocks of a page that are settings, with the line of each.
    fn settings(page: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut lines = (1..).zip(page.lines());
        while let Some((number, line)) = lines.next() {
            let fence = line.strip_prefix("```");
            if let Some(info) = fence {
                let block = lines.by_ref().map(|(_, line)| line);
                let text: Vec<&str> = block.take_while(|line| !line.starts_with("```")).collect();
                if info.starts_with("toml") && !info.ends_with("Cargo.toml") {
                    found.push((number, text.join("\n")));
                }
            }
        }
        found
    }

    #[test]
    fn every_piece_of_settings_in_the_guide_is_read_without_a_problem_or_a_note() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide");
        let mut count = 0_usize;
        for entry in std::fs::read_dir(guide).unwrap() {
            let path = entry.unwrap().path();
            for (line, text) in settings(&std::fs::read_to_string(&path).unwrap()) {
                let place = format!("{}:{line}", path.display());
                let read = Settings::parse(&text, Path::new("etc.toml"));
                let read = read.unwrap_or_else(|problems| panic!("{place}: {problems}"));
                assert!(read.notes.is_empty(), "{place}: {:?}", read.notes);
                count = count.saturating_add(1);
            }
        }
        assert!(count > 0, "the guide shows no settings at all");
    }
}
