//! How the process is, and telling it to stop: `/healthz`, `/readyz`, `/metrics`, `/drain`.
//!
//! Health is read from what the watchdog has written down; no instance is asked, so one that is stuck
//! cannot delay the answer that says so.

use super::{
    answer::{self, Answer, Problem},
    desk::At,
};
use crate::{
    app::{InstanceState, InstanceStatus, Phase},
    cluster::Cluster,
    metrics::{self, Whose},
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use yumen_core::health::Health;

/// 200 unless an instance is dead, or stuck for longer than `yumen.app.stallMax`.
pub(super) async fn healthz(State(desk): At) -> Answer {
    let limit = desk.stall_max();
    let ill: Vec<_> =
        desk.control.instances().iter().filter_map(|status| illness(status, limit)).collect();
    if ill.is_empty() {
        return Ok(answer::text(StatusCode::OK, "ok\n"));
    }
    let help = "a stuck instance goes on by itself once its handler gives way; restart the process \
                if it does not, and look for blocking calls in handlers";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, ill.join("; "), help))
}

/// What is wrong with an instance, if anything is.
fn illness(status: &InstanceStatus, limit: Duration) -> Option<String> {
    if status.state == InstanceState::Failed {
        return Some(format!("instance {} is dead", status.id));
    }
    let stalled = status.stalled.filter(|stalled| *stalled > limit)?;
    let seconds = stalled.as_secs_f64();
    Some(format!("instance {} has been stuck for {seconds:.1} s", status.id))
}

/// 200 only while every instance serves and clients are let in.
pub(super) async fn readyz(State(desk): At) -> Answer {
    let phase = desk.control.phase();
    if phase != Phase::Serving {
        let help = match phase {
            Phase::Starting => "wait: clients are let in once every instance serves",
            Phase::Serving | Phase::Draining | Phase::Ended => "send new clients elsewhere",
        };
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, phase.name(), help));
    }
    let limit = desk.stall_max();
    let not_serving = |status: &InstanceStatus| match illness(status, limit) {
        None if status.state == InstanceState::Serving => {
            let why = status.unregistered.as_ref()?;
            Some(format!("instance {} is not registered: {why}", status.id))
        }
        None => Some(format!("instance {} is {}", status.id, status.state)),
        illness => illness,
    };
    let mut unready: Vec<_> = desk.control.instances().iter().filter_map(not_serving).collect();
    unready.extend(desk.control.clusters().iter().flat_map(failing_stores));
    if unready.is_empty() {
        return Ok(answer::text(StatusCode::OK, "ok\n"));
    }
    let help = "send new clients elsewhere";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, unready.join("; "), help))
}

/// The stores of a cluster that fail too often for it to be called ready.
fn failing_stores(cluster: &Cluster) -> Vec<String> {
    let (registry, locator) = (cluster.registry(), cluster.locator());
    let stores = [
        ("registry", registry.name(), registry.health()),
        ("locator", locator.name(), locator.health()),
    ];
    let failing = |(store, name, health): &(&str, &str, Health)| match health {
        Health::Failing { failures, last } if !health.is_ready() => {
            Some(format!("the {store} ({name}) failed {failures} times in a row: {last}"))
        }
        Health::Good | Health::Failing { .. } => None,
    };
    stores.iter().filter_map(failing).collect()
}

/// Everything that is counted, in Prometheus' text format.
pub(super) async fn metrics(State(desk): At) -> Answer {
    let place = desk.scrape().await;
    let text = metrics::render_with(&desk.control, |page| {
        for (reason, count) in desk.refusals() {
            page.sample(&metrics::family::ADMIN_REFUSED, Whose(&[]), &[reason], count);
        }
    });
    Ok(answer::metrics(text.await, place))
}

/// What `/drain` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainQuery {
    instance: Option<String>,
}

#[derive(Serialize)]
struct Drain {
    was: &'static str,
    phase: &'static str,
    what: &'static str,
}

/// Tells the process to stop, as SIGTERM does.
pub(super) async fn drain(
    State(desk): At,
    query: Result<Query<DrainQuery>, QueryRejection>,
) -> Answer {
    let query = query
        .map_err(|error| Problem::bad(error.body_text(), "POST /drain takes no parameters"))?;
    if let Some(instance) = &query.instance {
        let error = format!("instance {instance} cannot be drained alone yet");
        let help = "POST /drain without a parameter drains the whole process";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, error, help));
    }
    let was = desk.control.phase();
    desk.control.drain();
    let phase = was.max(Phase::Draining);
    let what = match was {
        Phase::Starting => "what has started is stopped again, then the process ends",
        Phase::Serving => {
            "no new clients are let in, new messages are refused, what is under way is finished \
             within the limits, clients are told, then the process ends"
        }
        Phase::Draining => "it was told before, and goes on draining",
        Phase::Ended => "nothing runs any more",
    };
    tracing::info!(was = was.name(), "a drain was asked for over admin");
    let body = Drain { was: was.name(), phase: phase.name(), what };
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::{
        BoxFuture,
        cluster::{Instance, Kind, Snapshot},
        memory::MemoryLocator,
        registry::{Registry, RegistryError},
        watch::Watch,
    };
    use yumen_proto::id::InstanceId;

    /// A registry that has failed so often.
    struct Failing(u32);

    impl Registry for Failing {
        fn name(&self) -> &'static str {
            "etcd"
        }

        fn join<'a>(&'a self, _: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
            Box::pin(async { Ok(()) })
        }

        fn leave<'a>(
            &'a self,
            _: &'a InstanceId,
            _: Kind,
        ) -> BoxFuture<'a, Result<(), RegistryError>> {
            Box::pin(async { Ok(()) })
        }

        fn watch(&self, _: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
            Box::pin(async { Ok(Watch::fixed([].into())) })
        }

        fn health(&self) -> Health {
            Health::Failing { failures: self.0, last: "connection refused".to_owned() }
        }
    }

    #[test]
    fn a_store_that_failed_five_times_in_a_row_is_named_with_its_last_word() {
        let failing =
            |failures| failing_stores(&Cluster::new(Failing(failures), MemoryLocator::default()));
        assert_eq!(failing(4), [""; 0]);
        let said = "the registry (etcd) failed 5 times in a row: connection refused";
        assert_eq!(failing(5), [said]);
    }
}
