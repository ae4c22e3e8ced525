//! Which files are read, what is written over them, and what is said when something is wrong.

use super::*;
use std::fs;
use tempfile::TempDir;

/// A directory with these files.
fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn read(dir: &TempDir) -> Settings {
    Settings::read(dir.path()).unwrap()
}

/// What is wrong with the directory, without its own path.
fn problems(dir: &TempDir) -> Vec<String> {
    let errors = Settings::read(dir.path()).unwrap_err();
    let own = format!("{}/", dir.path().display());
    errors.problems.iter().map(|problem| problem.to_string().replace(&own, "")).collect()
}

fn text(settings: &Settings, key: &str) -> String {
    settings.get(key).unwrap().unwrap()
}

#[test]
fn the_same_directory_in_each_format_gives_the_same_settings() {
    let rows = [
        ("etc.toml", "[packet]\nseqBytes = 4", "game.toml", "max = 8"),
        ("etc.yaml", "packet:\n  seqBytes: 4", "more/game.yml", "max: 8"),
        ("etc.json", r#"{"packet": {"seqBytes": 4}}"#, "a/b/game.json", r#"{"max": 8}"#),
        ("etc.xml", "<x><packet seqBytes='4'/></x>", "game.XML", "<x><max>8</max></x>"),
    ];
    for (etc, etc_text, game, game_text) in rows {
        let settings = read(&dir(&[(etc, etc_text), (game, game_text)]));
        let expected = Settings::parse("[packet]\nseqBytes = 4", Path::new("x")).unwrap().packet;
        assert_eq!(settings.packet, expected, "{etc}");
        assert_eq!(settings.get::<u8>("game.max"), Ok(Some(8)), "{etc}");
        assert!(settings.notes.is_empty(), "{:?}", settings.notes);
    }
}

#[test]
fn w23_two_files_with_one_stem_are_refused_and_both_named() {
    let dir = dir(&[("etc.yaml", "a: 1"), ("b/etc.toml", "a = 2"), ("c/etc.json", "{}")]);
    let problems = problems(&dir);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("c/etc.json: has the same keys `etc.…` as b/etc.toml; "));
    assert!(problems[1].starts_with("etc.yaml: has the same keys `etc.…` as b/etc.toml; "));
}

