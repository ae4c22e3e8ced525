//! A directory as a project of due has it: accepted as it is, with what has no effect listed.

use std::path::{Path, PathBuf};
use yumen_settings::{Bytes, Loader, Settings};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/project")
}

#[test]
fn a_project_of_due_is_accepted_and_its_values_hold() {
    let settings = Settings::read(project()).expect("accepted");
    assert_eq!(settings.cluster.gate.name, "gate-eu");
    assert_eq!(settings.cluster.node.weight, 3);
    assert_eq!(settings.network.tcp.server.max_conn_num, 20_000);
    assert_eq!(settings.packet.buffer_bytes, Bytes(65_536));
    assert_eq!(settings.log.level, "debug");
    assert_eq!(settings.log.terminals.0.len(), 2);
    assert_eq!(settings.cache.redis.password.expose(), "not-a-real-password");
    assert_eq!(settings.http.cors.allow_origins, ["https://play.example.com"]);
    assert_eq!(settings.get("game.maxPlayers").expect("fits"), Some(64_u32));
    assert_eq!(
        settings.get("mysql.dsn").expect("fits"),
        Some("player@tcp(db:3306)/game".to_owned())
    );
    assert_eq!(settings.get("levels.0.name").expect("fits"), Some("meadow".to_owned()));
}

#[test]
fn what_has_no_effect_is_listed_with_its_reason() {
    let notes = Settings::read(project()).expect("accepted").notes;
    let all: Vec<_> = notes.iter().map(ToString::to_string).collect();
    for (key, why) in [
        ("cluster.mesh.expose", "due does not read it either"),
        ("crypto.ecc.signer", "due does not read it either"),
        ("network.tcp.client.timeout", "due does not read it either"),
        ("cluster.node.codec", "the codec is part of the program"),
        ("cache.redis.addrs", "there is no cache"),
        ("network.tcp.server.writeQueueSize", "bounded in bytes"),
        ("task.size", "threads that the program starts"),
    ] {
        let said = all.iter().filter(|note| note.contains(key)).collect::<Vec<_>>();
        assert!(said.len() == 1 && said[0].contains(why), "{key}: {all:#?}");
    }
    // Written, and the same as its default.
    assert!(!all.iter().any(|note| note.contains("cluster.gate.callTimeout")));
    // A reason is said once, whatever the number of keys.
    assert!(all.len() < 20, "{all:#?}");
    assert!(!all.join("\n").contains("not-a-real-password"));
}

#[test]
fn a_file_of_ours_under_another_name_is_noted() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("config.toml"), "[packet]\nseqBytes = 4").expect("written");
    std::fs::write(dir.path().join("game.toml"), "mode = 'x'\n[shop]\nprice = 4").expect("written");
    let loader = Loader::new().dir(dir.path()).env([("DUE_MODE", "test")]);
    let notes = loader.load().expect("accepted").notes;
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    let said = note.to_string();
    assert!(said.contains("config.toml: ") && said.contains("packet.seqBytes"), "{said}");
    assert!(said.ends_with("are read from the file named etc and not from config"), "{said}");
}

#[test]
fn w45_a_slip_in_any_file_is_refused_with_file_and_key() {
    let dir = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(project()).expect("there") {
        let entry = entry.expect("read");
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
    }
    let load = || Loader::new().dir(dir.path()).load();
    load().expect("as it is");
    std::fs::write(dir.path().join("game.toml"), "maxPlayers = \n").expect("written");
    let text = std::fs::read_to_string(project().join("etc.toml")).expect("read");
    let text =
        text.replace("dispatch =", "dispach =").replace("maxConnNum = 20000", "maxConnNum = 'x'");
    std::fs::write(dir.path().join("etc.toml"), text).expect("written");
    let said = load().expect_err("three slips").to_string();
    for part in [
        "game.toml: line 1",
        "cluster.gate.dispach: unknown key; did you mean dispatch?",
        "network.tcp.server.maxConnNum: is \"x\"; it must be a whole number",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(said.matches("etc.toml: ").count(), 2, "{said}");
}
