//! How `cluster roll` speaks with a running `cluster up`: a Unix socket in the cluster's directory.
//!
//! One request, a line of JSON; then lines of JSON until it is over. Only the user who started the cluster can
//! connect. Nothing here knows how a process is replaced.
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Begins the name of the directory of every cluster.
pub(super) const DIR: &str = "yumen-cluster";
/// The socket, in the directory of the cluster.
const SOCKET: &str = "control.sock";
/// Longest request.
const REQUEST_MAX: u64 = 4096;
/// Longest wait for a request of somebody who has connected, and for room for an answer.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Only say what would be done.
    pub(super) dry_run: bool,
    /// Longest time in seconds until a new process is ready.
    pub(super) ready_max: u64,
}

/// What happens, a line each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Word {
    /// Who is replaced, in this order, and nothing else is said.
    Plan { order: Vec<String> },
    /// It was told to stop.
    Draining { who: String, pid: u32, number: usize, of: usize },
    /// It has ended; not clean means that it had work left, which its log names.
    Ended { who: String, seconds: f64, clean: bool },
    /// Another process is in its place.
    Started { who: String, pid: u32 },
    /// That serves, and every other process sees it.
    Ready { who: String, seconds: f64 },
    /// It ends here; those behind were not touched.
    Stopped { who: String, why: String, help: String },
    /// All were replaced.
    Done { seconds: f64 },
}

impl Display for Word {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan { order } => write!(f, "would replace, one at a time: {}", order.join(", ")),
            Self::Draining { who, pid, number, of } => {
                write!(f, "[{number}/{of}] {who}: pid {pid} is told to stop")
            }
            Self::Ended { who, seconds, clean } => {
                let left = if *clean { "" } else { ", with work left: its log names it" };
                write!(f, "      {who}: ended after {seconds:.1} s{left}")
            }
            Self::Started { who, pid } => write!(f, "      {who}: pid {pid} takes its place"),
            Self::Ready { who, seconds } => {
                write!(f, "      {who}: ready after {seconds:.1} s, and seen by all others")
            }
            Self::Stopped { who, why, help } => write!(f, "stopped at {who}: {why}\n{help}"),
            Self::Done { seconds } => write!(f, "all replaced in {seconds:.1} s"),
        }
    }
}

/// Somebody who asked for something, and waits for words.
pub(super) struct Asker {
    pub(super) request: Request,
    stream: UnixStream,
}

impl Asker {
    /// Tells it. One that went away is no reason to stop: the cluster's own terminal says it as well.
    pub(super) fn tell(&mut self, word: &Word) {
        let line = serde_json::to_string(word).unwrap_or_default();
        writeln!(self.stream, "{line}").unwrap_or_default();
    }
}

/// Listens in the directory of a cluster, and gives every request to `ask` until that says false.
pub(super) fn listen(dir: &Path, ask: impl Fn(Asker) -> bool + Send + 'static) -> io::Result<()> {
    let path = dir.join(SOCKET);
    // A process of the same id that was killed may have left one; nobody listens there.
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Somebody who asks for nothing that makes sense is left without an answer.
            if let Ok(asker) = read(stream)
                && !ask(asker)
            {
                return;
            }
        }
    })?;
    Ok(())
}

fn read(stream: UnixStream) -> io::Result<Asker> {
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let mut line = String::new();
    BufReader::new((&stream).take(REQUEST_MAX)).read_line(&mut line)?;
    Ok(Asker { request: serde_json::from_str(&line)?, stream })
}

/// Asks the cluster in `dir`, and passes on every word until it is over.
pub(super) fn ask(dir: &Path, request: Request, said: &mut dyn FnMut(&Word)) -> io::Result<()> {
    let mut stream = UnixStream::connect(dir.join(SOCKET))?;
    writeln!(stream, "{}", serde_json::to_string(&request)?)?;
    for line in BufReader::new(stream).lines() {
        said(&serde_json::from_str(&line?)?);
    }
    Ok(())
}

/// The clusters that run on this machine and may be asked by this user.
pub(super) fn clusters() -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        let is_one = entry.file_name().to_string_lossy().starts_with(DIR);
        // A cluster that was killed leaves its directory behind, and nobody answers there.
        if is_one && UnixStream::connect(entry.path().join(SOCKET)).is_ok() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The only cluster that runs, or else a text that says what to do.
pub(super) fn only(found: Vec<PathBuf>) -> Result<PathBuf, String> {
    match <[PathBuf; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => {
            Err("no cluster runs here; start one with: yumen cluster up".to_owned())
        }
        Err(many) => {
            let list: Vec<_> =
                many.iter().map(|dir| format!("  --cluster {}", dir.display())).collect();
            Err(format!("several clusters run here; say which:\n{}", list.join("\n")))
        }
    }
}

/// Nobody listens there any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::{PathBuf, only};

    #[test]
    fn one_cluster_needs_no_name_and_others_are_listed() {
        let (one, two) =
            (PathBuf::from("/tmp/yumen-cluster-1"), PathBuf::from("/tmp/yumen-cluster-2"));
        assert_eq!(only(vec![one.clone()]), Ok(one.clone()));
        assert!(only(Vec::new()).unwrap_err().contains("yumen cluster up"));
        let many = only(vec![one, two]).unwrap_err();
        assert!(many.contains("--cluster /tmp/yumen-cluster-1\n"), "{many}");
        assert!(many.contains("--cluster /tmp/yumen-cluster-2"), "{many}");
    }
}
