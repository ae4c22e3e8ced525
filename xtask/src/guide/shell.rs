//! Runs the commands of a page with `bash`, in the copy of the repository, within bounded time.
//!
//! The ports that pages name may be taken on the machine at hand. Each page gets free ones instead: the
//! numbers are exchanged in what is typed, and changed back in what appears.

use super::copy::Scratch;
use super::expect::difference;
use super::page::{Block, Kind};
use crate::error::Error;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Longest silence of a command. The first one may build everything in release.
const SILENCE_MAX: Duration = Duration::from_secs(900);
/// Longest wait for the next line of a server that is already built.
const LINE_MAX: Duration = Duration::from_secs(60);

/// Ports that pages may name: tcp, WebSocket, the admin interface.
const PORTS: [&str; 3] = ["3553", "3653", "9553"];

/// Where and how commands run.
pub(crate) struct Shell<'a> {
    scratch: &'a Scratch,
    ports: Vec<(&'static str, String)>,
}

/// A command that runs until it is stopped.
struct Background {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

/// What a command wrote, and its exit code; `None` if a signal ended it.
pub(crate) type Done = (String, Option<i32>);

impl<'a> Shell<'a> {
    /// A shell with ports of its own.
    ///
    /// # Errors
    /// When the system has no free port.
    pub(crate) fn new(scratch: &'a Scratch) -> Result<Self, Error> {
        // All held at once, so that they differ.
        let mut held = Vec::new();
        let mut ports = Vec::new();
        for name in PORTS {
            let failed = |source| Error::Start { line: "a free port".to_owned(), source };
            let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
            ports.push((name, listener.local_addr().map_err(failed)?.port().to_string()));
            held.push(listener);
        }
        Ok(Self { scratch, ports })
    }

    /// Runs `script` to its end.
    ///
    /// # Errors
    /// When there is no bash.
    pub(crate) fn run(&self, script: &str) -> Result<Done, Error> {
        let mut running = self.start(script, false)?;
        let ended = running.read(self, SILENCE_MAX, |_| false);
        if !ended {
            running.signal("KILL")?;
        }
        let status = running.child.wait();
        let status = status.map_err(|source| Error::Start { line: script.to_owned(), source })?;
        Ok((std::mem::take(&mut running.seen), status.code()))
    }

    /// Servers get free ports unless a file or a flag of the page says otherwise.
    fn start(&self, script: &str, is_server: bool) -> Result<Background, Error> {
        let typed =
            self.ports.iter().fold(script.to_owned(), |s, (name, port)| s.replace(name, port));
        let mut command = Command::new("bash");
        let script = format!("exec 2>&1\n{typed}");
        command.arg("-c").arg(script).current_dir(&self.scratch.root).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A reader has none of these; and what cargo says while it builds is not the page's matter.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("CARGO_PKG_")
                || name.starts_with("YUMEN_")
                || name.starts_with("DUE_")
            {
                command.env_remove(&key);
            }
        }
        command.env_remove("CARGO_MANIFEST_DIR").env("CARGO_TERM_QUIET", "true");
        command.env("CARGO_TARGET_DIR", &self.scratch.target);
        for (key, port) in [("TCP", self.ports.first()), ("WS", self.ports.get(1))] {
            let port = port.filter(|_| is_server).map(|(_, port)| port.as_str());
            let Some(port) = port else { continue };
            command.env(format!("YUMEN_NETWORK_{key}_SERVER_ADDR"), format!("127.0.0.1:{port}"));
        }
        let failed = |source| Error::Start { line: typed.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let (sender, lines) = sync_channel(1024);
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Background { child, lines, seen: String::new() })
    }

    /// With the ports that the page names.
    fn shown(&self, line: &str) -> String {
        self.ports.iter().fold(line.to_owned(), |line, (name, port)| line.replace(port, name))
    }
}

