//! The log level over HTTP.

use super::Operated;
use yumen_log::{Logs, Options};

/// A log that writes nowhere; its subscriber is dropped.
fn logs() -> Logs {
    let mut options = Options::default();
    (options.console, options.file) = (None, None);
    yumen_log::build(options).unwrap().1
}

/// With a log that the app knows.
fn logged() -> Operated {
    Operated::start_app("", |app| app.logs(logs()))
}

fn put(operated: &Operated, target: &str, body: &str) -> super::Answer {
    operated.ask("PUT", target, "", body)
}

#[test]
fn a_level_is_set_in_either_form_and_what_was_is_told() {
    let operated = logged();
    let json = operated.get("/log").json();
    let expected = serde_json::json!({
        "level": "info", "falls_back_to": null, "written": 0, "dropped": 0, "lost": 0,
    });
    assert_eq!(json, expected);
    let changed = put(&operated, "/log", "debug").json();
    let expected = serde_json::json!({ "was": "info", "now": "debug", "falls_back_to": null });
    assert_eq!(changed, expected);
    let modules = "warn,yumen_cluster::gate=debug";
    let changed = put(&operated, "/log", &format!(r#"{{"level": "{modules}"}}"#)).json();
    assert_eq!((&changed["was"], &changed["now"]), (&"debug".into(), &modules.into()));
    assert_eq!(operated.get("/log").json()["level"], modules);
    assert_eq!(operated.control.logs().unwrap().level().to_string(), modules);
}

#[test]
fn a_level_for_a_time_names_the_level_that_comes_back() {
    let operated = logged();
    let changed = put(&operated, "/log?for=10m", "debug").json();
    assert_eq!(changed["falls_back_to"], "info");
    let changed = put(&operated, "/log?for=1h", "trace").json();
    assert_eq!((&changed["was"], &changed["falls_back_to"]), (&"debug".into(), &"info".into()));
    assert_eq!(operated.get("/log").json()["falls_back_to"], "info");
    let changed = put(&operated, "/log", "trace").json();
    assert_eq!(changed["falls_back_to"], serde_json::Value::Null, "now for good");
}

#[test]
fn a_level_that_is_none_is_refused_with_the_forms_and_changes_nothing() {
    let operated = logged();
    for (target, body) in [
        ("/log", ""),
        ("/log", "loud"),
        ("/log", "{\"level\": 5}"),
        ("/log", "{\"levels\": \"info\"}"),
        ("/log", "info,a b=debug"),
        ("/log?for=soon", "debug"),
        ("/log?for=0s", "debug"),
        ("/log?for=1000h", "debug"),
        ("/log?till=10m", "debug"),
    ] {
        let (status, error, help) = put(&operated, target, body).refusal();
        assert_eq!(status, 400, "{target} {body}: {error}");
        assert!(help.contains("trace, debug, info") && help.contains("?for=10m"), "{help}");
    }
    assert_eq!(operated.get("/log").json()["level"], "info");
}

#[test]
fn a_body_that_is_too_long_is_refused_and_not_kept() {
    let operated = logged();
    let (status, error, _) = put(&operated, "/log", &"x".repeat(70_000)).refusal();
    assert_eq!(status, 413, "{error}");
    assert_eq!(operated.get("/log").json()["level"], "info");
}

#[test]
fn a_log_that_the_app_does_not_know_cannot_be_set() {
    let operated = Operated::start("");
    let (status, _, help) = put(&operated, "/log", "debug").refusal();
    assert_eq!(status, 409);
    assert!(help.contains("App::logs"), "{help}");
}
