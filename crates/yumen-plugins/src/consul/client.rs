//! Calls to Consul's HTTP API: to one agent, with a deadline each.
//!
//! Never retries. The one thing to know: the state that an answer shows has an index, by which the next
//! question asks for what is newer.

use crate::http::Http;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{HeaderName, HeaderValue},
};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use std::{fmt, sync::Arc, time::Duration};

/// Most bytes of a refusal that are told.
const REFUSAL_MAX: usize = 300;
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: &str = "x-consul-index";
const FILTERED: &str = "x-consul-results-filtered-by-acls";

/// Where the agent is and how long it may take.
pub(super) struct Access {
    /// `http://host:port` or `https://host:port`.
    pub(super) url: String,
    /// Longest time for one answer, beside what the question allows.
    pub(super) timeout: Duration,
    pub(super) token: Option<HeaderValue>,
    /// Whom to trust, where the URL is `https`.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, timeout, .. } = self;
        f.debug_struct("Access").field("url", url).field("timeout", timeout).finish_non_exhaustive()
    }
}

/// The URL of an agent: `host:port` with `http://`, `https://` or nothing before it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn url(addr: &str) -> Result<String, String> {
    let (scheme, bare) = addr.split_once("://").unwrap_or(("http", addr));
    let bare = bare.trim_end_matches('/');
    let (host, port) = bare.rsplit_once(':').unwrap_or((bare, ""));
    let good = !host.is_empty()
        && !host.contains(['/', '@'])
        && port.parse().is_ok_and(|port: u16| port > 0)
        && matches!(scheme, "http" | "https");
    let url = format!("{scheme}://{bare}");
    if !good || url.parse::<hyper::Uri>().is_err() {
        return Err(format!("{addr:?} is not host:port, http://host:port or https://host:port"));
    }
    Ok(url)
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody answered.
    #[error("{url}: {what}")]
    Away { url: String, what: String },
    /// The agent answered, with a refusal.
    #[error("{url}: {status}: {what}")]
    Refused { url: String, status: StatusCode, what: String },
    /// The answer is not what was asked for.
    #[error("{url}: an answer that cannot be read: {what}")]
    Malformed { url: String, what: String },
    /// Some of it was held back.
    #[error("{url}: the token may not read all of {what}: it needs service:read and node:read")]
    Filtered { url: String, what: String },
}

/// An answer, and the index of the state that it shows.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) index: u64,
    pub(super) value: T,
}

pub(super) struct Client {
    http: Http,
    access: Access,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Client {
    /// Dials nobody yet. Its connections run on the runtime of the calls.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub(super) fn new(access: Access) -> Result<Self, String> {
        let http = Http::new(access.timeout, access.tls.clone())?;
        Ok(Self { http, access })
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.access.timeout
    }

    /// Reads what stands at `path`; `None` if nothing does. `wait` is how long the question itself allows.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        wait: Duration,
    ) -> Result<Option<Answer<T>>, CallError> {
        let limit = self.access.timeout.saturating_add(wait);
        let (parts, body) = self.call(Method::GET, path, Bytes::new(), limit).await?;
        if parts.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accepted(parts.status, &body)?;
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let url = self.access.url.clone();
        if header(FILTERED) == Some("true") {
            let what = path.split('?').next().unwrap_or(path).to_owned();
            return Err(CallError::Filtered { url, what });
        }
        let index = header(INDEX).and_then(|index| index.parse().ok()).unwrap_or(0);
        let value = serde_json::from_slice(&body)
            .map_err(|error| CallError::Malformed { url, what: error.to_string() })?;
        Ok(Some(Answer { index, value }))
    }

    /// Puts `body` there. Gives whether there is such a thing.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) async fn put(&self, path: &str, body: Vec<u8>) -> Result<bool, CallError> {
        let (parts, body) = self.call(Method::PUT, path, body.into(), self.access.timeout).await?;
        if parts.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.accepted(parts.status, &body)?;
        Ok(true)
    }

    fn accepted(&self, status: StatusCode, body: &[u8]) -> Result<(), CallError> {
        if status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(body);
        let what: String = text.trim().chars().take(REFUSAL_MAX).collect();
        Err(CallError::Refused { url: self.access.url.clone(), status, what })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<(hyper::http::response::Parts, Bytes), CallError> {
        let away = |what: String| CallError::Away { url: self.access.url.clone(), what };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.access.url)
            .parse()
            .map_err(|_| away(format!("bad path {path}")))?;
        if let Some(token) = &self.access.token {
            request.headers_mut().insert(TOKEN, token.clone());
        }
        self.http.ask(request, limit).await.map_err(away)
    }
}
