//! Bytes on their way to one peer, in a buffer borrowed from the instance's pool.
//!
//! Holds no memory when there is nothing to send: once all is written the buffer goes back.

/// Bytes on their way to one peer.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    sent: usize,
}

impl From<Vec<u8>> for Out {
    /// Nothing is written yet of `bytes`; an empty buffer will do.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }
}

impl Out {
    /// Takes a spare buffer from `pool` if there is none yet.
    pub fn borrow_from(&mut self, pool: &mut Vec<Vec<u8>>) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.pop().unwrap_or_default();
        }
    }

    /// What the socket has not accepted yet.
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.sent >= self.bytes.len()
    }

    /// Marks `n` bytes as accepted. Gives the buffer up, if there was one, once it is empty.
    pub fn accepted(&mut self, n: usize) -> Option<Vec<u8>> {
        self.sent = self.sent.saturating_add(n);
        if !self.is_empty() {
            return None;
        }
        self.sent = 0;
        self.bytes.clear();
        let spare = std::mem::take(&mut self.bytes);
        (spare.capacity() > 0).then_some(spare)
    }

    /// Where to append. Bytes already accepted are dropped first, once they are the larger half.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent.min(self.bytes.len()));
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// Memory held, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_given_up_once_everything_is_accepted() {
        let mut out = Out::default();
        out.buffer().extend_from_slice(b"0123456789");
        assert!(out.accepted(4).is_none());
        assert_eq!(out.pending(), b"456789");
        out.buffer().extend_from_slice(b"ab");
        assert_eq!(out.pending(), b"456789ab");
        assert!(out.accepted(8).is_some_and(|buffer| buffer.capacity() > 0));
        assert_eq!((out.capacity(), out.is_empty()), (0, true));
    }

    #[test]
    fn what_was_accepted_does_not_pile_up() {
        let mut out = Out::default();
        for round in 0..10_000_u32 {
            out.buffer().extend_from_slice(&[0; 10]);
            assert!(out.accepted(9).is_none() || round == 0);
            out.buffer().extend_from_slice(&[0; 1]);
            assert!(out.accepted(2).is_some());
            out.buffer().extend_from_slice(&[0; 3]);
            assert!(out.accepted(3).is_some());
        }
        out.buffer().extend_from_slice(&[7]);
        for _ in 0..10_000 {
            out.buffer().extend_from_slice(&[7; 10]);
            assert!(out.accepted(10).is_none());
        }
        assert!(out.capacity() < 100, "{}", out.capacity());
    }

    #[test]
    fn a_spare_buffer_is_used_before_a_new_one() {
        let mut pool = vec![Vec::with_capacity(4096)];
        let mut out = Out::from(Vec::new());
        out.borrow_from(&mut pool);
        assert_eq!((out.capacity(), pool.len()), (4096, 0));
        out.borrow_from(&mut pool);
        assert_eq!(out.capacity(), 4096);
    }
}
