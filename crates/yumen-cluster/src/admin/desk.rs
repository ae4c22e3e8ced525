//! The desk where requests arrive: the table of endpoints, and what they share.

use super::{
    answer::{self, Answer, Problem},
    cluster::{self, Followed},
    guard::Guard,
    health,
    level::{self, Levels},
    routes, sessions,
};
use crate::app::Control;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header::WWW_AUTHENTICATE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yumen_net::acceptor::{Counts, ListenerCounts};

/// Longest time until a request is answered, one way or another.
const REQUEST_MAX: Duration = Duration::from_secs(8);
/// Longest wait for an answer of an instance, or of the registry.
pub(super) const INSTANCE_MAX: Duration = Duration::from_secs(1);
/// Most large answers in memory at once; further requests for them wait.
const LARGE_MAX: usize = 4;
/// Least time between two lines about refused requests.
const NEWS_PAUSE: Duration = Duration::from_secs(10);

/// Every endpoint: method, path with its parameters, and what it is for.
pub const ENDPOINTS: [(&str, &str, &str); 10] = [
    ("GET", "/", "this list"),
    ("GET", "/healthz", "200, or 503 naming the instance that is stuck or dead; needs no token"),
    ("GET", "/readyz", "200 while clients are served, otherwise 503 and why; needs no token"),
    ("GET", "/metrics", "everything that is counted, in Prometheus' text format"),
    ("GET", "/instances", "every instance of the cluster; more about those of this process"),
    ("GET", "/routes", "every route of the cluster, and who serves it"),
    ("GET", "/sessions?max=&user=&conn=&gate=", "sessions of this process's gates"),
    ("GET", "/log", "the log level"),
    ("PUT", "/log?for=10m", "sets the log level: `debug`, or `info,yumen_cluster::gate=debug`"),
    ("POST", "/drain", "stops the process as SIGTERM does: finish what is there, then end"),
];

/// What all requests share.
pub(super) struct Desk {
    pub(super) control: Control,
    pub(super) levels: Levels,
    pub(super) followed: Followed,
    guard: Guard,
    counts: Arc<Counts>,
    large: Arc<Semaphore>,
    scrapes: Arc<Semaphore>,
}

/// How a handler gets at it.
pub(super) type At = State<Arc<Desk>>;

impl Desk {
    pub(super) fn new(control: Control, guard: Guard, counts: Arc<Counts>) -> Self {
        let [large, scrapes] = [(); 2].map(|()| Arc::new(Semaphore::new(LARGE_MAX)));
        let (levels, followed) = (Levels::default(), Followed::default());
        Self { control, levels, followed, guard, counts, large, scrapes }
    }

    /// A place among the large answers.
    pub(super) async fn large(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed; without a place the answer is merely not counted.
        Arc::clone(&self.large).acquire_owned().await.ok()
    }

    /// A place among the answers with metrics, which others cannot take.
    pub(super) async fn scrape(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.scrapes).acquire_owned().await.ok()
    }

    /// Requests refused before they were looked at, by reason.
    pub(super) fn refusals(&self) -> [(&'static str, u64); 4] {
        let (refused, read) =
            (&self.guard.refused, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        let full = |listener: &ListenerCounts| {
            read(&listener.refused_total).saturating_add(read(&listener.refused_address))
        };
        let connections = self.counts.listeners().iter().map(full).fold(0, u64::saturating_add);
        [
            ("token", read(&refused.token)),
            ("origin", read(&refused.origin)),
            ("host", read(&refused.host)),
            ("connections", connections),
        ]
    }

    /// From when on an instance counts as stuck.
    pub(super) fn stall_max(&self) -> Duration {
        self.control.settings_at_start().yumen.app.stall_max
    }

    /// What goes on beside the requests: log levels that end, and a line about refused requests.
    pub(super) async fn tend(&self) -> Infallible {
        tokio::select! {
            never = self.levels.fall_back(&self.control) => never,
            never = self.tell_refusals() => never,
        }
    }

    async fn tell_refusals(&self) -> Infallible {
        let refused = &self.guard.refused;
        loop {
            refused.news.notified().await;
            let [token, origin, host] = [&refused.token, &refused.origin, &refused.host]
                .map(|counter| counter.load(Ordering::Relaxed));
            tracing::warn!(
                token,
                origin,
                host,
                "admin requests were refused; these are the counts since the start"
            );
            tokio::time::sleep(NEWS_PAUSE).await;
        }
    }
}

/// Everything that is answered.
pub(super) fn router(desk: &Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/instances", get(cluster::instances))
        .route("/routes", get(routes::routes))
        .route("/sessions", get(sessions::sessions))
        .route("/log", get(level::read).put(level::write))
        .route("/drain", post(health::drain))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(desk), admit))
        .with_state(Arc::clone(desk))
}

/// What every request passes first: who asks, and for how long.
async fn admit(State(desk): At, request: Request, next: Next) -> Response {
    if let Err(problem) = desk.guard.check(request.uri().path(), request.headers()) {
        let unauthorized = problem.status == StatusCode::UNAUTHORIZED;
        let mut response = problem.into_response();
        if unauthorized {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        }
        return response;
    }
    let answer = tokio::time::timeout(REQUEST_MAX, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let help = "the process is overloaded or asked too much at once: ask again, or for less";
        let error = format!("no answer within {} s", REQUEST_MAX.as_secs());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error, help).into_response()
    })
}

async fn index() -> Answer {
    let mut text = "Yumen admin. Refusals are JSON: {\"error\": …, \"help\": …}.\n\n".to_owned();
    for (method, path, what) in ENDPOINTS {
        text.push_str(&format!("{method:<5}{path:<34}{what}\n"));
    }
    Ok(answer::text(StatusCode::OK, text))
}

async fn unknown(request: Request) -> Problem {
    let error = format!("there is nothing at {}", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, error, "GET / lists what there is")
}

async fn wrong_method(method: Method, request: Request) -> Problem {
    let path = request.uri().path();
    let at = |entry: &&(&str, &str, &str)| entry.1.split('?').next() == Some(path);
    let right: Vec<_> = ENDPOINTS.iter().filter(at).map(|(method, ..)| *method).collect();
    let error = format!("{path} does not take {method}");
    let help = format!("use {}", right.join(" or "));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, error, help)
}
