//! The log of a whole process. A process has one, so each of these runs in a process of its own: this
//! program again, told by its environment what to do.

use crate::{PATIENCE, with_file};
use std::{
    env, panic,
    path::Path,
    process::{self, Command},
    thread,
};
use yumen_log::{LogError, Options};

const DIR: &str = "YUMEN_LOG_TEST_DIR";

/// Runs the test `child` in another process. Returns whether it succeeded, and the file it logged to.
fn child(name: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored"]).env(DIR, dir.path()).env("RUST_BACKTRACE", "0");
    let output = command.output().unwrap();
    let file = std::fs::read_to_string(dir.path().join("due.log")).unwrap();
    (output.status.success(), file)
}

fn options() -> Options {
    let mut options = Options::default();
    options.console = None;
    with_file(&mut options, &Path::new(&env::var_os(DIR).unwrap()).join("due.log"));
    options
}

#[test]
#[ignore = "the other process of the test below"]
fn child_that_catches() {
    let logs = yumen_log::init(options()).unwrap();
    assert!(matches!(yumen_log::init(options()), Err(LogError::Twice)));
    let thread = thread::Builder::new().name("node-1".to_owned());
    let span =
        || tracing::info_span!("conn", id = 3).in_scope(|| panic!("no \"such\" room\n{}", 7));
    let caught = move || panic::catch_unwind(span).is_err();
    assert!(thread.spawn(caught).unwrap().join().unwrap());
    tracing::info!("goes on");
    assert!(logs.flush(PATIENCE));
}

#[test]
fn a_caught_panic_is_in_the_log_with_message_place_thread_span_and_stack() {
    let (success, file) = child("init::child_that_catches");
    assert!(success);
    let line = file.lines().next().unwrap();
    assert!(line.starts_with("PANI["), "{line}");
    assert!(line.contains("] init.rs:"), "{line}");
    let said = "[conn{id=3}] panicked: no \"such\" room\\n7 thread=node-1";
    assert!(line.ends_with(said), "{line}");
    assert!(file.contains("\nStack:\n1.") && file.contains("child_that_catches"), "{file}");
    assert!(file.trim_end().ends_with(" goes on"), "{file}");
}

#[test]
#[ignore = "the other process of the test below"]
fn child_that_ends() {
    let _logs = yumen_log::init(options()).unwrap();
    // The process ends as soon as the hook is through, so nothing else can have waited for the lines.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        hook(info);
        process::exit(101);
    }));
    // A test has a thread of its own, so this one takes the name of the first.
    let first = thread::Builder::new().name("main".to_owned()).spawn(|| {
        for n in 0..1000 {
            tracing::info!("line {n}");
        }
        panic!("the end");
    });
    let _ = first.unwrap().join();
}

#[test]
fn a_panic_of_the_first_thread_waits_for_the_lines_before_it() {
    let (success, file) = child("init::child_that_ends");
    assert!(!success);
    assert!(file.contains(" line 999\n") && file.contains(" panicked: the end "), "{file}");
}
