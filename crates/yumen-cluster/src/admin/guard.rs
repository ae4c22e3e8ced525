//! Who may ask: the token, and what a browser may not be made to ask.
//!
//! It looks at a request's head alone and answers before anything else does, so a path tells a stranger
//! nothing. The token is compared in a time that does not depend on where it differs. On a loopback
//! address the `Host` must be a loopback name: a page of another site that has pointed its own name
//! here (DNS rebinding) is refused by it. A request with an `Origin` comes from a page and is refused
//! everywhere.

use super::answer::Problem;
use axum::http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// Fewest bytes of a token.
pub(super) const TOKEN_MIN: usize = 16;
/// What a browser says about where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Probes carry no token, and these two say only whether the service is well.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Requests that were refused before they were looked at, by reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) token: AtomicU64,
    pub(super) origin: AtomicU64,
    pub(super) host: AtomicU64,
    /// There is something to log.
    pub(super) news: Notify,
}

/// Decides who may ask.
#[derive(Debug)]
pub(super) struct Guard {
    /// What `Authorization: Bearer` must carry; `None` lets everybody in.
    token: Option<Box<str>>,
    /// Only loopback names are a right `Host`.
    loopback: bool,
    pub(super) refused: Refused,
}

impl Guard {
    pub(super) fn new(token: Option<Box<str>>, loopback: bool) -> Self {
        Self { token, loopback, refused: Refused::default() }
    }

    /// Whether a request with this path and head goes on.
    pub(super) fn check(&self, path: &str, head: &HeaderMap) -> Result<(), Problem> {
        let checked = if self.loopback && !hosts_are_loopback(head) {
            Err((&self.refused.host, wrong_host()))
        } else if from_a_page(head) {
            Err((&self.refused.origin, wrong_origin()))
        } else if !OPEN.contains(&path) && !self.knows_token(head) {
            Err((&self.refused.token, wrong_token()))
        } else {
            Ok(())
        };
        checked.map_err(|(counter, problem)| {
            counter.fetch_add(1, Ordering::Relaxed);
            self.refused.news.notify_one();
            problem
        })
    }

    fn knows_token(&self, head: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let mut values = head.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let value = value.as_bytes();
        let Some((scheme, presented)) = value.split_first_chunk::<7>() else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && same(token.as_bytes(), presented)
    }
}

/// Whether both are the same, in a time that depends on the length of `presented` alone.
fn same(token: &[u8], presented: &[u8]) -> bool {
    let mut differs = u8::from(token.len() != presented.len());
    let expected = token.iter().chain(std::iter::repeat(&0));
    for (is, should) in presented.iter().zip(expected) {
        differs = std::hint::black_box(differs | (is ^ should));
    }
    differs == 0
}

/// Every `Host` names this machine. None at all is no browser's request.
fn hosts_are_loopback(head: &HeaderMap) -> bool {
    head.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(is_loopback_host))
}

/// Whether `host`, with or without a port, names this machine.
pub(super) fn is_loopback_host(host: &str) -> bool {
    let name = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        if !(port.is_empty() || port.starts_with(':')) {
            return false;
        }
        address
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A page of any site made the browser ask, other than by following what a person typed.
fn from_a_page(head: &HeaderMap) -> bool {
    let site = head.get(FETCH_SITE).map(|site| site.as_bytes());
    head.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none" && site != b"same-origin")
}

fn wrong_host() -> Problem {
    let help = "the admin address is a loopback address: ask it as 127.0.0.1, [::1] or localhost";
    Problem::new(StatusCode::FORBIDDEN, "this Host is not served", help)
}

fn wrong_origin() -> Problem {
    let help = "ask with a tool such as curl or `yumen admin`; pages of a browser are refused";
    Problem::new(StatusCode::FORBIDDEN, "requests of web pages are not served", help)
}

fn wrong_token() -> Problem {
    let help = "send `Authorization: Bearer TOKEN` with the value of etc.yumen.admin.token";
    Problem::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong", help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_loopback_by_its_name_or_its_address_and_by_nothing_else() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:9100",
            "::1",
        ] {
            let expected = host != "::1";
            assert_eq!(is_loopback_host(host), expected, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "[::1",
            "[::1]evil",
            "[::2]",
            "10.0.0.1:80",
            "0.0.0.0",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn only_the_whole_token_is_the_same() {
        let token = b"0123456789abcdef";
        assert!(same(token, b"0123456789abcdef"));
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdef\0", b"1123456789abcdef"] {
            assert!(!same(token, wrong), "{wrong:?}");
        }
    }

    #[test]
    fn two_tokens_in_one_request_are_none() {
        let guard = Guard::new(Some("0123456789abcdef".into()), true);
        let mut head = HeaderMap::new();
        head.append(AUTHORIZATION, "bearer 0123456789abcdef".parse().unwrap());
        assert!(guard.check("/routes", &head).is_ok(), "the scheme's case does not count");
        head.append(AUTHORIZATION, "Bearer 0123456789abcdef".parse().unwrap());
        let problem = guard.check("/routes", &head).unwrap_err();
        assert_eq!(problem.status, StatusCode::UNAUTHORIZED);
        assert_eq!(guard.refused.token.load(Ordering::Relaxed), 1);
        assert!(guard.check("/healthz", &head).is_ok(), "probes carry no token");
    }
}
