//! Requests over HTTP or HTTPS, each with a deadline: what registries with such an API ask with.
//!
//! Never retries, and knows no API. The one thing to know: a request that was not answered in time closes its
//! connection, so that a connection that is dead without saying so costs one deadline, not one for each.

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    http::response::Parts,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::{error::Error, fmt, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Most bytes of an answer.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// A connection that was not used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// See the module. Its connections run on the runtime of the requests.
pub(crate) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// Dials nobody yet. Without `tls` it trusts nobody where a URL is `https`.
    ///
    /// # Errors
    /// No encryption can be made.
    pub(crate) fn new(
        connect_max: Duration,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let tls = match &tls {
            Some(tls) => ClientConfig::clone(tls),
            // The connector wants one, also where it is not used.
            None => ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_max));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self(client))
    }

    /// The answer, whatever its status, within `limit`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<(Parts, Bytes), String> {
        let answer = async {
            let answer: Response<Incoming> =
                self.0.request(request).await.map_err(|error| whole(&error))?;
            let (parts, body) = answer.into_parts();
            let body =
                Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| whole(&*error))?;
            Ok((parts, body.to_bytes()))
        };
        timeout(limit, answer).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    }
}

/// An error with its causes: the outermost says little.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A part of a URL, with everything written as `%XX` that has a meaning there.
pub(crate) fn escaped(part: &str) -> String {
    part.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
