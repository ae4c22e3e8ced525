//! How a registry on Consul is described: from code, or from due's keys and some of Yumen's own.
//!
//! Checks everything and dials nobody.

use super::{ConsulRegistry, client::url, record::Checks};
use crate::{tls::Files, working::Working};
use hyper::header::HeaderValue;
use rustls::ClientConfig;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use yumen_settings::{Secret, keys::backends::RegistryConsulSettings};

/// Longest wait for one answer, whatever is asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// Shortest wait for one answer.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Longest of due's times, in seconds: an hour.
const SECONDS_MAX: u64 = 3600;

/// What a registry needs to begin its work.
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) timeout: Duration,
    pub(super) token: Option<HeaderValue>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) checks: Checks,
    /// Between two heartbeats.
    pub(super) every: Duration,
    pub(super) cache_dir: Option<PathBuf>,
}

/// Without the token.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Describes a [`ConsulRegistry`]. Each setter names the key that it stands for.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct ConsulRegistryBuilder {
    addr: String,
    token: Secret,
    files: Files,
    health_check: Option<(Duration, Duration)>,
    heartbeat_check: bool,
    heartbeat_check_interval: Duration,
    deregister_critical_service_after: Duration,
    timeout: Duration,
    cache_dir: Option<PathBuf>,
    problems: Vec<String>,
}

impl ConsulRegistryBuilder {
    pub(super) fn new(addr: impl Into<String>) -> Self {
        Self {
            addr: addr.into(),
            token: Secret::default(),
            files: Files::default(),
            health_check: Some((Duration::from_secs(10), Duration::from_secs(5))),
            heartbeat_check: true,
            heartbeat_check_interval: Duration::from_secs(10),
            deregister_critical_service_after: Duration::from_secs(30),
            timeout: Duration::from_secs(3),
            cache_dir: None,
            problems: Vec::new(),
        }
    }

    /// As `registry.consul` says.
    pub fn from_settings(settings: &RegistryConsulSettings) -> Self {
        let mut this = Self::new(&settings.addr);
        let mut seconds = |key: &str, value: i64| {
            let seconds = u64::try_from(value).unwrap_or(0);
            if seconds == 0 {
                this.problems
                    .push(format!("registry.consul.{key}: {value} is not a number of seconds"));
            }
            Duration::from_secs(seconds)
        };
        let health = settings.health_check.then(|| {
            (
                seconds("healthCheckInterval", settings.health_check_interval),
                seconds("healthCheckTimeout", settings.health_check_timeout),
            )
        });
        let heartbeat = seconds("heartbeatCheckInterval", settings.heartbeat_check_interval);
        let deregister =
            seconds("deregisterCriticalServiceAfter", settings.deregister_critical_service_after);
        this.health_check = health;
        this.heartbeat_check = settings.heartbeat_check;
        this.heartbeat_check_interval = heartbeat;
        this.deregister_critical_service_after = deregister;
        this.token = settings.token.clone();
        this.files = Files::new(&settings.ca_file, &settings.cert_file, &settings.key_file);
        this
    }

    /// `token`: the ACL token, sent with every request. Default: none.
    ///
    /// It needs `service:write` for the services `gate`, `node` and `mesh` that the process registers,
    /// `service:read` for those that it follows, and `node:read`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into().into();
        self
    }

    /// `caFile`: whom to trust where the address begins with `https://`, as PEM. Default, and if empty: the
    /// system's certificates.
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.files.ca = ca_file.into();
        self
    }

    /// `certFile` and `keyFile`: what is shown to an agent that demands a certificate, as PEM. Default: nothing.
    pub fn identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.files.cert, self.files.key) = (cert.into(), key.into());
        self
    }

    /// `healthCheck`, `healthCheckInterval`, `healthCheckTimeout`: how often the agent connects to an
    /// instance, and how long it waits; whole seconds. `None`: it does not. Default: 10 s and 5 s.
    pub fn health_check(mut self, interval_and_timeout: Option<(Duration, Duration)>) -> Self {
        self.health_check = interval_and_timeout;
        self
    }

    /// `heartbeatCheck`: whether an instance that is silent counts as gone. Default: yes.
    pub fn heartbeat_check(mut self, heartbeat_check: bool) -> Self {
        self.heartbeat_check = heartbeat_check;
        self
    }

    /// `heartbeatCheckInterval`: how long it may be silent, in whole seconds; it tells that it lives, and
    /// looks whether it is still registered, twice as often. Default: 10 s.
    pub fn heartbeat_check_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_check_interval = interval;
        self
    }

    /// `deregisterCriticalServiceAfter`: what counts as gone is forgotten after this, in whole seconds;
    /// Consul takes a minute at least, and looks every 30 s. Default: 30 s.
    pub fn deregister_critical_service_after(mut self, after: Duration) -> Self {
        self.deregister_critical_service_after = after;
        self
    }

    /// Longest wait for one answer. Default: 3 s; from 0.1 s, and 5 s if more is given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// `yumen.registry.cacheDir`: where the last set of each kind is kept, so that a process can start while
    /// Consul is down. Made when it is needed. Default, and if empty: nothing is kept.
    pub fn cache_dir(mut self, cache_dir: impl Into<PathBuf>) -> Self {
        let cache_dir = cache_dir.into();
        self.cache_dir = (!cache_dir.as_os_str().is_empty()).then_some(cache_dir);
        self
    }

    /// Makes the registry. Nobody is dialled; the files are read.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key.
    pub fn build(self) -> Result<ConsulRegistry, Vec<String>> {
        let mut problems = self.problems;
        let mut problem = |key: &str, what: String| {
            problems.push(format!("registry.consul.{key}: {what}"));
        };
        let url = url(&self.addr).map_err(|what| problem("addr", what)).unwrap_or_default();
        let token = HeaderValue::from_str(self.token.expose());
        if token.is_err() {
            problem("token", "contains characters that a header cannot carry".to_owned());
        }
        let tls = match self.files.config((&url, url.starts_with("https://"))) {
            Ok(tls) => tls,
            Err(wrong) => {
                // Of an address that is wrong nothing more is said.
                wrong
                    .into_iter()
                    .filter(|_| !url.is_empty())
                    .for_each(|(key, what)| problem(key, what));
                None
            }
        };
        let timeout = self.timeout.min(TIMEOUT_MAX);
        if timeout < TIMEOUT_MIN {
            problem("timeout", format!("{timeout:?} is less than {TIMEOUT_MIN:?}"));
        }
        let mut times = vec![
            ("heartbeatCheckInterval", self.heartbeat_check_interval),
            ("deregisterCriticalServiceAfter", self.deregister_critical_service_after),
        ];
        if let Some((interval, timeout)) = self.health_check {
            times.extend([("healthCheckInterval", interval), ("healthCheckTimeout", timeout)]);
        }
        for (key, time) in times {
            if time.as_secs() > SECONDS_MAX {
                problem(key, format!("{time:?} is more than an hour"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let heartbeat = self.heartbeat_check_interval;
        let plan = Plan {
            url,
            timeout,
            token: token.ok().filter(|token| !token.is_empty()).map(secret),
            tls,
            checks: Checks {
                health: self.health_check,
                heartbeat: self.heartbeat_check.then_some(heartbeat),
                deregister: self.deregister_critical_service_after,
            },
            every: heartbeat.mul_f64(0.5),
            cache_dir: self.cache_dir,
        };
        Ok(ConsulRegistry(Working::new(plan)))
    }
}

fn secret(mut token: HeaderValue) -> HeaderValue {
    token.set_sensitive(true);
    token
}
