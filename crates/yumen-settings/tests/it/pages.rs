//! The pages that are made from the tables: they are in the repository as they are made now.

use std::path::{Path, PathBuf};
use yumen_settings::{Settings, Standing, all_keys, reference};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name)
}

fn assert_same(name: &str, made: &str, command: &str) {
    let stored = std::fs::read_to_string(docs(name)).unwrap_or_default();
    let differs = made.lines().zip(stored.lines()).find(|(made, stored)| made != stored);
    assert!(
        made == stored,
        "docs/reference/{name} is not what the tables say; the first difference is\n    {differs:?}\n\
         write it anew with\n    {command}\n"
    );
}

#[test]
fn the_reference_page_is_what_the_tables_say() {
    assert_same("settings.md", &reference::page(), reference::PAGE_COMMAND);
}

#[test]
fn the_reference_file_is_what_the_tables_say() {
    assert_same("etc.toml", &reference::file(), reference::FILE_COMMAND);
}

#[test]
fn w29_the_reference_file_parses_and_holds_every_default() {
    let path = docs("etc.toml");
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let settings = Settings::parse(&text, &path).expect("no problem in it");
    assert!(settings.notes.is_empty(), "{:?}", settings.notes);
    assert_eq!(settings.changed(&Settings::default()), []);
    for key in all_keys().iter().filter(|key| key.standing != Standing::Dead) {
        assert!(settings.is_set(key.name), "{}", key.name);
    }
}

#[test]
fn the_page_says_where_due_differs_from_its_documents() {
    let page = reference::page();
    for (key, said) in [
        ("| `heartbeatTime` | boolean | `false` |", "the code's default, false, holds"),
        ("| `codec` | text | `\"proto\"` |", "The code's default, `proto`, holds"),
        ("| `maxSize` | size | `\"500M\"` |", "its code 500M"),
        ("| `writeQueueSize` | whole number | `512` |", "its code 512"),
    ] {
        let row = page.lines().find(|line| line.starts_with(key)).expect(key);
        assert!(row.contains(said), "{row}");
    }
}
