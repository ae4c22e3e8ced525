//! A list of targets, in memory or still on the wire, read alike.
//!
//! A multicast to ten thousand connections is never copied into a list of its own: it is read where
//! it arrived.

use std::fmt;

const TARGET_LEN: usize = 8;

/// Numbers of connections or users, in memory or still on the wire.
#[derive(Clone, Copy)]
pub struct Targets<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Memory(&'a [i64]),
    /// Big-endian, a multiple of eight bytes.
    Wire(&'a [u8]),
}

impl<'a> Targets<'a> {
    /// The list that lies in memory.
    pub const fn from_slice(targets: &'a [i64]) -> Self {
        Self(Source::Memory(targets))
    }

    /// The list that lies on the wire, eight big-endian bytes each; `None` if bytes are left over.
    pub fn from_wire(bytes: &'a [u8]) -> Option<Self> {
        bytes.len().is_multiple_of(TARGET_LEN).then_some(Self(Source::Wire(bytes)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Memory(targets) => targets.len(),
            Source::Wire(bytes) => bytes.len() / TARGET_LEN,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers, in order.
    pub fn iter(&self) -> TargetsIter<'a> {
        TargetsIter(*self)
    }

    /// The first `count` targets, and the others: to send a long list in several frames. All are in
    /// the first part if there are not that many.
    #[must_use]
    pub fn split_at(&self, count: usize) -> (Self, Self) {
        match self.0 {
            Source::Memory(targets) => {
                let (head, rest) = targets.split_at_checked(count).unwrap_or((targets, &[]));
                (Self(Source::Memory(head)), Self(Source::Memory(rest)))
            }
            Source::Wire(bytes) => {
                let split = bytes.split_at_checked(count.saturating_mul(TARGET_LEN));
                let (head, rest) = split.unwrap_or((bytes, &[]));
                (Self(Source::Wire(head)), Self(Source::Wire(rest)))
            }
        }
    }

    /// Length of the list on the wire, in bytes.
    pub(super) fn wire_len(&self) -> usize {
        self.len().saturating_mul(TARGET_LEN)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self.0 {
            Source::Memory(targets) => {
                targets.iter().for_each(|target| out.extend_from_slice(&target.to_be_bytes()));
            }
            Source::Wire(bytes) => out.extend_from_slice(bytes),
        }
    }
}

impl<'a> From<&'a [i64]> for Targets<'a> {
    fn from(targets: &'a [i64]) -> Self {
        Self::from_slice(targets)
    }
}

impl<'a> IntoIterator for Targets<'a> {
    type Item = i64;
    type IntoIter = TargetsIter<'a>;

    fn into_iter(self) -> TargetsIter<'a> {
        self.iter()
    }
}

impl PartialEq for Targets<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(*other)
    }
}

impl Eq for Targets<'_> {}

impl fmt::Debug for Targets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Iterates over [`Targets`].
#[derive(Clone, Debug)]
pub struct TargetsIter<'a>(Targets<'a>);

impl Iterator for TargetsIter<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        match &mut self.0.0 {
            Source::Memory(targets) => {
                let (first, rest) = targets.split_first()?;
                *targets = rest;
                Some(*first)
            }
            Source::Wire(bytes) => {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(i64::from_be_bytes(*first))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for TargetsIter<'_> {}