impl Background {
    /// Reads until `enough` or the end of the output; false if it was silent for too long.
    fn read(
        &mut self,
        shell: &Shell<'_>,
        silence: Duration,
        enough: impl Fn(&str) -> bool,
    ) -> bool {
        while !enough(&self.seen) {
            match self.lines.recv_timeout(silence) {
                Ok(line) => {
                    self.seen.push_str(&shell.shown(&line));
                    self.seen.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
        true
    }

    /// Sends a signal to the command and what it has started.
    fn signal(&self, name: &str) -> Result<(), Error> {
        let words = format!("kill -{name} -- -{}", self.child.id());
        let status = Command::new("bash").arg("-c").arg(&words).status();
        status.map(drop).map_err(|source| Error::Start { line: words, source })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Nothing that a page started outlives the page, however it ends.
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.signal("KILL"));
            drop(self.child.wait());
        }
    }
}

/// Runs one page. Gives what did not happen as the page says.
pub(super) fn play(scratch: &Scratch, page: &str, blocks: &[Block]) -> Result<Vec<String>, Error> {
    let shell = Shell::new(scratch)?;
    let mut problems = Vec::new();
    let mut running = Vec::new();
    for block in blocks.iter().filter(|block| block.is_checked()) {
        let place = format!("{page}:{}", block.line);
        match block.kind {
            Kind::Shell { .. } => {
                println!("$ {}   ({place})", block.text.lines().next().unwrap_or_default());
                problems.extend(judge(&place, block, &shell.run(&block.text)?));
            }
            Kind::Background => {
                println!("$ {} &   ({place})", block.text);
                let mut started = shell.start(&format!("exec {}", block.text), true)?;
                let expected = block.expected.as_deref().unwrap_or("…");
                // Building comes first and says nothing.
                let patience = if started.seen.is_empty() { SILENCE_MAX } else { LINE_MAX };
                started.read(&shell, patience, |seen| difference(expected, seen).is_none());
                problems.extend(differs(&place, expected, &started.seen));
                running.push((place, started));
            }
            Kind::Rust | Kind::Settings | Kind::Shown | Kind::Unknown(_) => {}
        }
    }
    while let Some((place, mut started)) = running.pop() {
        started.signal("TERM")?;
        started.read(&shell, LINE_MAX, |_| false);
        let status = started.child.wait();
        let status = status.map_err(|source| Error::Start { line: place.clone(), source })?;
        if !status.success() {
            problems
                .push(format!("{place}: ended with {status} when told to stop\n{}", started.seen));
        }
    }
    Ok(problems)
}

fn judge(place: &str, block: &Block, (seen, code): &Done) -> Option<String> {
    if *code != Some(0) {
        return Some(format!("{place}: ended with {code:?}\n{}", output(seen)));
    }
    differs(place, block.expected.as_deref()?, seen)
}

fn differs(place: &str, expected: &str, seen: &str) -> Option<String> {
    let why = difference(expected, seen)?;
    Some(format!("{place}: {why}\n{}", output(seen)))
}

/// An output as it is shown in a complaint.
pub(crate) fn output(seen: &str) -> String {
    seen.lines().map(|line| format!("    | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::page::blocks;
    use super::*;

    fn played(page: &str) -> Vec<String> {
        let root = std::env::temp_dir();
        let scratch = Scratch { target: root.clone(), root };
        play(&scratch, "page.md", &blocks(page)).unwrap()
    }

    #[test]
    fn a_command_that_says_what_the_page_says_is_fine() {
        assert_eq!(
            played("```sh\necho 1 3553; echo b >&2\n```\n```text\n… 3553\nb\n```\n"),
            [""; 0]
        );
        assert_eq!(played("```sh run\ntrue\n```\n```sh\nfalse\n```\n"), [""; 0]);
    }

    #[test]
    fn another_output_and_a_failure_are_named_with_their_place() {
        let wrong = played("```sh\necho a\n```\n```text\nb\n```\n```sh run\nexit 3\n```\n");
        assert!(
            wrong[0].starts_with("page.md:1: line 1 of the output does not fit: a"),
            "{wrong:?}"
        );
        assert!(wrong[1].starts_with("page.md:7: ended with Some(3)"), "{wrong:?}");
    }

    #[test]
    fn a_server_runs_beside_the_next_blocks_and_ends_with_the_page() {
        let server = "```sh background\nbash -c 'trap \"exit 0\" TERM; echo up; while :; do read -t 1 < <(:); done'\n```\n";
        assert_eq!(
            played(&format!("{server}```text\nup\n```\n```sh\necho x\n```\n```text\nx\n```\n")),
            [""; 0]
        );
        let wrong =
            played("```sh background\nbash -c 'echo up; exit 4'\n```\n```text\ndown\n```\n");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }
}
