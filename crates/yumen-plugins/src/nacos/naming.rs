//! What a registry asks of Nacos: register, beat, remove and list, in one namespace, group and cluster.
//!
//! Knows the names of the API and nothing of when to ask.

use super::{
    client::{CallError, Client},
    record::{Entry, Host, word},
};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use yumen_core::cluster::Kind;

const INSTANCE: &str = "/ns/instance";
/// How a heartbeat is answered if the server does not have the instance.
const UNKNOWN: i64 = 20_404;

#[derive(Debug)]
pub(super) struct Naming {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) cluster: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    hosts: Vec<Value>,
}

#[derive(Deserialize)]
struct Beaten {
    #[serde(default)]
    code: i64,
}

impl Naming {
    pub(super) const fn timeout(&self) -> Duration {
        self.client.timeout()
    }

    pub(super) async fn register(&self, kind: Kind, entry: &Entry) -> Result<(), CallError> {
        let metadata = serde_json::to_string(&entry.metadata).unwrap_or_default();
        let port = entry.port.to_string();
        let more = [
            ("ip", entry.ip.as_str()),
            ("port", &port),
            ("clusterName", &self.cluster),
            ("ephemeral", "true"),
            ("weight", "1"),
            ("enabled", "true"),
            ("healthy", "true"),
            ("metadata", &metadata),
        ];
        self.ask(&Method::POST, INSTANCE, kind, &more).await.map(drop)
    }

    /// Gives whether the server has the instance.
    pub(super) async fn beat(&self, kind: Kind, entry: &Entry) -> Result<bool, CallError> {
        let port = entry.port.to_string();
        let more = [
            ("ip", entry.ip.as_str()),
            ("port", &port),
            ("clusterName", &self.cluster),
            ("ephemeral", "true"),
        ];
        let said = self.ask(&Method::PUT, "/ns/instance/beat", kind, &more).await?;
        let Beaten { code } = said.read()?;
        Ok(code != UNKNOWN)
    }

    pub(super) async fn remove(&self, kind: Kind, ip: &str, port: u16) -> Result<(), CallError> {
        let port = port.to_string();
        let more =
            [("ip", ip), ("port", &port), ("clusterName", &self.cluster), ("ephemeral", "true")];
        self.ask(&Method::DELETE, INSTANCE, kind, &more).await.map(drop)
    }

    /// All that can be read as an entry.
    pub(super) async fn list(&self, kind: Kind, healthy: bool) -> Result<Vec<Host>, CallError> {
        let hosts = self.hosts(kind, healthy).await?;
        Ok(hosts.into_iter().filter_map(|host| serde_json::from_value(host).ok()).collect())
    }

    /// All, as they stand there.
    pub(super) async fn hosts(&self, kind: Kind, healthy: bool) -> Result<Vec<Value>, CallError> {
        let healthy = if healthy { "true" } else { "false" };
        let more = [("clusters", self.cluster.as_str()), ("healthyOnly", healthy)];
        let said = self.ask(&Method::GET, "/ns/instance/list", kind, &more).await?;
        let Listed { hosts } = said.read()?;
        Ok(hosts)
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        kind: Kind,
        more: &[(&str, &str)],
    ) -> Result<super::client::Said, CallError> {
        let mut words = vec![("serviceName", word(kind)), ("groupName", self.group.as_str())];
        if !self.namespace.is_empty() {
            words.push(("namespaceId", &self.namespace));
        }
        words.extend(more);
        self.client.call(method, path, &words).await
    }
}
