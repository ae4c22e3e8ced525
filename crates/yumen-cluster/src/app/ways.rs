//! How an app runs, from its methods and its settings, and what it shows of that.

use super::{
    Component, Front, Group,
    banner::{self, Card},
    descriptors::Needs,
    is_gate,
};
use crate::instance::Member;
use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use yumen_log::Logs;
use yumen_net::env::Clock;
use yumen_settings::{Mode, Settings};

/// A value that a method, a file or nobody has set. The method wins, whoever comes first.
#[derive(Clone, Debug)]
pub(super) struct Way<T> {
    value: T,
    by_code: bool,
}

impl<T> Way<T> {
    fn default_to(value: T) -> Self {
        Self { value, by_code: false }
    }

    /// By a method.
    pub(super) fn set(&mut self, value: T) {
        *self = Self { value, by_code: true };
    }

    /// By the settings.
    fn read(&mut self, value: T) {
        if !self.by_code {
            self.value = value;
        }
    }

    pub(super) fn is_by_code(&self) -> bool {
        self.by_code
    }

    pub(super) fn value(&self) -> &T {
        &self.value
    }
}

/// How an app runs.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    pub(super) pid: Way<Option<PathBuf>>,
    pub(super) drain_max: Way<Option<Duration>>,
    pub(super) stall_warn: Way<Duration>,
    mode: Mode,
    /// Where admin listens.
    pub(super) admin: Option<SocketAddr>,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            pid: Way::default_to(None),
            drain_max: Way::default_to(None),
            stall_warn: Way::default_to(Duration::from_secs(1)),
            mode: Mode::default(),
            admin: None,
        }
    }
}

impl Ways {
    /// Takes over what the settings say.
    pub(super) fn read(&mut self, settings: &Settings) {
        let general = &settings.general;
        self.mode = general.mode;
        self.pid.read((!general.pid.is_empty()).then(|| PathBuf::from(&general.pid)));
        let limit = general.shutdown_max_wait_time;
        self.drain_max.read((!limit.is_zero()).then_some(limit));
        self.stall_warn.read(settings.yumen.app.stall_warn);
    }
}

/// Instances of other processes that are reckoned with; how many there will be nobody knows at the start.
const PEERS: u64 = 32;
/// Connections between two of ours.
const CONNS: usize = 2;

/// Where other processes reach an instance, for a person.
pub(super) fn link(member: &Member) -> String {
    let endpoint = member.link.as_ref().and_then(|facts| facts.endpoint.as_deref());
    let endpoint = endpoint.unwrap_or_default();
    endpoint.split_once('?').map_or(endpoint, |(link, _)| link).to_owned()
}

/// The descriptors that are needed with these threads, links and listeners.
pub(super) fn needs(groups: &[Group], fronts: &[Front]) -> Needs {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut needs = Needs { threads: number(groups.len()), ..Needs::default() };
    let members = groups.iter().flat_map(|group| &group.members);
    for facts in members.filter_map(|(_, member)| member.link.as_ref()) {
        needs.listeners = needs.listeners.saturating_add(1);
        let conns = number(facts.conns.max(CONNS)).saturating_mul(PEERS);
        needs.links = needs.links.saturating_add(conns);
    }
    for doorway in fronts.iter().flat_map(|front| &front.doorways) {
        needs.listeners = needs.listeners.saturating_add(1);
        needs.connections = needs.connections.saturating_add(number(doorway.connections_max));
        needs.unlimited |= doorway.connections_max == 0;
    }
    needs
}

/// What the banner shows.
pub(super) fn cards(ways: &Ways, components: &[Component]) -> Vec<Card> {
    let pid = std::process::id().to_string();
    let global =
        Card::new("Global").row("PID", pid).row("Mode", ways.mode.name()).row("Time", time());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let admin = ways.admin.map(|at| Card::new("Admin").row("Url", format!("http://{at}")));
    let parts = components.iter().map(|component| card(component, cores));
    std::iter::once(global).chain(parts).chain(admin).collect()
}

fn card(component: &Component, cores: usize) -> Card {
    let Component { kind, id, name, instances, servers, link, locator, registry, beside } =
        component;
    let gate = is_gate(*kind);
    let mut card = Card::new(if gate { "Gate" } else { "Node" });
    card = card.row("ID", id.as_str()).row("Name", &**name).row("Link", &**link);
    for server in servers {
        card = card.row("Server", &**server);
    }
    if !gate {
        card = card.row("Codec", "chosen by each handler");
    }
    card = card.row("Locator", &**locator).row("Registry", &**registry);
    if !gate {
        card = card.row("Encryptor", "").row("Transporter", "");
    }
    let what = super::what(*kind);
    card.row("Instances", banner::instances(*instances, what, cores, *beside))
}

/// The time with its zone, to the second.
fn time() -> String {
    let now = i128::from(Clock::real().now().unix_ns);
    let now = jiff::Timestamp::from_nanosecond(now).unwrap_or_default();
    now.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Longest wait for the lines before the banner.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Longest wait for the banner.
const SHOW_MAX: Duration = Duration::from_secs(2);

/// Prints the banner, behind what was logged before. A standard output that is gone is no reason to
/// stop, and one that nobody reads is no reason to wait.
pub(super) async fn show(cards: Vec<Card>, logs: Option<Logs>) {
    let print = move || {
        let _in_time = logs.is_none_or(|logs| logs.flush(FLUSH_MAX));
        let mut out = io::stdout().lock();
        let text = banner::render(&cards, out.is_terminal());
        let _nobody_reads = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    };
    within(SHOW_MAX, print).await;
}

/// Runs `work`, which may block for ever, on a thread of its own; waits for it no longer than `max`.
async fn within(max: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = oneshot::channel();
    let run = move || {
        work();
        let _nobody_waits = done.send(());
    };
    match std::thread::Builder::new().name("banner".to_owned()).spawn(run) {
        Ok(_) => {
            let _in_time = timeout(max, is_done).await;
        }
        Err(error) => tracing::warn!(%error, "no thread to show the banner"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_output_that_nobody_reads_does_not_hold_up_the_app() {
        let (reader, blocked) = std::sync::mpsc::channel::<()>();
        within(SHOW_MAX, move || blocked.recv().unwrap_or_default()).await;
        drop(reader);
    }
}
