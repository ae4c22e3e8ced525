//! Writes the pages that a person reads beside an editor: all keys, and a file with every default.
//!
//! Both come from the tables of [`crate::keys`] alone, so that they cannot say anything else than the
//! program does.

use crate::{Key, Standing, Table, all_tables, explain::wrapped};

/// The command that writes the page anew.
pub const PAGE_COMMAND: &str = "cargo run -- config reference > docs/reference/settings.md";

/// The command that writes the file anew.
pub const FILE_COMMAND: &str = "cargo run -- config reference --toml > docs/reference/etc.toml";

const INTRODUCTION: &str = "\
# Settings

Every key that Yumen knows: due's 308, and its own under `yumen`. This page is generated;
`COMMAND` writes it anew. [`etc.toml`](etc.toml) holds all of them
with their defaults.

```sh
yumen config explain cluster.gate   # these values here, and where each came from
yumen config check etc              # everything that is wrong with a directory; for CI
```

## Where values come from

A key is the stem of its file and the path in it: `etc.packet.routeBytes` stands in the file
`etc/etc.toml`, in the table `[packet]`. The directory is that of `--etc DIR`, else of the environment
variable `DUE_ETC`, else `./etc`. Files are toml, yaml, json or xml. What comes later in this list wins:

1. the default in the tables below,
2. the file,
3. the environment: `YUMEN_` and the key without `etc.` and `yumen.`, in capitals, with `_` for dots, as
   `YUMEN_PACKET_ROUTEBYTES` or `YUMEN_ADMIN_ADDR`; `DUE_MODE` for the mode,
4. the command line: `--set packet.routeBytes=4`, `--mode release`,
5. the program.

Every problem is reported at once, with file, key and what to do, and nothing starts. A key that is not
known is refused in every table below; all other tables and files are the program's own.

## How values are written

| Form | In a file | As a text, for the environment and xml |
|---|---|---|
| text | `\"lobby\"`; numbers count as texts | `lobby` |
| whole number | `5000` | `5000` |
| boolean | `true`, `false`; of numbers 0 is false | empty, `0` and `false` are false, all else is true |
| duration | `\"10s\"`, `\"1h30m\"`, `\"7d\"` with ns, us, ms, s, m, h, d; or nanoseconds as a number | `10s` |
| size | `\"4M\"`, `\"64k\"` in powers of 1024; or bytes as a number | `4M` |
| list | `[\"a\", \"b\"]` | `a,b` |
| table of texts | `{ zone = \"eu\" }` | `zone=eu,rack=7` |

A duration that is a text without a meaning, `\"10\"` too, counts as 0, as it does for due; that is noted
at the start.

## What becomes of a key

| Word | Meaning |
|---|---|
| live | honoured; a change of the file applies while the program runs |
| start | honoured; a change needs a restart |
| not yet | known and not honoured yet; noted at the start if it was set to something else |
| refused | refused unless empty: going on without it would be less safe than asked for |
| no effect | deliberately without effect; noted at the start if it was set to something else |
| dead | in due's documents and read by nothing; accepted, and noted |
";

/// The page of all keys, in Markdown.
pub fn page() -> String {
    let mut page = INTRODUCTION.replace("COMMAND", PAGE_COMMAND);
    for table in all_tables().iter().filter(|table| !table.keys.is_empty()) {
        let heading = if table.path().is_empty() { "Above all tables" } else { table.path() };
        page.push_str(&format!("\n## {heading}\n\n{}\n\n", table.doc.trim()));
        page.push_str("| Key | Form | Default | Standing | |\n|---|---|---|---|---|\n");
        table.keys.iter().for_each(|key| page.push_str(&row(table, key)));
        reasons(table, &mut page);
    }
    page
}

/// The part of a key's name behind that of its table.
fn short(table: &Table, key: &Key) -> &'static str {
    key.name.get(table.name.len().saturating_add(1)..).unwrap_or(key.name)
}

fn row(table: &Table, key: &Key) -> String {
    let mut doc = key.doc.trim().to_owned();
    let range = key.range_text();
    if !range.is_empty() {
        let one_of = if range.contains(", ") { "One of " } else { "Range: " };
        doc.push_str(&format!(" {one_of}{range}."));
    }
    if let Some(due) = key.due {
        doc.push_str(&format!(" **due:** {due}"));
    }
    let default = match key.default_text() {
        empty if empty.is_empty() => String::new(),
        text => format!("`{text}`"),
    };
    let Key { form, standing, .. } = key;
    let name = short(table, key);
    format!(
        "| `{name}` | {form} | {default} | {} | {} |\n",
        standing.name(),
        doc.replace('|', "\\|")
    )
}

/// Why keys of `table` have no effect, each reason once.
fn reasons(table: &Table, page: &mut String) {
    let mut said: Vec<(Standing, Vec<&str>)> = Vec::new();
    for key in &table.keys {
        if matches!(key.standing, Standing::Live | Standing::Start | Standing::Dead) {
            continue;
        }
        match said.iter_mut().find(|(standing, _)| *standing == key.standing) {
            Some((_, keys)) => keys.push(short(table, key)),
            None => said.push((key.standing, vec![short(table, key)])),
        }
    }
    let all = table.keys.len();
    for (standing, keys) in said {
        let text = standing.text();
        let which = match keys.len() {
            count if count == all => "All keys".to_owned(),
            _ => keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "),
        };
        page.push_str(&format!("\n{which}: {text}.\n"));
    }
}

/// A settings file in toml with every key at its default.
pub fn file() -> String {
    let mut file = format!(
        "# Every key that Yumen knows, with its default: a file without any of these lines means the same.\n\
         # docs/reference/settings.md says more of each. This file is generated:\n\
         #   {FILE_COMMAND}\n"
    );
    for table in all_tables() {
        let keys: Vec<_> = table.keys.iter().filter(|key| key.standing != Standing::Dead).collect();
        if keys.is_empty() {
            continue;
        }
        file.push('\n');
        if table.path().is_empty() {
            comment(&plain(table.doc), &mut file);
        }
        if !table.path().is_empty() {
            file.push_str(&format!("[{}]\n", table.path()));
        }
        for key in keys {
            let mut words = plain(key.doc);
            if !matches!(key.standing, Standing::Live | Standing::Start) {
                words = format!("({}) {words}", key.standing.name());
            }
            comment(&words, &mut file);
            file.push_str(&format!("{} = {}\n", short(&table, key), key.default_text()));
        }
    }
    file
}

/// Lines of a comment, of at most 100 letters.
fn comment(words: &str, file: &mut String) {
    for line in wrapped(words, 98) {
        file.push_str(&format!("# {line}\n"));
    }
}

/// One line without the marks of Markdown.
fn plain(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "")
}
