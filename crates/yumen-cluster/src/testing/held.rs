//! What an instance holds at a moment, and how much it may: for tests that nothing is left over and that
//! every bound is kept.

use crate::{app::Part, gate::GateHandle, metrics::Queue, node::NodeHandle};

/// Looks at the instances of one component while they run.
#[derive(Clone, Debug)]
pub struct Probe(Component);

#[derive(Clone, Debug)]
enum Component {
    Gate(GateHandle),
    Node(Vec<NodeHandle>),
}

/// One thing that an instance holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub what: &'static str,
    /// How much there is of it.
    pub all: u64,
    /// How much there is where most is, if it is bounded there.
    pub largest: u64,
    /// The bound of that.
    pub max: u64,
}

impl From<&Part> for Probe {
    fn from(part: &Part) -> Self {
        Self(match part {
            Part::Gate(gate) => Component::Gate(gate.handle()),
            Part::Node(node) => Component::Node(node.handles().to_vec()),
        })
    }
}

fn bytes(what: &'static str, queue: Queue) -> Held {
    Held { what, all: queue.bytes, largest: queue.largest, max: queue.max }
}

fn count(what: &'static str, all: u64) -> Held {
    Held { what, all, largest: 0, max: 0 }
}

fn links(load: &yumen_mesh::Load) -> [Held; 2] {
    let calls = u64::try_from(load.calls).unwrap_or(u64::MAX);
    [bytes("bytes on lanes", load.into()), count("calls", calls)]
}

impl Probe {
    /// What all its instances hold. Waits for them: not for one that is paused.
    pub async fn held(&self) -> Vec<Held> {
        let mut held = Vec::new();
        match &self.0 {
            Component::Gate(gate) => {
                for (_, asked) in gate.ask_census(|_| true) {
                    let Some(asked) = asked else { continue };
                    let Ok(census) = asked.await else { continue };
                    held.extend(links(&census.links));
                    held.push(bytes("bytes for clients", census.backlog));
                    held.push(bytes("bytes in flight", census.in_flight));
                    held.push(count("connections", census.stats.connections));
                    held.push(count("users", census.stats.users));
                }
            }
            Component::Node(nodes) => {
                for node in nodes {
                    let Some(asked) = node.ask_census() else { continue };
                    let Ok(census) = asked.await else { continue };
                    held.extend(links(&census.links));
                    held.push(bytes("bytes held", census.handlers.held));
                    held.push(bytes("bytes of jobs", census.inbox));
                    let waiting = census.handlers.waiting;
                    let max = census.handlers.waiting_max;
                    held.push(Held { what: "handlers", all: waiting, largest: waiting, max });
                }
            }
        }
        held
    }
}
