//! Client packets whose body is encoded in place, behind the head.

use yumen_core::Status;
use yumen_proto::{
    WireError,
    id::RouteId,
    packet::{ByteOrder, Layout},
};

/// Length of the size field, in bytes.
const SIZE_LEN: usize = 4;

/// Empties `out` and writes the head of a packet; the body is appended by whoever has it.
pub(crate) fn begin(
    layout: &Layout,
    route: RouteId,
    seq: i32,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    out.clear();
    layout.encode_head(0, route, seq, 0, out)
}

/// Writes the size once the body is there.
///
/// # Errors
/// The body is larger than the layout allows, or somebody has cut the head away.
pub(crate) fn finish(layout: &Layout, out: &mut [u8]) -> Result<(), Status> {
    let len = out.len().saturating_sub(SIZE_LEN);
    let body = len.checked_sub(layout.head_len());
    let size = u32::try_from(len).ok().filter(|_| body.is_some_and(|b| b <= layout.body_max));
    let field = out.first_chunk_mut::<SIZE_LEN>();
    let (Some(size), Some(field)) = (size, field) else {
        return Err(Status::internal(format!(
            "a body of {} bytes is over the limit of {}",
            body.unwrap_or(0),
            layout.body_max
        )));
    };
    *field = match layout.order {
        ByteOrder::Big => size.to_be_bytes(),
        ByteOrder::Little => size.to_le_bytes(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{begin, finish};
    use yumen_proto::{ByteOrder, Layout, Packet, RouteId};

    #[test]
    fn a_packet_encoded_in_place_reads_like_one_encoded_at_once() {
        for order in [ByteOrder::Big, ByteOrder::Little] {
            let layout = Layout { order, ..Layout::default() };
            let (mut ours, mut theirs) = (vec![9; 100], Vec::new());
            begin(&layout, RouteId(-2), 7, &mut ours).unwrap();
            ours.extend_from_slice(b"hello");
            finish(&layout, &mut ours).unwrap();
            layout.encode_data(RouteId(-2), 7, b"hello", &mut theirs).unwrap();
            assert_eq!(ours, theirs);
            assert!(
                matches!(layout.decode_message(&ours), Ok(Packet::Data(d)) if d.body == b"hello")
            );
        }
    }

    #[test]
    fn a_body_over_the_limit_and_a_missing_head_are_refused() {
        let layout = Layout { body_max: 4, ..Layout::default() };
        let mut out = Vec::new();
        begin(&layout, RouteId(1), 0, &mut out).unwrap();
        out.extend_from_slice(b"hello");
        assert!(finish(&layout, &mut out).is_err());
        out.clear();
        assert!(finish(&layout, &mut out).is_err());
    }
}
