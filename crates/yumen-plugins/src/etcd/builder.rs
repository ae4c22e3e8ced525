//! How a registry on etcd is described: from code, or from due's keys.
//!
//! Checks everything and dials nobody.

use super::{
    EtcdRegistry,
    client::{endpoint, is_encrypted},
};
use crate::{tls::Files, working::Working};
use rustls::ClientConfig;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tonic::transport::Endpoint;
use yumen_settings::{Secret, keys::backends::RegistryEtcdSettings};

/// Longest wait for one answer, whatever is asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// Shortest wait for one answer.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// A lease longer than that keeps a killed process in every set.
const LEASE_MAX: Duration = Duration::from_secs(600);

/// What a registry needs to begin its work.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) timeout: Duration,
    pub(super) user: Option<(String, Secret)>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) namespace: String,
    pub(super) lease: Duration,
    pub(super) cache_dir: Option<PathBuf>,
}

/// Describes an [`EtcdRegistry`]. Each setter names the key of due that it stands for.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct EtcdRegistryBuilder {
    addrs: Vec<String>,
    dial_timeout: Duration,
    namespace: String,
    timeout: Duration,
    retry_interval: Duration,
    username: String,
    password: Secret,
    files: Files,
    cache_dir: Option<PathBuf>,
}

impl EtcdRegistryBuilder {
    pub(super) fn new<A: Into<String>>(addrs: impl IntoIterator<Item = A>) -> Self {
        Self {
            addrs: addrs.into_iter().map(Into::into).collect(),
            dial_timeout: Duration::from_secs(5),
            namespace: "services".to_owned(),
            timeout: Duration::from_secs(3),
            retry_interval: Duration::from_secs(10),
            username: String::new(),
            password: Secret::default(),
            files: Files::default(),
            cache_dir: None,
        }
    }

    /// As `registry.etcd` says.
    pub fn from_settings(settings: &RegistryEtcdSettings) -> Self {
        Self {
            addrs: settings.addrs.clone(),
            dial_timeout: settings.dial_timeout,
            namespace: settings.namespace.clone(),
            timeout: settings.timeout,
            retry_interval: settings.retry_interval,
            username: settings.username.clone(),
            password: settings.password.clone(),
            files: Files::new(&settings.ca_file, &settings.cert_file, &settings.key_file),
            cache_dir: None,
        }
    }

    /// `dialTimeout`: longest time for opening a connection. Default: 5 s; not zero.
    pub fn dial_timeout(mut self, dial_timeout: Duration) -> Self {
        self.dial_timeout = dial_timeout;
        self
    }

    /// `namespace`: what the names of all keys begin with. Default: `services`; not empty, and without a
    /// slash, since due's processes could not follow such keys.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// `timeout`: longest wait for one answer, and for a sign of life. Default: 3 s; from 0.1 s, and 5 s if
    /// more is given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// `retryInterval`: an instance that is silent for this and a second more is removed. Whole seconds
    /// count. Default: 10 s; at most 599 s.
    pub fn retry_interval(mut self, retry_interval: Duration) -> Self {
        self.retry_interval = retry_interval;
        self
    }

    /// `username` and `password`: who asks. Default: nobody.
    pub fn user(mut self, username: impl Into<String>, password: impl Into<String>) -> Self {
        (self.username, self.password) = (username.into(), password.into().into());
        self
    }

    /// `caFile`: whom to trust where addresses begin with `https://`, as PEM. Default, and if empty: the
    /// system's certificates.
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.files.ca = ca_file.into();
        self
    }

    /// `certFile` and `keyFile`: what is shown to a server that demands a certificate, as PEM. Default: nothing.
    pub fn identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.files.cert, self.files.key) = (cert.into(), key.into());
        self
    }

    /// `yumen.registry.cacheDir`: where the last set of each kind is kept, so that a process can start while
    /// etcd is down. Made when it is needed. Default, and if empty: nothing is kept.
    pub fn cache_dir(mut self, cache_dir: impl Into<PathBuf>) -> Self {
        let cache_dir = cache_dir.into();
        self.cache_dir = (!cache_dir.as_os_str().is_empty()).then_some(cache_dir);
        self
    }

    /// Makes the registry. Nobody is dialled; the files are read.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key.
    pub fn build(self) -> Result<EtcdRegistry, Vec<String>> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, what: String| {
            problems.push(format!("registry.etcd.{key}: {what}"));
        };
        let timeout = self.timeout.min(TIMEOUT_MAX);
        let mut endpoints = Vec::new();
        for addr in &self.addrs {
            match endpoint(addr, self.dial_timeout, timeout) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(what) => problem("addrs", what),
            }
        }
        let encrypted = self.addrs.iter().filter(|addr| is_encrypted(addr)).count();
        if encrypted != 0 && encrypted != self.addrs.len() {
            problem("addrs", "some begin with https:// and some do not: all, or none".to_owned());
        }
        let tls = self.files.config((&self.addrs.join(", "), encrypted != 0));
        let tls = tls.unwrap_or_else(|wrong| {
            wrong.into_iter().for_each(|(key, what)| problem(key, what));
            None
        });
        if self.addrs.is_empty() {
            problem("addrs", "names no server".to_owned());
        }
        if self.namespace.is_empty() || self.namespace.contains('/') {
            problem("namespace", format!("{:?} is empty or contains a slash", self.namespace));
        }
        if timeout < TIMEOUT_MIN {
            problem("timeout", format!("{timeout:?} is less than {TIMEOUT_MIN:?}"));
        }
        if self.dial_timeout < TIMEOUT_MIN {
            let what = format!("{:?} is less than {TIMEOUT_MIN:?}", self.dial_timeout);
            problem("dialTimeout", what);
        }
        let lease = Duration::from_secs(self.retry_interval.as_secs().saturating_add(1));
        if lease > LEASE_MAX {
            problem("retryInterval", format!("{:?} is more than 599s", self.retry_interval));
        }
        if self.username.is_empty() && !self.password.is_empty() {
            problem("username", "is empty, but there is a password".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let user = (!self.username.is_empty()).then_some((self.username, self.password));
        let plan = Plan {
            endpoints,
            timeout,
            user,
            tls,
            namespace: self.namespace,
            lease,
            cache_dir: self.cache_dir,
        };
        Ok(EtcdRegistry(Working::new(plan)))
    }
}
