//! Lines for machines.

use crate::{logged, options};
use proptest::prelude::*;
use serde_json::{Value, json};
use yumen_log::{Format, LINE_MAX, Logs, Severity};

/// The lines of one run, each parsed by somebody else's parser.
fn parsed(log: impl FnOnce(&Logs)) -> Vec<Value> {
    let (mut options, screen) = options();
    options.console_format = Format::Json;
    logged(options, log);
    screen.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn w22_quotes_newlines_and_control_characters_stay_one_valid_json_line() {
    let hard = "say \"hi\"\n\tC:\\dir\r\u{0}\u{1b}[31m\u{7f}\u{9b}\u{2028} ü";
    let lines = parsed(|_| tracing::error!(hard, shown = %hard, "{hard}"));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["msg"], hard);
    assert_eq!(lines[0]["fields"], json!({ "hard": hard, "shown": hard }));
}

#[test]
fn w22_there_are_no_colour_codes_in_json() {
    let (mut options, screen) = options();
    options.console_format = Format::Json;
    logged(options, |_| tracing::error!(colour = "\u{1b}[31mred", "x"));
    assert!(!screen.text().contains('\u{1b}'), "{}", screen.text());
}

#[test]
fn a_line_has_the_names_that_due_gives_and_fields_with_their_types() {
    let line = line!() + 2;
    let lines = parsed(|_| {
        tracing::info!(
            on = true,
            less = -1,
            most = u64::MAX,
            half = 0.5,
            whole = 2.0,
            far = 1e300,
            nan = f64::NAN,
            huge = i128::MIN,
            error = &std::fmt::Error as &dyn std::error::Error,
            list = ?[1, 2],
            r#type = "kind",
            "a player logged in"
        );
    });
    let wanted = json!({
        "level": "INFO",
        "time": "2026/11/22 21:40:58.000012",
        "file": format!("json.rs:{line}"),
        "target": "it::json",
        "msg": "a player logged in",
        "fields": {
            "on": true, "less": -1, "most": u64::MAX, "half": 0.5, "whole": 2.0, "far": 1e300,
            "nan": "NaN", "huge": i128::MIN.to_string(), "list": "[1, 2]", "type": "kind",
            "error": std::fmt::Error.to_string(),
        },
    });
    assert_eq!(lines, [wanted]);
}

#[test]
fn spans_are_a_list_from_the_outermost_in() {
    let lines = parsed(|_| {
        let _conn = tracing::info_span!("conn", id = 3, by = "a\"b").entered();
        tracing::info_span!("turn").in_scope(|| tracing::info!("moved"));
        tracing::info!("gone");
    });
    let conn = json!({ "name": "conn", "fields": { "id": 3, "by": "a\"b" } });
    assert_eq!(lines[0]["spans"], json!([conn, { "name": "turn" }]));
    assert_eq!(lines[1]["spans"], json!([conn]));
}

#[test]
fn a_line_beyond_64_kib_is_cut_marked_and_still_json() {
    let long = "\u{1}".repeat(LINE_MAX);
    let lines = parsed(|_| {
        let _span = tracing::info_span!("a", x = 1).entered();
        tracing::info!(after = 1, "{long}");
        tracing::info!(before = 1, long, after = 1, "x");
        tracing::info!("short");
    });
    for line in &lines[..2] {
        let len = line.to_string().len();
        assert!(len < LINE_MAX && len > LINE_MAX - 1024, "{len}");
        assert_eq!(line["cut"], true);
        assert_eq!(line["fields"]["after"], Value::Null);
    }
    assert_eq!(lines[1]["fields"]["before"], 1);
    assert_eq!(lines[2]["cut"], Value::Null);
}

#[test]
fn no_name_stands_in_an_object_twice() {
    let (mut options, screen) = options();
    options.console_format = Format::Json;
    logged(options, |_| tracing::info!(a = 1, a = 2, "x"));
    assert_eq!(screen.text().matches("\"a\":").count(), 1, "{}", screen.text());
}

#[test]
fn a_time_format_with_quotes_is_valid_json_too() {
    let (mut options, screen) = options();
    options.console_format = Format::Json;
    options.time_format = "\"2006\\\n\"".to_owned();
    logged(options, |_| tracing::info!("x"));
    let line: Value = serde_json::from_str(screen.text().trim_end()).unwrap();
    assert_eq!(line["time"], "\"2026\\\n\"");
}

#[test]
fn a_stack_is_a_list_of_functions_and_places() {
    #[inline(never)]
    fn somewhere_deep() {
        tracing::error!("broken");
    }
    let (mut options, screen) = options();
    options.console_format = Format::Json;
    options.stack_level = Some(Severity::Error);
    logged(options, |_| somewhere_deep());
    let line: Value = serde_json::from_str(screen.text().trim_end()).unwrap();
    let first = &line["stack"][0];
    assert!(first["func"].as_str().unwrap().contains("somewhere_deep"), "{line}");
    assert!(first["file"].as_str().unwrap().contains("json.rs:"), "{line}");
}

proptest! {
    #[test]
    fn any_message_and_any_field_is_read_as_it_was_said(
        message in any::<String>(),
        text in "[\\x00-\\x1f\"\\\\\u{7f}-\u{a1}\u{2028}]*",
        shown in any::<String>(),
        whole in any::<i64>(),
        float in any::<f64>(),
        span in any::<String>(),
    ) {
        let (mut options, screen) = options();
        options.console_format = Format::Json;
        logged(options, |_| {
            let _span = tracing::info_span!("span", span).entered();
            tracing::info!(text, shown = %shown, whole, float, "{message}");
        });
        let raw = screen.text();
        prop_assert_eq!(raw.lines().count(), 1);
        let line: Value = serde_json::from_str(raw.trim_end()).unwrap();
        prop_assert_eq!(line["msg"].as_str(), Some(message.as_str()));
        prop_assert_eq!(line["fields"]["text"].as_str(), Some(text.as_str()));
        prop_assert_eq!(line["fields"]["shown"].as_str(), Some(shown.as_str()));
        prop_assert_eq!(line["fields"]["whole"].as_i64(), Some(whole));
        if float.is_finite() {
            // The parser above rounds; this one does not. No quote inside a text stands bare.
            let (_, rest) = raw.split_once("\"float\":").unwrap();
            let number = rest.split([',', '}']).next().unwrap();
            prop_assert_eq!(number.parse::<f64>().unwrap().to_bits(), float.to_bits());
            prop_assert!(line["fields"]["float"].is_f64());
        } else {
            prop_assert!(line["fields"]["float"].is_string());
        }
        prop_assert_eq!(line["spans"][0]["fields"]["span"].as_str(), Some(span.as_str()));
    }
}
