//! Keeps one instance of this process registered at its agent: the service, and its heartbeat, for ever.
//!
//! Never gives up. The one thing to know: every heartbeat first looks whether the agent still has the
//! service, so an agent that was restarted, with its memory or without, a service that somebody removed and a
//! check that is gone heal alike.

use super::{
    client::{CallError, Client},
    record::{Checks, Registration, Service, heartbeat_id, registration, service_id},
};
use crate::http::escaped;
use crate::orders::{Keeper, Order, Told};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::sleep};
use yumen_core::{
    cluster::{Instance, Kind},
    registry::RegistryError,
    watch::Watch,
};

/// Why a record is not there as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Unfit(#[from] RegistryError),
    #[error("the record cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error(
        "{id} is registered by another process, at {endpoint}: stop one of the two, or give it an id of its own"
    )]
    Taken { id: String, endpoint: String },
    #[error("{id} went again as soon as it was registered")]
    Gone { id: String },
}

/// Starts on `runtime`, with nothing to do yet.
pub(super) fn start(
    runtime: &Handle,
    client: Arc<Client>,
    (kind, id): (Kind, &str),
    (checks, every): (Checks, Duration),
) -> Keeper {
    let id = service_id(kind, id);
    Keeper::start(runtime, "Consul", id.clone(), move |orders, told| {
        Work { client, id, checks, every, told, written: None }.run(orders)
    })
}

/// The task.
struct Work {
    client: Arc<Client>,
    id: String,
    checks: Checks,
    /// Between two heartbeats.
    every: Duration,
    told: Told,
    /// What was written last, while it is to be there. The first registration replaces whatever a killed
    /// predecessor left; a later one replaces only what is ours.
    written: Option<Registration>,
}

impl Work {
    async fn run(mut self, mut orders: Watch<Order>) {
        loop {
            let order = orders.current();
            let step = match &order.record {
                Some(record) => self.step(record).await.map(|()| Some(self.every)),
                None if order.number > 0 => self.withdraw().await.map(|()| None),
                None => Ok(None),
            };
            let pause = match step {
                Ok(pause) => {
                    self.told.done(order.number);
                    pause
                }
                Err(error) => Some(self.told.failed(error)),
            };
            let goes_on = match pause {
                None => orders.changed().await,
                Some(pause) => tokio::select! {
                    changed = orders.changed() => changed,
                    () = sleep(pause) => true,
                },
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Makes it so: the service as it should be, and a heartbeat.
    async fn step(&mut self, record: &Instance) -> Result<(), KeepError> {
        let wanted = registration(record, &self.checks)?;
        match (self.there().await?, &self.written) {
            (Some(there), Some(_)) if is(&there, &wanted) => {}
            (Some(there), Some(written)) if is_others(&there, written, &wanted) => {
                let (id, endpoint) = (self.id.clone(), endpoint(there.meta.as_ref()).to_owned());
                return Err(KeepError::Taken { id, endpoint });
            }
            (None, Some(_)) => {
                tracing::warn!(id = %self.id, "Consul has lost the instance, registering again");
                self.register(&wanted).await?;
            }
            _ => self.register(&wanted).await?,
        }
        if self.beat().await? {
            return Ok(());
        }
        // The service is there and its check is not.
        self.register(&wanted).await?;
        if self.beat().await? { Ok(()) } else { Err(KeepError::Gone { id: self.id.clone() }) }
    }

    async fn there(&self) -> Result<Option<Service>, CallError> {
        let path = format!("/v1/agent/service/{}", escaped(&self.id));
        Ok(self.client.get(&path, Duration::ZERO).await?.map(|answer| answer.value))
    }

    async fn register(&mut self, wanted: &Registration) -> Result<(), KeepError> {
        // Checks that a predecessor had and this one has not would stay, and fail.
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        if !self.client.put(path, serde_json::to_vec(wanted)?).await? {
            return Err(KeepError::Gone { id: self.id.clone() });
        }
        self.written = Some(wanted.clone());
        Ok(())
    }

    /// Gives whether there is a check to tell.
    async fn beat(&self) -> Result<bool, KeepError> {
        if self.checks.heartbeat.is_none() {
            return Ok(true);
        }
        let path = format!("/v1/agent/check/update/{}", escaped(&heartbeat_id(&self.id)));
        let body = json!({ "Status": "passing", "Output": "passed" });
        Ok(self.client.put(&path, serde_json::to_vec(&body)?).await?)
    }

    /// Takes the service away. One that is another's by now is left alone.
    async fn withdraw(&mut self) -> Result<(), KeepError> {
        let Some(written) = &self.written else { return Ok(()) };
        if self.there().await?.is_some_and(|there| !is_others(&there, written, written)) {
            let path = format!("/v1/agent/service/deregister/{}", escaped(&self.id));
            self.client.put(&path, Vec::new()).await?;
        }
        self.written = None;
        Ok(())
    }
}

fn is(there: &Service, wanted: &Registration) -> bool {
    let meta = there.meta.as_ref();
    there.name == wanted.name
        && there.address == wanted.address
        && there.port == wanted.port
        && meta.is_some_and(|meta| *meta == wanted.meta)
}

/// Whether another process registered it: at an address that was never ours.
fn is_others(there: &Service, written: &Registration, wanted: &Registration) -> bool {
    let there = endpoint(there.meta.as_ref());
    there != endpoint(Some(&written.meta)) && there != endpoint(Some(&wanted.meta))
}

/// Where a record says that its instance listens.
fn endpoint(meta: Option<&BTreeMap<String, String>>) -> &str {
    meta.and_then(|meta| meta.get("endpoint")).map_or("", String::as_str)
}
