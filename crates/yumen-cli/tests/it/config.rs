//! `yumen config` as a person or a script runs it.

use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs `yumen config` in `dir`, with no settings in its environment.
fn config(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yumen"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("YUMEN_") || name.starts_with("DUE_") {
            command.env_remove(name);
        }
    }
    command.arg("config").args(arguments).current_dir(dir).envs(variables.iter().copied());
    command.output().expect("runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory with `etc/etc.toml`.
fn dir(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("etc")).expect("made");
    std::fs::write(dir.path().join("etc/etc.toml"), text).expect("written");
    dir
}

#[test]
fn explain_says_of_each_value_where_it_came_from() {
    let dir = dir("[packet]\nrouteBytes = 4\nseqBytes = 4\nbufferBytes = \"64K\"");
    let set = ["explain", "packet", "--json", "--set", "packet.bufferBytes=5k"];
    let output = config(dir.path(), &set, &[("YUMEN_PACKET_SEQBYTES", "1")]);
    assert!(output.status.success(), "{}", err(&output));
    let all: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    let said = |key: &str| {
        let all = all.as_array().expect("a list");
        let one = all.iter().find(|one| one["key"] == format!("etc.packet.{key}")).expect(key);
        format!("{} {}", one["value"], one["from"]).replace(['"', '\\'], "")
    };
    assert_eq!(said("routeBytes"), "4 etc/etc.toml");
    assert_eq!(said("seqBytes"), "1 environment YUMEN_PACKET_SEQBYTES");
    assert_eq!(said("bufferBytes"), "5K flag --set");
    assert_eq!(said("byteOrder"), "big default");
}

#[test]
fn explain_tells_one_key_from_another_and_names_the_nearest() {
    let dir = dir("");
    let output = config(dir.path(), &["explain", "log.file.maxSize"], &[]);
    let text = out(&output);
    assert!(text.starts_with("etc.log.file.maxSize = \"500M\"\n"), "{text}");
    assert!(text.contains("due:       due's documents say 100M"), "{text}");
    let output = config(dir.path(), &["explain", "log.file.maxsizes"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("did you mean etc.log.file.maxSize?"), "{}", err(&output));
}

#[test]
fn check_tells_ci_by_its_exit_code() {
    let good = dir("[cluster.gate]\nexpose = true");
    let output = config(good.path(), &["check", "etc"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).ends_with("etc: no problems, 1 note\n"), "{}", out(&output));
    let bad = dir("[cluster.gate]\nconNum = 9\n[packet]\nrouteBytes = 3");
    let output = config(bad.path(), &["check", "etc"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(
        text.contains("etc/etc.toml: cluster.gate.conNum: unknown key; did you mean connNum?"),
        "{text}"
    );
    assert!(text.contains("etc/etc.toml: packet.routeBytes: is 3; it must be 1, 2 or 4"), "{text}");
    let output = config(bad.path(), &["check", "etc", "--json"], &[]);
    let report: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["problems"][0]["place"], "etc/etc.toml");
    let output = config(bad.path(), &["check", "nowhere"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).starts_with("nowhere: cannot be read"), "{}", err(&output));
}

#[test]
fn check_says_where_a_file_does_not_parse() {
    let dir = dir("[packet]\nrouteBytes = \n");
    let output = config(dir.path(), &["check", "etc", "--json"], &[]);
    let report: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(report["problems"][0]["line"], 2);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_reference_is_printed_and_settles_for_its_own_defaults() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = out(&config(dir.path(), &["reference"], &[]));
    assert!(page.starts_with("# Settings\n") && page.contains("## cluster.gate"), "{page}");
    let file = out(&config(dir.path(), &["reference", "--toml"], &[]));
    std::fs::write(dir.path().join("etc.toml"), file).expect("written");
    let output = config(dir.path(), &["check", "etc.toml"], &[]);
    assert_eq!(out(&output), "etc.toml: no problems, 0 notes\n");
}
