//! The layout of client packets: `packet.*`.
//!
//! Gate, node and clients must have the same; nothing on the wire tells.

use crate::section::Section;
use yumen_proto::packet::{ByteOrder, Layout, Width};

/// Largest `bufferBytes` that is accepted: the size field of a packet counts a little more.
const BODY_MAX: u64 = 0x7fff_ffff;

/// Layout of client packets, as `packet.*` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketSettings {
    /// `byteOrder`: `big` or `little`, in either case; any other text is `big`. Default: `big`.
    pub order: ByteOrder,
    /// `routeBytes`: 1, 2 or 4. Default: 2.
    pub route: Width,
    /// `seqBytes`: 1, 2, 4, or 0 for no sequence numbers. Default: 2.
    pub seq: Option<Width>,
    /// `bufferBytes`: largest body that is sent, up to 2 GiB. Default: 5000.
    pub body_max: usize,
    /// `heartbeatTime`: whether heartbeats sent carry the time. Default: no.
    pub heartbeat_time: bool,
}

impl Default for PacketSettings {
    fn default() -> Self {
        let Layout { order, route, seq, heartbeat_time, .. } = Layout::default();
        Self { order, route, seq, body_max: 5000, heartbeat_time }
    }
}

impl PacketSettings {
    /// The same as a layout.
    ///
    /// `bufferBytes` limits what is sent, as with due; larger bodies are still accepted, up to 64 KiB.
    pub fn layout(&self) -> Layout {
        let Self { order, route, seq, body_max, heartbeat_time } = *self;
        let receive_max = body_max.max(Layout::default().receive_max);
        Layout { order, route, seq, body_max, receive_max, heartbeat_time }
    }

    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            order: order(&mut section).unwrap_or(default.order),
            route: route(&mut section).unwrap_or(default.route),
            seq: seq(&mut section).unwrap_or(default.seq),
            body_max: body_max(&mut section).unwrap_or(default.body_max),
            heartbeat_time: section.truth("heartbeatTime").unwrap_or(default.heartbeat_time),
        };
        section.finish();
        read
    }
}

fn order(section: &mut Section<'_>) -> Option<ByteOrder> {
    let text = section.text("byteOrder")?;
    if text.eq_ignore_ascii_case("little") {
        return Some(ByteOrder::Little);
    }
    if !text.eq_ignore_ascii_case("big") {
        section.note("byteOrder", format_args!("{text:?} counts as \"big\", as it does for due"));
    }
    Some(ByteOrder::Big)
}

fn route(section: &mut Section<'_>) -> Option<Width> {
    let bytes = section.number("routeBytes")?;
    let width = width(bytes);
    if width.is_none() {
        section.problem("routeBytes", format_args!("is {bytes}; it must be 1, 2 or 4"));
    }
    width
}

fn seq(section: &mut Section<'_>) -> Option<Option<Width>> {
    let bytes = section.number("seqBytes")?;
    let width = width(bytes);
    if width.is_none() && bytes != 0 {
        section.problem("seqBytes", format_args!("is {bytes}; it must be 0, 1, 2 or 4"));
    }
    Some(width)
}

fn width(bytes: i64) -> Option<Width> {
    Width::from_bytes(usize::try_from(bytes).ok()?)
}

fn body_max(section: &mut Section<'_>) -> Option<usize> {
    let bytes = section.size("bufferBytes")?;
    if bytes > BODY_MAX {
        let what = format_args!("is {bytes} bytes; it must be at most {BODY_MAX}");
        section.problem("bufferBytes", what);
    }
    usize::try_from(bytes).ok()
}
