//! The opening handshake of RFC 6455 §4, both ends, as functions from bytes to bytes.
//!
//! A listener answers for its own path and nothing else: there is no shared table of handlers that
//! another component could appear on (W-18). A request is at most [`REQUEST_MAX`] bytes.

use super::forwarded;
use crate::{block::NetBlock, env::Dice};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tungstenite::handshake::derive_accept_key;
use yumen_proto::conn::HandshakeFault;

/// Largest request or answer, in bytes.
pub const REQUEST_MAX: usize = 8 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 64;

/// What a WebSocket listener accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where clients connect: `/` is every path, `/x` exactly that, `/x/` everything below it.
    /// Default: `/`.
    pub path: String,
    /// Accepted `Origin` headers, letter by letter; `*` accepts any and none. An empty list refuses
    /// all. Default: `*`.
    pub origins: Vec<String>,
    /// Largest message, in bytes; larger ones close the connection.
    pub message_max: usize,
    /// Proxies that are believed when they say in `X-Forwarded-For` who the client is. Default: none.
    pub forwarders: Arc<[NetBlock]>,
}

impl Options {
    /// Any path and origin, messages of up to `message_max` bytes.
    pub fn new(message_max: usize) -> Self {
        let (path, origins) = ("/".to_owned(), vec!["*".to_owned()]);
        Self { path, origins, message_max, forwarders: Arc::default() }
    }

    /// Whether whoever connects from there is believed to speak for others.
    pub(crate) fn believes(&self, peer: IpAddr) -> bool {
        self.forwarders.iter().any(|block| block.has(peer))
    }

    fn serves(&self, target: &str) -> bool {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if self.path.ends_with('/') { path.starts_with(&self.path) } else { path == self.path }
    }

    fn allows(&self, origin: Option<&str>) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || Some(allowed.as_str()) == origin)
    }
}

/// How far a handshake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes are needed.
    More,
    /// It is over: so many bytes were used, and this goes to the peer.
    Open { used: usize, reply: String },
    /// It has failed: this goes to the peer, then the connection ends.
    Refused { reply: String, fault: HandshakeFault },
}

fn refused(fault: HandshakeFault, status: &str, more: &str) -> Progress {
    let text = status.split_once(' ').map_or("", |(_, text)| text);
    let len = text.len();
    Progress::Refused {
        reply: format!(
            "HTTP/1.1 {status}\r\n{more}Content-Type: text/plain\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n{text}"
        ),
        fault,
    }
}

/// A server's answer to the bytes that have arrived.
pub(crate) fn answer(bytes: &[u8], options: &Options) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let used = match request.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used <= REQUEST_MAX => used,
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_MAX => return Progress::More,
        Ok(_) => {
            return refused(HandshakeFault::TooLarge, "431 Request Header Fields Too Large", "");
        }
        Err(_) => return refused(HandshakeFault::BadRequest, "400 Bad Request", ""),
    };
    if !options.serves(request.path.unwrap_or_default()) {
        return refused(HandshakeFault::Path, "404 Not Found", "");
    }
    if request.method != Some("GET") {
        return refused(HandshakeFault::BadRequest, "405 Method Not Allowed", "Allow: GET\r\n");
    }
    let headers = &*request.headers;
    if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
        return refused(
            HandshakeFault::BadRequest,
            "426 Upgrade Required",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        );
    }
    if header(headers, "Sec-WebSocket-Version") != Some("13") {
        return refused(
            HandshakeFault::BadRequest,
            "426 Upgrade Required",
            "Sec-WebSocket-Version: 13\r\n",
        );
    }
    if !options.allows(header(headers, "Origin")) {
        return refused(HandshakeFault::Origin, "403 Forbidden", "Sec-WebSocket-Version: 13\r\n");
    }
    let key = header(headers, "Sec-WebSocket-Key").unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return refused(HandshakeFault::BadRequest, "400 Bad Request", "");
    }
    let accept = derive_accept_key(key.as_bytes());
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Progress::Open { used, reply }
}

/// Who a request comes from, as the proxies before the listener say. `bytes` begin with a whole request.
pub(crate) fn client(bytes: &[u8], options: &Options) -> Option<SocketAddr> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(bytes).ok()?;
    let lines = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("X-Forwarded-For"));
    let texts = lines.map(|h| std::str::from_utf8(h.value).unwrap_or_default());
    forwarded::client(texts, &options.forwarders)
}

