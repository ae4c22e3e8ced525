//! The lines between the processes of a fleet, through a Toxiproxy: slow all the time, and cut now and then.
//!
//! A process is told the near end of a line as the address of another one, so what is cut are connections,
//! never processes. Toxiproxy is found behind `YUMEN_TOXIPROXY`, where this repository builds it, or on the PATH.
use crate::backend::leashed;
use crate::poll;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Where the repository builds it.
const BUILT: &str = "target/servers/toxiproxy";
/// Longest wait until it serves, and for each of its answers.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const READY_EVERY: Duration = Duration::from_millis(50);

/// All lines; dropping it ends the proxy, and cuts them.
#[derive(Debug)]
pub(super) struct Lines {
    child: Child,
    api: SocketAddr,
    /// How much longer an answer takes on each.
    slow: Duration,
    /// Where each begins, and where it leads.
    known: BTreeMap<String, (SocketAddr, SocketAddr)>,
}

/// What it says of a line.
#[derive(Deserialize)]
struct Told {
    listen: SocketAddr,
}

impl Lines {
    /// Starts the proxy with its log in `dir`.
    ///
    /// # Errors
    /// `NotFound` with what to do if it is nowhere; `TimedOut` if it does not serve; those of the system.
    pub(super) fn start(dir: &Path, slow: Duration) -> io::Result<Self> {
        let port = free_port()?;
        let log = File::create(dir.join("toxiproxy.log"))?;
        let mut command = leashed(&find()?)?;
        command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let api = (Ipv4Addr::LOCALHOST, port).into();
        let lines = Self { child: command.spawn()?, api, slow, known: BTreeMap::new() };
        let mut waited = Duration::ZERO;
        while lines.ask("GET", "/version", "").is_err() {
            if waited > ANSWER_MAX {
                return Err(io::Error::new(ErrorKind::TimedOut, "Toxiproxy does not serve"));
            }
            poll::pass(READY_EVERY)?;
            waited = waited.saturating_add(READY_EVERY);
        }
        Ok(lines)
    }

    /// Where the line of that name begins; laid at the first call, to `far`.
    pub(super) fn to(&mut self, name: &str, far: SocketAddr) -> io::Result<SocketAddr> {
        if let Some((near, _)) = self.known.get(name) {
            return Ok(*near);
        }
        let line = json!({ "name": name, "listen": "127.0.0.1:0", "upstream": far.to_string() });
        let Told { listen } =
            serde_json::from_str(&self.ask("POST", "/proxies", &line.to_string())?)?;
        self.known.insert(name.to_owned(), (listen, far));
        // Half of it each way.
        let latency = self.slow.as_millis() / 2;
        for stream in ["upstream", "downstream"] {
            let toxic = json!({
                "name": stream, "type": "latency", "stream": stream,
                "attributes": { "latency": u64::try_from(latency).unwrap_or(u64::MAX) },
            });
            self.ask("POST", &format!("/proxies/{name}/toxics"), &toxic.to_string())?;
        }
        Ok(listen)
    }

    /// Where the line of that name leads, a port that was free; laid at the first call.
    pub(super) fn end(&mut self, name: &str) -> io::Result<(SocketAddr, SocketAddr)> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        let far = (Ipv4Addr::LOCALHOST, free_port()?).into();
        Ok((self.to(name, far)?, far))
    }

    /// Cuts these lines: connections end at once, and new ones are refused. Or mends them.
    pub(super) fn set(&self, names: &[&str], is_whole: bool) -> io::Result<()> {
        for name in names {
            let (near, far) = self.known.get(*name).ok_or(ErrorKind::NotFound)?;
            let line = json!({
                "enabled": is_whole, "listen": near.to_string(), "upstream": far.to_string(),
            });
            self.ask("POST", &format!("/proxies/{name}"), &line.to_string())?;
        }
        Ok(())
    }

    /// One request, and the body of its answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.api, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let (api, len) = (self.api, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {api}\r\nContent-Length: {len}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::InvalidData)?;
        if head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            return Ok(body.to_owned());
        }
        Err(io::Error::other(format!("Toxiproxy refused {method} {path}: {body}")))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn find() -> io::Result<PathBuf> {
    if let Some(told) = std::env::var_os("YUMEN_TOXIPROXY") {
        return Ok(told.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).map(|dir| dir.join("toxiproxy-server"));
    let found = std::iter::once(PathBuf::from(BUILT)).chain(named).find(|file| file.is_file());
    found.ok_or_else(|| {
        let text = "Toxiproxy is neither in target/servers nor on the PATH; `cargo xtask test --only chaos \
                    --install` builds it";
        io::Error::new(ErrorKind::NotFound, text)
    })
}
