//! The part of a packet or frame that has arrived, until the rest comes.

/// The part of a packet or frame that has arrived. Holds no memory when there is none.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    /// Bytes kept.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Memory held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the tail in front of what was read to `scratch[len..end]`, and returns all of it. `need`
    /// is the length of the packet that the tail begins, if it tells.
    ///
    /// While a long packet dribbles in, each read only appends to the tail: joining it with every
    /// small read would cost a peer nothing and us a packet of copying a time.
    pub(crate) fn join<'a>(
        &mut self,
        scratch: &'a mut [u8],
        end: usize,
        need: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> &'a [u8] {
        let Some(all) = scratch.get_mut(..end) else { return &[] };
        if self.0.is_empty() {
            return all;
        }
        let Some((front, fresh)) = all.split_at_mut_checked(self.0.len()) else { return &[] };
        if need(&self.0).is_some_and(|need| need > end) {
            self.0.extend_from_slice(fresh);
            return &[];
        }
        front.copy_from_slice(&self.0);
        self.0 = Vec::new();
        all
    }

    /// Keeps `input` behind what is kept already.
    pub(crate) fn keep(&mut self, input: &[u8]) {
        self.0.extend_from_slice(input);
    }
}
