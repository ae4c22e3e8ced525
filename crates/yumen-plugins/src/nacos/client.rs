//! Calls to the HTTP API of Nacos: to one of its servers, with a deadline each.
//!
//! It goes to the next server if one does not answer, and logs in again once if a token is refused. The one
//! thing to know: the password is sent to log in and nowhere else, and neither it nor a token is in any text.

use crate::http::{Http, escaped};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, body::Bytes, header::CONTENT_TYPE};
use rustls::ClientConfig;
use serde::Deserialize;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use yumen_settings::Secret;

/// Most characters of a refusal that are told.
const REFUSAL_MAX: usize = 300;

/// Where the servers are, who asks, and how long that may take.
pub(super) struct Access {
    /// Each with the path of Nacos, without a slash at its end.
    pub(super) urls: Vec<String>,
    /// Longest time for one answer of one server.
    pub(super) timeout: Duration,
    pub(super) user: Option<(String, Secret)>,
    /// Whom to trust, where a URL is `https`.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody answered, or a server that does not serve yet.
    #[error("{url}: {what}")]
    Away { url: String, what: String },
    /// A server answered, with a refusal.
    #[error("{url}: {status}: {what}")]
    Refused { url: String, status: StatusCode, what: String },
    /// The answer is not what was asked for.
    #[error("{url}: an answer that cannot be read: {what}")]
    Malformed { url: String, what: String },
}

/// Names and values.
pub(super) type Words<'a> = [(&'a str, &'a str)];

pub(super) struct Client {
    http: Http,
    access: Access,
    /// The server that answered last.
    at: AtomicUsize,
    token: Mutex<Option<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("urls", &self.access.urls).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    access_token: String,
}

impl Client {
    /// Dials nobody yet.
    ///
    /// # Errors
    /// No encryption can be made where a URL asks for it.
    pub(super) fn new(access: Access) -> Result<Self, String> {
        let http = Http::new(access.timeout, access.tls.clone())?;
        Ok(Self { http, access, at: AtomicUsize::new(0), token: Mutex::default() })
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.access.timeout
    }

    /// What a server says to this, `path` below `/v1`.
    ///
    /// # Errors
    /// Of the last server that was asked.
    pub(super) async fn call(
        &self,
        method: &Method,
        path: &str,
        words: &Words<'_>,
    ) -> Result<Said, CallError> {
        let count = self.access.urls.len();
        let first = self.at.load(Ordering::Relaxed);
        let mut last = None;
        for n in 0..count {
            let at = first.saturating_add(n).checked_rem(count).unwrap_or(0);
            let Some(url) = self.access.urls.get(at) else { continue };
            match self.call_one(url, method, path, words).await {
                Err(error @ CallError::Away { .. }) => last = Some(error),
                answered => {
                    self.at.store(at, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        let none = || CallError::Away { url: String::new(), what: "no server is named".to_owned() };
        Err(last.unwrap_or_else(none))
    }

    /// To one server; with a new token, if the one that there is does not do.
    async fn call_one(
        &self,
        url: &str,
        method: &Method,
        path: &str,
        words: &Words<'_>,
    ) -> Result<Said, CallError> {
        let Some((user, password)) = &self.access.user else {
            return self.send(url, method, path, words).await;
        };
        let known = self.token().clone();
        if let Some(token) = known {
            let with_token = [words, &[("accessToken", token.as_str())]].concat();
            match self.send(url, method, path, &with_token).await {
                Err(CallError::Refused {
                    status: StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED,
                    ..
                }) => {
                    *self.token() = None;
                }
                answered => return answered,
            }
        }
        let who = [("username", user.as_str()), ("password", password.expose())];
        let said = self.send(url, &Method::POST, "/auth/login", &who).await?;
        let LoggedIn { access_token } = said.read()?;
        *self.token() = Some(access_token.clone());
        let with_token = [words, &[("accessToken", access_token.as_str())]].concat();
        self.send(url, method, path, &with_token).await
    }

    fn token(&self) -> MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(
        &self,
        url: &str,
        method: &Method,
        path: &str,
        words: &Words<'_>,
    ) -> Result<Said, CallError> {
        let away = |what: String| CallError::Away { url: url.to_owned(), what };
        let words: Vec<String> =
            words.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
        let words = words.join("&");
        // What is written goes in the body: texts of a record are long.
        let in_body = matches!(*method, Method::POST | Method::PUT);
        let (query, body) =
            if in_body { (String::new(), words) } else { (format!("?{words}"), String::new()) };
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method.clone();
        *request.uri_mut() = format!("{url}/v1{path}{query}")
            .parse()
            .map_err(|_| away(format!("bad path {path}")))?;
        let form = hyper::header::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        let (parts, body) = self.http.ask(request, self.access.timeout).await.map_err(away)?;
        if parts.status.is_success() {
            return Ok(Said { url: url.to_owned(), body });
        }
        let text = String::from_utf8_lossy(&body);
        let what: String = text.trim().chars().take(REFUSAL_MAX).collect();
        // A server that starts, stops, or has no leader.
        if parts.status.is_server_error() {
            return Err(away(format!("{}: {what}", parts.status)));
        }
        Err(CallError::Refused { url: url.to_owned(), status: parts.status, what })
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Said {
    url: String,
    body: Bytes,
}

impl Said {
    /// Reads it as JSON.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let (url, what) = (self.url.clone(), error.to_string());
            CallError::Malformed { url, what }
        })
    }
}