#[test]
fn w45_a_file_that_does_not_parse_is_refused_with_its_place_and_not_skipped() {
    let dir = dir(&[
        ("etc.toml", "[packet]\nseqBytes = 2\nrouteBytes == 2"),
        ("game.yaml", "a: 1\nb: [1, 2\n"),
        ("shop.json", "{\n  \"a\": }"),
        ("team.xml", "<team>\n  <a></b>\n</team>"),
        ("fine.toml", "a = 1"),
    ]);
    let problems = problems(&dir);
    let expected = [
        "etc.toml: line 3, column 13: is not valid toml",
        "game.yaml: line 2, column 4: is not valid yaml",
        "shop.json: line 2, column 8: is not valid json",
        "team.xml: line 2, column 6: is not valid xml",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn every_problem_of_every_source_is_reported_at_once() {
    let dir = dir(&[("etc.toml", "[packet]\nrouteBytes = 3\nseqByte = 1"), ("game.json", "[")]);
    let (loader, rest) = Loader::new().dir(dir.path()).args(["--set", "x", "--mode", "--port=1"]);
    let errors = loader.code("etc..x", 1).load().unwrap_err();
    assert_eq!(rest, ["--port=1"]);
    let text = errors.to_string();
    let parts = [
        "game.json: line 1",
        "flag --set: \"x\"",
        "flag --mode: needs",
        "code: etc..x: ",
        "packet.routeBytes",
        "packet.seqByte",
    ];
    for part in parts {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(errors.problems.len(), parts.len(), "{text}");
}

#[test]
fn hidden_names_are_passed_over_and_foreign_ones_noted() {
    let settings = read(&dir(&[
        ("etc.toml", ""),
        (".etc.toml.swp", "\u{1}"),
        (".git/etc.toml", "broken"),
        ("..2024_01_01/etc.toml", "broken"),
        ("etc.toml~", "broken"),
        ("README.md", "# settings"),
        ("etc.prod.toml", "broken"),
    ]));
    let notes: Vec<_> = settings.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("README.md: not read: no extension"), "{notes:?}");
    assert!(notes[1].contains("etc.prod.toml: not read: no key reaches"), "{notes:?}");
    assert!(notes[2].contains("etc.toml~: not read"), "{notes:?}");
}

#[test]
fn a_file_that_is_named_itself_is_etc_whatever_its_name() {
    let dir =
        dir(&[("prod.yaml", "packet: { seqBytes: 4 }"), ("etc.toml", "broken"), ("a.txt", "")]);
    let settings = Settings::read(dir.path().join("prod.yaml")).unwrap();
    assert_eq!(settings.tree().get("etc.packet.seqBytes").unwrap().value, Value::Int(4));
    let wrong = Settings::read(dir.path().join("a.txt")).unwrap_err().to_string();
    assert!(wrong.contains("a.txt: is no settings file"), "{wrong}");
}

#[test]
fn a_directory_is_named_by_code_then_flag_then_environment_then_default() {
    let names: Vec<_> = ["code", "flag", "env", "default"]
        .into_iter()
        .map(|name| (name, dir(&[("etc.toml", &format!("name = '{name}'"))])))
        .collect();
    let [code, flag, env, default] = [0, 1, 2, 3].map(|at: usize| names[at].1.path().to_owned());
    let mut loader = Loader::new().default_dir(default);
    let mut read = vec![text(&loader.load().unwrap(), "etc.name")];
    loader = loader.env([("DUE_ETC", env)]);
    read.push(text(&loader.load().unwrap(), "etc.name"));
    loader = loader.args([OsString::from("--etc"), flag.into()]).0;
    read.push(text(&loader.load().unwrap(), "etc.name"));
    loader = loader.dir(code);
    read.push(text(&loader.load().unwrap(), "etc.name"));
    assert_eq!(read, ["default", "env", "flag", "code"]);
}

#[test]
fn a_directory_that_was_named_must_exist_and_an_empty_one_is_noted() {
    let empty = dir(&[]);
    let gone = empty.path().join("gone");
    let rows = [
        (Loader::new().dir(&gone), "code: "),
        (Loader::new().flag("etc", &gone), "flag --etc: "),
        (Loader::new().env([("DUE_ETC", &gone)]), "environment DUE_ETC: "),
        (Loader::new().default_dir(&gone), "code: "),
    ];
    for (loader, start) in rows {
        let said = loader.load().unwrap_err().to_string();
        assert!(said.starts_with(start) && said.contains("gone does not exist"), "{said}");
    }
    let notes = read(&empty).notes;
    assert!(notes[0].what.starts_with("holds no settings file"), "{notes:?}");
}

#[test]
fn environment_beats_files_flags_beat_environment_and_code_beats_all() {
    let dir = dir(&[("etc.toml", "mode = 'debug'\n[game]\nmax = 1"), ("game.toml", "max = 1")]);
    let mut loader = Loader::new().dir(dir.path());
    let mode = |loader: &Loader| {
        let settings = loader.load().unwrap();
        (text(&settings, "etc.mode"), settings.origin("etc.mode").unwrap().to_string())
    };
    assert_eq!(mode(&loader).0, "debug");
    loader = loader.env([("DUE_MODE", "test")]);
    assert_eq!(mode(&loader), ("test".to_owned(), "environment DUE_MODE".to_owned()));
    loader = loader.env([("YUMEN_MODE", "release")]);
    assert_eq!(mode(&loader), ("release".to_owned(), "environment YUMEN_MODE".to_owned()));
    loader = loader.flag("mode", "debug");
    assert_eq!(mode(&loader), ("debug".to_owned(), "flag --mode".to_owned()));
    loader = loader.flag("set", "mode=test");
    assert_eq!(mode(&loader), ("test".to_owned(), "flag --set".to_owned()));
    loader = loader.code("mode", "release");
    assert_eq!(mode(&loader), ("release".to_owned(), "code".to_owned()));
}

#[test]
fn a_key_without_a_stem_is_that_of_its_file_or_else_of_etc() {
    let dir = dir(&[("game.toml", "max = 1"), ("packet.toml", "seqBytes = 1")]);
    let settings = Loader::new()
        .dir(dir.path())
        .flag("set", "game.max=2")
        .flag("set", "team.max=3")
        .flag("set", "packet.seqBytes=4")
        .code("plain", "x")
        .load()
        .unwrap();
    assert_eq!(text(&settings, "game.max"), "2");
    assert_eq!(text(&settings, "etc.team.max"), "3");
    // Never to a file of the user's that has the name of a table of ours.
    assert_eq!(text(&settings, "etc.packet.seqBytes"), "4");
    assert_eq!(text(&settings, "etc.plain"), "x");
    assert_eq!(settings.get::<u8>("team.max"), Ok(Some(3)));
    assert_eq!(settings.get::<u8>("team.min"), Ok(None));
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let dir = dir(&[("etc.toml", "")]);
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("game.toml"));
    std::os::unix::fs::symlink("nowhere", dir.path().join("team.toml")).unwrap();
    let problems = problems(&dir);
    drop(socket);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(problems[0], "game.toml: cannot be read: it is no regular file");
    assert!(problems[1].starts_with("team.toml: cannot be read: "), "{problems:?}");
}

#[cfg(unix)]
#[test]
fn directories_that_contain_themselves_come_to_an_end() {
    let dir = dir(&[("etc.toml", "")]);
    std::os::unix::fs::symlink(".", dir.path().join("again")).unwrap();
    assert!(problems(&dir).iter().any(|problem| problem.contains("is deeper than 8 directories")));
}
