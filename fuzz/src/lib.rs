//! What the fuzz targets and the corpus have in common.

use yumen_proto::{ByteOrder, Layout, Width, link::Flow};
use yumen_settings::tree::{Node, Value};

/// One of the layouts: byte order, widths and heartbeats with time by the bits of `selector`.
pub fn layout(selector: u8) -> Layout {
    let width = |bits: u8| match bits & 3 {
        0 => Width::Two,
        1 => Width::One,
        _ => Width::Four,
    };
    Layout {
        order: if selector & 1 == 0 { ByteOrder::Big } else { ByteOrder::Little },
        route: width(selector >> 1),
        seq: (selector & 0x20 == 0).then(|| width(selector >> 3)),
        body_max: 4096,
        receive_max: 4096,
        heartbeat_time: selector & 0x40 != 0,
    }
}

/// One of the flows.
pub fn flow(selector: u8) -> Flow {
    match selector % 3 {
        0 => Flow::Duplex,
        1 => Flow::Requests,
        _ => Flow::Replies,
    }
}

/// How many tables and lists stand inside each other.
pub fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Table(table) => 1 + table.values().map(depth).max().unwrap_or(0),
        Value::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
