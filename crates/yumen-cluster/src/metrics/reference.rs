//! The page about the metrics, made from their list.

use super::{
    family::{self, Family},
    gate, node,
};
use std::fmt::Write;
use yumen_net::histogram::{BUCKETS, bound};

const HEAD: &str = "\
# Metrics

<!-- Made by `cargo run -q -- metrics reference > docs/reference/metrics.md`; a test compares it. -->

`GET /metrics` of the admin address gives every number below as Prometheus text. Names, types and labels
are kept from release to release.

- A metric of an instance has the labels `service` (the name of its component) and `instance` (its id in
  the cluster); one of a component has `service`; one of the process has neither. Each sample also has the
  labels of `yumen.admin.labels`.
- Counters begin at zero when the process starts. Units are seconds and bytes.
- An instance that does not answer within a second has no numbers but `yumen_instance_stale` 1 and those of
  its thread's timer: the page never waits for it longer.
- `route` is a number that a node has registered, or `other`. At most 4096 routes have numbers of their
  own, so that no client can make up labels.
";

const TAIL: &str = "
## What is worth an alert

| If | then |
|---|---|
| `yumen_instance_stale == 1` for a minute | an instance is stuck; `yumen_loop_silence_seconds` says for how long |
| `histogram_quantile(0.99, rate(yumen_loop_stall_seconds_bucket[5m])) > 0.05` | something keeps a thread: see `yumen_node_slow_polls_total` by route |
| `rate(yumen_gate_dropped_total[1m]) > 0` | messages go nowhere; the reason says why |
| `rate(yumen_gate_accept_errors_total[1m]) > 0` | clients cannot connect, mostly for want of descriptors |
| `yumen_process_open_fds / yumen_process_max_fds > 0.9` | that will happen soon |
| `yumen_queue_largest_bytes / yumen_queue_limit_bytes > 0.9` | a connection or a lane is about to be limited |
| `rate(yumen_store_requests_total{outcome=\"failed\"}[1m]) > 0` | the registry or the locator fails |
| `rate(yumen_log_lines_total{outcome=\"dropped\"}[1m]) > 0` | the log cannot be written as fast as it comes |
";

/// The page as Markdown.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let bounds: Vec<_> = (0..BUCKETS).filter_map(bound).collect();
    let (first, last) = (bounds.first().copied(), bounds.last().copied());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let _never_fails = write!(
        text,
        "- Buckets of histograms end at powers of two from {first:?} to {last:?}, so that they can be \
         added up; those of\n  single routes at powers of four.\n",
    );
    for (title, prefix) in [
        ("Gates", "yumen_gate_"),
        ("Nodes", "yumen_node_"),
        ("Every instance", ""),
        ("The process", ""),
    ] {
        let _never_fails =
            write!(text, "\n## {title}\n\n| Name | Type | Labels | What it says |\n");
        text.push_str("|---|---|---|---|\n");
        for family in family::ALL.iter().filter(|family| belongs(family, title, prefix)) {
            row(&mut text, family);
        }
    }
    for family in [&family::GATE_CLOSED, &family::GATE_DROPPED, &family::NODE_DROPPED] {
        reasons(&mut text, family);
    }
    text.push_str(TAIL);
    text
}

/// Every name with its type and labels, a line each: what a release promises.
pub fn names() -> String {
    let mut text = String::new();
    for family in family::ALL {
        let labels = family.scope.labels().iter().chain(family.labels).copied();
        let labels: Vec<_> = labels.collect();
        let (name, kind, labels) = (family.name, family.kind.name(), labels.join(" "));
        let line = format!("{name} {kind} {labels}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn belongs(family: &Family, title: &str, prefix: &str) -> bool {
    let component = ["yumen_gate_", "yumen_node_"].iter().any(|p| family.name.starts_with(p));
    match title {
        "Every instance" => !component && family.scope == family::Scope::Instance,
        "The process" => !component && family.scope != family::Scope::Instance,
        _ => family.name.starts_with(prefix),
    }
}

fn row(text: &mut String, family: &Family) {
    let labels = family.scope.labels().iter().chain(family.labels);
    let labels: Vec<_> = labels.map(|label| format!("`{label}`")).collect();
    let Family { name, help, .. } = family;
    let (kind, labels) = (family.kind.name(), labels.join(" "));
    let _never_fails = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
}

fn reasons(text: &mut String, family: &Family) {
    let name = family.name;
    let _never_fails =
        write!(text, "\n### Reasons of `{name}`\n\n| `reason` | What it says |\n|---|---|\n");
    for (reason, help) in gate::reasons(family).into_iter().chain(node::reasons(family)) {
        let _never_fails = writeln!(text, "| `{reason}` | {help} |");
    }
}
