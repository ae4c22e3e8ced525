//! To an instance on the same thread: a direct call.
//!
//! A frame sent from *inside* such a call is copied and delivered right after it: otherwise a handler
//! that closes a session would find its own disconnect handler running in the middle of itself.

use crate::links::{LinkId, Links, Unsent};
use std::{
    cell::{Cell, RefCell},
    rc::Weak,
};
use yumen_proto::link::Frame;

pub(crate) struct Here {
    there: Weak<Links>,
    /// What we are called there.
    at: LinkId,
    inside: Cell<bool>,
    held: RefCell<Vec<u8>>,
    bytes_max: usize,
}

/// Leaves the direct call, also when the receiver panics.
struct Inside<'a>(&'a Cell<bool>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Here {
    /// A lane that holds at most `bytes_max` bytes sent from inside a delivery.
    pub(crate) fn new(there: Weak<Links>, at: LinkId, bytes_max: usize) -> Self {
        Self { there, at, inside: Cell::new(false), held: RefCell::default(), bytes_max }
    }

    pub(crate) fn send(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        let there = self.there.upgrade().ok_or(Unsent::Closed)?;
        if self.inside.get() {
            let mut held = self.held.borrow_mut();
            if held.len().saturating_add(frame.wire_len()) > self.bytes_max {
                return Err(Unsent::Full);
            }
            return Ok(frame.encode(&mut held)?);
        }
        self.inside.set(true);
        let _inside = Inside(&self.inside);
        there.receive(self.at, frame);
        loop {
            let mut held = self.held.take();
            if held.is_empty() {
                return Ok(());
            }
            let mut rest = held.as_slice();
            while let Ok(Some(frame)) = Frame::decode(&mut rest, usize::MAX) {
                there.receive(self.at, frame);
            }
            held.clear();
            if self.held.borrow().is_empty() {
                self.held.replace(held); // keeps its memory
            }
        }
    }

    pub(crate) fn flush(&self) {
        if !self.inside.get()
            && let Some(there) = self.there.upgrade()
        {
            there.batch_end();
        }
    }

    /// This side is gone.
    pub(crate) fn hang_up(&self) {
        if let Some(there) = self.there.upgrade() {
            there.drop_link(self.at);
        }
    }
}
