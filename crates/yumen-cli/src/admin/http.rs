//! As much of HTTP as asking a process's admin takes: one request, one answer, one connection.
//!
//! It knows no TLS, no redirects and no chunks; the admin sends none. Time and size are bounded
//! whatever the other side does.
use std::fmt::{Display, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Most bytes of an answer.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Request {
    method: &'static str,
    target: String,
    body: String,
}

impl Request {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, target: path.to_owned(), body: String::new() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Adds a parameter, if there is one.
    pub(crate) fn with(mut self, name: &str, value: Option<&impl Display>) -> Self {
        let Some(value) = value else { return self };
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        for byte in value.to_string().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
                self.target.push(char::from(byte));
            } else {
                write!(self.target, "%{byte:02X}").unwrap_or_default();
            }
        }
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks `addr`, and waits for at most `limit` at each step.
pub(crate) fn ask(
    addr: &str,
    token: Option<&str>,
    request: &Request,
    limit: Duration,
) -> io::Result<Reply> {
    let mut stream = connect(addr, limit)?;
    let Request { method, target, body } = request;
    let host = if addr.starts_with(':') { format!("127.0.0.1{addr}") } else { addr.to_owned() };
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    if let Some(token) = token {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("the token has characters that no admin token has"));
        }
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut answer = Vec::new();
    let late = |error: io::Error| {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            return error;
        }
        let what = format!("no answer within {} s; --timeout waits longer", limit.as_secs());
        io::Error::new(ErrorKind::TimedOut, what)
    };
    stream.take(ANSWER_MAX).read_to_end(&mut answer).map_err(late)?;
    parse(&answer)
}

fn connect(addr: &str, limit: Duration) -> io::Result<TcpStream> {
    // As in the settings, `:9100` is every interface; this machine is one of them.
    let text = if addr.starts_with(':') { format!("127.0.0.1{addr}") } else { addr.to_owned() };
    let mut last = invalid("it names no address");
    for addr in text.to_socket_addrs()? {
        match TcpStream::connect_timeout(&reachable(addr), limit) {
            Ok(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    let help = "is the process up, and is etc.yumen.admin.addr set to this?";
    Err(io::Error::new(last.kind(), format!("{last}; {help}")))
}

/// "Every interface" is an address to listen on, not one to connect to.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if !addr.ip().is_unspecified() {
        return addr;
    }
    let loopback = if addr.is_ipv4() { "127.0.0.1" } else { "::1" };
    loopback.parse().map_or(addr, |ip| SocketAddr::new(ip, addr.port()))
}

/// The parts of an answer that ended where it should.
fn parse(answer: &[u8]) -> io::Result<Reply> {
    let text = std::str::from_utf8(answer).map_err(|_| invalid("the answer is no text"))?;
    let stranger = || invalid("that is no Yumen admin: the answer is not HTTP/1.1");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(stranger)?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let version = first.next().unwrap_or_default();
    let status = first.next().and_then(|status| status.parse().ok());
    let status = status.filter(|_| version.starts_with("HTTP/1.")).ok_or_else(stranger)?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && value.parse() != Ok(body.len()) {
            return Err(invalid("the answer was cut off"));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("that is no Yumen admin: it answers in chunks"));
        }
    }
    Ok(Reply { status, body: body.to_owned() })
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped_so_that_none_becomes_two() {
        let request = Request::get("/x").with("a", Some(&"1&b=2 é")).with("c", None::<&i64>);
        assert_eq!(request.target, "/x?a=1%26b%3D2%20%C3%A9");
        assert_eq!(request.with("d", Some(&-3)).target, "/x?a=1%26b%3D2%20%C3%A9&d=-3");
    }

    #[test]
    fn an_answer_that_is_cut_off_or_no_http_is_not_taken_for_one() {
        let whole = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbody";
        assert_eq!(parse(whole).unwrap(), Reply { status: 503, body: "body".to_owned() });
        assert!(parse(&whole[..whole.len() - 1]).is_err());
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert!(parse(b"").is_err());
    }
}
