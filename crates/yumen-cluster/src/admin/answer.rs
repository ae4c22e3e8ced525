//! What an endpoint answers: JSON or text, and the one form that every refusal has.
//!
//! A refusal is `{ "error": …, "help": … }`: what is wrong, and what to do. Every answer is a whole
//! body in memory, is never cached, and is never taken by a browser for anything but what it says.

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::borrow::Cow;
use tokio::sync::OwnedSemaphorePermit;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The type of Prometheus' text format.
const METRICS: HeaderValue = HeaderValue::from_static(crate::metrics::CONTENT_TYPE);

/// Why a request was refused or failed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    pub(super) status: StatusCode,
    /// What is wrong.
    pub(super) error: Cow<'static, str>,
    /// What to do.
    pub(super) help: Cow<'static, str>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        error: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, error: error.into(), help: help.into() }
    }

    /// The request is wrong in itself.
    pub(super) fn bad(
        error: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, help)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        json(self.status, &self)
    }
}

/// What every handler gives.
pub(super) type Answer = Result<Response, Problem>;

/// A value as JSON, with the end of a line behind it.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_holding(status, value, None)
}

/// As [`json`]; `held` is given back once the body is written or the client is gone.
pub(super) fn json_holding(
    status: StatusCode,
    value: &impl Serialize,
    held: Option<OwnedSemaphorePermit>,
) -> Response {
    let mut bytes = Vec::new();
    if let Err(error) = serde_json::to_writer(&mut bytes, value) {
        let text = format!("the answer could not be written: {error}\n");
        return respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, Body::from(text));
    }
    bytes.push(b'\n');
    respond(status, JSON, holding(bytes, held))
}

/// A text for a person.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    respond(status, TEXT, Body::from(text.into()))
}

/// Metrics in Prometheus' text format; `held` as with [`json_holding`].
pub(super) fn metrics(text: String, held: Option<OwnedSemaphorePermit>) -> Response {
    respond(StatusCode::OK, METRICS, holding(text.into_bytes(), held))
}

fn holding(bytes: Vec<u8>, held: Option<OwnedSemaphorePermit>) -> Body {
    Body::from(Bytes::from_owner(Holding { bytes, _held: held }))
}

fn respond(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let headers: [(HeaderName, HeaderValue); 3] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body).into_response()
}

/// A body, and the place in a limit that it takes.
struct Holding {
    bytes: Vec<u8>,
    _held: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Holding {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
