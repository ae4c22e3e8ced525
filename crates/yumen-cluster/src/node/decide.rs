//! What a node is to be: what code says, else what the settings say, else the default.
//!
//! The one place that knows which setting belongs to which method of the builder, and which values are
//! out of range.

use super::run::Plan;
use crate::codec_name;
use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};
use yumen_proto::packet::Layout;
use yumen_settings::Settings;

/// Weights that a node may have.
pub(super) const WEIGHTS: RangeInclusive<u32> = 1..=1_000;

/// What code has said.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) id: Option<String>,
    pub(super) instances: Option<u16>,
    pub(super) weight: Option<u32>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) layout: Option<Layout>,
    pub(super) held_max: Option<usize>,
    pub(super) waiting_max: Option<usize>,
    pub(super) slow_min: Option<Duration>,
    pub(super) inbox_max: Option<usize>,
    pub(super) drain_max: Option<Duration>,
}

impl Code {
    /// Writes what was decided into `plan`, which has the defaults; gives the id and the number of
    /// instances.
    pub(super) fn decide<S>(
        self,
        plan: &mut Plan<S>,
        written: Option<&Settings>,
        problems: &mut Vec<String>,
    ) -> (String, u16) {
        let (mut id, mut instances) = (None, None);
        if let Some(written) = written {
            let (node, own) = (&written.cluster.node, &written.yumen.node);
            if plan.name.is_empty() {
                plan.name.clone_from(&node.name);
            }
            id = Some(node.id.clone()).filter(|id| !id.is_empty());
            instances = Some(own.instances);
            plan.weight = node.weight;
            plan.weight_follows = self.weight.is_none();
            plan.metadata.clone_from(&node.metadata);
            plan.layout = written.packet.layout();
            plan.bounds.held_max = own.held_max.len();
            plan.bounds.waiting_max = own.waiting_max;
            // In the settings, zero counts none.
            let slow_min = own.slow_min;
            plan.bounds.slow_min = if slow_min.is_zero() { Duration::MAX } else { slow_min };
            plan.inbox_max = own.inbox_max.len();
            let all = written.general.shutdown_max_wait_time;
            plan.drain_max = if all.is_zero() { own.drain_max } else { all };
            problems.extend(codec_name::problem(written, "etc.cluster.node.codec", &node.codec));
        }
        plan.weight = self.weight.unwrap_or(plan.weight);
        plan.metadata.extend(self.metadata);
        plan.layout = self.layout.unwrap_or(plan.layout);
        plan.bounds.held_max = self.held_max.unwrap_or(plan.bounds.held_max);
        plan.bounds.waiting_max = self.waiting_max.unwrap_or(plan.bounds.waiting_max);
        plan.bounds.slow_min = self.slow_min.unwrap_or(plan.bounds.slow_min);
        plan.inbox_max = self.inbox_max.unwrap_or(plan.inbox_max);
        plan.drain_max = self.drain_max.unwrap_or(plan.drain_max);
        let id = self.id.or(id).unwrap_or_else(|| plan.name.clone());
        (id, self.instances.or(instances).unwrap_or(1))
    }
}

