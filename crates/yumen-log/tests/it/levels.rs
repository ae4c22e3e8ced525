//! Which lines go where, and what changes that while the log runs.

use crate::{Screen, logged, options, with_file};
use yumen_log::{Options, PANIC_TARGET, Severity};

fn all() {
    tracing::trace!("trace");
    tracing::debug!("debug");
    tracing::info!("info");
    tracing::warn!("warn");
    tracing::error!("error");
    tracing::error!(target: PANIC_TARGET, "panic");
}

/// The last words of all lines.
fn words(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.rsplit(' ').next()).collect()
}

fn at(level: &str) -> Vec<String> {
    let (mut options, screen) = options();
    options.level = level.parse().unwrap();
    logged(options, |_| all());
    words(&screen.text()).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_level_is_the_least_that_is_written() {
    assert_eq!(at("trace"), ["trace", "debug", "info", "warn", "error", "panic"]);
    assert_eq!(at("none"), ["debug", "info", "warn", "error", "panic"]);
    assert_eq!(at("info"), ["info", "warn", "error", "panic"]);
    assert_eq!(at("error"), ["error", "panic"]);
    assert_eq!(at("fatal"), ["panic"]);
    assert_eq!(at("panic"), ["panic"]);
    assert!(at("off").is_empty());
    assert_eq!(at("off,it::levels=warn"), ["warn", "error"]);
}

#[test]
fn each_terminal_takes_the_levels_of_its_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/due.log");
    let (mut options, screen) = options();
    with_file(&mut options, &path);
    options.console = Some(vec![Severity::Info, Severity::Debug]);
    options.file = Some(vec![Severity::Error, Severity::Info]);
    let logs = logged(options, |_| all());
    assert_eq!(words(&screen.text()), ["info"], "debug is below the level for all");
    let file = std::fs::read_to_string(path).unwrap();
    assert_eq!(words(&file), ["info", "error", "panic"]);
    assert_eq!(logs.written(), 4);
}

#[test]
fn a_level_changes_while_the_log_runs_for_all_and_for_one_module() {
    let (options, screen) = options();
    logged(options, |logs| {
        let speak = |word: &str| {
            tracing::debug!("{word}");
            tracing::debug!(target: "it::other", "other-{word}");
        };
        speak("one");
        logs.set_level("debug").unwrap();
        speak("two");
        logs.set_level("info,it::levels=debug").unwrap();
        assert_eq!(logs.level().to_string(), "info,it::levels=debug");
        speak("three");
        assert!(logs.set_level("loud").is_err());
        speak("four");
        logs.set_level("off").unwrap();
        speak("five");
    });
    assert_eq!(words(&screen.text()), ["two", "other-two", "three", "four"]);
}

/// Options that differ in what may change while a log runs.
fn changed(level: &str, console: &[Severity]) -> Options {
    let mut options = Options::default();
    options.level = level.parse().unwrap();
    options.console = Some(console.to_vec());
    options
}

#[test]
fn changed_settings_change_level_and_terminals_and_leave_what_an_operator_set() {
    let (options, screen) = options();
    logged(options, |logs| {
        logs.reload(changed("warn", &[])).unwrap();
        all();
        tracing::error!("--");
        logs.set_level("debug").unwrap();
        // The file says the same level as before: somebody changed something else in it.
        logs.reload(changed("warn", &[Severity::Debug, Severity::Info])).unwrap();
        all();
        tracing::info!("--");
        logs.reload(changed("info", &[Severity::Debug, Severity::Info])).unwrap();
        all();
    });
    let text = screen.text();
    assert_eq!(words(&text), ["warn", "error", "panic", "--", "debug", "info", "--", "info"]);
}

#[test]
fn a_disabled_event_evaluates_nothing() {
    let (options, screen): (Options, Screen) = options();
    let mut evaluated = false;
    logged(options, |_| {
        tracing::debug!(
            value = {
                evaluated = true;
                1
            },
            "x"
        );
    });
    assert!(!evaluated && screen.text().is_empty());
}
