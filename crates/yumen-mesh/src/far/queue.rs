//! The frames of one lane that are not handed to its connection yet, whole and in their order.

/// Largest buffer kept while it is empty, in bytes; a burst may have needed more.
const SPARE_MAX: usize = 256 * 1024;
/// Length of the field in front of a frame that says how long it is.
pub(super) const SIZE_LEN: usize = 4;

/// Frames in one buffer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Bytes in front that are gone. Moving the rest up for each part would cost more than sending it.
    gone: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.unsent().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsent().is_empty()
    }

    fn unsent(&self) -> &[u8] {
        self.bytes.get(self.gone..).unwrap_or_default()
    }

    /// Where a frame is written.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What may be sent: whole frames as long as there is room, so one too many at most.
    pub(super) fn within(&self, room: Option<i64>) -> &[u8] {
        let unsent = self.unsent();
        let Some(room) = room else { return unsent };
        let room = usize::try_from(room).unwrap_or(0);
        if unsent.len() <= room {
            return unsent;
        }
        let mut at = 0_usize;
        while at < room {
            let Some(len) = unsent.get(at..).and_then(frame_len) else { break };
            at = at.saturating_add(len);
        }
        unsent.get(..at).unwrap_or(unsent)
    }

    /// So many bytes in front are sent.
    pub(super) fn advance(&mut self, len: usize) {
        self.gone = self.gone.saturating_add(len).min(self.bytes.len());
        if self.is_empty() {
            self.gone = 0;
            if self.bytes.capacity() > SPARE_MAX {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.gone >= self.len() {
            self.tidy();
        }
    }

    /// Takes out the frames that are larger than `max`, without their size field.
    pub(super) fn take_oversized(&mut self, max: usize, out: &mut Vec<u8>) {
        self.tidy();
        let mut at = 0;
        while let Some(len) = self.bytes.get(at..).and_then(frame_len) {
            let next = at.saturating_add(len).min(self.bytes.len());
            if len.saturating_sub(SIZE_LEN) > max {
                out.extend(self.bytes.drain(at..next));
            } else {
                at = next;
            }
        }
    }

    /// What is left.
    pub(super) fn into_unsent(mut self) -> Vec<u8> {
        self.tidy();
        self.bytes
    }

    /// Moves what is left to the front.
    fn tidy(&mut self) {
        self.bytes.drain(..self.gone);
        self.gone = 0;
    }
}

/// Length of the first frame, with its size field.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<SIZE_LEN>()?;
    usize::try_from(u32::from_be_bytes(*prefix)).ok()?.checked_add(SIZE_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(sizes: &[u32]) -> Queue {
        let mut queue = Queue::default();
        for size in sizes {
            let len = queue.bytes.len() + SIZE_LEN + *size as usize;
            queue.end().extend(size.to_be_bytes());
            queue.end().resize(len, 7);
        }
        queue
    }

    #[test]
    fn whole_frames_are_taken_while_there_is_room() {
        let mut queue = frames(&[10, 3, 20]);
        for (room, expected) in
            [(-5, 0), (0, 0), (1, 14), (14, 14), (15, 21), (21, 21), (22, 45), (45, 45), (900, 45)]
        {
            assert_eq!(queue.within(Some(room)).len(), expected, "{room}");
        }
        assert_eq!(queue.within(None).len(), 45);
        queue.advance(14);
        assert_eq!((queue.within(Some(1)).len(), queue.len()), (7, 31));
    }

    #[test]
    fn what_is_left_stays_whole_wherever_it_is_cut() {
        let sizes = [10, 3, 20, 0, 7];
        let whole = frames(&sizes).into_unsent();
        let mut at = 0;
        for size in sizes {
            at += SIZE_LEN + size as usize;
            let mut queue = frames(&sizes);
            queue.advance(at);
            assert_eq!((queue.len(), queue.is_empty()), (whole.len() - at, at == whole.len()));
            queue.end().extend(5_u32.to_be_bytes());
            queue.end().extend([9; 5]);
            let mut out = Vec::new();
            queue.take_oversized(1000, &mut out);
            assert_eq!(queue.into_unsent(), [&whole[at..], &[0, 0, 0, 5, 9, 9, 9, 9, 9]].concat());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn frames_that_are_too_large_are_taken_out_and_the_others_stay() {
        let mut queue = frames(&[1, 10, 3, 20, 2]);
        queue.advance(5);
        let mut out = Vec::new();
        queue.take_oversized(9, &mut out);
        assert_eq!((out, queue.into_unsent()), (frames(&[10, 20]).bytes, frames(&[3, 2]).bytes));
    }

    #[test]
    fn the_memory_of_a_burst_is_given_up() {
        let mut queue = frames(&[1_000_000]);
        queue.advance(1_000_004);
        assert!(queue.is_empty() && queue.bytes.capacity() == 0);
    }
}
