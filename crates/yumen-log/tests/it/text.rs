//! Lines for people.

use crate::{logged, options};
use std::fmt;
use yumen_log::{LINE_MAX, Severity};

/// What a line says behind level, time and place.
fn said(line: &str) -> &str {
    line.split_once(".rs:").and_then(|(_, rest)| rest.split_once(' ')).unwrap().1
}

#[test]
fn a_line_has_level_time_to_the_microsecond_file_line_message_and_fields() {
    let (options, screen) = options();
    let line = line!() + 2;
    logged(options, |_| {
        tracing::info!(user = 7, name = "ann", "a player logged in");
    });
    let wanted = format!(
        "INFO[2026/11/22 21:40:58.000012] text.rs:{line} a player logged in user=7 name=ann\n"
    );
    assert_eq!(screen.text(), wanted);
}

#[test]
fn time_format_zone_and_full_path_are_honoured() {
    let (mut options, screen) = options();
    options.time_format = "Jan _2 15:04 -07:00 \"quoted\"".to_owned();
    options.timezone = "Asia/Shanghai".to_owned();
    options.full_path = true;
    logged(options, |_| tracing::warn!("x"));
    let text = screen.text();
    let head = format!("WARN[Nov 23 05:40 +08:00 \"quoted\"] {}:", file!());
    assert!(text.starts_with(&head), "{text}");
}

#[test]
fn spans_stand_in_brackets_from_the_outermost_in() {
    let (options, screen) = options();
    logged(options, |_| {
        let conn = tracing::info_span!("conn", id = 3, user = tracing::field::Empty).entered();
        conn.record("user", 5);
        conn.record("user", 6);
        tracing::info_span!("turn").in_scope(|| tracing::info!("moved"));
        drop(conn.exit());
        tracing::info!("gone");
    });
    let text = screen.text();
    let lines: Vec<_> = text.lines().map(said).collect();
    assert_eq!(lines, ["[conn{id=3 user=6}:turn] moved", "gone"]);
}

#[test]
fn values_that_would_be_misread_are_quoted() {
    let (options, screen) = options();
    let error = std::io::Error::other("no room");
    logged(options, |_| {
        tracing::info!(
            plain = "été",
            empty = "",
            spaced = "a b",
            quote = "a\"b",
            equals = "a=b",
            float = 0.5,
            truth = true,
            huge = u128::MAX,
            error = &error as &dyn std::error::Error,
            debug = ?Some("x"),
        );
    });
    let text = screen.text();
    let wanted = "plain=été empty=\"\" spaced=\"a b\" quote=\"a\\\"b\" equals=\"a=b\" float=0.5 \
                  truth=true huge=340282366920938463463374607431768211455 error=no room \
                  debug=Some(\"x\")";
    assert_eq!(said(text.trim_end()), wanted);
}

#[test]
fn nobody_can_begin_a_line_of_their_own() {
    let (options, screen) = options();
    logged(options, |_| {
        tracing::info!(name = "x\nERRO[now] forged", shown = %"y\r\nz\u{1b}[2J", "a\nb");
    });
    let text = screen.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.trim_end().contains(char::is_control), "{text}");
    assert!(
        text.contains("a\\nb name=\"x\\nERRO[now] forged\" shown=y\\r\\nz\\u{1b}[2J"),
        "{text}"
    );
}

#[test]
fn a_line_beyond_64_kib_is_cut_and_marked() {
    let (options, screen) = options();
    logged(options, |_| {
        tracing::info!(long = "ü".repeat(LINE_MAX), after = 1, "long");
        tracing::info!(shown = ?"y".repeat(LINE_MAX), "{}", "z".repeat(10 * LINE_MAX));
        tracing::info!("short");
    });
    let text = screen.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    for line in &lines[..2] {
        assert!(line.len() < LINE_MAX && line.len() > LINE_MAX - 1024, "{}", line.len());
        assert!(line.ends_with(" (cut)"));
    }
    assert_eq!(said(lines[2]), "short");
}

#[test]
fn a_value_that_logs_while_it_is_logged_loses_neither_line() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // A subscriber for one thread is not asked while it is at work; the text must be whole.
            tracing::info!("inner");
            f.write_str("outer")
        }
    }
    let (options, screen) = options();
    logged(options, |_| tracing::info!(chatty = ?Chatty, "said"));
    assert!(screen.text().contains(" said chatty=outer\n"), "{}", screen.text());
}

#[test]
fn a_stack_comes_with_errors_and_names_who_logged() {
    #[inline(never)]
    fn somewhere_deep() {
        tracing::error!("broken");
    }
    let (mut options, screen) = options();
    options.stack_level = Some(Severity::Error);
    logged(options, |_| {
        tracing::warn!("fine");
        somewhere_deep();
    });
    let text = screen.text();
    let mut lines = text.lines();
    assert_eq!(lines.next().map(said), Some("fine"));
    assert_eq!(lines.next().map(said), Some("broken"));
    assert_eq!(lines.next(), Some("Stack:"));
    let first = lines.next().unwrap();
    assert!(first.starts_with("1.") && first.contains("somewhere_deep"), "{text}");
    assert!(lines.next().unwrap().contains("text.rs"), "{text}");
}
