//! The benchmarks as a person starts them, small enough for a test: that they run, count what they
//! say and end. No figure is judged here.
use serde_json::Value;
use std::process::Command;

/// Runs `yumen-bench bench …` and returns the JSON object that ends its output.
fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_yumen-bench"))
        .arg("bench")
        .args(arguments)
        .output()
        .expect("starts");
    let (text, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}{said}", output.status);
    serde_json::from_str(text.lines().last().expect("a last line")).expect("JSON")
}

/// The value of the check with this name.
fn check(scenario: &Value, what: &str) -> f64 {
    let checks = scenario["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["what"] == what).expect("the check");
    found["value"].as_f64().expect("a number")
}

#[test]
fn every_scenario_of_neighbours_serves_all_who_behave() {
    let report = bench(&["neighbours", "--quick", "--json"]);
    let [stalled, hot, broadcast] = report["scenarios"].as_array().expect("scenarios").as_slice()
    else {
        panic!("three scenarios: {report}")
    };
    assert_eq!(check(stalled, "failures of the others"), 0.0, "{stalled}");
    assert_eq!(check(stalled, "rounds with a stalled client unbounded"), 0.0, "{stalled}");
    assert_eq!(check(hot, "failures"), 0.0, "{hot}");
    assert_eq!(check(broadcast, "failures"), 0.0, "{broadcast}");
    let last = broadcast["with"][0]["last_us"].as_array().expect("a time per broadcast");
    assert!(last.len() == 2 && last.iter().all(|us| us.as_f64() > Some(0.0)), "{broadcast}");
}

#[test]
fn bots_need_neither_threads_nor_tasks_of_their_own() {
    let report = bench(&["bots", "--count", "100", "--seconds", "1", "--json"]);
    assert_eq!(report["bots"], 100);
    assert_eq!(report["before"], report["idle"], "threads and tasks: {report}");
}