/// A client's request, and what the answer must accept.
pub(crate) fn request(host: &str, path: &str, dice: &Dice) -> (String, String) {
    let mut nonce = dice.roll().to_be_bytes().to_vec();
    nonce.extend(dice.roll().to_be_bytes());
    let key = STANDARD.encode(nonce);
    let path = if path.starts_with('/') { path } else { "/" };
    let mut text = String::new();
    let _memory_never_fails = write!(
        text,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    (text, derive_accept_key(key.as_bytes()))
}

/// A client's look at the answer.
pub(crate) fn check(bytes: &[u8], accept: &str) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let fault = HandshakeFault::Refused;
    let refused = || Progress::Refused { reply: String::new(), fault };
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_MAX => return Progress::More,
        Ok(httparse::Status::Partial) | Err(_) => return refused(),
    };
    if response.code == Some(101)
        && header(response.headers, "Sec-WebSocket-Accept") == Some(accept)
    {
        Progress::Open { used, reply: String::new() }
    } else {
        refused()
    }
}

fn header<'h>(headers: &[httparse::Header<'h>], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(found.value).ok().map(str::trim)
}

fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    let value = header(headers, name).unwrap_or_default();
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /game?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://game.example\r\n\r\n";

    fn status(request: &str, options: &Options) -> String {
        match answer(request.as_bytes(), options) {
            Progress::More => "more".to_owned(),
            Progress::Open { reply, .. } | Progress::Refused { reply, .. } => {
                reply.split(' ').nth(1).unwrap().to_owned()
            }
        }
    }

    #[test]
    fn the_example_of_the_standard_is_answered_as_in_the_standard() {
        let Progress::Open { used, reply } = answer(GOOD.as_bytes(), &Options::new(100)) else {
            panic!("refused")
        };
        assert_eq!(used, GOOD.len());
        assert!(reply.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }

    #[test]
    fn every_cut_of_a_request_waits_for_more() {
        for cut in 0..GOOD.len() {
            assert_eq!(status(&GOOD[..cut], &Options::new(100)), "more", "cut {cut}");
        }
    }

    #[test]
    fn paths_follow_the_rules_of_the_configuration() {
        let mut options = Options::new(100);
        for (path, expected) in
            [("/", "101"), ("/game", "101"), ("/gam", "404"), ("/game/", "404"), ("/debug", "404")]
        {
            options.path = path.to_owned();
            assert_eq!(status(GOOD, &options), expected, "{path}");
        }
    }

    #[test]
    fn w18_nothing_else_is_served_on_the_port() {
        let mut options = Options::new(100);
        options.path = "/game".to_owned();
        for target in ["/debug/pprof", "/debug/pprof/", "/metrics", "/"] {
            let request = GOOD.replace("/game?x=1", target);
            assert_eq!(status(&request, &options), "404", "{target}");
        }
    }

    #[test]
    fn origins_are_compared_letter_by_letter() {
        let mut options = Options::new(100);
        for (origins, expected) in [
            (vec!["*"], "101"),
            (vec!["https://game.example"], "101"),
            (vec!["https://game.example:443"], "403"),
            (vec![], "403"),
        ] {
            options.origins = origins.iter().map(|&o| o.to_owned()).collect();
            assert_eq!(status(GOOD, &options), expected, "{origins:?}");
        }
        options.origins = vec!["null".to_owned()];
        let silent = GOOD.replace("Origin: https://game.example\r\n", "");
        assert_eq!(status(&silent, &options), "403");
    }

    #[test]
    fn what_is_no_upgrade_is_refused_with_a_reason() {
        let options = Options::new(100);
        for (from, to, expected) in [
            ("GET", "POST", "405"),
            ("Upgrade: websocket", "Upgrade: h2c", "426"),
            ("Version: 13", "Version: 8", "426"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short", "400"),
            ("GET /", "\u{1}ET /", "400"),
        ] {
            assert_eq!(status(&GOOD.replace(from, to), &options), expected, "{to}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(REQUEST_MAX));
        assert_eq!(status(&long, &options), "431");
    }

    #[test]
    fn both_ends_understand_each_other() {
        let (request, accept) = request("h", "/a", &Dice::seeded(1));
        let Progress::Open { reply, .. } = answer(request.as_bytes(), &Options::new(1)) else {
            panic!("refused")
        };
        assert!(matches!(check(reply.as_bytes(), &accept), Progress::Open { .. }));
        assert!(matches!(check(reply.as_bytes(), "other"), Progress::Refused { .. }));
    }
}
