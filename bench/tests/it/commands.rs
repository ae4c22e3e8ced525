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

#[test]
fn codec_reports_every_case_and_a_reused_buffer_needs_no_memory() {
    let report = bench(&["codec", "-n", "20", "--rounds", "2", "--skip-instructions", "--json"]);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4 * 3, "{report}");
    for row in rows {
        assert!(row["ns"]["median"].as_f64() > Some(0.0), "{row}");
        assert!(row["instructions"].is_null(), "{row}");
        let bytes = row["allocated_bytes"].as_f64();
        if row["step"] == "encode-reused" {
            assert_eq!(bytes, Some(0.0), "{row}");
        } else {
            // A value or a body of its own.
            assert!(bytes >= Some(1024.0), "{row}");
        }
    }
}

#[test]
fn codec_measures_what_it_was_asked_for_and_refuses_to_measure_nothing() {
    let of_json = ["codec", "-n", "5", "--rounds", "1", "--codec", "json", "--shape", "fields"];
    let report = bench(&[&of_json[..], &["--skip-instructions", "--json"]].concat());
    assert_eq!(report["rows"].as_array().expect("rows").len(), 3, "{report}");
    assert_eq!((&report["shape"], &report["messages"]), (&"fields".into(), &5.into()));
    let refused = Command::new(env!("CARGO_BIN_EXE_yumen-bench"))
        .args(["bench", "codec", "-n", "0"])
        .output()
        .expect("starts");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("messages and rounds are at least 1"), "{said}");
}

/// The entry of a list with this name.
fn named<'v>(list: &'v Value, name: &str) -> &'v Value {
    let all = list.as_array().expect("a list");
    all.iter().find(|one| one["name"] == name).expect("the name")
}

#[test]
fn a_comparison_measures_every_process_of_every_contender_without_a_wrong_request() {
    let wanted = ["compare", "--processes", "--row=50x64", "--row=1000@20000", "--json"];
    let report = bench(&[&wanted[..], &["--rounds=2", "--messages=4000"]].concat());
    let [deep, open] = report["rows"].as_array().expect("rows").as_slice() else {
        panic!("two rows: {report}")
    };
    assert_eq!((&deep["errors"], &open["errors"]), (&0.into(), &0.into()), "{report}");
    let names = ["relay", "yumen", "ws", "one process", "two gates"];
    for contender in names.map(|name| named(&deep["contenders"], name)) {
        assert!(contender["rate"]["min"].as_f64() > Some(0.0), "{contender}");
        assert!(contender["generator_cpu_us"]["min"].as_f64() > Some(0.0), "{contender}");
        if contender["name"] != "one process" {
            let of = |name| named(&contender["processes"], name)["cpu_us"]["min"].as_f64();
            assert!(of("gate") > Some(0.0) && of("node") > Some(0.0), "{contender}");
        }
    }
    assert_eq!((&open["intended_rate"], &open["connections"]), (&20_000.into(), &1000.into()));
    let median = |name| named(&open["contenders"], name)["p99_us"]["median"].as_f64();
    let ratio = &open["ratios"][0];
    let expected = median("yumen").expect("p99") / median("relay").expect("p99");
    // Figures lose their last digit on the way through JSON.
    let off = ratio["ratio"].as_f64().map(|ratio| (ratio / expected - 1.0).abs());
    assert!(off < Some(1e-9), "{expected}: {open}");
    assert_eq!(ratio["met"].as_bool(), Some(expected <= 1.5), "{ratio}");
}

#[test]
fn a_message_to_all_reaches_all_and_one_to_a_room_crosses_each_link_once() {
    let sizes = ["--receivers", "40", "--rounds", "1", "--messages", "3", "--room", "30"];
    let report = bench(&[&["fanout", "--json"], &sizes[..]].concat());
    assert_eq!(check(&report, "messages that did not arrive"), 0.0, "{report}");
    assert_eq!(report["room"]["frames_per_message"], 2.0, "one for each gate: {report}");
    let bytes = report["room"]["bytes_per_message"].as_f64().expect("bytes");
    assert!(bytes < 500.0, "not one for each of thirty users: {report}");
}

#[test]
fn whoever_is_kicked_under_load_sees_it() {
    let report = bench(&["kick", "--connections", "20", "--kicks", "5", "--json"]);
    assert_eq!((&report["loaded"]["kicks"], &report["errors"]), (&5.into(), &0.into()), "{report}");
    assert!(report["loaded"]["latency"]["max_us"].as_f64() > Some(0.0), "{report}");
}

#[test]
fn all_who_come_at_once_are_let_in() {
    let report = bench(&["storm", "--connections", "200", "--rounds", "1", "--json"]);
    assert_eq!(check(&report, "clients that failed"), 0.0, "{report}");
    assert_eq!(report["rounds"][0]["gate"]["accepted"], 200, "{report}");
}

#[test]
fn idle_sessions_are_spread_over_gates_and_none_is_lost() {
    let sizes = ["--sessions", "70", "--per-gate", "30", "--seconds", "1"];
    let report = bench(&[&["idle", "--json"], &sizes[..]].concat());
    assert_eq!((&report["gates"], &report["lost"]), (&3.into(), &0.into()), "{report}");
}