impl<S: 'static> Plan<S> {
    /// Lists what is out of range, and what is wrong with the route table.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if !WEIGHTS.contains(&self.weight) {
            let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
            problems.push(format!("weight is {}; it must be {least} to {most}", self.weight));
        }
        if self.bounds.waiting_max == 0 {
            problems.push("waiting_max is 0; it must be at least 1".to_owned());
        }
        if self.bounds.slow_min.is_zero() {
            problems.push("slow_min is zero; it must be longer".to_owned());
        }
        if self.inbox_max < 4096 {
            problems.push(format!("inbox_max is {}; it must be at least 4096", self.inbox_max));
        }
        for route in self.router.routes() {
            if let Err(error) = self.layout.encode_head(0, route.id, 0, 0, &mut Vec::new()) {
                problems.push(format!("route {} does not fit the layout: {error}", route.id));
            }
        }
        problems.extend(self.router.problems().iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn settings(text: &str) -> Settings {
        Settings::parse(text, Path::new("etc.toml")).unwrap()
    }

    struct Found {
        plan: Plan<()>,
        id: String,
        instances: u16,
        problems: Vec<String>,
    }

    fn decide(name: &str, code: Code, text: &str) -> Found {
        let (mut plan, mut problems) = (Plan::new(name.to_owned(), |_| ()), Vec::new());
        let (id, instances) = code.decide(&mut plan, Some(&settings(text)), &mut problems);
        plan.check(&mut problems);
        Found { plan, id, instances, problems }
    }

    type Row = (&'static str, &'static str, fn(&Found) -> String, &'static str);

    /// A key, a value in toml, what has to come of it.
    const ROWS: [Row; 15] = [
        ("cluster.node.id", "'n-7'", |node| node.id.clone(), "n-7"),
        ("cluster.node.name", "'hall'", |node| node.plan.name.clone(), "hall"),
        ("cluster.node.weight", "7", |node| node.plan.weight.to_string(), "7"),
        ("cluster.node.metadata", "{ zone = 'b' }", |node| node.plan.metadata["zone"].clone(), "b"),
        ("packet.byteOrder", "'little'", |node| format!("{:?}", node.plan.layout.order), "Little"),
        ("packet.routeBytes", "4", |node| format!("{:?}", node.plan.layout.route), "Four"),
        ("packet.seqBytes", "0", |node| format!("{:?}", node.plan.layout.seq), "None"),
        ("yumen.node.instances", "3", |node| node.instances.to_string(), "3"),
        ("yumen.node.heldMax", "'2K'", |node| node.plan.bounds.held_max.to_string(), "2048"),
        ("yumen.node.waitingMax", "9", |node| node.plan.bounds.waiting_max.to_string(), "9"),
        ("yumen.node.slowMin", "'2ms'", |node| format!("{:?}", node.plan.bounds.slow_min), "2ms"),
        (
            "yumen.node.slowMin",
            "'0s'",
            |node| (node.plan.bounds.slow_min == Duration::MAX).to_string(),
            "true",
        ),
        ("yumen.node.inboxMax", "'8K'", |node| node.plan.inbox_max.to_string(), "8192"),
        ("yumen.node.drainMax", "'5s'", |node| format!("{:?}", node.plan.drain_max), "5s"),
        ("shutdownMaxWaitTime", "'6s'", |node| format!("{:?}", node.plan.drain_max), "6s"),
    ];

    #[test]
    fn each_setting_of_a_node_decides_what_its_key_says() {
        for (key, value, of, expected) in ROWS {
            let found = decide("", Code::default(), &format!("{key} = {value}"));
            assert_eq!(of(&found), expected, "{key}");
            assert_eq!(found.problems, Vec::<String>::new(), "{key}");
        }
    }

    #[test]
    fn what_code_says_wins_and_its_weight_follows_nothing() {
        let text =
            "cluster.node = { id = 'file', name = 'file', weight = 9 }\nyumen.node.instances = 9";
        let code = Code { weight: Some(2), instances: Some(3), ..Code::default() };
        let found = decide("code", code, text);
        assert_eq!((found.plan.name.as_str(), found.id.as_str()), ("code", "file"));
        assert_eq!((found.plan.weight, found.plan.weight_follows, found.instances), (2, false, 3));
        assert!(decide("code", Code::default(), text).plan.weight_follows);
    }

    #[test]
    fn what_is_out_of_range_is_refused_wherever_it_was_said() {
        // The tables of keys refuse the same numbers in files.
        let code = Code { weight: Some(1001), inbox_max: Some(1), ..Code::default() };
        let problems = decide("node", code, "cluster.node.codec = 'jason'").problems;
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, part) in problems.iter().zip(["jason", "weight is 1001", "inbox_max is 1"]) {
            assert!(problem.contains(part), "{part}: {problem}");
        }
    }
}
