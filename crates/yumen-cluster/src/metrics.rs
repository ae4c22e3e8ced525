//! What a process shows of itself, as Prometheus text: [`render`].
//!
//! Instances count in cells of their own and are asked for their numbers when somebody wants to see
//! them; they never wait for that, and whoever asks waits at most [`ASK_MAX`]. An instance that does not
//! answer in time is shown as stale, without numbers.
//!
//! To add a metric: a row in `metrics/family.rs`, and the line that writes it in `gate.rs`, `node.rs` or
//! `process.rs`. A counter of a gate or a node needs a row in its `stats.rs` besides. Then run
//! `cargo run -- metrics reference` as the test that fails will tell.

pub(crate) mod family;
mod gate;
mod labels;
mod node;
mod page;
mod process;
mod reference;
mod shown;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;

pub use family::{ALL, Family, Scope, Type};
pub use labels::Labels;
pub use page::CONTENT_TYPE;
pub use reference::{names, reference};

use crate::{
    app::{Control, InstanceState, InstanceStatus, Phase},
    backend::Backend,
    gate::GateHandle,
    node::NodeHandle,
};
pub(crate) use page::{Page, Whose};
use std::{
    collections::BTreeMap,
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};
use yumen_core::health;
use yumen_mesh::{LANE_MAX, Load};
use yumen_net::env::Clock;
use yumen_proto::id::InstanceId;

/// Longest wait for the answers of all instances together.
pub const ASK_MAX: Duration = Duration::from_secs(1);

/// Bytes that wait somewhere, and how many may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// All of them.
    pub(crate) bytes: u64,
    /// Those of the connection, or lane, that has most.
    pub(crate) largest: u64,
    /// The bound of one.
    pub(crate) max: u64,
}

impl From<&Load> for Queue {
    /// What is on its way over lanes.
    fn from(load: &Load) -> Self {
        Self { bytes: wide(load.queued), largest: wide(load.queued_most), max: wide(LANE_MAX) }
    }
}

impl Queue {
    /// Adds what one connection has.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.largest = self.largest.max(bytes);
    }
}

/// Everything an app shows of itself, with the labels of `yumen.admin.labels` in every sample.
///
/// Takes no longer than [`ASK_MAX`], however its instances are. The labels are those with which the run
/// began; if the name of one is wrong, all are left out: check them with [`Labels::new`].
pub async fn render(control: &Control) -> String {
    render_with(control, |_| {}).await
}

