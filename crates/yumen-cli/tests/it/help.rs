//! What a person reads who asks for help: every command, found by asking as they would.

use super::yumen;

/// Widest line, in characters.
const WIDTH_MAX: usize = 100;

fn help(path: &[String]) -> String {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let output = yumen(&arguments);
    assert!(output.status.success(), "{path:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The names below `Commands:`, each with whether something stands beside it.
fn commands(help: &str) -> Vec<(String, bool)> {
    let behind = help.split_once("\nCommands:\n").map_or("", |(_, behind)| behind);
    let rows = behind.lines().take_while(|line| line.starts_with(' '));
    // Deeper lines go on with the words of the one before.
    let rows = rows.filter(|line| !line.starts_with("    "));
    rows.map(|row| {
        let (name, about) = row.trim().split_once(' ').unwrap_or((row.trim(), ""));
        (name.to_owned(), !about.trim().is_empty())
    })
    .filter(|(name, _)| name != "help")
    .collect()
}

/// Every command, from `yumen` itself down, with its help.
fn all() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let text = help(&path);
        for (name, described) in commands(&text) {
            assert!(described, "{path:?}: nothing is said of {name}");
            open.push([path.clone(), vec![name]].concat());
        }
        found.push((path, text));
    }
    found
}

/// Options and arguments of which nothing is said, neither behind them nor in the next line.
fn unsaid(help: &str) -> Vec<&str> {
    let lines: Vec<&str> = help.lines().collect();
    let mut found = Vec::new();
    let indent = |line: &str| line.len().saturating_sub(line.trim_start().len());
    let below = lines.iter().skip(1).chain([&""]);
    for (line, next) in lines.iter().zip(below) {
        let (name, about) = (line.trim_start(), next.trim_start());
        // Values of an option begin with a dash, too, and stand deeper.
        let is_one =
            (2..8).contains(&indent(line)) && (name.starts_with('-') || name.starts_with('<'));
        if !is_one {
            continue;
        }
        let beside = name.split_once("  ").is_some_and(|(_, about)| !about.trim().is_empty());
        let below = indent(next) > indent(line) && !about.is_empty() && !about.starts_with('[');
        if !beside && !below {
            found.push(*line);
        }
    }
    found
}

#[test]
fn every_help_fits_a_terminal_and_says_what_each_option_is() {
    let all = all();
    assert!(all.len() > 8, "only {} commands were found", all.len());
    for (path, text) in all {
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH_MAX, "{path:?}: {line}");
        }
        assert_eq!(unsaid(&text), [""; 0], "{path:?}");
    }
}

#[test]
fn commands_that_a_newcomer_types_end_with_an_example() {
    for path in ["", "demo", "bench echo", "bench call"] {
        let path: Vec<String> = path.split_whitespace().map(str::to_owned).collect();
        let text = help(&path);
        let (_, examples) = text.split_once("\nExamples:\n").unwrap_or_default();
        assert!(examples.contains("yumen "), "{path:?}");
    }
}

#[test]
fn what_is_not_said_is_found() {
    let text = "Options:\n      --one <N>\n          [default: 1]\n  -t, --two  Words\n      --three\n          Words\n";
    assert_eq!(unsaid(text), ["      --one <N>"]);
    let text = "x\n\nCommands:\n  a  Words\n  b\n  help  This\n\nOptions:\n  -h  Help\n";
    assert_eq!(commands(text), [("a".to_owned(), true), ("b".to_owned(), false)]);
}
