//! How a registry on Nacos is described: from code, or from due's keys.
//!
//! Checks everything and dials nobody.

use super::NacosRegistry;
use crate::{tls::Files, working::Working};
use rustls::ClientConfig;
use std::{path::PathBuf, sync::Arc, time::Duration};
use yumen_settings::{Secret, keys::backends::RegistryNacosSettings};

/// Longest wait for one answer, whatever is asked for: an instance that waits longer misses heartbeats.
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// Shortest wait for one answer.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// What a registry needs to begin its work.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) urls: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) user: Option<(String, Secret)>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) cluster: String,
    pub(super) cache_dir: Option<PathBuf>,
}

/// Describes a [`NacosRegistry`]. Each setter names the key of due that it stands for.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct NacosRegistryBuilder {
    urls: Vec<String>,
    namespace: String,
    group: String,
    cluster: String,
    timeout: Duration,
    username: String,
    password: Secret,
    files: Files,
    cache_dir: Option<PathBuf>,
}

impl NacosRegistryBuilder {
    pub(super) fn new<A: Into<String>>(urls: impl IntoIterator<Item = A>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            namespace: String::new(),
            group: "DEFAULT_GROUP".to_owned(),
            cluster: "DEFAULT".to_owned(),
            timeout: Duration::from_secs(3),
            username: String::new(),
            password: Secret::default(),
            files: Files::default(),
            cache_dir: None,
        }
    }

    /// As `registry.nacos` says.
    pub fn from_settings(settings: &RegistryNacosSettings) -> Self {
        Self {
            urls: settings.urls.clone(),
            namespace: settings.namespace_id.clone(),
            group: settings.group_name.clone(),
            cluster: settings.cluster_name.clone(),
            timeout: settings.timeout,
            username: settings.username.clone(),
            password: settings.password.clone(),
            files: Files::new(&settings.ca_file, &settings.cert_file, &settings.key_file),
            cache_dir: None,
        }
    }

    /// `namespaceId`: which namespace. Default: empty, which is the public one.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// `groupName`: which group of services. Default: `DEFAULT_GROUP`; not empty.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// `clusterName`: which cluster of a service's instances, to be in and to follow. Default: `DEFAULT`; not
    /// empty.
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = cluster.into();
        self
    }

    /// `timeout`: longest wait for one answer. Default: 3 s; from 0.1 s, and 3 s if more is given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
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
    /// Nacos is down. Made when it is needed. Default, and if empty: nothing is kept.
    pub fn cache_dir(mut self, cache_dir: impl Into<PathBuf>) -> Self {
        let cache_dir = cache_dir.into();
        self.cache_dir = (!cache_dir.as_os_str().is_empty()).then_some(cache_dir);
        self
    }

    /// Makes the registry. Nobody is dialled; the files are read.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key.
    pub fn build(self) -> Result<NacosRegistry, Vec<String>> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, what: String| {
            problems.push(format!("registry.nacos.{key}: {what}"));
        };
        let mut urls = Vec::new();
        for url in &self.urls {
            match base(url) {
                Ok(url) => urls.push(url),
                Err(what) => problem("urls", what),
            }
        }
        if self.urls.is_empty() {
            problem("urls", "names no server".to_owned());
        }
        let is_encrypted = urls.iter().any(|url| url.starts_with("https://"));
        let tls = self.files.config((&urls.join(", "), is_encrypted));
        let tls = tls.unwrap_or_else(|wrong| {
            wrong.into_iter().for_each(|(key, what)| problem(key, what));
            None
        });
        for (key, name) in [("groupName", &self.group), ("clusterName", &self.cluster)] {
            if name.is_empty() || name.contains("@@") {
                problem(key, format!("{name:?} is empty or contains @@"));
            }
        }
        let timeout = self.timeout.min(TIMEOUT_MAX);
        if timeout < TIMEOUT_MIN {
            problem("timeout", format!("{timeout:?} is less than {TIMEOUT_MIN:?}"));
        }
        if self.username.is_empty() && !self.password.is_empty() {
            problem("username", "is empty, but there is a password".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let user = (!self.username.is_empty()).then_some((self.username, self.password));
        let plan = Plan {
            urls,
            timeout,
            user,
            tls,
            namespace: self.namespace,
            group: self.group,
            cluster: self.cluster,
            cache_dir: self.cache_dir,
        };
        Ok(NacosRegistry(Working::new(plan)))
    }
}

/// A URL without the slash at its end; due writes the path of Nacos with it.
fn base(url: &str) -> Result<String, String> {
    let bare = url.trim_end_matches('/');
    let (scheme, rest) = bare.split_once("://").unwrap_or_default();
    let good = matches!(scheme, "http" | "https")
        && !rest.is_empty()
        && !rest.contains(['?', '#', '@'])
        && bare.parse::<hyper::Uri>().is_ok();
    if good {
        Ok(bare.to_owned())
    } else {
        Err(format!("{url:?} is not like http://host:8848/nacos"))
    }
}