/// As [`render`], with what `more` writes.
pub(crate) async fn render_with(control: &Control, more: impl FnOnce(&mut Page<'_>)) -> String {
    let labels = Labels::new(&control.settings_at_start().yumen.admin.labels).unwrap_or_default();
    let mut page = Page::new(&labels);
    for phase in Phase::ALL {
        let is = u64::from(phase == control.phase());
        page.sample(&family::PHASE, Whose(&[]), &[phase.name()], is);
    }
    let (all, now) = (control.instances(), Clock::real().now().mono);
    for instance in &all {
        thread(&mut page, instance, now);
    }
    // One that is not there yet, or not any more, has nothing to say.
    let is_there = |id: &InstanceId| {
        let serves = |state| matches!(state, InstanceState::Serving | InstanceState::Draining);
        all.iter().any(|instance| instance.id == *id && serves(instance.state))
    };
    instances(&mut page, (&control.gates(), &control.nodes()), is_there).await;
    services(&mut page, control);
    process::process(&mut page);
    more(&mut page);
    page.finish()
}

/// What the process does for all its instances.
fn services(page: &mut Page<'_>, control: &Control) {
    let whose = Whose(&[]);
    let mut stores = BTreeMap::<_, (u64, u64)>::new();
    for (store, operation, ok, failed) in
        control.clusters().iter().flat_map(|cluster| cluster.counts().read())
    {
        let sum = stores.entry((store, operation)).or_default();
        *sum = (sum.0.saturating_add(ok), sum.1.saturating_add(failed));
    }
    for ((store, operation), (ok, failed)) in stores {
        for (outcome, count) in [("ok", ok), ("failed", failed)] {
            page.sample(&family::STORE_REQUESTS, whose, &[store, operation, outcome], count);
        }
    }
    let clusters = control.clusters();
    let loads = clusters.iter().filter_map(|cluster| cluster.locator().load());
    if let Some(load) = loads.reduce(health::Load::and) {
        connections(page, "locator", &load);
    }
    for (state, count, max) in control.backend().into_iter().flat_map(Backend::load) {
        page.sample(&family::BACKEND, whose, &[state], wide(count));
        page.sample(&family::BACKEND_LIMIT, whose, &[state], wide(max));
    }
    let [applied, failed] = control.reloads();
    for (outcome, count) in [("applied", applied), ("failed", failed)] {
        page.sample(&family::RELOADS, whose, &[outcome], count);
    }
    let Some(logs) = control.logs() else { return };
    let lines = [("written", logs.written()), ("dropped", logs.dropped()), ("lost", logs.lost())];
    for (outcome, count) in lines {
        page.sample(&family::LOG_LINES, whose, &[outcome], count);
    }
    page.sample(&family::LOG_QUEUE, whose, &[], wide(logs.queue_bytes()));
    let max = control.settings_at_start().yumen.log.queue_bytes;
    page.sample(&family::LOG_QUEUE_LIMIT, whose, &[], max.0);
}

/// The connections of a store to its server.
fn connections(page: &mut Page<'_>, store: &str, load: &health::Load) {
    let whose = Whose(&[]);
    page.sample(&family::STORE_CONNECTIONS, whose, &[store], wide(load.connections));
    page.sample(&family::STORE_RECONNECTS, whose, &[store], load.reconnects);
    for (state, count, max) in [
        ("in_flight", load.in_flight, load.in_flight_max),
        ("waiting", load.waiting, load.waiting_max),
    ] {
        page.sample(&family::STORE_COMMANDS, whose, &[store, state], wide(count));
        page.sample(&family::STORE_COMMANDS_LIMIT, whose, &[store, state], wide(max));
    }
}

/// What the timer of an instance's thread shows, which needs no answer of the instance.
fn thread(page: &mut Page<'_>, instance: &InstanceStatus, now: Instant) {
    let Some(pulse) = instance.pulse.as_ref().filter(|_| !instance.state.is_over()) else { return };
    let (names, stalls) = ([instance.name.as_str(), instance.id.as_str()], pulse.stalls());
    page.histogram(&family::STALL, Whose(&names), &[], (&stalls.times, 1));
    page.sample(&family::STALL_MAX, Whose(&names), &[], stalls.max);
    page.sample(&family::SILENCE, Whose(&names), &[], pulse.silence(now));
}

/// The numbers of these components and of the process, with `labels` in every sample.
///
/// For components that no [`App`](crate::app::App) runs; otherwise see [`render`].
pub async fn render_parts(gates: &[GateHandle], nodes: &[NodeHandle], labels: &Labels) -> String {
    let mut page = Page::new(labels);
    instances(&mut page, (gates, nodes), |_| true).await;
    process::process(&mut page);
    page.finish()
}

/// Asks every instance, then waits for all answers together.
async fn instances(
    page: &mut Page<'_>,
    (gates, nodes): (&[GateHandle], &[NodeHandle]),
    is_there: impl Fn(&InstanceId) -> bool,
) {
    let of_gates: Vec<_> = gates.iter().map(|gate| (gate, gate.ask_census(&is_there))).collect();
    let there = nodes.iter().filter(|node| is_there(node.node_id()));
    let of_nodes: Vec<_> = there.map(|node| (node, node.ask_census())).collect();
    let mut late = std::pin::pin!(sleep(ASK_MAX));
    for (gate, asked) in of_gates {
        gate::acceptor(page, gate);
        for (id, answer) in asked {
            let (census, names) = (answered(answer, &mut late).await, [gate.name(), id.as_str()]);
            stale(page, Whose(&names), "gate", census.is_none());
            if let Some(census) = census {
                gate::instance(page, Whose(&names), gate.addresses(), &census);
            }
        }
    }
    for (node, answer) in of_nodes {
        let (census, names) =
            (answered(answer, &mut late).await, [node.name(), node.node_id().as_str()]);
        stale(page, Whose(&names), "node", census.is_none());
        if let Some(census) = census {
            node::instance(page, Whose(&names), &census);
        }
    }
}

/// The answer, if it comes before it is late. What is there already is taken even then.
pub(crate) async fn answered<T>(
    answer: Option<oneshot::Receiver<T>>,
    late: &mut Pin<&mut Sleep>,
) -> Option<T> {
    let mut answer = answer?;
    if late.is_elapsed() {
        return answer.try_recv().ok();
    }
    tokio::select! {
        biased;
        census = &mut answer => census.ok(),
        () = late => None,
    }
}

fn stale(page: &mut Page<'_>, whose: Whose<'_>, kind: &str, stale: bool) {
    page.sample(&family::STALE, whose, &[kind], u64::from(stale));
}

fn queue(page: &mut Page<'_>, whose: Whose<'_>, name: &str, queue: &Queue) {
    page.sample(&family::QUEUE, whose, &[name], queue.bytes);
    page.sample(&family::QUEUE_LARGEST, whose, &[name], queue.largest);
    page.sample(&family::QUEUE_LIMIT, whose, &[name], queue.max);
}

fn links(page: &mut Page<'_>, whose: Whose<'_>, load: &Load) {
    queue(page, whose, "lanes", &load.into());
    page.sample(&family::LINKS, whose, &[], wide(load.links));
    page.sample(&family::LINK_CALLS, whose, &[], wide(load.calls));
    page.sample(&family::LINK_LATE, whose, &[], load.late);
    page.sample(&family::LINK_MALFORMED, whose, &[], load.malformed);
    outside(page, whose, load);
}

/// Links to other processes.
fn outside(page: &mut Page<'_>, whose: Whose<'_>, load: &Load) {
    let counts = &load.counts;
    page.sample(&family::LINK_FAR, whose, &[], wide(load.far));
    page.sample(&family::LINK_CONNS, whose, &[], wide(load.conns));
    page.sample(&family::LINK_OPENED, whose, &[], counts.opened);
    page.sample(&family::LINK_BROKEN, whose, &[], counts.broken);
    page.sample(&family::LINK_DIALS, whose, &[], counts.dials);
    for (reason, count) in counts.dials_failed.iter() {
        page.sample(&family::LINK_DIALS_FAILED, whose, &[reason], count);
    }
    page.sample(&family::LINK_HELD_BACK, whose, &[], counts.held_back);
    for (reason, count) in counts.refused.iter() {
        page.sample(&family::LINK_REFUSED, whose, &[reason], count);
    }
    page.sample(&family::LINK_CREDIT_WAITS, whose, &[], counts.credit_waits);
    page.sample(&family::LINK_UNSENT, whose, &[], counts.unsent);
    page.sample(&family::LINK_ANSWERED_LATE, whose, &[], counts.answered_late);
    page.sample(&family::LINK_FRAMES, whose, &[], counts.frames_sent);
    page.sample(&family::LINK_BYTES, whose, &["in"], counts.bytes_received);
    page.sample(&family::LINK_BYTES, whose, &["out"], counts.bytes_sent);
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
