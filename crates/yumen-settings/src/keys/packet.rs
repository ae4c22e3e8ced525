//! The layout of client packets: `packet.*`.
//!
//! Gate, node and clients must have the same; nothing on the wire tells.

use crate::{
    form::{Bytes, Form, Read, quoted},
    key::{Standing::Start, section},
    tree::Value,
};
use yumen_proto::packet::{ByteOrder, Layout, Width};

impl Form for ByteOrder {
    const NAME: &'static str = "text";
    const WANTED: &'static str = "\"big\" or \"little\"";

    fn read(value: &Value) -> Option<Read<Self>> {
        let text = String::read(value)?.value;
        if text.trim().eq_ignore_ascii_case("little") {
            return Some(Read::new(Self::Little));
        }
        if text.trim().eq_ignore_ascii_case("big") {
            return Some(Read::new(Self::Big));
        }
        let what = format!("{} counts as \"big\", as it does for due", quoted(&text));
        Some(Read::noted(Self::Big, what))
    }

    fn show(&self) -> String {
        match self {
            Self::Big => "\"big\"".to_owned(),
            Self::Little => "\"little\"".to_owned(),
        }
    }
}

fn width(value: &Value) -> Option<usize> {
    usize::read(value).map(|read| read.value)
}

impl Form for Width {
    const NAME: &'static str = "whole number";
    const WANTED: &'static str = "1, 2 or 4";

    fn read(value: &Value) -> Option<Read<Self>> {
        Self::from_bytes(width(value)?).map(Read::new)
    }

    fn show(&self) -> String {
        self.bytes().to_string()
    }
}

/// `None` is written 0: there is no such number.
impl Form for Option<Width> {
    const NAME: &'static str = "whole number";
    const WANTED: &'static str = "0, 1, 2 or 4";

    fn read(value: &Value) -> Option<Read<Self>> {
        let bytes = width(value)?;
        let width = Width::from_bytes(bytes);
        (bytes == 0 || width.is_some()).then_some(Read::new(width))
    }

    fn show(&self) -> String {
        self.map_or(0, Width::bytes).to_string()
    }
}

section! {
    /// Layout of client packets: `packet.*`.
    PacketSettings "etc.packet" {
        /// Which byte of a number comes first: `big` or `little`, in either case; any other text is
        /// `big`.
        byte_order "byteOrder": ByteOrder = "big", Start;
        /// Bytes of a route: 1, 2 or 4.
        route_bytes "routeBytes": Width = 2, Start;
        /// Bytes of a sequence number: 1, 2, 4, or 0 for none.
        seq_bytes "seqBytes": Option<Width> = 2, Start;
        /// Largest body that is sent. Larger ones are accepted, up to 64 KiB.
        buffer_bytes "bufferBytes": Bytes = 5000, Start => range(0, 0x7fff_ffff);
        /// Whether heartbeats that are sent carry the time.
        heartbeat_time "heartbeatTime": bool = false, Start
            => due("due's documents and code differ; the code's default, false, holds.");
    }
}

impl PacketSettings {
    /// The same as a layout.
    ///
    /// `bufferBytes` limits what is sent, as with due; larger bodies are still accepted, up to 64 KiB.
    pub fn layout(&self) -> Layout {
        let body_max = self.buffer_bytes.len();
        Layout {
            order: self.byte_order,
            route: self.route_bytes,
            seq: self.seq_bytes,
            body_max,
            receive_max: body_max.max(Layout::default().receive_max),
            heartbeat_time: self.heartbeat_time,
        }
    }
}
